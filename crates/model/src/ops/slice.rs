//! Parts of a tensor: views.
//!
//! <https://onnx.ai/onnx/operators/onnx__Slice.html>, `Split`

use super::{Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    ir,
    lower::Call,
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Slice",
        since: 10,
        inputs: 3..=5,
        outputs: 1,
        attributes: &[],
        lower: slice,
    },
    Operator {
        name: "Split",
        since: 2,
        inputs: 1..=2,
        outputs: crate::limits::NODE_VALUES,
        attributes: &["axis", "num_outputs", "split"],
        lower: split,
    },
];

fn slice(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let starts = build.known(call.input(1)?, "the starts")?;
    let ends = build.known(call.input(2)?, "the ends")?;
    let axes = match call.optional(3) {
        Some(axes) => build.known(axes, "the axes")?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match call.optional(4) {
        Some(steps) => build.known(steps, "the steps")?,
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        refuse!(
            "{} starts, {} ends, {} axes, {} steps",
            starts.len(),
            ends.len(),
            axes.len(),
            steps.len()
        );
    }
    ir::axes(&axes, x.rank())?;
    let mut view = x.clone();
    for (i, axis) in axes.iter().enumerate() {
        let axis = ir::axis(*axis, x.rank())?;
        let extent = i64::from(x.dims[axis]);
        let step = steps[i];
        if step == 0 {
            refuse!("step 0");
        }
        let from_end = |position: i64| {
            if position < 0 {
                position.saturating_add(extent)
            } else {
                position
            }
        };
        // Backwards, the first element may be the last one and the end may be before the first one.
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let start = from_end(starts[i]).clamp(low.max(0), high.max(0));
        let end = from_end(ends[i]).clamp(low, high);
        let distance = if step > 0 { end - start } else { start - end };
        let size = i64::try_from(step.unsigned_abs()).unwrap_or(i64::MAX);
        let count = if distance <= 0 { 0 } else { (distance - 1) / size + 1 };
        view = view.slice(axis, start as u32, step, count as u32)?;
    }
    Ok(vec![view])
}

fn split(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let axis = ir::axis(call.int_or("axis", 0)?, x.rank())?;
    let extent = i64::from(x.dims[axis]);
    let outputs = call.outputs() as i64;
    let given = match call.optional(1) {
        Some(sizes) => Some(build.known(sizes, "the sizes")?),
        None => call.ints("split")?.map(<[i64]>::to_vec),
    };
    let sizes = match given {
        Some(sizes) => sizes,
        None => {
            let parts = call.int("num_outputs")?.unwrap_or(outputs);
            if parts != outputs || parts == 0 {
                refuse!("{parts} parts for {outputs} outputs");
            }
            // From operator set 18 on the last part may be smaller.
            let size = (extent + parts - 1) / parts;
            if call.opset() < 18 && extent % parts != 0 {
                refuse!("{extent} elements do not split into {parts} equal parts");
            }
            (0..parts).map(|part| (extent - part * size).clamp(0, size)).collect()
        }
    };
    let total = sizes.iter().try_fold(
        0i64,
        |total, size| if *size < 0 { None } else { total.checked_add(*size) },
    );
    if sizes.len() as i64 != outputs || total != Some(extent) {
        refuse!("sizes {sizes:?} for {outputs} outputs of {extent} elements");
    }
    let mut start = 0;
    let parts = sizes.into_iter().map(|size| {
        let part = x.slice(axis, start as u32, 1, size as u32);
        // No further than the extent, which the sizes add up to.
        start += size;
        part
    });
    parts.collect::<Result<_, Refusal>>()
}
