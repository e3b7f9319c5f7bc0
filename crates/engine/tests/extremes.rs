//! Built data, judged: libtorch and the reference stay inside on large means, cancellation, near-zero results, ±0, subnormals,
//! overflow, masks, infinities and NaN. Prints the largest honest share of each family on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::{num::NonZero, sync::Arc};

use common::{Limit, Noise, TORCH, bounded, operand, plan, profiles, specials, under, vector};
use touchstone_engine::{Engine, Keep, Reference, Value, judge_run};
use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Code, Dtype};

type Case = (Arc<Plan>, Vec<Value>);

/// Judges both engines on the cases under every profile and prints the largest share of each.
fn hold(name: &str, cases: impl IntoIterator<Item = Case>) {
    let cases: Vec<Case> = cases.into_iter().collect();
    for (profile, word) in profiles() {
        let cases = cases.iter().map(|(plan, inputs)| (under(plan, word), inputs.clone()));
        hold_under(&format!("{name}, {profile}"), cases);
    }
}

fn hold_under(name: &str, cases: impl IntoIterator<Item = Case>) {
    let mut worst = [0.0f64; 2];
    for (number, (plan, inputs)) in cases.into_iter().enumerate() {
        for (side, engine) in [(0, &*TORCH as &dyn Engine), (1, &Reference)] {
            let run = engine.run(&plan, &inputs, Keep::All).unwrap();
            let report = judge_run(&plan, &run, NonZero::<usize>::MIN).unwrap();
            if let Some(at) = report.first_outside {
                let y = run.outputs[0].to_f32().map(|y| y[at.element as usize]);
                let x = inputs[0].to_f32().and_then(|x| x.get(at.element as usize).copied());
                panic!(
                    "{name} case {number} on {}: {at:?} = {y:?}, first operand {x:?}; {report:?}",
                    engine.name()
                );
            }
            assert!(report.is_right(), "{name}: {report:?}");
            worst[side] = report.families.values().map(|w| w.share).fold(worst[side], f64::max);
        }
    }
    println!(
        "{name}: largest honest share libtorch {:.5}, reference {:.5}",
        worst[0], worst[1]
    );
}

/// All exponents, every special, and random bits.
fn floats(seed: u64) -> Vec<f32> {
    let mut noise = Noise(seed);
    let mut all = specials();
    all.extend((0..2000).map(|_| noise.bits()));
    all.extend((-120..40).flat_map(|e| [1.0f32, 1.37, -1.9].map(|m| m * 2f32.powi(e))));
    all.extend((-4000..4000).map(|k| k as f32 * 0.004));
    all
}

#[test]
fn functions() {
    let xs = floats(20);
    for code in [
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::Log,
        Code::Softplus,
        Code::Sin,
        Code::Cos,
    ] {
        hold(
            &format!("{code:?}"),
            [plan(
                code,
                Dtype::F32,
                &[xs.len() as u32],
                &[],
                &[],
                vec![operand(vector(&xs), 0, &[1])],
            )],
        );
    }
}

#[test]
fn powers() {
    let (mut x, mut exponent) = (floats(24), floats(25));
    exponent.reverse();
    // Moderate results, whole exponents, and every pair of specials.
    for k in 0..4000u16 {
        x.push(f32::from(k) * 0.01 - 10.0);
        exponent.push(f32::from(k % 41) - 20.0);
        x.push(f32::from(k) * 0.003 + 1e-3);
        exponent.push((f32::from(k % 977) - 488.0) * 0.07);
    }
    for a in specials() {
        for b in specials() {
            x.push(a);
            exponent.push(b);
        }
    }
    let operands = vec![operand(vector(&x), 0, &[1]), operand(vector(&exponent), 0, &[1])];
    hold(
        "Pow",
        [plan(Code::Pow, Dtype::F32, &[x.len() as u32], &[], &[], operands)],
    );
}

#[test]
fn exact_operators() {
    let (a, mut b) = (floats(21), floats(22));
    b.reverse();
    let n = [a.len() as u32];
    for code in [
        Code::Add,
        Code::Sub,
        Code::Mul,
        Code::Div,
        Code::Min,
        Code::Max,
        Code::Less,
        Code::Equal,
    ] {
        let dtype = if matches!(code, Code::Less | Code::Equal) {
            Dtype::Bool
        } else {
            Dtype::F32
        };
        hold(
            &format!("{code:?}"),
            [plan(
                code,
                dtype,
                &n,
                &[],
                &[],
                vec![operand(vector(&a), 0, &[1]), operand(vector(&b), 0, &[1])],
            )],
        );
    }
    for code in [Code::Sqrt, Code::Neg, Code::Abs, Code::Relu] {
        hold(
            &format!("{code:?}"),
            [plan(code, Dtype::F32, &n, &[], &[], vec![operand(vector(&a), 0, &[1])])],
        );
    }
    for dtype in Dtype::ALL {
        hold(
            &format!("Cast to {dtype:?}"),
            [plan(
                Code::Cast,
                dtype,
                &n,
                &[],
                &[],
                vec![operand(vector(&a), 0, &[1])],
            )],
        );
    }
}

