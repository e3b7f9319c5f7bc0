//! Library functions in fp64, rounded once.

use touchstone_protocol::descriptor::{Code, Descriptor};

use super::{
    OperatorError,
    data::Data,
    exact::{binary, unary},
};

/// Runs a function element by element.
pub(super) fn evaluate(d: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    if let (Code::Pow, [a, b]) = (d.code, operands) {
        let power = |a: f32, b: f32| libm::pow(a.into(), b.into()) as f32;
        return Ok(Data::F32(binary(d, a.f32(d.code)?, b.f32(d.code)?, power)?));
    }
    let f: fn(f64) -> f64 = match d.code {
        Code::Erf => libm::erf,
        // x·Φ(x); erfc keeps the negative tail's relative accuracy.
        Code::Gelu => |x| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        // ½(1 + tanh t) is the sigmoid of 2t.
        Code::GeluTanh => |x| x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)),
        Code::Tanh => libm::tanh,
        Code::Sigmoid => sigmoid,
        Code::Exp => libm::exp,
        Code::Log => libm::log,
        // Nothing overflows or cancels.
        Code::Softplus => |x| x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
        Code::Sin => libm::sin,
        Code::Cos => libm::cos,
        _ => return Err(OperatorError::Dtypes(d.code)),
    };
    Ok(Data::F32(unary(d, operands[0].f32(d.code)?, |x| f(x.into()) as f32)?))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
