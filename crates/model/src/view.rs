//! Affine views: how an ONNX value lies in the committed bytes of another.
//!
//! Transpose, Reshape, Slice, Expand and the like are views, so that they cost no operator: the reader's index map takes
//! them up. What is no affine view of committed bytes becomes an explicit copy ([`crate::build::Build::copy`]).

use touchstone_protocol::descriptor::Dtype;

use crate::{
    error::{Refusal, refuse},
    ir::{Limits, Map, ValueId, elements, row_major},
    limits,
};

/// A strided window on a value.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) value: ValueId,
    /// ONNX name of what is seen, for people.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) dims: Vec<u32>,
    pub(crate) base: i64,
    pub(crate) strides: Vec<i64>,
}

impl View {
    /// The whole of a value.
    pub(crate) fn whole(value: ValueId, name: &str, dtype: Dtype, dims: &[u32]) -> Self {
        Self {
            value,
            name: name.into(),
            dtype,
            dims: dims.into(),
            base: 0,
            strides: row_major(dims),
        }
    }

    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    pub(crate) fn elements(&self) -> u64 {
        elements(&self.dims)
    }

    /// Whether the elements lie one after the other in row-major order.
    pub(crate) fn is_row_major(&self) -> bool {
        let expected = row_major(&self.dims);
        self.elements() == 0 || (0..self.rank()).all(|i| self.dims[i] == 1 || self.strides[i] == expected[i])
    }

    pub(crate) fn permute(&self, permutation: &[usize]) -> Self {
        let mut view = self.clone();
        view.dims = permutation.iter().map(|axis| self.dims[*axis]).collect();
        view.strides = permutation.iter().map(|axis| self.strides[*axis]).collect();
        view
    }

    /// `count` elements along an axis from `start` by `step`; the caller has checked that they exist.
    pub(crate) fn slice(&self, axis: usize, start: u32, step: i64, count: u32) -> Result<Self, Refusal> {
        let stride = self.strides[axis];
        let base = i64::from(start)
            .checked_mul(stride)
            .and_then(|skipped| self.base.checked_add(skipped));
        // The step of one element or none is never taken, and may be any number.
        let step = if count <= 1 { 1 } else { step };
        let (Some(base), Some(stride)) = (base, stride.checked_mul(step)) else {
            refuse!(
                "a part from {start} by {step} of shape {:?} lies beyond 63 bits",
                self.dims
            );
        };
        let mut view = self.clone();
        view.base = base;
        view.dims[axis] = count;
        view.strides[axis] = stride;
        Ok(view)
    }

    pub(crate) fn without_axis(&self, axis: usize) -> Self {
        let mut view = self.clone();
        view.dims.remove(axis);
        view.strides.remove(axis);
        view
    }

    pub(crate) fn with_axis(&self, axis: usize) -> Self {
        let mut view = self.clone();
        view.dims.insert(axis, 1);
        view.strides.insert(axis, 0);
        view
    }

    /// Broadcast to a shape (numpy rules, one way).
    pub(crate) fn expand(&self, dims: &[u32]) -> Result<Self, Refusal> {
        if dims.len() < self.rank() {
            refuse!("shape {:?} does not broadcast to {dims:?}", self.dims);
        }
        let mut view = self.clone();
        while view.rank() < dims.len() {
            view = view.with_axis(0);
        }
        for (axis, dim) in dims.iter().enumerate() {
            if view.dims[axis] == *dim {
                continue;
            }
            if view.dims[axis] != 1 {
                refuse!("shape {:?} does not broadcast to {dims:?}", self.dims);
            }
            view.dims[axis] = *dim;
            view.strides[axis] = 0;
        }
        check_dims(self.dtype, &view.dims)?;
        Ok(view)
    }

    /// The same elements under another shape, if that is a view. The element counts are equal.
    pub(crate) fn reshape(&self, dims: &[u32]) -> Option<Self> {
        let strides = if self.elements() == 0 {
            Some(row_major(dims))
        } else {
            restride(&self.dims, &self.strides, dims)
        };
        strides.map(|strides| View {
            dims: dims.into(),
            strides,
            ..self.clone()
        })
    }

    /// The operand that reads the view with one axis of the reader for each of its own.
    pub(crate) fn map(&self) -> Map {
        Map {
            value: self.value,
            base: self.base,
            strides: self.strides.clone(),
            bounds: Vec::new(),
        }
    }
}

/// Strides of `new` dims over elements that lie by `strides` over `old` dims; `None` if no strides do.
///
/// Both are walked in groups of equal element counts. Within a group the old dims must be mergeable: each stride is the
/// next one's times its extent.
pub(crate) fn restride(old: &[u32], strides: &[i64], new: &[u32]) -> Option<Vec<i64>> {
    let old: Vec<(u64, i64)> = old
        .iter()
        .zip(strides)
        .filter(|(dim, _)| **dim != 1)
        .map(|(dim, stride)| (u64::from(*dim), *stride))
        .collect();
    let mut result = vec![0; new.len()];
    let (mut i, mut j) = (0, 0);
    while j < new.len() {
        if new[j] == 1 {
            j += 1;
            continue;
        }
        let (first_old, first_new) = (i, j);
        let mut old_count = old.get(i)?.0;
        let mut new_count = u64::from(new[j]);
        (i, j) = (i + 1, j + 1);
        while old_count != new_count {
            if old_count < new_count {
                let (dim, stride) = *old.get(i)?;
                if old[i - 1].1 != stride.checked_mul(dim as i64)? {
                    return None;
                }
                old_count *= dim;
                i += 1;
            } else {
                new_count *= u64::from(*new.get(j)?);
                j += 1;
            }
        }
        let mut stride = old[i - 1].1;
        for k in (first_new..j).rev() {
            result[k] = stride;
            stride = stride.checked_mul(i64::from(new[k]))?;
        }
        debug_assert!(first_old < i);
    }
    Some(result)
}

