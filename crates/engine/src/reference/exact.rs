//! Operators with one right answer: arithmetic, comparisons, logic, casts. Rust's f32 operations round correctly, and its `as`
//! truncates, saturates and takes NaN to 0, which is the rule of PROTOCOL.md section 5. f16 and bf16 are computed in f32 and rounded.

use half::{bf16, f16};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use super::{OperatorError, data::Data, maps};
use crate::map::indices;

/// Runs an exact operator element by element.
pub(super) fn evaluate(d: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    let wrong = || OperatorError::Dtypes(d.code);
    match (d.code, operands) {
        (Code::Cast, [a]) => cast(d, a),
        (Code::Equal | Code::Less | Code::LessEq | Code::Greater | Code::GreaterEq, [a, b]) => match (a, b) {
            (Data::F32(a), Data::F32(b)) => compare(d, a, b),
            (Data::F16(a), Data::F16(b)) => compare(d, a, b),
            (Data::Bf16(a), Data::Bf16(b)) => compare(d, a, b),
            (Data::I32(a), Data::I32(b)) => compare(d, a, b),
            (Data::I64(a), Data::I64(b)) => compare(d, a, b),
            (Data::U8(a), Data::U8(b)) => compare(d, a, b),
            (Data::Bool(a), Data::Bool(b)) => compare(d, a, b),
            _ => Err(wrong()),
        },
        (Code::And, [Data::Bool(a), Data::Bool(b)]) => Ok(Data::Bool(binary(d, a, b, |a, b| a & b)?)),
        (Code::Or, [Data::Bool(a), Data::Bool(b)]) => Ok(Data::Bool(binary(d, a, b, |a, b| a | b)?)),
        (Code::Not, [Data::Bool(a)]) => Ok(Data::Bool(unary(d, a, |a| !a)?)),
        (_, [Data::F32(a)]) => Ok(Data::F32(float(d, &[a], |a| a, |a| a)?)),
        (_, [Data::F32(a), Data::F32(b)]) => Ok(Data::F32(float(d, &[a, b], |a| a, |a| a)?)),
        (_, [Data::F16(a)]) => Ok(Data::F16(float(d, &[a], f16::to_f32, f16::from_f32)?)),
        (_, [Data::F16(a), Data::F16(b)]) => Ok(Data::F16(float(d, &[a, b], f16::to_f32, f16::from_f32)?)),
        (_, [Data::Bf16(a)]) => Ok(Data::Bf16(float(d, &[a], bf16::to_f32, bf16::from_f32)?)),
        (_, [Data::Bf16(a), Data::Bf16(b)]) => Ok(Data::Bf16(float(d, &[a, b], bf16::to_f32, bf16::from_f32)?)),
        (Code::Neg, [Data::I32(a)]) => Ok(Data::I32(unary(d, a, i32::wrapping_neg)?)),
        (Code::Abs, [Data::I32(a)]) => Ok(Data::I32(unary(d, a, i32::wrapping_abs)?)),
        (Code::Neg, [Data::I64(a)]) => Ok(Data::I64(unary(d, a, i64::wrapping_neg)?)),
        (Code::Abs, [Data::I64(a)]) => Ok(Data::I64(unary(d, a, i64::wrapping_abs)?)),
        (_, [Data::I32(a), Data::I32(b)]) => {
            // The 64-bit operation cannot overflow here, and truncation of its result is the wrapped 32-bit one.
            let wide = integer_binary(d.code).ok_or_else(wrong)?;
            Ok(Data::I32(binary(d, a, b, |a, b| wide(a.into(), b.into()) as i32)?))
        }
        (_, [Data::I64(a), Data::I64(b)]) => Ok(Data::I64(binary(d, a, b, integer_binary(d.code).ok_or_else(wrong)?)?)),
        _ => Err(wrong()),
    }
}

/// Computes in f32; a format of two bytes is widened before and rounded after.
fn float<T: Copy>(
    d: &Descriptor,
    operands: &[&[T]],
    wide: fn(T) -> f32,
    round: fn(f32) -> T,
) -> Result<Vec<T>, OperatorError> {
    let wrong = || OperatorError::Dtypes(d.code);
    match operands {
        [a] => {
            let f = float_unary(d.code).ok_or_else(wrong)?;
            unary(d, a, |a| round(f(wide(a))))
        }
        [a, b] => {
            let f = float_binary(d.code).ok_or_else(wrong)?;
            binary(d, a, b, |a, b| round(f(wide(a), wide(b))))
        }
        _ => Err(wrong()),
    }
}

