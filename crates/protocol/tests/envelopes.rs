//! The bounds of contraction and reduction: honest engines on data made to err are inside, and close enough to the edge that half the bound,
//! or the bound without one of its terms, would convict them; the edge itself is where `docs/envelopes.md` says.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::fp32;
use touchstone_protocol::leaf::contraction::Sums;
use touchstone_protocol::leaf::reduction::Maximum;

const ONE: u32 = 0x3f80_0000;
const MAX: u32 = 0x7f7f_ffff;
const MINUS: u32 = fp32::SIGN;

fn contraction(products: &[(u32, u32)], values: &[u32], y: u32) -> Check {
    let mut sums = Sums::new();
    products.iter().for_each(|(a, b)| sums.product(*a, *b));
    values.iter().for_each(|c| sums.value(*c));
    sums.check_contraction(products.len() as u64, values.len() as u64, y)
}

fn sum(values: &[u32], y: u32) -> Check {
    let mut sums = Sums::new();
    values.iter().for_each(|x| sums.value(*x));
    sums.check_sum(values.len() as u64, y)
}

fn mean(values: &[u32], divisor: u64, y: u32) -> Check {
    let mut sums = Sums::new();
    values.iter().for_each(|x| sums.value(*x));
    sums.check_mean(values.len() as u64, divisor, y)
}

/// Products and addends added one after the other, each operation rounded.
fn in_order(products: &[(u32, u32)], values: &[u32]) -> u32 {
    let terms = products
        .iter()
        .map(|(a, b)| fp32::mul(*a, *b))
        .chain(values.iter().copied());
    terms.reduce(fp32::add).unwrap_or(0)
}

fn negated(products: &[(u32, u32)], values: &[u32]) -> (Vec<(u32, u32)>, Vec<u32>) {
    (
        products.iter().map(|(a, b)| (a ^ MINUS, *b)).collect(),
        values.iter().map(|c| c ^ MINUS).collect(),
    )
}

/// An honest result that uses more than `least` of 100 parts of its envelope, for both signs.
fn nearly_out(products: &[(u32, u32)], values: &[u32], least: u64) {
    let y = in_order(products, values);
    let (minus_products, minus_values) = negated(products, values);
    for check in [
        contraction(products, values, y),
        contraction(&minus_products, &minus_values, y ^ MINUS),
    ] {
        assert!(check.inside, "an honest result was convicted: {check:?}");
        assert!(
            check.share > Check::EDGE / 100 * least,
            "share {} of {}",
            check.share,
            Check::EDGE
        );
    }
}

/// Just above half a last place of 1, so that adding it to 1 rounds up.
const JUST_OVER_HALF: u32 = 0x3380_0001;
/// A product just below half a last place above 1, and so rounded down.
const ROUNDED_DOWN: (u32, u32) = (0x3f80_0800, 0x3f80_07ff);

#[test]
fn each_addition_may_round_by_u() {
    for n in [2, 3, 8, 64, 1000] {
        let mut products = vec![(ONE, ONE)];
        products.extend(vec![(JUST_OVER_HALF, ONE); n - 1]);
        // n − 1 of n roundings are used up.
        nearly_out(&products, &[], 98 * (n as u64 - 1) / n as u64);
    }
}

#[test]
fn each_product_may_round_by_u() {
    let rounded = fp32::mul(ROUNDED_DOWN.0, ROUNDED_DOWN.1);
    let exact = f64::from(f32::from_bits(ROUNDED_DOWN.0)) * f64::from(f32::from_bits(ROUNDED_DOWN.1));
    assert!((exact - f64::from(f32::from_bits(rounded))).abs() > 0.9 * 2f64.powi(-24));
    nearly_out(&[ROUNDED_DOWN], &[], 90);
}

#[test]
fn addends_count_as_terms() {
    // A product that rounds down by nearly u, then additions that each round down by nearly u: k = 1 + m roundings used up.
    for m in [1, 2, 7] {
        let below_half = vec![0x337f_ffff; m];
        nearly_out(&[ROUNDED_DOWN], &below_half, 90);
    }
    // The addends' magnitudes alone make the error: one product, m addends, m of 1 + m roundings used up.
    for m in [2, 7, 60] {
        let mut values = vec![ONE];
        values.extend(vec![JUST_OVER_HALF; m - 1]);
        nearly_out(&[(JUST_OVER_HALF, ONE)], &values, 90 * (m as u64 - 1) / (m as u64 + 1));
    }
}

