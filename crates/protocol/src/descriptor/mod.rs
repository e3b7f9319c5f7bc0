//! Canonical operator descriptors (PROTOCOL.md section 3): what an operator reads, writes and computes.
//!
//! [`Descriptor::encode`] and [`Descriptor::decode`] are inverse to each other: only what passes every check has an encoding, and
//! there is one.

mod check;
mod codec;

pub use check::DescriptorError;

use crate::digest::{B256, hash_parts, tag};

/// Greatest number of output axes.
pub const MAX_OUTPUT_AXES: usize = 8;
/// Greatest number of reduction axes.
pub const MAX_REDUCTION_AXES: usize = 4;
/// Greatest number of operands.
pub const MAX_OPERANDS: usize = 16;
/// Greatest number of parameters.
pub const MAX_PARAMS: usize = 8;
/// Greatest number of bounds of an operand.
pub const MAX_BOUNDS: usize = 4;
/// Greatest number of terms of a bound.
pub const MAX_BOUND_TERMS: usize = 4;
/// Greatest length of an encoded descriptor in bytes.
pub const MAX_BYTES: usize = 4096;
/// Greatest number of terms of a reduction under any profile; what each one allows is [`crate::parts::most_terms`].
pub const MAX_TERMS: u64 = 1 << 24;

/// Element type of a tensor, with ONNX's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dtype {
    /// IEEE-754 binary32.
    F32 = 1,
    /// Unsigned 8-bit integer.
    U8 = 2,
    /// Signed 32-bit integer.
    I32 = 6,
    /// Signed 64-bit integer.
    I64 = 7,
    /// One byte, 0 or 1.
    Bool = 9,
    /// IEEE-754 binary16.
    F16 = 10,
    /// bfloat16: the upper half of a binary32.
    Bf16 = 16,
}

impl Dtype {
    /// All dtypes, by number.
    pub const ALL: [Dtype; 7] = [
        Dtype::F32,
        Dtype::U8,
        Dtype::I32,
        Dtype::I64,
        Dtype::Bool,
        Dtype::F16,
        Dtype::Bf16,
    ];

    /// Size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::U8 | Dtype::Bool => 1,
            Dtype::I64 => 8,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    /// Whether this is one of the formats of two bytes.
    pub const fn is_half(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::Bf16)
    }

    /// Whether elements are floating-point numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// The dtype with this number, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Dtype::F32),
            2 => Some(Dtype::U8),
            6 => Some(Dtype::I32),
            7 => Some(Dtype::I64),
            9 => Some(Dtype::Bool),
            10 => Some(Dtype::F16),
            16 => Some(Dtype::Bf16),
            _ => None,
        }
    }
}

/// Where a value is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Graph input by number, committed by the request.
    Input(u32),
    /// Weight by number, committed by the model.
    Weight(u32),
    /// Boundary value by number, committed by the claim's trace root.
    Trace(u32),
    /// Graph output by number, committed by the claim.
    Output(u32),
    /// Inner value by number, committed by the root of the operator's own layer.
    Inner(u32),
}

impl Place {
    /// The place's kind and number as encoded.
    pub const fn parts(self) -> (u8, u32) {
        match self {
            Place::Input(n) => (0, n),
            Place::Weight(n) => (1, n),
            Place::Trace(n) => (2, n),
            Place::Output(n) => (3, n),
            Place::Inner(n) => (4, n),
        }
    }

    /// The place of this kind and number, if there is such a kind.
    pub const fn from_parts(kind: u8, number: u32) -> Option<Self> {
        match kind {
            0 => Some(Place::Input(number)),
            1 => Some(Place::Weight(number)),
            2 => Some(Place::Trace(number)),
            3 => Some(Place::Output(number)),
            4 => Some(Place::Inner(number)),
            _ => None,
        }
    }
}

