//! Index maps: which element of an operand an output element and a term read (PROTOCOL.md section 3, *Index map*).
//!
//! Terms are walked in *runs* along the last reduction axis. Along a run offsets and bounded coordinates are affine, so the terms that
//! are in bounds are an interval, found by division rather than term by term. All arithmetic is in `i128`: nothing that a descriptor can
//! say overflows it.

use std::ops::Range;

use crate::descriptor::{MAX_BOUNDS, MAX_OUTPUT_AXES, MAX_REDUCTION_AXES, Operand};

/// An in-bounds offset lies outside the operand: the descriptor has no meaning at this element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// Row-major index of `element` over `axes`. `element` is below their product.
pub(crate) fn unravel(axes: &[u32], element: u64) -> [u32; MAX_OUTPUT_AXES] {
    let mut index = [0; MAX_OUTPUT_AXES];
    let mut rest = element;
    for (slot, axis) in index.iter_mut().zip(axes).take(axes.len()).rev() {
        let axis = u64::from(*axis).max(1);
        *slot = (rest % axis) as u32;
        rest /= axis;
    }
    index
}

/// An operand's map with the output index put in: what is left depends on the term alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'a> {
    operand: &'a Operand,
    elements: i128,
    outputs: usize,
    offset: i128,
    coordinates: [i128; MAX_BOUNDS],
}

/// The terms of one run that are in bounds, `[lo, hi)`, and where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First term in bounds.
    pub(crate) lo: u64,
    /// One past the last.
    pub(crate) hi: u64,
    /// Element offset of term `lo`; inside the operand when `lo < hi`.
    pub(crate) first: u64,
    /// Elements from term to term.
    pub(crate) stride: i64,
}

impl Run {
    const EMPTY: Run = Run {
        lo: 0,
        hi: 0,
        first: 0,
        stride: 0,
    };

    /// Element offset of term `term`, which is in `[lo, hi)`.
    #[inline]
    pub(crate) fn offset(&self, term: u64) -> u64 {
        self.first
            .wrapping_add((self.stride as u64).wrapping_mul(term - self.lo))
    }

    /// The terms of `places` that are in bounds, `[first, end)`; none unless `first < end`.
    #[inline]
    pub(crate) fn within(&self, places: &Range<u64>) -> (u64, u64) {
        (self.lo.max(places.start), self.hi.min(places.end))
    }
}

impl<'a> Map<'a> {
    pub(crate) fn new(operand: &'a Operand, outputs: usize, elements: u64, index: &[u32; MAX_OUTPUT_AXES]) -> Self {
        let mut offset = i128::from(operand.base);
        for (stride, at) in operand.strides[..outputs].iter().zip(index) {
            offset += i128::from(*stride) * i128::from(*at);
        }
        let mut coordinates = [0; MAX_BOUNDS];
        for (coordinate, bound) in coordinates.iter_mut().zip(&operand.bounds) {
            *coordinate = i128::from(bound.constant);
            for (axis, coefficient) in &bound.terms {
                if let Some(at) = index.get(usize::from(*axis)).filter(|_| usize::from(*axis) < outputs) {
                    *coordinate += i128::from(*coefficient) * i128::from(*at);
                }
            }
        }
        Self {
            operand,
            elements: i128::from(elements),
            outputs,
            offset,
            coordinates,
        }
    }

    /// Offset of an operand that is read once an element; `None` when it is out of bounds.
    pub(crate) fn offset(&self) -> Result<Option<u64>, Undecodable> {
        let inside = |(coordinate, bound): (&i128, &crate::descriptor::Bound)| {
            0 <= *coordinate && *coordinate < i128::from(bound.extent)
        };
        if !self.coordinates.iter().zip(&self.operand.bounds).all(inside) {
            return Ok(None);
        }
        self.place(self.offset).map(Some)
    }

    /// Offset of an operand without bounds plus `more` elements.
    pub(crate) fn offset_plus(&self, more: i128) -> Result<u64, Undecodable> {
        self.place(self.offset + more)
    }

