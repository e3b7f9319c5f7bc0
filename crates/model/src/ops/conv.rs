//! Convolution over one or two spatial axes, as a contraction.
//!
//! <https://onnx.ai/onnx/operators/onnx__Conv.html>

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{
    Operator, Outcome,
    window::{MAX_SPATIAL, Window},
};
use crate::{
    build::{Build, Draft},
    error::refuse,
    ir::Map,
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Conv",
    since: 1,
    inputs: 2..=3,
    outputs: 1,
    attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
    lower: conv,
}];

fn conv(build: &mut Build, call: &Call) -> Outcome {
    let views = call.all()?;
    if let Some(view) = views.iter().find(|view| view.dtype != Dtype::F32) {
        refuse!("operand of dtype {:?}, f32 is supported", view.dtype);
    }
    let (x, w) = (call.input(0)?, call.input(1)?);
    let spatial = x.rank().saturating_sub(2);
    if !(1..=MAX_SPATIAL).contains(&spatial) || w.rank() != x.rank() {
        refuse!(
            "operands of ranks {} and {}; one or two spatial axes are supported",
            x.rank(),
            w.rank()
        );
    }
    let group = match u32::try_from(call.int_or("group", 1)?) {
        Ok(group) if group > 0 => group,
        _ => refuse!("attribute `group` is not positive"),
    };
    let (channels, maps) = (x.dims[1], w.dims[0]);
    if channels % group != 0 || maps % group != 0 || channels / group != w.dims[1] {
        refuse!(
            "{channels} channels in {group} groups do not fit a kernel of shape {:?}",
            w.dims
        );
    }
    let kernel = w.dims[2..].to_vec();
    let declared = call.ints("kernel_shape")?;
    if declared.is_some_and(|declared| !declared.iter().copied().eq(kernel.iter().map(|k| i64::from(*k)))) {
        refuse!("kernel_shape {declared:?} against a kernel of shape {:?}", w.dims);
    }
    if kernel.contains(&0) {
        refuse!("a kernel of shape {:?}", w.dims);
    }
    let window = Window::read(call, &x.dims[2..], kernel)?;
    // Axes: batch, group, map within the group, spatial …; then channel within the group, kernel ….
    let (first_output, channel) = (3, 3 + spatial);
    let axes = 3 + spatial + 1 + spatial;
    let (in_group, maps_in_group) = (channels / group, maps / group);
    // What saturates here is refused with the map, unless the axis has one element and the stride is never taken.
    let mut read_x = window.map(x, axes, first_output, channel + 1);
    read_x.strides[0] = x.strides[0];
    read_x.strides[1] = x.strides[1].saturating_mul(i64::from(in_group));
    read_x.strides[channel] = x.strides[1];
    let mut read_w = Map {
        value: w.value,
        base: w.base,
        strides: vec![0; axes],
        bounds: Vec::new(),
    };
    read_w.strides[1] = w.strides[0].saturating_mul(i64::from(maps_in_group));
    read_w.strides[2] = w.strides[0];
    read_w.strides[channel..].copy_from_slice(&w.strides[1..]);
    let mut operands = vec![read_x, read_w];
    if let Some(bias) = call.optional(2) {
        if bias.dims != [maps] {
            refuse!("bias of shape {:?} for {maps} maps", bias.dims);
        }
        let mut read = Map {
            value: bias.value,
            base: bias.base,
            strides: vec![0; axes],
            bounds: Vec::new(),
        };
        read.strides[1] = bias.strides[0].saturating_mul(i64::from(maps_in_group));
        read.strides[2] = bias.strides[0];
        operands.push(read);
    }
    let dims = [&[x.dims[0], maps], &window.output[..]].concat();
    let mut draft = Draft::new(Code::Contract, Dtype::F32, dims, operands);
    draft.axes = [&[x.dims[0], group, maps_in_group], &window.output[..]].concat();
    draft.reduction = [&[in_group], &window.kernel[..]].concat();
    Ok(vec![build.emit(draft)?])
}
