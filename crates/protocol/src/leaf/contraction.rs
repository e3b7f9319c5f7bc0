//! Sums of products and of numbers, held against the error that any order of summation can make.
//!
//! # Exact sums
//! [`Sums`] adds the positive and the negative terms apart, each exactly: a finite fp32 number is `m · 2^(e−150)` with `m < 2^24` and
//! `1 ≤ e ≤ 254`, a product of two is `m_a·m_b · 2^(e_a+e_b−300)`, so in units of 2^-300 all terms are integers. Nothing is rounded on
//! the judge's side.
//!
//! # The rule
//! With `k` roundings at most on any term's way into the result, an engine's finite result satisfies
//! `|ŷ − S| ≤ γ(k)·A + j·η·(1 + γ(k))`, where `S = P − N`, `A = P + N`, `γ(k) = k·u/(1 − k·u)`, `u = 2^-24`, `η = 2^-150` and `j` is the
//! number of operations whose result may underflow inexactly. Multiplied by `2^24 − k` that is
//! `|ŷ − S|·(2^24 − k) ≤ k·A + j·2^24·η`, all integers. See `docs/envelopes.md` for the derivation and the clauses on overflow,
//! infinities and NaN.

use std::cmp::Ordering;

use crate::check::Check;
use crate::fp32;
use crate::wide::Wide;

/// 1/u.
const UNIT: u64 = 1 << 24;
/// η in units of 2^-300 is 2^150.
const UNDERFLOW_SHIFT: u32 = 150;
/// The least magnitude that rounds to infinity is `2^128 − 2^103 = (2^25 − 1)·2^103`; in units of 2^-300, shifted by 403.
const OVERFLOW: (u128, u32) = ((1 << 25) - 1, 403);

/// Exact sums of the terms of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Lane `i` counts units of 2^(32·i−300): first the positive terms', then the negative terms'.
    lanes: [[u128; 16]; 2],
    /// A term is +∞, −∞.
    infinite: [bool; 2],
    /// A term is NaN, so every engine's result is.
    nan: bool,
    /// A term that is not in bounds would be NaN if it were multiplied by the zero that stands there.
    nan_allowed: bool,
}

impl Default for Sums {
    fn default() -> Self {
        Self::new()
    }
}

impl Sums {
    /// No terms yet. At most 2^20 may follow.
    pub const fn new() -> Self {
        Self {
            lanes: [[0; 16]; 2],
            infinite: [false; 2],
            nan: false,
            nan_allowed: false,
        }
    }

    /// Adds the product of two fp32 numbers.
    #[inline]
    pub fn product(&mut self, a: u32, b: u32) {
        let negative = ((a ^ b) >> 31) as usize;
        if !fp32::is_finite(a) || !fp32::is_finite(b) {
            self.nan |= fp32::is_nan(a) || fp32::is_nan(b) || fp32::is_zero(a) || fp32::is_zero(b);
            self.infinite[negative] = true;
            return;
        }
        let (ea, ma) = fp32::parts(a);
        let (eb, mb) = fp32::parts(b);
        let exponent = ea + eb;
        self.lanes[negative][(exponent >> 5) as usize & 15] +=
            u128::from(u64::from(ma) * u64::from(mb)) << (exponent & 31);
    }

    /// Adds one fp32 number.
    #[inline]
    pub fn value(&mut self, x: u32) {
        let negative = (x >> 31) as usize;
        if !fp32::is_finite(x) {
            self.nan |= fp32::is_nan(x);
            self.infinite[negative] = true;
            return;
        }
        let (exponent, significand) = fp32::parts(x);
        let exponent = exponent + 150;
        self.lanes[negative][(exponent >> 5) as usize & 15] += u128::from(significand) << (exponent & 31);
    }

    /// Notes an operand whose partner is out of bounds: an engine that multiplies it by a padding zero adds 0, or NaN if it is not
    /// finite.
    #[inline]
    pub fn unpaired(&mut self, x: u32) {
        self.nan_allowed |= !fp32::is_finite(x);
    }

