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
//!
//! Under `wide` products are exact, `u = 2^-53`, nothing underflows, and ŷ stands for its rounding cell: with `h` the cell's half on the
//! side of S, `|ŷ − S|·(2^53 − k) ≤ k·A + h·(2^53 − k)`.
//!
//! Under `tf32`, `bf16` and `fp16` the factors may be rounded before they are multiplied: [`super::rounded`].

use std::cmp::Ordering;

use alloy_primitives::U256;

use super::rounded::{self, Rounded};
use crate::check::Check;
use crate::fp32;
use crate::parts::{pack, unpack};
use crate::profile::{Numerics, Profile};
use crate::wide::Wide;

/// η in units of 2^-300 is 2^150.
const UNDERFLOW_SHIFT: u32 = 150;
/// The least magnitude that rounds to infinity is `2^128 − 2^103 = (2^25 − 1)·2^103`; in units of 2^-300, shifted by 403.
const OVERFLOW: (u128, u32) = ((1 << 25) - 1, 403);
/// The same as [`fp32::parts`] gives a number: `significand · 2^(exponent − 150)`.
const OVERFLOW_PARTS: (u32, u32) = (253, (1 << 25) - 1);

/// Words that the positive terms' sums are, and the negative ones'.
const WORD_LANES: usize = 4;
/// 2^24 products below 2^48, shifted by at most 127.
const LANE_BITS: usize = 199;

/// Exact sums of the terms of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    numerics: Numerics,
    /// Terms of the operator, in bounds or not.
    terms: u64,
    /// Lane `i` counts units of 2^(32·i−300): first the positive terms', then the negative terms'.
    lanes: [[u128; 16]; 2],
    /// What the factors' rounding asks for, where they may be rounded.
    rounded: Option<Rounded>,
    /// How many terms are +∞, −∞.
    infinite: [u64; 2],
    /// How many are NaN; of one every engine's result is.
    nan: u64,
    /// How many terms that are not in bounds would be NaN if they were multiplied by the zero that stands there.
    nan_allowed: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self::new()
    }
}

impl Sums {
    /// No terms yet, under `fast`. At most 2^24 may follow.
    pub const fn new() -> Self {
        Self::under(Profile::FAST.encode(), 0)
    }

    /// No terms yet, of an operator with `terms` terms in bounds or not, under a profile that is known.
    pub const fn under(profile: u64, terms: u64) -> Self {
        let numerics = Numerics::of(profile);
        Self {
            numerics,
            terms,
            lanes: [[0; 16]; 2],
            rounded: match numerics.format {
                Some(format) => Some(Rounded::new(format)),
                None => None,
            },
            infinite: [0; 2],
            nan: 0,
            nan_allowed: 0,
        }
    }

