//! The embedded store: events of the chain, verified commitments and values, transactions. What a method wrote is on disk when it
//! returns.
//!
//! Values are kept from the moment they were verified, so that a coordinator that stops later changes nothing.

use std::{path::Path, sync::Arc};

use alloy_primitives::{Address, B256, U256};
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use touchstone_protocol::{descriptor::Dtype, tensor::TensorTree};

use crate::record::{ClaimRow, Cursor, ModelRow, RequestRow};

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

const META: Rows = TableDefinition::new("meta");
/// Height → hash of blocks whose events are stored.
const BLOCKS: Rows = TableDefinition::new("blocks");
const MODELS: Rows = TableDefinition::new("models");
const REQUESTS: Rows = TableDefinition::new("requests");
const CLAIMS: Rows = TableDefinition::new("claims");
/// Claim → commitments of its trace, which hash to the trace root.
const TRACES: Rows = TableDefinition::new("traces");
/// Claim, layer, root → commitments of the layer's inner values, which hash to that root.
const LAYERS: Rows = TableDefinition::new("layers");
/// Claim, commitment → dtype, shape, bytes, which hash to the commitment.
const VALUES: Rows = TableDefinition::new("values");
/// Dispute, node → the node's revealed descendants.
const CHILDREN: Rows = TableDefinition::new("children");
/// Worker → claim by which it was found to run another engine, rightly.
const STRANGERS: Rows = TableDefinition::new("strangers");
/// Order key → order, attempts, outcome.
pub(crate) const ORDERS: Rows = TableDefinition::new("orders");

const TABLES: [Rows; 11] = [
    META, BLOCKS, MODELS, REQUESTS, CLAIMS, TRACES, LAYERS, VALUES, CHILDREN, STRANGERS, ORDERS,
];

const IDENTITY: &[u8] = b"identity";
const CURSOR: &[u8] = b"cursor";

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
    #[error("store: belongs to {found}, this challenger is {expected}")]
    Identity {
        /// Who we are.
        expected: String,
        /// Whose it is.
        found: String,
    },
}

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The chain.
    pub chain_id: u64,
    /// The market.
    pub market: Address,
    /// Who disputes; `None` where nothing is ever sent.
    pub challenger: Option<Address>,
}

