//! Batch normalization with given statistics.
//!
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "BatchNormalization",
    since: 9,
    inputs: 5..=5,
    outputs: 5,
    attributes: &["epsilon", "momentum", "training_mode"],
    lower: batch_norm,
}];

/// 1e-5
const EPSILON: u32 = 0x3727_c5ac;

/// The bits of the epsilon attribute: positive, normal, finite. Without one, 0/0 has no value to judge.
pub(super) fn epsilon(call: &Call, default: u32) -> Result<u32, Refusal> {
    match call.float_or("epsilon", default)? {
        bits if f32::from_bits(bits).is_normal() && bits >> 31 == 0 => Ok(bits),
        bits => refuse!(
            "epsilon {:e} is not a positive normal number; use 1e-12 or more",
            f32::from_bits(bits)
        ),
    }
}

fn batch_norm(build: &mut Build, call: &Call) -> Outcome {
    if call.flag("training_mode", false)? {
        refuse!("training mode is not supported");
    }
    if call.outputs() > 1 && call.opset() >= 14 {
        refuse!("running statistics are given in training mode only");
    }
    let views = call.all()?;
    if let Some(view) = views.iter().find(|view| view.dtype != Dtype::F32) {
        refuse!("operand of dtype {:?}, f32 is supported", view.dtype);
    }
    let x = call.input(0)?;
    if x.rank() < 2 {
        refuse!("operand of rank {}", x.rank());
    }
    let mut operands = vec![x.map()];
    for view in &views[1..] {
        if view.dims != x.dims[1..2] {
            refuse!("statistics of shape {:?} for {} channels", view.dims, x.dims[1]);
        }
        let mut map = view.map();
        map.strides = vec![0; x.rank()];
        map.strides[1] = view.strides[0];
        operands.push(map);
    }
    let mut draft = Draft::new(Code::BatchNorm, Dtype::F32, x.dims.clone(), operands);
    draft.params = vec![epsilon(call, EPSILON)?];
    Ok(vec![build.emit(draft)?])
}
