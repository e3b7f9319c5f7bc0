//! The main job on a private network in real time: an honest claim becomes final and is delivered; then the same request is served by a
//! cheating worker, disputed, convicted, and served again by an honest one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use touchstone_chain::{
    U256,
    bindings::{IDisputes::IDisputesEvents as D, IMarket::IMarketEvents as M},
    event::Body,
};
use touchstone_tests::{
    chain::{Follower, Seen, view},
    network::{IDigitStore, Network},
    paths,
    scenario::{self, Image, claimed_by, delivered, is_market},
    timeline::Timeline,
};

#[tokio::main]
async fn main() -> Result<()> {
    let began = Instant::now();
    println!("Touchstone demo: chain, contracts, coordinator, workers and challenger on this machine, in real time");
    let network = Network::start(std::env::var_os("TOUCHSTONE_KEEP").as_deref().map(std::path::Path::new)).await?;
    let model = network.publish(&paths::digits()).await?;
    let consumer = network.consumer("DigitStore", model.id).await?;
    let (honest, cheat) = (network.stake(0).await?, network.stake(1).await?);
    println!(
        "  market {}\n  disputes {}\n  model {}",
        network.deployment.market, network.deployment.disputes, model.id
    );

    let mut coordinator = network.coordinator()?.start()?;
    touchstone_tests::process::listening(network.coordinator_port, scenario::START).await?;
    let mut challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let honest_worker = network.worker("honest-worker", "touchstone-worker", &honest);
    let mut worker = honest_worker.start()?;

    let image = Image::load(0)?;
    println!(
        "\nthe image, a real one from the test set, label {}:\n{}",
        image.label,
        image.drawing()
    );
    let mut events = network.follow();
    events.poll().await?;
    let mut timeline = Timeline::new(network.reader.clone());
    timeline.restart(&events.seen);

    println!("1. an honest worker");
    let first = scenario::ask(&network, consumer, &image).await?;
    follow(&mut events, &mut timeline, "the delivery", scenario::SERVED, |body| {
        delivered(body, first)
    })
    .await?;
    check(&network, consumer, first, &image).await?;

    println!("\n2. a cheating worker: it moves one inner value and stays consistent downstream");
    worker.kill().await?;
    let mut cheating = network.cheat("inner-value", &cheat).start()?;
    let second = scenario::ask(&network, consumer, &image).await?;
    let claimed = |body: &Body| claimed_by(body, second, cheat.provider);
    follow(&mut events, &mut timeline, "the false claim", scenario::SERVED, claimed).await?;
    let mut worker = honest_worker.start()?;
    let struck = |body: &Body| {
        is_market(
            body,
            |event| matches!(event, M::Struck(e) if e.request == second && e.worker == cheat.provider),
        )
    };
    follow(&mut events, &mut timeline, "the conviction", scenario::DISPUTED, struck).await?;
    follow(&mut events, &mut timeline, "the delivery", scenario::SERVED, |body| {
        delivered(body, second)
    })
    .await?;
    check(&network, consumer, second, &image).await?;
    summary(&network, &events.seen).await?;

    for service in [&mut worker, &mut cheating, &mut challenger, &mut coordinator] {
        ensure!(service.is_running()?, "a service died on the way:\n{}", service.tail());
        service.kill().await?;
    }
    println!("  wall clock {} s", began.elapsed().as_secs());
    println!("demo: honest claim final, cheating claim convicted, requester served");
    Ok(())
}

/// Prints events until one is what `found` looks for.
async fn follow(
    events: &mut Follower,
    timeline: &mut Timeline,
    what: &str,
    within: Duration,
    found: impl Fn(&Body) -> bool,
) -> Result<()> {
    let until = Instant::now() + within;
    loop {
        let from = events.seen.len();
        events.poll().await?;
        timeline.print(&events.seen).await?;
        if events.seen[from..].iter().any(|seen| found(&seen.event.body)) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{what} did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn check(network: &Network, consumer: touchstone_chain::Address, request: U256, image: &Image) -> Result<()> {
    let answered = view(&network.reader, consumer, &IDigitStore::isAnsweredCall { request }).await?;
    ensure!(
        answered,
        "request {request} was delivered, but the consumer has no answer"
    );
    let digit = view(&network.reader, consumer, &IDigitStore::digitOfCall { request }).await?;
    ensure!(
        digit == image.label,
        "the consumer was told {digit}, the image shows {}",
        image.label
    );
    println!("  the consumer contract holds the answer to request {request}: {digit}");
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
