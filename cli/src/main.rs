//! `touchstone`: look into models, publish them, request inferences, see what became of them, run a model here.
//!
//! # Layout
//!
//! - `tensors`: inputs from files, outputs to files.
//! - `model`: `model inspect`, `model publish`.
//! - `run`: a model on libtorch through its plan, no network.
//! - `request`, `status`: a request on chain.
//! - `chain`: what the commands that talk to a chain share.
//!
//! Exit status: 0 done; 1 it could not be done, the message says why; 2 the command line is wrong.

mod chain;
mod model;
mod request;
mod run;
mod status;
mod tensors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Verifiable neural-network inference for smart contracts.
#[derive(Debug, Parser)]
#[command(name = "touchstone", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look into a model file, or publish it
    #[command(subcommand)]
    Model(model::Command),
    /// Run a model here, on libtorch, through the plan that workers run
    Run(run::Arguments),
    /// Ask the network for an inference
    Request(request::Arguments),
    /// Say what became of a request
    Status(status::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Model(command) => model::run(command),
        Command::Run(arguments) => run::run(&arguments),
        Command::Request(arguments) => request::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("touchstone: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
