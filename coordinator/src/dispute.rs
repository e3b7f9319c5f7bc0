//! Disputes, on the worker's side: what is asked, whether an answer is one, and the call that it becomes.
//!
//! An answer is checked here only so far that a lying worker cannot make the coordinator pay for a call that the contract
//! refuses. Whether a witness or totals convince is the judge's business; the sender asks the contract before it sends.
//!
//! Longer than the house size: half of it are its tests, one for each kind of answer.

use touchstone_chain::{
    B256, Bytes, U256,
    bindings::IDisputes,
    signature::{self, SignatureBytes},
};
use touchstone_protocol::{
    claim::{Domain, LayerAnswer, PartsAnswer},
    merkle,
    parts::{self, Header},
};
use touchstone_wire::worker::{Answer, Ask, Question, Reply, Tree};

use crate::db::disputes::{Dispute, Phase};

/// An answer that is refused: the worker is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefusal {
    /// The dispute is about another claim.
    #[error("dispute {dispute} is not about claim {claim}")]
    Foreign {
        /// The dispute.
        dispute: B256,
        /// The claim in the answer.
        claim: B256,
    },
    /// It answers something else than is asked.
    #[error("the answer does not fit a dispute that is {0:?}")]
    WrongKind(Phase),
    /// The descendants are too few, too many, or of another node.
    #[error("the {0} nodes are not the descendants of node {1}")]
    NotDescendants(usize, B256),
    /// The layer's root is not the tree of the commitments.
    #[error("layer root {actual} is not that of the commitments, {expected}")]
    LayerRoot {
        /// Of the commitments.
        expected: B256,
        /// Sent.
        actual: B256,
    },
    /// The layer's root is not signed by the claim's node key.
    #[error("the signature of the root of layer {0} is not the node key's")]
    LayerSignature(u32),
    /// Header and sums are of another node.
    #[error("header and sums are those of node {actual}, not of {expected}")]
    Node {
        /// The present node.
        expected: B256,
        /// Theirs.
        actual: B256,
    },
    /// The parts do not add up to the node's sums.
    #[error("the parts do not add up to node {0}")]
    NotParts(B256),
    /// The parts are not signed by the claim's node key.
    #[error("the signature of the parts of node {0} is not the node key's")]
    PartsSignature(B256),
    /// No answer.
    #[error("the worker cannot answer: {0}")]
    Unable(String),
}

/// What the worker is asked: in its turn, what the contract asks; else the inside of the layer that the dispute is in, so that challengers
/// can fetch it.
pub fn question(dispute: &Dispute) -> Option<Question> {
    let state = &dispute.state;
    let ask = match state.phase {
        Phase::Revealing => Ask::Reveal {
            tree: state.tree,
            node: state.node,
            depth: state.depth,
            index: state.index,
        },
        Phase::Layering => Ask::Layer(state.layer),
        Phase::Defending => Ask::Defend {
            operator: state.operator,
            element: state.element,
        },
        Phase::Totalling => Ask::Total {
            operator: state.operator,
            element: state.element,
        },
        Phase::Splitting => Ask::Split {
            operator: state.operator,
            element: state.element,
            depth: state.depth,
            index: state.index,
        },
        Phase::Proving => Ask::Prove {
            operator: state.operator,
            element: state.element,
            index: state.index,
        },
        Phase::Choosing | Phase::Picking | Phase::Parting => match state.tree {
            Tree::Layer(layer) => Ask::Layer(layer),
            Tree::Trace => return None,
        },
        Phase::Struck
        | Phase::Lost
        | Phase::Conceded
        | Phase::Voided
        | Phase::Moot
        | Phase::Settled
        | Phase::Orphaned => return None,
    };
    Some(Question {
        claim: dispute.claim,
        dispute: dispute.id,
        state: state.digest,
        deadline: state.deadline,
        ask,
    })
}

