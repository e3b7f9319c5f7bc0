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

use crate::record::{LayerRecord, Record};

pub use touchstone_chain::tables::TableError as StoreError;

const RUNS: Table = TableDefinition::new("runs");
/// Claim id → job.
const CLAIMS: Table = TableDefinition::new("claims");
/// Job, layer, place → dtype, shape, bytes. The layer is 0 for boundary values.
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
        let tables = [RUNS, CLAIMS, VALUES, LAYERS, DISPUTES, ORDERS];
        Ok(Self(Tables::open(&folder.join("worker.redb"), &tables, identity)?))
    }

    /// The orders of the node key.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.0.clone())
    }

    /// A run.
    pub fn select_run(&self, job: Job) -> Result<Option<Record>, StoreError> {
        self.0.get(RUNS, &job_key(job))
    }

    /// All runs.
    pub fn select_runs(&self) -> Result<Vec<Record>, StoreError> {
        self.0.all(RUNS)
    }

    /// Adds or replaces a run's record.
    pub fn upsert_run(&self, record: &Record) -> Result<(), StoreError> {
        self.0.put(RUNS, &job_key(record.terms.job()), record)
    }

    /// Changes a run's record, if there is one.
    pub fn update_run(&self, job: Job, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        self.0.update(RUNS, &job_key(job), change)
    }

    /// Stores a signed run with its values, at once.
    pub fn insert_signed(&self, record: &Record, groups: &[Values]) -> Result<(), StoreError> {
        let job = job_key(record.terms.job());
        self.0.write(|changes| {
            for values in groups {
                put_values(changes, &job, values)?;
            }
            if let Some(signed) = record.signed() {
                changes.put_bytes(CLAIMS, signed.claim.as_slice(), &job)?;
            }
            changes.put(RUNS, &job, record)
        })
    }

    /// The run behind a claim.
    pub fn select_claim(&self, claim: B256) -> Result<Option<Record>, StoreError> {
        match self.0.bytes(CLAIMS, claim.as_slice())? {
            Some(job) => self.0.get(RUNS, &job),
            None => Ok(None),
        }
    }

    /// A value of a run. `layer` counts for inner values only.
    pub fn select_value(&self, job: Job, layer: u32, place: Place) -> Result<Option<Value>, StoreError> {
        let row = self.0.tensor(VALUES, &value_key(&job_key(job), layer, place))?;
        row.map(|(dtype, dims, bytes)| Value::new(dtype, dims, bytes).map_err(|error| corrupt(VALUES, error)))
            .transpose()
    }

    /// A layer's answer.
    pub fn select_layer(&self, claim: B256, layer: u32) -> Result<Option<LayerRecord>, StoreError> {
        self.0.get(LAYERS, &layer_key(claim, layer))
    }

    /// Stores a layer's answer with its inner values, unless there is one; returns the one that stands.
    pub fn insert_layer(
        &self,
        claim: B256,
        job: Job,
        answer: &LayerRecord,
        values: &Values,
    ) -> Result<LayerRecord, StoreError> {
        let key = layer_key(claim, values.layer);
        self.0.write(|changes| {
            if let Some(standing) = changes.get(LAYERS, &key)? {
                return Ok(standing);
            }
            changes.put(LAYERS, &key, answer)?;
            put_values(changes, &job_key(job), values)?;
            Ok(answer.clone())
        })
    }

    /// Deletes a run with everything that belongs to it.
    pub fn delete_run(&self, job: Job) -> Result<(), StoreError> {
        let key = job_key(job);
        self.0.write(|changes| {
            let mut gone = Vec::new();
            changes.retain(CLAIMS, |claim, owner| {
                let ours = owner == key;
                if ours {
                    gone.push(claim.to_vec());
                }
                !ours
            })?;
            for claim in &gone {
                changes.retain(LAYERS, |key, _| !key.starts_with(claim))?;
                changes.retain(DISPUTES, |_, of| of != claim.as_slice())?;
            }
            changes.retain(VALUES, |value, _| !value.starts_with(&key))?;
            changes.delete(RUNS, &key)
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

fn put_values(changes: &Changes, job: &[u8; 40], values: &Values) -> Result<(), StoreError> {
    for (place, value) in &values.values {
        let key = value_key(job, values.layer, *place);
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

fn value_key(job: &[u8; 40], layer: u32, place: Place) -> Vec<u8> {
    let (kind, number) = place.parts();
    let layer = if matches!(place, Place::Inner(_)) { layer } else { 0 };
    [job.as_slice(), &layer.to_be_bytes(), &[kind], &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
