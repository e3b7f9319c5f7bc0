//! Engines that compute library functions, softmax and norms in binary64 and round once are inside under `wide`, on data built to be hard.
#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{LayerNormRow, SoftmaxRow, batch_norm, bounded};
use touchstone_protocol::model::Profile;

const WIDE: u64 = Profile::WIDE.encode();
const MINUS: u32 = 1 << 31;

/// A library function in binary64.
type Engine = fn(f64) -> f64;

/// The next number above.
fn next(x: f32) -> f32 {
    f32::from_bits(x.to_bits() + 1)
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
    sum * (-x * x).exp() * FRAC_2_SQRT_PI
}

fn uniform(stream: &mut Stream, size: f32) -> f32 {
    ((stream.word() >> 40) as f32 / (1 << 23) as f32 - 1.0) * size
}

#[test]
fn library_functions_in_binary64_are_inside() {
    let mut stream = Stream(31);
    let engines: [(Code, Engine); 13] = [
        (Code::Erf, erf),
        (Code::Gelu, |x| x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))),
        (Code::Gelu, |x| 0.5 * (x * (1.0 + erf(x / 2f64.sqrt())))),
        (Code::GeluTanh, |x| {
            0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }),
        (Code::Tanh, f64::tanh),
        (Code::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Code::Sigmoid, |x| 0.5 + 0.5 * (0.5 * x).tanh()),
        (Code::Exp, f64::exp),
        (Code::Log, f64::ln),
        (Code::Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        (Code::Softplus, |x| x.max(0.0) + (1.0 + (-x.abs()).exp()).ln()),
        (Code::Sin, f64::sin),
        (Code::Cos, f64::cos),
    ];
    let mut arguments: Vec<f32> = (0..20_000)
        .map(|i| uniform(&mut stream, [1.0, 6.0, 20.0, 100.0][i % 4]))
        .collect();
    arguments.extend(
        (0..=254u32)
            .flat_map(|e| [e << 23, e << 23 | 0x2a_aaaa, e << 23 | MINUS])
            .map(f32::from_bits),
    );
    for (code, engine) in engines {
        for &x in &arguments {
            let y = engine(x.into()) as f32;
            assert!(
                bounded(code, WIDE, x.to_bits(), y.to_bits()).inside,
                "{code:?} at {x:e}: {y:e}"
            );
        }
    }
}

fn pairwise(x: &[f64]) -> f64 {
    match x {
        [] => 0.0,
        [x] => *x,
        _ => pairwise(&x[..x.len() / 2]) + pairwise(&x[x.len() / 2..]),
    }
}

const SUMS: [fn(&[f64]) -> f64; 3] = [|x| x.iter().sum(), |x| x.iter().rev().sum(), pairwise];

