//! anvil for tests, here and in the services' crates, which include this file. It ends when dropped.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of it"
)]

use std::{path::Path, process::Stdio};

use alloy::providers::{Provider as _, ProviderBuilder, RootProvider};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use touchstone_chain::PrivateKeySigner;

pub const CHAIN_ID: u64 = 31_337;

/// A block a second, and one at once with each transaction.
pub const TICKING: [&str; 3] = ["--block-time", "1", "--mixed-mining"];

pub struct Anvil {
    pub url: String,
    pub keys: Vec<PrivateKeySigner>,
    provider: RootProvider,
    _child: Child,
}

impl Anvil {
    /// A node with the limits of the mainnet, on a free port. Without more arguments it mines with each transaction alone.
    pub async fn start(arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|folder| folder.join(".state/bin/anvil"))
            .find(|program| program.exists())
            .expect("anvil is set up (scripts/setup.sh)");
        let mut child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(["--hardfork", "osaka", "--enable-tx-gas-limit"])
            .args(["--accounts", "10", "--balance", "10000"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("anvil starts");
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

    pub fn key(&self, number: usize) -> PrivateKeySigner {
        self.keys[number].clone()
    }

    pub async fn ask(&self, method: &'static str, parameters: Value) -> Value {
        self.provider.raw_request(method.into(), parameters).await.unwrap()
    }

    /// Puts the chain's clock forward and mines a block.
    pub async fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.mine(1).await;
    }

    pub async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.ask("evm_mine", json!([])).await;
        }
    }

    pub async fn automine(&self, on: bool) {
        self.ask("evm_setAutomine", json!([on])).await;
    }

    /// Replaces the last blocks with as many empty ones and one more.
    pub async fn reorganise(&self, depth: u64) {
        self.ask("anvil_reorg", json!([depth, []])).await;
        self.mine(1).await;
    }
}
