//! Reductions over axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__ReduceMean.html> and its neighbours, `ArgMax`. Those that the plan has no operator for are
//! made of ones that it has: a sum of squares is a contraction of the operand with itself.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir,
    lower::Call,
    view::View,
};

/// What is made of an operand over sorted axes; the flag says whether the axes stay in the shape.
type Reduce = fn(&mut Build, &View, &[usize], bool) -> Result<View, Refusal>;

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
    reduction("ReduceMean", |b, c| {
        reduce(b, c, 18, |b, x, axes, keep| reduced(b, x, Code::Mean, axes, keep))
    }),
    reduction("ReduceSum", |b, c| {
        reduce(b, c, 13, |b, x, axes, keep| reduced(b, x, Code::Sum, axes, keep))
    }),
    reduction("ReduceMax", |b, c| {
        reduce(b, c, 18, |b, x, axes, keep| reduced(b, x, Code::MaxPool, axes, keep))
    }),
    reduction("ReduceMin", |b, c| reduce(b, c, 18, minimum)),
    reduction("ReduceL1", |b, c| reduce(b, c, 18, absolute)),
    reduction("ReduceL2", |b, c| reduce(b, c, 18, length)),
    reduction("ReduceLogSum", |b, c| reduce(b, c, 18, log_sum)),
    reduction("ReduceLogSumExp", |b, c| reduce(b, c, 18, log_sum_exp)),
    reduction("ReduceSumSquare", |b, c| reduce(b, c, 18, squares)),
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
fn reduce(build: &mut Build, call: &Call, operand_since: i64, make: Reduce) -> Outcome {
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
        // Nothing is added up; what is done to each element still is.
        return Ok(vec![make(build, x, &[], true)?]);
    }
    let axes = if list.is_empty() {
        (0..x.rank()).collect()
    } else {
        ir::axes(&list, x.rank())?
    };
    Ok(vec![make(build, x, &axes, call.flag("keepdims", true)?)?])
}

/// A reduction of sorted `axes`, of none the operand; without `keep` they leave the shape.
pub(super) fn reduced(build: &mut Build, x: &View, code: Code, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    if axes.is_empty() {
        return Ok(x.clone());
    }
    let draft = draft(x, code, Dtype::F32, axes, keep);
    build.emit(draft)
}

/// `−max −x`.
fn minimum(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let negative = build.elementwise(Code::Neg, Dtype::F32, &[x])?;
    let maximum = reduced(build, &negative, Code::MaxPool, axes, keep)?;
    build.elementwise(Code::Neg, Dtype::F32, &[&maximum])
}

/// `Σ |x|`.
fn absolute(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let sizes = build.elementwise(Code::Abs, Dtype::F32, &[x])?;
    reduced(build, &sizes, Code::Sum, axes, keep)
}

/// `Σ x²`.
pub(super) fn squares(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let mut draft = draft(x, Code::Contract, Dtype::F32, axes, keep);
    draft.operands.push(draft.operands[0].clone());
    build.emit(draft)
}

/// `√Σ x²`.
fn length(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let sum = squares(build, x, axes, keep)?;
    build.elementwise(Code::Sqrt, Dtype::F32, &[&sum])
}

/// `log Σ x`.
fn log_sum(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let sum = reduced(build, x, Code::Sum, axes, keep)?;
    build.elementwise(Code::Log, Dtype::F32, &[&sum])
}

/// `m + log Σ exp(x − m)`, m the maximum, but finite: of nothing but −∞ the result is −∞, of +∞ among the terms +∞.
fn log_sum_exp(build: &mut Build, x: &View, axes: &[usize], keep: bool) -> Result<View, Refusal> {
    let mut shift = reduced(build, x, Code::MaxPool, axes, true)?;
    for (limit, code) in [(0xff7f_ffff, Code::Max), (0x7f7f_ffff, Code::Min)] {
        let limit = build.scalar(limit);
        shift = build.elementwise(code, Dtype::F32, &[&shift, &limit])?;
    }
    let shifted = build.elementwise(Code::Sub, Dtype::F32, &[x, &shift])?;
    let terms = build.elementwise(Code::Exp, Dtype::F32, &[&shifted])?;
    let log = log_sum(build, &terms, axes, true)?;
    let y = build.elementwise(Code::Add, Dtype::F32, &[&log, &shift])?;
    let dims = (0..x.rank()).filter(|axis| keep || !axes.contains(axis));
    let dims: Vec<u32> = dims.map(|axis| y.dims[axis]).collect();
    build.reshape(&y, &dims)
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
