//! Follows the chain: blocks by parent hash, events by block hash, states by views pinned to the tip.
//!
//! 1. While the chain's block at the tip's height is not the tip, drop the tip and mark what was touched in it as *dirty*.
//! 2. Apply the following blocks one by one, each in one transaction: the block's row, payloads from its events, and a dirty
//!    mark on everything that an event names.
//! 3. Read the state of everything dirty from the contracts, all as of the new tip, and store it.
//!
//! So a reorganisation, a restart and the next block are one code path, and no state is ever computed from events twice.
//!
//! What depends on a fact staying true waits until the block that touched it is `confirmations` below the tip (telling a
//! worker that a claim ended, letting go of values). What can only waste gas or time does not wait (leases, claims,
//! moves: the contract checks each of them again).

use anyhow::Context as _;
use sqlx::{PgConnection, PgPool};
use touchstone_chain::{
    B256, Block, ChainError, ChainReader, U256,
    bindings::{
        IDisputes::{self, IDisputesEvents},
        IMarket::{self, IMarketEvents},
        IModelRegistry::IModelRegistryEvents,
        Phase as ChainPhase, Tree as ChainTree,
    },
    event::{Body, Deployment, Event},
};
use touchstone_wire::worker::Tree;

use crate::db::{
    self, DbError,
    blocks::StoredBlock,
    claims::{ClaimStatus, NewClaim},
    disputes::{DisputeState, Phase},
    models::Model,
    requests::{Delivery, NewRequest, RequestState, RequestStatus},
};

/// Blocks applied between two readings of states while catching up.
const BATCH: u64 = 256;

/// Why following stopped for now.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The chain gave no answer, or contradicts itself for now.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database gave no answer.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Another process writes the same tables.
    #[error("block {0} does not follow the stored tip: another coordinator writes to this database")]
    NotAlone(u64),
}

impl From<sqlx::Error> for FollowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// Follows one deployment.
#[derive(Clone, Debug)]
pub struct Follower {
    db: PgPool,
    reader: ChainReader,
    deployment: Deployment,
    start_block: u64,
}

/// Where a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last applied block.
    pub tip: StoredBlock,
    /// Whether it is the node's newest.
    pub caught_up: bool,
    /// Whether anything was applied or dropped.
    pub changed: bool,
}

impl Follower {
    /// A follower from `start_block` on.
    pub fn new(db: PgPool, reader: ChainReader, deployment: Deployment, start_block: u64) -> Self {
        Self {
            db,
            reader,
            deployment,
            start_block,
        }
    }

    /// Goes as far as one batch leads.
    pub async fn step(&self) -> Result<Progress, FollowError> {
        let head = self.reader.head().await?;
        let (mut tip, mut changed) = self.common(&head).await?;
        let first = tip.map_or(self.start_block.min(head.number), |tip| tip.number + 1);
        let mut caught_up = tip.is_some_and(|tip| tip.hash == head.hash);
        for number in first..(first + BATCH).min(head.number + 1) {
            let Some(block) = self.reader.block_at(number).await? else {
                break;
            };
            if tip.is_some_and(|tip| tip.hash != block.parent) {
                // Reorganised while we read; the next step starts over from what is common.
                break;
            }
            self.apply(&block).await?;
            changed = true;
            tip = Some(StoredBlock {
                number,
                hash: block.hash,
                timestamp: block.timestamp,
                base_fee: block.base_fee,
            });
            caught_up = block.hash == head.hash;
        }
        let Some(tip) = tip else {
            return Err(ChainError::NoBlock {
                what: "first block",
                block: B256::ZERO,
            }
            .into());
        };
        self.refresh(tip.hash).await?;
        Ok(Progress {
            tip,
            caught_up,
            changed,
        })
    }

