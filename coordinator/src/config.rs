//! Configuration: defaults, then the file, then the environment, then flags; validated into typed units.
//!
//! Protocol parameters are not here: they are the chain's.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use touchstone_chain::{Address, PrivateKeySigner};
use touchstone_service::config::{Key, without_secrets};

use crate::limits::{LimitSettings, Limits};

/// What can be set, on each level. The environment's names are these in capitals after `TOUCHSTONE_`.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Postgres, as a URL.
    #[arg(long, env = "TOUCHSTONE_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The node's HTTP address.
    #[arg(long, env = "TOUCHSTONE_RPC_URL", hide_env_values = true)]
    pub rpc_url: Option<String>,
    /// Chain that the node must be on; unset: whatever it is on.
    #[arg(long, env = "TOUCHSTONE_CHAIN_ID")]
    pub chain_id: Option<u64>,
    /// The market contract; the others are found from it.
    #[arg(long, env = "TOUCHSTONE_MARKET")]
    pub market: Option<Address>,
    /// Key that pays for claims, finalizations, deliveries and refunds; its address is the coordinator's name and payee.
    #[arg(long, env = "TOUCHSTONE_CLAIM_KEY", hide_env_values = true)]
    pub claim_key: Option<String>,
    /// Key that pays for dispute moves. Another account than the first.
    #[arg(long, env = "TOUCHSTONE_DISPUTE_KEY", hide_env_values = true)]
    pub dispute_key: Option<String>,
    /// Address to serve gRPC on.
    #[arg(long, env = "TOUCHSTONE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain to serve TLS with (PEM); needs the key. It is read at start.
    #[arg(long, env = "TOUCHSTONE_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, env = "TOUCHSTONE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Serve other machines without TLS: for networks that nobody else is on, or behind a proxy that ends TLS.
    #[arg(long, env = "TOUCHSTONE_ALLOW_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    pub allow_plaintext: Option<bool>,
    /// Folder for values.
    #[arg(long, env = "TOUCHSTONE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folders whose model files are served.
    #[arg(long, env = "TOUCHSTONE_MODEL_DIRS", value_delimiter = ':')]
    pub model_dirs: Option<Vec<PathBuf>>,
    /// First block to read; before it there must be nothing of the deployment.
    #[arg(long, env = "TOUCHSTONE_START_BLOCK")]
    pub start_block: Option<u64>,
    /// Blocks on top of one until what it says is taken as settled.
    #[arg(long, env = "TOUCHSTONE_CONFIRMATIONS")]
    pub confirmations: Option<u64>,
    /// Milliseconds between looks at the chain.
    #[arg(long, env = "TOUCHSTONE_POLL_MILLISECONDS")]
    pub poll_milliseconds: Option<u64>,
    /// Seconds that a worker has from accepting a job to its result.
    #[arg(long, env = "TOUCHSTONE_LEASE_SECONDS")]
    pub lease_seconds: Option<u64>,
    /// Bytes of the largest value stored.
    #[arg(long, env = "TOUCHSTONE_MAX_VALUE_BYTES")]
    pub max_value_bytes: Option<u64>,
    /// Bytes stored for one job.
    #[arg(long, env = "TOUCHSTONE_MAX_JOB_BYTES")]
    pub max_job_bytes: Option<u64>,
    /// Blocks that values are kept after their claim has ended.
    #[arg(long, env = "TOUCHSTONE_RETENTION_BLOCKS")]
    pub retention_blocks: Option<u64>,
    /// What peers may take.
    #[command(flatten)]
    #[serde(default)]
    pub limits: LimitSettings,
}

