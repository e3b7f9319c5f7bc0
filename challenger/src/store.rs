//! The embedded store: events of the chain, verified commitments and values, transactions. What a method wrote is on disk when it
//! returns.
//!
//! Values are kept from the moment they were verified, so that a coordinator that stops later changes nothing.

use std::{fmt, path::Path};

use alloy_primitives::{Address, B256, U256};
use redb::TableDefinition;
use serde::{Deserialize, Serialize};
use touchstone_chain::{
    Outbox,
    outbox::ORDERS,
    tables::{META, Table, Tables, corrupt},
};
use touchstone_protocol::tensor::TensorTree;

use crate::record::{ClaimRow, Cursor, ModelRow, PartedRow, RequestRow};

pub use touchstone_chain::tables::TableError as StoreError;

/// Height → hash of blocks whose events are stored.
const BLOCKS: Table = TableDefinition::new("blocks");
const MODELS: Table = TableDefinition::new("models");
const REQUESTS: Table = TableDefinition::new("requests");
const CLAIMS: Table = TableDefinition::new("claims");
/// Claim → commitments of its trace, which hash to the trace root.
const TRACES: Table = TableDefinition::new("traces");
/// Claim, layer, root → commitments of the layer's inner values, which hash to that root.
const LAYERS: Table = TableDefinition::new("layers");
/// Claim, commitment → dtype, shape, bytes, which hash to the commitment.
const VALUES: Table = TableDefinition::new("values");
/// Dispute, node → the node's revealed descendants.
const CHILDREN: Table = TableDefinition::new("children");
/// Dispute, node → what the worker gave of a long operator's node.
const PARTED: Table = TableDefinition::new("parted");
/// Worker, claim → nothing: we conceded that the claim was right, though its bits were not ours.
const CONCESSIONS: Table = TableDefinition::new("concessions");
/// Claim → chain time at which we disputed it on the ground of bits alone.
const BITS: Table = TableDefinition::new("bits");

