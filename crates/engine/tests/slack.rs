//! Slack: derivatives against differences, the bound against an adversary that goes to every edge that the judge leaves it, margins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Noise, TORCH, bounded, compiled, models, operand, plan, profiles, rows, under, vector};
use touchstone_engine::{
    Engine, Keep, Reference, Run, Value,
    operator::compute,
    slack::{self, Limits, Question},
};
use touchstone_model::plan::{Layer, Plan};
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Operand, Place},
    half,
    judge::{Verdict, judge_element},
    model::Profile,
};

const ALL: Limits = Limits { elements: 64, rows: 64 };

fn digits() -> Arc<Plan> {
    compiled(&models().join("digits_vit/model.onnx"))
}

fn of_profiles() -> Vec<Profile> {
    profiles()
        .iter()
        .map(|(_, word)| Profile::decode(*word).unwrap())
        .collect()
}

fn run(plan: &Arc<Plan>, input: &Value) -> Run {
    let wide = under(plan, Profile::WIDE.encode());
    TORCH.run(&wide, std::slice::from_ref(input), Keep::All).unwrap()
}

/// An operator behind a Tanh, which has a width, so that derivatives pass through it.
fn behind(case: (Arc<Plan>, Vec<Value>), through: usize) -> (Arc<Plan>, Vec<Value>) {
    let (plan, inputs) = case;
    let mut plan = Arc::unwrap_or_clone(plan);
    let mut last = plan.operators.remove(0);
    let read = &mut last.operands[through];
    let count = read.dims.iter().product::<u32>();
    let source = Operand {
        place: read.place,
        base: 0,
        strides: vec![1],
        bounds: Vec::new(),
        ..read.clone()
    };
    let first = Descriptor {
        code: Code::Tanh,
        layer: 0,
        layer_inner_count: 0,
        place: Place::Trace(0),
        dtype: Dtype::F32,
        dims: read.dims.clone(),
        output_axes: vec![count],
        reduction_axes: Vec::new(),
        params: Vec::new(),
        operands: vec![source],
    };
    read.place = Place::Trace(0);
    plan.operators = vec![first, last];
    plan.names = vec!["first".into(), "last".into()];
    plan.layers = vec![Layer {
        operators: 0..2,
        inner_count: 0,
    }];
    plan.trace_count = 1;
    (Arc::new(plan), inputs)
}

