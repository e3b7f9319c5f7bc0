//! Configuration: default < file < environment < flag, checked into typed units, shown without secrets.

use std::{fmt, num::NonZero, path::PathBuf, time::Duration};

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use touchstone_service::{
    CoordinatorAddress,
    config::{read, required, without_secrets},
};
use touchstone_wire::limits::MAX_CAPACITY;

pub use touchstone_service::config::Key;

/// Where tensors are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// What is left unset here is taken from the file, then from the defaults.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Configuration file (TOML; keys are these flags with underscores)
    #[arg(long, env = "TOUCHSTONE_WORKER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Coordinator, as http://127.0.0.1:7400 or https://host:port
    #[arg(long, env = "TOUCHSTONE_WORKER_COORDINATOR", value_name = "URL")]
    pub coordinator: Option<String>,
    /// Certificate authorities (PEM) that an https coordinator may be certified by, instead of the system's
    #[arg(long, env = "TOUCHSTONE_WORKER_COORDINATOR_CA", value_name = "FILE")]
    pub coordinator_ca: Option<PathBuf>,
    /// Dial an http coordinator on another machine: for networks that nobody else is on
    #[arg(long, env = "TOUCHSTONE_WORKER_ALLOW_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    pub allow_plaintext: Option<bool>,
    /// Ethereum node, for checking leases and answering disputes directly
    #[arg(long, env = "TOUCHSTONE_WORKER_RPC", value_name = "URL")]
    pub rpc: Option<String>,
    /// Chain that claims are signed for
    #[arg(long, env = "TOUCHSTONE_WORKER_CHAIN_ID", value_name = "ID")]
    pub chain_id: Option<u64>,
    /// Market contract that claims are signed for
    #[arg(long, env = "TOUCHSTONE_WORKER_MARKET", value_name = "ADDRESS")]
    pub market: Option<Address>,
    /// Provider: the account that holds the stake
    #[arg(long, env = "TOUCHSTONE_WORKER_PROVIDER", value_name = "ADDRESS")]
    pub provider: Option<Address>,
    /// File that holds the node key (hex); the environment variable TOUCHSTONE_WORKER_NODE_KEY holds the key itself
    #[arg(long, env = "TOUCHSTONE_WORKER_NODE_KEY_FILE", value_name = "FILE")]
    pub node_key_file: Option<PathBuf>,
    /// Folder for runs that must be kept, and model files
    #[arg(long, env = "TOUCHSTONE_WORKER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Model file to use instead of fetching it (repeat)
    #[arg(
        long = "model-file",
        env = "TOUCHSTONE_WORKER_MODEL_FILES",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub model_files: Option<Vec<PathBuf>>,
    /// Id of a model to serve (repeat); none: every registered model
    #[arg(
        long = "serve",
        env = "TOUCHSTONE_WORKER_SERVE",
        value_name = "MODEL_ID",
        value_delimiter = ','
    )]
    pub serve: Option<Vec<B256>>,
    /// Jobs at once
    #[arg(long, env = "TOUCHSTONE_WORKER_CAPACITY")]
    pub capacity: Option<u32>,
    /// Where tensors are computed
    #[arg(long, env = "TOUCHSTONE_WORKER_DEVICE", value_enum)]
    pub device: Option<Device>,
    /// Threads of one operator; part of what makes replays bit-identical, so the worker does not start with another number while claims are open
    #[arg(long, env = "TOUCHSTONE_WORKER_THREADS")]
    pub threads: Option<u16>,
    /// Answer disputes by own transactions when this share of the clock has passed unanswered (percent; needs rpc)
    #[arg(long, env = "TOUCHSTONE_WORKER_DIRECT_AFTER", value_name = "PERCENT")]
    pub direct_after_percent: Option<u64>,
    /// Never send transactions
    #[arg(long, env = "TOUCHSTONE_WORKER_NO_DIRECT", num_args = 0..=1, default_missing_value = "true")]
    pub no_direct: Option<bool>,
    /// Where the node key is the provider's own: credit in the market is withdrawn when its balance is below this, in wei [default: 0.05 ether]
    #[arg(long, env = "TOUCHSTONE_WORKER_WITHDRAW_BELOW", value_name = "WEI")]
    pub withdraw_below_wei: Option<String>,
    /// Keep all inner values of a run, so that answering a dispute needs no replay
    #[arg(long, env = "TOUCHSTONE_WORKER_KEEP_INNER", num_args = 0..=1, default_missing_value = "true")]
    pub keep_inner: Option<bool>,
    /// How often the chain is polled, in milliseconds
    #[arg(long, env = "TOUCHSTONE_WORKER_POLL_MS", value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// How long a run is kept after its claim has ended, or can no longer be on chain, in seconds
    #[arg(long, env = "TOUCHSTONE_WORKER_KEEP_SECONDS", value_name = "SECONDS")]
    pub keep_seconds: Option<u64>,
}

