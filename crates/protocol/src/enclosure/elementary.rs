//! Enclosures of exp, erf and the sigmoid in Q96, with their proofs. Mirrors `Elementary.sol`.
//!
//! Every function says by how much its result may differ from the truth; callers widen by it. A *unit* is 2^-96.
//! Arguments are truncated toward zero to Q96 by [`magnitude`], so they stand below the truth by less than a unit.

use alloy_primitives::{U256, uint};

use super::fixed::{self, ONE, Q, Real};

/// ⌊ln 2⌋ in Q96.
const LN2: U256 = uint!(54916777467707473351141471128_U256);
/// ⌊2/√π⌋ in Q96.
const TWO_OVER_SQRT_PI: U256 = uint!(89399408028353504598410466558_U256);
/// ⌊√(2/π)⌋ in Q96.
const SQRT_TWO_OVER_PI: U256 = uint!(63214927650911841617241039488_U256);
/// ⌊2√(2/π)⌋ in Q96.
const TWO_SQRT_TWO_OVER_PI: U256 = uint!(126429855301823683234482078976_U256);
/// ⌊0.044715⌋ in Q96.
const GELU_CUBIC: U256 = uint!(3542687286825329855495317739_U256);

/// Units by which the mantissa of [`exp_negative`] and [`exp_positive`] may be off, either way.
pub(crate) const EXP_ERROR: U256 = uint!(1024_U256);
/// Units by which [`erf`] may be off, either way, below its cut.
const ERF_ERROR: U256 = uint!(16384_U256);
/// Units by which the argument of [`gelu_tanh_gate`] may be off, either way.
const GATE_ERROR: U256 = uint!(16384_U256);

/// Terms of the Taylor series of exp on [0, ln 2].
const EXP_TERMS: u64 = 24;
/// Exponentials of Q96 arguments from here on are below 2^-184: callers clamp.
pub(crate) const EXP_LIMIT: U256 = uint!(10141204801825835211973625643008_U256); // 2^103
/// erf is taken as 1 from z² = 32 on.
const ERF_CUT: U256 = uint!(5070602400912917605986812821504_U256); // 2^102: 2z² = 64
/// erfc(√32) < e^-32 / √(32π) < 1.27e-15 < 2^-49, in units.
const ERF_TAIL: U256 = uint!(140737488355328_U256); // 2^47

/// An interval of Q96 values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) lo: U256,
    pub(crate) hi: U256,
}

impl Interval {
    /// `value ± error`, not below 0.
    fn around(value: U256, error: U256) -> Self {
        Self {
            lo: value.saturating_sub(error),
            hi: value + error,
        }
    }

    /// Without what lies above 1.
    fn below_one(self) -> Self {
        Self {
            lo: self.lo.min(ONE),
            hi: self.hi.min(ONE),
        }
    }
}

/// |x| in Q96, rounded down. At most 2^224.
pub(crate) fn magnitude(x: Real) -> U256 {
    fixed::floor(U256::from(x.mantissa), x.exponent + Q)
}

/// Σ rⁿ/n! for n ≤ 24, r ≤ ln 2 in Q96, at most ten units below e^r.
///
/// Horner, acc ← 1 + ⌊⌊r·acc⌋/n⌋: a step scales the error of acc by r/n < 0.7 and adds less than two units, 2/(1 − 0.7) < 7
/// in all. The rest of the series is below e^r · r^25/25! < 2 · 0.6932^25/25! < 2^-95: two units.
fn taylor(r: U256) -> U256 {
    let mut acc = ONE;
    for n in (1..=EXP_TERMS).rev() {
        acc = ONE + ((r * acc) >> Q as usize) / U256::from(n);
    }
    acc
}

/// `(m, k)` with e^-t = m · 2^(-96-k) and m within [`EXP_ERROR`] units, 2^96 ≤ m ≤ 2^97; t < [`EXP_LIMIT`] in Q96 and within
/// 130 units of the truth; k ≤ 185.
///
/// k = ⌈t/LN2⌉, r = k·LN2 − t ∈ [0, LN2], e^-t = 2^-k e^r. With LN2 = ln 2 − θ, 0 ≤ θ < 1 unit, the exponent is off by at most
/// kθ + 130 ≤ 315 units, so m by less than 2 · 315 · (1 + 2^-80) units, and by ten more from [`taylor`]: 641 < 1024.
pub(crate) fn exp_negative(t: U256) -> (U256, i32) {
    let k = fixed::div_up(t, LN2);
    (taylor(k * LN2 - t), k.to::<u64>() as i32)
}

/// `(m, k)` with e^t = m · 2^(k-96) and m within [`EXP_ERROR`] units, 2^96 ≤ m ≤ 2^97; t as in [`exp_negative`], same proof.
pub(crate) fn exp_positive(t: U256) -> (U256, i32) {
    let k = t / LN2;
    (taylor(t - k * LN2), k.to::<u64>() as i32)
}

/// e^-t for t ≥ 0 within `error` units of a Q96 value: e^-t has slope at most 1 there.
pub(crate) fn exp_interval(t: U256, error: U256) -> Interval {
    if t >= EXP_LIMIT {
        return Interval {
            lo: U256::ZERO,
            hi: U256::ONE + error,
        };
    }
    let (m, k) = exp_negative(t);
    // The shift loses less than a unit.
    Interval::around(m >> k as usize, EXP_ERROR + U256::ONE + error).below_one()
}

