//! `touchstone-challenger`: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use touchstone_challenger::{Config, config::Options};
use touchstone_service::program::{Logging, stop_on_signal};

/// Watches every claim on chain, re-executes it with conforming engines, and disputes what is wrong: with the judge's own code,
/// so it disputes nothing that it cannot win. Needs a node; a coordinator makes it quicker.
#[derive(Debug, Parser)]
#[command(name = "touchstone-challenger", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    logging: Logging,
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
    let Arguments { options, logging } = Arguments::parse();
    logging.start();
    let config = Config::load(options)?;
    eprint!("{config}");
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    touchstone_challenger::run(config, shutdown).await
}