#[test]
fn each_product_may_underflow_by_eta() {
    // 2^-75 · 2^-75 (1 + 2^-23) is just over half the least subnormal, and rounds up to it.
    let underflowing = (52 << 23, (52 << 23) | 1);
    for n in [1, 2, 100] {
        nearly_out(&vec![underflowing; n], &[], 95);
    }
}

/// How many last places above `from` the last result inside is.
fn reach(from: u32, check: impl Fn(u32) -> Check) -> u32 {
    let (mut inside, mut outside) = (0, 1 << 20);
    assert!(check(from).inside && !check(from + outside).inside);
    while outside - inside > 1 {
        let middle = inside + (outside - inside) / 2;
        let side = if check(from + middle).inside {
            &mut inside
        } else {
            &mut outside
        };
        *side = middle;
    }
    inside
}

/// `k·A/(2^24 − k)` in last places of `value`.
fn room(k: u64, magnitude: u64, value: u32) -> f64 {
    let last_place = 2f64.powi(i32::try_from(value >> 23).unwrap() - 150);
    (k * magnitude) as f64 / (((1 << 24) - k) as f64) / last_place
}

/// Counts of terms at which one rounding more or fewer, or 2^24 in the place of 2^24 − k, moves the edge by a last place.
fn decisive(roundings: impl Fn(u64) -> u64) -> Vec<u64> {
    let decides = |n: &u64| {
        let at = |k: u64| room(k, *n, fp32::from_integer(*n as i64)).floor();
        let k = roundings(*n);
        at(k - 1) < at(k) && at(k) < at(k + 1)
    };
    (7000..8000).filter(decides).step_by(97).collect()
}

#[test]
fn the_edge_of_a_contraction_is_where_the_formula_says() {
    // All ones: S = A = k; inside iff |y − k|·(2^24 − k) ≤ k² + k·2^-126.
    let counts = decisive(|k| k);
    assert!(counts.len() > 3);
    for (at, k) in counts.into_iter().enumerate() {
        let m = [0, 1, 1000, k - 1][at % 4];
        let (products, values) = (vec![(ONE, ONE); (k - m) as usize], vec![ONE; m as usize]);
        let from = fp32::from_integer(k as i64);
        let expect = room(k, k, from) as u32;
        assert_eq!(
            reach(from, |y| contraction(&products, &values, y)),
            expect,
            "{k}, {m} of them addends"
        );
        let (products, values) = negated(&products, &values);
        assert_eq!(
            reach(from | MINUS, |y| contraction(&products, &values, y)),
            expect,
            "−{k}"
        );
    }
}

#[test]
fn the_edge_of_a_sum_is_where_the_formula_says() {
    let counts = decisive(|n| n - 1);
    assert!(counts.len() > 3);
    for n in counts {
        let from = fp32::from_integer(n as i64);
        assert_eq!(
            reach(from, |y| sum(&vec![ONE; n as usize], y)),
            room(n - 1, n, from) as u32,
            "{n}"
        );
    }
    // One term, and none: exact. Subnormal sums are exact too.
    assert!(sum(&[MAX], MAX).inside && !sum(&[MAX], MAX - 1).inside);
    assert!(sum(&[], 0).inside && sum(&[], MINUS).inside && !sum(&[], 1).inside);
    assert!(sum(&[3, 4], 7).inside && !sum(&[3, 4], 8).inside);
}

#[test]
fn the_edge_of_a_mean_is_where_the_formula_says() {
    // All ones over all terms: |y − 1|·(2^24 − k) ≤ k, k = n + 1; over twice the terms: |2y − 1|·… ≤ k.
    for n in [1u64, 100, 4090] {
        let k = n + 1;
        for (divisor, from) in [(n, ONE), (2 * n, ONE - (1 << 23))] {
            let expect = k as f64 / (((1 << 24) - k) as f64) * 2f64.powi(23);
            assert_eq!(
                reach(from, |y| mean(&vec![ONE; n as usize], divisor, y)),
                expect as u32,
                "{n} {divisor}"
            );
        }
    }
    // The last operation may underflow: half the least subnormal becomes 0, and the envelope is used up.
    let half = mean(&[1], 2, 0);
    assert!(half.inside && half.share > Check::EDGE / 10 * 9);
    assert!(!mean(&[2], 2, 0).inside && mean(&[2], 2, 1).inside);
    assert!(mean(&[], 0, 0).inside && mean(&[], 0, fp32::NAN).inside && !mean(&[], 0, ONE).inside);
    assert!(mean(&[], 5, 0).inside && !mean(&[], 5, fp32::NAN).inside);
}

