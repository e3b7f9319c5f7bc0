//! Quotes against what `crates/protocol/tests` measures on the contracts (`docs/gas.md`).

use touchstone_protocol::{
    descriptor::{Bound, Descriptor, Dtype, Place},
    dispute::Side,
    model::Profile,
};

use super::convict;

use crate::{
    Plan, cost,
    plan::Weight,
    proto::{AttributeProto, attribute},
    testing::Model,
};

fn elementwise(op: &str, operands: &str) -> Model {
    let model = Model::with_opset(20).input("x", 1, &[4_096]).input("z", 1, &[4_096]);
    model.output("y").node(op, operands, "y")
}

fn rows(op: &str, terms: i64) -> Model {
    Model::new().input("x", 1, &[4, terms]).output("y").node(op, "x", "y")
}

fn reduced(op: &str, terms: i64) -> Model {
    rows(op, terms).list("axes", &[1])
}

fn arg_max(terms: i64) -> Model {
    rows("ArgMax", terms).int("axis", 1)
}

fn product_and_bias(rows: i64, terms: i64, columns: i64) -> Model {
    let model = Model::new().input("x", 1, &[rows, terms]).output("y");
    let model = model.weight("w", &[terms, columns]).weight("bias", &[columns]);
    model.node("MatMul", "x w", "m").node("Add", "m bias", "y")
}

fn norm(terms: i64) -> Model {
    let model = Model::new().input("x", 1, &[4, terms]).output("y");
    let model = model.weight("s", &[terms]).weight("bias", &[terms]);
    model.node("LayerNormalization", "x s bias", "y")
}

/// The last operator of a model as `crates/protocol/tests/gas.rs` stages it: in a plan of 128 operators, 64 weights and 64
/// trace values, its first operand in the trace and the others weights.
fn staged(mut plan: Plan) -> (Plan, Descriptor) {
    let mut d = plan.operators.pop().unwrap();
    (d.layer, d.layer_inner_count, d.place) = (0, 0, Place::Trace(7));
    for (number, operand) in (0..).zip(&mut d.operands) {
        operand.place = if number == 0 {
            Place::Trace(1)
        } else {
            Place::Weight(number)
        };
    }
    let weight = Weight {
        name: String::new(),
        dtype: Dtype::U8,
        dims: vec![1],
        bytes: [0].into(),
    };
    plan.operators = vec![d.clone(); 128];
    plan.weights = vec![weight; 64];
    plan.trace_count = 64;
    plan.inputs.truncate(1);
    (plan, d)
}

/// A convolution before its windows are laid out.
fn window() -> (Plan, Descriptor) {
    let model = Model::new()
        .input("x", 1, &[1, 32, 8, 8])
        .output("y")
        .weight("w", &[1, 32, 3, 3]);
    let conv = model.node("Conv", "x w", "y").list("pads", &[1; 4]);
    let (plan, mut d) = staged(conv.plan());
    let bound = |output, kernel| Bound {
        extent: 8,
        constant: -1,
        terms: vec![(output, 1), (kernel, 1)],
    };
    (d.output_axes, d.reduction_axes) = (vec![8, 8], vec![32, 3, 3]);
    let x = &mut d.operands[0];
    (x.dims, x.base, x.strides) = (vec![32, 8, 8], -9, vec![8, 1, 64, 8, 1]);
    x.bounds = vec![bound(0, 3), bound(1, 4)];
    d.operands[1].strides = vec![0, 0, 9, 3, 1];
    (plan, d)
}