/// The coarsest axes that both factorings of one element count refine to, if there are any.
pub(crate) fn common_axes(a: &[u32], b: &[u32]) -> Option<Vec<u32>> {
    let mut result = Vec::new();
    let (mut a, mut b) = (
        a.iter().copied().filter(|d| *d != 1),
        b.iter().copied().filter(|d| *d != 1),
    );
    // From the last axis to the first one would do as well; both give nested factors or fail.
    let (mut left, mut right) = (a.next(), b.next());
    let mut pending: Vec<u32> = Vec::new();
    while let (Some(x), Some(y)) = (left, right) {
        let (small, large) = (x.min(y), x.max(y));
        if small == 0 || large % small != 0 {
            return None;
        }
        pending.push(small);
        let rest = large / small;
        let rest = if rest == 1 { None } else { Some(rest) };
        (left, right) = match (x > y, y > x) {
            (true, _) => (rest, b.next()),
            (_, true) => (a.next(), rest),
            _ => (a.next(), b.next()),
        };
    }
    result.append(&mut pending);
    if left.is_some() || right.is_some() {
        None
    } else {
        Some(result)
    }
}

impl Map {
    /// The same map over finer output axes; reduction axes stay.
    pub(crate) fn refine(&self, axes: &[u32], finer: &[u32]) -> Option<Map> {
        let split = |coefficients: &[i64]| -> Option<Vec<i64>> {
            let mut result = restride(axes, &coefficients[..axes.len()], finer)?;
            result.extend(&coefficients[axes.len()..]);
            Some(result)
        };
        let bounds = self.bounds.iter().map(|bound| {
            Some(Limits {
                coefficients: split(&bound.coefficients)?,
                ..bound.clone()
            })
        });
        Some(Map {
            strides: split(&self.strides)?,
            bounds: bounds.collect::<Option<_>>()?,
            ..self.clone()
        })
    }
}

/// The shape that shapes broadcast to (numpy rules).
pub(crate) fn broadcast(shapes: &[&[u32]]) -> Result<Vec<u32>, Refusal> {
    let rank = shapes.iter().map(|dims| dims.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for dims in shapes {
        for (at, dim) in (rank - dims.len()..).zip(*dims) {
            match (result[at], *dim) {
                (a, b) if a == b => {}
                (1, b) => result[at] = b,
                (_, 1) => {}
                _ => refuse!("shapes {shapes:?} do not broadcast"),
            }
        }
    }
    Ok(result)
}

/// Refuses shapes that no tensor may have.
pub(crate) fn check_dims(dtype: Dtype, dims: &[u32]) -> Result<(), Refusal> {
    if dims.len() > limits::RANK {
        refuse!("rank {} exceeds {}", dims.len(), limits::RANK);
    }
    crate::tensor::check_extent(dims).map_err(Refusal::new)?;
    touchstone_protocol::tensor::byte_length(dtype, dims)
        .map(|_| ())
        .map_err(|error| Refusal::new(format!("shape {dims:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_that_are_views() {
        assert_eq!(restride(&[2, 3, 4], &[12, 4, 1], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(restride(&[6, 4], &[4, 1], &[2, 3, 1, 4]), Some(vec![12, 4, 0, 1]));
        // A transposed matrix splits but does not merge.
        assert_eq!(restride(&[4, 6], &[1, 4], &[4, 2, 3]), Some(vec![1, 12, 4]));
        assert_eq!(restride(&[4, 6], &[1, 4], &[24]), None);
        assert_eq!(restride(&[4, 6], &[1, 4], &[2, 12]), None);
        // Broadcast axes merge with one another.
        assert_eq!(restride(&[2, 3], &[0, 0], &[6]), Some(vec![0]));
        assert_eq!(restride(&[1, 1], &[7, 9], &[]), Some(vec![]));
        assert_eq!(restride(&[], &[], &[1]), Some(vec![0]));
    }

    #[test]
    fn parts_beyond_63_bits_are_refused() {
        let view = |base: i64, stride: i64| View {
            base,
            strides: vec![stride],
            ..View::whole(0, "x", Dtype::U8, &[9])
        };
        let part = view(5, 3).slice(0, 2, -1, 2).unwrap();
        assert_eq!((part.base, part.dims, part.strides), (11, vec![2], vec![-3]));
        assert!(view(i64::MAX - 6, 3).slice(0, 2, 1, 1).is_ok());
        assert!(view(i64::MAX - 5, 3).slice(0, 2, 1, 1).is_err());
        assert!(view(0, i64::MAX).slice(0, 2, 1, 1).is_err());
        assert!(view(0, 3).slice(0, 0, i64::MIN, 2).is_err());
        // The step of a single element may be any number.
        assert!(view(0, 3).slice(0, 0, i64::MIN, 1).is_ok());
    }

    #[test]
    fn axes_refine_when_they_nest() {
        assert_eq!(common_axes(&[17, 64], &[17, 4, 16]), Some(vec![17, 4, 16]));
        assert_eq!(common_axes(&[1, 6, 4], &[2, 12]), Some(vec![2, 3, 4]));
        assert_eq!(common_axes(&[4, 6], &[6, 4]), None);
        assert_eq!(common_axes(&[], &[1]), Some(vec![]));
    }
}
