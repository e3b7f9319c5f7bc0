//! What to do next in a dispute, from what the chain says and what we know: a pure function, tested by tables.
//!
//! ```text
//! not opened ── an element is wrong, a layer is suspect, or data is withheld ──► open
//!            └─ the same with evidence at hand, by a private relay ──► open and convict
//! open ── evidence ──► convict          (any phase)
//!      ── evidence on a long operator ──► point ──► (worker totals) ──► part at the first child that is not so ──► (worker splits) ──► … ──► prove
//!      ── right after all ──► concede   (any phase)
//!      ── suspect layer ──► layer ──► (worker answers) ──► its values judged: convict, or the next suspect, or concede
//!      ── no data ──► ask, descend … to the first value that differs from ours ──► layer ──► again ──► point ──► (worker defends)
//! worker late ──► timeout;  claim ended by others ──► settle
//! ```
//!
//! Nothing is remembered between calls: whoever was restarted goes on where the chain stands.
//!
//! Evidence is not shown before a dispute is open: a conviction in a public mempool can be copied into a dispute of somebody else's, and whoever has
//! none then has nothing that is refunded (docs/decisions/0009). Giving up waits for the last moment, since an examination may end first.
//!
//! An operator that is too long for one verdict is judged by parts: the sums that the worker gives are compared with those of its own committed
//! operands, and where none differs the claim was right after all.
//!
//! Without data the comparison is of hashes, so it finds the right value only where an engine of ours gives the worker's bits up
//! to there, and the element pointed at is a guess ([`crate::model::telling_element`]): the worker has to open one element, and
//! may have been wrong in another one.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, U256};
use touchstone_protocol::{
    clock,
    dispute::{Phase, Position, Side, Tree},
    merkle::MerkleTree,
};

/// Blocks within which a move is mined.
const BLOCKS_TO_MINE: u64 = 2;

/// One element of one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The operator.
    pub operator: u32,
    /// The element of its output.
    pub element: u64,
}

/// What we hold against a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It is right.
    Nothing,
    /// We cannot tell.
    Undecided,
    /// This element is wrong, and everything it was made from is committed.
    Element(At),
    /// These layers are suspect, the worst first.
    Layers(Vec<u32>),
    /// Its outputs are wrong, and its values are withheld.
    Withheld,
}

/// What an opened layer showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its values are not all here, or not judged yet.
    Awaited,
    /// Every element of it is inside its envelope.
    Inside,
    /// This one is outside, and our own judge convicts by its witness.
    Outside(At),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The operator's layer.
    pub layer: u32,
    /// Whether it reads or writes inner values.
    pub touches_inner: bool,
    /// The operator, with the element to point at when nothing better is known.
    pub at: At,
}

/// What we know about a claim.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// What we hold against it.
    pub charge: Charge,
    /// Opened layers.
    pub layers: BTreeMap<u32, Finding>,
    /// By layer, an operator that names it on chain.
    pub namesakes: BTreeMap<u32, u32>,
    /// Writer of each trace value.
    pub trace_writers: Vec<Writer>,
    /// Writers of each layer's inner values, and of its first boundary value that depends on them.
    pub inner_writers: BTreeMap<u32, Vec<Writer>>,
    /// By layer the operator that makes a boundary value of inner ones.
    pub closers: BTreeMap<u32, At>,
    /// The trace as each of our engines gives it.
    pub traces: Vec<MerkleTree>,
    /// Layers as each of our engines gives them.
    pub inners: BTreeMap<u32, Vec<MerkleTree>>,
    /// Operators that are judged by parts.
    pub long: BTreeSet<u32>,
}

impl Knowledge {
    /// What is known of a claim that was not looked at.
    pub fn nothing() -> Self {
        Self {
            charge: Charge::Undecided,
            layers: BTreeMap::new(),
            namesakes: BTreeMap::new(),
            trace_writers: Vec::new(),
            inner_writers: BTreeMap::new(),
            closers: BTreeMap::new(),
            traces: Vec::new(),
            inners: BTreeMap::new(),
            long: BTreeSet::new(),
        }
    }
}

/// What our own sums say about those that the worker gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// This part is not what the operands give: in Parting the first such child, in Proving the leaf itself, 0.
    Differs(u32),
    /// They are all right.
    Same,
}

/// A dispute that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Where it stands.
    pub position: Position,
    /// Leaves of the tree that it walks.
    pub count: u32,
    /// Turns that the worker has been given.
    pub turns: u16,
    /// The last moment of the turn that runs.
    pub deadline: u64,
    /// What the worker revealed below the present node, in Picking.
    pub children: Option<Vec<B256>>,
    /// What the worker gave of the present node, in Parting and Proving.
    pub given: Option<Given>,
    /// What we think of that. `None`: not compared yet.
    pub compared: Option<Compared>,
}

/// A header with sums, of a node's parts or of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The header's words.
    pub header: [U256; 3],
    /// The sums, one part after the other.
    pub sums: Vec<U256>,
}

/// How far our dispute on a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    Unopened,
    /// It goes on.
    Live(Box<Live>),
    /// Another dispute ended the claim.
    Moot,
    /// It has ended.
    Over,
}

