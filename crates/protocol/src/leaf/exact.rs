//! Operators whose result is one correctly rounded number, or an integer, or a truth value.

use std::cmp::Ordering;

use crate::check::Check;
use crate::descriptor::{Code, Dtype};
use crate::{fp32, half};

/// What the operator gives for operands of dtype `from`, as an element of dtype `to`. Where the rule leaves a choice (sign of zero,
/// NaN), one of the values it admits. `None` when the code is not one of this family or takes other dtypes.
///
/// Unary operators ignore `b`. An `f16` or `bf16` is the f32 that it equals; a result in one of them is the f32 result, rounded.
pub fn apply(code: Code, from: Dtype, to: Dtype, a: u64, b: u64) -> Option<u64> {
    if from.is_half() || to.is_half() {
        let [a, b] = [a, b].map(|bits| widened(from, bits));
        let result = apply(code, wide(from), wide(to), a, b)?;
        return Some(if to.is_half() {
            u64::from(half::encode(to, result as u32))
        } else {
            result
        });
    }
    Some(match code {
        Code::Add | Code::Sub | Code::Mul | Code::Div | Code::Min | Code::Max | Code::Neg | Code::Abs => match from {
            Dtype::F32 => u64::from(float(code, a as u32, b as u32)),
            Dtype::I32 => u64::from(integer(code, integer_of(from, a), integer_of(from, b)) as u32),
            Dtype::I64 => integer(code, integer_of(from, a), integer_of(from, b)) as u64,
            Dtype::U8 | Dtype::Bool | Dtype::F16 | Dtype::Bf16 => return None,
        },
        Code::Sqrt => u64::from(fp32::sqrt(a as u32)),
        Code::Relu => u64::from(relu(a as u32)),
        Code::Cast => cast(from, to, a),
        Code::Equal => u64::from(order(from, a, b) == Some(Ordering::Equal)),
        Code::Less => u64::from(order(from, a, b) == Some(Ordering::Less)),
        Code::LessEq => u64::from(matches!(order(from, a, b), Some(Ordering::Less | Ordering::Equal))),
        Code::Greater => u64::from(order(from, a, b) == Some(Ordering::Greater)),
        Code::GreaterEq => u64::from(matches!(order(from, a, b), Some(Ordering::Greater | Ordering::Equal))),
        Code::And => u64::from(a != 0 && b != 0),
        Code::Or => u64::from(a != 0 || b != 0),
        Code::Not => u64::from(a == 0),
        _ => return None,
    })
}

/// Holds `y` against the rule. Codes of other families are outside.
pub fn check(code: Code, from: Dtype, to: Dtype, a: u64, b: u64, y: u64) -> Check {
    let Some(expected) = apply(code, from, to, a, b) else {
        return Check::OUTSIDE;
    };
    if wide(to) != Dtype::F32 {
        return Check::exact(y == expected);
    }
    let [a, b] = [a, b].map(|bits| widened(from, bits));
    let [expected, y] = [expected, y].map(|bits| widened(to, bits) as u32);
    Check::exact(match code {
        // The sign of zero is free; of a NaN and a number, the number may be the result too.
        Code::Min | Code::Max => {
            let (a, b) = (a as u32, b as u32);
            fp32::same_value(y, expected)
                || (fp32::is_nan(a) && fp32::same_value(y, b))
                || (fp32::is_nan(b) && fp32::same_value(y, a))
        }
        Code::Relu => fp32::same_value(y, expected) || (fp32::is_nan(expected) && fp32::is_zero(y)),
        _ => fp32::same(y, expected),
    })
}

/// The dtype in which elements of `dtype` are computed.
fn wide(dtype: Dtype) -> Dtype {
    if dtype.is_half() { Dtype::F32 } else { dtype }
}

/// An element's bits in that dtype.
fn widened(dtype: Dtype, bits: u64) -> u64 {
    if dtype.is_half() {
        u64::from(half::decode(dtype, bits as u32))
    } else {
        bits
    }
}

