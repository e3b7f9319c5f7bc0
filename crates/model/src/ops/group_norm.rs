//! Normalization of each channel, or each group of channels.
//!
//! <https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html>, <https://onnx.ai/onnx/operators/onnx__GroupNormalization.html>. Both are a
//! LayerNorm of rows that are a channel, or a group. A channel has one scale and one bias, which the row takes; channels of a group have
//! their own from operator set 21 on, so that they follow as a product and a sum.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Operator, Outcome, batch_norm::epsilon};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir,
    lower::Call,
    view::View,
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "InstanceNormalization",
        since: 6,
        inputs: 3..=3,
        outputs: 1,
        attributes: &["epsilon"],
        lower: instance_norm,
    },
    Operator {
        name: "GroupNormalization",
        since: 18,
        inputs: 3..=3,
        outputs: 1,
        attributes: &["epsilon", "num_groups", "stash_type"],
        lower: group_norm,
    },
];

/// 1e-5
const EPSILON: u32 = 0x3727_c5ac;
/// Bits of 1.
const ONE: u32 = 0x3f80_0000;

/// Operand, scale and bias of f32; the operand has channels.
fn operands<'a>(call: &'a Call) -> Result<[&'a View; 3], Refusal> {
    let views = [call.input(0)?, call.input(1)?, call.input(2)?];
    if let Some(view) = views.iter().find(|view| view.dtype != Dtype::F32) {
        refuse!("operand of dtype {:?}, f32 is supported", view.dtype);
    }
    if views[0].rank() < 3 {
        refuse!("operand of rank {}", views[0].rank());
    }
    Ok(views)
}

/// A scale or bias, one number each of `count` channels or groups.
fn one_each(view: &View, count: u32) -> Result<&View, Refusal> {
    if view.dims != [count] {
        refuse!("scale or bias of shape {:?} for {count}", view.dims);
    }
    Ok(view)
}

/// `x` [N, C, …] normalized in rows of each of `groups` parts of its channels; scale and bias are one number each of them.
fn rows(build: &mut Build, x: &View, groups: u32, scale: &View, bias: &View, epsilon: u32) -> Result<View, Refusal> {
    let length = ir::elements(&x.dims[1..]) / u64::from(groups);
    let length = u32::try_from(length).map_err(|_| Refusal::new("rows of 2^32 elements or more"))?;
    let rows = build.reshape(x, &[x.dims[0], groups, length])?;
    let mut map = rows.map();
    map.strides.push(map.strides[2]);
    map.strides[2] = 0;
    let mut operands = vec![map];
    for view in [scale, bias] {
        let mut map = view.map();
        map.strides = vec![0, view.strides[0], 0, 0];
        operands.push(map);
    }
    let mut draft = Draft::new(Code::LayerNorm, Dtype::F32, x.dims.clone(), operands);
    draft.axes = rows.dims;
    draft.reduction = vec![length];
    draft.params = vec![epsilon];
    draft.row = Some(2);
    build.emit(draft)
}

fn instance_norm(build: &mut Build, call: &Call) -> Outcome {
    let [x, scale, bias] = operands(call)?;
    let channels = x.dims[1];
    let (scale, bias) = (one_each(scale, channels)?, one_each(bias, channels)?);
    Ok(vec![rows(build, x, channels, scale, bias, epsilon(call, EPSILON)?)?])
}

fn group_norm(build: &mut Build, call: &Call) -> Outcome {
    let [x, scale, bias] = operands(call)?;
    if call.int_or("stash_type", 1)? != 1 {
        refuse!("stash_type is not float32");
    }
    let channels = x.dims[1];
    let groups = match call.int("num_groups")? {
        Some(groups) => u32::try_from(groups).unwrap_or(0),
        None => refuse!("attribute `num_groups` is missing"),
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        refuse!("{channels} channels do not make {groups} groups");
    }
    let epsilon = epsilon(call, EPSILON)?;
    if call.opset() < 21 {
        let (scale, bias) = (one_each(scale, groups)?, one_each(bias, groups)?);
        return Ok(vec![rows(build, x, groups, scale, bias, epsilon)?]);
    }
    let along = [&[channels][..], &vec![1; x.rank() - 2]].concat();
    let scale = build.reshape(one_each(scale, channels)?, &along)?;
    let bias = build.reshape(one_each(bias, channels)?, &along)?;
    let (one, zero) = (build.scalar(ONE).expand(&[groups])?, build.scalar(0).expand(&[groups])?);
    let unit = rows(build, x, groups, &one, &zero, epsilon)?;
    let scaled = build.elementwise(Code::Mul, Dtype::F32, &[&unit, &scale])?;
    Ok(vec![build.elementwise(Code::Add, Dtype::F32, &[&scaled, &bias])?])
}
