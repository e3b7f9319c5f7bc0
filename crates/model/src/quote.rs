//! What a dispute about an operator costs: moves and gas, from above, by what the calls were measured to cost (`docs/gas.md`).
//!
//! A dispute is a list of moves, so that other endings of it (a long reduction judged by parts) are other lists.

use serde::Serialize;
use touchstone_protocol::{
    descriptor::Descriptor,
    dispute::{Side, questions},
    merkle, parts,
};

use crate::{
    cost::{Cost, TRANSACTION_GAS},
    plan::Plan,
};

/// Gas of calls as transactions of their own, the judge's part left out: the first table of `docs/gas.md`, where `layer` and `point`
/// name an operator of a plan of [`PLAN_DEPTH`] levels by a descriptor of [`DESCRIPTOR_BYTES`] bytes.
const OPEN: u64 = 324_015;
const OPEN_AND_CONVICT: u64 = 507_706;
const ASK: u64 = 86_831;
const REVEAL: u64 = 94_208;
const DESCEND: u64 = 105_450;
const LAYER: u64 = 160_404;
const ANSWER_LAYER: u64 = 155_087;
const POINT: u64 = 159_469;
const CONVICT: u64 = 330_934;
const DEFEND: u64 = 222_326;
const TOTAL: u64 = 264_881;
const PART: u64 = 149_739;
const SPLIT: u64 = 174_817;
const PROVE: u64 = 232_109;
/// What judging totals costs at most: they read no terms (the table *Parts* of the page).
const TOTALS: u64 = 250_000;

/// Levels of the plan that the page measures, and bytes of its descriptors.
const PLAN_DEPTH: u64 = 7;
const DESCRIPTOR_BYTES: u64 = 57;
/// Gas that `layer` and `point` cost more for each further sibling and each further byte of descriptor.
const SIBLING_GAS: u64 = 1_000;
const DESCRIPTOR_BYTE_GAS: u64 = 200;

/// One move of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// The call.
    pub call: &'static str,
    /// Whose move it is.
    pub by: Side,
    /// What its transaction costs at most.
    pub gas: u64,
}

/// A way through a dispute, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Transactions, opening included.
    pub moves: u32,
    /// How many of them are the worker's.
    pub turns: u32,
    /// Gas of all.
    pub gas: u64,
    /// Gas of the worker's part; the rest is the challenger's.
    pub worker_gas: u64,
}

impl Way {
    fn of(moves: &[Move]) -> Self {
        let workers = || moves.iter().filter(|step| step.by == Side::Worker);
        Self {
            moves: moves.len() as u32,
            turns: workers().count() as u32,
            gas: moves.iter().map(|step| step.gas).sum(),
            worker_gas: workers().map(|step| step.gas).sum(),
        }
    }

    /// At most as much as either, number by number.
    pub fn max(self, other: Self) -> Self {
        Self {
            moves: self.moves.max(other.moves),
            turns: self.turns.max(other.turns),
            gas: self.gas.max(other.gas),
            worker_gas: self.worker_gas.max(other.worker_gas),
        }
    }
}

/// The page may be off by 2 %.
const fn step(call: &'static str, by: Side, gas: u64) -> Move {
    let gas = gas + gas / 50;
    Move { call, by, gas }
}

/// What naming an operator costs beyond the page's.
fn naming(plan: &Plan, descriptor_bytes: usize) -> u64 {
    let siblings = u64::from(merkle::depth(plan.operators.len() as u64)).saturating_sub(PLAN_DEPTH);
    let bytes = (descriptor_bytes as u64).saturating_sub(DESCRIPTOR_BYTES);
    SIBLING_GAS * siblings + DESCRIPTOR_BYTE_GAS * bytes
}

