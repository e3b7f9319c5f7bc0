//! One job, from lease to signed claim: model, inputs, run, judge, commitments, signature, store.

use alloy_primitives::B256;
use touchstone_chain::{PrivateKeySigner, signature};
use touchstone_engine::{Run, Value, ValueError};
use touchstone_protocol::{
    claim::{self, Domain},
    descriptor::Place,
    merkle,
    model::Profile,
    tensor,
};
use touchstone_wire::{
    limits,
    worker::{Offer, RefuseReason},
};

use crate::{
    answer::{AnswerError, hash_value},
    model::{Model, ModelError},
    record::{Record, Signed, Terms},
    runner::{RunError, Runner},
    store::{Store, StoreError, Values},
};

/// Why a job ends without a claim.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The offer contradicts itself or us.
    #[error("offer: {0}")]
    Offer(String),
    /// The chain says something else than the offer.
    #[error("the chain contradicts the lease: {0}")]
    Lease(String),
    /// The chain could not be asked.
    #[error("check the lease: {0}")]
    Chain(#[from] touchstone_chain::ChainError),
    /// The model is not at hand.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The input does not fit the model.
    #[error("input: {0}")]
    Input(String),
    /// The run failed, or would not be defensible.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A value has no commitment, or outputs are too large to be claimed.
    #[error("commit: {0}")]
    Commit(String),
    /// The key could not sign.
    #[error(transparent)]
    Sign(#[from] signature::SignError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease ended first.
    #[error("the lease ended before the run")]
    LeaseOver,
    /// The task itself failed.
    #[error("task: {0}")]
    Task(String),
}

impl JobError {
    /// What the coordinator is told.
    pub fn reason(&self) -> RefuseReason {
        match self {
            Self::Offer(_) | Self::Lease(_) => RefuseReason::BadOffer,
            Self::Input(_) | Self::Run(RunError::Input(_)) => RefuseReason::BadInput,
            Self::Model(ModelError::Foreign { .. }) => RefuseReason::ModelMismatch,
            Self::Model(ModelError::NotServed(_) | ModelError::File(_)) => RefuseReason::UnknownModel,
            Self::Model(ModelError::Compile { .. } | ModelError::Plan { .. } | ModelError::SelfTest { .. })
            | Self::Chain(_)
            | Self::Run(_)
            | Self::Commit(_)
            | Self::Sign(_)
            | Self::Store(_)
            | Self::LeaseOver
            | Self::Task(_) => RefuseReason::Failed,
        }
    }

    /// Whether our own engine gave something that the judge would not accept: no more leases then.
    pub fn trips_breaker(&self) -> bool {
        matches!(
            self,
            Self::Run(RunError::Outside { .. } | RunError::NotReproducible { .. } | RunError::NotDeterministic(_))
        )
    }
}

/// What can be said about an offer without looking anything up.
///
/// # Errors
/// The profile is unknown, or the lease or the deadline is over.
pub fn check_offer(offer: &Offer, now: u64) -> Result<(), JobError> {
    Profile::decode(offer.model.profile).map_err(|error| JobError::Offer(error.to_string()))?;
    let last = offer.lease_expires.min(offer.deadline);
    if last <= now {
        return Err(JobError::Offer(format!(
            "lease or deadline ended at {last}, it is {now}"
        )));
    }
    if offer.valid_until_max <= now {
        return Err(JobError::Offer(format!(
            "valid-until must be at most {}, it is {now}",
            offer.valid_until_max
        )));
    }
    Ok(())
}

/// Cuts a request's input bytes into the model's inputs and holds them against the commitment of the lease.
///
/// # Errors
/// The length is not the model's, a bool is neither 0 nor 1, or the commitment is another.
pub fn inputs(model: &Model, terms: &Terms) -> Result<Vec<Value>, JobError> {
    let wrong = |what: String| JobError::Input(what);
    let mut rest: &[u8] = &terms.input;
    let mut values = Vec::with_capacity(model.plan.inputs.len());
    let mut commitments = Vec::with_capacity(model.plan.inputs.len());
    for (number, io) in model.plan.inputs.iter().enumerate() {
        let length = tensor::byte_length(io.dtype, &io.dims).map_err(|error| wrong(error.to_string()))?;
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length));
        let (bytes, tail) =
            split.ok_or_else(|| wrong(format!("input {number} needs {length} bytes, {} are left", rest.len())))?;
        let value = Value::new(io.dtype, io.dims.clone(), bytes)
            .map_err(|error: ValueError| wrong(format!("input {number}: {error}")))?;
        commitments.push(tensor::commit(io.dtype, &io.dims, bytes).map_err(|error| wrong(error.to_string()))?);
        values.push(value);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(wrong(format!("{} bytes follow the last input", rest.len())));
    }
    let actual = claim::inputs_hash(&commitments);
    if actual != terms.inputs {
        return Err(wrong(format!(
            "commitment is {actual}, the lease says {}",
            terms.inputs
        )));
    }
    Ok(values)
}

