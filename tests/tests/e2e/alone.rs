//! Disputes without a coordinator (PROTOCOL.md P9). It dies once a false claim is posted, and stays dead: the challenger has the model's file and
//! the chain; the worker answers by own transactions; the requester fetches its money itself. Or it is away for one answer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;
use touchstone_chain::{
    U256,
    bindings::{
        IDisputes::IDisputesEvents as D,
        IMarket::{self, IMarketEvents as M, RequestStatus},
        Move,
    },
    deploy::devnet_parameters,
    event::Body,
};
use touchstone_tests::{
    books,
    chain::{send, view},
    network::{IDigitStore, Network, STAKE},
    paths,
    scenario::{self, Image, claim_by, struck},
};

use crate::coordinator;

/// The cheat is an output beside a right trace: own runs give the values that the coordinator would have.
#[tokio::test]
async fn a_cheat_is_convicted_and_the_requester_refunded_with_the_coordinator_stopped() -> Result<()> {
    // The refund is waited for.
    let network = Network::start_with(
        None,
        IMarket::Parameters {
            deadlineSeconds: 30,
            ..devnet_parameters()
        },
    )
    .await?;
    let model = network.publish(&paths::digits()).await?;
    let consumer = network.consumer("DigitStore", model.id).await?;
    let provider = network.stake(0).await?;
    let mut coordinator = coordinator(&network).await?;
    let mut worker = network.cheat("output", &provider).start()?;
    let mut events = network.follow();
    let request = scenario::ask(&network, consumer, &Image::load(4)?).await?;
    let claimed = events.wait("the false claim", scenario::SERVED, |event| {
        claim_by(event, request, provider.provider)
    });
    claimed.await.with_context(|| worker.tail())?;
    coordinator.kill().await?;

    // Only now is there anybody who could dispute.
    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .with("TOUCHSTONE_CHALLENGER_MODEL_FILES", model.file.display())
        .start()?;
    let strike = events.wait("the strike", scenario::DISPUTED, |event| {
        struck(event, request, provider.provider)
    });
    let (_, strike) = strike
        .await
        .with_context(|| format!("{}\n{}", challenger.tail(), worker.tail()))?;
    let mut moves = Vec::new();
    for seen in &events.seen {
        if let Body::Disputes(D::Moved(e)) = &seen.event.body {
            moves.push(e.r#move);
        }
    }
    ensure!(
        moves == [Move::Open, Move::Layer, Move::AnswerLayer, Move::Convict],
        "the moves were {moves:?}"
    );
    ensure!(
        !coordinator.is_running()? && worker.is_running()?,
        "the coordinator runs, or the worker does not:\n{}",
        worker.tail()
    );

    let call = IMarket::requestOfCall { request };
    let open = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(
        open.status == RequestStatus::Requested && open.deadline > strike.block.timestamp,
        "after the strike the request is {:?}",
        open.status
    );
    let until = Instant::now() + scenario::SERVED;
    while network.reader.head().await?.timestamp <= open.deadline {
        ensure!(Instant::now() < until, "the chain's time stands still");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (owner, market) = (network.owner_key()?, network.deployment.market);
    let refund = IMarket::refundCall { request };
    send(&network.reader, owner, market, U256::ZERO, &refund).await?;
    send(
        &network.reader,
        owner,
        consumer,
        U256::ZERO,
        &IDigitStore::collectCall {},
    )
    .await?;
    events.poll().await?;
    let whole = U256::from(open.fee) + U256::from(open.prepaid);
    let returned = events.seen.iter().any(
        |seen| matches!(&seen.event.body, Body::Market(M::Withdrawn(e)) if e.account == consumer && e.amount == whole),
    );
    ensure!(returned, "the requester did not get its {whole} wei back");

    books::slashed(&network, &provider, U256::from(STAKE)).await?;
    books::rewarded(&network, &events.seen, network.challenger_key()?.address(), 1).await?;
    books::balance(&network, &events.seen).await
}

/// The coordinator is away while the worker answers on chain by itself, and so without the layer's values; once it is back it asks for them, and
/// the challenger convicts by them.
#[tokio::test]
async fn a_layer_answered_without_the_coordinator_is_handed_in_when_it_is_back() -> Result<()> {
    let network = Network::start(None).await?;
    let model = network.publish(&paths::digits()).await?;
    let provider = network.stake(0).await?;
    let mut away = coordinator(&network).await?;
    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let worker = network.cheat("inner-value", &provider).start()?;
    let mut events = network.follow();
    let requester = network.publisher_key(0)?;
    let request = scenario::request(&network, requester, model.id, Image::load(5)?.bytes).await?;
    // The layer is asked for in a later block: the coordinator never sees the question.
    let opened = events.wait("the dispute", scenario::SERVED, |event| {
        matches!(event.body, Body::Disputes(D::Opened(_))).then_some(())
    });
    opened.await.with_context(|| challenger.tail())?;
    away.kill().await?;
    let answered = events.wait("the worker's own answer", scenario::DISPUTED, |event| {
        matches!(event.body, Body::Disputes(D::LayerAnswered(_))).then_some(())
    });
    answered.await.with_context(|| worker.tail())?;

    let back = network.coordinator()?.start()?;
    let strike = events.wait("the strike", scenario::DISPUTED, |event| {
        struck(event, request, provider.provider)
    });
    strike
        .await
        .with_context(|| format!("{}\n{}", challenger.tail(), back.tail()))?;
    books::slashed(&network, &provider, U256::from(STAKE)).await?;
    books::rewarded(&network, &events.seen, network.challenger_key()?.address(), 1).await?;
    books::balance(&network, &events.seen).await
}
