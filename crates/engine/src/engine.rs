//! What an engine is, and what a run holds.

use std::sync::Arc;

use touchstone_model::plan::{Layer, Plan};
use touchstone_protocol::descriptor::{Descriptor, Place};

use crate::{
    layout,
    value::{Value, ValueError},
};

/// Which values a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Boundary values only.
    Boundary,
    /// Inner values too.
    All,
}

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Graph inputs, as given.
    pub inputs: Vec<Value>,
    /// Graph outputs in order.
    pub outputs: Vec<Value>,
    /// Values placed in the trace, in order.
    pub trace: Vec<Value>,
    /// Inner values by layer and number, if they were kept.
    pub inner: Option<Vec<Vec<Value>>>,
}

/// What one layer gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerValues {
    /// The layer.
    pub layer: u32,
    /// Its inner values by number.
    pub inner: Vec<Value>,
    /// The boundary values it makes, in operator order.
    pub boundary: Vec<(Place, Value)>,
}

/// Where a layer's boundary inputs come from: a run, or a worker's committed values.
pub trait ValueSource {
    /// The value at this place; inputs, trace and outputs are asked for, never weights or inner values.
    fn value(&self, place: Place) -> Option<Value>;
}

impl ValueSource for Run {
    fn value(&self, place: Place) -> Option<Value> {
        match place {
            Place::Input(n) => self.inputs.get(n as usize).cloned(),
            Place::Trace(n) => self.trace.get(n as usize).cloned(),
            Place::Output(n) => self.outputs.get(n as usize).cloned(),
            Place::Weight(_) | Place::Inner(_) => None,
        }
    }
}

impl<F: Fn(Place) -> Option<Value>> ValueSource for F {
    fn value(&self, place: Place) -> Option<Value> {
        self(place)
    }
}

impl Run {
    /// The value an operator of this run wrote; `None` for an inner value that was not kept.
    pub fn output_of(&self, operator: &Descriptor) -> Option<&Value> {
        self.at(operator.layer, operator.place)
    }

    /// The value at a place as operators of `layer` see it; `None` for weights and for inner values that were not kept.
    pub fn at(&self, layer: u32, place: Place) -> Option<&Value> {
        match place {
            Place::Input(n) => self.inputs.get(n as usize),
            Place::Trace(n) => self.trace.get(n as usize),
            Place::Output(n) => self.outputs.get(n as usize),
            Place::Inner(n) => self.inner.as_ref()?.get(layer as usize)?.get(n as usize),
            Place::Weight(_) => None,
        }
    }
}

/// Why an engine gives no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Wrong number of graph inputs.
    #[error("{actual} inputs given, the model takes {expected}")]
    InputCount {
        /// What the plan says.
        expected: usize,
        /// What was given.
        actual: usize,
    },
    /// A graph input does not fit.
    #[error("input {number} ({name:?}): {source}")]
    Input {
        /// Its number.
        number: usize,
        /// Its ONNX name.
        name: String,
        /// What is wrong.
        source: ValueError,
    },
    /// The plan contradicts itself.
    #[error("plan: {0}")]
    Plan(String),
    /// An operator cannot be run as the plan has it.
    #[error("operator {operator} ({name:?}): {what}")]
    Operator {
        /// Its number.
        operator: usize,
        /// Its name in the plan.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// There is no such layer.
    #[error("layer {layer} of a plan with {layers} layers")]
    Layer {
        /// The layer asked for.
        layer: u32,
        /// Number of layers.
        layers: usize,
    },
    /// The source of a replay lacks a boundary value.
    #[error("replaying layer {layer}: value at {place:?} is not there")]
    Missing {
        /// The layer.
        layer: u32,
        /// Where the value should be.
        place: Place,
    },
    /// The source of a replay gave a value that does not fit.
    #[error("replaying layer {layer}: value at {place:?}: {source}")]
    Boundary {
        /// The layer.
        layer: u32,
        /// Where the value is.
        place: Place,
        /// What is wrong.
        source: ValueError,
    },
    /// The library failed outside of any operator.
    #[error("{library}: {what}")]
    Library {
        /// Which one.
        library: &'static str,
        /// Its message.
        what: String,
    },
}

/// Runs plans.
pub trait Engine: Send + Sync {
    /// What it is, for logs: library, version, device, threads.
    fn name(&self) -> &str;

    /// Runs the whole plan.
    ///
    /// # Errors
    /// Inputs that do not fit, a plan that contradicts itself, a failure of the library.
    fn run(&self, plan: &Arc<Plan>, inputs: &[Value], keep: Keep) -> Result<Run, EngineError>;

    /// Runs one layer alone from its boundary inputs. From the boundary values of the same engine's own run it gives the same bits as
    /// that run.
    ///
    /// # Errors
    /// No such layer, a boundary value missing or not fitting, and as [`Engine::run`].
    fn replay_layer(&self, plan: &Arc<Plan>, layer: u32, values: &dyn ValueSource) -> Result<LayerValues, EngineError>;
}

/// Checks inputs against a plan.
///
/// # Errors
/// Count, dtype, shape, length, or a bool that is neither 0 nor 1.
pub fn check_inputs(plan: &Plan, inputs: &[Value]) -> Result<(), EngineError> {
    if inputs.len() != plan.inputs.len() {
        return Err(EngineError::InputCount {
            expected: plan.inputs.len(),
            actual: inputs.len(),
        });
    }
    for (number, (value, io)) in inputs.iter().zip(&plan.inputs).enumerate() {
        value.check_io(io).map_err(|source| EngineError::Input {
            number,
            name: io.name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Reads a layer's boundary inputs, checked against the plan.
pub(crate) fn boundary_inputs(
    plan: &Plan,
    layer: u32,
    values: &dyn ValueSource,
) -> Result<Vec<(Place, Value)>, EngineError> {
    let mut read = Vec::new();
    for (place, operand) in layout::boundary_operands(plan, layer)? {
        let value = values.value(place).ok_or(EngineError::Missing { layer, place })?;
        value
            .check_is(operand.dtype, &operand.dims)
            .map_err(|source| EngineError::Boundary { layer, place, source })?;
        read.push((place, value));
    }
    Ok(read)
}

/// The layer with this number.
pub(crate) fn layer_of(plan: &Plan, layer: u32) -> Result<&Layer, EngineError> {
    plan.layers.get(layer as usize).ok_or(EngineError::Layer {
        layer,
        layers: plan.layers.len(),
    })
}