/// The shortest way to convict an element of the operator: by a challenger that has the values. Where the operator reads or writes
/// inner values, the worker has to commit to them first.
pub(crate) fn conviction(plan: &Plan, d: &Descriptor, bytes: usize, cost: Cost) -> Way {
    if parts::is_long(d) {
        let mut moves = vec![step("open", Side::Challenger, OPEN)];
        if d.touches_inner() {
            moves.push(step("layer", Side::Challenger, LAYER + naming(plan, bytes)));
            moves.push(step("answerLayer", Side::Worker, ANSWER_LAYER));
        }
        moves.extend(by_parts(plan, d, bytes, cost));
        return Way::of(&moves);
    }
    if !d.touches_inner() {
        let gas = OPEN_AND_CONVICT + within(cost);
        return Way::of(&[step("openAndConvict", Side::Challenger, gas)]);
    }
    Way::of(&[
        step("open", Side::Challenger, OPEN),
        step("layer", Side::Challenger, LAYER + naming(plan, bytes)),
        step("answerLayer", Side::Worker, ANSWER_LAYER),
        convict(Side::Challenger, cost),
    ])
}

/// The longest walk without detours to an element of the operator: a challenger that was given no values asks its way to a trace
/// value, then to an inner value of the layer, points, and the worker opens the element.
pub(crate) fn dispute(plan: &Plan, d: &Descriptor, bytes: usize, cost: Cost) -> Way {
    let mut moves = vec![step("open", Side::Challenger, OPEN)];
    moves.extend(walk(plan.trace_count));
    if d.layer_inner_count > 0 {
        moves.push(step("layer", Side::Challenger, LAYER + naming(plan, bytes)));
        moves.push(step("answerLayer", Side::Worker, ANSWER_LAYER));
        moves.extend(walk(d.layer_inner_count));
    }
    if parts::is_long(d) {
        moves.extend(by_parts(plan, d, bytes, cost));
        return Way::of(&moves);
    }
    moves.push(step("point", Side::Challenger, POINT + naming(plan, bytes)));
    // A defence that shows an element outside strikes, as a conviction does: the dearer end.
    moves.push(convict(Side::Worker, cost));
    Way::of(&moves)
}

/// From a long operator's element to a leaf of its terms, which the worker proves.
fn by_parts(plan: &Plan, d: &Descriptor, bytes: usize, cost: Cost) -> Vec<Move> {
    let mut moves = vec![
        step("point", Side::Challenger, POINT + naming(plan, bytes)),
        step("total", Side::Worker, TOTAL + TOTALS),
        step("part", Side::Challenger, PART),
    ];
    // The totals are those of parts one question down.
    for _ in 1..questions(parts::leaves(d)) {
        moves.push(step("split", Side::Worker, SPLIT));
        moves.push(step("part", Side::Challenger, PART));
    }
    // As with a defence, the dearer end is a strike.
    moves.push(step("prove", Side::Worker, PROVE + CONVICT - DEFEND + within(cost)));
    moves
}

/// Opens an element and has it judged.
fn convict(by: Side, cost: Cost) -> Move {
    step(
        if by == Side::Worker { "defend" } else { "convict" },
        by,
        CONVICT + within(cost),
    )
}

/// A verdict as a part of another transaction.
fn within(cost: Cost) -> u64 {
    cost.verdict_gas.saturating_sub(TRANSACTION_GAS)
}

