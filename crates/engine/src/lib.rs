//! Runs plans on libtorch and on an independent reference engine; records and reopens traces.
//!
//! The only crate that computes floats. What an engine gives is right when the judge of `touchstone-protocol` finds every element of
//! every operator inside its envelope; [`judge_run`] asks it.
//!
//! # Layout
//! - [`value`]: tensors as engines take and give them
//! - [`engine`]: what an engine is, and what a run holds
//! - [`reference`]: the reference engine, plain Rust, fp64 inside
//! - [`torch`]: the libtorch engine and its self-test
//! - [`judge`]: every element of a run or a layer, asked of the judge
//! - [`long`]: operators that are judged by parts
//! - [`operator`]: one operator by itself, computed and judged
//! - [`slack`]: how far an undetectable cheat can move what a model gives
//! - [`trace`]: commitments of a run, layers reopened
//! - `map`, `layout`: index maps and the structure of a plan, for both engines

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod engine;
pub mod judge;
mod layout;
pub mod long;
mod map;
pub mod operator;
pub mod reference;
pub mod slack;
pub mod torch;
pub mod trace;
pub mod value;

pub use engine::{Engine, EngineError, Keep, LayerValues, Run, ValueSource};
pub use judge::{Family, Report, judge_layer, judge_run};
pub use long::Long;
pub use reference::Reference;
pub use torch::{Device, Options, Torch};
pub use trace::{LayerTrace, ModelTrees, Opened, Trace, reopen};
pub use value::{Value, ValueError};
