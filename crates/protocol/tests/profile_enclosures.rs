//! Library functions, softmax and norms under `wide`: each end is where `docs/envelopes.md` says (`profile_engines.rs` has the engines).
//!
//! A rounding cell is 2^28 times wider than u, so an end is looked for where the result is 0 — then the cell is small and the
//! end is the bound alone — or where the truth lies next to the middle between two numbers.
#![allow(clippy::expect_used, clippy::panic)]

use touchstone_protocol::check::Check;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{
    LayerNormRow, SoftmaxRow, batch_norm, bounded, layer_norm, moment_roundings, softmax,
};
use touchstone_protocol::model::Profile;

const WIDE: u64 = Profile::WIDE.encode();
const FAST: u64 = Profile::FAST.encode();
/// u.
const U: f64 = 1.0 / (1u64 << 53) as f64;
const MINUS: u32 = 1 << 31;

/// Holds `check` to an end at `end` > 0 beyond 0: what it rounds to is the last number inside, within `slack` of it.
fn end(name: &str, end: f64, slack: f64, check: impl Fn(u32) -> Check) {
    let within = ((end * (1.0 - slack)) as f32).to_bits();
    let beyond = ((end * (1.0 + slack)) as f32).to_bits() + 1;
    assert!(check(within).inside, "{name}: {:e} is outside", f32::from_bits(within));
    assert!(!check(beyond).inside, "{name}: {:e} is inside", f32::from_bits(beyond));
}

/// Both ends of an envelope around 0.
fn ends(name: &str, at: f64, slack: f64, check: impl Fn(u32) -> Check) {
    end(name, at, slack, &check);
    end(name, at, slack, |y| check(y | MINUS));
}

#[test]
fn bounded_absolute_errors() {
    let held = |code: Code, x: f32| move |y: u32| bounded(code, WIDE, x.to_bits(), y);
    ends("erf 0", 4.0 * U, 0.0, held(Code::Erf, 0.0));
    ends("tanh 0", 4.0 * U, 0.0, held(Code::Tanh, 0.0));
    end("sigmoid", 4.0 * U, 1e-7, held(Code::Sigmoid, -60.0));
    end("sigmoid below 0", 4.0 * U, 1e-7, |y| {
        bounded(Code::Sigmoid, WIDE, (-60f32).to_bits(), y | MINUS)
    });
    // The cut of erf leaves 2^-50 of |x| on the side of the result.
    end("gelu", 240.0 * U, 1e-7, held(Code::Gelu, -30.0));
    end("gelu", 480.0 * U, 1e-7, |y| {
        bounded(Code::Gelu, WIDE, (-30f32).to_bits(), y | MINUS)
    });
    ends("gelu tanh", 120.0 * U, 1e-7, held(Code::GeluTanh, -30.0));
}

/// The next number above or below.
fn neighbour(y: f32, up: bool) -> f32 {
    f32::from_bits(if up { y.to_bits() + 1 } else { y.to_bits() - 1 })
}

/// Holds f > 0 at arguments where it lies beside the middle between two numbers (found by looking through all of them), `width` times
/// its size being the room that the envelope has: the first two near enough for both numbers to be inside, the others just too far.
fn beside_middles(
    name: &str,
    arguments: [u32; 4],
    f: impl Fn(f64) -> f64,
    width: impl Fn(f64) -> f64,
    check: impl Fn(u32, u32) -> Check,
) {
    for (at, x) in arguments.into_iter().enumerate() {
        let truth = f(value(x));
        let near = truth as f32;
        let far = neighbour(near, truth > f64::from(near));
        let middle = f64::midpoint(f64::from(near), f64::from(far));
        let distance = (truth - middle).abs() / truth / width(value(x));
        assert!(if at < 2 {
            0.5 < distance && distance < 0.9
        } else {
            1.2 < distance && distance < 3.0
        });
        assert!(check(x, near.to_bits()).inside, "{name} at {x:#x}");
        assert_eq!(
            check(x, far.to_bits()).inside,
            at < 2,
            "{name} at {x:#x}: {distance:.2} of the width"
        );
    }
}

fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

