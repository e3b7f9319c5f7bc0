//! Sums under `blocked(b)` and `wide`: honest engines on data made to err are inside, and the edge is where `docs/envelopes.md` says.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::Stream;
use touchstone_protocol::check::Check;
use touchstone_protocol::fp32;
use touchstone_protocol::leaf::contraction::Sums;
use touchstone_protocol::model::Profile;

const WIDE: u64 = Profile::WIDE.encode();
const FAST: u64 = Profile::FAST.encode();
const ONE: u32 = 0x3f80_0000;
const MAX: u32 = 0x7f7f_ffff;
const MINUS: u32 = fp32::SIGN;
const NAN: u32 = fp32::NAN;
const INFINITY: u32 = fp32::INFINITY;

fn blocked(block: u16) -> u64 {
    Profile::blocked(block).unwrap().encode()
}

/// An operator's terms: products, addends, and how many terms there are, in bounds or not.
fn contraction(profile: u64, terms: u64, products: &[(u32, u32)], values: &[u32], y: u32) -> Check {
    let mut sums = Sums::under(profile, terms);
    products.iter().for_each(|(a, b)| sums.product(*a, *b));
    values.iter().for_each(|c| sums.value(*c));
    sums.check_contraction(products.len() as u64, values.len() as u64, y)
}

fn product(a: u32, b: u32) -> impl Fn(u32) -> bool {
    move |y| contraction(WIDE, 1, &[(a, b)], &[], y).inside
}

fn sums(profile: u64, terms: u64, values: &[u32]) -> Sums {
    let mut sums = Sums::under(profile, terms);
    values.iter().for_each(|x| sums.value(*x));
    sums
}

fn sum(profile: u64, values: &[u32], y: u32) -> Check {
    sums(profile, values.len() as u64, values).check_sum(values.len() as u64, y)
}

fn mean(profile: u64, values: &[u32], divisor: u64, y: u32) -> Check {
    sums(profile, values.len() as u64, values).check_mean(values.len() as u64, divisor, y)
}

/// 2^exponent.
fn power(exponent: i32) -> u32 {
    (exponent + 127).cast_unsigned() << 23
}

/// Two numbers whose product is `value · 2^exponent`, exactly.
fn factors(value: u64, exponent: i32) -> Option<(u32, u32)> {
    let a = (1..1 << 24)
        .rev()
        .find(|a| value.is_multiple_of(*a) && value / a < 1 << 24)?;
    let half = exponent / 2;
    let scaled = |n: u64, exponent: i32| (n as f64 * 2f64.powi(exponent)) as f32;
    Some((scaled(a, half).to_bits(), scaled(value / a, exponent - half).to_bits()))
}

/// As many ones as minus ones: S = 0, A = `count`, so that the whole envelope is the error that adding up may make.
fn cancelling(count: u64) -> Vec<u32> {
    (0..count).map(|i| if i % 2 == 0 { ONE } else { ONE | MINUS }).collect()
}

/// Holds `check` to the edge at `y`, of either sign.
fn edge(name: &str, y: f32, check: impl Fn(u32) -> Check) {
    let y = y.to_bits();
    for sign in [0, MINUS] {
        assert!(check(y | sign).inside, "{name}: {y:#x} with sign {sign:#x} is outside");
        assert!(
            !check((y + 1) | sign).inside,
            "{name}: {:#x} with sign {sign:#x} is inside",
            y + 1
        );
    }
}

#[test]
fn the_edge_under_wide_is_where_the_formula_says() {
    // S = 0: the greatest ŷ whose cell reaches k·A/(2^53 − k) is what that rounds to.
    let reach = |k: u64, magnitude: u64| (k * magnitude) as f64 / ((1u64 << 53) - k) as f64;
    for (n, m) in [(2, 0), (100, 0), (98, 4), (6, 4), (0, 6), (1000, 2)] {
        let products: Vec<_> = cancelling(n).into_iter().map(|x| (x, ONE)).collect();
        let expect = reach(n + m - 1, n + m);
        edge(&format!("{n} products, {m} addends"), expect as f32, |y| {
            contraction(WIDE, n, &products, &cancelling(m), y)
        });
    }
    for n in [2, 6, 100, 4000] {
        let values = cancelling(n);
        edge(&format!("sum of {n}"), reach(n - 1, n) as f32, |y| {
            sum(WIDE, &values, y)
        });
        for divisor in [n, n + 7] {
            let expect = reach(n + 1, n) / divisor as f64;
            edge(&format!("mean of {n} by {divisor}"), expect as f32, |y| {
                mean(WIDE, &values, divisor, y)
            });
        }
    }
    // Where 2^53 in the place of 2^53 − k would give another number.
    let decides = |n: &u64| reach(n - 1, *n) as f32 != ((n - 1) * n) as f32 / 2f32.powi(53);
    let n = (1 << 18..1 << 19).step_by(2).find(decides).unwrap();
    edge("many", reach(n - 1, n) as f32, |y| sum(WIDE, &cancelling(n), y));
}

