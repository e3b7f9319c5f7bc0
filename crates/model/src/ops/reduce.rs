//! Reductions over axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>, `ReduceSum`, `ReduceMax`, `ArgMax`

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir,
    lower::Call,
    view::View,
};

const fn reduction(name: &'static str, lower: fn(&mut Build, &Call) -> Outcome) -> Operator {
    Operator {
        name,
        since: 1,
        inputs: 1..=2,
        outputs: 1,
        attributes: &["axes", "keepdims", "noop_with_empty_axes"],
        lower,
    }
}

pub(super) const OPERATORS: &[Operator] = &[
    reduction("ReduceMean", |build, call| reduce(build, call, Code::Mean, 18)),
    reduction("ReduceSum", |build, call| reduce(build, call, Code::Sum, 13)),
    reduction("ReduceMax", |build, call| reduce(build, call, Code::MaxPool, 18)),
    Operator {
        name: "ArgMax",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["axis", "keepdims", "select_last_index"],
        lower: arg_max,
    },
];

/// `operand_since` is the operator set from which on the axes are an operand.
fn reduce(build: &mut Build, call: &Call, code: Code, operand_since: i64) -> Outcome {
    let x = call.input(0)?;
    if x.dtype != Dtype::F32 {
        refuse!("dtype {:?}, f32 is supported", x.dtype);
    }
    let from_operand = call.opset() >= operand_since;
    if (from_operand && call.has("axes")) || (!from_operand && call.arity() > 1) {
        refuse!("the axes are given in the way of another operator set");
    }
    let list = match call.optional(1) {
        Some(axes) => build.known(axes, "the axes")?,
        None => call.ints("axes")?.unwrap_or_default().to_vec(),
    };
    if list.is_empty() && call.flag("noop_with_empty_axes", false)? {
        return Ok(vec![x.clone()]);
    }
    let axes = if list.is_empty() {
        (0..x.rank()).collect()
    } else {
        ir::axes(&list, x.rank())?
    };
    Ok(vec![reduced(build, x, code, &axes, call.flag("keepdims", true)?)?])
}

/// A reduction of sorted `axes`; without `keep` they leave the shape.
pub(super) fn reduced(build: &mut Build, x: &View, code: Code, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let draft = draft(x, code, Dtype::F32, axes, keep);
    build.emit(draft)
}

fn draft(x: &View, code: Code, dtype: Dtype, axes: &[usize], keep: bool) -> Draft {
    let mut map = x.map();
    let mut kept = x.dims.clone();
    for axis in axes {
        kept[*axis] = 1;
        map.strides[*axis] = 0;
        map.strides.push(x.strides[*axis]);
    }
    let dims = (0..x.rank())
        .filter(|axis| keep || !axes.contains(axis))
        .map(|axis| kept[axis])
        .collect();
    let mut draft = Draft::new(code, dtype, dims, vec![map]);
    draft.axes = kept;
    draft.reduction = axes.iter().map(|axis| x.dims[*axis]).collect();
    if code == Code::Mean {
        draft.params = vec![0];
    }
    draft
}

fn arg_max(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    if !matches!(x.dtype, Dtype::F32 | Dtype::I32 | Dtype::I64) {
        refuse!("dtype {:?} is not supported here", x.dtype);
    }
    if call.flag("select_last_index", false)? {
        refuse!("select_last_index is not supported");
    }
    let axis = ir::axis(call.int_or("axis", 0)?, x.rank())?;
    let draft = draft(x, Code::ArgMax, Dtype::I64, &[axis], call.flag("keepdims", true)?);
    Ok(vec![build.emit(draft)?])
}
