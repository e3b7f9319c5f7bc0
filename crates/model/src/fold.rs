//! Constant folding: copy, exact and integer operators on constants, computed with the judge's own arithmetic so that
//! every machine gets the same bits, and so the same model id.

use touchstone_protocol::descriptor::{Code, Dtype};

use crate::{
    error::Refusal,
    exact,
    ir::{Op, Value, elements},
    limits,
};

/// What folding may still cost for one file.
#[derive(Debug)]
pub(crate) struct Budget {
    arithmetic: u64,
    bytes: u64,
    widened: u64,
}

impl Budget {
    /// For the constants that a model computes.
    pub(crate) fn folding() -> Self {
        Self {
            arithmetic: limits::FOLD_ARITHMETIC,
            bytes: limits::FOLD_BYTES,
            widened: limits::WIDENED_BYTES,
        }
    }

    /// For laying out weights.
    pub(crate) fn layout() -> Self {
        Self {
            arithmetic: 0,
            bytes: limits::LAYOUT_BYTES,
            widened: 0,
        }
    }

    /// Takes what a cast from two bytes makes, which has an allowance of its own: it is how weights may be stored.
    fn widen(&mut self, bytes: u64) -> Result<(), Refusal> {
        let left = self.widened.checked_sub(bytes);
        self.widened = left.ok_or_else(|| {
            Refusal::new(format!(
                "weights in two bytes become more than {} bytes of float32",
                limits::WIDENED_BYTES
            ))
        })?;
        Ok(())
    }

    pub(crate) fn spend(&mut self, moves_only: bool, elements: u64, bytes: u64) -> Result<(), Refusal> {
        let exceeded = || Refusal::new("computing the model's constants exceeds the limits on elements or bytes");
        let work = if moves_only { 0 } else { elements };
        self.arithmetic = self.arithmetic.checked_sub(work).ok_or_else(exceeded)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(exceeded)?;
        Ok(())
    }
}

/// Whether an operator may be computed at compile: every engine gives the same bits.
pub(crate) fn foldable(code: Code) -> bool {
    (code as u8) < Code::MaxPool as u8
}

/// The output bytes of a foldable operator whose operands are all constant.
pub(crate) fn fold(op: &Op, values: &[Value], dtype: Dtype, budget: &mut Budget) -> Result<Vec<u8>, Refusal> {
    let count = elements(&op.axes);
    let size = dtype.size();
    let widens = op.code == Code::Cast && op.operands.first().is_some_and(|map| values[map.value].dtype.is_half());
    if widens {
        budget.widen(count * size as u64)?;
    } else {
        budget.spend(matches!(op.code, Code::Copy | Code::Gather), count, count * size as u64)?;
    }
    let sources: Vec<(&[u8], Dtype)> = op
        .operands
        .iter()
        .map(|map| match &values[map.value].source {
            crate::ir::Source::Constant(bytes) => Ok((&bytes[..], values[map.value].dtype)),
            _ => Err(Refusal::new("folding of an operand that is not constant")),
        })
        .collect::<Result<_, _>>()?;
    let mut output = Vec::with_capacity((count * size as u64) as usize);
    let mut walk = Walk::new(op);
    for _ in 0..count {
        let read = |operand: usize, extra: i64| -> Result<&[u8], Refusal> {
            let (bytes, dtype) = sources[operand];
            let offset = walk.offsets[operand]
                .checked_add(extra)
                .and_then(|offset| usize::try_from(offset).ok());
            let start = offset.and_then(|offset| offset.checked_mul(dtype.size()));
            start
                .and_then(|start| bytes.get(start..start + dtype.size()))
                .ok_or_else(|| Refusal::new("folding reads beyond its operand"))
        };
        match op.code {
            Code::Copy => match (0..op.operands.len()).find(|operand| walk.in_bounds(op, *operand)) {
                Some(operand) => output.extend(read(operand, 0)?),
                None => {
                    let fill = (u64::from(op.params[0]) << 32) | u64::from(op.params[1]);
                    output.extend(&fill.to_le_bytes()[..size]);
                }
            },
            Code::Gather => {
                let (extent, stride) = (i64::from(op.params[0]), i64::from(op.params[1]));
                let index = exact::integer(read(1, 0)?, sources[1].1);
                let index = if index < 0 { index.saturating_add(extent) } else { index };
                output.extend(read(0, index.clamp(0, extent - 1).saturating_mul(stride))?);
            }
            code => {
                let mut operands: [&[u8]; 3] = [&[]; 3];
                for (operand, bytes) in operands.iter_mut().enumerate().take(sources.len()) {
                    *bytes = read(operand, 0)?;
                }
                let element = exact::compute(code, dtype, sources[0].1, operands)
                    .ok_or_else(|| Refusal::new("folding of an operator that is not exact"))?;
                output.extend(&element[..size]);
            }
        }
        walk.step();
    }
    Ok(output)
}

/// Offsets of all operands, element by element in row-major order; `Map::check` has seen that none leaves 64 bits.
struct Walk {
    axes: Vec<u32>,
    index: Vec<u32>,
    strides: Vec<Vec<i64>>,
    offsets: Vec<i64>,
}

impl Walk {
    fn new(op: &Op) -> Self {
        Self {
            axes: op.axes.clone(),
            index: vec![0; op.axes.len()],
            strides: op.operands.iter().map(|map| map.strides.clone()).collect(),
            offsets: op.operands.iter().map(|map| map.base).collect(),
        }
    }

    fn in_bounds(&self, op: &Op, operand: usize) -> bool {
        op.operands[operand].bounds.iter().all(|bound| {
            let coordinate = self
                .index
                .iter()
                .zip(&bound.coefficients)
                .fold(bound.constant, |sum, (index, coefficient)| {
                    sum.saturating_add(i64::from(*index).saturating_mul(*coefficient))
                });
            (0..i64::from(bound.extent)).contains(&coordinate)
        })
    }

    fn step(&mut self) {
        for axis in (0..self.axes.len()).rev() {
            self.index[axis] += 1;
            if self.index[axis] < self.axes[axis] {
                self.offsets
                    .iter_mut()
                    .zip(&self.strides)
                    .for_each(|(offset, strides)| *offset += strides[axis]);
                return;
            }
            let back = i64::from(self.axes[axis] - 1);
            self.offsets
                .iter_mut()
                .zip(&self.strides)
                .for_each(|(offset, strides)| *offset -= strides[axis] * back);
            self.index[axis] = 0;
        }
    }
}