#[test]
fn a_lone_product_has_the_cell_alone() {
    let held = product(0x3fc0_0000, ONE);
    assert!(held(0x3fc0_0000) && !held(0x3fc0_0001) && !held(0x3fbf_ffff) && !held(0xbfc0_0000));
    // A tie: 4097² = 2^24 + 8193 lies between two numbers.
    let tie = 4097f32.to_bits();
    let (below, above) = (16_785_408f32.to_bits(), 16_785_410f32.to_bits());
    let held = product(tie, tie);
    assert!(held(below) && held(above) && !held(below - 1) && !held(above + 1));
    let held = product(tie, tie | MINUS);
    assert!(held(below | MINUS) && held(above | MINUS) && !held((below - 1) | MINUS) && !held((above + 1) | MINUS));
    assert!(!held(below) && !held(NAN) && !held(0));
}

#[test]
fn below_a_power_of_two_the_cell_ends_at_a_quarter() {
    for sign in [0, MINUS] {
        // 1 − 2^-25 is half way from 1 to the number below.
        let (a, b) = factors((1 << 25) - 1, -25).unwrap();
        let held = product(a ^ sign, b);
        assert!(held(ONE | sign) && held((ONE - 1) | sign) && !held((ONE - 2) | sign) && !held((ONE + 1) | sign));
        // Between half and a whole last place: 1 is too far.
        let (a, b) = (40..60).find_map(|less| factors((1 << 30) - less, -30)).unwrap();
        let held = product(a ^ sign, b);
        assert!(held((ONE - 1) | sign) && !held(ONE | sign));
        // Above it the numbers are as dense as everywhere: 1 + 2^-24 and a little less.
        let (a, b) = factors((1 << 24) + 1, -24).unwrap();
        let held = product(a ^ sign, b);
        assert!(held(ONE | sign) && held((ONE + 1) | sign));
        // Half of the least subnormal below the least normal number, where nothing changes.
        let least = 0x0080_0000;
        let held = product(((16_777_215.0 * 2f64.powi(-75)) as f32).to_bits() ^ sign, power(-75));
        assert!(held(least | sign) && held((least - 1) | sign) && !held((least + 1) | sign));
    }
}

#[test]
fn subnormals_and_zeros() {
    // Half of the least subnormal.
    let held = product(power(-75), power(-75));
    assert!(held(0) && held(MINUS) && held(1) && !held(1 | MINUS) && !held(2));
    // A little more than that.
    let held = product(power(-75), power(-75) + 1);
    assert!(held(1) && !held(0) && !held(MINUS) && !held(2));
    // Far below everything.
    let held = product(1, 1 | MINUS);
    assert!(held(0) && held(MINUS) && !held(1) && !held(1 | MINUS));
    assert!(sum(WIDE, &[3, 4], 7).inside && !sum(WIDE, &[3, 4], 8).inside);
    assert!(sum(WIDE, &[], MINUS).inside && !sum(WIDE, &[], 1).inside);
    // Under `fast` products underflow one by one, here they do not: 100 halves of the least subnormal are 50 of it.
    let tiny = [(power(-75), power(-75)); 100];
    assert!(contraction(FAST, 100, &tiny, &[], 0).inside && contraction(WIDE, 100, &tiny, &[], 50).inside);
    assert!(!contraction(WIDE, 100, &tiny, &[], 49).inside && !contraction(WIDE, 100, &tiny, &[], 51).inside);
    // A mean's division does not underflow before it is rounded.
    assert!(mean(WIDE, &[1], 2, 0).inside && mean(WIDE, &[1], 2, 1).inside && !mean(WIDE, &[2], 2, 0).inside);
    assert!(mean(WIDE, &[3], 2, 1).inside && mean(WIDE, &[3], 2, 2).inside && !mean(WIDE, &[7], 4, 1).inside);
    assert!(mean(WIDE, &[], 0, 0).inside && mean(WIDE, &[], 0, NAN).inside && !mean(WIDE, &[], 5, NAN).inside);
}

