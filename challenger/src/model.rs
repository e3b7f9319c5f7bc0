//! A compiled model with everything that a verdict on its claims needs.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use touchstone_engine::{LayerTrace, ModelTrees, Opened, Trace, Value};
use touchstone_model::{
    CompileError, CompileOptions,
    plan::{Io, Plan, PlanError},
};
use touchstone_protocol::{
    descriptor::{Code, Dtype, Place},
    model::ModelHeader,
    tensor::{TensorError, byte_length, element_bits},
};

/// A compiled model. Made once: it hashes all weights.
#[derive(Debug)]
pub struct Model {
    /// Its id under the publisher that was asked for.
    pub id: B256,
    /// What the id commits to.
    pub header: ModelHeader,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Descriptors and weights, ready to be opened.
    pub trees: ModelTrees,
    /// The operator that writes each trace value.
    pub trace_writers: Vec<u32>,
    /// The operators that write each layer's inner values.
    pub inner_writers: Vec<Vec<u32>>,
}

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It does not compile.
    #[error("does not compile: {0}")]
    Compile(#[from] Box<CompileError>),
    /// What it compiles to has no id.
    #[error("has no id: {0}")]
    Plan(#[from] PlanError),
}

/// Why bytes are not a list of values.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Too few or too many bytes.
    #[error("{actual} bytes, the model has {expected}")]
    Length {
        /// What the model has.
        expected: u64,
        /// What was given.
        actual: usize,
    },
    /// A shape beyond the limits.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Model {
    /// What a run of the model commits to, ready to be opened: its boundary values, and the inner ones of a layer.
    pub(crate) fn opened<'a>(&'a self, trace: &'a Trace, layer: Option<&'a LayerTrace>) -> Opened<'a> {
        Opened {
            plan: &self.plan,
            model: &self.trees,
            trace,
            layer,
        }
    }

    /// Compiles a file under a publisher.
    ///
    /// # Errors
    /// The file does not compile.
    pub fn compile(bytes: &[u8], profile: u64, publisher: Address) -> Result<Self, ModelError> {
        let options = CompileOptions {
            profile,
            ..CompileOptions::default()
        };
        let plan = touchstone_model::compile(bytes, &options).map_err(Box::new)?;
        Ok(Self::new(Arc::new(plan), publisher)?)
    }

    /// Hashes a plan.
    ///
    /// # Errors
    /// A descriptor has no encoding, or a weight's bytes do not fit its shape.
    pub fn new(plan: Arc<Plan>, publisher: Address) -> Result<Self, PlanError> {
        let header = plan.header()?;
        let trees = ModelTrees::new(&plan)?;
        let mut trace_writers = vec![0; plan.trace_count as usize];
        let mut inner_writers: Vec<Vec<u32>> = plan
            .layers
            .iter()
            .map(|layer| vec![0; layer.inner_count as usize])
            .collect();
        for (number, d) in plan.operators.iter().enumerate() {
            let slot = match d.place {
                Place::Trace(n) => trace_writers.get_mut(n as usize),
                Place::Inner(n) => inner_writers
                    .get_mut(d.layer as usize)
                    .and_then(|layer| layer.get_mut(n as usize)),
                Place::Input(_) | Place::Weight(_) | Place::Output(_) => None,
            };
            if let Some(slot) = slot {
                *slot = number as u32;
            }
        }
        Ok(Self {
            id: header.id(publisher),
            header,
            plan,
            trees,
            trace_writers,
            inner_writers,
        })
    }

    /// Operators of a layer; none beyond the plan.
    pub fn operators(&self, layer: u32) -> std::ops::Range<u32> {
        self.plan
            .layers
            .get(layer as usize)
            .map_or(0..0, |layer| layer.operators.clone())
    }

    /// The first operator of a layer that reads or writes an inner value: the one that names the layer on chain.
    pub fn namesake(&self, layer: u32) -> Option<u32> {
        self.operators(layer)
            .find(|operator| self.plan.operators[*operator as usize].touches_inner())
    }
}

/// Cuts the joined bytes of a request's inputs or a claim's outputs. Any bytes are values here, also a bool that is neither 0 nor 1: the
/// contract takes them as outputs, and they are for the judge to find wrong.
///
/// # Errors
/// The length is not the model's.
pub fn split(specs: &[Io], bytes: &[u8]) -> Result<Vec<Value>, SplitError> {
    let lengths = specs
        .iter()
        .map(|io| byte_length(io.dtype, &io.dims))
        .collect::<Result<Vec<u64>, _>>()?;
    let expected = lengths.iter().sum();
    if bytes.len() as u64 != expected {
        return Err(SplitError::Length {
            expected,
            actual: bytes.len(),
        });
    }
    let mut rest = bytes;
    let cut = |(io, length): (&Io, u64)| {
        // Within `bytes`, whose length is the sum.
        let (head, tail) = rest.split_at(length as usize);
        rest = tail;
        Value {
            dtype: io.dtype,
            dims: io.dims.clone(),
            bytes: head.into(),
        }
    };
    Ok(specs.iter().zip(lengths).map(cut).collect())
}

/// The element of a value that is most likely to show a change of what it was made from: the greatest in magnitude. Where much
/// of an input is zero, most elements do not depend on most weights.
pub fn telling_element(dtype: Dtype, bytes: &[u8], code: Code) -> u64 {
    if !dtype.is_float() || code == Code::Copy {
        return 0;
    }
    // Magnitudes of floats order as their bits do without the sign, the highest.
    let size = dtype.size();
    let magnitude = |element: &[u8]| element_bits(element) << (65 - 8 * size);
    let mut best = (0, 0);
    for (element, chunk) in bytes.chunks_exact(size).enumerate() {
        if magnitude(chunk) > best.1 {
            best = (element as u64, magnitude(chunk));
        }
    }
    best.0
}
