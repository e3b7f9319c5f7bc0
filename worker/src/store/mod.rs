//! The embedded store: runs, their values, layer answers, transactions. What a method wrote is on disk when it returns.
//!
//! It belongs to one identity, so that claims of one deployment are never defended with runs of another.

use std::{fmt, path::Path};

use alloy_primitives::{Address, B256};
use redb::TableDefinition;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use touchstone_chain::{
    Outbox,
    outbox::ORDERS,
    tables::{Changes, META, Table, Tables, corrupt},
};
use touchstone_engine::Value;
use touchstone_protocol::descriptor::Place;
use touchstone_wire::worker::Job;

use crate::record::{LayerRecord, Record, Signed, State, Terms};

pub use touchstone_chain::tables::TableError as StoreError;

/// Job → record of a lease that nothing is signed for yet.
const LEASES: Table = TableDefinition::new("leases");
/// Claim id → record of the run that it was signed for.
const CLAIMS: Table = TableDefinition::new("claims");
/// Job → id of the claim that was signed for it.
const SIGNED: Table = TableDefinition::new("signed");
/// Claim id, layer, place → dtype, shape, bytes. The layer is 0 for boundary values.
const VALUES: Table = TableDefinition::new("values");
/// Claim id, layer → answer.
const LAYERS: Table = TableDefinition::new("layers");
/// Dispute id → claim id.
const DISPUTES: Table = TableDefinition::new("disputes");

/// Whose runs a store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The chain.
    pub chain_id: u64,
    /// The market.
    pub market: Address,
    /// The provider.
    pub provider: Address,
    /// The node key's address.
    pub node: Address,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain_id,
            market,
            provider,
            node,
        } = self;
        write!(
            f,
            "the worker of chain {chain_id}, market {market}, provider {provider}, node {node}"
        )
    }
}

/// A run and what belongs to it, to be stored at once.
#[derive(Clone, Debug)]
pub struct Values {
    /// Layer of inner values, 0 for boundary values.
    pub layer: u32,
    /// Where each value is placed.
    pub values: Vec<(Place, Value)>,
}

/// The store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store(Tables);

impl Store {
    /// Opens or creates the store in a folder.
    ///
    /// # Errors
    /// The folder cannot be used, another process has it open, or it belongs to another identity.
    pub fn open(folder: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let tables = [LEASES, CLAIMS, SIGNED, VALUES, LAYERS, DISPUTES, ORDERS];
        Ok(Self(Tables::open(&folder.join("worker.redb"), &tables, identity)?))
    }

