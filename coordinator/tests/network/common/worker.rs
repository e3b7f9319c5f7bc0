//! A worker's hand: every message by itself, so that a test can tell the truth or lie at any point.

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::{StreamExt as _, iter, wrappers::ReceiverStream};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use touchstone_chain::{Address, B256, PrivateKeySigner, signature};
use touchstone_protocol::{
    claim::{Claim, Domain, bound_trace, outputs_hash},
    descriptor::Dtype,
    digest, merkle,
    model::Profile,
    tensor,
};
use touchstone_wire::{
    limits::CHUNK_BYTES,
    proto::worker::v1::{self as pb, worker_service_client::WorkerServiceClient},
    value::ValueHeader,
    worker::{
        Challenge, ClaimState, Commitments, FromWorker, Hello, Job, Offer, Question, RunResult, ToWorker, Update,
        Upload, UploadHeader, Welcome,
    },
};

use super::{Account, Net, PATIENCE, anvil::CHAIN_ID, toy};

pub fn node_key(account: Account) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&digest::hash(format!("node {}", account as u8))).unwrap()
}

/// A connection to a coordinator, once it serves.
pub async fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    super::eventually("the coordinator serves", async || endpoint.connect().await.ok()).await
}

pub struct Worker {
    pub provider: Address,
    pub key: PrivateKeySigner,
    pub domain: Domain,
    pub session: B256,
    client: WorkerServiceClient<Channel>,
    sender: mpsc::Sender<pb::WorkerMessage>,
    incoming: Streaming<pb::CoordinatorMessage>,
}

impl Worker {
    /// Connects and hears the challenge.
    pub async fn dial(net: &Net, url: &str, account: Account) -> (Self, Challenge) {
        Self::dial_on(net, channel(url).await, account).await.unwrap()
    }

    /// Opens a session on a channel and hears the challenge.
    pub async fn dial_on(net: &Net, channel: Channel, account: Account) -> Result<(Self, Challenge), Status> {
        let mut client = WorkerServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let (sender, receiver) = mpsc::channel(1_024);
        let incoming = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let mut worker = Self {
            provider: net.key(account).address(),
            key: node_key(account),
            domain: Domain {
                chain_id: CHAIN_ID,
                market: net.deployment.market,
            },
            session: B256::ZERO,
            client,
            sender,
            incoming,
        };
        let ToWorker::Challenge(challenge) = worker.hear().await.unwrap() else {
            panic!("no challenge")
        };
        Ok((worker, challenge))
    }

    /// Opens a session on a channel and proves its key.
    pub async fn connect_on(net: &Net, channel: Channel, account: Account) -> Result<Self, Status> {
        let (mut worker, challenge) = Self::dial_on(net, channel, account).await?;
        let hello = worker.hello(&challenge);
        worker.say(FromWorker::Hello(hello)).await;
        let ToWorker::Welcome(Welcome { session, .. }) = worker.hear().await? else {
            panic!("no welcome")
        };
        worker.session = session;
        Ok(worker)
    }

    pub fn hello(&self, challenge: &Challenge) -> Hello {
        let Challenge {
            coordinator,
            nonce,
            chain_id,
            market,
        } = *challenge;
        let node = self.key.address();
        let digest = signature::hello_digest(chain_id, market, self.provider, node, coordinator, nonce);
        Hello {
            provider: self.provider,
            node,
            signature: signature::sign(&self.key, digest).unwrap(),
            models: Vec::new(),
            capacity: 1,
            software: "test".to_owned(),
        }
    }

    /// Connects and proves its key.
    pub async fn connect(net: &Net, url: &str, account: Account) -> Self {
        Self::connect_on(net, channel(url).await, account).await.unwrap()
    }

    pub async fn say(&self, message: FromWorker) {
        assert!(self.try_say(message).await, "the session has ended");
    }

    /// Says something that no honest worker says.
    pub async fn say_raw(&self, message: pb::worker_message::Message) {
        let message = pb::WorkerMessage { message: Some(message) };
        assert!(self.sender.send(message).await.is_ok(), "the session has ended");
    }

