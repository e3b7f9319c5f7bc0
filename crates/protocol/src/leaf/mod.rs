//! The families' rules (PROTOCOL.md section 5), on raw element bits. Derivations: `docs/envelopes.md`.
//!
//! An element's *bits* are its little-endian bytes as a number, in a `u64` whatever the dtype.

pub mod contraction;
pub mod exact;
pub mod reduction;
mod rounded;
