//! Where the enclosed families' rules begin and end: the longest rows, the largest and smallest numbers, what stands for −∞.
#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use touchstone_protocol::descriptor::Code;
use touchstone_protocol::enclosure::{batch_norm, bounded, layer_norm, softmax};
use touchstone_protocol::model::Profile;
use touchstone_protocol::parts::most_terms;

const PROFILE: u64 = Profile::FAST.encode();
const ONE: u32 = 0x3f80_0000;

fn softmax_holds(row: &[f32], place: usize, y: f32) -> bool {
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    softmax(PROFILE, &bits, place, y.to_bits()).inside
}

#[test]
fn the_longest_rows_are_judged_and_longer_ones_are_not() {
    let most = 1 << 20;
    assert_eq!(
        (most_terms(PROFILE), most_terms(Profile::WIDE.encode())),
        (most, 1 << 24)
    );
    let row = vec![0.0; most as usize + 1];
    assert!(!softmax_holds(&row[1..], 0, 0.5) && softmax_holds(&row, 0, 0.5));
    let row = vec![ONE; most as usize + 1];
    // K(2^20)·u is a sixteenth: the mean is off by a fifteenth of the terms at most, and their spread by little more.
    let norm = |row: &[u32]| layer_norm(PROFILE, row, 0, ONE, 0, ONE, 9f32.to_bits()).inside;
    assert!(!norm(&row[1..]) && norm(&row));
    for n in [2048, 2049] {
        assert!(!norm(&row[..n]), "{n}");
    }
}

#[test]
fn minus_infinity_is_below_every_number() {
    assert!(softmax_holds(&[f32::MIN, f32::NEG_INFINITY], 0, 1.0));
    assert!(!softmax_holds(&[f32::MIN, f32::NEG_INFINITY], 0, f32::NAN));
    assert!(softmax_holds(&[f32::MIN, f32::NEG_INFINITY], 1, 0.0));
    assert!(!softmax_holds(&[f32::MIN, f32::NEG_INFINITY], 1, 0.5));
}

#[test]
fn a_term_is_negligible_from_104_on() {
    let place = |t: f32, y: u32| softmax(PROFILE, &[0, (-t).to_bits()], 1, y).inside;
    // e^-104 is just below half of the least subnormal, so an exponential may round up to that, and its quotient with it.
    assert!(place(104.0, 0) && place(104.0, 1) && !place(104.0, 2));
    assert!(place(1e9, 0) && place(1e9, 1) && !place(1e9, 2));
    // Of two maxima an exponential of 2^-149 gives half of that, which may be rounded up.
    let shared = |y: u32| softmax(PROFILE, &[0, 0, (-104f32).to_bits()], 2, y).inside;
    assert!(shared(0) && shared(1) && !shared(2));
    // Above, no engine gives much more than the truth: e^-103 is 1.3 least subnormals.
    assert!(place(103.0, 1) && place(103.0, 2) && !place(103.0, 3));
}

#[test]
fn an_exponential_below_the_normal_numbers_is_off_by_half_a_last_place() {
    // e^-t in last places of the subnormals; the exponential rounds by half of one, the quotient by another half.
    for (t, units, inside) in [
        (103.5666f32, 0.75, [true, true, false, false]),
        (103.2301, 1.05, [true, true, true, false]),
        (102.6, 1.97, [true, true, true, false]),
        (102.57, 2.03, [true, true, true, true]),
    ] {
        assert!((f64::from(-t).exp() / 2f64.powi(-149) - units).abs() < 0.01);
        let held = [0, 1, 2, 3].map(|y| softmax(PROFILE, &[0, (-t).to_bits()], 1, y).inside);
        assert_eq!(held, inside, "{units}");
    }
}

#[test]
fn a_row_with_nan_or_infinity_gives_nan() {
    for odd in [f32::NAN, -f32::NAN, f32::INFINITY] {
        for row in [[odd, 0.0, 1.0], [0.0, odd, 1.0], [0.0, odd, odd]] {
            for place in 0..3 {
                assert!(softmax_holds(&row, place, f32::NAN), "{row:?}");
                for y in [0.0, 0.25, 0.5, 1.0, f32::INFINITY] {
                    assert!(!softmax_holds(&row, place, y), "{row:?}: {y}");
                }
            }
        }
    }
    for y in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5] {
        assert!(!softmax_holds(&[0.0, 0.0], 0, y), "{y}");
    }
}

