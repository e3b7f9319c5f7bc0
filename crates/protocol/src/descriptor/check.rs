//! What makes a descriptor decodable: limits, places, and each code's arity, dtypes and parameters (PROTOCOL.md sections 3 and 5).

use super::{
    Code, Descriptor, Dtype, MAX_BOUND_TERMS, MAX_BOUNDS, MAX_OPERANDS, MAX_OUTPUT_AXES, MAX_PARAMS,
    MAX_REDUCTION_AXES, MAX_TERMS, Operand, Place,
};
use crate::tensor::{MAX_RANK, byte_length, element_count};

/// Why bytes are not a descriptor, or a descriptor has no encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The bytes end early.
    #[error("descriptor ends early")]
    Truncated,
    /// Bytes follow the last operand.
    #[error("{0} bytes follow the descriptor")]
    Trailing(usize),
    /// More than [`super::MAX_BYTES`].
    #[error("descriptor has {0} bytes, at most 4096 are allowed")]
    TooLong(usize),
    /// Another version.
    #[error("descriptor version {0}, expected 1")]
    Version(u8),
    /// No operator has this code.
    #[error("no operator has code {0:#04x}")]
    Code(u8),
    /// No dtype has this number.
    #[error("no dtype has number {0}")]
    Dtype(u8),
    /// No place has this kind.
    #[error("no place has kind {0}")]
    Kind(u8),
    /// A list is longer than allowed.
    #[error("{count} {what}, at most {limit} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The output is placed where nothing is computed.
    #[error("output is placed in {0:?}")]
    OutputPlace(Place),
    /// A tensor is beyond the limits.
    #[error("{what} of shape {dims:?} is beyond 2^31 bytes or rank 8")]
    Tensor {
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        dims: Vec<u32>,
    },
    /// The output axes do not factor the output's elements.
    #[error("output axes {axes:?} do not have the element count of shape {dims:?}")]
    OutputAxes {
        /// The axes.
        axes: Vec<u32>,
        /// The output's shape.
        dims: Vec<u32>,
    },
    /// The reduction has more terms than any profile allows, or than the one at hand does.
    #[error("reduction of {0} terms, at most 2^24 are allowed under `wide`, 2^20 under other profiles")]
    Terms(u64),
    /// Not one stride per axis.
    #[error("operand {operand} has {actual} strides for {expected} axes")]
    Strides {
        /// Which operand.
        operand: usize,
        /// Number of axes.
        expected: usize,
        /// Number of strides.
        actual: usize,
    },
    /// A bound names an axis that there is not.
    #[error("operand {operand} is bounded on axis {axis}")]
    BoundAxis {
        /// Which operand.
        operand: usize,
        /// The axis named.
        axis: u8,
    },
    /// The operand has bounds, and its code has no rule for what is out of them.
    #[error("operand {0} has bounds")]
    Bounds(usize),
    /// An operand that is read once an element depends on a reduction axis.
    #[error("operand {0} is read once an element but depends on a reduction axis")]
    Dependence(usize),
    /// Wrong number of operands for the code.
    #[error("{code:?} with {operands} operands")]
    Arity {
        /// The code.
        code: Code,
        /// Number of operands.
        operands: usize,
    },
    /// Dtypes that the code does not take.
    #[error("{0:?} with these dtypes")]
    Dtypes(Code),
    /// Parameters or reduction axes that the code does not take.
    #[error("{code:?}: {what}")]
    Params {
        /// The code.
        code: Code,
        /// What is wrong.
        what: &'static str,
    },
}

