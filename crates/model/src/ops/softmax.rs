//! Softmax and its logarithm.
//!
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html>, `LogSoftmax`. Up to operator set 12 the row is all axes from `axis` on; from 13 on it is
//! `axis` alone. The logarithm is x − m − log Σ exp(x − m), m the row's maximum, operator by operator.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir,
    lower::Call,
    view::View,
};

pub(super) const OPERATORS: &[Operator] = &[operator("Softmax", softmax), operator("LogSoftmax", log_softmax)];

const fn operator(name: &'static str, lower: fn(&mut Build, &Call) -> Outcome) -> Operator {
    Operator {
        name,
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["axis"],
        lower,
    }
}

/// The operand with the rows along one axis, and that axis.
fn along_axis(build: &mut Build, call: &Call) -> Result<(View, usize), Refusal> {
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
    Ok((rows, axis))
}

fn log_softmax(build: &mut Build, call: &Call) -> Outcome {
    let (rows, axis) = along_axis(build, call)?;
    let maximum = super::reduce::reduced(build, &rows, Code::MaxPool, &[axis], true)?;
    let shifted = build.elementwise(Code::Sub, Dtype::F32, &[&rows, &maximum])?;
    let terms = build.elementwise(Code::Exp, Dtype::F32, &[&shifted])?;
    let sum = super::reduce::reduced(build, &terms, Code::Sum, &[axis], true)?;
    let log = build.elementwise(Code::Log, Dtype::F32, &[&sum])?;
    let y = build.elementwise(Code::Sub, Dtype::F32, &[&shifted, &log])?;
    Ok(vec![build.reshape(&y, &call.input(0)?.dims)?])
}

fn softmax(build: &mut Build, call: &Call) -> Outcome {
    let (rows, axis) = along_axis(build, call)?;
    let mut map = rows.map();
    map.strides[axis] = 0;
    map.strides.push(rows.strides[axis]);
    let mut draft = Draft::new(Code::Softmax, Dtype::F32, call.input(0)?.dims.clone(), vec![map]);
    draft.axes = rows.dims.clone();
    draft.reduction = vec![rows.dims[axis]];
    draft.row = Some(axis);
    Ok(vec![build.emit(draft)?])
}
