//! anvil, with a block a second.
#![allow(unreachable_pub)]

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use touchstone_chain::PrivateKeySigner;

pub const CHAIN_ID: u64 = 31_337;

pub struct Node {
    pub url: String,
    keys: Vec<PrivateKeySigner>,
    _child: Child,
}

impl Node {
    pub async fn start() -> Self {
        let program = super::file("..").join(".state/bin/anvil");
        let mut child = Command::new(program)
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
        Self {
            url: format!("http://{address}"),
            keys,
            _child: child,
        }
    }

    pub fn key(&self, number: usize) -> PrivateKeySigner {
        self.keys[number].clone()
    }
}
