//! What a coordinator says to a worker, from the wire and to it.

use super::{Ask, Challenge, ClaimState, ModelRef, Offer, Question, ToWorker, Tree, Update, Welcome, from_worker::job};
use crate::{
    WireError,
    field::{address, at_most, clip, fixed, required, text},
    limits,
    proto::worker::v1 as pb,
};

impl From<ClaimState> for pb::ClaimState {
    fn from(state: ClaimState) -> Self {
        match state {
            ClaimState::Posted => Self::Posted,
            ClaimState::Final => Self::Final,
            ClaimState::Struck => Self::Struck,
            ClaimState::Void => Self::Void,
            ClaimState::Failed => Self::Failed,
        }
    }
}

fn claim_state(value: i32) -> Result<ClaimState, WireError> {
    match pb::ClaimState::try_from(value) {
        Ok(pb::ClaimState::Posted) => Ok(ClaimState::Posted),
        Ok(pb::ClaimState::Final) => Ok(ClaimState::Final),
        Ok(pb::ClaimState::Struck) => Ok(ClaimState::Struck),
        Ok(pb::ClaimState::Void) => Ok(ClaimState::Void),
        Ok(pb::ClaimState::Failed) => Ok(ClaimState::Failed),
        Ok(pb::ClaimState::Unspecified) | Err(_) => Err(WireError::Enum {
            field: "update.state",
            value,
        }),
    }
}

