//! The committed models compile, and their plans compute what ONNX Runtime does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{distance, evaluate, file_name, models, npy, npz, nth, read, suite};
use touchstone_model::{CompileOptions, Plan, Tensor, compile};
use touchstone_protocol::descriptor::{Code, Place};

fn plan(path: &str) -> Plan {
    compile(&read(path), &CompileOptions::default()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn check_outputs(plan: &Plan, inputs: &Tensor, expected: &Tensor, count: usize, name: &str) {
    for n in 0..count {
        let run = evaluate::run(plan, &[nth(inputs, n)]);
        let expected = nth(expected, n);
        let expected = evaluate::numbers(expected.dtype, &expected.bytes);
        let distance = distance(&run.outputs[0], &expected);
        assert!(distance < 2e-5, "{name} on input {n}: {distance}");
    }
}

#[test]
fn outputs_are_onnx_runtimes() {
    let inputs = npy("suite/inputs.npy");
    for name in suite() {
        let plan = plan(&format!("suite/{name}.onnx"));
        let expected = npy(&format!("suite/expected/{name}.npy"));
        check_outputs(
            &plan,
            &inputs,
            &expected,
            if name.starts_with("vit") { 1 } else { 4 },
            &name,
        );
    }
}

#[test]
fn inner_values_are_onnx_runtimes() {
    let inputs = npy("suite/inputs.npy");
    for name in suite() {
        let plan = plan(&format!("suite/{name}.onnx"));
        let values = npz(&format!("suite/values/{name}/0.npz"));
        let run = evaluate::run(&plan, &[nth(&inputs, 0)]);
        let mut compared = 0;
        for (number, operator) in plan.names.iter().enumerate() {
            let Some(expected) = values.get(&file_name(operator)) else {
                continue;
            };
            let distance = distance(
                &run.operators[number],
                &evaluate::numbers(expected.dtype, &expected.bytes),
            );
            assert!(distance < 2e-5, "{name}: operator {number} `{operator}`: {distance}");
            compared += 1;
        }
        assert!(
            compared * 2 > plan.operators.len(),
            "{name}: {compared} of {} compared",
            plan.operators.len()
        );
    }
}

#[test]
fn the_digits_model_reads_digits() {
    let plan = plan("digits_vit/model.onnx");
    let image = npy("digits_vit/inputs/digit_0_label_7.npy");
    let run = evaluate::run(&plan, &[image]);
    let best = (0..10).max_by(|a, b| run.outputs[0][*a].total_cmp(&run.outputs[0][*b]));
    assert_eq!(best, Some(7));
}

#[test]
fn the_digits_model_is_cut_after_its_residuals() {
    let plan = plan("digits_vit/model.onnx");
    // Two layers a block and the head's.
    assert_eq!(plan.layers.len(), 9);
    for layer in &plan.layers {
        let last = &plan.operators[layer.operators.end as usize - 1];
        assert_eq!(last.code, Code::Contract);
        assert!(!matches!(last.place, Place::Inner(_)));
    }
    assert_eq!(plan.trace_count, 8);
    let folder = models();
    assert!(folder.is_dir());
}