/// Rows of `length` numbers that are hard on sums.
fn hard_rows(length: usize) -> Vec<Vec<f32>> {
    let mut noise = Noise(23);
    let mut rows = vec![
        vec![0.0; length],
        vec![-0.0; length],
        vec![0.1; length],
        vec![f32::from_bits(1); length],
        // Their squares overflow, their differences do not.
        vec![1.9e19; length],
        vec![1e20; length],
        vec![f32::MIN_POSITIVE; length],
        noise.floats(length),
        noise.floats(length).iter().map(|x| x + 1e4).collect(),
        noise.floats(length).iter().map(|x| x * 1e-3 - 1e6).collect(),
        noise.floats(length).iter().map(|x| x * 1e-30).collect(),
        noise.floats(length).iter().map(|x| x * 1e-40).collect(),
        noise.floats(length).iter().map(|x| x * 1e18).collect(),
        noise.floats(length).iter().map(|x| x * 1e38).collect(),
        (0..length).map(|k| 2f32.powi(k as i32 % 40 - 20)).collect(),
        (0..length)
            .map(|k| if k % 2 == 0 { 1e6 } else { -1e6 } + k as f32 * 0.01)
            .collect(),
        (0..length).map(|k| if k == 0 { 1e30 } else { 1.0 }).collect(),
    ];
    // Cancels to (nearly) nothing.
    let mut row = noise.floats(length);
    (1..length).step_by(2).for_each(|k| row[k] = -row[k - 1]);
    rows.push(row.clone());
    row[0] += 1e-6;
    rows.push(row);
    for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1e9, f32::MAX] {
        let mut row = noise.floats(length);
        row[length / 2] = odd;
        rows.push(row);
    }
    rows
}

fn matrix(rows: &[Vec<f32>]) -> Value {
    Value::from_f32([rows.len() as u32, rows[0].len() as u32], &rows.concat()).unwrap()
}

#[test]
fn contractions() {
    let cases = [1u32, 3, 16, 64, 257, 1024].map(|k| {
        let (a, mut b) = (hard_rows(k as usize), hard_rows(k as usize));
        b.rotate_left(5);
        let n = a.len() as u32;
        let stride = i64::from(k);
        let bias = vector(&a.iter().map(|row| -row[0]).collect::<Vec<f32>>());
        let pair = |b: Value, with: bool| {
            let mut operands = vec![operand(matrix(&a), 0, &[stride, 0, 1]), operand(b, 0, &[0, stride, 1])];
            if with {
                operands.push(operand(bias.clone(), 0, &[0, 1, 0]));
            }
            plan(Code::Contract, Dtype::F32, &[n, n], &[k], &[], operands)
        };
        [pair(matrix(&b), false), pair(matrix(&a), true)]
    });
    hold("Contract", cases.into_iter().flatten());
}

#[test]
fn sums_means_and_pools() {
    for (code, params) in [
        (Code::Sum, vec![]),
        (Code::Mean, vec![0]),
        (Code::Mean, vec![1]),
        (Code::MaxPool, vec![]),
    ] {
        let cases = [1u32, 2, 9, 100, 1000].map(|k| {
            let rows = hard_rows(k as usize);
            // The last terms are padding.
            let bounds: [Limit<'_>; 1] = [(k, 0, &[(1, 1)])];
            let x = bounded(matrix(&rows), 0, &[i64::from(k), 1], &bounds);
            plan(code, Dtype::F32, &[rows.len() as u32], &[k + 2], &params, vec![x])
        });
        hold(&format!("{code:?} {params:?}"), cases);
    }
}

#[test]
fn softmax() {
    let cases = [1u32, 2, 17, 100, 1000].map(|k| {
        let mut rows = hard_rows(k as usize);
        rows.push(vec![f32::NEG_INFINITY; k as usize]);
        rows.push(vec![-1e9; k as usize]);
        rows.push(
            (0..k)
                .map(|j| if j % 3 == 0 { f32::NEG_INFINITY } else { 0.1 * j as f32 })
                .collect(),
        );
        rows.push((0..k).map(|j| -0.11 * j as f32).collect());
        plan(
            Code::Softmax,
            Dtype::F32,
            &[rows.len() as u32, k],
            &[k],
            &[1],
            vec![operand(matrix(&rows), 0, &[i64::from(k), 0, 1])],
        )
    });
    hold("Softmax", cases);
}

#[test]
fn layer_norm() {
    for epsilon in [1e-5f32, 1e-12, f32::MIN_POSITIVE] {
        let cases = [2u32, 8, 17, 64, 768, 2000].map(|k| {
            let rows = hard_rows(k as usize);
            let mut noise = Noise(24);
            let (scale, bias) = (vector(&noise.floats(k as usize)), vector(&noise.floats(k as usize)));
            plan(
                Code::LayerNorm,
                Dtype::F32,
                &[rows.len() as u32, k],
                &[k],
                &[epsilon.to_bits(), 1],
                vec![
                    operand(matrix(&rows), 0, &[i64::from(k), 0, 1]),
                    operand(scale, 0, &[0, 1, 0]),
                    operand(bias, 0, &[0, 1, 0]),
                ],
            )
        });
        hold(&format!("LayerNorm ε {epsilon:e}"), cases);
    }
}

#[test]
fn batch_norm() {
    let mut noise = Noise(25);
    let xs = floats(26);
    let n = xs.len();
    let wide = |noise: &mut Noise| -> Vec<f32> {
        (0..n)
            .map(|_| noise.float() * 10f32.powi((noise.next() % 13) as i32 - 6))
            .collect()
    };
    let (scale, bias) = (wide(&mut noise), wide(&mut noise));
    // Means near the argument, so that the two halves cancel.
    let mean: Vec<f32> = xs.iter().map(|x| x * (1.0 + noise.float() * 1e-6)).collect();
    let variance: Vec<f32> = wide(&mut noise).iter().map(|x| x.abs()).collect();
    for epsilon in [1e-5f32, f32::MIN_POSITIVE] {
        let operands = [&xs, &scale, &bias, &mean, &variance].map(|v| operand(vector(v), 0, &[1]));
        hold(
            &format!("BatchNorm ε {epsilon:e}"),
            [plan(
                Code::BatchNorm,
                Dtype::F32,
                &[n as u32],
                &[],
                &[epsilon.to_bits()],
                operands.into(),
            )],
        );
    }
}