/// An integer, u8 or bool element's value.
fn integer_of(dtype: Dtype, bits: u64) -> i64 {
    match dtype {
        Dtype::I32 => i64::from(bits as i32),
        Dtype::F32 | Dtype::U8 | Dtype::I64 | Dtype::Bool | Dtype::F16 | Dtype::Bf16 => bits as i64,
    }
}

fn float(code: Code, a: u32, b: u32) -> u32 {
    match code {
        Code::Add => fp32::add(a, b),
        Code::Sub => fp32::sub(a, b),
        Code::Mul => fp32::mul(a, b),
        Code::Div => fp32::div(a, b),
        Code::Neg => a ^ fp32::SIGN,
        Code::Abs => a & !fp32::SIGN,
        Code::Min | Code::Max => match fp32::compare(a, b) {
            None => fp32::NAN,
            Some(Ordering::Less) => {
                if code == Code::Min {
                    a
                } else {
                    b
                }
            }
            Some(_) => {
                if code == Code::Min {
                    b
                } else {
                    a
                }
            }
        },
        _ => fp32::NAN,
    }
}

/// 64-bit arithmetic; its low 32 bits are the 32-bit result, except that division looks at the values themselves.
fn integer(code: Code, a: i64, b: i64) -> i64 {
    match code {
        Code::Add => a.wrapping_add(b),
        Code::Sub => a.wrapping_sub(b),
        Code::Mul => a.wrapping_mul(b),
        Code::Div => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        Code::Neg => a.wrapping_neg(),
        Code::Abs => a.wrapping_abs(),
        Code::Min => a.min(b),
        Code::Max => a.max(b),
        _ => 0,
    }
}

fn relu(a: u32) -> u32 {
    match fp32::compare(a, 0) {
        None => fp32::NAN,
        Some(Ordering::Greater) => a,
        Some(_) => 0,
    }
}

fn order(dtype: Dtype, a: u64, b: u64) -> Option<Ordering> {
    match dtype {
        Dtype::F32 => fp32::compare(a as u32, b as u32),
        _ => Some(integer_of(dtype, a).cmp(&integer_of(dtype, b))),
    }
}

