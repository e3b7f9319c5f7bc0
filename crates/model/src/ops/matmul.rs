//! Matrix product with numpy's rules on ranks.
//!
//! <https://onnx.ai/onnx/operators/onnx__MatMul.html>

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    lower::Call,
    view::{View, broadcast},
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "MatMul",
    since: 1,
    inputs: 2..=2,
    outputs: 1,
    attributes: &[],
    lower: matmul,
}];

fn matmul(build: &mut Build, call: &Call) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if a.rank() == 0 || b.rank() == 0 {
        refuse!("a scalar operand");
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.with_axis(0) } else { a.clone() };
    let b = if column { b.with_axis(1) } else { b.clone() };
    let product = product(build, &a, &b)?;
    let mut dims = product.dims.clone();
    if column {
        dims.pop();
    }
    if row {
        dims.remove(product.dims.len() - 2);
    }
    Ok(vec![build.reshape(&product, &dims)?])
}

/// `a` [batch …, m, k] times `b` [batch …, k, n]: [batch …, m, n].
pub(super) fn product(build: &mut Build, a: &View, b: &View) -> Result<View, Refusal> {
    if a.dtype != Dtype::F32 || b.dtype != Dtype::F32 {
        refuse!("operands of dtypes {:?} and {:?}, f32 is supported", a.dtype, b.dtype);
    }
    let (a_rank, b_rank) = (a.rank(), b.rank());
    let (m, k, n) = (a.dims[a_rank - 2], a.dims[a_rank - 1], b.dims[b_rank - 1]);
    if b.dims[b_rank - 2] != k {
        refuse!("shapes {:?} and {:?} do not contract", a.dims, b.dims);
    }
    let mut dims = broadcast(&[&a.dims[..a_rank - 2], &b.dims[..b_rank - 2]])?;
    let batch = dims.len();
    let expanded = |view: &View, rows: u32, columns: u32| view.expand(&[&dims[..], &[rows, columns]].concat());
    let (mut left, mut right) = (expanded(a, m, k)?.map(), expanded(b, k, n)?.map());
    // Axes: batch …, m, n, then k.
    left.strides.insert(batch + 1, 0);
    right.strides = [
        &right.strides[..batch],
        &[0, right.strides[batch + 1], right.strides[batch]],
    ]
    .concat();
    dims.extend([m, n]);
    let mut draft = Draft::new(Code::Contract, Dtype::F32, dims, vec![left, right]);
    draft.reduction = vec![k];
    build.emit(draft)
}
