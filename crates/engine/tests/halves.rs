//! f16 and bf16: both engines give what the judge admits, on every bit pattern.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::{num::NonZero, sync::Arc};

use common::{Noise, bools, both, operand, plan, vector};
use touchstone_engine::{Engine, Keep, Reference, Value, judge_run};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Code, Dtype},
    half,
};

const FORMATS: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];

fn value(dtype: Dtype, bits: &[u16]) -> Value {
    let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    Value::new(dtype, [bits.len() as u32], bytes).unwrap()
}

fn every_pattern() -> Vec<u16> {
    (0..=u16::MAX).collect()
}

/// Every pattern with itself, and with patterns at random: near in magnitude, or any.
fn pairs() -> (Vec<u16>, Vec<u16>) {
    let mut noise = Noise(41);
    let a: Vec<u16> = [every_pattern(), every_pattern(), every_pattern()].concat();
    let of = |(k, a): (usize, &u16)| match k >> 16 {
        0 => *a,
        1 => (a & 0x7c00) | (noise.next() as u16 & 0x83ff),
        _ => noise.next() as u16,
    };
    let b = a.iter().enumerate().map(of).collect();
    (a, b)
}

/// Runs the operator on both engines, whose values the judge has to admit.
fn hold(name: &str, code: Code, dtype: Dtype, operands: &[Value]) -> [Value; 2] {
    let case: (Arc<Plan>, Vec<Value>) = plan(
        code,
        dtype,
        &operands[0].dims,
        &[],
        &[],
        operands.iter().map(|value| operand(value.clone(), 0, &[1])).collect(),
    );
    let (torch, reference) = both(&case);
    let mut run = Reference.run(&case.0, &case.1, Keep::All).unwrap();
    for (engine, output) in [("libtorch", &torch), ("the reference", &reference)] {
        run.outputs[0] = output.clone();
        let report = judge_run(&case.0, &run, NonZero::new(2).unwrap()).unwrap();
        assert!(report.is_right(), "{name} {dtype:?} on {engine}: {report:?}");
    }
    [torch, reference]
}

#[test]
fn casts_round_to_nearest_and_widen_exactly() {
    for dtype in FORMATS {
        let all = value(dtype, &every_pattern());
        for wide in hold("widen", Code::Cast, Dtype::F32, &[all]) {
            let wide = wide.to_f32().unwrap();
            for (bits, x) in wide.iter().enumerate() {
                let right = f32::from_bits(half::decode(dtype, bits as u32));
                assert!(right == *x || (right.is_nan() && x.is_nan()), "{dtype:?} {bits:#06x}");
            }
        }
        // Halfway between neighbours, on both sides of that, and any numbers.
        let places = if dtype == Dtype::F16 { 13 } else { 16 };
        let mut noise = Noise(42);
        let numbers: Vec<f32> = (0..=u16::MAX)
            .flat_map(|bits| {
                let middle = half::decode(dtype, bits.into()).wrapping_add(1 << (places - 1));
                [middle - 1, middle, middle + 1].map(f32::from_bits)
            })
            .chain((0..1 << 16).map(|_| noise.bits()))
            .collect();
        hold("narrow", Code::Cast, dtype, &[vector(&numbers)]);
    }
}

#[test]
fn arithmetic_is_rounded_once() {
    let (a, b) = pairs();
    for dtype in FORMATS {
        let [a, b] = [&a, &b].map(|bits| value(dtype, bits));
        for code in [Code::Add, Code::Sub, Code::Mul, Code::Div, Code::Min, Code::Max] {
            hold(&format!("{code:?}"), code, dtype, &[a.clone(), b.clone()]);
        }
        for code in [Code::Sqrt, Code::Neg, Code::Abs, Code::Relu] {
            hold(&format!("{code:?}"), code, dtype, std::slice::from_ref(&a));
        }
        for code in [Code::Equal, Code::Less, Code::LessEq, Code::Greater, Code::GreaterEq] {
            hold(&format!("{code:?}"), code, Dtype::Bool, &[a.clone(), b.clone()]);
        }
    }
}

#[test]
fn selection_keeps_the_bits() {
    let (a, b) = pairs();
    let condition: Vec<bool> = (0..a.len()).map(|k| k % 3 == 0).collect();
    let chosen: Vec<u16> = (0..a.len()).map(|k| if condition[k] { a[k] } else { b[k] }).collect();
    for dtype in FORMATS {
        let operands = [bools(&condition), value(dtype, &a), value(dtype, &b)];
        for made in hold("Where", Code::Where, dtype, &operands) {
            assert_eq!(made, value(dtype, &chosen));
        }
    }
}
