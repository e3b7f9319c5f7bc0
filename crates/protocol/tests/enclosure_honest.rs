//! Engines in native floats, on data built to be hard for them, are inside; slightly more than the envelope is outside.
//!
//! Prints for each family the largest honest share and the smallest relative change, in units of u = 2^-24, that is convicted.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{LayerNormRow, SoftmaxRow, batch_norm, bounded, power};
use touchstone_protocol::model::Profile;

const PROFILE: u64 = Profile::FAST.encode();

/// What a family's report says.
#[derive(Default)]
struct Report {
    elements: usize,
    largest: u64,
    at: String,
    /// In u.
    smallest_change: Option<f64>,
}

impl Report {
    /// An honest element: must be inside.
    fn take(&mut self, y: f32, describe: impl Fn() -> String, check: impl Fn(u32) -> Check) {
        let held = check(y.to_bits());
        assert!(
            held.inside,
            "honest, but outside: {} y = {y:e}, share {}",
            describe(),
            share(held.share)
        );
        self.elements += 1;
        // Below the normal numbers the last place alone is most of the envelope.
        let normal = y.abs() >= f32::MIN_POSITIVE;
        if normal && held.share > self.largest {
            self.largest = held.share;
            self.at = format!("{} y = {y:e}", describe());
        }
        if normal && self.elements % 97 == 96 {
            for sign in [1.0, -1.0] {
                let change = convicted(y, sign, &check);
                self.smallest_change = Some(self.smallest_change.map_or(change, |least| least.min(change)));
            }
        }
    }

    fn print(&self, family: &str) {
        let (elements, largest, at) = (self.elements, share(self.largest), &self.at);
        print!("{family}: {elements} honest elements, largest share {largest:.3} ({at})");
        match self.smallest_change {
            Some(change) => println!(", smallest convicted change {change:.1} u"),
            None => println!(),
        }
    }
}

fn share(share: u64) -> f64 {
    share as f64 / Check::EDGE as f64
}

/// The least relative change of y, in u, that is convicted, to within a tenth.
fn convicted(y: f32, sign: f64, check: &impl Fn(u32) -> Check) -> f64 {
    let mut change = 1.0f64;
    loop {
        let moved = f64::from(y) * (1.0 + sign * change * 2f64.powi(-24));
        if change > 1e12 || !check((moved as f32).to_bits()).inside {
            return change;
        }
        change *= 1.1;
    }
}

/// Ways of adding up.
const SUMS: [fn(&[f32]) -> f32; 4] = [
    |x| x.iter().fold(0.0, |sum, x| sum + x),
    |x| x.iter().rev().fold(0.0, |sum, x| sum + x),
    pairwise,
    |x| {
        let mut lanes = [0.0f32; 8];
        x.iter().enumerate().for_each(|(i, x)| lanes[i % 8] += x);
        pairwise(&lanes)
    },
];

fn pairwise(x: &[f32]) -> f32 {
    match x {
        [] => 0.0,
        [x] => *x,
        _ => pairwise(&x[..x.len() / 2]) + pairwise(&x[x.len() / 2..]),
    }
}

