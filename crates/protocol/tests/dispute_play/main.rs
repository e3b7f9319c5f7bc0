//! The dispute twice: the state machine of this crate and the compiled contract make the same moves from the same states. First
//! every move from every state that a small game can reach, at every boundary of the clocks; then long random games over
//! deep trees. Compared: acceptance, the error's name, the whole dispute, its digest, the claim, layer roots, money.

#![allow(missing_docs, unreachable_pub, clippy::expect_used, clippy::panic)]

mod chain;
mod gas;
mod model;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolCall;
use touchstone_protocol::claim::{Domain, LayerAnswer, PartsAnswer};
use touchstone_protocol::dispute::{
    ClaimFacts, Effect, Event, LayerRoot, Move, PART_TURNS, Phase, Position, Refused, Rules, State, Tree, apply,
    turns_of_model,
};
use touchstone_protocol::judge::Verdict;
use touchstone_protocol::parts::{self, Header};
use touchstone_protocol::{bond, clock};

use chain::{BOND, CHALLENGER, Chain, Clocks, OTHER, PROVIDER, START, Snapshot, WORKER_BOND, selector};
use model::{ELEMENTS, LONG, Model};

/// Both sides of the comparison at one moment.
#[derive(Clone)]
struct Node {
    state: State,
    claim: ClaimFacts,
    now: u64,
    chain: Snapshot,
}

struct Play {
    model: Model,
    rules: Rules,
    chain: Chain,
    /// Where each state stands, by its digest.
    positions: HashMap<B256, Position>,
    accepted: usize,
    refused: usize,
    ends: BTreeMap<u8, usize>,
    errors: HashSet<&'static str>,
}

impl Play {
    fn new(model: Model, clocks: Clocks) -> (Self, Node) {
        let rules = Rules {
            clock: clocks.clock as u32,
            extension: clocks.extension as u32,
            max_turns: clocks.max_turns,
        };
        let mut chain = Chain::new(&model, clocks);
        let state = State::open(&rules, chain.dispute, model.trace.root(), model.trace_values, START);
        let claim = ClaimFacts {
            open: true,
            layers: BTreeMap::new(),
        };
        let node = Node {
            state,
            claim,
            now: START,
            chain: chain.snapshot(),
        };
        let mut play = Self {
            model,
            rules,
            chain,
            positions: HashMap::new(),
            accepted: 0,
            refused: 0,
            ends: BTreeMap::new(),
            errors: HashSet::new(),
        };
        play.compare(&node);
        (play, node)
    }

    /// Makes a move on both sides at `now`; the node after it if both accept.
    fn step(&mut self, node: &Node, mv: &Move, now: u64) -> Option<Node> {
        let ours = apply(&self.rules, &node.claim, &node.state, mv, now);
        self.positions.insert(node.state.digest(), node.state.position);
        let data = self.calldata(mv);
        self.chain.restore(&node.chain);
        self.chain.at(now);
        let from = if mv.event.is_challengers() {
            CHALLENGER
        } else {
            PROVIDER
        };
        let theirs = self.chain.send(self.chain.disputes, from, 0, data);
        let what = || format!("{mv:?}\nat {now} in {:?}", node.state);
        match (ours, theirs) {
            (Ok((state, effects)), Ok(_)) => {
                self.accepted += 1;
                let mut claim = node.claim.clone();
                for effect in effects {
                    match effect {
                        Effect::LayerStands { layer, root } => {
                            claim.layers.insert(layer, LayerRoot { root, since: now });
                        }
                        Effect::Ended(phase) => claim.open = !matches!(phase, Phase::Struck | Phase::Voided),
                    }
                }
                let next = Node {
                    state,
                    claim,
                    now,
                    chain: self.chain.snapshot(),
                };
                self.compare(&next);
                Some(next)
            }
            (Err(refused), Err(reason)) => {
                self.refused += 1;
                let (name, signature) = error(&refused);
                assert_eq!(&reason[..4], &selector(signature), "{refused}; {reason}; {}", what());
                self.errors.insert(name);
                None
            }
            (ours, theirs) => panic!("Rust: {ours:?}\ncontract: {theirs:?}\n{}", what()),
        }
    }

