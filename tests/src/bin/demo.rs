//! The story of `story.rs` on a private network in real time, with its timeline.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use touchstone_chain::{bindings::IDisputes::IDisputesEvents as D, event::Body};
use touchstone_tests::{
    chain::Seen,
    network::Network,
    process, scenario,
    story::{Audience, Stage},
    timeline::Timeline,
};

/// Prints what it is told and the timeline of what it sees.
struct Printer(Timeline);

impl Audience for Printer {
    fn told(&mut self, line: &str) {
        println!("{line}");
    }

    async fn saw(&mut self, seen: &[Seen]) -> Result<()> {
        self.0.print(seen).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let began = Instant::now();
    println!("Touchstone demo: chain, contracts, coordinator, workers and challenger on this machine, in real time");
    let keep = std::env::var_os("TOUCHSTONE_KEEP");
    let stage = Stage::set(keep.as_deref().map(Path::new), scenario::DISPUTED).await?;
    let network = &stage.network;
    println!(
        "  market {}\n  disputes {}\n  model {}",
        network.deployment.market, network.deployment.disputes, stage.model.id
    );
    let mut coordinator = network.coordinator()?.start()?;
    process::listening(network.coordinator_port, scenario::START).await?;
    println!(
        "\nthe image, a real one from the test set, label {}:\n{}",
        stage.image.label,
        stage.image.drawing()
    );
    let mut timeline = Timeline::new(network.reader.clone());
    let mut before = network.follow();
    before.poll().await?;
    timeline.restart(&before.seen);

    let seen = stage.play(&mut Printer(timeline)).await?;

    summary(network, &seen).await?;
    ensure!(
        coordinator.is_running()?,
        "the coordinator died on the way:\n{}",
        coordinator.tail()
    );
    coordinator.kill().await?;
    println!("  wall clock {} s", began.elapsed().as_secs());
    println!("demo: honest claim final, cheating claim convicted, requester served");
    Ok(())
}

/// Moves of the disputes, with the gas of each.
async fn summary(network: &Network, seen: &[Seen]) -> Result<()> {
    let mut moves = Vec::new();
    for Seen { event, .. } in seen {
        if let Body::Disputes(D::Moved(e)) = &event.body {
            let receipt = network.reader.receipt(event.transaction).await?;
            moves.push((
                e.r#move,
                event.transaction,
                receipt.map_or(0, |receipt| receipt.gas_used),
            ));
        }
    }
    println!("\n  the dispute took {} moves:", moves.len());
    for (made, transaction, gas) in moves {
        println!("    {made:?}: {gas} gas, tx {transaction}");
    }
    Ok(())
}