    /// Holds `y` against the sums of `products` products and `values` numbers: every term passes at most `products + values`
    /// roundings, and each product's may underflow.
    pub fn check_contraction(&self, products: u64, values: u64, y: u32) -> Check {
        let roundings = products + values;
        self.check(
            &Rule {
                roundings,
                sum_roundings: roundings,
                underflows: roundings,
                divisor: 1,
            },
            y,
        )
    }

    /// Holds `y` against the sum of `terms` numbers: `terms − 1` additions, which are exact where they underflow.
    pub fn check_sum(&self, terms: u64, y: u32) -> Check {
        let roundings = terms.saturating_sub(1);
        self.check(
            &Rule {
                roundings,
                sum_roundings: roundings,
                underflows: 0,
                divisor: 1,
            },
            y,
        )
    }

    /// Holds `y` against the sum of `terms` numbers divided by `divisor`: two roundings more, the last of which may underflow. The mean
    /// of nothing is NaN or 0.
    pub fn check_mean(&self, terms: u64, divisor: u64, y: u32) -> Check {
        if divisor == 0 {
            return Check::exact(fp32::is_nan(y) || fp32::is_zero(y));
        }
        let sum_roundings = terms.saturating_sub(1);
        self.check(
            &Rule {
                roundings: sum_roundings + 2,
                sum_roundings,
                underflows: divisor,
                divisor,
            },
            y,
        )
    }

    fn check(&self, rule: &Rule, y: u32) -> Check {
        let [plus, minus] = self.infinite;
        if self.nan || (plus && minus) {
            return Check::exact(fp32::is_nan(y));
        }
        let positive = Wide::from_lanes(&self.lanes[0]);
        let negative = Wide::from_lanes(&self.lanes[1]);
        if fp32::is_finite(y) {
            return if plus || minus {
                Check::OUTSIDE
            } else {
                rule.check_finite(&positive, &negative, y)
            };
        }
        let plus = plus || rule.overflows(&positive);
        let minus = minus || rule.overflows(&negative);
        if fp32::is_nan(y) {
            return Check::exact((plus && minus) || self.nan_allowed);
        }
        // Once there is an infinite term, the other sign can only come in as NaN.
        let infinite = self.infinite[0] || self.infinite[1];
        Check::exact(match (y == fp32::INFINITY, infinite) {
            (true, false) => plus,
            (false, false) => minus,
            (true, true) => self.infinite[0],
            (false, true) => self.infinite[1],
        })
    }
}

/// How many roundings there may be.
struct Rule {
    /// `k`: on any term's way into the result.
    roundings: u64,
    /// On any term's way into the sum, before it is divided.
    sum_roundings: u64,
    /// `j`: how many may underflow inexactly, times the divisor.
    underflows: u64,
    /// What the sum is divided by.
    divisor: u64,
}

impl Rule {
    fn check_finite(&self, positive: &Wide, negative: &Wide, y: u32) -> Check {
        let (exponent, significand) = fp32::parts(y);
        let result = Wide::shifted(u128::from(significand) * u128::from(self.divisor), exponent + 150);
        let distance = if y & fp32::SIGN == 0 {
            positive.distance(&negative.add(&result))
        } else {
            negative.distance(&positive.add(&result))
        };
        let error = distance.times(UNIT.saturating_sub(self.roundings));
        let underflow = Wide::shifted(u128::from(self.underflows) * u128::from(UNIT), UNDERFLOW_SHIFT);
        let bound = positive.add(negative).times(self.roundings).add(&underflow);
        Check {
            inside: error.compare(&bound) != Ordering::Greater,
            share: error.share(&bound),
        }
    }

    /// Whether terms of one sign can add up to infinity: `(P + j·η)·(1 + γ)` reaches the least magnitude that rounds to it.
    fn overflows(&self, sum: &Wide) -> bool {
        let underflow = Wide::shifted(u128::from(self.underflows), UNDERFLOW_SHIFT);
        let most = sum.add(&underflow).times(UNIT);
        let limit = Wide::shifted(OVERFLOW.0, OVERFLOW.1).times(UNIT.saturating_sub(self.sum_roundings));
        most.compare(&limit) != Ordering::Less
    }
}