#[test]
fn means_by_reciprocal_or_division_are_inside_and_use_their_room() {
    let mut stream = Stream(5);
    let mut worst = 0;
    for _ in 0..50_000 {
        let n = 2 + stream.below(4) as usize;
        let x: Vec<u32> = (0..n).map(|_| (stream.word() as u32 & 0x000f_ffff) | ONE).collect();
        let total = x.iter().copied().reduce(fp32::add).unwrap();
        let divisor = fp32::from_integer(n as i64);
        for y in [fp32::div(total, divisor), fp32::mul(total, fp32::div(ONE, divisor))] {
            let check = mean(&x, n as u64, y);
            assert!(check.inside);
            worst = worst.max(check.share);
        }
    }
    assert!(
        worst > Check::EDGE / 2,
        "the worst share found is {worst} of {}",
        Check::EDGE
    );
}

#[test]
fn infinity_is_admitted_where_roundings_can_reach_it_and_not_below() {
    let infinity = fp32::INFINITY;
    let half_place = 0x7300_0000; // 2^103
    // The tie goes to infinity.
    assert_eq!(fp32::add(MAX, half_place), infinity);
    assert!(sum(&[MAX, half_place], infinity).inside);
    // The exact sum is below the limit, but the first addition rounds up.
    let terms = [MAX - 1, half_place + 1, half_place];
    assert_eq!(in_order(&[], &terms), infinity);
    assert!(sum(&terms, infinity).inside);
    let products = terms.map(|x| (x, ONE));
    assert!(contraction(&products, &[], infinity).inside && contraction(&[], &terms, infinity).inside);
    // Far enough below, it is not: (1 + γ(1))·P < 2^128 − 2^103 at P = (2^24 − 3)·2^104.
    assert!(!sum(&[MAX - 2, 0], infinity).inside && sum(&[MAX, 0], infinity).inside);
    // The edge for two terms: (2^24 − 1)·(2^25 − 1)/2^24 = 2^25 − 3 + 2^-24 half places.
    assert!(!sum(&[MAX - 1, half_place], infinity).inside && sum(&[MAX - 1, half_place + 1], infinity).inside);
    // For three terms the edge is a sum of three numbers, and is inside.
    assert!(sum(&[MAX - 2, half_place + 1, 0], infinity).inside && !sum(&[MAX - 2, half_place, 0], infinity).inside);
    // A product alone: k = 1.
    assert!(contraction(&[(MAX, ONE)], &[], infinity).inside && !contraction(&[(MAX - 1, ONE)], &[], infinity).inside);
    // Negative terms neither help nor hinder; each sign has its own infinity.
    let masked = [(MAX, 0x4000_0000 | MINUS), (ONE, ONE)];
    let y = |bits| contraction(&masked, &[], bits).inside;
    assert!(y(infinity | MINUS) && !y(infinity) && !y(fp32::NAN));
    let both = [(MAX, 0x4000_0000 | MINUS), (MAX, 0x4000_0000)];
    let y = |bits| contraction(&both, &[], bits).inside;
    assert!(y(infinity | MINUS) && y(infinity) && y(fp32::NAN) && y(0));
}

