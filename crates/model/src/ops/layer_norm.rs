//! Layer normalization over the last axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir,
    lower::Call,
    view::View,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "LayerNormalization",
    since: 17,
    inputs: 2..=3,
    outputs: 3,
    attributes: &["axis", "epsilon", "stash_type"],
    lower: layer_norm,
}];

/// 1e-5
const EPSILON: u32 = 0x3727_c5ac;

fn layer_norm(build: &mut Build, call: &Call) -> Outcome {
    let views = call.all()?;
    if let Some(view) = views.iter().find(|view| view.dtype != Dtype::F32) {
        refuse!("operand of dtype {:?}, f32 is supported", view.dtype);
    }
    if call.int_or("stash_type", 1)? != 1 {
        refuse!("stash_type is not float32");
    }
    let x = call.input(0)?;
    let axis = ir::axis(call.int_or("axis", -1)?, x.rank())?;
    let epsilon = super::batch_norm::epsilon(call, EPSILON)?;
    let length = ir::elements(&x.dims[axis..]) as u32;
    let rows = build.reshape(x, &[&x.dims[..axis], &[length]].concat())?;
    let mut map = rows.map();
    map.strides[axis] = 0;
    map.strides.push(rows.strides[axis]);
    let scale = along_row(build, call.input(1)?, x, axis)?;
    let bias = match call.optional(2) {
        Some(bias) => along_row(build, bias, x, axis)?,
        None => build.scalar(0).expand(&[length])?,
    };
    let mut operands = vec![map];
    for view in [scale, bias] {
        let mut map = view.map();
        map.strides = vec![0; axis + 2];
        map.strides[axis] = view.strides[0];
        operands.push(map);
    }
    let mut draft = Draft::new(Code::LayerNorm, Dtype::F32, x.dims.clone(), operands);
    draft.axes = rows.dims;
    draft.reduction = vec![length];
    draft.params = vec![epsilon];
    draft.row = Some(axis);
    Ok(vec![build.emit(draft)?])
}

/// A scale or bias as one vector along the row.
fn along_row(build: &mut Build, view: &View, x: &View, axis: usize) -> Result<View, Refusal> {
    let view = view.expand(&x.dims[axis..])?;
    let length = ir::elements(&x.dims[axis..]) as u32;
    build.reshape(&view, &[length])
}
