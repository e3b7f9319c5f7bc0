//! The state machine of a dispute (PROTOCOL.md section 8), the mirror of `contracts/src/libraries/Dispute.sol`.
//!
//! ```text
//!                 open
//!                  │
//!    ┌────────► Choosing ──ask──► Revealing ──reveal──► Picking ──descend──► Revealing | Choosing (leaf)
//!    │           └── from Choosing and Picking alike:
//!    │               skip ──► Choosing at the leaf
//!    │               layer ──► Layering ──answer──► Choosing at the layer tree's root
//!    │               point ──► Defending ──defend──► Lost · Struck · Voided
//!    │                     └─► Totalling (a long operator) ──total──► Parting · Struck · Voided
//!    │               Parting ──part──► Splitting ──split──► Parting
//!    │                            └──► Proving (a leaf) ──prove──► Lost · Struck · Voided
//!    └ in every live phase: convict ──► Struck · Voided, concede ──► Conceded; timeout ──► Struck · Lost
//! ```
//!
//! Who sends a move and what it costs is the contract's business. What a move proves against plan and claim (descriptors,
//! signatures, verdicts) comes in already checked: [`OperatorFacts`], `signed`, the verdict.
//!
//! # Layout
//! - this file: what a dispute is
//! - `moves`: what can be done, and why it may be refused
//! - `apply`: what it does

mod apply;
mod moves;

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

pub use apply::apply;
pub use moves::{Effect, Event, Move, Refused};

use crate::clock;
use crate::descriptor::Descriptor;
use crate::digest::{B256, hash, tag};
use crate::merkle;
use crate::model::{Words, word};
use crate::parts;

/// Levels that one answer goes down: eight nodes.
pub const STEP: u32 = 3;

/// Where a dispute stands. Numbers are those of the contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Challenger's turn, at a node of a tree.
    Choosing = 1,
    /// Worker's turn, to reveal the node's descendants.
    Revealing = 2,
    /// Challenger's turn, the node's descendants are known.
    Picking = 3,
    /// Worker's turn, to sign a layer's root.
    Layering = 4,
    /// Worker's turn, to open one element.
    Defending = 5,
    /// Worker's turn, to sign the sums of a long operator's terms.
    Totalling = 6,
    /// Challenger's turn, the sums of a node's parts are known.
    Parting = 7,
    /// Worker's turn, to sign the sums of the parts of the part that was named.
    Splitting = 8,
    /// Worker's turn, to open the terms of a leaf.
    Proving = 9,
    /// The claim was struck by this dispute.
    Struck = 10,
    /// The challenger was wrong or late.
    Lost = 11,
    /// The challenger gave up.
    Conceded = 12,
    /// A descriptor does not decode; nobody was wrong.
    Voided = 13,
}

impl Phase {
    /// Whether moves can follow.
    pub const fn is_live(self) -> bool {
        match self {
            Phase::Choosing | Phase::Revealing | Phase::Picking | Phase::Layering | Phase::Defending => true,
            Phase::Totalling | Phase::Parting | Phase::Splitting | Phase::Proving => true,
            Phase::Struck | Phase::Lost | Phase::Conceded | Phase::Voided => false,
        }
    }

    /// Whose clock runs. `None` once nothing can follow.
    pub const fn turn(self) -> Option<Side> {
        match self {
            Phase::Choosing | Phase::Picking | Phase::Parting => Some(Side::Challenger),
            Phase::Revealing | Phase::Layering | Phase::Defending => Some(Side::Worker),
            Phase::Totalling | Phase::Splitting | Phase::Proving => Some(Side::Worker),
            Phase::Struck | Phase::Lost | Phase::Conceded | Phase::Voided => None,
        }
    }
}

/// The two sides of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who points.
    Challenger,
    /// Who opens.
    Worker,
}

/// The tree a dispute walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tree {
    /// The claim's trace values.
    Trace = 0,
    /// One layer's inner values.
    Layer = 1,
}

/// What the state digest is made of, besides the dispute's id. Fields that the phase does not use keep their last value, as on
/// chain, so they are here for every phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Moves made so far, `open` included.
    pub moves: u32,
    /// Where the dispute stands.
    pub phase: Phase,
    /// The tree it walks.
    pub tree: Tree,
    /// The layer asked for last.
    pub layer: u32,
    /// The present node; of a long operator's terms [`crate::parts::node_word`].
    pub node: B256,
    /// Levels below the node; 0 at a leaf.
    pub depth: u8,
    /// The node's place on its level; at a leaf the value's number, or that of 1,024 terms.
    pub index: u32,
    /// The operator pointed at.
    pub operator: u32,
    /// The element pointed at.
    pub element: u64,
}

