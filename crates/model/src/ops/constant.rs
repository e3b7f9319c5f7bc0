//! Operators that give constants.
//!
//! <https://onnx.ai/onnx/operators/onnx__Constant.html>, `ConstantOfShape`, `Range`, `Shape`, `Size`

use touchstone_protocol::descriptor::Dtype;

use super::{Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    limits,
    lower::Call,
    tensor::{Tensor, dims_of},
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Constant",
        since: 1,
        inputs: 0..=0,
        outputs: 1,
        attributes: &["value", "value_float", "value_floats", "value_int", "value_ints"],
        lower: constant,
    },
    Operator {
        name: "ConstantOfShape",
        since: 9,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["value"],
        lower: of_shape,
    },
    Operator {
        name: "Range",
        since: 11,
        inputs: 3..=3,
        outputs: 1,
        attributes: &[],
        lower: range,
    },
    Operator {
        name: "Shape",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["start", "end"],
        lower: shape,
    },
    Operator {
        name: "Size",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &[],
        lower: size,
    },
];

fn constant(build: &mut Build, call: &Call) -> Outcome {
    let names = ["value", "value_float", "value_floats", "value_int", "value_ints"];
    if names.iter().filter(|name| call.has(name)).count() != 1 {
        refuse!("exactly one value is expected");
    }
    let view = if let Some(proto) = call.tensor("value")? {
        let tensor = Tensor::from_proto(proto.clone()).map_err(|error| Refusal::new(error.to_string()))?;
        build.constant(tensor.dtype, &tensor.dims, tensor.bytes)
    } else if let Some(values) = call.floats("value_floats")? {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        build.constant(Dtype::F32, &[values.len() as u32], bytes)
    } else if let Some(values) = call.ints("value_ints")? {
        build.integers(values)
    } else if let Some(value) = call.int("value_int")? {
        build.constant(Dtype::I64, &[], value.to_le_bytes())
    } else {
        let bits = call.float_or("value_float", 0)?;
        build.scalar(bits)
    };
    Ok(vec![view])
}

fn of_shape(build: &mut Build, call: &Call) -> Outcome {
    let dims = dims_of(&build.known(call.input(0)?, "the shape")?).map_err(Refusal::new)?;
    let element = match call.tensor("value")? {
        Some(proto) => {
            let tensor = Tensor::from_proto(proto.clone()).map_err(|error| Refusal::new(error.to_string()))?;
            if tensor.dims.iter().any(|dim| *dim != 1) {
                refuse!("value of shape {:?}, one element is expected", tensor.dims);
            }
            build.constant(tensor.dtype, &[], tensor.bytes)
        }
        None => build.scalar(0),
    };
    // A view: no bytes until somebody needs them.
    Ok(vec![element.expand(&dims)?])
}

fn range(build: &mut Build, call: &Call) -> Outcome {
    let views = call.all()?;
    let dtype = call.input(0)?.dtype;
    if views.iter().any(|view| view.dtype != dtype || view.elements() != 1) {
        refuse!("three scalars of one dtype are expected");
    }
    if !matches!(dtype, Dtype::I32 | Dtype::I64) {
        refuse!("dtype {dtype:?} is not supported here");
    }
    let mut values = [0i128; 3];
    for (value, view) in values.iter_mut().zip(&views) {
        *value = build.known(view, "the limit")?.first().copied().unwrap_or(0).into();
    }
    let [start, limit, step] = values;
    if step == 0 {
        refuse!("the step is 0");
    }
    // ceil((limit - start) / step), at least 0; the floor of the negated quotient, negated.
    let (distance, step_size) = if step > 0 {
        (limit - start, step)
    } else {
        (start - limit, -step)
    };
    let count = (-(-distance).div_euclid(step_size)).max(0);
    let count = u32::try_from(count).map_err(|_| Refusal::new(format!("a range of {count} elements")))?;
    if u64::from(count) > limits::RANGE_ELEMENTS {
        refuse!("a range of {count} elements, more than {}", limits::RANGE_ELEMENTS);
    }
    build.spend(u64::from(count) * dtype.size() as u64)?;
    let numbers = (0..i128::from(count)).map(|k| (start + k * step) as i64);
    let bytes: Vec<u8> = numbers
        .flat_map(|number| number.to_le_bytes().into_iter().take(dtype.size()))
        .collect();
    Ok(vec![build.constant(dtype, &[count], bytes)])
}

/// A position in a shape as `Shape` takes it: from the end when negative, clamped.
fn clamp(position: i64, rank: usize) -> usize {
    let rank = rank as i64;
    let position = if position < 0 {
        position.saturating_add(rank)
    } else {
        position
    };
    position.clamp(0, rank) as usize
}

fn shape(build: &mut Build, call: &Call) -> Outcome {
    let dims = call.input(0)?.dims.clone();
    if call.opset() < 15 && (call.has("start") || call.has("end")) {
        refuse!("start and end come with operator set 15");
    }
    let start = clamp(call.int_or("start", 0)?, dims.len());
    let end = clamp(call.int_or("end", dims.len() as i64)?, dims.len());
    let part: Vec<i64> = dims[start..end.max(start)].iter().map(|dim| i64::from(*dim)).collect();
    Ok(vec![build.integers(&part)])
}

fn size(build: &mut Build, call: &Call) -> Outcome {
    let count = call.input(0)?.elements() as i64;
    Ok(vec![build.constant(Dtype::I64, &[], count.to_le_bytes())])
}
