//! Other shapes of the same elements: views.
//!
//! <https://onnx.ai/onnx/operators/onnx__Reshape.html>, `Flatten`, `Squeeze`, `Unsqueeze`, `Identity`, `Dropout`

use touchstone_protocol::descriptor::Dtype;

use super::{Operator, Outcome};
use crate::{
    build::Build,
    error::{Refusal, refuse},
    ir,
    lower::Call,
    tensor::dims_of,
};

pub(super) const OPERATORS: &[Operator] = &[
    Operator {
        name: "Reshape",
        since: 5,
        inputs: 2..=2,
        outputs: 1,
        attributes: &["allowzero"],
        lower: reshape,
    },
    Operator {
        name: "Flatten",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &["axis"],
        lower: flatten,
    },
    Operator {
        name: "Squeeze",
        since: 1,
        inputs: 1..=2,
        outputs: 1,
        attributes: &["axes"],
        lower: squeeze,
    },
    Operator {
        name: "Unsqueeze",
        since: 1,
        inputs: 1..=2,
        outputs: 1,
        attributes: &["axes"],
        lower: unsqueeze,
    },
    Operator {
        name: "Identity",
        since: 1,
        inputs: 1..=1,
        outputs: 1,
        attributes: &[],
        lower: identity,
    },
    Operator {
        name: "Dropout",
        since: 1,
        inputs: 1..=3,
        outputs: 2,
        attributes: &["ratio", "seed"],
        lower: dropout,
    },
];

fn reshape(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let mut shape = build.known(call.input(1)?, "the shape")?;
    if !call.flag("allowzero", false)? {
        for (axis, dim) in shape.iter_mut().enumerate().filter(|(_, dim)| **dim == 0) {
            let Some(kept) = x.dims.get(axis) else {
                refuse!("a 0 in the shape beyond the rank of {:?}", x.dims)
            };
            *dim = i64::from(*kept);
        }
    }
    if let Some(open) = shape.iter().position(|dim| *dim == -1) {
        let others: Vec<i64> = shape
            .iter()
            .copied()
            .enumerate()
            .filter(|(i, _)| *i != open)
            .map(|(_, d)| d)
            .collect();
        // A second -1 is refused here.
        let known = ir::elements(&dims_of(&others).map_err(Refusal::new)?);
        if known == 0 || x.elements() % known != 0 {
            refuse!("shape {:?} cannot be reshaped to {shape:?}", x.dims);
        }
        shape[open] = (x.elements() / known) as i64;
    }
    let dims = dims_of(&shape).map_err(Refusal::new)?;
    Ok(vec![build.reshape(x, &dims)?])
}

fn flatten(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let axis = call.int_or("axis", 1)?;
    // The rank itself is an axis here: all elements in the first dimension.
    let axis = if axis == x.rank() as i64 {
        x.rank()
    } else {
        ir::axis(axis, x.rank())?
    };
    let dims = [&x.dims[..axis], &x.dims[axis..]].map(|part| ir::elements(part) as u32);
    Ok(vec![build.reshape(x, &dims)?])
}

/// Axes from the attribute (up to operator set 12) or the operand.
fn axes(build: &Build, call: &Call) -> Result<Option<Vec<i64>>, Refusal> {
    let from_operand = call.opset() >= 13;
    if (from_operand && call.has("axes")) || (!from_operand && call.arity() > 1) {
        refuse!("the axes are given in the way of another operator set");
    }
    match call.optional(1) {
        Some(axes) => Ok(Some(build.known(axes, "the axes")?)),
        None => Ok(call.ints("axes")?.map(<[i64]>::to_vec)),
    }
}

fn squeeze(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let axes = match axes(build, call)? {
        Some(list) => ir::axes(&list, x.rank())?,
        None => (0..x.rank()).filter(|axis| x.dims[*axis] == 1).collect(),
    };
    let mut view = x.clone();
    for axis in axes.into_iter().rev() {
        if view.dims[axis] != 1 {
            refuse!("axis {axis} of {:?} is not 1", x.dims);
        }
        view = view.without_axis(axis);
    }
    Ok(vec![view])
}

fn unsqueeze(build: &mut Build, call: &Call) -> Outcome {
    let x = call.input(0)?;
    let Some(list) = axes(build, call)? else {
        refuse!("the axes are missing")
    };
    let rank = x.rank() + list.len();
    if rank > crate::limits::RANK {
        refuse!("rank {rank} exceeds {}", crate::limits::RANK);
    }
    let mut view = x.clone();
    for axis in ir::axes(&list, rank)? {
        view = view.with_axis(axis);
    }
    Ok(vec![view])
}

fn identity(_: &mut Build, call: &Call) -> Outcome {
    Ok(vec![call.input(0)?.clone()])
}

/// Dropout outside training changes nothing.
fn dropout(build: &mut Build, call: &Call) -> Outcome {
    if let Some(training) = call.optional(2) {
        let known = build.parameter_bytes(training)?;
        if training.dtype != Dtype::Bool || known.is_none_or(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            refuse!("training mode is not supported");
        }
    }
    Ok(vec![call.input(0)?.clone()])
}
