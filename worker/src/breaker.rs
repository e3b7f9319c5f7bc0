//! The circuit breaker: after one strike, or one run that the judge would not accept, no new lease is taken until the operator
//! says so. It survives restarts. Disputes are answered all the same.

use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

const FACT: &str = "breaker";

/// Why no leases are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tripped {
    /// For people.
    pub reason: String,
    /// Unix seconds.
    pub at: u64,
}

/// The breaker of one store.
#[derive(Clone, Debug)]
pub struct Breaker(Store);

impl Breaker {
    /// The breaker kept in this store.
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// Why it is open; `None` while leases are taken.
    pub fn tripped(&self) -> Result<Option<Tripped>, StoreError> {
        self.0.select_fact(FACT)
    }

    /// Opens it. The first reason stays.
    pub fn trip(&self, reason: String, at: u64) -> Result<(), StoreError> {
        if self.tripped()?.is_none() {
            tracing::error!(reason, "circuit breaker: no more leases are taken");
            self.0.upsert_fact(FACT, &Tripped { reason, at })?;
        }
        Ok(())
    }

    /// Closes it again: the operator has looked.
    pub fn reset(&self) -> Result<(), StoreError> {
        self.0.delete_fact(FACT)
    }
}
