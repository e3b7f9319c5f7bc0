//! `alpha · A' · B' + beta · C`.
//!
//! <https://onnx.ai/onnx/operators/onnx__Gemm.html>. Factors other than 1 are products of their own, each rounded once.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome, matmul::product};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    lower::Call,
    view::View,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Gemm",
    since: 7,
    inputs: 2..=3,
    outputs: 1,
    attributes: &["alpha", "beta", "transA", "transB"],
    lower: gemm,
}];

const ONE: u32 = 0x3f80_0000;

fn gemm(build: &mut Build, call: &Call) -> Outcome {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if a.rank() != 2 || b.rank() != 2 {
        refuse!("operands of ranks {} and {}, 2 is expected", a.rank(), b.rank());
    }
    let side = |view: &View, transposed: bool| {
        if transposed {
            view.permute(&[1, 0])
        } else {
            view.clone()
        }
    };
    let a = side(a, call.flag("transA", false)?);
    let b = side(b, call.flag("transB", false)?);
    let mut result = product(build, &a, &b)?;
    result = scaled(build, &result, call.float_or("alpha", ONE)?)?;
    if let Some(c) = call.optional(2) {
        if c.dtype != Dtype::F32 {
            refuse!("dtype {:?} of C, f32 is supported", c.dtype);
        }
        let c = scaled(build, c, call.float_or("beta", ONE)?)?;
        let c = c.expand(&result.dims)?;
        result = build.elementwise(Code::Add, Dtype::F32, &[&result, &c])?;
    }
    Ok(vec![result])
}

fn scaled(build: &mut Build, view: &View, factor: u32) -> Result<View, Refusal> {
    if factor == ONE {
        return Ok(view.clone());
    }
    let factor = build.scalar(factor);
    build.elementwise(Code::Mul, Dtype::F32, &[view, &factor])
}
