//! What a person would do by hand: send a transaction, read a contract, wait for an event.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::sol_types::SolCall;
use anyhow::{Result, anyhow, bail};
use tokio::time::{Instant, sleep};
use touchstone_chain::{
    Address, Block, ChainReader, Inclusion, Order, Outcome, PrivateKeySigner, Sender, SenderConfig, U256,
    event::{Deployment, Event},
};

use crate::anvil::CHAIN_ID;

/// Longer than any honest wait for a block.
const SEND: Duration = Duration::from_secs(60);
/// A fifth of a block.
const POLL: Duration = Duration::from_millis(200);

/// Unix time, in seconds.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Sends a call and waits until it has succeeded.
///
/// # Errors
/// It reverted, or was not mined in time.
pub async fn send<C: SolCall>(
    reader: &ChainReader,
    key: &PrivateKeySigner,
    to: Address,
    value: U256,
    call: &C,
) -> Result<Inclusion> {
    match try_send(reader, key, to, value, call).await? {
        Outcome::Succeeded(inclusion) => Ok(inclusion),
        Outcome::Reverted(_, revert) | Outcome::Refused(revert) => {
            bail!("{} reverted: {}", C::SIGNATURE, describe(&revert))
        }
    }
}

/// Sends a call and waits for what becomes of it.
///
/// # Errors
/// It was not mined in time.
pub async fn try_send<C: SolCall>(
    reader: &ChainReader,
    key: &PrivateKeySigner,
    to: Address,
    value: U256,
    call: &C,
) -> Result<Outcome> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let sender = Sender::new(
        reader.clone(),
        key.clone(),
        SenderConfig {
            confirmations: 0,
            ..SenderConfig::new(CHAIN_ID)
        },
    );
    let order = Order {
        key: format!("{}:{}", C::SIGNATURE, NUMBER.fetch_add(1, Ordering::Relaxed)),
        to,
        data: call.abi_encode().into(),
        value,
        deadline: now() + SEND.as_secs(),
        gas_floor: 0,
    };
    Ok(sender.send(order, SEND).await?)
}

fn describe(revert: &touchstone_chain::revert::Revert) -> String {
    let market = revert.market().map(|error| format!("{error:?}"));
    let disputes = revert.disputes().map(|error| format!("{error:?}"));
    market.or(disputes).unwrap_or_else(|| format!("{revert:?}"))
}

/// Reads a view as of the newest block.
///
/// # Errors
/// The node does not answer, or the view reverts.
pub async fn view<C: SolCall>(reader: &ChainReader, contract: Address, call: &C) -> Result<C::Return> {
    let head = reader.head().await?;
    Ok(reader.call(contract, call, head.hash).await?)
}

/// An event with its block.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where.
    pub block: Block,
    /// What.
    pub event: Event,
}

/// All events of a deployment, in order, from a block on.
#[derive(Clone, Debug)]
pub struct Follower {
    reader: ChainReader,
    deployment: Deployment,
    next: u64,
    /// Everything seen so far.
    pub seen: Vec<Seen>,
}

impl Follower {
    /// Follows from block `from` on.
    pub fn new(reader: ChainReader, deployment: Deployment, from: u64) -> Self {
        Self {
            reader,
            deployment,
            next: from,
            seen: Vec::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn poll(&mut self) -> Result<()> {
        let head = self.reader.head().await?;
        while self.next <= head.number {
            let block = self.reader.block_at(self.next).await?;
            let block = block.ok_or_else(|| anyhow!("block {} is missing", self.next))?;
            for event in self.deployment.events(&self.reader, &block).await? {
                self.seen.push(Seen { block, event });
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Waits until some event, past ones included, is what `find` looks for.
    ///
    /// # Errors
    /// None is, in time; the error lists what happened instead.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        find: impl Fn(&Event) -> Option<T>,
    ) -> Result<(T, Seen)> {
        let until = Instant::now() + within;
        let mut looked_at = 0;
        loop {
            self.poll().await?;
            for seen in &self.seen[looked_at..] {
                if let Some(found) = find(&seen.event) {
                    return Ok((found, seen.clone()));
                }
            }
            looked_at = self.seen.len();
            if Instant::now() > until {
                let events: Vec<String> = self
                    .seen
                    .iter()
                    .map(|seen| crate::timeline::name(&seen.event.body))
                    .collect();
                bail!(
                    "{what} did not happen within {within:?}; what did: {}",
                    events.join(", ")
                );
            }
            sleep(POLL).await;
        }
    }
}
