//! A network of one's own for a test: Postgres, anvil with the contracts, a coordinator in this process, and hands to play
//! worker, requester and challenger with.

#[path = "../../../../crates/chain/tests/common/anvil.rs"]
pub mod anvil;
#[path = "../../../../crates/service/tests/common/certificates.rs"]
pub mod certificates;
pub mod postgres;
pub mod toy;
pub mod worker;

use std::{path::PathBuf, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use touchstone_chain::{
    Address, B256, ChainReader, Order, Outcome, PrivateKeySigner, Sender, SenderConfig, SolCall, U256,
    bindings::IMarket,
    deploy::{deploy, devnet_parameters},
    event::Deployment,
};
use touchstone_coordinator::config::{Config, Settings};

/// Nothing here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Accounts by their part in a test.
#[derive(Clone, Copy)]
pub enum Account {
    Deployer = 0,
    Claims = 1,
    Disputes = 2,
    Requester = 3,
    Challenger = 4,
    Provider = 5,
    OtherProvider = 6,
}

/// The network.
pub struct Net {
    pub node: anvil::Anvil,
    pub database: postgres::Database,
    pub reader: ChainReader,
    pub deployment: Deployment,
    pub dir: tempfile::TempDir,
}

impl Net {
    /// Contracts deployed, the toy model published, two providers staked with their node keys set.
    pub async fn start() -> Self {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let node = anvil::Anvil::start(&anvil::TICKING).await;
        let database = postgres::Database::create().await;
        let reader = ChainReader::new(&node.url, Duration::from_secs(10)).unwrap();
        let key = node.key(Account::Deployer as usize);
        let artifacts = root().join("contracts/artifacts");
        let deployment = deploy(&reader, &key, &artifacts, &devnet_parameters()).await.unwrap();
        let net = Self {
            node,
            database,
            reader,
            deployment,
            dir: tempfile::tempdir().unwrap(),
        };
        net.send(
            Account::Deployer,
            net.deployment.registry,
            &toy::publish_call(),
            U256::ZERO,
        )
        .await;
        for account in [Account::Provider, Account::OtherProvider] {
            let stake = U256::from(5_000_000_000_000_000_000_u64);
            net.send(account, net.deployment.market, &IMarket::stakeCall {}, stake)
                .await;
            let node = worker::node_key(account).address();
            net.send(
                account,
                net.deployment.market,
                &IMarket::setNodeCall { node },
                U256::ZERO,
            )
            .await;
        }
        net
    }

    pub fn key(&self, account: Account) -> PrivateKeySigner {
        self.node.key(account as usize)
    }

    /// Sends a call and expects success.
    pub async fn send(&self, from: Account, to: Address, call: &impl SolCall, value: U256) -> B256 {
        let sender = Sender::new(self.reader.clone(), self.key(from), SenderConfig::new(anvil::CHAIN_ID));
        let order = Order {
            key: "test".to_owned(),
            to,
            data: call.abi_encode().into(),
            value,
            deadline: 0,
            gas_floor: 0,
        };
        match sender.send(order, PATIENCE).await.unwrap() {
            Outcome::Succeeded(inclusion) => inclusion.block,
            other => panic!("not sent: {other:?}"),
        }
    }

    /// Reads a view at the head.
    pub async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let head = self.reader.head().await.unwrap();
        self.reader.call(to, &call, head.hash).await.unwrap()
    }

    /// Asks for the toy model's work with no callback; gives the request's number.
    pub async fn request(&self) -> U256 {
        let none = IMarket::Options {
            mode: IMarket::CallbackMode::None,
            callbackGas: 0,
            callbackGasPrice: 0,
            tag: B256::ZERO,
        };
        self.request_with(none, U256::from(1_000_000)).await
    }

    /// Asks for the toy model's work with these options, paying `value` wei.
    pub async fn request_with(&self, options: IMarket::Options, value: U256) -> U256 {
        let call = IMarket::requestCall {
            model: toy::model_id(self.key(Account::Deployer).address()),
            inputs: toy::INPUT.to_vec().into(),
            options,
        };
        self.send(Account::Requester, self.deployment.market, &call, value)
            .await;
        self.view(self.deployment.market, IMarket::requestCountCall {}).await
    }

    pub async fn status(&self, request: U256) -> IMarket::RequestStatus {
        self.view(self.deployment.market, IMarket::requestOfCall { request })
            .await
            .status
    }

    /// Waits until a request has a status on chain.
    pub async fn until_status(&self, request: U256, status: IMarket::RequestStatus) {
        eventually(&format!("request {request} is {status:?}"), async || {
            (self.status(request).await == status).then_some(())
        })
        .await;
    }

    pub fn settings(&self) -> Settings {
        Settings {
            database_url: Some(self.database.url.clone()),
            rpc_url: Some(self.node.url.clone()),
            chain_id: Some(anvil::CHAIN_ID),
            market: Some(self.deployment.market),
            claim_key: Some(format!("{:x}", self.key(Account::Claims).to_bytes())),
            dispute_key: Some(format!("{:x}", self.key(Account::Disputes).to_bytes())),
            data_dir: Some(self.dir.path().join("coordinator")),
            model_dirs: Some(vec![self.dir.path().join("models")]),
            confirmations: Some(1),
            poll_milliseconds: Some(50),
            ..Settings::default()
        }
    }

    /// Waits until a query counts this many rows.
    pub async fn until_rows(&self, query: &'static str, count: i64) {
        let mut connection = self.database.connect().await;
        eventually(query, async || {
            let rows: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
            (rows == count).then_some(())
        })
        .await;
    }

    /// Starts a coordinator on a free port.
    pub async fn coordinator(&self) -> Coordinator {
        self.coordinator_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn coordinator_with(&self, change: impl FnOnce(&mut Settings)) -> Coordinator {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = self.settings();
        change(&mut settings);
        let config = Config::try_from(settings).unwrap();
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(touchstone_coordinator::run_on(config, listener, shutdown.clone()));
        Coordinator { url, shutdown, task }
    }
}

/// A coordinator in this process.
pub struct Coordinator {
    pub url: String,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Coordinator {
    /// Ends it in good order.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("stops in time")
            .unwrap()
            .unwrap();
    }

    /// Ends it wherever it is.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let wait = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
