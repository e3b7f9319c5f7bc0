//! The network played end to end on real anvil, Postgres, libtorch and gRPC, each service a process of its own: whoever cheats loses, whoever
//! is honest keeps its bond, whoever asked is served or has its money back.
//!
//! # Layout
//!
//! - `adversaries`: five cheats at once, each as small as twice what the judge convicts, or fp32 where fp64 was asked for.
//! - `false_challenge`: a challenger that is wrong; a consumer that reverts.
//! - `alone`: a conviction and a refund with the coordinator stopped.
//! - `kills`: the demo's story with the coordinator killed after each step, and at random.
//! - `long`: a sum of 2^20 terms, judged by parts: an honest claim, two cheats, a false challenge.
//! - `suite`: the networks of models/suite, from both PyTorch exporters.

mod adversaries;
mod alone;
mod false_challenge;
mod halves;
mod kills;
mod long;
mod suite;

use anyhow::Result;
use touchstone_chain::{U256, bindings::IMarket};
use touchstone_tests::{network::Network, process, scenario};

/// The coordinator, once it listens.
async fn coordinator(network: &Network) -> Result<process::Service> {
    let coordinator = network.coordinator()?.start()?;
    process::listening(network.coordinator_port, scenario::START).await?;
    Ok(coordinator)
}

/// A stake that backs `claims` claims at once.
fn stake_for(parameters: &IMarket::Parameters, claims: usize) -> U256 {
    U256::from(parameters.workerBond) * U256::from(claims)
}
