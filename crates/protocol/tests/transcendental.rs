//! Both judges of library functions against an arbitrary-precision library, at every upper half of the binary32 word.
//!
//! For each of the 2^16 upper halves x has a lower half at random. f(x), and from it the ends of the rule of `docs/envelopes.md#bounded`, are
//! computed by `dashu-float`, to 192 bits. The last numbers within either end must be inside, the first beyond outside, and the number nearest to f
//! inside: the judges' enclosures are so narrow that no end of a rule is decided otherwise by them. Rust is asked for all; Solidity,
//! which takes a hundred times longer, for one of these numbers at each x.
#![allow(clippy::expect_used, clippy::panic)]

#[path = "support/harness.rs"]
mod harness;
mod support;

use dashu_float::FBig;
use dashu_float::round::mode::HalfEven;
use harness::{Argument, Harness, word};
use support::Stream;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{bounded, power};
use touchstone_protocol::model::Profile;

type Big = FBig<HalfEven, 2>;

const BITS: usize = 192;
const FAST: u64 = Profile::FAST.encode();
const WIDE: u64 = Profile::WIDE.encode();

fn scaled(significand: u64, exponent: i32) -> Big {
    Big::from_parts(significand.into(), exponent as isize)
        .with_precision(BITS)
        .value()
}

fn two_to(exponent: i32) -> Big {
    scaled(1, exponent)
}

fn number(n: u64) -> Big {
    scaled(n, 0)
}

/// The value of finite bits; of an infinity the least that rounds to it.
fn value(bits: u32) -> Big {
    let (exponent, fraction) = (bits >> 23 & 0xff, u64::from(bits & 0x7f_ffff));
    let size = match exponent {
        0 => scaled(fraction, -149),
        0xff => scaled((1 << 25) - 1, 103),
        _ => scaled(fraction | 1 << 23, exponent as i32 - 150),
    };
    if bits >> 31 == 1 { -size } else { size }
}

fn size(x: Big) -> Big {
    if x < number(0) { -x } else { x }
}

/// Bits ordered as numbers, ±0 as one; infinities are the last.
fn order(bits: u32) -> i64 {
    let size = i64::from(bits & 0x7fff_ffff);
    if bits >> 31 == 1 { -size } else { size }
}

fn bits(order: i64) -> u32 {
    let size = order.unsigned_abs() as u32;
    if order < 0 { size | 1 << 31 } else { size }
}

/// A function at a number: f, the scale s of the absolute term, whether η belongs to it, and how much wider the judge's enclosure is where it
/// is not narrow.
struct Truth {
    f: Big,
    scale: Big,
    eta: bool,
    loose: Big,
    /// Infinity stands for everything from 2^(128 − this) on.
    early: i32,
}

/// erf z for z ≥ 0 by its series of positive terms; 1 where it is within 2^-100.
fn erf(z: &Big) -> Big {
    let square = z * z;
    if square > number(70) {
        return number(1);
    }
    let least = two_to(-190);
    let (mut term, mut sum, mut odd) = (number(1), number(1), 1u64);
    while term > least {
        odd += 2;
        term = term * &square * number(2) / number(odd);
        sum += &term;
    }
    number(2) / Big::pi(BITS).sqrt() * z * sum * (-square).exp()
}

/// 1/(1 + e^-x).
fn sigmoid(x: &Big) -> Big {
    if *x > number(200) {
        number(1)
    } else if *x < -number(200) {
        number(0)
    } else {
        number(1) / (number(1) + (-x.clone()).exp())
    }
}

fn exp(x: &Big) -> Big {
    if *x > number(150) {
        two_to(200)
    } else if *x < -number(150) {
        number(0)
    } else {
        x.exp()
    }
}

