//! The embedded store: runs, their values, layer answers, transactions. What a method wrote is on disk when it returns.
//!
//! One file belongs to one identity (chain, market, provider, node key); another identity is refused, so that claims of one
//! deployment are never defended with runs of another.

use std::{path::Path, sync::Arc};

use alloy_primitives::{Address, B256};
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, TableError,
    WriteTransaction,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use touchstone_engine::Value;
use touchstone_protocol::descriptor::Place;
use touchstone_wire::worker::Job;

use crate::record::{LayerRecord, Record};

mod rows;

use rows::{decode_value, encode_value, job_key, layer_key, value_key};

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

const META: Rows = TableDefinition::new("meta");
const RUNS: Rows = TableDefinition::new("runs");
/// Claim id → job.
const CLAIMS: Rows = TableDefinition::new("claims");
/// Job, layer, place → dtype, shape, bytes. The layer is 0 for boundary values.
const VALUES: Rows = TableDefinition::new("values");
/// Claim id, layer → answer.
const LAYERS: Rows = TableDefinition::new("layers");
/// Dispute id → claim id.
const DISPUTES: Rows = TableDefinition::new("disputes");
/// Order key → order, attempts, outcome.
pub(crate) const ORDERS: Rows = TableDefinition::new("orders");

const TABLES: [Rows; 7] = [META, RUNS, CLAIMS, VALUES, LAYERS, DISPUTES, ORDERS];

