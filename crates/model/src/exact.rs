//! Single elements of exact operators, for constant folding: the judge's own arithmetic on little-endian bytes.

use touchstone_protocol::{
    descriptor::{Code, Dtype},
    leaf::exact,
    tensor::element_bits,
};

/// The value of an integer or bool element.
pub(crate) fn integer(bytes: &[u8], dtype: Dtype) -> i64 {
    let bits = element_bits(&bytes[..dtype.size()]);
    if dtype == Dtype::I32 {
        i64::from(bits as i32)
    } else {
        bits as i64
    }
}

/// One element, little-endian in the first bytes; `None` if the code is not exact.
///
/// `dtype` is the output's, `from` the first operand's (which differs for casts and compares).
pub(crate) fn compute(code: Code, dtype: Dtype, from: Dtype, operands: [&[u8]; 3]) -> Option<[u8; 8]> {
    let [a, b, c] = operands.map(element_bits);
    let result = match code {
        Code::Where => {
            if a != 0 {
                b
            } else {
                c
            }
        }
        _ => exact::apply(code, from, dtype, a, b)?,
    };
    Some(result.to_le_bytes())
}