#[test]
fn every_term_may_underflow_once_and_no_more() {
    // Terms of zero: nothing is left of the bound but k·η, half a least subnormal for each product and each addend.
    for (n, m) in [(1, 0), (2, 0), (3, 0), (0, 2), (3, 2), (40, 0), (40, 9), (100, 1)] {
        let (products, values) = (vec![(0, 0); n], vec![0; m]);
        let most = (n + m) as u32 / 2;
        for sign in [0, MINUS] {
            assert!(contraction(&products, &values, most | sign).inside, "{n} {m}");
            assert!(!contraction(&products, &values, (most + 1) | sign).inside, "{n} {m}");
        }
        // Sums do not underflow; a mean does once, when it is divided.
        let divisor = (n + m) as u64;
        assert!(!sum(&vec![0; n + m], 1).inside);
        assert!(mean(&vec![0; n + m], divisor, 0).inside && !mean(&vec![0; n + m], divisor, 1).inside);
    }
    // Of three halves of the least subnormal the rounding may go either way, by half and no more.
    for (y, inside) in [(0, false), (1, true), (2, true), (3, false)] {
        assert_eq!(mean(&[3], 2, y).inside, inside, "{y}");
    }
}

/// Fp32 numbers that add up to `significand · 2^exponent − 2^-149`, exactly.
fn all_but_the_least(significand: u64, exponent: u32) -> Vec<u32> {
    let number = |significand: u64, exponent: i32| fp32::round(0, significand.into(), exponent, false);
    let (high, low) = ((significand - 1) >> 25, (significand - 1) & 0x01ff_ffff);
    let top = exponent as i32;
    let mut parts = vec![number(high, top + 25), number(low >> 1, top + 1), number(low & 1, top)];
    // 2^top − 2^-149 in runs of 24 ones.
    let mut from = top;
    while from > -149 {
        let run = (from + 149).min(24);
        parts.push(number((1 << run) - 1, from - run));
        from -= run;
    }
    parts
}

#[test]
fn underflow_counts_where_infinity_is_admitted() {
    // Positive terms that miss (2^24 − k)·(2^128 − 2^103)/2^24 by 2η: only the k·η of their roundings reaches it.
    let k = all_but_the_least(1 << 40, 79).len() as u64;
    let parts = all_but_the_least(((1 << 25) - 1) * ((1 << 24) - k), 79);
    assert_eq!(parts.len() as u64, k);
    let products: Vec<(u32, u32)> = parts.iter().map(|x| (*x, ONE)).collect();
    assert!(contraction(&products, &[], fp32::INFINITY).inside);
    let (less, _) = negated(&products, &[]);
    assert!(contraction(&less, &[], fp32::INFINITY | MINUS).inside);
    // A sum has no such term, and one addition less.
    let parts = all_but_the_least(((1 << 25) - 1) * ((1 << 24) - k + 1), 79);
    assert!(!sum(&parts, fp32::INFINITY).inside);
    let whole: Vec<u32> = parts.iter().copied().chain([1]).collect();
    assert!(sum(&whole, fp32::INFINITY).inside);
}

#[test]
fn a_sum_of_small_numbers_does_not_underflow() {
    // One addition of a number and 0. A is 1.5 · 2^24 η, so u·A is less than the 2η to the next number, and half of that is not added.
    let small = 0x00c0_0000;
    assert!(sum(&[small, 0], small).inside);
    assert!(!sum(&[small, 0], small + 1).inside && !sum(&[small, 0], small - 1).inside);
    // A is 2^25 η: the number below is reached.
    let larger = 0x0100_0000;
    assert!(sum(&[larger, 0], larger - 1).inside && !sum(&[larger, 0], larger - 2).inside);
}

#[test]
fn the_overflow_of_a_mean_is_its_sums() {
    let half_place = 0x7300_0000; // 2^103
    let infinity = fp32::INFINITY;
    // The first addition may round up: k = n − 1, whatever the divisor.
    for divisor in [1, 3, 5] {
        assert!(mean(&[MAX - 1, half_place + 1, half_place], divisor, infinity).inside);
        assert!(!mean(&[MAX - 1, half_place], divisor, infinity).inside);
        assert!(mean(&[MAX - 1, half_place + 1], divisor, infinity).inside);
        assert!(
            mean(
                &[(MAX - 1) | MINUS, (half_place + 1) | MINUS],
                divisor,
                infinity | MINUS
            )
            .inside
        );
    }
    assert!(mean(&[MAX], 1, MAX).inside && !mean(&[MAX], 1, infinity).inside);
}

