//! Configuration: default < file < environment < flag, checked into typed units, shown without secrets.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use touchstone_service::{
    CoordinatorAddress,
    config::{read, required, without_secrets},
};

use crate::tolerance::{Bits, Tolerance};

pub use touchstone_service::config::Key;

/// What the challenger may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Gives verdicts.
    Watch,
    /// And says what it would dispute, and how.
    DryRun,
    /// Carries on with the disputes that it has opened before, and opens none.
    Defend,
    /// Disputes.
    Full,
}

impl Mode {
    /// Whether transactions are sent.
    pub fn sends(self) -> bool {
        match self {
            Mode::Watch | Mode::DryRun => false,
            Mode::Defend | Mode::Full => true,
        }
    }
}

/// What re-executes claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The reference engine: plain Rust, fp64 inside.
    Reference,
    /// libtorch.
    Torch,
    /// Both: the one that gives the worker's bits acquits, and their distance from each other says what honest engines differ by.
    Both,
}

/// What is left unset here is taken from the file, then from the defaults.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Configuration file (TOML; keys are these flags with underscores)
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Ethereum node
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_RPC", value_name = "URL")]
    pub rpc: Option<String>,
    /// Chain that it must be on
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_CHAIN_ID", value_name = "ID")]
    pub chain_id: Option<u64>,
    /// Market contract
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_MARKET", value_name = "ADDRESS")]
    pub market: Option<Address>,
    /// Coordinator, as http://127.0.0.1:7450 or https://host:port; none: everything from chain and own runs
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_COORDINATOR", value_name = "URL")]
    pub coordinator: Option<String>,
    /// Certificate authorities (PEM) that an https coordinator may be certified by, instead of the system's
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_COORDINATOR_CA", value_name = "FILE")]
    pub coordinator_ca: Option<PathBuf>,
    /// Dial an http coordinator on another machine: for networks that nobody else is on
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_ALLOW_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    pub allow_plaintext: Option<bool>,
    /// File that holds the key (hex) that disputes; the environment variable TOUCHSTONE_CHALLENGER_KEY holds the key itself
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Folder for the store and model files
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Model file to use instead of fetching it (repeat)
    #[arg(
        long = "model-file",
        env = "TOUCHSTONE_CHALLENGER_MODEL_FILES",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub model_files: Option<Vec<PathBuf>>,
    /// What it may do
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_MODE", value_enum)]
    pub mode: Option<Mode>,
    /// The same as --mode dry-run
    #[arg(long, conflicts_with = "mode")]
    #[serde(skip)]
    pub dry_run: bool,
    /// What re-executes claims
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_ENGINE", value_enum)]
    pub engine: Option<EngineKind>,
    /// Threads of one libtorch operator, and of judging an opened layer
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_THREADS")]
    pub threads: Option<u16>,
    /// When a layer that no engine of ours gives bit for bit is asked for on that ground alone. Each time the worker turns out right we concede,
    /// which burns a quarter of the bond and pays the worker's gas; it then counts for less with this worker: `all`, `most`, `off`. `all` (the
    /// default) needs libtorch among our engines, else it is `most`
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_BITS", value_enum)]
    pub bits: Option<Bits>,
    /// The most disputes opened in a day on the ground of bits alone, over all workers [default: 8]
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_BITS_PER_DAY", value_name = "NUMBER")]
    pub bits_per_day: Option<u32>,
    /// The node hands our transactions to block builders unseen: a dispute is then opened and won in one transaction. In a public mempool the
    /// evidence could be copied, so it is shown only after the dispute is open
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_PRIVATE_RELAY", num_args = 0..=1, default_missing_value = "true")]
    pub private_relay: Option<bool>,
    /// Credit in the market, which is what disputes bring, is withdrawn when the balance is below this, in wei [default: half an ether]
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_WITHDRAW_BELOW", value_name = "WEI")]
    pub withdraw_below_wei: Option<String>,
    /// First block to look at: that of the market, or earlier
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_FROM_BLOCK", value_name = "NUMBER")]
    pub from_block: Option<u64>,
    /// How often the chain is polled, in milliseconds
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_POLL_MS", value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// The most wei that bonds of disputes under way may add up to
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_MAX_EXPOSURE", value_name = "WEI")]
    pub max_exposure_wei: Option<String>,
    /// The most disputes under way
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_MAX_DISPUTES")]
    pub max_disputes: Option<u32>,
    /// How long the node or the coordinator may take for one answer, in milliseconds
    #[arg(long, env = "TOUCHSTONE_CHALLENGER_TIMEOUT_MS", value_name = "MS")]
    pub timeout_ms: Option<u64>,
}

