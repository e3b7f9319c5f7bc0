//! Contractions under `tf32`, `bf16` and `fp16`: tensor cores as they have been found to compute, emulated, are inside on data built to be
//! hard, and the edge is where `docs/envelopes.md#tf32-bf16-fp16` says.
//!
//! Longer than the house size: the emulation, the formula and the data that tell one constant from another.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::fp32;
use touchstone_protocol::leaf::contraction::Sums;
use touchstone_protocol::model::Profile;

const ONE: f32 = 1.0;
const MINUS: u32 = fp32::SIGN;

/// What a format's numbers are, and what the rule has of them.
#[derive(Clone, Copy, Debug)]
struct Format {
    profile: Profile,
    /// Bits of the significand, exponents of normal numbers.
    bits: i32,
    least: i32,
    greatest: i32,
    /// Relative error of a rounded factor, and what underflow may cost, as the documents have them.
    rho: f64,
    omega: f64,
}

const FORMATS: [Format; 3] = [
    Format {
        profile: Profile::TF32,
        bits: 11,
        least: -126,
        greatest: 127,
        rho: 1.0 / 1024.0,
        omega: 1.175_494_350_822_287_5e-38,
    },
    Format {
        profile: Profile::BF16,
        bits: 8,
        least: -126,
        greatest: 127,
        rho: 1.0 / 256.0,
        omega: 1.175_494_350_822_287_5e-38,
    },
    Format {
        profile: Profile::FP16,
        bits: 11,
        least: -14,
        greatest: 15,
        rho: 1.0 / 2048.0,
        omega: 8.881_784_197_001_252e-16,
    },
];

fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// Exponent of a number that is not 0.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52 & 0x7ff) as i32) - 1023
}

impl Format {
    /// A factor as tensor cores read it; `cut`: truncated, which only TF32 is.
    fn round(&self, x: f32, cut: bool) -> f64 {
        let x = f64::from(x);
        if x == 0.0 || !x.is_finite() {
            return x;
        }
        let quantum = power(exponent(x).max(self.least) - self.bits + 1);
        let rounded = if cut {
            (x / quantum).trunc() * quantum
        } else {
            (x / quantum).round_ties_even() * quantum
        };
        if rounded.abs() >= power(self.greatest + 1) {
            f64::INFINITY.copysign(x)
        } else {
            rounded
        }
    }
}

/// How a core computes. Fused sums take `group` products and the accumulator, aligned to the greatest exponent with `fraction` bits
/// below its unit.
#[derive(Clone, Copy, Debug)]
struct Core {
    group: usize,
    fraction: i32,
    /// Factors are cut, not rounded to nearest: under TF32 alone.
    cut: bool,
    /// Aligned terms are rounded down, not towards zero.
    down: bool,
    /// Sums are rounded to nearest, not towards zero.
    nearest: bool,
    /// Factors and sums that are not normal become 0.
    flush: bool,
    /// A zero factor has the least exponent of the format, not that of fp32.
    zeros: bool,
    /// Parts of the terms that are summed apart, and added up in fp32.
    split: usize,
}

/// Volta, Turing or Ampere, Hopper or Blackwell; then what no core was seen to do, all at once.
const CORES: [Core; 6] = [
    core(4, 23),
    core(4, 24),
    core(8, 24),
    core(16, 25),
    Core {
        cut: false,
        down: true,
        nearest: true,
        flush: true,
        split: 3,
        ..core(4, 23)
    },
    Core {
        zeros: true,
        split: 2,
        ..core(4, 23)
    },
];

const fn core(group: usize, fraction: i32) -> Core {
    Core {
        group,
        fraction,
        cut: true,
        down: false,
        nearest: false,
        flush: false,
        zeros: false,
        split: 1,
    }
}

impl Core {
    fn result(&self, x: f64) -> f32 {
        let nearest = x as f32;
        let result = if self.nearest || f64::from(nearest).abs() <= x.abs() || x.is_nan() {
            nearest
        } else if x.abs() >= power(128) {
            f32::INFINITY.copysign(nearest)
        } else {
            f32::from_bits(nearest.to_bits() - 1)
        };
        if self.flush && result.abs() < f32::MIN_POSITIVE {
            0.0
        } else {
            result
        }
    }