/// `None` where f is no finite real number.
fn truth(code: Code, x: u32) -> Option<Truth> {
    if x & 0x7fff_ffff >= 0x7f80_0000 || (code == Code::Log && (x >> 31 == 1 || x == 0)) {
        return None;
    }
    let v = value(x);
    let a = size(v.clone());
    let (one, none) = (number(1), number(0));
    let half = two_to(-1);
    let (f, scale, eta, loose, early) = match code {
        Code::Erf => {
            let f = erf(&a);
            let loose = if a > scaled(45, -3) { two_to(-49) } else { none };
            (if v < number(0) { -f } else { f }, one, false, loose, 0)
        }
        Code::Tanh => {
            let f = number(2) * sigmoid(&(number(2) * &v)) - number(1);
            (f, one, false, none, 0)
        }
        Code::Sigmoid => (sigmoid(&v), one, false, none, 0),
        Code::Gelu => {
            let e = erf(&(&a / number(2).sqrt()));
            let gate = if v < number(0) { number(1) - e } else { number(1) + e };
            let loose = if a >= number(8) { two_to(-49) * &a } else { none };
            (&v * gate * half, number(2) * &a, true, loose, 1)
        }
        Code::GeluTanh => {
            let w = (number(8) / Big::pi(BITS)).sqrt() * (&v + scaled(44715, 0) / number(1_000_000) * &v * &v * &v);
            (&v * sigmoid(&w), a.clone(), true, two_to(-90) * &a, 1)
        }
        Code::Exp => (exp(&v), none.clone(), true, none, 0),
        Code::Log => (v.ln(), none.clone(), false, two_to(-95), 0),
        Code::Softplus => {
            let rest = exp(&-a.clone()).ln_1p();
            (if v < number(0) { rest } else { &a + rest }, one, false, none, 0)
        }
        Code::Sin => {
            let near = a < number(1);
            let loose = two_to(-90) * &a;
            (
                v.sin(),
                if near { a } else { one },
                false,
                if near { loose } else { two_to(-90) },
                0,
            )
        }
        Code::Cos => (v.cos(), one, false, two_to(-90), 0),
        _ => return None,
    };
    Some(Truth {
        f,
        scale,
        eta,
        loose,
        early,
    })
}

/// Results to ask for, with the answer: the nearest to f, the last within and the first beyond either end.
fn results(t: &Truth, profile: u64) -> Vec<(u32, bool)> {
    let wide = profile == WIDE;
    let u = two_to(if wide { -53 } else { -24 });
    let eta = if t.eta && !wide { two_to(-150) } else { number(0) };
    let width = number(16) * &u * size(t.f.clone()) + number(4) * &u * &t.scale + eta;
    let guard = &width * two_to(-30) + &t.loose;
    // The least and the greatest real number that the bits stand for.
    let stands = |at: i64| -> (Big, Big) {
        let (b, infinite) = (bits(at), at.unsigned_abs() == 0x7f80_0000);
        let mut v = value(b);
        if infinite {
            v /= two_to(if wide { 0 } else { t.early });
        }
        if !wide || infinite {
            let far = two_to(1000);
            return match (infinite, at > 0) {
                (true, true) => (v, far),
                (true, false) => (-far, v),
                _ => (v.clone(), v),
            };
        }
        // Halfway to the neighbours; 2^128 is beyond the greatest.
        let neighbour = |at: i64| {
            if at.unsigned_abs() == 0x7f80_0000 {
                if at > 0 { two_to(128) } else { -two_to(128) }
            } else {
                value(bits(at))
            }
        };
        let half = two_to(-1);
        ((&v + neighbour(at - 1)) * &half, (v + neighbour(at + 1)) * half)
    };
    let (lo, hi) = (&t.f - &width, &t.f + &width);
    let mut found = Vec::new();
    // The last number that may be said to be within the end, and the first that may be said to be beyond.
    let nearest = order((t.f.to_f64().value() as f32).to_bits());
    found.push((bits(nearest), true));
    for (end, up) in [(&hi, true), (&lo, false)] {
        let step = if up { 1 } else { -1 };
        let within = |at: i64, margin: &Big| {
            let (least, greatest) = stands(at);
            if up {
                least <= end + margin
            } else {
                greatest >= end - margin
            }
        };
        let near = |end: Big| order((end.to_f64().value() as f32).to_bits());
        let margin = if up { guard.clone() } else { -guard.clone() };
        let mut at = (near(end - &margin) + 3 * step).clamp(-0x7f80_0000, 0x7f80_0000);
        // Where the judge's enclosure is as wide as the rule only f itself is sure to be within.
        if guard >= width {
            at = nearest;
        }
        while !within(at, &-guard.clone()) && at != nearest {
            at -= step;
        }
        found.push((bits(at), true));
        at = near(end + &margin) - 3 * step;
        while at.abs() <= 0x7f80_0000 && within(at, &guard) {
            at += step;
        }
        if at.abs() <= 0x7f80_0000 {
            found.push((bits(at), false));
        }
    }
    found
}

/// One word for each upper half.
fn samples(seed: u64) -> impl Iterator<Item = u32> {
    let mut stream = Stream(seed);
    (0..1u32 << 16).map(move |upper| upper << 16 | (stream.word() as u32 & 0xffff))
}

/// Packed cases for the contract, with what Rust and the truth say of them.
#[derive(Default)]
struct Asked {
    packed: [Vec<u8>; 2],
    answers: [Vec<bool>; 2],
}