    /// What the other dispute on the claim does to this one: its layer answer counts here, its strike ends the game.
    fn others(&mut self, node: &Node, now: u64, seen: &mut HashSet<Key>, queue: &mut VecDeque<Node>) {
        let root = self.model.inner.root();
        if !node.claim.layers.contains_key(&1) {
            self.chain.restore(&node.chain);
            self.chain.at(now);
            if self.chain.answer_other(root).is_ok() {
                let mut next = Node {
                    now,
                    chain: self.chain.snapshot(),
                    ..node.clone()
                };
                next.claim.layers.insert(1, LayerRoot { root, since: now });
                self.compare(&next);
                if seen.insert(key(&next)) {
                    queue.push_back(next);
                }
            }
        }
        // The claim's end does not look at this game's clock: one moment will do.
        if now != node.now {
            return;
        }
        self.chain.restore(&node.chain);
        self.chain.at(now);
        if self.chain.strike_other(self.witness(0, 0, Verdict::Outside)).is_ok() {
            let claim = ClaimFacts {
                open: false,
                layers: node.claim.layers.clone(),
            };
            let ended = Node {
                claim,
                now,
                chain: self.chain.snapshot(),
                ..node.clone()
            };
            let state = node.state.digest();
            for event in self.events(&node.state) {
                assert!(self.step(&ended, &Move { state, event }, now).is_none(), "moot");
            }
            self.chain.restore(&ended.chain);
            let d = self.chain.view(
                self.chain.disputes,
                chain::disputeOfCall {
                    dispute: self.chain.dispute,
                },
            );
            let settle = chain::settleCall {
                dispute: self.chain.dispute,
            }
            .abi_encode();
            self.chain
                .send(self.chain.disputes, OTHER, 0, settle.into())
                .expect("settlement");
            let credit = self
                .chain
                .view(self.chain.market, chain::creditOfCall { account: CHALLENGER });
            assert_eq!(credit, d.bond + d.challengerCost);
        }
    }

    fn compare(&mut self, node: &Node) {
        let (chain, state) = (&mut self.chain, &node.state);
        let d = chain.view(chain.disputes, chain::disputeOfCall { dispute: chain.dispute });
        let p = &d.position;
        let theirs = (
            p.moves,
            p.phase,
            p.tree,
            p.layer,
            p.node,
            p.depth,
            p.index,
            p.operator_,
            p.element,
        );
        let q = &state.position;
        let ours = (
            q.moves,
            q.phase as u8,
            q.tree as u8,
            q.layer,
            q.node,
            q.depth,
            q.index,
            q.operator,
            q.element,
        );
        assert_eq!(ours, theirs);
        let theirs = (d.count, d.turns, d.deadline, d.challengerLeft, d.workerLeft);
        assert_eq!(
            (
                state.count,
                state.turns,
                state.deadline,
                state.challenger_left,
                state.worker_left
            ),
            theirs
        );
        assert_eq!(
            state.digest(),
            chain.view(chain.disputes, chain::stateDigestCall { dispute: chain.dispute })
        );

        let claim = chain.view(chain.market, chain::claimOfCall { claim: chain.claim });
        assert_eq!(node.claim.open, claim.status == 1);
        let root = chain.view(
            chain.disputes,
            chain::layerRootOfCall {
                claim: chain.claim,
                layer: 1,
            },
        );
        assert_eq!(
            node.claim.layers.get(&1).map(|known| known.root),
            root.stands.then_some(root.root)
        );

        let ledger = chain.view(chain.market, chain::ledgerCall {});
        let sum = ledger.stakes + ledger.escrow + ledger.bonds + ledger.setAside + ledger.credits + ledger.burned;
        assert_eq!(sum, chain.balance(chain.market), "conservation");
        let (ours, worker_bond) = (U256::from(BOND), U256::from(WORKER_BOND));
        let other = chain.view(chain.disputes, chain::disputeOfCall { dispute: chain.other });
        let credit = |chain: &mut Chain, account: Address| chain.view(chain.market, chain::creditOfCall { account });
        let theirs = (credit(chain, PROVIDER), credit(chain, CHALLENGER), ledger.burned);
        let phase = state.position.phase;
        let ours = match phase {
            Phase::Lost | Phase::Conceded => {
                let lost = bond::lost(ours, d.workerCost, phase == Phase::Conceded);
                (lost.to_worker, lost.to_challenger, lost.burned)
            }
            Phase::Struck => {
                let struck = bond::struck(worker_bond, d.challengerCost + other.challengerCost, d.challengerCost);
                (U256::ZERO, ours + struck.reward, struck.burned)
            }
            Phase::Voided => (U256::ZERO, ours, U256::ZERO),
            Phase::Choosing | Phase::Revealing | Phase::Picking | Phase::Layering | Phase::Defending => {
                Default::default()
            }
            Phase::Totalling | Phase::Parting | Phase::Splitting | Phase::Proving => Default::default(),
        };
        assert_eq!(ours, theirs, "credits of worker and challenger, burned, in {phase:?}");
        if !phase.is_live() {
            *self.ends.entry(phase as u8).or_default() += 1;
        }
    }

