//! Sum, Mean, MaxPool and ArgMax over windows.

use tch::{Kind, TchError, Tensor};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};

use super::{
    model::{Kernel, Numerics, PrepareError, kind, sizes},
    view::{View, all_axes},
};

/// A reduction over the terms of each output element.
pub(super) fn reduce(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    let (numerics, device) = (*numerics, numerics.device);
    let view = View::new(d, 0, &all_axes(d), device)?;
    let mut shape = sizes(&d.output_axes);
    let terms: i64 = sizes(&d.reduction_axes).iter().product();
    shape.push(terms);
    let (code, dtype) = (d.code, d.dtype);
    let fill = if code == Code::MaxPool { f64::NEG_INFINITY } else { 0.0 };
    if terms == 0 && matches!(code, Code::MaxPool | Code::ArgMax) {
        return Err(PrepareError::Unsupported("a maximum of no terms"));
    }
    let divisor = if code == Code::Mean {
        Some(divisor(d, &view, &shape, device)?)
    } else {
        None
    };
    Ok(Box::new(move |operands| {
        let windows = view.read_or(operands[0], fill)?.f_reshape(&shape)?;
        match code {
            Code::MaxPool => windows.f_amax(-1, false),
            // The first of equal ones; a NaN counts as greater than all numbers, which the rule admits.
            Code::ArgMax => index(&windows.f_argmax(-1, false)?, dtype),
            _ => {
                let sum = numerics.sum(&windows)?;
                divisor
                    .as_ref()
                    .map_or_else(|| Ok(sum.shallow_clone()), |divisor| sum.f_div(divisor))
            }
        }
    }))
}

fn index(positions: &Tensor, dtype: Dtype) -> Result<Tensor, TchError> {
    positions.f_to_kind(kind(dtype))
}

/// What a mean divides by: all terms, or those in bounds.
fn divisor(d: &Descriptor, view: &View, shape: &[i64], device: tch::Device) -> Result<Tensor, TchError> {
    let all = Tensor::f_ones(shape, (Kind::Float, device))?;
    let counted = match view.outside() {
        Some(outside) if d.params[0] == 0 => all.f_masked_fill(&outside.f_reshape(shape)?, 0.0)?,
        _ => all,
    };
    // Ones add up exactly: there are fewer than 2^24.
    counted.f_sum_dim_intlist(&[-1i64][..], false, Kind::Float)
}
