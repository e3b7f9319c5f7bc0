//! Power.
//!
//! <https://onnx.ai/onnx/operators/onnx__Pow.html>. One constant exponent of 1/2, 1, 2 or 3 becomes a square root or products, each rounded
//! once; every other power is a library function.

use touchstone_protocol::{
    descriptor::{Code, Dtype},
    half,
    tensor::element_bits,
};

use super::{Operator, Outcome};
use crate::{build::Build, error::refuse, exact, lower::Call};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Pow",
    since: 1,
    inputs: 2..=2,
    outputs: 1,
    attributes: &[],
    lower: pow,
}];

fn pow(build: &mut Build, call: &Call) -> Outcome {
    let (x, exponent) = (call.input(0)?, call.input(1)?);
    if x.dtype != Dtype::F32 {
        refuse!("dtype {:?} is not supported here", x.dtype);
    }
    let constant = if exponent.elements() == 1 {
        build.parameter_bytes(exponent)?
    } else {
        None
    };
    // Exponents as halves.
    let halves = constant.map_or(0, |bytes| {
        if !exponent.dtype.is_float() {
            return exact::integer(&bytes, exponent.dtype).clamp(0, 4) * 2;
        }
        match half::decode(exponent.dtype, element_bits(&bytes) as u32) {
            0x3f00_0000 => 1,
            0x3f80_0000 => 2,
            0x4000_0000 => 4,
            0x4040_0000 => 6,
            _ => 0,
        }
    });
    // The exponent may have a higher rank than x.
    let x = &x.expand(&crate::view::broadcast(&[&x.dims, &exponent.dims])?)?;
    let view = match halves {
        1 => build.elementwise(Code::Sqrt, Dtype::F32, &[x])?,
        2 => x.clone(),
        4 => build.elementwise(Code::Mul, Dtype::F32, &[x, x])?,
        6 => {
            let square = build.elementwise(Code::Mul, Dtype::F32, &[x, x])?;
            build.elementwise(Code::Mul, Dtype::F32, &[&square, x])?
        }
        _ => {
            // Numbers of two bytes and integers up to 2^24 are the same as f32.
            let exponent = match exponent.dtype {
                Dtype::F32 => exponent.clone(),
                _ => build.elementwise(Code::Cast, Dtype::F32, &[exponent])?,
            };
            build.elementwise(Code::Pow, Dtype::F32, &[x, &exponent])?
        }
    };
    Ok(vec![view])
}
