//! Claims in memory: honest ones, and ones with a lie in them that is consistent downstream.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use alloy_primitives::Address;
use touchstone_challenger::model::Model;
use touchstone_engine::{Engine, Keep, LayerTrace, Options, Reference, Run, Torch, Trace, Value};
use touchstone_model::{
    plan::{Plan, Weight},
    tensor_file::read_npy,
};
use touchstone_protocol::{
    descriptor::{Dtype, Place},
    judge::{self, Verdict},
    model::Profile,
};

pub static TORCH: LazyLock<Torch> = LazyLock::new(|| {
    Torch::new(Options {
        device: Default::default(),
        threads: 1,
    })
    .unwrap()
});

pub fn torch() -> &'static dyn Engine {
    &*TORCH
}

pub fn reference() -> &'static dyn Engine {
    &Reference
}

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

pub fn model(name: &str) -> Model {
    Model::compile(
        &std::fs::read(file(name)).unwrap(),
        Profile::FAST.encode(),
        Address::ZERO,
    )
    .unwrap()
}

/// The test images, float32 [1, 1, 8, 8] each.
pub fn images() -> Vec<Value> {
    let all = read_npy(&std::fs::read(file("digits_vit/inputs/images.npy")).unwrap()).unwrap();
    all.bytes
        .chunks(256)
        .map(|image| Value::new(all.dtype, vec![1, 1, 8, 8], image).unwrap())
        .collect()
}

/// What a worker has after a job.
pub struct Claimed {
    pub run: Run,
    pub trace: Trace,
}

impl Claimed {
    pub fn new(run: Run) -> Self {
        Self {
            trace: Trace::commit(&run).unwrap(),
            run,
        }
    }

    pub fn layer(&self, layer: u32) -> LayerTrace {
        LayerTrace::commit(layer, &self.run.inner.as_ref().unwrap()[layer as usize]).unwrap()
    }
}

pub fn honest(model: &Model, engine: &dyn Engine, image: &Value) -> Claimed {
    Claimed::new(engine.run(&model.plan, std::slice::from_ref(image), Keep::All).unwrap())
}

/// Runs `plan` in place of the model's, and claims it to be the model's.
pub fn by_plan(plan: Plan, engine: &dyn Engine, image: &Value) -> Claimed {
    Claimed::new(
        engine
            .run(&Arc::new(plan), std::slice::from_ref(image), Keep::All)
            .unwrap(),
    )
}

/// A run in which the value that `operator` wrote is `value` instead, and everything after is computed from that.
pub fn with_value(model: &Model, engine: &dyn Engine, image: &Value, operator: u32, value: &Value) -> Claimed {
    let mut plan = (*model.plan).clone();
    let d = plan.operators[operator as usize].clone();
    let forged = Place::Weight(plan.weights.len() as u32);
    plan.weights.push(Weight {
        name: "forged".into(),
        dtype: value.dtype,
        dims: value.dims.clone(),
        bytes: value.bytes.clone(),
    });
    for reader in plan.operators.iter_mut().skip(operator as usize + 1) {
        let same_layer = reader.layer == d.layer;
        for operand in &mut reader.operands {
            if operand.place == d.place && (same_layer || !matches!(d.place, Place::Inner(_))) {
                operand.place = forged;
            }
        }
    }
    let mut run = engine
        .run(&Arc::new(plan), std::slice::from_ref(image), Keep::All)
        .unwrap();
    match d.place {
        Place::Inner(n) => run.inner.as_mut().unwrap()[d.layer as usize][n as usize] = value.clone(),
        Place::Trace(n) => run.trace[n as usize] = value.clone(),
        Place::Output(n) => run.outputs[n as usize] = value.clone(),
        Place::Input(_) | Place::Weight(_) => panic!("not written by an operator"),
    }
    Claimed::new(run)
}

/// The value with `ulps` added to one fp32 element.
pub fn nudged(value: &Value, element: usize, ulps: i32) -> Value {
    assert_eq!(value.dtype, Dtype::F32);
    let mut bytes = value.bytes.to_vec();
    let at = 4 * element..4 * element + 4;
    let bits = u32::from_le_bytes(bytes[at.clone()].try_into().unwrap());
    bytes[at].copy_from_slice(&bits.wrapping_add_signed(ulps).to_le_bytes());
    Value {
        bytes: bytes.into(),
        ..value.clone()
    }
}

/// The least power of two of ulps that the judge convicts at an element, in the run's own operands.
pub fn smallest_convicted(model: &Model, run: &Run, operator: u32, element: usize) -> i32 {
    let d = &model.plan.operators[operator as usize];
    let bytes = |place: Place| match place {
        Place::Weight(n) => model.plan.weights[n as usize].bytes.clone(),
        place => run.at(d.layer, place).unwrap().bytes.clone(),
    };
    let operands: Vec<_> = d.operands.iter().map(|operand| bytes(operand.place)).collect();
    let operands: Vec<&[u8]> = operands.iter().map(|bytes| &**bytes).collect();
    let value = run.output_of(d).unwrap();
    (0..30)
        .map(|bit| 1 << bit)
        .find(|ulps| {
            let wrong = nudged(value, element, *ulps);
            judge::judge_element(d, model.plan.profile, &operands, &wrong.bytes, element as u64).unwrap()
                == Verdict::Outside
        })
        .expect("some error is convicted")
}

/// The fp32 element of greatest magnitude.
pub fn greatest(value: &Value) -> usize {
    let elements = value.to_f32().unwrap();
    (0..elements.len())
        .max_by(|a, b| elements[*a].abs().total_cmp(&elements[*b].abs()))
        .unwrap()
}
