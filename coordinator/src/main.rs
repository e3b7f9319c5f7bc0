//! The coordinator's program.

use std::path::PathBuf;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use touchstone_coordinator::config::{Config, Settings};
use tracing_subscriber::EnvFilter;

/// Touchstone's coordinator.
#[derive(Parser)]
#[command(name = "touchstone-coordinator", version, about)]
struct Arguments {
    /// Configuration file (TOML); environment and flags override it.
    #[arg(long, env = "TOUCHSTONE_CONFIG")]
    config: Option<PathBuf>,
    /// Log lines as JSON.
    #[arg(long, env = "TOUCHSTONE_LOG_JSON")]
    log_json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {
        config,
        log_json,
        settings,
    } = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if log_json {
        subscriber.json().init()
    } else {
        subscriber.init()
    }
    let file = config.as_ref().map(Settings::read).transpose()?.unwrap_or_default();
    let config = Config::try_from(settings.or(file))?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    touchstone_coordinator::run(config, shutdown).await
}

/// Ctrl-C and SIGTERM end the program in good order.
async fn stop_on_signal(shutdown: CancellationToken) {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM not handled");
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
}
