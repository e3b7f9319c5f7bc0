//! Softmax out of its parts: `e / Σ e` with `e = exp(x − max x)` along one axis.

use touchstone_protocol::descriptor::Code;

use super::{Matcher, reduces, row_map};
use crate::ir::{Map, Op, Program};

pub(super) fn rewrite(program: &mut Program) {
    let matcher = Matcher::new(program);
    let found: Vec<_> = program.ops.iter().map(|op| softmax(&matcher, op)).collect();
    for (op, found) in program.ops.iter_mut().zip(found) {
        if let Some((x, row)) = found {
            op.code = Code::Softmax;
            op.reduction = vec![op.axes[row]];
            op.row = Some(row);
            op.operands = vec![x];
        }
    }
}

fn softmax<'a>(matcher: &Matcher<'a>, op: &'a Op) -> Option<(Map, usize)> {
    if op.code != Code::Div {
        return None;
    }
    let exp = matcher.inner(op, 0, Code::Exp)?;
    let difference = matcher.inner(exp, 0, Code::Sub)?;
    let sum = matcher.producer(op.operands[1].value)?;
    let row = reduces(sum, &op.axes, &op.operands[0])?;
    let max = matcher.of_row(difference, 1, Code::MaxPool, row)?;
    let of_row = matcher.of_row(op, 1, Code::Sum, row).is_some();
    let x = &difference.operands[0];
    (of_row && reduces(max, &op.axes, x) == Some(row)).then(|| (row_map(x, row), row))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Model, codes};

    fn model(axis: i64, sum_axis: i64) -> Model {
        Model::new()
            .input("x", 1, &[2, 5, 7])
            .output("y")
            .ints("axis", &[sum_axis])
            .node("ReduceMax", "x", "m")
            .list("axes", &[axis])
            .node("Sub", "x m", "d")
            .node("Exp", "d", "e")
            .node("ReduceSum", "e axis", "s")
            .node("Div", "e s", "y")
    }

    #[test]
    fn along_any_axis() {
        assert_eq!(codes(&model(-1, 2).plan()), "Softmax");
        assert_eq!(codes(&model(1, 1).plan()), "Copy Softmax");
    }

    #[test]
    fn a_sum_over_another_axis_stays() {
        assert_eq!(codes(&model(-1, 1).plan()), "MaxPool Sub Exp Sum Div");
    }
}
