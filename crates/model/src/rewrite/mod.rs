//! Rewrites of the program: what exporters take apart becomes the one operator it is.
//!
//! Each rewrite puts the new operator where the last of the old ones stood, so that the order stays topological, and leaves the
//! others to be dropped if nobody else reads them.

mod addend;
mod gelu;
mod layer_norm;
mod softmax;

use touchstone_protocol::descriptor::Code;

use crate::ir::{Map, Op, Program, Source, ValueId, row_major};

/// Applies all rewrites.
pub(crate) fn rewrite(program: &mut Program) {
    program.drop_dead();
    for pass in [layer_norm::rewrite, gelu::rewrite, softmax::rewrite, addend::rewrite] {
        pass(program);
        program.drop_dead();
    }
}

/// Looks up what operators read.
struct Matcher<'a> {
    program: &'a Program,
    producers: Vec<Option<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(program: &'a Program) -> Self {
        Self {
            producers: program.producers(),
            program,
        }
    }

    fn producer(&self, value: ValueId) -> Option<&'a Op> {
        self.producers[value].map(|index| &self.program.ops[index])
    }

    /// The operator of this code that an operand reads element by element over the same axes.
    fn inner(&self, op: &'a Op, operand: usize, code: Code) -> Option<&'a Op> {
        let inner = self.producer(op.operands.get(operand)?.value)?;
        (inner.code == code && inner.axes == op.axes && op.reads_in_place(operand)).then_some(inner)
    }

    /// The operator of this code that an operand reads one element a row, where the rows lie along axis `row`.
    fn of_row(&self, op: &'a Op, operand: usize, code: Code, row: usize) -> Option<&'a Op> {
        let map = op.operands.get(operand)?;
        let inner = self.producer(map.value)?;
        let mut outer = op.axes.clone();
        outer[row] = 1;
        let expected = Map {
            value: map.value,
            base: 0,
            strides: row_major(&outer),
            bounds: Vec::new(),
        };
        let broadcast = Map {
            strides: expected
                .strides
                .iter()
                .enumerate()
                .map(|(i, s)| if i == row { 0 } else { *s })
                .collect(),
            ..expected
        };
        (inner.code == code && inner.axes == outer && same_map(&op.axes, map, &broadcast)).then_some(inner)
    }

    /// The bits of the one f32 constant that an operand is at every element.
    fn scalar(&self, op: &Op, operand: usize) -> Option<u32> {
        let map = op.operands.get(operand)?;
        let value = &self.program.values[map.value];
        let Source::Constant(bytes) = &value.source else {
            return None;
        };
        let constant = value.dtype == touchstone_protocol::descriptor::Dtype::F32
            && op
                .extents()
                .zip(&map.strides)
                .all(|(extent, stride)| extent == 1 || *stride == 0);
        let start = usize::try_from(map.base).ok()?.checked_mul(4)?;
        let bytes = bytes.get(start..start.checked_add(4)?).filter(|_| constant)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Of two operands the one that is not the scalar near `bits`.
    fn beside_scalar(&self, op: &Op, bits: u32) -> Option<usize> {
        (0..2).find(|operand| self.scalar(op, 1 - operand).is_some_and(|found| near(found, bits)))
    }
}

/// Whether two maps over the same axes read the same elements.
fn same_map(axes: &[u32], a: &Map, b: &Map) -> bool {
    let strides = a.strides.iter().zip(&b.strides).zip(axes);
    a.value == b.value
        && a.base == b.base
        && a.bounds == b.bounds
        && strides.into_iter().all(|((a, b), n)| *n == 1 || a == b)
}

/// Whether a reduction over one axis reads, row by row, what `map` reads element by element; gives that axis.
fn reduces(reduction: &Op, axes: &[u32], map: &Map) -> Option<usize> {
    let [terms] = reduction.reduction[..] else { return None };
    let read = reduction.operands.first()?;
    let row = (0..axes.len()).find(|axis| reduction.axes.get(*axis) != axes.get(*axis))?;
    let mut outer = axes.to_vec();
    outer[row] = 1;
    let agrees = |axis: usize| axis == row || axes[axis] == 1 || read.strides[axis] == map.strides[axis];
    let same = reduction.axes == outer
        && terms == axes[row]
        && read.value == map.value
        && read.base == map.base
        && read.bounds.is_empty()
        && map.bounds.is_empty()
        && read.strides[axes.len()] == map.strides[row]
        && (0..axes.len()).all(agrees);
    same.then_some(row)
}

/// The map of a row operator's first operand: `map` with the row moved to the reduction axis.
fn row_map(map: &Map, row: usize) -> Map {
    let mut map = map.clone();
    map.strides.push(map.strides[row]);
    map.strides[row] = 0;
    map
}

/// Whether the bits of two f32 of one sign are at most two apart: exporters round constants like 1/√2 in their own ways.
fn near(a: u32, b: u32) -> bool {
    a.abs_diff(b) <= 2
}

const HALF: u32 = 0x3f00_0000;
const ONE: u32 = 0x3f80_0000;
const TWO: u32 = 0x4000_0000;
