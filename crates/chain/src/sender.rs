//! One signer's nonce line.
//!
//! ```text
//!            estimate reverts ──────────────────────────────► Refused
//! (queued) ──► sign, store, broadcast ──► (sent) ──► mined, deep enough ──► Succeeded | Reverted
//!    ▲                                     │  └── not mined for a while: same nonce, higher fee
//!    └──── nonce used by something else ───┘
//! ```
//!
//! Nothing is remembered outside the store and the chain, so that a restart is the same code path as the next step.

use std::{collections::BTreeSet, fmt, time::Duration};

use alloy::{
    consensus::{SignableTransaction as _, Transaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::{Decodable2718 as _, Encodable2718 as _},
    network::TransactionBuilder as _,
    primitives::{Address, TxKind},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync as _, local::PrivateKeySigner},
};

use crate::{
    Block, ChainError, ChainReader,
    attempt::{AttemptState, Fees, classify},
    revert::Revert,
    store::{Attempt, Inclusion, MemoryStore, Order, Outcome, Store, StoredOrder},
};

/// Gas limit of a transaction (EIP-7825).
pub(crate) const MAX_TRANSACTION_GAS: u64 = 1 << 24;

/// Gas of a transfer to an account without code.
const TRANSFER_GAS: u64 = 21_000;

/// How a sender behaves.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Chain that transactions are signed for.
    pub chain_id: u64,
    /// Blocks on top of the one that holds a transaction until its outcome is believed.
    pub confirmations: u64,
    /// A transaction not mined for this long is sent again with a higher fee.
    pub bump_after: Duration,
    /// Wei per gas offered to the proposer at first.
    pub priority_fee: u128,
    /// Wei per gas never exceeded.
    pub max_fee: u128,
    /// Transactions in flight at once.
    pub max_in_flight: usize,
}

impl SenderConfig {
    /// Usual values for a chain.
    pub fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            confirmations: 1,
            bump_after: Duration::from_secs(12),
            priority_fee: 1_000_000_000,
            max_fee: 500_000_000_000,
            max_in_flight: 16,
        }
    }
}