/// Checks an answer against the dispute's state and the claim's node key; gives the call's bytes.
pub fn check(
    dispute: &Dispute,
    domain: &Domain,
    node: touchstone_chain::Address,
    answer: &Answer,
) -> Result<Bytes, AnswerRefusal> {
    use touchstone_chain::bindings::IDisputes::{
        answerLayerCall, defendCall, proveCall, revealCall, splitCall, totalCall,
    };
    let (id, state) = (dispute.id, dispute.state.digest);
    if answer.claim != dispute.claim {
        return Err(AnswerRefusal::Foreign {
            dispute: id,
            claim: answer.claim,
        });
    }
    match (&answer.reply, dispute.state.phase) {
        (Reply::Unable(reason), _) => Err(AnswerRefusal::Unable(reason.clone())),
        (Reply::Reveal(children), Phase::Revealing) => {
            let (node, depth) = (dispute.state.node, dispute.state.depth);
            if children.len() != 1 << depth.min(3) || merkle::root(children) != node {
                return Err(AnswerRefusal::NotDescendants(children.len(), node));
            }
            Ok(encode(&revealCall {
                dispute: id,
                state,
                children: children.clone(),
            }))
        }
        (
            Reply::Layer {
                root,
                signature,
                commitments,
            },
            Phase::Layering,
        ) => {
            check_layer(dispute, domain, node, (*root, signature, commitments))?;
            let signature = signature.to_vec().into();
            Ok(encode(&answerLayerCall {
                dispute: id,
                state,
                root: *root,
                signature,
            }))
        }
        (Reply::Defend(witness), Phase::Defending) => Ok(encode(&defendCall {
            dispute: id,
            state,
            witness: witness.clone().into(),
        })),
        (
            Reply::Total {
                witness,
                free,
                parts,
                signature,
            },
            Phase::Totalling,
        ) => Ok(encode(&totalCall {
            dispute: id,
            state,
            witness: witness.clone().into(),
            free: *free,
            parts: parts.clone(),
            signature: signature.to_vec().into(),
        })),
        (
            Reply::Split {
                header,
                sums,
                parts,
                signature,
            },
            Phase::Splitting,
        ) => {
            check_node(dispute, header, sums)?;
            check_parts(dispute, domain, node, (header, sums, parts, signature))?;
            Ok(encode(&splitCall {
                dispute: id,
                state,
                header: *header,
                sums: sums.clone(),
                parts: parts.clone(),
                signature: signature.to_vec().into(),
            }))
        }
        (Reply::Prove { header, sums, witness }, Phase::Proving) => {
            check_node(dispute, header, sums)?;
            Ok(encode(&proveCall {
                dispute: id,
                state,
                header: *header,
                sums: sums.clone(),
                witness: witness.clone().into(),
            }))
        }
        (
            Reply::Reveal(_)
            | Reply::Layer { .. }
            | Reply::Defend(_)
            | Reply::Total { .. }
            | Reply::Split { .. }
            | Reply::Prove { .. },
            phase,
        ) => Err(AnswerRefusal::WrongKind(phase)),
    }
}

/// Whether header and sums are those that the dispute is at.
fn check_node(dispute: &Dispute, header: &[U256; 3], sums: &[U256]) -> Result<(), AnswerRefusal> {
    let (expected, actual) = (dispute.state.node, parts::node_word(&Header::from_words(*header), sums));
    if actual != expected {
        return Err(AnswerRefusal::Node { expected, actual });
    }
    Ok(())
}

/// Whether parts add up to the node's sums and are signed by the claim's node key.
fn check_parts(
    dispute: &Dispute,
    domain: &Domain,
    node: touchstone_chain::Address,
    (header, sums, parts, signature): (&[U256; 3], &[U256], &[U256], &SignatureBytes),
) -> Result<(), AnswerRefusal> {
    if sums.is_empty() || parts.len() % sums.len() != 0 || parts::add_up(parts, sums.len()) != sums {
        return Err(AnswerRefusal::NotParts(dispute.state.node));
    }
    let state = &dispute.state;
    let digest = PartsAnswer {
        claim: dispute.claim,
        operator: state.operator,
        element: state.element,
        depth: state.depth,
        index: state.index as u32,
        node: parts::node_word(&Header::from_words(*header), parts),
    }
    .digest(domain);
    if signature::recover(digest, signature) != Some(node) {
        return Err(AnswerRefusal::PartsSignature(state.node));
    }
    Ok(())
}

/// Whether commitments are those of the layer that the dispute is in or asks for, signed by the claim's node key.
///
/// # Errors
/// They are not: the worker is wrong.
pub fn check_layer(
    dispute: &Dispute,
    domain: &Domain,
    node: touchstone_chain::Address,
    (root, signature, commitments): (B256, &SignatureBytes, &[B256]),
) -> Result<(), AnswerRefusal> {
    let layer = dispute.state.layer;
    let expected = merkle::root(commitments);
    if expected != root {
        return Err(AnswerRefusal::LayerRoot { expected, actual: root });
    }
    let claim = dispute.claim;
    let digest = LayerAnswer { claim, layer, root }.digest(domain);
    if signature::recover(digest, signature) != Some(node) {
        return Err(AnswerRefusal::LayerSignature(layer));
    }
    Ok(())
}

