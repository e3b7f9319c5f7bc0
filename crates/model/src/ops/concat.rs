//! Joining along an axis.
//!
//! <https://onnx.ai/onnx/operators/onnx__Concat.html>

use super::{MANY, Operator, Outcome};
use crate::{build::Build, error::refuse, ir, lower::Call, view::View};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Concat",
    since: 4,
    inputs: MANY,
    outputs: 1,
    attributes: &["axis"],
    lower: concat,
}];

fn concat(build: &mut Build, call: &Call) -> Outcome {
    let views = call.all()?;
    let Some(axis) = call.int("axis")? else {
        refuse!("attribute `axis` is missing")
    };
    let first = call.input(0)?;
    let axis = ir::axis(axis, first.rank())?;
    for view in &views {
        let fits = view.dtype == first.dtype
            && view.rank() == first.rank()
            && (0..first.rank()).all(|i| i == axis || view.dims[i] == first.dims[i]);
        if !fits {
            refuse!(
                "{:?} {:?} and {:?} {:?} do not join along axis {axis}",
                first.dtype,
                first.dims,
                view.dtype,
                view.dims
            );
        }
    }
    let filled: Vec<View> = views
        .iter()
        .filter(|view| view.dims[axis] != 0)
        .map(|view| (*view).clone())
        .collect();
    if filled.is_empty() {
        Ok(vec![first.clone()])
    } else {
        Ok(vec![build.concat(&filled, axis)?])
    }
}