impl From<ToWorker> for pb::CoordinatorMessage {
    fn from(message: ToWorker) -> Self {
        use pb::coordinator_message::Message;
        let message = match message {
            ToWorker::Challenge(Challenge {
                coordinator,
                nonce,
                chain_id,
                market,
            }) => Message::Challenge(pb::Challenge {
                coordinator: coordinator.to_vec(),
                nonce: nonce.to_vec(),
                chain_id,
                market: market.to_vec(),
            }),
            ToWorker::Welcome(Welcome {
                session,
                max_value_bytes,
                max_job_bytes,
            }) => Message::Welcome(pb::Welcome {
                session: session.to_vec(),
                max_value_bytes,
                max_job_bytes,
            }),
            ToWorker::Offer(offer) => Message::Offer((*offer).into()),
            ToWorker::Question(question) => Message::Question(question.into()),
            ToWorker::Update(Update {
                job,
                claim,
                state,
                detail,
            }) => Message::Update(pb::Update {
                job: Some(job.into()),
                claim: claim.to_vec(),
                state: pb::ClaimState::from(state).into(),
                detail: clip(detail, limits::MAX_TEXT_BYTES),
            }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<pb::CoordinatorMessage> for ToWorker {
    type Error = WireError;

    fn try_from(message: pb::CoordinatorMessage) -> Result<Self, WireError> {
        use pb::coordinator_message::Message;
        let pb::CoordinatorMessage { message } = message;
        Ok(match required("message", message)? {
            Message::Challenge(pb::Challenge {
                coordinator,
                nonce,
                chain_id,
                market,
            }) => Self::Challenge(Challenge {
                coordinator: address("challenge.coordinator", &coordinator)?,
                nonce: fixed("challenge.nonce", &nonce)?,
                chain_id,
                market: address("challenge.market", &market)?,
            }),
            Message::Welcome(pb::Welcome {
                session,
                max_value_bytes,
                max_job_bytes,
            }) => Self::Welcome(Welcome {
                session: fixed("welcome.session", &session)?,
                max_value_bytes,
                max_job_bytes,
            }),
            Message::Offer(offer) => Self::Offer(Box::new(offer.try_into()?)),
            Message::Question(question) => Self::Question(question.try_into()?),
            Message::Update(pb::Update {
                job: value,
                claim,
                state,
                detail,
            }) => Self::Update(Update {
                job: job(value)?,
                claim: fixed("update.claim", &claim)?,
                state: claim_state(state)?,
                detail: text("update.detail", detail, limits::MAX_TEXT_BYTES)?,
            }),
        })
    }
}

impl From<Offer> for pb::Offer {
    fn from(offer: Offer) -> Self {
        let Offer {
            job,
            model,
            input,
            inputs,
            poster,
            lease_expires,
            deadline,
            valid_until_min,
            valid_until_max,
        } = offer;
        let ModelRef {
            id,
            publisher,
            file_digest,
            profile,
        } = model;
        Self {
            job: Some(job.into()),
            model: Some(pb::Model {
                id: id.to_vec(),
                publisher: publisher.to_vec(),
                file_digest: file_digest.to_vec(),
                profile,
            }),
            input,
            inputs: inputs.to_vec(),
            poster: poster.to_vec(),
            lease_expires,
            deadline,
            valid_until_min,
            valid_until_max,
        }
    }
}

impl TryFrom<pb::Offer> for Offer {
    type Error = WireError;

    fn try_from(offer: pb::Offer) -> Result<Self, WireError> {
        let pb::Offer {
            job: value,
            model,
            input,
            inputs,
            poster,
            lease_expires,
            deadline,
            valid_until_min,
            valid_until_max,
        } = offer;
        let pb::Model {
            id,
            publisher,
            file_digest,
            profile,
        } = required("offer.model", model)?;
        if valid_until_min > valid_until_max {
            return Err(WireError::Range {
                field: "offer.valid_until_min",
                value: valid_until_min,
            });
        }
        Ok(Self {
            job: job(value)?,
            model: ModelRef {
                id: fixed("offer.model.id", &id)?,
                publisher: address("offer.model.publisher", &publisher)?,
                file_digest: fixed("offer.model.file_digest", &file_digest)?,
                profile,
            },
            input: at_most("offer.input", input, limits::MAX_INLINE_BYTES)?,
            inputs: fixed("offer.inputs", &inputs)?,
            poster: address("offer.poster", &poster)?,
            lease_expires,
            deadline,
            valid_until_min,
            valid_until_max,
        })
    }
}

impl From<Question> for pb::Question {
    fn from(question: Question) -> Self {
        use pb::question::Question as Kind;
        let Question {
            claim,
            dispute,
            state,
            deadline,
            ask,
        } = question;
        let kind = match ask {
            Ask::Reveal {
                tree,
                node,
                depth,
                index,
            } => {
                let (tree, layer) = match tree {
                    Tree::Trace => (pb::Tree::Trace, 0),
                    Tree::Layer(layer) => (pb::Tree::Layer, layer),
                };
                Kind::Reveal(pb::RevealQuestion {
                    tree: tree.into(),
                    layer,
                    node: node.to_vec(),
                    depth,
                    index,
                })
            }
            Ask::Layer(layer) => Kind::Layer(pb::LayerQuestion { layer }),
            Ask::Defend { operator, element } => Kind::Defend(pb::DefendQuestion { operator, element }),
            Ask::Total { operator, element } => Kind::Total(pb::TotalQuestion { operator, element }),
            Ask::Split {
                operator,
                element,
                depth,
                index,
            } => Kind::Split(pb::SplitQuestion {
                operator,
                element,
                depth,
                index,
            }),
            Ask::Prove {
                operator,
                element,
                index,
            } => Kind::Prove(pb::ProveQuestion {
                operator,
                element,
                index,
            }),
        };
        Self {
            claim: claim.to_vec(),
            dispute: dispute.to_vec(),
            state: state.to_vec(),
            deadline,
            question: Some(kind),
        }
    }
}

impl TryFrom<pb::Question> for Question {
    type Error = WireError;

    fn try_from(question: pb::Question) -> Result<Self, WireError> {
        use pb::question::Question as Kind;
        let pb::Question {
            claim,
            dispute,
            state,
            deadline,
            question: kind,
        } = question;
        let ask = match required("question.question", kind)? {
            Kind::Reveal(pb::RevealQuestion {
                tree,
                layer,
                node,
                depth,
                index,
            }) => Ask::Reveal {
                tree: match pb::Tree::try_from(tree) {
                    Ok(pb::Tree::Trace) => Tree::Trace,
                    Ok(pb::Tree::Layer) => Tree::Layer(layer),
                    Ok(pb::Tree::Unspecified) | Err(_) => {
                        return Err(WireError::Enum {
                            field: "question.reveal.tree",
                            value: tree,
                        });
                    }
                },
                node: fixed("question.reveal.node", &node)?,
                depth,
                index,
            },
            Kind::Layer(pb::LayerQuestion { layer }) => Ask::Layer(layer),
            Kind::Defend(pb::DefendQuestion { operator, element }) => Ask::Defend { operator, element },
            Kind::Total(pb::TotalQuestion { operator, element }) => Ask::Total { operator, element },
            Kind::Split(pb::SplitQuestion {
                operator,
                element,
                depth,
                index,
            }) => Ask::Split {
                operator,
                element,
                depth,
                index,
            },
            Kind::Prove(pb::ProveQuestion {
                operator,
                element,
                index,
            }) => Ask::Prove {
                operator,
                element,
                index,
            },
        };
        Ok(Self {
            claim: fixed("question.claim", &claim)?,
            dispute: fixed("question.dispute", &dispute)?,
            state: fixed("question.state", &state)?,
            deadline,
            ask,
        })
    }
}
