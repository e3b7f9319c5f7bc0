//! A network on this machine: a chain with the contracts and the digits model, staked workers, and how to launch the services.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::sol_types::SolValue as _;
use anyhow::{Context as _, Result};
use tempfile::TempDir;
use touchstone_chain::{
    Address, B256, ChainReader, PrivateKeySigner, U256,
    bindings::{IMarket, IModelRegistry},
    deploy::{self, devnet_parameters},
    event::Deployment,
};
use touchstone_model::{CompileOptions, Plan, compile};
use touchstone_protocol::{digest::hash, model::Profile};

use crate::{
    anvil::{Anvil, CHAIN_ID},
    chain::{Follower, send},
    paths,
    postgres::Database,
    process::{Launch, free_port},
};

alloy::sol! {
    /// The example consumer that keeps the digit (contracts/src/examples/DigitStore.sol).
    interface IDigitStore {
        function ask(bytes calldata image, uint128 gasPrice) external payable returns (uint256 request);
        function model() external view returns (bytes32);
        function isAnswered(uint256 request) external view returns (bool);
        function digitOf(uint256 request) external view returns (uint8);
        function collect() external returns (uint256 amount);
    }
}

/// What a provider stakes unless it is told otherwise: three bonds, in wei.
pub const STAKE: u64 = 3_000_000_000_000_000_000;

/// Accounts by role: their numbers among anvil's.
mod role {
    pub(super) const DEPLOYER: usize = 0;
    pub(super) const PUBLISHER: usize = 1;
    pub(super) const CLAIMS: usize = 2;
    pub(super) const DISPUTES: usize = 3;
    pub(super) const CHALLENGER: usize = 4;
    pub(super) const OWNER: usize = 5;
    /// Of provider `n`, followed by its node key.
    pub(super) const FIRST_PROVIDER: usize = 6;
    /// Of publisher `n`, from 1 on.
    pub(super) const MORE_PUBLISHERS: usize = 29;
}

/// A published model.
#[derive(Clone, Debug)]
pub struct Published {
    /// The ONNX file.
    pub file: PathBuf,
    /// What it compiles to.
    pub plan: Plan,
    /// Its id under the network's publisher.
    pub id: B256,
}

/// A staked worker account and its node key.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Owns the stake.
    pub provider: Address,
    /// Signs claims.
    pub node: PrivateKeySigner,
}

/// A chain with the contracts, and everything needed to launch services on it.
#[derive(Debug)]
pub struct Network {
    /// Files of this network; removed at the end unless kept.
    pub dir: PathBuf,
    /// The node.
    pub anvil: Anvil,
    /// The coordinator's database.
    pub database: Database,
    /// Reads the chain.
    pub reader: ChainReader,
    /// The contracts.
    pub deployment: Deployment,
    /// Their terms.
    pub parameters: IMarket::Parameters,
    /// Port of the coordinator.
    pub coordinator_port: u16,
    _dir: Option<TempDir>,
}

impl Network {
    /// Brings up chain, contracts and database, with files in a temporary folder, or in `keep`.
    ///
    /// # Errors
    /// A part does not come up.
    pub async fn start(keep: Option<&Path>) -> Result<Self> {
        Self::start_with(keep, devnet_parameters()).await
    }