#[test]
fn gelu_overflows_before_it_is_halved() {
    // x = 2^127·(1 − k·u): f(x) = x with 16 u + 8 u of error reaches half of 2^128 − 2^103, 2^127·(1 − u/2), up to k = 24.
    let below = |k: u32| 0x7f00_0000 - k;
    let holds = |x: u32, y: f32| bounded(Code::Gelu, PROFILE, x, y.to_bits()).inside;
    assert!(holds(below(24), f32::INFINITY) && !holds(below(25), f32::INFINITY));
    assert!(!holds(below(24) | 1 << 31, f32::NEG_INFINITY));
    // The tanh form: 16 u + 4 u.
    let holds = |x: u32, y: f32| bounded(Code::GeluTanh, PROFILE, x, y.to_bits()).inside;
    assert!(holds(below(20), f32::INFINITY) && !holds(below(21), f32::INFINITY));
}

#[test]
fn exponentials_near_and_far() {
    let holds = |x: f32, y: f32| bounded(Code::Exp, PROFILE, x.to_bits(), y.to_bits()).inside;
    let last = f32::from_bits(1);
    // Below 2^-184 only 0 is near; an argument may be any size.
    for x in [-127.9, -128.0, -130.0, -1e30, f32::MIN, f32::NEG_INFINITY] {
        assert!(
            holds(x, 0.0) && holds(x, -0.0) && !holds(x, last) && !holds(x, -last),
            "{x}"
        );
    }
    for x in [127.9, 128.0, 130.0, 1e30, f32::MAX, f32::INFINITY] {
        assert!(
            holds(x, f32::INFINITY) && !holds(x, f32::MAX) && !holds(x, f32::NEG_INFINITY),
            "{x}"
        );
    }
    // Overflow: from where the truth with its error reaches 2^128 − 2^103, whose logarithm is 88.722 839; last places are 7.6e-6.
    let first = 88.722_84f32;
    assert!(holds(first, f32::INFINITY) && !holds(first.next_down(), f32::INFINITY));
}

#[test]
fn infinite_results_of_norms_need_an_overflow() {
    let (infinity, minus) = (f32::INFINITY.to_bits(), f32::NEG_INFINITY.to_bits());
    let batch = |x: f32, g: f32, b: f32, y: u32| {
        let [x, g, b, mean, variance] = [x, g, b, 0.0, 1.0].map(f32::to_bits);
        batch_norm(PROFILE, x, g, b, mean, variance, 1e-5f32.to_bits(), y).inside
    };
    // 2^100 · 2^25 and below: nothing reaches 2^126, so nothing overflows on the way.
    let (x, g) = (2f32.powi(100), 2f32.powi(20));
    assert!(!batch(x, g, 0.0, infinity) && !batch(x, g, 0.0, f32::NAN.to_bits()) && !batch(x, g, 0.0, minus));
    assert!(batch(x, 2f32.powi(28), 0.0, infinity));
    assert!(batch(1.0, 1.0, f32::MAX, infinity) && !batch(1.0, 1.0, 2f32.powi(120), infinity));
}

fn layer_holds(row: &[f32], eps: f32, g: f32, b: f32, y: f32) -> bool {
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    let [eps, g, b, y] = [eps, g, b, y].map(f32::to_bits);
    layer_norm(PROFILE, &bits, 0, g, b, eps, y).inside
}

#[test]
fn layer_norms_of_what_is_not_finite_are_not_finite() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    for (row, g, b) in [
        ([infinity, 1.0], 1.0, 0.0),
        ([1.0, nan], 1.0, 0.0),
        ([1.0, 2.0], infinity, 0.0),
        ([1.0, 2.0], nan, 0.0),
        ([1.0, 2.0], 1.0, -infinity),
        ([1.0, 2.0], 1.0, nan),
    ] {
        for y in [nan, infinity, -infinity] {
            assert!(layer_holds(&row, 1e-5, g, b, y), "{row:?} {g} {b}");
        }
        for y in [0.0, -1.0, f32::MAX] {
            assert!(!layer_holds(&row, 1e-5, g, b, y), "{row:?} {g} {b}: {y}");
        }
    }
}

