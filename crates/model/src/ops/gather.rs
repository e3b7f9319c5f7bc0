//! Selection along an axis by indices.
//!
//! <https://onnx.ai/onnx/operators/onnx__Gather.html>. Constant indices in equal steps are a view.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::refuse,
    ir, limits,
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Gather",
    since: 1,
    inputs: 2..=2,
    outputs: 1,
    attributes: &["axis"],
    lower: gather,
}];

fn gather(build: &mut Build, call: &Call) -> Outcome {
    let (data, index) = (call.input(0)?, call.input(1)?);
    if !matches!(index.dtype, Dtype::I64 | Dtype::I32) {
        refuse!("indices of dtype {:?}", index.dtype);
    }
    let axis = ir::axis(call.int_or("axis", 0)?, data.rank())?;
    let extent = data.dims[axis];
    let dims = [&data.dims[..axis], &index.dims[..], &data.dims[axis + 1..]].concat();
    crate::view::check_dims(data.dtype, &dims)?;
    if index.elements() <= limits::PARAMETER_ELEMENTS && build.is_constant(index) {
        let mut positions = build.known(index, "the index")?;
        for position in &mut positions {
            let from_start = if *position < 0 {
                position.saturating_add(i64::from(extent))
            } else {
                *position
            };
            if !(0..i64::from(extent)).contains(&from_start) {
                refuse!("index {position} is out of range for {extent} elements");
            }
            *position = from_start;
        }
        let step = positions.get(1).map_or(1, |second| second - positions[0]);
        let even = positions.windows(2).all(|pair| pair[1] - pair[0] == step);
        if even && !positions.is_empty() {
            let part = data.slice(axis, positions[0] as u32, step, positions.len() as u32)?;
            return Ok(vec![build.reshape(&part, &dims)?]);
        }
    }
    if extent == 0 {
        refuse!("data of shape {:?} has nothing to select", data.dims);
    }
    // The stride is a parameter: it must be a number from 0 to 2^32 - 1.
    let data = if u32::try_from(data.strides[axis]).is_ok() {
        data.clone()
    } else {
        build.copy(data)?
    };
    let stride = u32::try_from(data.strides[axis]).unwrap_or(0);
    let mut read = data.map();
    read.strides.splice(axis..=axis, vec![0; index.rank()]);
    let mut select = index.map();
    select.strides = [&vec![0; axis][..], &index.strides, &vec![0; data.rank() - axis - 1]].concat();
    let mut draft = Draft::new(Code::Gather, data.dtype, dims, vec![read, select]);
    draft.params = vec![extent, stride];
    Ok(vec![build.emit(draft)?])
}
