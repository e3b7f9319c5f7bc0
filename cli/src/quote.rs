//! What `model inspect` says about disputes: moves, gas, and the time they take under a deployment's clocks.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use serde_json::{Value as Json, json};
use touchstone_chain::deploy::devnet_parameters;
use touchstone_model::{Plan, Way, inspect::Inspection};
use touchstone_protocol::{clock::longest, dispute::turns_of_model};

/// Terms of the deployment that a dispute is reckoned for; those of the devnet unless said otherwise.
#[derive(Debug, Args)]
pub(crate) struct Clocks {
    /// Seconds on each side's clock in a dispute
    #[arg(long, value_name = "SECONDS", default_value_t = devnet_parameters().clockSeconds as u32)]
    clock: u32,
    /// Seconds that a side has at least after the other's move
    #[arg(long, value_name = "SECONDS", default_value_t = devnet_parameters().extensionSeconds as u32)]
    extension: u32,
    /// Seconds after a claim in which disputes may open
    #[arg(long, value_name = "SECONDS", default_value_t = devnet_parameters().windowSeconds as u32)]
    window: u32,
    /// Most turns that a dispute gives the worker
    #[arg(long, value_name = "TURNS", default_value_t = devnet_parameters().maxTurns)]
    max_turns: u16,
}

/// The time that disputes about a model take.
pub(crate) struct Times {
    /// Turns that the market reckons with; a deployment that gives fewer refuses requests for the model.
    turns: u32,
    max_turns: u16,
    /// Seconds that the longest walk without detours takes, every clock run down.
    walk: u64,
    /// Seconds that any dispute takes at most.
    dispute: u64,
    /// Seconds from a claim to its finality.
    undisputed: u64,
    disputed: u64,
}

impl Times {
    pub(crate) fn new(clocks: &Clocks, plan: &Plan, inspection: &Inspection) -> Self {
        let turns = turns_of_model(plan.trace_count, plan.operators.len() as u32);
        // Both clocks run down, and an extension in each of the worker's turns and the challenger's, which are one more.
        let walk = 2 * u64::from(clocks.clock)
            + (2 * u64::from(inspection.worst_dispute.turns) + 1) * u64::from(clocks.extension);
        let dispute = longest(clocks.clock, clocks.extension, clocks.max_turns);
        Self {
            turns,
            max_turns: clocks.max_turns,
            walk: walk.min(dispute),
            dispute,
            undisputed: clocks.window.into(),
            disputed: u64::from(clocks.window) + dispute,
        }
    }

    fn fits(&self) -> bool {
        self.turns <= self.max_turns.into()
    }

    pub(crate) fn json(&self) -> Json {
        json!({
            "model_turns": self.turns,
            "max_turns": self.max_turns,
            "requests_are_taken": self.fits(),
            "walk_seconds": self.walk,
            "dispute_seconds": self.dispute,
            "final_seconds_undisputed": self.undisputed,
            "final_seconds_disputed": self.disputed,
        })
    }

    /// The lines on disputes.
    pub(crate) fn text(&self, inspection: &Inspection) -> Result<String> {
        let mut out = String::new();
        let way = |way: Way| {
            let challengers = way.gas.saturating_sub(way.worker_gas);
            format!(
                "at most {} moves, {} gas ({challengers} of it the challenger's)",
                way.moves, way.gas
            )
        };
        writeln!(
            out,
            "conviction   the shortest way: {}",
            way(inspection.worst_conviction)
        )?;
        writeln!(out, "dispute      the longest walk: {}", way(inspection.worst_dispute))?;
        writeln!(
            out,
            "time         such a walk {} s, any dispute {} s at most; a claim is final after {} s undisputed, {} s at most",
            self.walk, self.dispute, self.undisputed, self.disputed
        )?;
        if !self.fits() {
            writeln!(
                out,
                "             a walk takes up to {} turns of the worker, the deployment gives {}: it refuses requests for this model",
                self.turns, self.max_turns
            )?;
        }
        Ok(out)
    }
}
