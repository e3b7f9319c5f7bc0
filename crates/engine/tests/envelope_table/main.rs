//! How tight the judge is: per family the largest share of its envelope that an honest result takes, beside the smallest change of a
//! result that is convicted. One table, printed, and committed in `docs/envelopes.md`.
//!
//! Honest are libtorch, the reference engine, and engines emulated in native floats, on data with large means, cancellation, results
//! near zero and zeros of both signs. The smallest convicted change is found by bisection over the fp32 neighbours of honest
//! results, asking the judge's own code. Subnormal results are held too, but kept out of the columns: there the last place is
//! most of the envelope.
//!
//! `TOUCHSTONE_UPDATE=1` writes the table into the page; otherwise the page is held against what was measured, libtorch's column
//! excepted, which depends on the processor's vector width.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod arithmetic;
#[path = "../common/mod.rs"]
mod common;
mod table;

use std::sync::Arc;

use arithmetic::{FUNCTIONS, batch_norms, contractions, layer_norms, means, rows, softmaxes};
use common::{Noise, Operand_, operand, plan, specials, vector};
use table::Row;
use touchstone_engine::Value;
use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Code, Dtype};

const EPSILON: f32 = 1e-5;

fn unary(code: Code, data: &[f32]) -> (Arc<Plan>, Vec<Value>) {
    elementwise(code, &[], &[data])
}

fn elementwise(code: Code, params: &[u32], data: &[&[f32]]) -> (Arc<Plan>, Vec<Value>) {
    let operands = data.iter().map(|data| operand(vector(data), 0, &[1])).collect();
    plan(code, Dtype::F32, &[data[0].len() as u32], &[], params, operands)
}

/// An operator over the rows of a matrix, each element at its place in the row.
fn by_row(code: Code, params: &[u32], all: &[Vec<f32>], more: &[&[f32]]) -> (Arc<Plan>, Vec<Value>) {
    let n = all[0].len() as u32;
    let dims = [all.len() as u32, n];
    let mut operands = vec![operand(
        Value::from_f32(dims, &all.concat()).unwrap(),
        0,
        &[n.into(), 0, 1],
    )];
    operands.extend(more.iter().map(|data| operand(vector(data), 0, &[0, 1, 0])));
    plan(code, Dtype::F32, &dims, &[n], params, operands)
}

/// Finite numbers of every size, zeros, near-equal pairs that cancel.
fn pairs(noise: &mut Noise) -> (Vec<f32>, Vec<f32>) {
    let special: Vec<f32> = specials().into_iter().filter(|x| x.is_finite()).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for x in &special {
        a.extend([*x; 3]);
        b.extend([-x, 1.0, x.next_up()]);
    }
    for scale in [1.0, 1e-20, 1e4] {
        for _ in 0..60 {
            let x = scale * noise.float();
            a.extend([x, x, 1e4 + x]);
            b.extend([noise.float(), -x.next_up(), 1e4 + noise.float()]);
        }
    }
    (a, b)
}

fn copy() -> Row {
    let mut row = Row::new("copy");
    let (a, b) = pairs(&mut Noise(21));
    let data = [a, b, vec![f32::NAN, f32::INFINITY]].concat();
    row.take(&elementwise(Code::Copy, &[0, 0], &[&data]), std::slice::from_ref(&data));
    row
}

fn exact() -> Row {
    let mut row = Row::new("exact");
    let (a, b) = pairs(&mut Noise(22));
    type Operation = (Code, fn(f32, f32) -> f32, fn(f64, f64) -> f64);
    let operations: [Operation; 5] = [
        (Code::Add, |a, b| a + b, |a, b| a + b),
        (Code::Sub, |a, b| a - b, |a, b| a - b),
        (Code::Mul, |a, b| a * b, |a, b| a * b),
        (Code::Div, |a, b| a / b, |a, b| a / b),
        (Code::Max, f32::max, f64::max),
    ];
    for (code, narrow, wide) in operations {
        let zip = |f: &dyn Fn(f32, f32) -> f32| a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect::<Vec<f32>>();
        // One rounding of the fp64 result is the fp32 result but for subnormals, which fp64 may round twice.
        let from_wide = zip(&|a, b| {
            let y = wide(a.into(), b.into()) as f32;
            if y.abs() < f32::MIN_POSITIVE { narrow(a, b) } else { y }
        });
        row.take(&elementwise(code, &[], &[&a, &b]), &[zip(&narrow), from_wide]);
    }
    let roots: Vec<f32> = a.iter().map(|x| x.abs()).collect();
    let narrow = roots.iter().map(|x| x.sqrt()).collect();
    row.take(&unary(Code::Sqrt, &roots), &[narrow]);
    row.take(&unary(Code::Relu, &a), &[a.iter().map(|x| x.max(0.0)).collect()]);
    row
}

