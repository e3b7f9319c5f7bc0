//! Conversion between element types.
//!
//! <https://onnx.ai/onnx/operators/onnx__Cast.html>. What ONNX leaves undefined is defined by PROTOCOL.md section 5.

use touchstone_protocol::descriptor::Code;

use super::{Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    lower::Call,
    tensor::dtype_of,
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Cast",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["to", "saturate"],
        lower: cast,
    },
    Operator {
        name: "CastLike",
        since: 15,
        inputs: 2..=2,
        outputs: 1,
        attributes: &["saturate"],
        lower: cast_like,
    },
];

fn cast(build: &mut Build, call: &Call) -> Outcome {
    let Some(to) = call.int("to")? else {
        refuse!("attribute `to` is missing")
    };
    let to = dtype_of(i32::try_from(to).unwrap_or(-1)).map_err(Refusal::new)?;
    let x = call.input(0)?;
    if x.dtype == to {
        return Ok(vec![x.clone()]);
    }
    Ok(vec![build.elementwise(Code::Cast, to, &[x])?])
}

fn cast_like(build: &mut Build, call: &Call) -> Outcome {
    let (x, like) = (call.input(0)?, call.input(1)?);
    if x.dtype == like.dtype {
        return Ok(vec![x.clone()]);
    }
    Ok(vec![build.elementwise(Code::Cast, like.dtype, &[x])?])
}
