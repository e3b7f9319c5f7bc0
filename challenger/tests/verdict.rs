//! Verdicts on claims in memory: honest ones are valid whatever engine looks, lies are found, named and convicted by the judge.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::num::NonZero;

use common::*;
use touchstone_challenger::{
    examine::examine,
    gather::Own,
    model::Model,
    strategy::{At, Finding},
    tolerance::{Bits, Tolerance},
    verdict::{Verdict, WITHHELD_TOLERANCE, accuse, convict, judge, judge_opened, outputs_alone},
};
use touchstone_engine::{Engine, Opened, Trace, Value};
use touchstone_model::plan::Plan;
use touchstone_protocol::{
    descriptor::{Dtype, Place},
    witness,
};

const ONE: NonZero<usize> = NonZero::<usize>::MIN;
const MODELS: [&str; 3] = [
    "digits_vit/model.onnx",
    "suite/cnn_torchscript_batchnorm.onnx",
    "suite/mlp_dynamo.onnx",
];

fn verdict(model: &Model, claimed: &Claimed, engines: &[&dyn Engine]) -> Verdict {
    judge(model, &claimed.trace, engines, &Tolerance::USUAL).unwrap()
}

const ALL_BITS: Tolerance = Tolerance {
    bits: Bits::All,
    ..Tolerance::USUAL
};

/// Opens the first suspect layer and gives what the judge convicts with, as judged by the witness alone.
fn convicted(model: &Model, claimed: &Claimed, engines: &[&dyn Engine]) -> Option<At> {
    let (at, layer) = match verdict(model, claimed, engines) {
        Verdict::Wrong(spot) => (
            At {
                operator: spot.operator,
                element: spot.element,
            },
            None,
        ),
        Verdict::Suspect(suspects) => {
            let layer = claimed.layer(suspects[0].layer);
            match judge_opened(model, &claimed.trace, &layer, ONE).unwrap() {
                Finding::Outside(at) => (at, Some(layer)),
                _ => return None,
            }
        }
        _ => return None,
    };
    let witness = convict(model, &claimed.trace, layer.as_ref(), at).unwrap();
    // From the worker's side alone: its own trees, the model's plan.
    let opened = Opened {
        plan: &model.plan,
        model: &model.trees,
        trace: &claimed.trace,
        layer: layer.as_ref(),
    };
    let outcome = witness::judge(&opened.context(), &witness);
    assert_eq!(outcome.verdict, witness::Verdict::Outside);
    assert_eq!((outcome.operator, outcome.element), (at.operator, at.element));
    Some(at)
}

#[test]
fn honest_distances() {
    let (mut alone, mut between, mut outputs): (f64, f64, f64) = (0.0, 0.0, 0.0);
    for name in MODELS {
        let model = model(name);
        for image in images().iter().step_by(24) {
            let claimed = honest(&model, torch(), image);
            let other = honest(&model, reference(), image);
            let examination = examine(&model, &claimed.trace, &[reference()]);
            assert_eq!(examination.proven, None);
            alone = examination
                .looks
                .iter()
                .filter_map(|look| look.worst)
                .map(|spot| spot.share)
                .fold(alone, f64::max);
            let examination = examine(&model, &other.trace, &[torch()]);
            between = examination
                .looks
                .iter()
                .filter_map(|look| look.worst)
                .map(|spot| spot.share)
                .fold(between, f64::max);
            let own = Own {
                trace: Trace::commit(&other.run).unwrap(),
                run: other.run,
            };
            let apart = outputs_alone(&model, &claimed.run.outputs, &[own], &[reference()])
                .unwrap()
                .unwrap();
            outputs = outputs.max(apart.spot.share);
        }
    }
    let t = Tolerance::USUAL;
    println!(
        "greatest honest distance of a layer, in envelopes: libtorch from reference {alone:.3}, back {between:.3}; tolerated {}",
        t.alone
    );
    println!("greatest honest distance of an output over a whole run: {outputs:.3}; tolerated {WITHHELD_TOLERANCE}");
    assert!(
        2.0 * alone.max(between) < t.alone,
        "the tolerance is too close to what honest engines show"
    );
    assert!(
        2.0 * outputs < WITHHELD_TOLERANCE,
        "the tolerance is too close to what honest engines show"
    );
}

#[test]
fn honest_claims_are_valid_whoever_looks() {
    for name in MODELS {
        let model = model(name);
        for image in images().iter().skip(5).step_by(72) {
            for worker in [torch(), reference()] {
                let claimed = honest(&model, worker, image);
                for engines in [&[reference()][..], &[torch()][..], &[reference(), torch()][..]] {
                    let found = verdict(&model, &claimed, engines);
                    assert!(
                        matches!(found, Verdict::Valid { .. }),
                        "{name} by {}: {found:?}",
                        worker.name()
                    );
                }
            }
        }
    }
}

