//! Library functions in fp64, rounded once.

use touchstone_protocol::descriptor::{Code, Descriptor};

use super::{OperatorError, data::Data, exact::unary};

/// Runs a function element by element.
pub(super) fn evaluate(d: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    let f: fn(f64) -> f64 = match d.code {
        Code::Erf => libm::erf,
        // x·Φ(x); erfc keeps the negative tail's relative accuracy.
        Code::Gelu => |x| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        // ½(1 + tanh t) is the sigmoid of 2t.
        Code::GeluTanh => |x| x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)),
        Code::Tanh => libm::tanh,
        Code::Sigmoid => sigmoid,
        Code::Exp => libm::exp,
        _ => return Err(OperatorError::Dtypes(d.code)),
    };
    Ok(Data::F32(unary(d, operands[0].f32(d.code)?, |x| f(x.into()) as f32)?))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