/// What the worker runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the coordinator's gRPC services are.
    pub coordinator: CoordinatorAddress,
    /// Address of an Ethereum node.
    pub rpc: Option<String>,
    /// Chain that claims are signed for.
    pub chain_id: u64,
    /// Market that claims are signed for.
    pub market: Address,
    /// Holder of the stake.
    pub provider: Address,
    /// Signs claims, layer answers and direct moves.
    pub node: Key,
    /// Store and model files.
    pub data_dir: PathBuf,
    /// Files that are used instead of being fetched.
    pub model_files: Vec<PathBuf>,
    /// Models served; empty: every registered one.
    pub serve: Vec<B256>,
    /// Jobs at once.
    pub capacity: u32,
    /// Where tensors are computed.
    pub device: Device,
    /// Threads of one operator.
    pub threads: NonZero<u16>,
    /// Share of the worker's clock, in percent, after which it answers by itself; `None`: never.
    pub direct_after_percent: Option<u64>,
    /// Balance of the node key below which credit is withdrawn.
    pub withdraw_below: U256,
    /// Whether inner values are stored with every run.
    pub keep_inner: bool,
    /// Interval of polling the chain.
    pub poll: Duration,
    /// How long a run outlives its claim.
    pub keep: Duration,
}

/// Interval of polling the chain, unless set.
const DEFAULT_POLL_MS: u64 = 1_000;
/// Half of the clock leaves the coordinator its half and us ours.
const DEFAULT_DIRECT_AFTER_PERCENT: u64 = 50;
/// A day: longer than any reorganisation, and than any request of a sane deployment.
const DEFAULT_KEEP_SECONDS: u64 = 86_400;
/// Some transactions of some million gas at usual fees: what a node key should hold to answer a dispute by itself.
pub(crate) const COMFORTABLE_BALANCE_WEI: u64 = 50_000_000_000_000_000;
const NODE_KEY_VARIABLE: &str = "TOUCHSTONE_WORKER_NODE_KEY";

impl Config {
    /// Completes the options from the file and the defaults and checks them.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a missing or senseless value.
    pub fn load(flags: Options) -> anyhow::Result<Self> {
        let file: Options = read(flags.config.as_deref())?;
        Self::resolve(flags, file, std::env::var(NODE_KEY_VARIABLE).ok())
    }

