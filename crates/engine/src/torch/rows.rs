//! Softmax and LayerNorm over rows, BatchNorm element by element.

use tch::Tensor;
use touchstone_protocol::descriptor::Descriptor;

use super::{
    model::{Kernel, Numerics, PrepareError},
    view::{View, extent, stride},
};

/// Operand 0 as rows: the output axes but the row's, then the row. Gives the row axis too.
pub(super) fn rows(d: &Descriptor, axis: u32, device: tch::Device) -> Result<(View, i64), PrepareError> {
    let row = d.output_axes.len();
    let axes: Vec<usize> = (0..row).filter(|a| *a != axis as usize).chain([row]).collect();
    Ok((View::new(d, 0, &axes, device)?, axis.into()))
}

/// Softmax, by libtorch's kernel.
pub(super) fn softmax(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    let (view, axis) = rows(d, d.params[0], numerics.device)?;
    let kind = numerics.kind;
    Ok(Box::new(move |operands| {
        view.read(operands[0])?.f_softmax(-1, kind)?.f_movedim_int(-1, axis)
    }))
}

/// LayerNorm, by libtorch's kernel with scale and bias where they depend on the place in the row alone.
pub(super) fn layer_norm(d: &Descriptor, device: tch::Device) -> Result<Kernel, PrepareError> {
    let (view, axis) = rows(d, d.params[1], device)?;
    let epsilon = f64::from(f32::from_bits(d.params[0]));
    let row = axis as usize;
    let length = i64::from(extent(d, row));
    let by_place = |operand: usize| (0..d.output_axes.len()).all(|a| a == row || stride(d, operand, a) == 0);
    if by_place(1) && by_place(2) {
        let (scale, bias) = (View::new(d, 1, &[row], device)?, View::new(d, 2, &[row], device)?);
        return Ok(Box::new(move |operands| {
            let (scale, bias) = (scale.read(operands[1])?, bias.read(operands[2])?);
            let y = view
                .read(operands[0])?
                .f_layer_norm([length], Some(&scale), Some(&bias), epsilon, false)?;
            y.f_movedim_int(-1, axis)
        }));
    }
    let (scale, bias) = (View::broadcast(d, 1, device)?, View::broadcast(d, 2, device)?);
    Ok(Box::new(move |operands| {
        let y = view
            .read(operands[0])?
            .f_layer_norm([length], None::<&Tensor>, None::<&Tensor>, epsilon, false)?;
        y.f_movedim_int(-1, axis)?
            .f_mul(&scale.read(operands[1])?)?
            .f_add(&bias.read(operands[2])?)
    }))
}

/// BatchNorm as x·α + (β − μ·α) with α = scale/√(σ² + ε): the form that the envelope is derived for.
pub(super) fn batch_norm(d: &Descriptor, device: tch::Device) -> Result<Kernel, PrepareError> {
    let views = (0..5)
        .map(|operand| View::broadcast(d, operand, device))
        .collect::<Result<Vec<_>, _>>()?;
    let epsilon = f64::from(f32::from_bits(d.params[0]));
    Ok(Box::new(move |operands| {
        let read = |k: usize| views[k].read(operands[k]);
        let alpha = read(1)?.f_div(&read(4)?.f_add_scalar(epsilon)?.f_sqrt()?)?;
        let shift = read(2)?.f_sub(&read(3)?.f_mul(&alpha)?)?;
        read(0)?.f_mul(&alpha)?.f_add(&shift)
    }))
}