fn cast(from: Dtype, to: Dtype, a: u64) -> u64 {
    let float = a as u32;
    match (from, to) {
        (Dtype::F32, Dtype::F32) => a,
        (Dtype::F32, Dtype::Bool) => u64::from(!fp32::is_zero(float)),
        (Dtype::F32, Dtype::U8) => fp32::to_integer(float, 0, 255) as u64,
        (Dtype::F32, Dtype::I32) => u64::from(fp32::to_integer(float, i32::MIN.into(), i32::MAX.into()) as u32),
        (Dtype::F32, Dtype::I64) => fp32::to_integer(float, i64::MIN, i64::MAX) as u64,
        (Dtype::Bool, Dtype::F32) => {
            if a == 0 {
                0
            } else {
                0x3f80_0000
            }
        }
        (_, Dtype::F32) => u64::from(fp32::from_integer(integer_of(from, a))),
        (Dtype::Bool, _) | (_, Dtype::Bool) => u64::from(a != 0),
        (_, Dtype::U8) => a & 0xff,
        (_, Dtype::I32) => u64::from(integer_of(from, a) as u32),
        (_, Dtype::I64 | Dtype::F16 | Dtype::Bf16) => integer_of(from, a) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: u64 = 0x7fc0_0000;
    const OTHER_NAN: u64 = 0xff80_0001;
    const MINUS_ZERO: u64 = 0x8000_0000;
    const ONE: u64 = 0x3f80_0000;
    const TWO: u64 = 0x4000_0000;

    fn inside(code: Code, dtype: Dtype, a: u64, b: u64, y: u64) -> bool {
        check(code, dtype, dtype, a, b, y).inside
    }

    #[test]
    fn arithmetic_keeps_the_sign_of_zero_and_frees_the_nan() {
        let f = Dtype::F32;
        assert!(inside(Code::Sub, f, ONE, ONE, 0));
        assert!(!inside(Code::Sub, f, ONE, ONE, MINUS_ZERO));
        assert!(inside(Code::Add, f, ONE, ONE, TWO));
        assert!(!inside(Code::Add, f, ONE, ONE, TWO + 1));
        assert!(inside(Code::Div, f, 0, 0, OTHER_NAN));
        assert!(!inside(Code::Div, f, 0, 0, 0));
    }

    #[test]
    fn max_like_operators_free_the_sign_of_zero_and_drop_a_nan() {
        let f = Dtype::F32;
        for code in [Code::Min, Code::Max] {
            assert!(inside(code, f, 0, MINUS_ZERO, 0) && inside(code, f, 0, MINUS_ZERO, MINUS_ZERO));
            for (a, b) in [(NAN, TWO), (TWO, OTHER_NAN)] {
                assert!(inside(code, f, a, b, OTHER_NAN) && inside(code, f, a, b, TWO));
                assert!(!inside(code, f, a, b, ONE));
            }
            assert!(!inside(code, f, NAN, NAN, ONE));
        }
        assert!(inside(Code::Max, f, ONE, TWO, TWO) && !inside(Code::Max, f, ONE, TWO, ONE));
        assert!(inside(Code::Min, f, ONE, TWO, ONE) && !inside(Code::Min, f, ONE, TWO, TWO));
        assert!(inside(Code::Relu, f, ONE | MINUS_ZERO, 0, MINUS_ZERO));
        assert!(inside(Code::Relu, f, NAN, 0, NAN) && inside(Code::Relu, f, NAN, 0, 0));
        assert!(!inside(Code::Relu, f, NAN, 0, ONE));
        assert!(inside(Code::Relu, f, TWO, 0, TWO) && !inside(Code::Relu, f, TWO, 0, 0));
    }

    #[test]
    fn halves_follow_the_rules_of_floats() {
        for (dtype, one, two, nan, other_nan) in [
            (Dtype::F16, 0x3c00, 0x4000, 0x7e00, 0xfd01),
            (Dtype::Bf16, 0x3f80, 0x4000, 0x7fc0, 0xff81),
        ] {
            let minus_zero = 0x8000;
            assert!(inside(Code::Add, dtype, one, one, two) && !inside(Code::Add, dtype, one, one, two + 1));
            assert!(inside(Code::Sub, dtype, one, one, 0) && !inside(Code::Sub, dtype, one, one, minus_zero));
            assert!(inside(Code::Div, dtype, 0, 0, other_nan) && !inside(Code::Div, dtype, 0, 0, 0));
            assert!(inside(Code::Max, dtype, 0, minus_zero, 0) && inside(Code::Max, dtype, 0, minus_zero, minus_zero));
            assert!(inside(Code::Min, dtype, nan, two, two) && inside(Code::Min, dtype, nan, two, other_nan));
            assert!(!inside(Code::Min, dtype, nan, two, one));
            assert!(inside(Code::Relu, dtype, one | minus_zero, 0, minus_zero));
            assert!(inside(Code::Relu, dtype, nan, 0, other_nan) && inside(Code::Relu, dtype, nan, 0, 0));
            assert!(inside(Code::Neg, dtype, one, 0, one | minus_zero) && inside(Code::Abs, dtype, nan, 0, nan));
            let is = |code, a, b| apply(code, dtype, Dtype::Bool, a, b) == Some(1);
            assert!(is(Code::Equal, 0, minus_zero) && is(Code::Less, one, two) && !is(Code::LessEq, nan, one));
        }
        // A NaN that is cast is any NaN.
        assert!(check(Code::Cast, Dtype::F32, Dtype::F16, NAN, 0, 0xfc01).inside);
        assert!(!check(Code::Cast, Dtype::F32, Dtype::F16, NAN, 0, 0xfc00).inside);
        assert!(check(Code::Cast, Dtype::Bf16, Dtype::F32, 0x7f81, 0, OTHER_NAN).inside);
        assert!(!check(Code::Cast, Dtype::F32, Dtype::Bf16, MINUS_ZERO, 0, 0).inside);
    }

    #[test]
    fn integers_wrap_and_divide_by_zero_to_zero() {
        let min = i32::MIN as u32 as u64;
        let minus_one = u32::MAX as u64;
        for (code, a, b, y) in [
            (Code::Add, i32::MAX as u64, 1, min),
            (Code::Sub, min, 1, i32::MAX as u64),
            (Code::Mul, min, minus_one, min),
            (Code::Div, min, minus_one, min),
            (Code::Div, 7, 0, 0),
            (Code::Div, (-7i32) as u32 as u64, 2, (-3i32) as u32 as u64),
            (Code::Neg, min, 0, min),
            (Code::Abs, min, 0, min),
            (Code::Min, min, 1, min),
            (Code::Max, min, 1, 1),
        ] {
            assert_eq!(apply(code, Dtype::I32, Dtype::I32, a, b), Some(y), "{code:?}");
            assert!(!inside(code, Dtype::I32, a, b, y ^ 1));
        }
        let min = i64::MIN as u64;
        assert_eq!(apply(Code::Div, Dtype::I64, Dtype::I64, min, u64::MAX), Some(min));
        assert_eq!(apply(Code::Abs, Dtype::I64, Dtype::I64, min, 0), Some(min));
    }

    #[test]
    fn comparisons_with_nan_are_false_and_zeros_are_equal() {
        let is = |code, a, b| apply(code, Dtype::F32, Dtype::Bool, a, b) == Some(1);
        assert!(is(Code::Equal, 0, MINUS_ZERO) && is(Code::LessEq, 0, MINUS_ZERO) && !is(Code::Less, MINUS_ZERO, 0));
        for code in [Code::Equal, Code::Less, Code::LessEq, Code::Greater, Code::GreaterEq] {
            assert!(!is(code, NAN, ONE) && !is(code, ONE, NAN) && !is(code, NAN, NAN));
        }
        assert_eq!(apply(Code::Less, Dtype::I32, Dtype::Bool, u32::MAX.into(), 0), Some(1));
        assert_eq!(apply(Code::Less, Dtype::U8, Dtype::Bool, 255, 0), Some(0));
    }

    #[test]
    fn casts_truncate_saturate_and_wrap() {
        let minus_two_and_a_half = 0xc020_0000;
        for (from, to, a, y) in [
            (Dtype::F32, Dtype::I32, minus_two_and_a_half, (-2i32) as u32 as u64),
            (Dtype::F32, Dtype::U8, minus_two_and_a_half, 0),
            (Dtype::F32, Dtype::I64, NAN, 0),
            (Dtype::F32, Dtype::I32, 0x7f80_0000, i32::MAX as u64),
            (Dtype::F32, Dtype::Bool, MINUS_ZERO, 0),
            (Dtype::F32, Dtype::Bool, NAN, 1),
            (Dtype::I64, Dtype::I32, 1 << 32, 0),
            (Dtype::I64, Dtype::U8, 0x1ff, 0xff),
            (Dtype::I32, Dtype::I64, u32::MAX.into(), u64::MAX),
            (Dtype::I32, Dtype::F32, u32::MAX.into(), 0xbf80_0000),
            (Dtype::U8, Dtype::I64, 200, 200),
            (Dtype::Bool, Dtype::F32, 1, ONE),
            (Dtype::Bool, Dtype::I64, 2, 1),
            (Dtype::I64, Dtype::Bool, 1 << 40, 1),
            (Dtype::F32, Dtype::F16, 0x477f_efff, 0x7bff),
            (Dtype::F32, Dtype::F16, 0x477f_f000, 0x7c00),
            (Dtype::F32, Dtype::F16, 0x3300_0000, 0),
            (Dtype::F32, Dtype::F16, 0xb300_0001, 0x8001),
            (Dtype::F32, Dtype::Bf16, 0x3f80_8000, 0x3f80),
            (Dtype::F32, Dtype::Bf16, 0x3f81_8000, 0x3f82),
            (Dtype::F16, Dtype::F32, 0x8001, 0xb380_0000),
            (Dtype::Bf16, Dtype::F32, 0x0001, 0x0001_0000),
        ] {
            assert_eq!(apply(Code::Cast, from, to, a, 0), Some(y), "{from:?} {to:?} {a:#x}");
        }
    }
}
