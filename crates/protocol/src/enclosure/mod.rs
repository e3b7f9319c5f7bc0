//! Enclosures: bounded functions, softmax, normalize. Integer arithmetic with directed rounding, 256-bit words throughout.
//!
//! `contracts/src/libraries/{Fixed,Elementary,Logarithm}.sol` and `contracts/src/leaf/{Bounded,Powers,Circular,Softmax,Normalize}.sol` do the same steps on
//! the same integers, so verdicts agree bit for bit. The rules are derived in `docs/envelopes.md`; the error of every function is
//! proven beside it. Operands and results are bits of binary32.
//!
//! # Layout
//! - `fixed`: binary32 as mantissa and exponent, directed shifts, square root
//! - `elementary`: exp, erf, sigmoid, tanh with proven errors; `logarithm`: ln
//! - [`bounded()`], with `powers` and `circular`; [`power()`], [`softmax()`], [`layer_norm()`], [`batch_norm()`]: the families
//! - [`SoftmaxRow`], [`LayerNormRow`]: the same over a whole row, for who judges every element

mod bounded;
mod circular;
mod elementary;
mod fixed;
mod logarithm;
mod normalize;
mod powers;
mod softmax;
#[cfg(test)]
mod truth;

use alloy_primitives::U512;

pub use bounded::bounded;
pub(crate) use normalize::Moments;
pub use normalize::{LayerNormRow, batch_norm, layer_norm, moment_roundings};
pub use powers::power;
pub(crate) use softmax::SoftmaxSums;
pub use softmax::{SoftmaxRow, softmax};

use crate::profile::Numerics;

/// `error / bound · 2^32`, saturating; never over the edge for what is inside, never within it for what is outside (the centre
/// and the ends of an enclosure are rounded separately).
fn share(error: U512, bound: U512, inside: bool) -> u64 {
    // Both sides lose the same low bits where the product would not fit.
    let shift = error.bit_len().saturating_sub(470);
    let (error, bound) = (error >> shift, bound >> shift);
    let share = if error.is_zero() {
        U512::ZERO
    } else if bound.is_zero() {
        U512::MAX
    } else {
        (error << 32) / bound
    };
    let share = u64::try_from(share).unwrap_or(u64::MAX);
    let edge = crate::check::Check::EDGE;
    if inside { share.min(edge) } else { share.max(edge + 1) }
}
