//! Bias and residual into the contraction before them, as addends.
//!
//! A sum is taken in iff the contraction has constant weights and no other reader, and the other operand is
//!
//! - a *bias*: constant, varying only along axes along which the weights vary and the other factor does not, or
//! - a *residual*: computed, and of the output's full shape.
//!
//! Attention masks, position tables and other constants stay sums of their own: as an addend a huge mask would widen the
//! envelope of what it masks. If both operands of a sum qualify as the contraction, the one of more terms is taken, then the
//! later one.

use touchstone_protocol::descriptor::{Code, MAX_OPERANDS};

use crate::{
    ir::{Map, Op, Program},
    view::common_axes,
};

pub(super) fn rewrite(program: &mut Program) {
    let uses = program.uses();
    let mut producers = program.producers();
    for index in 0..program.ops.len() {
        let op = &program.ops[index];
        if op.code != Code::Add {
            continue;
        }
        let candidates = (0..2).filter_map(|side| {
            let at = producers[op.operands[side].value]?;
            let merged = merged(program, &program.ops[at], op, side, &uses)?;
            Some((merged.terms(), at, merged))
        });
        if let Some((_, at, merged)) = candidates.max_by_key(|(terms, at, _)| (*terms, *at)) {
            producers[program.ops[at].output] = None;
            program.ops[index] = merged;
        }
    }
}

fn merged(program: &Program, contraction: &Op, sum: &Op, side: usize, uses: &[usize]) -> Option<Op> {
    let other = &sum.operands[1 - side];
    let fits = contraction.code == Code::Contract
        && uses[contraction.output] == 1
        && contraction.operands.len() < MAX_OPERANDS
        && sum.reads_in_place(side)
        && other.bounds.is_empty();
    if !fits {
        return None;
    }
    let axes = common_axes(&contraction.axes, &sum.axes)?;
    let operands = contraction
        .operands
        .iter()
        .map(|map| map.refine(&contraction.axes, &axes));
    let mut operands = operands.collect::<Option<Vec<Map>>>()?;
    let mut addend = other.refine(&sum.axes, &axes)?;
    let (weights, data) = match [0, 1].map(|k| program.values[operands[k].value].is_constant()) {
        [false, true] => (&operands[1], &operands[0]),
        [true, false] => (&operands[0], &operands[1]),
        _ => return None,
    };
    let moves =
        |map: &Map, axis: usize| map.strides[axis] != 0 || map.bounds.iter().any(|bound| bound.coefficients[axis] != 0);
    let is_bias = (0..axes.len()).all(|axis| addend.strides[axis] == 0 || (moves(weights, axis) && !moves(data, axis)));
    let is_full = (0..axes.len()).all(|axis| addend.strides[axis] != 0);
    let constant = program.values[addend.value].is_constant();
    if !(if constant { is_bias } else { is_full }) {
        return None;
    }
    addend.strides.extend(vec![0; contraction.reduction.len()]);
    operands.push(addend);
    Some(Op {
        output: sum.output,
        axes,
        operands,
        ..contraction.clone()
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Model, codes};

    fn model() -> Model {
        Model::new()
            .input("x", 1, &[1, 17, 64])
            .output("y")
            .weight("w", &[64, 64])
            .weight("bias", &[64])
            .weight("table", &[17, 64])
            .node("MatMul", "x w", "m")
    }

    #[test]
    fn bias_and_residual_are_taken_in() {
        let plan = model().node("Add", "bias m", "n").node("Add", "n x", "y").plan();
        assert_eq!(codes(&plan), "Contract");
        assert_eq!(plan.operators[0].operands.len(), 4);
        assert_eq!(plan.names, ["y"]);
    }

    #[test]
    fn the_sum_stands_after_the_residual_is_made() {
        let plan = model().node("Relu", "x", "r").node("Add", "m r", "y").plan();
        assert_eq!(codes(&plan), "Relu Contract");
    }

    #[test]
    fn position_tables_and_masks_stay() {
        assert_eq!(codes(&model().node("Add", "m table", "y").plan()), "Contract Add");
        let mask = Model::new()
            .input("q", 1, &[4, 17, 64])
            .input("k", 1, &[4, 64, 17])
            .input("mask", 1, &[17])
            .output("y")
            .node("MatMul", "q k", "s")
            .node("Add", "s mask", "y");
        assert_eq!(codes(&mask.plan()), "Copy Contract Add");
        // A row of a computed mask is no residual either, weights or not.
        let row = model().input("row", 1, &[64]).node("Add", "m row", "y");
        assert_eq!(codes(&row.plan()), "Contract Add");
    }

    #[test]
    fn a_product_that_others_read_stays() {
        let plan = model().output("m").node("Add", "m bias", "y").plan();
        assert_eq!(codes(&plan), "Contract Add");
        let twice = model().node("Add", "m m", "y").plan();
        assert_eq!(codes(&twice), "Contract Add");
    }

    #[test]
    fn of_two_products_the_longer_takes_in_the_other() {
        let plan = Model::new()
            .input("a", 1, &[3, 96])
            .input("b", 1, &[3, 80])
            .output("y")
            .weight("v", &[96, 8])
            .weight("w", &[80, 8])
            .node("MatMul", "a v", "m")
            .node("MatMul", "b w", "n")
            .node("Add", "m n", "y")
            .plan();
        assert_eq!(codes(&plan), "Contract Contract");
        assert_eq!(plan.operators.iter().map(|d| d.terms()).collect::<Vec<_>>(), [80, 96]);
    }

    #[test]
    fn a_residual_seen_through_a_reshape() {
        let plan = Model::new()
            .input("x", 1, &[4, 6, 64])
            .input("r", 1, &[1, 24, 64])
            .output("y")
            .weight("w", &[64, 64])
            .ints("shape", &[1, 24, 64])
            .node("MatMul", "x w", "m")
            .node("Reshape", "m shape", "n")
            .node("Add", "n r", "y")
            .plan();
        assert_eq!(codes(&plan), "Contract");
        assert_eq!(plan.operators[0].dims, [1, 24, 64]);
    }
}
