//! The commands of a worker's binary.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use touchstone_service::program::{Logging, stop_on_signal};

use crate::{
    Behaviour,
    breaker::Breaker,
    check,
    config::{Config, Options},
    identity, run,
    store::Store,
};

#[derive(Debug, Parser)]
#[command(name = "touchstone-worker", version, about, args_conflicts_with_subcommands = true)]
/// Runs leased jobs, commits, signs, answers disputes
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until Ctrl-C (default)
    Run(Options),
    /// Check hardware, disk, chain, stake, coordinator and model files, and say what is wrong
    Check(Options),
    /// Close the circuit breaker after you have looked at why it opened
    Reset(Options),
}

/// Runs the program with the behaviour that `behave` makes of its configuration.
pub fn program(behave: impl FnOnce(&Config) -> anyhow::Result<Behaviour>) -> ExitCode {
    let arguments = Arguments::parse();
    arguments.logging.start();
    match execute(arguments, behave) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments, behave: impl FnOnce(&Config) -> anyhow::Result<Behaviour>) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command.unwrap_or(Command::Run(arguments.options)) {
        Command::Run(options) => {
            let config = Config::load(options)?;
            eprint!("{config}");
            let behaviour = behave(&config)?;
            let shutdown = CancellationToken::new();
            runtime.block_on(async {
                tokio::spawn(stop_on_signal(shutdown.clone()));
                run(config, behaviour, shutdown).await
            })?;
            Ok(true)
        }
        Command::Check(options) => {
            let config = Config::load(options)?;
            let behaviour = behave(&config);
            Ok(runtime.block_on(check::check(&config, behaviour)))
        }
        Command::Reset(options) => {
            let config = Config::load(options)?;
            let breaker = Breaker::new(Store::open(&config.data_dir, &identity(&config))?);
            match breaker.tripped()? {
                Some(tripped) => println!("circuit breaker closed; it was open because of: {}", tripped.reason),
                None => println!("circuit breaker was not open"),
            }
            breaker.reset()?;
            Ok(true)
        }
    }
}
