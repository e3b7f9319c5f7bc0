//! Runs leased jobs on libtorch, commits, signs, answers disputes.
//!
//! A claim is signed only for a run that the judge's own code accepts, and only after everything needed to defend it is on disk.
//! The worker can be killed at any point: it takes up accepted leases, sends signed runs again and answers what is open.
//!
//! # Layout
//!
//! - [`config`]: default < file < environment < flag; [`program`]: the commands
//! - [`session`]: the stream with the coordinator; `app`: jobs; `questions`, `claims`: disputes
//!   and what becomes of claims; `link`, `upload`
//! - [`job`]: from lease to signed claim; [`model`]: models by digest
//! - [`runner`], [`answer`]: how plans are run and what is said in a dispute; what adversaries of the tests replace; `parts`: what is said of
//!   long operators
//! - [`record`], [`store`]: what is kept; `breaker`: when no more leases are taken
//! - `chain`, `direct`: the chain, asked and answered without the coordinator
//!
//! **Invariant:** no value is signed that is not stored; no root of a layer is signed twice for one claim.

pub mod answer;
mod app;
pub mod breaker;
mod chain;
mod check;
mod claims;
pub mod config;
mod direct;
pub mod job;
mod link;
pub mod model;
mod parts;
pub mod program;
mod questions;
pub mod record;
pub mod runner;
pub mod session;
pub mod store;
#[cfg(test)]
mod test_kit;
mod upload;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use alloy_primitives::Address;
use anyhow::{Context as _, ensure};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use touchstone_chain::ChainError;
use touchstone_engine::{Options, Torch, torch};
use touchstone_protocol::model::Profile;
use touchstone_wire::limits;

pub use crate::{
    answer::{Honest, Responder},
    config::Config,
    runner::{EngineRunner, Runner},
};
use crate::{
    app::{App, Parts},
    chain::Chain,
    model::Library,
    record::State,
    store::{Identity, Store},
};

/// How often the store is swept.
const SWEEP: Duration = Duration::from_secs(30);
/// How long the start waits for the node, in attempts a second apart.
const NODE_ATTEMPTS: u32 = 15;
/// How long tasks may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// What a worker does by itself: adversaries of the tests put their own here.
#[derive(Clone)]
pub struct Behaviour {
    /// Runs plans and reopens layers.
    pub runner: Arc<dyn Runner>,
    /// Answers disputes.
    pub responder: Arc<dyn Responder>,
}

impl Behaviour {
    /// The honest worker on libtorch.
    ///
    /// # Errors
    /// The device is not there, or its numerics are not conforming.
    pub fn honest(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            runner: Arc::new(torch_runner(config)?),
            responder: Arc::new(Honest),
        })
    }
}

/// The honest runner on libtorch.
///
/// # Errors
/// The device is not there, or its numerics are not conforming.
pub fn torch_runner(config: &Config) -> anyhow::Result<EngineRunner> {
    let device = match config.device {
        config::Device::Cpu => torch::Device::Cpu,
        config::Device::Cuda => torch::Device::Cuda(0),
    };
    let engine = Torch::new(Options {
        device,
        threads: config.threads.get(),
    })
    .context("start libtorch")?;
    Ok(EngineRunner::new(Arc::new(engine), config.threads.into()))
}

/// Runs a worker until `shutdown`.
///
/// # Errors
/// It refuses to start: the store belongs to somebody else, the chain or its contracts are not the configured ones, a local model file
/// does not compile or its runs could not be defended. Later only a coordinator of another deployment ends it.
pub async fn run(config: Config, behaviour: Behaviour, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Behaviour { runner, responder } = behaviour;
    tracing::info!(engine = runner.name(), "engine ready");
    let store = Store::open(&config.data_dir, &identity(&config))?;
    let chain = match &config.rpc {
        Some(url) => Some(connect(&config, url, &store, &shutdown).await?),
        None => {
            tracing::warn!("no rpc: leases are not checked, and disputes are answered through the coordinator alone");
            None
        }
    };
    let library = library(&config, runner.clone())?;
    self_test(&library, runner.clone()).await?;
    let channel = config.coordinator.channel(limits::CONNECT_TIMEOUT)?;
    let parts = Parts {
        config,
        store,
        library,
        runner,
        responder,
        channel,
        chain,
        shutdown: shutdown.clone(),
    };
    let app = Arc::new(App::new(parts));
    if let Some(tripped) = app.breaker.tripped()? {
        tracing::warn!(
            reason = tripped.reason,
            since = tripped.at,
            "circuit breaker is open: no leases; see `reset`"
        );
    }
    if let Some(chain) = &app.chain {
        // What has ended in our absence needs no defence any more.
        if let Err(error) = chain.look_at_claims(&app).await {
            tracing::warn!(%error, "claims not looked at");
        }
    }
    check_engine(&app.store, &app.runner.fingerprint())?;
    app.restart().await?;
    let background = [tokio::spawn(sweep(app.clone())), tokio::spawn(poll(app.clone()))];
    let ended = session::keep_open(app.clone(), shutdown.clone()).await;
    shutdown.cancel();
    for task in background {
        if let Err(error) = task.await {
            tracing::error!(%error, "background task ended badly");
        }
    }
    app.tasks.close();
    if tokio::time::timeout(GRACE, app.tasks.wait()).await.is_err() {
        tracing::warn!("work is left undone; it is taken up again at the next start");
    }
    Ok(ended?)
}