impl Descriptor {
    /// Checks everything that decoding checks.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), DescriptorError> {
        self.check_limits()?;
        if matches!(self.place, Place::Input(_) | Place::Weight(_)) {
            return Err(DescriptorError::OutputPlace(self.place));
        }
        byte_length(self.dtype, &self.dims).map_err(|_| DescriptorError::Tensor {
            what: "output",
            dims: self.dims.clone(),
        })?;
        if element_count(&self.output_axes) != element_count(&self.dims) {
            return Err(DescriptorError::OutputAxes {
                axes: self.output_axes.clone(),
                dims: self.dims.clone(),
            });
        }
        if self.terms() > MAX_TERMS {
            return Err(DescriptorError::Terms(self.terms()));
        }
        for (index, operand) in self.operands.iter().enumerate() {
            self.check_operand(index, operand)?;
        }
        self.check_arity()?;
        self.check_dtypes()?;
        self.check_params()
    }

    fn check_limits(&self) -> Result<(), DescriptorError> {
        let limits = [
            ("dimensions", self.dims.len(), MAX_RANK),
            ("output axes", self.output_axes.len(), MAX_OUTPUT_AXES),
            ("reduction axes", self.reduction_axes.len(), MAX_REDUCTION_AXES),
            ("parameters", self.params.len(), MAX_PARAMS),
            ("operands", self.operands.len(), MAX_OPERANDS),
        ];
        for (what, count, limit) in limits {
            if count > limit {
                return Err(DescriptorError::TooMany { what, count, limit });
            }
        }
        Ok(())
    }

    fn check_operand(&self, index: usize, operand: &Operand) -> Result<(), DescriptorError> {
        byte_length(operand.dtype, &operand.dims).map_err(|_| DescriptorError::Tensor {
            what: "operand",
            dims: operand.dims.clone(),
        })?;
        let outputs = self.output_axes.len();
        let axes = outputs + self.reduction_axes.len();
        if operand.strides.len() != axes {
            return Err(DescriptorError::Strides {
                operand: index,
                expected: axes,
                actual: operand.strides.len(),
            });
        }
        if operand.bounds.len() > MAX_BOUNDS {
            return Err(DescriptorError::TooMany {
                what: "bounds",
                count: operand.bounds.len(),
                limit: MAX_BOUNDS,
            });
        }
        if !operand.bounds.is_empty() && !self.code.takes_bounds() {
            return Err(DescriptorError::Bounds(index));
        }
        let once = index >= self.code.term_operands();
        if once && operand.strides[outputs..].iter().any(|stride| *stride != 0) {
            return Err(DescriptorError::Dependence(index));
        }
        for bound in &operand.bounds {
            let count = bound.terms.len();
            if count > MAX_BOUND_TERMS {
                return Err(DescriptorError::TooMany {
                    what: "terms of a bound",
                    count,
                    limit: MAX_BOUND_TERMS,
                });
            }
            for (axis, _) in &bound.terms {
                if usize::from(*axis) >= axes {
                    return Err(DescriptorError::BoundAxis {
                        operand: index,
                        axis: *axis,
                    });
                }
                if once && usize::from(*axis) >= outputs {
                    return Err(DescriptorError::Dependence(index));
                }
            }
        }
        Ok(())
    }

    fn check_arity(&self) -> Result<(), DescriptorError> {
        let allowed = match self.code {
            Code::Copy => 1..=MAX_OPERANDS,
            Code::Contract => 2..=MAX_OPERANDS,
            Code::Gather => 2..=2,
            Code::Add | Code::Sub | Code::Mul | Code::Div | Code::Min | Code::Max | Code::Pow => 2..=2,
            Code::Equal | Code::Less | Code::LessEq | Code::Greater | Code::GreaterEq | Code::And | Code::Or => 2..=2,
            Code::Where | Code::LayerNorm => 3..=3,
            Code::BatchNorm => 5..=5,
            Code::Sqrt | Code::Neg | Code::Abs | Code::Relu | Code::Cast | Code::Not => 1..=1,
            Code::Erf | Code::Gelu | Code::GeluTanh | Code::Tanh | Code::Sigmoid | Code::Exp => 1..=1,
            Code::Log | Code::Softplus | Code::Sin | Code::Cos => 1..=1,
            Code::MaxPool | Code::ArgMax | Code::Sum | Code::Mean | Code::Softmax => 1..=1,
        };
        if allowed.contains(&self.operands.len()) {
            Ok(())
        } else {
            Err(DescriptorError::Arity {
                code: self.code,
                operands: self.operands.len(),
            })
        }
    }

    fn check_dtypes(&self) -> Result<(), DescriptorError> {
        let of = |index: usize| self.operands[index].dtype;
        let all = |dtype: Dtype| self.dtype == dtype && self.operands.iter().all(|o| o.dtype == dtype);
        let index = |dtype: Dtype| matches!(dtype, Dtype::I32 | Dtype::I64);
        let right = match self.code {
            Code::Copy => all(self.dtype),
            Code::Gather => of(0) == self.dtype && index(of(1)),
            Code::Add | Code::Sub | Code::Mul | Code::Div | Code::Neg | Code::Abs | Code::Min | Code::Max => {
                (self.dtype.is_float() || index(self.dtype)) && all(self.dtype)
            }
            Code::Sqrt | Code::Relu => self.dtype.is_float() && all(self.dtype),
            // To and from the others f16 and bf16 go by way of f32: see `docs/envelopes.md#f16-and-bf16`.
            Code::Cast => {
                let (from, to) = (of(0), self.dtype);
                !(from.is_half() || to.is_half()) || from == Dtype::F32 || to == Dtype::F32
            }
            Code::Where => of(0) == Dtype::Bool && of(1) == self.dtype && of(2) == self.dtype,
            Code::Equal | Code::Less | Code::LessEq | Code::Greater | Code::GreaterEq => {
                self.dtype == Dtype::Bool && of(0) == of(1)
            }
            Code::And | Code::Or | Code::Not => all(Dtype::Bool),
            Code::ArgMax => (of(0) == Dtype::F32 || index(of(0))) && index(self.dtype),
            Code::MaxPool
            | Code::Erf
            | Code::Gelu
            | Code::GeluTanh
            | Code::Tanh
            | Code::Sigmoid
            | Code::Exp
            | Code::Log
            | Code::Softplus
            | Code::Sin
            | Code::Cos
            | Code::Pow
            | Code::Contract
            | Code::Sum
            | Code::Mean
            | Code::Softmax
            | Code::LayerNorm
            | Code::BatchNorm => all(Dtype::F32),
        };
        if right {
            Ok(())
        } else {
            Err(DescriptorError::Dtypes(self.code))
        }
    }

    fn check_params(&self) -> Result<(), DescriptorError> {
        let wrong = |what| Err(DescriptorError::Params { code: self.code, what });
        let axes = match self.code {
            Code::MaxPool | Code::Contract | Code::Sum | Code::Mean => 0..=MAX_REDUCTION_AXES,
            Code::ArgMax | Code::Softmax | Code::LayerNorm => 1..=1,
            _ => 0..=0,
        };
        if !axes.contains(&self.reduction_axes.len()) {
            return wrong("number of reduction axes");
        }
        let count = match self.code {
            Code::Copy | Code::Gather | Code::LayerNorm => 2,
            Code::Mean | Code::Softmax | Code::BatchNorm => 1,
            _ => 0,
        };
        if self.params.len() != count {
            return wrong("number of parameters");
        }
        // A row is the reduction axis, and the element's place in it is its index on one output axis of the same extent.
        let is_row = |axis: u32| {
            self.output_axes
                .get(axis as usize)
                .is_some_and(|extent| *extent == self.reduction_axes[0])
        };
        // Positive, normal, finite: 0/0 has no value to judge.
        let is_epsilon = |bits: u32| (0x0080_0000..0x7f80_0000).contains(&bits);
        match self.code {
            Code::Gather if self.params[0] == 0 => wrong("extent is 0"),
            Code::Mean if self.params[0] > 1 => wrong("mode is neither 0 nor 1"),
            Code::Softmax if !is_row(self.params[0]) => wrong("row axis is not an output axis of the row's length"),
            Code::LayerNorm if !is_epsilon(self.params[0]) => wrong("epsilon is not a positive normal number"),
            Code::LayerNorm if !is_row(self.params[1]) => wrong("row axis is not an output axis of the row's length"),
            Code::BatchNorm if !is_epsilon(self.params[0]) => wrong("epsilon is not a positive normal number"),
            _ => Ok(()),
        }
    }
}