/// Each operator's derivative by its operand, from libtorch, against differences of the reference engine, which has its own arithmetic.
/// Steps are so long that fp32's rounding is small beside them, and central, so that the second order is gone.
#[test]
fn derivatives_are_what_the_reference_engine_does() {
    let noise = &mut Noise(81);
    let matrix = |noise: &mut Noise| Value::from_f32([4, 6], &noise.floats(24)).unwrap();
    let flat = |noise: &mut Noise| operand(vector(&noise.floats(24)), 0, &[1]);
    let positive = |noise: &mut Noise| {
        operand(
            vector(&noise.floats(24).iter().map(|x| 1.5 + x).collect::<Vec<_>>()),
            0,
            &[1],
        )
    };
    let mut cases = Vec::new();
    for code in [
        Code::Erf,
        Code::Gelu,
        Code::GeluTanh,
        Code::Tanh,
        Code::Sigmoid,
        Code::Exp,
        Code::Neg,
        Code::Abs,
        Code::Relu,
    ] {
        cases.push((code, 0, plan(code, Dtype::F32, &[24], &[], &[], vec![flat(noise)])));
    }
    cases.push((
        Code::Sqrt,
        0,
        plan(Code::Sqrt, Dtype::F32, &[24], &[], &[], vec![positive(noise)]),
    ));
    for code in [Code::Add, Code::Sub, Code::Mul, Code::Div, Code::Min, Code::Max] {
        for through in 0..2 {
            let operands = vec![flat(noise), positive(noise)];
            cases.push((code, through, plan(code, Dtype::F32, &[24], &[], &[], operands)));
        }
    }
    let condition = common::bools(&(0..24).map(|k| k % 3 == 0).collect::<Vec<_>>());
    let operands = vec![operand(condition, 0, &[1]), flat(noise), flat(noise)];
    cases.push((Code::Where, 2, plan(Code::Where, Dtype::F32, &[24], &[], &[], operands)));
    // Copies: a transposition, and a window with padding.
    let copied = vec![operand(matrix(noise), 0, &[1, 6])];
    cases.push((
        Code::Copy,
        0,
        plan(Code::Copy, Dtype::F32, &[6, 4], &[], &[0, 0], copied),
    ));
    let padded = vec![bounded(
        matrix(noise),
        -7,
        &[6, 1],
        &[(4, -1, &[(0, 1)]), (6, -1, &[(1, 1)])],
    )];
    cases.push((
        Code::Copy,
        0,
        plan(Code::Copy, Dtype::F32, &[6, 8], &[], &[0, 0], padded),
    ));
    let index = common::i64s(&[5], &[3, -1, 0, 3, 9]);
    let operands = vec![operand(matrix(noise), 0, &[0, 1]), operand(index, 0, &[1, 0])];
    cases.push((
        Code::Gather,
        0,
        plan(Code::Gather, Dtype::F32, &[5, 6], &[], &[4, 6], operands),
    ));
    for through in 0..3 {
        let operands = vec![
            operand(matrix(noise), 0, &[6, 0, 1]),
            operand(matrix(noise), 0, &[0, 6, 1]),
            operand(vector(&noise.floats(4)), 0, &[0, 1, 0]),
        ];
        cases.push((
            Code::Contract,
            through,
            plan(Code::Contract, Dtype::F32, &[4, 4], &[6], &[], operands),
        ));
    }
    // Spaced so that no step changes which one is the greatest.
    let spaced: Vec<f32> = (0..24).map(|k| (7 * k % 24) as f32 * 0.08 - 1.0).collect();
    let window = || {
        bounded(
            Value::from_f32([4, 6], &spaced).unwrap(),
            -7,
            &[6, 1, 6, 1],
            &[(4, -1, &[(0, 1), (2, 1)]), (6, -1, &[(1, 1), (3, 1)])],
        )
    };
    for (code, params) in [(Code::Sum, &[][..]), (Code::Mean, &[0][..]), (Code::MaxPool, &[][..])] {
        cases.push((
            code,
            0,
            plan(code, Dtype::F32, &[4, 6], &[3, 3], params, vec![window()]),
        ));
    }
    cases.push((
        Code::Softmax,
        0,
        plan(
            Code::Softmax,
            Dtype::F32,
            &[4, 6],
            &[6],
            &[1],
            vec![operand(matrix(noise), 0, &[6, 0, 1])],
        ),
    ));
    for through in 0..3 {
        let operands = vec![
            operand(matrix(noise), 0, &[6, 0, 1]),
            operand(vector(&noise.floats(6)), 0, &[0, 1, 0]),
            operand(vector(&noise.floats(6)), 0, &[0, 1, 0]),
        ];
        let params = [1e-5f32.to_bits(), 1];
        cases.push((
            Code::LayerNorm,
            through,
            plan(Code::LayerNorm, Dtype::F32, &[4, 6], &[6], &params, operands),
        ));
    }
    let operands = vec![flat(noise), flat(noise), flat(noise), flat(noise), positive(noise)];
    cases.push((
        Code::BatchNorm,
        0,
        plan(Code::BatchNorm, Dtype::F32, &[24], &[], &[1e-5f32.to_bits()], operands),
    ));

    for (code, through, case) in cases {
        let (plan, inputs) = behind(case, through);
        let run = Reference.run(&plan, &inputs, Keep::All).unwrap();
        let middle = run.trace[0].to_f32().unwrap();
        let count = plan.operators[1].elements();
        let weights: Vec<(u64, f64)> = (0..count).map(|at| (at, noise.float().into())).collect();
        let found = TORCH.derivatives(&plan, &run, 1, &weights).unwrap().remove(0).unwrap();
        let step = 1.0f32 / 512.0;
        // The last operator alone, with the middle value moved.
        let value = |middle: &[f32]| -> f64 {
            let mut alone = Plan::clone(&plan);
            let read = &mut alone.operators[1].operands[through];
            read.place = Place::Input(through as u32);
            alone.operators.remove(0);
            alone.names.remove(0);
            (alone.layers[0].operators, alone.trace_count) = (0..1, 0);
            let mut inputs = inputs.clone();
            inputs[through] = Value::from_f32(inputs[through].dims.clone(), middle).unwrap();
            let outputs = Reference.run(&Arc::new(alone), &inputs, Keep::All).unwrap().outputs;
            let outputs = outputs[0].to_f32().unwrap();
            weights
                .iter()
                .map(|(at, by)| by * f64::from(outputs[*at as usize]))
                .sum()
        };
        for at in 0..middle.len() {
            let mut ends = [middle.clone(), middle.clone()];
            ends[0][at] += step;
            ends[1][at] -= step;
            let apart = f64::from(ends[0][at]) - f64::from(ends[1][at]);
            let difference = (value(&ends[0]) - value(&ends[1])) / apart;
            let near = (difference - found[at]).abs() <= 2e-3 * (1.0 + found[at].abs());
            assert!(
                near,
                "{code:?} through operand {through}, element {at}: {difference} against {}",
                found[at]
            );
        }
    }
}

