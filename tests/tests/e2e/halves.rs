//! A model with float16 input and output and both formats of two bytes between: an honest claim becomes final with what the reference engine
//! computes, and one whose output is off by a few last places of float16 is convicted by the judge contract.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::U256;
use touchstone_engine::{Engine, Keep, Reference, Value};
use touchstone_protocol::{descriptor::Dtype, half};
use touchstone_tests::{
    books,
    network::{Network, STAKE},
    paths,
    scenario::{self, claim_by, finalized, struck},
};

use crate::{coordinator, stake_for};

/// 64 numbers from -2 to 2, in float16.
fn input() -> Vec<u8> {
    let bits = |k: u16| half::encode(Dtype::F16, (f32::from(k) / 16.0 - 2.0).to_bits());
    (0..64)
        .flat_map(|k| bits(k).to_le_bytes().into_iter().take(2))
        .collect()
}

#[tokio::test]
async fn values_of_two_bytes_are_claimed_and_judged() -> Result<()> {
    let network = Network::start(None).await?;
    let file = paths::root().join("models/halves/mixed.onnx");
    let staked = stake_for(&network.parameters, 1);
    let honest = network.stake_with(0, staked).await?;
    let model = network.publish_by(0, &file).await?;
    let coordinator = coordinator(&network).await?;
    let mut worker = network.worker("worker", "touchstone-worker", &honest).start()?;
    let challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut events = network.follow();
    let requester = network.owner_key()?;

    let request = scenario::request(&network, requester, model.id, input()).await?;
    let claimed = events.wait("the honest claim", scenario::SERVED, |event| {
        claim_by(event, request, honest.provider)
    });
    let ((claim, output), _) = claimed
        .await
        .with_context(|| format!("{}\n{}", worker.tail(), coordinator.tail()))?;
    let plan = Arc::new(model.plan.clone());
    let given = Value::new(Dtype::F16, [1, 64], input())?;
    let expected = Reference.run(&plan, &[given], Keep::Boundary)?.outputs;
    let expected = expected.first().context("no output")?;
    ensure!(output.len() == expected.bytes.len(), "{} bytes", output.len());
    let output = Value::new(Dtype::F16, expected.dims.clone(), output)?;
    let numbers = |value: &Value| value.to_f32().context("not float16");
    for (a, b) in numbers(&output)?.iter().zip(numbers(expected)?) {
        // Sums in another order may round the other way, in one place or another.
        ensure!((a - b).abs() <= b.abs() / 256.0, "{a} is not {b}");
    }
    let last = events.wait("finality", scenario::SERVED, |event| finalized(event, claim));
    last.await?;
    worker.kill().await?;

    let cheat = network.stake(1).await?;
    let liar = network.cheat("output", &cheat).start()?;
    let request = scenario::request(&network, requester, model.id, input()).await?;
    let claimed = events.wait("the false claim", scenario::SERVED, |event| {
        claim_by(event, request, cheat.provider)
    });
    claimed.await.with_context(|| liar.tail())?;
    let strike = events.wait("the strike", scenario::DISPUTED, |event| {
        struck(event, request, cheat.provider)
    });
    strike
        .await
        .with_context(|| format!("{}\n{}", liar.tail(), challenger.tail()))?;
    books::slashed(&network, &cheat, U256::from(STAKE)).await?;
    books::honest(&network, &events.seen, &honest, staked).await?;
    books::balance(&network, &events.seen).await
}
