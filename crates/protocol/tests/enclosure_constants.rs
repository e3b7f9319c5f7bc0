//! Every envelope ends where `docs/envelopes.md` says, on data that make each of its terms count.
//!
//! The ends are computed anew here, in binary64 from the page's formulas; a result just within must be inside, one just beyond
//! outside. A constant that is halved, doubled or dropped moves the end of at least one case and fails it.
#![allow(clippy::expect_used, clippy::panic, clippy::too_many_arguments)]

use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{batch_norm, bounded, layer_norm, moment_roundings, power, softmax};
use touchstone_protocol::model::Profile;

const PROFILE: u64 = Profile::FAST.encode();
const U: f64 = 1.0 / (1 << 24) as f64;
/// 2k_rel·u and k_abs·u.
const RELATIVE: f64 = 16.0 * U;
const ABSOLUTE: f64 = 4.0 * U;
/// Half of the least subnormal.
fn eta() -> f64 {
    2f64.powi(-150)
}

/// The number nearest to `value` that is not beyond it on the way from `centre` (`within`), or not short of it.
fn rounded(value: f64, centre: f64, within: bool) -> f32 {
    let near = value as f32;
    let up = value > centre;
    // Going up and staying within rounds down, and so on.
    let down = up == within;
    let bits = |x: f32| {
        if x < 0.0 {
            -i64::from((-x).to_bits())
        } else {
            i64::from(x.to_bits())
        }
    };
    let number = |order: i64| {
        if order < 0 {
            -f32::from_bits(-order as u32)
        } else {
            f32::from_bits(order as u32)
        }
    };
    match (down, f64::from(near) > value, f64::from(near) < value) {
        (true, true, _) => number(bits(near) - 1),
        (false, _, true) => number(bits(near) + 1),
        _ => near,
    }
}

/// Holds the check to the ends `centre − below` and `centre + above`, to within `slack` of the widths.
fn ends(name: &str, centre: f64, below: f64, above: f64, slack: f64, check: impl Fn(u32) -> Check) {
    for (end, width) in [(centre - below, -below), (centre + above, above)] {
        let within = rounded(centre + width * (1.0 - slack), centre, true);
        let beyond = rounded(centre + width * (1.0 + slack), centre, false);
        let near = (f64::from(within) - centre) / width;
        assert!(near > 0.8, "{name}: no number near the end {end:e} but at {near} of it");
        assert!(
            check(within.to_bits()).inside,
            "{name}: {within:e}, at {near:.4} of the width, is outside"
        );
        let far = (f64::from(beyond) - centre) / width;
        assert!(
            !check(beyond.to_bits()).inside,
            "{name}: {beyond:e}, at {far:.4} of the width, is inside"
        );
    }
}

fn bounded_ends(name: &str, code: Code, x: f32, f: f64, width: f64) {
    ends(name, f, width, width, 0.004, |y| bounded(code, PROFILE, x.to_bits(), y));
}

#[test]
fn bounded_relative_error() {
    let x = 0.68f32;
    let f = f64::from(x).exp();
    bounded_ends("exp", Code::Exp, x, f, RELATIVE * f);
    let x = 80.1f32;
    let f = f64::from(x).exp();
    bounded_ends("exp of much", Code::Exp, x, f, RELATIVE * f);
    let x = 0.6f32;
    let f = f64::from(x).tanh();
    bounded_ends("tanh", Code::Tanh, x, f, RELATIVE * f + ABSOLUTE);
}

