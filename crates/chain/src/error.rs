//! What can go wrong with the chain.

use std::time::Duration;

use alloy::primitives::B256;

use crate::revert::Revert;

/// A request to the chain that gave no usable answer.
///
/// Only [`ChainError::Reverted`] is a statement about the contracts; everything else means that we could not tell.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node did not answer in time.
    #[error("{what}: no answer within {timeout:?}")]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long we waited.
        timeout: Duration,
    },
    /// The node could not be reached, or answered with an error that is not a revert.
    #[error("{what}: {message}")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// The node's or the transport's words.
        message: String,
    },
    /// The node does not know the block, for now or any more.
    #[error("{what}: the node does not have block {block}")]
    NoBlock {
        /// What was asked.
        what: &'static str,
        /// The block.
        block: B256,
    },
    /// The node contradicts itself.
    #[error("{what}: inconsistent answer: {detail}")]
    Inconsistent {
        /// What was asked.
        what: &'static str,
        /// The contradiction.
        detail: String,
    },
    /// The contract refused.
    #[error("{what}: {revert}")]
    Reverted {
        /// What was asked.
        what: &'static str,
        /// The contract's reason.
        revert: Revert,
    },
}

impl ChainError {
    /// Whether asking again later may give an answer.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unavailable { .. } | Self::NoBlock { .. } | Self::Inconsistent { .. } => true,
            Self::Reverted { .. } => false,
        }
    }
}
