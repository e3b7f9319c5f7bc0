//! `check`: everything that can be looked at before the first lease, one line each.

use std::{fmt::Display, io::Write as _, time::Instant};

use alloy_primitives::U256;
use touchstone_wire::limits::CONNECT_TIMEOUT;

use crate::{
    Behaviour,
    breaker::Breaker,
    chain::Chain,
    config::{COMFORTABLE_BALANCE_WEI, Config},
    identity, library, session,
    store::Store,
    test_file,
};

/// Bytes written to see that the disk takes them.
const DISK_PROBE: usize = 4 << 20;

/// Collects lines and whether all was well.
struct Report {
    well: bool,
}

impl Report {
    fn line(&mut self, mark: &str, what: &str, detail: impl Display) {
        println!("{mark:<5} {what:<14} {detail}");
    }

    fn good(&mut self, what: &str, detail: impl Display) {
        self.line("ok", what, detail);
    }

    fn warn(&mut self, what: &str, detail: impl Display) {
        self.line("note", what, detail);
    }

    fn bad(&mut self, what: &str, detail: impl Display) {
        self.well = false;
        self.line("FAIL", what, detail);
    }
}

/// Prints the report; whether nothing is wrong.
pub(crate) async fn check(config: &Config, behaviour: anyhow::Result<Behaviour>) -> bool {
    println!("{config}");
    let mut report = Report { well: true };
    hardware(config, &mut report);
    disk(config, &mut report);
    match &behaviour {
        Ok(behaviour) => {
            report.good("engine", behaviour.runner.name());
            models(config, behaviour, &mut report).await;
        }
        Err(error) => report.bad("engine", format!("{error:#}")),
    }
    let store = Store::open(&config.data_dir, &identity(config));
    match &store {
        Err(error) => report.bad("store", format!("{error} (is the worker running?)")),
        Ok(store) => match (store.select_runs(), Breaker::new(store.clone()).tripped()) {
            (Ok(runs), Ok(None)) => report.good("store", format!("{} runs kept, circuit breaker closed", runs.len())),
            (Ok(_), Ok(Some(tripped))) => report.bad("store", format!("circuit breaker is open: {}", tripped.reason)),
            (Err(error), _) | (_, Err(error)) => report.bad("store", error),
        },
    }
    match (&config.rpc, &store) {
        (Some(url), Ok(store)) => chain(config, url, store, &mut report).await,
        (Some(_), Err(_)) => report.bad("chain", "not looked at without a store"),
        (None, _) => report.warn(
            "chain",
            "no rpc: leases are not checked, disputes are answered through the coordinator alone",
        ),
    }
    coordinator(config, &mut report).await;
    report.well
}

fn hardware(config: &Config, report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let detail = format!(
        "{cores} cores, {} threads configured on {:?}",
        config.threads, config.device
    );
    if usize::from(config.threads.get()) > cores {
        report.bad("hardware", detail)
    } else {
        report.good("hardware", detail)
    }
}

fn disk(config: &Config, report: &mut Report) {
    let probe = || -> std::io::Result<u128> {
        std::fs::create_dir_all(&config.data_dir)?;
        let path = config.data_dir.join("probe");
        let begun = Instant::now();
        let written = std::fs::File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; DISK_PROBE])?;
            file.sync_all()
        });
        std::fs::remove_file(&path)?;
        written.map(|()| begun.elapsed().as_millis())
    };
    match probe() {
        Ok(millis) => report.good("disk", format!("{} MiB written in {millis} ms", DISK_PROBE >> 20)),
        Err(error) => report.bad("disk", format!("{}: {error}", config.data_dir.display())),
    }
}

async fn models(config: &Config, behaviour: &Behaviour, report: &mut Report) {
    let library = match library(config, behaviour.runner.clone()) {
        Ok(library) => library,
        Err(error) => return report.bad("model files", error),
    };
    for (digest, path) in library.local() {
        let (digest, file, runner) = (*digest, path.clone(), behaviour.runner.clone());
        match tokio::task::spawn_blocking(move || test_file(digest, &file, runner.as_ref())).await {
            Ok(Ok(())) => report.good(
                "model file",
                format!("{} {digest}: compiles, replays bit for bit", path.display()),
            ),
            Ok(Err(error)) => report.bad("model file", format!("{error:#}")),
            Err(error) => report.bad("model file", error),
        }
    }
}

async fn chain(config: &Config, url: &str, store: &Store, report: &mut Report) {
    let chain = match Chain::connect(config, url, store).await {
        Ok(chain) => chain,
        Err(error) => return report.bad("chain", error),
    };
    report.good(
        "chain",
        format!("id {}, disputes {}", config.chain_id, chain.deployment.disputes),
    );
    match chain.provider(config.provider).await {
        Err(error) => report.bad("stake", error),
        Ok((provider, bond)) => {
            let node = config.node.0.address();
            let free = provider.staked.saturating_sub(provider.reserved);
            let detail = format!(
                "{} wei, {} reserved; a claim reserves {bond}",
                provider.staked, provider.reserved
            );
            if free < bond {
                report.bad("stake", detail)
            } else {
                report.good("stake", detail)
            }
            if provider.node == node {
                report.good("node key", node);
            } else {
                report.bad(
                    "node key",
                    format!("the provider's node key is {}, configured is {node}", provider.node),
                );
            }
        }
    }
    let balance = match chain.reader.head().await {
        Ok(head) => chain.reader.balance(config.node.0.address(), head.hash).await,
        Err(error) => Err(error),
    };
    match balance {
        Ok(balance) if balance < U256::from(COMFORTABLE_BALANCE_WEI) => {
            report.warn(
                "balance",
                format!("node key has {balance} wei: too little to answer disputes by itself"),
            );
        }
        Ok(balance) => report.good("balance", format!("node key has {balance} wei")),
        Err(error) => report.bad("balance", error),
    }
}

async fn coordinator(config: &Config, report: &mut Report) {
    let channel = match config.coordinator.channel(CONNECT_TIMEOUT) {
        Ok(channel) => channel,
        Err(error) => return report.bad("coordinator", format!("{error:#}")),
    };
    match session::ask_challenge(&channel).await {
        Ok(challenge) if (challenge.chain_id, challenge.market) == (config.chain_id, config.market) => {
            report.good("coordinator", format!("{} serves our market", challenge.coordinator));
        }
        Ok(challenge) => {
            report.bad(
                "coordinator",
                format!("serves chain {} and market {}", challenge.chain_id, challenge.market),
            );
        }
        Err(error) => report.bad("coordinator", error),
    }
}
