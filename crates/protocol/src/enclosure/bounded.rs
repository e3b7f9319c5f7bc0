//! Library functions: |ŷ − f(x)| ≤ 2·k_rel·u·|f(x)| + k_abs·u·s + η. Mirrors `leaf/Bounded.sol`.
//!
//! u = 2^-24; under `wide` 2^-53, without η, and some number of ŷ's rounding cell must satisfy it. The scale s of the absolute term is 1 for Erf, Tanh
//! and Sigmoid, 2|x| for GELU, |x| for its tanh form; η is 2^-150 where s may vanish, 0 elsewhere (`docs/envelopes.md#bounded`). The rule is held on
//! |f|, with y's sign turned along with f's. The other functions are in `powers` and `circular`.

use alloy_primitives::{U256, U512};

use super::fixed::{self, ONE, OVERFLOW, Q, Real};
use super::{Numerics, circular, elementary, powers, share};
use crate::check::Check;
use crate::descriptor::Code;

/// −log2 of η: a result below 2^-126 is rounded once, to a multiple of 2^-149.
const ETA: i32 = 150;

/// |f| in [lo, hi], in units that the caller chooses, and what the rule adds to 2·k_rel·u·|f|, in u of the unit.
pub(super) struct Target {
    pub(super) lo: U256,
    pub(super) hi: U256,
    pub(super) slack: U256,
}

/// Whether `y` is a value of function `code` at `x`. Codes that are no function of one number have no rule here: outside.
pub fn bounded(code: Code, profile: u64, x: u32, y: u32) -> Check {
    let profile = Numerics::of(profile);
    if fixed::is_nan(x) || fixed::is_nan(y) {
        let undefined = match code {
            // GELU at ±∞ is NaN in engines that form ∞ · 0 on the way.
            Code::Gelu | Code::GeluTanh | Code::Sin | Code::Cos => fixed::is_infinite(x),
            // Of −0 it is −∞.
            Code::Log => x > 1 << 31,
            _ => false,
        };
        return Check::exact(fixed::is_nan(y) && (fixed::is_nan(x) || undefined));
    }
    match code {
        Code::Erf | Code::Tanh | Code::Sigmoid => saturating(code, profile, x, y),
        Code::Gelu | Code::GeluTanh => gelu(code, profile, x, y),
        Code::Exp => powers::exp(profile, x, y),
        Code::Log => powers::log(profile, x, y),
        Code::Softplus => powers::softplus(profile, x, y),
        Code::Sin | Code::Cos => circular::circular(code, profile, x, y),
        _ => Check::OUTSIDE,
    }
}

/// Erf, Tanh, Sigmoid: units of 2^-96.
fn saturating(code: Code, profile: Numerics, x: u32, y: u32) -> Check {
    let negative = x >> 31 == 1;
    let f = if fixed::is_infinite(x) {
        let one = if code == Code::Sigmoid && negative {
            U256::ZERO
        } else {
            ONE
        };
        elementary::Interval { lo: one, hi: one }
    } else {
        let a = elementary::magnitude(fixed::decode(x));
        match code {
            Code::Erf => elementary::erf(a, false),
            Code::Tanh => elementary::tanh(a),
            _ => elementary::sigmoid(a, U256::ONE, negative),
        }
    };
    if fixed::is_infinite(y) {
        return Check::OUTSIDE;
    }
    let value = turned(fixed::decode(y), negative && code != Code::Sigmoid);
    let slack = U256::from(profile.k_abs) << Q as usize;
    hold(
        profile,
        Target {
            lo: f.lo,
            hi: f.hi,
            slack,
        },
        value,
        value.exponent + Q,
        false,
    )
}

