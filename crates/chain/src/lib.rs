//! The chain as the services see it: contract bindings, a reader, a transaction sender, signatures.
//!
//! # Layout
//!
//! - [`bindings`]: calls, events and errors of the contracts, from their Solidity interfaces;
//! - [`ChainReader`]: blocks, logs by block hash, calls pinned to one block; every request has a timeout;
//! - [`event`]: the logs of one deployment as one typed enum;
//! - [`Sender`]: one signer's nonce line; attempts are stored before they are broadcast, outcomes classified;
//! - [`store`]: what a sender needs kept, and a store in memory; [`outbox`]: the same in an embedded database, of whose
//!   [`tables`] programs keep more than orders;
//! - [`signature`]: signing and recovering EIP-712 digests with node keys;
//! - [`deploy`]: puts the contracts on a development network from their artifacts;
//! - [`revert`]: custom errors by name; [`withdraw`]: fetching credit.
//!
//! **Invariant:** nothing here subscribes, caches a nonce or trusts a range query: state comes from polling, by block hash.

mod attempt;
pub mod bindings;
pub mod deploy;
pub mod describe;
mod error;
pub mod event;
pub mod outbox;
mod reader;
pub mod revert;
mod sender;
pub mod signature;
pub mod store;
pub mod tables;
pub mod withdraw;

pub use attempt::{AttemptState, Fees, classify};
pub use error::ChainError;
pub use outbox::Outbox;
pub use reader::{Block, ChainReader};
pub use sender::{Sender, SenderConfig, SenderError};
pub use store::{Attempt, Inclusion, MemoryStore, Order, Outcome, Store, StoredOrder};

pub use alloy::primitives::{Address, B256, Bytes, U256};
pub use alloy::signers::local::PrivateKeySigner;
pub use alloy::sol_types::SolCall;
