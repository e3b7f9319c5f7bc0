//! What each move does.
//!
//! Longer than the house size: one function a move, beside each other, so that no phase is forgotten.

use alloy_primitives::U256;

use super::{ClaimFacts, Effect, Event, Move, OperatorFacts, Phase, Refused, Rules, Side, State, Tree};
use crate::clock;
use crate::digest::B256;
use crate::judge::Verdict;
use crate::merkle;
use crate::parts::{self, Header};

/// Makes a move at time `now`. A move equal to the one that led to `state` gives `state` again and no effect.
///
/// # Errors
/// Why the contract reverts; the state stays.
pub fn apply(
    rules: &Rules,
    claim: &ClaimFacts,
    state: &State,
    mv: &Move,
    now: u64,
) -> Result<(State, Vec<Effect>), Refused> {
    let expected = state.digest();
    if mv.state != expected {
        let repeated = state.last.as_deref() == Some(mv);
        return if repeated {
            Ok((state.clone(), Vec::new()))
        } else {
            Err(Refused::StaleState {
                expected,
                actual: mv.state,
            })
        };
    }
    let phase = state.position.phase;
    let Some(turn) = phase.turn() else {
        return Err(Refused::WrongPhase(phase));
    };
    if !claim.open {
        return Err(Refused::ClaimEnded);
    }
    let (mut next, effects) = Step {
        rules,
        claim,
        state,
        turn,
        now,
    }
    .take(&mv.event)?;
    next.position.moves += 1;
    next.last = Some(Box::new(mv.clone()));
    Ok((next, effects))
}

/// One move on a live dispute.
struct Step<'a> {
    rules: &'a Rules,
    claim: &'a ClaimFacts,
    state: &'a State,
    turn: Side,
    now: u64,
}

type Outcome = Result<(State, Vec<Effect>), Refused>;

