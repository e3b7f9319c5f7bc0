//! Softmax.
//!
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html>. Up to operator set 12 the row is all axes from `axis` on; from 13
//! on it is `axis` alone.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::refuse,
    ir,
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Softmax",
    since: 1,
    inputs: 1..=1,
    outputs: 1,
    attributes: &["axis"],
    lower: softmax,
}];

fn softmax(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    if x.dtype != Dtype::F32 {
        refuse!("dtype {:?}, f32 is supported", x.dtype);
    }
    let flat = call.opset() < 13;
    let axis = ir::axis(call.int_or("axis", if flat { 1 } else { -1 })?, x.rank())?;
    let rows = if flat {
        let length = ir::elements(&x.dims[axis..]) as u32;
        build.reshape(x, &[&x.dims[..axis], &[length]].concat())?
    } else {
        x.clone()
    };
    let mut map = rows.map();
    map.strides[axis] = 0;
    map.strides.push(rows.strides[axis]);
    let mut draft = Draft::new(Code::Softmax, Dtype::F32, x.dims.clone(), vec![map]);
    draft.axes = rows.dims.clone();
    draft.reduction = vec![rows.dims[axis]];
    draft.row = Some(axis);
    Ok(vec![build.emit(draft)?])
}
