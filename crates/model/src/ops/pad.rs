//! Padding with a constant; negative padding crops.
//!
//! <https://onnx.ai/onnx/operators/onnx__Pad.html>

use touchstone_protocol::descriptor::{Code, MAX_BOUNDS};

use super::{Operator, Outcome};
use crate::{
    build::{Build, Draft},
    error::{Refusal, refuse},
    ir::{self, Limits},
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "Pad",
    since: 11,
    inputs: 2..=4,
    outputs: 1,
    attributes: &["mode"],
    lower: pad,
}];

fn pad(build: &mut Build, call: &Call) -> Outcome {
    let mode = call.string_or("mode", "constant")?;
    if mode != "constant" {
        refuse!("mode `{mode}` is not supported");
    }
    let x = call.input(0)?;
    let pads = build.known(call.input(1)?, "the padding")?;
    let axes = match call.optional(3) {
        Some(axes) => build.known(axes, "the axes")?,
        None => (0..x.rank() as i64).collect(),
    };
    ir::axes(&axes, x.rank())?;
    if pads.len() != 2 * axes.len() {
        refuse!("{} pads for {} axes", pads.len(), axes.len());
    }
    let fill = match call.optional(2) {
        Some(value) if value.dtype == x.dtype && value.elements() == 1 => match build.parameter_bytes(value)? {
            Some(bytes) => bytes,
            None => refuse!("the value to pad with is not constant"),
        },
        Some(_) => refuse!("the value to pad with is not one element of the operand's dtype"),
        None => vec![0; x.dtype.size()],
    };
    let mut view = x.clone();
    let mut grow = vec![(0u32, 0u32); x.rank()];
    for (i, axis) in axes.iter().enumerate() {
        let axis = ir::axis(*axis, x.rank())?;
        let (begin, end) = (pads[i], pads[i + axes.len()]);
        let crop = |pad: i64| pad.min(0).unsigned_abs();
        let extent = u64::from(view.dims[axis]);
        let left = crop(begin)
            .checked_add(crop(end))
            .and_then(|cropped| extent.checked_sub(cropped));
        let Some(left) = left.filter(|left| *left > 0 || extent == 0) else {
            refuse!("cropping {begin} and {end} of {extent} elements");
        };
        view = view.slice(axis, crop(begin) as u32, 1, left as u32)?;
        let wide = |pad: i64| {
            let pad = i32::try_from(pad.max(0)).map_err(|_| Refusal::new(format!("a padding of {pad}")))?;
            Ok::<u32, Refusal>(pad as u32)
        };
        grow[axis] = (wide(begin)?, wide(end)?);
    }
    if grow.iter().all(|pads| *pads == (0, 0)) {
        return Ok(vec![view]);
    }
    let padded: Vec<usize> = (0..x.rank()).filter(|axis| grow[*axis] != (0, 0)).collect();
    if padded.len() > MAX_BOUNDS {
        refuse!("{} padded axes, at most {MAX_BOUNDS} are supported", padded.len());
    }
    let mut map = view.map();
    let mut dims = view.dims.clone();
    for axis in padded {
        let (begin, end) = grow[axis];
        let skipped = i64::from(begin).checked_mul(view.strides[axis]);
        map.base = skipped
            .and_then(|skipped| map.base.checked_sub(skipped))
            .ok_or_else(|| Refusal::new(format!("a padding of {begin} before an axis of shape {:?}", view.dims)))?;
        let mut coefficients = vec![0; view.rank()];
        coefficients[axis] = 1;
        map.bounds.push(Limits {
            extent: view.dims[axis],
            constant: -i64::from(begin),
            coefficients,
        });
        dims[axis] = u32::try_from(u64::from(dims[axis]) + u64::from(begin) + u64::from(end))
            .map_err(|_| Refusal::new("the padded dimension exceeds 2^32"))?;
    }
    let mut wide = [0u8; 8];
    wide[..fill.len()].copy_from_slice(&fill);
    let fill = u64::from_le_bytes(wide);
    let mut draft = Draft::new(Code::Copy, x.dtype, dims, vec![map]);
    draft.params = vec![(fill >> 32) as u32, fill as u32];
    Ok(vec![build.emit(draft)?])
}