#[test]
fn bounded_error_of_logarithms_and_powers() {
    for x in [3.0f32, 0.3, 1.000_000_1, 1e-40, 3e38] {
        let f = f64::from(x).ln();
        bounded_ends("log", Code::Log, x, f, RELATIVE * f.abs());
    }
    for (x, exponent) in [
        (3.1f32, 2.3f32),
        (0.3, 41.7),
        (1.000_001, -3e7),
        (-1.7, 7.0),
        (2.5e-3, -11.0),
    ] {
        let f = f64::from(x.abs()).powf(exponent.into()) * f64::from(x.signum());
        let check = |y| power(PROFILE, x.to_bits(), exponent.to_bits(), y);
        ends("pow", f, RELATIVE * f.abs(), RELATIVE * f.abs(), 0.004, check);
    }
    for x in [-30f32, -0.3, 0.9, 7.0, 127.0, 129.0, 1e30] {
        let f = f64::from(x).max(0.0) + (-f64::from(x).abs()).exp().ln_1p();
        bounded_ends("softplus", Code::Softplus, x, f, RELATIVE * f + ABSOLUTE);
    }
}

#[test]
fn bounded_error_of_circular_functions() {
    for x in [0.3f32, -0.97, 1.3, 2.9, 3.9, -5.0, 100.0, 1e5, 3e38] {
        let (sin, cos) = (f64::from(x).sin(), f64::from(x).cos());
        let scale = f64::from(x).abs().min(1.0);
        bounded_ends("sin", Code::Sin, x, sin, RELATIVE * sin.abs() + ABSOLUTE * scale);
        bounded_ends("cos", Code::Cos, x, cos, RELATIVE * cos.abs() + ABSOLUTE);
    }
    // Near zeros the absolute error alone: π, 3π/2, and a small argument, whose sine is as accurate as it is.
    let pi = std::f32::consts::PI;
    bounded_ends("sin of π", Code::Sin, pi, f64::from(pi).sin(), ABSOLUTE);
    bounded_ends(
        "cos of 3π/2",
        Code::Cos,
        4.712_389,
        f64::from(4.712_389f32).cos(),
        ABSOLUTE,
    );
    let little = f64::from(1e-20f32);
    bounded_ends(
        "sin of little",
        Code::Sin,
        1e-20,
        little,
        (RELATIVE + ABSOLUTE) * little,
    );
}

#[test]
fn bounded_absolute_error() {
    bounded_ends("erf", Code::Erf, 0.0, 0.0, ABSOLUTE);
    bounded_ends("tanh", Code::Tanh, 0.0, 0.0, ABSOLUTE);
    let f = 1.0 / (1.0 + 30f64.exp());
    bounded_ends("sigmoid", Code::Sigmoid, -30.0, f, RELATIVE * f + ABSOLUTE);
    bounded_ends("gelu", Code::Gelu, -30.0, 0.0, ABSOLUTE * 60.0);
    bounded_ends("gelu tanh", Code::GeluTanh, -30.0, 0.0, ABSOLUTE * 30.0);
}

#[test]
fn bounded_underflow() {
    // e^x between two subnormals: both may be its rounding, their neighbours not. 2.5 last places.
    let last = 2f64.powi(-149);
    let x = (2.4999 * last).ln() as f32;
    let f = f64::from(x).exp() / last;
    assert!((f - 2.5).abs() < 0.01);
    let held = |units: u32| bounded(Code::Exp, PROFILE, x.to_bits(), units).inside;
    // Only the nearest, or both if the argument's own error reaches the middle.
    assert_eq!([1, 2, 3, 4].map(held), [false, f <= 2.5, f >= 2.5, false]);
    let exponent = -149.0 + 2.4999f32.log2();
    let f = f64::from(exponent).exp2() / last;
    assert!((f - 2.5).abs() < 0.01);
    let held = |units: u32| power(PROFILE, 2f32.to_bits(), exponent.to_bits(), units).inside;
    assert_eq!([1, 2, 3, 4].map(held), [false, f <= 2.5, f >= 2.5, false]);
    // Half of an odd subnormal rounds either way.
    let held = |units: u32| bounded(Code::Gelu, PROFILE, 5, units).inside;
    assert_eq!([1, 2, 3, 4].map(held), [false, true, true, false]);
    let held = |units: u32| bounded(Code::GeluTanh, PROFILE, 5, units).inside;
    assert_eq!([1, 2, 3, 4].map(held), [false, true, true, false]);
}