impl Asked {
    fn ask(&mut self, wide: bool, words: [u32; 3], inside: bool) {
        self.packed[usize::from(wide)].extend(words.iter().flat_map(|word| word.to_be_bytes()));
        self.answers[usize::from(wide)].push(inside);
    }

    fn hold(&self, signature: &str) {
        let mut harness = Harness::new("EnclosureHarness");
        let mut most = 0;
        for (profile, (packed, answers)) in [FAST, WIDE].into_iter().zip(self.packed.iter().zip(&self.answers)) {
            for (packed, answers) in packed.chunks(12 * 1000).zip(answers.chunks(1000)) {
                let data = harness.call(signature, &[Argument::Number(profile), Argument::Bytes(packed)]);
                most = most.max(word(&data, 1));
                for (k, answer) in answers.iter().enumerate() {
                    let case = &packed[12 * k..12 * k + 12];
                    assert_eq!(
                        data[96 + k] == 1,
                        *answer,
                        "{signature}: {case:x?}, profile {profile:#x}"
                    );
                }
            }
        }
        println!(
            "{signature}: {} cases in Solidity, most gas {most}",
            self.answers[0].len() + self.answers[1].len()
        );
        assert!(most <= 200_000, "{most} gas");
    }
}

fn functions(codes: &[Code]) {
    let mut asked = Asked::default();
    let (mut all, mut inside) = (0, 0);
    for code in codes {
        for (k, x) in samples(*code as u64).enumerate() {
            let Some(truth) = truth(*code, x) else { continue };
            for (wide, profile) in [(false, FAST), (true, WIDE)] {
                let results = results(&truth, profile);
                for (y, expected) in &results {
                    let actual = bounded(*code, profile, x, *y).inside;
                    assert_eq!(
                        actual, *expected,
                        "{code:?} of {x:#010x} as {y:#010x}, profile {profile:#x}"
                    );
                    all += 1;
                    inside += u64::from(actual);
                }
                if (k % 2 == 1) == wide {
                    let (y, expected) = results[(k / 2) % results.len()];
                    asked.ask(wide, [*code as u32, x, y], expected);
                }
            }
        }
    }
    println!("{codes:?}: {all} cases in Rust, {inside} inside");
    assert!(inside > all / 3 && inside < all * 4 / 5, "{inside} of {all}");
    asked.hold("bounded(uint256,bytes)");
}

#[test]
fn sigmoids() {
    functions(&[Code::Tanh, Code::Sigmoid, Code::GeluTanh]);
}

#[test]
fn error_functions() {
    functions(&[Code::Erf, Code::Gelu]);
}

#[test]
fn exponentials_and_logarithms() {
    functions(&[Code::Exp, Code::Log, Code::Softplus]);
}

#[test]
fn circular_functions() {
    functions(&[Code::Sin, Code::Cos]);
}

#[test]
fn powers() {
    let mut asked = Asked::default();
    let mut stream = Stream(0x4a);
    for (k, x) in samples(0x4a).enumerate() {
        let size = x & 0x7fff_ffff;
        if size == 0 || size >= 0x7f80_0000 {
            continue;
        }
        let ln = value(size).ln();
        // Exponents that give results in range, integers, halves; only integers of a negative number.
        let reach = (104.0 / ln.to_f64().value().abs()).min(1e30);
        let mut exponent = match stream.below(4) {
            0 => (stream.below(9) as f64 - 4.0) / if x >> 31 == 1 { 1.0 } else { 2.0 },
            _ => (stream.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0) * reach,
        } as f32;
        if x >> 31 == 1 {
            exponent = exponent.round();
        }
        if exponent == 0.0 || x == 0x3f80_0000 {
            continue;
        }
        let f = exp(&(ln * value(exponent.to_bits())));
        let odd = x >> 31 == 1 && exponent % 2.0 != 0.0;
        let truth = Truth {
            f: if odd { -f } else { f },
            scale: number(0),
            eta: true,
            loose: number(0),
            early: 0,
        };
        for (wide, profile) in [(false, FAST), (true, WIDE)] {
            let results = results(&truth, profile);
            for (y, expected) in &results {
                let actual = power(profile, x, exponent.to_bits(), *y).inside;
                let name = format!("{x:#010x} to the power of {exponent:e} as {y:#010x}, profile {profile:#x}");
                assert_eq!(actual, *expected, "{name}");
            }
            if (k % 2 == 1) == wide {
                let (y, expected) = results[(k / 2) % results.len()];
                asked.ask(wide, [x, exponent.to_bits(), y], expected);
            }
        }
    }
    asked.hold("power(uint256,bytes)");
}