/// Pushes every element of every operator to the last number that the judge lets pass, upward where the derivative is positive, each judged
/// against the operands that were pushed before it. Gives the outputs.
fn attack(plan: &Plan, input: &Value, signs: &[Option<Vec<f64>>]) -> (Vec<f32>, usize) {
    let mut values: std::collections::HashMap<(u32, Place), Value> = Default::default();
    let key = |layer: u32, place: Place| (if matches!(place, Place::Inner(_)) { layer } else { 0 }, place);
    let mut pushed = 0;
    values.insert(key(0, Place::Input(0)), input.clone());
    for (operator, d) in plan.operators.iter().enumerate() {
        let operands: Vec<Value> = d
            .operands
            .iter()
            .map(|operand| match operand.place {
                Place::Weight(n) => Value::from(&plan.weights[n as usize]),
                place => values[&key(d.layer, place)].clone(),
            })
            .collect();
        let mut value = compute(&Reference, plan, operator as u32, &operands).unwrap();
        // A rounding to f16 or bf16 is exact: it goes where it is pushed to.
        if let (Some(signs), false) = (&signs[operator], d.dtype.is_half()) {
            let bytes: Vec<&[u8]> = operands.iter().map(|value| &*value.bytes).collect();
            let mut results = value.bytes.to_vec();
            for (element, sign) in signs.iter().enumerate() {
                if *sign != 0.0 {
                    pushed += usize::from(push(d, plan.profile, &bytes, &mut results, element, *sign > 0.0));
                }
            }
            value = Value::new(d.dtype, d.dims.clone(), results).unwrap();
        }
        values.insert(key(d.layer, d.place), value);
    }
    (values[&key(0, Place::Output(0))].to_f32().unwrap(), pushed)
}

/// Moves an element as far as the judge allows; whether it moved.
fn push(d: &Descriptor, profile: u64, operands: &[&[u8]], results: &mut [u8], element: usize, up: bool) -> bool {
    let at = 4 * element..4 * element + 4;
    let order = |x: f32| {
        if x < 0.0 {
            -i64::from(x.abs().to_bits())
        } else {
            i64::from(x.to_bits())
        }
    };
    let float = |order: i64| f32::from_bits(order.unsigned_abs() as u32) * if order < 0 { -1.0 } else { 1.0 };
    let from = order(f32::from_le_bytes(results[at.clone()].try_into().unwrap()));
    let inside = |places: i64, results: &mut [u8]| {
        let to = float(if up { from + places } else { from - places });
        results[at.clone()].copy_from_slice(&to.to_le_bytes());
        judge_element(d, profile, operands, results, element as u64).unwrap() == Verdict::Inside
    };
    let (mut held, mut out) = (0i64, 1i64);
    while inside(out, results) {
        (held, out) = (out, 2 * out);
    }
    while out - held > 1 {
        let middle = held + (out - held) / 2;
        if inside(middle, results) {
            held = middle
        } else {
            out = middle
        }
    }
    assert!(inside(held, results), "the honest result is inside");
    held > 0
}