#[test]
fn only_the_last_rounding_overflows() {
    let limit = power(103);
    for sign in [0, MINUS] {
        let held = |values: &[u32], y: u32| {
            let values: Vec<u32> = values.iter().map(|x| x ^ sign).collect();
            let products: Vec<_> = values.iter().map(|x| (*x, ONE)).collect();
            let inside = sum(WIDE, &values, y ^ sign).inside;
            assert_eq!(inside, contraction(WIDE, 9, &products, &[], y ^ sign).inside);
            inside
        };
        // 2^128 − 2^103 is a tie; half of that step below it, and everything above.
        assert!(held(&[MAX, limit], INFINITY) && held(&[MAX, limit], MAX) && !held(&[MAX, limit], MAX - 1));
        assert!(!held(&[MAX, power(102)], INFINITY) && held(&[MAX, power(102)], MAX));
        assert!(held(&[MAX, MAX], INFINITY) && !held(&[MAX, MAX], MAX) && !held(&[MAX, MAX], INFINITY | MINUS));
        assert!(!held(&[MAX, MAX], NAN) && !held(&[MAX, MAX | MINUS], NAN) && !held(&[MAX, MAX | MINUS], INFINITY));
        // Partial sums beyond fp32's end come back.
        assert!(held(&[MAX, MAX, MAX | MINUS], MAX) && !held(&[MAX, MAX, MAX | MINUS], INFINITY));
    }
    // 2^102 short of the limit, beside p pairs of ±2^147: the error of adding up reaches it from (2p + 1)·p = 128 on.
    let beside = |pairs: usize, y: u32| {
        let mut products = vec![(MAX, ONE), (power(102), ONE)];
        let pair = [(power(73), power(74)), (power(73), power(74) | MINUS)];
        products.extend(pair.iter().cycle().take(2 * pairs));
        contraction(WIDE, 9, &products, &[], y).inside
    };
    assert!(beside(8, INFINITY) && !beside(7, INFINITY) && !beside(8, NAN) && !beside(8, INFINITY | MINUS));
    // Products of 2^255 that cancel: what adding them up may leave is beyond fp32 on both sides, but no NaN.
    let cancel = [(MAX, MAX), (MAX, MAX | MINUS)];
    let y = |bits| contraction(WIDE, 2, &cancel, &[], bits).inside;
    assert!(y(INFINITY) && y(INFINITY | MINUS) && y(0) && !y(NAN) && contraction(FAST, 2, &cancel, &[], NAN).inside);
}

#[test]
fn infinite_and_nan_operands_under_wide() {
    let among = |products: &[(u32, u32)]| {
        [ONE, INFINITY, INFINITY | MINUS, NAN].map(|y| contraction(WIDE, 9, products, &[], y).inside)
    };
    assert_eq!(among(&[(ONE, ONE), (NAN, ONE)]), [false, false, false, true]);
    assert_eq!(among(&[(0, INFINITY)]), [false, false, false, true]);
    assert_eq!(
        among(&[(ONE, INFINITY), (ONE | MINUS, INFINITY)]),
        [false, false, false, true]
    );
    // Finite terms of the other sign overflow in fp32, but not here.
    assert_eq!(
        among(&[(ONE, INFINITY), (MAX, MAX | MINUS)]),
        [false, true, false, false]
    );
    assert_eq!(
        among(&[(ONE, INFINITY | MINUS), (MAX, MAX)]),
        [false, false, true, false]
    );
    // A factor without a partner may have met a padding zero.
    let mut sums = Sums::under(WIDE, 2);
    sums.product(ONE, ONE);
    sums.unpaired(INFINITY);
    let held = [ONE, INFINITY, NAN].map(|y| sums.check_contraction(1, 0, y).inside);
    assert_eq!(held, [true, false, true]);
}

