//! What the challenger keeps, as rows: everything here was verified before it was written, or is what the chain says.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

/// A published model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// Its id.
    pub model: B256,
    /// Who published it.
    pub publisher: Address,
    /// keccak256 of the file.
    pub digest: B256,
    /// Numerics profile.
    pub profile: u64,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its number.
    pub request: U256,
    /// The model asked for.
    pub model: B256,
    /// Inputs commitment.
    pub inputs: B256,
    /// The inputs themselves, joined in graph order.
    pub input_data: Bytes,
}

/// A claim, as its event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// Its id.
    pub claim: B256,
    /// The request.
    pub request: U256,
    /// The attempt.
    pub attempt: u32,
    /// The provider.
    pub worker: Address,
    /// Signs the claim's layer answers.
    pub node: Address,
    /// Outputs commitment.
    pub outputs: B256,
    /// Root of the trace.
    pub trace_root: B256,
    /// The outputs themselves, joined in graph order.
    pub output_data: Bytes,
    /// Disputes may be opened up to and including this time.
    pub window_end: u64,
    /// Block in which we saw that it had ended.
    pub ended: Option<u64>,
}

/// What a worker gave of a node of a long operator, as its event says. Nothing about it is verified but that the contract took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartedRow {
    /// The header's words.
    pub header: [U256; 3],
    /// The sums of each part, one after the other.
    pub parts: Vec<U256>,
}

/// The last block whose events are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}