#[test]
fn bounded_relative_errors() {
    let held = |code: Code| move |x: u32, y: u32| bounded(code, WIDE, x, y);
    let arguments = [0x3d1a_274e, 0x3fe6_7199, 0x3c60_8a0e, 0x3c97_1aaa];
    beside_middles("exp", arguments, f64::exp, |_| 16.0 * U, held(Code::Exp));
    let arguments = [0x40ac_b4d0, 0x40ac_b4d0, 0x3ef6_afee, 0x3f97_fbc7];
    beside_middles(
        "tanh",
        arguments,
        f64::tanh,
        |x| (16.0 + 4.0 / x.tanh()) * U,
        held(Code::Tanh),
    );
}

#[test]
fn softmax_roundings() {
    // The argument's rounding t·u, the library function of both terms that matter, four roundings.
    for (t, arguments) in [
        (20f64, [0x3e7c_06bb, 0x3e92_2a9c, 0x3e3d_a7c7, 0x3e36_60ab]),
        (24.0, [0x3eab_d4cd, 0x3f17_225f, 0x3e02_ffe5, 0x3e74_2274]),
        (30.0, [0x3e3e_ddca, 0x3e4f_7ad5, 0x3e1a_2e77, 0x3e60_be81]),
    ] {
        let f = |x: f64| 1.0 / (1.0 + t.exp() + (t - x).exp());
        beside_middles(
            &format!("t = {t}"),
            arguments,
            f,
            |_| (t + 36.0) * U,
            |x, y| softmax(WIDE, &[(-t as f32).to_bits(), 0, x ^ MINUS], 0, y),
        );
    }
}

/// Many equal terms and one that varies: the sum's roundings, n + 2, beside the library functions' 32.
#[test]
fn softmax_sums() {
    let n = 4000;
    let mut found = [0; 2];
    for x in 0x3f00_0000..0x3f80_0000 {
        if found == [3, 3] {
            break;
        }
        let truth = 1.0 / (f64::from(n) + (-value(x)).exp());
        let near = truth as f32;
        let far = neighbour(near, truth > f64::from(near));
        let middle = f64::midpoint(f64::from(near), f64::from(far));
        let distance = (truth - middle).abs() / truth / (f64::from(n) + 34.0) / U;
        let kind = usize::from(distance > 1.0);
        if !(0.6..1.6).contains(&distance) || (0.9..1.1).contains(&distance) || found[kind] > 2 {
            continue;
        }
        let mut row = vec![0; n as usize];
        row.push(x ^ MINUS);
        let prepared = SoftmaxRow::new(WIDE, &row);
        assert!(prepared.check(7, near.to_bits()).inside);
        assert_eq!(
            prepared.check(7, far.to_bits()).inside,
            distance < 1.0,
            "{distance} at {x:#x}"
        );
        found[kind] += 1;
    }
    assert_eq!(found, [3, 3]);
}

#[test]
fn below_a_power_of_two_the_cell_ends_at_a_quarter() {
    // 1 − 1.5 · 2^-25 rounds to the number below 1; half a last place of 1 would reach it.
    let short = 1.5 * 2f64.powi(-25);
    let held = |name: &str, check: &dyn Fn(u32) -> Check, sign: u32| {
        let one = 1f32.to_bits() | sign;
        assert!(
            check(one - 1).inside && !check(one).inside && !check(one - 2).inside,
            "{name}"
        );
    };
    held("exp", &|y| bounded(Code::Exp, WIDE, (-short as f32).to_bits(), y), 0);
    let row = [0, (short.ln() as f32).to_bits()];
    held("softmax", &|y| softmax(WIDE, &row, 0, y), 0);
    for (sign, b) in [(0, 1f32), (MINUS, -1.0)] {
        let g = -b * short as f32;
        let tiny = 2f32.powi(-126);
        held("layer norm", &layer(&[1.0, -1.0], 0, g, b, tiny), sign);
        let [x, g, b, mean, variance, eps] = [1.0, g, b, 0.0, 1.0, tiny].map(f32::to_bits);
        held(
            "batch norm",
            &|y| batch_norm(WIDE, x, g, b, mean, variance, eps, y),
            sign,
        );
    }
    // Below the least normal number nothing changes: half of 2^-149 short of it is a tie.
    let least = f32::MIN_POSITIVE;
    let check = layer(&[1.0, -1.0], 0, -f32::from_bits(1), least, 3.0);
    let bits = least.to_bits();
    assert!(check(bits).inside && check(bits - 1).inside && !check(bits + 1).inside && !check(bits - 2).inside);
}

