//! anvil, mining at once and every second, with a clock that can be put forward.

use std::process::Stdio;

use alloy::{
    providers::{Provider as _, ProviderBuilder, RootProvider},
    signers::local::PrivateKeySigner,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{Account, root};

pub const CHAIN_ID: u64 = 31_337;

pub struct Node {
    pub url: String,
    keys: Vec<PrivateKeySigner>,
    provider: RootProvider,
    _child: Child,
}

impl Node {
    pub async fn start() -> Self {
        let mut child = Command::new(root().join(".state/bin/anvil"))
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--block-time",
                "1",
                "--mixed-mining",
            ])
            .args([
                "--hardfork",
                "osaka",
                "--enable-tx-gas-limit",
                "--accounts",
                "10",
                "--balance",
                "10000",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("anvil is set up (scripts/setup.sh)");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut keys = Vec::new();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("anvil says where it listens");
            if let Some(address) = line.strip_prefix("Listening on ") {
                break address.to_owned();
            }
            // "(0) 0x…" is an address of 20 bytes or a key of 32.
            if let Some(key) = line.split_whitespace().nth(1).filter(|word| word.len() == 66) {
                keys.push(key.parse().unwrap());
            }
        };
        // anvil stops when nobody reads what it writes.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}");
        let provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_http(url.parse().unwrap());
        Self {
            url,
            keys,
            provider,
            _child: child,
        }
    }

    pub fn key(&self, account: Account) -> PrivateKeySigner {
        self.keys[account as usize].clone()
    }

    /// Puts the chain's clock forward and mines a block.
    pub async fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.ask("evm_mine", json!([])).await;
    }

    pub async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.ask("evm_mine", json!([])).await;
        }
    }

    /// Replaces the last blocks with as many empty ones and one more.
    pub async fn reorganise(&self, depth: u64) {
        self.ask("anvil_reorg", json!([depth, []])).await;
        self.mine(1).await;
    }

    pub async fn ask(&self, method: &'static str, parameters: Value) -> Value {
        self.provider.raw_request(method.into(), parameters).await.unwrap()
    }
}
