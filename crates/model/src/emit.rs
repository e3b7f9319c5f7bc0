//! From the cut program to descriptors: canonical axes, places, weights in order of first use.

use std::{collections::BTreeMap, sync::Arc};

use touchstone_protocol::descriptor::{Code, Descriptor, Dtype, Operand, Place};

use crate::{
    cost,
    error::{CompileError, TooCostly},
    ir::{Limits, Op, Program, Source, ValueId},
    layers::Layers,
    names,
    plan::{Io, Layer, Plan, Weight},
};

/// Makes the plan and checks it against the caps.
pub(crate) fn emit(program: Program, layers: &Layers, profile: u64) -> Result<Plan, CompileError> {
    let io = |value: &ValueId, name: &str| Io {
        name: name.into(),
        dtype: program.values[*value].dtype,
        dims: program.values[*value].dims.clone(),
    };
    let inputs = program
        .inputs
        .iter()
        .map(|value| io(value, &program.values[*value].name))
        .collect();
    let outputs = program
        .outputs
        .iter()
        .zip(&program.output_names)
        .map(|(value, name)| io(value, name))
        .collect();
    let mut places = Places::new(&program, layers);
    let mut plan = Plan {
        profile,
        inputs,
        outputs,
        weights: Vec::new(),
        operators: Vec::with_capacity(program.ops.len()),
        names: Vec::with_capacity(program.ops.len()),
        values: names::resolve(&program),
        layers: places.layers.clone(),
        trace_count: places.trace_count,
    };
    for (number, range) in layers.ranges.iter().enumerate() {
        for op in &program.ops[range.clone()] {
            let op = canonical(op);
            let value = &program.values[op.output];
            let mut params = op.params.clone();
            params.extend(op.row.map(|row| row as u32));
            let operands = op.operands.iter().map(|map| {
                let place = places.of(&program, map.value, &mut plan.weights);
                let value = &program.values[map.value];
                Operand {
                    place,
                    dtype: value.dtype,
                    dims: value.dims.clone(),
                    base: map.base,
                    strides: map.strides.clone(),
                    bounds: map.bounds.iter().map(Limits::encode).collect(),
                }
            });
            let operands = operands.collect();
            plan.operators.push(Descriptor {
                code: op.code,
                layer: number as u32,
                layer_inner_count: places.layers[number].inner_count,
                place: places.of(&program, op.output, &mut plan.weights),
                dtype: value.dtype,
                dims: value.dims.clone(),
                output_axes: op.axes,
                reduction_axes: op.reduction,
                params,
                operands,
            });
            plan.names.push(value.name.clone());
        }
    }
    check_caps(&plan)?;
    Ok(plan)
}

fn check_caps(plan: &Plan) -> Result<(), CompileError> {
    let mut refused = Vec::new();
    for (operator, descriptor) in plan.operators.iter().enumerate() {
        let reason = cost::too_long(descriptor, plan.profile).or_else(|| match descriptor.encode() {
            Ok(bytes) => cost::exceeded(descriptor, cost::cost(plan, descriptor, bytes.len())),
            Err(error) => Some(error.to_string()),
        });
        refused.extend(reason.map(|reason| TooCostly {
            operator,
            name: plan.names[operator].clone(),
            reason,
        }));
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(CompileError::TooCostly(refused))
    }
}

/// What tells weights apart.
type WeightKey = (Dtype, Vec<u32>, Arc<[u8]>);

/// Places of all values.
struct Places {
    places: Vec<Option<Place>>,
    weights: BTreeMap<WeightKey, u32>,
    layers: Vec<Layer>,
    trace_count: u32,
}