#[test]
fn softmax_keeps_small_terms() {
    // e^-100 is subnormal in fp32, and flushed by some engines; in binary64 it is neither.
    let row = [0, (-100f32).to_bits()];
    let right = ((-100f64).exp() / (1.0 + (-100f64).exp())) as f32;
    let held = |y: u32| softmax(WIDE, &row, 1, y).inside;
    assert!(held(right.to_bits()) && !held(0) && !held(right.to_bits() + 1) && !held(right.to_bits() - 1));
    assert!(softmax(FAST, &row, 1, 0).inside);
    // e^-88: normal numbers near the end of fp32.
    let right = ((-87.5f64).exp()) as f32;
    let held = |y: u32| softmax(WIDE, &[0, (-87.5f32).to_bits()], 1, y).inside;
    assert!(held(right.to_bits()) && !held(0) && !held(right.to_bits() + 2));
    // An exponential of 0.51 last places divided by 1.85 is 0; rounded before, it would have been 1.
    let row = [0.0, -103.972f32, 0.85f32.ln()].map(f32::to_bits);
    assert!(softmax(WIDE, &row, 1, 0).inside && !softmax(WIDE, &row, 1, 1).inside && softmax(FAST, &row, 1, 1).inside);
    // Below half of the least number there is only 0.
    let held = |y: u32| softmax(WIDE, &[0, (-104.5f32).to_bits()], 1, y).inside;
    assert!(held(0) && held(MINUS) && !held(1));
    assert!(softmax(FAST, &[0, (-104.5f32).to_bits()], 1, 1).inside);
    let masked = [0, f32::NEG_INFINITY.to_bits(), (-1e9f32).to_bits()];
    assert!(softmax(WIDE, &masked, 0, 1f32.to_bits()).inside && softmax(WIDE, &masked, 2, 0).inside);
    assert!(!softmax(WIDE, &masked, 0, 1f32.to_bits() - 1).inside && !softmax(WIDE, &masked, 1, 1).inside);
    assert!(softmax(WIDE, &[f32::INFINITY.to_bits()], 0, f32::NAN.to_bits()).inside);
}

fn layer(row: &[f32], place: usize, g: f32, b: f32, eps: f32) -> impl Fn(u32) -> Check {
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    move |y| layer_norm(WIDE, &bits, place, g.to_bits(), b.to_bits(), eps.to_bits(), y)
}

#[test]
fn layer_norm_mean() {
    // The place's term is the mean itself, so the whole envelope is the mean's error, K(n)·u·mean|x|.
    for (n, mean) in [(3usize, 100f32), (101, 4096.0), (1001, 0.5), (2001, 2_000_000.0)] {
        let row: Vec<f32> = (0..n)
            .map(|i| {
                mean + if i == 0 {
                    0.0
                } else if i % 2 == 0 {
                    0.25
                } else {
                    -0.25
                }
            })
            .collect();
        let variance = 0.0625 * (n - 1) as f64 / n as f64;
        let reach = moment_roundings(n) as f64 * U * f64::from(mean);
        ends(
            "mean",
            reach / (variance + 3.0).sqrt(),
            1e-6,
            layer(&row, 0, 1.0, 0.0, 3.0),
        );
    }
}

#[test]
fn layer_norm_of_subnormals() {
    // A mean of subnormals is kept to 53 bits: nothing like half of the least subnormal is lost, times 10^30 it would be seen.
    let tiny = f32::from_bits(4);
    let row: Vec<f32> = (0..1001)
        .map(|i| {
            if i == 0 {
                0.0
            } else if i % 2 == 0 {
                tiny
            } else {
                -tiny
            }
        })
        .collect();
    let k = moment_roundings(row.len()) as f64;
    let size = 1000.0 / 1001.0 * f64::from(tiny);
    let at = k * U * size * f64::from(1e30f32) / 2f64.powi(-63);
    ends("subnormals", at, 1e-6, layer(&row, 0, 1e30, 0.0, 2f32.powi(-126)));
    // Nor is a variance of 2^-142 beside the least epsilon: 1,000 · 2^-149 would move the result by 2^-14.
    let (size, least) = (2f32.powi(-71), 2f32.powi(-126));
    let row: Vec<f32> = (0..1000).map(|i| if i % 2 == 0 { size } else { -size }).collect();
    let right = f64::from(size) / (2f64.powi(-142) + f64::from(least)).sqrt();
    let check = layer(&row, 0, 1.0, 0.0, least);
    let bits = (right as f32).to_bits();
    assert!(check(bits).inside && !check(bits + 2).inside && !check(bits - 2).inside);
}

