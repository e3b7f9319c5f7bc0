//! The logs of one deployment, typed.

use alloy::{
    primitives::{Address, B256},
    rpc::types::Log,
    sol_types::SolEventInterface,
};

use crate::{
    Block, ChainError, ChainReader,
    bindings::{
        IDisputes::{self, IDisputesEvents},
        IMarket::{self, IMarketEvents},
        IModelRegistry::IModelRegistryEvents,
    },
};

/// Addresses of one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Models.
    pub registry: Address,
    /// Requests, claims, money.
    pub market: Address,
    /// Disputes.
    pub disputes: Address,
}

/// A log of the deployment, with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its transaction.
    pub transaction: B256,
    /// Its number among the block's logs.
    pub log_index: u64,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event of the registry.
    Registry(IModelRegistryEvents),
    /// An event of the market.
    Market(IMarketEvents),
    /// An event of the disputes contract.
    Disputes(IDisputesEvents),
}

impl Deployment {
    /// Finds the other contracts from the market, as of a block.
    pub async fn of_market(reader: &ChainReader, market: Address, at: B256) -> Result<Self, ChainError> {
        Ok(Self {
            market,
            registry: reader.call(market, &IMarket::registryCall {}, at).await?,
            disputes: reader.call(market, &IMarket::disputesCall {}, at).await?,
        })
    }

    /// Whether the contracts name each other; an error says what does not fit.
    pub async fn check(&self, reader: &ChainReader, at: B256) -> Result<(), ChainError> {
        let what = "check the deployment";
        let found = Self::of_market(reader, self.market, at).await?;
        let market = reader.call(self.disputes, &IDisputes::marketCall {}, at).await?;
        if found != *self || market != self.market {
            return Err(ChainError::Inconsistent {
                what,
                detail: format!(
                    "configured {self:?}; the market names {found:?}, the disputes contract the market {market}"
                ),
            });
        }
        Ok(())
    }

    /// The deployment's events in a block, in order. A log that does not decode is an error that names it.
    pub async fn events(&self, reader: &ChainReader, block: &Block) -> Result<Vec<Event>, ChainError> {
        let addresses = [self.registry, self.market, self.disputes];
        reader
            .logs(block, &addresses)
            .await?
            .iter()
            .map(|log| self.decode(log))
            .collect()
    }

    fn decode(&self, log: &Log) -> Result<Event, ChainError> {
        let inconsistent = |detail: String| ChainError::Inconsistent {
            what: "decode a log",
            detail,
        };
        let wrong = |error: alloy::sol_types::Error| inconsistent(format!("of {}: {error}", log.address()));
        let (topics, data) = (log.inner.data.topics(), &log.inner.data);
        let raw = alloy::primitives::Log {
            address: log.address(),
            data: data.clone(),
        };
        let body = match log.address() {
            address if address == self.registry => {
                Body::Registry(IModelRegistryEvents::decode_raw_log(topics, &raw.data.data).map_err(wrong)?)
            }
            address if address == self.market => {
                Body::Market(IMarketEvents::decode_raw_log(topics, &raw.data.data).map_err(wrong)?)
            }
            address if address == self.disputes => {
                Body::Disputes(IDisputesEvents::decode_raw_log(topics, &raw.data.data).map_err(wrong)?)
            }
            address => return Err(inconsistent(format!("of a foreign contract {address}"))),
        };
        match (log.transaction_hash, log.log_index) {
            (Some(transaction), Some(log_index)) => Ok(Event {
                transaction,
                log_index,
                body,
            }),
            _ => Err(inconsistent("without its place".to_owned())),
        }
    }
}