/// A rounding to f16 between two values that can be pushed: a last place of fp32 makes it go the other way, which moves it by a last place
/// of f16, and slack counts that.
#[test]
fn a_rounding_that_goes_the_other_way_is_counted() {
    let honest = |x: f32| {
        let case = plan(
            Code::Tanh,
            Dtype::F32,
            &[1],
            &[],
            &[],
            vec![operand(vector(&[x]), 0, &[1])],
        );
        Reference.run(&case.0, &case.1, Keep::All).unwrap().outputs[0]
            .to_f32()
            .unwrap()[0]
    };
    // Arguments whose tanh is just above the middle between two numbers of f16.
    let above = |k: u32| {
        let middle = f32::from_bits(half::decode(Dtype::F16, 0x3500 + 40 * k) + (1 << 12));
        let start = middle.atanh().to_bits() - 8;
        let found = (start..).map(f32::from_bits).find(|x| honest(*x) > middle).unwrap();
        assert!(honest(found) - middle < 4.0 * f32::EPSILON * middle);
        found
    };
    let input = vector(&(0..24).map(above).collect::<Vec<_>>());
    let cast = plan(
        Code::Cast,
        Dtype::F16,
        &[24],
        &[],
        &[],
        vec![operand(input.clone(), 0, &[1])],
    );
    let mut plan = Arc::unwrap_or_clone(behind(cast, 0).0);
    let mut back = plan.operators[1].clone();
    (back.dtype, back.operands[0].dtype, back.operands[0].place) = (Dtype::F32, Dtype::F16, Place::Trace(1));
    plan.operators[1].place = Place::Trace(1);
    plan.operators.push(back);
    plan.names.push("back".into());
    plan.layers[0].operators = 0..3;
    plan.trace_count = 2;
    plan.outputs[0].dtype = Dtype::F32;
    let plan = Arc::new(plan);
    let run = Reference.run(&plan, std::slice::from_ref(&input), Keep::All).unwrap();
    let weights: Vec<(u64, f64)> = (0..24).map(|element| (element, -1.0)).collect();
    let question = Question::Sum {
        operator: 2,
        weights: weights.clone(),
    };
    let answer = TORCH
        .slack(&plan, &run, &[Profile::FAST], &[question])
        .unwrap()
        .remove(0);
    let signs = TORCH.derivatives(&plan, &run, 2, &weights).unwrap();
    let (moved, pushed) = attack(&plan, &input, &signs);
    let before = run.outputs[0].to_f32().unwrap();
    let by: f64 = before.iter().zip(&moved).map(|(a, b)| f64::from(a - b)).sum();
    let slack = answer.bounds[0].slack;
    assert_eq!(pushed, 24);
    // Each one by a last place of f16.
    let places: f64 = before.iter().map(|y| 0.5f64.powi(if *y < 0.5 { 12 } else { 11 })).sum();
    assert_eq!(by, places);
    assert!((0.95 * slack..=slack).contains(&by), "moved by {by}, slack {slack}");
}