/// Operator codes (PROTOCOL.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Code {
    Copy = 0x01,
    Gather = 0x02,
    Add = 0x10,
    Sub = 0x11,
    Mul = 0x12,
    Div = 0x13,
    Sqrt = 0x14,
    Neg = 0x15,
    Abs = 0x16,
    Min = 0x17,
    Max = 0x18,
    Relu = 0x19,
    Cast = 0x1a,
    Where = 0x1b,
    Equal = 0x1c,
    Less = 0x1d,
    LessEq = 0x1e,
    Greater = 0x1f,
    GreaterEq = 0x20,
    And = 0x21,
    Or = 0x22,
    Not = 0x23,
    MaxPool = 0x30,
    ArgMax = 0x31,
    Erf = 0x40,
    Gelu = 0x41,
    GeluTanh = 0x42,
    Tanh = 0x43,
    Sigmoid = 0x44,
    Exp = 0x45,
    Log = 0x46,
    Softplus = 0x47,
    Sin = 0x48,
    Cos = 0x49,
    Pow = 0x4a,
    Contract = 0x60,
    Sum = 0x68,
    Mean = 0x69,
    Softmax = 0x70,
    LayerNorm = 0x78,
    BatchNorm = 0x7a,
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Code; 41] = [
        Code::Copy,
        Code::Gather,
        Code::Add,
        Code::Sub,
        Code::Mul,
        Code::Div,
        Code::Sqrt,
        Code::Neg,
        Code::Abs,
        Code::Min,
        Code::Max,
        Code::Relu,
        Code::Cast,
        Code::Where,
        Code::Equal,
        Code::Less,
        Code::LessEq,
        Code::Greater,
        Code::GreaterEq,
        Code::And,
        Code::Or,
        Code::Not,
        Code::MaxPool,
        Code::ArgMax,
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::Log,
        Code::Softplus,
        Code::Sin,
        Code::Cos,
        Code::Pow,
        Code::Contract,
        Code::Sum,
        Code::Mean,
        Code::Softmax,
        Code::LayerNorm,
        Code::BatchNorm,
    ];

    /// The operator with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u8 == code)
    }

    /// How many of the first operands are read at every term of the reduction (PROTOCOL.md section 5): the *term operands*. The
    /// others are read once an element.
    pub const fn term_operands(self) -> usize {
        match self {
            Code::Contract => 2,
            Code::MaxPool | Code::ArgMax | Code::Sum | Code::Mean | Code::Softmax | Code::LayerNorm => 1,
            _ => 0,
        }
    }

    /// Whether the rule says what an operand that is out of bounds counts as. Operands of other codes have no bounds.
    pub const fn takes_bounds(self) -> bool {
        matches!(
            self,
            Code::Copy | Code::MaxPool | Code::Contract | Code::Sum | Code::Mean
        )
    }
}

/// One condition of an index map: `0 <= constant + sum(coefficient * index[axis]) < extent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// Exclusive upper limit of the coordinate.
    pub extent: u32,
    /// The coordinate's constant part.
    pub constant: i64,
    /// `(axis, coefficient)`; axes count output axes first, then reduction axes.
    pub terms: Vec<(u8, i64)>,
}

/// One operand: where it is committed and how output element and term index it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Where the operand is committed.
    pub place: Place,
    /// Dtype as committed by the producer.
    pub dtype: Dtype,
    /// Shape as committed by the producer.
    pub dims: Vec<u32>,
    /// Element offset at index zero.
    pub base: i64,
    /// Element strides, one per output axis, then one per reduction axis.
    pub strides: Vec<i64>,
    /// When the operand has a value at all; empty means always.
    pub bounds: Vec<Bound>,
}

/// One operator of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// What is computed.
    pub code: Code,
    /// The layer the operator belongs to.
    pub layer: u32,
    /// Number of inner values of that layer.
    pub layer_inner_count: u32,
    /// Where the output is committed: trace, output or inner.
    pub place: Place,
    /// Output dtype.
    pub dtype: Dtype,
    /// Output shape as committed.
    pub dims: Vec<u32>,
    /// Factored output axes; their product is the output's element count.
    pub output_axes: Vec<u32>,
    /// Factored reduction axes.
    pub reduction_axes: Vec<u32>,
    /// Parameters of the code.
    pub params: Vec<u32>,
    /// Operands in order.
    pub operands: Vec<Operand>,
}

impl Descriptor {
    /// Number of elements of the output: the product of the output axes.
    pub fn elements(&self) -> u64 {
        product(&self.output_axes)
    }

    /// Number of terms of the reduction: the product of the reduction axes, 1 when there are none.
    pub fn terms(&self) -> u64 {
        product(&self.reduction_axes)
    }

    /// Leaf of the plan tree: `H(TAG("operator") ‖ descriptor bytes)`.
    ///
    /// # Errors
    /// The descriptor has no encoding.
    pub fn leaf(&self) -> Result<B256, DescriptorError> {
        Ok(leaf(&self.encode()?))
    }

    /// Whether any operand or the output is an inner value, so that judging needs the layer's root.
    pub fn touches_inner(&self) -> bool {
        matches!(self.place, Place::Inner(_)) || self.operands.iter().any(|o| matches!(o.place, Place::Inner(_)))
    }
}

/// Leaf of the plan tree over an encoded descriptor.
pub fn leaf(descriptor: &[u8]) -> B256 {
    hash_parts(&[tag("operator").as_slice(), descriptor])
}

/// Product of axes, saturating; 0 when one of them is 0.
fn product(axes: &[u32]) -> u64 {
    if axes.contains(&0) {
        return 0;
    }
    axes.iter()
        .fold(1u64, |product, &axis| product.saturating_mul(u64::from(axis)))
}
