//! A compiled model: what engines run and what the model id commits to.

use std::{ops::Range, sync::Arc};

use alloy_primitives::{Address, B256};
use touchstone_protocol::{
    descriptor::{Descriptor, DescriptorError, Dtype},
    digest::hash,
    merkle,
    model::{self, IoError, ModelHeader, Spec},
    tensor::{self, TensorError},
};

use crate::names::NamedValue;

/// Name, dtype and shape of a graph input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// The ONNX name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Fixed shape.
    pub dims: Vec<u32>,
}

/// A constant tensor that the model id commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The ONNX name it came from; not committed.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape as committed.
    pub dims: Vec<u32>,
    /// Row-major little-endian bytes.
    pub bytes: Arc<[u8]>,
}

/// A contiguous range of operators with its number of inner values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Operator numbers, half-open.
    pub operators: Range<u32>,
    /// Number of operators placed in `Inner`.
    pub inner_count: u32,
}

/// A compiled model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Encoded numerics profile (PROTOCOL.md section 4).
    pub profile: u64,
    /// Graph inputs in order.
    pub inputs: Vec<Io>,
    /// Graph outputs in order.
    pub outputs: Vec<Io>,
    /// Constant tensors in `Place::Weight` order.
    pub weights: Vec<Weight>,
    /// Operators in execution order.
    pub operators: Vec<Descriptor>,
    /// The ONNX value name behind each operator's output, for people; not committed.
    pub names: Vec<String>,
    /// The values of the ONNX file with their places in the plan; not committed.
    pub values: Vec<NamedValue>,
    /// Layers in order; together they cover all operators.
    pub layers: Vec<Layer>,
    /// Number of values placed in `Trace`.
    pub trace_count: u32,
}

/// Why a plan has no model id. Plans that `compile` gives have one, unless options bound all their inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A descriptor has no encoding.
    #[error("operator {operator}: {source}")]
    Descriptor {
        /// Operator number.
        operator: usize,
        /// The rule it breaks.
        source: DescriptorError,
    },
    /// A weight's bytes do not fit its shape.
    #[error("weight {weight}: {source}")]
    Weight {
        /// Weight number.
        weight: usize,
        /// What is wrong.
        source: TensorError,
    },
    /// Inputs or outputs have no encoding.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl Plan {
    /// Leaves of the plan tree, in operator order.
    ///
    /// # Errors
    /// A descriptor has no encoding.
    pub fn leaves(&self) -> Result<Vec<B256>, PlanError> {
        let leaf =
            |(operator, d): (usize, &Descriptor)| d.leaf().map_err(|source| PlanError::Descriptor { operator, source });
        self.operators.iter().enumerate().map(leaf).collect()
    }

    /// Commitments of the weights, in order: the leaves of the weights tree.
    ///
    /// # Errors
    /// A weight's bytes do not fit its shape.
    pub fn weight_commitments(&self) -> Result<Vec<B256>, PlanError> {
        let commit = |(weight, w): (usize, &Weight)| {
            tensor::commit(w.dtype, &w.dims, &w.bytes).map_err(|source| PlanError::Weight { weight, source })
        };
        self.weights.iter().enumerate().map(commit).collect()
    }

    /// Dtypes and shapes of the graph inputs and outputs, as the model id commits to them.
    pub fn io(&self) -> model::Io {
        let specs = |list: &[Io]| {
            list.iter()
                .map(|io| Spec {
                    dtype: io.dtype,
                    dims: io.dims.clone(),
                })
                .collect()
        };
        model::Io {
            inputs: specs(&self.inputs),
            outputs: specs(&self.outputs),
        }
    }

    /// What the model id commits to. Hashes all weights.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn header(&self) -> Result<ModelHeader, PlanError> {
        Ok(ModelHeader {
            plan_root: merkle::root(&self.leaves()?),
            weights_root: merkle::root(&self.weight_commitments()?),
            operators: self.operators.len() as u32,
            weights: self.weights.len() as u32,
            trace_values: self.trace_count,
            layers: self.layers.len() as u32,
            profile: self.profile,
            io: hash(self.io().encode()?),
        })
    }

    /// The model id under a publisher. Hashes all weights.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn model_id(&self, publisher: Address) -> Result<B256, PlanError> {
        Ok(self.header()?.id(publisher))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_primitives::Address;

    use crate::{CompileOptions, compile, testing::Model};

    #[test]
    fn the_id_binds_shape_weights_publisher_and_operators() {
        let model = Model::new().input("x", 1, &[-1, 3]).output("y").weight("w", &[3, 2]);
        let product = model.clone().node("MatMul", "x w", "y").bytes();
        let id = |bytes: &[u8], rows: u32, publisher: u8| {
            let shapes = BTreeMap::from([("x".into(), vec![rows, 3])]);
            let plan = compile(
                bytes,
                &CompileOptions {
                    shapes,
                    ..Default::default()
                },
            )
            .unwrap();
            plan.model_id(Address::repeat_byte(publisher)).unwrap()
        };
        let base = id(&product, 2, 1);
        assert_eq!(base, id(&product, 2, 1));
        assert_ne!(base, id(&product, 3, 1));
        assert_ne!(base, id(&product, 2, 2));
        let other = Model::new()
            .input("x", 1, &[-1, 3])
            .output("y")
            .weight("other", &[3, 2]);
        assert_ne!(
            base,
            id(&other.node("MatMul", "x other", "y").bytes(), 2, 1),
            "other weights, one id"
        );
        let more = model.node("MatMul", "x w", "z").node("Relu", "z", "y").bytes();
        assert_ne!(base, id(&more, 2, 1));
    }
}
