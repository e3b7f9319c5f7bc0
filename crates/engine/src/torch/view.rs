//! Operands as libtorch sees them: a strided view of the flat value where the index map allows it, else a gather.

use tch::{TchError, Tensor};
use touchstone_protocol::{descriptor::Descriptor, tensor::element_count};

use super::model::PrepareError;
use crate::map::{Map, MapError, indices};

/// How one operand is read over some axes of the iteration space.
pub(super) enum View {
    /// `size` elements at `base + stride · index`.
    Strided {
        size: Vec<i64>,
        stride: Vec<i64>,
        base: i64,
    },
    /// The elements at `index`; where `outside` is true, an arbitrary element stands for a term out of bounds.
    Gathered {
        size: Vec<i64>,
        index: Tensor,
        outside: Option<Tensor>,
    },
}

/// The axes of the whole iteration space: output axes, then reduction axes.
pub(super) fn all_axes(d: &Descriptor) -> Vec<usize> {
    (0..d.output_axes.len() + d.reduction_axes.len()).collect()
}

/// The extent of an axis of the iteration space.
pub(super) fn extent(d: &Descriptor, axis: usize) -> u32 {
    let outputs = d.output_axes.len();
    if axis < outputs {
        d.output_axes[axis]
    } else {
        d.reduction_axes[axis - outputs]
    }
}

/// Stride of an operand on an axis; 0 where the axis has one index.
pub(super) fn stride(d: &Descriptor, operand: usize, axis: usize) -> i64 {
    if extent(d, axis) <= 1 {
        0
    } else {
        d.operands[operand].strides[axis]
    }
}

/// Whether the operand can be a strided view: no bounds, no negative stride.
pub(super) fn is_strided(d: &Descriptor, operand: usize) -> bool {
    d.operands[operand].bounds.is_empty() && all_axes(d).iter().all(|axis| stride(d, operand, *axis) >= 0)
}

impl View {
    /// Operand `operand` over `axes`, in that order. It must not depend on other axes.
    pub(super) fn new(
        d: &Descriptor,
        operand: usize,
        axes: &[usize],
        device: tch::Device,
    ) -> Result<Self, PrepareError> {
        let others = all_axes(d).into_iter().filter(|axis| !axes.contains(axis));
        for axis in others {
            let bound = d.operands[operand]
                .bounds
                .iter()
                .flat_map(|bound| &bound.terms)
                .any(|(a, c)| usize::from(*a) == axis && *c != 0);
            if stride(d, operand, axis) != 0 || (bound && extent(d, axis) > 1) {
                return Err(PrepareError::Unsupported(
                    "an operand depends on an axis that its operator does not take it over",
                ));
            }
        }
        if is_strided(d, operand) {
            Self::strided(d, operand, axes)
        } else {
            Self::gathered(d, operand, axes, device)
        }
    }

    /// The same with every axis that the operand does not depend on of size 1, for libtorch to broadcast.
    pub(super) fn broadcast(d: &Descriptor, operand: usize, device: tch::Device) -> Result<Self, PrepareError> {
        let axes: Vec<usize> = (0..d.output_axes.len()).collect();
        let mut view = Self::new(d, operand, &axes, device)?;
        if let View::Strided { size, stride, .. } = &mut view {
            size.iter_mut()
                .zip(stride)
                .filter(|(_, stride)| **stride == 0)
                .for_each(|(size, _)| *size = 1);
        }
        Ok(view)
    }

    fn strided(d: &Descriptor, operand: usize, axes: &[usize]) -> Result<Self, PrepareError> {
        let base = d.operands[operand].base;
        let elements = element_count(&d.operands[operand].dims).unwrap_or(0);
        let size: Vec<i64> = axes.iter().map(|axis| i64::from(extent(d, *axis))).collect();
        let stride: Vec<i64> = axes.iter().map(|axis| stride(d, operand, *axis)).collect();
        let last = size
            .iter()
            .zip(&stride)
            .map(|(n, s)| i128::from(*s) * i128::from(*n - 1))
            .sum::<i128>()
            + i128::from(base);
        if !size.contains(&0) && (base < 0 || last >= i128::from(elements)) {
            let offset = if base < 0 {
                base
            } else {
                i64::try_from(last).unwrap_or(i64::MAX)
            };
            return Err(MapError::Outside {
                operand,
                offset,
                elements: elements as i64,
            }
            .into());
        }
        Ok(View::Strided { size, stride, base })
    }

    fn gathered(d: &Descriptor, operand: usize, axes: &[usize], device: tch::Device) -> Result<Self, PrepareError> {
        let map = Map::new(d, operand)?;
        let outputs = d.output_axes.len();
        let extents: Vec<u32> = axes.iter().map(|axis| extent(d, *axis)).collect();
        let mut offsets = Vec::new();
        let mut outside = Vec::new();
        for chosen in indices(&extents) {
            let mut index = vec![0i64; outputs + d.reduction_axes.len()];
            axes.iter().zip(&chosen).for_each(|(axis, at)| index[*axis] = *at);
            let term = index[outputs..]
                .iter()
                .zip(&d.reduction_axes)
                .fold(0, |term, (at, extent)| term * i64::from(*extent) + at);
            let offset = map.row(&index[..outputs]).offset(term as usize)?;
            offsets.push(offset.unwrap_or(0) as i64);
            outside.push(offset.is_none());
        }
        let size: Vec<i64> = extents.iter().map(|extent| i64::from(*extent)).collect();
        let outside = if outside.contains(&true) {
            Some(Tensor::f_from_slice(&outside)?.f_reshape(&size)?.f_to_device(device)?)
        } else {
            None
        };
        Ok(View::Gathered {
            index: Tensor::f_from_slice(&offsets)?.f_to_device(device)?,
            size,
            outside,
        })
    }

