//! From an ONNX file to a plan: operators, rewrites, layers, canonical descriptors, model id.
//!
//! [`compile`] is deterministic: the same bytes and options give the same plan, so the same model id, on every machine.
//!
//! # Layout
//!
//! - `scan`, `proto`, `graph`, `functions`, `tensor`: the file, bounded by [`limits`], as a flat checked graph.
//! - `lower`, `ops`: nodes to operators with affine index maps (`ir`, `view`, `build`); constants are folded on the way (`fold`,
//!   `exact`). One file an ONNX operator.
//! - `rewrite`: exporters' compositions back to one operator; biases and residuals into contractions.
//! - `dense`: copies that make rows contiguous.
//! - `layers`: the cutting rule.
//! - `emit`, `cost`, `size`: descriptors, places, weights; caps on a verdict and on a run. `quote`: what a dispute costs.
//! - [`names`]: where the plan has the file's values.
//! - [`plan`], [`inspect`], [`tensor_file`]: what others use.

mod build;
pub mod cost;
mod dense;
mod emit;
mod error;
mod exact;
mod fold;
mod functions;
mod graph;
pub mod inspect;
mod ir;
mod layers;
pub mod limits;
mod lower;
pub mod names;
mod ops;
pub mod plan;
mod proto;
mod quote;
mod rewrite;
mod scan;
mod size;
mod tensor;
pub mod tensor_file;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod testing;
mod view;

use std::collections::BTreeMap;

pub use error::{CompileError, TooCostly, Unsupported};
pub use plan::Plan;
pub use quote::Way;
pub use size::{PlanLimits, Size};
pub use tensor::Tensor;
use touchstone_protocol::model::Profile;

/// What a plan depends on besides the model file.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Shapes of graph inputs, by name; needed where the file leaves a dimension open.
    pub shapes: BTreeMap<String, Vec<u32>>,
    /// Graph inputs that become constants, by name.
    pub binds: BTreeMap<String, Tensor>,
    /// Encoded numerics profile (PROTOCOL.md section 4).
    pub profile: u64,
    /// How large the plan may be. No part of the plan: a file compiles to the same one under every limit that lets it.
    pub limits: PlanLimits,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            shapes: BTreeMap::new(),
            binds: BTreeMap::new(),
            profile: Profile::FAST.encode(),
            limits: PlanLimits::default(),
        }
    }
}

/// Compiles an ONNX model.
///
/// # Errors
/// See [`CompileError`]: the file is malformed, beyond a limit, has open shapes, asks for too large a run, or has operators that
/// plans do not support or that no verdict within the caps can decide.
pub fn compile(onnx: &[u8], options: &CompileOptions) -> Result<Plan, CompileError> {
    Profile::decode(options.profile).map_err(|error| CompileError::Option {
        name: "profile".into(),
        reason: error.to_string(),
    })?;
    let graph = graph::Graph::read(onnx, options)?;
    let mut program = lower::lower(graph)?;
    rewrite::rewrite(&mut program);
    dense::lay_out(&mut program, options.profile)?;
    let mut layers = layers::cut(&program);
    layers::merge_copies(&mut program, &mut layers);
    let plan = emit::emit(program, &layers, options.profile)?;
    size::check(&plan, &options.limits)?;
    Ok(plan)
}

/// ONNX operators of the default domain that can be compiled, sorted.
pub fn supported_operators() -> Vec<&'static str> {
    ops::names()
}