/// Whether what the model gives can be claimed at all.
///
/// # Errors
/// [`JobError::Commit`]: together the outputs are beyond what a claim carries.
pub fn check_outputs(model: &Model) -> Result<(), JobError> {
    let outputs = model.plan.outputs.iter();
    let lengths = outputs.map(|io| tensor::byte_length(io.dtype, &io.dims));
    let length = lengths.sum::<Result<u64, _>>();
    let length = length.map_err(|error| JobError::Commit(error.to_string()))?;
    if length > limits::MAX_INLINE_BYTES as u64 {
        return Err(JobError::Commit(format!(
            "outputs have {length} bytes, a claim carries at most {}",
            limits::MAX_INLINE_BYTES
        )));
    }
    Ok(())
}

/// Runs a job and asks the judge about it. Blocks.
///
/// # Errors
/// See [`JobError`].
pub fn run(runner: &dyn Runner, model: &Model, terms: &Terms) -> Result<Run, JobError> {
    check_outputs(model)?;
    let inputs = inputs(model, terms)?;
    let run = runner.run(model, &inputs)?;
    runner.judge(model, &run)?;
    Ok(run)
}

/// Who signs, and for what.
#[derive(Clone)]
pub struct Signer {
    /// The node key.
    pub key: PrivateKeySigner,
    /// Holder of the stake.
    pub provider: alloy_primitives::Address,
    /// What is signed for.
    pub domain: Domain,
}

/// Commits to a run, signs the claim and stores all of it, before anybody is told. Blocks.
///
/// # Errors
/// See [`JobError`].
pub fn commit(
    signer: &Signer,
    store: &Store,
    terms: &Terms,
    run: &Run,
    engine: String,
    keep_inner: bool,
) -> Result<Record, JobError> {
    let trace = commitments(Place::Trace, &run.trace)?;
    let outputs = commitments(Place::Output, &run.outputs)?;
    let output: Vec<u8> = run
        .outputs
        .iter()
        .flat_map(|value| value.bytes.iter().copied())
        .collect();
    let trace_root = merkle::root(&trace);
    let claim = terms
        .claim(signer.provider, claim::outputs_hash(&outputs), trace_root)
        .digest(&signer.domain);
    let signed = Signed {
        claim,
        output: output.into(),
        outputs,
        trace,
        trace_root,
        valid_until: terms.valid_until,
        signature: signature::sign(&signer.key, claim)?,
        engine,
        inner_kept: keep_inner && run.inner.is_some(),
        posted: false,
        uploaded: false,
    };
    let place = |place: fn(u32) -> Place, values: &[Value]| -> Vec<(Place, Value)> {
        values
            .iter()
            .enumerate()
            .map(|(number, value)| (place(number as u32), value.clone()))
            .collect()
    };
    let mut boundary = place(Place::Input, &run.inputs);
    boundary.extend(place(Place::Trace, &run.trace));
    boundary.extend(place(Place::Output, &run.outputs));
    let mut groups = vec![Values {
        layer: 0,
        values: boundary,
    }];
    if keep_inner {
        let layers = run.inner.iter().flatten().enumerate();
        groups.extend(layers.map(|(layer, inner)| Values {
            layer: layer as u32,
            values: place(Place::Inner, inner),
        }));
    }
    Ok(store.insert_signed(terms, &signed, &groups)?)
}

fn commitments(place: fn(u32) -> Place, values: &[Value]) -> Result<Vec<B256>, JobError> {
    let commit =
        |(number, value): (usize, &Value)| hash_value(place(number as u32), value).map(|tree| tree.commitment());
    values
        .iter()
        .enumerate()
        .map(commit)
        .collect::<Result<_, AnswerError>>()
        .map_err(|error| JobError::Commit(error.to_string()))
}
