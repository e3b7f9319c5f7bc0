//! Follows the chain by polling: events into the store, block by block, back again over reorganisations. Start-up is the same.

use touchstone_chain::{
    Block, ChainError, ChainReader,
    bindings::{IDisputes::IDisputesEvents, IMarket::IMarketEvents, IModelRegistry::IModelRegistryEvents},
    event::{Body, Deployment, Event},
};

use crate::{
    parts,
    record::{ClaimRow, Cursor, ModelRow, PartedRow, RequestRow},
    store::{BlockRows, Store, StoreError},
};

/// Blocks kept to find where a reorganisation left the chain.
const KEEP: u64 = 256;
/// Blocks looked at in one step, so that disputes are not forgotten over a long catching up.
const STEP: u64 = 100;

/// Why a step was not made. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The node gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Follows one deployment.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// The node.
    pub(crate) reader: ChainReader,
    /// The contracts.
    pub(crate) deployment: Deployment,
    /// Where events go.
    pub(crate) store: Store,
    /// First block of all.
    pub(crate) from_block: u64,
}

impl Follower {
    /// Goes up to `head`, a step at most; true once it is reached.
    ///
    /// # Errors
    /// See [`FollowError`]. What was stored before stays.
    pub(crate) async fn step(&self, head: &Block) -> Result<bool, FollowError> {
        let mut cursor = self.rewind().await?;
        for _ in 0..STEP {
            let next = cursor.map_or(self.from_block, |cursor| cursor.number + 1);
            if next > head.number {
                return Ok(true);
            }
            let Some(block) = self.reader.block_at(next).await? else {
                return Ok(false);
            };
            if cursor.is_some_and(|cursor| cursor.hash != block.parent) {
                // Reorganised under our eyes: the next step goes back.
                return Ok(false);
            }
            let events = self.deployment.events(&self.reader, &block).await?;
            let reached = Cursor {
                number: block.number,
                hash: block.hash,
            };
            self.store.insert_block(reached, KEEP, &rows(events))?;
            cursor = Some(reached);
        }
        Ok(false)
    }

    /// The last stored block that is still in the chain.
    async fn rewind(&self) -> Result<Option<Cursor>, FollowError> {
        let Some(mut cursor) = self.store.select_cursor()? else {
            return Ok(None);
        };
        let start = cursor;
        loop {
            let present = self.reader.block_at(cursor.number).await?;
            if present.is_some_and(|block| block.hash == cursor.hash) {
                break;
            }
            let number = cursor.number.checked_sub(1);
            let below = match number {
                Some(number) => self.store.select_block(number)?.map(|hash| Cursor { number, hash }),
                None => None,
            };
            let Some(below) = below else {
                // Deeper than we remember: begin anew. Rows of blocks that are gone are harmless, what counts is asked of the chain.
                tracing::error!(
                    block = start.number,
                    "reorganisation deeper than remembered, starting over"
                );
                return Ok(None);
            };
            cursor = below;
        }
        if cursor != start {
            tracing::warn!(from = start.number, to = cursor.number, "chain reorganised");
            self.store.update_cursor(cursor)?;
        }
        Ok(Some(cursor))
    }
}

fn rows(events: Vec<Event>) -> BlockRows {
    let mut rows = BlockRows::default();
    for event in events {
        match event.body {
            Body::Registry(IModelRegistryEvents::Published(e)) => rows.models.push(ModelRow {
                model: e.model,
                publisher: e.publisher,
                digest: e.digest,
                profile: e.header.profile,
            }),
            Body::Market(IMarketEvents::Requested(e)) => rows.requests.push(RequestRow {
                request: e.request,
                model: e.model,
                inputs: e.inputs,
                input_data: e.inputData,
            }),
            Body::Market(IMarketEvents::Claimed(e)) => rows.claims.push(ClaimRow {
                claim: e.claim,
                request: e.request,
                attempt: e.attempt,
                worker: e.worker,
                node: e.node,
                outputs: e.outputs,
                trace_root: e.traceRoot,
                output_data: e.outputData,
                window_end: e.windowEnd,
                ended: None,
            }),
            Body::Disputes(IDisputesEvents::Revealed(e)) => rows.children.push((e.dispute, e.node, e.children)),
            Body::Disputes(IDisputesEvents::Parted(e)) => {
                let row = PartedRow {
                    header: e.header,
                    parts: e.parts,
                };
                rows.parted.push((e.dispute, parts::node(&row.header, &row.parts), row));
            }
            // What else there is to know is asked of the contracts, pinned to one block.
            Body::Market(_) | Body::Disputes(_) => {}
        }
    }
    rows
}
