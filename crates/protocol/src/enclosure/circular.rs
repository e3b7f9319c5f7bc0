//! Enclosures of sin and cos in Q96, with their proofs, and the rule that holds them. Mirrors `leaf/Circular.sol`.
//!
//! |ŷ − f(x)| ≤ 2·k_rel·u·|f(x)| + k_abs·u·s, s = 1, but |x| for the sine of |x| < 1 (`docs/envelopes.md#bounded`).

use alloy_primitives::{U256, uint};

use super::Numerics;
use super::bounded::{Target, hold, turned};
use super::elementary;
use super::fixed::{self, ONE, Q, Real};
use crate::check::Check;
use crate::descriptor::Code;

/// ⌊2/π⌋ in Q256.
const TWO_OVER_PI: U256 = uint!(73715533492226901901836098385759174607297965327747686705228263945774433027425_U256);
/// ⌊π/2⌋ in Q96.
const HALF_PI: U256 = uint!(124451306656115542615260972311_U256);
/// Terms of both series on [0, π/2], beyond the first.
const TERMS: u64 = 16;
/// Units by which [`quadrant`]'s sine and cosine and [`sine_ratio`] may be off, either way.
pub(crate) const CIRCULAR_ERROR: U256 = uint!(32_U256);

/// cos θ (`first` 1) or (sin θ)/θ (`first` 2) of θ² = `square` in Q96, θ ≤ π/2, where `square` may be 11 units low.
///
/// Horner, acc ← 1 − ⌊⌊θ²·acc⌋/d⌋ with d = 1·2, 3·4, … or 2·3, 4·5, …: a step counts the error of acc θ²/d times and adds 11/d and two
/// units. For d ≥ 12 that is below 4 units, after the last d = 2 below 1.24·4 + 5.5 + 2 < 13, after d = 6 below 6. What the series leaves out is
/// below θ^34/34! < 2^-105.
fn series(square: U256, first: u64) -> U256 {
    let mut acc = ONE;
    for n in (0..TERMS).rev() {
        let divisor = (first + 2 * n) * (first + 2 * n + 1);
        acc = ONE.saturating_sub(((square * acc) >> Q as usize) / U256::from(divisor));
    }
    acc
}

/// (sin a)/a of a ≤ 1 in Q96, rounded down: its square is at most three units low, so it is off by less than six units.
pub(crate) fn sine_ratio(a: U256) -> U256 {
    series((a * a) >> Q as usize, 2)
}

/// |x| = (q + w)·π/2 modulo 2π, q in 0 … 3, 0 ≤ w < 1: `(q, sin w·π/2, cos w·π/2)` in Q96, within [`CIRCULAR_ERROR`] units.
///
/// |x|·2/π/4 = m · 2^e · (2/π) / 4 is wanted modulo 1. The product of m < 2^24 and P = 2/π in Q256 is taken modulo 2^256, which drops whole turns,
/// after P has been shifted down by 2 − e, or before the product is shifted up by e − 2. A unit of P counts at most m·2^(e−2) < 2^126 times,
/// a unit that a shift drops m times: the turns are low by less than 2^-130, w by 2^-128, and cut to 128 bits by two of its units. θ = w·π/2 is
/// then low by less than three units of Q96 (with the constant and the shift), θ² by less than 2·1.58·3 + 1 < 11, θ·(sin θ)/θ off by less
/// than 3 + 1.58·6 + 1. If w is so low that it lies in the quarter before, sine and cosine there are as near to the truth's.
pub(crate) fn quadrant(x: Real) -> (u64, U256, U256) {
    let m = U256::from(x.mantissa);
    let turns = if x.exponent < 2 {
        m.wrapping_mul(TWO_OVER_PI >> (2 - x.exponent) as usize)
    } else {
        m.wrapping_mul(TWO_OVER_PI) << (x.exponent - 2) as usize
    };
    let q = (turns >> 254_usize).to::<u64>();
    let w = (turns << 2_usize) >> 128_usize;
    let angle = (HALF_PI * w) >> 128_usize;
    let square = (angle * angle) >> Q as usize;
    (q, (angle * series(square, 2)) >> Q as usize, series(square, 1))
}

/// Sin, Cos of x that is no NaN, and y that is none.
pub(super) fn circular(code: Code, profile: Numerics, x: u32, y: u32) -> Check {
    // Of ±∞ the result is NaN, which is dealt with before.
    if fixed::is_infinite(x) || fixed::is_infinite(y) {
        return Check::OUTSIDE;
    }
    let negative = x >> 31 == 1 && code == Code::Sin;
    let (real, y) = (fixed::decode(x), fixed::decode(y));
    let a = elementary::magnitude(real);
    let k_abs = U256::from(profile.k_abs);
    if code == Code::Sin && a < ONE {
        // x times a ratio in [0.84, 1]: units of 2^(e-96), x = ±m · 2^e.
        let ratio = sine_ratio(a);
        let m = U256::from(real.mantissa);
        let unit = real.exponent - Q;
        let f = Target {
            lo: m * (ratio - CIRCULAR_ERROR),
            hi: m * (ratio + CIRCULAR_ERROR).min(ONE),
            slack: (k_abs * m) << Q as usize,
        };
        return hold(profile, f, turned(y, negative), y.exponent - unit, false);
    }
    let (q, sine, cosine) = quadrant(real);
    let q = if code == Code::Cos { q + 1 } else { q };
    let size = if q % 2 == 0 { sine } else { cosine };
    // Near a zero of f its sign is that of the quarter, which the truth may just have left: by the error again.
    let f = Target {
        lo: size.saturating_sub(CIRCULAR_ERROR),
        hi: size + CIRCULAR_ERROR,
        slack: (k_abs << Q as usize) + (CIRCULAR_ERROR << profile.precision as usize),
    };
    let down = q % 4 >= 2;
    hold(profile, f, turned(y, negative != down), y.exponent + Q, false)
}