/// The greatest number not above `value`.
fn below(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        f32::from_bits(near.to_bits() - 1)
    } else {
        near
    }
}

#[test]
fn the_edge_under_blocks_is_where_the_formula_says() {
    let room = |k: u64, magnitude: u64| below((k * magnitude) as f64 / ((1 << 24) - k) as f64);
    // (block, products in bounds, terms, addends, k)
    for (block, n, terms, m, k) in [
        (16, 100, 100, 0, 16 + 7),
        (16, 100, 100, 2, 16 + 7 + 2),
        (16, 96, 96, 0, 16 + 6),
        (16, 98, 98, 0, 16 + 7),
        // Blocks are made of padding too.
        (16, 100, 1000, 0, 16 + 63),
        (16, 100, 4000, 2, 100 + 2),
        (64, 70, 70, 2, 66 + 2),
        (64, 60, 60, 2, 60 + 2),
        (1024, 4000, 4000, 0, 1028),
        (1 << 15, 4000, 4000, 0, 4000),
        (16, 0, 100, 2, 2),
    ] {
        let products: Vec<_> = cancelling(n).into_iter().map(|x| (x, ONE)).collect();
        edge(
            &format!("{n} of {terms} in blocks of {block}, {m} addends"),
            room(k, n + m),
            |y| contraction(blocked(block), terms, &products, &cancelling(m), y),
        );
    }
    for (block, n, terms, k) in [
        (16, 100, 100, 22),
        (16, 100, 400, 40),
        (16, 16, 16, 15),
        (256, 4000, 4000, 271),
    ] {
        let sums = sums(blocked(block), terms, &cancelling(n));
        edge(
            &format!("sum of {n} of {terms} in blocks of {block}"),
            room(k, n),
            |y| sums.check_sum(n, y),
        );
        let expect = below((n * (k + 2)) as f64 / ((1 << 24) - k - 2) as f64 / n as f64);
        edge(&format!("mean of {n} of {terms} in blocks of {block}"), expect, |y| {
            sums.check_mean(n, n, y)
        });
    }
}

#[test]
fn infinity_under_blocks() {
    // 1,000 terms: 999 additions in any order, 16 + 63 − 1 = 78 in blocks of 16. `short` times u below the limit.
    let held = |profile: u64, short: f64| {
        let each = (2f64.powi(128) - 2f64.powi(103)) * (1.0 - short * 2f64.powi(-24)) / 1000.0;
        sum(profile, &[(each as f32).to_bits(); 1000], INFINITY).inside
    };
    assert!(held(FAST, 990.0) && !held(FAST, 1010.0));
    assert!(held(blocked(16), 76.0) && !held(blocked(16), 82.0));
}

/// A sum in blocks, each operation rounded; fused where it says so.
fn in_blocks(products: &[(f32, f32)], values: &[f32], block: usize, fused: bool) -> f32 {
    let one = |terms: &[(f32, f32)]| {
        terms
            .iter()
            .fold(0f32, |sum, (a, b)| if fused { a.mul_add(*b, sum) } else { sum + a * b })
    };
    let total = products.chunks(block).map(one).fold(0f32, |sum, part| sum + part);
    values.iter().fold(total, |sum, c| sum + c)
}

#[test]
fn blocks_that_round_up_in_every_step_use_their_room() {
    const JUST_OVER_HALF: u32 = 0x3380_0001;
    for (block, blocks) in [(16u16, 16usize), (16, 60), (64, 20), (256, 16)] {
        // The first block rounds up with every addition; each other block is one more such step.
        let size = usize::from(block);
        let mut terms = vec![0u32; size * blocks];
        terms[..size].fill(JUST_OVER_HALF);
        terms[0] = ONE;
        (1..blocks).for_each(|at| terms[at * size] = JUST_OVER_HALF);
        let floats: Vec<(f32, f32)> = terms.iter().map(|x| (f32::from_bits(*x), 1.0)).collect();
        let bits: Vec<(u32, u32)> = terms.iter().map(|x| (*x, ONE)).collect();
        let y = in_blocks(&floats, &[], size, false);
        let check = contraction(blocked(block), terms.len() as u64, &bits, &[], y.to_bits());
        let used = (size + blocks - 2) as u64;
        assert!(
            check.inside && check.share > Check::EDGE / 100 * (98 * used / (used + 2)),
            "{check:?}"
        );
        let check = sum(blocked(block), &terms, y.to_bits());
        assert!(
            check.inside && check.share > Check::EDGE / 100 * (98 * used / (used + 1)),
            "{check:?}"
        );
    }
}

