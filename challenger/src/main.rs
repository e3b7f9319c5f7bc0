//! `touchstone-challenger`: see `--help`.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use touchstone_challenger::{Config, config::Options};
use tracing_subscriber::EnvFilter;

/// Watches every claim on chain, re-executes it with conforming engines, and disputes what is wrong: with the judge's own code,
/// so it disputes nothing that it cannot win. Needs a node; a coordinator makes it quicker.
#[derive(Debug, Parser)]
#[command(name = "touchstone-challenger", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// How to log; what, by RUST_LOG
    #[arg(long, env = "TOUCHSTONE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> anyhow::Result<()> {
    let Arguments { options, log_format } = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let config = Config::load(options)?;
    eprint!("{config}");
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    });
    touchstone_challenger::run(config, shutdown).await
}
