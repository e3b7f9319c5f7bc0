//! Layer normalization out of its parts: `d / √(mean d² + ε) · scale + bias` with `d = x − mean x` along one axis.

use touchstone_protocol::descriptor::{Code, Dtype};

use super::{Matcher, ONE, reduces, row_map};
use crate::ir::{Map, Op, Program, Source, Value, ValueId};

pub(super) fn rewrite(program: &mut Program) {
    let found = {
        let matcher = Matcher::new(program);
        program.ops.iter().map(|op| core(&matcher, op)).collect::<Vec<_>>()
    };
    if found.iter().all(Option::is_none) {
        return;
    }
    let one = constant(program, ONE);
    let zero = constant(program, 0);
    for (op, found) in program.ops.iter_mut().zip(found) {
        let Some(Core { x, row, epsilon }) = found else {
            continue;
        };
        let scalar = |value| Map {
            value,
            base: 0,
            strides: vec![0; op.axes.len() + 1],
            bounds: Vec::new(),
        };
        op.operands = vec![x, scalar(one), scalar(zero)];
        op.code = Code::LayerNorm;
        op.reduction = vec![op.axes[row]];
        op.row = Some(row);
        op.params = vec![epsilon];
    }
    program.drop_dead();
    absorb(program, Code::Mul, 1, one);
    program.drop_dead();
    absorb(program, Code::Add, 2, zero);
}

fn constant(program: &mut Program, bits: u32) -> ValueId {
    program.values.push(Value {
        name: String::from("layer_norm"),
        dtype: Dtype::F32,
        dims: Vec::new(),
        source: Source::Constant(bits.to_le_bytes().into()),
    });
    program.values.len() - 1
}

struct Core {
    x: Map,
    row: usize,
    epsilon: u32,
}

/// `d / √(mean d² + ε)`
fn core<'a>(matcher: &Matcher<'a>, op: &'a Op) -> Option<Core> {
    if op.code != Code::Div {
        return None;
    }
    let centred = matcher.inner(op, 0, Code::Sub)?;
    let mean = matcher.producer(centred.operands[1].value)?;
    let x = &centred.operands[0];
    let row = reduces(mean, &op.axes, x)?;
    matcher.of_row(centred, 1, Code::Mean, row)?;
    let root = matcher.of_row(op, 1, Code::Sqrt, row)?;
    let sum = matcher.inner(root, 0, Code::Add)?;
    let (variance, epsilon) = (0..2).find_map(|operand| Some((operand, matcher.scalar(sum, 1 - operand)?)))?;
    let variance = matcher.inner(sum, variance, Code::Mean)?;
    let square = matcher.producer(variance.operands[0].value)?;
    let squares = square.code == Code::Mul
        && square.axes == op.axes
        && (0..2).all(|operand| square.operands[operand].value == centred.output && square.reads_in_place(operand));
    let whole = Map {
        value: square.output,
        ..in_place(&op.axes)
    };
    let epsilon_fits = f32::from_bits(epsilon).is_normal() && epsilon >> 31 == 0;
    (squares && epsilon_fits && reduces(variance, &op.axes, &whole) == Some(row)).then(|| Core {
        x: row_map(x, row),
        row,
        epsilon,
    })
}

fn in_place(axes: &[u32]) -> Map {
    Map {
        value: 0,
        base: 0,
        strides: crate::ir::row_major(axes),
        bounds: Vec::new(),
    }
}

/// Takes a product with a scale, or a sum with a bias, into the normalization before it.
fn absorb(program: &mut Program, code: Code, slot: usize, neutral: ValueId) {
    let uses = program.uses();
    let mut producers = program.producers();
    for index in 0..program.ops.len() {
        let op = &program.ops[index];
        if op.code != code {
            continue;
        }
        let merged = (0..2).find_map(|side| {
            let norm = &program.ops[producers[op.operands[side].value]?];
            let row = norm.row?;
            let vector = &op.operands[1 - side];
            let fits = norm.code == Code::LayerNorm
                && norm.operands[slot].value == neutral
                && uses[norm.output] == 1
                && norm.axes == op.axes
                && op.reads_in_place(side)
                && vector.value != norm.output
                && vector.bounds.is_empty()
                && (0..op.axes.len()).all(|axis| axis == row || op.axes[axis] == 1 || vector.strides[axis] == 0);
            fits.then(|| {
                let mut merged = norm.clone();
                merged.output = op.output;
                merged.operands[slot] = vector.clone();
                merged.operands[slot].strides.push(0);
                merged
            })
        });
        if let Some(merged) = merged {
            producers[merged.output] = Some(index);
            program.ops[index] = merged;
        }
    }
}

#[cfg(test)]
mod tests {
    use touchstone_protocol::descriptor::Place;

    use crate::testing::{Model, codes};

    fn model(axis: i64) -> Model {
        Model::new()
            .input("x", 1, &[2, 5, 7])
            .output("y")
            .floats("epsilon", &[], &[1e-5])
            .floats("two", &[], &[2.0])
            .weight("scale", &[7])
            .weight("bias", &[7])
            .node("ReduceMean", "x", "m")
            .list("axes", &[axis])
            .node("Sub", "x m", "d")
            .node("Pow", "d two", "s")
            .node("ReduceMean", "s", "v")
            .list("axes", &[axis])
            .node("Add", "v epsilon", "e")
            .node("Sqrt", "e", "r")
    }

    #[test]
    fn with_scale_and_bias() {
        let plan = model(-1)
            .node("Div", "d r", "n")
            .node("Mul", "n scale", "t")
            .node("Add", "bias t", "y")
            .plan();
        assert_eq!(codes(&plan), "LayerNorm");
        let d = &plan.operators[0];
        assert_eq!(d.params, [1e-5f32.to_bits(), 1]);
        assert_eq!(
            (d.output_axes.as_slice(), d.reduction_axes.as_slice()),
            (&[10, 7][..], &[7][..])
        );
        assert_eq!(
            plan.weights.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(),
            ["scale", "bias"]
        );
    }

    #[test]
    fn without_them() {
        let plan = model(-1).node("Div", "d r", "y").plan();
        assert_eq!(codes(&plan), "LayerNorm");
        assert!(
            plan.operators[0].operands[1..]
                .iter()
                .all(|o| matches!(o.place, Place::Weight(_)) && o.strides == [0; 3])
        );
    }

    #[test]
    fn along_another_axis_the_rows_are_laid_out() {
        let plan = model(1).node("Div", "d r", "y").plan();
        assert_eq!(codes(&plan), "Copy LayerNorm");
        assert_eq!(plan.operators[1].output_axes, [2, 5, 7]);
        assert_eq!(plan.operators[1].params[1], 1);
    }

    #[test]
    fn a_scale_that_is_no_vector_stays() {
        let plan = model(-1)
            .weight("full", &[5, 7])
            .node("Div", "d r", "n")
            .node("Mul", "n full", "y")
            .plan();
        assert_eq!(codes(&plan), "LayerNorm Mul");
    }

    #[test]
    fn another_difference_below_stays() {
        let plan = model(-1).node("Div", "x r", "y").plan();
        assert_eq!(codes(&plan), "Mean Sub Mul Mean Add Sqrt Div");
    }
}