/// A step that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError<E: std::error::Error + 'static> {
    /// The chain gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store gave no answer.
    #[error("use the order store: {0}")]
    Store(#[source] E),
    /// The key could not sign.
    #[error("sign a transaction: {0}")]
    Sign(#[from] alloy::signers::Error),
    /// The order was not finished in time; it may still be mined.
    #[error("order {key} has no outcome after {timeout:?}")]
    Unfinished {
        /// The order's purpose.
        key: String,
        /// How long we waited.
        timeout: Duration,
    },
}

/// Sends one signer's orders.
#[derive(Clone)]
pub struct Sender {
    reader: ChainReader,
    key: PrivateKeySigner,
    config: SenderConfig,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("address", &self.key.address())
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender for one key. No other program may send with the same key: each key is one nonce line.
    pub fn new(reader: ChainReader, key: PrivateKeySigner, config: SenderConfig) -> Self {
        Self { reader, key, config }
    }

    /// The account that pays.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// One pass over all open orders: looks for receipts, raises fees, sends what waits, the earliest deadline first.
    /// Returns the orders that ended. What fails for one order is logged and tried again in the next step; an error means
    /// that nothing could be done at all.
    pub async fn step<S: Store>(&self, store: &S, now: u64) -> Result<Vec<(String, Outcome)>, SenderError<S::Error>> {
        let open = store.open_orders().await.map_err(SenderError::Store)?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        // The nonce first: a receipt that is missing although the nonce was used is then no race.
        let next_nonce = self.reader.nonce(self.address()).await?;
        let head = self.reader.head().await?;
        let mut ended = Vec::new();
        let mut waiting = Vec::new();
        let mut taken = BTreeSet::new();
        let mut in_flight = 0;
        for stored in open {
            let key = stored.order.key.clone();
            if let Some(last) = stored.attempts.last() {
                let nonce = last.nonce;
                match self.follow(store, &stored, next_nonce, &head, now).await {
                    Ok(Followed::Ended(outcome)) => {
                        taken.insert(nonce);
                        ended.push((key, outcome));
                    }
                    Ok(Followed::InFlight) => {
                        taken.insert(nonce);
                        in_flight += 1;
                    }
                    Ok(Followed::Again) => waiting.push(stored),
                    Err(error) => {
                        taken.insert(nonce);
                        in_flight += 1;
                        tracing::warn!(order = %key, %error, "order not followed");
                    }
                }
            } else {
                waiting.push(stored);
            }
        }
        for stored in waiting {
            if in_flight >= self.config.max_in_flight {
                break;
            }
            let key = stored.order.key.clone();
            // The least that is free: what was mined in a block that is gone left a gap, which nothing after it can pass.
            let nonce = (next_nonce..).find(|nonce| !taken.contains(nonce)).unwrap_or(u64::MAX);
            match self.start(store, &stored.order, nonce, &head, now).await {
                Ok(Some(outcome)) => ended.push((key, outcome)),
                Ok(None) => {
                    taken.insert(nonce);
                    in_flight += 1;
                }
                Err(error) => {
                    tracing::warn!(order = %key, %error, "order not sent");
                    if let SenderError::Store(_) = error {
                        // Whether the nonce was stored is unknown: leave the rest for the next step.
                        break;
                    }
                }
            }
        }
        if taken.last().is_some_and(|last| *last > next_nonce) && !taken.contains(&next_nonce) {
            self.fill(next_nonce, &head, now).await?;
        }
        Ok(ended)
    }

    /// Nothing waits for a nonce that others wait behind: nothing is what it is used for. Sent again by the next step if need be, so
    /// it is not stored; where the nonce turns out to be used, the node refuses it.
    async fn fill<E: std::error::Error + 'static>(
        &self,
        nonce: u64,
        head: &Block,
        now: u64,
    ) -> Result<(), SenderError<E>> {
        let nothing = Order {
            key: format!("fill nonce {nonce}"),
            to: self.address(),
            data: Default::default(),
            value: Default::default(),
            deadline: now,
            gas_floor: 0,
        };
        let fees = Fees::first(head.base_fee, &self.config);
        let attempt = self.sign(&nothing, nonce, TRANSFER_GAS, fees, now)?;
        tracing::warn!(
            nonce,
            "a transaction before others in flight is gone from the chain, its nonce is filled"
        );
        self.broadcast(&nothing.key, &attempt).await;
        Ok(())
    }

    /// Sends one transaction and waits for its outcome, with nothing kept across a crash.
    pub async fn send(
        &self,
        order: Order,
        timeout: Duration,
    ) -> Result<Outcome, SenderError<std::convert::Infallible>> {
        let store = MemoryStore::default();
        let key = order.key.clone();
        store.insert(order);
        let wait = async {
            loop {
                self.step(&store, unix_now()).await?;
                if let Some(outcome) = store.outcome(&key) {
                    return Ok(outcome);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(timeout, wait)
            .await
            .unwrap_or(Err(SenderError::Unfinished {
                key: key.clone(),
                timeout,
            }))
    }

    async fn follow<S: Store>(
        &self,
        store: &S,
        stored: &StoredOrder,
        next_nonce: u64,
        head: &Block,
        now: u64,
    ) -> Result<Followed, SenderError<S::Error>> {
        let key = &stored.order.key;
        let mut states = Vec::new();
        for attempt in &stored.attempts {
            let receipt = self.reader.receipt(attempt.hash).await?;
            if let Some(receipt) = receipt {
                return self.mined(store, stored, &receipt, head).await;
            }
            let known = self.reader.knows(attempt.hash).await?;
            states.push(classify(attempt.nonce, next_nonce, None, known));
        }
        if states.iter().all(|state| *state == AttemptState::Replaced) {
            tracing::warn!(order = %key, "nonce used by another transaction, sending again");
            store.delete_attempts(key).await.map_err(SenderError::Store)?;
            return Ok(Followed::Again);
        }
        let Some(last) = stored.attempts.last() else {
            return Ok(Followed::Again);
        };
        if now.saturating_sub(last.signed_at) >= self.config.bump_after.as_secs() {
            let fees = Fees::bumped(last, head.base_fee, &self.config);
            if fees.max_fee > last.max_fee {
                // Not estimated again: the estimate could revert just because an earlier attempt is about to be mined.
                let gas = gas_limit_of(last).unwrap_or(MAX_TRANSACTION_GAS);
                let attempt = self.sign(&stored.order, last.nonce, gas, fees, now)?;
                tracing::info!(order = %key, transaction = %attempt.hash, "fee raised");
                store.insert_attempt(key, &attempt).await.map_err(SenderError::Store)?;
                self.broadcast(key, &attempt).await;
                return Ok(Followed::InFlight);
            }
        }
        if states.last() == Some(&AttemptState::Dropped) {
            self.broadcast(key, last).await;
        }
        Ok(Followed::InFlight)
    }

    async fn mined<S: Store>(
        &self,
        store: &S,
        stored: &StoredOrder,
        receipt: &TransactionReceipt,
        head: &Block,
    ) -> Result<Followed, SenderError<S::Error>> {
        let (Some(block), Some(number)) = (receipt.block_hash, receipt.block_number) else {
            return Ok(Followed::InFlight);
        };
        if head.number < number + self.config.confirmations.saturating_sub(1) {
            return Ok(Followed::InFlight);
        }
        let inclusion = Inclusion {
            transaction: receipt.transaction_hash,
            block,
            number,
            gas_used: receipt.gas_used,
            gas_price: receipt.effective_gas_price,
        };
        let outcome = if receipt.status() {
            Outcome::Succeeded(inclusion)
        } else {
            Outcome::Reverted(inclusion, self.replay(&stored.order, block).await?)
        };
        store
            .update_outcome(&stored.order.key, &outcome)
            .await
            .map_err(SenderError::Store)?;
        Ok(Followed::Ended(outcome))
    }

    /// Why a mined transaction reverted: what the same call says on the state of its block.
    async fn replay(&self, order: &Order, block: alloy::primitives::B256) -> Result<Revert, ChainError> {
        match self.reader.call_raw(self.request(order), block).await {
            Err(ChainError::Reverted { revert, .. }) => Ok(revert),
            Ok(_) => Ok(Revert {
                reason: "reverted in its place, not on its block's state".to_owned(),
                data: Default::default(),
            }),
            Err(error) => Err(error),
        }
    }

    async fn start<S: Store>(
        &self,
        store: &S,
        order: &Order,
        nonce: u64,
        head: &Block,
        now: u64,
    ) -> Result<Option<Outcome>, SenderError<S::Error>> {
        let gas = match self.gas_limit(order).await {
            Ok(gas) => gas,
            Err(ChainError::Reverted { revert, .. }) => {
                let outcome = Outcome::Refused(revert);
                store
                    .update_outcome(&order.key, &outcome)
                    .await
                    .map_err(SenderError::Store)?;
                return Ok(Some(outcome));
            }
            Err(error) => return Err(error.into()),
        };
        let attempt = self.sign(order, nonce, gas, Fees::first(head.base_fee, &self.config), now)?;
        store
            .insert_attempt(&order.key, &attempt)
            .await
            .map_err(SenderError::Store)?;
        tracing::info!(order = %order.key, transaction = %attempt.hash, "transaction sent");
        self.broadcast(&order.key, &attempt).await;
        Ok(None)
    }

    async fn gas_limit(&self, order: &Order) -> Result<u64, ChainError> {
        let estimate = self.reader.estimate_gas(self.request(order)).await?;
        // Metering and warm slots differ between the estimate and the block; unused gas is not paid.
        Ok((estimate + estimate / 4 + 20_000)
            .max(order.gas_floor)
            .min(MAX_TRANSACTION_GAS))
    }

    fn request(&self, order: &Order) -> TransactionRequest {
        TransactionRequest::default()
            .with_from(self.address())
            .with_to(order.to)
            .with_input(order.data.clone())
            .with_value(order.value)
    }

    fn sign(
        &self,
        order: &Order,
        nonce: u64,
        gas: u64,
        fees: Fees,
        now: u64,
    ) -> Result<Attempt, alloy::signers::Error> {
        let transaction = TxEip1559 {
            chain_id: self.config.chain_id,
            nonce,
            gas_limit: gas,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.priority_fee,
            to: TxKind::Call(order.to),
            value: order.value,
            access_list: Default::default(),
            input: order.data.clone(),
        };
        let signature = self.key.sign_hash_sync(&transaction.signature_hash())?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Attempt {
            nonce,
            hash: *envelope.tx_hash(),
            raw: envelope.encoded_2718().into(),
            max_fee: fees.max_fee,
            priority_fee: fees.priority_fee,
            signed_at: now,
        })
    }

    /// The attempt is stored: whatever the node says, the next step finds out what became of it.
    async fn broadcast(&self, key: &str, attempt: &Attempt) {
        if let Err(error) = self.reader.broadcast(&attempt.raw).await {
            let text = error.to_string().to_lowercase();
            let harmless = [
                "already known",
                "already imported",
                "known transaction",
                "nonce too low",
            ];
            if !harmless.iter().any(|words| text.contains(words)) {
                tracing::warn!(order = %key, transaction = %attempt.hash, %error, "transaction not accepted");
            }
        }
    }
}

/// The gas limit that an attempt was signed with.
fn gas_limit_of(attempt: &Attempt) -> Option<u64> {
    TxEnvelope::decode_2718(&mut attempt.raw.as_ref())
        .ok()
        .map(|transaction| transaction.gas_limit())
}

enum Followed {
    Ended(Outcome),
    InFlight,
    Again,
}

/// Unix seconds.
pub(crate) fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
