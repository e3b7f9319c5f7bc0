//! What a sender needs kept across a crash.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::revert::Revert;

/// A transaction that somebody wants sent, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its purpose, unique: ordering it again changes nothing.
    pub key: String,
    /// Contract called.
    pub to: Address,
    /// Calldata.
    pub data: Bytes,
    /// Wei sent along.
    pub value: U256,
    /// Unix seconds by which it should be mined; the earlier, the sooner it is sent.
    pub deadline: u64,
    /// Least gas limit; 0 leaves it to the estimate.
    pub gas_floor: u64,
}

/// A signed transaction for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its nonce.
    pub nonce: u64,
    /// Its hash.
    pub hash: B256,
    /// The signed bytes, as broadcast.
    pub raw: Bytes,
    /// Wei per gas, at most.
    pub max_fee: u128,
    /// Wei per gas for the block's proposer.
    pub priority_fee: u128,
    /// Unix seconds of signing.
    pub signed_at: u64,
}

/// Where a transaction was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The attempt that was mined.
    pub transaction: B256,
    /// Block hash.
    pub block: B256,
    /// Block height.
    pub number: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Wei per gas paid.
    pub gas_price: u128,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Mined, and did what it should.
    Succeeded(Inclusion),
    /// Mined, and reverted; the reason is found by replaying it and may be inexact.
    Reverted(Inclusion, Revert),
    /// Never sent: it would revert.
    Refused(Revert),
}

/// An order with what became of it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    /// The order.
    pub order: Order,
    /// Signed transactions, oldest first; those of an order share one nonce.
    pub attempts: Vec<Attempt>,
}

/// Keeps one signer's orders. Each method is durable when it returns.
pub trait Store: Send + Sync {
    /// The store could not be used.
    type Error: Error + Send + Sync + 'static;

    /// Orders without an outcome, earliest deadline first.
    fn open_orders(&self) -> impl Future<Output = Result<Vec<StoredOrder>, Self::Error>> + Send;

    /// Adds an attempt; called before it is broadcast.
    fn insert_attempt(&self, key: &str, attempt: &Attempt) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets an order's attempts: their nonce was used by something else.
    fn delete_attempts(&self, key: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Ends an order.
    fn update_outcome(&self, key: &str, outcome: &Outcome) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A store for programs that end with their transaction, and for tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    orders: Mutex<BTreeMap<String, (StoredOrder, Option<Outcome>)>>,
}

impl MemoryStore {
    /// Adds an order, unless there is one of this key.
    pub fn insert(&self, order: Order) {
        self.with(|orders| {
            orders.entry(order.key.clone()).or_insert((
                StoredOrder {
                    order,
                    attempts: Vec::new(),
                },
                None,
            ));
        });
    }

    /// How an order ended.
    pub fn outcome(&self, key: &str) -> Option<Outcome> {
        self.with(|orders| orders.get(key).and_then(|(_, outcome)| outcome.clone()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, (StoredOrder, Option<Outcome>)>) -> T) -> T {
        act(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn open_orders(&self) -> Result<Vec<StoredOrder>, Infallible> {
        let mut open: Vec<_> = self.with(|orders| {
            orders
                .values()
                .filter(|(_, outcome)| outcome.is_none())
                .map(|(stored, _)| stored.clone())
                .collect()
        });
        open.sort_by_key(|stored: &StoredOrder| stored.order.deadline);
        Ok(open)
    }

    async fn insert_attempt(&self, key: &str, attempt: &Attempt) -> Result<(), Infallible> {
        self.with(|orders| {
            if let Some((stored, _)) = orders.get_mut(key) {
                stored.attempts.push(attempt.clone());
            }
        });
        Ok(())
    }

    async fn delete_attempts(&self, key: &str) -> Result<(), Infallible> {
        self.with(|orders| {
            if let Some((stored, _)) = orders.get_mut(key) {
                stored.attempts.clear();
            }
        });
        Ok(())
    }

    async fn update_outcome(&self, key: &str, outcome: &Outcome) -> Result<(), Infallible> {
        self.with(|orders| {
            if let Some((_, ended)) = orders.get_mut(key) {
                *ended = Some(outcome.clone());
            }
        });
        Ok(())
    }
}