    fn factor(&self, format: &Format, x: f32) -> (f64, i32) {
        let mut x = format.round(x, self.cut && format.bits == 11 && format.least == -126);
        if self.flush && x.abs() < power(format.least) {
            x = 0.0;
        }
        match x == 0.0 {
            true if !self.zeros => (x, -126),
            true => (x, format.least),
            false => (x, exponent(x).max(format.least)),
        }
    }

    /// One fused sum.
    fn fused(&self, format: &Format, products: &[(f32, f32)], accumulator: f32) -> f32 {
        let sum = f64::from(accumulator);
        let mut terms = vec![(sum, if sum == 0.0 { -126 } else { exponent(sum).max(-126) })];
        for (a, b) in products {
            let ((a, ea), (b, eb)) = (self.factor(format, *a), self.factor(format, *b));
            terms.push((a * b, ea + eb));
        }
        if terms.iter().any(|(x, _)| !x.is_finite()) {
            return terms.iter().map(|(x, _)| x).sum::<f64>() as f32;
        }
        let greatest = terms.iter().map(|(_, e)| *e).max().unwrap();
        let quantum = power(greatest - self.fraction);
        let whole: f64 = terms
            .iter()
            .map(|(x, _)| {
                if self.down {
                    (x / quantum).floor()
                } else {
                    (x / quantum).trunc()
                }
            })
            .sum();
        self.result(whole * quantum)
    }

    fn run(&self, format: &Format, products: &[(f32, f32)], values: &[f32]) -> f32 {
        let part = products.len().div_ceil(self.split).max(1);
        let mut sum: Option<f32> = None;
        for part in products.chunks(part) {
            let one = part
                .chunks(self.group)
                .fold(0.0, |sum, group| self.fused(format, group, sum));
            sum = Some(sum.map_or(one, |sum| sum + one));
        }
        values.iter().fold(sum.unwrap_or(0.0), |sum, c| sum + c)
    }
}

fn bits(products: &[(f32, f32)]) -> Vec<(u32, u32)> {
    products.iter().map(|(a, b)| (a.to_bits(), b.to_bits())).collect()
}

fn sums(format: &Format, terms: u64, products: &[(f32, f32)], values: &[f32]) -> Sums {
    let mut sums = Sums::under(format.profile.encode(), terms);
    bits(products).into_iter().for_each(|(a, b)| sums.product(a, b));
    values.iter().for_each(|c| sums.value(c.to_bits()));
    sums
}

fn check(format: &Format, terms: usize, products: &[(f32, f32)], values: &[f32], y: f32) -> Check {
    sums(format, terms as u64, products, values).check_contraction(
        products.len() as u64,
        values.len() as u64,
        y.to_bits(),
    )
}

/// Equal, growing, cancelling, alternating, just above and below where a format ends, subnormal, huge, near ties, zeros between, or
/// anything.
fn data(stream: &mut Stream, kind: u64, i: usize) -> f32 {
    let word = stream.word() as u32;
    f32::from_bits(match kind {
        0 => 0x3dcc_cccd,
        1 => ((1 + i as u32) * 3) << 21 & 0x7f00_0000 | 0x1234,
        2 => 0x3f80_0000 | (word & 0x8000_0007),
        // One large term, then all that alignment cuts off.
        3 => (127 - 12 * u32::from(i > 0)) << 23 | 0x007f_ffff,
        4 => (127 - 23 * (i as u32 % 2)) << 23 | (word & 0x807f_ffff),
        5 => (word & 0x80ff_ffff) | (0x3880_0000 - ((word >> 8 & 7) << 23)),
        6 => (word & 0x8000_ffff) | 0x477f_0000,
        7 => word & 0x83ff_ffff,
        8 => (word & 0x80ff_ffff) | 0x7e80_0000,
        // Half way between two numbers of every format.
        9 => 0x3f80_0000 | stream.pick(&[0x1000, 0x8000, 0x1001, 0x7fff, 0xfff, 0x9000]) | (word & 0x8000_0000),
        10 if i.is_multiple_of(3) => word & 0x8000_0000,
        _ => stream.number(),
    })
}