#[test]
fn infinite_and_nan_operands_decide_the_result() {
    let infinity = fp32::INFINITY;
    let nan = fp32::NAN;
    let among =
        |products: &[(u32, u32)]| [ONE, infinity, infinity | MINUS, nan].map(|y| contraction(products, &[], y).inside);
    assert_eq!(among(&[(ONE, ONE), (nan, ONE)]), [false, false, false, true]);
    assert_eq!(among(&[(0, infinity)]), [false, false, false, true]);
    assert_eq!(among(&[(ONE, infinity)]), [false, true, false, false]);
    assert_eq!(among(&[(ONE | MINUS, infinity)]), [false, false, true, false]);
    assert_eq!(
        among(&[(ONE, infinity), (ONE | MINUS, infinity)]),
        [false, false, false, true]
    );
    // The finite terms can overflow the other way, and then meet.
    assert_eq!(
        among(&[(ONE, infinity), (MAX, MAX | MINUS)]),
        [false, true, false, true]
    );
    assert_eq!(
        among(&[(ONE, infinity | MINUS), (MAX, MAX)]),
        [false, false, true, true]
    );
}

#[test]
fn a_maximum_of_nothing_but_minus_infinity_may_be_the_least_number() {
    let held = |terms: &[u32], y: u32| {
        let mut maximum = Maximum::default();
        terms.iter().for_each(|x| maximum.value(*x));
        maximum.check(y).inside
    };
    let (least, infinity) = (MAX | MINUS, fp32::INFINITY | MINUS);
    for terms in [&[][..], &[infinity], &[infinity, infinity]] {
        assert!(
            held(terms, infinity) && held(terms, least) && !held(terms, least - 1),
            "{terms:x?}"
        );
    }
    assert!(held(&[least], least) && !held(&[least], infinity) && !held(&[least - 1], least));
}

/// Five ways to add up, all conforming.
fn engines(products: &[(f32, f32)], values: &[f32]) -> Vec<f32> {
    let rounded: Vec<f32> = products
        .iter()
        .map(|(a, b)| a * b)
        .chain(values.iter().copied())
        .collect();
    fn pairwise(terms: &[f32]) -> f32 {
        match terms {
            [] => 0.0,
            [one] => *one,
            many => pairwise(&many[..many.len() / 2]) + pairwise(&many[many.len() / 2..]),
        }
    }
    let start = values.iter().fold(0f32, |sum, c| sum + c);
    let wide = products
        .iter()
        .fold(0f64, |sum, (a, b)| f64::from(*a).mul_add(f64::from(*b), sum));
    vec![
        rounded.iter().fold(0f32, |sum, x| sum + x),
        rounded.iter().rev().fold(0f32, |sum, x| sum + x),
        pairwise(&rounded),
        products.iter().fold(start, |sum, (a, b)| a.mul_add(*b, sum)),
        values.iter().fold(wide, |sum, c| sum + f64::from(*c)) as f32,
    ]
}

#[test]
fn every_order_and_fusion_is_inside_on_any_data() {
    let mut stream = Stream(9);
    let mut worst = 0;
    for round in 0..25_000 {
        let (n, m) = (stream.below(30) as usize, stream.below(4) as usize);
        let number = |stream: &mut Stream| {
            f32::from_bits(match round % 5 {
                0 => stream.number(),
                1 => stream.pattern(),
                2 => stream.word() as u32 & 0x83ff_ffff,
                3 => (stream.word() as u32 & 0x80ff_ffff) | 0x5f00_0000,
                _ => ONE | (stream.word() as u32 & 0x8000_0007),
            })
        };
        let products: Vec<(f32, f32)> = (0..n).map(|_| (number(&mut stream), number(&mut stream))).collect();
        let values: Vec<f32> = (0..m).map(|_| number(&mut stream)).collect();
        let product_bits: Vec<(u32, u32)> = products.iter().map(|(a, b)| (a.to_bits(), b.to_bits())).collect();
        let value_bits: Vec<u32> = values.iter().map(|c| c.to_bits()).collect();
        for y in engines(&products, &values) {
            let check = contraction(&product_bits, &value_bits, y.to_bits());
            assert!(check.inside, "{products:?} {values:?} {y}");
            worst = worst.max(check.share);
        }
        let y = engines(&[], &values);
        assert!(y.iter().all(|y| sum(&value_bits, y.to_bits()).inside), "{values:?}");
    }
    println!(
        "contraction: greatest honest share of the envelope {:.3}",
        worst as f64 / Check::EDGE as f64
    );
}
