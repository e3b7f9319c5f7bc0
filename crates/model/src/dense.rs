//! Copies that make rows contiguous.
//!
//! A witness opens the chunks from the first to the last term of a row. Contractions, softmax and normalization therefore read
//! every row as consecutive elements; other reductions do unless their span is short. A row that is judged by parts lies that way for
//! every code, so that each part opens a few chunks. Where the operand does not lie so (transposed values, channels of an image,
//! the windows of a convolution) a copy operator lays the rows out. Weights are laid out here and now.

use std::{collections::BTreeMap, sync::Arc};

use touchstone_protocol::{descriptor::Code, parts};

use crate::{
    cost::{runs, worst_chunks},
    error::{CompileError, Refusal},
    fold::{self, Budget},
    ir::{Limits, Map, Op, Program, Source, Value, ValueId, row_major},
    limits,
    view::check_dims,
};

/// Inserts the copies, each before its reader.
pub(crate) fn lay_out(program: &mut Program, profile: u64) -> Result<(), CompileError> {
    let mut budget = Budget::layout();
    // Weights laid out so far: one that two operators read the same way is laid out once.
    let mut weights: BTreeMap<(Map, Vec<u32>, Vec<u32>), ValueId> = BTreeMap::new();
    let mut ops = Vec::with_capacity(program.ops.len());
    for mut op in std::mem::take(&mut program.ops) {
        let (axes, reduction) = (op.axes.clone(), op.reduction.clone());
        for map in &mut op.operands {
            map.bounds
                .retain(|bound| !always_holds(bound, axes.iter().chain(&reduction)));
        }
        // Longer rows are refused later.
        let laid_out = if op.terms() <= parts::most_terms(profile) {
            op.code.term_operands()
        } else {
            0
        };
        for operand in 0..laid_out {
            let Some(fill) = fill(program, &op, operand) else {
                continue;
            };
            let name = program.values[op.output].name.clone();
            let refused =
                |refusal: Refusal| CompileError::Malformed(format!("laying out rows for `{name}`: {}", refusal.0));
            let (copy, map) = rows(program, &op, operand, fill).map_err(refused)?;
            op.operands[operand] = map;
            if !program.values[copy.operands[0].value].is_constant() {
                ops.push(copy);
                continue;
            }
            let key = (
                copy.operands[0].clone(),
                copy.axes.clone(),
                program.values[copy.output].dims.clone(),
            );
            if let Some(weight) = weights.get(&key) {
                op.operands[operand].value = *weight;
                continue;
            }
            let dtype = program.values[copy.output].dtype;
            let bytes = fold::fold(&copy, &program.values, dtype, &mut budget).map_err(refused)?;
            program.values[copy.output].source = Source::Constant(Arc::from(bytes));
            weights.insert(key, copy.output);
        }
        ops.push(op);
    }
    program.ops = ops;
    Ok(())
}

fn always_holds<'a>(bound: &Limits, extents: impl Iterator<Item = &'a u32>) -> bool {
    let (mut least, mut greatest) = (i128::from(bound.constant), i128::from(bound.constant));
    for (coefficient, extent) in bound.coefficients.iter().zip(extents) {
        let reach = i128::from(*coefficient) * (i128::from(*extent) - 1);
        if reach < 0 { least += reach } else { greatest += reach }
    }
    least >= 0 && greatest < i128::from(bound.extent)
}

/// Whether an operand needs a copy, and the bits that stand there where it is out of bounds.
fn fill(program: &Program, op: &Op, operand: usize) -> Option<u32> {
    let map = &op.operands[operand];
    let terms: Vec<(u32, i64)> = op
        .reduction
        .iter()
        .zip(&map.strides[op.axes.len()..])
        .map(|(n, s)| (*n, *s))
        .filter(|(n, _)| *n != 1)
        .collect();
    let expected = row_major(&terms.iter().map(|(extent, _)| *extent).collect::<Vec<_>>());
    let dense = map.bounds.is_empty()
        && terms
            .iter()
            .zip(&expected)
            .all(|((_, stride), expected)| stride == expected);
    if dense {
        return None;
    }
    match op.code {
        Code::Contract | Code::Softmax | Code::LayerNorm => Some(0),
        _ if op.terms() <= parts::one_shot_terms(op.code)
            && worst_chunks(op, operand, &program.values[map.value]) <= limits::SPAN_CHUNKS
            && runs(&op.reduction) <= limits::SPAN_RUNS =>
        {
            None
        }
        Code::MaxPool => Some(0xff80_0000),
        // The mean over the terms in bounds counts them: filled up, it would be another.
        Code::Mean if op.params[0] == 0 && !map.bounds.is_empty() => None,
        _ => Some(0),
    }
}

/// A copy with one row after the other, and the operand that reads it.
fn rows(program: &mut Program, op: &Op, operand: usize, fill: u32) -> Result<(Op, Map), Refusal> {
    let map = &op.operands[operand];
    let outputs = op.axes.len();
    let moves = |axis: usize| map.strides[axis] != 0 || map.bounds.iter().any(|bound| bound.coefficients[axis] != 0);
    let extents: Vec<u32> = op.extents().collect();
    let used: Vec<usize> = (0..extents.len())
        .filter(|axis| extents[*axis] != 1 && (*axis >= outputs || moves(*axis)))
        .collect();
    let pick = |list: &[i64]| used.iter().map(|axis| list[*axis]).collect::<Vec<_>>();
    let axes: Vec<u32> = used.iter().map(|axis| extents[*axis]).collect();
    let bounds = map.bounds.iter().map(|bound| Limits {
        coefficients: pick(&bound.coefficients),
        ..bound.clone()
    });
    let read = Map {
        value: map.value,
        base: map.base,
        strides: pick(&map.strides),
        bounds: bounds.collect(),
    };
    let mut dims: Vec<u32> = used
        .iter()
        .filter(|axis| **axis < outputs)
        .map(|axis| extents[*axis])
        .collect();
    dims.push(op.terms() as u32);
    let source = &program.values[map.value];
    let name = if source.is_constant() {
        source.name.clone()
    } else {
        format!("{}:rows", source.name)
    };
    let (dtype, output) = (source.dtype, program.values.len());
    let mut strides = vec![0; extents.len()];
    for (axis, stride) in used.iter().zip(row_major(&axes)) {
        strides[*axis] = stride;
    }
    check_dims(dtype, &dims)?;
    program.values.push(Value {
        name,
        dtype,
        dims,
        source: Source::Operator,
    });
    let copy = Op {
        code: Code::Copy,
        output,
        axes,
        reduction: Vec::new(),
        params: vec![0, fill],
        row: None,
        operands: vec![read],
    };
    Ok((
        copy,
        Map {
            value: output,
            base: 0,
            strides,
            bounds: Vec::new(),
        },
    ))
}
