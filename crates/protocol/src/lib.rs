//! The rules of Touchstone: commitments, claims, disputes and the judge. Integer arithmetic only.
//!
//! Nothing here reads a clock, a file or the network, computes with floats, or panics on input. `PROTOCOL.md` is normative;
//! `contracts/src` implements the same rules under the same names.
//!
//! # Layout
//! - [`digest`]: keccak256 and domain words
//! - [`merkle`]: position-bound trees, proofs, range openings
//! - [`tensor`]: chunks and tensor commitments
//! - [`descriptor`]: what an operator reads, writes and computes
//! - [`model`]: numerics profile, io, model id
//! - [`claim`]: what a worker signs
//! - [`clock`], [`bond`], [`dispute`]: the game, its times and its money
//! - [`fp32`]: IEEE-754 binary32 in integers
//! - [`leaf`], [`enclosure`]: the families' rules, and [`check`]: what they say about one element
//! - [`parts`]: operators that are too long for one transaction
//! - [`judge`]: the rules applied to whole operators; [`witness`]: to openings, as the contract does

pub mod bond;
pub mod check;
pub mod claim;
pub mod clock;
pub mod descriptor;
pub mod digest;
pub mod dispute;
pub mod enclosure;
pub mod fp32;
pub mod half;
mod index;
pub mod judge;
pub mod leaf;
pub mod merkle;
pub mod model;
pub mod parts;
mod profile;
pub mod tensor;
mod wide;
pub mod witness;
