//! Against the contracts on a local node: an honest claim is left alone; lies are convicted, with and without the worker's data. The test
//! plays the worker; values come from memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../crates/chain/tests/common/anvil.rs"]
mod anvil;
mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use anvil::Anvil;
use common::*;
use tokio_util::sync::CancellationToken;
use touchstone_chain::{
    ChainReader, Order, Outcome, PrivateKeySigner, Sender, SenderConfig, SolCall,
    bindings::{IDisputes, IMarket, IModelRegistry, Phase, Tree},
    deploy::{deploy, devnet_parameters},
    event::Deployment,
    signature,
};
use touchstone_challenger::{
    config::{Config, EngineKind, Key, Mode},
    model::Model,
    remote::{Later, Nobody, Remote, RemoteError, Wanted},
    run_with,
    tolerance::{Bits, Tolerance},
};
use touchstone_engine::{Engine, LayerTrace, Opened, Options, Reference, Torch};
use touchstone_protocol::{
    claim::{Claim, Domain, LayerAnswer, bound_trace},
    dispute::dispute_id,
    tensor::TensorTree,
};
use touchstone_service::files::{Chunks, Source};

const MODEL: &str = "digits_vit/model.onnx";
const PATIENCE: Duration = Duration::from_secs(90);
const STAKE: u64 = 5_000_000_000_000_000_000;

/// The worker's values, for whoever asks.
struct Values {
    trace: Vec<B256>,
    layers: BTreeMap<u32, Vec<B256>>,
    values: BTreeMap<B256, TensorTree>,
}

impl Values {
    fn of(model: &Model, claimed: &Claimed) -> Self {
        let layers: Vec<LayerTrace> = (0..model.plan.layers.len() as u32)
            .map(|layer| claimed.layer(layer))
            .collect();
        let all = layers
            .iter()
            .flat_map(|layer| &layer.values)
            .chain(&claimed.trace.values);
        let commitments = |values: &[TensorTree]| values.iter().map(TensorTree::commitment).collect::<Vec<_>>();
        Self {
            trace: commitments(&claimed.trace.values),
            values: all.map(|value| (value.commitment(), value.clone())).collect(),
            layers: layers
                .iter()
                .map(|layer| (layer.layer, commitments(&layer.values)))
                .collect(),
        }
    }

    fn answer<T: Send + 'static>(what: &'static str, answer: Option<T>) -> Later<'static, Result<T, RemoteError>> {
        Box::pin(std::future::ready(answer.ok_or(RemoteError::NotFound { what })))
    }
}

impl Remote for Values {
    fn trace(&self, _: B256) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Self::answer("trace", Some(self.trace.clone()))
    }

    fn layer(&self, _: B256, layer: u32) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Self::answer("layer", self.layers.get(&layer).cloned())
    }

    fn value<'a>(&'a self, wanted: &'a Wanted) -> Later<'a, Result<TensorTree, RemoteError>> {
        Self::answer("value", self.values.get(&wanted.commitment).cloned())
    }
}

impl Source for Values {
    fn open(&self, _: B256, _: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        Box::pin(std::future::ready(Err("not there".to_owned())))
    }
}

fn torch_engine() -> Torch {
    Torch::new(Options {
        device: Default::default(),
        threads: 1,
    })
    .unwrap()
}

struct World {
    node: Anvil,
    reader: ChainReader,
    deployment: Deployment,
    model: Model,
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
}

/// Keys by role; the node key is the provider's own, for brevity.
#[derive(Clone, Copy)]
enum Role {
    Deployer = 0,
    Requester = 1,
    Provider = 2,
    Anybody = 3,
    Challenger = 4,
}

impl World {
    async fn start() -> Self {
        Self::start_with(devnet_parameters()).await
    }

