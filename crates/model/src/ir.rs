//! The program between the ONNX graph and the descriptors: operators with affine index maps over values that have no
//! place yet.

use std::sync::Arc;

use touchstone_protocol::descriptor::{Bound, Code, Dtype};

use crate::{error::Refusal, names::Named};

/// Index into [`Program::values`].
pub(crate) type ValueId = usize;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Input(u32),
    Constant(Arc<[u8]>),
    /// Output of an operator of the program.
    Operator,
}

/// A tensor: what is committed as one.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// ONNX name, for people.
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) dims: Vec<u32>,
    pub(crate) source: Source,
}

impl Value {
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.source, Source::Constant(_))
    }

    pub(crate) fn bytes(&self) -> u64 {
        elements(&self.dims) * self.dtype.size() as u64
    }
}

/// How one operand is read: [`touchstone_protocol::descriptor::Operand`] before it has a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Map {
    pub(crate) value: ValueId,
    pub(crate) base: i64,
    /// One stride an output axis, then one a reduction axis.
    pub(crate) strides: Vec<i64>,
    pub(crate) bounds: Vec<Limits>,
}

impl Map {
    /// Refuses a map that leaves 64 bits anywhere on the way over these axes: folding, copies and the judge walk offsets and
    /// bounds in i64.
    pub(crate) fn check(&self, extents: impl Iterator<Item = u32> + Clone) -> Result<(), Refusal> {
        let fits = |start: i64, steps: &[i64]| {
            let mut reach = u128::from(start.unsigned_abs());
            for (step, extent) in steps.iter().zip(extents.clone()) {
                let distance = u128::from(step.unsigned_abs()) * u128::from(extent.saturating_sub(1));
                reach = reach.saturating_add(distance);
            }
            reach <= i64::MAX as u128
        };
        let bounded = self
            .bounds
            .iter()
            .all(|bound| fits(bound.constant, &bound.coefficients));
        if fits(self.base, &self.strides) && bounded {
            Ok(())
        } else {
            Err(Refusal::new("it reads at offsets beyond 63 bits"))
        }
    }
}

/// [`Bound`] with one coefficient an axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limits {
    pub(crate) extent: u32,
    pub(crate) constant: i64,
    pub(crate) coefficients: Vec<i64>,
}

impl Limits {
    pub(crate) fn encode(&self) -> Bound {
        let terms = self
            .coefficients
            .iter()
            .enumerate()
            .filter(|(_, coefficient)| **coefficient != 0);
        Bound {
            extent: self.extent,
            constant: self.constant,
            terms: terms.map(|(axis, coefficient)| (axis as u8, *coefficient)).collect(),
        }
    }
}

/// One operator. Axes are as the ONNX operator has them; they are merged when descriptors are made.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) code: Code,
    pub(crate) output: ValueId,
    pub(crate) axes: Vec<u32>,
    pub(crate) reduction: Vec<u32>,
    /// Parameters without the row axis.
    pub(crate) params: Vec<u32>,
    /// For softmax and normalization: the output axis along which the row lies.
    pub(crate) row: Option<usize>,
    pub(crate) operands: Vec<Map>,
}

impl Op {
    /// Extents of all axes.
    pub(crate) fn extents(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.axes.iter().chain(&self.reduction).copied()
    }

    /// Whether the operand is read at output element `e` in element `e`.
    pub(crate) fn reads_in_place(&self, operand: usize) -> bool {
        let map = &self.operands[operand];
        let expected = row_major(&self.axes);
        map.base == 0
            && map.bounds.is_empty()
            && self
                .axes
                .iter()
                .zip(&map.strides)
                .zip(&expected)
                .all(|((axis, a), b)| *axis == 1 || a == b)
            && map.strides[self.axes.len()..]
                .iter()
                .zip(&self.reduction)
                .all(|(stride, axis)| *stride == 0 || *axis == 1)
    }