    /// The run of `length` terms along the last reduction axis at these indices of the other reduction axes.
    pub(crate) fn run(&self, outer: &[u32], length: u32) -> Result<Run, Undecodable> {
        let last = self.outputs + outer.len();
        // Without reduction axes there is one term, and no stride to it.
        let stride = self.operand.strides.get(last).copied().unwrap_or(0);
        let mut start = self.offset;
        for (stride, at) in self.operand.strides[self.outputs..].iter().zip(outer) {
            start += i128::from(*stride) * i128::from(*at);
        }
        let (mut lo, mut hi) = (0, i128::from(length));
        for (coordinate, bound) in self.coordinates.iter().zip(&self.operand.bounds) {
            let mut first = *coordinate;
            let mut step = 0;
            for (axis, coefficient) in &bound.terms {
                let axis = usize::from(*axis);
                if axis == last {
                    step += i128::from(*coefficient);
                } else if let Some(at) = axis.checked_sub(self.outputs).and_then(|axis| outer.get(axis)) {
                    first += i128::from(*coefficient) * i128::from(*at);
                }
            }
            let (from, to) = interval(first, step, i128::from(bound.extent), hi);
            lo = lo.max(from);
            hi = hi.min(to);
        }
        if lo >= hi {
            return Ok(Run::EMPTY);
        }
        let first = self.place(start + i128::from(stride) * lo)?;
        self.place(start + i128::from(stride) * (hi - 1))?;
        Ok(Run {
            lo: lo as u64,
            hi: hi as u64,
            first,
            stride,
        })
    }

    /// Least and greatest in-bounds offset over all terms; `None` when no term is in bounds.
    pub(crate) fn span(&self, reduction_axes: &[u32]) -> Result<Option<(u64, u64)>, Undecodable> {
        self.span_in(reduction_axes, &(0..u64::MAX))
    }

    /// The same over the terms of `range`. The runs that they lie in have a meaning as a whole, or none.
    pub(crate) fn span_in(
        &self,
        reduction_axes: &[u32],
        range: &Range<u64>,
    ) -> Result<Option<(u64, u64)>, Undecodable> {
        let mut span: Option<(u64, u64)> = None;
        for_each_run_in(reduction_axes, range, |outer, length, places| {
            let run = self.run(outer, length)?;
            let (first, end) = run.within(&places);
            if first < end {
                let (a, b) = (run.offset(first), run.offset(end - 1));
                let (lo, hi) = span.unwrap_or((a, a));
                span = Some((lo.min(a).min(b), hi.max(a).max(b)));
            }
            Ok(())
        })?;
        Ok(span)
    }

    fn place(&self, offset: i128) -> Result<u64, Undecodable> {
        if (0..self.elements).contains(&offset) {
            Ok(offset as u64)
        } else {
            Err(Undecodable)
        }
    }
}

/// The `i` in `[0, length)` with `0 ≤ first + i·step < extent`, as a half-open interval (any empty one when there are none).
fn interval(first: i128, step: i128, extent: i128, length: i128) -> (i128, i128) {
    match step {
        0 => {
            if 0 <= first && first < extent {
                (0, length)
            } else {
                (0, 0)
            }
        }
        1 => (-first, extent - first),
        step if step > 0 => (div_up(-first, step), div_up(extent - first, step)),
        step => (div_up(first - extent + 1, -step), div_up(first + 1, -step)),
    }
}

/// `ceil(a / b)` for `b > 0`.
fn div_up(a: i128, b: i128) -> i128 {
    let quotient = a.div_euclid(b);
    quotient + i128::from(quotient * b != a)
}

