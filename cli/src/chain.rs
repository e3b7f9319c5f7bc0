//! What the commands that talk to a chain share.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use touchstone_chain::{
    ChainReader, Inclusion, Order, Outcome, PrivateKeySigner, Sender, SenderConfig, event::Deployment,
};

/// How long the node may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a transaction may take to be mined.
const MINED: Duration = Duration::from_secs(180);

/// A chain and the contracts on it.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Ethereum node
    #[arg(long, env = "TOUCHSTONE_RPC_URL", value_name = "URL")]
    rpc: String,
    /// Market contract
    #[arg(long, env = "TOUCHSTONE_MARKET", value_name = "ADDRESS")]
    market: Address,
}

/// A connection and a key that pays.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    #[command(flatten)]
    connection: Connection,
    /// File with the hexadecimal private key that signs and pays
    #[arg(long, env = "TOUCHSTONE_KEY_FILE", value_name = "FILE")]
    key_file: PathBuf,
}

/// A reader and the contracts.
pub(crate) struct View {
    pub(crate) reader: ChainReader,
    pub(crate) deployment: Deployment,
}

/// A view that can send.
pub(crate) struct Session {
    pub(crate) view: View,
    pub(crate) deployment: Deployment,
    sender: Sender,
}

/// Runs a command's asynchronous part.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

impl Connection {
    pub(crate) async fn open(&self) -> Result<View> {
        let reader = ChainReader::new(&self.rpc, ANSWER)?;
        let head = reader
            .head()
            .await
            .with_context(|| format!("reach the Ethereum node at {}", self.rpc))?;
        let deployment = Deployment::of_market(&reader, self.market, head.hash)
            .await
            .with_context(|| format!("find Touchstone's market at {}", self.market))?;
        deployment.check(&reader, head.hash).await?;
        Ok(View { reader, deployment })
    }
}

impl Signing {
    pub(crate) async fn open(&self) -> Result<Session> {
        let path = self.key_file.display();
        let text = fs::read_to_string(&self.key_file).with_context(|| format!("read the key file {path}"))?;
        // The parser's message could quote the key.
        let Ok(key) = text.trim().parse::<PrivateKeySigner>() else {
            bail!("the key file {path} does not hold a private key of 64 hexadecimal digits");
        };
        let view = self.connection.open().await?;
        let chain_id = view.reader.chain_id().await?;
        let config = SenderConfig {
            confirmations: 0,
            ..SenderConfig::new(chain_id)
        };
        let sender = Sender::new(view.reader.clone(), key, config);
        Ok(Session {
            deployment: view.deployment,
            view,
            sender,
        })
    }
}

impl Session {
    /// The account that signs and pays.
    pub(crate) fn account(&self) -> Address {
        self.sender.address()
    }

    /// Sends a call and waits until it has succeeded.
    pub(crate) async fn send<C: SolCall>(&self, to: Address, value: U256, call: &C) -> Result<Inclusion> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let order = Order {
            key: C::SIGNATURE.to_owned(),
            to,
            data: call.abi_encode().into(),
            value,
            deadline: now + MINED.as_secs(),
            gas_floor: 0,
        };
        match self.sender.send(order, MINED).await? {
            Outcome::Succeeded(inclusion) => Ok(inclusion),
            Outcome::Refused(revert) => bail!("the contract would refuse: {}", revert.reason),
            Outcome::Reverted(inclusion, revert) => {
                bail!("transaction {} reverted: {}", inclusion.transaction, revert.reason)
            }
        }
    }
}
