//! Half-widths that slack is weighed with, held to the judge: the first neighbours of an honest result that the judge's own code convicts,
//! above and below, found by bisection, stand as far apart as the half-width says, under every profile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, unreachable_pub)]
#[path = "envelope_table/arithmetic.rs"]
mod arithmetic;
mod common;

use std::sync::Arc;

use arithmetic::rows;
use common::{Noise, TORCH, operand, plan, profiles, under, vector};
use touchstone_engine::{Engine, Keep, Reference, Value};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Bound, Code, Dtype},
    judge::{Verdict, judge_element},
    model::Profile,
};

type Case = (Arc<Plan>, Vec<Value>);

/// How much narrower than the half-width the judge may be, and how much wider: what first order leaves out.
const NARROWER: f64 = 0.03;
const WIDER: f64 = 0.01;
/// What the judge rounds outward beside 0: units of the fixed point that functions are enclosed in, 4 · 2^-96.
const OUTWARD: f64 = 5.05e-29;
/// What the half-width counts more beside 0.
const SUBNORMALS: f64 = 4.0 * 1.401_298_464_324_817e-45;

/// Numbers in order; both zeros are 0.
fn order(x: f32) -> i64 {
    let magnitude = i64::from(x.abs().to_bits());
    if x < 0.0 { -magnitude } else { magnitude }
}

fn float(order: i64) -> f32 {
    let magnitude = f32::from_bits(order.unsigned_abs() as u32);
    if order < 0 { -magnitude } else { magnitude }
}

/// The last number inside, upward or downward from an honest result.
fn edge(plan: &Plan, operands: &[&[u8]], results: &[f32], element: usize, up: bool) -> i64 {
    let d = &plan.operators[0];
    let mut bytes: Vec<u8> = results.iter().flat_map(|y| y.to_le_bytes()).collect();
    let from = order(results[element]);
    let mut inside = |places: i64| {
        let to = if up { from + places } else { from - places };
        let limit = order(f32::MAX);
        if to.abs() > limit {
            return false;
        }
        bytes[4 * element..4 * element + 4].copy_from_slice(&float(to).to_le_bytes());
        judge_element(d, plan.profile, operands, &bytes, element as u64).unwrap() == Verdict::Inside
    };
    let (mut held, mut out) = (0i64, 1i64);
    while inside(out) {
        (held, out) = (out, 2 * out);
    }
    while out - held > 1 {
        let middle = held + (out - held) / 2;
        if inside(middle) { held = middle } else { out = middle }
    }
    if up { from + held } else { from - held }
}

/// Holds every so many elements of an operator; how many, and the largest share of the half-width that the judge did not use.
fn hold(name: &str, case: &Case, step: usize) {
    for (profile_name, word) in profiles() {
        let plan = under(&case.0, word);
        let run = Reference.run(&plan, &case.1, Keep::All).unwrap();
        let results = run.outputs[0].to_f32().unwrap();
        let profile = [Profile::decode(word).unwrap()];
        let widths = TORCH.half_widths(&plan, &run, &profile, 0).unwrap().unwrap().remove(0);
        assert_eq!(widths.len(), results.len());
        let operands: Vec<&[u8]> = case.1.iter().map(|value| &*value.bytes).collect();
        let (mut held, mut least, mut most) = (0, f64::INFINITY, 0.0f64);
        for element in (0..results.len()).step_by(step) {
            let (y, w) = (results[element], widths[element]);
            let (low, high) = (
                edge(&plan, &operands, &results, element, false),
                edge(&plan, &operands, &results, element, true),
            );
            // The farther of both sides, the exact result being within half a last place of the reference engine's.
            let away = |at: i64| (f64::from(float(at)) - f64::from(y)).abs();
            let (inside, outside) = (away(low).max(away(high)), away(low - 1).max(away(high + 1)));
            let half = away(order(y) + 1).max(away(order(y) - 1)) / 2.0;
            let at = || {
                format!(
                    "{name} under {profile_name}, element {element}: {y:e}, half-width {w:e}, inside {inside:e}, outside {outside:e}"
                )
            };
            assert!(w > 0.0 || inside <= OUTWARD, "{}", at());
            assert!(
                inside <= w * (1.0 + WIDER) + half + OUTWARD,
                "wider than the half-width: {}",
                at()
            );
            assert!(
                outside >= w * (1.0 - NARROWER) - half - SUBNORMALS,
                "narrower than the half-width: {}",
                at()
            );
            held += 1;
            // Where the envelope is many last places wide its edge shows.
            if w > 100.0 * half + SUBNORMALS {
                (least, most) = (least.min(outside / w), most.max(inside / w));
            }
        }
        println!(
            "{name} under {profile_name}: {held} elements, inside at most {most:.5}, outside at least {least:.5} of the half-width"
        );
        assert!(held >= 10, "{name}: too little data");
    }
}

