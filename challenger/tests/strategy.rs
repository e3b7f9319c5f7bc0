//! `next_move` by tables: every phase, with everything we may know, on both sides of every clock.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use alloy_primitives::B256;
use touchstone_challenger::strategy::{
    Action, At, Charge, Compared, DisputeView, Finding, Knowledge, Live, Stage, Writer, next_move,
};
use touchstone_protocol::{
    digest::hash,
    dispute::{Phase, Position, Tree},
    merkle::MerkleTree,
};

/// Trace values of the toy plan: one operator each, with layers of two inner values; 40 values make a tree of depth 6.
const VALUES: u32 = 40;
const LAYER: u32 = 7;
const NAMESAKE: u32 = 71;
const CLOSER: At = At {
    operator: 73,
    element: 5,
};
const SPOT: At = At {
    operator: 72,
    element: 3,
};
/// An element of an operator that is judged by parts.
const LONG: At = At {
    operator: 74,
    element: 2,
};
const DEADLINE: u64 = 1_060;
/// Nothing presses: the turn has just begun.
const EARLY: u64 = 1_000;
/// Less than half of the clock is left.
const LATER: u64 = 1_031;
/// Two blocks are left.
const LAST: u64 = 1_058;

fn leaves(name: &str, count: u32) -> Vec<B256> {
    (0..count).map(|i| hash(format!("{name} {i}"))).collect()
}

fn tree(name: &str, count: u32) -> MerkleTree {
    MerkleTree::new(leaves(name, count))
}

/// The worker's tree: ours, with other values from `from` on.
fn theirs(name: &str, count: u32, from: u32) -> MerkleTree {
    MerkleTree::new(
        (0..count)
            .map(|i| hash(format!("{} {i}", if i < from { name } else { "theirs" })))
            .collect(),
    )
}

fn knowledge(charge: Charge) -> Knowledge {
    let writer = |operator: u32, inner: bool| Writer {
        layer: LAYER,
        touches_inner: inner,
        at: At { operator, element: 9 },
    };
    Knowledge {
        charge,
        layers: BTreeMap::new(),
        namesakes: [(LAYER, NAMESAKE), (LAYER + 1, NAMESAKE + 10)].into(),
        // Even values have operators that touch inner values.
        trace_writers: (0..VALUES).map(|value| writer(value, value % 2 == 0)).collect(),
        inner_writers: [(LAYER, vec![writer(71, true), writer(72, true)])].into(),
        closers: [(LAYER, CLOSER)].into(),
        traces: vec![tree("other engine", VALUES), tree("trace", VALUES)],
        inners: [(LAYER, vec![tree("inner", 2)])].into(),
        long: [LONG.operator].into(),
    }
}

fn view(stage: Stage) -> DisputeView {
    DisputeView {
        claim_open: true,
        window_end: 1_020,
        stage,
        standing: BTreeMap::new(),
        clock: 60,
        extension: 5,
        max_turns: 10,
        block_seconds: 1,
        private_relay: false,
    }
}

fn position(phase: Phase, tree: &MerkleTree) -> Position {
    Position {
        moves: 1,
        phase,
        tree: Tree::Trace,
        layer: 0,
        node: tree.root(),
        depth: tree.depth() as u8,
        index: 0,
        operator: 0,
        element: 0,
    }
}

fn live(position: Position, count: u32) -> Stage {
    Stage::Live(Box::new(Live {
        position,
        count,
        turns: 0,
        deadline: DEADLINE,
        children: None,
        given: None,
        compared: None,
    }))
}

fn at(phase: Phase) -> DisputeView {
    view(live(position(phase, &theirs("trace", VALUES, 0)), VALUES))
}

fn opened(finding: Finding) -> Knowledge {
    Knowledge {
        layers: [(LAYER, finding)].into(),
        ..knowledge(Charge::Layers(vec![LAYER]))
    }
}

fn standing(view: DisputeView) -> DisputeView {
    DisputeView {
        standing: [(LAYER, hash("root"))].into(),
        ..view
    }
}

/// In the layer's tree.
fn inside(phase: Phase, node: &MerkleTree) -> DisputeView {
    let position = Position {
        tree: Tree::Layer,
        layer: LAYER,
        ..position(phase, node)
    };
    standing(view(live(position, 2)))
}

const MINE: [Phase; 2] = [Phase::Choosing, Phase::Picking];
const THEIRS: [Phase; 6] = [
    Phase::Revealing,
    Phase::Layering,
    Phase::Defending,
    Phase::Totalling,
    Phase::Splitting,
    Phase::Proving,
];