/// A changed plan that changes one weight.
fn other_weights(model: &Model, operator: u32, factor: f32) -> Plan {
    let mut plan = (*model.plan).clone();
    let Place::Weight(number) = plan.operators[operator as usize].operands[1].place else {
        panic!("no weight")
    };
    let weight = &mut plan.weights[number as usize];
    let bytes = weight
        .bytes
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|b| (f32::from_le_bytes(*b) * factor).to_le_bytes());
    weight.bytes = bytes.collect::<Vec<u8>>().into();
    plan
}

#[test]
fn other_weights_are_convicted_at_their_operator() {
    let model = model(MODELS[0]);
    // The second block's perceptron, first product.
    let operator = model.plan.names.iter().position(|name| name == "linear_6").unwrap() as u32;
    for image in images().iter().step_by(180) {
        let claimed = by_plan(other_weights(&model, operator, 1.001), torch(), image);
        for engines in [&[reference()][..], &[reference(), torch()][..]] {
            assert_eq!(
                convicted(&model, &claimed, engines).map(|at| at.operator),
                Some(operator)
            );
        }
    }
}

#[test]
fn a_wrong_output_over_a_right_trace_is_convicted_at_the_output() {
    let model = model(MODELS[0]);
    let operator = model.plan.operators.len() as u32 - 1;
    let image = &images()[0];
    let right = honest(&model, torch(), image);
    for element in 0..10 {
        let ulps = 2 * smallest_convicted(&model, &right.run, operator, element);
        let wrong = nudged(&right.run.outputs[0], element, ulps);
        let claimed = with_value(&model, torch(), image, operator, &wrong);
        for engines in [&[reference()][..], &[torch()][..], &[reference(), torch()][..]] {
            let at = Some(At {
                operator,
                element: element as u64,
            });
            assert_eq!(convicted(&model, &claimed, engines), at, "by {ulps} ulps");
        }
    }
}

#[test]
fn an_inner_value_twice_beyond_its_envelope_is_convicted_there() {
    let model = model(MODELS[0]);
    let image = &images()[3];
    let right = honest(&model, torch(), image);
    let (mut seen_by_reference, mut count) = (0, 0);
    for operator in model.operators(0).chain(model.operators(3)) {
        let d = &model.plan.operators[operator as usize];
        if !matches!(d.place, Place::Inner(_)) {
            continue;
        }
        let value = right.run.output_of(d).unwrap();
        let element = greatest(value);
        let ulps = 2 * smallest_convicted(&model, &right.run, operator, element);
        let claimed = with_value(&model, torch(), image, operator, &nudged(value, element, ulps));
        if claimed.trace.root() == right.trace.root() {
            // It changed nothing that anybody has committed to: there is no such lie in this claim.
            continue;
        }
        count += 1;
        let expect = Some(At {
            operator,
            element: element as u64,
        });
        for engines in [&[torch()][..], &[reference(), torch()][..]] {
            assert_eq!(
                convicted(&model, &claimed, engines),
                expect,
                "{} by {ulps} ulps",
                model.plan.names[operator as usize]
            );
        }
        // An engine with other rounding sees what stands out of the rounding; what it sees is the same element.
        if let Some(at) = convicted(&model, &claimed, &[reference()]) {
            assert_eq!(Some(at), expect);
            seen_by_reference += 1;
        }
    }
    println!(
        "lies of twice the smallest: {count} with libtorch, {seen_by_reference} of them with the reference engine alone"
    );
    assert!(count >= 10);
}

#[test]
fn lies_that_stand_out_of_rounding_are_convicted_by_another_engine_too() {
    let model = model(MODELS[0]);
    let image = &images()[3];
    let right = honest(&model, torch(), image);
    for operator in model.operators(3) {
        let d = &model.plan.operators[operator as usize];
        if !matches!(d.place, Place::Inner(_)) {
            continue;
        }
        let value = right.run.output_of(d).unwrap();
        let element = greatest(value);
        // An eighth of the value.
        let claimed = with_value(&model, torch(), image, operator, &nudged(value, element, 1 << 20));
        let expect = Some(At {
            operator,
            element: element as u64,
        });
        assert_eq!(
            convicted(&model, &claimed, &[reference()]),
            expect,
            "{}",
            model.plan.names[operator as usize]
        );
    }
}

