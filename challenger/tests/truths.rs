//! Bools that are neither 0 nor 1: the contract takes them, so they are values like others, and wrong ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::{num::NonZero, sync::Arc};

use alloy_primitives::{Address, B256};
use common::*;
use touchstone_challenger::{
    examine::examine,
    model::{Model, split},
    strategy::{Action, At, Charge, DisputeView, Finding, Knowledge, Live, Stage, next_move},
    tolerance::Tolerance,
    verdict::{Verdict, convict, judge, judge_opened},
};
use touchstone_engine::{Engine, EngineError, Keep, LayerValues, Run, Value, ValueSource};
use touchstone_model::plan::{Io, Layer, Plan, Weight};
use touchstone_protocol::{
    descriptor::{Code, Descriptor, Dtype, Operand, Place},
    dispute::{Phase, Position, Tree},
    model::Profile,
};

const COUNT: u32 = 4;

fn operator(code: Code, layer: u32, place: Place, dtype: Dtype, operands: &[(Place, Dtype)]) -> Descriptor {
    let operand = |(place, dtype): &(Place, Dtype)| Operand {
        place: *place,
        dtype: *dtype,
        dims: vec![COUNT],
        base: 0,
        strides: vec![1],
        bounds: Vec::new(),
    };
    Descriptor {
        code,
        layer,
        layer_inner_count: layer,
        place,
        dtype,
        dims: vec![COUNT],
        output_axes: vec![COUNT],
        reduction_axes: Vec::new(),
        params: Vec::new(),
        operands: operands.iter().map(operand).collect(),
    }
}

/// Which numbers are greater than a half: in the trace, its opposite as output 1, and by way of an inner value again as output 0.
fn model() -> Model {
    use Dtype::{Bool, F32};
    let (x, half, greater, number) = (Place::Input(0), Place::Weight(0), Place::Trace(0), Place::Inner(0));
    let io = |name: &str, dtype| Io {
        name: name.into(),
        dtype,
        dims: vec![COUNT],
    };
    let plan = Plan {
        profile: Profile::FAST.encode(),
        inputs: vec![io("x", F32)],
        outputs: vec![io("again", Bool), io("not", Bool)],
        weights: vec![Weight {
            name: "half".into(),
            dtype: F32,
            dims: vec![COUNT],
            bytes: [0.5f32; COUNT as usize].iter().flat_map(|x| x.to_le_bytes()).collect(),
        }],
        operators: vec![
            operator(Code::Greater, 0, greater, Bool, &[(x, F32), (half, F32)]),
            operator(Code::Not, 0, Place::Output(1), Bool, &[(greater, Bool)]),
            operator(Code::Cast, 1, number, F32, &[(greater, Bool)]),
            operator(Code::Greater, 1, Place::Output(0), Bool, &[(number, F32), (half, F32)]),
        ],
        names: ["greater", "not", "number", "again"].map(String::from).into(),
        values: Vec::new(),
        layers: vec![
            Layer {
                operators: 0..2,
                inner_count: 0,
            },
            Layer {
                operators: 2..4,
                inner_count: 1,
            },
        ],
        trace_count: 1,
    };
    Model::new(Arc::new(plan), Address::ZERO).unwrap()
}

/// An honest run, in which `lie` then changes the bytes of one value.
fn claimed(model: &Model, lie: impl FnOnce(&mut Run) -> &mut Value) -> Claimed {
    let x = Value::from_f32([COUNT], &[0.0, 1.0, 0.25, 0.75]).unwrap();
    let mut run = reference().run(&model.plan, &[x], Keep::All).unwrap();
    let value = lie(&mut run);
    assert_eq!(value.dtype, Dtype::Bool);
    // True stays true to whoever computes with it; false becomes true.
    let bytes: Vec<u8> = value
        .bytes
        .iter()
        .enumerate()
        .map(|(i, b)| if i == 1 { 2 } else { *b })
        .collect();
    value.bytes = bytes.into();
    Claimed::new(run)
}

/// Fails at every layer.
struct Broken;

fn broken() -> &'static dyn Engine {
    &Broken
}

impl Engine for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn run(&self, _: &Arc<Plan>, _: &[Value], _: Keep) -> Result<Run, EngineError> {
        Err(EngineError::Plan("broken".into()))
    }

    fn replay_layer(&self, _: &Arc<Plan>, _: u32, _: &dyn ValueSource) -> Result<LayerValues, EngineError> {
        Err(EngineError::Plan("broken".into()))
    }
}

