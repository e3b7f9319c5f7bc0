//! The reference engine: plain Rust, one thread, no library kernels.
//!
//! Float operators compute in fp64 and round once to fp32; exact operators are the correctly rounded fp32 operations of the language.
//! Functions come from the `libm` crate, so the results do not depend on the system's C library.
//!
//! # Layout
//! - `data`: values decoded
//! - `copy`: Copy, Gather, Where
//! - `exact`: arithmetic, comparisons, casts, logic
//! - `reduce`: Contract, Sum, Mean, MaxPool, ArgMax
//! - `functions`: Erf, Gelu, Tanh, Sigmoid, Exp, Log, Softplus, Sin, Cos, Pow
//! - `rows`: Softmax, LayerNorm, BatchNorm

mod copy;
mod data;
mod exact;
mod functions;
mod reduce;
mod rows;

use std::{collections::HashMap, sync::Arc};

use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Code, Descriptor, Place};

use self::data::Data;
use crate::{
    engine::{Engine, EngineError, Keep, LayerValues, Run, ValueSource, boundary_inputs, check_inputs, layer_of},
    layout::{self, operator_error},
    map::{Map, MapError},
    value::Value,
};

/// Why an operator gives no values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("{0:?} does not take these dtypes")]
    Dtypes(Code),
}

/// The reference engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Engine for Reference {
    fn name(&self) -> &str {
        "reference"
    }

    fn run(&self, plan: &Arc<Plan>, inputs: &[Value], keep: Keep) -> Result<Run, EngineError> {
        layout::check(plan)?;
        check_inputs(plan, inputs)?;
        let mut memory = Memory::new(plan);
        for (number, value) in inputs.iter().enumerate() {
            memory.put(Place::Input(number as u32), Data::decode(value));
        }
        let mut kept = Vec::new();
        for layer in 0..plan.layers.len() as u32 {
            memory.run_layer(layer)?;
            let inner = memory.take_inner(layer)?;
            if keep == Keep::All {
                kept.push(inner);
            }
        }
        let outputs = (0..plan.outputs.len() as u32)
            .map(|n| memory.encode(Place::Output(n)))
            .collect::<Result<_, _>>()?;
        let trace = (0..plan.trace_count)
            .map(|n| memory.encode(Place::Trace(n)))
            .collect::<Result<_, _>>()?;
        Ok(Run {
            inputs: inputs.to_vec(),
            outputs,
            trace,
            inner: (keep == Keep::All).then_some(kept),
        })
    }

    fn replay_layer(&self, plan: &Arc<Plan>, layer: u32, values: &dyn ValueSource) -> Result<LayerValues, EngineError> {
        layout::check(plan)?;
        let mut memory = Memory::new(plan);
        for (place, value) in boundary_inputs(plan, layer, values)? {
            memory.put(place, Data::decode(&value));
        }
        memory.run_layer(layer)?;
        let inner = memory.take_inner(layer)?;
        let boundary = layer_of(plan, layer)?
            .operators
            .clone()
            .map(|operator| plan.operators[operator as usize].place)
            .filter(|place| !matches!(place, Place::Inner(_)))
            .map(|place| Ok((place, memory.encode(place)?)))
            .collect::<Result<_, EngineError>>()?;
        Ok(LayerValues { layer, inner, boundary })
    }
}

/// The values of a run so far, with the shapes they were written with.
struct Memory<'a> {
    plan: &'a Plan,
    values: HashMap<Place, (Data, Vec<u32>)>,
}

impl<'a> Memory<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            values: HashMap::new(),
        }
    }

    fn put(&mut self, place: Place, data: Data) {
        self.values.insert(place, (data, Vec::new()));
    }

    fn run_layer(&mut self, layer: u32) -> Result<(), EngineError> {
        for operator in layer_of(self.plan, layer)?.operators.clone() {
            let descriptor = &self.plan.operators[operator as usize];
            for operand in &descriptor.operands {
                if let (Place::Weight(n), false) = (operand.place, self.values.contains_key(&operand.place)) {
                    self.put(
                        operand.place,
                        Data::decode(&Value::from(&self.plan.weights[n as usize])),
                    );
                }
            }
            let operands: Vec<&Data> = descriptor
                .operands
                .iter()
                .map(|operand| self.values.get(&operand.place).map(|(data, _)| data))
                .collect::<Option<_>>()
                .ok_or_else(|| operator_error(self.plan, operator as usize, "an operand is not there"))?;
            let data =
                evaluate(descriptor, &operands).map_err(|error| operator_error(self.plan, operator as usize, error))?;
            self.values.insert(descriptor.place, (data, descriptor.dims.clone()));
        }
        Ok(())
    }

    fn encode(&self, place: Place) -> Result<Value, EngineError> {
        let written = self.values.get(&place).map(|(data, dims)| data.encode(dims));
        written.ok_or_else(|| EngineError::Plan(format!("{place:?} is not written")))
    }

    fn take_inner(&mut self, layer: u32) -> Result<Vec<Value>, EngineError> {
        let count = layer_of(self.plan, layer)?.inner_count;
        let inner = (0..count).map(|n| self.encode(Place::Inner(n))).collect();
        self.values.retain(|place, _| !matches!(place, Place::Inner(_)));
        inner
    }
}

/// Runs one operator.
pub(crate) fn evaluate(descriptor: &Descriptor, operands: &[&Data]) -> Result<Data, OperatorError> {
    match descriptor.code {
        Code::Copy | Code::Gather | Code::Where => copy::evaluate(descriptor, operands),
        Code::Contract | Code::Sum | Code::Mean | Code::MaxPool | Code::ArgMax => {
            reduce::evaluate(descriptor, operands)
        }
        Code::Erf | Code::Gelu | Code::GeluTanh | Code::Tanh | Code::Sigmoid | Code::Exp => {
            functions::evaluate(descriptor, operands)
        }
        Code::Log | Code::Softplus | Code::Sin | Code::Cos | Code::Pow => functions::evaluate(descriptor, operands),
        Code::Softmax | Code::LayerNorm | Code::BatchNorm => rows::evaluate(descriptor, operands),
        Code::Add
        | Code::Sub
        | Code::Mul
        | Code::Div
        | Code::Sqrt
        | Code::Neg
        | Code::Abs
        | Code::Min
        | Code::Max
        | Code::Relu
        | Code::Cast
        | Code::Equal
        | Code::Less
        | Code::LessEq
        | Code::Greater
        | Code::GreaterEq
        | Code::And
        | Code::Or
        | Code::Not => exact::evaluate(descriptor, operands),
    }
}

/// The maps of all operands.
fn maps(descriptor: &Descriptor) -> Result<Vec<Map>, MapError> {
    (0..descriptor.operands.len())
        .map(|operand| Map::new(descriptor, operand))
        .collect()
}
