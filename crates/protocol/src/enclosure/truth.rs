//! The enclosures held against an arbitrary-precision library, over all exponents.

use alloy_primitives::U256;
use dashu_float::FBig;
use dashu_float::round::mode::HalfEven;

use super::circular;
use super::elementary::{self, Interval};
use super::fixed::{self, ONE, Real};
use super::logarithm;

type Big = FBig<HalfEven, 2>;

/// Bits; the alternating series of erf loses 92 of them at 8.
const PRECISION: usize = 320;

fn big(mantissa: U256, exponent: i32) -> Big {
    let mut value = Big::from_parts(0.into(), 0).with_precision(PRECISION).value();
    for (limb, weight) in mantissa.as_limbs().iter().zip([0, 64, 128, 192]) {
        value += Big::from_parts((*limb).into(), weight);
    }
    value
        * Big::from_parts(1.into(), exponent as isize)
            .with_precision(PRECISION)
            .value()
}

/// |x| as a big float.
fn absolute(x: Real) -> Big {
    big(U256::from(x.mantissa), x.exponent)
}

fn one() -> Big {
    big(U256::ONE, 0)
}

/// erf by its alternating Maclaurin series: another series than the judge's, and precision to spare for its cancellation.
fn erf(z: &Big, root_pi: &Big) -> Big {
    let square = z * z;
    let small = Big::from_parts(1.into(), -150);
    let (mut term, mut sum, mut n) = (z.clone(), z.clone(), 0u32);
    loop {
        n += 1;
        term = -(&term * &square) / big(U256::from(n), 0);
        let part = &term / big(U256::from(2 * n + 1), 0);
        let done = part.clone() < small && -part.clone() < small && big(U256::from(n), 0) > square;
        sum += part;
        if done {
            break;
        }
    }
    sum * big(U256::from(2), 0) / root_pi
}

/// π by Machin's formula.
fn pi() -> Big {
    let arctan_inverse = |x: u64| {
        let (x, mut n, mut sum) = (big(U256::from(x), 0), 1u64, big(U256::ZERO, 0));
        let square = &x * &x;
        let mut power = one() / &x;
        while n < 160 {
            let part = &power / big(U256::from(n), 0);
            sum = if n % 4 == 1 { sum + part } else { sum - part };
            power /= &square;
            n += 2;
        }
        sum
    };
    (arctan_inverse(5) * big(U256::from(4), 0) - arctan_inverse(239)) * big(U256::from(4), 0)
}

/// Reproducible words.
pub(super) struct Words(pub(super) u64);

