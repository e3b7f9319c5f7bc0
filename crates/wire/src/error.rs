//! What can be wrong with a message.

/// A message that does not convert: the other side is wrong, and the field says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// Bytes of a fixed length have another one.
    #[error("{field} has {actual} bytes, expected {expected}")]
    Length {
        /// Path of the field.
        field: &'static str,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        actual: usize,
    },
    /// Bytes, text or a list beyond its limit.
    #[error("{field} has {actual} items, the limit is {limit}")]
    TooMany {
        /// Path of the field.
        field: &'static str,
        /// Most items (bytes, for bytes and text) allowed.
        limit: usize,
        /// Items there are.
        actual: usize,
    },
    /// An enum without a meaning: zero or a number nobody defined.
    #[error("{field} is {value}, which means nothing")]
    Enum {
        /// Path of the field.
        field: &'static str,
        /// The number received.
        value: i32,
    },
    /// A number outside its range.
    #[error("{field} is {value}, out of range")]
    Range {
        /// Path of the field.
        field: &'static str,
        /// The number received.
        value: u64,
    },
}

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}
