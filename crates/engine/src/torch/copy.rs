//! Copy and Gather: bits as they are.

use tch::{Kind, Tensor};
use touchstone_protocol::{descriptor::Descriptor, tensor::element_count};

use super::{
    model::{Kernel, PrepareError, kind},
    view::{View, is_strided},
};
use crate::map::{Map, MapError, indices};

/// A Copy: a strided copy where one operand gives everything, else one selection from all operands and the fill in a row.
pub(super) fn copy(d: &Descriptor, device: tch::Device) -> Result<Kernel, PrepareError> {
    let axes: Vec<usize> = (0..d.output_axes.len()).collect();
    if is_strided(d, 0)
        && let View::Strided { size, stride, base } = View::new(d, 0, &axes, device)?
    {
        return Ok(Box::new(move |operands| {
            operands[0].f_as_strided_copy(&size, &stride, base)
        }));
    }
    let maps = (0..d.operands.len())
        .map(|operand| Map::new(d, operand))
        .collect::<Result<Vec<_>, _>>()?;
    let counts: Vec<i64> = d
        .operands
        .iter()
        .map(|operand| element_count(&operand.dims).unwrap_or(0) as i64)
        .collect();
    let fill_at: i64 = counts.iter().sum();
    let mut index = Vec::new();
    for o in indices(&d.output_axes) {
        let (mut start, mut at) = (0, fill_at);
        for (map, count) in maps.iter().zip(&counts) {
            if let Some(offset) = map.row(&o).offset(0)? {
                at = start + offset as i64;
                break;
            }
            start += count;
        }
        index.push(at);
    }
    let index = Tensor::f_from_slice(&index)?.f_to_device(device)?;
    let bits = u64::from(d.params[0]) << 32 | u64::from(d.params[1]);
    let fill =
        Tensor::f_from_data_size(&bits.to_le_bytes()[..d.dtype.size()], &[1], kind(d.dtype))?.f_to_device(device)?;
    Ok(Box::new(move |operands| {
        let row: Vec<&Tensor> = operands.iter().copied().chain([&fill]).collect();
        Tensor::f_cat(&row, 0)?.f_index_select(0, &index)
    }))
}

/// A Gather with clamped indices.
pub(super) fn gather(d: &Descriptor, device: tch::Device) -> Result<Kernel, PrepareError> {
    let (extent, stride) = (i64::from(d.params[0]), i64::from(d.params[1]));
    let map = Map::new(d, 0)?;
    let starts: Vec<i64> = indices(&d.output_axes).map(|o| map.row(&o).start()).collect();
    let elements = element_count(&d.operands[0].dims).unwrap_or(0) as i64;
    let reach = (extent - 1) * stride;
    if let Some(start) = starts.iter().find(|start| **start < 0 || **start + reach >= elements) {
        let offset = if *start < 0 { *start } else { start + reach };
        return Err(MapError::Outside {
            operand: 0,
            offset,
            elements,
        }
        .into());
    }
    let starts = Tensor::f_from_slice(&starts)?.f_to_device(device)?;
    let axes: Vec<usize> = (0..d.output_axes.len()).collect();
    let index = View::new(d, 1, &axes, device)?;
    Ok(Box::new(move |operands| {
        let k = index.read(operands[1])?.f_to_kind(Kind::Int64)?.f_reshape([-1])?;
        let k = k
            .f_add_scalar(extent)?
            .f_where_self(&k.f_lt(0)?, &k)?
            .f_clamp(0, extent - 1)?;
        operands[0].f_index_select(0, &k.f_mul_scalar(stride)?.f_add(&starts)?)
    }))
}
