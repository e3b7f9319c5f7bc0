//! Contract: a batched matrix product where the operands' strides make one, else products and a sum.
//!
//! The envelope holds for any order of summation with `terms + addends` roundings, so addends may start the accumulator or be added
//! after it. Under `blocked(b)` products are made block by block and added up, the addends last.

use tch::{TchError, Tensor};
use touchstone_protocol::descriptor::Descriptor;

use super::{
    model::{Kernel, Numerics, PrepareError, sizes},
    view::{View, all_axes, extent, is_strided, stride},
};

/// A contraction.
pub(super) fn contract(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    if is_strided(d, 0) && is_strided(d, 1) {
        product(d, numerics)
    } else {
        general(d, numerics)
    }
}

/// Addends over the output axes, as tensors to broadcast; out of bounds they are 0.
fn addends(d: &Descriptor, from: usize, device: tch::Device) -> Result<Vec<View>, PrepareError> {
    (from..d.operands.len())
        .map(|operand| View::broadcast(d, operand, device))
        .collect()
}

fn add_all(mut sum: Tensor, views: &[View], operands: &[&Tensor]) -> Result<Tensor, TchError> {
    for (view, flat) in views.iter().zip(operands) {
        sum = sum.f_add(&view.read_or(flat, 0.0)?)?;
    }
    Ok(sum)
}

fn count(d: &Descriptor, axes: &[usize]) -> i64 {
    axes.iter().map(|axis| i64::from(extent(d, *axis))).product()
}

/// An operand as a matrix or a batch of them: one view where its strides allow it, since small models spend more time on making views than on
/// multiplying, else a copy.
struct Matrices {
    view: View,
    /// What the view is copied into.
    copied: Option<Vec<i64>>,
}

impl Matrices {
    /// Operand `operand` with each group of axes as one axis.
    fn new(d: &Descriptor, operand: usize, groups: &[&[usize]], device: tch::Device) -> Result<Self, PrepareError> {
        let view = View::new(d, operand, &groups.concat(), device)?;
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        Ok(match view.merged(&lengths) {
            Some(view) => Self { view, copied: None },
            None => Self {
                view,
                copied: Some(groups.iter().map(|group| count(d, group)).collect()),
            },
        })
    }

    fn read(&self, flat: &Tensor) -> Result<Tensor, TchError> {
        let read = self.view.read(flat)?;
        match &self.copied {
            Some(size) => read.f_reshape(size),
            None => Ok(read),
        }
    }
}

fn product(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    let device = numerics.device;
    let outputs = d.output_axes.len();
    let terms: Vec<usize> = (outputs..outputs + d.reduction_axes.len()).collect();
    let (mut batch, mut rows, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..outputs {
        match (stride(d, 0, axis) != 0, stride(d, 1, axis) != 0) {
            (true, true) => batch.push(axis),
            (_, false) => rows.push(axis),
            (false, true) => columns.push(axis),
        }
    }
    let k = count(d, &terms);
    let block = numerics.block.filter(|block| k > *block);
    let single = batch.is_empty() && block.is_none();
    let matrices = |operand, over: [&[usize]; 3]| Matrices::new(d, operand, &over[usize::from(single)..], device);
    let a = matrices(0, [&batch, &rows, &terms])?;
    let b = matrices(1, [&batch, &columns, &terms])?;
    // One addend can start the accumulator of a single product.
    let start = if single && d.operands.len() > 2 && is_strided(d, 2) {
        Some(matrices(2, [&batch, &rows, &columns])?)
    } else {
        None
    };
    let first = if start.is_some() { 3 } else { 2 };
    let rest = addends(d, first, device)?;
    // The product has its axes in this order; the output wants them counted up.
    let order = [batch.as_slice(), &rows, &columns].concat();
    let made: Vec<i64> = order.iter().map(|axis| i64::from(extent(d, *axis))).collect();
    let back: Vec<i64> = (0..outputs)
        .filter_map(|axis| order.iter().position(|o| *o == axis))
        .map(|at| at as i64)
        .collect();
    let in_order = order.is_sorted();
    Ok(Box::new(move |operands| {
        let a = a.read(operands[0])?;
        let b = b.read(operands[1])?.f_transpose(-2, -1)?;
        let product = match (&start, block) {
            (_, Some(block)) => blocks(&a, &b, k, block)?,
            (Some(start), None) => start.read(operands[2])?.f_addmm(&a, &b)?,
            (None, None) if single => a.f_mm(&b)?,
            (None, None) => a.f_bmm(&b)?,
        };
        if in_order && rest.is_empty() {
            return Ok(product);
        }
        add_all(product.f_reshape(&made)?.f_permute(&back)?, &rest, &operands[first..])
    }))
}

/// Products of `a`, batch × m × k, and `b`, batch × k × n, over `block` of the k terms each, added up one after the other.
fn blocks(a: &Tensor, b: &Tensor, k: i64, block: i64) -> Result<Tensor, TchError> {
    let part = |start: i64| {
        let length = block.min(k - start);
        a.f_narrow(2, start, length)?.f_bmm(&b.f_narrow(1, start, length)?)
    };
    let mut sum = part(0)?;
    for start in (block..k).step_by(block as usize) {
        sum = sum.f_add(&part(start)?)?;
    }
    Ok(sum)
}

fn general(d: &Descriptor, numerics: &Numerics) -> Result<Kernel, PrepareError> {
    let (numerics, device) = (*numerics, numerics.device);
    let a = View::new(d, 0, &all_axes(d), device)?;
    let b = View::new(d, 1, &all_axes(d), device)?;
    // A term counts where both are in bounds; 0 in the place of both keeps the other's infinity out.
    let outside = match (a.outside(), b.outside()) {
        (Some(a), Some(b)) => Some(a.f_logical_or(b)?),
        (Some(one), None) | (None, Some(one)) => Some(one.f_detach_copy()?),
        (None, None) => None,
    };
    let rest = addends(d, 2, device)?;
    let axes = sizes(&d.output_axes);
    Ok(Box::new(move |operands| {
        let (mut a, mut b) = (a.read(operands[0])?, b.read(operands[1])?);
        if let Some(outside) = &outside {
            a = a.f_masked_fill(outside, 0.0)?;
            b = b.f_masked_fill(outside, 0.0)?;
        }
        let mut shape = axes.clone();
        shape.push(-1);
        let sum = numerics.sum(&a.f_mul(&b)?.f_reshape(&shape)?)?;
        add_all(sum, &rest, &operands[2..])
    }))
}
