//! Division by the root of the mean square over the last axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__RMSNormalization.html>; `SimplifiedLayerNormalization` is ONNX Runtime's name for it. A plan computes
//! it operator by operator: x / √(Σx²/n + ε) · scale, where the sum is a contraction of the row with itself.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome, batch_norm::epsilon, reduce};
use crate::{build::Build, error::refuse, ir, lower::Call};

pub(super) const OPERATORS: &[Operator] = &[
    operator("RMSNormalization", 23),
    operator("SimplifiedLayerNormalization", 1),
];

const fn operator(name: &'static str, since: i64) -> Operator {
    Operator {
        name,
        since,
        inputs: 2..=2,
        outputs: 1,
        attributes: &["axis", "epsilon", "stash_type"],
        lower: rms_norm,
    }
}

/// 1e-5
const EPSILON: u32 = 0x3727_c5ac;

fn rms_norm(build: &mut Build, call: &Call) -> Outcome {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    if let Some(view) = [x, scale].into_iter().find(|view| view.dtype != Dtype::F32) {
        refuse!("operand of dtype {:?}, f32 is supported", view.dtype);
    }
    if call.int_or("stash_type", 1)? != 1 {
        refuse!("stash_type is not float32");
    }
    let axis = ir::axis(call.int_or("axis", -1)?, x.rank())?;
    let axes: Vec<usize> = (axis..x.rank()).collect();
    let count = ir::elements(&x.dims[axis..]);
    if count >= 1 << 24 {
        refuse!("rows of {count} elements, fewer than 2^24 are supported");
    }
    let count = build.scalar((count as f32).to_bits());
    let epsilon = epsilon(call, EPSILON)?;
    let epsilon = build.scalar(epsilon);
    let mut root = reduce::squares(build, x, &axes, true)?;
    for (code, operand) in [(Code::Div, &count), (Code::Add, &epsilon)] {
        root = build.elementwise(code, Dtype::F32, &[&root, operand])?;
    }
    root = build.elementwise(Code::Sqrt, Dtype::F32, &[&root])?;
    let unit = build.elementwise(Code::Div, Dtype::F32, &[x, &root])?;
    let scale = scale.expand(&x.dims)?;
    Ok(vec![build.elementwise(Code::Mul, Dtype::F32, &[&unit, &scale])?])
}
