//! What a model id commits to (PROTOCOL.md section 4).

use alloy_primitives::{Address, U256};

use crate::descriptor::Dtype;
use crate::digest::{B256, hash, tag};
use crate::tensor::{self, MAX_BYTES, MAX_RANK, TensorError};

pub use crate::profile::{Format, Kind, Profile, ProfileError};

/// Version of the protocol, part of every model id.
pub const VERSION: u64 = 1;
/// Most inputs, and most outputs, of a model; the registry refuses more (`Io.sol`).
pub const MAX_IO_VALUES: usize = 32;
/// Most commitments in one list, of the trace values of a claim or of the inner values of a layer: such a list is one message between
/// services. Compile refuses models beyond it.
pub const MAX_COMMITMENTS: usize = 65_536;
/// Most bytes of all inputs together, and of all outputs: they travel inline in requests and claims, and fit into one
/// transaction with room to spare. The registry refuses models beyond it (`Io.sol`).
pub const MAX_INLINE_BYTES: usize = 16 << 10;

/// Dtype and shape of a graph input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub dims: Vec<u32>,
}

/// Why io bytes are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// No inputs or outputs, or more than [`MAX_IO_VALUES`].
    #[error("{0} inputs or outputs, 1 to {MAX_IO_VALUES} are allowed")]
    Count(usize),
    /// The inputs, or the outputs, are together larger than one tensor may be.
    #[error("inputs or outputs of {0} bytes together, at most {MAX_BYTES} are allowed")]
    TooLarge(u64),
    /// The bytes end early.
    #[error("io bytes end early")]
    Truncated,
    /// Bytes follow the last output.
    #[error("{0} bytes follow the io bytes")]
    Trailing(usize),
    /// No dtype has this number.
    #[error("no dtype has number {0}")]
    Dtype(u8),
    /// A shape is beyond the limits.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Graph inputs and outputs in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// Inputs.
    pub inputs: Vec<Spec>,
    /// Outputs.
    pub outputs: Vec<Spec>,
}

impl Io {
    /// `u8 n ‖ (u8 dtype ‖ dims) × n` for the inputs, then the same for the outputs.
    ///
    /// # Errors
    /// None or more than [`MAX_IO_VALUES`] of either, or shapes beyond the limits.
    pub fn encode(&self) -> Result<Vec<u8>, IoError> {
        let mut w = Vec::new();
        for specs in [&self.inputs, &self.outputs] {
            checked_bytes(specs)?;
            w.push(u8::try_from(specs.len()).map_err(|_| IoError::Count(specs.len()))?);
            for spec in specs {
                w.extend([spec.dtype as u8, spec.dims.len() as u8]);
                spec.dims.iter().for_each(|dim| w.extend(dim.to_be_bytes()));
            }
        }
        Ok(w)
    }

    /// Bytes of all inputs together; a request carries them inline if they are at most [`MAX_INLINE_BYTES`].
    ///
    /// # Errors
    /// As [`Io::encode`].
    pub fn input_bytes(&self) -> Result<u64, IoError> {
        checked_bytes(&self.inputs)
    }

    /// Bytes of all outputs together; a claim carries them inline if they are at most [`MAX_INLINE_BYTES`].
    ///
    /// # Errors
    /// As [`Io::encode`].
    pub fn output_bytes(&self) -> Result<u64, IoError> {
        checked_bytes(&self.outputs)
    }

    /// Reads io bytes.
    ///
    /// # Errors
    /// The bytes are not an encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, IoError> {
        let mut rest = bytes;
        let inputs = take_specs(&mut rest)?;
        let outputs = take_specs(&mut rest)?;
        if rest.is_empty() {
            Ok(Self { inputs, outputs })
        } else {
            Err(IoError::Trailing(rest.len()))
        }
    }
}

/// Bytes of one list, which has as many entries and bytes as are allowed.
fn checked_bytes(specs: &[Spec]) -> Result<u64, IoError> {
    if !(1..=MAX_IO_VALUES).contains(&specs.len()) {
        return Err(IoError::Count(specs.len()));
    }
    let mut total = 0u64;
    for spec in specs {
        total = total.saturating_add(tensor::byte_length(spec.dtype, &spec.dims)?);
    }
    if total > MAX_BYTES {
        return Err(IoError::TooLarge(total));
    }
    Ok(total)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], IoError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(IoError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn take_specs(rest: &mut &[u8]) -> Result<Vec<Spec>, IoError> {
    let [count] = take(rest)?;
    if !(1..=MAX_IO_VALUES).contains(&count.into()) {
        return Err(IoError::Count(count.into()));
    }
    let specs = (0..count)
        .map(|_| {
            let [code, rank] = take(rest)?;
            let dtype = Dtype::from_code(code).ok_or(IoError::Dtype(code))?;
            if usize::from(rank) > MAX_RANK {
                return Err(TensorError::Rank(rank.into()).into());
            }
            let dims = (0..rank)
                .map(|_| take(rest).map(u32::from_be_bytes))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Spec { dtype, dims })
        })
        .collect::<Result<Vec<_>, IoError>>()?;
    checked_bytes(&specs)?;
    Ok(specs)
}