/// 1/(1 + e^-t), or with `negative` 1/(1 + e^t), for t ≥ 0 within `error` units of a Q96 value.
///
/// With E = e^-t: 1/(1 + E) falls and E/(1 + E) rises with E, so the ends of E's interval give the ends of the result; no
/// difference of near values is formed.
pub(crate) fn sigmoid(t: U256, error: U256, negative: bool) -> Interval {
    let e = exp_interval(t, error);
    if negative {
        Interval {
            lo: (e.lo << Q as usize) / (ONE + e.lo),
            hi: (e.hi << Q as usize) / (ONE + e.hi) + U256::ONE,
        }
    } else {
        let one = ONE << Q as usize;
        Interval {
            lo: one / (ONE + e.hi),
            hi: one / (ONE + e.lo) + U256::ONE,
        }
    }
}

/// tanh t for t ≥ 0 within one unit of a Q96 value: (1 − E)/(1 + E) with E = e^-2t, which falls with E.
pub(crate) fn tanh(t: U256) -> Interval {
    let e = exp_interval(t << 1, U256::from(2));
    Interval {
        lo: ((ONE - e.hi) << Q as usize) / (ONE + e.hi),
        hi: ((ONE - e.lo) << Q as usize) / (ONE + e.lo) + U256::ONE,
    }
}

/// erf(a), or with `halved` erf(a/√2), for a ≥ 0 in Q96 rounded down.
///
/// With q = 2z², z the argument of erf: erf z = (2/√π)·z·h(q), h(q) = e^(-q/2)·Σ q^k/(2k+1)!! = ∫₀¹ e^(-q s²/2) ds, all terms
/// positive. Below the cut (q < 64, so a < 8, and a < 5.66 unless halved):
/// - q is at most 32 units low, and |h′| ≤ 1/6: h off by 6 units.
/// - A term T ← ⌊⌊T·q⌋/(2k+3)⌋ loses less than 2 units; what is lost at term j reaches the sum times
///   Σ_m q^m/((2j+3)…(2j+2m+1)) ≤ S(q), the tail after T = 0 included. T vanishes before k = 150 (64^150/301!! < 2^-127), so
///   the sum is low by at most 300·S(q) units: h by 300 units, as e^(-q/2)·S(q) = h ≤ 1.
/// - e^(-q/2) has relative error below (1024 + 1) units; the shifts lose 2 units: h is within 1,340 units.
/// - times (2/√π)·z ≤ 6.4: 8,600 units; a low by one unit and the constant by one: 9 more. Below 16,384.
///
/// Sizes: S(q) ≤ e^(q/2)·√π/2z·erf z < 2^50 at q = 64, T ≤ S, so T·q < 2^(50+96+6+96) = 2^248.
pub(crate) fn erf(a: U256, halved: bool) -> Interval {
    // From a = 8 on the square could exceed a word; the cut lies below.
    let q = if a >= ONE << 3 {
        ERF_CUT
    } else {
        (a * a) >> if halved { Q as usize } else { Q as usize - 1 }
    };
    if q >= ERF_CUT {
        return Interval {
            lo: ONE - ERF_TAIL,
            hi: ONE,
        };
    }
    let mut sum = ONE;
    let mut term = ONE;
    let mut odd = U256::from(3);
    while !term.is_zero() {
        term = ((term * q) >> Q as usize) / odd;
        sum += term;
        odd += U256::from(2);
    }
    let (m, k) = exp_negative(q >> 1);
    let h = (sum * m) >> (Q + k) as usize;
    let factor = if halved { SQRT_TWO_OVER_PI } else { TWO_OVER_SQRT_PI };
    let value = (((factor * a) >> Q as usize) * h) >> Q as usize;
    Interval::around(value, ERF_ERROR).below_one()
}

/// (1 + erf(x/√2))/2 for |x| = a in Q96 rounded down: the factor of x in GELU.
pub(crate) fn gelu_gate(a: U256, negative: bool) -> Interval {
    let e = erf(a, true);
    if negative {
        Interval {
            lo: (ONE - e.hi) >> 1,
            hi: ((ONE - e.lo) >> 1) + U256::ONE,
        }
    } else {
        Interval {
            lo: (ONE + e.lo) >> 1,
            hi: ((ONE + e.hi) >> 1) + U256::ONE,
        }
    }
}

/// (1 + tanh w)/2 = 1/(1 + e^-2w), w = √(2/π)·(x + 0.044715·x³), for |x| = a in Q96 rounded down: the factor of x in the
/// tanh form of GELU.
///
/// From a = 16 on 2w > 300, beyond exp's limit. Below, 2w = c·(a·(1 + d·a²)), c = 2√(2/π), floors and low constants:
/// a² is low by at most 2·16 + 2 = 34 units; d·a² by 0.045·34 + 256 + 1 < 260; a·(1 + d·a²) by 16·260 + 12.5 + 1 < 4,180;
/// c times it by 1.6·4,180 + 200 + 1 < 6,900 < 16,384.
pub(crate) fn gelu_tanh_gate(a: U256, negative: bool) -> Interval {
    if a >= ONE << 4 {
        return sigmoid(EXP_LIMIT, U256::ZERO, negative);
    }
    let square = (a * a) >> Q as usize;
    let cubic = ONE + ((GELU_CUBIC * square) >> Q as usize);
    let inner = (a * cubic) >> Q as usize;
    let twice = (TWO_SQRT_TWO_OVER_PI * inner) >> Q as usize;
    sigmoid(twice, GATE_ERROR, negative)
}
