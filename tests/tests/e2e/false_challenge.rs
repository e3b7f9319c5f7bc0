//! A challenger that disputes an honest claim, and a consumer that cannot take its result.

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::{
    B256, U256,
    bindings::{
        IDisputes::{self, IDisputesEvents as D},
        IMarket::{self, IMarketEvents as M},
        Phase,
    },
    event::{Body, Event},
};
use touchstone_protocol::merkle::MerkleTree;
use touchstone_tests::{
    books,
    chain::{send, view},
    network::{Network, STAKE},
    paths,
    scenario::{self, Image},
};

use crate::coordinator;

/// A challenger that disputes an honest claim loses its bond; a consumer whose callback reverts blocks nothing.
#[tokio::test]
async fn a_false_challenge_loses_and_a_reverting_consumer_blocks_nothing() -> Result<()> {
    let network = Network::start(None).await?;
    let model = network.publish(&paths::digits()).await?;
    let _coordinator = coordinator(&network).await?;
    let consumer = network.consumer("RevertingConsumer", model.id).await?;
    let provider = network.stake(0).await?;
    let _worker = network.worker("worker", "touchstone-worker", &provider).start()?;
    let mut events = network.follow();
    let request = scenario::ask(&network, consumer, &Image::load(2)?).await?;
    let claimed = |event: &Event| match &event.body {
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
    let paid = U256::from(100_000_000_000_000_000_u64);
    send(
        &network.reader,
        key,
        disputes,
        paid,
        &IDisputes::openCall {
            claim,
            salt: U256::ZERO,
        },
    )
    .await?;
    let opened = |event: &Event| match &event.body {
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
    let answered = |event: &Event| match &event.body {
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
    let ended = |event: &Event| match &event.body {
        Body::Disputes(D::Ended(e)) if e.dispute == dispute => Some(e.phase),
        _ => None,
    };
    let (phase, _) = events.wait("the verdict", scenario::DISPUTED, ended).await?;
    ensure!(
        phase == Phase::Lost,
        "the false challenge ended in phase {phase:?} instead of being lost"
    );

    let delivered = |event: &Event| match &event.body {
        Body::Market(M::Delivered(e)) if e.request == request => Some(e.success),
        _ => None,
    };
    let (success, _) = events.wait("the delivery", scenario::SERVED, delivered).await?;
    ensure!(!success, "the reverting consumer's callback succeeded");
    // Three quarters of the bond are the worker's, the rest is burned; what was paid above the bond came back.
    let bond = events.seen.iter().find_map(|seen| match &seen.event.body {
        Body::Disputes(D::Opened(e)) => Some(e.bond),
        _ => None,
    });
    let bond = bond.context("the dispute was opened with no event")?;
    let call = IMarket::creditOfCall { account: key.address() };
    let credit = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        credit == paid - bond,
        "the false challenger has a credit of {credit} wei after paying {paid} for a bond of {bond}"
    );
    let call = IMarket::creditOfCall {
        account: provider.provider,
    };
    let credit = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        credit > bond - bond / U256::from(4),
        "the worker's credit is {credit} wei: not its fee and three quarters of {bond}"
    );
    books::honest(&network, &events.seen, &provider, U256::from(STAKE)).await?;
    books::balance(&network, &events.seen).await
}
