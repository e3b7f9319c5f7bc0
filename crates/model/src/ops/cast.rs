//! Conversion between element types.
//!
//! <https://onnx.ai/onnx/operators/onnx__Cast.html>. What ONNX leaves undefined is defined by PROTOCOL.md section 5.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    lower::Call,
    tensor::dtype_of,
    view::View,
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
    Ok(vec![convert(build, call.input(0)?, to)?])
}

fn cast_like(build: &mut Build, call: &Call) -> Outcome {
    let to = call.input(1)?.dtype;
    Ok(vec![convert(build, call.input(0)?, to)?])
}

/// A cast; between f16 or bf16 and anything else than f32 by way of f32.
fn convert(build: &mut Build, x: &View, to: Dtype) -> Result<View, Refusal> {
    if x.dtype == to {
        return Ok(x.clone());
    }
    if (x.dtype.is_half() || to.is_half()) && x.dtype != Dtype::F32 && to != Dtype::F32 {
        let wide = convert(build, x, Dtype::F32)?;
        return convert(build, &wide, to);
    }
    build.elementwise(Code::Cast, to, &[x])
}