#[test]
fn a_dispute_is_opened_on_what_is_wrong_and_on_nothing_else() {
    let table = [
        (Charge::Nothing, None),
        (Charge::Undecided, None),
        (Charge::Element(SPOT), Some(Action::Open)),
        (Charge::Layers(vec![LAYER]), Some(Action::Open)),
        (Charge::Withheld, Some(Action::Open)),
    ];
    for (charge, expect) in table {
        let k = knowledge(charge.clone());
        // The window's last second counts.
        for now in [EARLY, 1_020] {
            assert_eq!(next_move(&view(Stage::Unopened), &k, now), expect, "{charge:?}");
        }
        assert_eq!(
            next_move(&view(Stage::Unopened), &k, 1_021),
            None,
            "{charge:?} after the window"
        );
        let ended = DisputeView {
            claim_open: false,
            ..view(Stage::Unopened)
        };
        assert_eq!(next_move(&ended, &k, EARLY), None, "{charge:?} on an ended claim");
    }
}

#[test]
fn a_layer_that_somebody_opened_and_we_judged_is_disputed_or_acquits() {
    let view = standing(view(Stage::Unopened));
    assert_eq!(
        next_move(&view, &opened(Finding::Outside(SPOT)), EARLY),
        Some(Action::Open)
    );
    assert_eq!(next_move(&view, &opened(Finding::Inside), EARLY), None);
    assert_eq!(next_move(&view, &opened(Finding::Awaited), EARLY), Some(Action::Open));
}

#[test]
fn evidence_is_shown_before_a_dispute_is_open_by_a_private_relay_alone() {
    let at = |private_relay, stage| DisputeView {
        private_relay,
        ..standing(view(stage))
    };
    for k in [knowledge(Charge::Element(SPOT)), opened(Finding::Outside(SPOT))] {
        assert_eq!(next_move(&at(false, Stage::Unopened), &k, EARLY), Some(Action::Open));
        assert_eq!(
            next_move(&at(true, Stage::Unopened), &k, EARLY),
            Some(Action::OpenAndConvict(SPOT))
        );
        let position = position(Phase::Choosing, &theirs("trace", VALUES, 0));
        for private in [false, true] {
            let open = at(private, live(position, VALUES));
            assert_eq!(next_move(&open, &k, EARLY), Some(Action::Convict(SPOT)));
        }
    }
    let nothing = knowledge(Charge::Layers(vec![LAYER]));
    assert_eq!(
        next_move(&at(true, Stage::Unopened), &nothing, EARLY),
        Some(Action::Open)
    );
}

#[test]
fn ends_are_settled_and_left() {
    for charge in [
        Charge::Nothing,
        Charge::Undecided,
        Charge::Element(SPOT),
        Charge::Withheld,
    ] {
        let k = knowledge(charge);
        for open in [false, true] {
            assert_eq!(
                next_move(
                    &DisputeView {
                        claim_open: open,
                        ..view(Stage::Moot)
                    },
                    &k,
                    EARLY
                ),
                Some(Action::Settle)
            );
            assert_eq!(
                next_move(
                    &DisputeView {
                        claim_open: open,
                        ..view(Stage::Over)
                    },
                    &k,
                    EARLY
                ),
                None
            );
        }
        for phase in MINE.into_iter().chain(THEIRS) {
            for now in [EARLY, DEADLINE + 1] {
                assert_eq!(
                    next_move(
                        &DisputeView {
                            claim_open: false,
                            ..at(phase)
                        },
                        &k,
                        now
                    ),
                    None,
                    "moot to be"
                );
            }
        }
    }
}

#[test]
fn evidence_convicts_in_every_phase_while_there_is_time() {
    for phase in MINE.into_iter().chain(THEIRS) {
        for now in [EARLY, LAST, DEADLINE] {
            let convict = Some(Action::Convict(SPOT));
            assert_eq!(
                next_move(&at(phase), &knowledge(Charge::Element(SPOT)), now),
                convict,
                "{phase:?}"
            );
            let found = opened(Finding::Outside(SPOT));
            assert_eq!(next_move(&standing(at(phase)), &found, now), convict, "{phase:?}");
            let withheld = Knowledge {
                charge: Charge::Withheld,
                ..found
            };
            assert_eq!(next_move(&standing(at(phase)), &withheld, now), convict, "{phase:?}");
        }
    }
    // A witness with inner values is refused before the layer's root stands.
    assert_eq!(
        next_move(&at(Phase::Choosing), &opened(Finding::Outside(SPOT)), EARLY),
        Some(Action::Layer(NAMESAKE))
    );
}

