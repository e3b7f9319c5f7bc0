//! Operators element by element: the exact ones, Where, and the library functions.

use tch::{Kind, TchError, Tensor};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use super::{
    model::{Kernel, PrepareError, kind},
    view::View,
};

/// An operator without reduction axes.
pub(super) fn elementwise(d: &Descriptor, device: tch::Device) -> Result<Kernel, PrepareError> {
    let views = (0..d.operands.len())
        .map(|operand| View::broadcast(d, operand, device))
        .collect::<Result<Vec<_>, _>>()?;
    let (code, from, to) = (d.code, d.operands[0].dtype, d.dtype);
    Ok(Box::new(move |operands| {
        let read = views
            .iter()
            .zip(operands)
            .map(|(view, flat)| view.read(flat))
            .collect::<Result<Vec<_>, _>>()?;
        match &read[..] {
            [a] if code == Code::Cast => cast(a, from, to),
            [a] => unary(code, a),
            [a, b] => binary(code, to, a, b),
            [condition, a, b] => a.f_where_self(condition, b),
            _ => Err(TchError::Shape(format!("{code:?} with {} operands", read.len()))),
        }
    }))
}

fn unary(code: Code, a: &Tensor) -> Result<Tensor, TchError> {
    match code {
        // MKL's fp32 square root, which libtorch calls on long tensors, is off by an ulp for about 1 in 150 arguments. No fp32 root is
        // closer to halfway between two fp32 numbers than 2^-50 of itself, so an fp64 root rounds right.
        Code::Sqrt => a.f_to_kind(Kind::Double)?.f_sqrt()?.f_to_kind(a.f_kind()?),
        Code::Neg => a.f_neg(),
        Code::Abs => a.f_abs(),
        Code::Relu => a.f_relu(),
        Code::Not => a.f_logical_not(),
        Code::Erf => a.f_erf(),
        Code::Gelu => gelu(a),
        Code::GeluTanh => a.f_gelu("tanh"),
        Code::Tanh => a.f_tanh(),
        Code::Sigmoid => a.f_sigmoid(),
        Code::Exp => a.f_exp(),
        Code::Log => a.f_log(),
        Code::Softplus => softplus(a),
        Code::Sin => a.f_sin(),
        Code::Cos => a.f_cos(),
        _ => Err(TchError::Kind(format!("{code:?} with one operand"))),
    }
}

/// x/2 · (1 + erf(x/√2)) in its steps: libtorch's fused kernel approximates erf by a polynomial and is up to 5.4·|x|·u off (u = 2⁻²⁴,
/// measured over −15 … 15); in steps it stays within 0.5·|x|·u.
fn gelu(a: &Tensor) -> Result<Tensor, TchError> {
    let gate = a
        .f_mul_scalar(std::f64::consts::FRAC_1_SQRT_2)?
        .f_erf()?
        .f_add_scalar(1.0)?;
    a.f_mul_scalar(0.5)?.f_mul(&gate)
}

/// max(x, 0) + ln(1 + e^−|x|): libtorch's own gives x from 20 on, which is wrong in fp64.
fn softplus(a: &Tensor) -> Result<Tensor, TchError> {
    let rest = a.f_abs()?.f_neg()?.f_exp()?.f_log1p()?;
    a.f_relu()?.f_add(&rest)
}

fn binary(code: Code, dtype: Dtype, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    match code {
        Code::Add => a.f_add(b),
        Code::Sub => a.f_sub(b),
        Code::Mul => a.f_mul(b),
        Code::Div if dtype.is_float() => a.f_div(b),
        Code::Div => integer_div(a, b),
        Code::Pow => a.f_pow(b),
        Code::Min => a.f_minimum(b),
        Code::Max => a.f_maximum(b),
        Code::Equal => a.f_eq_tensor(b),
        Code::Less => a.f_lt_tensor(b),
        Code::LessEq => a.f_le_tensor(b),
        Code::Greater => a.f_gt_tensor(b),
        Code::GreaterEq => a.f_ge_tensor(b),
        Code::And => a.f_logical_and(b),
        Code::Or => a.f_logical_or(b),
        _ => Err(TchError::Kind(format!("{code:?} with two operands"))),
    }
}

/// Truncates; by zero gives 0; the least number by −1 wraps. Processors trap on the last two, so those never reach the division.
fn integer_div(a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    let zero = b.f_eq(0)?;
    let minus = b.f_eq(-1)?;
    let safe = b.f_masked_fill(&zero.f_logical_or(&minus)?, 1)?;
    let quotient = a.f_div_tensor_mode(&safe, "trunc")?;
    let quotient = a.f_neg()?.f_where_self(&minus, &quotient)?;
    quotient.f_masked_fill(&zero, 0)
}

fn cast(a: &Tensor, from: Dtype, to: Dtype) -> Result<Tensor, TchError> {
    // Least and greatest of the integer, and the exclusive limit as a float.
    let (least, greatest, limit) = match to {
        Dtype::Bool => return a.f_ne(0),
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => return a.f_to_kind(kind(to)),
        Dtype::U8 => (0, u8::MAX.into(), 256.0),
        Dtype::I32 => (i32::MIN.into(), i32::MAX.into(), 2147483648.0),
        Dtype::I64 => (i64::MIN, i64::MAX, 9223372036854775808.0),
    };
    if from != Dtype::F32 {
        return a.f_to_kind(kind(to));
    }
    let above = a.f_ge(limit)?;
    let below = a.f_le(least as f64)?;
    let wild = above.f_logical_or(&below)?.f_logical_or(&a.f_isnan()?)?;
    let inside = a.f_masked_fill(&wild, 0.0)?.f_to_kind(kind(to))?;
    inside.f_masked_fill(&above, greatest)?.f_masked_fill(&below, least)
}