/// The call that ends a dispute whose clock has run out.
pub fn timeout(dispute: &Dispute) -> Bytes {
    encode(&IDisputes::timeoutCall {
        dispute: dispute.id,
        state: dispute.state.digest,
    })
}

fn encode(call: &impl touchstone_chain::SolCall) -> Bytes {
    call.abi_encode().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::disputes::DisputeState;
    use touchstone_chain::{Address, PrivateKeySigner};

    fn dispute(phase: Phase) -> Dispute {
        let leaves: Vec<B256> = (1..=4).map(B256::repeat_byte).collect();
        Dispute {
            id: B256::repeat_byte(0xd1),
            claim: B256::repeat_byte(0xc1),
            state: DisputeState {
                phase,
                tree: Tree::Trace,
                layer: 3,
                node: merkle::root(&leaves),
                depth: 2,
                index: 0,
                operator: 7,
                element: 9,
                digest: B256::repeat_byte(0x5d),
                deadline: 100,
            },
        }
    }

    fn answer(reply: Reply) -> Answer {
        Answer {
            claim: B256::repeat_byte(0xc1),
            dispute: B256::repeat_byte(0xd1),
            state: B256::repeat_byte(0x5d),
            reply,
        }
    }

    const DOMAIN: Domain = Domain {
        chain_id: 1,
        market: Address::ZERO,
    };

    #[test]
    fn asked_only_in_the_workers_turns() {
        let ask = |phase| question(&dispute(phase)).map(|question| question.ask);
        assert!(matches!(ask(Phase::Revealing), Some(Ask::Reveal { depth: 2, .. })));
        assert_eq!(ask(Phase::Layering), Some(Ask::Layer(3)));
        assert_eq!(
            ask(Phase::Defending),
            Some(Ask::Defend {
                operator: 7,
                element: 9
            })
        );
        let (operator, element) = (7, 9);
        assert_eq!(ask(Phase::Totalling), Some(Ask::Total { operator, element }));
        let (depth, index) = (2, 0);
        assert_eq!(
            ask(Phase::Splitting),
            Some(Ask::Split {
                operator,
                element,
                depth,
                index
            })
        );
        assert_eq!(
            ask(Phase::Proving),
            Some(Ask::Prove {
                operator,
                element,
                index
            })
        );
        for phase in [
            Phase::Choosing,
            Phase::Picking,
            Phase::Parting,
            Phase::Struck,
            Phase::Lost,
            Phase::Conceded,
            Phase::Voided,
            Phase::Moot,
            Phase::Settled,
            Phase::Orphaned,
        ] {
            assert_eq!(ask(phase), None, "{phase:?}");
        }
    }

    #[test]
    fn inside_a_layer_its_commitments_are_asked_for_out_of_turn() {
        for (phase, asked) in [
            (Phase::Choosing, true),
            (Phase::Picking, true),
            (Phase::Parting, true),
            (Phase::Lost, false),
            (Phase::Moot, false),
        ] {
            let mut dispute = dispute(phase);
            dispute.state.tree = Tree::Layer(3);
            let ask = question(&dispute).map(|question| question.ask);
            assert_eq!(ask, asked.then_some(Ask::Layer(3)), "{phase:?}");
        }
    }

    #[test]
    fn reveals_must_hash_to_the_node() {
        let leaves: Vec<B256> = (1..=4).map(B256::repeat_byte).collect();
        let check = |children: Vec<B256>| {
            super::check(
                &dispute(Phase::Revealing),
                &DOMAIN,
                Address::ZERO,
                &answer(Reply::Reveal(children)),
            )
        };
        assert!(check(leaves.clone()).is_ok());
        assert!(matches!(
            check(leaves[..3].to_vec()),
            Err(AnswerRefusal::NotDescendants(3, _))
        ));
        let mut swapped = leaves;
        swapped.swap(0, 1);
        assert!(matches!(check(swapped), Err(AnswerRefusal::NotDescendants(4, _))));
    }

    #[test]
    fn layers_must_be_signed_by_the_claims_node_key() {
        let key = PrivateKeySigner::random();
        let commitments = vec![B256::repeat_byte(1), B256::ZERO];
        let root = merkle::root(&commitments);
        let sign = |layer| {
            let digest = LayerAnswer {
                claim: B256::repeat_byte(0xc1),
                layer,
                root,
            }
            .digest(&DOMAIN);
            signature::sign(&key, digest).unwrap()
        };
        let check = |root, layer, node| {
            let reply = Reply::Layer {
                root,
                signature: sign(layer),
                commitments: commitments.clone(),
            };
            super::check(&dispute(Phase::Layering), &DOMAIN, node, &answer(reply))
        };
        assert!(check(root, 3, key.address()).is_ok());
        assert_eq!(check(root, 4, key.address()), Err(AnswerRefusal::LayerSignature(3)));
        assert_eq!(check(root, 3, Address::ZERO), Err(AnswerRefusal::LayerSignature(3)));
        assert!(matches!(
            check(B256::ZERO, 3, key.address()),
            Err(AnswerRefusal::LayerRoot { .. })
        ));
    }

    #[test]
    fn parts_are_of_the_node_add_up_and_are_signed_for_their_place() {
        let key = PrivateKeySigner::random();
        let header = [U256::ZERO, U256::from(7), U256::ZERO];
        let sums = vec![U256::from(3), U256::ZERO];
        let parts = vec![U256::from(5), U256::from(1), U256::MAX - U256::from(1), U256::MAX];
        let node = |words: &[U256]| parts::node_word(&Header::from_words(header), words);
        let sign = |index| {
            let answer = PartsAnswer {
                claim: B256::repeat_byte(0xc1),
                operator: 7,
                element: 9,
                depth: 2,
                index,
                node: node(&parts),
            };
            signature::sign(&key, answer.digest(&DOMAIN)).unwrap()
        };
        let check = |phase, reply| {
            let mut dispute = dispute(phase);
            dispute.state.node = node(&sums);
            super::check(&dispute, &DOMAIN, key.address(), &answer(reply)).map(drop)
        };
        let split = |header, sums: &[U256], parts: &[U256], index| Reply::Split {
            header,
            sums: sums.to_vec(),
            parts: parts.to_vec(),
            signature: sign(index),
        };
        assert_eq!(check(Phase::Splitting, split(header, &sums, &parts, 0)), Ok(()));
        assert_eq!(
            check(Phase::Splitting, split(header, &sums, &parts, 1)),
            Err(AnswerRefusal::PartsSignature(node(&sums)))
        );
        for wrong in [&parts[..2], &parts[..3], &[]] {
            assert_eq!(
                check(Phase::Splitting, split(header, &sums, wrong, 0)),
                Err(AnswerRefusal::NotParts(node(&sums)))
            );
        }
        let other = [U256::from(1), U256::from(7), U256::ZERO];
        assert!(matches!(
            check(Phase::Splitting, split(other, &sums, &parts, 0)),
            Err(AnswerRefusal::Node { .. })
        ));
        let prove = |sums: &[U256]| Reply::Prove {
            header,
            sums: sums.to_vec(),
            witness: vec![1],
        };
        assert_eq!(check(Phase::Proving, prove(&sums)), Ok(()));
        assert!(matches!(
            check(Phase::Proving, prove(&parts)),
            Err(AnswerRefusal::Node { .. })
        ));
        let total = Reply::Total {
            witness: vec![1],
            free: U256::ZERO,
            parts: parts.clone(),
            signature: sign(0),
        };
        assert_eq!(check(Phase::Totalling, total.clone()), Ok(()));
        for phase in [Phase::Defending, Phase::Splitting, Phase::Parting] {
            assert_eq!(check(phase, total.clone()), Err(AnswerRefusal::WrongKind(phase)));
        }
    }

    #[test]
    fn answers_fit_the_question_and_the_claim() {
        let check = |phase, answer| super::check(&dispute(phase), &DOMAIN, Address::ZERO, &answer);
        assert!(check(Phase::Defending, answer(Reply::Defend(vec![1]))).is_ok());
        assert_eq!(
            check(Phase::Choosing, answer(Reply::Defend(vec![1]))),
            Err(AnswerRefusal::WrongKind(Phase::Choosing))
        );
        assert_eq!(
            check(Phase::Defending, answer(Reply::Reveal(vec![]))),
            Err(AnswerRefusal::WrongKind(Phase::Defending))
        );
        let foreign = Answer {
            claim: B256::ZERO,
            ..answer(Reply::Defend(vec![1]))
        };
        assert!(matches!(
            check(Phase::Defending, foreign),
            Err(AnswerRefusal::Foreign { .. })
        ));
    }
}
