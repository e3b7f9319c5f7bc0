//! Operators too long for one verdict. A sum of 2^20 terms: an honest claim becomes final, also when it is falsely disputed; a wrong sum is convicted by
//! its totals, and one with sums that give it by the 1,024 terms that do not. A softmax and a layer norm of a few leaves and a maximum of one: likewise, but for the last.

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::{
    B256, U256,
    bindings::{
        IDisputes::{self, IDisputesEvents as D},
        Move, Phase,
    },
    event::{Body, Event},
};
use touchstone_protocol::{merkle::MerkleTree, parts};
use touchstone_tests::{
    books,
    chain::{Follower, send, view},
    network::{Network, Provider, Published},
    paths,
    scenario::{self, claim_by, finalized, struck},
};

use crate::{coordinator, stake_for};

/// How they cheat, and the move that convicts them.
const CHEATS: [(&str, Move); 2] = [("long-output", Move::Total), ("long-sums", Move::Prove)];

/// Rows of two leaves of terms, of four, and of one that is not whole.
const ROWS: [&str; 3] = ["softmax", "norm", "max"];

/// Numbers from 0 to 1, which the model repeats.
fn input(count: u16) -> Vec<u8> {
    let number = |k| f32::from(k) / f32::from(count);
    (0..count).flat_map(|k| number(k).to_le_bytes()).collect()
}

