//! ONNX operators, one file each or a tight group, and the one table that finds them.
//!
//! To add an operator: a file here with an `OPERATORS` list, its module and its list in [`TABLES`].

mod activation;
mod arithmetic;
mod batch_norm;
mod cast;
mod concat;
mod constant;
mod conv;
mod expand;
mod gather;
mod gemm;
mod group_norm;
mod layer_norm;
mod matmul;
mod pad;
mod pool;
mod pow;
mod reduce;
mod reshape;
mod rms_norm;
mod slice;
mod softmax;
mod transpose;
pub(crate) mod window;

use std::ops::RangeInclusive;

use crate::{
    build::Build,
    error::{Refusal, refuse},
    graph::Node,
    lower::Call,
    view::View,
};

/// Outputs of a node, or why it is refused. Outputs that are left out are not supported.
pub(crate) type Outcome = Result<Vec<View>, Refusal>;

/// An ONNX operator of the default domain.
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    /// First version of the operator set that has it.
    pub(crate) since: i64,
    /// How many operands it takes.
    pub(crate) inputs: RangeInclusive<usize>,
    /// How many outputs it may name.
    pub(crate) outputs: usize,
    /// Every attribute that it knows.
    pub(crate) attributes: &'static [&'static str],
    pub(crate) lower: fn(&mut Build, &Call) -> Outcome,
}

/// Any number of operands, at least one.
const MANY: RangeInclusive<usize> = 1..=crate::limits::NODE_VALUES;

static TABLES: &[&[Operator]] = &[
    activation::OPERATORS,
    arithmetic::OPERATORS,
    batch_norm::OPERATORS,
    cast::OPERATORS,
    concat::OPERATORS,
    constant::OPERATORS,
    conv::OPERATORS,
    expand::OPERATORS,
    gather::OPERATORS,
    gemm::OPERATORS,
    group_norm::OPERATORS,
    layer_norm::OPERATORS,
    matmul::OPERATORS,
    pad::OPERATORS,
    pool::OPERATORS,
    pow::OPERATORS,
    reduce::OPERATORS,
    reshape::OPERATORS,
    rms_norm::OPERATORS,
    slice::OPERATORS,
    softmax::OPERATORS,
    transpose::OPERATORS,
];

/// The operator of a node.
pub(crate) fn find(node: &Node) -> Result<&'static Operator, Refusal> {
    if !node.domain.is_empty() {
        refuse!("no operator of the domain `{}` is supported", node.domain);
    }
    let found = TABLES
        .iter()
        .copied()
        .flatten()
        .find(|operator| operator.name == node.op_type);
    let Some(operator) = found else {
        refuse!("the operator is not supported")
    };
    if node.opset < operator.since {
        refuse!(
            "operator set {} does not have it, {} is the first",
            node.opset,
            operator.since
        );
    }
    Ok(operator)
}

/// Checks what holds for every operator alike.
pub(crate) fn check(operator: &Operator, node: &Node, arity: usize) -> Result<(), Refusal> {
    if !operator.inputs.contains(&arity) {
        refuse!("{arity} operands, expected {:?}", operator.inputs);
    }
    if node.outputs.len() > operator.outputs {
        refuse!("{} outputs, at most {}", node.outputs.len(), operator.outputs);
    }
    for (index, attribute) in node.attributes.iter().enumerate() {
        if !operator.attributes.contains(&attribute.name.as_str()) {
            refuse!("attribute `{}` is not known", attribute.name);
        }
        if node.attributes[..index]
            .iter()
            .any(|other| other.name == attribute.name)
        {
            refuse!("attribute `{}` is given twice", attribute.name);
        }
    }
    Ok(())
}

