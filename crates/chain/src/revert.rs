//! Custom errors of the contracts, by name.

use std::fmt;

use alloy::{primitives::Bytes, sol_types::SolInterface};

use crate::bindings::{IDisputes::IDisputesErrors, IMarket::IMarketErrors, IModelRegistry::IModelRegistryErrors};

/// Why a contract reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// The error's name and arguments, where it is one of ours; else what the bytes say.
    pub reason: String,
    /// The bytes as returned.
    pub data: Bytes,
}

impl Revert {
    /// Decodes the bytes of a revert.
    pub fn decode(data: Bytes) -> Self {
        let reason = if data.is_empty() {
            "reverted without a reason".to_owned()
        } else if let Ok(error) = IMarketErrors::abi_decode(&data) {
            format!("{error:?}")
        } else if let Ok(error) = IDisputesErrors::abi_decode(&data) {
            format!("{error:?}")
        } else if let Ok(error) = IModelRegistryErrors::abi_decode(&data) {
            format!("{error:?}")
        } else if let Some(message) = alloy::sol_types::decode_revert_reason(&data) {
            message
        } else {
            format!("unknown error {data}")
        };
        Self { reason, data }
    }

    /// Whether the revert is this error of the market.
    pub fn market(&self) -> Option<IMarketErrors> {
        IMarketErrors::abi_decode(&self.data).ok()
    }

    /// Whether the revert is this error of the disputes contract.
    pub fn disputes(&self) -> Option<IDisputesErrors> {
        IDisputesErrors::abi_decode(&self.data).ok()
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reverted: {}", self.reason)
    }
}
