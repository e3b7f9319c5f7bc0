//! A worker that cheats as TOUCHSTONE_CHEAT says (weights, inner-value, output, silent, narrow, long-output, long-sums); otherwise it is the honest worker's program.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use touchstone_engine::{Device, Options, Torch};
use touchstone_tests::adversary::{Cheat, Hostile, Mute, Totals};
use touchstone_worker::{Behaviour, Honest, Responder, program::program};

fn main() -> ExitCode {
    program(|config| {
        let cheat: Cheat = std::env::var("TOUCHSTONE_CHEAT")
            .context("TOUCHSTONE_CHEAT says how to cheat")?
            .parse()?;
        let engine = Torch::new(Options {
            device: Device::Cpu,
            threads: config.threads.get(),
        })?;
        let responder: Arc<dyn Responder> = match cheat {
            Cheat::Silent => Arc::new(Mute),
            Cheat::LongOutput => Arc::new(Totals { lies: false }),
            Cheat::LongSums => Arc::new(Totals { lies: true }),
            Cheat::Weights | Cheat::InnerValue | Cheat::Output | Cheat::Narrow => Arc::new(Honest),
        };
        Ok(Behaviour {
            runner: Arc::new(Hostile::new(cheat, Arc::new(engine))),
            responder,
        })
    })
}