/// Everything that a model id commits to, except the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelHeader {
    /// Root of the tree of operator leaves.
    pub plan_root: B256,
    /// Root of the tree of weight commitments.
    pub weights_root: B256,
    /// Number of operators.
    pub operators: u32,
    /// Number of weights.
    pub weights: u32,
    /// Number of values placed in the trace.
    pub trace_values: u32,
    /// Number of layers.
    pub layers: u32,
    /// The profile's word, see [`Profile::encode`].
    pub profile: u64,
    /// Hash of the io bytes.
    pub io: B256,
}

impl ModelHeader {
    /// The model id under a publisher: `H(abi.encode(TAG("model"), 1, publisher, …, profile, io))`.
    pub fn id(&self, publisher: Address) -> B256 {
        let words = [
            tag("model"),
            word(VERSION),
            publisher.into_word(),
            self.plan_root,
            self.weights_root,
            word(self.operators.into()),
            word(self.weights.into()),
            word(self.trace_values.into()),
            word(self.layers.into()),
            word(self.profile),
            self.io,
        ];
        hash(words.as_flattened_bytes())
    }
}

/// A number as an ABI word.
pub(crate) fn word(value: u64) -> B256 {
    U256::from(value).into()
}

/// Words one after the other.
pub(crate) trait Words {
    /// The bytes of all words.
    fn as_flattened_bytes(&self) -> Vec<u8>;
}

impl Words for [B256] {
    fn as_flattened_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|word| word.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io() -> Io {
        Io {
            inputs: vec![
                Spec {
                    dtype: Dtype::F32,
                    dims: vec![1, 1, 8, 8],
                },
                Spec {
                    dtype: Dtype::I64,
                    dims: vec![],
                },
            ],
            outputs: vec![Spec {
                dtype: Dtype::F32,
                dims: vec![1, 10],
            }],
        }
    }

    #[test]
    fn io_bytes_have_one_reading() {
        let bytes = io().encode().unwrap();
        assert_eq!(Io::decode(&bytes), Ok(io()));
        for cut in 0..bytes.len() {
            assert_eq!(Io::decode(&bytes[..cut]), Err(IoError::Truncated));
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Io::decode(&longer), Err(IoError::Trailing(1)));
        let mut dtype = bytes.clone();
        dtype[1] = 3;
        assert_eq!(Io::decode(&dtype), Err(IoError::Dtype(3)));
        let mut rank = bytes;
        rank[2] = 9;
        assert_eq!(Io::decode(&rank), Err(IoError::Tensor(TensorError::Rank(9))));
    }

    #[test]
    fn io_has_1_to_32_values_each_way_and_the_bytes_of_one_tensor() {
        let of = |count: usize, dims: &[u32]| Io {
            inputs: io().inputs,
            outputs: vec![
                Spec {
                    dtype: Dtype::U8,
                    dims: dims.into(),
                };
                count
            ],
        };
        let most = of(MAX_IO_VALUES, &[1 << 26]);
        assert_eq!(most.output_bytes(), Ok(MAX_BYTES));
        let bytes = most.encode().unwrap();
        assert_eq!(Io::decode(&bytes), Ok(most));
        for (wrong, error) in [
            (of(0, &[]), IoError::Count(0)),
            (of(33, &[]), IoError::Count(33)),
            (of(2, &[1 << 31]), IoError::TooLarge(1 << 32)),
        ] {
            assert_eq!(wrong.encode(), Err(error.clone()));
            let reversed = Io {
                inputs: wrong.outputs,
                outputs: wrong.inputs,
            };
            assert_eq!(reversed.encode(), Err(error));
        }
        // The same bytes with another count, and with a dimension that makes them too large.
        let outputs = io().encode().unwrap().len() - 11;
        for (count, error) in [(0, IoError::Count(0)), (33, IoError::Count(33))] {
            let mut other = io().encode().unwrap();
            other[outputs] = count;
            assert_eq!(Io::decode(&other), Err(error));
        }
        let mut larger = bytes;
        let last = larger.len() - 4;
        larger[last..].copy_from_slice(&((1u32 << 26) + 1).to_be_bytes());
        assert_eq!(Io::decode(&larger), Err(IoError::TooLarge(MAX_BYTES + 1)));
    }

    #[test]
    fn every_field_is_in_the_id() {
        let base = ModelHeader {
            plan_root: hash([1]),
            weights_root: hash([2]),
            operators: 3,
            weights: 4,
            trace_values: 5,
            layers: 6,
            profile: Profile::FAST.encode(),
            io: hash([7]),
        };
        let publisher = Address::repeat_byte(0x11);
        let ids = [
            base.id(publisher),
            base.id(Address::ZERO),
            ModelHeader {
                plan_root: hash([0]),
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                weights_root: hash([0]),
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                operators: 4,
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                weights: 5,
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                trace_values: 6,
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                layers: 7,
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                profile: 0,
                ..base.clone()
            }
            .id(publisher),
            ModelHeader {
                io: hash([0]),
                ..base.clone()
            }
            .id(publisher),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[i + 1..].contains(id), "{i}");
        }
    }
}