/// What one block brought.
#[derive(Clone, Debug, Default)]
pub struct BlockRows {
    /// Models published.
    pub models: Vec<ModelRow>,
    /// Requests made.
    pub requests: Vec<RequestRow>,
    /// Claims made.
    pub claims: Vec<ClaimRow>,
    /// Dispute, node, its descendants.
    pub children: Vec<(B256, B256, Vec<B256>)>,
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
        let database = Database::create(folder.join("challenger.redb")).map_err(database)?;
        let store = Self {
            database: Arc::new(database),
        };
        store.write(|transaction| {
            for table in TABLES {
                transaction.open_table(table).map_err(self::database)?;
            }
            Ok(())
        })?;
        match store.get::<Identity>(META, IDENTITY)? {
            None => store.put(META, IDENTITY, identity)?,
            Some(found) if found != *identity => {
                let text = |identity: &Identity| {
                    let Identity {
                        chain_id,
                        market,
                        challenger,
                    } = identity;
                    let challenger = challenger.map_or_else(|| "nobody".to_owned(), |address| address.to_string());
                    format!("chain {chain_id}, market {market}, challenger {challenger}")
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

    /// The last block whose events are stored.
    pub fn select_cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.get(META, CURSOR)
    }

    /// Hash of a block whose events are stored.
    pub fn select_block(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.get(BLOCKS, &number.to_be_bytes())
    }

    /// Stores a block's events and moves the cursor to it, at once. Blocks more than `keep` below are forgotten.
    pub fn insert_block(&self, cursor: Cursor, keep: u64, rows: &BlockRows) -> Result<(), StoreError> {
        self.write(|transaction| {
            let put = |table: Rows, key: &[u8], row: Vec<u8>| insert(&mut open(transaction, table)?, key, &row);
            for row in &rows.models {
                put(MODELS, row.model.as_slice(), json(row)?)?;
            }
            for row in &rows.requests {
                put(REQUESTS, &row.request.to_be_bytes::<32>(), json(row)?)?;
            }
            for row in &rows.claims {
                put(CLAIMS, row.claim.as_slice(), json(row)?)?;
            }
            for (dispute, node, children) in &rows.children {
                put(CHILDREN, &pair(dispute, node), json(children)?)?;
            }
            put(BLOCKS, &cursor.number.to_be_bytes(), json(&cursor.hash)?)?;
            put(META, CURSOR, json(&cursor)?)?;
            let oldest = cursor.number.saturating_sub(keep).to_be_bytes();
            open(transaction, BLOCKS)?
                .retain(|number, _| number >= oldest.as_slice())
                .map_err(storage)
        })
    }

    /// Moves the cursor back: its block is no longer in the chain.
    pub fn update_cursor(&self, cursor: Cursor) -> Result<(), StoreError> {
        self.put(META, CURSOR, &cursor)
    }

    /// A published model.
    pub fn select_model(&self, model: B256) -> Result<Option<ModelRow>, StoreError> {
        self.get(MODELS, model.as_slice())
    }

    /// A request.
    pub fn select_request(&self, request: U256) -> Result<Option<RequestRow>, StoreError> {
        self.get(REQUESTS, &request.to_be_bytes::<32>())
    }

    /// All claims that are still looked at.
    pub fn select_claims(&self) -> Result<Vec<ClaimRow>, StoreError> {
        self.rows(CLAIMS, &[])?
            .iter()
            .map(|(_, row)| parse(CLAIMS, row))
            .collect()
    }

    /// Says when a claim was seen to have ended, or that it has not.
    pub fn update_claim_ended(&self, claim: B256, ended: Option<u64>) -> Result<(), StoreError> {
        self.update(CLAIMS, claim.as_slice(), |row: Option<ClaimRow>| {
            row.map(|row| ClaimRow { ended, ..row })
        })
    }

    /// Forgets a claim with everything that belongs to it.
    pub fn delete_claim(&self, claim: B256) -> Result<(), StoreError> {
        self.write(|transaction| {
            for table in [TRACES, LAYERS, VALUES] {
                open(transaction, table)?
                    .retain(|key, _| !key.starts_with(claim.as_slice()))
                    .map_err(storage)?;
            }
            open(transaction, CLAIMS)?.remove(claim.as_slice()).map_err(storage)?;
            Ok(())
        })
    }

    /// Commitments of a claim's trace.
    pub fn select_trace(&self, claim: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.get(TRACES, claim.as_slice())
    }

    /// Keeps commitments that hash to the claim's trace root.
    pub fn insert_trace(&self, claim: B256, commitments: &[B256]) -> Result<(), StoreError> {
        self.put(TRACES, claim.as_slice(), &commitments)
    }

    /// Commitments of a layer's inner values.
    pub fn select_layer(&self, claim: B256, layer: u32, root: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.get(LAYERS, &layer_key(claim, layer, root))
    }

    /// Keeps commitments that hash to this layer root.
    pub fn insert_layer(&self, claim: B256, layer: u32, root: B256, commitments: &[B256]) -> Result<(), StoreError> {
        self.put(LAYERS, &layer_key(claim, layer, root), &commitments)
    }

    /// A value of a claim, hashed again.
    pub fn select_value(&self, claim: B256, commitment: B256) -> Result<Option<TensorTree>, StoreError> {
        let bytes = self.bytes(VALUES, &pair(&claim, &commitment))?;
        bytes.map(|bytes| decode_value(&bytes)).transpose()
    }

    /// Keeps a value that was verified.
    pub fn insert_value(&self, claim: B256, value: &TensorTree) -> Result<(), StoreError> {
        let mut row = vec![value.dtype() as u8, value.dims().len() as u8];
        value.dims().iter().for_each(|dim| row.extend(dim.to_be_bytes()));
        row.extend_from_slice(value.bytes());
        self.write(|transaction| {
            insert(
                &mut open(transaction, VALUES)?,
                &pair(&claim, &value.commitment()),
                &row,
            )
        })
    }

    /// Descendants that were revealed of a node.
    pub fn select_children(&self, dispute: B256, node: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.get(CHILDREN, &pair(&dispute, &node))
    }

    /// Workers that were found to run another engine, rightly.
    pub fn select_strangers(&self) -> Result<Vec<Address>, StoreError> {
        let rows = self.rows(STRANGERS, &[])?;
        Ok(rows
            .iter()
            .filter_map(|(worker, _)| Address::try_from(worker.as_slice()).ok())
            .collect())
    }

    /// Remembers such a worker.
    pub fn insert_stranger(&self, worker: Address, claim: B256) -> Result<(), StoreError> {
        self.put(STRANGERS, worker.as_slice(), &claim)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, table: Rows, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.bytes(table, key)?.map(|bytes| parse(table, &bytes)).transpose()
    }

    pub(crate) fn put<T: Serialize>(&self, table: Rows, key: &[u8], row: &T) -> Result<(), StoreError> {
        self.write(|transaction| insert(&mut open(transaction, table)?, key, &json(row)?))
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

type RowTable<'a> = Table<'a, &'static [u8], &'static [u8]>;

fn open(transaction: &WriteTransaction, table: Rows) -> Result<RowTable<'_>, StoreError> {
    transaction.open_table(table).map_err(database)
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

fn pair(first: &B256, second: &B256) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(first.as_slice());
    key[32..].copy_from_slice(second.as_slice());
    key
}

fn layer_key(claim: B256, layer: u32, root: B256) -> Vec<u8> {
    [claim.as_slice(), &layer.to_be_bytes(), root.as_slice()].concat()
}

/// `u8 dtype ‖ u8 rank ‖ u32 dim × rank ‖ bytes`.
fn decode_value(row: &[u8]) -> Result<TensorTree, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        table: VALUES.to_string(),
        what,
    };
    let [code, rank, rest @ ..] = row else {
        return Err(corrupt("no header".into()));
    };
    let dtype = Dtype::from_code(*code).ok_or_else(|| corrupt(format!("dtype {code}")))?;
    let (dims, bytes) = rest
        .split_at_checked(4 * usize::from(*rank))
        .ok_or_else(|| corrupt("no shape".into()))?;
    let dims: Vec<u32> = dims
        .as_chunks::<4>()
        .0
        .iter()
        .map(|dim| u32::from_be_bytes(*dim))
        .collect();
    TensorTree::new(dtype, &dims, bytes).map_err(|error| corrupt(error.to_string()))
}