#[test]
fn layer_norm_deviation_variance_and_quotient() {
    // ŷ = (x − μ)/√(v + ε)·g + β = 0: both parts cancel, and what is left is the bound.
    for (row, eps, root) in [(vec![1f32, -1.0], 3f32, 2f64), (vec![3.0, 1.0, 3.0, 1.0], 8.0, 3.0)] {
        let n = row.len();
        let k = moment_roundings(n) as f64;
        let size = row.iter().map(|x| f64::from(x.abs())).sum::<f64>() / n as f64;
        // Of (x − μ), relative to 1; of v = 1, of the root; eight of the quotient.
        let spread = 8f64.sqrt() * k * size + k;
        let relative = k * size + spread / (2.0 * root * root) + 8.0;
        for (g, b) in [(root as f32, -1f32), (-8.0 * root as f32, 8.0)] {
            let check = layer(&row, 0, g, b, eps);
            ends("layer norm", relative * U * f64::from(b.abs()), 1e-6, check);
        }
    }
}

#[test]
fn layer_norm_last_sum_is_rounded_twice() {
    // 1 + q with q a little more than 2^-24: binary64 gives 1 + 2^-24, the middle, which goes to 1.
    let g = 2f32.powi(-24) * (1.0 + f32::EPSILON);
    let found = (0..4_000_000u32).find_map(|step| {
        let eps = f32::from_bits(2f32.powi(-22).to_bits() - step);
        let q = f64::from(g) / (1.0 + f64::from(eps)).sqrt();
        (q > 2f64.powi(-24) + 2f64.powi(-60) && q < 2f64.powi(-24) + 2f64.powi(-54)).then_some((eps, q))
    });
    let (eps, q) = found.expect("an epsilon");
    assert_eq!((1.0 + q) as f32, 1.0);
    let check = layer(&[1.0, -1.0], 0, g, 1.0, eps);
    assert!(check(1f32.to_bits()).inside && check(1f32.to_bits() + 1).inside && !check(1f32.to_bits() - 1).inside);
}

#[test]
fn batch_norm_products_and_bias() {
    let held = |operands: [f32; 6]| {
        let [x, g, b, mean, variance, eps] = operands.map(f32::to_bits);
        move |y| batch_norm(WIDE, x, g, b, mean, variance, eps, y)
    };
    // x = μ: what is left is γ(9) of both.
    ends(
        "products",
        9.0 * 2000.0 * 0.5 * U,
        1e-6,
        held([1000.0, 1.0, 0.0, 1000.0, 3.0, 1.0]),
    );
    // The bias cancels the product: two roundings more, of the bias.
    ends("bias", (9.0 + 2.0) * U, 1e-6, held([1.0, -2.0, 1.0, 0.0, 3.0, 1.0]));
    ends(
        "bias",
        (9.0 * 3.0 + 2.0) * 8.0 * U,
        1e-6,
        held([2.0, 16.0, -8.0, 1.0, 3.5, 0.5]),
    );
}

#[test]
fn a_variance_that_may_be_0_without_epsilon_is_not_judged() {
    let held = |eps: f32, y: f32| layer(&[1.0; 4], 2, 1.0, 0.0, eps)(y.to_bits()).inside;
    assert!([f32::NAN, f32::INFINITY, 0.0, 7.0].into_iter().all(|y| held(0.0, y)));
    let least = 2f32.powi(-126);
    assert!(held(least, 0.0) && !held(least, f32::NAN) && !held(least, f32::INFINITY));
}