    fn calldata(&self, mv: &Move) -> Bytes {
        let (dispute, state, model) = (self.chain.dispute, mv.state, &self.model);
        let proof = |operator: u32| model.plan.proof(operator.into()).unwrap_or_default();
        match &mv.event {
            Event::Ask => chain::askCall { dispute, state }.abi_encode(),
            Event::Reveal { children } => chain::revealCall {
                dispute,
                state,
                children: children.clone(),
            }
            .abi_encode(),
            Event::Descend { child, children } => {
                let child = U256::from(*child);
                chain::descendCall {
                    dispute,
                    state,
                    child,
                    children: children.clone(),
                }
                .abi_encode()
            }
            Event::Skip { index, leaf, proof } => {
                let index = U256::from(*index);
                chain::skipCall {
                    dispute,
                    state,
                    index,
                    leaf: *leaf,
                    proof: proof.clone(),
                }
                .abi_encode()
            }
            Event::Layer(facts) => {
                let operator_ = model
                    .facts
                    .iter()
                    .position(|f| f == facts)
                    .expect("facts of an operator") as u32;
                let descriptor = model.descriptors[operator_ as usize].clone().into();
                chain::layerCall {
                    dispute,
                    state,
                    operator_,
                    descriptor,
                    proof: proof(operator_),
                }
                .abi_encode()
            }
            Event::AnswerLayer { root, signed } => {
                let signature = if *signed {
                    self.chain.sign(self.layer_digest(*root))
                } else {
                    Bytes::new()
                };
                chain::answerLayerCall {
                    dispute,
                    state,
                    root: *root,
                    signature,
                }
                .abi_encode()
            }
            Event::Point { operator, element, .. } => {
                let (operator_, element) = (*operator, *element);
                let descriptor = model.descriptors[operator_ as usize].clone().into();
                chain::pointCall {
                    dispute,
                    state,
                    operator_,
                    element,
                    descriptor,
                    proof: proof(operator_),
                }
                .abi_encode()
            }
            Event::Defend {
                operator,
                element,
                verdict,
            } => {
                let witness = self.witness(*operator, *element, *verdict);
                chain::defendCall {
                    dispute,
                    state,
                    witness,
                }
                .abi_encode()
            }
            Event::Total {
                operator,
                element,
                verdict,
                header,
                parts,
                signed,
            } => chain::totalCall {
                dispute,
                state,
                witness: self.witness(*operator, *element, *verdict),
                free: header.free,
                parts: parts.clone(),
                signature: self.signature(state, header, parts, *signed),
            }
            .abi_encode(),
            Event::Part { child, header, parts } => chain::partCall {
                dispute,
                state,
                child: U256::from(*child),
                header: header.words(),
                parts: parts.clone(),
            }
            .abi_encode(),
            Event::Split {
                header,
                sums,
                parts,
                signed,
            } => chain::splitCall {
                dispute,
                state,
                header: header.words(),
                sums: sums.clone(),
                parts: parts.clone(),
                signature: self.signature(state, header, parts, *signed),
            }
            .abi_encode(),
            Event::Prove {
                header,
                sums,
                operator,
                element,
                verdict,
            } => chain::proveCall {
                dispute,
                state,
                header: header.words(),
                sums: sums.clone(),
                witness: self.witness(*operator, *element, *verdict),
            }
            .abi_encode(),
            Event::Convict(verdict) => chain::convictCall {
                dispute,
                state,
                witness: self.witness(0, 0, *verdict),
            }
            .abi_encode(),
            Event::Concede => chain::concedeCall { dispute, state }.abi_encode(),
            Event::Timeout => chain::timeoutCall { dispute, state }.abi_encode(),
        }
        .into()
    }