/// A row each: engines differ in these more than in anything else.
fn bounded() -> Vec<Row> {
    let mut arguments: Vec<f32> = (-700..=700).map(|k| k as f32 * 0.031).collect();
    arguments.extend((0..40).flat_map(|k| [2f32.powi(-k * 3), -2f32.powi(-k * 3)]));
    arguments.extend([0.0, -0.0, 60.0, -60.0, 80.3, -80.3, 1e-30]);
    let codes = [
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
    ];
    let rows = codes.into_iter().zip(FUNCTIONS).map(|(code, (name, engines))| {
        let mut row = Row::new(&format!("bounded: {name}"));
        let mut arguments = arguments.clone();
        if code == Code::Log {
            arguments = arguments.into_iter().map(f32::abs).filter(|x| *x > 0.0).collect();
        }
        let emulated: Vec<Vec<f32>> = engines
            .iter()
            .map(|engine| arguments.iter().map(|x| engine(*x)).collect())
            .collect();
        row.take(&unary(code, &arguments), &emulated);
        row
    });
    rows.collect()
}

fn contraction() -> Row {
    let mut row = Row::new("contraction");
    let noise = &mut Noise(23);
    for n in [1usize, 2, 16, 97, 384] {
        let left = rows(noise, n);
        let right: Vec<Vec<f32>> = [
            vec![1.0; n],
            noise.floats(n),
            (0..n).map(|_| 1e3 + noise.float()).collect(),
        ]
        .into();
        let addends = [0.0, -1.0, 1e-6];
        let (l, r) = (left.len() as u32, right.len() as u32);
        let width = n as i64;
        let case = plan(
            Code::Contract,
            Dtype::F32,
            &[l, r],
            &[n as u32],
            &[],
            vec![
                operand(
                    Value::from_f32([l, n as u32], &left.concat()).unwrap(),
                    0,
                    &[width, 0, 1],
                ),
                operand(
                    Value::from_f32([r, n as u32], &right.concat()).unwrap(),
                    0,
                    &[0, width, 1],
                ),
                operand(vector(&addends), 0, &[0, 1, 0]),
            ],
        );
        let results: Vec<Vec<f32>> = left
            .iter()
            .flat_map(|a| right.iter().zip(addends).map(|(b, c)| contractions(a, b, c)))
            .collect();
        row.take(&case, &by_engine(&results));
    }
    row
}

/// Results element by element, one of each engine, as results engine by engine.
fn by_engine(results: &[Vec<f32>]) -> Vec<Vec<f32>> {
    (0..results[0].len())
        .map(|engine| results.iter().map(|of| of[engine]).collect())
        .collect()
}

fn reduction(name: &str, code: Code) -> Row {
    let mut row = Row::new(name);
    let noise = &mut Noise(24);
    for n in [1usize, 2, 7, 64, 500] {
        let all = rows(noise, n);
        let count = all.len() as u32;
        let x: Operand_ = operand(
            Value::from_f32([count, n as u32], &all.concat()).unwrap(),
            0,
            &[n as i64, 1],
        );
        let params: &[u32] = if code == Code::Mean { &[0] } else { &[] };
        let case = plan(code, Dtype::F32, &[count], &[n as u32], params, vec![x]);
        let divisor = if code == Code::Mean { n as f32 } else { 1.0 };
        let results: Vec<Vec<f32>> = all.iter().map(|x| means(x, divisor)).collect();
        row.take(&case, &by_engine(&results));
    }
    row
}

