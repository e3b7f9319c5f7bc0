//! Permutation of axes: a view.
//!
//! <https://onnx.ai/onnx/operators/onnx__Transpose.html>

use super::{Operator, Outcome};
use crate::{build::Build, error::refuse, lower::Call};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Transpose",
    since: 1,
    inputs: 1..=1,
    outputs: 1,
    attributes: &["perm"],
    lower: transpose,
}];

fn transpose(_: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let permutation: Vec<usize> = match call.ints("perm")? {
        Some(list) => list
            .iter()
            .map(|axis| usize::try_from(*axis).unwrap_or(usize::MAX))
            .collect(),
        None => (0..x.rank()).rev().collect(),
    };
    let mut sorted = permutation.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        refuse!("perm {:?} is no permutation of {} axes", call.ints("perm")?, x.rank());
    }
    Ok(vec![x.permute(&permutation)])
}