/// What the whole is for: an adversary whom the judge does not convict of anything moves the output by about the slack, and not by more
/// than the second order adds. Under `wide` an envelope leaves one number or two, so that the adversary has hardly a choice: there the
/// slack is what it can do at most.
#[test]
fn an_adversary_at_every_edge_moves_the_output_by_the_slack() {
    let plan = digits();
    let image = &rows("digits_vit/inputs/images.npy")[3];
    let run = run(&plan, image);
    let operator = plan.operators.iter().position(|d| d.place == Place::Output(0)).unwrap() as u32;
    let honest = run.outputs[0].to_f32().unwrap();
    for (k, (name, word)) in profiles().into_iter().enumerate() {
        let element = 7u64;
        let weights = vec![(element, 1.0)];
        let question = [Question::Sum {
            operator,
            weights: weights.clone(),
        }];
        let answer = TORCH.slack(&plan, &run, &of_profiles(), &question).unwrap().remove(0);
        let signs = TORCH.derivatives(&plan, &run, operator, &weights).unwrap();
        let (moved, pushed) = attack(&under(&plan, word), image, &signs);
        let moved = f64::from(moved[element as usize]) - f64::from(honest[element as usize]);
        let part = moved / answer.bounds[k].slack;
        println!(
            "{name}, output {element}: {pushed} elements pushed, moved by {moved:e}, slack {:e}: {part:.3}",
            answer.bounds[k].slack
        );
        assert!(part <= 1.05, "{name}: moved by {part} of the slack");
        if name != "wide" {
            // What tensor cores may do is so much that the model bends on the way.
            let least = match name {
                "tf32" | "fp16" => 0.5,
                "bf16" => 0.25,
                _ => 0.9,
            };
            assert!(
                part >= least && pushed > 50_000,
                "{name}: moved by {part} of the slack, {pushed} pushed"
            );
        }
    }
}

#[test]
fn profiles_are_in_order_and_parts_add_up() {
    let plan = digits();
    let run = run(&plan, &rows("digits_vit/inputs/images.npy")[0]);
    let elements = slack::elements(&TORCH, &plan, &run, &of_profiles(), 0, ALL).unwrap();
    assert_eq!(elements.len(), 10);
    for element in &elements {
        let [fast, blocked, wide, tf32, bf16, fp16] = &element.answer.bounds[..] else {
            panic!()
        };
        assert!(
            fast.slack > 1.2 * blocked.slack && blocked.slack > 20.0 * wide.slack,
            "{element:?}"
        );
        assert!(bf16.slack > tf32.slack && tf32.slack > fp16.slack && fp16.slack > 20.0 * fast.slack);
        for bounds in &element.answer.bounds {
            let sum: f64 = bounds.families.values().sum();
            assert!((sum - bounds.slack).abs() <= 1e-9 * sum);
            assert!(bounds.families.len() >= 4);
        }
    }
    let values = run.outputs[0].to_f32().unwrap();
    assert!(
        elements
            .iter()
            .all(|e| (e.answer.value - f64::from(values[e.element as usize])).abs() < 1e-6)
    );
}

#[test]
fn large_outputs_are_sampled() {
    let plan = digits();
    let run = run(&plan, &rows("digits_vit/inputs/images.npy")[0]);
    let few = Limits { elements: 4, rows: 1 };
    let elements = slack::elements(&TORCH, &plan, &run, &of_profiles(), 0, few).unwrap();
    assert!((3..=4).contains(&elements.len()));
    let values = run.outputs[0].to_f32().unwrap();
    let greatest = (0..10)
        .max_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()))
        .unwrap();
    assert!(elements.iter().any(|element| element.element == greatest as u64));
    let margins = slack::margins(&TORCH, &plan, &run, &of_profiles(), 0, few).unwrap();
    assert_eq!((margins[0].rivals.len(), margins[0].others), (4, 5));
}