/// Ends of a softmax: own term and the others at their extremes, `roundings` of the sum and the quotient.
fn softmax_ends(name: &str, row: &[f32], place: usize, roundings: f64, slack: f64) {
    let maximum = row.iter().copied().fold(f32::MIN, f32::max);
    let term = |x: f32| {
        let t = f64::from(maximum) - f64::from(x);
        let e = (-t).exp();
        if t >= 104.0 {
            return [0.0, e, 2.0 * eta()];
        }
        let kept = 1.0 - t * U - RELATIVE;
        let lo = e * kept;
        [if lo < 2f64.powi(-126) { 0.0 } else { lo }, e, e / kept + eta()]
    };
    let own = term(row[place]);
    let others = row
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != place)
        .map(|(_, x)| term(*x));
    let rest = others.fold([0.0; 3], |sum, term| std::array::from_fn(|i| sum[i] + term[i]));
    let kept = 1.0 - roundings * U;
    let [lo, centre, hi] = [
        own[0] / (own[0] + rest[2]) * kept,
        own[1] / (own[1] + rest[1]),
        own[2] / (own[2] + rest[0]) / kept,
    ];
    let half = if centre < 2f64.powi(-126) { eta() } else { 0.0 };
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    ends(name, centre, centre - lo + half, hi - centre + half, slack, |y| {
        softmax(PROFILE, &bits, place, y)
    });
}

#[test]
fn softmax_argument_rounding() {
    softmax_ends("t = 80", &[0.0, -80.0], 1, 3.0, 0.004);
    softmax_ends("t = 30", &[17.0, -13.0, 16.5], 1, 4.0, 0.004);
}

#[test]
fn softmax_library_function() {
    softmax_ends("t = 0.7", &[0.0, -0.7], 1, 3.0, 0.004);
    softmax_ends("the maximum itself", &[1.0, 0.9, 0.2], 0, 4.0, 0.004);
}

#[test]
fn softmax_sums() {
    softmax_ends("a thousand equal terms", &[0.3; 1000], 7, 1001.0, 0.004);
    // Terms of the mask are 0, and adding 0 rounds nothing.
    let row: Vec<f32> = (0..1000)
        .map(|i| if i < 40 { 0.3 } else { f32::NEG_INFINITY })
        .collect();
    softmax_ends("masked terms", &row, 7, 41.0, 0.004);
    for mask in [-1e9, 0.3 - 104.5] {
        let row: Vec<f32> = (0..1000).map(|i| if i < 40 { 0.3 } else { mask }).collect();
        softmax_ends("masked terms", &row, 7, 41.0, 0.004);
    }
}

#[test]
fn softmax_quotient() {
    // Only the quotient rounds: a reciprocal and a product are two roundings.
    let held = |y: f32| softmax(PROFILE, &[0], 0, y.to_bits()).inside;
    assert!(held(1.0) && held(1.0 + 2.0 * U as f32) && held(1.0 - 2.0 * U as f32));
    assert!(!held(1.0 + 4.0 * U as f32) && !held(1.0 - 3.0 * U as f32));
}

#[test]
fn softmax_underflow() {
    // Results: a subnormal rounds by half of its last place.
    let shift = 100.0f32;
    softmax_ends("subnormal", &[0.0, -shift, 0.0], 1, 4.0, 0.02);
    // The exponential itself rounds first: 0.51 last places to 1, the quotient 1/1.85 to 1 again. The truth is 0.28.
    let [half, other] = [-(103.972f32), 0.85f32.ln()];
    let row = [0.0, half, other].map(f32::to_bits);
    let units = f64::from(half).exp() / 2f64.powi(-149);
    assert!(units > 0.5 && units / 1.85 + 0.5 < 1.0 && (units + 0.25) / 1.85 + 0.5 < 1.0);
    assert!(softmax(PROFILE, &row, 1, 1).inside && !softmax(PROFILE, &row, 1, 2).inside);
    // Exponentials below 2^-126 may be flushed, others not.
    let held = |t: f32| softmax(PROFILE, &[0, (-t).to_bits()], 1, 0).inside;
    assert!(held(87.4) && held(87.336_55) && !held(87.3));
}