    async fn start_with(parameters: IMarket::Parameters) -> Self {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let node = Anvil::start(&anvil::TICKING).await;
        let reader = ChainReader::new(&node.url, Duration::from_secs(10)).unwrap();
        let artifacts = file("..").join("contracts/artifacts");
        let deployer = node.key(Role::Deployer as usize);
        let deployment = deploy(&reader, &deployer, &artifacts, &parameters).await.unwrap();
        let bytes = std::fs::read(file(MODEL)).unwrap();
        let model = Model::compile(
            &bytes,
            touchstone_protocol::model::Profile::FAST.encode(),
            deployer.address(),
        )
        .unwrap();
        let world = Self {
            node,
            reader,
            deployment,
            model,
            folder: tempfile::tempdir().unwrap(),
            shutdown: CancellationToken::new(),
        };
        let h = &world.model.header;
        let io = world.model.plan.io().encode().unwrap().into();
        let publish = IModelRegistry::publishCall {
            header: h.into(),
            io,
            uri: String::new(),
            digest: keccak256(&bytes),
            price: U256::from(1),
        };
        world
            .send(Role::Deployer, deployment.registry, &publish, U256::ZERO)
            .await;
        world
            .send(
                Role::Provider,
                deployment.market,
                &IMarket::stakeCall {},
                U256::from(STAKE),
            )
            .await;
        let node = world.key(Role::Provider).address();
        world
            .send(
                Role::Provider,
                deployment.market,
                &IMarket::setNodeCall { node },
                U256::ZERO,
            )
            .await;
        world
    }

    fn key(&self, role: Role) -> PrivateKeySigner {
        self.node.key(role as usize)
    }

    async fn send(&self, from: Role, to: Address, call: &impl SolCall, value: U256) {
        let sender = Sender::new(self.reader.clone(), self.key(from), SenderConfig::new(anvil::CHAIN_ID));
        let order = Order {
            key: "test".into(),
            to,
            data: call.abi_encode().into(),
            value,
            deadline: 0,
            gas_floor: 0,
        };
        match sender.send(order, PATIENCE).await.unwrap() {
            Outcome::Succeeded(_) => {}
            other => panic!("not sent: {other:?}"),
        }
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let head = self.reader.head().await.unwrap();
        self.reader.call(to, &call, head.hash).await.unwrap()
    }

    fn domain(&self) -> Domain {
        Domain {
            chain_id: anvil::CHAIN_ID,
            market: self.deployment.market,
        }
    }

    /// Requests the image's digit and claims what the worker has.
    async fn claim(&self, claimed: &Claimed) -> B256 {
        let market = self.deployment.market;
        let none = IMarket::Options {
            mode: IMarket::CallbackMode::None,
            callbackGas: 0,
            callbackGasPrice: 0,
            tag: B256::ZERO,
        };
        let inputs: Bytes = claimed.run.inputs[0].bytes.to_vec().into();
        let request = IMarket::requestCall {
            model: self.model.id,
            inputs,
            options: none,
        };
        self.send(Role::Requester, market, &request, U256::from(1_000)).await;
        let request = self.view(market, IMarket::requestCountCall {}).await;
        let valid_until = self.reader.head().await.unwrap().timestamp + 1_000;
        let worker = self.key(Role::Provider).address();
        let claim = Claim {
            request,
            attempt: 1,
            worker,
            model: self.model.id,
            inputs: claimed.trace.inputs_hash(),
            outputs: claimed.trace.outputs_hash(),
            bound_trace: bound_trace(worker, claimed.trace.root()),
            profile: self.model.header.profile,
            poster: worker,
            valid_until,
        };
        let id = claim.digest(&self.domain());
        let terms = IMarket::Terms {
            request,
            attempt: 1,
            worker,
            traceRoot: claimed.trace.root(),
            poster: worker,
            validUntil: valid_until,
        };
        let outputs: Bytes = claimed.run.outputs[0].bytes.to_vec().into();
        let signature = signature::sign(&self.key(Role::Provider), id).unwrap().to_vec().into();
        self.send(
            Role::Anybody,
            market,
            &IMarket::claimCall {
                terms,
                outputs,
                signature,
            },
            U256::ZERO,
        )
        .await;
        id
    }