impl Step<'_> {
    fn take(&self, event: &Event) -> Outcome {
        match event {
            Event::Ask => self.ask(),
            Event::Reveal { children } => self.reveal(children),
            Event::Descend { child, children } => self.descend(*child, children),
            Event::Skip { index, leaf, proof } => self.skip(*index, *leaf, proof),
            Event::Layer(facts) => self.layer(facts.as_ref()),
            Event::AnswerLayer { root, signed } => self.answer_layer(*root, *signed),
            Event::Point {
                operator,
                element,
                facts,
            } => self.point(*operator, *element, facts.as_ref()),
            Event::Defend {
                operator,
                element,
                verdict,
            } => self.defend(*operator, *element, *verdict),
            Event::Total {
                operator,
                element,
                verdict,
                header,
                parts,
                signed,
            } => self.total((*operator, *element), *verdict, header, parts, *signed),
            Event::Part { child, header, parts } => self.part(*child, header, parts),
            Event::Split {
                header,
                sums,
                parts,
                signed,
            } => self.split(header, sums, parts, *signed),
            Event::Prove {
                header,
                sums,
                operator,
                element,
                verdict,
            } => self.prove(header, sums, (*operator, *element), *verdict),
            Event::Convict(verdict) => self.convict(*verdict),
            Event::Concede => {
                self.in_time()?;
                self.end(Phase::Conceded)
            }
            Event::Timeout => self.timeout(),
        }
    }

    fn ask(&self) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Choosing)?;
        if self.state.position.depth == 0 {
            return Err(Refused::AtLeaf);
        }
        self.question(self.state.clone(), Phase::Revealing)
    }

    fn reveal(&self, children: &[B256]) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Revealing)?;
        self.check_children(children)?;
        let mut next = self.state.clone();
        self.challengers_turn(&mut next, Phase::Picking, self.now);
        Ok((next, Vec::new()))
    }

    fn descend(&self, child: u32, children: &[B256]) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Picking)?;
        self.check_children(children)?;
        let p = &self.state.position;
        let Some(node) = children.get(child as usize) else {
            return Err(Refused::OutOfRange {
                limit: children.len() as u64,
                actual: child.into(),
            });
        };
        let step = p.step();
        let index = (u64::from(p.index) << step) + u64::from(child);
        let depth = u32::from(p.depth) - step;
        if index << depth >= u64::from(self.state.count) {
            return Err(Refused::OutOfRange {
                limit: self.state.count.into(),
                actual: index << depth,
            });
        }
        let mut next = self.state.clone();
        next.position.node = *node;
        next.position.index = index as u32;
        next.position.depth = depth as u8;
        if depth == 0 {
            Ok(stay(next))
        } else {
            self.question(next, Phase::Revealing)
        }
    }

    fn skip(&self, index: u32, leaf: B256, proof: &[B256]) -> Outcome {
        self.in_time()?;
        self.choice()?;
        let p = &self.state.position;
        if p.depth == 0 {
            return Err(Refused::AtLeaf);
        }
        if index >= self.state.count {
            return Err(Refused::OutOfRange {
                limit: self.state.count.into(),
                actual: index.into(),
            });
        }
        let below = u64::from(index) & ((1 << p.depth) - 1);
        let here = u64::from(index) >> p.depth == u64::from(p.index);
        if !here || !merkle::verify(&p.node, &leaf, below, 1 << p.depth, proof) {
            return Err(Refused::BadProof);
        }
        let mut next = self.state.clone();
        next.position.node = leaf;
        next.position.index = index;
        next.position.depth = 0;
        Ok(stay(next))
    }

    fn layer(&self, facts: Option<&OperatorFacts>) -> Outcome {
        self.in_time()?;
        let Some(facts) = facts else {
            return Err(Refused::Undecodable);
        };
        self.choice()?;
        if facts.layer_inner_count == 0 {
            return Err(Refused::NoInnerValues(facts.layer));
        }
        let mut next = self.state.clone();
        next.count = facts.layer_inner_count;
        next.position.tree = Tree::Layer;
        next.position.layer = facts.layer;
        next.position.depth = merkle::depth(facts.layer_inner_count.into()) as u8;
        next.position.index = 0;
        match self.claim.layers.get(&facts.layer) {
            Some(known) => {
                next.position.node = known.root;
                Ok(stay(next))
            }
            None => {
                next.position.node = B256::ZERO;
                self.question(next, Phase::Layering)
            }
        }
    }

    fn answer_layer(&self, root: B256, signed: bool) -> Outcome {
        self.in_phase(Phase::Layering)?;
        let layer = self.state.position.layer;
        let mut effects = Vec::new();
        // Answered in another dispute, the worker's turn here has ended then, or with its clock.
        let mut answered = self.now;
        match self.claim.layers.get(&layer) {
            Some(known) if known.root != root => return Err(Refused::LayerStands(layer)),
            Some(known) => answered = self.answered(known.since).min(self.now),
            None => {
                self.in_time()?;
                if !signed {
                    return Err(Refused::BadSignature);
                }
                effects.push(Effect::LayerStands { layer, root });
            }
        }
        let mut next = self.state.clone();
        next.position.node = root;
        self.challengers_turn(&mut next, Phase::Choosing, answered);
        Ok((next, effects))
    }

    fn point(&self, operator: u32, element: u64, facts: Option<&OperatorFacts>) -> Outcome {
        self.in_time()?;
        let Some(facts) = facts else {
            self.choice()?;
            return self.end(Phase::Voided);
        };
        if element >= facts.elements {
            return Err(Refused::OutOfRange {
                limit: facts.elements,
                actual: element,
            });
        }
        if facts.touches_inner && !self.claim.layers.contains_key(&facts.layer) {
            return Err(Refused::LayerMissing(facts.layer));
        }
        self.choice()?;
        let mut next = self.state.clone();
        next.position.operator = operator;
        next.position.element = element;
        if facts.leaves == 0 {
            return Ok(self.workers_turn(next, Phase::Defending));
        }
        next.count = facts.leaves;
        next.position.node = B256::ZERO;
        next.position.depth = merkle::depth(facts.leaves.into()) as u8;
        next.position.index = 0;
        Ok(self.workers_turn(next, Phase::Totalling))
    }

    fn defend(&self, operator: u32, element: u64, verdict: Verdict) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Defending)?;
        self.at_element((operator, element))?;
        self.end(ending(verdict))
    }

    fn total(&self, at: (u32, u64), verdict: Verdict, header: &Header, parts: &[U256], signed: bool) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Totalling)?;
        self.width(parts)?;
        self.at_element(at)?;
        if verdict == Verdict::Undecodable {
            return self.end(Phase::Voided);
        }
        // The free choices are the worker's: nobody else can have it struck by others.
        if !signed {
            return Err(Refused::BadSignature);
        }
        match verdict {
            Verdict::Inside => self.parted(header, parts),
            Verdict::Outside | Verdict::Undecodable => self.end(ending(verdict)),
        }
    }

    fn part(&self, child: u32, header: &Header, parts: &[U256]) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Parting)?;
        self.at_node(header, parts)?;
        let width = self.width(parts)?;
        let Some(sums) = parts.chunks(width).nth(child as usize) else {
            return Err(Refused::OutOfRange {
                limit: self.part_count() as u64,
                actual: child.into(),
            });
        };
        let p = &self.state.position;
        let mut next = self.state.clone();
        next.position.node = parts::node_word(header, sums);
        next.position.index = (p.index << p.step()) + child;
        next.position.depth = p.depth - p.step() as u8;
        let phase = if next.position.depth == 0 {
            Phase::Proving
        } else {
            Phase::Splitting
        };
        Ok(self.workers_turn(next, phase))
    }

    fn split(&self, header: &Header, sums: &[U256], parts: &[U256], signed: bool) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Splitting)?;
        self.at_node(header, sums)?;
        let width = self.width(parts)?;
        if width != sums.len() || parts::add_up(parts, width) != sums {
            return Err(Refused::WrongSums);
        }
        if !signed {
            return Err(Refused::BadSignature);
        }
        self.parted(header, parts)
    }

    fn prove(&self, header: &Header, sums: &[U256], at: (u32, u64), verdict: Verdict) -> Outcome {
        self.in_time()?;
        self.in_phase(Phase::Proving)?;
        self.at_node(header, sums)?;
        self.at_element(at)?;
        self.end(ending(verdict))
    }

    /// The sums of a node's parts are known.
    fn parted(&self, header: &Header, parts: &[U256]) -> Outcome {
        let mut next = self.state.clone();
        next.position.node = parts::node_word(header, parts);
        self.challengers_turn(&mut next, Phase::Parting, self.now);
        Ok((next, Vec::new()))
    }

    fn part_count(&self) -> usize {
        let p = &self.state.position;
        parts::part_count(self.state.count, p.depth.into(), p.index)
    }

    /// Words that each of the present node's parts has, at least one.
    fn width(&self, parts: &[U256]) -> Result<usize, Refused> {
        let expected = self.part_count();
        match parts.len().checked_div(expected) {
            Some(width) if width > 0 && parts.len() == width * expected => Ok(width),
            _ => Err(Refused::WrongCount {
                expected,
                actual: parts.len(),
            }),
        }
    }

    /// Header and words are the present node's.
    fn at_node(&self, header: &Header, words: &[U256]) -> Result<(), Refused> {
        let (expected, actual) = (self.state.position.node, parts::node_word(header, words));
        if expected == actual {
            Ok(())
        } else {
            Err(Refused::WrongNode { expected, actual })
        }
    }

    fn at_element(&self, (operator, element): (u32, u64)) -> Result<(), Refused> {
        let p = &self.state.position;
        if (operator, element) == (p.operator, p.element) {
            Ok(())
        } else {
            Err(Refused::WrongElement { operator, element })
        }
    }

    fn convict(&self, verdict: Verdict) -> Outcome {
        self.in_time()?;
        match verdict {
            Verdict::Inside => Err(Refused::NotOutside),
            Verdict::Outside => self.end(Phase::Struck),
            Verdict::Undecodable => self.end(Phase::Voided),
        }
    }

    fn timeout(&self) -> Outcome {
        let p = &self.state.position;
        let (mut turn, mut deadline, now) = (self.turn, self.state.deadline, self.now);
        if p.phase == Phase::Layering
            && let Some(known) = self.claim.layers.get(&p.layer)
        {
            // Another dispute has the answer: the challenger may go on, and this is its turn.
            turn = Side::Challenger;
            let begun = self.answered(known.since);
            deadline = clock::start(self.state.challenger_left, self.rules.extension, begun);
        }
        if !clock::expired(deadline, now) {
            return Err(Refused::NotExpired { deadline, now });
        }
        self.end(match turn {
            Side::Worker => Phase::Struck,
            Side::Challenger => Phase::Lost,
        })
    }

    fn in_time(&self) -> Result<(), Refused> {
        let (deadline, now) = (self.state.deadline, self.now);
        if clock::expired(deadline, now) {
            Err(Refused::Expired { deadline, now })
        } else {
            Ok(())
        }
    }

    fn in_phase(&self, phase: Phase) -> Result<(), Refused> {
        let actual = self.state.position.phase;
        if actual == phase {
            Ok(())
        } else {
            Err(Refused::WrongPhase(actual))
        }
    }

    fn choice(&self) -> Result<(), Refused> {
        match self.state.position.phase {
            Phase::Choosing | Phase::Picking => Ok(()),
            other => Err(Refused::WrongPhase(other)),
        }
    }

    fn check_children(&self, children: &[B256]) -> Result<(), Refused> {
        let p = &self.state.position;
        let expected = 1 << p.step();
        if children.len() != expected {
            return Err(Refused::WrongCount {
                expected,
                actual: children.len(),
            });
        }
        let actual = merkle::root(children);
        if actual == p.node {
            Ok(())
        } else {
            Err(Refused::WrongNode {
                expected: p.node,
                actual,
            })
        }
    }

    /// A question about commitments leaves the worker a turn for the one about an element.
    fn question(&self, next: State, phase: Phase) -> Outcome {
        if u32::from(self.state.turns) + 1 >= u32::from(self.rules.max_turns) {
            return Err(Refused::OutOfTurns(self.rules.max_turns));
        }
        Ok(self.workers_turn(next, phase))
    }

    fn workers_turn(&self, mut next: State, phase: Phase) -> (State, Vec<Effect>) {
        next.challenger_left = clock::stop(self.state.deadline, self.now);
        next.deadline = clock::start(self.state.worker_left, self.rules.extension, self.now);
        next.turns = self.state.turns.saturating_add(1);
        next.position.phase = phase;
        (next, Vec::new())
    }

    /// When the turn of a worker ended whose answer stands `since` then, in this dispute or another: an answer there does not cut
    /// this one's turn short, as the challenger cannot know of it at once.
    fn answered(&self, since: u64) -> u64 {
        since.max(self.state.deadline)
    }

    fn challengers_turn(&self, next: &mut State, phase: Phase, begun: u64) {
        next.worker_left = clock::stop(self.state.deadline, begun);
        next.deadline = clock::start(self.state.challenger_left, self.rules.extension, begun);
        next.position.phase = phase;
    }

    fn end(&self, phase: Phase) -> Outcome {
        let mut next = self.state.clone();
        next.position.phase = phase;
        Ok((next, vec![Effect::Ended(phase)]))
    }
}

/// What a verdict on evidence that the challenger asked for ends the dispute as.
fn ending(verdict: Verdict) -> Phase {
    match verdict {
        Verdict::Inside => Phase::Lost,
        Verdict::Outside => Phase::Struck,
        Verdict::Undecodable => Phase::Voided,
    }
}

/// The challenger goes on choosing, on the same deadline.
fn stay(mut next: State) -> (State, Vec<Effect>) {
    next.position.phase = Phase::Choosing;
    (next, Vec::new())
}