/// What a layer norm's ends are made of; see `docs/envelopes.md#normalize`.
fn layer_ends(name: &str, row: &[f32], place: usize, g: f32, b: f32, eps: f32, slack: f64) {
    let n = row.len() as f64;
    let k = moment_roundings(row.len()) as f64 * U;
    let gamma = k / (1.0 - k);
    let wide: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
    let mean = wide.iter().sum::<f64>() / n;
    let reach = gamma * wide.iter().map(|x| x.abs()).sum::<f64>() / n + (n + 1.0) / 2.0 * eta();
    let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let spread = 8f64.sqrt() * variance.sqrt() * reach + 2.0 * reach * reach;
    let underflow = 2.0 * n * eta();
    let lo = (((variance - spread) * (1.0 - k)).max(0.0) - underflow).max(0.0) + f64::from(eps);
    let hi = (variance + spread) / (1.0 - k) + underflow + f64::from(eps);
    let quotient = |c: f64| {
        if c > 0.0 {
            c / lo.sqrt() / (1.0 - 8.0 * U)
        } else {
            c / hi.sqrt() * (1.0 - 8.0 * U)
        }
    };
    let (g, b) = (f64::from(g), f64::from(b));
    let c = (wide[place] - mean) * g.signum();
    let centre = c / (variance + f64::from(eps)).sqrt() * g.abs() + b;
    let largest = 1f64.max(g.abs()).max(c.abs() + reach).log2().floor() as i32 + 1;
    let least = 2f64.powi(largest + 2 - 150);
    // ŷ − u|ŷ| − η ≤ end.
    let above = quotient(c + reach) * g.abs() + b + least;
    let above = if above > 0.0 {
        above / (1.0 - U)
    } else {
        above / (1.0 + U)
    };
    let below = -quotient(reach - c) * g.abs() + b - least;
    let below = if below > 0.0 {
        below / (1.0 + U)
    } else {
        below / (1.0 - U)
    };
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    let (scale, bias) = ((g as f32).to_bits(), (b as f32).to_bits());
    let check = |y| layer_norm(PROFILE, &bits, place, scale, bias, eps.to_bits(), y);
    ends(name, centre, centre - below, above - centre, slack, check);
}

/// 1, −1, 1, … · size + mean, with one larger deviation.
fn waves(n: usize, mean: f32, size: f32, peak: f32) -> Vec<f32> {
    (0..n)
        .map(|i| {
            mean + if i == 1 {
                peak
            } else if i % 2 == 0 {
                size
            } else {
                -size
            }
        })
        .collect()
}

#[test]
fn layer_norm_mean() {
    // The mean's error is nearly all of it.
    layer_ends("large mean", &waves(1000, 100.0, 1.0, 0.0), 1, 1.0, 0.0, 1e-5, 0.004);
    layer_ends("short row", &waves(7, 30.0, 1.0, 0.0), 1, 1.9, 0.0, 1e-5, 0.01);
}

#[test]
fn layer_norm_spread_of_the_variance() {
    // A large deviation sees the variance's error: first order, then second order beside it.
    layer_ends("first order", &waves(500, 30.0, 1.0, 20.0), 1, -1.0, 0.0, 1e-5, 0.004);
    layer_ends("second order", &waves(1000, 4000.0, 1.0, 20.0), 1, 1.0, 0.0, 0.2, 0.004);
    layer_ends(
        "variance may be 0",
        &waves(1000, 30_000.0, 1.0, 25.0),
        1,
        1.0,
        0.0,
        0.2,
        0.004,
    );
}

#[test]
fn layer_norm_roundings_of_the_variance() {
    let mut row = waves(1000, 0.0, 1.0, 40.0);
    row[3] = -40.0;
    layer_ends("large deviation, no mean", &row, 1, 1.0, 0.0, 1e-5, 0.004);
}