impl Position {
    /// What the next move has to name.
    pub fn digest(&self, dispute: B256) -> B256 {
        let words = [
            dispute,
            word(self.moves.into()),
            word(self.phase as u64),
            word(self.tree as u64),
            word(self.layer.into()),
            self.node,
            word(self.depth.into()),
            word(self.index.into()),
            word(self.operator.into()),
            word(self.element),
        ];
        hash(words.as_flattened_bytes())
    }

    /// Levels that the next answer goes down.
    pub const fn step(&self) -> u32 {
        if (self.depth as u32) < STEP {
            self.depth as u32
        } else {
            STEP
        }
    }
}

/// A dispute's id.
pub fn dispute_id(chain_id: u64, disputes: Address, claim: B256, challenger: Address, salt: U256) -> B256 {
    let words = [
        tag("dispute"),
        word(chain_id),
        disputes.into_word(),
        claim,
        challenger.into_word(),
        salt.into(),
    ];
    hash(words.as_flattened_bytes())
}

/// Turns that a walk to a leaf of a tree of `count` leaves takes.
pub const fn questions(count: u32) -> u32 {
    merkle::depth(count as u64).div_ceil(STEP)
}

/// Turns that a long operator takes beyond the one that totals it: four splits, to one of 2^14 leaves, and a proof. They come on top of
/// [`Rules::max_turns`].
pub const PART_TURNS: u16 = 5;

/// Turns of a whole walk through a model's trace and one layer, its root and one element; no more than [`Rules::max_turns`].
pub const fn turns_of_model(trace_values: u32, operators: u32) -> u32 {
    questions(trace_values) + questions(operators) + 2
}

/// A deployment's terms, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Each side's clock.
    pub clock: u32,
    /// The least a side has after the other's move.
    pub extension: u32,
    /// The most turns the worker can be given up to the element; a long operator has [`PART_TURNS`] more.
    pub max_turns: u16,
}

/// What a dispute reads of its claim; shared by all disputes on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Whether no dispute has ended the claim.
    pub open: bool,
    /// Layer roots that stand.
    pub layers: BTreeMap<u32, LayerRoot>,
}

/// A layer's root that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerRoot {
    /// The root.
    pub root: B256,
    /// When it was answered, Unix seconds.
    pub since: u64,
}

/// What a move needs of an operator whose descriptor was proven to be the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OperatorFacts {
    /// Its layer.
    pub layer: u32,
    /// Inner values of that layer.
    pub layer_inner_count: u32,
    /// Elements of its output.
    pub elements: u64,
    /// Whether it reads or writes an inner value.
    pub touches_inner: bool,
    /// Leaves of the tree over its terms if it is long, else 0.
    pub leaves: u32,
}

impl From<&Descriptor> for OperatorFacts {
    fn from(descriptor: &Descriptor) -> Self {
        OperatorFacts {
            layer: descriptor.layer,
            layer_inner_count: descriptor.layer_inner_count,
            elements: descriptor.elements(),
            touches_inner: descriptor.touches_inner(),
            leaves: if parts::is_long(descriptor) {
                parts::leaves(descriptor)
            } else {
                0
            },
        }
    }
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its id.
    pub id: B256,
    /// Where it stands.
    pub position: Position,
    /// Leaves of the tree that it walks, or of a long operator's terms.
    pub count: u32,
    /// Turns that the worker has been given.
    pub turns: u16,
    /// The last moment of the turn that runs.
    pub deadline: u64,
    /// What the challenger's clock shows in the worker's turn, in seconds.
    pub challenger_left: u32,
    /// What the worker's clock shows in the challenger's turn, in seconds.
    pub worker_left: u32,
    /// The move that led here, for moves sent twice. `None` after opening.
    pub last: Option<Box<Move>>,
}

impl State {
    /// A dispute just opened, at the root of the trace.
    pub fn open(rules: &Rules, id: B256, trace_root: B256, trace_values: u32, now: u64) -> Self {
        State {
            id,
            position: Position {
                moves: 1,
                phase: Phase::Choosing,
                tree: Tree::Trace,
                layer: 0,
                node: trace_root,
                depth: merkle::depth(trace_values.into()) as u8,
                index: 0,
                operator: 0,
                element: 0,
            },
            count: trace_values,
            turns: 0,
            deadline: clock::start(rules.clock, rules.extension, now),
            challenger_left: rules.clock,
            worker_left: rules.clock,
            last: None,
        }
    }

    /// What the next move has to name.
    pub fn digest(&self) -> B256 {
        self.position.digest(self.id)
    }
}