fn by_row(code: Code, params: &[u32], all: &[Vec<f32>], more: &[&[f32]]) -> Case {
    let n = all[0].len() as u32;
    let dims = [all.len() as u32, n];
    let x = Value::from_f32(dims, &all.concat()).unwrap();
    let mut operands = vec![operand(x, 0, &[n.into(), 0, 1])];
    operands.extend(more.iter().map(|data| operand(vector(data), 0, &[0, 1, 0])));
    plan(code, Dtype::F32, &dims, &[n], params, operands)
}

fn elementwise(code: Code, params: &[u32], data: &[&[f32]]) -> Case {
    let operands = data.iter().map(|data| operand(vector(data), 0, &[1])).collect();
    plan(code, Dtype::F32, &[data[0].len() as u32], &[], params, operands)
}

#[test]
fn library_functions() {
    let mut x: Vec<f32> = (-100..=100).map(|k| k as f32 * 0.131).collect();
    x.extend((0..20).flat_map(|k| [0.5f32.powi(6 * k), -(0.5f32.powi(6 * k))]));
    x.extend([0.0, 60.0, -60.0, 80.3, -80.3]);
    for code in [
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::Softplus,
        Code::Sin,
        Code::Cos,
    ] {
        hold(&format!("{code:?}"), &elementwise(code, &[], &[&x]), 3);
    }
    // ln 1 is 0 without a width, and the judge's enclosure of it 2^-95 wide.
    let sizes: Vec<f32> = x.iter().map(|x| x.abs()).filter(|x| *x > 0.0 && *x != 1.0).collect();
    hold("Log", &elementwise(Code::Log, &[], &[&sizes]), 3);
    hold("Pow", &elementwise(Code::Pow, &[], &[&sizes, &x[..sizes.len()]]), 3);
}

#[test]
fn contractions() {
    let noise = &mut Noise(71);
    for n in [1usize, 2, 16, 97, 384] {
        let left = rows(noise, n);
        let right = [
            vec![1.0; n],
            noise.floats(n),
            (0..n).map(|_| 1e3 + noise.float()).collect(),
        ];
        let (l, r, width) = (left.len() as u32, right.len() as u32, n as i64);
        let operands = vec![
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
            operand(vector(&[0.0, -1.0, 1e-6]), 0, &[0, 1, 0]),
        ];
        let case = plan(Code::Contract, Dtype::F32, &[l, r], &[n as u32], &[], operands);
        hold(&format!("Contract over {n}"), &case, 4);
    }
}

/// A window of 5 × 9 over 6 × 12 with padding: the terms in bounds differ from element to element.
#[test]
fn windows_with_padding() {
    let noise = &mut Noise(72);
    let bounds = |extents: [(u32, i64); 2]| -> Vec<Bound> {
        let axes = extents.into_iter().zip([0u8, 1]);
        axes.map(|((extent, constant), axis)| Bound {
            extent,
            constant,
            terms: vec![(axis, 1), (axis + 2, 1)],
        })
        .collect()
    };
    let image = |noise: &mut Noise| {
        let mut x = operand(
            Value::from_f32([6, 12], &noise.floats(72)).unwrap(),
            -2 * 12 - 4,
            &[12, 1, 12, 1],
        );
        x.bounds = bounds([(6, -2), (12, -4)]);
        x
    };
    let kernel = operand(Value::from_f32([5, 9], &noise.floats(45)).unwrap(), 0, &[0, 0, 9, 1]);
    let axes = ([6, 12], [5, 9]);
    let product = plan(
        Code::Contract,
        Dtype::F32,
        &axes.0,
        &axes.1,
        &[],
        vec![image(noise), kernel],
    );
    hold("Contract with padding", &product, 3);
    for (name, code, params) in [
        ("Sum", Code::Sum, &[][..]),
        ("Mean of those in bounds", Code::Mean, &[0][..]),
        ("Mean of all", Code::Mean, &[1][..]),
    ] {
        let case = plan(code, Dtype::F32, &axes.0, &axes.1, params, vec![image(noise)]);
        hold(&format!("{name} with padding"), &case, 3);
    }
}

