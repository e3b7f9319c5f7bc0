//! What is kept of a run, and the rows it is kept in.
//!
//! ```text
//! Accepted ──run, judged, signed──► Signed ──claim ended, or can no longer be posted──► Ended ──kept long enough──► (deleted)
//!    └─ lease over, failed ─► (deleted)
//! ```
//! A stored run in state *Accepted* is run again after a restart; one in state *Signed* is sent again at every new session.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use serde::{Deserialize, Serialize};
use touchstone_protocol::claim::{Claim, Domain, bound_trace};
use touchstone_wire::worker::{Job, ModelRef, Offer, RunResult};

/// A run with everything that is needed to send it again and to defend it, except its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was leased.
    pub terms: Terms,
    /// How far it is.
    pub state: State,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Leased; nothing is signed.
    Accepted,
    /// A claim is signed and may be on chain.
    Signed(Signed),
    /// The claim has ended or cannot be posted any more.
    Ended {
        /// As signed.
        signed: Signed,
        /// How it ended.
        end: End,
        /// Unix seconds after which the values may go.
        release_at: u64,
    },
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Paid.
    Final,
    /// Disproven.
    Struck,
    /// Ended without a verdict on the worker.
    Void,
    /// Never on chain, and valid-until has passed.
    Lapsed,
}

/// A lease as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The request.
    pub request: U256,
    /// The attempt at it.
    pub attempt: u64,
    /// Model id.
    pub model: B256,
    /// Part of the model id.
    pub publisher: Address,
    /// keccak256 of the model file.
    pub file_digest: B256,
    /// Numerics profile.
    pub profile: u64,
    /// All inputs, graph order.
    pub input: Bytes,
    /// Digest of the inputs' commitments.
    pub inputs: B256,
    /// Payee of the coordinator's share.
    pub poster: Address,
    /// Unix seconds at which the lease ends.
    pub lease_expires: u64,
    /// Unix seconds of the request's deadline.
    pub deadline: u64,
    /// Valid-until that will be signed.
    pub valid_until: u64,
}

/// A signed claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The claim id.
    pub claim: B256,
    /// All outputs, graph order.
    pub output: Bytes,
    /// Tensor commitments of the outputs.
    pub outputs: Vec<B256>,
    /// Tensor commitments of the trace values.
    pub trace: Vec<B256>,
    /// Tree of `trace`.
    pub trace_root: B256,
    /// Unix seconds until which the claim may be posted.
    pub valid_until: u64,
    /// The node key's signature.
    pub signature: FixedBytes<65>,
    /// What computed the run ([`crate::Runner::fingerprint`]).
    pub engine: String,
    /// Whether the inner values are kept, so that no engine is needed to open a layer.
    pub inner_kept: bool,
    /// Whether it has been on chain.
    pub posted: bool,
    /// Whether the coordinator has the trace values.
    pub uploaded: bool,
}

/// A layer's answer: made once, given to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Tree of `commitments`.
    pub root: B256,
    /// The node key's signature.
    pub signature: FixedBytes<65>,
    /// Tensor commitments of the inner values.
    pub commitments: Vec<B256>,
}

impl Terms {
    /// The terms of an offer: valid-until is the request's deadline, as far as the offer allows; a claim cannot be posted later anyway.
    pub fn of(offer: Offer) -> Self {
        let Offer {
            job: Job { request, attempt },
            model:
                ModelRef {
                    id,
                    publisher,
                    file_digest,
                    profile,
                },
            input,
            inputs,
            poster,
            lease_expires,
            deadline,
            valid_until_min,
            valid_until_max,
        } = offer;
        Self {
            request,
            attempt,
            model: id,
            publisher,
            file_digest,
            profile,
            input: input.into(),
            inputs,
            poster,
            lease_expires,
            deadline,
            // The wire refuses an offer whose bounds are the wrong way round.
            valid_until: deadline.min(valid_until_max).max(valid_until_min),
        }
    }

    /// Which job it is.
    pub fn job(&self) -> Job {
        Job {
            request: self.request,
            attempt: self.attempt,
        }
    }

    /// The model it asks for.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef {
            id: self.model,
            publisher: self.publisher,
            file_digest: self.file_digest,
            profile: self.profile,
        }
    }

    /// What is signed for these outputs and this trace.
    pub fn claim(&self, provider: Address, outputs: B256, trace_root: B256) -> Claim {
        Claim {
            request: self.request,
            attempt: self.attempt,
            worker: provider,
            model: self.model,
            inputs: self.inputs,
            outputs,
            bound_trace: bound_trace(provider, trace_root),
            profile: self.profile,
            poster: self.poster,
            valid_until: self.valid_until,
        }
    }

    /// Whether two leases ask for the same signature.
    pub fn sign_alike(&self, other: &Self) -> bool {
        let whole = |terms: &Self| Self {
            lease_expires: 0,
            deadline: 0,
            ..terms.clone()
        };
        whole(self) == whole(other)
    }
}

impl Signed {
    /// What is sent to the coordinator.
    pub fn result(&self, job: Job) -> RunResult {
        RunResult {
            job,
            output: self.output.to_vec(),
            trace_root: self.trace_root,
            valid_until: self.valid_until,
            signature: self.signature,
        }
    }
}

impl Record {
    /// The signed claim, if there is one.
    pub fn signed(&self) -> Option<&Signed> {
        match &self.state {
            State::Accepted => None,
            State::Signed(signed) | State::Ended { signed, .. } => Some(signed),
        }
    }
}

/// The domain of a deployment.
pub fn domain(chain_id: u64, market: Address) -> Domain {
    Domain { chain_id, market }
}