    /// The orders of the node key.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.0.clone())
    }

    /// What is kept of a job: the claim that was signed for it, else its lease.
    pub fn select_run(&self, job: Job) -> Result<Option<Record>, StoreError> {
        match self.0.get::<B256>(SIGNED, &job_key(job))? {
            Some(claim) => self.select_claim(claim),
            None => self.0.get(LEASES, &job_key(job)),
        }
    }

    /// All leases and claims.
    pub fn select_runs(&self) -> Result<Vec<Record>, StoreError> {
        let mut runs: Vec<Record> = self.0.all(LEASES)?;
        runs.extend(self.0.all::<Record>(CLAIMS)?);
        Ok(runs)
    }

    /// Adds or replaces a lease; says whether it did. Once a claim is signed for the job nothing is changed: whatever is offered later, the
    /// claim has to be defended.
    pub fn upsert_lease(&self, terms: &Terms) -> Result<bool, StoreError> {
        let job = job_key(terms.job());
        let record = Record {
            terms: terms.clone(),
            state: State::Accepted,
        };
        self.0.write(|changes| {
            if changes.get::<B256>(SIGNED, &job)?.is_some() {
                return Ok(false);
            }
            changes.put(LEASES, &job, &record)?;
            Ok(true)
        })
    }

    /// Forgets a lease that came to nothing. What was signed for the job stays.
    pub fn delete_lease(&self, job: Job) -> Result<(), StoreError> {
        self.0.delete(LEASES, &job_key(job))
    }

    /// Stores a signed run with its values, at once; its lease is done with.
    pub fn insert_signed(&self, terms: &Terms, signed: &Signed, groups: &[Values]) -> Result<Record, StoreError> {
        let (job, claim) = (job_key(terms.job()), signed.claim);
        let record = Record {
            terms: terms.clone(),
            state: State::Signed(signed.clone()),
        };
        self.0.write(|changes| {
            for values in groups {
                put_values(changes, claim, values)?;
            }
            changes.put(CLAIMS, claim.as_slice(), &record)?;
            changes.put(SIGNED, &job, &claim)?;
            changes.delete(LEASES, &job)
        })?;
        Ok(record)
    }

    /// The run behind a claim.
    pub fn select_claim(&self, claim: B256) -> Result<Option<Record>, StoreError> {
        self.0.get(CLAIMS, claim.as_slice())
    }

    /// Changes the record of a claim, if there is one.
    pub fn update_claim(&self, claim: B256, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        self.0.update(CLAIMS, claim.as_slice(), change)
    }

    /// A value of a claim's run. `layer` counts for inner values only.
    pub fn select_value(&self, claim: B256, layer: u32, place: Place) -> Result<Option<Value>, StoreError> {
        let row = self.0.tensor(VALUES, &value_key(claim, layer, place))?;
        row.map(|(dtype, dims, bytes)| Value::new(dtype, dims, bytes).map_err(|error| corrupt(VALUES, error)))
            .transpose()
    }

    /// A layer's answer.
    pub fn select_layer(&self, claim: B256, layer: u32) -> Result<Option<LayerRecord>, StoreError> {
        self.0.get(LAYERS, &layer_key(claim, layer))
    }

    /// Stores a layer's answer with its inner values, unless there is one; returns the one that stands.
    pub fn insert_layer(&self, claim: B256, answer: &LayerRecord, values: &Values) -> Result<LayerRecord, StoreError> {
        let key = layer_key(claim, values.layer);
        self.0.write(|changes| {
            if let Some(standing) = changes.get(LAYERS, &key)? {
                return Ok(standing);
            }
            changes.put(LAYERS, &key, answer)?;
            put_values(changes, claim, values)?;
            Ok(answer.clone())
        })
    }

    /// Deletes a claim that has ended with everything that belongs to it. One that has not ended is never deleted.
    pub fn delete_ended(&self, claim: B256) -> Result<(), StoreError> {
        self.0.write(|changes| {
            let Some(Record {
                terms,
                state: State::Ended { .. },
            }) = changes.get(CLAIMS, claim.as_slice())?
            else {
                return Ok(());
            };
            let job = job_key(terms.job());
            if changes.get::<B256>(SIGNED, &job)? == Some(claim) {
                changes.delete(SIGNED, &job)?;
            }
            changes.retain(LAYERS, |key, _| !key.starts_with(claim.as_slice()))?;
            changes.retain(DISPUTES, |_, of| of != claim.as_slice())?;
            changes.retain(VALUES, |key, _| !key.starts_with(claim.as_slice()))?;
            changes.delete(CLAIMS, claim.as_slice())
        })
    }

    /// A dispute on one of our claims.
    pub fn insert_dispute(&self, dispute: B256, claim: B256) -> Result<(), StoreError> {
        self.0
            .write(|changes| changes.put_bytes(DISPUTES, dispute.as_slice(), claim.as_slice()))
    }

    /// All disputes with their claims.
    pub fn select_disputes(&self) -> Result<Vec<(B256, B256)>, StoreError> {
        let rows = self.0.rows(DISPUTES)?;
        rows.iter()
            .map(
                |(dispute, claim)| match (B256::try_from(dispute.as_slice()), B256::try_from(claim.as_slice())) {
                    (Ok(dispute), Ok(claim)) => Ok((dispute, claim)),
                    _ => Err(corrupt(DISPUTES, "not 32 bytes")),
                },
            )
            .collect()
    }

    /// A dispute that is over.
    pub fn delete_dispute(&self, dispute: B256) -> Result<(), StoreError> {
        self.0.delete(DISPUTES, dispute.as_slice())
    }

    /// A named fact.
    pub fn select_fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.0.get(META, name.as_bytes())
    }

    /// Sets a named fact.
    pub fn upsert_fact<T: Serialize>(&self, name: &str, fact: &T) -> Result<(), StoreError> {
        self.0.put(META, name.as_bytes(), fact)
    }

    /// Removes a named fact.
    pub fn delete_fact(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(META, name.as_bytes())
    }
}

fn put_values(changes: &Changes, claim: B256, values: &Values) -> Result<(), StoreError> {
    for (place, value) in &values.values {
        let key = value_key(claim, values.layer, *place);
        changes.put_tensor(VALUES, &key, value.dtype, &value.dims, &value.bytes)?;
    }
    Ok(())
}

fn job_key(job: Job) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&job.request.to_be_bytes::<32>());
    key[32..].copy_from_slice(&job.attempt.to_be_bytes());
    key
}

fn layer_key(claim: B256, layer: u32) -> Vec<u8> {
    [claim.as_slice(), &layer.to_be_bytes()].concat()
}

fn value_key(claim: B256, layer: u32, place: Place) -> Vec<u8> {
    let (kind, number) = place.parts();
    let layer = if matches!(place, Place::Inner(_)) { layer } else { 0 };
    [claim.as_slice(), &layer.to_be_bytes(), &[kind], &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
