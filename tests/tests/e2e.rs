//! The network played end to end on real anvil, Postgres, libtorch and gRPC, each service a process of its own: whoever cheats loses, whoever
//! is honest keeps its bond.

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::{
    B256, U256,
    bindings::{
        IDisputes::{self, IDisputesEvents as D},
        IMarket::{self, IMarketEvents as M},
        Phase,
    },
    event::Body,
};
use touchstone_protocol::merkle::MerkleTree;
use touchstone_tests::{
    chain::{send, view},
    network::{Network, Published},
    paths, process,
    scenario::{self, Image, claimed_by, is_market},
};

/// A network with the digits model and a coordinator that listens.
async fn network() -> Result<(Network, Published, process::Service)> {
    let network = Network::start(None).await?;
    let model = network.publish(&paths::digits()).await?;
    let coordinator = network.coordinator()?.start()?;
    process::listening(network.coordinator_port, scenario::START).await?;
    Ok((network, model, coordinator))
}

/// owed = recorded ≤ held.
async fn money_is_conserved(network: &Network) -> Result<()> {
    let head = network.reader.head().await?;
    let ledger = network
        .reader
        .call(network.deployment.market, &IMarket::ledgerCall {}, head.hash)
        .await?;
    let held = network.reader.balance(network.deployment.market, head.hash).await?;
    let owed = ledger.stakes + ledger.escrow + ledger.bonds + ledger.setAside + ledger.credits + ledger.burned;
    ensure!(owed <= held, "the market owes {owed} wei and holds {held}");
    Ok(())
}

/// A worker that cheats claims, is disputed by the challenger and struck.
async fn loses(cheat: &str) -> Result<()> {
    let (network, model, _coordinator) = network().await?;
    let consumer = network.consumer("DigitStore", model.id).await?;
    let provider = network.stake(0).await?;
    let _challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut worker = network.cheat(cheat, &provider).start()?;
    let mut events = network.follow();
    let request = scenario::ask(&network, consumer, &Image::load(1)?).await?;
    let claimed =
        |event: &touchstone_chain::event::Event| claimed_by(&event.body, request, provider.provider).then_some(());
    let claim = events.wait("the false claim", scenario::SERVED, claimed).await;
    claim.with_context(|| worker.tail())?;
    let struck = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Market(M::Struck(e)) if e.request == request && e.worker == provider.provider => Some(e.reward),
        _ => None,
    };
    let (reward, _) = events.wait("the strike", scenario::DISPUTED, struck).await?;
    ensure!(reward > U256::ZERO, "the challenger was not rewarded");
    let call = IMarket::providerOfCall {
        provider: provider.provider,
    };
    let after = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        after.staked == U256::from(2_000_000_000_000_000_000_u64),
        "{} wei are left of a stake of 3 ETH",
        after.staked
    );
    ensure!(
        worker.is_running()?,
        "the worker died instead of losing:\n{}",
        worker.tail()
    );
    money_is_conserved(&network).await
}

#[tokio::test]
async fn other_weights_lose() -> Result<()> {
    loses("weights").await
}

#[tokio::test]
async fn a_moved_inner_value_loses() -> Result<()> {
    loses("inner-value").await
}

#[tokio::test]
async fn another_output_over_a_right_trace_loses() -> Result<()> {
    loses("output").await
}

#[tokio::test]
async fn silence_in_a_dispute_loses() -> Result<()> {
    loses("silent").await
}

