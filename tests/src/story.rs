//! The main job as a story, played by the demo and by the tests that kill the coordinator in it: an honest claim becomes final and is
//! delivered; then the same request is served by a cheating worker, disputed, convicted, and served again by an honest one.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;
use touchstone_chain::{Address, U256, bindings::IMarket::IMarketEvents as M, event::Body};

use crate::{
    chain::{Follower, Seen, view},
    network::{IDigitStore, Network, Provider, Published},
    paths,
    process::Service,
    scenario::{self, Image, claimed_by, delivered, is_market},
};

/// How often the chain is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Whoever is told the story.
pub trait Audience {
    /// A part of it begins or has ended well.
    fn told(&mut self, line: &str);

    /// All that has happened on chain so far, each time that it was looked at.
    ///
    /// # Errors
    /// The audience has enough; the story ends.
    fn saw(&mut self, seen: &[Seen]) -> impl Future<Output = Result<()>>;
}

/// Says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Audience for Quiet {
    fn told(&mut self, _: &str) {}

    async fn saw(&mut self, _: &[Seen]) -> Result<()> {
        Ok(())
    }
}

/// A network with all that the story needs, before any service runs.
#[derive(Debug)]
pub struct Stage {
    /// Chain, contracts, database.
    pub network: Network,
    /// The digits model.
    pub model: Published,
    /// A contract that keeps the digit.
    pub consumer: Address,
    /// Works honestly.
    pub honest: Provider,
    /// Cheats.
    pub cheat: Provider,
    /// What is asked.
    pub image: Image,
    /// Each thing waited for happens within this.
    pub patience: Duration,
}

impl Stage {
    /// Brings up the network, with files in a temporary folder or in `keep`.
    ///
    /// # Errors
    /// A part does not come up.
    pub async fn set(keep: Option<&Path>, patience: Duration) -> Result<Self> {
        let network = Network::start(keep).await?;
        let model = network.publish(&paths::digits()).await?;
        let consumer = network.consumer("DigitStore", model.id).await?;
        let (honest, cheat) = tokio::try_join!(network.stake(0), network.stake(1))?;
        Ok(Self {
            network,
            model,
            consumer,
            honest,
            cheat,
            image: Image::load(0)?,
            patience,
        })
    }

    /// Plays the story. The coordinator is the caller's: it runs, or comes back whenever it was killed.
    ///
    /// # Errors
    /// The story does not go as it should.
    pub async fn play(&self, audience: &mut impl Audience) -> Result<Vec<Seen>> {
        let network = &self.network;
        let mut challenger = network
            .challenger("challenger", "touchstone-challenger", &[])?
            .start()?;
        let honest_worker = network.worker("honest-worker", "touchstone-worker", &self.honest);
        let mut worker = honest_worker.start()?;
        let mut events = network.follow();

        audience.told("1. an honest worker");
        let first = scenario::ask(network, self.consumer, &self.image).await?;
        self.wait(&mut events, audience, "the first delivery", |body| {
            delivered(body, first)
        })
        .await
        .with_context(|| worker.tail())?;
        self.check(first, audience).await?;

        audience.told("\n2. a cheating worker: it moves one inner value and stays consistent downstream");
        worker.kill().await?;
        let mut cheating = network.cheat("inner-value", &self.cheat).start()?;
        let second = scenario::ask(network, self.consumer, &self.image).await?;
        let claimed = |body: &Body| claimed_by(body, second, self.cheat.provider);
        self.wait(&mut events, audience, "the false claim", claimed)
            .await
            .with_context(|| cheating.tail())?;
        let mut worker = honest_worker.start()?;
        let struck = |body: &Body| {
            is_market(
                body,
                |event| matches!(event, M::Struck(e) if e.request == second && e.worker == self.cheat.provider),
            )
        };
        self.wait(&mut events, audience, "the conviction", struck)
            .await
            .with_context(|| challenger.tail())?;
        self.wait(&mut events, audience, "the second delivery", |body| {
            delivered(body, second)
        })
        .await
        .with_context(|| worker.tail())?;
        self.check(second, audience).await?;
        self.ended_well(&events.seen, [first, second])?;
        for service in [&mut worker, &mut cheating, &mut challenger] {
            still_runs(service)?;
        }
        Ok(events.seen)
    }

    /// Looks at the chain until something that happens is what `found` looks for.
    async fn wait(
        &self,
        events: &mut Follower,
        audience: &mut impl Audience,
        what: &str,
        found: impl Fn(&Body) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + self.patience;
        loop {
            let from = events.seen.len();
            events.poll().await?;
            audience.saw(&events.seen).await?;
            if events.seen[from..].iter().any(|seen| found(&seen.event.body)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "{what} did not happen within {:?}",
                self.patience
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// The consumer contract holds the right digit.
    async fn check(&self, request: U256, audience: &mut impl Audience) -> Result<()> {
        let reader = &self.network.reader;
        let answered = view(reader, self.consumer, &IDigitStore::isAnsweredCall { request }).await?;
        ensure!(
            answered,
            "request {request} was delivered, but the consumer has no answer"
        );
        let digit = view(reader, self.consumer, &IDigitStore::digitOfCall { request }).await?;
        ensure!(
            digit == self.image.label,
            "the consumer was told {digit}, the image shows {}",
            self.image.label
        );
        audience.told(&format!(
            "  the consumer contract holds the answer to request {request}: {digit}"
        ));
        Ok(())
    }

    /// Nothing happened twice, and nothing else happened.
    fn ended_well(&self, seen: &[Seen], requests: [U256; 2]) -> Result<()> {
        let mut claims = Vec::new();
        let mut strikes = Vec::new();
        for Seen { event, .. } in seen {
            match &event.body {
                Body::Market(M::Claimed(e)) => claims.push((e.request, e.worker)),
                Body::Market(M::Struck(e)) => strikes.push((e.request, e.worker)),
                _ => {}
            }
        }
        let (honest, cheat) = (self.honest.provider, self.cheat.provider);
        let [first, second] = requests;
        ensure!(
            claims == [(first, honest), (second, cheat), (second, honest)] && strikes == [(second, cheat)],
            "claims by (request, worker) are {claims:?}, strikes {strikes:?}"
        );
        Ok(())
    }
}

fn still_runs(service: &mut Service) -> Result<()> {
    ensure!(service.is_running()?, "a service died on the way:\n{}", service.tail());
    Ok(())
}