/// The moves of a dispute, in order.
fn moves(events: &Follower, dispute: B256) -> Vec<Move> {
    let moved = |event: &Event| match &event.body {
        Body::Disputes(D::Moved(e)) if e.dispute == dispute => Some(e.r#move),
        _ => None,
    };
    events.seen.iter().filter_map(|seen| moved(&seen.event)).collect()
}

/// The dispute on a claim, once it is opened.
async fn opened(events: &mut Follower, claim: B256) -> Result<B256> {
    let is_it = |event: &Event| match &event.body {
        Body::Disputes(D::Opened(e)) if e.claim == claim => Some(e.dispute),
        _ => None,
    };
    Ok(events.wait("the dispute", scenario::DISPUTED, is_it).await?.0)
}

/// Waits until a provider's claim on a request is struck; the moves that did it.
async fn convicted(events: &mut Follower, request: U256, provider: &Provider) -> Result<Vec<Move>> {
    let claimed = events.wait("the false claim", scenario::SERVED, |event| {
        claim_by(event, request, provider.provider)
    });
    let ((claim, _), _) = claimed.await?;
    let strike = events.wait("the strike", scenario::DISPUTED, |event| {
        struck(event, request, provider.provider)
    });
    strike.await?;
    let dispute = opened(events, claim).await?;
    Ok(moves(events, dispute))
}

/// Disputes an honest claim as whoever knows no better would: points at the long operator, and goes on at the first part.
async fn dispute_falsely(network: &Network, events: &mut Follower, model: &Published, claim: B256) -> Result<()> {
    let (disputes, key) = (network.deployment.disputes, network.challenger_key()?);
    let operator = model.plan.operators.len() - 1;
    let d = model.plan.operators.get(operator).context("the plan is empty")?;
    ensure!(parts::is_long(d), "the last operator is not long");
    let proof = MerkleTree::new(model.plan.leaves()?).proof(operator as u64);
    let open = IDisputes::openCall {
        claim,
        salt: U256::ZERO,
    };
    send(
        &network.reader,
        key,
        disputes,
        U256::from(100_000_000_000_000_000_u64),
        &open,
    )
    .await?;
    let dispute = opened(events, claim).await?;
    let state = view(&network.reader, disputes, &IDisputes::stateDigestCall { dispute }).await?;
    let point = IDisputes::pointCall {
        dispute,
        state,
        operator_: u32::try_from(operator)?,
        element: 0,
        descriptor: d.encode()?.into(),
        proof: proof.context("no such leaf")?,
    };
    send(&network.reader, key, disputes, U256::ZERO, &point).await?;
    for answered in 0..=parts::depth(d).div_ceil(3).max(1) {
        // The last answer ends it.
        let is_next = |event: &Event| match &event.body {
            Body::Disputes(D::Moved(e)) if e.dispute == dispute && e.position.moves > 2 + 2 * answered => {
                Some(e.position.phase)
            }
            _ => None,
        };
        let (phase, _) = events.wait("the worker's answer", scenario::DISPUTED, is_next).await?;
        if phase != Phase::Parting {
            break;
        }
        let parted = events.seen.iter().rev().find_map(|seen| match &seen.event.body {
            Body::Disputes(D::Parted(e)) if e.dispute == dispute => Some((e.header, e.parts.clone())),
            _ => None,
        });
        let (header, parts) = parted.context("parting without parts")?;
        let state = view(&network.reader, disputes, &IDisputes::stateDigestCall { dispute }).await?;
        let part = IDisputes::partCall {
            dispute,
            state,
            child: U256::ZERO,
            header,
            parts,
        };
        send(&network.reader, key, disputes, U256::ZERO, &part).await?;
    }
    let ended = |event: &Event| match &event.body {
        Body::Disputes(D::Ended(e)) if e.dispute == dispute => Some(e.phase),
        _ => None,
    };
    let (phase, _) = events.wait("the verdict", scenario::DISPUTED, ended).await?;
    println!("the false challenge: {:?}", moves(events, dispute));
    ensure!(
        phase == Phase::Lost,
        "the false challenge ended in phase {phase:?} instead of being lost"
    );
    Ok(())
}

#[tokio::test]
async fn long_sums_are_judged_by_parts() -> Result<()> {
    let network = Network::start(None).await?;
    let file = paths::root().join("models/long/sum.onnx");
    let staked = stake_for(&network.parameters, 1 + CHEATS.len());
    let honest = network.stake_with(0, staked).await?;
    let model = network.publish_by(0, &file).await?;
    let _coordinator = coordinator(&network).await?;
    let launch = network.worker("worker", "touchstone-worker", &honest);
    let mut worker = launch.start()?;
    let mut events = network.follow();
    let requester = network.owner_key()?;

    let sum = model.plan.operators.last().context("the plan is empty")?;
    ensure!(sum.terms() == 1 << 20, "{} terms", sum.terms());
    let request = scenario::request(&network, requester, model.id, input(1024)).await?;
    let claimed = events.wait("the honest claim", scenario::SERVED, |event| {
        claim_by(event, request, honest.provider)
    });
    let ((claim, output), _) = claimed.await.with_context(|| worker.tail())?;
    let sum = f32::from_le_bytes(output.as_slice().try_into()?);
    ensure!((sum - 511.5 * 1024.0).abs() < 10.0, "the sum is {sum}");
    dispute_falsely(&network, &mut events, &model, claim)
        .await
        .with_context(|| worker.tail())?;
    let last = events.wait("finality", scenario::SERVED, |event| finalized(event, claim));
    last.await?;
    worker.kill().await?;

    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut lies = Vec::new();
    for (number, (cheat, convicts)) in CHEATS.into_iter().enumerate() {
        let model = network.publish_by(1 + number, &file).await?;
        let provider = network.stake_with(1 + number, staked).await?;
        let launch = network.cheat(cheat, &provider);
        let liar = launch.with("TOUCHSTONE_WORKER_SERVE", model.id).start()?;
        let request = scenario::request(&network, requester, model.id, input(1024)).await?;
        lies.push((cheat, convicts, provider, liar, request));
    }
    for (cheat, convicts, provider, liar, request) in &lies {
        let says = || format!("{cheat}: {}\n{}", liar.tail(), challenger.tail());
        let made = convicted(&mut events, *request, provider).await.with_context(says)?;
        println!("{cheat}: {made:?}");
        ensure!(made.last() == Some(convicts), "{cheat} was convicted by {made:?}");
        books::slashed(&network, provider, staked).await?;
    }
    books::honest(&network, &events.seen, &honest, staked).await?;
    books::balance(&network, &events.seen).await
}

#[tokio::test]
async fn long_rows_are_judged_by_parts() -> Result<()> {
    let network = Network::start(None).await?;
    let staked = stake_for(&network.parameters, ROWS.len());
    let honest = network.stake_with(0, staked).await?;
    let _coordinator = coordinator(&network).await?;
    let launch = network.worker("worker", "touchstone-worker", &honest);
    let launch = launch.with("TOUCHSTONE_WORKER_CAPACITY", ROWS.len());
    let mut worker = launch.start()?;
    let mut events = network.follow();
    let requester = network.owner_key()?;

    let mut models = Vec::new();
    for (number, name) in ROWS.into_iter().enumerate() {
        let file = paths::root().join(format!("models/long/{name}.onnx"));
        models.push((name, network.publish_by(number, &file).await?));
    }
    let mut claims = Vec::new();
    for (name, model) in &models {
        let request = scenario::request(&network, requester, model.id, input(256)).await?;
        let claimed = events.wait("the honest claim", scenario::SERVED, |event| {
            claim_by(event, request, honest.provider)
        });
        let ((claim, _), _) = claimed.await.with_context(|| format!("{name}: {}", worker.tail()))?;
        let disputed = dispute_falsely(&network, &mut events, model, claim).await;
        disputed.with_context(|| format!("{name}: {}", worker.tail()))?;
        claims.push(claim);
    }
    for claim in claims {
        let last = events.wait("finality", scenario::SERVED, |event| finalized(event, claim));
        last.await?;
    }
    worker.kill().await?;

    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut lies = Vec::new();
    for (number, (name, model)) in models.iter().enumerate() {
        let provider = network.stake_with(1 + number, staked).await?;
        let launch = network.cheat("long-output", &provider);
        let liar = launch.with("TOUCHSTONE_WORKER_SERVE", model.id).start()?;
        let request = scenario::request(&network, requester, model.id, input(256)).await?;
        lies.push((name, provider, liar, request));
    }
    for (name, provider, liar, request) in &lies {
        let says = || format!("{name}: {}\n{}", liar.tail(), challenger.tail());
        let made = convicted(&mut events, *request, provider).await.with_context(says)?;
        println!("{name}: {made:?}");
        ensure!(made.last() == Some(&Move::Total), "{name} was convicted by {made:?}");
        books::slashed(&network, provider, staked).await?;
    }
    books::honest(&network, &events.seen, &honest, staked).await?;
    books::balance(&network, &events.seen).await
}