    fn resolve(flags: Options, file: Options, key: Option<String>) -> anyhow::Result<Self> {
        let key_file = flags.node_key_file.or(file.node_key_file);
        let key = Key::load(NODE_KEY_VARIABLE, key.as_deref(), key_file.as_deref())?
            .with_context(|| format!("the node key is missing: set --node-key-file or {NODE_KEY_VARIABLE}"))?;
        let rpc = flags.rpc.or(file.rpc);
        let no_direct = flags.no_direct.or(file.no_direct).unwrap_or(false);
        let percent = flags
            .direct_after_percent
            .or(file.direct_after_percent)
            .unwrap_or(DEFAULT_DIRECT_AFTER_PERCENT);
        ensure!(
            percent <= 90,
            "direct_after_percent is {percent}, at most 90 leaves time to answer"
        );
        let capacity = flags.capacity.or(file.capacity).unwrap_or(1);
        ensure!(
            (1..=MAX_CAPACITY).contains(&capacity),
            "capacity is {capacity}, must be 1 to {MAX_CAPACITY}"
        );
        let threads =
            NonZero::new(flags.threads.or(file.threads).unwrap_or(1)).context("threads is 0, must be at least 1")?;
        let poll_ms = flags.poll_ms.or(file.poll_ms).unwrap_or(DEFAULT_POLL_MS);
        ensure!(
            (10..=60_000).contains(&poll_ms),
            "poll_ms is {poll_ms}, must be 10 to 60000"
        );
        let withdraw_below = match flags.withdraw_below_wei.or(file.withdraw_below_wei) {
            Some(text) => text
                .parse()
                .with_context(|| format!("withdraw_below_wei is {text}, must be a number of wei"))?,
            None => U256::from(COMFORTABLE_BALANCE_WEI),
        };
        let coordinator = CoordinatorAddress::new(
            &required("coordinator", flags.coordinator.or(file.coordinator))?,
            flags.coordinator_ca.or(file.coordinator_ca),
            flags.allow_plaintext.or(file.allow_plaintext).unwrap_or(false),
        )?;
        Ok(Self {
            coordinator,
            direct_after_percent: (rpc.is_some() && !no_direct).then_some(percent),
            rpc,
            chain_id: required("chain_id", flags.chain_id.or(file.chain_id))?,
            market: required("market", flags.market.or(file.market))?,
            provider: required("provider", flags.provider.or(file.provider))?,
            node: key,
            data_dir: flags
                .data_dir
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from("touchstone-worker")),
            model_files: flags.model_files.or(file.model_files).unwrap_or_default(),
            serve: flags.serve.or(file.serve).unwrap_or_default(),
            capacity,
            device: flags.device.or(file.device).unwrap_or(Device::Cpu),
            threads,
            withdraw_below,
            keep_inner: flags.keep_inner.or(file.keep_inner).unwrap_or(false),
            poll: Duration::from_millis(poll_ms),
            keep: Duration::from_secs(flags.keep_seconds.or(file.keep_seconds).unwrap_or(DEFAULT_KEEP_SECONDS)),
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "coordinator   {}", self.coordinator)?;
        writeln!(
            f,
            "rpc           {}",
            self.rpc.as_deref().map_or("none".into(), without_secrets)
        )?;
        writeln!(f, "chain id      {}", self.chain_id)?;
        writeln!(f, "market        {}", self.market)?;
        writeln!(f, "provider      {}", self.provider)?;
        writeln!(f, "node          {}", self.node.0.address())?;
        writeln!(f, "data dir      {}", self.data_dir.display())?;
        writeln!(f, "capacity      {}", self.capacity)?;
        writeln!(f, "device        {:?}, {} threads", self.device, self.threads)?;
        match self.direct_after_percent {
            Some(percent) => writeln!(f, "direct        after {percent} % of the clock"),
            None => writeln!(f, "direct        never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0x4646464646464646464646464646464646464646464646464646464646464646";

    fn file() -> Options {
        toml::from_str(
            "coordinator = 'http://127.0.0.1:7400'\nchain_id = 31337\ncapacity = 2\nthreads = 2\n\
             market = '0x1111111111111111111111111111111111111111'\n\
             provider = '0x2222222222222222222222222222222222222222'\n",
        )
        .unwrap()
    }

    #[test]
    fn flags_beat_the_file_and_the_file_beats_defaults() {
        let flags = Options {
            capacity: Some(3),
            ..Options::default()
        };
        let config = Config::resolve(flags, file(), Some(KEY.into())).unwrap();
        assert_eq!(
            (config.capacity, config.threads.get(), config.poll.as_millis()),
            (3, 2, 1_000)
        );
    }

    #[test]
    fn unknown_keys_and_missing_values_are_refused_by_name() {
        assert!(
            toml::from_str::<Options>("capcity = 2")
                .unwrap_err()
                .to_string()
                .contains("capcity")
        );
        let error = Config::resolve(Options::default(), Options::default(), Some(KEY.into())).unwrap_err();
        assert!(error.to_string().contains("coordinator"), "{error}");
        let error = Config::resolve(Options::default(), file(), None).unwrap_err();
        assert!(error.to_string().contains("node key"), "{error}");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut file = file();
        file.rpc = Some("https://user:pass@node.example:8545/v2/secret?key=secret".into());
        let config = Config::resolve(Options::default(), file, Some(KEY.into())).unwrap();
        for text in [config.to_string(), format!("{:?}", config.node)] {
            assert!(
                !text.contains("secret") && !text.contains("pass") && !text.contains("4646"),
                "{text}"
            );
        }
        assert!(config.to_string().contains("https://node.example:8545/…"));
        let error = Config::resolve(Options::default(), Options::default(), Some("0xsecret".into())).unwrap_err();
        assert!(!format!("{error:#}").contains("secret"));
    }

    #[test]
    fn plaintext_to_another_machine_has_to_be_allowed() {
        let at = |url: &str, allow| {
            let flags = Options {
                coordinator: Some(url.into()),
                allow_plaintext: allow,
                ..Options::default()
            };
            Config::resolve(flags, file(), Some(KEY.into()))
        };
        at("https://example.org", None).unwrap();
        at("http://example.org", Some(true)).unwrap();
        let error = at("http://example.org", None).unwrap_err().to_string();
        assert!(error.contains("--allow-plaintext"), "{error}");
    }

    #[test]
    fn direct_answers_need_a_node() {
        let config = Config::resolve(Options::default(), file(), Some(KEY.into())).unwrap();
        assert_eq!(config.direct_after_percent, None);
        let flags = Options {
            rpc: Some("http://127.0.0.1:8545".into()),
            ..Options::default()
        };
        let config = Config::resolve(flags, file(), Some(KEY.into())).unwrap();
        assert_eq!(config.direct_after_percent, Some(50));
    }
}
