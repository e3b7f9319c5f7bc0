//! The honest worker.

use std::process::ExitCode;

use touchstone_worker::{Behaviour, program::program};

fn main() -> ExitCode {
    program(Behaviour::honest)
}
