//! The challenger service's domain types (`touchstone.challenger.v1`).

use alloy_primitives::{Address, B256, U256};

use crate::{
    WireError,
    field::{SignatureBytes, address, fixed, hash_bytes, hashes, uint, uint_bytes},
    limits,
    proto::challenger::v1 as pb,
};

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimStatus {
    /// In its window, or under dispute.
    Open,
    /// Paid.
    Final,
    /// Disproven.
    Struck,
    /// Ended without a verdict on the worker.
    Void,
    /// Removed by a reorganisation.
    Orphaned,
}

/// The present state of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimUpdate {
    /// Resume after this.
    pub cursor: u64,
    /// Claim id.
    pub claim: B256,
    /// The request.
    pub request: U256,
    /// The attempt.
    pub attempt: u64,
    /// Provider of the worker.
    pub worker: Address,
    /// Model id.
    pub model: B256,
    /// Where it stands.
    pub status: ClaimStatus,
    /// Unix seconds of the challenge window's end.
    pub window_ends: u64,
    /// Tree of the trace commitments, where the coordinator holds them.
    pub trace_root: Option<B256>,
}

/// Commitments of a claim's trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Tree of `commitments`.
    pub trace_root: B256,
    /// Tensor commitments in trace order.
    pub commitments: Vec<B256>,
}

/// Commitments of a layer's inner values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Tree of `commitments`.
    pub root: B256,
    /// The node key's signature.
    pub signature: SignatureBytes,
    /// Tensor commitments of the inner values, in order.
    pub commitments: Vec<B256>,
}

impl From<ClaimStatus> for pb::ClaimStatus {
    fn from(status: ClaimStatus) -> Self {
        match status {
            ClaimStatus::Open => Self::Open,
            ClaimStatus::Final => Self::Final,
            ClaimStatus::Struck => Self::Struck,
            ClaimStatus::Void => Self::Void,
            ClaimStatus::Orphaned => Self::Orphaned,
        }
    }
}

fn claim_status(value: i32) -> Result<ClaimStatus, WireError> {
    match pb::ClaimStatus::try_from(value) {
        Ok(pb::ClaimStatus::Open) => Ok(ClaimStatus::Open),
        Ok(pb::ClaimStatus::Final) => Ok(ClaimStatus::Final),
        Ok(pb::ClaimStatus::Struck) => Ok(ClaimStatus::Struck),
        Ok(pb::ClaimStatus::Void) => Ok(ClaimStatus::Void),
        Ok(pb::ClaimStatus::Orphaned) => Ok(ClaimStatus::Orphaned),
        Ok(pb::ClaimStatus::Unspecified) | Err(_) => Err(WireError::Enum {
            field: "claim.status",
            value,
        }),
    }
}

impl From<ClaimUpdate> for pb::ClaimUpdate {
    fn from(update: ClaimUpdate) -> Self {
        let ClaimUpdate {
            cursor,
            claim,
            request,
            attempt,
            worker,
            model,
            status,
            window_ends,
            trace_root,
        } = update;
        Self {
            cursor,
            claim: claim.to_vec(),
            request: uint_bytes(request),
            attempt,
            worker: worker.to_vec(),
            model: model.to_vec(),
            status: pb::ClaimStatus::from(status).into(),
            window_ends,
            trace_root: trace_root.map(|root| root.to_vec()),
        }
    }
}

impl TryFrom<pb::ClaimUpdate> for ClaimUpdate {
    type Error = WireError;

    fn try_from(update: pb::ClaimUpdate) -> Result<Self, WireError> {
        let pb::ClaimUpdate {
            cursor,
            claim,
            request,
            attempt,
            worker,
            model,
            status,
            window_ends,
            trace_root,
        } = update;
        Ok(Self {
            cursor,
            claim: fixed("claim.claim", &claim)?,
            request: uint("claim.request", &request)?,
            attempt,
            worker: address("claim.worker", &worker)?,
            model: fixed("claim.model", &model)?,
            status: claim_status(status)?,
            window_ends,
            trace_root: trace_root.map(|root| fixed("claim.trace_root", &root)).transpose()?,
        })
    }
}

impl From<Trace> for pb::GetTraceResponse {
    fn from(trace: Trace) -> Self {
        let Trace {
            trace_root,
            commitments,
        } = trace;
        Self {
            trace_root: trace_root.to_vec(),
            commitments: hash_bytes(commitments),
        }
    }
}

impl TryFrom<pb::GetTraceResponse> for Trace {
    type Error = WireError;

    fn try_from(trace: pb::GetTraceResponse) -> Result<Self, WireError> {
        let pb::GetTraceResponse {
            trace_root,
            commitments,
        } = trace;
        Ok(Self {
            trace_root: fixed("trace.trace_root", &trace_root)?,
            commitments: hashes("trace.commitments", commitments, limits::MAX_COMMITMENTS)?,
        })
    }
}

impl From<Layer> for pb::GetLayerResponse {
    fn from(layer: Layer) -> Self {
        let Layer {
            root,
            signature,
            commitments,
        } = layer;
        Self {
            root: root.to_vec(),
            signature: signature.to_vec(),
            commitments: hash_bytes(commitments),
        }
    }
}

impl TryFrom<pb::GetLayerResponse> for Layer {
    type Error = WireError;

    fn try_from(layer: pb::GetLayerResponse) -> Result<Self, WireError> {
        let pb::GetLayerResponse {
            root,
            signature,
            commitments,
        } = layer;
        Ok(Self {
            root: fixed("layer.root", &root)?,
            signature: fixed("layer.signature", &signature)?,
            commitments: hashes("layer.commitments", commitments, limits::MAX_COMMITMENTS)?,
        })
    }
}

/// The hash in a request that names one thing.
pub fn hash(field: &'static str, bytes: &[u8]) -> Result<B256, WireError> {
    fixed(field, bytes)
}