/// What the chain says about a claim and our dispute on it, and the rules we play by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeView {
    /// Whether the claim is open.
    pub claim_open: bool,
    /// Disputes may be opened up to and including this time.
    pub window_end: u64,
    /// Our dispute.
    pub stage: Stage,
    /// Layer roots that stand.
    pub standing: BTreeMap<u32, B256>,
    /// Each side's clock, in seconds.
    pub clock: u64,
    /// The least a side has after the other's move, in seconds.
    pub extension: u64,
    /// The most turns the worker can be given.
    pub max_turns: u16,
    /// Seconds from one block to the next.
    pub block_seconds: u64,
    /// Whether transactions go to somebody who shows them to nobody before they are mined.
    pub private_relay: bool,
}

/// A move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opens a dispute.
    Open,
    /// Opens one and convicts in the same transaction: by a private relay alone.
    OpenAndConvict(At),
    /// Proves an element wrong.
    Convict(At),
    /// Asks for the layer of this operator.
    Layer(u32),
    /// Asks for the descendants of the present node.
    Ask,
    /// Goes to one of them.
    Descend(u32),
    /// Has the worker open an element, or give the totals of a long operator's.
    Point(At),
    /// Goes to one of the parts that the worker gave.
    Part(u32),
    /// Shows that a part is not what its terms give.
    Prove,
    /// Gives the layer root that stands already.
    AnswerLayer(B256),
    /// Gives up.
    Concede,
    /// Says that the worker is late.
    Timeout,
    /// Fetches the money of a moot dispute.
    Settle,
}

/// Our one move, if it is time for one.
pub fn next_move(view: &DisputeView, knowledge: &Knowledge, now: u64) -> Option<Action> {
    match &view.stage {
        Stage::Over => None,
        Stage::Moot => Some(Action::Settle),
        Stage::Unopened => opening(view, knowledge, now),
        // It becomes moot with the claim's end.
        Stage::Live(_) if !view.claim_open => None,
        Stage::Live(live) => playing(view, live, knowledge, now),
    }
}

fn opening(view: &DisputeView, knowledge: &Knowledge, now: u64) -> Option<Action> {
    if !view.claim_open || clock::expired(view.window_end, now) {
        return None;
    }
    match (&knowledge.charge, evidence(view, knowledge)) {
        (Charge::Nothing | Charge::Undecided, _) => None,
        (_, Some(at)) if view.private_relay && !knowledge.is_long(at) => Some(Action::OpenAndConvict(at)),
        (Charge::Layers(layers), None)
            if layers
                .iter()
                .all(|layer| knowledge.layers.get(layer) == Some(&Finding::Inside)) =>
        {
            None
        }
        (Charge::Element(_) | Charge::Layers(_) | Charge::Withheld, _) => Some(Action::Open),
    }
}

impl Knowledge {
    /// Whether no witness of one transaction decides the element.
    fn is_long(&self, at: At) -> bool {
        self.long.contains(&at.operator)
    }
}

/// What the judge convicts with, now: at once, or by parts.
fn evidence(view: &DisputeView, knowledge: &Knowledge) -> Option<At> {
    let opened = knowledge
        .layers
        .iter()
        .filter(|(layer, _)| view.standing.contains_key(layer));
    let found = opened.filter_map(|(_, finding)| match finding {
        Finding::Outside(at) => Some(*at),
        Finding::Awaited | Finding::Inside => None,
    });
    match &knowledge.charge {
        Charge::Element(at) => Some(*at),
        // The shorter way first.
        Charge::Layers(_) | Charge::Withheld => found.min_by_key(|at| knowledge.is_long(*at)),
        Charge::Nothing | Charge::Undecided => None,
    }
}

fn playing(view: &DisputeView, live: &Live, knowledge: &Knowledge, now: u64) -> Option<Action> {
    let Position { phase, layer, .. } = live.position;
    let stands = view.standing.get(&layer).copied();
    let turn = phase.turn()?;
    if clock::expired(live.deadline, now) {
        return match (turn, phase, stands) {
            (Side::Worker, Phase::Layering, Some(root)) => Some(Action::AnswerLayer(root)),
            (Side::Worker, _, _) => Some(Action::Timeout),
            // Lost; whoever has something of it says so.
            (Side::Challenger, _, _) => None,
        };
    }
    let evidence = evidence(view, knowledge);
    if let Some(at) = evidence.filter(|at| !knowledge.is_long(*at)) {
        return Some(Action::Convict(at));
    }
    if knowledge.charge == Charge::Nothing {
        return Some(Action::Concede);
    }
    let chosen = match turn {
        Side::Worker => match (phase, stands, live.compared) {
            (Phase::Layering, Some(root), _) => Some(Action::AnswerLayer(root)),
            (Phase::Proving, _, Some(Compared::Differs(_))) => Some(Action::Prove),
            _ => None,
        },
        Side::Challenger if phase == Phase::Parting => live.compared.map(|compared| match compared {
            Compared::Differs(child) => Action::Part(child),
            Compared::Same => Action::Concede,
        }),
        Side::Challenger => {
            let turn = Turn {
                view,
                live,
                knowledge,
                now,
            };
            match (&knowledge.charge, evidence) {
                (Charge::Nothing, _) => Some(Action::Concede),
                (Charge::Undecided, _) => None,
                (_, Some(at)) => Some(Action::Point(at)),
                (Charge::Element(at), None) => Some(Action::Point(*at)),
                (Charge::Layers(layers), None) => turn.next_layer(layers),
                (Charge::Withheld, None) => turn.walk(),
            }
        }
    };
    // A lost dispute costs more than a conceded one. Until it has to be mined, what we wait for may still come: after a restart the verdict itself.
    let late = turn == Side::Challenger && now + last_moment(view) >= live.deadline;
    chosen.or(late.then_some(Action::Concede))
}

