//! Watches claims, re-executes, disputes and convicts.
//!
//! The chain is the truth: claims come from its events, disputes are read whole from its contracts at every tick, and the one move that
//! [`strategy::next_move`] derives goes through a stored outbox. A restart at any point goes on, on the same code path.
//! Four verdicts: *valid*, *invalid*, *unverifiable yet*, *foreign*; only *invalid* disputes, and nothing is sent that our own judge, the
//! code that the contract mirrors, does not convict by.
//!
//! # Layout
//!
//! - [`strategy`]: what to do next in a dispute, a pure function; start reading here
//! - [`examine`], [`tolerance`], [`verdict`]: what is wrong with a claim, what looks wrong, what an opened layer shows
//! - [`gather`], [`library`], [`model`], [`remote`]: what a verdict needs, and where it comes from
//! - `follow`, `view`: the chain's events; a dispute as it stands
//! - `work`, `knowledge`, `act`, `tracked`, `app`: slow work beside the loop, what it found, moves as transactions, the loop
//! - [`record`], [`store`]: what is kept; [`config`]
//!
//! **Invariant:** nothing from a coordinator is used before it was hashed to what is on chain.

mod act;
mod app;
pub mod config;
pub mod examine;
mod follow;
pub mod gather;
mod knowledge;
pub mod library;
pub mod model;
mod parts;
pub mod record;
pub mod remote;
pub mod store;
pub mod strategy;
pub mod tolerance;
mod tracked;
pub mod verdict;
mod view;
mod work;

use std::{num::NonZero, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use touchstone_chain::{Block, ChainError, ChainReader, Sender, SenderConfig, bindings::IMarket, event::Deployment};
use touchstone_engine::{Device, Engine, Options, Reference, Torch};

pub use crate::config::Config;
use crate::{
    app::{App, Parts},
    config::EngineKind,
    follow::Follower,
    library::Library,
    remote::{Coordinator, Nobody, Remote},
    store::{Identity, Store},
    view::Terms,
    work::Tools,
};

/// How long the start waits for the node, in attempts a second apart.
const NODE_ATTEMPTS: u32 = 30;

/// Runs a challenger until `shutdown`.
///
/// # Errors
/// It refuses to start: the node is not there or on another chain, the contracts do not name each other, the store belongs to somebody
/// else, an engine does not start, a local model file cannot be read.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let engines = tokio::task::spawn_blocking({
        let config = config.clone();
        move || engines(&config)
    });
    let engines = engines.await.context("start the engines")??;
    for engine in &engines {
        tracing::info!(engine = engine.name(), "engine ready");
    }
    let remote = remote(&config)?;
    run_with(config, engines, remote, shutdown).await
}

/// The same with engines and values from elsewhere: what adversaries and tests put in.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Config,
    engines: Vec<Arc<dyn Engine>>,
    remote: Arc<dyn Remote>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    ensure!(!engines.is_empty(), "a challenger needs an engine");
    let reader = ChainReader::new(&config.rpc, config.timeout)?;
    let Some(head) = connect(&reader, &shutdown).await? else {
        return Ok(());
    };
    let chain_id = reader.chain_id().await?;
    if let Some(expected) = config.chain_id {
        ensure!(
            expected == chain_id,
            "the node is on chain {chain_id}, configured is {expected}"
        );
    }
    let deployment = Deployment::of_market(&reader, config.market, head.hash)
        .await
        .context("find the contracts from the market")?;
    deployment.check(&reader, head.hash).await?;
    let parameters = reader
        .call(config.market, &IMarket::parametersCall {}, head.hash)
        .await?;
    let challenger = config
        .key
        .as_ref()
        .filter(|_| config.mode.sends())
        .map(|key| key.0.address());
    let store = Store::open(
        &config.data_dir,
        &Identity {
            chain_id,
            market: config.market,
            challenger,
        },
    )?;
    if let Some(address) = challenger {
        let balance = reader.balance(address, head.hash).await?;
        tracing::info!(%address, %balance, "disputes are paid from here");
    }
    let library = Library::new(config.data_dir.join("models"), &config.model_files, remote.clone())?;
    let sender = config.key.as_ref().filter(|_| config.mode.sends()).map(|key| {
        Sender::new(
            reader.clone(),
            key.0.clone(),
            SenderConfig {
                bump_after: Duration::from_secs(6),
                ..SenderConfig::new(chain_id)
            },
        )
    });
    let tools = Tools {
        store: store.clone(),
        library,
        remote,
        engines,
        tolerance: config.tolerance,
        threads: NonZero::new(config.threads.into()).unwrap_or(NonZero::<usize>::MIN),
        patience: 2 * config.timeout,
        computing: Arc::new(Semaphore::new(1)),
    };
    let follower = Follower {
        reader: reader.clone(),
        deployment,
        store: store.clone(),
        from_block: config.from_block,
    };
    tracing::info!(chain_id, market = %config.market, disputes = %deployment.disputes, head = head.number, "watching");
    let parts = Parts {
        mode: config.mode,
        poll: config.poll,
        max_exposure: config.max_exposure,
        max_disputes: config.max_disputes,
        bits_per_day: config.bits_per_day,
        withdraw_below: config.withdraw_below,
        reader,
        terms: Terms {
            chain_id,
            deployment,
            parameters,
            private_relay: config.private_relay,
        },
        store,
        follower,
        sender,
        tools: Arc::new(tools),
    };
    App::new(parts).run(shutdown).await;
    Ok(())
}

/// The configured engines.
///
/// # Errors
/// libtorch does not start, or its numerics are not conforming.
pub fn engines(config: &Config) -> anyhow::Result<Vec<Arc<dyn Engine>>> {
    let reference = || Arc::new(Reference) as Arc<dyn Engine>;
    let torch = || -> anyhow::Result<Arc<dyn Engine>> {
        Ok(Arc::new(
            Torch::new(Options {
                device: Device::Cpu,
                threads: config.threads,
            })
            .context("start libtorch")?,
        ))
    };
    Ok(match config.engine {
        EngineKind::Reference => vec![reference()],
        EngineKind::Torch => vec![torch()?],
        EngineKind::Both => vec![reference(), torch()?],
    })
}

fn remote(config: &Config) -> anyhow::Result<Arc<dyn Remote>> {
    let Some(address) = &config.coordinator else {
        tracing::warn!("no coordinator: values are there only where own runs give them");
        return Ok(Arc::new(Nobody));
    };
    Ok(Arc::new(Coordinator::new(address, config.timeout)?))
}

/// The node's newest block, once there is one; `None` when told to stop first.
async fn connect(reader: &ChainReader, shutdown: &CancellationToken) -> anyhow::Result<Option<Block>> {
    let mut attempt = 1;
    loop {
        match reader.head().await {
            Ok(head) => return Ok(Some(head)),
            Err(error @ (ChainError::Timeout { .. } | ChainError::Unavailable { .. } | ChainError::NoBlock { .. }))
                if attempt < NODE_ATTEMPTS =>
            {
                tracing::warn!(%error, "node not there yet");
            }
            Err(error) => return Err(error).context("reach the node"),
        }
        attempt += 1;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
