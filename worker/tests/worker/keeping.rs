//! What a worker keeps to defend its claims, and what it does not let itself in for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::{sync::Arc, time::Duration};

use crate::{
    common::{Coordinator, PROVIDER, Worker, compiled, config, honest, model_file, node, offer},
    leases::{claim_of, refusal, result, run_job},
};
use alloy_primitives::B256;
use touchstone_chain::signature;
use touchstone_engine::{Run, Value, ValueSource};
use touchstone_wire::worker::{Ask, ClaimState, RefuseReason, Reply, ToWorker, Update};
use touchstone_worker::{
    Behaviour, Honest, Runner,
    config::Config,
    job::{self, check_outputs},
    model::Model,
    record::{Record, Signed, State, Terms},
    runner::RunError,
    store::{Identity, Store},
};

/// The store of a worker that does not run.
fn store(config: &Config) -> Store {
    let identity = Identity {
        chain_id: config.chain_id,
        market: config.market,
        provider: config.provider,
        node: config.node.0.address(),
    };
    Store::open(&config.data_dir, &identity).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_restart_before_and_after_the_signature() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let config = config(coordinator.address, folder.path());
    let offer = offer(&model, &file, 1);

    // Killed after the lease was accepted.
    let store = store(&config);
    assert!(store.upsert_lease(&Terms::of(offer.clone())).unwrap());
    drop(store);
    let worker = Worker::start(config.clone(), honest());
    let mut session = coordinator.session().await;
    let (_, first) = result(&mut session).await;
    assert_eq!(
        signature::recover(claim_of(&model, &offer, &first), &first.signature),
        Some(node().address())
    );
    worker.stop().await;

    // Killed after the result: it is sent again as it was.
    let worker = Worker::start(config.clone(), honest());
    let mut session = coordinator.session().await;
    let (_, second) = result(&mut session).await;
    assert_eq!(first, second);

    // The same job offered again is not run again; other terms are not signed.
    let (_, third) = run_job(&mut session, &offer).await;
    assert_eq!(first, third);
    let mut other = offer.clone();
    other.poster = PROVIDER;
    assert_eq!(refusal(&mut session, other).await.0, RefuseReason::BadOffer);

    // Once it is on chain it is not sent again.
    let claim = claim_of(&model, &offer, &first);
    let posted = Update {
        job: offer.job,
        claim,
        state: ClaimState::Posted,
        detail: String::new(),
    };
    session.say(ToWorker::Update(posted)).await;
    assert!(matches!(session.ask(B256::ZERO, Ask::Layer(0)).await, Reply::Unable(_)));
    worker.stop().await;
    let worker = Worker::start(config, honest());
    let mut session = coordinator.session().await;
    assert!(matches!(session.ask(B256::ZERO, Ask::Layer(0)).await, Reply::Unable(_)));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_outlives_its_valid_until_whatever_is_offered() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let config = config(coordinator.address, folder.path());
    let worker = Worker::start(config.clone(), honest());
    let mut session = coordinator.session().await;
    let offer = offer(&model, &file, 1);
    let (_, first) = run_job(&mut session, &offer).await;
    let claim = claim_of(&model, &offer, &first);
    worker.stop().await;

    // Time passes; the claim was posted in time, and nobody has told us.
    let over = |signed: &mut Signed| signed.valid_until = 1;
    let kept = store(&config);
    let pass = |record: &mut Record| match &mut record.state {
        State::Signed(signed) => over(signed),
        other => panic!("{other:?}"),
    };
    kept.update_claim(claim, pass).unwrap();
    drop(kept);
    let keep = Duration::from_secs(u64::MAX);
    let worker = Worker::start(Config { keep, ..config }, honest());
    let mut session = coordinator.session().await;
    assert_eq!(result(&mut session).await.1.signature, first.signature);
    let mut other = offer.clone();
    other.poster = PROVIDER;
    let (reason, detail) = refusal(&mut session, other).await;
    assert_eq!(
        (reason, detail.contains(&claim.to_string())),
        (RefuseReason::BadOffer, true),
        "{detail}"
    );
    let answer = session.ask(claim, Ask::Layer(0)).await;
    assert!(matches!(answer, Reply::Layer { .. }), "{answer:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_nothing_is_not_answered_and_changes_nothing() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;
    let first = offer(&model, &file, 1);
    let (_, result) = run_job(&mut session, &first).await;
    let claim = claim_of(&model, &first, &result);
    let operators = model.plan.operators.len() as u32;
    let (operator, elements) = (0, model.plan.operators[0].elements());
    let layer = Ask::Layer(model.plan.operators[0].layer);
    assert!(matches!(session.ask(claim, layer).await, Reply::Layer { .. }));
    let element = elements - 1;
    let reply = session.ask(claim, Ask::Defend { operator, element }).await;
    assert!(matches!(reply, Reply::Defend(_)), "{reply:?}");
    let (last, beyond) = (operators - 1, operators);
    for (operator, element) in [
        (operator, elements),
        (last, u64::MAX),
        (beyond, 0),
        (u32::MAX, u64::MAX),
    ] {
        let reply = session.ask(claim, Ask::Defend { operator, element }).await;
        assert!(matches!(reply, Reply::Unable(_)), "{reply:?}");
    }
    // Leases are taken as before.
    run_job(&mut session, &offer(&model, &file, 2)).await;
    worker.stop().await;
}

/// An engine of another name: what a machine, a release or a number of threads changes.
struct Renamed(Arc<dyn Runner>);

impl Runner for Renamed {
    fn name(&self) -> String {
        format!("{} with 7 threads", self.0.name())
    }

    fn run(&self, model: &Model, inputs: &[Value]) -> Result<Run, RunError> {
        self.0.run(model, inputs)
    }

    fn judge(&self, model: &Model, run: &Run) -> Result<(), RunError> {
        self.0.judge(model, run)
    }

    fn reopen(&self, model: &Model, layer: u32, values: &dyn ValueSource) -> Result<Vec<Value>, RunError> {
        self.0.reopen(model, layer, values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_another_engine_computed_keep_the_worker_from_starting() {
    let file = model_file();
    let model = compiled(&file);
    for keep_inner in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut coordinator = Coordinator::start(file.clone()).await;
        let config = Config {
            keep_inner,
            ..config(coordinator.address, folder.path())
        };
        let worker = Worker::start(config.clone(), honest());
        let mut session = coordinator.session().await;
        let offer = offer(&model, &file, 1);
        let (_, first) = run_job(&mut session, &offer).await;
        let claim = claim_of(&model, &offer, &first);
        worker.stop().await;
        let other = Behaviour {
            runner: Arc::new(Renamed(honest().runner)),
            responder: Arc::new(Honest),
        };
        let worker = Worker::start(config.clone(), other.clone());
        if keep_inner {
            // Nothing has to be replayed.
            let mut session = coordinator.session().await;
            assert_eq!(result(&mut session).await.1, first);
            assert!(matches!(session.ask(claim, Ask::Layer(0)).await, Reply::Layer { .. }));
            worker.stop().await;
            continue;
        }
        let error = format!("{:#}", worker.end().await.unwrap_err());
        for part in [
            &claim.to_string(),
            "reference",
            "7 threads",
            "--threads",
            "--keep-inner",
        ] {
            assert!(error.contains(part), "{error}");
        }
        // The former engine starts, and so does the other one when the claim has ended.
        let worker = Worker::start(config.clone(), honest());
        let mut session = coordinator.session().await;
        assert_eq!(result(&mut session).await.1, first);
        let ended = Update {
            job: offer.job,
            claim,
            state: ClaimState::Final,
            detail: String::new(),
        };
        session.say(ToWorker::Update(ended)).await;
        assert!(matches!(session.ask(B256::ZERO, Ask::Layer(0)).await, Reply::Unable(_)));
        worker.stop().await;
        let worker = Worker::start(config, other);
        coordinator.session().await;
        worker.stop().await;
    }
}

/// Never asked to run.
struct Idle;

impl Runner for Idle {
    fn name(&self) -> String {
        "idle".into()
    }

    fn run(&self, _: &Model, _: &[Value]) -> Result<Run, RunError> {
        panic!("nothing is to be run")
    }

    fn judge(&self, _: &Model, _: &Run) -> Result<(), RunError> {
        panic!("nothing is to be judged")
    }

    fn reopen(&self, _: &Model, _: u32, _: &dyn ValueSource) -> Result<Vec<Value>, RunError> {
        panic!("nothing is to be replayed")
    }
}

#[test]
fn outputs_that_no_claim_carries_are_refused_before_the_run() {
    let file = model_file();
    let with = |elements: u32| {
        let model = compiled(&file);
        let mut plan = (*model.plan).clone();
        plan.outputs[0].dims = vec![elements];
        Model {
            plan: Arc::new(plan),
            ..model
        }
    };
    // 16 KiB of fp32.
    check_outputs(&with(4_096)).unwrap();
    let terms = Terms::of(offer(&compiled(&file), &file, 1));
    let error = job::run(&Idle, &with(4_097), &terms).unwrap_err().to_string();
    assert!(error.contains("16388 bytes") && error.contains("16384"), "{error}");
}