    /// An upload call whose parts the test sends one by one.
    pub fn upload_by_hand(&self) -> (mpsc::Sender<pb::UploadRequest>, JoinHandle<Result<u32, Status>>) {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.client.clone();
        let call = tokio::spawn(async move {
            let answer = client.upload(ReceiverStream::new(receiver)).await?;
            Ok(answer.into_inner().values)
        });
        (sender, call)
    }

    /// Says something where the session may have ended. False: it has.
    pub async fn try_say(&self, message: FromWorker) -> bool {
        self.sender.send(message.into()).await.is_ok()
    }

    pub async fn hear(&mut self) -> Result<ToWorker, Status> {
        let message = tokio::time::timeout(PATIENCE, self.incoming.message())
            .await
            .expect("the coordinator says something");
        Ok(message?.ok_or_else(|| Status::cancelled("closed"))?.try_into().unwrap())
    }

    /// The status that ends the session.
    pub async fn ends(&mut self) -> (Code, String) {
        loop {
            if let Err(status) = self.hear().await {
                return (status.code(), status.message().to_owned());
            }
        }
    }

    pub async fn offer(&mut self) -> Offer {
        loop {
            if let ToWorker::Offer(offer) = self.hear().await.unwrap() {
                return *offer;
            }
        }
    }

    pub async fn question(&mut self) -> Question {
        loop {
            if let ToWorker::Question(question) = self.hear().await.unwrap() {
                return question;
            }
        }
    }

    /// Waits until it is told that a claim has a state.
    pub async fn told(&mut self, state: ClaimState) -> Update {
        loop {
            if let ToWorker::Update(update) = self.hear().await.unwrap()
                && update.state == state
            {
                return update;
            }
        }
    }

    pub fn claim(&self, offer: &Offer) -> Claim {
        Claim {
            request: offer.job.request,
            attempt: offer.job.attempt,
            worker: self.provider,
            model: offer.model.id,
            inputs: offer.inputs,
            outputs: outputs_hash(&[toy::output_commitment(&toy::OUTPUT)]),
            bound_trace: bound_trace(self.provider, merkle::root(&toy::trace_commitments())),
            profile: Profile::FAST.encode(),
            poster: offer.poster,
            valid_until: offer.valid_until_max,
        }
    }

    pub fn result(&self, offer: &Offer) -> RunResult {
        let digest = self.claim(offer).digest(&self.domain);
        RunResult {
            job: offer.job,
            output: toy::OUTPUT.to_vec(),
            trace_root: merkle::root(&toy::trace_commitments()),
            valid_until: offer.valid_until_max,
            signature: signature::sign(&self.key, digest).unwrap(),
        }
    }

    pub fn commitments(offer: &Offer) -> FromWorker {
        FromWorker::Commitments(Commitments {
            job: offer.job,
            trace: toy::trace_commitments(),
        })
    }

    /// Uploads values under their commitments, or under a wrong one.
    pub async fn upload(&mut self, job: Job, values: &[(Vec<u32>, Vec<u8>)], lie: Option<B256>) -> Result<u32, Status> {
        let mut parts = Vec::new();
        for (dims, bytes) in values {
            let commitment = lie.unwrap_or_else(|| tensor::commit(Dtype::F32, dims, bytes).unwrap());
            let value = ValueHeader {
                commitment,
                dtype: Dtype::F32,
                dims: dims.clone(),
                length: bytes.len() as u64,
            };
            parts.push(Upload::Header(UploadHeader {
                session: self.session,
                job,
                value,
            }));
            parts.extend(bytes.chunks(CHUNK_BYTES).map(|chunk| Upload::Chunk(chunk.to_vec())));
        }
        let parts = iter(parts).map(pb::UploadRequest::from);
        Ok(self.client.upload(parts).await?.into_inner().values)
    }

    /// Everything from an offer to the result, honestly.
    pub async fn work(&mut self, offer: &Offer) {
        self.say(FromWorker::Accept(offer.job)).await;
        self.say(Self::commitments(offer)).await;
        let job = offer.job;
        assert_eq!(self.upload(job, &toy::trace(), None).await.unwrap(), 2);
        self.say(FromWorker::Result(self.result(offer))).await;
    }
}
