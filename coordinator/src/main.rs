//! The coordinator's program.

use std::path::PathBuf;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use touchstone_coordinator::config::{Config, Settings};
use touchstone_service::{
    config::read,
    program::{Logging, stop_on_signal},
};

/// Touchstone's coordinator.
#[derive(Parser)]
#[command(name = "touchstone-coordinator", version, about)]
struct Arguments {
    /// Configuration file (TOML); environment and flags override it.
    #[arg(long, env = "TOUCHSTONE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    logging: Logging,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {
        config,
        logging,
        settings,
    } = Arguments::parse();
    logging.start();
    let file: Settings = read(config.as_deref())?;
    let config = Config::try_from(settings.or(file))?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    touchstone_coordinator::run(config, shutdown).await
}