fn uniform(stream: &mut Stream) -> f32 {
    (stream.word() >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Rows of length n that are hard: large means, cancellation, near zero, subnormals, equal terms, zeros of both signs, one huge
/// term, growing terms, steps of one last place.
fn rows(stream: &mut Stream, n: usize) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for (mean, size) in [
        (0.0, 1.0),
        (0.0, 30.0),
        (1e4, 1.0),
        (-3e5, 0.5),
        (1e7, 1.0),
        (0.0, 1e-20),
        (0.0, 1e-42),
        (0.1, 0.0),
        (1e-3, 1e-9),
    ] {
        rows.push((0..n).map(|_| mean + size * uniform(stream)).collect());
    }
    let next = |x: f32| f32::from_bits(x.to_bits() + 1);
    for base in [1.0f32, 1e4, 1e6 + 0.0625, 16_777_215.0] {
        rows.push((0..n).map(|i| if i < n / 2 { base } else { next(base) }).collect());
        rows.push((0..n).map(|i| if i % 3 == 0 { next(base) } else { base }).collect());
    }
    rows.push((0..n).map(|i| if i % 2 == 0 { 1e4 } else { -1e4 }).collect());
    rows.push((0..n).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect());
    rows.push((0..n).map(|i| if i == 0 { 1e6 } else { uniform(stream) }).collect());
    rows.push(
        (0..n)
            .map(|i| if i == n - 1 { -1e6 } else { uniform(stream) })
            .collect(),
    );
    rows.push((0..n).map(|i| (i * i) as f32).collect());
    rows
}

/// libtorch's fast exponential for softmax: one-word ln 2, degree 5, results below 2^-126 flushed.
fn exp_fast(x: f32) -> f32 {
    if x < -87.336_55 {
        return 0.0;
    }
    let k = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let r = (-k).mul_add(std::f32::consts::LN_2, x);
    let factors = [0.008_289_291f32, 0.041_897_82, 0.166_676_52, 0.499_991_5, 0.999_999_7];
    let polynomial = factors
        .iter()
        .skip(1)
        .fold(factors[0], |sum, factor| sum.mul_add(r, *factor))
        .mul_add(r, 1.0);
    // Two factors, so that 2^-126 does not need a subnormal one.
    polynomial * 2f32.powi(k as i32 / 2) * 2f32.powi(k as i32 - k as i32 / 2)
}

/// As ONNX Runtime's sums of exponentials without AVX-512: arguments clamped, exponents built by a shift.
fn exp_shifted(x: f32) -> f32 {
    let x = x.max(-88.376_26);
    let k = (x * std::f32::consts::LOG2_E).round_ties_even();
    if k <= -127.0 { 0.0 } else { f64::from(x).exp() as f32 }
}

const EXPONENTIALS: [Engine; 4] = [f32::exp, |x| f64::from(x).exp() as f32, exp_fast, exp_shifted];

#[test]
fn softmax_engines_are_inside() {
    let mut stream = Stream(1);
    let mut report = Report::default();
    for n in [1, 2, 3, 17, 64, 197, 512] {
        let mut all = rows(&mut stream, n);
        // Masks, by −∞, by −1e9 added and by the least number; scores far below the maximum.
        let scores: Vec<f32> = (0..n).map(|_| 4.0 * uniform(&mut stream)).collect();
        let masked = |mask: f32| {
            scores
                .iter()
                .enumerate()
                .map(move |(i, x)| if i > n / 2 { x + mask } else { *x })
                .collect()
        };
        all.extend([
            masked(f32::NEG_INFINITY),
            masked(-1e9),
            masked(f32::MIN),
            scores.iter().map(|x| x - 1e9).collect(),
        ]);
        all.extend([vec![f32::MIN; n], (0..n).map(|i| -0.3 * i as f32).collect()]);
        all.push((0..n).map(|i| if i == 0 { f32::MAX } else { -f32::MAX }).collect());
        for row in all {
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            let prepared = SoftmaxRow::new(PROFILE, &bits);
            let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for exponential in EXPONENTIALS {
                let terms: Vec<f32> = row.iter().map(|x| exponential(x - maximum)).collect();
                for sum in SUMS {
                    let sum = sum(&terms);
                    for place in (0..n).step_by(1 + n / 16) {
                        for y in [terms[place] / sum, terms[place] * (1.0 / sum)] {
                            let describe = || format!("softmax of {n}, x − max = {:e}", row[place] - maximum);
                            report.take(y, describe, |y| prepared.check(place, y));
                        }
                    }
                }
            }
        }
    }
    report.print("softmax");
    let nothing = vec![f32::NEG_INFINITY.to_bits(); 5];
    assert!(SoftmaxRow::new(PROFILE, &nothing).check(2, f32::NAN.to_bits()).inside);
    assert!(!SoftmaxRow::new(PROFILE, &nothing).check(2, 0.2f32.to_bits()).inside);
}

/// Mean and variance, as engines compute them.
fn moments(row: &[f32]) -> Vec<(f32, f32)> {
    let n = row.len() as f32;
    let mut all = Vec::new();
    for sum in SUMS {
        for mean in [sum(row) / n, sum(row) * (1.0 / n)] {
            let squares: Vec<f32> = row.iter().map(|x| (x - mean) * (x - mean)).collect();
            all.extend([(mean, sum(&squares) / n), (mean, sum(&squares) * (1.0 / n))]);
        }
    }
    let welford = |row: &[f32]| {
        let (mut mean, mut squares) = (0.0f32, 0.0f32);
        for (i, x) in row.iter().enumerate() {
            let delta = x - mean;
            mean += delta / (i + 1) as f32;
            squares += delta * (x - mean);
        }
        (row.len(), mean, squares)
    };
    let merge = |a: (usize, f32, f32), b: (usize, f32, f32)| {
        let n = a.0 + b.0;
        let c = if n == 0 { 0.0 } else { b.0 as f32 / n as f32 };
        let delta = b.1 - a.1;
        (n, a.1 + c * delta, a.2 + (b.2 + delta * delta * c * a.0 as f32))
    };
    let (_, mean, squares) = welford(row);
    all.push((mean, squares / n));
    // Lanes by Welford, then merged into what is left over, as libtorch does with short rows.
    for lanes in [4, 8, 16] {
        let whole = row.len() / lanes * lanes;
        let mut sum = welford(&row[whole..]);
        for lane in 0..lanes {
            let part: Vec<f32> = row[..whole].iter().skip(lane).step_by(lanes).copied().collect();
            sum = merge(sum, welford(&part));
        }
        all.push((sum.1, sum.2 / n));
    }
    all
}

#[test]
fn layer_norm_engines_are_inside() {
    let mut stream = Stream(2);
    let mut report = Report::default();
    for n in [1, 2, 3, 8, 9, 16, 32, 64, 193, 384] {
        for row in rows(&mut stream, n) {
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            for eps in [1e-5f32, 1e-12] {
                let prepared = LayerNormRow::new(PROFILE, &bits, eps.to_bits());
                for (mean, variance) in moments(&row) {
                    let root = (variance + eps).sqrt();
                    let inverse = 1.0 / root;
                    for place in (0..n).step_by(1 + n / 6) {
                        let x = row[place];
                        for (g, b) in [
                            (1.0f32, 0.0f32),
                            (uniform(&mut stream), uniform(&mut stream)),
                            (-2.5, 100.0),
                        ] {
                            let all = [
                                (x - mean) / root * g + b,
                                (x - mean) * inverse * g + b,
                                ((x - mean) * (inverse * g)) + b,
                                (x * inverse - mean * inverse) * g + b,
                                (x * inverse + -mean * inverse).mul_add(g, b),
                            ];
                            for y in all {
                                let describe =
                                    || format!("layer norm of {n}, x = {x:e}, mean {mean:e}, variance {variance:e}");
                                let check = |y| prepared.check(place, g.to_bits(), b.to_bits(), y);
                                report.take(y, describe, check);
                            }
                        }
                    }
                }
            }
        }
    }
    report.print("layer norm");
}

/// Welford's last step can leave the mean on one of two neighbours and a variance of 0: |ŷ| is then far above √n, which bounds the
/// true quotient and every two-pass engine. libtorch gives just this (−19.76 for n = 16), so no such clip may convict.
#[test]
fn welford_on_neighbours_exceeds_the_textbook_clip() {
    let base = 1e6f32 + 0.0625;
    let row: Vec<f32> = (0..16).map(|i| if i < 8 { base } else { base + 0.0625 }).collect();
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    let prepared = LayerNormRow::new(PROFILE, &bits, 1e-5f32.to_bits());
    let y = -0.0625 / 1e-5f32.sqrt();
    assert!(y.abs() > 4.0 * (16f32).sqrt());
    assert!(prepared.check(0, 1f32.to_bits(), 0, y.to_bits()).inside);
}

#[test]
fn layer_norm_overflow_and_degenerate_rows() {
    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let one = 1f32.to_bits();
    let check = |row: &[f32], eps: f32, y: f32| {
        LayerNormRow::new(PROFILE, &bits(row), eps.to_bits())
            .check(0, one, one, y.to_bits())
            .inside
    };
    // Squares overflow: the variance is infinite and the quotient 0, or NaN, or right in an engine that sums in binary64.
    let large = [3e38f32, -3e38, 1e38, 0.0];
    let right = 1.0 + (3e38f64 - 2.5e37) as f32 / 2.165_064e38;
    assert!(check(&large, 1e-5, 1.0) && check(&large, 1e-5, f32::NAN) && check(&large, 1e-5, right));
    assert!(!check(&large, 1e-5, 0.9) && !check(&large, 1e-5, right * 1.001) && !check(&large, 1e-5, f32::INFINITY));
    // A merge with an empty part multiplies the square of a term by 0.
    assert!(check(&[1e20; 8], 1e-5, f32::NAN) && check(&[1e20; 8], 1e-5, 0.0) && !check(&[1e20; 8], 1e-5, 1e30));
    assert!(!check(&[9.2e18; 8], 1e-5, f32::NAN) && check(&[9.2e18; 8], 1e-5, 0.0));
    // Moderate rows admit none of that.
    let moderate = [1f32, 2.0, 4.0, 8.0];
    assert!(!check(&moderate, 1e-5, 1.0) && !check(&moderate, 1e-5, f32::NAN));
    // Equal terms: 0, up to the mean's error.
    assert!(check(&[0.1; 64], 1e-5, 1.0) && !check(&[0.1; 64], 1e-5, 1.01));
    // Without epsilon 0/0 may be anything.
    assert!(check(&[0.1; 64], 0.0, f32::NAN) && check(&[0.0; 4], 0.0, f32::NAN));
    // Not finite: nor is any result.
    assert!(check(&[1.0, f32::INFINITY], 1e-5, f32::NAN) && !check(&[1.0, f32::NAN], 1e-5, 1.0));
}

#[test]
fn batch_norm_engines_are_inside() {
    let mut stream = Stream(3);
    let mut report = Report::default();
    let sizes = [1e-6f32, 1e-3, 1.0, 1e3, 1e6];
    for _ in 0..6000 {
        let number = |stream: &mut Stream| uniform(stream) * stream.pick(&sizes);
        let (x, g, b, mean) = (
            number(&mut stream),
            number(&mut stream),
            number(&mut stream),
            number(&mut stream),
        );
        let x = if stream.below(5) == 0 {
            f32::from_bits(mean.to_bits() + stream.below(3) as u32)
        } else {
            x
        };
        let variance = number(&mut stream).abs();
        let eps = stream.pick(&[1e-5f32, 1e-3]);
        let root = (variance + eps).sqrt();
        let inverse = 1.0 / root;
        let (scale, product) = (inverse * g, mean * inverse * g);
        let quotient = g / root;
        let all = [
            (x - mean) / root * g + b,
            (x - mean) * inverse * g + b,
            x * scale + (b - product),
            x.mul_add(scale, b - mean * scale),
            x * quotient + (b - mean * quotient),
            (x * inverse - mean * inverse) * g + b,
        ];
        for y in all {
            let operands = [x, g, b, mean, variance, eps].map(f32::to_bits);
            let check = |y| {
                batch_norm(
                    PROFILE,
                    operands[0],
                    operands[1],
                    operands[2],
                    operands[3],
                    operands[4],
                    operands[5],
                    y,
                )
            };
            report.take(
                y,
                || format!("batch norm {x:e} {g:e} {b:e} {mean:e} {variance:e}"),
                check,
            );
        }
    }
    report.print("batch norm");
    // An infinite variance leaves the bias, a negative one nothing.
    let held = |variance: f32, y: f32| {
        let operands = [1.5f32, 2.0, 3.0, 0.5, variance, 1e-5].map(f32::to_bits);
        batch_norm(
            PROFILE,
            operands[0],
            operands[1],
            operands[2],
            operands[3],
            operands[4],
            operands[5],
            y.to_bits(),
        )
        .inside
    };
    assert!(held(f32::INFINITY, 3.0) && !held(f32::INFINITY, 3.1));
    assert!(held(-1.0, f32::NAN) && !held(-1.0, 3.0) && !held(1.0, f32::NAN));
}

/// erf in binary64, by its series of positive terms.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-20 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * k + 1.0);
        sum += term;
        k += 1.0;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}

