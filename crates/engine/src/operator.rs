//! One operator by itself: computed by any engine from operands at hand, and judged on several threads.

use std::{num::NonZero, sync::Arc, thread};

use touchstone_model::plan::{Io, Layer, Plan};
use touchstone_protocol::{
    descriptor::{Descriptor, Operand, Place},
    judge::{self, JudgeError},
};

use crate::{
    engine::{Engine, EngineError, Keep},
    value::Value,
};

/// Terms below which a second thread is not worth its start.
const TERMS_A_THREAD: u64 = 1 << 12;

/// What an engine computes for one operator of a plan.
///
/// # Errors
/// There is no such operator, the operands are not its, or the engine fails.
pub fn compute(engine: &dyn Engine, plan: &Plan, operator: u32, operands: &[Value]) -> Result<Value, EngineError> {
    let descriptor = plan
        .operators
        .get(operator as usize)
        .ok_or_else(|| EngineError::Plan(format!("operator {operator} of a plan with {}", plan.operators.len())))?;
    let name = plan.names.get(operator as usize).cloned().unwrap_or_default();
    let run = engine.run(
        &Arc::new(alone(descriptor, &name, plan.profile)),
        operands,
        Keep::Boundary,
    )?;
    let mut outputs = run.outputs.into_iter();
    outputs
        .next()
        .ok_or_else(|| EngineError::Plan(format!("operator {operator} gives nothing")))
}

/// A plan of this operator alone, from inputs to its output.
fn alone(descriptor: &Descriptor, name: &str, profile: u64) -> Plan {
    let io = |dtype, dims: &[u32]| Io {
        name: name.to_owned(),
        dtype,
        dims: dims.to_vec(),
    };
    let operands = (0..).zip(&descriptor.operands).map(|(number, operand)| Operand {
        place: Place::Input(number),
        ..operand.clone()
    });
    Plan {
        profile,
        inputs: descriptor.operands.iter().map(|o| io(o.dtype, &o.dims)).collect(),
        outputs: vec![io(descriptor.dtype, &descriptor.dims)],
        weights: Vec::new(),
        operators: vec![Descriptor {
            layer: 0,
            layer_inner_count: 0,
            place: Place::Output(0),
            operands: operands.collect(),
            ..descriptor.clone()
        }],
        names: vec![name.to_owned()],
        values: Vec::new(),
        layers: vec![Layer {
            operators: 0..1,
            inner_count: 0,
        }],
        trace_count: 0,
    }
}

/// Judges every element of one operator, its elements shared out among `threads` threads.
///
/// # Errors
/// The judge refuses descriptor, profile or bytes.
pub fn judge(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[Value],
    output: &Value,
    threads: NonZero<usize>,
) -> Result<judge::Report, JudgeError> {
    let operands: Vec<&[u8]> = operands.iter().map(|value| &*value.bytes).collect();
    let elements = descriptor.elements();
    let worth = elements.saturating_mul(descriptor.terms()) / TERMS_A_THREAD;
    let parts = (threads.get() as u64).min(worth).min(elements).max(1);
    let range = |part: u64| elements / parts * part + (elements % parts).min(part);
    let judge = |part| {
        judge::judge_range(
            descriptor,
            profile,
            &operands,
            &output.bytes,
            range(part)..range(part + 1),
        )
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..parts).map(|part| scope.spawn(move || judge(part))).collect();
        let mut report = judge(0)?;
        for other in others {
            // A judge never panics; if it did, so does its caller.
            let found = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            report.merge(&found?);
        }
        Ok(report)
    })
}
