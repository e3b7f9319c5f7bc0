//! Selection along an axis by indices.
//!
//! <https://onnx.ai/onnx/operators/onnx__Gather.html>, <https://onnx.ai/onnx/operators/onnx__GatherND.html>. Constant indices in equal
//! steps are a view.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir, limits,
    lower::Call,
    view::View,
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Gather",
        since: 1,
        inputs: 2..=2,
        outputs: 1,
        attributes: &["axis"],
        lower: gather,
    },
    Operator {
        name: "GatherND",
        since: 11,
        inputs: 2..=2,
        outputs: 1,
        attributes: &["batch_dims"],
        lower: gather_nd,
    },
];

fn gather(build: &mut Build, call: &Call) -> Outcome {
    let (data, index) = (call.input(0)?, call.input(1)?);
    if !matches!(index.dtype, Dtype::I64 | Dtype::I32) {
        refuse!("indices of dtype {:?}", index.dtype);
    }
    let axis = ir::axis(call.int_or("axis", 0)?, data.rank())?;
    Ok(vec![select(build, data, index, axis)?])
}

/// The last axis of the indices names an element of the first axes of the data: one number that counts them row by row.
fn gather_nd(build: &mut Build, call: &Call) -> Outcome {
    let (data, index) = (call.input(0)?, call.input(1)?);
    if index.dtype != Dtype::I64 {
        refuse!("indices of dtype {:?}", index.dtype);
    }
    if call.int_or("batch_dims", 0)? != 0 {
        refuse!("batch_dims is not supported");
    }
    let last = index
        .rank()
        .checked_sub(1)
        .ok_or_else(|| Refusal::new("the indices are a scalar"))?;
    let named = index.dims[last] as usize;
    if named == 0 || named > data.rank() {
        refuse!("indices of {named} axes for data of shape {:?}", data.dims);
    }
    let mut position = build.integers(&[0]);
    position = build.reshape(&position, &[])?;
    let zero = position.clone();
    for axis in 0..named {
        let extent = i64::from(data.dims[axis]);
        let part = index.slice(last, axis as u32, 1, 1)?.without_axis(last);
        check_range(build, &part, extent)?;
        let extent = build.integers(&[extent]);
        let extent = build.reshape(&extent, &[])?;
        let negative = build.elementwise(Code::Less, Dtype::Bool, &[&part, &zero])?;
        let from_end = build.elementwise(Code::Add, Dtype::I64, &[&part, &extent])?;
        let part = build.elementwise(Code::Where, Dtype::I64, &[&negative, &from_end, &part])?;
        position = build.elementwise(Code::Mul, Dtype::I64, &[&position, &extent])?;
        position = build.elementwise(Code::Add, Dtype::I64, &[&position, &part])?;
    }
    let count = ir::elements(&data.dims[..named]);
    let count = u32::try_from(count).map_err(|_| Refusal::new("the data has 2^32 elements to select or more"))?;
    let data = build.reshape(data, &[&[count], &data.dims[named..]].concat())?;
    Ok(vec![select(build, &data, &position, 0)?])
}

/// Refuses a constant index that is out of range, of as many as may serve as a parameter.
fn check_range(build: &Build, index: &View, extent: i64) -> Result<(), Refusal> {
    if index.elements() <= limits::PARAMETER_ELEMENTS && build.is_constant(index) {
        let positions = build.known(index, "the index")?;
        if let Some(position) = positions.iter().find(|at| !(-extent..extent).contains(*at)) {
            refuse!("index {position} is out of range for {extent} elements");
        }
    }
    Ok(())
}

/// The elements of `data` at `index` along an axis.
fn select(build: &mut Build, data: &View, index: &View, axis: usize) -> Result<View, Refusal> {
    let extent = data.dims[axis];
    let dims = [&data.dims[..axis], &index.dims[..], &data.dims[axis + 1..]].concat();
    crate::view::check_dims(data.dtype, &dims)?;
    check_range(build, index, extent.into())?;
    if index.elements() <= limits::PARAMETER_ELEMENTS && build.is_constant(index) {
        let mut positions = build.known(index, "the index")?;
        for position in &mut positions {
            if *position < 0 {
                *position += i64::from(extent);
            }
        }
        let step = positions.get(1).map_or(1, |second| second - positions[0]);
        let even = positions.windows(2).all(|pair| pair[1] - pair[0] == step);
        if even && !positions.is_empty() {
            let part = data.slice(axis, positions[0] as u32, step, positions.len() as u32)?;
            return build.reshape(&part, &dims);
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
    build.emit(draft)
}