/// A function as some engine computes it.
type Engine = fn(f32) -> f32;

const FUNCTIONS: [(Code, &[Engine]); 6] = [
    (Code::Erf, &[|x| erf(x.into()) as f32]),
    (
        Code::Gelu,
        &[
            |x| x * 0.5 * (1.0 + erf(f64::from(x * std::f32::consts::FRAC_1_SQRT_2)) as f32),
            |x| 0.5 * (x * (1.0 + erf(f64::from(x / std::f32::consts::SQRT_2)) as f32)),
            |x| x * (0.5 * (1.0 + erf(f64::from(x) / std::f64::consts::SQRT_2))) as f32,
        ],
    ),
    (
        Code::GeluTanh,
        &[
            |x| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            |x| x * (0.5 * (1.0 + (0.797_884_6 * x * (1.0 + 0.044_715 * x * x)).tanh())),
        ],
    ),
    (Code::Tanh, &[f32::tanh, |x| 1.0 - 2.0 / ((2.0 * x).exp() + 1.0)]),
    (
        Code::Sigmoid,
        &[
            |x| 1.0 / (1.0 + (-x).exp()),
            |x| x.exp() / (1.0 + x.exp()),
            |x| 0.5 + 0.5 * (0.5 * x).tanh(),
        ],
    ),
    (Code::Exp, &[f32::exp, |x| f64::from(x).exp() as f32]),
];

