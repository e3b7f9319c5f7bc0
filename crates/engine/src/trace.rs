//! Commitments of a run, and layers reopened from them.

use std::sync::Arc;

use touchstone_model::plan::{Plan, PlanError, Weight};
use touchstone_protocol::{
    claim,
    descriptor::{Descriptor, Place},
    digest::B256,
    merkle::MerkleTree,
    tensor::{TensorError, TensorTree},
    witness::{Context, Source, WitnessBuilder, WitnessError},
};

use crate::{
    engine::{Engine, EngineError, LayerValues, Run, ValueSource},
    value::Value,
};

/// What a model commits to, ready to be opened. Made once per model: it hashes all weights.
#[derive(Clone, Debug)]
pub struct ModelTrees {
    /// Tree of the operator leaves.
    pub operators: MerkleTree,
    /// Tree of the weight commitments.
    pub weights: MerkleTree,
    /// The weights with their chunk trees.
    pub tensors: Vec<TensorTree>,
}

impl ModelTrees {
    /// Hashes a plan's descriptors and weights.
    ///
    /// # Errors
    /// A descriptor has no encoding, or a weight's bytes do not fit its shape.
    pub fn new(plan: &Plan) -> Result<Self, PlanError> {
        let tree = |(weight, w): (usize, &Weight)| {
            TensorTree::new(w.dtype, &w.dims, w.bytes.clone()).map_err(|source| PlanError::Weight { weight, source })
        };
        let tensors: Vec<TensorTree> = plan.weights.iter().enumerate().map(tree).collect::<Result<_, _>>()?;
        Ok(Self {
            operators: MerkleTree::new(plan.leaves()?),
            weights: commitments_tree(&tensors),
            tensors,
        })
    }
}

/// The boundary values of a run, committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Graph inputs.
    pub inputs: Vec<TensorTree>,
    /// Graph outputs.
    pub outputs: Vec<TensorTree>,
    /// Values placed in the trace.
    pub values: Vec<TensorTree>,
    /// Tree of the trace values' commitments.
    pub tree: MerkleTree,
}

impl Trace {
    /// Hashes a run's boundary values.
    ///
    /// # Errors
    /// A value's bytes do not fit its shape.
    pub fn commit(run: &Run) -> Result<Self, TensorError> {
        let values = tensors(&run.trace)?;
        Ok(Self {
            inputs: tensors(&run.inputs)?,
            outputs: tensors(&run.outputs)?,
            tree: commitments_tree(&values),
            values,
        })
    }

    /// The trace root.
    pub fn root(&self) -> B256 {
        self.tree.root()
    }

    /// Hash of the input commitments, as in requests and claims.
    pub fn inputs_hash(&self) -> B256 {
        claim::inputs_hash(&commitments(&self.inputs))
    }

    /// Hash of the output commitments, as in claims.
    pub fn outputs_hash(&self) -> B256 {
        claim::outputs_hash(&commitments(&self.outputs))
    }

    /// The committed tensor at a boundary place.
    pub fn tensor(&self, place: Place) -> Option<&TensorTree> {
        match place {
            Place::Input(n) => self.inputs.get(n as usize),
            Place::Trace(n) => self.values.get(n as usize),
            Place::Output(n) => self.outputs.get(n as usize),
            Place::Weight(_) | Place::Inner(_) => None,
        }
    }
}

impl ValueSource for Trace {
    fn value(&self, place: Place) -> Option<Value> {
        self.tensor(place).map(|t| Value {
            dtype: t.dtype(),
            dims: t.dims().to_vec(),
            bytes: t.bytes().clone(),
        })
    }
}

/// The inner values of one layer, committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTrace {
    /// The layer.
    pub layer: u32,
    /// Its inner values by number.
    pub values: Vec<TensorTree>,
    /// Tree of their commitments.
    pub tree: MerkleTree,
}

impl LayerTrace {
    /// Hashes a layer's inner values.
    ///
    /// # Errors
    /// A value's bytes do not fit its shape.
    pub fn commit(layer: u32, inner: &[Value]) -> Result<Self, TensorError> {
        let values = tensors(inner)?;
        Ok(Self {
            layer,
            tree: commitments_tree(&values),
            values,
        })
    }

    /// The layer root.
    pub fn root(&self) -> B256 {
        self.tree.root()
    }
}

