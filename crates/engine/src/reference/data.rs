//! Values decoded into elements.

use half::{bf16, f16};
use touchstone_protocol::descriptor::{Code, Dtype};

use super::OperatorError;
use crate::value::Value;

/// The elements of a value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    U8(Vec<u8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    /// Decodes a sound value.
    pub(crate) fn decode(value: &Value) -> Self {
        let words = value.bytes.as_chunks::<4>().0;
        let halves = value.bytes.as_chunks::<2>().0;
        match value.dtype {
            Dtype::F32 => Data::F32(words.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Dtype::F16 => Data::F16(halves.iter().map(|b| f16::from_le_bytes(*b)).collect()),
            Dtype::Bf16 => Data::Bf16(halves.iter().map(|b| bf16::from_le_bytes(*b)).collect()),
            Dtype::I32 => Data::I32(words.iter().map(|b| i32::from_le_bytes(*b)).collect()),
            Dtype::I64 => Data::I64(
                value
                    .bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|b| i64::from_le_bytes(*b))
                    .collect(),
            ),
            Dtype::U8 => Data::U8(value.bytes.to_vec()),
            Dtype::Bool => Data::Bool(value.bytes.iter().map(|b| *b != 0).collect()),
        }
    }

    /// The value of this shape.
    pub(crate) fn encode(&self, dims: &[u32]) -> Value {
        let (dtype, bytes): (Dtype, Vec<u8>) = match self {
            Data::F32(data) => (Dtype::F32, data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::F16(data) => (Dtype::F16, data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::Bf16(data) => (Dtype::Bf16, data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::I32(data) => (Dtype::I32, data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::I64(data) => (Dtype::I64, data.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::U8(data) => (Dtype::U8, data.clone()),
            Data::Bool(data) => (Dtype::Bool, data.iter().map(|x| u8::from(*x)).collect()),
        };
        Value {
            dtype,
            dims: dims.to_vec(),
            bytes: bytes.into(),
        }
    }

    /// The float32 elements.
    pub(crate) fn f32(&self, code: Code) -> Result<&[f32], OperatorError> {
        if let Data::F32(data) = self {
            Ok(data)
        } else {
            Err(OperatorError::Dtypes(code))
        }
    }
}