#[test]
fn nothing_overflows_or_underflows_on_the_way() {
    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    // Squares beyond fp32: one answer, no NaN, no zero.
    let row = [3e38f32, -3e38, 1e38, 0.0];
    let right = 1.0 + (3e38f64 - 2.5e37) / 2.165_063_509e38;
    let check = |y: f32| {
        LayerNormRow::new(WIDE, &bits(&row), 1e-5f32.to_bits())
            .check(0, 1f32.to_bits(), 1f32.to_bits(), y.to_bits())
            .inside
    };
    assert!(check(right as f32) && !check(1.0) && !check(f32::NAN) && !check(f32::INFINITY));
    assert!(!check(neighbour(right as f32, true)) || !check(neighbour(right as f32, false)));
    // A quotient beyond fp32's end rounds to infinity, and a bias brings it back.
    let held = |g: f32, b: f32, y: f32| layer(&[1.0, -1.0], 0, g, b, 0.5)(y.to_bits()).inside;
    let quotient = f64::from(f32::MAX) / 1.5f64.sqrt();
    assert!(held(f32::MAX, 0.0, quotient as f32) && !held(f32::MAX, 0.0, f32::INFINITY));
    assert!(held(f32::MAX, f32::MAX, f32::INFINITY) && !held(f32::MAX, f32::MAX, f32::MAX));
    let small = layer(&[1e-20, -1e-20], 0, 1e30, -3e38, 2f32.powi(-126));
    let right = 1e-20f32 as f64 * 1e30f32 as f64 / (1e-20f32 as f64 * 1e-20f32 as f64 + 2f64.powi(-126)).sqrt()
        - 3e38f32 as f64;
    assert!(
        small((right as f32).to_bits()).inside
            && !small(f32::NAN.to_bits()).inside
            && !small(f32::NEG_INFINITY.to_bits()).inside
    );
    let held = |g: f32, b: f32, y: f32| {
        let operands = [1.5f32, g, b, 0.5, 0.25, 2f32.powi(-126)].map(f32::to_bits);
        batch_norm(
            WIDE,
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
    assert!(held(f32::MAX, 0.0, f32::INFINITY) && !held(f32::MAX, 0.0, f32::NAN) && !held(f32::MAX, 0.0, f32::MAX));
    assert!(
        held(f32::MAX, -f32::MAX, f32::MAX)
            && !held(f32::MAX, -f32::MAX, f32::INFINITY)
            && !held(1.0, 0.0, 2.000_000_2)
    );
    // No number's gate takes GELU to infinity.
    for code in [Code::Gelu, Code::GeluTanh] {
        let held = |x: f32, y: f32| bounded(code, WIDE, x.to_bits(), y.to_bits()).inside;
        assert!(held(f32::MAX, f32::MAX) && !held(f32::MAX, f32::INFINITY) && held(f32::INFINITY, f32::INFINITY));
        // Half of an odd subnormal is a tie.
        assert_eq!(
            [1, 2, 3, 4].map(|y| held(f32::from_bits(5), f32::from_bits(y))),
            [false, true, true, false]
        );
    }
    let held = |x: f32, y: f32| bounded(Code::Exp, WIDE, x.to_bits(), y.to_bits()).inside;
    assert!(held(88.8, f32::INFINITY) && !held(88.7, f32::INFINITY) && !held(88.8, f32::MAX) && held(-104.0, 0.0));
    assert!(!held(-103.0, 0.0) && held(-103.0, f32::from_bits(1)) && !held(-103.0, f32::from_bits(2)));
}

#[test]
fn blocks_are_for_sums_alone() {
    let blocked = Profile::blocked(16).expect("a block").encode();
    let row: Vec<u32> = (0..40).map(|i| (i as f32 * 0.37).to_bits()).collect();
    for y in (0..400).map(|step| 0x3e00_0000 + step * 0x4_1234) {
        assert_eq!(softmax(blocked, &row, 39, y), softmax(FAST, &row, 39, y));
        let norm = |profile| layer_norm(profile, &row, 20, 0x3f80_0000, 0, 0x3727_c5ac, y);
        assert_eq!(norm(blocked), norm(FAST));
        assert_eq!(bounded(Code::Tanh, blocked, y, y), bounded(Code::Tanh, FAST, y, y));
    }
}

/// +∞ stands for everything from 2^128 − 2^103 on and for nothing below: it has no cell of its own.
#[test]
fn infinity_begins_where_it_is_rounded_to() {
    let step = 2f32.powi(103);
    let sum = |bias: f32, y: f32| {
        let operands = [1.0, f32::MAX, bias, 0.0, 1.0, 0.0, y].map(f32::to_bits);
        let [x, scale, bias, mean, variance, eps, y] = operands;
        batch_norm(WIDE, x, scale, bias, mean, variance, eps, y).inside
    };
    assert!(sum(0.6 * step, f32::MAX) && !sum(0.6 * step, f32::INFINITY));
    assert!(sum(1.4 * step, f32::INFINITY) && !sum(1.4 * step, f32::MAX));
}