    /// Drops stored blocks that are not on the present chain.
    async fn common(&self, head: &Block) -> Result<(Option<StoredBlock>, bool), FollowError> {
        let mut dropped = false;
        loop {
            let Some(tip) = db::blocks::select_tip(&self.db).await? else {
                return Ok((None, dropped));
            };
            let present = if tip.number > head.number {
                // A shorter chain: ask for the block itself, a node that merely lags still has it.
                match self.reader.block(tip.hash).await? {
                    Some(_) => {
                        return Err(ChainError::Inconsistent {
                            what: "head",
                            detail: format!("the node is at {} and knows {}", head.number, tip.number),
                        }
                        .into());
                    }
                    None => None,
                }
            } else {
                self.reader.block_at(tip.number).await?
            };
            if present.is_some_and(|block| block.hash == tip.hash) {
                return Ok((Some(tip), dropped));
            }
            tracing::warn!(block = tip.number, hash = %tip.hash, "block reorganised away");
            let mut transaction = self.db.begin().await?;
            if !db::blocks::delete_block(&mut *transaction, tip.hash).await? {
                return Err(FollowError::NotAlone(tip.number));
            }
            db::requests::update_dirty_from(&mut *transaction, tip.number).await?;
            db::claims::update_dirty_from(&mut *transaction, tip.number).await?;
            db::disputes::update_dirty_from(&mut *transaction, tip.number).await?;
            transaction.commit().await?;
            dropped = true;
        }
    }