/// Names of all operators, sorted.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLES.iter().copied().flatten().map(|operator| operator.name).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use crate::testing::{Model, codes};

    fn old(version: i64) -> Model {
        Model::with_opset(version).input("x", 1, &[2, 3, 4]).output("y")
    }

    #[test]
    fn softmax_rows_are_all_last_axes_up_to_operator_set_12() {
        let plan = old(12).node("Softmax", "x", "y").plan();
        assert_eq!(
            (
                plan.operators[0].reduction_axes.as_slice(),
                plan.operators[0].dims.as_slice()
            ),
            (&[12][..], &[2, 3, 4][..])
        );
        let plan = old(13).node("Softmax", "x", "y").plan();
        assert_eq!(plan.operators[0].reduction_axes, [4]);
    }

    #[test]
    fn axes_and_sizes_as_attributes() {
        let plan = old(12)
            .node("ReduceSum", "x", "s")
            .list("axes", &[1])
            .node("Squeeze", "s", "y")
            .list("axes", &[1])
            .plan();
        assert_eq!(plan.outputs[0].dims, [2, 4]);
        let plan = old(12)
            .node("Split", "x", "y z")
            .int("axis", 2)
            .list("split", &[1, 3])
            .output("z")
            .plan();
        assert_eq!(
            (plan.outputs[0].dims.as_slice(), plan.outputs[1].dims.as_slice()),
            (&[2, 3, 1][..], &[2, 3, 3][..])
        );
        // The way of one operator set is refused in another.
        assert!(
            old(13)
                .node("ReduceSum", "x", "y")
                .list("axes", &[1])
                .compile()
                .is_err()
        );
        assert!(old(12).ints("a", &[1]).node("ReduceSum", "x a", "y").compile().is_err());
        assert!(
            old(13)
                .node("Unsqueeze", "x", "y")
                .list("axes", &[0])
                .compile()
                .is_err()
        );
    }

    #[test]
    fn many_operands_are_joined_in_parts() {
        let list = ["x"; 40].join(" ");
        let plan = old(17).node("Concat", &list, "y").int("axis", 1).plan();
        // Two parts of sixteen, which are equal here and so made once, one of eight, and the whole.
        assert_eq!(codes(&plan), "Copy Copy Copy");
        assert_eq!(plan.outputs[0].dims, [2, 120, 4]);
    }

    #[test]
    fn nodes_of_many_operands_end_at_the_limit_of_operators() {
        let most = crate::limits::NODE_VALUES;
        let list = vec!["x"; most].join(" ");
        let mut model = old(17);
        let nodes = crate::limits::OPERATORS / (most - 1) + 1;
        for k in 0..nodes {
            let output = if k + 1 == nodes { "y".into() } else { format!("v{k}") };
            model = model.node("Max", &list, &output).output(&output);
        }
        // More outputs than a model has: keep every node alive by one sum instead.
        let graph = model.0.graph.get_or_insert_default();
        graph.output.truncate(1);
        graph.output[0].name = "s".into();
        let all: Vec<String> = graph.node.iter().map(|node| node.output[0].clone()).collect();
        let error = model
            .node("Max", &all.join(" "), "s")
            .compile()
            .unwrap_err()
            .to_string();
        assert!(error.contains("more than 262144 operators"), "{error}");
    }

    #[test]
    fn views_cost_no_operator() {
        // Select, transpose and merge what merges; only the product and its row layout remain.
        let plan = Model::new()
            .input("x", 1, &[1, 17, 192])
            .output("y")
            .ints("split", &[1, 17, 3, 4, 16])
            .ints("zero", &[0])
            .node("Reshape", "x split", "a")
            .node("Transpose", "a", "b")
            .list("perm", &[2, 0, 3, 1, 4])
            .node("Gather", "b zero", "q")
            .node("Transpose", "q", "k")
            .list("perm", &[0, 1, 2, 4, 3])
            .node("MatMul", "q k", "y")
            .plan();
        assert_eq!(codes(&plan), "Contract");
    }

    #[test]
    fn computed_indices_select_rows() {
        let plan = Model::new()
            .input("i", 7, &[5])
            .output("y")
            .weight("table", &[9, 4])
            .node("Gather", "table i", "y")
            .plan();
        let d = &plan.operators[0];
        assert_eq!((codes(&plan).as_str(), d.params.as_slice()), ("Gather", &[9, 4][..]));
        assert_eq!(
            (d.operands[0].strides.as_slice(), d.operands[1].strides.as_slice()),
            (&[0, 1][..], &[1, 0][..])
        );
    }

    #[test]
    fn constant_indices_of_elements_are_a_view_when_their_steps_are_even() {
        let model = |indices: &[i64]| {
            Model::new()
                .input("x", 1, &[1, 6])
                .output("y")
                .ints("i", indices)
                .ints("shape", &[indices.len() as i64 / 2, 2])
                .node("Reshape", "i shape", "n")
                .node("GatherND", "x n", "g")
                .node("Relu", "g", "y")
        };
        assert_eq!(codes(&model(&[0, 1, 0, 3, -1, -1]).plan()), "Relu");
        assert_eq!(codes(&model(&[0, 1, 0, 2, 0, 5]).plan()), "Gather Relu");
        for bad in [&[1, 0][..], &[0, 6], &[0, -7], &[-2, 0]] {
            let error = model(bad).compile().unwrap_err().to_string();
            assert!(error.contains("out of range"), "{error}");
        }
    }

    #[test]
    fn lengths_are_a_contraction_of_a_row_with_itself() {
        let model = |op: &str| {
            Model::new()
                .input("x", 1, &[3, 8])
                .output("y")
                .node(op, "x", "y")
                .list("axes", &[1])
        };
        for (op, expected) in [
            ("ReduceL2", "Contract Sqrt"),
            ("ReduceSumSquare", "Contract"),
            ("ReduceL1", "Abs Sum"),
            ("ReduceMin", "Neg MaxPool Neg"),
        ] {
            assert_eq!(codes(&model(op).plan()), expected, "{op}");
        }
    }

    #[test]
    fn norms_and_activations_are_made_of_operators_that_plans_have() {
        let x = || {
            Model::with_opset(23)
                .input("x", 1, &[1, 4, 8])
                .output("y")
                .weight("s", &[4])
                .weight("b", &[4])
        };
        let plan = x().weight("w", &[8]).node("RMSNormalization", "x w", "y").plan();
        assert_eq!(codes(&plan), "Contract Div Add Sqrt Div Mul");
        let plan = x().node("InstanceNormalization", "x s b", "y").plan();
        assert_eq!(
            (codes(&plan).as_str(), plan.operators[0].reduction_axes.as_slice()),
            ("LayerNorm", &[8][..])
        );
        let plan = x().node("GroupNormalization", "x s b", "y").int("num_groups", 2).plan();
        assert_eq!(
            (codes(&plan).as_str(), plan.operators[0].reduction_axes.as_slice()),
            ("LayerNorm Mul Add", &[16][..])
        );
        for groups in [0, -2, 3] {
            let model = x().node("GroupNormalization", "x s b", "y").int("num_groups", groups);
            let error = model.compile().unwrap_err().to_string();
            assert!(error.contains("4 channels do not make"), "{error}");
        }
        for (op, expected) in [
            ("LogSoftmax", "MaxPool Sub Exp Sum Log Sub"),
            ("ReduceLogSumExp", "MaxPool Max Min Sub Exp Sum Log Add"),
            ("LeakyRelu", "Mul Less Where"),
            ("Elu", "Exp Sub Less Where"),
            ("HardSwish", "Mul Add Relu Min Mul"),
            ("Softplus", "Softplus"),
        ] {
            assert_eq!(codes(&x().node(op, "x", "y").plan()), expected, "{op}");
        }
    }

    #[test]
    fn formats_of_two_bytes_are_cast_by_way_of_f32() {
        let cast = |from: i32, to: i64| {
            let model = Model::new().input("x", from, &[5]).output("y");
            codes(&model.node("Cast", "x", "y").int("to", to).plan())
        };
        for (from, to, expected) in [
            (1, 10, "Cast"),
            (16, 1, "Cast"),
            (10, 16, "Cast Cast"),
            (7, 16, "Cast Cast"),
            (16, 6, "Cast Cast"),
            (10, 9, "Cast Cast"),
            (10, 10, "Copy"),
        ] {
            assert_eq!(cast(from, to), expected, "{from} to {to}");
        }
        let pair = |op: &str| {
            let model = Model::new().input("x", 10, &[2, 2]).input("z", 10, &[2, 2]).output("y");
            model.node(op, "x z", "y").compile()
        };
        for op in ["Add", "Mul", "Div", "Max", "Less", "Sum"] {
            assert!(pair(op).is_ok(), "{op}");
        }
        for op in ["MatMul", "Pow", "PRelu"] {
            let error = pair(op).unwrap_err().to_string();
            assert!(error.contains("compute it in float32 between two Casts"), "{error}");
        }
    }

    /// More than folding may otherwise compute.
    #[test]
    fn weights_may_be_stored_in_two_bytes() {
        let (rows, columns) = (4_097, 4_096);
        let model = Model::new().input("x", 1, &[1, rows]).output("y");
        let model = model.halves("w", 10, &[rows, columns], &vec![0x3c00; (rows * columns) as usize]);
        let plan = model
            .node("Cast", "w", "w32")
            .int("to", 1)
            .node("MatMul", "x w32", "y")
            .plan();
        assert_eq!(codes(&plan), "Contract");
        assert!(plan.weights[0].bytes.chunks(4).all(|one| one == 1f32.to_le_bytes()));
    }

    #[test]
    fn powers_of_small_constants_are_products() {
        let model = |exponent: f32| {
            Model::new()
                .input("x", 1, &[5])
                .output("y")
                .floats("e", &[], &[exponent])
                .node("Pow", "x e", "y")
        };
        for (exponent, expected) in [
            (0.5, "Sqrt"),
            (2.0, "Mul"),
            (3.0, "Mul Mul"),
            (-1.0, "Pow"),
            (2.5, "Pow"),
        ] {
            assert_eq!(codes(&model(exponent).plan()), expected, "{exponent}");
        }
        // Two and the least number of float16: its bits are not its value.
        for (bits, expected) in [(0x4000u16, "Mul"), (1, "Pow"), (2, "Pow")] {
            let model = Model::new().input("x", 1, &[5]).output("y");
            let model = model.halves("e", 10, &[], &[bits]).node("Pow", "x e", "y");
            assert_eq!(codes(&model.plan()), expected, "{bits}");
        }
        let by_input = Model::new()
            .input("x", 1, &[5])
            .input("e", 7, &[1])
            .output("y")
            .node("Pow", "x e", "y");
        assert_eq!(codes(&by_input.plan()), "Cast Pow");
    }

    #[test]
    fn equal_copies_of_a_layer_are_made_once() {
        let model = Model::new()
            .input("x", 1, &[1, 4, 6, 6])
            .output("y")
            .weight("v", &[4, 4, 3, 3])
            .weight("w", &[4, 4, 3, 3])
            .weight("u", &[64, 10])
            .ints("flat", &[1, 64])
            .node("Conv", "x v", "a")
            .node("Conv", "x w", "b")
            .node("Mul", "a b", "m")
            .node("Reshape", "m flat", "f")
            .node("MatMul", "f u", "y");
        // Inner values of one layer, then boundary values.
        assert_eq!(codes(&model.plan()), "Copy Contract Contract Mul Contract");
        assert_eq!(codes(&model.output("m").plan()), "Copy Contract Contract Mul Contract");
    }

    #[test]
    fn what_an_unsupported_operator_gives_is_not_reported_again() {
        let model = old(17)
            .node("Det", "x", "a")
            .node("Relu", "a", "b")
            .node("Inverse", "b", "c")
            .node("Relu", "c", "y");
        let error = model.compile().unwrap_err().to_string();
        assert!(
            error.contains("2 unsupported") && error.contains("Det") && error.contains("Inverse"),
            "{error}"
        );
    }

    #[test]
    fn dead_nodes_need_no_support() {
        assert_eq!(
            codes(&old(17).node("Det", "x", "a").node("Relu", "x", "y").plan()),
            "Relu"
        );
    }
}