#[test]
fn emulated_tensor_cores_are_inside() {
    let mut stream = Stream(41);
    let mut worst = [0u64; 3];
    for round in 0..40_000 {
        let format = &FORMATS[round % 3];
        let core = &CORES[round / 3 % CORES.len()];
        let (n, m) = (stream.below(70) as usize, stream.below(3) as usize);
        let (first, second, third) = (stream.below(12), stream.below(12), stream.below(12));
        let products: Vec<(f32, f32)> = (0..n)
            .map(|i| (data(&mut stream, first, i), data(&mut stream, second, i)))
            .collect();
        let values: Vec<f32> = (0..m).map(|i| data(&mut stream, third, i)).collect();
        let y = core.run(format, &products, &values);
        let check = check(format, n, &products, &values, y);
        assert!(check.inside, "{format:?} {core:?} {products:?} {values:?} {y:e}");
        if y.is_finite() {
            worst[round % 3] = worst[round % 3].max(check.share);
        }
        // An engine of `fast` conforms too.
        let y = products.iter().fold(0f32, |sum, (a, b)| a.mul_add(*b, sum));
        let y = values.iter().fold(y, |sum, c| sum + c);
        assert!(
            self::check(format, n, &products, &values, y).inside,
            "{products:?} {values:?} {y:e}"
        );
    }
    for (format, worst) in FORMATS.iter().zip(worst) {
        let share = worst as f64 / Check::EDGE as f64;
        println!(
            "{:?}: greatest share of an emulated core {share:.3}",
            format.profile.kind
        );
        assert!(share > 0.9);
    }
}

/// Out of bounds an engine multiplies by 0, and fills groups up with zeros; what stands there moves the exponent that others are aligned to.
#[test]
fn padding_is_inside() {
    let mut stream = Stream(42);
    for round in 0..20_000 {
        let format = &FORMATS[round % 3];
        let core = &CORES[round / 3 % CORES.len()];
        let n = 1 + stream.below(20) as usize;
        let (first, second) = (stream.below(12), stream.below(12));
        let mut sums = Sums::under(format.profile.encode(), n as u64);
        let mut laid = Vec::new();
        let mut counted = 0;
        for i in 0..n {
            let (a, b) = (data(&mut stream, first, i), data(&mut stream, second, i));
            match stream.below(4) {
                0 => {
                    sums.unpaired(b.to_bits());
                    laid.push((0.0, b));
                }
                1 => laid.push((0.0, 0.0)),
                _ => {
                    sums.product(a.to_bits(), b.to_bits());
                    laid.push((a, b));
                    counted += 1;
                }
            }
        }
        let y = core.run(format, &laid, &[]);
        let check = sums.check_contraction(counted, 0, y.to_bits());
        assert!(check.inside, "{format:?} {core:?} {laid:?} {y:e}");
    }
}

/// The right side of the rule over its left's factor, in binary64, with the sums that the documents name.
struct Rule {
    n: f64,
    m: f64,
    terms: f64,
    /// A, R, L.
    sums: [f64; 3],
}

impl Rule {
    fn reach(&self, format: &Format) -> f64 {
        let q = self.n + self.m + 2.0 * (self.n.min((self.terms / 4.0).ceil()) + self.m);
        let [a, r, l] = self.sums;
        let right = q * (a + l) + power(23) * (2.0 * format.rho * r + 4.0 * (self.n + self.m) * format.omega);
        right / (power(23) - q)
    }
}

/// Holds the sums to the edge: S is 0, and the greatest ŷ is what the rule says.
fn edge(name: &str, format: &Format, sums: &Sums, rule: &Rule) {
    let reach = rule.reach(format);
    let mut y = reach as f32;
    if f64::from(y) > reach {
        y = f32::from_bits(y.to_bits() - 1);
    }
    for sign in [0, MINUS] {
        let held = |bits: u32| sums.check_contraction(rule.n as u64, rule.m as u64, bits | sign).inside;
        assert!(
            held(y.to_bits()),
            "{name} under {:?}: {y:e} is outside",
            format.profile.kind
        );
        assert!(
            !held(y.to_bits() + 1),
            "{name} under {:?}: above {y:e} is inside",
            format.profile.kind
        );
    }
}

fn cancelling(count: usize, a: f32, b: f32) -> Vec<(f32, f32)> {
    (0..count).map(|i| (if i % 2 == 0 { a } else { -a }, b)).collect()
}