    fn domain(&self) -> Domain {
        Domain {
            chain_id: chain::CHAIN_ID,
            market: self.chain.market,
        }
    }

    /// By the node key over header and parts of the node at which that state is, or none.
    fn signature(&self, state: B256, header: &Header, words: &[U256], signed: bool) -> Bytes {
        let Some(p) = self.positions.get(&state).filter(|_| signed) else {
            return Bytes::new();
        };
        let answer = PartsAnswer {
            claim: self.chain.claim,
            operator: p.operator,
            element: p.element,
            depth: p.depth.into(),
            index: p.index,
            node: parts::node_word(header, words),
        };
        self.chain.sign(answer.digest(&self.domain()))
    }

    fn layer_digest(&self, root: B256) -> B256 {
        let domain = self.domain();
        LayerAnswer {
            claim: self.chain.claim,
            layer: 1,
            root,
        }
        .digest(&domain)
    }

    fn witness(&self, operator: u32, element: u64, verdict: Verdict) -> Bytes {
        let descriptor = &self.model.descriptors[operator as usize];
        let mut bytes = operator.to_be_bytes().to_vec();
        bytes.extend(element.to_be_bytes());
        bytes.extend((descriptor.len() as u16).to_be_bytes());
        bytes.extend(descriptor);
        bytes.push(match verdict {
            Verdict::Inside => 1,
            Verdict::Outside => 2,
            Verdict::Undecodable => 3,
        });
        bytes.into()
    }

    /// The present node's descendants.
    fn children(&self, state: &State) -> Vec<B256> {
        let p = &state.position;
        let tree = match p.tree {
            Tree::Trace => &self.model.trace,
            Tree::Layer => &self.model.inner,
        };
        let step = p.step();
        let height = u32::from(p.depth) - step;
        (0..1u64 << step)
            .map(|c| {
                // Of a long operator's terms there is no such tree.
                let node = tree.node_at(height, (u64::from(p.index) << step) + c);
                node.unwrap_or_default()
            })
            .collect()
    }

    /// Siblings of a leaf up to the present node.
    fn siblings(&self, state: &State, index: u32) -> (B256, Vec<B256>) {
        let p = &state.position;
        let tree = match p.tree {
            Tree::Trace => &self.model.trace,
            Tree::Layer => &self.model.inner,
        };
        let leaf = tree.node_at(0, index.into()).unwrap_or_default();
        let siblings = (0..p.depth.into()).map(|h| tree.node_at(h, (u64::from(index) >> h) ^ 1).unwrap_or_default());
        (leaf, siblings.collect())
    }

    /// Whether the event is accepted and more than the last answer can follow.
    fn goes_on(&self, node: &Node, event: &Event, now: u64) -> bool {
        self.after(node, event, now)
            .is_some_and(|phase| phase.is_live() && ![Phase::Defending, Phase::Proving].contains(&phase))
    }

    /// Whether the event is accepted and the game ends.
    fn is_end(&self, node: &Node, event: &Event, now: u64) -> bool {
        self.after(node, event, now).is_some_and(|phase| !phase.is_live())
    }

    fn after(&self, node: &Node, event: &Event, now: u64) -> Option<Phase> {
        let (state, event) = (node.state.digest(), event.clone());
        let (next, _) = apply(&self.rules, &node.claim, &node.state, &Move { state, event }, now).ok()?;
        Some(next.position.phase)
    }