/// Equal, growing, cancelling, subnormal, huge, near ties, or anything finite.
fn data(stream: &mut Stream, kind: u64, i: usize) -> f32 {
    f32::from_bits(match kind {
        0 => 0x3dcc_cccd,
        1 => ((1 + i as u32) * 3) << 21 & 0x7f00_0000 | 0x1234,
        2 => ONE | (stream.word() as u32 & 0x8000_0007),
        3 => stream.word() as u32 & 0x83ff_ffff,
        4 => (stream.word() as u32 & 0x80ff_ffff) | 0x5f00_0000,
        5 => power(-12 * (i as i32 % 3)) + (stream.below(2) as u32),
        _ => stream.number(),
    })
}

#[test]
fn every_order_in_binary64_is_inside() {
    fn pairwise(terms: &[f64]) -> f64 {
        match terms {
            [] => 0.0,
            [one] => *one,
            many => pairwise(&many[..many.len() / 2]) + pairwise(&many[many.len() / 2..]),
        }
    }
    let mut stream = Stream(21);
    let mut worst = [0; 2];
    for round in 0..20_000 {
        let (n, m) = (stream.below(40) as usize, stream.below(4) as usize);
        let (first, second) = (round % 7, stream.below(7));
        let products: Vec<(f32, f32)> = (0..n)
            .map(|i| (data(&mut stream, first, i), data(&mut stream, second, i)))
            .collect();
        let values: Vec<f32> = (0..m).map(|i| data(&mut stream, first, i)).collect();
        let bits: Vec<(u32, u32)> = products.iter().map(|(a, b)| (a.to_bits(), b.to_bits())).collect();
        let value_bits: Vec<u32> = values.iter().map(|c| c.to_bits()).collect();
        let terms: Vec<f64> = products
            .iter()
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .chain(values.iter().map(|c| f64::from(*c)))
            .collect();
        let fused = products
            .iter()
            .fold(0f64, |sum, (a, b)| f64::from(*a).mul_add(f64::from(*b), sum));
        for y in [
            terms.iter().fold(0f64, |sum, x| sum + x),
            terms.iter().rev().fold(0f64, |sum, x| sum + x),
            pairwise(&terms),
            values.iter().fold(fused, |sum, c| sum + f64::from(*c)),
        ] {
            let check = contraction(WIDE, n as u64, &bits, &value_bits, (y as f32).to_bits());
            assert!(check.inside, "{products:?} {values:?} {y}");
            worst[0] = worst[0].max(check.share);
        }
        let a: Vec<f64> = products.iter().map(|(a, _)| f64::from(*a)).collect();
        let a_bits: Vec<u32> = bits.iter().map(|(a, _)| *a).collect();
        let divisor = (n + 1) as f64;
        for total in [a.iter().sum::<f64>(), a.iter().rev().sum(), pairwise(&a)] {
            assert!(sum(WIDE, &a_bits, (total as f32).to_bits()).inside, "{a:?}");
            for y in [total / divisor, total * (1.0 / divisor)] {
                assert!(mean(WIDE, &a_bits, n as u64 + 1, (y as f32).to_bits()).inside, "{a:?}");
            }
        }
        let fused = round % 2 == 0;
        let y = in_blocks(&products, &values, 16, fused);
        let check = contraction(blocked(16), n as u64, &bits, &value_bits, y.to_bits());
        assert!(check.inside, "{products:?} {values:?} {y}");
        worst[1] = worst[1].max(check.share);
    }
    let share = |share: u64| share as f64 / Check::EDGE as f64;
    println!(
        "contraction: greatest honest share under wide {:.3}, under blocked(16) {:.3}",
        share(worst[0]),
        share(worst[1])
    );
    // A tie is at the cell's very edge.
    assert!(worst[0] > Check::EDGE / 100 * 95);
}
