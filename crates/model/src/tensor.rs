//! Tensors as files hold them.

use std::sync::Arc;

use touchstone_protocol::{descriptor::Dtype, tensor};

use crate::{limits, proto::TensorProto};

/// A tensor in memory: row-major little-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub dims: Vec<u32>,
    /// Row-major little-endian bytes; as many as dtype and shape say.
    pub bytes: Arc<[u8]>,
}

/// Why a `TensorProto` gives no tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TensorProtoError {
    /// A sound tensor of a kind that plans do not have.
    #[error("{0}")]
    Unsupported(String),
    /// It contradicts itself.
    #[error("{0}")]
    Malformed(String),
}

impl Tensor {
    /// A tensor of these bytes.
    ///
    /// # Errors
    /// A rank, a shape or a length that does not fit, as a message.
    pub fn new(dtype: Dtype, dims: Vec<u32>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, String> {
        let bytes = bytes.into();
        let expected = tensor::byte_length(dtype, &dims).map_err(|error| error.to_string())?;
        if bytes.len() as u64 != expected {
            return Err(format!(
                "{} bytes for shape {dims:?} of {dtype:?}, which takes {expected}",
                bytes.len()
            ));
        }
        if dtype == Dtype::Bool && bytes.iter().any(|byte| *byte > 1) {
            return Err("a bool that is neither 0 nor 1".into());
        }
        Ok(Self { dtype, dims, bytes })
    }

    /// Reads a `TensorProto`, taking its bytes.
    pub(crate) fn from_proto(proto: TensorProto) -> Result<Self, TensorProtoError> {
        use TensorProtoError::{Malformed, Unsupported};
        if proto.data_location != 0 || !proto.external_data.is_empty() {
            return Err(Unsupported(
                "its data is in another file; embed the weights in the model file".into(),
            ));
        }
        if proto.segment.is_some() {
            return Err(Unsupported("it is a segment of a tensor".into()));
        }
        let dtype = dtype_of(proto.data_type).map_err(Unsupported)?;
        let dims = dims_of(&proto.dims).map_err(Malformed)?;
        let fields = [
            proto.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()),
            !proto.float_data.is_empty(),
            !proto.int32_data.is_empty(),
            !proto.int64_data.is_empty(),
        ];
        if fields.iter().filter(|filled| **filled).count() > 1 {
            return Err(Malformed("its values stand in two fields".into()));
        }
        let wrong = || Malformed(format!("its values stand in a field that is not for {dtype:?}"));
        let bytes: Vec<u8> = match (dtype, fields) {
            (_, [true, ..] | [false, false, false, false]) => proto.raw_data.unwrap_or_default(),
            (Dtype::F32, [_, true, ..]) => proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            (Dtype::I64, [.., true]) => proto.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            (Dtype::I32, [_, _, true, _]) => proto.int32_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            (Dtype::F16 | Dtype::Bf16, [_, _, true, _]) => proto
                .int32_data
                .iter()
                .map(|value| u16::try_from(*value).map(u16::to_le_bytes))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| Malformed(format!("a value out of range for {dtype:?}")))?
                .concat(),
            (Dtype::U8 | Dtype::Bool, [_, _, true, _]) => proto
                .int32_data
                .iter()
                .map(|value| u8::try_from(*value))
                .collect::<Result<_, _>>()
                .map_err(|_| Malformed(format!("a value out of range for {dtype:?}")))?,
            _ => return Err(wrong()),
        };
        Self::new(dtype, dims, bytes).map_err(Malformed)
    }
}

/// The dtype of an ONNX element type number, or why plans do not have it.
pub(crate) fn dtype_of(number: i32) -> Result<Dtype, String> {
    const NAMES: [&str; 24] = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    u8::try_from(number).ok().and_then(Dtype::from_code).ok_or_else(|| {
        match usize::try_from(number).ok().and_then(|number| NAMES.get(number)) {
            Some(name) => format!("element type {name} is not supported"),
            None => format!("element type {number} does not exist"),
        }
    })
}

/// Checks an ONNX shape.
pub(crate) fn dims_of(dims: &[i64]) -> Result<Vec<u32>, String> {
    if dims.len() > limits::RANK {
        return Err(format!("rank {} exceeds {}", dims.len(), limits::RANK));
    }
    let dims: Vec<u32> = dims
        .iter()
        .map(|dim| u32::try_from(*dim).map_err(|_| format!("dimension {dim} is not within 0 to 2^32 - 1")))
        .collect::<Result<_, _>>()?;
    check_extent(&dims)?;
    Ok(dims)
}

/// Refuses shapes without elements whose other dimensions are beyond any tensor: strides are computed from them.
pub(crate) fn check_extent(dims: &[u32]) -> Result<(), String> {
    let extent = dims
        .iter()
        .filter(|dim| **dim != 0)
        .fold(1u64, |product, dim| product.saturating_mul(u64::from(*dim)));
    if extent > limits::TENSOR_BYTES {
        return Err(format!("shape {dims:?} is larger than 2^31 bytes"));
    }
    Ok(())
}