/// A dispute is opened, and what is found then convicts.
fn moves(charge: Charge, found: Option<At>) {
    let view = |stage| DisputeView {
        claim_open: true,
        window_end: 100,
        stage,
        standing: Default::default(),
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
    assert_eq!(next_move(&view(Stage::Unopened), &knowledge, 1), Some(Action::Open));
    let live = Stage::Live(Box::new(Live {
        position: Position {
            moves: 1,
            phase: Phase::Choosing,
            tree: Tree::Trace,
            layer: 0,
            node: B256::ZERO,
            depth: 0,
            index: 0,
            operator: 0,
            element: 0,
        },
        count: 1,
        turns: 0,
        deadline: 60,
        children: None,
        given: None,
        compared: None,
    }));
    if let Some(at) = found {
        assert_eq!(next_move(&view(live), &knowledge, 1), Some(Action::Convict(at)));
    }
}

#[test]
fn a_wrong_bool_whose_operands_are_committed_is_proven_whatever_engines_do() {
    let model = model();
    for (operator, claimed) in [
        (0, claimed(&model, |run| &mut run.trace[0])),
        (1, claimed(&model, |run| &mut run.outputs[1])),
    ] {
        let at = At { operator, element: 1 };
        for engines in [&[reference()][..], &[broken()][..], &[broken(), torch()][..]] {
            let verdict = judge(&model, &claimed.trace, engines, &Tolerance::USUAL).unwrap();
            let Verdict::Wrong(spot) = verdict else {
                panic!("{verdict:?}")
            };
            assert_eq!((spot.operator, spot.element), (at.operator, at.element));
            convict(&model, &claimed.trace, None, at).unwrap();
            moves(Charge::Element(at), Some(at));
        }
    }
}

#[test]
fn a_wrong_bool_made_of_inner_values_has_its_layer_asked_for_and_is_convicted() {
    let model = model();
    let claimed = claimed(&model, |run| &mut run.outputs[0]);
    for engines in [&[reference()][..], &[torch()][..], &[broken(), torch()][..]] {
        let verdict = judge(&model, &claimed.trace, engines, &Tolerance::USUAL).unwrap();
        let Verdict::Suspect(suspects) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(suspects.iter().map(|suspect| suspect.layer).collect::<Vec<_>>(), [1]);
        moves(Charge::Layers(vec![1]), None);
        let layer = claimed.layer(1);
        let at = At {
            operator: 3,
            element: 1,
        };
        let found = judge_opened(&model, &claimed.trace, &layer, NonZero::<usize>::MIN).unwrap();
        assert_eq!(found, Finding::Outside(at));
        convict(&model, &claimed.trace, Some(&layer), at).unwrap();
    }
}

#[test]
fn engines_replay_from_any_true_bool() {
    let model = model();
    let claimed = claimed(&model, |run| &mut run.trace[0]);
    let mut right = claimed.run.clone();
    let truths: Vec<u8> = right.trace[0].bytes.iter().map(|byte| u8::from(*byte != 0)).collect();
    right.trace[0].bytes = truths.into();
    let right = Claimed::new(right);
    // Nothing is proven against the second one, and the layer that reads the bools is the same from both.
    let verdict = judge(&model, &right.trace, &[reference()], &Tolerance::USUAL).unwrap();
    assert!(matches!(verdict, Verdict::Valid { .. }), "{verdict:?}");
    let replayed = |claimed: &Claimed| {
        touchstone_challenger::verdict::replay_layer(&model, 1, &claimed.trace, &[reference(), torch()])
    };
    assert_eq!(replayed(&claimed).len(), 2);
    assert_eq!(replayed(&claimed), replayed(&right));
}

#[test]
fn what_could_not_be_looked_at_is_not_acquitted() {
    let model = model();
    let right = Claimed::new(
        reference()
            .run(&model.plan, &[Value::from_f32([COUNT], &[1.0; 4]).unwrap()], Keep::All)
            .unwrap(),
    );
    assert!(judge(&model, &right.trace, &[broken()], &Tolerance::USUAL).is_err());
    assert!(examine(&model, &right.trace, &[broken()]).failed.is_some());
    assert!(examine(&model, &right.trace, &[broken(), reference()]).failed.is_none());
}

#[test]
fn claimed_outputs_are_cut_whatever_their_bytes() {
    let model = model();
    let bytes = [0, 2, 1, 0xff, 1, 1, 1, 7];
    let outputs = split(&model.plan.outputs, &bytes).unwrap();
    assert_eq!([&*outputs[0].bytes, &*outputs[1].bytes].concat(), bytes);
    assert!(split(&model.plan.outputs, &bytes[1..]).is_err());
}