/// As [`FUNCTIONS`], without recorded values of other engines; `transcendental.rs` has every exponent of these too.
const LATER_FUNCTIONS: [(Code, &[Engine]); 4] = [
    (Code::Log, &[f32::ln, |x| f64::from(x).ln() as f32]),
    (
        Code::Softplus,
        &[
            |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
            |x| if x > 20.0 { x } else { x.exp().ln_1p() },
            |x| x.max(0.0) + (1.0 + (-x.abs()).exp()).ln(),
        ],
    ),
    (Code::Sin, &[f32::sin, |x| f64::from(x).sin() as f32]),
    (Code::Cos, &[f32::cos, |x| f64::from(x).cos() as f32]),
];

#[test]
fn bounded_engines_are_inside() {
    let mut stream = Stream(4);
    for (code, engines) in FUNCTIONS.into_iter().chain(LATER_FUNCTIONS) {
        let mut report = Report::default();
        let mut arguments: Vec<f32> = (0..9000)
            .map(|_| uniform(&mut stream) * stream.pick(&[1.0, 6.0, 20.0, 87.0]))
            .collect();
        // Every exponent, zeros, subnormals.
        arguments.extend(
            (0..=254u32)
                .flat_map(|e| [e << 23, e << 23 | 0x2a_aaaa, e << 23 | 1 << 31])
                .map(f32::from_bits),
        );
        arguments.extend([0.0, -0.0, f32::MIN_POSITIVE, -1e-40, 1e-45, f32::MAX, f32::MIN]);
        for engine in engines {
            for &x in &arguments {
                let y = engine(x);
                // x·e^x/(1 + e^x) of large x is NaN: no engine's formula there.
                if (y.is_nan() && code != Code::Log)
                    || (code == Code::Gelu && y.is_infinite() && x.is_finite() && x < 1.7e38)
                {
                    continue;
                }
                report.take(
                    y,
                    || format!("{code:?} at {x:e}"),
                    |y| bounded(code, PROFILE, x.to_bits(), y),
                );
            }
        }
        report.print(&format!("{code:?}"));
    }
}