impl Places {
    fn new(program: &Program, layers: &Layers) -> Self {
        let mut places = vec![None; program.values.len()];
        for (number, value) in program.inputs.iter().enumerate() {
            places[*value] = Some(Place::Input(number as u32));
        }
        for (number, value) in program.outputs.iter().enumerate() {
            places[*value] = Some(Place::Output(number as u32));
        }
        let mut trace_count = 0;
        let mut table = Vec::new();
        for range in &layers.ranges {
            let mut inner_count = 0;
            for op in &program.ops[range.clone()] {
                if places[op.output].is_none() {
                    let (make, count): (fn(u32) -> Place, _) = if layers.boundary[op.output] {
                        (Place::Trace, &mut trace_count)
                    } else {
                        (Place::Inner, &mut inner_count)
                    };
                    places[op.output] = Some(make(*count));
                    *count += 1;
                }
            }
            table.push(Layer {
                operators: range.start as u32..range.end as u32,
                inner_count,
            });
        }
        Self {
            places,
            weights: BTreeMap::new(),
            layers: table,
            trace_count,
        }
    }

    /// The place of a value; a constant becomes a weight when it is first asked for.
    fn of(&mut self, program: &Program, value: ValueId, weights: &mut Vec<Weight>) -> Place {
        let constant = &program.values[value];
        if let (None, Source::Constant(bytes)) = (self.places[value], &constant.source) {
            let key = (constant.dtype, constant.dims.clone(), bytes.clone());
            let next = weights.len() as u32;
            let number = *self.weights.entry(key).or_insert(next);
            if number == next {
                let (dtype, dims) = (constant.dtype, constant.dims.clone());
                weights.push(Weight {
                    name: constant.name.clone(),
                    dtype,
                    dims,
                    bytes: bytes.clone(),
                });
            }
            self.places[value] = Some(Place::Weight(number));
        }
        // Every other value is an input or the output of an operator, and those have a place.
        self.places[value].unwrap_or(Place::Inner(u32::MAX))
    }
}

/// The operator over its canonical axes: axes of extent 1 dropped, neighbours that every operand walks as one merged.
///
/// The row axis stays by itself, and so does the one reduction axis of operators that need it.
fn canonical(op: &Op) -> Op {
    let mut op = op.clone();
    let one_axis = matches!(op.code, Code::Softmax | Code::LayerNorm | Code::ArgMax);
    let mut axis = 0;
    while axis < op.axes.len() + op.reduction.len() {
        let reduction = axis >= op.axes.len();
        let keep = if reduction { one_axis } else { op.row == Some(axis) };
        let extent = if reduction {
            op.reduction[axis - op.axes.len()]
        } else {
            op.axes[axis]
        };
        if extent == 1 && !keep {
            remove(&mut op, axis);
        } else if axis > 0 && axis != op.axes.len() && !keep && op.row != Some(axis - 1) && walks_as_one(&op, axis) {
            merge(&mut op, axis);
        } else {
            axis += 1;
        }
    }
    op
}

fn remove(op: &mut Op, axis: usize) {
    if axis < op.axes.len() {
        op.axes.remove(axis);
        op.row = op.row.map(|row| if row > axis { row - 1 } else { row });
    } else {
        op.reduction.remove(axis - op.axes.len());
    }
    for map in &mut op.operands {
        map.strides.remove(axis);
        map.bounds.iter_mut().for_each(|bound| {
            bound.coefficients.remove(axis);
        });
    }
}

/// Whether every operand walks `axis` and the one before it as one, which has a number.
fn walks_as_one(op: &Op, axis: usize) -> bool {
    let extents: Vec<u32> = op.extents().collect();
    let extent = extents[axis];
    if extent.checked_mul(extents[axis - 1]).is_none() {
        return false;
    }
    let one = |list: &[i64]| list[axis].checked_mul(i64::from(extent)) == Some(list[axis - 1]);
    op.operands
        .iter()
        .all(|map| one(&map.strides) && map.bounds.iter().all(|bound| one(&bound.coefficients)))
}

/// Merges `axis` into the one before it, whose strides become those of `axis`.
fn merge(op: &mut Op, axis: usize) {
    let outputs = op.axes.len();
    if axis < outputs {
        op.axes[axis] *= op.axes[axis - 1];
    } else {
        op.reduction[axis - outputs] *= op.reduction[axis - outputs - 1];
    }
    remove(op, axis - 1);
}