#[test]
fn layer_norms_whose_squares_may_overflow_admit_nan_and_zero() {
    let waves = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|i| 2f32.powi(62) * if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect()
    };
    // Twice n·2^124 against 2^128: from eight terms on.
    for (n, overflows) in [(2, false), (4, false), (8, true), (16, true)] {
        assert!(layer_holds(&waves(n), 1e-5, 1.0, 0.0, 1.0));
        assert_eq!(layer_holds(&waves(n), 1e-5, 1.0, 0.0, f32::NAN), overflows, "{n}");
        assert_eq!(layer_holds(&waves(n), 1e-5, 1.0, 0.0, 0.0), overflows, "{n}");
        assert!(!layer_holds(&waves(n), 1e-5, 1.0, 0.0, -0.5) && !layer_holds(&waves(n), 1e-5, 1.0, 0.0, 1.5));
    }
    // One square alone, from 2^63 on.
    let alone = |x: f32| layer_holds(&[x, x], 1e-5, 1.0, 0.0, f32::NAN);
    assert!(alone(2f32.powi(63)) && !alone(2f32.powi(63).next_down()));
}

#[test]
fn quotients_that_may_overflow_on_the_way_are_not_judged() {
    // ŝ is the root of the least epsilon, 2^-63; its reciprocal times the scale reaches 2^127 for a scale of 2^64.
    let least = f32::MIN_POSITIVE;
    for (scale, judged) in [(60, true), (62, true), (66, false), (100, false)] {
        assert_eq!(
            !layer_holds(&[0.0, 0.0], least, 2f32.powi(scale), 0.0, f32::NAN),
            judged,
            "{scale}"
        );
        let operands = [0.0, 2f32.powi(scale), 0.0, 0.0, 0.0, least, 5.0].map(f32::to_bits);
        let [x, g, b, mean, variance, eps, y] = operands;
        assert_eq!(
            !batch_norm(PROFILE, x, g, b, mean, variance, eps, y).inside,
            judged,
            "{scale}"
        );
    }
    // The variance of large neighbours may be 0 by its error, and epsilon is nothing beside its other end.
    let base = 2f32.powi(61);
    assert!(layer_holds(
        &[base, base.next_up(), base, base],
        least,
        1.0,
        0.0,
        f32::NAN
    ));
}

#[test]
fn products_may_overflow_before_the_bias_of_the_other_sign() {
    // One term away from fifteen: (x − μ)/σ = √15. The product is `size` times 2^128.
    let mut row = [0f32; 16];
    row[0] = 1000.0;
    let held = |size: f64, b: f32, y: f32| {
        let g = (size * 2f64.powi(128) / 15f64.sqrt()) as f32;
        layer_holds(&row, 1e-5, g, b, y)
    };
    let (infinity, large) = (f32::INFINITY, 2f32.powi(127));
    assert!(held(1.2, 0.0, infinity) && held(1.2, -large, infinity) && held(3.0, 0.0, infinity));
    assert!(held(-1.2, 0.0, -infinity) && held(-1.2, large, -infinity) && held(-3.0, 0.0, -infinity));
    // Added before anything overflows it is another sum.
    assert!(held(1.2, -large, (0.7 * 2f64.powi(128)) as f32));
    assert!(!held(0.9, 0.0, infinity) && held(0.9, large, infinity) && !held(1.2, 0.0, -infinity));
}

/// x, scale, bias, mean, variance, epsilon, y.
fn batch_holds(operands: [f32; 7]) -> bool {
    let [x, g, b, mean, variance, eps, y] = operands.map(f32::to_bits);
    batch_norm(PROFILE, x, g, b, mean, variance, eps, y).inside
}

#[test]
fn batch_norms_of_what_is_not_finite() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    for odd in 0..4 {
        for value in [infinity, -infinity, nan] {
            let mut operands = [1.5, 2.0, 3.0, 0.5, 1.0, 1e-5, nan];
            operands[odd] = value;
            assert!(batch_holds(operands), "{operands:?}");
            for y in [0.0, 3.0, f32::MAX] {
                operands[6] = y;
                assert!(!batch_holds(operands), "{operands:?}");
            }
        }
    }
    let of_variance = |variance, y| batch_holds([1.5, 2.0, 3.0, 0.5, variance, 1e-5, y]);
    // 1/√∞ = 0 leaves the bias, if no engine forms 0/0 before; √−∞ leaves nothing.
    assert!(of_variance(infinity, 3.0) && of_variance(infinity, nan) && !of_variance(infinity, infinity));
    assert!(!of_variance(-infinity, 3.0) && of_variance(-infinity, nan));
    assert!(of_variance(nan, nan) && !of_variance(nan, 3.0));
    // An epsilon that no descriptor has is not judged.
    for eps in [infinity, nan] {
        assert!(batch_holds([1.5, 2.0, 3.0, 0.5, 1.0, eps, 77.0]));
        assert!(layer_holds(&[1.0, 2.0], eps, 1.0, 0.0, 77.0));
    }
}
