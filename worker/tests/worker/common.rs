//! A coordinator made of channels, a small real model, and a worker in front of them.

use std::{
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::{Address, B256, U256, keccak256};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};
use touchstone_chain::{PrivateKeySigner, signature};
use touchstone_engine::Reference;
use touchstone_protocol::{
    claim::{Domain, inputs_hash},
    model::Profile,
    tensor,
};
use touchstone_service::CoordinatorAddress;
use touchstone_wire::{
    limits,
    proto::{
        model::v1::{
            FetchFileRequest, FetchFileResponse,
            model_service_server::{ModelService, ModelServiceServer},
        },
        worker::v1::{
            CoordinatorMessage, UploadRequest, UploadResponse, WorkerMessage,
            worker_service_server::{WorkerService, WorkerServiceServer},
        },
    },
    value::{Assembly, ValueHeader},
    worker::{Ask, Challenge, FromWorker, Hello, Job, ModelRef, Offer, Question, Reply, ToWorker, Upload, Welcome},
};
use touchstone_worker::{
    Behaviour, EngineRunner, Honest,
    config::{Config, Device, Key},
    model::{self, Model},
};

/// Nothing here takes that long; it only keeps a broken test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CHAIN_ID: u64 = 31_337;
pub(crate) const MARKET: Address = Address::repeat_byte(0x11);
pub(crate) const PROVIDER: Address = Address::repeat_byte(0x22);
pub(crate) const PUBLISHER: Address = Address::repeat_byte(0x33);
pub(crate) const POSTER: Address = Address::repeat_byte(0x44);

type Uploads = Arc<Mutex<Vec<(Job, ValueHeader, Vec<u8>)>>>;

/// One connected worker, as the coordinator sees it.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    pub(crate) challenge: Challenge,
    from: mpsc::Receiver<FromWorker>,
    to: mpsc::Sender<Result<CoordinatorMessage, Status>>,
}

impl Session {
    pub(crate) async fn say(&self, message: ToWorker) {
        self.to.send(Ok(message.into())).await.unwrap();
    }

    /// The next message that is not about progress.
    pub(crate) async fn hear(&mut self) -> FromWorker {
        loop {
            match timeout(PATIENCE, self.from.recv())
                .await
                .expect("the worker says something")
                .expect("the session is open")
            {
                FromWorker::Progress(_) => {}
                message => return message,
            }
        }
    }

    /// Asks a question and hears its answer.
    pub(crate) async fn ask(&mut self, claim: B256, ask: Ask) -> Reply {
        let (dispute, state) = (B256::repeat_byte(0xd1), keccak256(format!("{ask:?}")));
        self.say(ToWorker::Question(Question {
            claim,
            dispute,
            state,
            deadline: u64::MAX,
            ask,
        }))
        .await;
        match self.hear().await {
            FromWorker::Answer(answer) => {
                assert_eq!((answer.claim, answer.dispute, answer.state), (claim, dispute, state));
                answer.reply
            }
            other => panic!("expected an answer, heard {other:?}"),
        }
    }
}

/// The coordinator.
pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    pub(crate) uploads: Uploads,
    sessions: mpsc::Receiver<Session>,
}

impl Coordinator {
    pub(crate) async fn start(file: Vec<u8>) -> Self {
        Self::of(file, CHAIN_ID).await
    }

    pub(crate) async fn of(file: Vec<u8>, chain_id: u64) -> Self {
        Self::serving(file, chain_id, MARKET).await
    }

    pub(crate) async fn serving(file: Vec<u8>, chain_id: u64, market: Address) -> Self {
        Self::on(Server::builder(), file, chain_id, market).await
    }

