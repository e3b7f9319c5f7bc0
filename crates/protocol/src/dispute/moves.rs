//! What can be done in a dispute, what follows, and why it may be refused.

use alloy_primitives::U256;

use super::{OperatorFacts, Phase};
use crate::digest::B256;
use crate::judge::Verdict;
use crate::parts::Header;

/// What a move does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Asks for the descendants of the present node.
    Ask,
    /// Gives them.
    Reveal {
        /// Left to right.
        children: Vec<B256>,
    },
    /// Goes to one of them.
    Descend {
        /// Its place among them.
        child: u32,
        /// As revealed.
        children: Vec<B256>,
    },
    /// Goes to a leaf below the present node.
    Skip {
        /// The leaf's number in the whole tree.
        index: u32,
        /// The leaf.
        leaf: B256,
        /// Its siblings up to the present node.
        proof: Vec<B256>,
    },
    /// Asks for an operator's layer. `None`: its descriptor does not decode.
    Layer(Option<OperatorFacts>),
    /// Gives the layer's root.
    AnswerLayer {
        /// The root.
        root: B256,
        /// Whether the claim's node key signed it.
        signed: bool,
    },
    /// Asks for one element to be proven.
    Point {
        /// The operator.
        operator: u32,
        /// The element.
        element: u64,
        /// `None`: its descriptor does not decode.
        facts: Option<OperatorFacts>,
    },
    /// Opens the element.
    Defend {
        /// The operator that the witness opens.
        operator: u32,
        /// The element that it opens.
        element: u64,
        /// What the judge says of it.
        verdict: Verdict,
    },
    /// Gives the sums of a long operator's terms, as those of the parts of all.
    Total {
        /// The operator that the witness opens.
        operator: u32,
        /// The element that it opens.
        element: u64,
        /// What the judge says of the totals.
        verdict: Verdict,
        /// The header that it gives.
        header: Header,
        /// Sums of the parts, one after the other.
        parts: Vec<U256>,
        /// Whether the claim's node key signed header and parts.
        signed: bool,
    },
    /// Names the part whose sums are not what its terms add up to.
    Part {
        /// Its place among the parts.
        child: u32,
        /// As the node has it.
        header: Header,
        /// As the node has them.
        parts: Vec<U256>,
    },
    /// Gives the sums of its parts.
    Split {
        /// As the node has it.
        header: Header,
        /// As the node has them.
        sums: Vec<U256>,
        /// Sums of the parts, one after the other.
        parts: Vec<U256>,
        /// Whether the claim's node key signed header and parts.
        signed: bool,
    },
    /// Opens the terms of a leaf.
    Prove {
        /// As the node has it.
        header: Header,
        /// As the node has them.
        sums: Vec<U256>,
        /// The operator that the witness opens.
        operator: u32,
        /// The element that it opens.
        element: u64,
        /// What the judge says of the sums.
        verdict: Verdict,
    },
    /// Proves an element wrong.
    Convict(Verdict),
    /// Gives up.
    Concede,
    /// Says that the side to move is out of time.
    Timeout,
}

impl Event {
    /// Whether only the dispute's challenger may send it.
    pub const fn is_challengers(&self) -> bool {
        match self {
            Event::Ask
            | Event::Descend { .. }
            | Event::Skip { .. }
            | Event::Layer(_)
            | Event::Point { .. }
            | Event::Part { .. }
            | Event::Convict(_)
            | Event::Concede => true,
            Event::Reveal { .. } | Event::AnswerLayer { .. } | Event::Defend { .. } | Event::Timeout => false,
            Event::Total { .. } | Event::Split { .. } | Event::Prove { .. } => false,
        }
    }
}

/// A move: what it does and the state that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Digest of the state.
    pub state: B256,
    /// What it does.
    pub event: Event,
}

/// What follows from a move outside the dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A layer's root stands from now on, for every dispute on the claim.
    LayerStands {
        /// The layer.
        layer: u32,
        /// Its root.
        root: B256,
    },
    /// The dispute has ended in this phase; `Struck` and `Voided` end the claim too.
    Ended(Phase),
}

/// Why a move changes nothing. Names are those of the contract's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The move answers another state.
    #[error("move answers state {actual}, the present one is {expected}")]
    StaleState {
        /// The present state.
        expected: B256,
        /// The state named.
        actual: B256,
    },
    /// The move is not one of this phase's.
    #[error("no such move in phase {0:?}")]
    WrongPhase(Phase),
    /// Another dispute ended the claim.
    #[error("claim has ended")]
    ClaimEnded,
    /// The side to move is out of time.
    #[error("turn ended at {deadline}, it is {now}")]
    Expired {
        /// The last moment of the turn.
        deadline: u64,
        /// The present time.
        now: u64,
    },
    /// The side to move still has time.
    #[error("turn runs until {deadline}, it is {now}")]
    NotExpired {
        /// The last moment of the turn.
        deadline: u64,
        /// The present time.
        now: u64,
    },
    /// The worker has been given all turns that the question may not use up.
    #[error("worker has been given its turns, {0} at most")]
    OutOfTurns(u16),
    /// A leaf has nothing below it.
    #[error("a leaf has nothing below it")]
    AtLeaf,
    /// Not as many nodes as there are.
    #[error("{actual} nodes given, there are {expected}")]
    WrongCount {
        /// Nodes there are.
        expected: usize,
        /// Nodes given.
        actual: usize,
    },
    /// The nodes hash to another one.
    #[error("nodes hash to {actual}, not to {expected}")]
    WrongNode {
        /// The present node.
        expected: B256,
        /// What they hash to.
        actual: B256,
    },
    /// Outside the tree's values or the element count.
    #[error("{actual} is not below {limit}")]
    OutOfRange {
        /// What there is.
        limit: u64,
        /// What was named.
        actual: u64,
    },
    /// The parts do not add up to the sums.
    #[error("parts do not add up to the sums of their node")]
    WrongSums,
    /// The siblings do not lead from the leaf to the present node.
    #[error("proof does not lead to the present node")]
    BadProof,
    /// The descriptor does not decode.
    #[error("descriptor does not decode")]
    Undecodable,
    /// The layer has no root because it has no inner values.
    #[error("layer {0} has no inner values")]
    NoInnerValues(u32),
    /// The layer's root has not been asked for.
    #[error("root of layer {0} is missing")]
    LayerMissing(u32),
    /// The layer's root stands.
    #[error("root of layer {0} stands")]
    LayerStands(u32),
    /// What the worker chooses is not signed by the claim's node key.
    #[error("answer is not signed by the claim's node key")]
    BadSignature,
    /// The element is inside its envelope.
    #[error("element is inside its envelope")]
    NotOutside,
    /// The witness opens another element than the one pointed at.
    #[error("witness opens element {element} of operator {operator}")]
    WrongElement {
        /// The operator opened.
        operator: u32,
        /// The element opened.
        element: u64,
    },
}