#[test]
fn layer_norm_quotient() {
    layer_ends("two terms", &[1.0, -1.0], 0, 1.99, 0.0, 1e-5, 0.02);
    // One term far away: few roundings on a mean that does not matter, eight on the quotient.
    let mut row = vec![0.0; 16];
    row[0] = 1000.0;
    layer_ends("one large term", &row, 0, 1.03, 0.0, 1e-5, 0.02);
    layer_ends("a huge epsilon", &[3.0, -3.0, 1e-3], 0, 3e5, 0.0, 1e12, 0.02);
}

#[test]
fn layer_norm_last_sum() {
    // 1 + 0.98u rounds to 1.
    let row = [1.0f32, -1.0].map(f32::to_bits);
    let held = |g: f32, y: f32| layer_norm(PROFILE, &row, 0, g.to_bits(), 1f32.to_bits(), 0, y.to_bits()).inside;
    let u = U as f32;
    assert_eq!(0.98 * u + 1.0, 1.0);
    assert!(held(0.98 * u, 1.0) && held(-0.48 * u, 1.0));
    assert!(!held(1.1 * u, 1.0));
    layer_ends("a bias", &[1.0, -1.0, 0.5], 0, 0.05, 1.9, 1e-5, 0.02);
}

#[test]
fn layer_norm_underflow() {
    // Subnormal terms: roundings in the mean alone, below every other.
    let tiny = f32::from_bits(4000);
    layer_ends(
        "subnormal terms",
        &[tiny, -tiny, 0.0, tiny, 0.0, 0.0, -tiny, 0.0],
        0,
        1e5,
        0.0,
        1e-5,
        0.02,
    );
    // Squares below the least subnormal's size.
    let small = 2f32.powi(-71);
    layer_ends(
        "small squares",
        &waves(64, 0.0, small, small),
        0,
        1.0,
        0.0,
        2f32.powi(-145),
        0.01,
    );
    // Results of a few last places.
    layer_ends(
        "subnormal results",
        &[f32::from_bits(900), 0.0],
        0,
        1.99,
        0.0,
        3.9,
        0.02,
    );
    let tiny = f32::from_bits(900);
    layer_ends("of a small scale", &[tiny, 0.0], 0, 0.3, 0.0, 3.9, 0.02);
    layer_ends("of a large scale", &[tiny, 0.0], 0, 3e5, 0.0, 3.9, 0.02);
    layer_ends("of large terms", &[3e5, -3e5], 0, 1e-40, 0.0, 1e-5, 0.02);
}

#[test]
fn layer_norm_subnormal_results_of_an_engine() {
    // x·r − μ·r: two subnormal products, then times 1.99. The error reaches more than half of what underflow is given.
    let (g, eps) = (1.99f32, 3.9f32);
    let mut most = 0.0f64;
    for a in 0..400u32 {
        for b in [0, 3, 7, 101] {
            let row = [f32::from_bits(a), f32::from_bits(b)];
            let mean = (row[0] + row[1]) / 2.0;
            let inverse = 1.0 / (eps + 0.0f32).sqrt();
            let y = (row[0] * inverse - mean * inverse) * g;
            let bits = row.map(f32::to_bits);
            assert!(
                layer_norm(PROFILE, &bits, 0, g.to_bits(), 0, eps.to_bits(), y.to_bits()).inside,
                "{a} {b}"
            );
            let right = (f64::from(row[0]) - f64::from(row[1])) / 2.0 / f64::from(eps).sqrt() * f64::from(g);
            most = most.max((f64::from(y) - right).abs() / eta());
        }
    }
    assert!(most > 4.0, "{most}");
}

/// The reciprocal root of `x`, off by a little less than two last places, as NVIDIA's rsqrtf may be.
fn careless_reciprocal_root(x: f32, up: bool) -> f32 {
    let root = 1.0 / f64::from(x).sqrt();
    let last = f64::from(f32::from_bits((root as f32).to_bits() + 1)) - f64::from(root as f32);
    rounded(root + if up { 2.0 } else { -2.0 } * last, root, true)
}