#[test]
fn sums_and_means() {
    let noise = &mut Noise(73);
    for n in [1usize, 2, 7, 64, 500] {
        let all = rows(noise, n);
        for (code, params) in [(Code::Sum, &[][..]), (Code::Mean, &[0][..])] {
            let x = Value::from_f32([all.len() as u32, n as u32], &all.concat()).unwrap();
            let x = operand(x, 0, &[n as i64, 1]);
            let case = plan(code, Dtype::F32, &[all.len() as u32], &[n as u32], params, vec![x]);
            hold(&format!("{code:?} over {n}"), &case, 1);
        }
    }
}

#[test]
fn softmaxes() {
    let noise = &mut Noise(74);
    for n in [2usize, 3, 17, 64, 197] {
        let scores: Vec<f32> = (0..n).map(|_| 4.0 * noise.float()).collect();
        let masked = |mask: f32| -> Vec<f32> {
            let each = |(i, x): (usize, &f32)| if i > n / 2 { x + mask } else { *x };
            scores.iter().enumerate().map(each).collect()
        };
        let steep: Vec<f32> = (0..n).map(|i| -0.6 * i as f32).collect();
        let mut all = vec![
            scores.clone(),
            masked(f32::NEG_INFINITY),
            masked(-1e9),
            masked(f32::MIN),
            steep,
        ];
        all.extend([vec![0.1; n], (0..n).map(|_| 30.0 * noise.float()).collect()]);
        hold(
            &format!("Softmax over {n}"),
            &by_row(Code::Softmax, &[1], &all, &[]),
            n.div_ceil(5),
        );
    }
}

#[test]
fn norms() {
    let noise = &mut Noise(75);
    let epsilon = 1e-5f32.to_bits();
    for n in [2usize, 3, 16, 64, 193] {
        let mut all: Vec<Vec<f32>> = rows(noise, n);
        let base = 1e6f32 + 0.0625;
        all.push((0..n).map(|i| if i < n / 2 { base } else { base.next_up() }).collect());
        let affine = [
            (vec![1.0; n], vec![0.0; n]),
            (noise.floats(n), noise.floats(n)),
            (vec![-0.01; n], vec![64.5; n]),
        ];
        for (scale, bias) in affine {
            let case = by_row(Code::LayerNorm, &[epsilon, 1], &all, &[&scale, &bias]);
            hold(&format!("LayerNorm over {n}"), &case, n.div_ceil(3));
        }
    }
    let mut data: [Vec<f32>; 5] = Default::default();
    for k in 0..120 {
        let scale = [1e-3, 1.0, 1e3][k % 3];
        let mean = scale * noise.float();
        let x = if k % 4 == 0 {
            mean.next_up()
        } else {
            scale * noise.float()
        };
        let bias = [mean - x, 64.5, noise.float()][k % 3];
        let values = [x, noise.float(), bias, mean, noise.float().abs()];
        data.iter_mut().zip(values).for_each(|(list, value)| list.push(value));
    }
    let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
    hold("BatchNorm", &elementwise(Code::BatchNorm, &[epsilon], &data), 2);
}

#[test]
fn what_has_one_right_answer_has_no_width() {
    let x = Noise(76).floats(32);
    for (code, params) in [(Code::Copy, &[0, 0][..]), (Code::Relu, &[][..]), (Code::Sqrt, &[][..])] {
        let case = elementwise(code, params, &[&x]);
        let run = Reference.run(&case.0, &case.1, Keep::All).unwrap();
        assert_eq!(
            TORCH.half_widths(&case.0, &run, &[Profile::FAST], 0),
            Ok(None),
            "{code:?}"
        );
    }
}
