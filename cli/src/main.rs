//! `touchstone`: look into models, publish them, request inferences, see what became of them, run a model here.
//!
//! # Layout
//!
//! - `tensors`: inputs from files, outputs to files.
//! - `model`: `model inspect`, `model publish`; `slack`: `model slack`.
//! - `audit`: values of any engine, judged.
//! - `run`: a model on libtorch through its plan, no network.
//! - `request`, `status`: a request on chain; `withdraw`: what the market owes.
//! - `chain`: what the commands that talk to a chain share.
//! - `quote`: what `model inspect` says about disputes.
//! - `profile`: names of numerics profiles.
//! - `output`: what all of them print with.

// `println!` panics when its reader is gone: `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod chain;
mod model;
mod output;
mod profile;
mod quote;
mod request;
mod run;
mod slack;
mod status;
mod tensors;
mod withdraw;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What every `--help` ends with.
const EXIT_STATUS: &str = "Exit status:
  0  done; also if the reader of the output has closed it early
  1  it could not be done, the message says why
  2  the command line is wrong";

/// The exit status of an audit that found something out.
const OUTSIDE: u8 = 3;

/// Verifiable neural-network inference for smart contracts.
#[derive(Debug, Parser)]
#[command(name = "touchstone", version, propagate_version = true, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look into a model file, or publish it
    #[command(subcommand, after_help = EXIT_STATUS)]
    Model(model::Command),
    /// Run a model here, on libtorch, through the plan that workers run
    #[command(after_help = EXIT_STATUS)]
    Run(run::Arguments),
    /// Judge values that any engine computed
    #[command(after_help = audit::HELP)]
    Audit(audit::Arguments),
    /// Ask the network for an inference
    #[command(after_help = EXIT_STATUS)]
    Request(request::Arguments),
    /// Say what became of a request
    #[command(after_help = EXIT_STATUS)]
    Status(status::Arguments),
    /// Fetch what the market owes an account: fees, rewards, bonds that came back
    #[command(after_help = EXIT_STATUS)]
    Withdraw(withdraw::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Model(command) => model::run(command),
        Command::Run(arguments) => run::run(&arguments),
        Command::Audit(arguments) => match audit::run(&arguments) {
            Ok(false) => return ExitCode::from(OUTSIDE),
            outcome => outcome.map(|_| ()),
        },
        Command::Request(arguments) => request::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Withdraw(arguments) => withdraw::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("touchstone: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
