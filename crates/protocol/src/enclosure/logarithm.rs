//! Enclosures of the logarithm, with their proofs. Mirrors `Logarithm.sol`.
//!
//! Both sum artanh z = Σ z^(2j+1)/(2j+1), whose terms are all positive.

use alloy_primitives::{I256, U256, uint};

use super::fixed::{ONE, Q, Real};

/// Fraction bits of [`ln`]: a power multiplies it by up to 2^31.
pub(crate) const LOG_Q: i32 = 128;
/// ⌊ln 2⌋ in Q128.
const LN2: U256 = uint!(235865763225513294137944142764154484399_U256);
/// ⌊√2⌋ in units of 2^-23: a mantissa above it counts as half of itself.
const ROOT_TWO: u64 = 11_863_283;
/// Units of 2^-128 by which [`ln`] may be off, either way.
pub(crate) const LOG_ERROR: U256 = uint!(256_U256);
/// Units of 2^-96 by which [`ln_one_plus`] may be low.
pub(crate) const ONE_PLUS_ERROR: U256 = uint!(128_U256);

/// artanh z for z ≤ 1/3 with `q` fraction bits: at most 46 units low for 96 bits, and for 128 bits and z ≤ 0.1716 at most 39; not high.
///
/// z² is low by less than a unit; a term T ← ⌊T·z²⌋ by less than e/9 + 1/3 + 1 units, e those of the term before, so by less than 1.5; T/n by
/// less than 1.5/3 + 1. T = 0 before z^(2j+1) = 2^-q, after at most 30 terms, or 25; the rest of the series is below a unit then.
fn artanh(z: U256, q: usize) -> U256 {
    let square = (z * z) >> q;
    let (mut term, mut sum, mut odd) = (z, z, U256::from(3));
    while !term.is_zero() {
        term = (term * square) >> q;
        sum += term / odd;
        odd += U256::from(2);
    }
    sum
}

/// ln x for finite x > 0: whether it is negative, and its size in Q128, within [`LOG_ERROR`] units. Below 2^135.
///
/// x = m · 2^k with √½ ≤ m ≤ √2, so ln x = k ln 2 + 2 artanh z, z = (m − 1)/(m + 1), |z| < 0.1716, and near 1, where k = 0, nothing
/// cancels. z is low by less than a unit, which counts 1/(1 − z²) < 1.04 times: the second summand is off by less than 2 · (39 + 1.04) < 81
/// units, the first by less than |k| ≤ 149, from the constant. 230 < 256.
pub(crate) fn ln(x: Real) -> (bool, U256) {
    let shift = 24 - (64 - x.mantissa.leading_zeros() as i32);
    let mantissa = x.mantissa << shift;
    let (unit, k) = if mantissa > ROOT_TWO {
        (1_u64 << 24, x.exponent - shift + 24)
    } else {
        (1_u64 << 23, x.exponent - shift + 23)
    };
    let z = (U256::from(mantissa.abs_diff(unit)) << LOG_Q as usize) / U256::from(mantissa + unit);
    let part = I256::from_raw(artanh(z, LOG_Q as usize) << 1);
    let whole = I256::from_raw(LN2 * U256::from(k.unsigned_abs()));
    let whole = if k < 0 { -whole } else { whole };
    let sum = if mantissa < unit { whole - part } else { whole + part };
    (sum.is_negative(), sum.unsigned_abs())
}

/// ln(1 + e) for 0 ≤ e ≤ 1, Q96: at most [`ONE_PLUS_ERROR`] units low, and not above the truth.
///
/// 2 artanh z, z = e/(2 + e) ≤ 1/3, low by less than a unit, which counts less than 1.13 times: 2 · (46 + 1.13) < 95 < 128.
pub(crate) fn ln_one_plus(e: U256) -> U256 {
    artanh((e << Q as usize) / ((ONE << 1) + e), Q as usize) << 1
}