impl Settings {
    /// These settings, and `other`'s where these are silent.
    pub fn or(self, other: Self) -> Self {
        let Self {
            database_url,
            rpc_url,
            chain_id,
            market,
            claim_key,
            dispute_key,
            listen,
            tls_certificate,
            tls_key,
            allow_plaintext,
            data_dir,
            model_dirs,
            start_block,
            confirmations,
            poll_milliseconds,
            lease_seconds,
            max_value_bytes,
            max_job_bytes,
            retention_blocks,
            limits,
        } = self;
        Self {
            database_url: database_url.or(other.database_url),
            rpc_url: rpc_url.or(other.rpc_url),
            chain_id: chain_id.or(other.chain_id),
            market: market.or(other.market),
            claim_key: claim_key.or(other.claim_key),
            dispute_key: dispute_key.or(other.dispute_key),
            listen: listen.or(other.listen),
            tls_certificate: tls_certificate.or(other.tls_certificate),
            tls_key: tls_key.or(other.tls_key),
            allow_plaintext: allow_plaintext.or(other.allow_plaintext),
            data_dir: data_dir.or(other.data_dir),
            model_dirs: model_dirs.or(other.model_dirs),
            start_block: start_block.or(other.start_block),
            confirmations: confirmations.or(other.confirmations),
            poll_milliseconds: poll_milliseconds.or(other.poll_milliseconds),
            lease_seconds: lease_seconds.or(other.lease_seconds),
            max_value_bytes: max_value_bytes.or(other.max_value_bytes),
            max_job_bytes: max_job_bytes.or(other.max_job_bytes),
            retention_blocks: retention_blocks.or(other.retention_blocks),
            limits: limits.or(other.limits),
        }
    }
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// Postgres.
    pub database: PgConnectOptions,
    /// The node's address.
    pub rpc_url: String,
    /// Chain that the node must be on.
    pub chain_id: Option<u64>,
    /// The market.
    pub market: Address,
    /// Pays for claims and the like.
    pub claim_key: PrivateKeySigner,
    /// Pays for dispute moves.
    pub dispute_key: PrivateKeySigner,
    /// Where to serve.
    pub listen: SocketAddr,
    /// Certificate and key files to serve TLS with.
    pub tls: Option<TlsFiles>,
    /// Folder for values.
    pub data_dir: PathBuf,
    /// Folders of model files.
    pub model_dirs: Vec<PathBuf>,
    /// First block to read.
    pub start_block: u64,
    /// Depth of settled facts.
    pub confirmations: u64,
    /// Between looks at the chain.
    pub poll: Duration,
    /// From acceptance to result.
    pub lease_seconds: u64,
    /// Largest value.
    pub max_value_bytes: u64,
    /// Bytes of one job.
    pub max_job_bytes: u64,
    /// Blocks that values outlive their claim.
    pub retention_blocks: u64,
    /// What peers may take.
    pub limits: Limits,
}

/// What TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl TryFrom<Settings> for Config {
    type Error = anyhow::Error;

    fn try_from(settings: Settings) -> anyhow::Result<Self> {
        let Settings {
            database_url,
            rpc_url,
            chain_id,
            market,
            claim_key,
            dispute_key,
            listen,
            tls_certificate,
            tls_key,
            allow_plaintext,
            data_dir,
            model_dirs,
            start_block,
            confirmations,
            poll_milliseconds,
            lease_seconds,
            max_value_bytes,
            max_job_bytes,
            retention_blocks,
            limits,
        } = settings;
        let config = Self {
            database: database_url
                .context("database_url is not set")?
                .parse()
                .context("database_url is not a Postgres URL")?,
            rpc_url: rpc_url.context("rpc_url is not set")?,
            chain_id,
            market: market.context("market is not set")?,
            claim_key: key("claim_key", claim_key)?,
            dispute_key: key("dispute_key", dispute_key)?,
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7450))),
            tls: match (tls_certificate, tls_key) {
                (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
                (None, None) => None,
                (Some(_), None) => bail!("tls_certificate is set and tls_key is not: TLS needs both"),
                (None, Some(_)) => bail!("tls_key is set and tls_certificate is not: TLS needs both"),
            },
            data_dir: data_dir.unwrap_or_else(|| PathBuf::from("coordinator-data")),
            model_dirs: model_dirs.unwrap_or_default(),
            start_block: start_block.unwrap_or(0),
            confirmations: confirmations.unwrap_or(3),
            poll: Duration::from_millis(poll_milliseconds.unwrap_or(300)),
            lease_seconds: lease_seconds.unwrap_or(30),
            max_value_bytes: max_value_bytes.unwrap_or(256 << 20),
            max_job_bytes: max_job_bytes.unwrap_or(1 << 30),
            retention_blocks: retention_blocks.unwrap_or(7_200),
            limits: limits.try_into()?,
        };
        if config.claim_key.address() == config.dispute_key.address() {
            bail!("claim_key and dispute_key are the same account: dispute moves must not wait behind claims");
        }
        if config.poll.is_zero() {
            bail!("poll_milliseconds is 0");
        }
        if config.lease_seconds == 0 {
            bail!("lease_seconds is 0");
        }
        if config.tls.is_none() && !config.listen.ip().is_loopback() && allow_plaintext != Some(true) {
            bail!(
                "listen is {}: without TLS only a loopback address is served; set tls_certificate and tls_key, or allow_plaintext \
                 on a network that nobody else is on",
                config.listen
            );
        }
        Ok(config)
    }
}