#[test]
fn who_is_wrong_concedes_at_once() {
    for phase in MINE.into_iter().chain(THEIRS) {
        assert_eq!(
            next_move(&at(phase), &knowledge(Charge::Nothing), EARLY),
            Some(Action::Concede),
            "{phase:?}"
        );
    }
    for phase in MINE {
        assert_eq!(
            next_move(&standing(at(phase)), &opened(Finding::Inside), EARLY),
            Some(Action::Concede),
            "{phase:?}"
        );
    }
}

#[test]
fn a_late_worker_is_timed_out_and_a_late_challenger_is_silent() {
    for charge in [
        Charge::Nothing,
        Charge::Undecided,
        Charge::Element(SPOT),
        Charge::Layers(vec![LAYER]),
        Charge::Withheld,
    ] {
        let k = knowledge(charge);
        for phase in THEIRS {
            assert_eq!(
                next_move(&at(phase), &k, DEADLINE + 1),
                Some(Action::Timeout),
                "{phase:?}"
            );
            assert_ne!(
                next_move(&at(phase), &k, DEADLINE),
                Some(Action::Timeout),
                "{phase:?} at the deadline"
            );
        }
        for phase in MINE {
            assert_eq!(next_move(&at(phase), &k, DEADLINE + 1), None, "{phase:?}");
        }
    }
}

#[test]
fn the_worker_s_turn_is_waited_for() {
    for phase in THEIRS {
        for charge in [Charge::Undecided, Charge::Layers(vec![LAYER]), Charge::Withheld] {
            for now in [EARLY, LATER, LAST, DEADLINE] {
                assert_eq!(
                    next_move(&at(phase), &knowledge(charge.clone()), now),
                    None,
                    "{phase:?} {charge:?} {now}"
                );
            }
        }
    }
}

#[test]
fn a_root_that_stands_answers_for_a_silent_worker() {
    let position = Position {
        layer: LAYER,
        tree: Tree::Layer,
        ..position(Phase::Layering, &tree("inner", 2))
    };
    let waiting = standing(view(live(position, 2)));
    for now in [EARLY, DEADLINE, DEADLINE + 1] {
        assert_eq!(
            next_move(&waiting, &opened(Finding::Awaited), now),
            Some(Action::AnswerLayer(hash("root"))),
            "{now}"
        );
    }
}

#[test]
fn suspect_layers_are_asked_for_one_after_the_other() {
    let k = knowledge(Charge::Layers(vec![LAYER, LAYER + 1]));
    for phase in MINE {
        assert_eq!(
            next_move(&at(phase), &k, EARLY),
            Some(Action::Layer(NAMESAKE)),
            "{phase:?}"
        );
        // The first was right: the second.
        let judged = Knowledge {
            layers: [(LAYER, Finding::Inside)].into(),
            ..k.clone()
        };
        assert_eq!(
            next_move(&standing(at(phase)), &judged, EARLY),
            Some(Action::Layer(NAMESAKE + 10)),
            "{phase:?}"
        );
    }
}

#[test]
fn no_question_is_asked_that_the_worker_need_not_answer() {
    for (turns, expect) in [(8, Some(Action::Layer(NAMESAKE))), (9, Some(Action::Concede))] {
        let mut view = at(Phase::Choosing);
        let Stage::Live(live) = &mut view.stage else { panic!() };
        live.turns = turns;
        assert_eq!(next_move(&view, &knowledge(Charge::Layers(vec![LAYER])), EARLY), expect);
        let ask = (turns == 8).then_some(Action::Ask);
        assert_eq!(next_move(&view, &knowledge(Charge::Withheld), EARLY), ask);
    }
}

#[test]
fn inner_values_are_waited_for_half_of_the_clock() {
    let node = theirs("inner", 2, 1);
    let view = inside(Phase::Choosing, &node);
    for k in [opened(Finding::Awaited), knowledge(Charge::Layers(vec![LAYER]))] {
        assert_eq!(next_move(&view, &k, EARLY), None);
        assert_eq!(
            next_move(&view, &k, LATER),
            Some(Action::Ask),
            "then what can be compared is asked for"
        );
    }
}