/// What the challenger runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of an Ethereum node.
    pub rpc: String,
    /// Chain that it must be on; `None`: whichever it is.
    pub chain_id: Option<u64>,
    /// The market.
    pub market: Address,
    /// Where the coordinator's gRPC services are.
    pub coordinator: Option<CoordinatorAddress>,
    /// Pays for disputes and gets what they bring; there in modes that send.
    pub key: Option<Key>,
    /// Store and model files.
    pub data_dir: PathBuf,
    /// Files that are used instead of being fetched.
    pub model_files: Vec<PathBuf>,
    /// What it may do.
    pub mode: Mode,
    /// What re-executes claims.
    pub engine: EngineKind,
    /// Threads.
    pub threads: u16,
    /// When a layer is suspect.
    pub tolerance: Tolerance,
    /// The most disputes opened in a day on bits alone.
    pub bits_per_day: u32,
    /// Whether transactions are seen by nobody before they are mined.
    pub private_relay: bool,
    /// Credit is withdrawn when the balance is below this.
    pub withdraw_below: U256,
    /// First block to look at.
    pub from_block: u64,
    /// Interval of polling the chain.
    pub poll: Duration,
    /// The most wei in bonds under way.
    pub max_exposure: U256,
    /// The most disputes under way.
    pub max_disputes: u32,
    /// For one answer of the node or the coordinator.
    pub timeout: Duration,
}

const DEFAULT_POLL_MS: u64 = 500;
const DEFAULT_TIMEOUT_MS: u64 = 5_000;
/// One ether: ten times the usual bond and more.
const DEFAULT_EXPOSURE_WEI: u64 = 1_000_000_000_000_000_000;
const DEFAULT_DISPUTES: u32 = 16;
/// Each may cost a quarter of a bond and the worker's gas.
const DEFAULT_BITS_PER_DAY: u32 = 8;
/// Some bonds of the usual size.
const DEFAULT_WITHDRAW_BELOW_WEI: u64 = 500_000_000_000_000_000;
const KEY_VARIABLE: &str = "TOUCHSTONE_CHALLENGER_KEY";

impl Config {
    /// Completes the options from the file and the defaults and checks them.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a missing or senseless value.
    pub fn load(flags: Options) -> anyhow::Result<Self> {
        let file: Options = read(flags.config.as_deref())?;
        Self::resolve(flags, file, std::env::var(KEY_VARIABLE).ok())
    }

