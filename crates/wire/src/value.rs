//! Values on their way: a header, then chunks; and the receiver that puts them together within limits.

use alloy_primitives::B256;
use touchstone_protocol::descriptor::Dtype;

use crate::{WireError, field, limits, proto::challenger::v1 as challenger};

/// What a value is, before its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueHeader {
    /// Tensor commitment (PROTOCOL.md section 2).
    pub commitment: B256,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, row-major.
    pub dims: Vec<u32>,
    /// Bytes of the whole value; always elements × element size.
    pub length: u64,
}

impl ValueHeader {
    /// A header with checked shape: rank, size and `length = Π dims · size(dtype)`.
    pub fn checked(commitment: B256, dtype: u32, dims: Vec<u32>, length: u64) -> Result<Self, WireError> {
        let dtype = u8::try_from(dtype)
            .ok()
            .and_then(Dtype::from_code)
            .ok_or(WireError::Range {
                field: "value.dtype",
                value: dtype.into(),
            })?;
        let dims = field::at_most("value.dims", dims, limits::MAX_RANK)?;
        let bytes = dims
            .iter()
            .try_fold(dtype.size() as u64, |product, &dim| product.checked_mul(dim.into()))
            .filter(|&bytes| bytes <= limits::MAX_VALUE_BYTES && bytes == length);
        match bytes {
            Some(_) => Ok(Self {
                commitment,
                dtype,
                dims,
                length,
            }),
            None => Err(WireError::Range {
                field: "value.length",
                value: length,
            }),
        }
    }
}

impl From<ValueHeader> for challenger::ValueHeader {
    fn from(header: ValueHeader) -> Self {
        let ValueHeader {
            commitment,
            dtype,
            dims,
            length,
        } = header;
        Self {
            commitment: commitment.to_vec(),
            dtype: (dtype as u8).into(),
            dims,
            length,
        }
    }
}

impl TryFrom<challenger::ValueHeader> for ValueHeader {
    type Error = WireError;

    fn try_from(header: challenger::ValueHeader) -> Result<Self, WireError> {
        let challenger::ValueHeader {
            commitment,
            dtype,
            dims,
            length,
        } = header;
        Self::checked(field::fixed("value.commitment", &commitment)?, dtype, dims, length)
    }
}

/// Puts one value's chunks together, refusing what is too long, empty or too large.
#[derive(Debug)]
pub struct Assembly {
    header: ValueHeader,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Nothing received yet. Memory grows with what arrives, not with what the header promises.
    pub fn new(header: ValueHeader) -> Self {
        Self {
            header,
            bytes: Vec::new(),
        }
    }

    /// Adds the next chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        if chunk.is_empty() || chunk.len() > limits::CHUNK_BYTES {
            return Err(WireError::Range {
                field: "value.chunk",
                value: chunk.len() as u64,
            });
        }
        let total = self.bytes.len() as u64 + chunk.len() as u64;
        if total > self.header.length {
            return Err(WireError::Range {
                field: "value.bytes",
                value: total,
            });
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether all bytes are there.
    pub fn complete(&self) -> bool {
        self.bytes.len() as u64 == self.header.length
    }

    /// The header and the bytes; an error if some are missing.
    pub fn finish(self) -> Result<(ValueHeader, Vec<u8>), WireError> {
        if !self.complete() {
            return Err(WireError::Range {
                field: "value.bytes",
                value: self.bytes.len() as u64,
            });
        }
        Ok((self.header, self.bytes))
    }
}