impl Words {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Every exponent below `limit`'s, then arguments spread evenly below 2^`dense`.
fn arguments(limit: u32, dense: i32) -> Vec<Real> {
    let mut words = Words(limit.into());
    let mut all = vec![0, 1, 0x7f_ffff, 0x80_0000, 0x3f80_0000];
    for exponent in 0..limit {
        all.extend((0..3).map(|_| exponent << 23 | (words.next() as u32 & 0x7f_ffff)));
    }
    let mut reals: Vec<Real> = all.into_iter().map(fixed::decode).collect();
    reals.extend((0..700).map(|_| Real {
        negative: false,
        mantissa: words.next() >> 40,
        exponent: dense - 24,
    }));
    reals
}

fn contains(name: &str, x: Real, interval: Interval, truth: &Big) {
    let unit = -fixed::Q;
    let (lo, hi) = (big(interval.lo, unit), big(interval.hi, unit));
    assert!(lo <= *truth && *truth <= hi, "{name} at {x:?}: {interval:?}");
    assert!(
        interval.hi - interval.lo <= U256::ONE << 48,
        "{name} at {x:?} is wide: {interval:?}"
    );
}

#[test]
fn exponentials_contain_the_truth() {
    for x in arguments(134, 7) {
        let a = elementary::magnitude(x);
        if a >= elementary::EXP_LIMIT {
            continue;
        }
        for positive in [false, true] {
            let exponential = if positive {
                elementary::exp_positive
            } else {
                elementary::exp_negative
            };
            let (m, k) = exponential(a);
            let truth = if positive {
                absolute(x).exp()
            } else {
                (-absolute(x)).exp()
            };
            let unit = if positive { k - fixed::Q } else { -k - fixed::Q };
            let (lo, hi) = (
                big(m - elementary::EXP_ERROR, unit),
                big(m + elementary::EXP_ERROR, unit),
            );
            assert!(lo <= truth && truth <= hi, "{x:?} {positive}");
            assert!(m >= ONE && m <= ONE << 1, "{x:?} {positive}");
        }
    }
}

#[test]
fn erf_contains_the_truth() {
    let (root, root_pi) = (big(U256::from(2), 0).sqrt(), pi().sqrt());
    for x in arguments(131, 3) {
        let a = elementary::magnitude(x);
        if a >= ONE << 3 {
            continue;
        }
        contains("erf", x, elementary::erf(a, false), &erf(&absolute(x), &root_pi));
        let halved = erf(&(absolute(x) / &root), &root_pi);
        contains("erf of half", x, elementary::erf(a, true), &halved);
        let two = big(U256::from(2), 0);
        contains("gelu", x, elementary::gelu_gate(a, false), &((one() + &halved) / &two));
        contains("gelu", x, elementary::gelu_gate(a, true), &((one() - &halved) / &two));
    }
    let wide = elementary::erf(ONE << 10, false);
    assert!(wide.hi == ONE && wide.lo < ONE);
}

#[test]
fn sigmoid_tanh_and_the_gates_contain_the_truth() {
    let factor = (big(U256::from(2), 0) / pi()).sqrt();
    let cubic = big(U256::from(44715), 0) / big(U256::from(1_000_000), 0);
    for x in arguments(140, 5) {
        let a = elementary::magnitude(x);
        let size = absolute(x);
        let sigmoid = |t: &Big| one() / (one() + (-t.clone()).exp());
        if a < ONE << 9 {
            contains("sigmoid", x, elementary::sigmoid(a, U256::ONE, false), &sigmoid(&size));
            contains(
                "sigmoid",
                x,
                elementary::sigmoid(a, U256::ONE, true),
                &sigmoid(&-size.clone()),
            );
            let e = (-(&size * big(U256::from(2), 0))).exp();
            contains("tanh", x, elementary::tanh(a), &((one() - &e) / (one() + &e)));
        }
        if a < ONE << 5 {
            let w = &factor * (&size + &cubic * &size * &size * &size) * big(U256::from(2), 0);
            contains("gelu tanh", x, elementary::gelu_tanh_gate(a, false), &sigmoid(&w));
            contains("gelu tanh", x, elementary::gelu_tanh_gate(a, true), &sigmoid(&-w));
        }
    }
}

/// Whether `value` units of 2^-`q` are within `error` units of the truth.
fn near(name: &str, x: Real, value: U256, q: i32, truth: &Big, error: U256) {
    let off = big(value, -q) - truth;
    let error = big(error, -q);
    assert!(off <= error && -off <= error, "{name} at {x:?}: {value}");
}

#[test]
fn logarithms_contain_the_truth() {
    // Down to one unit, near 1 on both sides, and where a mantissa begins to count as half of itself.
    let around = (0..300u32).flat_map(|k| [0x3f80_0000 + k, 0x3f80_0000 - k, 0x3fb5_04f3 + k, 0x3fb5_04f3 - k]);
    let mut reals = arguments(254, 7);
    reals.extend(around.map(fixed::decode));
    for x in reals.into_iter().filter(|x| x.mantissa != 0) {
        let (negative, size) = logarithm::ln(x);
        let truth = absolute(x).ln();
        let truth = if negative { -truth } else { truth };
        near("ln", x, size, logarithm::LOG_Q, &truth, logarithm::LOG_ERROR);
    }
    for x in arguments(127, 0).into_iter().filter(|x| x.exponent <= -24) {
        let e = elementary::magnitude(x);
        let truth = big(e, -fixed::Q).ln_1p();
        let value = logarithm::ln_one_plus(e);
        assert!(big(value, -fixed::Q) <= truth, "{x:?}");
        near("ln(1 + e)", x, value, fixed::Q, &truth, logarithm::ONE_PLUS_ERROR);
    }
}

#[test]
fn sines_and_cosines_contain_the_truth() {
    let error = circular::CIRCULAR_ERROR;
    // The last is the fp32 number nearest to a multiple of π/2.
    let mut reals = arguments(254, 7);
    reals.extend([0x3fc9_0fdb, 0x4049_0fdb, 0x40c9_0fdb, 0x7f7f_ffff, 0x6d90_dbbf].map(fixed::decode));
    for x in reals {
        let (q, sine, cosine) = circular::quadrant(x);
        let (first, second) = (absolute(x).sin(), absolute(x).cos());
        let (first, second) = match q {
            0 => (first, second),
            1 => (-second, first),
            2 => (-first, -second),
            _ => (second, -first),
        };
        near("sin", x, sine, fixed::Q, &first, error);
        near("cos", x, cosine, fixed::Q, &second, error);
        let a = elementary::magnitude(x);
        if a < ONE && x.mantissa != 0 {
            let ratio = absolute(x).sin() / absolute(x);
            near("sin x/x", x, circular::sine_ratio(a), fixed::Q, &ratio, error);
        }
    }
}

#[test]
fn square_roots_are_floors() {
    let mut words = Words(7);
    let check = |a: U256| {
        let root = fixed::sqrt(a);
        assert!(root * root <= a, "{a}");
        let next = root + U256::ONE;
        assert!(next.bit_len() > 128 || next * next > a, "{a}");
    };
    for a in 0..2000u64 {
        check(U256::from(a));
    }
    for bits in 1..=256usize {
        for _ in 0..20 {
            let limbs = [words.next(), words.next(), words.next(), words.next()];
            let a = U256::from_limbs(limbs) >> (256 - bits);
            check(a);
            let root = a >> (bits / 2);
            check(root * root);
            check((root * root).saturating_sub(U256::ONE));
        }
        check(U256::MAX >> (256 - bits));
        check(U256::ONE << (bits - 1));
    }
}
