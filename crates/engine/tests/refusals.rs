//! What does not fit is refused by name, and an engine goes on after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{TORCH, bools, f32s, i64s, operand, plan};
use touchstone_engine::{Device, Engine, EngineError, Keep, Options, Reference, Torch, Value};
use touchstone_model::plan::{Layer, Plan};
use touchstone_protocol::descriptor::{Code, Dtype, Place};

fn engines() -> [&'static dyn Engine; 2] {
    [&*TORCH, &Reference]
}

fn add() -> (Arc<Plan>, Vec<Value>) {
    let noise = &mut common::Noise(30);
    let operands = vec![operand(f32s(&[4], noise), 0, &[1]), operand(f32s(&[4], noise), 0, &[1])];
    plan(Code::Add, Dtype::F32, &[4], &[], &[], operands)
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let (plan, inputs) = add();
    let good = inputs[0].clone();
    let short = Value {
        bytes: good.bytes[..12].into(),
        ..good.clone()
    };
    let cases = [
        (vec![good.clone()], "1 inputs given, the model takes 2"),
        (
            vec![good.clone(), i64s(&[4], &[0; 4])],
            "input 1 (\"x\"): dtype is I64, expected F32",
        ),
        (
            vec![good.clone(), f32s(&[2, 2], &mut common::Noise(1))],
            "input 1 (\"x\"): shape is [2, 2], expected [4]",
        ),
        (
            vec![short, good.clone()],
            "input 0 (\"x\"): tensor of shape [4] needs 16 bytes, got 12",
        ),
    ];
    for (inputs, message) in cases {
        for engine in engines() {
            let error = engine.run(&plan, &inputs, Keep::Boundary).unwrap_err();
            assert_eq!(error.to_string(), message, "{}", engine.name());
        }
    }
    let (plan, _) = common::plan(
        Code::Not,
        Dtype::Bool,
        &[2],
        &[],
        &[],
        vec![operand(bools(&[true, false]), 0, &[1])],
    );
    let byte = Value {
        dtype: Dtype::Bool,
        dims: vec![2],
        bytes: vec![1, 2].into(),
    };
    for engine in engines() {
        let error = engine
            .run(&plan, std::slice::from_ref(&byte), Keep::Boundary)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "input 0 (\"x\"): bool at element 1 is 2, neither 0 nor 1"
        );
    }
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    type Break = fn(&mut Plan);
    let twice: Break = |p| {
        p.operators.push(p.operators[0].clone());
        p.layers[0].operators = 0..2;
    };
    let breaks: [(Break, &str); 9] = [
        (twice, "operator 1 (\"\"): writes Output(0) a second time"),
        (|p| p.layers[0].operators = 0..0, "layers cover 0 of 1 operators"),
        (
            |p| {
                p.layers.push(Layer {
                    operators: 5..6,
                    inner_count: 0,
                })
            },
            "layer 1 covers operators 5..6, expected from 1",
        ),
        (|p| p.trace_count = 1, "0 of 1 trace values are written"),
        (|p| p.layers[0].inner_count = 1, "says layer 0 with 0 inner values"),
        (
            |p| p.operators[0].operands[1].place = Place::Trace(0),
            "reads Trace(0), which is not written before it",
        ),
        (
            |p| p.operators[0].operands[1].dims = vec![2, 2],
            "reads Input(1) as F32 [2, 2], it is F32 [4]",
        ),
        (
            |p| p.operators[0].place = Place::Inner(0),
            "layer 0 writes 1 of 0 inner values",
        ),
        (|p| p.operators[0].operands.truncate(1), "Add with 1 operands"),
    ];
    for (damage, message) in breaks {
        let (plan, inputs) = add();
        let mut plan = Plan::clone(&plan);
        damage(&mut plan);
        let plan = Arc::new(plan);
        for engine in engines() {
            let error = engine.run(&plan, &inputs, Keep::Boundary).unwrap_err().to_string();
            assert!(error.contains(message), "{}: {error}", engine.name());
        }
    }
    // And the engines still work.
    let (plan, inputs) = add();
    for engine in engines() {
        engine.run(&plan, &inputs, Keep::Boundary).unwrap();
    }
}

#[test]
fn replays_name_what_is_missing_or_wrong() {
    let (plan, inputs) = add();
    for engine in engines() {
        let replay = |values: &dyn Fn(Place) -> Option<Value>| engine.replay_layer(&plan, 0, &|place| values(place));
        let missing = replay(&|_| None).unwrap_err();
        assert_eq!(
            missing,
            EngineError::Missing {
                layer: 0,
                place: Place::Input(0)
            }
        );
        let wrong = replay(&|_| Some(i64s(&[4], &[0; 4]))).unwrap_err();
        assert!(
            matches!(
                wrong,
                EngineError::Boundary {
                    layer: 0,
                    place: Place::Input(0),
                    ..
                }
            ),
            "{wrong}"
        );
        let good = |place: Place| inputs.get(place.parts().1 as usize).cloned();
        assert_eq!(
            engine.replay_layer(&plan, 7, &good).unwrap_err(),
            EngineError::Layer { layer: 7, layers: 1 }
        );
        let run = engine.run(&plan, &inputs, Keep::All).unwrap();
        let layer = engine.replay_layer(&plan, 0, &good).unwrap();
        assert_eq!(layer.boundary, [(Place::Output(0), run.outputs[0].clone())]);
    }
}

#[test]
fn engines_that_cannot_start_say_why() {
    let none = Torch::new(Options {
        device: Device::Cpu,
        threads: 0,
    })
    .unwrap_err();
    assert!(none.to_string().contains("0 threads"), "{none}");
    let absent = Torch::new(Options {
        device: Device::Cuda(4096),
        threads: 1,
    })
    .unwrap_err();
    assert!(absent.to_string().contains("no CUDA device 4096"), "{absent}");
    assert_eq!("cuda:3".parse(), Ok(Device::Cuda(3)));
    assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
    assert_eq!("cpu".parse(), Ok(Device::Cpu));
    for name in ["", "gpu", "cuda:", "cpu:0", "cuda:-1"] {
        assert!(name.parse::<Device>().is_err(), "{name}");
    }
}

#[test]
fn runs_from_many_threads_give_the_same_bits() {
    let noise = &mut common::Noise(31);
    let (plan, inputs) = common::plan(
        Code::Contract,
        Dtype::F32,
        &[96, 96],
        &[512],
        &[],
        vec![
            operand(f32s(&[96, 512], noise), 0, &[512, 0, 1]),
            operand(f32s(&[96, 512], noise), 0, &[0, 512, 1]),
        ],
    );
    let first = TORCH.run(&plan, &inputs, Keep::All).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(TORCH.run(&plan, &inputs, Keep::All).unwrap(), first));
        }
    });
}
