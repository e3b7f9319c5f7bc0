//! Tensors as engines take and give them.

use std::sync::Arc;

use touchstone_model::plan::{Io, Weight};
use touchstone_protocol::{
    descriptor::Dtype,
    half,
    tensor::{TensorError, byte_length, element_bits},
};

/// A tensor: row-major little-endian bytes, exactly as many as dtype and shape need. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub dims: Vec<u32>,
    /// Row-major little-endian bytes.
    pub bytes: Arc<[u8]>,
}

/// Why a value is not what it has to be. NaN, infinities and subnormals are ordinary data and never a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another element type.
    #[error("dtype is {actual:?}, expected {expected:?}")]
    Dtype {
        /// What the plan says.
        expected: Dtype,
        /// What was given.
        actual: Dtype,
    },
    /// Another shape.
    #[error("shape is {actual:?}, expected {expected:?}")]
    Shape {
        /// What the plan says.
        expected: Vec<u32>,
        /// What was given.
        actual: Vec<u32>,
    },
    /// Rank, size or length in bytes is wrong.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A bool that is neither 0 nor 1.
    #[error("bool at element {element} is {byte}, neither 0 nor 1")]
    Bool {
        /// Position of the element.
        element: usize,
        /// Its byte.
        byte: u8,
    },
}

impl Value {
    /// A checked value.
    ///
    /// # Errors
    /// The length is not the shape's, the shape is beyond the limits, or a bool is neither 0 nor 1.
    pub fn new(dtype: Dtype, dims: impl Into<Vec<u32>>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, ValueError> {
        let value = Self {
            dtype,
            dims: dims.into(),
            bytes: bytes.into(),
        };
        value.check()?;
        Ok(value)
    }

    /// A float32 value.
    ///
    /// # Errors
    /// The shape does not have as many elements.
    pub fn from_f32(dims: impl Into<Vec<u32>>, elements: &[f32]) -> Result<Self, ValueError> {
        Self::new(
            Dtype::F32,
            dims,
            elements.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>(),
        )
    }

    /// The elements, if they are floating-point numbers: f16 and bf16 as the float32 numbers that they are.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let number = |bytes| f32::from_bits(half::decode(self.dtype, element_bits(bytes) as u32));
        let elements = self.bytes.chunks(self.dtype.size());
        self.dtype.is_float().then(|| elements.map(number).collect())
    }

    /// Whether the fields fit each other.
    pub(crate) fn check(&self) -> Result<(), ValueError> {
        let expected = byte_length(self.dtype, &self.dims)?;
        let actual = self.bytes.len() as u64;
        if actual != expected {
            return Err(TensorError::Length {
                dims: self.dims.clone(),
                expected,
                actual,
            }
            .into());
        }
        if self.dtype == Dtype::Bool
            && let Some((element, byte)) = self.bytes.iter().enumerate().find(|(_, byte)| **byte > 1)
        {
            return Err(ValueError::Bool { element, byte: *byte });
        }
        Ok(())
    }

    /// Whether this is a sound value of this dtype and shape.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn check_is(&self, dtype: Dtype, dims: &[u32]) -> Result<(), ValueError> {
        if self.dtype != dtype {
            return Err(ValueError::Dtype {
                expected: dtype,
                actual: self.dtype,
            });
        }
        if self.dims != dims {
            return Err(ValueError::Shape {
                expected: dims.to_vec(),
                actual: self.dims.clone(),
            });
        }
        self.check()
    }

    /// Whether this is a sound value for a graph input or output.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn check_io(&self, io: &Io) -> Result<(), ValueError> {
        self.check_is(io.dtype, &io.dims)
    }
}

impl From<&Weight> for Value {
    fn from(weight: &Weight) -> Self {
        Self {
            dtype: weight.dtype,
            dims: weight.dims.clone(),
            bytes: weight.bytes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_float_bits_are_data_and_other_bools_are_not() {
        let odd = [f32::NAN, f32::INFINITY, f32::from_bits(1), -0.0];
        let value = Value::from_f32([2, 2], &odd).unwrap();
        assert_eq!(value.to_f32().unwrap().map_bits(), odd.to_vec().map_bits());
        assert!(Value::from_f32([3], &odd).is_err());
        assert_eq!(
            Value::new(Dtype::Bool, [2], vec![1, 2]),
            Err(ValueError::Bool { element: 1, byte: 2 })
        );
        assert!(matches!(
            value.check_is(Dtype::F32, &[4]),
            Err(ValueError::Shape { .. })
        ));
        assert!(matches!(
            value.check_is(Dtype::I32, &[2, 2]),
            Err(ValueError::Dtype { .. })
        ));
    }

    trait MapBits {
        fn map_bits(self) -> Vec<u32>;
    }

    impl MapBits for Vec<f32> {
        fn map_bits(self) -> Vec<u32> {
            self.into_iter().map(f32::to_bits).collect()
        }
    }
}