    /// Adds the product of two fp32 numbers.
    #[inline]
    pub fn product(&mut self, a: u32, b: u32) {
        let negative = ((a ^ b) >> 31) as usize;
        if let Some(rounded) = &mut self.rounded {
            rounded.product(a, b);
        }
        if !fp32::is_finite(a) || !fp32::is_finite(b) {
            if fp32::is_nan(a) || fp32::is_nan(b) || fp32::is_zero(a) || fp32::is_zero(b) {
                self.nan += 1;
            } else {
                self.infinite[negative] += 1;
            }
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
            if fp32::is_nan(x) {
                self.nan += 1;
            } else {
                self.infinite[negative] += 1;
            }
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
        self.nan_allowed += u64::from(!fp32::is_finite(x));
        if let Some(rounded) = &mut self.rounded {
            rounded.unpaired(x);
        }
    }

    /// Holds `y` against the sums of `products` products and `values` numbers: a term passes at most `products + values` operations,
    /// or fewer through blocks. Under `fast` the products are rounded, and may underflow; under `wide` they are exact.
    pub fn check_contraction(&self, products: u64, values: u64, y: u32) -> Check {
        if let Some(rounded) = &self.rounded {
            let [positive, negative] = self.lanes.each_ref().map(Wide::from_lanes);
            let (roundings, bound) = rounded.bound(products, values, self.terms, &positive.add(&negative));
            let rule = Rule {
                unit: 1 << rounded::PRECISION,
                bound: Some(bound),
                ..self.rule(roundings, 0, 0, 1)
            };
            return self.check(&rule, y);
        }
        let way = self.numerics.way(products, self.terms) + values;
        let roundings = if self.numerics.wide { way.saturating_sub(1) } else { way };
        self.check(&self.rule(roundings, roundings, products + values, 1), y)
    }

    /// Holds `y` against the sum of `terms` numbers: `terms − 1` additions, or fewer through blocks, which are exact where they
    /// underflow.
    pub fn check_sum(&self, terms: u64, y: u32) -> Check {
        let roundings = self.additions(terms);
        self.check(&self.rule(roundings, roundings, 0, 1), y)
    }

    /// Holds `y` against the sum of `terms` numbers divided by `divisor`: two roundings more, the last of which may underflow. The mean
    /// of nothing is NaN or 0.
    pub fn check_mean(&self, terms: u64, divisor: u64, y: u32) -> Check {
        if divisor == 0 {
            return Check::exact(fp32::is_nan(y) || fp32::is_zero(y));
        }
        let additions = self.additions(terms);
        self.check(&self.rule(additions + 2, additions, divisor, divisor), y)
    }

    /// How many words the sums of a part are, of products or of numbers, under a profile that is known: see [`Sums::words`].
    pub(crate) const fn word_count(profile: u64, products: bool) -> usize {
        let lanes = 2 * WORD_LANES + 1;
        if products && Numerics::of(profile).format.is_some() {
            2 * lanes
        } else {
            lanes
        }
    }

    /// The sums as words that add up from part to part: four of the positive terms, spaced 128 bits, four of the negative, then the
    /// counts of terms in bounds (`counted`), NaN, +∞, −∞ and unpaired, 32 bits each from the lowest. Of products whose factors may be
    /// rounded, what that asks for follows.
    pub(crate) fn words(&self, counted: u64, products: bool) -> Vec<U256> {
        let mut words: Vec<U256> = self.lanes.iter().flat_map(words_of).collect();
        let [plus, minus] = self.infinite;
        words.push(pack(&[counted, self.nan, plus, minus, self.nan_allowed]));
        if let Some(rounded) = self.rounded.as_ref().filter(|_| products) {
            words.extend(rounded.words());
        }
        words
    }

    /// The sums that `words` are, with the count of terms in bounds; `None` where no `terms` terms have such sums.
    pub(crate) fn from_words(profile: u64, terms: u64, words: &[U256], products: bool) -> Option<(Self, u64)> {
        if words.len() != Self::word_count(profile, products) {
            return None;
        }
        let (lanes, rest) = words.split_at_checked(2 * WORD_LANES)?;
        let (counts, rest) = rest.split_first()?;
        if lanes.iter().any(|lane| lane.bit_len() > LANE_BITS) {
            return None;
        }
        let [counted, nan, plus, minus, nan_allowed] = unpack(*counts)?;
        if [counted, nan, plus, minus, nan_allowed]
            .iter()
            .any(|count| *count > terms)
        {
            return None;
        }
        let mut sums = Self::under(profile, terms);
        for (lanes, words) in sums.lanes.iter_mut().zip(lanes.chunks_exact(WORD_LANES)) {
            lanes_of(lanes, words);
        }
        if let Some(rounded) = sums.rounded.as_mut().filter(|_| products) {
            rounded.take(terms, rest)?;
        }
        (sums.infinite, sums.nan, sums.nan_allowed) = ([plus, minus], nan, nan_allowed);
        Some((sums, counted))
    }

    /// The most additions that one of `terms` numbers in bounds passes.
    fn additions(&self, terms: u64) -> u64 {
        self.numerics.way(terms, self.terms).saturating_sub(1)
    }

    fn rule(&self, roundings: u64, sum_roundings: u64, underflows: u64, divisor: u64) -> Rule {
        Rule {
            unit: self.numerics.unit(),
            wide: self.numerics.wide,
            roundings,
            sum_roundings,
            underflows,
            divisor,
            bound: None,
        }
    }

    fn check(&self, rule: &Rule, y: u32) -> Check {
        let [plus, minus] = self.infinite.map(|terms| terms != 0);
        let nan_allowed = self.nan_allowed != 0;
        if self.nan != 0 || (plus && minus) {
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
        let infinite = plus || minus;
        if rule.wide {
            // Nothing overflows before the last rounding: a NaN is an operand's, and infinite terms have the last word.
            return match (fp32::is_nan(y), y == fp32::INFINITY) {
                (true, _) => Check::exact(nan_allowed),
                (_, up) if infinite => Check::exact(if up { plus } else { minus }),
                _ => rule.check_finite(&positive, &negative, y),
            };
        }
        let [over, under] = self
            .rounded
            .as_ref()
            .map_or([0; 2], |rounded| rounded.infinite)
            .map(|terms| terms != 0);
        let (plus, minus) = (plus || over, minus || under);
        let plus = plus || rule.overflows(&positive);
        let minus = minus || rule.overflows(&negative);
        if fp32::is_nan(y) {
            let rounded = self.rounded.as_ref().is_some_and(|rounded| rounded.nan != 0);
            return Check::exact((plus && minus) || nan_allowed || rounded);
        }
        // Once there is an infinite term, the other sign can only come in as NaN.
        Check::exact(match (y == fp32::INFINITY, infinite) {
            (true, false) => plus,
            (false, false) => minus,
            (true, true) => self.infinite[0] != 0,
            (false, true) => self.infinite[1] != 0,
        })
    }
}

/// Lanes spaced 32 bits as words spaced 128.
pub(super) fn words_of(lanes: &[u128; 16]) -> impl Iterator<Item = U256> {
    lanes.chunks_exact(WORD_LANES).map(|lanes| {
        (lanes.iter().rev()).fold(U256::ZERO, |word, lane| {
            (word << 32usize).wrapping_add(U256::from(*lane))
        })
    })
}

/// Lanes that make these words, each below 2^208: the highest of four takes all that the others leave.
pub(super) fn lanes_of(lanes: &mut [u128; 16], words: &[U256]) {
    for (lanes, word) in lanes.chunks_exact_mut(WORD_LANES).zip(words) {
        for (place, lane) in lanes.iter_mut().enumerate() {
            let rest: U256 = *word >> (32 * place);
            let [low, high, ..] = rest.into_limbs();
            *lane = if place + 1 == WORD_LANES {
                u128::from(low) | u128::from(high) << 64
            } else {
                u128::from(low as u32)
            };
        }
    }
}

/// How many roundings there may be.
struct Rule {
    /// 1/u.
    unit: u64,
    /// Whether ŷ stands for its rounding cell.
    wide: bool,
    /// `k`: on any term's way into the result.
    roundings: u64,
    /// On any term's way into the sum, before it is divided, where that may overflow: not under `wide`.
    sum_roundings: u64,
    /// `j`: how many may underflow inexactly, times the divisor. Under `wide` none does.
    underflows: u64,
    /// What the sum is divided by.
    divisor: u64,
    /// The right side of the rule, where it is not made of the sums alone.
    bound: Option<Wide>,
}

impl Rule {
    /// Of a finite `y`; under `wide` of an infinite one too, which stands for everything from the least magnitude on that rounds to it.
    fn check_finite(&self, positive: &Wide, negative: &Wide, y: u32) -> Check {
        let infinite = !fp32::is_finite(y);
        let (exponent, significand) = if infinite { OVERFLOW_PARTS } else { fp32::parts(y) };
        let result = Wide::shifted(u128::from(significand) * u128::from(self.divisor), exponent + 150);
        let (own, other) = if y & fp32::SIGN == 0 {
            (positive, negative)
        } else {
            (negative, positive)
        };
        let reach = other.add(&result);
        let distance = own.distance(&reach);
        let kept = self.unit.saturating_sub(self.roundings);
        let beyond = own.compare(&reach) == Ordering::Greater;
        let slack = if !self.wide {
            Wide::shifted(u128::from(self.underflows) * u128::from(self.unit), UNDERFLOW_SHIFT)
        } else if infinite {
            if beyond {
                return Check::INSIDE;
            }
            Wide::ZERO
        } else {
            // Half a last place; downwards from a power of two a quarter, for the numbers below it are twice as dense.
            let dense = !beyond && significand == 1 << 23 && exponent > 1;
            Wide::shifted(u128::from(self.divisor), exponent + 149 - u32::from(dense)).times(kept)
        };
        let error = distance.times(kept);
        let bound = match &self.bound {
            Some(bound) => *bound,
            None => positive.add(negative).times(self.roundings).add(&slack),
        };
        Check {
            inside: error.compare(&bound) != Ordering::Greater,
            share: error.share(&bound),
        }
    }

    /// Whether terms of one sign can add up to infinity: `(P + j·η)·(1 + γ)`, or P and all error that is admitted, reaches the least
    /// magnitude that rounds to it.
    fn overflows(&self, sum: &Wide) -> bool {
        if let Some(bound) = &self.bound {
            let limit = Wide::shifted(OVERFLOW.0, OVERFLOW.1);
            let short = limit.distance(sum).times(self.unit.saturating_sub(self.roundings));
            return sum.compare(&limit) != Ordering::Less || short.compare(bound) != Ordering::Greater;
        }
        let underflow = Wide::shifted(u128::from(self.underflows), UNDERFLOW_SHIFT);
        let most = sum.add(&underflow).times(self.unit);
        let limit = Wide::shifted(OVERFLOW.0, OVERFLOW.1).times(self.unit.saturating_sub(self.sum_roundings));
        most.compare(&limit) != Ordering::Less
    }
}