fn key(name: &'static str, text: Option<String>) -> anyhow::Result<PrivateKeySigner> {
    let text = text.with_context(|| format!("{name} is not set"))?;
    Ok(Key::parse(&text, name)?.0)
}

impl fmt::Debug for Config {
    /// Without passwords and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = format!(
            "{}@{}:{}/{}",
            self.database.get_username(),
            self.database.get_host(),
            self.database.get_port(),
            self.database.get_database().unwrap_or_default()
        );
        f.debug_struct("Config")
            .field("database", &database)
            .field("rpc_url", &without_secrets(&self.rpc_url))
            .field("chain_id", &self.chain_id)
            .field("market", &self.market)
            .field("claim_account", &self.claim_key.address())
            .field("dispute_account", &self.dispute_key.address())
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("data_dir", &self.data_dir)
            .field("model_dirs", &self.model_dirs)
            .field("start_block", &self.start_block)
            .field("confirmations", &self.confirmations)
            .field("poll", &self.poll)
            .field("lease_seconds", &self.lease_seconds)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("max_job_bytes", &self.max_job_bytes)
            .field("retention_blocks", &self.retention_blocks)
            .field("limits", &self.limits)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            database_url: Some("postgres://user:secret@localhost:5433/name".to_owned()),
            rpc_url: Some("http://me:token@node:8545/v3/apikey".to_owned()),
            market: Some(Address::repeat_byte(1)),
            claim_key: Some(format!("0x{:064x}", 1)),
            dispute_key: Some(format!("{:064x}", 2)),
            ..Settings::default()
        }
    }

    #[test]
    fn printed_without_secrets() {
        let text = format!("{:?}", Config::try_from(settings()).unwrap());
        for secret in ["secret", "token", "apikey", "0000000000000000000000000001"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("http://node:8545"));
    }

    #[test]
    fn refuses_what_cannot_work() {
        let check = |change: fn(&mut Settings), expect: &str| {
            let mut settings = settings();
            change(&mut settings);
            let error = Config::try_from(settings).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(|s| s.database_url = None, "database_url is not set");
        check(|s| s.market = None, "market is not set");
        check(|s| s.dispute_key = s.claim_key.clone(), "same account");
        check(
            |s| s.claim_key = Some("xyz".to_owned()),
            "claim_key holds no private key",
        );
        check(
            |s| s.listen = Some(([0, 0, 0, 0], 1).into()),
            "tls_certificate and tls_key",
        );
        check(|s| s.tls_certificate = Some("c.pem".into()), "tls_key is not");
        check(|s| s.tls_key = Some("k.pem".into()), "tls_certificate is not");
        check(|s| s.limits.max_streams = Some(0), "max_streams is 0");
        check(|s| s.poll_milliseconds = Some(0), "poll_milliseconds");
        check(|s| s.lease_seconds = Some(0), "lease_seconds");
    }

    #[test]
    fn other_machines_are_served_with_tls_or_where_plaintext_is_allowed() {
        let everywhere = Settings {
            listen: Some(([0, 0, 0, 0], 1).into()),
            ..settings()
        };
        let tls = Settings {
            tls_certificate: Some("c.pem".into()),
            tls_key: Some("k.pem".into()),
            ..everywhere.clone()
        };
        assert!(Config::try_from(tls).unwrap().tls.is_some());
        let allowed = |allow| Settings {
            allow_plaintext: Some(allow),
            ..everywhere.clone()
        };
        Config::try_from(allowed(true)).unwrap();
        Config::try_from(allowed(false)).unwrap_err();
    }

    #[test]
    fn every_setting_is_on_the_page_with_its_default() {
        let page = include_str!("../README.md");
        let command = <Settings as clap::Args>::augment_args(clap::Command::new("settings"));
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            assert!(
                page.contains(&format!("| `{name}` |")),
                "coordinator/README.md does not have {name}"
            );
        }
        let Limits {
            max_streams,
            idle_seconds,
            min_upload_rate,
            ..
        } = Limits::default();
        for (name, default) in [
            ("max_streams", max_streams),
            ("idle_seconds", idle_seconds),
            ("min_upload_rate", min_upload_rate),
        ] {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")))
                .unwrap();
            assert!(row.contains(&format!("| {default} |")), "{row}");
        }
    }

    #[test]
    fn the_nearer_level_wins() {
        let near = Settings {
            confirmations: Some(1),
            ..Settings::default()
        };
        let far = Settings {
            confirmations: Some(2),
            start_block: Some(5),
            ..Settings::default()
        };
        let both = near.or(far);
        assert_eq!((both.confirmations, both.start_block), (Some(1), Some(5)));
    }
}
