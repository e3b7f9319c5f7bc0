//! The worker service's domain types (`touchstone.worker.v1`).
//!
//! Their conversions are in `from_worker` and `to_worker`, by direction.

mod from_worker;
mod to_worker;

use alloy_primitives::{Address, B256, U256};

use crate::{field::SignatureBytes, value::ValueHeader};

/// One attempt at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    /// The request's id on chain.
    pub request: U256,
    /// The attempt's number on chain.
    pub attempt: u64,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// First message: who it is.
    Hello(Hello),
    /// It takes an offer.
    Accept(Job),
    /// It leaves an offer or a job.
    Refuse(Refuse),
    /// Where it is.
    Progress(Progress),
    /// Trace commitments, before the result.
    Commitments(Commitments),
    /// The run's outcome, signed.
    Result(RunResult),
    /// Its move in a dispute.
    Answer(Answer),
}

/// What a coordinator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// First message: what to sign.
    Challenge(Challenge),
    /// The key is proven.
    Welcome(Welcome),
    /// A job under lease.
    Offer(Box<Offer>),
    /// The worker's turn in a dispute.
    Question(Question),
    /// What became of a claim.
    Update(Update),
}

/// Bound by the worker's proof of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Address that names the coordinator.
    pub coordinator: Address,
    /// Fresh for each session.
    pub nonce: B256,
    /// Chain the coordinator follows.
    pub chain_id: u64,
    /// Market the coordinator serves.
    pub market: Address,
}

/// A worker's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Holder of the stake.
    pub provider: Address,
    /// Key that signs claims.
    pub node: Address,
    /// Signature over the challenge by the node key.
    pub signature: SignatureBytes,
    /// Models it runs; empty: any.
    pub models: Vec<B256>,
    /// Jobs at once, 1 to [`crate::limits::MAX_CAPACITY`].
    pub capacity: u32,
    /// Program name and version.
    pub software: String,
}

/// The session is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Names the session in uploads.
    pub session: B256,
    /// Largest value the coordinator stores.
    pub max_value_bytes: u64,
    /// Most bytes it stores for one job.
    pub max_job_bytes: u64,
}

/// Which model, and where its file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// Model id.
    pub id: B256,
    /// Part of the id.
    pub publisher: Address,
    /// keccak256 of the model file.
    pub file_digest: B256,
    /// Numerics profile.
    pub profile: u64,
}

/// A job under lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Request and attempt.
    pub job: Job,
    /// Model to run.
    pub model: ModelRef,
    /// All inputs, graph order, at most [`crate::limits::MAX_INLINE_BYTES`].
    pub input: Vec<u8>,
    /// Digest of the inputs' commitments.
    pub inputs: B256,
    /// Payee of the coordinator's share.
    pub poster: Address,
    /// Unix seconds at which the lease ends.
    pub lease_expires: u64,
    /// Unix seconds of the request's deadline.
    pub deadline: u64,
    /// Least valid-until, unix seconds.
    pub valid_until_min: u64,
    /// Greatest valid-until, unix seconds.
    pub valid_until_max: u64,
}

/// Why a worker leaves a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// At capacity.
    Busy,
    /// Takes no new jobs.
    Draining,
    /// The model is not served, or its file cannot be had.
    UnknownModel,
    /// The file compiles to another model id.
    ModelMismatch,
    /// The input does not fit the model.
    BadInput,
    /// The offer contradicts itself or the chain.
    BadOffer,
    /// The run failed.
    Failed,
}

/// A refusal with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// The job.
    pub job: Job,
    /// Why.
    pub reason: RefuseReason,
    /// For people, at most [`crate::limits::MAX_TEXT_BYTES`].
    pub detail: String,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Getting the model file.
    Fetching,
    /// Compiling it.
    Compiling,
    /// Running the plan.
    Running,
    /// Hashing values.
    Committing,
    /// Uploading values.
    Uploading,
}

/// Progress of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The job.
    pub job: Job,
    /// Its stage.
    pub stage: Stage,
}

/// Trace commitments of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments {
    /// The job.
    pub job: Job,
    /// Tensor commitments in trace order.
    pub trace: Vec<B256>,
}