const CURSOR: &[u8] = b"cursor";
const DAY: u64 = 86_400;

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

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain_id,
            market,
            challenger,
        } = self;
        let challenger = challenger.map_or_else(|| "nobody".to_owned(), |address| address.to_string());
        write!(f, "chain {chain_id}, market {market}, challenger {challenger}")
    }
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
    /// Dispute, node, what was given of it.
    pub parted: Vec<(B256, B256, PartedRow)>,
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
        let tables = [
            BLOCKS,
            MODELS,
            REQUESTS,
            CLAIMS,
            TRACES,
            LAYERS,
            VALUES,
            CHILDREN,
            PARTED,
            CONCESSIONS,
            BITS,
            ORDERS,
        ];
        Ok(Self(Tables::open(&folder.join("challenger.redb"), &tables, identity)?))
    }

    /// The orders of the challenger's key.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.0.clone())
    }

    /// The last block whose events are stored.
    pub fn select_cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.0.get(META, CURSOR)
    }

    /// Hash of a block whose events are stored.
    pub fn select_block(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.0.get(BLOCKS, &number.to_be_bytes())
    }

    /// Stores a block's events and moves the cursor to it, at once. Blocks more than `keep` below are forgotten.
    pub fn insert_block(&self, cursor: Cursor, keep: u64, rows: &BlockRows) -> Result<(), StoreError> {
        self.0.write(|changes| {
            for row in &rows.models {
                changes.put(MODELS, row.model.as_slice(), row)?;
            }
            for row in &rows.requests {
                changes.put(REQUESTS, &row.request.to_be_bytes::<32>(), row)?;
            }
            for row in &rows.claims {
                changes.put(CLAIMS, row.claim.as_slice(), row)?;
            }
            for (dispute, node, children) in &rows.children {
                changes.put(CHILDREN, &pair(dispute, node), children)?;
            }
            for (dispute, node, row) in &rows.parted {
                changes.put(PARTED, &pair(dispute, node), row)?;
            }
            changes.put(BLOCKS, &cursor.number.to_be_bytes(), &cursor.hash)?;
            changes.put(META, CURSOR, &cursor)?;
            let oldest = cursor.number.saturating_sub(keep).to_be_bytes();
            changes.retain(BLOCKS, |number, _| number >= oldest.as_slice())
        })
    }

    /// Moves the cursor back: its block is no longer in the chain.
    pub fn update_cursor(&self, cursor: Cursor) -> Result<(), StoreError> {
        self.0.put(META, CURSOR, &cursor)
    }

    /// A published model.
    pub fn select_model(&self, model: B256) -> Result<Option<ModelRow>, StoreError> {
        self.0.get(MODELS, model.as_slice())
    }

    /// A request.
    pub fn select_request(&self, request: U256) -> Result<Option<RequestRow>, StoreError> {
        self.0.get(REQUESTS, &request.to_be_bytes::<32>())
    }

    /// All claims that are still looked at.
    pub fn select_claims(&self) -> Result<Vec<ClaimRow>, StoreError> {
        self.0.all(CLAIMS)
    }

    /// Says when a claim was seen to have ended, or that it has not.
    pub fn update_claim_ended(&self, claim: B256, ended: Option<u64>) -> Result<(), StoreError> {
        self.0
            .update(CLAIMS, claim.as_slice(), |row: &mut ClaimRow| row.ended = ended)
    }

    /// Forgets a claim with everything that belongs to it.
    pub fn delete_claim(&self, claim: B256) -> Result<(), StoreError> {
        self.0.write(|changes| {
            for table in [TRACES, LAYERS, VALUES] {
                changes.retain(table, |key, _| !key.starts_with(claim.as_slice()))?;
            }
            changes.delete(CLAIMS, claim.as_slice())
        })
    }

    /// Commitments of a claim's trace.
    pub fn select_trace(&self, claim: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.0.get(TRACES, claim.as_slice())
    }

    /// Keeps commitments that hash to the claim's trace root.
    pub fn insert_trace(&self, claim: B256, commitments: &[B256]) -> Result<(), StoreError> {
        self.0.put(TRACES, claim.as_slice(), &commitments)
    }

    /// Commitments of a layer's inner values.
    pub fn select_layer(&self, claim: B256, layer: u32, root: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.0.get(LAYERS, &layer_key(claim, layer, root))
    }

    /// Keeps commitments that hash to this layer root.
    pub fn insert_layer(&self, claim: B256, layer: u32, root: B256, commitments: &[B256]) -> Result<(), StoreError> {
        self.0.put(LAYERS, &layer_key(claim, layer, root), &commitments)
    }

    /// A value of a claim, hashed again.
    pub fn select_value(&self, claim: B256, commitment: B256) -> Result<Option<TensorTree>, StoreError> {
        let row = self.0.tensor(VALUES, &pair(&claim, &commitment))?;
        row.map(|(dtype, dims, bytes)| TensorTree::new(dtype, &dims, bytes).map_err(|error| corrupt(VALUES, error)))
            .transpose()
    }

    /// Keeps a value that was verified.
    pub fn insert_value(&self, claim: B256, value: &TensorTree) -> Result<(), StoreError> {
        let key = pair(&claim, &value.commitment());
        self.0
            .write(|changes| changes.put_tensor(VALUES, &key, value.dtype(), value.dims(), value.bytes()))
    }

    /// Descendants that were revealed of a node.
    pub fn select_children(&self, dispute: B256, node: B256) -> Result<Option<Vec<B256>>, StoreError> {
        self.0.get(CHILDREN, &pair(&dispute, &node))
    }

    /// What the worker gave of a long operator's node.
    pub fn select_parted(&self, dispute: B256, node: B256) -> Result<Option<PartedRow>, StoreError> {
        self.0.get(PARTED, &pair(&dispute, &node))
    }

    /// Everything that the worker gave in a dispute about a long operator.
    pub fn select_all_parted(&self, dispute: B256) -> Result<Vec<PartedRow>, StoreError> {
        let rows = self.0.rows(PARTED)?;
        let of_dispute = rows.into_iter().filter(|(key, _)| key.starts_with(dispute.as_slice()));
        of_dispute
            .map(|(_, row)| serde_json::from_slice(&row).map_err(|error| corrupt(PARTED, error)))
            .collect()
    }

    /// How many claims of a worker were right, though its bits were not ours.
    pub fn count_concessions(&self, worker: Address) -> Result<usize, StoreError> {
        let rows = self.0.rows(CONCESSIONS)?;
        Ok(rows
            .iter()
            .filter(|(key, _)| key.starts_with(worker.as_slice()))
            .count())
    }

    /// Remembers such a claim, once.
    pub fn insert_concession(&self, worker: Address, claim: B256) -> Result<(), StoreError> {
        let key = [worker.as_slice(), claim.as_slice()].concat();
        self.0.put(CONCESSIONS, &key, &())
    }

    /// Takes one of the `most` disputes on bits alone that a day has, for a claim; one that has its own keeps it. Times are the chain's.
    pub fn take_bits(&self, claim: B256, now: u64, most: u32) -> Result<bool, StoreError> {
        self.0.write(|changes| {
            if changes.get::<u64>(BITS, claim.as_slice())?.is_some() {
                return Ok(true);
            }
            let mut taken = 0;
            changes.retain(BITS, |_, row| {
                let today = serde_json::from_slice::<u64>(row).is_ok_and(|at| at.saturating_add(DAY) > now);
                taken += u32::from(today);
                today
            })?;
            if taken >= most {
                return Ok(false);
            }
            changes.put(BITS, claim.as_slice(), &now)?;
            Ok(true)
        })
    }
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