/// What is measured on chain is at most what is quoted, and that at most half as much again.
#[test]
fn quotes_are_above_what_is_measured_and_near_it() {
    let batch_norm = Model::new().input("x", 1, &[1, 64, 8, 8]).output("y");
    let batch_norm = ["a", "b", "c", "d"]
        .iter()
        .fold(batch_norm, |model, name| model.weight(name, &[64]));
    let (plan, mut d) = staged(batch_norm.node("BatchNormalization", "x a b c d", "y").plan());
    // There, all operands are as large as the first.
    for number in 1..5 {
        let place = d.operands[number].place;
        d.operands[number] = d.operands[0].clone();
        d.operands[number].place = place;
    }
    let batch_norm = (plan, d);
    let gather = Model::new().weight("w", &[512, 64]).input("i", 7, &[16]).output("y");
    let mut tanh = elementwise("Gelu", "x");
    tanh.last().push(AttributeProto {
        name: "approximate".into(),
        kind: attribute::STRING,
        s: b"tanh".to_vec(),
        ..Default::default()
    });
    let copy = |n: i64| Model::new().input("x", 1, &[n]).output("y").node("Identity", "x", "y");
    let models = [
        ("copy", copy(4_096)),
        ("copy of a tensor of 2^20", copy(1 << 20)),
        ("gather", gather.node("Gather", "w i", "y")),
        ("add", elementwise("Add", "x z")),
        ("div", elementwise("Div", "x z")),
        ("sqrt", elementwise("Sqrt", "x")),
        ("max 256", reduced("ReduceMax", 256)),
        ("position of a maximum, 256", arg_max(256)),
        ("erf", elementwise("Erf", "x")),
        ("gelu", elementwise("Gelu", "x")),
        ("gelu, tanh form", tanh),
        ("tanh", elementwise("Tanh", "x")),
        ("sigmoid", elementwise("Sigmoid", "x")),
        ("exp", elementwise("Exp", "x")),
        ("log", elementwise("Log", "x")),
        ("softplus", elementwise("Softplus", "x")),
        ("sin", elementwise("Sin", "x")),
        ("cos", elementwise("Cos", "x")),
        ("pow", elementwise("Pow", "x z")),
        ("contraction 64 + 1", product_and_bias(128, 64, 16)),
        ("contraction 384 + 1", product_and_bias(128, 384, 16)),
        ("contraction 1,536 + 1", product_and_bias(16, 1_536, 16)),
        ("contraction 4,096 + 1", product_and_bias(4, 4_096, 4)),
        (
            "sum 4,096",
            Model::new()
                .input("x", 1, &[4, 4_096])
                .output("y")
                .ints("axes", &[1])
                .node("ReduceSum", "x axes", "y"),
        ),
        ("mean 512", reduced("ReduceMean", 512)),
        ("mean 4,096", reduced("ReduceMean", 4_096)),
        ("softmax 64", rows("Softmax", 64)),
        ("softmax 512", rows("Softmax", 512)),
        ("softmax 1,024", rows("Softmax", 1_024)),
        ("layer norm 64", norm(64)),
        ("layer norm 1,024", norm(1_024)),
        ("layer norm 2,048", norm(2_048)),
    ];
    let cases = models.into_iter().map(|(name, model)| (name, staged(model.plan())));
    let others = [
        ("batch norm", batch_norm),
        ("window of 3 × 3 over 32 channels", window()),
    ];
    for (name, (plan, d)) in cases.chain(others) {
        let [conviction, verdict, bytes] = measured(name)[..] else {
            panic!("docs/gas.md has no {name}");
        };
        let bytes_of_descriptor = d.encode().unwrap().len();
        let cost = cost::cost(&plan, &d, bytes_of_descriptor);
        println!(
            "{name}: witness {} of {bytes} bytes, verdict {} of {verdict} gas ({:.2})",
            cost.witness_bytes,
            cost.verdict_gas,
            cost.verdict_gas as f64 / verdict as f64
        );
        assert!((bytes..=bytes * 3 / 2).contains(&cost.witness_bytes), "{name}");
        // Windows that are not laid out are quoted by their runs alone; compile lays out what is not small.
        let most = if name.starts_with("window") { 7 } else { 6 };
        assert!((verdict..=verdict * most / 4).contains(&cost.verdict_gas), "{name}");
        let quoted = convict(Side::Challenger, cost).gas;
        assert!(
            (conviction..=conviction * most / 4).contains(&quoted),
            "{name}: {quoted} of {conviction}"
        );
    }
}

/// Under a tensor-core profile a contraction is quoted as much more as the page says, and nothing else is.
#[test]
fn factors_that_may_be_rounded_are_quoted() {
    for (model, more) in [
        (product_and_bias(4, 512, 4), 512 * cost::ROUNDING_GAS),
        (rows("Softmax", 512), 0),
    ] {
        let (mut plan, d) = staged(model.plan());
        let length = d.encode().unwrap().len();
        let fast = cost::cost(&plan, &d, length).verdict_gas;
        plan.profile = Profile::TF32.encode();
        assert_eq!(cost::cost(&plan, &d, length).verdict_gas, fast + more);
    }
}

/// A copy of a large tensor computes next to nothing and opens long proofs: its calldata has a least price (EIP-7623).
#[test]
fn calldata_has_a_least_price() {
    let copy = Model::new().input("x", 1, &[16]).output("y").node("Identity", "x", "y");
    let (plan, mut d) = staged(copy.plan());
    d.dims = vec![1 << 28];
    d.output_axes = d.dims.clone();
    d.operands[0].dims = d.dims.clone();
    let cost = cost::cost(&plan, &d, d.encode().unwrap().len());
    assert!(cost.witness_bytes > 2_500, "{cost:?}");
    assert!(cost.verdict_gas >= 21_000 + 40 * (cost.witness_bytes + 500), "{cost:?}");
}

/// The numbers of a row of `docs/gas.md`.
pub(super) fn measured(name: &str) -> Vec<u64> {
    let page = include_str!("../../../../docs/gas.md");
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {name} | ")));
    let cells = row.into_iter().flat_map(|row| row.trim_end_matches('|').split('|'));
    cells.map(|cell| cell.trim().parse().unwrap()).collect()
}
