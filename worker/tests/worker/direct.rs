//! The worker without its coordinator: leases held against the chain, disputes answered by its own transactions (PROTOCOL.md P9).
//! On a local node with the real contracts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::anvil::{Anvil, CHAIN_ID};
use crate::common::{Coordinator, POSTER, Session, Worker, compiled, config, honest, model_file};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolCall;
use touchstone_chain::{
    ChainReader, Order, Outcome, Sender, SenderConfig,
    bindings::{IDisputes, IMarket, IModelRegistry, Phase},
    deploy::{deploy, devnet_parameters},
    event::Deployment,
};
use touchstone_protocol::{
    claim::{Claim, Domain, bound_trace, outputs_hash},
    descriptor::Code,
    merkle::MerkleTree,
    tensor,
};
use touchstone_wire::worker::{
    Ask, FromWorker, Job, ModelRef, Offer, Question, RefuseReason, Reply, RunResult, ToWorker,
};
use touchstone_worker::{
    Behaviour, Honest, Responder,
    answer::{AnswerError, Case},
    config::{Config, Key},
    model::Model,
    store::{Identity, Store},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A node that mines as soon as it gets a transaction.
struct Node {
    anvil: Anvil,
    reader: ChainReader,
}

impl Node {
    async fn start() -> Self {
        let anvil = Anvil::start(&[]).await;
        let reader = ChainReader::new(&anvil.url, Duration::from_secs(10)).unwrap();
        Self { anvil, reader }
    }

    async fn send<C: SolCall>(&self, key: usize, to: Address, value: u128, call: C) {
        let config = SenderConfig {
            confirmations: 0,
            ..SenderConfig::new(CHAIN_ID)
        };
        let sender = Sender::new(self.reader.clone(), self.anvil.key(key), config);
        let order = Order {
            key: C::SIGNATURE.into(),
            to,
            data: call.abi_encode().into(),
            value: U256::from(value),
            deadline: u64::MAX,
            gas_floor: 0,
        };
        match sender.send(order, PATIENCE).await.unwrap() {
            Outcome::Succeeded(_) => {}
            Outcome::Reverted(_, revert) | Outcome::Refused(revert) => {
                panic!(
                    "{}: {revert}, {:?} {:?}",
                    C::SIGNATURE,
                    revert.market(),
                    revert.disputes()
                )
            }
        }
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let head = self.reader.head().await.unwrap();
        self.reader.call(to, &call, head.hash).await.unwrap()
    }
}

/// Waits for another process; there is nothing to be woken by.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "it does not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const DEPLOYER: usize = 0;
const PROVIDER: usize = 1;
const NODE: usize = 2;
const REQUESTER: usize = 3;
const CHALLENGER: usize = 4;

struct Scene {
    node: Node,
    deployment: Deployment,
    model: Model,
    offer: Offer,
    coordinator: Coordinator,
    config: Config,
    _folder: tempfile::TempDir,
}

/// A published model, a staked worker, a request, and the offer that a coordinator makes of it.
async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start().await;
    let artifacts = root().join("contracts/artifacts");
    let deployment = deploy(
        &node.reader,
        &node.anvil.keys[DEPLOYER],
        &artifacts,
        &devnet_parameters(),
    )
    .await
    .unwrap();
    let Deployment { registry, market, .. } = deployment;
    let file = model_file();
    let mut model = compiled(&file);
    let header = model.header.clone();
    let publish = IModelRegistry::publishCall {
        header: (&header).into(),
        io: model.plan.io().encode().unwrap().into(),
        uri: String::new(),
        digest: keccak256(&file),
        price: U256::from(1_000_000),
    };
    node.send(DEPLOYER, registry, 0, publish).await;
    let publisher = node.anvil.keys[DEPLOYER].address();
    model.id = header.id(publisher);
    node.send(PROVIDER, market, 3_000_000_000_000_000_000, IMarket::stakeCall {})
        .await;
    node.send(
        PROVIDER,
        market,
        0,
        IMarket::setNodeCall {
            node: node.anvil.keys[NODE].address(),
        },
    )
    .await;
    let mut offer = crate::common::offer(&model, &file, 1);
    let options = IMarket::Options {
        mode: IMarket::CallbackMode::None,
        callbackGas: 0,
        callbackGasPrice: 0,
        tag: B256::ZERO,
    };
    let request = IMarket::requestCall {
        model: model.id,
        inputs: offer.input.clone().into(),
        options,
    };
    node.send(REQUESTER, market, 1_000_000, request).await;
    let request = node
        .view(market, IMarket::requestOfCall { request: U256::from(1) })
        .await;
    assert_eq!((request.inputs, request.attempt), (offer.inputs, 1));
    offer.job = Job {
        request: U256::from(1),
        attempt: 1,
    };
    offer.model = ModelRef {
        publisher,
        ..offer.model
    };
    (offer.deadline, offer.lease_expires) = (request.deadline, request.deadline);
    (offer.valid_until_min, offer.valid_until_max) = (request.deadline, request.deadline + 60);
    let coordinator = Coordinator::serving(file, 31_337, market).await;
    let config = Config {
        market,
        rpc: Some(node.anvil.url.clone()),
        provider: node.anvil.keys[PROVIDER].address(),
        node: Key(node.anvil.keys[NODE].clone()),
        direct_after_percent: Some(0),
        ..config(coordinator.address, &folder.path().join("worker"))
    };
    Scene {
        node,
        deployment,
        model,
        offer,
        coordinator,
        config,
        _folder: folder,
    }
}

