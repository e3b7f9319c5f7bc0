//! Rows that are judged by parts: both engines stay inside under every profile, whatever the data, up to the longest row that a profile of fp32 allows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Noise, TORCH, operand, plan, profiles, under, vector};
use touchstone_engine::{Engine, Keep, Reference, Value};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    check::Check,
    descriptor::{Code, Dtype},
    judge::{Report, judge_range},
};

const EPSILON: u32 = 0x3727_c5ac;
/// Elements judged from each end of an output.
const MOST: u64 = 20_000;

/// Rows built to be hard: noise, equal terms, growing ones, and what cancels but for a little.
fn rows(n: usize, noise: &mut Noise) -> [(&'static str, Vec<f32>); 4] {
    let random = noise.floats(n);
    let growing = (0..n).map(|k| 1.0 + k as f32 / 1024.0).collect();
    let cancelling = (0..n)
        .map(|k| {
            if k % 2 == 0 {
                1_000.0 + random[k]
            } else {
                -1_000.0 + random[k - 1] / 2.0
            }
        })
        .collect();
    [
        ("noise", random),
        ("equal", vec![0.1; n]),
        ("growing", growing),
        ("cancelling", cancelling),
    ]
}

/// Both engines' greatest shares under each profile; the judge's own code says that all elements are inside.
fn check(name: &str, case: &(Arc<Plan>, Vec<Value>)) {
    let (d, inputs) = (&case.0.operators[0], &case.1);
    let operands: Vec<&[u8]> = inputs.iter().map(|value| &*value.bytes).collect();
    for (profile, word) in profiles() {
        for (side, engine) in [("libtorch", &*TORCH as &dyn Engine), ("reference", &Reference)] {
            let run = engine.run(&under(&case.0, word), inputs, Keep::Boundary).unwrap();
            let mut report = Report::default();
            // Of the longest rows both ends.
            let end = d.elements().min(MOST);
            for range in [0..end, (d.elements() - MOST.min(d.elements() - end))..d.elements()] {
                report.merge(&judge_range(d, word, &operands, &run.outputs[0].bytes, range).unwrap());
            }
            assert!(
                report.outside == 0 && report.first_undecodable.is_none() && report.elements >= end,
                "{name} by {side} under {profile}: {report:?}"
            );
            let share = report.worst.map_or(0.0, |(_, share)| share as f64 / Check::EDGE as f64);
            println!(
                "{name}, {} terms, by {side} under {profile}: share {share:.5}",
                d.terms()
            );
        }
    }
}

/// A reduction of one row.
fn reduction(code: Code, dtype: Dtype, params: &[u32], row: &[f32]) -> (Arc<Plan>, Vec<Value>) {
    let n = row.len() as u32;
    plan(code, dtype, &[1], &[n], params, vec![operand(vector(row), 0, &[0, 1])])
}

#[test]
fn sums_of_all_lengths() {
    let mut noise = Noise(1);
    for n in [4_097, 100_000, 1 << 20] {
        for (name, row) in rows(n, &mut noise) {
            check(&format!("sum, {name}"), &reduction(Code::Sum, Dtype::F32, &[], &row));
            check(&format!("mean, {name}"), &reduction(Code::Mean, Dtype::F32, &[1], &row));
        }
    }
}

#[test]
fn contractions_of_all_lengths() {
    let mut noise = Noise(2);
    for n in [4_097, 1 << 20] {
        for (name, row) in rows(n, &mut noise) {
            let axes = [0, 1];
            let operands = vec![
                operand(vector(&row), 0, &axes),
                operand(vector(&noise.floats(n)), 0, &axes),
                operand(vector(&[0.5]), 0, &[0, 0]),
            ];
            let case = plan(Code::Contract, Dtype::F32, &[1], &[n as u32], &[], operands);
            check(&format!("contraction, {name}"), &case);
        }
    }
}

#[test]
fn maxima_of_all_lengths() {
    let mut noise = Noise(3);
    for n in [1_025, 1 << 20] {
        let mut row = noise.floats(n);
        check("max", &reduction(Code::MaxPool, Dtype::F32, &[], &row));
        check("argmax", &reduction(Code::ArgMax, Dtype::I64, &[], &row));
        let place = n - 3;
        row[place] = f32::INFINITY;
        check("argmax, late", &reduction(Code::ArgMax, Dtype::I32, &[], &row));
    }
}

/// Rows of a softmax or a normalization: each element stands for its place in the row.
#[test]
fn rows_of_all_lengths() {
    let mut noise = Noise(4);
    for n in [2_049, 20_000, 1 << 20] {
        let rows = rows(n, &mut noise);
        let chosen = if n < 1 << 20 { 0..4 } else { 0..1 };
        for (name, row) in &rows[chosen] {
            let (n, terms) = (n as u32, || operand(vector(row), 0, &[0, 1]));
            let softmax = plan(Code::Softmax, Dtype::F32, &[n], &[n], &[0], vec![terms()]);
            check(&format!("softmax, {name}"), &softmax);
            let operands = vec![
                terms(),
                operand(vector(&noise.floats(n as usize)), 0, &[1, 0]),
                operand(vector(&[0.25]), 0, &[0, 0]),
            ];
            let normalized = plan(Code::LayerNorm, Dtype::F32, &[n], &[n], &[EPSILON, 0], operands);
            check(&format!("layer norm, {name}"), &normalized);
        }
    }
}