/// Large means, cancellation, near zero, subnormals, equal terms, masks, one huge term, steps of one last place.
fn rows(stream: &mut Stream, n: usize) -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = [
        (0.0, 1.0),
        (0.0, 30.0),
        (1e4, 1.0),
        (1e7, 1.0),
        (0.0, 1e-20),
        (0.0, 1e-42),
        (0.1, 0.0),
        (0.0, 1e38),
    ]
    .into_iter()
    .map(|(mean, size)| (0..n).map(|_| mean + uniform(stream, size)).collect())
    .collect();
    for base in [1.0f32, 1e6 + 0.0625, 16_777_215.0] {
        rows.push((0..n).map(|i| if i % 3 == 0 { next(base) } else { base }).collect());
    }
    rows.push((0..n).map(|i| if i % 2 == 0 { 1e4 } else { -1e4 }).collect());
    rows.push(
        (0..n)
            .map(|i| if i == 0 { 1e6 } else { uniform(stream, 1.0) })
            .collect(),
    );
    rows
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn softmax_in_binary64_is_inside() {
    let mut stream = Stream(32);
    for n in [1, 2, 3, 17, 64, 300] {
        let mut all = rows(&mut stream, n);
        for mask in [f32::NEG_INFINITY, -1e9, f32::MIN] {
            all.push(
                (0..n)
                    .map(|i| if i > n / 2 { mask } else { uniform(&mut stream, 4.0) })
                    .collect(),
            );
        }
        all.push((0..n).map(|i| -0.5 * i as f32).collect());
        for row in all {
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            let prepared = SoftmaxRow::new(WIDE, &bits);
            let values = wide(&row);
            let maximum = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let terms: Vec<f64> = values.iter().map(|x| (x - maximum).exp()).collect();
            for sum in SUMS.map(|sum| sum(&terms)) {
                for (place, term) in terms.iter().enumerate() {
                    for y in [term / sum, term * (1.0 / sum)] {
                        let check = prepared.check(place, (y as f32).to_bits());
                        assert!(check.inside && check.share <= Check::EDGE, "{n} {place} {y:e} {row:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn norms_in_binary64_are_inside() {
    let mut stream = Stream(33);
    for n in [1, 2, 3, 8, 33, 200] {
        for row in rows(&mut stream, n) {
            let values = wide(&row);
            let mut moments: Vec<(f64, f64)> = SUMS
                .map(|sum| {
                    let mean = sum(&values) / n as f64;
                    let squares: Vec<f64> = values.iter().map(|x| (x - mean) * (x - mean)).collect();
                    (mean, sum(&squares) * (1.0 / n as f64))
                })
                .to_vec();
            let (mut mean, mut squares) = (0.0f64, 0.0f64);
            for (i, x) in values.iter().enumerate() {
                let delta = x - mean;
                mean += delta / (i + 1) as f64;
                squares += delta * (x - mean);
            }
            moments.push((mean, squares / n as f64));
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            for eps in [1e-5f32, 1e-12] {
                let prepared = LayerNormRow::new(WIDE, &bits, eps.to_bits());
                for (mean, variance) in &moments {
                    let root = (variance + f64::from(eps)).sqrt();
                    let inverse = 1.0 / root;
                    for place in (0..n).step_by(1 + n / 8) {
                        let x = values[place];
                        for (g, b) in [
                            (1.0f32, 0.0f32),
                            (uniform(&mut stream, 1.0), uniform(&mut stream, 1.0)),
                            (-2.5, 100.0),
                        ] {
                            let (wide_g, wide_b) = (f64::from(g), f64::from(b));
                            for y in [
                                (x - mean) / root * wide_g + wide_b,
                                (x - mean) * (inverse * wide_g) + wide_b,
                                (x * inverse - mean * inverse).mul_add(wide_g, wide_b),
                            ] {
                                let check = prepared.check(place, g.to_bits(), b.to_bits(), (y as f32).to_bits());
                                assert!(
                                    check.inside && check.share <= Check::EDGE,
                                    "{n} {place} {g} {b} {eps} {y:e} {row:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    for round in 0..20_000 {
        let size = [1e-6f32, 1e-3, 1.0, 1e3, 1e30][round % 5];
        let mut number = || uniform(&mut stream, size);
        let (x, g, b, mean, variance) = (number(), number(), number(), number(), number().abs());
        let x = if round % 3 == 0 { next(mean) } else { x };
        let [wide_x, wide_g, wide_b, wide_mean] = [x, g, b, mean].map(f64::from);
        let inverse = 1.0 / (f64::from(variance) + f64::from(1e-5f32)).sqrt();
        let alpha = inverse * wide_g;
        for y in [
            (wide_x - wide_mean) * inverse * wide_g + wide_b,
            wide_x * alpha + (wide_b - wide_mean * alpha),
            wide_x.mul_add(alpha, wide_b - wide_mean * alpha),
        ] {
            let [x, g, b, mean, variance, eps] = [x, g, b, mean, variance, 1e-5].map(f32::to_bits);
            let check = batch_norm(WIDE, x, g, b, mean, variance, eps, (y as f32).to_bits());
            assert!(
                check.inside && check.share <= Check::EDGE,
                "{x:#x} {g:#x} {b:#x} {mean:#x} {variance:#x} {y:e}"
            );
        }
    }
}