#[test]
fn a_wrong_label_needs_no_layer() {
    let model = model("suite/reader_dynamo.onnx");
    let image = &images()[0];
    let right = honest(&model, torch(), image);
    assert!(matches!(verdict(&model, &right, &[reference()]), Verdict::Valid { .. }));
    let (operator, d) = model
        .plan
        .operators
        .iter()
        .enumerate()
        .find(|(_, d)| d.code == touchstone_protocol::descriptor::Code::ArgMax)
        .unwrap();
    assert!(!d.touches_inner());
    let label = right.run.output_of(d).unwrap();
    let mut bytes = label.bytes.to_vec();
    bytes[0] ^= 1;
    let wrong = Value {
        bytes: bytes.into(),
        ..label.clone()
    };
    let claimed = with_value(&model, torch(), image, operator as u32, &wrong);
    let Verdict::Wrong(spot) = verdict(&model, &claimed, &[reference()]) else {
        panic!("not proven")
    };
    assert_eq!((spot.operator, spot.element), (operator as u32, 0));
    assert_eq!(
        convicted(&model, &claimed, &[reference()]),
        Some(At {
            operator: operator as u32,
            element: 0
        })
    );
}

#[test]
fn our_own_judge_refuses_to_convict_what_is_right() {
    let model = model(MODELS[2]);
    let claimed = honest(&model, torch(), &images()[0]);
    for (operator, d) in (0u32..).zip(&model.plan.operators) {
        let layer = claimed.layer(d.layer);
        assert!(convict(&model, &claimed.trace, Some(&layer), At { operator, element: 0 }).is_err());
    }
}

#[test]
fn a_little_wrong_everywhere_is_found_where_all_bits_count() {
    let model = model(MODELS[0]);
    let image = &images()[3];
    let mut plan = (*model.plan).clone();
    // Two units in the last place of every weight: far below what a distance can show.
    for weight in plan
        .weights
        .iter_mut()
        .filter(|weight| weight.dtype == Dtype::F32 && weight.dims.len() >= 2)
    {
        let moved = weight
            .bytes
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|b| (f32::from_le_bytes(*b) * (1.0 + f32::EPSILON)).to_le_bytes());
        weight.bytes = moved.collect::<Vec<u8>>().into();
    }
    let claimed = by_plan(plan, torch(), image);
    let engines = [reference(), torch()];
    assert!(
        matches!(verdict(&model, &claimed, &engines), Verdict::Valid { .. }),
        "nothing stands out"
    );
    let Verdict::Suspect(suspects) = judge(&model, &claimed.trace, &engines, &ALL_BITS).unwrap() else {
        panic!("no suspect")
    };
    assert!(suspects.iter().all(|suspect| suspect.by_bits));
    let opened = suspects
        .iter()
        .map(|suspect| judge_opened(&model, &claimed.trace, &claimed.layer(suspect.layer), ONE).unwrap());
    assert!(opened.into_iter().any(|finding| matches!(finding, Finding::Outside(_))));
    // The honest worker on one of our engines is not asked for anything.
    let right = honest(&model, torch(), image);
    assert!(matches!(
        judge(&model, &right.trace, &engines, &ALL_BITS).unwrap(),
        Verdict::Valid { .. }
    ));
}

/// A sum of 2^20 terms: no witness convicts it, its totals do.
#[test]
fn a_wrong_long_sum_is_found_and_its_totals_accuse_it() {
    let model = model("long/sum.onnx");
    let input: Vec<f32> = (0..1024u16).map(|k| f32::from(k) / 1024.0).collect();
    let input = Value::from_f32(vec![1, 1024], &input).unwrap();
    for engine in [torch(), reference()] {
        let claimed = honest(&model, engine, &input);
        assert!(matches!(
            verdict(&model, &claimed, &[torch(), reference()]),
            Verdict::Valid { .. }
        ));
        let at = At {
            operator: 1,
            element: 0,
        };
        assert!(accuse(&model, &claimed.trace, None, at).is_err(), "it is right");
        let sum = &claimed.run.outputs[0];
        let wrong = nudged(sum, 0, 2 * smallest_convicted(&model, &claimed.run, 1, 0));
        let claimed = with_value(&model, engine, &input, 1, &wrong);
        let Verdict::Wrong(spot) = verdict(&model, &claimed, &[torch()]) else {
            panic!("not found")
        };
        assert_eq!((spot.operator, spot.element), (at.operator, at.element));
        accuse(&model, &claimed.trace, None, at).unwrap();
        assert!(
            convict(&model, &claimed.trace, None, at).is_err(),
            "one witness decides nothing"
        );
    }
}