#[test]
fn careless_reciprocal_roots_are_inside() {
    // Exact mean and variance, so that the quotient's roundings are all there is.
    let mut most = 0.0f64;
    for x in [1.0f32, 1.7, 2.9] {
        for up in [false, true] {
            let (g, eps) = (1.01f32, 1e-5f32);
            let inverse = careless_reciprocal_root(x * x + eps, up);
            let y = x * inverse * g;
            let right = f64::from(x) / (f64::from(x) * f64::from(x) + f64::from(eps)).sqrt() * f64::from(g);
            most = most.max((f64::from(y) - right).abs() / right / U);
            let row = [x, -x].map(f32::to_bits);
            assert!(layer_norm(PROFILE, &row, 0, g.to_bits(), 0, eps.to_bits(), y.to_bits()).inside);
            let operands = [x, g, 0.0, 0.0, x * x, eps].map(f32::to_bits);
            let check = batch_norm(
                PROFILE,
                operands[0],
                operands[1],
                operands[2],
                operands[3],
                operands[4],
                operands[5],
                y.to_bits(),
            );
            assert!(check.inside);
        }
    }
    assert!(most > 3.0, "{most}");
}

fn batch_ends(name: &str, x: f32, g: f32, b: f32, mean: f32, variance: f32, eps: f32, slack: f64) {
    let [wide_x, wide_g, wide_b, wide_mean] = [x, g, b, mean].map(f64::from);
    let root = (f64::from(variance) + f64::from(eps)).sqrt();
    let centre = (wide_x - wide_mean) * wide_g / root + wide_b;
    let largest = 1f64
        .max(wide_g.abs())
        .max(wide_x.abs())
        .max(wide_mean.abs())
        .log2()
        .floor() as i32
        + 1;
    let gamma = |k: f64| k * U / (1.0 - k * U);
    let width = gamma(9.0) * (wide_x.abs() + wide_mean.abs()) * wide_g.abs() / root
        + gamma(2.0) * wide_b.abs()
        + 2f64.powi(largest + 3 - 150);
    let operands = [x, g, b, mean, variance, eps].map(f32::to_bits);
    ends(name, centre, width, width, slack, |y| {
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
    });
}

#[test]
fn batch_norm_products_and_bias() {
    batch_ends("cancellation", 1000.5, 0.7, 0.0, 1000.0, 0.3, 1e-5, 0.004);
    batch_ends("cancellation with the bias", 3.0, -0.9, 3.3, 1e-3, 0.66, 1e-3, 0.02);
    // 1 − μ·α and then + x·α, each just short of half a last place: 1.96 u in all.
    let u = U as f32;
    let (alpha, mean, x) = (1.0f32, -0.98 * u, 0.98 * u);
    assert_eq!(x.mul_add(alpha, 1.0 - mean * alpha), 1.0);
    let one = 1f32.to_bits();
    let held = |y: f32| batch_norm(PROFILE, x.to_bits(), one, one, mean.to_bits(), one, 0, y.to_bits()).inside;
    assert!(held(1.0) && held(1.0 + 2.0 * u) && !held(1.0 - u) && !held(1.0 + 6.0 * u));
    batch_ends("underflow", 1e-39, 1.99, 0.0, 0.0, 1.0, 1e-5, 0.02);
    batch_ends("of small factors", 1e-20, 1e-21, 0.0, 0.0, 1.0, 1e-5, 0.02);
    batch_ends("of a large scale", 1e-40, 3e5, 0.0, 0.0, 1.0, 1e-5, 0.02);
    batch_ends("of a large term", 3e5, 1e-40, 0.0, 0.0, 1.0, 1e-5, 0.02);
    batch_ends("of a large mean", 0.0, 1e-40, 0.0, 3e5, 1.0, 1e-5, 0.02);
}