#[test]
fn limits_of_bounded_functions() {
    let inside = |code, x: f32, y: f32| bounded(code, PROFILE, x.to_bits(), y.to_bits()).inside;
    let (plus, minus) = (f32::INFINITY, f32::NEG_INFINITY);
    for code in [Code::Erf, Code::Tanh] {
        assert!(
            inside(code, plus, 1.0)
                && inside(code, minus, -1.0)
                && !inside(code, plus, 0.99)
                && !inside(code, plus, plus)
        );
    }
    assert!(
        inside(Code::Sigmoid, plus, 1.0) && inside(Code::Sigmoid, minus, 0.0) && !inside(Code::Sigmoid, minus, 1.0)
    );
    for code in [Code::Gelu, Code::GeluTanh] {
        assert!(inside(code, plus, plus) && inside(code, minus, -0.0) && inside(code, minus, f32::NAN));
        // oneDNN forms 0 · ∞ here too, and overflows before it halves.
        assert!(inside(code, plus, f32::NAN) && inside(code, 2e38, plus) && inside(code, 2e38, 2e38));
        assert!(!inside(code, 1e38, plus) && !inside(code, 2e38, minus) && !inside(code, minus, 1.0));
    }
    assert!(inside(Code::Exp, plus, plus) && inside(Code::Exp, minus, 0.0) && inside(Code::Exp, 89.0, plus));
    assert!(!inside(Code::Exp, 88.0, plus) && !inside(Code::Exp, 89.0, f32::MAX) && !inside(Code::Exp, -200.0, 1e-44));
    for code in [
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
    ] {
        assert!(inside(code, f32::NAN, f32::NAN) && !inside(code, f32::NAN, 0.0) && !inside(code, 0.5, f32::NAN));
    }
}