    /// As [`Network::start`], with other contract parameters.
    ///
    /// # Errors
    /// A part does not come up.
    pub async fn start_with(keep: Option<&Path>, parameters: IMarket::Parameters) -> Result<Self> {
        let temporary = if keep.is_none() {
            Some(TempDir::with_prefix("touchstone-")?)
        } else {
            None
        };
        let dir = match (keep, &temporary) {
            (Some(dir), _) => dir.to_path_buf(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => std::env::temp_dir(),
        };
        fs::create_dir_all(&dir)?;
        let (anvil, database) = tokio::try_join!(Anvil::start(&dir, free_port()?), Database::create())?;
        let reader = ChainReader::new(&anvil.url, Duration::from_secs(10))?;
        let key = anvil.keys.get(role::DEPLOYER).context("no deployer account")?;
        let deployment = deploy::deploy(&reader, key, &paths::artifacts(), &parameters).await?;
        Ok(Self {
            dir,
            anvil,
            database,
            reader,
            deployment,
            parameters,
            coordinator_port: free_port()?,
            _dir: temporary,
        })
    }

    fn key(&self, number: usize) -> Result<&PrivateKeySigner> {
        self.anvil
            .keys
            .get(number)
            .with_context(|| format!("anvil has no account {number}"))
    }

    /// Follows the contracts' events from the beginning.
    pub fn follow(&self) -> Follower {
        Follower::new(self.reader.clone(), self.deployment, 0)
    }

    /// Key of the account that challenges.
    ///
    /// # Errors
    /// Anvil has too few accounts.
    pub fn challenger_key(&self) -> Result<&PrivateKeySigner> {
        self.key(role::CHALLENGER)
    }

    /// Key of the account that owns the consumers and pays for requests.
    ///
    /// # Errors
    /// Anvil has too few accounts.
    pub fn owner_key(&self) -> Result<&PrivateKeySigner> {
        self.key(role::OWNER)
    }

    /// Key of publisher `number`. The same model of another publisher has another id.
    ///
    /// # Errors
    /// Anvil has too few accounts.
    pub fn publisher_key(&self, number: usize) -> Result<&PrivateKeySigner> {
        match number {
            0 => self.key(role::PUBLISHER),
            more => self.key(role::MORE_PUBLISHERS + more),
        }
    }

    /// Compiles a model and publishes it at a price of 0.01 ETH.
    ///
    /// # Errors
    /// It does not compile, or the registry refuses.
    pub async fn publish(&self, file: &Path) -> Result<Published> {
        self.publish_by(0, file).await
    }

    /// The same by publisher `number`.
    ///
    /// # Errors
    /// It does not compile, or the registry refuses.
    pub async fn publish_by(&self, number: usize, file: &Path) -> Result<Published> {
        self.publish_under(number, file, Profile::FAST).await
    }

    /// The same under a numerics profile.
    ///
    /// # Errors
    /// It does not compile, or the registry refuses.
    pub async fn publish_under(&self, number: usize, file: &Path, profile: Profile) -> Result<Published> {
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let options = CompileOptions {
            profile: profile.encode(),
            ..CompileOptions::default()
        };
        let plan = compile(&bytes, &options)?;
        let publisher = self.publisher_key(number)?;
        let header = plan.header()?;
        let call = IModelRegistry::publishCall {
            header: (&header).into(),
            io: plan.io().encode()?.into(),
            uri: String::new(),
            digest: hash(&bytes),
            price: U256::from(10_000_000_000_000_000_u64),
        };
        send(&self.reader, publisher, self.deployment.registry, U256::ZERO, &call).await?;
        Ok(Published {
            file: file.to_path_buf(),
            id: header.id(publisher.address()),
            plan,
        })
    }

    /// Stakes 3 ETH for provider `number` and delegates to its node key.
    ///
    /// # Errors
    /// A transaction fails.
    pub async fn stake(&self, number: usize) -> Result<Provider> {
        self.stake_with(number, U256::from(STAKE)).await
    }

    /// The same with another stake, in wei.
    ///
    /// # Errors
    /// A transaction fails.
    pub async fn stake_with(&self, number: usize, stake: U256) -> Result<Provider> {
        let provider = self.key(role::FIRST_PROVIDER + 2 * number)?;
        let node = self.key(role::FIRST_PROVIDER + 2 * number + 1)?.clone();
        send(
            &self.reader,
            provider,
            self.deployment.market,
            stake,
            &IMarket::stakeCall {},
        )
        .await?;
        let delegate = IMarket::setNodeCall { node: node.address() };
        send(&self.reader, provider, self.deployment.market, U256::ZERO, &delegate).await?;
        Ok(Provider {
            provider: provider.address(),
            node,
        })
    }

    /// Deploys an example consumer of a model.
    ///
    /// # Errors
    /// The deployment fails.
    pub async fn consumer(&self, contract: &str, model: B256) -> Result<Address> {
        let arguments = (self.deployment.market, model).abi_encode_params();
        Ok(deploy::deploy_contract(
            &self.reader,
            self.owner_key()?,
            &paths::artifacts(),
            contract,
            arguments,
        )
        .await?)
    }

    /// Where the coordinator's gRPC services are.
    pub fn coordinator_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.coordinator_port)
    }

    /// How to launch the coordinator.
    ///
    /// # Errors
    /// Anvil has too few accounts.
    pub fn coordinator(&self) -> Result<Launch> {
        let models = paths::root().join("models");
        let model_dirs = ["digits_vit", "suite", "long", "halves"].map(|dir| models.join(dir).display().to_string());
        let environment = [
            ("TOUCHSTONE_DATABASE_URL", self.database.url.clone()),
            ("TOUCHSTONE_RPC_URL", self.anvil.url.clone()),
            ("TOUCHSTONE_MARKET", self.deployment.market.to_string()),
            ("TOUCHSTONE_CLAIM_KEY", hex(self.key(role::CLAIMS)?)),
            ("TOUCHSTONE_DISPUTE_KEY", hex(self.key(role::DISPUTES)?)),
            ("TOUCHSTONE_LISTEN", format!("127.0.0.1:{}", self.coordinator_port)),
            (
                "TOUCHSTONE_DATA_DIR",
                self.dir.join("coordinator").display().to_string(),
            ),
            ("TOUCHSTONE_MODEL_DIRS", model_dirs.join(":")),
        ];
        Ok(self.launch("coordinator", "touchstone-coordinator", &[], environment))
    }

    /// How to launch a worker.
    pub fn worker(&self, name: &str, program: &str, provider: &Provider) -> Launch {
        let environment = [
            ("TOUCHSTONE_WORKER_COORDINATOR", self.coordinator_url()),
            ("TOUCHSTONE_WORKER_RPC", self.anvil.url.clone()),
            ("TOUCHSTONE_WORKER_CHAIN_ID", CHAIN_ID.to_string()),
            ("TOUCHSTONE_WORKER_MARKET", self.deployment.market.to_string()),
            ("TOUCHSTONE_WORKER_PROVIDER", provider.provider.to_string()),
            ("TOUCHSTONE_WORKER_NODE_KEY", hex(&provider.node)),
            ("TOUCHSTONE_WORKER_DATA_DIR", self.dir.join(name).display().to_string()),
            ("TOUCHSTONE_WORKER_THREADS", "1".to_owned()),
        ];
        self.launch(name, program, &[], environment)
    }

    /// How to launch a worker that cheats (`adversary::Cheat` by name).
    pub fn cheat(&self, cheat: &str, provider: &Provider) -> Launch {
        let name = format!("{cheat}-worker-{}", provider.provider);
        self.worker(&name, "adversary-worker", provider)
            .with("TOUCHSTONE_CHEAT", cheat)
    }

    /// How to launch a challenger.
    ///
    /// # Errors
    /// Anvil has too few accounts.
    pub fn challenger(&self, name: &str, program: &str, arguments: &[&str]) -> Result<Launch> {
        let environment = [
            ("TOUCHSTONE_CHALLENGER_COORDINATOR", self.coordinator_url()),
            ("TOUCHSTONE_CHALLENGER_RPC", self.anvil.url.clone()),
            ("TOUCHSTONE_CHALLENGER_CHAIN_ID", CHAIN_ID.to_string()),
            ("TOUCHSTONE_CHALLENGER_MARKET", self.deployment.market.to_string()),
            ("TOUCHSTONE_CHALLENGER_KEY", hex(self.challenger_key()?)),
            (
                "TOUCHSTONE_CHALLENGER_DATA_DIR",
                self.dir.join(name).display().to_string(),
            ),
        ];
        Ok(self.launch(name, program, arguments, environment))
    }

    fn launch<const N: usize>(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
        environment: [(&str, String); N],
    ) -> Launch {
        Launch {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            logs: self.dir.join("logs"),
        }
    }
}

fn hex(key: &PrivateKeySigner) -> String {
    format!("0x{}", alloy::primitives::hex::encode(key.to_bytes()))
}
