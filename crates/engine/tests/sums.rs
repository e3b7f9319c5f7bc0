//! Contractions and reductions: libtorch within the textbook bound of an fp64 evaluation, the reference its correct rounding.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Limit, Noise, U, both, bounded, elements, f32s, i32s, i64s, offset, operand, plan, terms, vector};
use touchstone_engine::Value;
use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Bound, Code, Dtype};

/// Σab + Σc, Σ|ab| + Σ|c| and the number of roundings, for one element.
fn contraction(case: &(Arc<Plan>, Vec<Value>), data: &[Vec<f32>], e: u64) -> (f64, f64, f64) {
    let d = &case.0.operators[0];
    let (mut sum, mut size, mut count) = (0.0, 0.0, 0.0);
    let mut add = |x: f64| {
        sum += x;
        size += x.abs();
        count += 1.0;
    };
    for t in 0..terms(d) {
        if let (Some(a), Some(b)) = (offset(d, 0, e, t), offset(d, 1, e, t)) {
            add(f64::from(data[0][a]) * f64::from(data[1][b]));
        }
    }
    for (k, addend) in data.iter().enumerate().skip(2) {
        add(offset(d, k, e, 0).map_or(0.0, |at| f64::from(addend[at])));
    }
    (sum, size, count)
}

fn check(name: &str, case: &(Arc<Plan>, Vec<Value>)) {
    let (torch, reference) = both(case);
    let data: Vec<Vec<f32>> = case.1.iter().map(|v| v.to_f32().unwrap()).collect();
    let (torch, reference) = (torch.to_f32().unwrap(), reference.to_f32().unwrap());
    for e in 0..elements(&case.0.operators[0]) {
        let (sum, size, count) = contraction(case, &data, e);
        let (t, r) = (f64::from(torch[e as usize]), f64::from(reference[e as usize]));
        assert!(
            (t - sum).abs() <= 1.01 * count * U * size,
            "{name} element {e}: {t} for {sum}"
        );
        assert!(
            (r - sum).abs() <= U * sum.abs() + 1e-12 * size,
            "{name} element {e}: {r} for {sum}"
        );
    }
}

#[test]
fn contractions_of_every_shape() {
    let n = &mut Noise(7);
    let contract = |output: &[u32], reduction: &[u32], operands| {
        plan(Code::Contract, Dtype::F32, output, reduction, &[], operands)
    };
    check(
        "linear with bias and residual",
        &contract(
            &[5, 7],
            &[64],
            vec![
                operand(f32s(&[5, 64], n), 0, &[64, 0, 1]),
                operand(f32s(&[7, 64], n), 0, &[0, 64, 1]),
                operand(f32s(&[7], n), 0, &[0, 1, 0]),
                operand(f32s(&[5, 7], n), 0, &[7, 1, 0]),
            ],
        ),
    );
    check(
        "batched, output axes out of order",
        &contract(
            &[3, 2, 4],
            &[9],
            vec![
                // Axes: column, batch, row.
                operand(f32s(&[2, 4, 9], n), 0, &[0, 36, 9, 1]),
                operand(f32s(&[2, 3, 9], n), 0, &[9, 27, 0, 1]),
                operand(f32s(&[4], n), 0, &[0, 0, 1, 0]),
            ],
        ),
    );
    check(
        "heads inside one projection",
        &contract(
            &[4, 6, 6],
            &[8],
            vec![
                operand(f32s(&[6, 32], n), 0, &[8, 32, 0, 1]),
                operand(f32s(&[6, 32], n), 0, &[8, 0, 32, 1]),
            ],
        ),
    );
    check(
        "two reduction axes, a part of the operand",
        &contract(
            &[2, 3],
            &[4, 5],
            vec![
                operand(f32s(&[2, 50], n), 7, &[50, 0, 10, 1]),
                operand(f32s(&[3, 20], n), 0, &[0, 20, 5, 1]),
            ],
        ),
    );
    check(
        "an axis neither operand depends on",
        &contract(
            &[3, 2],
            &[16],
            vec![
                operand(f32s(&[16], n), 0, &[0, 0, 1]),
                operand(f32s(&[2, 16], n), 0, &[0, 16, 1]),
                operand(f32s(&[3, 2], n), 0, &[2, 1, 0]),
            ],
        ),
    );
    check(
        "no reduction axis",
        &contract(
            &[3, 4],
            &[],
            vec![operand(f32s(&[3], n), 0, &[1, 0]), operand(f32s(&[4], n), 0, &[0, 1])],
        ),
    );
    check(
        "reversed operand",
        &contract(
            &[3],
            &[10],
            vec![
                operand(f32s(&[3, 10], n), 0, &[10, 1]),
                operand(f32s(&[10], n), 9, &[0, -1]),
            ],
        ),
    );
    check(
        "sliding windows over padding",
        &contract(
            &[8],
            &[3],
            vec![
                bounded(f32s(&[8], n), -1, &[1, 1], &[(8, -1, &[(0, 1), (1, 1)])]),
                operand(f32s(&[3], n), 0, &[0, 1]),
                bounded(f32s(&[4], n), 0, &[1, 0], &[(4, 0, &[(0, 1)])]),
            ],
        ),
    );
    check(
        "grouped and long",
        &contract(
            &[2, 3, 5],
            &[700],
            vec![
                operand(f32s(&[2, 3, 700], n), 0, &[2100, 700, 0, 1]),
                operand(f32s(&[2, 5, 700], n), 0, &[3500, 0, 700, 1]),
                operand(f32s(&[2, 5], n), 0, &[5, 0, 1, 0]),
                operand(f32s(&[1], n), 0, &[0, 0, 0, 0]),
            ],
        ),
    );
}