    /// Moves that are possible or just not.
    fn events(&self, state: &State) -> Vec<Event> {
        let p = &state.position;
        let children = self.children(state);
        let mut wrong = children.clone();
        wrong[0].0[31] ^= 1;
        let mut more = children.clone();
        more.extend(children.clone());
        let mut events = vec![Event::Ask, Event::Concede, Event::Timeout];
        for list in [children.clone(), wrong.clone(), more, Vec::new()] {
            events.push(Event::Reveal { children: list });
        }
        for child in 0..=children.len() as u32 {
            events.push(Event::Descend {
                child,
                children: children.clone(),
            });
        }
        events.push(Event::Descend {
            child: 0,
            children: wrong,
        });
        for index in [0, 1, state.count.saturating_sub(1), state.count, state.count + 1] {
            let (leaf, proof) = self.siblings(state, index);
            events.push(Event::Skip {
                index,
                leaf: keccak256("another"),
                proof: proof.clone(),
            });
            events.push(Event::Skip {
                index,
                leaf,
                proof: [proof.clone(), vec![B256::ZERO]].concat(),
            });
            events.push(Event::Skip { index, leaf, proof });
        }
        // The same place below another node.
        let below = p.index << p.depth;
        let (leaf, proof) = self.siblings(state, below);
        let index = below ^ (1 << p.depth);
        events.push(Event::Skip { index, leaf, proof });
        events.extend([0, 1, self.model.facts.len() - 1].map(|o| Event::Layer(self.model.facts[o])));
        let root = self.model.inner.root();
        for (root, signed) in [(root, true), (root, false), (B256::ZERO, true)] {
            events.push(Event::AnswerLayer { root, signed });
        }
        events.extend(self.part_events(state));
        for operator in [0, 1, LONG, self.model.operators() - 1] {
            for element in [0, u64::from(ELEMENTS) - 1, ELEMENTS.into()] {
                // One element of the long operator is enough.
                if (operator, element) == (LONG, 1) {
                    continue;
                }
                let facts = self.model.facts[operator as usize];
                events.push(Event::Point {
                    operator,
                    element,
                    facts,
                });
            }
        }
        for verdict in [Verdict::Inside, Verdict::Outside, Verdict::Undecodable] {
            events.push(Event::Convict(verdict));
            events.push(Event::Defend {
                operator: p.operator,
                element: p.element,
                verdict,
            });
            events.push(Event::Defend {
                operator: p.operator,
                element: p.element + 1,
                verdict,
            });
        }
        events
    }
}

impl Play {
    /// Moves about the sums of parts, possible or just not.
    fn part_events(&self, state: &State) -> Vec<Event> {
        let p = &state.position;
        let (operator, element) = (p.operator, p.element);
        let header = Header {
            free: U256::from(7),
            y: U256::from(element),
            own: U256::ZERO,
        };
        let one = vec![U256::ONE];
        let (sums, words) = match p.phase {
            Phase::Totalling | Phase::Parting | Phase::Splitting | Phase::Proving => {
                let (depth, index) = (p.depth.into(), p.index);
                (
                    model::sums(state.count, depth, index),
                    model::parts(state.count, depth, index),
                )
            }
            _ => (one.clone(), one),
        };
        let other = Header {
            free: U256::from(8),
            ..header
        };
        let less = words[1..].to_vec();
        let doubled = [words.clone(), words.clone()].concat();
        let mut wrong = words.clone();
        wrong[0] += U256::ONE;
        let mut events = Vec::new();
        let total = |element, verdict, parts: &Vec<U256>, signed| Event::Total {
            operator,
            element,
            verdict,
            header,
            parts: parts.clone(),
            signed,
        };
        let prove = |element, verdict, sums: &Vec<U256>| Event::Prove {
            header,
            sums: sums.clone(),
            operator,
            element,
            verdict,
        };
        for verdict in [Verdict::Inside, Verdict::Outside, Verdict::Undecodable] {
            events.extend([true, false].map(|signed| total(element, verdict, &words, signed)));
            events.push(prove(element, verdict, &sums));
        }
        events.push(total(element + 1, Verdict::Inside, &words, true));
        events.extend([&less, &Vec::new()].map(|parts| total(element, Verdict::Outside, parts, true)));
        events.push(prove(element + 1, Verdict::Outside, &sums));
        events.push(prove(element, Verdict::Outside, &wrong));
        let count = (words.len() / sums.len()) as u32;
        let part = |child, header, parts: &Vec<U256>| Event::Part {
            child,
            header,
            parts: parts.clone(),
        };
        events.extend([0, count - 1, count].map(|child| part(child, header, &words)));
        events.extend([part(0, other, &words), part(0, header, &wrong), part(0, header, &less)]);
        let split = |header, sums: &Vec<U256>, parts: &Vec<U256>, signed| Event::Split {
            header,
            sums: sums.clone(),
            parts: parts.clone(),
            signed,
        };
        events.extend([true, false].map(|signed| split(header, &sums, &words, signed)));
        events.extend([&wrong, &doubled, &less].map(|parts| split(header, &sums, parts, true)));
        events.push(split(header, &wrong, &words, true));
        events.push(split(other, &sums, &words, true));
        events
    }
}