/// The two forms of GELU, x times a factor in [0, 1]: units of 2^(e-96), x = ±m · 2^e.
fn gelu(code: Code, profile: Numerics, x: u32, y: u32) -> Check {
    let negative = x >> 31 == 1;
    if fixed::is_infinite(x) {
        // f(+∞) = +∞; f(−∞) = 0. Engines that multiply ∞ by what cancels to 0 give NaN, which is dealt with above.
        return Check::exact(if negative { y << 1 == 0 } else { y == fixed::INFINITY });
    }
    let real = fixed::decode(x);
    let a = elementary::magnitude(real);
    let gate = if code == Code::Gelu {
        elementary::gelu_gate(a, negative)
    } else {
        elementary::gelu_tanh_gate(a, negative)
    };
    let m = U256::from(real.mantissa);
    let unit = real.exponent - Q;
    // k_abs · u · s in u of the unit, s = 2|x| or |x|, and η.
    let scale = if code == Code::Gelu { Q + 1 } else { Q };
    let slack = ((U256::from(profile.k_abs) * m) << scale as usize) + eta(profile, unit);
    // x · (1 + erf) may overflow before it is halved, but not in binary64.
    let infinite = fixed::is_infinite(y);
    let least = Real {
        negative: y >> 31 == 1,
        exponent: OVERFLOW.exponent - i32::from(!profile.wide),
        ..OVERFLOW
    };
    let value = turned(if infinite { least } else { fixed::decode(y) }, negative);
    hold(
        profile,
        Target {
            lo: m * gate.lo,
            hi: m * gate.hi,
            slack,
        },
        value,
        value.exponent - unit,
        infinite,
    )
}

/// η in u of a unit of 2^`unit`: none where nothing underflows before the last rounding.
pub(super) fn eta(profile: Numerics, unit: i32) -> U256 {
    if profile.wide {
        U256::ZERO
    } else {
        fixed::ceil(U256::ONE, profile.precision as i32 - ETA - unit)
    }
}

/// The value of `y`; of an infinity the least that rounds to it.
pub(super) fn overflowing(y: u32) -> Real {
    if fixed::is_infinite(y) {
        Real {
            negative: y >> 31 == 1,
            ..OVERFLOW
        }
    } else {
        fixed::decode(y)
    }
}

/// `y` with its sign turned when `turn`.
pub(super) fn turned(y: Real, turn: bool) -> Real {
    Real {
        negative: y.negative != turn,
        ..y
    }
}

/// Holds y = ±mantissa · 2^shift units against the target; `infinite`: y stands for everything from there on.
///
/// The rule's two ends rise with |f|, so lo decides below and hi above. Sizes: |f| < 2^122 units, slack < 2^160; beyond 2^170
/// units y is outside, as 2^168 exceeds |f| and what the rule adds, 2^136 units; nothing reaches 2^(170 + 24 + 1 + 53) here.
pub(super) fn hold(profile: Numerics, f: Target, y: Real, shift: i32, infinite: bool) -> Check {
    if y.mantissa != 0 && shift > 170 {
        return Check::OUTSIDE;
    }
    let p = profile.precision as usize;
    let (down, up) = y.cell(profile.wide);
    let relative = U256::from(2 * profile.k_rel);
    let y_lo = fixed::floor(U256::from((4 * y.mantissa).saturating_sub(down)), shift - 2);
    let y_hi = fixed::ceil(U256::from(4 * y.mantissa + up), shift - 2);
    let below = relative * f.lo + f.slack;
    let above = relative * f.hi + f.slack;
    let inside = if y.negative && y.mantissa != 0 {
        !infinite && (f.lo + y_lo) << p <= below
    } else {
        (infinite || (y_hi << p) + below >= f.lo << p) && y_lo << p <= (f.hi << p) + above
    };
    let centre = (f.lo + f.hi) >> 1_usize;
    let middle = fixed::floor(U256::from(y.mantissa), shift);
    let error = if y.negative {
        centre + middle
    } else {
        centre.abs_diff(middle)
    };
    let error = if infinite && inside { U256::ZERO } else { error };
    // The half of the cell that looks to the centre counts as room.
    let half = if y.negative || middle > centre { down } else { up };
    let room = fixed::ceil(U256::from(half), shift - 2) << p;
    Check {
        inside,
        share: share(
            U512::from(error) << p,
            U512::from(relative * centre + f.slack + room),
            inside,
        ),
    }
}
