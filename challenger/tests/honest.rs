//! Two hundred honest claims, worker on libtorch, challenger on the reference engine alone: what the challenger decides, from the
//! boundary values to its one move, is to do nothing. The same where the values are withheld and only the outputs are there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use common::*;
use touchstone_challenger::{
    gather::Own,
    model::Model,
    strategy::{Action, At, Charge, DisputeView, Knowledge, Stage, next_move},
    tolerance::Tolerance,
    verdict::{Verdict, judge, outputs_alone},
};
use touchstone_engine::{Engine, Keep, Trace, Value};

const RUNS: usize = 200;

/// The one move, on a claim that may be disputed and is not.
fn decision(charge: Charge) -> Option<Action> {
    let view = DisputeView {
        claim_open: true,
        window_end: 1_020,
        stage: Stage::Unopened,
        standing: BTreeMap::new(),
        clock: 60,
        extension: 5,
        max_turns: 10,
        block_seconds: 1,
        private_relay: false,
    };
    let knowledge = Knowledge {
        charge,
        ..Knowledge::nothing()
    };
    next_move(&view, &knowledge, 1_000)
}

fn charge(verdict: &Verdict) -> Charge {
    match verdict {
        Verdict::Valid { .. } => Charge::Nothing,
        Verdict::Wrong(spot) => Charge::Element(At {
            operator: spot.operator,
            element: spot.element,
        }),
        Verdict::Suspect(suspects) => Charge::Layers(suspects.iter().map(|suspect| suspect.layer).collect()),
        Verdict::Unverifiable { .. } | Verdict::Foreign { .. } => Charge::Undecided,
    }
}

/// What came of one claim.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Distances of the worst layer, and of the outputs over the whole run, with what is tolerated of those.
    layer: f64,
    output: f64,
    tolerated: f64,
}

fn examine(model: &Model, engine: &dyn Engine, image: &Value, claimed: &Claimed) -> Seen {
    let verdict = judge(model, &claimed.trace, &[engine], &Tolerance::USUAL).unwrap();
    assert_eq!(
        decision(charge(&verdict)),
        None,
        "an honest claim is disputed: {verdict:?}"
    );
    let run = engine
        .run(&model.plan, std::slice::from_ref(image), Keep::Boundary)
        .unwrap();
    let trace = Trace::commit(&run).unwrap();
    let own = Own { run, trace };
    let apart = outputs_alone(model, &claimed.run.outputs, &[own], &[engine])
        .unwrap()
        .expect("the model has an fp32 output");
    let withheld = match apart.spot.share > apart.tolerated {
        true => Charge::Withheld,
        false => Charge::Undecided,
    };
    assert_eq!(
        decision(withheld),
        None,
        "a withheld honest claim is disputed: {apart:?}"
    );
    let Verdict::Valid { worst } = verdict else {
        panic!("an honest claim is not known to be valid: {verdict:?}")
    };
    Seen {
        layer: worst,
        output: apart.spot.share,
        tolerated: apart.tolerated,
    }
}

#[test]
fn two_hundred_honest_claims_are_not_disputed() {
    let model = model("digits_vit/model.onnx");
    let images = images();
    let claims: Vec<Claimed> = images[..RUNS]
        .iter()
        .map(|image| {
            Claimed::new(
                torch()
                    .run(&model.plan, std::slice::from_ref(image), Keep::Boundary)
                    .unwrap(),
            )
        })
        .collect();
    let next = AtomicUsize::new(0);
    let examined = || {
        let mut seen = Vec::new();
        while let Some(claimed) = claims.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Claims are looked at by number, their images with them.
            let image = &claimed.run.inputs[0];
            seen.push(examine(&model, reference(), image, claimed));
        }
        seen
    };
    let seen: Vec<Seen> = thread::scope(|scope| {
        let both = [scope.spawn(examined), scope.spawn(examined)];
        both.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let most = |of: fn(&Seen) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    println!(
        "{} honest claims, no dispute; worst share {:.3}, worst output over a whole run {:.3} of {} tolerated",
        seen.len(),
        most(|seen| seen.layer),
        most(|seen| seen.output),
        seen[0].tolerated
    );
    assert_eq!(seen.len(), RUNS);
}

/// The same decision on twice the least that the judge convicts: it is not that nothing is ever disputed.
#[test]
fn a_claim_with_one_wrong_output_is_disputed() {
    let model = model("digits_vit/model.onnx");
    let image = &images()[0];
    let right = honest(&model, torch(), image);
    let operator = model.plan.operators.len() as u32 - 1;
    let ulps = 2 * smallest_convicted(&model, &right.run, operator, 0);
    let wrong = nudged(&right.run.outputs[0], 0, ulps);
    let claimed = with_value(&model, torch(), image, operator, &wrong);
    let verdict = judge(&model, &claimed.trace, &[reference()], &Tolerance::USUAL).unwrap();
    // It was made of inner values, so their layer is asked for first.
    let layer = model.plan.operators[operator as usize].layer;
    assert_eq!(charge(&verdict), Charge::Layers(vec![layer]));
    assert_eq!(decision(charge(&verdict)), Some(Action::Open));
}
