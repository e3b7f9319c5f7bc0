//! Blocks, logs and contract state, each answer tied to a block hash.

use std::time::Duration;

use alloy::{
    consensus::BlockHeader as _,
    eips::BlockId,
    primitives::{Address, B256, Bloom, BloomInput, Bytes, U256},
    providers::{Provider as _, ProviderBuilder, RootProvider},
    rpc::types::{BlockNumberOrTag, Filter, Log, TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
    transports::{RpcError, TransportErrorKind},
};

use crate::{ChainError, revert::Revert};

/// What we keep of a block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its parent's hash.
    pub parent: B256,
    /// Unix seconds.
    pub timestamp: u64,
    /// Wei per gas; 0 before EIP-1559.
    pub base_fee: u64,
    /// Bloom filter of its logs.
    pub logs_bloom: Bloom,
}

/// Reads from one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChainReader {
    provider: RootProvider,
    timeout: Duration,
}

impl ChainReader {
    /// A reader of the node at an HTTP address; each request fails after `timeout`.
    ///
    /// # Errors
    /// The address does not parse. The node is not asked anything.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        let what = "parse the node's address";
        let url = url.parse().map_err(|_| ChainError::Unavailable {
            what,
            message: "not a URL".to_owned(),
        })?;
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_http(url);
        Ok(Self { provider, timeout })
    }

    /// The chain's id.
    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("chain id", async { self.provider.get_chain_id().await }).await
    }

    /// The node's newest block.
    pub async fn head(&self) -> Result<Block, ChainError> {
        let what = "head";
        let block = self
            .ask(what, async {
                self.provider.get_block_by_number(BlockNumberOrTag::Latest).await
            })
            .await?;
        block.map(of).ok_or(ChainError::NoBlock {
            what,
            block: B256::ZERO,
        })
    }

    /// The block with this hash, if the node has it.
    pub async fn block(&self, hash: B256) -> Result<Option<Block>, ChainError> {
        let what = "block by hash";
        let block = self
            .ask(what, async { self.provider.get_block_by_hash(hash).await })
            .await?
            .map(of);
        match block {
            Some(block) if block.hash != hash => Err(ChainError::Inconsistent {
                what,
                detail: format!("asked for {hash}, got {}", block.hash),
            }),
            block => Ok(block),
        }
    }

    /// The node's present block of this height.
    pub async fn block_at(&self, number: u64) -> Result<Option<Block>, ChainError> {
        let what = "block by number";
        let block = self
            .ask(what, async { self.provider.get_block_by_number(number.into()).await })
            .await?
            .map(of);
        match block {
            Some(block) if block.number != number => Err(ChainError::Inconsistent {
                what,
                detail: format!("asked for {number}, got {}", block.number),
            }),
            block => Ok(block),
        }
    }

    /// All logs that `addresses` emitted in this block, in order.
    ///
    /// "No logs" is believed only with proof: the header's bloom excludes every address, or all receipts of the block, whose
    /// logs make up that bloom, hold none. A node that lags answers the plain query with an empty list.
    pub async fn logs(&self, block: &Block, addresses: &[Address]) -> Result<Vec<Log>, ChainError> {
        let what = "logs of a block";
        if !addresses
            .iter()
            .any(|address| block.logs_bloom.contains_input(BloomInput::Raw(address.as_slice())))
        {
            return Ok(Vec::new());
        }
        let filter = Filter::new().at_block_hash(block.hash).address(addresses.to_vec());
        let mut logs = self.ask(what, async { self.provider.get_logs(&filter).await }).await?;
        if logs.is_empty() {
            logs = self.logs_of_receipts(block).await?;
            logs.retain(|log| addresses.contains(&log.address()));
        }
        for log in &logs {
            if log.block_hash != Some(block.hash) || log.removed || !addresses.contains(&log.address()) {
                return Err(ChainError::Inconsistent {
                    what,
                    detail: format!("a log of another block than {}", block.hash),
                });
            }
        }
        Ok(logs)
    }

    async fn logs_of_receipts(&self, block: &Block) -> Result<Vec<Log>, ChainError> {
        let what = "receipts of a block";
        let receipts = self
            .ask(what, async {
                self.provider.get_block_receipts(BlockId::hash(block.hash)).await
            })
            .await?
            .ok_or(ChainError::NoBlock {
                what,
                block: block.hash,
            })?;
        let logs: Vec<Log> = receipts
            .into_iter()
            .flat_map(|receipt| receipt.logs().to_vec())
            .collect();
        let mut bloom = Bloom::ZERO;
        for log in &logs {
            bloom.accrue_log(&log.inner);
        }
        if bloom != block.logs_bloom {
            return Err(ChainError::Inconsistent {
                what,
                detail: format!("logs do not make up the bloom of {}", block.hash),
            });
        }
        Ok(logs)
    }

    /// A contract's view, as of the block with this hash.
    pub async fn call<C: SolCall>(&self, to: Address, call: &C, at: B256) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().to(to).input(call.abi_encode().into());
        let bytes = self.call_raw(request, at).await?;
        C::abi_decode_returns(&bytes).map_err(|error| ChainError::Inconsistent {
            what: C::SIGNATURE,
            detail: error.to_string(),
        })
    }

    /// The bytes that a message would return, as of the block with this hash.
    pub async fn call_raw(&self, request: TransactionRequest, at: B256) -> Result<Bytes, ChainError> {
        self.ask("call", async {
            self.provider.call(request).block(BlockId::hash(at)).await
        })
        .await
    }

    /// An account's balance in wei, as of the block with this hash.
    pub async fn balance(&self, account: Address, at: B256) -> Result<U256, ChainError> {
        self.ask("balance", async {
            self.provider.get_balance(account).block_id(BlockId::hash(at)).await
        })
        .await
    }

    /// A contract's code, as of the block with this hash.
    pub async fn code(&self, account: Address, at: B256) -> Result<Bytes, ChainError> {
        self.ask("code", async {
            self.provider.get_code_at(account).block_id(BlockId::hash(at)).await
        })
        .await
    }

    /// The number of transactions of an account in mined blocks: its next nonce there.
    pub async fn nonce(&self, account: Address) -> Result<u64, ChainError> {
        self.ask("nonce", async { self.provider.get_transaction_count(account).await })
            .await
    }

    /// A mined transaction's receipt.
    pub async fn receipt(&self, transaction: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.ask("receipt", async {
            self.provider.get_transaction_receipt(transaction).await
        })
        .await
    }

    /// Whether the node knows the transaction, mined or not.
    pub async fn knows(&self, transaction: B256) -> Result<bool, ChainError> {
        let found = self
            .ask("transaction", async {
                self.provider.get_transaction_by_hash(transaction).await
            })
            .await?;
        Ok(found.is_some())
    }

    /// Gas that a transaction would use on the newest state.
    pub async fn estimate_gas(&self, request: TransactionRequest) -> Result<u64, ChainError> {
        self.ask("estimate gas", async { self.provider.estimate_gas(request).await })
            .await
    }

    /// Hands a signed transaction to the node.
    pub async fn broadcast(&self, raw: &[u8]) -> Result<(), ChainError> {
        self.ask("send a transaction", async {
            self.provider.send_raw_transaction(raw).await.map(|_| ())
        })
        .await
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, RpcError<TransportErrorKind>>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(self.timeout, request).await {
            Err(_) => Err(ChainError::Timeout {
                what,
                timeout: self.timeout,
            }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(explain(what, error)),
        }
    }
}

/// A node's error: a revert with its bytes, or words.
fn explain(what: &'static str, error: RpcError<TransportErrorKind>) -> ChainError {
    if let RpcError::ErrorResp(payload) = &error {
        if let Some(data) = payload.as_revert_data() {
            return ChainError::Reverted {
                what,
                revert: Revert::decode(data),
            };
        }
        if payload.message.contains("revert") {
            return ChainError::Reverted {
                what,
                revert: Revert::decode(Bytes::new()),
            };
        }
        return ChainError::Unavailable {
            what,
            message: payload.message.to_string(),
        };
    }
    ChainError::Unavailable {
        what,
        message: error.to_string(),
    }
}

fn of(block: alloy::rpc::types::Block) -> Block {
    let header = block.header;
    Block {
        number: header.number(),
        hash: header.hash,
        parent: header.parent_hash(),
        timestamp: header.timestamp(),
        base_fee: header.base_fee_per_gas().unwrap_or(0),
        logs_bloom: header.logs_bloom(),
    }
}