/// A refusal's name and the signature of the contract's error.
fn error(refused: &Refused) -> (&'static str, &'static str) {
    let signature = match refused {
        Refused::StaleState { .. } => "StaleState(bytes32,bytes32)",
        Refused::WrongPhase(_) => "WrongPhase(uint8)",
        Refused::ClaimEnded => "ClaimEnded(bytes32)",
        Refused::Expired { .. } => "Expired(uint64,uint64)",
        Refused::NotExpired { .. } => "NotExpired(uint64,uint64)",
        Refused::OutOfTurns(_) => "OutOfTurns(uint16)",
        Refused::AtLeaf => "AtLeaf()",
        Refused::WrongCount { .. } => "WrongCount(uint256,uint256)",
        Refused::WrongNode { .. } => "WrongNode(bytes32,bytes32)",
        Refused::OutOfRange { .. } => "OutOfRange(uint256,uint256)",
        Refused::WrongSums => "WrongSums()",
        Refused::BadProof => "BadProof()",
        Refused::Undecodable => "Undecodable()",
        Refused::NoInnerValues(_) => "NoInnerValues(uint32)",
        Refused::LayerMissing(_) => "LayerMissing(uint32)",
        Refused::LayerStands(_) => "LayerStands(uint32,bytes32)",
        Refused::BadSignature => "BadSignature(address,address)",
        Refused::NotOutside => "NotOutside()",
        Refused::WrongElement { .. } => "WrongElement(uint32,uint64)",
    };
    (signature.split('(').next().unwrap_or_default(), signature)
}

/// Kinds of [`Refused`].
const ERRORS: usize = 19;

type Place = (Phase, Tree, u32, B256, u8, u32, u32, u64);
type Key = (Place, (u32, u16, u64, u32, u32), Vec<(u32, B256, u64)>);

/// What makes two states behave alike: all but the move count and the absolute time.
fn key(node: &Node) -> Key {
    let (s, p) = (&node.state, node.state.position);
    let place = (
        p.phase, p.tree, p.layer, p.node, p.depth, p.index, p.operator, p.element,
    );
    let clocks = (
        s.count,
        s.turns,
        s.deadline.saturating_sub(node.now),
        s.challenger_left,
        s.worker_left,
    );
    (
        place,
        clocks,
        node.claim
            .layers
            .iter()
            .map(|(layer, known)| {
                // Since when it stands matters to who waits for it: for how long the turn has been the challenger's.
                let waits = p.phase == Phase::Layering;
                let begun = known.since.max(s.deadline);
                (
                    *layer,
                    known.root,
                    if waits { node.now.saturating_sub(begun) } else { 0 },
                )
            })
            .collect(),
    )
}

#[test]
fn every_move_from_every_state_of_a_small_game() {
    // Nine leaves: parts of two leaves, and one part of one.
    let play = play_every_move(9);
    assert_eq!(play.ends.len(), 4);
    assert_eq!(play.errors.len(), ERRORS, "every error is met: {:?}", play.errors);
}

#[test]
fn every_move_where_a_long_operator_is_one_leaf() {
    assert_eq!(play_every_move(1).ends.len(), 4);
}