/// The margin rule against one's own numbers, and a row that is no more certain once its rivals are near.
#[test]
fn a_margin_above_the_slack_is_certain() {
    let plan = digits();
    let image = &rows("digits_vit/inputs/images.npy")[0];
    let run = run(&plan, image);
    let margins = slack::margins(&TORCH, &plan, &run, &of_profiles(), 0, ALL).unwrap();
    let [margin] = &margins[..] else { panic!("{margins:?}") };
    let values = run.outputs[0].to_f32().unwrap();
    let top = (0..10).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
    assert_eq!((margin.top, margin.rivals.len(), margin.others), (top, 9, 0));
    for rival in &margin.rivals {
        let own = f64::from(values[top]) - f64::from(values[rival.place]);
        assert!((rival.margin.value - own).abs() < 1e-6);
    }
    assert!((0..3).all(|profile| margin.is_certain(profile)));
    for profile in 0..3 {
        let mut narrow = margin.clone();
        narrow.rivals[4].margin.value = narrow.rivals[4].margin.bounds[profile].slack;
        assert!(
            !narrow.is_certain(profile),
            "a margin that equals the slack is not certain"
        );
        assert_eq!(narrow.nearest(profile).unwrap().place, margin.rivals[4].place);
    }
}

/// The direction found beats others, and no direction beats what bounds all of them.
#[test]
fn cosines_are_searched_from_below_and_bounded_from_above() {
    let plan = digits();
    let run = run(&plan, &rows("digits_vit/inputs/images.npy")[5]);
    let found = slack::cosines(&TORCH, &plan, &run, &of_profiles(), 0, None, ALL)
        .unwrap()
        .remove(0);
    let any = found.any.unwrap();
    let plain = slack::cosines(
        &TORCH,
        &plan,
        &run,
        &of_profiles(),
        0,
        Some(&slack::plain_direction(10)),
        ALL,
    );
    let plain: Vec<f64> = plain.unwrap()[0].answer.bounds.iter().map(|b| b.slack).collect();
    assert_eq!(found.plain, Some(plain));
    let noise = &mut Noise(82);
    for _ in 0..4 {
        let other: Vec<f64> = noise.floats(10).iter().map(|x| f64::from(*x)).collect();
        let fixed = slack::cosines(&TORCH, &plan, &run, &of_profiles(), 0, Some(&other), ALL).unwrap();
        assert_eq!(fixed[0].any, None);
        for profile in 0..3 {
            let one = fixed[0].answer.bounds[profile].slack;
            assert!(
                one <= found.answer.bounds[profile].slack * 1.001,
                "{one} above {found:?}",
                found = found.answer
            );
        }
    }
    for (bounds, any) in found.answer.bounds.iter().zip(&any) {
        let slack = bounds.slack;
        println!("found {slack:e}, bound of all {any:e}");
        assert!(slack <= *any && slack > 0.3 * any);
    }
    let row = run.outputs[0].to_f32().unwrap();
    let own: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    let itself = slack::cosines(&TORCH, &plan, &run, &of_profiles(), 0, Some(&own), ALL).unwrap();
    assert!((itself[0].answer.value - 1.0).abs() < 1e-12);
    assert!(
        itself[0].answer.bounds[0].slack < 1e-9,
        "the cosine with itself is greatest: it moves by nothing to first order"
    );
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let plan = digits();
    let run = run(&plan, &rows("digits_vit/inputs/images.npy")[0]);
    let error = |question: Question| {
        TORCH
            .slack(&plan, &run, &of_profiles(), &[question])
            .unwrap_err()
            .to_string()
    };
    let operator = plan.operators.iter().position(|d| d.place == Place::Output(0)).unwrap() as u32;
    assert!(
        error(Question::Sum {
            operator,
            weights: vec![(10, 1.0)]
        })
        .contains("does not have")
    );
    assert!(
        error(Question::Sum {
            operator: 9999,
            weights: vec![]
        })
        .contains("9999")
    );
    let other = Question::Cosine {
        operator,
        elements: 0..10,
        against: Some(vec![1.0; 9]),
    };
    assert!(error(other).contains("another length"));
    let output = slack::elements(&TORCH, &plan, &run, &of_profiles(), 1, ALL).unwrap_err();
    assert!(output.to_string().contains("no output 1"));
    let boundary = Run {
        inner: None,
        ..run.clone()
    };
    let error = slack::elements(&TORCH, &plan, &boundary, &of_profiles(), 0, ALL).unwrap_err();
    assert!(error.to_string().contains("not kept"), "{error}");
}
