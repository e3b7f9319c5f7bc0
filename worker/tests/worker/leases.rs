//! The worker as its coordinator sees it: leases, refusals, restarts, disputes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::sync::Arc;

use crate::common::{
    Coordinator, PROVIDER, Session, Worker, compiled, config, domain, honest, model_file, node, offer, proves_key,
};
use alloy_primitives::B256;
use touchstone_chain::signature;
use touchstone_engine::{Run, Value, ValueSource};
use touchstone_protocol::{
    claim::{Claim, LayerAnswer, bound_trace, outputs_hash},
    merkle, tensor,
    witness::{self, Context, Verdict},
};
use touchstone_wire::worker::{
    Ask, ClaimState, FromWorker, Offer, RefuseReason, Reply, RunResult, ToWorker, Tree, Update,
};
use touchstone_worker::{Behaviour, Honest, Responder, Runner, model::Model, runner::RunError};

/// What a session says between an offer and its result.
pub(crate) async fn run_job(session: &mut Session, offer: &Offer) -> (Vec<B256>, RunResult) {
    session.say(ToWorker::Offer(Box::new(offer.clone()))).await;
    assert_eq!(session.hear().await, FromWorker::Accept(offer.job));
    result(session).await
}

pub(crate) async fn result(session: &mut Session) -> (Vec<B256>, RunResult) {
    let FromWorker::Commitments(commitments) = session.hear().await else {
        panic!("commitments come first")
    };
    let FromWorker::Result(result) = session.hear().await else {
        panic!("the result comes next")
    };
    assert_eq!(commitments.job, result.job);
    (commitments.trace, result)
}

pub(crate) fn claim_of(model: &Model, offer: &Offer, result: &RunResult) -> B256 {
    let mut rest: &[u8] = &result.output;
    let mut outputs = Vec::new();
    for io in &model.plan.outputs {
        let (bytes, tail) = rest.split_at(tensor::byte_length(io.dtype, &io.dims).unwrap() as usize);
        outputs.push(tensor::commit(io.dtype, &io.dims, bytes).unwrap());
        rest = tail;
    }
    assert!(rest.is_empty());
    let claim = Claim {
        request: offer.job.request,
        attempt: offer.job.attempt,
        worker: PROVIDER,
        model: model.id,
        inputs: offer.inputs,
        outputs: outputs_hash(&outputs),
        bound_trace: bound_trace(PROVIDER, result.trace_root),
        profile: model.header.profile,
        poster: offer.poster,
        valid_until: result.valid_until,
    };
    claim.digest(&domain())
}