fn play_every_move(leaves: u32) -> Play {
    let model = Model::new(3, 2, 4, leaves);
    let max_turns = turns_of_model(3, 4) as u16;
    assert_eq!(max_turns, 4);
    let (mut play, first) = Play::new(
        model,
        Clocks {
            clock: 18,
            extension: 2,
            max_turns,
        },
    );
    let mut seen = HashSet::from([key(&first)]);
    let mut queue = VecDeque::from([first]);
    while let Some(node) = queue.pop_front() {
        let digest = node.state.digest();
        // Now, the last moment, one too late.
        let mut times = vec![node.now, node.state.deadline, node.state.deadline + 1];
        if let (Phase::Layering, Some(known)) = (node.state.position.phase, node.claim.layers.get(&1)) {
            // Answered elsewhere: the challenger's turn has begun, and has an end.
            let begun = known.since.max(node.state.deadline);
            let end = clock::start(node.state.challenger_left, play.rules.extension, begun);
            times.extend([end, end + 1]);
        }
        times.sort_unstable();
        times.dedup();
        times.retain(|now| *now >= node.now);
        for now in times {
            for event in play.events(&node.state) {
                let Some(next) = play.step(&node, &Move { state: digest, event }, now) else {
                    continue;
                };
                if next.state.position.phase.is_live() && seen.insert(key(&next)) {
                    queue.push_back(next);
                }
            }
            play.others(&node, now, &mut seen, &mut queue);
            // Against another state: refused, unless it is the move that led here.
            assert!(
                play.step(
                    &node,
                    &Move {
                        state: !digest,
                        event: Event::Concede
                    },
                    now
                )
                .is_none()
            );
            if let Some(last) = node.state.last.as_deref().cloned() {
                let same = play.step(&node, &last, now).expect("done already");
                assert_eq!(same.state, node.state);
            }
        }
    }
    println!(
        "states {}, moves accepted {}, refused {}",
        seen.len(),
        play.accepted,
        play.refused
    );
    println!("ends by phase {:?}", play.ends);
    play
}

#[test]
fn random_games_over_deep_trees() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    let mut longest = 0;
    let mut ends = BTreeMap::new();
    for (trace_values, inner_values) in [(70, 9), (8, 1), (65, 33), (0, 5), (1, 64)] {
        let operators = 80;
        let max_turns = turns_of_model(trace_values, operators) as u16 + 1;
        // As deep as terms go: 2^14 leaves.
        let model = Model::new(trace_values, inner_values, operators, 1 << 14);
        let clocks = Clocks {
            clock: 10 * u64::from(max_turns + PART_TURNS),
            extension: 7,
            max_turns,
        };
        let (mut play, first) = Play::new(model, clocks);
        for _ in 0..40 {
            let mut node = first.clone();
            while node.state.position.phase.is_live() && node.state.position.moves < 40 {
                let events = play.events(&node.state);
                let (left, d) = (node.state.deadline.saturating_sub(node.now), node.state.digest());
                // Mostly in time, and seldom the end, so that games go deep.
                let now = node.now + [0, 1, left / 2, left, left + 1][below(20).min(4) * usize::from(below(3) == 0)];
                let mut event = events[below(events.len())].clone();
                if below(3) != 0 {
                    let mut going_on = events.into_iter().filter(|event| play.goes_on(&node, event, now));
                    event = going_on.nth(below(3)).unwrap_or(event);
                } else if play.is_end(&node, &event, now) && below(12) != 0 {
                    continue;
                }
                if let Some(next) = play.step(&node, &Move { state: d, event }, now) {
                    longest = longest.max(next.state.position.moves);
                    node = next;
                }
            }
        }
        println!(
            "trace {trace_values}, inner {inner_values}: accepted {}, refused {}",
            play.accepted, play.refused
        );
        for (phase, count) in play.ends {
            *ends.entry(phase).or_insert(0) += count;
        }
    }
    println!("longest game {longest} moves; ends by phase {ends:?}");
    assert!(longest >= 20);
    assert_eq!(ends.len(), 4);
}