fn softmax() -> Row {
    let mut row = Row::new("softmax");
    let noise = &mut Noise(25);
    for n in [1usize, 2, 3, 17, 64, 197] {
        let mut all = rows(noise, n);
        let scores: Vec<f32> = (0..n).map(|_| 4.0 * noise.float()).collect();
        for mask in [f32::NEG_INFINITY, -1e9, f32::MIN] {
            let masked = |(i, x): (usize, &f32)| if i > n / 2 { x + mask } else { *x };
            all.push(scores.iter().enumerate().map(masked).collect());
        }
        all.push((0..n).map(|i| -0.3 * i as f32).collect());
        let engines: Vec<Vec<Vec<f32>>> = all.iter().map(|row| softmaxes(row)).collect();
        let emulated: Vec<Vec<f32>> = (0..engines[0].len())
            .map(|engine| engines.iter().flat_map(|of| of[engine].clone()).collect())
            .collect();
        row.take(&by_row(Code::Softmax, &[1], &all, &[]), &emulated);
    }
    row
}

fn layer_norm() -> Row {
    let mut row = Row::new("layer norm");
    let noise = &mut Noise(26);
    for n in [2usize, 3, 16, 64, 193] {
        let mut all = rows(noise, n);
        // Steps of one last place on a large mean.
        let base = 1e6f32 + 0.0625;
        all.push((0..n).map(|i| if i < n / 2 { base } else { base.next_up() }).collect());
        // The last one's bias dominates, and the last sum's rounding with it.
        let affine = [
            (vec![1.0; n], vec![0.0; n]),
            (noise.floats(n), noise.floats(n)),
            (vec![-0.01; n], vec![64.5; n]),
        ];
        for (scale, bias) in affine {
            let engines: Vec<Vec<Vec<f32>>> = all.iter().map(|row| layer_norms(row, &scale, &bias, EPSILON)).collect();
            let emulated: Vec<Vec<f32>> = (0..engines[0].len())
                .map(|engine| engines.iter().flat_map(|of| of[engine].clone()).collect())
                .collect();
            let params = [EPSILON.to_bits(), 1];
            row.take(&by_row(Code::LayerNorm, &params, &all, &[&scale, &bias]), &emulated);
        }
    }
    row
}

fn batch_norm() -> Row {
    let mut row = Row::new("batch norm");
    let noise = &mut Noise(27);
    let mut operands: [Vec<f32>; 5] = Default::default();
    for k in 0..1500 {
        let scale = [1e-3, 1.0, 1e3][k % 3];
        let mean = scale * noise.float();
        // Far from the mean, next to it, on it; and the bias against the product.
        let x = match k % 4 {
            0 => mean.next_up(),
            1 => mean,
            _ => scale * noise.float(),
        };
        let bias = match k % 5 {
            0 => mean - x,
            1 => 64.5,
            _ => noise.float(),
        };
        for (list, value) in operands
            .iter_mut()
            .zip([x, noise.float(), bias, mean, noise.float().abs()])
        {
            list.push(value);
        }
    }
    for (list, value) in operands.iter_mut().zip([-0.0, 1.0, 0.0, 0.0, 1.0]) {
        list.push(value);
    }
    let results: Vec<Vec<f32>> = (0..operands[0].len())
        .map(|i| batch_norms(std::array::from_fn(|k| operands[k][i]), EPSILON))
        .collect();
    let data: Vec<&[f32]> = operands.iter().map(Vec::as_slice).collect();
    row.take(
        &elementwise(Code::BatchNorm, &[EPSILON.to_bits()], &data),
        &by_engine(&results),
    );
    row
}

#[test]
fn honest_results_are_inside_and_the_smallest_convicted_change_is_known() {
    let mut rows = vec![copy(), exact()];
    rows.extend(bounded());
    rows.extend([
        contraction(),
        reduction("reduction: sum", Code::Sum),
        reduction("reduction: mean", Code::Mean),
        softmax(),
        layer_norm(),
        batch_norm(),
    ]);
    for row in &rows {
        println!("{}", row.describe());
        row.assert();
    }
    table::hold(&rows);
}