#[test]
fn limits_of_logarithms_and_circular_functions() {
    let inside = |code, x: f32, y: f32| bounded(code, PROFILE, x.to_bits(), y.to_bits()).inside;
    let (plus, minus, nan) = (f32::INFINITY, f32::NEG_INFINITY, f32::NAN);
    assert!(inside(Code::Log, 0.0, minus) && inside(Code::Log, -0.0, minus) && inside(Code::Log, plus, plus));
    assert!(!inside(Code::Log, 0.0, plus) && !inside(Code::Log, 0.0, f32::MIN) && !inside(Code::Log, plus, f32::MAX));
    assert!(!inside(Code::Log, 0.0, nan) && !inside(Code::Log, -0.0, nan) && !inside(Code::Log, 1e-45, minus));
    for x in [-1e-45, -1.0, minus] {
        assert!(
            inside(Code::Log, x, nan) && !inside(Code::Log, x, 0.0) && !inside(Code::Log, x, minus),
            "{x}"
        );
    }
    assert!(inside(Code::Log, 1.0, 0.0) && inside(Code::Log, 1.0, -0.0) && !inside(Code::Log, 1.0, 1e-20));
    for code in [Code::Sin, Code::Cos] {
        assert!(
            inside(code, plus, nan) && inside(code, minus, nan) && !inside(code, plus, 0.0) && !inside(code, 1.0, plus)
        );
    }
    assert!(inside(Code::Sin, -0.0, 0.0) && !inside(Code::Sin, 0.0, 1e-45) && !inside(Code::Sin, 1e-10, 0.0));
    assert!(inside(Code::Softplus, plus, plus) && inside(Code::Softplus, minus, 0.0));
    assert!(!inside(Code::Softplus, plus, f32::MAX) && !inside(Code::Softplus, minus, 1e-6));
    assert!(!inside(Code::Softplus, 1e38, plus) && inside(Code::Softplus, 1e38, 1e38));
    for code in [Code::Log, Code::Softplus, Code::Sin, Code::Cos] {
        assert!(inside(code, nan, nan) && !inside(code, nan, 0.0) && !inside(code, 0.5, nan));
    }
}

