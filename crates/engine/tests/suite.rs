//! Every committed model on both engines: close to ONNX Runtime, replayed bit for bit, every element inside its envelope.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::{num::NonZero, path::PathBuf, sync::Arc};

use common::{TORCH, compiled, models, rows};
use touchstone_engine::{
    Engine, Keep, ModelTrees, Opened, Options, Reference, Torch, Trace, judge_run, reopen, torch::self_test,
};
use touchstone_model::Plan;
use touchstone_protocol::{
    descriptor::Place,
    witness::{Verdict, judge},
};

const TWO: NonZero<usize> = NonZero::new(2).unwrap();

fn suite() -> Vec<(String, Arc<Plan>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(models().join("suite"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
        .iter()
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), compiled(path)))
        .collect()
}

#[test]
fn outputs_agree_with_onnx_runtime() {
    let inputs = rows("suite/inputs.npy");
    for (name, plan) in suite() {
        let expected = rows(&format!("suite/expected/{name}.npy"));
        let mut worst = [0.0f32; 2];
        for (input, want) in inputs.iter().zip(&expected) {
            for (side, engine) in [(0, &*TORCH as &dyn Engine), (1, &Reference)] {
                let run = engine.run(&plan, std::slice::from_ref(input), Keep::Boundary).unwrap();
                let (got, want) = (run.outputs[0].to_f32().unwrap(), want.to_f32().unwrap());
                let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Logits are around 10; twenty operators deep, a hundred ulp.
                assert!(far <= 1e-4, "{name} on {}: {far}", engine.name());
                worst[side] = worst[side].max(far);
            }
        }
        println!(
            "{name}: {} operators, {} layers, largest difference libtorch {:e}, reference {:e}",
            plan.operators.len(),
            plan.layers.len(),
            worst[0],
            worst[1]
        );
    }
}

#[test]
fn every_layer_replays_bit_for_bit() {
    let inputs = rows("suite/inputs.npy");
    let one = Torch::new(Options {
        device: Default::default(),
        threads: 1,
    })
    .unwrap();
    for (name, plan) in suite() {
        for engine in [&*TORCH as &dyn Engine, &one, &Reference] {
            self_test::repeatable(engine, &plan, &inputs[..1])
                .unwrap_or_else(|e| panic!("{name} on {}: {e}", engine.name()));
        }
    }
}

#[test]
fn every_element_is_inside_its_envelope() {
    let inputs = rows("suite/inputs.npy");
    for (name, plan) in suite() {
        for engine in [&*TORCH as &dyn Engine, &Reference] {
            for input in &inputs[..2] {
                let run = engine.run(&plan, std::slice::from_ref(input), Keep::All).unwrap();
                let report = judge_run(&plan, &run, TWO).unwrap();
                assert!(report.is_right(), "{name} on {}: {report:?}", engine.name());
                assert_eq!(report.operators.len(), plan.operators.len());
            }
        }
    }
}

#[test]
fn a_wrong_inner_value_is_found_and_its_witness_convicts() {
    let inputs = rows("suite/inputs.npy");
    for (name, plan) in suite() {
        let mut run = TORCH.run(&plan, &inputs[..1], Keep::All).unwrap();
        let trees = ModelTrees::new(&plan).unwrap();
        let trace = Trace::commit(&run).unwrap();
        let Some(layer) = plan.layers.iter().position(|layer| layer.inner_count > 0) else {
            continue;
        };
        let opened = reopen(&*TORCH, &plan, layer as u32, &trace).unwrap();
        let honest = Opened {
            plan: &plan,
            model: &trees,
            trace: &trace,
            layer: Some(&opened),
        };
        let operator = plan.layers[layer]
            .operators
            .clone()
            .find(|o| matches!(plan.operators[*o as usize].place, Place::Inner(_)))
            .unwrap();
        let verdict = |opened: &Opened<'_>, element| {
            judge(&opened.context(), &opened.witness(operator, element).unwrap()).verdict
        };
        assert_eq!(verdict(&honest, 0), Verdict::Inside, "{name}");

        let Place::Inner(number) = plan.operators[operator as usize].place else {
            panic!("{name}")
        };
        let inner = &mut run.inner.as_mut().unwrap()[layer];
        let mut bytes = inner[number as usize].bytes.to_vec();
        bytes[2] ^= 0x40;
        inner[number as usize].bytes = bytes.into();
        let report = judge_run(&plan, &run, TWO).unwrap();
        assert!(report.outside > 0, "{name}");
        let first = report.first_outside.unwrap();
        assert_eq!((first.operator, first.element), (operator, 0), "{name}");
        let wrong = touchstone_engine::LayerTrace::commit(layer as u32, &run.inner.as_ref().unwrap()[layer]).unwrap();
        let cheat = Opened {
            layer: Some(&wrong),
            ..honest
        };
        assert_eq!(verdict(&cheat, 0), Verdict::Outside, "{name}");
    }
}

#[test]
fn a_layer_that_does_not_explain_its_boundary_is_not_reopened() {
    let inputs = rows("suite/inputs.npy");
    let (_, plan) = suite().into_iter().find(|(name, _)| name == "vit_dynamo").unwrap();
    let mut run = TORCH.run(&plan, &inputs[..1], Keep::Boundary).unwrap();
    let mut bytes = run.trace[0].bytes.to_vec();
    bytes[0] ^= 1;
    run.trace[0].bytes = bytes.into();
    let layer = plan
        .operators
        .iter()
        .find(|d| d.place == Place::Trace(0))
        .unwrap()
        .layer;
    let trace = Trace::commit(&run).unwrap();
    assert!(reopen(&*TORCH, &plan, layer, &trace).is_err());
}