/// How long before a deadline a move has to be sent: about two blocks, and never more than half of the shortest turn.
fn last_moment(view: &DisputeView) -> u64 {
    (BLOCKS_TO_MINE * view.block_seconds).min(view.extension / 2)
}

/// Our turn.
struct Turn<'a> {
    view: &'a DisputeView,
    live: &'a Live,
    knowledge: &'a Knowledge,
    now: u64,
}

impl Turn<'_> {
    /// Whether the worker can be asked something that is not the last question.
    fn can_ask(&self) -> bool {
        self.live.turns + 1 < self.view.max_turns
    }

    fn layer(&self, layer: u32) -> Option<Action> {
        let operator = self.knowledge.namesakes.get(&layer)?;
        (self.view.standing.contains_key(&layer) || self.can_ask()).then_some(Action::Layer(*operator))
    }

    fn next_layer(&self, layers: &[u32]) -> Option<Action> {
        let finding = |layer: &u32| self.knowledge.layers.get(layer).copied().unwrap_or(Finding::Awaited);
        let Some(layer) = layers.iter().find(|layer| finding(layer) != Finding::Inside) else {
            return Some(Action::Concede);
        };
        if !self.view.standing.contains_key(layer) {
            // When the worker need not answer any more, nothing can come of it.
            return self.layer(*layer).or(Some(Action::Concede));
        }
        // Its values may come within half of the clock; then we ask for what we can compare.
        if self.now + self.view.clock / 2 < self.live.deadline {
            return None;
        }
        let here = self.live.position.tree == Tree::Layer && self.live.position.layer == *layer;
        if here { self.walk() } else { self.layer(*layer) }
    }

    /// One step toward the first value that none of our engines gives.
    fn walk(&self) -> Option<Action> {
        let p = &self.live.position;
        match p.phase {
            Phase::Choosing if p.depth == 0 => self.at_leaf(),
            // The layer's inner values are ours, so what was made of them is wrong.
            Phase::Choosing if p.tree == Tree::Layer && self.is_ours(u32::from(p.depth), p.index.into(), p.node) => {
                self.knowledge.closers.get(&p.layer).map(|at| Action::Point(*at))
            }
            Phase::Choosing => self.can_ask().then_some(Action::Ask),
            Phase::Picking => {
                let children = self.live.children.as_ref()?;
                let below = u32::from(p.depth) - p.step();
                let index = |child: usize| (u64::from(p.index) << p.step()) + child as u64;
                let differs = |(child, node): &(usize, &B256)| {
                    index(*child) << below < u64::from(self.live.count) && !self.is_ours(below, index(*child), **node)
                };
                let (child, _) = children.iter().enumerate().find(differs)?;
                (below == 0 || self.can_ask()).then_some(Action::Descend(child as u32))
            }
            Phase::Parting => None,
            Phase::Revealing | Phase::Layering | Phase::Defending => None,
            Phase::Totalling | Phase::Splitting | Phase::Proving => None,
            Phase::Struck | Phase::Lost | Phase::Conceded | Phase::Voided => None,
        }
    }

    fn at_leaf(&self) -> Option<Action> {
        let p = &self.live.position;
        let index = p.index as usize;
        let ours = self.is_ours(0, p.index.into(), p.node);
        match p.tree {
            Tree::Trace if ours => None,
            Tree::Trace => {
                let writer = self.knowledge.trace_writers.get(index)?;
                if writer.touches_inner {
                    self.layer(writer.layer)
                } else {
                    Some(Action::Point(writer.at))
                }
            }
            Tree::Layer if ours => self.knowledge.closers.get(&p.layer).map(|at| Action::Point(*at)),
            Tree::Layer => {
                let writer = self.knowledge.inner_writers.get(&p.layer)?.get(index)?;
                Some(Action::Point(writer.at))
            }
        }
    }

    /// Whether one of our engines has this node at its place in the tree that the dispute walks.
    fn is_ours(&self, height: u32, index: u64, node: B256) -> bool {
        let p = &self.live.position;
        let trees = match p.tree {
            Tree::Trace => Some(&self.knowledge.traces),
            Tree::Layer => self.knowledge.inners.get(&p.layer),
        };
        trees.is_some_and(|trees| trees.iter().any(|tree| tree.node_at(height, index) == Some(node)))
    }
}