#[test]
fn with_nothing_to_say_the_last_moment_concedes() {
    for phase in MINE {
        assert_eq!(
            next_move(&at(phase), &knowledge(Charge::Undecided), EARLY),
            None,
            "{phase:?}"
        );
        for (block_seconds, concedes_at) in [(1, 1_058), (2, 1_058), (12, 1_058), (0, 1_060)] {
            // Two blocks before the end, and never more than half of the shortest turn.
            let at = DisputeView {
                block_seconds,
                ..at(phase)
            };
            for (now, expect) in [(concedes_at - 1, None), (concedes_at, Some(Action::Concede))] {
                assert_eq!(
                    next_move(&at, &knowledge(Charge::Undecided), now),
                    expect,
                    "{phase:?} {block_seconds}"
                );
            }
        }
    }
    // Revealed nodes that were not seen yet: wait, and concede at last.
    assert_eq!(
        next_move(&at(Phase::Picking), &knowledge(Charge::Withheld), EARLY),
        None
    );
    assert_eq!(
        next_move(&at(Phase::Picking), &knowledge(Charge::Withheld), LAST),
        Some(Action::Concede)
    );
}

#[test]
fn whoever_was_restarted_with_its_clock_used_up_examines_before_it_concedes() {
    // The turn has just begun, and all that there is of it is the extension.
    let (begun, extension) = (DEADLINE - 30, 30);
    let view = DisputeView {
        extension,
        block_seconds: 2,
        ..at(Phase::Choosing)
    };
    let unexamined = Knowledge::nothing();
    assert_eq!(next_move(&view, &unexamined, begun), None);
    // The verdict comes in the meantime.
    let wrong = knowledge(Charge::Element(SPOT));
    assert_eq!(next_move(&view, &wrong, begun + 20), Some(Action::Convict(SPOT)));
    assert_eq!(next_move(&view, &unexamined, begun + 25), None);
    assert_eq!(next_move(&view, &unexamined, begun + 26), Some(Action::Concede));
}

/// Plays the walk against an honest revealer of `theirs` and gives the leaf it ends at.
fn walk(k: &Knowledge, theirs: &MerkleTree, in_layer: bool, count: u32) -> (u32, Option<Action>) {
    let mut p = position(Phase::Choosing, theirs);
    if in_layer {
        (p.tree, p.layer) = (Tree::Layer, LAYER);
    }
    let mut children = None;
    for _ in 0..20 {
        let stage = Stage::Live(Box::new(Live {
            position: p,
            count,
            turns: 0,
            deadline: DEADLINE,
            children: children.clone(),
            given: None,
            compared: None,
        }));
        let view = if in_layer { standing(view(stage)) } else { view(stage) };
        match next_move(&view, k, LATER) {
            Some(Action::Ask) => p.phase = Phase::Revealing,
            Some(Action::Descend(child)) => {
                let step = p.step();
                p.node = children.take().map(|nodes: Vec<B256>| nodes[child as usize]).unwrap();
                p.index = (p.index << step) + child;
                p.depth -= step as u8;
                p.phase = if p.depth == 0 {
                    Phase::Choosing
                } else {
                    Phase::Revealing
                };
            }
            other => return (p.index, other),
        }
        if p.phase == Phase::Revealing {
            let height = u32::from(p.depth) - p.step();
            let first = u64::from(p.index) << p.step();
            children = Some(
                (0..1 << p.step())
                    .map(|c| theirs.node_at(height, first + c).unwrap())
                    .collect(),
            );
            p.phase = Phase::Picking;
        }
    }
    panic!("the walk does not end");
}

#[test]
fn the_walk_ends_at_the_first_value_that_no_engine_of_ours_gives() {
    let k = knowledge(Charge::Withheld);
    for first in 0..VALUES {
        let (index, action) = walk(&k, &theirs("trace", VALUES, first), false, VALUES);
        assert_eq!(index, first);
        let writer = k.trace_writers[first as usize];
        let expect = if writer.touches_inner {
            Action::Layer(NAMESAKE)
        } else {
            Action::Point(writer.at)
        };
        assert_eq!(action, Some(expect), "{first}");
    }
    for (first, expect) in [
        (
            0,
            At {
                operator: 71,
                element: 9,
            },
        ),
        (
            1,
            At {
                operator: 72,
                element: 9,
            },
        ),
    ] {
        let (index, action) = walk(&k, &theirs("inner", 2, first), true, 2);
        assert_eq!((index, action), (first, Some(Action::Point(expect))));
    }
}

#[test]
fn where_the_inner_values_are_ours_the_value_made_of_them_is_pointed_at() {
    let (_, action) = walk(&knowledge(Charge::Withheld), &tree("inner", 2), true, 2);
    assert_eq!(action, Some(Action::Point(CLOSER)));
}