    async fn apply(&self, block: &Block) -> Result<(), FollowError> {
        let events = self.deployment.events(&self.reader, block).await?;
        let mut transaction = self.db.begin().await?;
        if !db::blocks::insert_block(&mut *transaction, block).await? {
            return Err(FollowError::NotAlone(block.number));
        }
        for event in events {
            store(&mut transaction, event, block.number).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Reads everything dirty as of one block. What fails for one object leaves it dirty and does not stop the others.
    async fn refresh(&self, at: B256) -> Result<(), FollowError> {
        for request in db::requests::select_dirty(&self.db).await? {
            if let Err(error) = self.refresh_request(request, at).await {
                tracing::warn!(%request, %error, "request not read");
            }
        }
        for claim in db::claims::select_dirty(&self.db).await? {
            if let Err(error) = self.refresh_claim(claim, at).await {
                tracing::warn!(claim_id = %claim, %error, "claim not read");
            }
        }
        for dispute in db::disputes::select_dirty(&self.db).await? {
            if let Err(error) = self.refresh_dispute(dispute, at).await {
                tracing::warn!(dispute_id = %dispute, %error, "dispute not read");
            }
        }
        Ok(())
    }

    async fn refresh_request(&self, id: U256, at: B256) -> Result<(), FollowError> {
        let call = IMarket::requestOfCall { request: id };
        let state = match self.reader.call(self.deployment.market, &call, at).await {
            Ok(request) => request_state(&request),
            Err(ChainError::Reverted { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match state {
            Some(state) => Ok(db::requests::update_state(&self.db, id, &state).await?),
            None => Ok(db::requests::update_orphaned(&self.db, id).await?),
        }
    }

    async fn refresh_claim(&self, id: B256, at: B256) -> Result<(), FollowError> {
        let call = IMarket::claimOfCall { claim: id };
        let claim = match self.reader.call(self.deployment.market, &call, at).await {
            Ok(claim) => Some(claim),
            Err(ChainError::Reverted { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (status, disputes, window_end) = match &claim {
            Some(claim) => (claim_status(claim.status), claim.openDisputes, claim.windowEnd),
            None => (ClaimStatus::Orphaned, 0, 0),
        };
        Ok(db::claims::update_state(&self.db, id, status, disputes, window_end).await?)
    }

    async fn refresh_dispute(&self, id: B256, at: B256) -> Result<(), FollowError> {
        let disputes = self.deployment.disputes;
        let dispute = match self
            .reader
            .call(disputes, &IDisputes::disputeOfCall { dispute: id }, at)
            .await
        {
            Ok(dispute) => dispute,
            Err(ChainError::Reverted { .. }) => return Ok(db::disputes::update_orphaned(&self.db, id).await?),
            Err(error) => return Err(error.into()),
        };
        let Some(phase) = phase(dispute.position.phase) else {
            return Ok(db::disputes::update_orphaned(&self.db, id).await?);
        };
        let digest = self
            .reader
            .call(disputes, &IDisputes::stateDigestCall { dispute: id }, at)
            .await?;
        let position = dispute.position;
        let state = DisputeState {
            phase,
            tree: match position.tree {
                ChainTree::Layer => Tree::Layer(position.layer),
                _ => Tree::Trace,
            },
            layer: position.layer,
            node: position.node,
            depth: position.depth.into(),
            index: position.index.into(),
            operator: position.operator_,
            element: position.element,
            digest,
            deadline: dispute.deadline,
        };
        Ok(db::disputes::update_state(&self.db, id, &state).await?)
    }
}

/// Stores an event's payload and marks what it names.
async fn store(db: &mut PgConnection, event: Event, block: u64) -> Result<(), DbError> {
    match event.body {
        Body::Registry(IModelRegistryEvents::Published(published)) => {
            let header = published.header;
            let model = Model {
                id: published.model,
                publisher: published.publisher,
                file_digest: published.digest,
                plan_root: header.planRoot,
                weights_root: header.weightsRoot,
                operators: header.operators,
                weights: header.weights,
                trace_values: header.traceValues,
                layers: header.layers,
                profile: header.profile,
                io: published.io.to_vec(),
                // Postgres refuses zero bytes in text, and a publisher may send any.
                uri: published.uri.replace('\0', "\u{fffd}"),
                price: published.price,
            };
            tracing::info!(model = %model.id, "model published");
            db::models::insert_model(&mut *db, &model).await
        }
        Body::Market(event) => store_market(db, event, block).await,
        Body::Disputes(event) => store_dispute(db, event, block).await,
    }
}

async fn store_market(db: &mut PgConnection, event: IMarketEvents, block: u64) -> Result<(), DbError> {
    match event {
        IMarketEvents::Requested(requested) => {
            let request = NewRequest {
                id: requested.request,
                model: requested.model,
                requester: requested.requester,
                inputs: requested.inputs,
                input_data: requested.inputData.to_vec(),
                callback_gas: requested.options.callbackGas,
                callback_gas_price: requested.options.callbackGasPrice,
                deadline: requested.deadline,
                limit: requested.limit,
            };
            let before = db::requests::select_request(&mut *db, request.id).await?;
            if before.is_some_and(|old| old.inputs != request.inputs || old.model != request.model) {
                db::leases::update_request_changed(&mut *db, request.id).await?;
            }
            tracing::info!(request = %request.id, model = %request.model, "request seen");
            db::requests::insert_request(&mut *db, &request, block).await
        }
        IMarketEvents::Claimed(claimed) => {
            let claim = NewClaim {
                id: claimed.claim,
                request: claimed.request,
                attempt: claimed.attempt.into(),
                worker: claimed.worker,
                node: claimed.node,
                poster: claimed.poster,
                outputs: claimed.outputs,
                trace_root: claimed.traceRoot,
                output_data: claimed.outputData.to_vec(),
                window_end: claimed.windowEnd,
            };
            tracing::info!(request = %claim.request, claim_id = %claim.id, worker = %claim.worker, "claim seen");
            db::claims::insert_claim(&mut *db, &claim, block).await?;
            db::requests::update_touched(&mut *db, claim.request, block).await
        }
        IMarketEvents::Finalized(finalized) => touch(db, finalized.request, Some(finalized.claim), block).await,
        IMarketEvents::Struck(struck) => {
            tracing::info!(request = %struck.request, claim_id = %struck.claim, worker = %struck.worker, "claim struck");
            touch(db, struck.request, Some(struck.claim), block).await
        }
        IMarketEvents::Voided(voided) => touch(db, voided.request, Some(voided.claim), block).await,
        IMarketEvents::Closed(closed) => touch(db, closed.request, None, block).await,
        IMarketEvents::Delivered(delivered) => touch(db, delivered.request, None, block).await,
        IMarketEvents::Staked(_)
        | IMarketEvents::Unstaked(_)
        | IMarketEvents::NodeSet(_)
        | IMarketEvents::Credited(_)
        | IMarketEvents::Withdrawn(_) => Ok(()),
    }
}

async fn store_dispute(db: &mut PgConnection, event: IDisputesEvents, block: u64) -> Result<(), DbError> {
    match event {
        IDisputesEvents::Opened(opened) => {
            tracing::info!(dispute_id = %opened.dispute, claim_id = %opened.claim, "dispute opened");
            db::disputes::insert_dispute(&mut *db, opened.dispute, opened.claim, opened.challenger, block).await?;
            db::claims::update_touched(&mut *db, opened.claim, block).await
        }
        IDisputesEvents::Ended(ended) => {
            tracing::info!(dispute_id = %ended.dispute, claim_id = %ended.claim, phase = ?ended.phase, "dispute ended");
            db::disputes::update_touched_of_claim(&mut *db, ended.claim, block).await?;
            db::claims::update_touched(&mut *db, ended.claim, block).await
        }
        IDisputesEvents::Moved(moved) => db::disputes::update_touched(&mut *db, moved.dispute, block).await,
        IDisputesEvents::Settled(settled) => db::disputes::update_touched(&mut *db, settled.dispute, block).await,
        IDisputesEvents::LayerAnswered(answered) => {
            db::disputes::update_touched_of_claim(&mut *db, answered.claim, block).await
        }
        IDisputesEvents::Revealed(_)
        | IDisputesEvents::Parted(_)
        | IDisputesEvents::Pointed(_)
        | IDisputesEvents::Judged(_) => Ok(()),
    }
}

async fn touch(db: &mut PgConnection, request: U256, claim: Option<B256>, block: u64) -> Result<(), DbError> {
    if let Some(claim) = claim {
        db::claims::update_touched(&mut *db, claim, block).await?;
        db::disputes::update_touched_of_claim(&mut *db, claim, block).await?;
    }
    db::requests::update_touched(&mut *db, request, block).await
}

fn request_state(request: &IMarket::Request) -> Option<RequestState> {
    let status = match request.status {
        IMarket::RequestStatus::Requested => RequestStatus::Requested,
        IMarket::RequestStatus::Claimed => RequestStatus::Claimed,
        IMarket::RequestStatus::Final => RequestStatus::Final,
        IMarket::RequestStatus::Refunded => RequestStatus::Refunded,
        IMarket::RequestStatus::Void => RequestStatus::Void,
        _ => return None,
    };
    let delivery = match request.delivery {
        IMarket::Delivery::Pending => Delivery::Pending,
        IMarket::Delivery::Succeeded => Delivery::Succeeded,
        IMarket::Delivery::Reverted => Delivery::Reverted,
        _ => Delivery::None,
    };
    Some(RequestState {
        status,
        delivery,
        attempt: request.attempt.into(),
        deadline: request.deadline,
        limit: request.limit,
    })
}

fn claim_status(status: IMarket::ClaimStatus) -> ClaimStatus {
    match status {
        IMarket::ClaimStatus::Open => ClaimStatus::Open,
        IMarket::ClaimStatus::Final => ClaimStatus::Final,
        IMarket::ClaimStatus::Struck => ClaimStatus::Struck,
        IMarket::ClaimStatus::Void => ClaimStatus::Void,
        _ => ClaimStatus::Orphaned,
    }
}

fn phase(phase: ChainPhase) -> Option<Phase> {
    Some(match phase {
        ChainPhase::Choosing => Phase::Choosing,
        ChainPhase::Revealing => Phase::Revealing,
        ChainPhase::Picking => Phase::Picking,
        ChainPhase::Layering => Phase::Layering,
        ChainPhase::Defending => Phase::Defending,
        ChainPhase::Totalling => Phase::Totalling,
        ChainPhase::Parting => Phase::Parting,
        ChainPhase::Splitting => Phase::Splitting,
        ChainPhase::Proving => Phase::Proving,
        ChainPhase::Struck => Phase::Struck,
        ChainPhase::Lost => Phase::Lost,
        ChainPhase::Conceded => Phase::Conceded,
        ChainPhase::Voided => Phase::Voided,
        ChainPhase::Moot => Phase::Moot,
        ChainPhase::Settled => Phase::Settled,
        _ => return None,
    })
}

/// Refuses to start on another chain or another deployment than the one configured, or on a database of another one.
pub async fn check_chain(
    db: &PgPool,
    reader: &ChainReader,
    chain_id: Option<u64>,
    market: touchstone_chain::Address,
) -> anyhow::Result<(u64, Deployment)> {
    let actual = reader.chain_id().await.context("ask the node for its chain")?;
    if let Some(expected) = chain_id
        && expected != actual
    {
        anyhow::bail!("the node is on chain {actual}, the configuration says {expected}");
    }
    let head = reader.head().await?;
    if reader.code(market, head.hash).await?.is_empty() {
        anyhow::bail!("there is no contract at the market's address {market} on chain {actual}");
    }
    let deployment = Deployment::of_market(reader, market, head.hash)
        .await
        .context("find the deployment")?;
    deployment.check(reader, head.hash).await?;
    if let Some((stored_chain, stored_market)) = db::deployment::select_deployment(db).await? {
        if (stored_chain, stored_market) != (actual, market) {
            anyhow::bail!(
                "the database belongs to market {stored_market} on chain {stored_chain}, not to {market} on chain {actual}"
            );
        }
    } else {
        db::deployment::insert_deployment(db, actual, market).await?;
    }
    Ok((actual, deployment))
}
