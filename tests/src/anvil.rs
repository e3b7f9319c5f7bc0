//! A local Ethereum node.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use touchstone_chain::PrivateKeySigner;

use crate::{paths, process};

/// Chain id of local networks.
pub const CHAIN_ID: u64 = 31_337;
/// Accounts with ether.
const ACCOUNTS: usize = 40;

/// A node that mines a block a second, with the limits of the mainnet. It ends when dropped.
#[derive(Debug)]
pub struct Anvil {
    /// Where it listens.
    pub url: String,
    /// Keys of accounts with ether.
    pub keys: Vec<PrivateKeySigner>,
    _child: Child,
}

impl Anvil {
    /// Starts a node with its files in `dir`, on `port`.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(dir: &Path, port: u16) -> Result<Self> {
        let accounts = dir.join("anvil.json");
        let log = std::fs::File::create(dir.join("anvil.log"))?;
        let child = Command::new(paths::tool("anvil")?)
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--chain-id",
                &CHAIN_ID.to_string(),
            ])
            // Blocks of a second in real time; the limit of EIP-7825 is not enforced otherwise.
            .args(["--block-time", "1", "--hardfork", "osaka", "--enable-tx-gas-limit"])
            .args(["--accounts", &ACCOUNTS.to_string(), "--balance", "10000"])
            .arg("--config-out")
            .arg(&accounts)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start anvil")?;
        let keys = process::appears(&accounts, Duration::from_secs(30), keys).await?;
        ensure!(
            keys.len() == ACCOUNTS,
            "anvil made {} accounts instead of {ACCOUNTS}",
            keys.len()
        );
        process::listening(port, Duration::from_secs(30)).await?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            keys,
            _child: child,
        })
    }
}

fn keys(config: &str) -> Option<Vec<PrivateKeySigner>> {
    let json: serde_json::Value = serde_json::from_str(config).ok()?;
    json.get("private_keys")?
        .as_array()?
        .iter()
        .map(|key| key.as_str()?.parse().ok())
        .collect()
}