#[test]
fn the_edge_is_where_the_formula_says() {
    for format in &FORMATS {
        for (n, terms, m) in [
            (2, 2, 0),
            (8, 8, 0),
            (6, 400, 2),
            (100, 100, 0),
            (98, 98, 4),
            (0, 9, 4),
            (0, 0, 2),
            (4000, 4000, 0),
            (4000, 4001, 0),
            (4000, 40_000, 0),
        ] {
            let values: Vec<f32> = cancelling(m, ONE, ONE).into_iter().map(|(c, _)| c).collect();
            let sums = sums(format, terms, &cancelling(n as usize, ONE, ONE), &values);
            let rule = Rule {
                n: f64::from(n),
                m: values.len() as f64,
                terms: terms as f64,
                sums: [f64::from(n) + values.len() as f64, f64::from(n), 0.0],
            };
            edge(&format!("{n} of {terms} and {m}"), format, &sums, &rule);
        }
    }
}

#[test]
fn factors_that_are_not_normal_have_room_of_their_own() {
    for format in &FORMATS {
        let least = power(format.least);
        let rule = |n: usize, sums: [f64; 3]| Rule {
            n: n as f64,
            m: 0.0,
            terms: 64.0,
            sums,
        };
        let held = |name: &str, products: &[(f32, f32)], sums: [f64; 3]| {
            edge(
                name,
                format,
                &self::sums(format, 64, products, &[]),
                &rule(products.len(), sums),
            );
        };
        // The least normal number is one; just below it is not, on either side, and two such factors count like one.
        let under = f32::from_bits((least as f32).to_bits() - 1);
        let large = power(12) as f32;
        let magnitude = 8.0 * f64::from(under) * power(12);
        let small = magnitude * (1.0 + 0.5 / format.rho);
        held(
            "normal",
            &cancelling(8, least as f32, large),
            [8.0 * least * power(12), 8.0 * least * power(12), 0.0],
        );
        let aligned = 2.0 * 8.0 * least * power(12);
        held("below", &cancelling(8, under, large), [magnitude, small, aligned]);
        held(
            "below, swapped",
            &cancelling(8, large, under),
            [magnitude, small, aligned],
        );
        let both = 8.0 * f64::from(under) * f64::from(under);
        held(
            "both below",
            &cancelling(8, under, under),
            [both, both * (1.0 + 0.5 / format.rho), 2.0 * 8.0 * least * least],
        );
        // Zeros have no magnitude, but an exponent.
        held("zeros", &cancelling(8, 0.0, large), [0.0, 0.0, aligned]);
        held(
            "nothing",
            &cancelling(8, 0.0, 0.0),
            [0.0, 0.0, 2.0 * 8.0 * least * least],
        );
        // So has padding.
        let mut sums = self::sums(format, 64, &cancelling(2, ONE, ONE), &[]);
        (0..6).for_each(|_| sums.unpaired((-large).to_bits()));
        let padded = 6.0 * 2.0 * least * power(12);
        edge("padding", format, &sums, &rule(2, [2.0, 2.0, padded]));
        let mut sums = Sums::under(format.profile.encode(), 64);
        (0..6).for_each(|_| sums.unpaired(large.to_bits()));
        sums.product(0, 0);
        edge(
            "padding alone",
            format,
            &sums,
            &rule(1, [0.0, 0.0, padded + 2.0 * least * least]),
        );
    }
}

/// Data on which a core errs by nearly all that one constant admits.
#[test]
fn each_constant_is_used() {
    let share = |format: &Format, core: &Core, products: &[(f32, f32)]| {
        let y = core.run(format, products, &[]);
        let check = check(format, products.len(), products, &[], y);
        assert!(check.inside, "{format:?} {y:e}");
        check.share as f64 / Check::EDGE as f64
    };
    for format in &FORMATS {
        // A factor cut by almost a last place, or a little above half of one: ρ.
        let core = core(4, 23);
        let whole = if format.profile == Profile::TF32 { 0x1fff } else { 0 };
        let half = (1 << (23 - format.bits)) + 1;
        let a = f32::from_bits(0x3f80_0000 | if whole == 0 { half } else { whole });
        let used = share(format, &core, &[(a, a)]);
        println!("{:?}: rounding of factors {used:.3}", format.profile.kind);
        assert!(used > 0.98);
        // A factor flushed to 0: what is lost is the whole term.
        let flush = Core { flush: true, ..core };
        let under = (0.75 * power(format.least)) as f32;
        let used = share(format, &flush, &[(under, ONE)]);
        println!("{:?}: flushed factor {used:.3}", format.profile.kind);
        assert!(used > if format.least == -14 { 0.98 } else { 0.12 });
        let used = share(format, &flush, &[(under, 32_768.0)]);
        assert!(used > 0.98, "{used}");
        // One large term, then terms that alignment cuts off whole. Rounding has more room than that unless there are many.
        let n = 1 << 18;
        let small = power(-12) as f32;
        let cut = [
            f64::from(small) - power(-12 - format.bits),
            power(-11) - power(-11 - format.bits),
        ];
        let mut products = vec![(cut[0] as f32, cut[1] as f32); n];
        products[0] = (ONE, ONE);
        let used = share(format, &core, &products);
        println!("{:?}: alignment {used:.3}", format.profile.kind);
        assert!(used > 0.5);
    }
}

