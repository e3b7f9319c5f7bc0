//! Each adversary on a model of its own, all at once: the same file by as many publishers, so that nobody else takes its requests. One of them is
//! published under `wide`, and its adversary computes in fp32; the honest worker then serves it in fp64.

use anyhow::{Context as _, Result, ensure};
use touchstone_chain::bindings::IMarket;
use touchstone_chain::deploy::devnet_parameters;
use touchstone_protocol::model::Profile;
use touchstone_tests::{
    books,
    chain::view,
    network::{IDigitStore, Network},
    paths,
    scenario::{self, Image, claim_by, delivered, struck},
};

use crate::{coordinator, stake_for};

const CHEATS: [(&str, Profile); 5] = [
    ("weights", Profile::FAST),
    ("inner-value", Profile::FAST),
    ("output", Profile::FAST),
    ("silent", Profile::FAST),
    ("narrow", Profile::WIDE),
];

#[tokio::test]
async fn every_adversary_loses_and_every_requester_is_served() -> Result<()> {
    // Silence is waited for; a devnet's clock is twice as long.
    let network = Network::start_with(
        None,
        IMarket::Parameters {
            clockSeconds: 30,
            extensionSeconds: 2,
            ..devnet_parameters()
        },
    )
    .await?;
    let staked = stake_for(&network.parameters, CHEATS.len());
    let honest = network.stake_with(0, staked).await?;
    let _coordinator = coordinator(&network).await?;
    let _challenger = network
        .challenger("challenger", "touchstone-challenger", &[])?
        .start()?;
    let mut cheats = Vec::new();
    for (number, (cheat, profile)) in CHEATS.iter().enumerate() {
        let model = network.publish_under(number, &paths::digits(), *profile).await?;
        let consumer = network.consumer("DigitStore", model.id).await?;
        let provider = network.stake_with(1 + number, staked).await?;
        let launch = network.cheat(cheat, &provider);
        let worker = launch.with("TOUCHSTONE_WORKER_SERVE", model.id).start()?;
        cheats.push((*cheat, consumer, provider, worker));
    }
    let mut events = network.follow();
    let mut requests = Vec::new();
    for (number, (_, consumer, ..)) in cheats.iter().enumerate() {
        let image = Image::load(1 + number)?;
        requests.push((scenario::ask(&network, *consumer, &image).await?, image));
    }
    for ((cheat, _, provider, worker), (request, _)) in cheats.iter().zip(&requests) {
        let claimed = events.wait("the false claim", scenario::SERVED, |event| {
            claim_by(event, *request, provider.provider)
        });
        claimed.await.with_context(|| format!("{cheat}: {}", worker.tail()))?;
    }
    let worker = network
        .worker("worker", "touchstone-worker", &honest)
        .with("TOUCHSTONE_WORKER_CAPACITY", CHEATS.len())
        .start()?;
    for ((cheat, consumer, provider, liar), (request, image)) in cheats.iter_mut().zip(&requests) {
        let strike = events.wait("the strike", scenario::DISPUTED, |event| {
            struck(event, *request, provider.provider)
        });
        strike.await.with_context(|| format!("{cheat}: {}", liar.tail()))?;
        let delivery = events.wait("the delivery", scenario::SERVED, |event| {
            delivered(&event.body, *request).then_some(())
        });
        delivery
            .await
            .with_context(|| format!("{cheat}, then an honest worker: {}", worker.tail()))?;
        let call = IDigitStore::digitOfCall { request: *request };
        let digit = view(&network.reader, *consumer, &call).await?;
        ensure!(digit == image.label, "{cheat}: the consumer was told {digit}");
        books::slashed(&network, provider, staked).await?;
        ensure!(
            liar.is_running()?,
            "{cheat}: the worker died instead of losing:\n{}",
            liar.tail()
        );
    }
    books::honest(&network, &events.seen, &honest, staked).await?;
    let challenger = network.challenger_key()?.address();
    books::rewarded(&network, &events.seen, challenger, CHEATS.len()).await?;
    books::balance(&network, &events.seen).await
}