async fn refused(session: &mut Session, offer: Offer) -> (RefuseReason, String) {
    session.say(ToWorker::Offer(Box::new(offer))).await;
    assert!(matches!(session.hear().await, FromWorker::Accept(_)));
    match session.hear().await {
        FromWorker::Refuse(refuse) => (refuse.reason, refuse.detail),
        other => panic!("expected a refusal, heard {other:?}"),
    }
}

async fn leased(session: &mut Session, offer: Offer) -> RunResult {
    session.say(ToWorker::Offer(Box::new(offer))).await;
    assert!(matches!(session.hear().await, FromWorker::Accept(_)));
    assert!(matches!(session.hear().await, FromWorker::Commitments(_)));
    match session.hear().await {
        FromWorker::Result(result) => result,
        other => panic!("expected a result, heard {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_the_chain_does_not_know_is_refused() {
    let mut scene = scene().await;
    let worker = Worker::start(scene.config.clone(), honest());
    let mut session = scene.coordinator.session().await;
    let job = scene.offer.job;
    for (offer, expect) in [
        (
            Offer {
                job: Job { attempt: 2, ..job },
                ..scene.offer.clone()
            },
            "attempt",
        ),
        (
            Offer {
                job: Job {
                    request: U256::from(2),
                    ..job
                },
                ..scene.offer.clone()
            },
            "None",
        ),
        (
            Offer {
                inputs: B256::ZERO,
                ..scene.offer.clone()
            },
            "inputs",
        ),
    ] {
        let (reason, detail) = refused(&mut session, offer).await;
        assert_eq!(
            (reason, detail.contains(expect)),
            (RefuseReason::BadOffer, true),
            "{detail}"
        );
    }
    worker.stop().await;
}

/// Posts what the worker signed, as anybody can, and opens a dispute on it that asks for the children of the trace root; gives both ids.
async fn disputed(scene: &Scene, result: &RunResult) -> (B256, B256) {
    let (node, Deployment { market, disputes, .. }) = (&scene.node, scene.deployment);
    let terms = IMarket::Terms {
        request: scene.offer.job.request,
        attempt: 1,
        worker: scene.config.provider,
        traceRoot: result.trace_root,
        poster: POSTER,
        validUntil: result.valid_until,
    };
    let outputs = result.output.clone().into();
    let signature = result.signature.to_vec().into();
    node.send(
        REQUESTER,
        market,
        0,
        IMarket::claimCall {
            terms,
            outputs,
            signature,
        },
    )
    .await;
    let claim = node
        .view(market, IMarket::requestOfCall { request: U256::from(1) })
        .await
        .claim;

    let bond = 2_000_000_000_000_000_000;
    node.send(
        CHALLENGER,
        disputes,
        bond,
        IDisputes::openCall {
            claim,
            salt: U256::ZERO,
        },
    )
    .await;
    let challenger = node.anvil.keys[CHALLENGER].address();
    let dispute = node
        .view(
            disputes,
            IDisputes::disputeIdCall {
                claim,
                challenger,
                salt: U256::ZERO,
            },
        )
        .await;
    let state = node.view(disputes, IDisputes::stateDigestCall { dispute }).await;
    node.send(CHALLENGER, disputes, 0, IDisputes::askCall { dispute, state })
        .await;
    (claim, dispute)
}

/// Waits until a dispute is in a phase.
async fn becomes(scene: &Scene, dispute: B256, phase: Phase) {
    let disputes = scene.deployment.disputes;
    let call = || IDisputes::disputeOfCall { dispute };
    until(async || scene.node.view(disputes, call()).await.position.phase == phase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_worker_whose_coordinator_is_silent_answers_on_chain_and_wins() {
    let mut scene = scene().await;
    let worker = Worker::start(scene.config.clone(), honest());
    let mut session = scene.coordinator.session().await;
    let result = leased(&mut session, scene.offer.clone()).await;

    // A challenger asks everything there is to ask; nobody relays it.
    let (node, Deployment { market, disputes, .. }) = (&scene.node, scene.deployment);
    let (claim, dispute) = disputed(&scene, &result).await;
    let state = async || node.view(disputes, IDisputes::stateDigestCall { dispute }).await;
    becomes(&scene, dispute, Phase::Picking).await;

    let plan = &scene.model.plan;
    let inner = |d: &&touchstone_protocol::descriptor::Descriptor| d.touches_inner() && d.code == Code::Contract;
    let operator = plan.operators.iter().position(|d| inner(&d)).unwrap() as u32;
    let descriptor = plan.operators[operator as usize].encode().unwrap();
    let proof = MerkleTree::new(plan.leaves().unwrap()).proof(operator.into()).unwrap();
    let layer = IDisputes::layerCall {
        dispute,
        state: state().await,
        operator_: operator,
        descriptor: descriptor.clone().into(),
        proof: proof.clone(),
    };
    node.send(CHALLENGER, disputes, 0, layer).await;
    becomes(&scene, dispute, Phase::Choosing).await;
    let point = IDisputes::pointCall {
        dispute,
        state: state().await,
        operator_: operator,
        element: 3,
        descriptor: descriptor.into(),
        proof,
    };
    node.send(CHALLENGER, disputes, 0, point).await;
    becomes(&scene, dispute, Phase::Lost).await;
    let claim = node.view(market, IMarket::claimOfCall { claim }).await;
    assert_eq!((claim.status, claim.openDisputes), (IMarket::ClaimStatus::Open, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_or_market_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start().await;
    let url = Some(node.anvil.url.clone());
    let base = Config {
        rpc: url,
        ..config("127.0.0.1:1".parse().unwrap(), &folder.path().join("worker"))
    };
    let error = Worker::start(base.clone(), honest()).end().await.unwrap_err();
    assert!(format!("{error:#}").contains("no contract at market"), "{error:#}");
    let other = Config {
        chain_id: 1,
        data_dir: folder.path().join("other"),
        ..base
    };
    let error = Worker::start(other, honest()).end().await.unwrap_err();
    assert!(
        format!("{error:#}").contains("follows chain 31337, configured is 1"),
        "{error:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn known_disputes_are_answered_whatever_becomes_of_reading_the_chain() {
    let mut scene = scene().await;
    let worker = Worker::start(scene.config.clone(), honest());
    let mut session = scene.coordinator.session().await;
    let result = leased(&mut session, scene.offer.clone()).await;
    worker.stop().await;
    let (claim, dispute) = disputed(&scene, &result).await;
    let identity = Identity {
        chain_id: scene.config.chain_id,
        market: scene.config.market,
        provider: scene.config.provider,
        node: scene.config.node.0.address(),
    };
    let store = Store::open(&scene.config.data_dir, &identity).unwrap();
    store.insert_dispute(dispute, claim).unwrap();
    // No step of reading succeeds from here on.
    store.upsert_fact("cursor", &"unreadable").unwrap();
    drop(store);
    let worker = Worker::start(scene.config.clone(), honest());
    becomes(&scene, dispute, Phase::Picking).await;
    worker.stop().await;
}

/// Takes its time over questions about layers, until it is let go.
struct Slow(Arc<(Mutex<bool>, Condvar)>);

/// Lets it go, also when the test fails: threads that wait would keep the test from ending.
struct LetGo(Arc<(Mutex<bool>, Condvar)>);

impl Drop for LetGo {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Responder for Slow {
    fn respond(&self, case: &Case<'_>, ask: &Ask) -> Result<Reply, AnswerError> {
        if matches!(ask, Ask::Layer(_)) {
            let (done, changed) = &*self.0;
            drop(changed.wait_while(done.lock().unwrap(), |done| !*done).unwrap());
        }
        Honest.respond(case, ask)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_asks_without_end_delays_no_answer_on_chain() {
    let mut scene = scene().await;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let let_go = LetGo(gate.clone());
    let slow = Behaviour {
        responder: Arc::new(Slow(gate)),
        ..honest()
    };
    let worker = Worker::start(scene.config.clone(), slow);
    let mut session = scene.coordinator.session().await;
    let result = leased(&mut session, scene.offer.clone()).await;
    let signed = claim_of(&scene, &result);
    for number in 0..16 {
        let question = Question {
            claim: signed,
            dispute: B256::repeat_byte(0xd1),
            state: B256::repeat_byte(number),
            deadline: u64::MAX,
            ask: Ask::Layer(0),
        };
        session.say(ToWorker::Question(question)).await;
    }
    let (claim, dispute) = disputed(&scene, &result).await;
    assert_eq!(claim, signed);
    becomes(&scene, dispute, Phase::Picking).await;
    drop(let_go);
    worker.stop().await;
}

/// The id of the claim that was signed.
fn claim_of(scene: &Scene, result: &RunResult) -> B256 {
    let io = &scene.model.plan.outputs[0];
    let output = tensor::commit(io.dtype, &io.dims, &result.output).unwrap();
    let claim = Claim {
        request: scene.offer.job.request,
        attempt: scene.offer.job.attempt,
        worker: scene.config.provider,
        model: scene.model.id,
        inputs: scene.offer.inputs,
        outputs: outputs_hash(&[output]),
        bound_trace: bound_trace(scene.config.provider, result.trace_root),
        profile: scene.model.header.profile,
        poster: scene.offer.poster,
        valid_until: result.valid_until,
    };
    claim.digest(&Domain {
        chain_id: scene.config.chain_id,
        market: scene.config.market,
    })
}