    /// The same with a server of one's own.
    pub(crate) async fn on(mut server: Server, file: Vec<u8>, chain_id: u64, market: Address) -> Self {
        let (sender, sessions) = mpsc::channel(8);
        let uploads = Uploads::default();
        let service = Service {
            sender,
            uploads: uploads.clone(),
            chain_id,
            market,
            file,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accept, accepted) = mpsc::channel(8);
        let server = server
            .add_service(WorkerServiceServer::new(service.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES))
            .add_service(ModelServiceServer::new(service))
            .serve_with_incoming(ReceiverStream::new(accepted));
        tokio::spawn(server);
        tokio::spawn(async move {
            loop {
                let connection = listener.accept().await.map(|(stream, _)| stream);
                if accept.send(connection).await.is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            uploads,
            sessions,
        }
    }

    /// The next worker that has said hello and was welcomed.
    pub(crate) async fn session(&mut self) -> Session {
        timeout(PATIENCE, self.sessions.recv())
            .await
            .expect("a worker connects")
            .unwrap()
    }
}

#[derive(Clone)]
struct Service {
    sender: mpsc::Sender<Session>,
    uploads: Uploads,
    chain_id: u64,
    market: Address,
    file: Vec<u8>,
}

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let (to, outbound) = mpsc::channel(16);
        let challenge = Challenge {
            coordinator: POSTER,
            nonce: B256::repeat_byte(9),
            chain_id: self.chain_id,
            market: self.market,
        };
        let service = self.clone();
        tokio::spawn(async move {
            let _ = to.send(Ok(ToWorker::Challenge(challenge.clone()).into())).await;
            let Ok(Some(message)) = inbound.message().await else {
                return;
            };
            let FromWorker::Hello(hello) = FromWorker::try_from(message).unwrap() else {
                panic!("no hello")
            };
            let welcome = Welcome {
                session: B256::repeat_byte(7),
                max_value_bytes: 1 << 30,
                max_job_bytes: 1 << 30,
            };
            let _ = to.send(Ok(ToWorker::Welcome(welcome).into())).await;
            let (sender, from) = mpsc::channel(64);
            if service
                .sender
                .send(Session {
                    hello,
                    challenge,
                    from,
                    to,
                })
                .await
                .is_err()
            {
                return;
            }
            while let Ok(Some(message)) = inbound.message().await {
                if sender.send(FromWorker::try_from(message).unwrap()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }

    async fn upload(&self, request: Request<Streaming<UploadRequest>>) -> Result<Response<UploadResponse>, Status> {
        let mut inbound = request.into_inner();
        let (mut values, mut present): (u32, Option<(Job, Assembly)>) = (0, None);
        while let Some(message) = inbound.message().await? {
            match Upload::try_from(message)? {
                Upload::Header(header) => {
                    assert_eq!(header.session, B256::repeat_byte(7));
                    present = Some((header.job, Assembly::new(header.value)));
                }
                Upload::Chunk(chunk) => present.as_mut().unwrap().1.push(&chunk)?,
            }
            if present.as_ref().is_some_and(|(_, assembly)| assembly.complete()) {
                let (job, assembly) = present.take().unwrap();
                let (header, bytes) = assembly.finish()?;
                self.uploads.lock().unwrap().push((job, header, bytes));
                values += 1;
            }
        }
        Ok(Response::new(UploadResponse { values }))
    }
}

#[tonic::async_trait]
impl ModelService for Service {
    type FetchFileStream = ReceiverStream<Result<FetchFileResponse, Status>>;

    async fn fetch_file(&self, request: Request<FetchFileRequest>) -> Result<Response<Self::FetchFileStream>, Status> {
        let FetchFileRequest { digest, offset } = request.into_inner();
        if digest != keccak256(&self.file).as_slice() {
            return Err(Status::not_found("no such file"));
        }
        let (sender, receiver) = mpsc::channel(4);
        let (file, length) = (self.file[offset as usize..].to_vec(), self.file.len() as u64);
        tokio::spawn(async move {
            for chunk in file.chunks(10_000) {
                let _ = sender
                    .send(Ok(FetchFileResponse {
                        length,
                        chunk: chunk.to_vec(),
                    }))
                    .await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// The model that the tests run, with its file.
pub(crate) fn model_file() -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "models",
        "suite",
        "vit_torchscript.onnx",
    ]
    .iter()
    .collect();
    std::fs::read(path).unwrap()
}

pub(crate) fn compiled(file: &[u8]) -> Model {
    model::compile(file, keccak256(file), Profile::FAST.encode(), PUBLISHER).unwrap()
}

/// An offer of the model with an input that fits.
pub(crate) fn offer(model: &Model, file: &[u8], request: u64) -> Offer {
    let io = &model.plan.inputs;
    let mut input = Vec::new();
    let mut commitments = Vec::new();
    for io in io {
        let elements = io.dims.iter().product::<u32>();
        let bytes: Vec<u8> = (0..elements)
            .flat_map(|i| ((i % 17) as f32 / 16.0).to_le_bytes())
            .collect();
        commitments.push(tensor::commit(io.dtype, &io.dims, &bytes).unwrap());
        input.extend(bytes);
    }
    Offer {
        job: Job {
            request: U256::from(request),
            attempt: 1,
        },
        model: ModelRef {
            id: model.id,
            publisher: PUBLISHER,
            file_digest: keccak256(file),
            profile: Profile::FAST.encode(),
        },
        input,
        inputs: inputs_hash(&commitments),
        poster: POSTER,
        lease_expires: 4_000_000_000,
        deadline: 4_000_000_100,
        valid_until_min: 4_000_000_050,
        valid_until_max: 4_000_000_150,
    }
}

pub(crate) fn domain() -> Domain {
    Domain {
        chain_id: CHAIN_ID,
        market: MARKET,
    }
}

/// A worker's configuration; its key is the same in every call.
pub(crate) fn config(coordinator: SocketAddr, folder: &Path) -> Config {
    Config {
        coordinator: CoordinatorAddress::new(&format!("http://{coordinator}"), None, false).unwrap(),
        rpc: None,
        chain_id: CHAIN_ID,
        market: MARKET,
        provider: PROVIDER,
        node: Key(node()),
        data_dir: folder.to_owned(),
        model_files: Vec::new(),
        serve: Vec::new(),
        capacity: 1,
        device: Device::Cpu,
        threads: NonZero::<u16>::MIN,
        direct_after_percent: None,
        withdraw_below: U256::ZERO,
        keep_inner: false,
        poll: Duration::from_millis(100),
        keep: Duration::from_secs(3_600),
    }
}

pub(crate) fn node() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x46)).unwrap()
}

/// Honest, on the reference engine.
pub(crate) fn honest() -> Behaviour {
    let runner = EngineRunner::new(Arc::new(Reference), NonZero::<usize>::MIN);
    Behaviour {
        runner: Arc::new(runner),
        responder: Arc::new(Honest),
    }
}

/// A worker that runs until it is stopped.
pub(crate) struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Worker {
    pub(crate) fn start(config: Config, behaviour: Behaviour) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(touchstone_worker::run(config, behaviour, shutdown.clone()));
        Self { shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.end().await.unwrap();
    }

    /// What it ends with by itself.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        timeout(PATIENCE, self.task).await.expect("the worker ends").unwrap()
    }
}

/// Whether the hello proves the node key.
pub(crate) fn proves_key(session: &Session) -> bool {
    let Hello {
        provider,
        node,
        signature,
        ..
    } = &session.hello;
    let Challenge {
        coordinator,
        nonce,
        chain_id,
        market,
    } = session.challenge;
    let digest = signature::hello_digest(chain_id, market, *provider, *node, coordinator, nonce);
    signature::recover(digest, signature) == Some(*node)
}
