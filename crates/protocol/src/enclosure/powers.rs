//! Log, Pow, Softplus and Exp: what is made of a logarithm or an exponential. Mirrors `leaf/Powers.sol`.
//!
//! |ŷ − f| ≤ 2·k_rel·u·|f| + k_abs·u·s + η with s = 0, but 1 for Softplus; η for Exp and Pow (`docs/envelopes.md#bounded`).

use alloy_primitives::U256;

use super::Numerics;
use super::bounded::{Target, eta, hold, overflowing, turned};
use super::elementary::{self, EXP_ERROR, EXP_LIMIT};
use super::fixed::{self, ONE, Q};
use super::logarithm::{self, LOG_ERROR, LOG_Q, ONE_PLUS_ERROR};
use crate::check::Check;

const SIGN: u32 = 1 << 31;
/// Bits of 1.
const UNIT: u32 = 0x3f80_0000;

/// Exp of x, neither x nor y a NaN.
pub(super) fn exp(profile: Numerics, x: u32, y: u32) -> Check {
    let a = if fixed::is_infinite(x) {
        EXP_LIMIT
    } else {
        elementary::magnitude(fixed::decode(x))
    };
    exponential(profile, a, x >> 31 == 1, y, false)
}

/// e^t, or with `negative` e^-t, for t in Q96 within 130 units; `turn`: the negative of it. Units of 2^(k-96), e^±t in [2^k, 2^(k+1)].
fn exponential(profile: Numerics, t: U256, negative: bool, y: u32, turn: bool) -> Check {
    if t >= EXP_LIMIT && !negative {
        // Above 2^184 only infinity is near.
        return Check::exact(fixed::is_infinite(y) && (y >> 31 == 1) == turn);
    }
    let (lo, hi, k) = if t >= EXP_LIMIT {
        (U256::ZERO, ONE, -184)
    } else {
        let (m, k) = if negative {
            elementary::exp_negative(t)
        } else {
            elementary::exp_positive(t)
        };
        (m - EXP_ERROR, m + EXP_ERROR, if negative { -k } else { k })
    };
    let unit = k - Q;
    let slack = eta(profile, unit);
    let value = turned(overflowing(y), turn);
    let f = Target { lo, hi, slack };
    hold(profile, f, value, value.exponent - unit, fixed::is_infinite(y))
}

/// Log of x, neither x nor y a NaN: units of 2^-96.
pub(super) fn log(profile: Numerics, x: u32, y: u32) -> Check {
    if x & !SIGN == 0 {
        return Check::exact(y == fixed::INFINITY | SIGN);
    }
    if x == fixed::INFINITY {
        return Check::exact(y == fixed::INFINITY);
    }
    // Of a negative number the result is NaN, which is dealt with before.
    if x >> 31 == 1 || fixed::is_infinite(y) {
        return Check::OUTSIDE;
    }
    let (negative, size) = logarithm::ln(fixed::decode(x));
    let cut = (LOG_Q - Q) as usize;
    let f = Target {
        lo: size.saturating_sub(LOG_ERROR) >> cut,
        hi: ((size + LOG_ERROR) >> cut) + U256::ONE,
        slack: U256::ZERO,
    };
    let value = turned(fixed::decode(y), negative);
    hold(profile, f, value, value.exponent + Q, false)
}

/// ln(1 + e^x), neither x nor y a NaN: max(x, 0) + ln(1 + e^-|x|), units of 2^-96, or of 2^(e-96) where the second is nothing beside x = m · 2^e.
pub(super) fn softplus(profile: Numerics, x: u32, y: u32) -> Check {
    let negative = x >> 31 == 1;
    if x == fixed::INFINITY {
        return Check::exact(y == x);
    }
    let real = fixed::decode(x);
    let a = if fixed::is_infinite(x) {
        EXP_LIMIT
    } else {
        elementary::magnitude(real)
    };
    let k_abs = U256::from(profile.k_abs);
    let (f, unit) = if a >= EXP_LIMIT && !negative {
        // e^-128 is below 2^-184, a unit at least 2^-112.
        let lo = U256::from(real.mantissa) << Q as usize;
        let unit = real.exponent - Q;
        let f = Target {
            lo,
            hi: lo + U256::ONE,
            slack: fixed::ceil(k_abs, -unit),
        };
        (f, unit)
    } else {
        let e = elementary::exp_interval(a, U256::ONE);
        let least = logarithm::ln_one_plus(e.lo);
        let base = if negative { U256::ZERO } else { a };
        let f = Target {
            lo: base + least,
            // ln(1 + e) has slope at most 1; a is low by less than a unit.
            hi: base + U256::ONE + least + ONE_PLUS_ERROR + (e.hi - e.lo),
            slack: k_abs << Q as usize,
        };
        (f, -Q)
    };
    let value = overflowing(y);
    hold(profile, f, value, value.exponent - unit, fixed::is_infinite(y))
}

/// Whether a number is an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    No,
    Even,
    Odd,
}

impl Whole {
    /// Of bits that are no NaN. Infinities count as even, as in C.
    fn of(bits: u32) -> Self {
        let real = fixed::decode(bits);
        if fixed::is_infinite(bits) || real.exponent > 0 || real.mantissa == 0 {
            return Whole::Even;
        }
        let places = real.exponent.unsigned_abs();
        if places > 23 || real.mantissa.trailing_zeros() < places {
            Whole::No
        } else if real.mantissa.trailing_zeros() > places {
            Whole::Even
        } else {
            Whole::Odd
        }
    }
}

/// Whether `y` is a value of x to the power of `exponent`: e^(exponent · ln |x|), with x's sign where the exponent is odd. All are bits of
/// binary32.
pub fn power(profile: u64, x: u32, exponent: u32, y: u32) -> Check {
    let profile = Numerics::of(profile);
    let (size, whole) = (x & !SIGN, Whole::of(exponent));
    let finite = fixed::is_finite(x) && fixed::is_finite(exponent);
    let nan = fixed::is_nan(x) || fixed::is_nan(exponent);
    // x⁰ and 1¹ are 1 also of a NaN, and (±1)^±∞ is, in C and in IEEE 754's `pow`; in its `powr` they are NaN.
    let one = exponent & !SIGN == 0 || x == UNIT || (size == UNIT && fixed::is_infinite(exponent));
    let root = fixed::is_finite(x) && x > SIGN && whole == Whole::No;
    if fixed::is_nan(y) {
        return Check::exact(nan || root || (one && !finite));
    }
    if one {
        return if finite {
            exponential(profile, U256::ZERO, false, y, false)
        } else {
            Check::exact(y == UNIT)
        };
    }
    if nan || root {
        return Check::OUTSIDE;
    }
    let turn = x >> 31 == 1 && whole == Whole::Odd;
    let down = exponent >> 31 == 1;
    if size == 0 || !finite {
        // The sign of a zero is free.
        return Check::exact(if (size > UNIT) != down {
            y == fixed::INFINITY | u32::from(turn) << 31
        } else {
            y & !SIGN == 0
        });
    }
    let (negative, ln) = logarithm::ln(fixed::decode(x));
    let e = fixed::decode(exponent);
    // No |ln x| but 0 is below 2^-24, so where t < EXP_LIMIT the exponent is below 2^31 and a bit: ln's error makes 2^31 · 256 · 2^-32 = 128
    // units of t, the shift one.
    let t = fixed::floor(U256::from(e.mantissa) * ln, e.exponent + Q - LOG_Q);
    exponential(profile, t, negative != down, y, turn)
}