#[test]
fn limits_of_powers() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let inside = |x: f32, e: f32, y: f32| power(PROFILE, x.to_bits(), e.to_bits(), y.to_bits()).inside;
    // What C's pow gives, and no other of these.
    let candidates = [0.0, 1.0, -1.0, inf, -inf, nan];
    for (x, e) in [
        (0.0, 0.5),
        (-0.0, 3.0),
        (0.0, -0.5),
        (-0.0, -3.0),
        (-0.0, -2.0),
        (-0.0, -0.5),
        (0.0, -inf),
        (-0.0, inf),
        (inf, 0.5),
        (inf, -2.0),
        (-inf, 3.0),
        // The least of the odd numbers, whose significand has 23 places below 1.
        (-inf, 1.0),
        (-inf, 2.0),
        (-inf, 0.5),
        (-inf, -3.0),
        (-inf, inf),
        (inf, -inf),
        (0.5, inf),
        (-0.5, inf),
        (0.5, -inf),
        (1.5, inf),
        (-1.5, inf),
        (1.5, -inf),
        (-1.5, 0.5),
        (-1e-45, -0.1),
        (nan, 2.0),
        (2.0, nan),
        (nan, nan),
        (-1.0, 3.0),
        (-1.0, 16_777_216.0),
        (-1.0, 16_777_215.0),
        (1.0, 0.3),
        (0.0, 0.0),
        (-2.0, -0.0),
        (1.0, f32::MAX),
        (2.0, 300.0),
        (-2.0, 301.0),
        (0.5, 300.0),
        (-0.5, -301.0),
        (2.0, f32::MAX),
        (2.0, f32::MIN),
        (-3.0, f32::MAX),
        (1.000_000_1, 1e10),
        (1e-45, 1e30),
        (-2.0, 2.5),
        (-2.0, 4_194_303.5),
    ] {
        let right = x.powf(e);
        for y in candidates {
            let same = y == right || (y.is_nan() && right.is_nan());
            assert_eq!(inside(x, e, y), same, "{x:e} to the power of {e:e} as {y}");
        }
    }
    // Where IEEE 754's pow gives 1 its powr gives NaN.
    for (x, e) in [
        (nan, 0.0),
        (1.0, nan),
        (inf, 0.0),
        (-inf, -0.0),
        (1.0, inf),
        (-1.0, inf),
        (-1.0, -inf),
    ] {
        for y in candidates {
            assert_eq!(
                inside(x, e, y),
                y == 1.0 || y.is_nan(),
                "{x:e} to the power of {e:e} as {y}"
            );
        }
    }
}

/// The values of libtorch 2.13 and ONNX Runtime 1.31 that are farthest from the truth (`vectors/library_functions.py`).
#[test]
fn recorded_engines_are_inside() {
    let entries: Vec<(String, String, u32, u32)> =
        serde_json::from_str(include_str!("vectors/library_functions.json")).expect("vectors");
    for (code, _) in FUNCTIONS {
        let name = format!("{code:?}");
        let mut engines: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.0 == name)
            .map(|entry| entry.1.as_str())
            .collect();
        engines.dedup();
        assert!(!engines.is_empty());
        for engine in engines {
            let mut report = Report::default();
            for (_, _, x, y) in entries.iter().filter(|entry| entry.0 == name && entry.1 == engine) {
                report.take(
                    f32::from_bits(*y),
                    || format!("{name} at {:e}", f32::from_bits(*x)),
                    |y| bounded(code, PROFILE, *x, y),
                );
            }
            report.print(&format!("{name} by {engine}"));
        }
    }
}