/// Moves from the root of a tree to one of its leaves.
fn walk(leaves: u32) -> Vec<Move> {
    let mut moves = Vec::new();
    for question in 0..questions(leaves) {
        if question == 0 {
            moves.push(step("ask", Side::Challenger, ASK));
        }
        moves.push(step("reveal", Side::Worker, REVEAL));
        moves.push(step("descend", Side::Challenger, DESCEND));
    }
    moves
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod measured;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use touchstone_protocol::dispute::turns_of_model;

    use super::{measured::measured, *};
    use crate::{cost, testing::Model};

    #[test]
    fn calls_cost_what_the_page_says() {
        for (call, gas) in [
            ("open", OPEN),
            ("openAndConvict", OPEN_AND_CONVICT),
            ("ask", ASK),
            ("reveal", REVEAL),
            ("descend", DESCEND),
            ("layer", LAYER),
            ("answerLayer", ANSWER_LAYER),
            ("point", POINT),
            ("convict", CONVICT),
            ("defend", DEFEND),
            ("total", TOTAL),
            ("part", PART),
            ("split", SPLIT),
            ("prove", PROVE),
            ("a sibling more", SIBLING_GAS),
            ("a byte of descriptor more", DESCRIPTOR_BYTE_GAS),
            ("a term whose factors may be rounded more", cost::ROUNDING_GAS),
        ] {
            assert_eq!(measured(call), [gas], "{call}");
        }
        let dearest = ["reveal again", "descend to a leaf", "defend", "part to a leaf"].map(|call| measured(call)[0]);
        assert!(dearest[0] <= REVEAL && dearest[1] <= DESCEND && dearest[2] <= CONVICT && dearest[3] <= PART);
        let codes = ["Contract", "Sum", "Mean", "Softmax", "LayerNorm", "MaxPool", "ArgMax"];
        assert!(codes.iter().all(|code| measured(code)[0] <= TOTALS));
    }

    /// A layer with an inner value after one without: 65 trace values are three questions, 2 inner values one.
    fn plan() -> Plan {
        let model = Model::new().input("x", 1, &[1, 64]).output("y").weight("w", &[64, 64]);
        let model = model
            .node("MatMul", "x w", "a")
            .node("Relu", "a", "b")
            .node("Tanh", "b", "c");
        let mut plan = model.node("MatMul", "c w", "y").plan();
        plan.trace_count = 65;
        plan
    }

    #[test]
    fn ways_are_counted_move_by_move() {
        let plan = plan();
        let info = plan.inspect();
        let [first, relu, ..] = &info.operators[..] else {
            panic!()
        };
        assert_eq!((first.place.as_str(), relu.place.as_str()), ("trace 0", "inner 0"));
        let above = |gas: u64| gas + gas / 50;
        // openAndConvict; open, layer, answerLayer, convict.
        assert_eq!((first.conviction.moves, first.conviction.turns), (1, 0));
        let verdict = first.cost.verdict_gas - TRANSACTION_GAS;
        assert_eq!(first.conviction.gas, above(OPEN_AND_CONVICT + verdict));
        assert_eq!((relu.conviction.moves, relu.conviction.turns), (4, 1));
        assert_eq!(relu.conviction.worker_gas, above(ANSWER_LAYER));
        // open, ask, 3 × (reveal, descend), point, defend.
        assert_eq!((first.dispute.moves, first.dispute.turns), (10, 4));
        // The same with layer, answerLayer, ask, reveal, descend on the way.
        assert_eq!((relu.dispute.moves, relu.dispute.turns), (15, 6));
        assert_eq!(relu.dispute.turns, turns_of_model(65, 2 + 1));
        assert_eq!(info.worst_dispute.moves, 15);
        assert!(info.worst_dispute.gas >= relu.dispute.gas && info.worst_conviction.gas >= first.conviction.gas);
        assert_eq!(
            first.dispute.gas - first.dispute.worker_gas,
            above(OPEN) + above(ASK) + 3 * above(DESCEND) + above(POINT + naming(&plan, first.descriptor_bytes))
        );
    }

    #[test]
    fn long_operators_are_walked_down_to_a_leaf() {
        // 64 leaves: open, point, total, part, split, part, prove.
        for (terms, moves, turns) in [(65_536, 7, 3), (4_097, 5, 2), (1 << 20, 11, 5)] {
            let model = Model::new().input("x", 1, &[1]).output("y").ints("shape", &[terms]);
            let plan = model.node("Expand", "x shape", "e").node("ReduceSum", "e", "y").plan();
            let info = plan.inspect();
            let sum = info.operators.last().unwrap();
            assert_eq!((sum.conviction.moves, sum.conviction.turns), (moves, turns), "{terms}");
            // Pointed at blindly, after a walk through a trace of one value.
            assert_eq!((sum.dispute.moves, sum.dispute.turns), (moves, turns), "{terms}");
        }
        // One leaf: open, point, total, part, prove.
        let model = Model::new().input("x", 1, &[1, 700]).output("y");
        let plan = model.node("ReduceMax", "x", "y").list("axes", &[1]).plan();
        let max = &plan.inspect().operators[0];
        assert_eq!((max.conviction.moves, max.conviction.turns), (5, 2));
    }

    #[test]
    fn a_walk_takes_no_more_turns_than_the_market_reckons_with() {
        let plan = plan();
        let most = turns_of_model(plan.trace_count, plan.operators.len() as u32);
        assert!(
            plan.inspect()
                .operators
                .iter()
                .all(|operator| operator.dispute.turns <= most)
        );
    }
}