/// Calls `each(indices of the other reduction axes, length of the last, places)` for every run that terms of `range` lie in, in term
/// order; `places` are those terms' in the run.
pub(crate) fn for_each_run_in<E>(
    reduction_axes: &[u32],
    range: &Range<u64>,
    mut each: impl FnMut(&[u32], u32, Range<u64>) -> Result<(), E>,
) -> Result<(), E> {
    let (length, outer) = reduction_axes.split_last().map_or((1, [].as_slice()), |(l, o)| (*l, o));
    if length == 0 || outer.contains(&0) || range.is_empty() {
        return Ok(());
    }
    let run = u64::from(length);
    let Some(mut index) = unravel_run(outer, range.start / run) else {
        return Ok(());
    };
    let index = &mut index[..outer.len()];
    // Where the run begins among the terms: below `range.end`, which bounds it.
    let mut begin = range.start / run * run;
    loop {
        let places = range.start.max(begin) - begin..(range.end - begin).min(run);
        each(index, length, places)?;
        begin = begin.saturating_add(run);
        if begin >= range.end {
            return Ok(());
        }
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < outer[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// Indices of run `run` over the reduction axes but the last; `None` beyond the last run.
fn unravel_run(outer: &[u32], run: u64) -> Option<[u32; MAX_REDUCTION_AXES]> {
    let mut index = [0; MAX_REDUCTION_AXES];
    let mut rest = run;
    for (slot, axis) in index.iter_mut().zip(outer).take(outer.len()).rev() {
        *slot = (rest % u64::from(*axis)) as u32;
        rest /= u64::from(*axis);
    }
    (rest == 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{Bound, Dtype, Place};

    #[test]
    fn intervals_are_what_trying_every_term_gives() {
        for first in -9..9i128 {
            for step in -4..=4i128 {
                for extent in 0..8i128 {
                    let expect: Vec<i128> = (0..7).filter(|i| (0..extent).contains(&(first + i * step))).collect();
                    let (lo, hi) = interval(first, step, extent, 7);
                    let actual: Vec<i128> = (lo.max(0)..hi.min(7)).collect();
                    assert_eq!(actual, expect, "{first} {step} {extent}");
                }
            }
        }
    }

    #[test]
    fn a_padded_window_reads_what_the_definition_says() {
        // A 3 × 3 window with padding 1 and dilation 2 over a 5 × 4 image, output axes (oh, ow), reduction axes (kh, kw).
        let operand = Operand {
            place: Place::Input(0),
            dtype: Dtype::F32,
            dims: vec![5, 4],
            base: -5,
            strides: vec![4, 1, 8, 2],
            bounds: vec![
                Bound {
                    extent: 5,
                    constant: -1,
                    terms: vec![(0, 1), (2, 2)],
                },
                Bound {
                    extent: 4,
                    constant: -1,
                    terms: vec![(1, 1), (3, 2)],
                },
            ],
        };
        for element in 0..6 {
            let index = unravel(&[2, 3], element);
            let map = Map::new(&operand, 2, 20, &index);
            let mut expect = Vec::new();
            for kh in 0..3i64 {
                for kw in 0..3i64 {
                    let (y, x) = (i64::from(index[0]) + 2 * kh - 1, i64::from(index[1]) + 2 * kw - 1);
                    if (0..5).contains(&y) && (0..4).contains(&x) {
                        expect.push((kh as u64 * 3 + kw as u64, (4 * y + x) as u64));
                    }
                }
            }
            let mut actual = Vec::new();
            let walked: Result<(), Undecodable> = for_each_run_in(&[3, 3], &(0..u64::MAX), |outer, length, _| {
                let run = map.run(outer, length)?;
                actual.extend((run.lo..run.hi).map(|i| (u64::from(outer[0]) * 3 + i, run.offset(i))));
                Ok(())
            });
            assert_eq!(walked, Ok(()));
            assert_eq!(actual, expect);
            let offsets = || expect.iter().map(|(_, offset)| *offset);
            assert_eq!(map.span(&[3, 3]), Ok(offsets().min().zip(offsets().max())));
        }
    }

    #[test]
    fn an_offset_beyond_the_operand_has_no_meaning() {
        let mut operand = Operand {
            place: Place::Input(0),
            dtype: Dtype::F32,
            dims: vec![8],
            base: 0,
            strides: vec![1],
            bounds: vec![],
        };
        let run = |operand: &Operand, length| Map::new(operand, 0, 8, &[0; 8]).run(&[], length);
        assert!(run(&operand, 8).is_ok());
        assert_eq!(run(&operand, 9), Err(Undecodable));
        operand.bounds = vec![Bound {
            extent: 8,
            constant: 0,
            terms: vec![(0, 1)],
        }];
        assert_eq!(run(&operand, 9).map(|run| run.hi), Ok(8));
        operand.strides = vec![i64::MIN];
        operand.base = i64::MIN;
        assert_eq!(run(&operand, 9), Err(Undecodable));
    }
}