    pub(crate) fn terms(&self) -> u64 {
        elements(&self.reduction)
    }
}

/// A whole program.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) ops: Vec<Op>,
    /// Graph inputs in order.
    pub(crate) inputs: Vec<ValueId>,
    /// Graph outputs in order, each the whole of an operator's output; no two the same.
    pub(crate) outputs: Vec<ValueId>,
    /// ONNX names of the outputs.
    pub(crate) output_names: Vec<String>,
    /// The file's values, in the order of its nodes; what is kept under another name too stands there more than once.
    pub(crate) named: Vec<Named>,
}

impl Program {
    /// For each value the operator that gives it.
    pub(crate) fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, op) in self.ops.iter().enumerate() {
            producers[op.output] = Some(index);
        }
        producers
    }

    /// For each value how often it is read, graph outputs included.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for map in self.ops.iter().flat_map(|op| &op.operands) {
            uses[map.value] += 1;
        }
        for output in &self.outputs {
            uses[*output] += 1;
        }
        uses
    }

    /// Drops operators whose output nobody reads.
    pub(crate) fn drop_dead(&mut self) {
        let mut alive = vec![false; self.values.len()];
        for output in &self.outputs {
            alive[*output] = true;
        }
        let mut kept = Vec::with_capacity(self.ops.len());
        for op in std::mem::take(&mut self.ops).into_iter().rev() {
            if alive[op.output] {
                op.operands.iter().for_each(|map| alive[map.value] = true);
                kept.push(op);
            }
        }
        kept.reverse();
        self.ops = kept;
    }
}

/// Number of elements; shapes are checked where values are made, so that this does not overflow.
pub(crate) fn elements(dims: &[u32]) -> u64 {
    dims.iter()
        .fold(1u64, |product, dim| product.saturating_mul(u64::from(*dim)))
}

/// Row-major strides.
pub(crate) fn row_major(dims: &[u32]) -> Vec<i64> {
    let mut strides = vec![0; dims.len()];
    let mut stride = 1i64;
    for (index, dim) in dims.iter().enumerate().rev() {
        strides[index] = stride;
        stride = stride.saturating_mul(i64::from(*dim));
    }
    strides
}

/// `axis` within a rank, counting from the end when negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let rank = rank as i64;
    if axis < -rank || axis >= rank {
        return Err(Refusal::new(format!("axis {axis} is out of range for rank {rank}")));
    }
    Ok((if axis < 0 { axis + rank } else { axis }) as usize)
}

/// Axes within a rank, each at most once, sorted.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    let mut axes = list.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::new(format!("axes {list:?} repeat")));
    }
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_stay_within_63_bits_on_the_way() {
        let map = |base: i64, strides: &[i64], bound: Option<(i64, &[i64])>| Map {
            value: 0,
            base,
            strides: strides.into(),
            bounds: bound
                .map(|(constant, coefficients)| Limits {
                    extent: 1,
                    constant,
                    coefficients: coefficients.into(),
                })
                .into_iter()
                .collect(),
        };
        let fits = |map: Map, extents: &[u32]| map.check(extents.iter().copied()).is_ok();
        assert!(fits(map(i64::MAX, &[1], None), &[1]));
        assert!(!fits(map(i64::MAX, &[1], None), &[2]));
        assert!(!fits(map(i64::MIN, &[], None), &[]));
        // Back and forth: the way is too long though the end is near.
        assert!(fits(map(0, &[1 << 61, -(1 << 61)], None), &[2, 3]));
        assert!(!fits(map(0, &[1 << 61, -(1 << 61)], None), &[3, 3]));
        // The stride of an axis of one element is never taken.
        assert!(fits(map(0, &[i64::MIN, 1], None), &[1, 9]));
        assert!(fits(map(0, &[1], Some((-5, &[1 << 62]))), &[2]));
        assert!(!fits(map(0, &[1], Some((-5, &[1 << 62]))), &[3]));
    }
}