/// Why the store gave no answer. Never the other side's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("store: {0}")]
    Database(#[from] Box<redb::Error>),
    /// A row does not read.
    #[error("store: row of {table} does not read: {what}")]
    Corrupt {
        /// The table.
        table: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file belongs to somebody else.
    #[error("store: belongs to {found}, this worker is {expected}")]
    Identity {
        /// Who we are.
        expected: String,
        /// Whose it is.
        found: String,
    },
}

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
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Opens or creates the store in a folder.
    ///
    /// # Errors
    /// The folder cannot be used, another process has it open, or it belongs to another identity.
    pub fn open(folder: &Path, identity: &Identity) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| database(redb::Error::Io(error)))?;
        let database = Database::create(folder.join("worker.redb")).map_err(database)?;
        let store = Self {
            database: Arc::new(database),
        };
        store.write(|transaction| {
            for table in TABLES {
                transaction.open_table(table).map_err(self::database)?;
            }
            Ok(())
        })?;
        match store.get::<Identity>(META, b"identity")? {
            None => store.put(META, b"identity", identity)?,
            Some(found) if found != *identity => {
                let text = |identity: &Identity| {
                    let Identity {
                        chain_id,
                        market,
                        provider,
                        node,
                    } = identity;
                    format!("chain {chain_id}, market {market}, provider {provider}, node {node}")
                };
                return Err(StoreError::Identity {
                    expected: text(identity),
                    found: text(&found),
                });
            }
            Some(_) => {}
        }
        Ok(store)
    }

    /// A run.
    pub fn select_run(&self, job: Job) -> Result<Option<Record>, StoreError> {
        self.get(RUNS, &job_key(job))
    }

    /// All runs.
    pub fn select_runs(&self) -> Result<Vec<Record>, StoreError> {
        self.all(RUNS, &[])
    }

    /// Adds or replaces a run's record.
    pub fn upsert_run(&self, record: &Record) -> Result<(), StoreError> {
        self.put(RUNS, &job_key(record.terms.job()), record)
    }

    /// Changes a run's record, if there is one.
    pub fn update_run(&self, job: Job, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        self.update(RUNS, &job_key(job), |old: Option<Record>| {
            old.map(|mut record| {
                change(&mut record);
                record
            })
        })
    }

    /// Stores a signed run with its values, at once.
    pub fn insert_signed(&self, record: &Record, groups: &[Values]) -> Result<(), StoreError> {
        let job = job_key(record.terms.job());
        self.write(|transaction| {
            for values in groups {
                put_values(transaction, &job, values)?;
            }
            if let Some(signed) = record.signed() {
                insert(&mut open(transaction, CLAIMS)?, signed.claim.as_slice(), &job)?;
            }
            insert(&mut open(transaction, RUNS)?, &job, &json(record)?)
        })
    }

    /// The run behind a claim.
    pub fn select_claim(&self, claim: B256) -> Result<Option<Record>, StoreError> {
        match self.bytes(CLAIMS, claim.as_slice())? {
            Some(job) => self.get(RUNS, &job),
            None => Ok(None),
        }
    }

    /// A value of a run. `layer` counts for inner values only.
    pub fn select_value(&self, job: Job, layer: u32, place: Place) -> Result<Option<Value>, StoreError> {
        let bytes = self.bytes(VALUES, &value_key(&job_key(job), layer, place))?;
        bytes.map(|bytes| decode_value(&bytes)).transpose()
    }

    /// A layer's answer.
    pub fn select_layer(&self, claim: B256, layer: u32) -> Result<Option<LayerRecord>, StoreError> {
        self.get(LAYERS, &layer_key(claim, layer))
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
        self.write(|transaction| {
            let mut layers = open(transaction, LAYERS)?;
            if let Some(standing) = layers.get(key.as_slice()).map_err(storage)? {
                return parse(LAYERS, standing.value());
            }
            insert(&mut layers, &key, &json(answer)?)?;
            drop(layers);
            put_values(transaction, &job_key(job), values)?;
            Ok(answer.clone())
        })
    }

    /// Deletes a run with everything that belongs to it.
    pub fn delete_run(&self, job: Job) -> Result<(), StoreError> {
        let key = job_key(job);
        self.write(|transaction| {
            let mut claims = open(transaction, CLAIMS)?;
            let mut gone = Vec::new();
            for row in claims.iter().map_err(storage)? {
                let (claim, owner) = row.map_err(storage)?;
                if owner.value() == key {
                    gone.push(claim.value().to_vec());
                }
            }
            let mut layers = open(transaction, LAYERS)?;
            let mut disputes = open(transaction, DISPUTES)?;
            for claim in &gone {
                claims.remove(claim.as_slice()).map_err(storage)?;
                layers.retain(|key, _| !key.starts_with(claim)).map_err(storage)?;
                disputes.retain(|_, of| of != claim.as_slice()).map_err(storage)?;
            }
            open(transaction, VALUES)?
                .retain(|value, _| !value.starts_with(&key))
                .map_err(storage)?;
            open(transaction, RUNS)?.remove(key.as_slice()).map_err(storage)?;
            Ok(())
        })
    }

    /// A dispute on one of our claims.
    pub fn insert_dispute(&self, dispute: B256, claim: B256) -> Result<(), StoreError> {
        self.write(|transaction| insert(&mut open(transaction, DISPUTES)?, dispute.as_slice(), claim.as_slice()))
    }

    /// All disputes with their claims.
    pub fn select_disputes(&self) -> Result<Vec<(B256, B256)>, StoreError> {
        let rows = self.rows(DISPUTES, &[])?;
        rows.iter()
            .map(
                |(dispute, claim)| match (B256::try_from(dispute.as_slice()), B256::try_from(claim.as_slice())) {
                    (Ok(dispute), Ok(claim)) => Ok((dispute, claim)),
                    _ => Err(StoreError::Corrupt {
                        table: DISPUTES.to_string(),
                        what: "not 32 bytes".into(),
                    }),
                },
            )
            .collect()
    }

    /// A dispute that is over.
    pub fn delete_dispute(&self, dispute: B256) -> Result<(), StoreError> {
        self.delete(DISPUTES, dispute.as_slice())
    }

    /// A named fact.
    pub fn select_fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.get(META, name.as_bytes())
    }

    /// Sets a named fact.
    pub fn upsert_fact<T: Serialize>(&self, name: &str, fact: &T) -> Result<(), StoreError> {
        self.put(META, name.as_bytes(), fact)
    }

    /// Removes a named fact.
    pub fn delete_fact(&self, name: &str) -> Result<(), StoreError> {
        self.delete(META, name.as_bytes())
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, table: Rows, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.bytes(table, key)?.map(|bytes| parse(table, &bytes)).transpose()
    }

    pub(crate) fn put<T: Serialize>(&self, table: Rows, key: &[u8], row: &T) -> Result<(), StoreError> {
        self.write(|transaction| insert(&mut open(transaction, table)?, key, &json(row)?))
    }

    pub(crate) fn delete(&self, table: Rows, key: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| {
            open(transaction, table)?.remove(key).map_err(storage)?;
            Ok(())
        })
    }

    /// Changes one row in a transaction.
    pub(crate) fn update<T: Serialize + DeserializeOwned>(
        &self,
        table: Rows,
        key: &[u8],
        change: impl FnOnce(Option<T>) -> Option<T>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut rows = open(transaction, table)?;
            let old = match rows.get(key).map_err(storage)? {
                Some(bytes) => Some(parse(table, bytes.value())?),
                None => None,
            };
            match change(old) {
                Some(row) => insert(&mut rows, key, &json(&row)?),
                None => Ok(()),
            }
        })
    }

    /// All rows whose key begins so.
    pub(crate) fn all<T: DeserializeOwned>(&self, table: Rows, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        self.rows(table, prefix)?
            .iter()
            .map(|(_, row)| parse(table, row))
            .collect()
    }

    fn rows(&self, table: Rows, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        self.read(|transaction| {
            let rows = transaction.open_table(table).map_err(database)?;
            let mut found = Vec::new();
            for row in rows.range(prefix..).map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn bytes(&self, table: Rows, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| {
            let rows = transaction.open_table(table).map_err(database)?;
            Ok(rows.get(key).map_err(storage)?.map(|value| value.value().to_vec()))
        })
    }

    fn read<T>(&self, act: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        act(&self.database.begin_read().map_err(database)?)
    }

    fn write<T>(&self, act: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let transaction = self.database.begin_write().map_err(database)?;
        let done = act(&transaction)?;
        transaction.commit().map_err(database)?;
        Ok(done)
    }
}

fn database(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database(Box::new(error.into()))
}

fn storage(error: redb::StorageError) -> StoreError {
    database(error)
}

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);
type RowTable<'a> = Table<'a, &'static [u8], &'static [u8]>;

fn open<'a>(transaction: &'a WriteTransaction, table: Rows) -> Result<RowTable<'a>, StoreError> {
    transaction
        .open_table(table)
        .map_err(|error: TableError| database(error))
}

fn insert(table: &mut RowTable<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    table.insert(key, value).map_err(storage)?;
    Ok(())
}

fn json<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(row).map_err(|error| StoreError::Corrupt {
        table: "(new)".into(),
        what: error.to_string(),
    })
}

fn parse<T: DeserializeOwned>(table: Rows, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt {
        table: table.to_string(),
        what: error.to_string(),
    })
}

fn put_values(transaction: &WriteTransaction, job: &[u8; 40], values: &Values) -> Result<(), StoreError> {
    let mut rows = open(transaction, VALUES)?;
    for (place, value) in &values.values {
        insert(&mut rows, &value_key(job, values.layer, *place), &encode_value(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