/// A run's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// The job.
    pub job: Job,
    /// All outputs, graph order, at most [`crate::limits::MAX_INLINE_BYTES`].
    pub output: Vec<u8>,
    /// Tree of the trace commitments.
    pub trace_root: B256,
    /// Unix seconds until which the claim may be posted.
    pub valid_until: u64,
    /// The node key's signature of the claim.
    pub signature: SignatureBytes,
}

/// State of a claim, as a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// On chain.
    Posted,
    /// Paid.
    Final,
    /// Disproven.
    Struck,
    /// Ended without a verdict on the worker.
    Void,
    /// Not on chain and will not be.
    Failed,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The job.
    pub job: Job,
    /// The claim.
    pub claim: B256,
    /// Its state.
    pub state: ClaimState,
    /// For people.
    pub detail: String,
}

/// A tree that a dispute descends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The claim's trace tree.
    Trace,
    /// A layer's tree.
    Layer(u32),
}

/// What a worker is asked in a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The `2^min(3, depth)` descendants of a node.
    Reveal {
        /// Which tree.
        tree: Tree,
        /// The node's hash.
        node: B256,
        /// Levels below the node.
        depth: u32,
        /// The node's index in its level.
        index: u64,
    },
    /// A layer's root, signed.
    Layer(u32),
    /// A witness for one element.
    Defend {
        /// Operator of the plan.
        operator: u32,
        /// Element of its output.
        element: u64,
    },
    /// The sums of the parts of a whole long operator at one element, with a witness without its terms.
    Total {
        /// Operator of the plan.
        operator: u32,
        /// Element of its output.
        element: u64,
    },
    /// The sums of a node of it, and those of the node's parts.
    Split {
        /// Operator of the plan.
        operator: u32,
        /// Element of its output.
        element: u64,
        /// Levels below the node.
        depth: u32,
        /// The node's index in its level.
        index: u64,
    },
    /// The sums of one leaf of it, with a witness of its terms.
    Prove {
        /// Operator of the plan.
        operator: u32,
        /// Element of its output.
        element: u64,
        /// The leaf.
        index: u64,
    },
}

/// The worker's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The claim.
    pub claim: B256,
    /// The dispute.
    pub dispute: B256,
    /// Digest of the state to be answered.
    pub state: B256,
    /// Unix seconds of the last moment in time.
    pub deadline: u64,
    /// What is asked.
    pub ask: Ask,
}

/// The worker's move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The claim.
    pub claim: B256,
    /// The dispute.
    pub dispute: B256,
    /// Digest of the state it answers.
    pub state: B256,
    /// The move.
    pub reply: Reply,
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Descendants, left to right, at most [`crate::limits::MAX_CHILDREN`].
    Reveal(Vec<B256>),
    /// A layer's root.
    Layer {
        /// Tree of `commitments`.
        root: B256,
        /// The node key's signature.
        signature: SignatureBytes,
        /// Tensor commitments of the inner values.
        commitments: Vec<B256>,
    },
    /// A witness, at most [`crate::limits::MAX_WITNESS_BYTES`].
    Defend(Vec<u8>),
    /// The totals of a long operator, as those of its parts.
    Total {
        /// A witness without its terms.
        witness: Vec<u8>,
        /// The header's free word.
        free: U256,
        /// The sums of each part, left to right; at most [`crate::limits::MAX_CHILDREN`] of
        /// [`crate::limits::MAX_SUM_WORDS`] words.
        parts: Vec<U256>,
        /// The node key's signature.
        signature: SignatureBytes,
    },
    /// A node of it.
    Split {
        /// Its header.
        header: [U256; 3],
        /// The node's sums.
        sums: Vec<U256>,
        /// The sums of each part, left to right.
        parts: Vec<U256>,
        /// The node key's signature.
        signature: SignatureBytes,
    },
    /// A leaf of it.
    Prove {
        /// Its header.
        header: [U256; 3],
        /// The leaf's sums.
        sums: Vec<U256>,
        /// A witness of its terms.
        witness: Vec<u8>,
    },
    /// No answer, and why.
    Unable(String),
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    /// A value begins.
    Header(UploadHeader),
    /// Its next bytes, 1 to [`crate::limits::CHUNK_BYTES`].
    Chunk(Vec<u8>),
}

/// What an uploaded value is and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadHeader {
    /// From [`Welcome`].
    pub session: B256,
    /// The job it belongs to.
    pub job: Job,
    /// The value.
    pub value: ValueHeader,
}
