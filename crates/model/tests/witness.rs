//! Witnesses for the suite's plans: the judge accepts what the naive evaluator computes, and no witness is longer than the
//! compiler's bound, by which it refuses operators.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{evaluate, npy, nth, read};
use touchstone_model::{CompileOptions, Plan, compile};
use touchstone_protocol::{
    claim::{inputs_hash, outputs_hash},
    descriptor::{Dtype, Place},
    half,
    merkle::MerkleTree,
    tensor::TensorTree,
    witness::{Context, Source, Verdict, WitnessBuilder, judge},
};

fn bytes(dtype: Dtype, values: &[f64]) -> Vec<u8> {
    let wide = |value: &f64| match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
            half::encode(dtype, (*value as f32).to_bits()).to_le_bytes()[..dtype.size()].to_vec()
        }
        Dtype::I32 => (*value as i32).to_le_bytes().to_vec(),
        Dtype::I64 => (*value as i64).to_le_bytes().to_vec(),
        Dtype::U8 | Dtype::Bool => vec![*value as u8],
    };
    values.iter().flat_map(wide).collect()
}

/// All values of a run; inner ones by layer.
struct Values {
    trees: BTreeMap<(u32, Place), TensorTree>,
    layer: u32,
}

impl Source for Values {
    fn tensor(&self, place: Place) -> Option<&TensorTree> {
        let layer = if matches!(place, Place::Inner(_)) {
            self.layer
        } else {
            0
        };
        self.trees.get(&(layer, place))
    }
}

fn commitments(values: &Values, layer: u32, place: fn(u32) -> Place, count: u32) -> Vec<alloy_primitives::B256> {
    (0..count)
        .map(|n| values.trees[&(layer, place(n))].commitment())
        .collect()
}

fn values(plan: &Plan, input: &touchstone_model::Tensor) -> Values {
    let run = evaluate::run(plan, std::slice::from_ref(input));
    let mut trees = BTreeMap::new();
    trees.insert(
        (0, Place::Input(0)),
        TensorTree::new(input.dtype, &input.dims, input.bytes.clone()).unwrap(),
    );
    for (n, w) in plan.weights.iter().enumerate() {
        trees.insert(
            (0, Place::Weight(n as u32)),
            TensorTree::new(w.dtype, &w.dims, w.bytes.clone()).unwrap(),
        );
    }
    for (d, result) in plan.operators.iter().zip(&run.operators) {
        let layer = if matches!(d.place, Place::Inner(_)) { d.layer } else { 0 };
        trees.insert(
            (layer, d.place),
            TensorTree::new(d.dtype, &d.dims, bytes(d.dtype, result)).unwrap(),
        );
    }
    Values { trees, layer: 0 }
}

fn check(name: &str) {
    let plan = compile(&read(&format!("suite/{name}.onnx")), &CompileOptions::default()).unwrap();
    let mut values = values(&plan, &nth(&npy("suite/inputs.npy"), 3));
    let bounds = plan.inspect();
    let plan_tree = MerkleTree::new(plan.leaves().unwrap());
    let weights = MerkleTree::new(plan.weight_commitments().unwrap());
    let trace = MerkleTree::new(commitments(&values, 0, Place::Trace, plan.trace_count));
    let inputs = commitments(&values, 0, Place::Input, 1);
    let outputs = commitments(&values, 0, Place::Output, plan.outputs.len() as u32);
    let mut longest = 0.0f64;
    for (number, layer) in plan.layers.iter().enumerate() {
        let number = number as u32;
        values.layer = number;
        let inner = MerkleTree::new(commitments(&values, number, Place::Inner, layer.inner_count));
        let builder = WitnessBuilder {
            plan: &plan_tree,
            weights: &weights,
            trace: &trace,
            layer: Some((number, &inner)),
            inputs: &inputs,
            outputs: &outputs,
            source: &values,
        };
        let context = Context {
            plan_root: plan_tree.root(),
            weights_root: weights.root(),
            trace_root: trace.root(),
            layer: Some((number, inner.root())),
            inputs: inputs_hash(&inputs),
            outputs: outputs_hash(&outputs),
            operators: plan.operators.len() as u32,
            weights: plan.weights.len() as u32,
            trace_values: plan.trace_count,
            input_count: 1,
            output_count: outputs.len() as u32,
            profile: plan.profile,
        };
        for operator in layer.operators.clone() {
            let d = &plan.operators[operator as usize];
            let elements = d.elements();
            let bound = bounds.operators[operator as usize].cost.witness_bytes;
            // First, last and thirty between.
            let picked = (0..32).map(|k| (elements - 1) * k / 31);
            for element in picked {
                let witness = builder.witness(operator, d, element).unwrap();
                let outcome = judge(&context, &witness);
                let label = format!(
                    "{name}: operator {operator} `{}` element {element}",
                    plan.names[operator as usize]
                );
                assert_eq!(outcome.verdict, Verdict::Inside, "{label}: {:?}", outcome.check);
                assert!(
                    witness.len() as u64 <= bound,
                    "{label}: {} bytes, bound {bound}",
                    witness.len()
                );
                longest = longest.max(witness.len() as f64 / bound as f64);
            }
        }
    }
    println!("{name}: longest witness is {longest:.3} of its bound");
    // The bound is no wild guess either: it decides what is refused.
    assert!(longest > 0.8, "{name}: {longest}");
}

#[test]
fn mlp() {
    check("mlp_dynamo");
}

#[test]
fn cnn() {
    check("cnn_torchscript_batchnorm");
}

#[test]
fn reader() {
    check("reader_dynamo");
}

#[test]
fn vit() {
    check("vit_torchscript");
}