/// Refuses an engine that would not replay what was signed: its answers in a dispute would not open, and the claims be struck.
fn check_engine(store: &Store, engine: &str) -> anyhow::Result<()> {
    let mut stuck = Vec::new();
    let mut former = BTreeSet::new();
    for record in store.select_runs()? {
        if let State::Signed(signed) = record.state
            && signed.engine != engine
            && !signed.inner_kept
        {
            stuck.push(signed.claim.to_string());
            former.insert(signed.engine);
        }
    }
    ensure!(
        stuck.is_empty(),
        "claims {} may be disputed and were computed by another engine ({}; this is {engine}), which alone gives their bits again: start the worker as \
         it was (--threads, --device, machine, libtorch) until they have ended; --keep-inner makes later claims independent of the engine",
        stuck.join(", "),
        Vec::from_iter(former).join("; ")
    );
    Ok(())
}

async fn sweep(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {
                if let Err(error) = app.sweep(app::now()) {
                    tracing::error!(%error, "store not swept");
                }
            }
        }
    }
}

async fn poll(app: Arc<App>) {
    let Some(chain) = &app.chain else { return };
    let mut ticks = tokio::time::interval(app.config.poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {
                tokio::select! {
                    () = app.shutdown.cancelled() => return,
                    step = chain.step(&app) => if let Err(error) = step {
                        tracing::warn!(%error, "chain not followed");
                    }
                }
            }
        }
    }
}

pub(crate) fn identity(config: &Config) -> Identity {
    let Config {
        chain_id,
        market,
        provider,
        node,
        ..
    } = config;
    Identity {
        chain_id: *chain_id,
        market: *market,
        provider: *provider,
        node: node.0.address(),
    }
}

pub(crate) fn library(config: &Config, runner: Arc<dyn Runner>) -> anyhow::Result<Library> {
    let folder: PathBuf = config.data_dir.join("models");
    Ok(Library::new(folder, &config.model_files, config.serve.clone(), runner)?)
}

/// Local model files are tested before the first lease; fetched ones before their first job.
async fn self_test(library: &Library, runner: Arc<dyn Runner>) -> anyhow::Result<()> {
    for (digest, path) in library.local() {
        let (digest, path, runner) = (*digest, path.clone(), runner.clone());
        let tested = tokio::task::spawn_blocking(move || test_file(digest, &path, runner.as_ref()));
        tested.await.context("self-test")??;
    }
    Ok(())
}

/// Compiles a file and tests that its runs can be defended.
pub(crate) fn test_file(
    digest: alloy_primitives::B256,
    path: &std::path::Path,
    runner: &dyn Runner,
) -> anyhow::Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    // The publisher is part of the id alone, and no job has been offered yet. Under `tf32` engines compute as under `fast`, and one that
    // multiplies in TF32 takes it too. Some rows are short enough under `wide` alone.
    let compile = |profile: Profile| model::compile(&bytes, digest, profile.encode(), Address::ZERO);
    let model = compile(Profile::TF32)
        .or_else(|error| compile(Profile::WIDE).map_err(|_| error))
        .with_context(|| path.display().to_string())?;
    runner
        .self_test(&model)
        .with_context(|| format!("self-test on {}", path.display()))?;
    tracing::info!(file = %path.display(), %digest, operators = model.header.operators, "model file self-tested");
    Ok(())
}

async fn connect(config: &Config, url: &str, store: &Store, shutdown: &CancellationToken) -> anyhow::Result<Chain> {
    let mut attempt = 1;
    loop {
        match Chain::connect(config, url, store).await {
            Ok(chain) => return Ok(chain),
            Err(error @ (ChainError::Timeout { .. } | ChainError::Unavailable { .. } | ChainError::NoBlock { .. }))
                if attempt < NODE_ATTEMPTS && !shutdown.is_cancelled() =>
            {
                tracing::warn!(%error, "node not there yet");
            }
            Err(error) => return Err(error).context("check chain and contracts"),
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