    /// The same elements in the same order with each run of `groups` axes as one, where strides allow it.
    pub(super) fn merged(&self, groups: &[usize]) -> Option<Self> {
        let View::Strided { size, stride, base } = self else {
            return None;
        };
        // From the innermost axis on: the next one out joins where it steps over what there is.
        let mut axes = size.iter().zip(stride).rev();
        let (mut merged_size, mut merged_stride, mut packed) = (Vec::new(), Vec::new(), 1);
        for group in groups.iter().rev() {
            // An axis of one index has the stride that it would have if its elements were packed, which is what BLAS expects of a row's length.
            let (mut count, mut step) = (1, packed);
            for (size, stride) in axes.by_ref().take(*group).filter(|(size, _)| **size != 1) {
                if count == 1 {
                    step = *stride;
                } else if *stride != step * count {
                    return None;
                }
                count *= size;
            }
            packed = step.max(1) * count;
            merged_size.insert(0, count);
            merged_stride.insert(0, step);
        }
        Some(View::Strided {
            size: merged_size,
            stride: merged_stride,
            base: *base,
        })
    }

    /// Which terms are out of bounds, if any.
    pub(super) fn outside(&self) -> Option<&Tensor> {
        if let View::Gathered { outside, .. } = self {
            outside.as_ref()
        } else {
            None
        }
    }

    /// The operand read; terms out of bounds are arbitrary elements of it.
    pub(super) fn read(&self, flat: &Tensor) -> Result<Tensor, TchError> {
        match self {
            View::Strided { size, stride, base } => flat.f_as_strided(size, stride, *base),
            View::Gathered { size, index, .. } => flat.f_index_select(0, index)?.f_reshape(size),
        }
    }

    /// The operand read, `fill` standing for terms out of bounds.
    pub(super) fn read_or(&self, flat: &Tensor, fill: f64) -> Result<Tensor, TchError> {
        let read = self.read(flat)?;
        match self.outside() {
            Some(outside) => read.f_masked_fill(outside, fill),
            None => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(axes: &[(i64, i64)], base: i64) -> View {
        let (size, stride) = axes.iter().copied().unzip();
        View::Strided { size, stride, base }
    }

    fn merged(axes: &[(i64, i64)], groups: &[usize]) -> Option<Vec<(i64, i64)>> {
        match view(axes, 7).merged(groups) {
            Some(View::Strided { size, stride, base }) => {
                assert_eq!(base, 7);
                Some(size.into_iter().zip(stride).collect())
            }
            Some(View::Gathered { .. }) => panic!("a gather"),
            None => None,
        }
    }

    #[test]
    fn axes_become_one_only_where_each_steps_over_the_next() {
        for (axes, groups, expect) in [
            // A packed 2 × 3 × 4 as 6 × 4, 2 × 12, 24.
            (&[(2, 12), (3, 4), (4, 1)][..], &[2, 1][..], Some(&[(6, 4), (4, 1)][..])),
            (&[(2, 12), (3, 4), (4, 1)], &[1, 2], Some(&[(2, 12), (12, 1)])),
            (&[(2, 12), (3, 4), (4, 1)], &[3], Some(&[(24, 1)])),
            // A part of each row, and rows out of order: only what is in order merges.
            (&[(2, 20), (3, 4), (4, 1)], &[1, 2], Some(&[(2, 20), (12, 1)])),
            (&[(2, 20), (3, 4), (4, 1)], &[2, 1], None),
            (&[(3, 4), (2, 12), (4, 1)], &[2, 1], None),
            // Axes that are not read over: all of them, or one of them.
            (&[(2, 0), (3, 0), (4, 1)], &[2, 1], Some(&[(6, 0), (4, 1)])),
            (&[(2, 0), (3, 4)], &[2], None),
            (&[(2, 4), (3, 0)], &[2], None),
            // Axes of one index stand in no one's way.
            (&[(2, 4), (1, 0), (4, 1)], &[3], Some(&[(8, 1)])),
            (&[(1, 0), (4, 1), (1, 0)], &[1, 1, 1], Some(&[(1, 4), (4, 1), (1, 1)])),
            (&[(1, 0), (4, 2)], &[1, 1], Some(&[(1, 8), (4, 2)])),
            (&[(4, 1)], &[0, 1, 0], Some(&[(1, 4), (4, 1), (1, 1)])),
        ] {
            assert_eq!(merged(axes, groups).as_deref(), expect, "{axes:?} by {groups:?}");
        }
    }

    #[test]
    fn merged_axes_are_read_as_the_axes_themselves() {
        let flat = Tensor::arange(64, (tch::Kind::Float, tch::Device::Cpu));
        for (axes, groups, size) in [
            (&[(2, 20), (3, 4), (4, 1)][..], &[1, 2][..], &[2, 12][..]),
            (&[(1, 0), (5, 2), (4, 10)], &[2, 1], &[5, 4]),
            (&[(3, 0), (2, 0), (5, 3)], &[2, 1], &[6, 5]),
        ] {
            let view = view(axes, 7);
            let read = view.read(&flat).unwrap().reshape(size);
            let merged = view.merged(groups).unwrap().read(&flat).unwrap();
            assert_eq!(merged.size(), size);
            assert!(merged.equal(&read), "{axes:?} by {groups:?}");
        }
    }
}