    fn challenger(
        &self,
        engine: Arc<dyn Engine>,
        remote: Arc<dyn Remote>,
        mode: Mode,
    ) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        self.challenger_until(engine, remote, mode, self.shutdown.clone())
    }

    fn challenger_until(
        &self,
        engine: Arc<dyn Engine>,
        remote: Arc<dyn Remote>,
        mode: Mode,
        shutdown: CancellationToken,
    ) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let config = Config {
            rpc: self.node.url.clone(),
            chain_id: Some(anvil::CHAIN_ID),
            market: self.deployment.market,
            coordinator: None,
            key: Some(Key(self.key(Role::Challenger))),
            data_dir: self.folder.path().join(format!("{mode:?}")),
            model_files: vec![file(MODEL)],
            mode,
            engine: EngineKind::Reference,
            threads: 1,
            // As the configuration has it: the reference engine's bits are nobody's.
            tolerance: Tolerance {
                bits: if engine.name().starts_with("libtorch") {
                    Bits::All
                } else {
                    Bits::Most
                },
                ..Tolerance::USUAL
            },
            bits_per_day: 8,
            private_relay: false,
            withdraw_below: U256::ZERO,
            from_block: 0,
            poll: Duration::from_millis(100),
            max_exposure: U256::from(STAKE),
            max_disputes: 4,
            timeout: Duration::from_secs(10),
        };
        tokio::spawn(run_with(config, vec![engine], remote, shutdown))
    }

    fn dispute(&self, claim: B256) -> B256 {
        dispute_id(
            anvil::CHAIN_ID,
            self.deployment.disputes,
            claim,
            self.key(Role::Challenger).address(),
            U256::ZERO,
        )
    }

    /// Answers for the worker until the claim has ended; gives its last status and the moves of the dispute.
    async fn answer(&self, claim: B256, claimed: &Claimed) -> (IMarket::ClaimStatus, u32) {
        let (disputes, dispute) = (self.deployment.disputes, self.dispute(claim));
        let answered = async {
            loop {
                let status = self
                    .view(self.deployment.market, IMarket::claimOfCall { claim })
                    .await
                    .status;
                let d = self.view(disputes, IDisputes::disputeOfCall { dispute }).await;
                if status != IMarket::ClaimStatus::Open || matches!(d.position.phase, Phase::Lost | Phase::Conceded) {
                    return (status, d.position.moves);
                }
                let state = self.view(disputes, IDisputes::stateDigestCall { dispute }).await;
                let layer = d.position.layer;
                match d.position.phase {
                    Phase::Revealing => {
                        let inner = (d.position.tree == Tree::Layer).then(|| claimed.layer(layer));
                        let tree = inner.as_ref().map_or(&claimed.trace.tree, |inner| &inner.tree);
                        let step = d.position.depth.min(3);
                        let height = u32::from(d.position.depth - step);
                        let first = u64::from(d.position.index) << step;
                        let children = (0..1u64 << step)
                            .map(|c| tree.node_at(height, first + c).unwrap())
                            .collect();
                        self.send(
                            Role::Anybody,
                            disputes,
                            &IDisputes::revealCall {
                                dispute,
                                state,
                                children,
                            },
                            U256::ZERO,
                        )
                        .await;
                    }
                    Phase::Layering => {
                        let root = claimed.layer(layer).root();
                        let digest = LayerAnswer { claim, layer, root }.digest(&self.domain());
                        let signature = signature::sign(&self.key(Role::Provider), digest)
                            .unwrap()
                            .to_vec()
                            .into();
                        self.send(
                            Role::Anybody,
                            disputes,
                            &IDisputes::answerLayerCall {
                                dispute,
                                state,
                                root,
                                signature,
                            },
                            U256::ZERO,
                        )
                        .await;
                    }
                    Phase::Defending => {
                        let d = d.position;
                        let inner = claimed.layer(self.model.plan.operators[d.operator_ as usize].layer);
                        let opened = Opened {
                            plan: &self.model.plan,
                            model: &self.model.trees,
                            trace: &claimed.trace,
                            layer: Some(&inner),
                        };
                        let witness = opened.witness(d.operator_, d.element).unwrap().into();
                        self.send(
                            Role::Anybody,
                            disputes,
                            &IDisputes::defendCall {
                                dispute,
                                state,
                                witness,
                            },
                            U256::ZERO,
                        )
                        .await;
                    }
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .expect("the dispute ends")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_output_is_convicted_and_an_honest_claim_is_left_alone() {
    let world = World::start().await;
    let image = &images()[0];
    let right = honest(&world.model, torch(), image);
    let operator = world.model.plan.operators.len() as u32 - 1;
    let ulps = 2 * smallest_convicted(&world.model, &right.run, operator, 4);
    let claimed = with_value(
        &world.model,
        torch(),
        image,
        operator,
        &nudged(&right.run.outputs[0], 4, ulps),
    );
    let mut values = Values::of(&world.model, &right);
    let wrong = Values::of(&world.model, &claimed);
    values.values.extend(wrong.values);
    values.layers = wrong.layers;
    let honest_claim = world.claim(&right).await;
    let claim = world.claim(&claimed).await;
    let task = world.challenger(Arc::new(Reference), Arc::new(values), Mode::Full);
    let (status, moves) = world.answer(claim, &claimed).await;
    assert_eq!(status, IMarket::ClaimStatus::Struck);
    assert_eq!(moves, 4, "open, layer, answer, convict");
    let untouched = world
        .view(
            world.deployment.disputes,
            IDisputes::disputeOfCall {
                dispute: world.dispute(honest_claim),
            },
        )
        .await;
    assert_eq!(untouched.position.phase, Phase::None);
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_weights_are_convicted_without_any_data() {
    let world = World::start().await;
    let mut plan = (*world.model.plan).clone();
    let weight = plan
        .weights
        .iter_mut()
        .find(|weight| weight.dims == [192, 64] || weight.dims == [64, 192])
        .expect("a projection");
    let bytes = weight
        .bytes
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|b| (f32::from_le_bytes(*b) * 1.5).to_le_bytes());
    weight.bytes = bytes.collect::<Vec<u8>>().into();
    // The worker's engine is one of ours, so that hashes can be compared.
    let claimed = by_plan(plan, reference(), &images()[0]);
    let claim = world.claim(&claimed).await;
    let task = world.challenger(Arc::new(Reference), Arc::new(Nobody), Mode::Full);
    let (status, moves) = world.answer(claim, &claimed).await;
    assert_eq!(status, IMarket::ClaimStatus::Struck, "after {moves} moves");
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_it_goes_on_from_the_chain_and_its_store_with_no_coordinator() {
    let world = World::start().await;
    let image = &images()[0];
    let right = honest(&world.model, torch(), image);
    let operator = world.model.plan.operators.len() as u32 - 1;
    let claimed = with_value(
        &world.model,
        torch(),
        image,
        operator,
        &nudged(&right.run.outputs[0], 4, 1 << 20),
    );
    let claim = world.claim(&claimed).await;
    let first = CancellationToken::new();
    let values = Arc::new(Values::of(&world.model, &claimed));
    let task = world.challenger_until(Arc::new(Reference), values, Mode::Full, first.clone());
    let (disputes, dispute) = (world.deployment.disputes, world.dispute(claim));
    let opened = async {
        while world
            .view(disputes, IDisputes::disputeOfCall { dispute })
            .await
            .position
            .phase
            == Phase::None
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened)
        .await
        .expect("a dispute is opened");
    first.cancel();
    task.await.unwrap().unwrap();
    // What its store lacks, an engine of its own gives.
    let task = world.challenger(Arc::new(torch_engine()), Arc::new(Nobody), Mode::Full);
    let (status, moves) = world.answer(claim, &claimed).await;
    assert_eq!(status, IMarket::ClaimStatus::Struck, "after {moves} moves");
    assert_eq!(
        world
            .view(disputes, IDisputes::disputeOfCall { dispute })
            .await
            .position
            .phase,
        Phase::Struck
    );
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_worker_is_timed_out() {
    let short = IMarket::Parameters {
        clockSeconds: 12,
        extensionSeconds: 1,
        maxTurns: 6,
        ..devnet_parameters()
    };
    let world = World::start_with(short).await;
    let right = honest(&world.model, reference(), &images()[0]);
    let operator = world.model.plan.operators.len() as u32 - 1;
    let claimed = with_value(
        &world.model,
        reference(),
        &images()[0],
        operator,
        &nudged(&right.run.outputs[0], 4, 1 << 20),
    );
    let claim = world.claim(&claimed).await;
    let values = Arc::new(Values::of(&world.model, &claimed));
    let task = world.challenger(Arc::new(Reference), values, Mode::Full);
    let struck = async {
        while world
            .view(world.deployment.market, IMarket::claimOfCall { claim })
            .await
            .status
            == IMarket::ClaimStatus::Open
        {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, struck).await.expect("the claim ends");
    let status = world
        .view(world.deployment.market, IMarket::claimOfCall { claim })
        .await
        .status;
    assert_eq!(status, IMarket::ClaimStatus::Struck);
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_sends_nothing() {
    let world = World::start().await;
    let right = honest(&world.model, reference(), &images()[0]);
    let operator = world.model.plan.operators.len() as u32 - 1;
    let claimed = with_value(
        &world.model,
        reference(),
        &images()[0],
        operator,
        &nudged(&right.run.outputs[0], 4, 1 << 20),
    );
    let claim = world.claim(&claimed).await;
    let window = world
        .view(world.deployment.market, IMarket::claimOfCall { claim })
        .await
        .windowEnd;
    let task = world.challenger(
        Arc::new(Reference),
        Arc::new(Values::of(&world.model, &claimed)),
        Mode::DryRun,
    );
    let over = async {
        while world.reader.head().await.unwrap().timestamp <= window {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    assert_eq!(
        world.reader.nonce(world.key(Role::Challenger).address()).await.unwrap(),
        0
    );
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_worker_with_another_engine_is_asked_once_and_then_known() {
    let world = World::start().await;
    let claims = [0, 1].map(|image| honest(&world.model, reference(), &images()[image]));
    let mut values = Values::of(&world.model, &claims[0]);
    let claim = world.claim(&claims[0]).await;
    let first = CancellationToken::new();
    let task = world.challenger_until(Arc::new(torch_engine()), Arc::new(values), Mode::Full, first.clone());
    let (status, moves) = world.answer(claim, &claims[0]).await;
    assert_eq!(
        (status, moves),
        (IMarket::ClaimStatus::Open, 20),
        "open, nine layers and their answers, concede"
    );
    first.cancel();
    task.await.unwrap().unwrap();
    values = Values::of(&world.model, &claims[1]);
    let claim = world.claim(&claims[1]).await;
    let window = world
        .view(world.deployment.market, IMarket::claimOfCall { claim })
        .await
        .windowEnd;
    let task = world.challenger(Arc::new(torch_engine()), Arc::new(values), Mode::Full);
    let over = async {
        while world.reader.head().await.unwrap().timestamp <= window {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    let dispute = world.dispute(claim);
    let seen = world
        .view(world.deployment.disputes, IDisputes::disputeOfCall { dispute })
        .await;
    assert_eq!(seen.position.phase, Phase::None, "known by now, also after a restart");
    world.shutdown.cancel();
    task.await.unwrap().unwrap();
}
