//! The networks of models/suite from both PyTorch exporters: an honest claim on each becomes final with ONNX Runtime's output; a claim with
//! one inner element wrong is convicted by the judge contract, and its request served by the honest worker.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use touchstone_chain::{
    B256, U256,
    bindings::{IDisputes::IDisputesEvents as D, IMarket},
    event::Body,
};
use touchstone_model::tensor_file::read_npy;
use touchstone_protocol::descriptor::Place;
use touchstone_tests::{
    adversary::victim,
    books,
    chain::{Follower, view},
    network::{Network, Provider, Published, STAKE},
    paths, process,
    scenario::{self, claim_by, finalized, struck},
};

use crate::{coordinator, stake_for};

/// An MLP, a residual CNN with batch norms (in one export all of them are kept), the transformer.
const MODELS: [&str; 7] = [
    "mlp_torchscript",
    "mlp_dynamo",
    "cnn_torchscript",
    "cnn_dynamo",
    "cnn_torchscript_batchnorm",
    "vit_torchscript",
    "vit_dynamo",
];
/// The largest distance of a logit from ONNX Runtime's, of 1 and more in size.
const CLOSE: f32 = 2e-5;

/// Row `number` of an array, as bytes.
fn row(file: &str, number: usize) -> Result<Vec<u8>> {
    let path = paths::root().join("models/suite").join(file);
    let tensor = read_npy(&fs::read(&path).with_context(|| format!("read {}", path.display()))?)?;
    let rows = *tensor.dims.first().context("no rows")? as usize;
    let row = tensor.bytes.chunks_exact(tensor.bytes.len() / rows).nth(number);
    Ok(row.context("no such row")?.to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks_exact(4);
    words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// A model with its cheat.
struct Case {
    name: &'static str,
    number: usize,
    model: Published,
    cheat: Provider,
}

impl Case {
    async fn publish(network: Arc<Network>, name: &'static str, number: usize) -> Result<Self> {
        let file = paths::root().join(format!("models/suite/{name}.onnx"));
        // Both exports of a network are one plan, so they are told apart by their publishers.
        let model = network.publish_by(number, &file).await?;
        let moved = model.plan.operators.get(victim(&model.plan)?);
        ensure!(
            moved.is_some_and(|d| matches!(d.place, Place::Inner(_))),
            "{name}: the cheat moves no inner value"
        );
        let cheat = network.stake(1 + number).await?;
        Ok(Self {
            name,
            number,
            model,
            cheat,
        })
    }

    async fn ask(&self, network: &Network, input: usize) -> Result<U256> {
        let requester = network.publisher_key(self.number)?;
        scenario::request(network, requester, self.model.id, row("inputs.npy", input)?).await
    }

    /// Waits for the honest worker's claim on a request; its outputs must be ONNX Runtime's.
    async fn right(
        &self,
        events: &mut Follower,
        (request, input): (U256, usize),
        worker: &Provider,
    ) -> Result<(B256, Vec<u8>)> {
        let claimed = events.wait("the honest claim", scenario::SERVED, |event| {
            claim_by(event, request, worker.provider)
        });
        let ((claim, outputs), _) = claimed.await?;
        let (actual, expected) = (
            floats(&outputs),
            floats(&row(&format!("expected/{}.npy", self.name), input)?),
        );
        ensure!(actual.len() == expected.len(), "{} outputs", actual.len());
        for (actual, expected) in actual.iter().zip(&expected) {
            let distance = (actual - expected).abs() / expected.abs().max(1.0);
            ensure!(distance <= CLOSE, "{actual} is not ONNX Runtime's {expected}");
        }
        Ok((claim, outputs))
    }
}

/// Requests one inference of each model, all at once.
async fn ask_all(network: &Arc<Network>, cases: &Arc<Vec<Case>>, input: usize) -> Result<Vec<U256>> {
    let mut asking = JoinSet::new();
    for number in 0..cases.len() {
        let (network, cases) = (network.clone(), cases.clone());
        asking.spawn(async move { Ok::<_, anyhow::Error>((number, cases[number].ask(&network, input).await?)) });
    }
    let mut requests = asking.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    requests.sort();
    Ok(requests.into_iter().map(|(_, request)| request).collect())
}

/// Waits until a claim is final; what it claimed is the request's result.
async fn ends(network: &Network, events: &mut Follower, request: U256, claim: (B256, Vec<u8>)) -> Result<()> {
    let (claim, outputs) = claim;
    let last = events.wait("finality", scenario::SERVED, |event| finalized(event, claim));
    last.await?;
    let call = IMarket::isResultCall {
        request,
        outputs: outputs.into(),
    };
    let is_result = view(&network.reader, network.deployment.market, &call).await?;
    ensure!(is_result, "the market does not know the outputs as request {request}'s");
    Ok(())
}

#[tokio::test]
async fn each_model_is_served_and_one_wrong_inner_element_in_each_is_convicted() -> Result<()> {
    let network = Arc::new(Network::start(None).await?);
    let mut publishing = JoinSet::new();
    for (number, name) in MODELS.into_iter().enumerate() {
        publishing.spawn(Case::publish(network.clone(), name, number));
    }
    // The second round's claims may come before those of the first are final.
    let staked = stake_for(&network.parameters, 2 * MODELS.len());
    let honest = network.stake_with(0, staked).await?;
    let mut cases = publishing.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    cases.sort_by_key(|case| case.number);
    let cases = Arc::new(cases);

    let _coordinator = coordinator(&network).await?;
    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let launch = network
        .worker("worker", "touchstone-worker", &honest)
        .with("TOUCHSTONE_WORKER_CAPACITY", MODELS.len());
    let mut worker = launch.start()?;
    let mut events = network.follow();

    let requests = ask_all(&network, &cases, 0).await?;
    let mut claims = Vec::new();
    for (case, request) in cases.iter().zip(&requests) {
        let right = case.right(&mut events, (*request, 0), &honest).await;
        claims.push(right.with_context(|| format!("{}: {}", case.name, worker.tail()))?);
    }

    worker.kill().await?;
    let mut liars: Vec<process::Service> = Vec::new();
    for case in cases.iter() {
        let launch = network.cheat("inner-value", &case.cheat);
        liars.push(launch.with("TOUCHSTONE_WORKER_SERVE", case.model.id).start()?);
    }
    let again = ask_all(&network, &cases, 1).await?;
    let mut lies = Vec::new();
    for ((case, request), liar) in cases.iter().zip(&again).zip(&liars) {
        let claimed = events.wait("the false claim", scenario::SERVED, |event| {
            claim_by(event, *request, case.cheat.provider)
        });
        let claimed = claimed.await;
        let ((claim, _), seen) = claimed.with_context(|| format!("{}: {}", case.name, liar.tail()))?;
        lies.push((claim, seen.block.timestamp));
    }
    let worker = launch.start()?;
    for (((case, request), liar), (claim, claimed_at)) in cases.iter().zip(&again).zip(&mut liars).zip(&lies) {
        let strike = events.wait("the strike", scenario::DISPUTED, |event| {
            struck(event, *request, case.cheat.provider)
        });
        let (_, strike) = strike
            .await
            .with_context(|| format!("{}: {}", case.name, challenger.tail()))?;
        let opened = events.seen.iter().rev().find_map(|seen| match &seen.event.body {
            Body::Disputes(D::Opened(e)) if e.claim == *claim => Some(seen.block.timestamp),
            _ => None,
        });
        println!(
            "{}: disputed {} s and struck {} s after the claim",
            case.name,
            opened.context("struck without a dispute")? - claimed_at,
            strike.block.timestamp - claimed_at
        );
        books::slashed(&network, &case.cheat, U256::from(STAKE)).await?;
        ensure!(
            liar.is_running()?,
            "{} died instead of losing:\n{}",
            case.name,
            liar.tail()
        );
    }
    for ((case, request), claim) in cases.iter().zip(&requests).zip(claims) {
        let last = ends(&network, &mut events, *request, claim).await;
        last.with_context(|| format!("{}, first request", case.name))?;
    }
    for (case, request) in cases.iter().zip(&again) {
        let right = case.right(&mut events, (*request, 1), &honest).await;
        let right = right.with_context(|| format!("{}: {}", case.name, worker.tail()))?;
        let last = ends(&network, &mut events, *request, right).await;
        last.with_context(|| format!("{}, second request", case.name))?;
    }

    books::honest(&network, &events.seen, &honest, staked).await?;
    let key = network.challenger_key()?.address();
    books::rewarded(&network, &events.seen, key, MODELS.len()).await?;
    books::balance(&network, &events.seen).await
}