fn float_unary(code: Code) -> Option<fn(f32) -> f32> {
    Some(match code {
        Code::Sqrt => f32::sqrt,
        Code::Neg => |a| -a,
        Code::Abs => f32::abs,
        // NaN compares false and stays NaN.
        Code::Relu => |a| if a < 0.0 { 0.0 } else { a },
        _ => return None,
    })
}

fn float_binary(code: Code) -> Option<fn(f32, f32) -> f32> {
    Some(match code {
        Code::Add => |a, b| a + b,
        Code::Sub => |a, b| a - b,
        Code::Mul => |a, b| a * b,
        Code::Div => |a, b| a / b,
        Code::Min => f32::min,
        Code::Max => f32::max,
        _ => return None,
    })
}

fn integer_binary(code: Code) -> Option<fn(i64, i64) -> i64> {
    Some(match code {
        Code::Add => i64::wrapping_add,
        Code::Sub => i64::wrapping_sub,
        Code::Mul => i64::wrapping_mul,
        Code::Div => |a, b| if b == 0 { 0 } else { a.wrapping_div(b) },
        Code::Min => i64::min,
        Code::Max => i64::max,
        _ => return None,
    })
}

fn compare<T: Copy + PartialOrd>(d: &Descriptor, a: &[T], b: &[T]) -> Result<Data, OperatorError> {
    let holds: fn(T, T) -> bool = match d.code {
        Code::Equal => |a, b| a == b,
        Code::Less => |a, b| a < b,
        Code::LessEq => |a, b| a <= b,
        Code::Greater => |a, b| a > b,
        _ => |a, b| a >= b,
    };
    Ok(Data::Bool(binary(d, a, b, holds)?))
}

fn cast(d: &Descriptor, a: &Data) -> Result<Data, OperatorError> {
    macro_rules! from {
        ($a:expr, $zero:expr) => {
            match d.dtype {
                Dtype::F32 => Data::F32(unary(d, $a, |x| x as f32)?),
                Dtype::U8 => Data::U8(unary(d, $a, |x| x as u8)?),
                Dtype::I32 => Data::I32(unary(d, $a, |x| x as i32)?),
                Dtype::I64 => Data::I64(unary(d, $a, |x| x as i64)?),
                Dtype::Bool => Data::Bool(unary(d, $a, |x| x != $zero)?),
                Dtype::F16 | Dtype::Bf16 => return Err(OperatorError::Dtypes(d.code)),
            }
        };
    }
    Ok(match (a, d.dtype) {
        (Data::F32(a), Dtype::F16) => Data::F16(unary(d, a, f16::from_f32)?),
        (Data::F32(a), Dtype::Bf16) => Data::Bf16(unary(d, a, bf16::from_f32)?),
        (Data::F16(a), Dtype::F32) => Data::F32(unary(d, a, f16::to_f32)?),
        (Data::Bf16(a), Dtype::F32) => Data::F32(unary(d, a, bf16::to_f32)?),
        (Data::F16(_) | Data::Bf16(_), _) => return Err(OperatorError::Dtypes(d.code)),
        (Data::F32(a), _) => from!(a, 0.0),
        (Data::U8(a), _) => from!(a, 0),
        (Data::I32(a), _) => from!(a, 0),
        (Data::I64(a), _) => from!(a, 0),
        (Data::Bool(a), _) => {
            let bytes: Vec<u8> = a.iter().map(|x| u8::from(*x)).collect();
            from!(&bytes, 0)
        }
    })
}

/// One operand, one result an element.
pub(super) fn unary<T: Copy, U>(d: &Descriptor, a: &[T], f: impl Fn(T) -> U) -> Result<Vec<U>, OperatorError> {
    let maps = maps(d)?;
    indices(&d.output_axes)
        .map(|o| Ok(f(maps[0].row(&o).must(a, 0)?)))
        .collect()
}

/// Two operands, one result an element.
pub(super) fn binary<T: Copy, U>(
    d: &Descriptor,
    a: &[T],
    b: &[T],
    f: impl Fn(T, T) -> U,
) -> Result<Vec<U>, OperatorError> {
    let maps = maps(d)?;
    indices(&d.output_axes)
        .map(|o| Ok(f(maps[0].row(&o).must(a, 0)?, maps[1].row(&o).must(b, 0)?)))
        .collect()
}