/// A challenger that disputes an honest claim loses its bond; a consumer whose callback reverts blocks nothing.
#[tokio::test]
async fn a_false_challenge_loses_and_a_reverting_consumer_blocks_nothing() -> Result<()> {
    let (network, model, _coordinator) = network().await?;
    let consumer = network.consumer("RevertingConsumer", model.id).await?;
    let provider = network.stake(0).await?;
    let _worker = network.worker("worker", "touchstone-worker", &provider).start()?;
    let mut events = network.follow();
    let request = scenario::ask(&network, consumer, &Image::load(2)?).await?;
    let claimed = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Market(M::Claimed(e)) if e.request == request => Some(e.claim),
        _ => None,
    };
    let (claim, _) = events.wait("the claim", scenario::SERVED, claimed).await?;

    // The challenger points at the last operator's first element, which is right.
    let (disputes, key) = (network.deployment.disputes, network.challenger_key()?);
    let operator = model.plan.operators.len() - 1;
    let descriptor = model
        .plan
        .operators
        .get(operator)
        .context("the plan is empty")?
        .encode()?;
    let proof: Vec<B256> = MerkleTree::new(model.plan.leaves()?)
        .proof(operator as u64)
        .context("no such leaf")?;
    let bond = U256::from(100_000_000_000_000_000_u64);
    send(
        &network.reader,
        key,
        disputes,
        bond,
        &IDisputes::openCall {
            claim,
            salt: U256::ZERO,
        },
    )
    .await?;
    let opened = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Disputes(D::Opened(e)) if e.claim == claim => Some(e.dispute),
        _ => None,
    };
    let (dispute, _) = events.wait("the dispute", scenario::START, opened).await?;
    let state = view(&network.reader, disputes, &IDisputes::stateDigestCall { dispute }).await?;
    let operator_ = u32::try_from(operator)?;
    let (descriptor, proof) = (alloy::primitives::Bytes::from(descriptor), proof);
    let ask = IDisputes::layerCall {
        dispute,
        state,
        operator_,
        descriptor: descriptor.clone(),
        proof: proof.clone(),
    };
    send(&network.reader, key, disputes, U256::ZERO, &ask).await?;
    let answered = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Disputes(D::LayerAnswered(e)) if e.claim == claim => Some(()),
        _ => None,
    };
    events.wait("the layer's root", scenario::DISPUTED, answered).await?;
    let state = view(&network.reader, disputes, &IDisputes::stateDigestCall { dispute }).await?;
    let point = IDisputes::pointCall {
        dispute,
        state,
        operator_,
        element: 0,
        descriptor,
        proof,
    };
    send(&network.reader, key, disputes, U256::ZERO, &point).await?;
    let ended = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Disputes(D::Ended(e)) if e.dispute == dispute => Some(e.phase),
        _ => None,
    };
    let (phase, _) = events.wait("the verdict", scenario::DISPUTED, ended).await?;
    ensure!(
        phase == Phase::Lost,
        "the false challenge ended in phase {phase:?} instead of being lost"
    );

    let delivered = |event: &touchstone_chain::event::Event| match &event.body {
        Body::Market(M::Delivered(e)) if e.request == request => Some(e.success),
        _ => None,
    };
    let (success, _) = events.wait("the delivery", scenario::SERVED, delivered).await?;
    ensure!(!success, "the reverting consumer's callback succeeded");
    ensure!(
        !events
            .seen
            .iter()
            .any(|seen| is_market(&seen.event.body, |event| matches!(event, M::Struck(_)))),
        "an honest worker was struck"
    );
    let call = IMarket::providerOfCall {
        provider: provider.provider,
    };
    let after = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        after.reserved == U256::ZERO && after.staked == U256::from(3_000_000_000_000_000_000_u64),
        "the honest worker's stake is not whole"
    );
    money_is_conserved(&network).await
}

/// With nothing wrong, nothing happens: the challenger stays still, claims become final, and a coordinator killed on the way changes nothing.
#[tokio::test]
async fn an_honest_request_survives_a_killed_coordinator() -> Result<()> {
    let (network, model, mut coordinator) = network().await?;
    let consumer = network.consumer("DigitStore", model.id).await?;
    let provider = network.stake(0).await?;
    let _worker = network.worker("worker", "touchstone-worker", &provider).start()?;
    let _challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut events = network.follow();
    let request = scenario::ask(&network, consumer, &Image::load(3)?).await?;
    coordinator.kill().await?;
    let launch = network.coordinator()?;
    let mut coordinator = launch.start()?;
    let claimed =
        |event: &touchstone_chain::event::Event| claimed_by(&event.body, request, provider.provider).then_some(());
    events
        .wait("the claim", scenario::SERVED, claimed)
        .await
        .with_context(|| coordinator.tail())?;
    coordinator.kill().await?;
    let coordinator = launch.start()?;
    let delivered = |event: &touchstone_chain::event::Event| scenario::delivered(&event.body, request).then_some(());
    events
        .wait("the delivery", scenario::SERVED, delivered)
        .await
        .with_context(|| coordinator.tail())?;
    ensure!(
        !events
            .seen
            .iter()
            .any(|seen| matches!(seen.event.body, Body::Disputes(_))),
        "somebody disputed an honest claim"
    );
    money_is_conserved(&network).await
}
