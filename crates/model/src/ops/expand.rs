//! Broadcasting to a shape: a view.
//!
//! <https://onnx.ai/onnx/operators/onnx__Expand.html>

use super::{Operator, Outcome};
use crate::{build::Build, error::Refusal, lower::Call, tensor::dims_of, view::broadcast};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Expand",
    since: 8,
    inputs: 2..=2,
    outputs: 1,
    attributes: &[],
    lower: expand,
}];

fn expand(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let shape = dims_of(&build.known(call.input(1)?, "the shape")?).map_err(Refusal::new)?;
    Ok(vec![x.expand(&broadcast(&[&x.dims, &shape])?)?])
}