    fn resolve(flags: Options, file: Options, key: Option<String>) -> anyhow::Result<Self> {
        let mode = match flags.dry_run {
            true => Mode::DryRun,
            false => flags.mode.or(file.mode).unwrap_or(Mode::Full),
        };
        let key = Key::load(
            KEY_VARIABLE,
            key.as_deref(),
            flags.key_file.or(file.key_file).as_deref(),
        )?;
        ensure!(
            key.is_some() || !mode.sends(),
            "the key is missing: set --key-file or {KEY_VARIABLE}, or --dry-run"
        );
        let threads = flags.threads.or(file.threads).unwrap_or(1);
        ensure!(
            (1..=1_024).contains(&threads),
            "threads is {threads}, must be 1 to 1024"
        );
        let poll_ms = flags.poll_ms.or(file.poll_ms).unwrap_or(DEFAULT_POLL_MS);
        ensure!(
            (10..=60_000).contains(&poll_ms),
            "poll_ms is {poll_ms}, must be 10 to 60000"
        );
        let timeout_ms = flags.timeout_ms.or(file.timeout_ms).unwrap_or(DEFAULT_TIMEOUT_MS);
        ensure!(
            (100..=120_000).contains(&timeout_ms),
            "timeout_ms is {timeout_ms}, must be 100 to 120000"
        );
        let wei = |name: &str, text: Option<String>, default: u64| match text {
            Some(text) => U256::from_str(&text).with_context(|| format!("{name} is {text}, must be a number of wei")),
            None => Ok(U256::from(default)),
        };
        let max_exposure = wei(
            "max_exposure_wei",
            flags.max_exposure_wei.or(file.max_exposure_wei),
            DEFAULT_EXPOSURE_WEI,
        )?;
        let withdraw_below = wei(
            "withdraw_below_wei",
            flags.withdraw_below_wei.or(file.withdraw_below_wei),
            DEFAULT_WITHDRAW_BELOW_WEI,
        )?;
        let ca = flags.coordinator_ca.or(file.coordinator_ca);
        let allow_plaintext = flags.allow_plaintext.or(file.allow_plaintext).unwrap_or(false);
        let coordinator = match flags.coordinator.or(file.coordinator) {
            Some(url) => Some(CoordinatorAddress::new(&url, ca, allow_plaintext)?),
            None => None,
        };
        let engine = flags.engine.or(file.engine).unwrap_or(EngineKind::Both);
        let bits = match (flags.bits.or(file.bits).unwrap_or(Bits::All), engine) {
            // No worker runs the reference engine, so its bits differ from everybody's.
            (Bits::All, EngineKind::Reference) => Bits::Most,
            (bits, _) => bits,
        };
        Ok(Self {
            rpc: required("rpc", flags.rpc.or(file.rpc))?,
            chain_id: flags.chain_id.or(file.chain_id),
            market: required("market", flags.market.or(file.market))?,
            coordinator,
            key,
            data_dir: flags
                .data_dir
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from("touchstone-challenger")),
            model_files: flags.model_files.or(file.model_files).unwrap_or_default(),
            mode,
            engine,
            threads,
            tolerance: Tolerance {
                bits,
                ..Tolerance::USUAL
            },
            bits_per_day: flags.bits_per_day.or(file.bits_per_day).unwrap_or(DEFAULT_BITS_PER_DAY),
            private_relay: flags.private_relay.or(file.private_relay).unwrap_or(false),
            withdraw_below,
            from_block: flags.from_block.or(file.from_block).unwrap_or(0),
            poll: Duration::from_millis(poll_ms),
            max_exposure,
            max_disputes: flags.max_disputes.or(file.max_disputes).unwrap_or(DEFAULT_DISPUTES),
            timeout: Duration::from_millis(timeout_ms),
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode          {:?}", self.mode)?;
        writeln!(f, "rpc           {}", without_secrets(&self.rpc))?;
        writeln!(f, "market        {}", self.market)?;
        writeln!(
            f,
            "coordinator   {}",
            self.coordinator.as_ref().map_or("none".into(), ToString::to_string)
        )?;
        let address = self
            .key
            .as_ref()
            .map_or("none".into(), |key| key.0.address().to_string());
        writeln!(f, "challenger    {address}")?;
        writeln!(f, "data dir      {}", self.data_dir.display())?;
        writeln!(f, "engine        {:?}, {} threads", self.engine, self.threads)?;
        writeln!(
            f,
            "limits        {} disputes, {} wei in bonds",
            self.max_disputes, self.max_exposure
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0x4646464646464646464646464646464646464646464646464646464646464646";

    fn file() -> Options {
        toml::from_str("rpc = 'http://user:secret@127.0.0.1:8545/secret'\nmarket = '0x1111111111111111111111111111111111111111'\nengine = 'torch'\n")
            .unwrap()
    }

    #[test]
    fn flags_beat_the_file_and_the_file_beats_defaults() {
        let flags = Options {
            threads: Some(3),
            ..Options::default()
        };
        let config = Config::resolve(flags, file(), Some(KEY.into())).unwrap();
        assert_eq!(
            (config.threads, config.engine, config.mode),
            (3, EngineKind::Torch, Mode::Full)
        );
        assert_eq!(config.tolerance.bits, Bits::All);
        let flags = Options {
            engine: Some(EngineKind::Reference),
            ..Options::default()
        };
        assert_eq!(
            Config::resolve(flags, file(), Some(KEY.into())).unwrap().tolerance.bits,
            Bits::Most
        );
    }

    #[test]
    fn only_modes_that_send_need_a_key() {
        let error = Config::resolve(Options::default(), file(), None).unwrap_err();
        assert!(error.to_string().contains("key is missing"), "{error}");
        let flags = Options {
            dry_run: true,
            ..Options::default()
        };
        assert_eq!(Config::resolve(flags, file(), None).unwrap().mode, Mode::DryRun);
        let error = Config::resolve(Options::default(), file(), Some("0xsecret".into())).unwrap_err();
        assert!(!format!("{error:#}").contains("secret"));
    }

    #[test]
    fn unknown_keys_and_missing_values_are_refused_by_name() {
        assert!(
            toml::from_str::<Options>("thraeds = 2")
                .unwrap_err()
                .to_string()
                .contains("thraeds")
        );
        let error = Config::resolve(Options::default(), Options::default(), Some(KEY.into())).unwrap_err();
        assert!(error.to_string().contains("rpc"), "{error}");
    }

    #[test]
    fn nothing_secret_is_printed_and_plaintext_has_to_be_allowed() {
        let config = Config::resolve(Options::default(), file(), Some(KEY.into())).unwrap();
        let text = format!("{config} {:?}", config.key);
        assert!(!text.contains("secret") && !text.contains("4646"), "{text}");
        let at = |allow| {
            let flags = Options {
                coordinator: Some("http://example.org".into()),
                allow_plaintext: allow,
                ..Options::default()
            };
            Config::resolve(flags, file(), Some(KEY.into()))
        };
        at(Some(true)).unwrap();
        let error = at(None).unwrap_err().to_string();
        assert!(error.contains("--allow-plaintext"), "{error}");
    }
}