#[test]
fn terms_out_of_bounds_do_not_count_even_beside_infinity() {
    let bounds: [Limit<'_>; 1] = [(2, -1, &[(1, 1)])];
    let (torch, reference) = both(&plan(
        Code::Contract,
        Dtype::F32,
        &[1],
        &[3],
        &[],
        vec![
            bounded(vector(&[2.0, 3.0]), -1, &[0, 1], &bounds),
            operand(vector(&[f32::INFINITY, 5.0, 7.0]), 0, &[0, 1]),
        ],
    ));
    assert_eq!(
        (torch.to_f32().unwrap(), reference.to_f32().unwrap()),
        (vec![31.0], vec![31.0])
    );
}

fn window() -> Vec<Bound> {
    vec![
        Bound {
            extent: 5,
            constant: -1,
            terms: vec![(0, 2), (2, 1)],
        },
        Bound {
            extent: 5,
            constant: -1,
            terms: vec![(1, 2), (3, 1)],
        },
    ]
}

#[test]
fn pools_over_padding() {
    // 5 x 5, 3 x 3 windows, stride 2, padding 1.
    let data = Noise(8).floats(25);
    for (code, params) in [
        (Code::MaxPool, vec![]),
        (Code::Sum, vec![]),
        (Code::Mean, vec![0]),
        (Code::Mean, vec![1]),
    ] {
        let mut x = operand(Value::from_f32([5, 5], &data).unwrap(), -6, &[10, 2, 5, 1]);
        x.bounds = window();
        let case = plan(code, Dtype::F32, &[3, 3], &[3, 3], &params, vec![x]);
        let d = &case.0.operators[0];
        let (torch, reference) = both(&case);
        let (torch, reference) = (torch.to_f32().unwrap(), reference.to_f32().unwrap());
        for e in 0..9 {
            let seen: Vec<f64> = (0..9)
                .filter_map(|t| offset(d, 0, e, t))
                .map(|at| f64::from(data[at]))
                .collect();
            let sum: f64 = seen.iter().sum();
            let want = match (code, &params[..]) {
                (Code::MaxPool, _) => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                (Code::Mean, [0]) => sum / seen.len() as f64,
                (Code::Mean, _) => sum / 9.0,
                _ => sum,
            };
            let (t, r) = (f64::from(torch[e as usize]), f64::from(reference[e as usize]));
            let slack = if code == Code::MaxPool {
                0.0
            } else {
                10.0 * U * seen.iter().map(|x| x.abs()).sum::<f64>()
            };
            assert!((t - want).abs() <= slack, "{code:?} {params:?} {e}: {t} for {want}");
            assert!(
                (r - want).abs() <= if slack == 0.0 { 0.0 } else { U * want.abs() },
                "{code:?} {params:?} {e}: {r} for {want}"
            );
        }
    }
}

#[test]
fn a_pool_of_no_terms_is_minus_infinity() {
    let x = bounded(vector(&[1.0]), 0, &[1, 1], &[(1, -5, &[(0, 1), (1, 1)])]);
    let (torch, reference) = both(&plan(Code::MaxPool, Dtype::F32, &[2], &[2], &[], vec![x]));
    let want = vec![f32::NEG_INFINITY; 2];
    assert_eq!(
        (torch.to_f32().unwrap(), reference.to_f32().unwrap()),
        (want.clone(), want)
    );
}

#[test]
fn sums_over_strided_axes() {
    // [4, 3, 6] over the first and last axis.
    let x = f32s(&[4, 3, 6], &mut Noise(9));
    let data = x.to_f32().unwrap();
    let (torch, reference) = both(&plan(
        Code::Mean,
        Dtype::F32,
        &[3],
        &[4, 6],
        &[1],
        vec![operand(x, 0, &[6, 18, 1])],
    ));
    for k in 0..3 {
        let terms: Vec<f64> = (0..24).map(|t| f64::from(data[t / 6 * 18 + k * 6 + t % 6])).collect();
        let (mean, size) = (
            terms.iter().sum::<f64>() / 24.0,
            terms.iter().map(|x| x.abs()).sum::<f64>() / 24.0,
        );
        assert!((f64::from(torch.to_f32().unwrap()[k]) - mean).abs() <= 25.0 * U * size);
        assert!((f64::from(reference.to_f32().unwrap()[k]) - mean).abs() <= U * mean.abs());
    }
}

#[test]
fn arg_max_takes_the_first_of_equal_ones() {
    let inf = f32::NEG_INFINITY;
    let rows = [
        [1.0, 3.0, 3.0, 2.0],
        [inf, inf, inf, inf],
        [-0.0, 0.0, -1.0, 0.0],
        [0.0, 5.0, 5.0, 5.0],
    ];
    let make = |dtype| {
        plan(
            Code::ArgMax,
            dtype,
            &[4],
            &[4],
            &[],
            vec![operand(
                Value::from_f32([4, 4], rows.as_flattened()).unwrap(),
                0,
                &[4, 1],
            )],
        )
    };
    let want = i64s(&[4], &[1, 0, 0, 1]);
    assert_eq!(both(&make(Dtype::I64)), (want.clone(), want));
    let want = i32s(&[4], &[1, 0, 0, 1]);
    assert_eq!(both(&make(Dtype::I32)), (want.clone(), want));
    // Many equal ones in a long row, over a strided axis.
    let x: Vec<i64> = (0..2000).map(|k| (k * 7) % 50).collect();
    let want = i64s(
        &[2],
        &[
            x.iter().step_by(2).position(|v| *v == 48).unwrap() as i64,
            x[1..].iter().step_by(2).position(|v| *v == 49).unwrap() as i64,
        ],
    );
    assert_eq!(
        both(&plan(
            Code::ArgMax,
            Dtype::I64,
            &[2],
            &[1000],
            &[],
            vec![operand(i64s(&[1000, 2], &x), 0, &[1, 2])]
        )),
        (want.clone(), want)
    );
}

#[test]
fn arg_max_with_nan_is_a_nan_or_the_rest() {
    let x = vector(&[1.0, f32::NAN, 7.0, f32::NAN, 7.0]);
    let (torch, reference) = both(&plan(
        Code::ArgMax,
        Dtype::I64,
        &[1],
        &[5],
        &[],
        vec![operand(x, 0, &[0, 1])],
    ));
    for got in [torch, reference] {
        assert!([1, 2, 3].iter().any(|k| got == i64s(&[1], &[*k])), "{got:?}");
    }
}

#[test]
fn no_terms_and_no_elements() {
    let empty = || Value::from_f32([0], &[]).unwrap();
    let addend = operand(vector(&[2.5, -3.0]), 0, &[1, 0]);
    let operands = vec![operand(empty(), 0, &[0, 1]), operand(empty(), 0, &[0, 1]), addend];
    let (torch, reference) = both(&plan(Code::Contract, Dtype::F32, &[2], &[0], &[], operands));
    assert_eq!(
        (torch.to_f32().unwrap(), reference.to_f32().unwrap()),
        (vec![2.5, -3.0], vec![2.5, -3.0])
    );
    let (torch, reference) = both(&plan(
        Code::Sum,
        Dtype::F32,
        &[2],
        &[0],
        &[],
        vec![operand(empty(), 0, &[0, 1])],
    ));
    assert_eq!(
        (torch.to_f32().unwrap(), reference.to_f32().unwrap()),
        (vec![0.0; 2], vec![0.0; 2])
    );
    let none = plan(
        Code::Add,
        Dtype::F32,
        &[0, 3],
        &[],
        &[],
        vec![operand(empty(), 0, &[3, 1]), operand(empty(), 0, &[3, 1])],
    );
    let (torch, reference) = both(&none);
    assert_eq!((&*torch.bytes, &*reference.bytes), (&[][..], &[][..]));
}