/// Why a layer cannot be reopened.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// The replay failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A value does not fit its shape.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The replay gives other boundary values than were committed, so its inner values do not explain them.
    #[error("layer {layer} replayed gives another value at {place:?} than was committed")]
    Differs {
        /// The layer.
        layer: u32,
        /// The first place that differs.
        place: Place,
    },
}

/// Replays a layer of a committed run and commits its inner values.
///
/// # Errors
/// The replay fails, or it does not give the committed boundary values bit for bit.
pub fn reopen(engine: &dyn Engine, plan: &Arc<Plan>, layer: u32, trace: &Trace) -> Result<LayerTrace, ReopenError> {
    let LayerValues { inner, boundary, .. } = engine.replay_layer(plan, layer, trace)?;
    for (place, value) in &boundary {
        if trace.tensor(*place).map(TensorTree::bytes) != Some(&value.bytes) {
            return Err(ReopenError::Differs { layer, place: *place });
        }
    }
    Ok(LayerTrace::commit(layer, &inner)?)
}

/// A run with, possibly, one layer opened: what witnesses are made from.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What its model commits to.
    pub model: &'a ModelTrees,
    /// The boundary values.
    pub trace: &'a Trace,
    /// The opened layer.
    pub layer: Option<&'a LayerTrace>,
}

impl Source for Opened<'_> {
    fn tensor(&self, place: Place) -> Option<&TensorTree> {
        match place {
            Place::Weight(n) => self.model.tensors.get(n as usize),
            Place::Inner(n) => self.layer?.values.get(n as usize),
            Place::Input(_) | Place::Trace(_) | Place::Output(_) => self.trace.tensor(place),
        }
    }
}

impl Opened<'_> {
    /// The witness that opens one element of one operator.
    ///
    /// # Errors
    /// The operator or element does not exist, or reads a layer that is not opened.
    pub fn witness(&self, operator: u32, element: u64) -> Result<Vec<u8>, WitnessError> {
        self.built(operator, |builder, d| builder.witness(operator, d, element))
    }

    /// The witness of a long operator's element without its terms.
    ///
    /// # Errors
    /// As [`Opened::witness`].
    pub fn head(&self, operator: u32, element: u64) -> Result<Vec<u8>, WitnessError> {
        self.built(operator, |builder, d| builder.head(operator, d, element))
    }

    /// The witness of one leaf of its terms.
    ///
    /// # Errors
    /// As [`Opened::witness`].
    pub fn part(&self, operator: u32, element: u64, leaf: u32) -> Result<Vec<u8>, WitnessError> {
        self.built(operator, |builder, d| builder.part(operator, d, element, leaf))
    }

    fn built(
        &self,
        operator: u32,
        build: impl FnOnce(&WitnessBuilder<'_, Self>, &Descriptor) -> Result<Vec<u8>, WitnessError>,
    ) -> Result<Vec<u8>, WitnessError> {
        let descriptor = self
            .plan
            .operators
            .get(operator as usize)
            .ok_or(WitnessError::Operator(operator))?;
        let builder = WitnessBuilder {
            plan: &self.model.operators,
            weights: &self.model.weights,
            trace: &self.trace.tree,
            layer: self.layer.map(|layer| (layer.layer, &layer.tree)),
            inputs: &commitments(&self.trace.inputs),
            outputs: &commitments(&self.trace.outputs),
            source: self,
        };
        build(&builder, descriptor)
    }

    /// What the judge holds such a witness against.
    pub fn context(&self) -> Context {
        Context {
            plan_root: self.model.operators.root(),
            weights_root: self.model.weights.root(),
            trace_root: self.trace.root(),
            layer: self.layer.map(|layer| (layer.layer, layer.root())),
            inputs: self.trace.inputs_hash(),
            outputs: self.trace.outputs_hash(),
            operators: self.plan.operators.len() as u32,
            weights: self.plan.weights.len() as u32,
            trace_values: self.plan.trace_count,
            input_count: self.plan.inputs.len() as u32,
            output_count: self.plan.outputs.len() as u32,
            profile: self.plan.profile,
        }
    }
}

fn tensors(values: &[Value]) -> Result<Vec<TensorTree>, TensorError> {
    values
        .iter()
        .map(|value| TensorTree::new(value.dtype, &value.dims, value.bytes.clone()))
        .collect()
}

fn commitments(tensors: &[TensorTree]) -> Vec<B256> {
    tensors.iter().map(TensorTree::commitment).collect()
}

fn commitments_tree(tensors: &[TensorTree]) -> MerkleTree {
    MerkleTree::new(commitments(tensors))
}