#[test]
fn fillers_beyond_the_last_value_are_never_descended_to() {
    // A worker whose whole tree is ours: nothing differs, so there is nothing to name.
    let (_, action) = walk(&knowledge(Charge::Withheld), &tree("trace", VALUES), false, VALUES);
    assert_eq!(action, None);
}

/// A dispute about a long operator, with what we think of the sums that the worker gave.
fn parted(phase: Phase, compared: Option<Compared>) -> DisputeView {
    let mut view = at(phase);
    if let Stage::Live(live) = &mut view.stage {
        live.compared = compared;
    }
    view
}

#[test]
fn a_long_operator_is_pointed_at_and_never_shown() {
    let k = knowledge(Charge::Element(LONG));
    let private = |view: DisputeView| DisputeView {
        private_relay: true,
        ..view
    };
    for view in [view(Stage::Unopened), private(view(Stage::Unopened))] {
        assert_eq!(next_move(&view, &k, EARLY), Some(Action::Open));
    }
    for phase in MINE {
        assert_eq!(next_move(&at(phase), &k, EARLY), Some(Action::Point(LONG)), "{phase:?}");
    }
    for phase in THEIRS {
        assert_eq!(next_move(&at(phase), &k, EARLY), None, "{phase:?}");
    }
    // The same where a layer had to be opened to see it.
    let k = opened(Finding::Outside(LONG));
    let tree = theirs("inner", 2, 0);
    assert_eq!(
        next_move(&inside(Phase::Choosing, &tree), &k, EARLY),
        Some(Action::Point(LONG))
    );
    assert_eq!(
        next_move(&at(Phase::Choosing), &k, EARLY),
        Some(Action::Layer(NAMESAKE))
    );
}

#[test]
fn what_one_witness_convicts_comes_before_what_parts_do() {
    let mut k = opened(Finding::Outside(LONG));
    k.layers.insert(LAYER + 1, Finding::Outside(SPOT));
    let mut view = inside(Phase::Choosing, &theirs("inner", 2, 0));
    view.standing.insert(LAYER + 1, hash("another root"));
    assert_eq!(next_move(&view, &k, EARLY), Some(Action::Convict(SPOT)));
    if let Stage::Live(live) = &mut view.stage {
        live.position.phase = Phase::Parting;
        live.compared = Some(Compared::Differs(1));
    }
    assert_eq!(next_move(&view, &k, EARLY), Some(Action::Convict(SPOT)));
}

#[test]
fn the_first_part_that_differs_is_gone_to_and_where_none_does_the_worker_was_right() {
    for charge in [
        Charge::Element(LONG),
        Charge::Undecided,
        Charge::Withheld,
        Charge::Layers(vec![LAYER]),
    ] {
        let k = knowledge(charge);
        let next = |compared, now| next_move(&parted(Phase::Parting, compared), &k, now);
        assert_eq!(next(Some(Compared::Differs(5)), EARLY), Some(Action::Part(5)));
        assert_eq!(next(Some(Compared::Same), EARLY), Some(Action::Concede));
        assert_eq!(next(None, EARLY), None, "not compared yet");
        assert_eq!(next(None, LAST), Some(Action::Concede));
        assert_eq!(next(Some(Compared::Differs(5)), DEADLINE + 1), None, "lost");
    }
    let k = knowledge(Charge::Nothing);
    let view = parted(Phase::Parting, Some(Compared::Differs(5)));
    assert_eq!(next_move(&view, &k, EARLY), Some(Action::Concede));
}

#[test]
fn a_wrong_leaf_is_proven_in_the_worker_s_turn() {
    let k = knowledge(Charge::Element(LONG));
    let next = |compared, now| next_move(&parted(Phase::Proving, compared), &k, now);
    assert_eq!(next(Some(Compared::Differs(0)), EARLY), Some(Action::Prove));
    assert_eq!(next(Some(Compared::Same), EARLY), None);
    assert_eq!(next(None, EARLY), None);
    assert_eq!(next(Some(Compared::Differs(0)), DEADLINE + 1), Some(Action::Timeout));
    for phase in [Phase::Totalling, Phase::Splitting] {
        assert_eq!(next_move(&parted(phase, Some(Compared::Differs(0))), &k, EARLY), None);
        assert_eq!(next_move(&at(phase), &k, DEADLINE + 1), Some(Action::Timeout));
    }
}