pub(crate) async fn refusal(session: &mut Session, offer: Offer) -> (RefuseReason, String) {
    let job = offer.job;
    session.say(ToWorker::Offer(Box::new(offer))).await;
    loop {
        match session.hear().await {
            FromWorker::Accept(accepted) => assert_eq!(accepted, job),
            FromWorker::Refuse(refuse) => return (refuse.reason, refuse.detail),
            other => panic!("expected a refusal, heard {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_becomes_a_claim_that_the_node_key_signed() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;
    assert!(proves_key(&session));

    let offer = offer(&model, &file, 1);
    let (trace, result) = run_job(&mut session, &offer).await;
    assert_eq!(merkle::root(&trace), result.trace_root);
    assert!((offer.valid_until_min..=offer.valid_until_max).contains(&result.valid_until));
    let claim = claim_of(&model, &offer, &result);
    assert_eq!(signature::recover(claim, &result.signature), Some(node().address()));

    // What challengers fetch is what is claimed.
    let uploads = coordinator.uploads.lock().unwrap().clone();
    assert_eq!(uploads.len(), trace.len());
    for ((job, header, bytes), commitment) in uploads.iter().zip(&trace) {
        assert_eq!((job, header.commitment), (&offer.job, *commitment));
        assert_eq!(tensor::commit(header.dtype, &header.dims, bytes).unwrap(), *commitment);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_model_id_is_refused_by_name() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;

    let mut foreign = offer(&model, &file, 1);
    foreign.model.id = B256::repeat_byte(0xee);
    let (reason, detail) = refusal(&mut session, foreign.clone()).await;
    assert_eq!(reason, RefuseReason::ModelMismatch);
    assert!(
        detail.contains(&model.id.to_string()) && detail.contains(&foreign.model.id.to_string()),
        "{detail}"
    );

    // Another publisher is another model.
    let mut foreign = offer(&model, &file, 2);
    foreign.model.publisher = PROVIDER;
    assert_eq!(refusal(&mut session, foreign).await.0, RefuseReason::ModelMismatch);

    let mut missing = offer(&model, &file, 3);
    missing.model.file_digest = B256::repeat_byte(1);
    assert_eq!(refusal(&mut session, missing).await.0, RefuseReason::UnknownModel);

    // Nothing is broken by it.
    run_job(&mut session, &offer(&model, &file, 4)).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_do_not_fit_are_refused() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;
    let good = offer(&model, &file, 1);

    let mut short = good.clone();
    short.input.pop();
    assert_eq!(refusal(&mut session, short).await.0, RefuseReason::BadInput);
    let mut long = good.clone();
    long.input.push(0);
    assert_eq!(refusal(&mut session, long).await.0, RefuseReason::BadInput);
    let mut other = good.clone();
    other.inputs = B256::ZERO;
    let (reason, detail) = refusal(&mut session, other).await;
    assert_eq!((reason, detail.contains("commitment")), (RefuseReason::BadInput, true));
    let mut late = good.clone();
    late.lease_expires = 1;
    assert_eq!(refusal(&mut session, late).await.0, RefuseReason::BadOffer);
    let mut profile = good.clone();
    profile.model.profile ^= 1;
    assert_eq!(refusal(&mut session, profile).await.0, RefuseReason::BadOffer);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_a_dispute_holds_by_the_protocols_own_rules() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let config = config(coordinator.address, folder.path());
    let worker = Worker::start(config.clone(), honest());
    let mut session = coordinator.session().await;
    let offer = offer(&model, &file, 1);
    let (trace, result) = run_job(&mut session, &offer).await;
    let claim = claim_of(&model, &offer, &result);

    // Descend the trace to its last value.
    let last = trace.len() as u64 - 1;
    let leaf = descend(
        &mut session,
        claim,
        Tree::Trace,
        result.trace_root,
        merkle::depth(trace.len() as u64),
        last,
    )
    .await;
    assert_eq!(leaf, trace[last as usize]);
    let wrong = Ask::Reveal {
        tree: Tree::Trace,
        node: B256::ZERO,
        depth: 1,
        index: 0,
    };
    assert!(matches!(session.ask(claim, wrong).await, Reply::Unable(_)));

    // Restarted in the middle of the dispute.
    worker.stop().await;
    let worker = Worker::start(config, honest());
    let mut session = coordinator.session().await;
    same_result(&mut session, &result).await;

    // A layer: its root is signed, its values explain the boundary, and it is given once.
    let (number, layer) = model
        .plan
        .layers
        .iter()
        .enumerate()
        .max_by_key(|(_, layer)| layer.inner_count)
        .unwrap();
    let number = number as u32;
    coordinator.uploads.lock().unwrap().clear();
    let answer = session.ask(claim, Ask::Layer(number)).await;
    let Reply::Layer {
        root,
        signature: signed,
        commitments,
    } = answer.clone()
    else {
        panic!("{answer:?}")
    };
    assert_eq!(commitments.len(), layer.inner_count as usize);
    assert_eq!(merkle::root(&commitments), root);
    let digest = LayerAnswer {
        claim,
        layer: number,
        root,
    }
    .digest(&domain());
    assert_eq!(signature::recover(digest, &signed), Some(node().address()));
    assert_eq!(session.ask(claim, Ask::Layer(number)).await, answer);
    assert!(matches!(
        session.ask(claim, Ask::Layer(u32::MAX)).await,
        Reply::Unable(_)
    ));
    let depth = merkle::depth(commitments.len() as u64);
    assert_eq!(
        descend(&mut session, claim, Tree::Layer(number), root, depth, 0).await,
        commitments[0]
    );

    // Every operator of the layer, its last element.
    let context = Context {
        plan_root: model.header.plan_root,
        weights_root: model.header.weights_root,
        trace_root: result.trace_root,
        layer: Some((number, root)),
        inputs: offer.inputs,
        outputs: outputs_hash(&[tensor::commit(
            model.plan.outputs[0].dtype,
            &model.plan.outputs[0].dims,
            &result.output,
        )
        .unwrap()]),
        operators: model.header.operators,
        weights: model.header.weights,
        trace_values: model.header.trace_values,
        input_count: 1,
        output_count: 1,
        profile: model.header.profile,
    };
    for operator in layer.operators.clone() {
        let element = model.plan.operators[operator as usize].elements() - 1;
        let reply = session.ask(claim, Ask::Defend { operator, element }).await;
        let Reply::Defend(witness) = reply else {
            panic!("operator {operator}: {reply:?}")
        };
        let outcome = witness::judge(&context, &witness);
        assert_eq!(
            (outcome.verdict, outcome.operator, outcome.element),
            (Verdict::Inside, operator, element)
        );
    }

    // Inner values of a layer that nobody asked for stay inside.
    if let Some(closed) = model
        .plan
        .layers
        .iter()
        .position(|l| l.inner_count > 0 && l.operators != layer.operators)
    {
        let operator = model.plan.layers[closed]
            .operators
            .clone()
            .find(|o| model.plan.operators[*o as usize].touches_inner());
        let ask = Ask::Defend {
            operator: operator.unwrap(),
            element: 0,
        };
        assert!(matches!(session.ask(claim, ask).await, Reply::Unable(_)));
    }
    worker.stop().await;
}

async fn same_result(session: &mut Session, expected: &RunResult) {
    assert_eq!(&result(session).await.1, expected);
}

/// Goes down to a leaf, three levels a question.
async fn descend(session: &mut Session, claim: B256, tree: Tree, root: B256, depth: u32, leaf: u64) -> B256 {
    let (mut node, mut depth) = (root, depth);
    while depth > 0 {
        let index = leaf >> depth;
        let Reply::Reveal(children) = session
            .ask(
                claim,
                Ask::Reveal {
                    tree,
                    node,
                    depth,
                    index,
                },
            )
            .await
        else {
            panic!("no children")
        };
        let levels = depth.min(3);
        assert_eq!(children.len(), 1 << levels);
        assert_eq!(merkle::root(&children), node, "children hash to their node");
        depth -= levels;
        node = children[((leaf >> depth) & ((1 << levels) - 1)) as usize];
    }
    node
}

/// Runs honestly, but the judge finds something.
struct Doubtful(Arc<dyn Runner>);

impl Runner for Doubtful {
    fn name(&self) -> String {
        "doubtful".into()
    }

    fn run(&self, model: &Model, inputs: &[Value]) -> Result<Run, RunError> {
        self.0.run(model, inputs)
    }

    fn judge(&self, model: &Model, run: &Run) -> Result<(), RunError> {
        let mut run = run.clone();
        let mut bytes = run.outputs[0].bytes.to_vec();
        bytes[3] ^= 0x40;
        run.outputs[0].bytes = bytes.into();
        self.0.judge(model, &run)
    }

    fn reopen(&self, model: &Model, layer: u32, values: &dyn ValueSource) -> Result<Vec<Value>, RunError> {
        self.0.reopen(model, layer, values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_judge_would_not_accept_is_never_claimed_and_ends_leasing() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let config = config(coordinator.address, folder.path());
    let doubtful = Behaviour {
        runner: Arc::new(Doubtful(honest().runner)),
        responder: Arc::new(Honest),
    };
    let worker = Worker::start(config.clone(), doubtful);
    let mut session = coordinator.session().await;
    let (reason, detail) = refusal(&mut session, offer(&model, &file, 1)).await;
    assert_eq!(
        (reason, detail.contains("outside")),
        (RefuseReason::Failed, true),
        "{detail}"
    );
    let (reason, detail) = refusal(&mut session, offer(&model, &file, 2)).await;
    assert_eq!(
        (reason, detail.contains("circuit breaker")),
        (RefuseReason::Draining, true),
        "{detail}"
    );
    worker.stop().await;

    // It stays so, whatever runs next.
    let worker = Worker::start(config, honest());
    let mut session = coordinator.session().await;
    assert_eq!(
        refusal(&mut session, offer(&model, &file, 3)).await.0,
        RefuseReason::Draining
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_strike_ends_leasing() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;
    let offer = offer(&model, &file, 1);
    let (_, result) = run_job(&mut session, &offer).await;
    let claim = claim_of(&model, &offer, &result);

    // Another claim's strike is nothing to us.
    let foreign = Update {
        job: offer.job,
        claim: B256::ZERO,
        state: ClaimState::Struck,
        detail: String::new(),
    };
    session.say(ToWorker::Update(foreign)).await;
    let (_, second) = run_job(&mut session, &crate::common::offer(&model, &file, 2)).await;
    assert_ne!(result.signature, second.signature);

    let struck = Update {
        job: offer.job,
        claim,
        state: ClaimState::Struck,
        detail: String::new(),
    };
    session.say(ToWorker::Update(struck)).await;
    let (reason, detail) = refusal(&mut session, crate::common::offer(&model, &file, 3)).await;
    assert_eq!(
        (reason, detail.contains(&claim.to_string())),
        (RefuseReason::Draining, true),
        "{detail}"
    );
    // Disputes are answered all the same.
    assert!(matches!(
        session
            .ask(
                claim,
                Ask::Reveal {
                    tree: Tree::Trace,
                    node: result.trace_root,
                    depth: depth(&model),
                    index: 0
                }
            )
            .await,
        Reply::Reveal(_)
    ));
    worker.stop().await;
}

fn depth(model: &Model) -> u32 {
    merkle::depth(model.header.trace_values.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_another_chain_ends_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::of(Vec::new(), 1).await;
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let error = worker.end().await.unwrap_err().to_string();
    assert!(error.contains("chain 1 ") && error.contains("chain 31337"), "{error}");
}

/// Says nothing in disputes.
struct Silent;

impl Responder for Silent {
    fn respond(
        &self,
        _: &touchstone_worker::answer::Case<'_>,
        _: &Ask,
    ) -> Result<Reply, touchstone_worker::answer::AnswerError> {
        Err(touchstone_worker::answer::AnswerError::Unable("silent".into()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_disputes_can_be_replaced() {
    let (file, folder) = (model_file(), tempfile::tempdir().unwrap());
    let model = compiled(&file);
    let mut coordinator = Coordinator::start(file.clone()).await;
    let silent = Behaviour {
        responder: Arc::new(Silent),
        ..honest()
    };
    let worker = Worker::start(config(coordinator.address, folder.path()), silent);
    let mut session = coordinator.session().await;
    let offer = offer(&model, &file, 1);
    let (_, result) = run_job(&mut session, &offer).await;
    let claim = claim_of(&model, &offer, &result);
    let ask = Ask::Reveal {
        tree: Tree::Trace,
        node: result.trace_root,
        depth: depth(&model),
        index: 0,
    };
    assert_eq!(session.ask(claim, ask).await, Reply::Unable("silent".into()));
    worker.stop().await;
}
