//! Numbers as `mantissa · 2^exponent`, and directed rounding between units. Mirrors `Fixed.sol`.
//!
//! A value in *Q96* is an integer that counts units of 2^-96. Shifts round by name: [`floor`] toward zero, [`ceil`] away from
//! it, so a caller sees on which side of the truth each number stands.

use alloy_primitives::U256;

/// Fraction bits of a Q96 value.
pub(crate) const Q: i32 = 96;
/// 1 in Q96.
pub(crate) const ONE: U256 = U256::from_limbs([0, 1 << 32, 0, 0]);

/// Bits of +∞ in binary32; a magnitude above it is a NaN.
pub(crate) const INFINITY: u32 = 0x7f80_0000;
const MAGNITUDE: u32 = 0x7fff_ffff;

/// The least magnitude that rounds to infinity in binary32, 2^128 − 2^103.
pub(crate) const OVERFLOW: Real = Real {
    negative: false,
    mantissa: (1 << 25) - 1,
    exponent: 103,
};

/// A finite binary32 value, `± mantissa · 2^exponent`, mantissa < 2^24 ([`OVERFLOW`]: < 2^25), −149 ≤ exponent ≤ 104.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real {
    pub(crate) negative: bool,
    pub(crate) mantissa: u64,
    pub(crate) exponent: i32,
}

impl Real {
    /// By how much the reals that round to this magnitude may lie below and above it, in quarters of its last place: half of it, but
    /// downwards from a power of two a quarter, because the numbers below are twice as dense (not below the least normal number).
    /// Nothing unless the profile is `wide`; nothing for [`OVERFLOW`], from where on everything rounds to infinity.
    pub(crate) fn cell(&self, wide: bool) -> (u64, u64) {
        if !wide || self.mantissa == OVERFLOW.mantissa {
            (0, 0)
        } else if self.mantissa == 1 << 23 && self.exponent > -149 {
            (1, 2)
        } else {
            (2, 2)
        }
    }
}

pub(crate) fn is_nan(bits: u32) -> bool {
    bits & MAGNITUDE > INFINITY
}

pub(crate) fn is_infinite(bits: u32) -> bool {
    bits & MAGNITUDE == INFINITY
}

pub(crate) fn is_finite(bits: u32) -> bool {
    bits & MAGNITUDE < INFINITY
}

/// The value of finite `bits`; those of an infinity or NaN give a number that means nothing.
pub(crate) fn decode(bits: u32) -> Real {
    let exponent = (bits >> 23 & 0xff) as i32;
    let fraction = u64::from(bits & 0x7f_ffff);
    let negative = bits >> 31 == 1;
    if exponent == 0 {
        Real {
            negative,
            mantissa: fraction,
            exponent: -149,
        }
    } else {
        Real {
            negative,
            mantissa: fraction | 1 << 23,
            exponent: exponent - 150,
        }
    }
}

/// `mantissa · 2^shift` rounded down; the caller bounds `mantissa · 2^shift` below 2^256.
pub(crate) fn floor(mantissa: U256, shift: i32) -> U256 {
    if shift >= 0 {
        mantissa << shift as usize
    } else {
        mantissa >> shift.unsigned_abs() as usize
    }
}

/// `mantissa · 2^shift` rounded up; the caller bounds it below 2^256.
pub(crate) fn ceil(mantissa: U256, shift: i32) -> U256 {
    let down = floor(mantissa, shift);
    if shift < 0 && (shift <= -256 || down << shift.unsigned_abs() as usize != mantissa) && !mantissa.is_zero() {
        down + U256::ONE
    } else {
        down
    }
}

/// `⌈a / b⌉` for b > 0 and a + b < 2^256.
pub(crate) fn div_up(a: U256, b: U256) -> U256 {
    (a + b - U256::ONE) / b
}

/// Number of significant bits, 0 for 0.
pub(crate) fn bits(a: U256) -> i32 {
    a.bit_len() as i32
}

/// Whether `a · 2^x ≤ b · 2^y`, exactly.
pub(crate) fn at_most(a: U256, x: i32, b: U256, y: i32) -> bool {
    if a.is_zero() || b.is_zero() {
        return a.is_zero();
    }
    let (top_a, top_b) = (bits(a) + x, bits(b) + y);
    if top_a != top_b {
        return top_a < top_b;
    }
    // Equal tops: the shifted side has as many bits as the other, so nothing is lost.
    if x >= y {
        floor(a, x - y) <= b
    } else {
        a <= floor(b, y - x)
    }
}

/// `⌊√a⌋`.
///
/// Newton: x₀ = 2^⌈bits/2⌉ lies in [√a, 2√a]; x ↦ ⌊(x + ⌊a/x⌋)/2⌋ never falls below ⌊√a⌋, since (x + a/x)/2 ≥ √a, and its
/// relative excess e goes to at most e²/2(1+e): 1, 2^-2, 2^-5, 2^-11, 2^-24, 2^-49, 2^-100, 2^-201. After seven steps the
/// excess is below one unit, so x is ⌊√a⌋ or ⌊√a⌋ + 1, and the last line tells which.
pub(crate) fn sqrt(a: U256) -> U256 {
    if a.is_zero() {
        return a;
    }
    // bits = 256 would shift by 128: x₀ = 2^128 is in range.
    let mut x = U256::ONE << (bits(a) as usize).div_ceil(2);
    for _ in 0..7 {
        x = (x + a / x) >> 1;
    }
    if x > a / x { x - U256::ONE } else { x }
}