/// A last place in the place of an exponent's: subnormal and zero factors are aligned by the least exponent of the format.
#[test]
fn alignment_by_small_factors_needs_its_room() {
    let format = &FORMATS[2];
    let core = Core {
        zeros: true,
        ..core(4, 23)
    };
    // 0 · 65,504 stands at 2^(-14 + 15): what is below 2^-22 is cut off.
    let lost = (power(-11) - power(-22)) as f32;
    let products = [(0.0, 65_504.0), (lost, lost), (lost, lost), (lost, lost)];
    let y = core.run(format, &products, &[]);
    assert_eq!(y, 0.0);
    let held = check(format, products.len(), &products, &[], y);
    assert!(held.inside && held.share > Check::EDGE / 10, "{held:?}");
    let others: Vec<(f32, f32)> = products.iter().copied().filter(|(a, _)| *a != 0.0).collect();
    assert!(!check(format, products.len(), &others, &[], y).inside);
}

#[test]
fn a_factor_that_the_format_rounds_to_infinity_may_be_one() {
    let largest = [0x7f7f_efff, 0x7f7f_7fff, 0x477f_efff];
    for (format, largest) in FORMATS.iter().zip(largest) {
        let among = |a: u32, b: f32| {
            let [y, up, down, nan] = {
                let products = [(f32::from_bits(a), b), (ONE, ONE)];
                let exact = f64::from(products[0].0) * f64::from(b) + 1.0;
                [exact as f32, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]
                    .map(|y| check(format, 2, &products, &[], y).inside)
            };
            [y, up, down, nan]
        };
        let tiny = power(-20) as f32;
        assert_eq!(among(largest, 0.5), [true, false, false, false], "{format:?}");
        assert_eq!(among(largest + 1, 0.5), [true, true, false, false], "{format:?}");
        assert_eq!(among((largest + 1) | MINUS, 0.5), [true, false, true, false]);
        assert_eq!(among(largest + 1, -0.5), [true, false, true, false]);
        // Where the other factor is 0, or may be flushed to it.
        assert_eq!(among(largest + 1, 0.0), [true, false, false, true]);
        assert_eq!(among(largest, 0.0), [true, false, false, false]);
        let flushed = format.least == -14;
        assert_eq!(among(largest + 1, tiny), [true, true, false, flushed]);
        // An infinite operand is one in every engine; the factor that it meets may be flushed.
        let infinite = |b: f32| {
            [1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]
                .map(|y| check(format, 1, &[(f32::INFINITY, b)], &[], y).inside)
        };
        assert_eq!(infinite(1.0), [false, true, false, false]);
        assert_eq!(infinite(-1.0), [false, false, true, false]);
        assert_eq!(infinite(tiny), [false, true, false, flushed]);
        assert_eq!(infinite(f32::from_bits(1)), [false, true, false, true]);
        assert_eq!(infinite(0.0), [false, false, false, true]);
        // Of both signs: NaN, or either.
        let over = f32::from_bits(largest + 1);
        let both = [(over, 0.5), (over, -0.5)];
        let held = [0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(|y| check(format, 2, &both, &[], y).inside);
        assert_eq!(held, [true; 4]);
        let with = [(over, 0.5), (f32::NEG_INFINITY, 0.5)];
        let held = [0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN].map(|y| check(format, 2, &with, &[], y).inside);
        assert_eq!(held, [false, false, true, true]);
        // A partner out of bounds.
        for (x, nan) in [(largest, false), (largest + 1, true), (largest + 1 + MINUS, true)] {
            let mut sums = sums(format, 2, &[(ONE, ONE)], &[]);
            sums.unpaired(x);
            let held = [ONE, f32::NAN].map(|y| sums.check_contraction(1, 0, y.to_bits()).inside);
            assert_eq!(held, [true, nan], "{format:?} {x:#x}");
        }
    }
}

#[test]
fn infinity_is_admitted_where_the_error_reaches_it() {
    let limit = power(128) - power(103);
    for format in &FORMATS {
        // Addends only, so that factors are no matter: q = 12, A = the sum of all.
        let held = |short: f64, y: f32| {
            let each = (limit * (1.0 - short * power(-23)) / 4.0) as f32;
            check(format, 0, &[], &[each; 4], y).inside
        };
        assert!(held(10.0, f32::INFINITY) && !held(14.0, f32::INFINITY));
        assert!(!held(10.0, f32::NEG_INFINITY) && !held(10.0, f32::NAN));
        // Terms of the other sign count among the error that takes the sum there, but not in the sum.
        let beside = |short: f64, y: f32| {
            let each = (limit * (1.0 - short * power(-23)) / 2.0) as f32;
            check(format, 0, &[], &[each, each, -each, -each], y).inside
        };
        assert!(beside(22.0, f32::INFINITY) && !beside(26.0, f32::INFINITY));
        assert!(beside(22.0, f32::NAN) && !beside(26.0, f32::NAN) && beside(22.0, f32::NEG_INFINITY));
        // So many that 2^23 in the place of 2^23 − q would tell: q = 3 · 2^18, a tenth.
        let many = |part: f64| {
            let each = limit * (1.0 - part * 3.0 * power(-5)) * power(-18);
            check(format, 0, &[], &vec![each as f32; 1 << 18], f32::INFINITY).inside
        };
        assert!(many(0.99) && !many(1.01));
        assert!(check(format, 0, &[], &[f32::MAX, f32::MAX, f32::MAX], f32::INFINITY).inside);
        assert!(!check(format, 0, &[], &[f32::MAX, f32::MAX, -0.99 * f32::MAX], f32::NAN).inside);
    }
}

/// The envelope convicts: weights scaled by 1 + 2^-5, or rounded to 4 bits, on ordinary data. One element of a matrix is enough.
#[test]
fn cheats_on_ordinary_data_are_outside() {
    for format in &FORMATS {
        let mut stream = Stream(43);
        let mut outside = [0; 3];
        let elements = 200;
        for _ in 0..elements {
            let n = 64 + stream.below(320) as usize;
            let mut uniform = || (stream.word() >> 40) as f32 / (1 << 23) as f32 - 1.0;
            let products: Vec<(f32, f32)> = (0..n).map(|_| (uniform(), 0.1 * uniform())).collect();
            let bias = [uniform()];
            let core = CORES[2];
            let honest = core.run(format, &products, &bias);
            assert!(check(format, n, &products, &bias, honest).inside);
            let with = |weight: fn(f32) -> f32| {
                let changed: Vec<(f32, f32)> = products.iter().map(|(a, b)| (*a, weight(*b))).collect();
                core.run(format, &changed, &bias)
            };
            let cheats = [
                with(|b| b * (1.0 + 1.0 / 32.0)),
                with(|b| f32::from_bits((b.to_bits() + 0x0008_0000) & 0xfff0_0000)),
                honest + 0.03,
            ];
            for (outside, y) in outside.iter_mut().zip(cheats) {
                *outside += u32::from(!check(format, n, &products, &bias, y).inside);
            }
        }
        println!("{:?}: outside of {elements}: {outside:?}", format.profile.kind);
        assert!(
            outside.iter().all(|count| *count >= elements / 100),
            "{format:?} {outside:?}"
        );
    }
}

/// Sums, means and all that is enclosed are as under `fast`.
#[test]
fn what_is_no_contraction_is_as_under_fast() {
    let mut stream = Stream(44);
    for _ in 0..2_000 {
        let values: Vec<u32> = (0..1 + stream.below(9)).map(|_| stream.pattern()).collect();
        let y = stream.pick(&[stream.clone().pattern(), values.iter().copied().fold(0, fp32::add)]);
        let held = |profile: Profile| {
            let mut sums = Sums::under(profile.encode(), values.len() as u64);
            values.iter().for_each(|x| sums.value(*x));
            [
                sums.check_sum(values.len() as u64, y),
                sums.check_mean(values.len() as u64, 3, y),
            ]
        };
        for format in &FORMATS {
            assert_eq!(held(format.profile), held(Profile::FAST));
        }
    }
}
