//! The structure of a plan that engines rely on: every place is written once, before it is read, with the dtype and shape its
//! readers state.

use std::collections::{BTreeMap, HashMap, HashSet};

use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Descriptor, Dtype, Operand, Place};

use crate::engine::{EngineError, layer_of};

/// An error at an operator of the plan.
pub(crate) fn operator_error(plan: &Plan, operator: usize, what: impl ToString) -> EngineError {
    let name = plan.names.get(operator).cloned().unwrap_or_default();
    EngineError::Operator {
        operator,
        name,
        what: what.to_string(),
    }
}

/// Checks the whole plan.
pub(crate) fn check(plan: &Plan) -> Result<(), EngineError> {
    let mut next = 0;
    for (number, layer) in plan.layers.iter().enumerate() {
        if layer.operators.start != next || layer.operators.end < next {
            return Err(EngineError::Plan(format!(
                "layer {number} covers operators {:?}, expected from {next}",
                layer.operators
            )));
        }
        next = layer.operators.end;
    }
    if next as usize != plan.operators.len() {
        return Err(EngineError::Plan(format!(
            "layers cover {next} of {} operators",
            plan.operators.len()
        )));
    }
    let mut written: HashMap<Place, (Dtype, Vec<u32>)> = HashMap::new();
    for (number, io) in plan.inputs.iter().enumerate() {
        written.insert(Place::Input(number as u32), (io.dtype, io.dims.clone()));
    }
    for (number, weight) in plan.weights.iter().enumerate() {
        written.insert(Place::Weight(number as u32), (weight.dtype, weight.dims.clone()));
    }
    for (number, layer) in plan.layers.iter().enumerate() {
        for operator in layer.operators.clone() {
            let operator = operator as usize;
            let descriptor = &plan.operators[operator];
            check_operator(descriptor, number as u32, layer.inner_count, &mut written)
                .map_err(|what| operator_error(plan, operator, what))?;
        }
        let inner = written.keys().filter(|place| matches!(place, Place::Inner(_))).count();
        if inner != layer.inner_count as usize {
            return Err(EngineError::Plan(format!(
                "layer {number} writes {inner} of {} inner values",
                layer.inner_count
            )));
        }
        written.retain(|place, _| !matches!(place, Place::Inner(_)));
    }
    let traces = written.keys().filter(|place| matches!(place, Place::Trace(_))).count();
    if traces != plan.trace_count as usize {
        return Err(EngineError::Plan(format!(
            "{traces} of {} trace values are written",
            plan.trace_count
        )));
    }
    for (number, io) in plan.outputs.iter().enumerate() {
        if written.get(&Place::Output(number as u32)) != Some(&(io.dtype, io.dims.clone())) {
            return Err(EngineError::Plan(format!(
                "output {number} ({:?}) is not written as {:?} {:?}",
                io.name, io.dtype, io.dims
            )));
        }
    }
    Ok(())
}

fn check_operator(
    descriptor: &Descriptor,
    layer: u32,
    inner_count: u32,
    written: &mut HashMap<Place, (Dtype, Vec<u32>)>,
) -> Result<(), String> {
    descriptor.check().map_err(|error| error.to_string())?;
    if (descriptor.layer, descriptor.layer_inner_count) != (layer, inner_count) {
        return Err(format!(
            "says layer {} with {} inner values",
            descriptor.layer, descriptor.layer_inner_count
        ));
    }
    for operand in &descriptor.operands {
        match written.get(&operand.place) {
            None => return Err(format!("reads {:?}, which is not written before it", operand.place)),
            Some((dtype, dims)) if (*dtype, dims) != (operand.dtype, &operand.dims) => {
                return Err(format!(
                    "reads {:?} as {:?} {:?}, it is {dtype:?} {dims:?}",
                    operand.place, operand.dtype, operand.dims
                ));
            }
            Some(_) => {}
        }
    }
    let value = (descriptor.dtype, descriptor.dims.clone());
    if written.insert(descriptor.place, value).is_some() {
        return Err(format!("writes {:?} a second time", descriptor.place));
    }
    Ok(())
}

/// The boundary values that a layer reads and does not itself make, in a fixed order.
pub(crate) fn boundary_operands(plan: &Plan, layer: u32) -> Result<BTreeMap<Place, &Operand>, EngineError> {
    let range = layer_of(plan, layer)?.operators.clone();
    let operators = &plan.operators[range.start as usize..range.end as usize];
    let own: HashSet<Place> = operators.iter().map(|descriptor| descriptor.place).collect();
    Ok(operators
        .iter()
        .flat_map(|descriptor| &descriptor.operands)
        .filter(|operand| !matches!(operand.place, Place::Weight(_) | Place::Inner(_)) && !own.contains(&operand.place))
        .map(|operand| (operand.place, operand))
        .collect())
}
