//! Sessions and uploads of workers.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::{timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use touchstone_chain::{B256, ChainError, bindings::IMarket, signature};
use touchstone_wire::{
    limits,
    proto::worker::v1 as pb,
    worker::{Challenge, FromWorker, Hello, ToWorker, Upload, Welcome},
};

use super::{Answers, Shared, offer, take, unavailable};
use crate::{
    clock,
    sessions::Session,
    upload::Receiver,
    worker::{self, Refusal},
};

/// Messages to a worker that it has not read.
const OUTGOING: usize = 64;
/// Seconds' worth of messages that may come at once.
const BURST: f64 = 4.0;
/// KiB of uploads in flight of one worker.
const UPLOAD_KIB: usize = 320 << 10;

/// `touchstone.worker.v1.WorkerService`.
#[derive(Clone, Debug)]
pub struct Workers(pub Shared);

#[tonic::async_trait]
impl pb::worker_service_server::WorkerService for Workers {
    type SessionStream = Answers<pb::CoordinatorMessage>;

    async fn session(
        &self,
        request: Request<Streaming<pb::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let permit = take(&self.0.session_quota, "sessions", &request)?;
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let shared = self.0.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let Err(status) = run(&shared, request.into_inner(), &sender).await;
            tracing::info!(code = ?status.code(), reason = status.message(), "session ended");
            let _ = timeout(Duration::from_secs(1), sender.send(Err(status))).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<pb::UploadRequest>>,
    ) -> Result<Response<pb::UploadResponse>, Status> {
        let mut incoming = request.into_inner();
        let mut receiver = Receiver::new(self.0.clone());
        loop {
            let deadline = receiver.deadline(Instant::now() + self.0.patience());
            let message = timeout_at(deadline.into(), incoming.message())
                .await
                .map_err(|_| Status::deadline_exceeded("the upload is too slow"))??;
            let Some(message) = message else { break };
            receiver.take(Upload::try_from(message)?).await?;
        }
        Ok(Response::new(pb::UploadResponse {
            values: receiver.finish()?,
        }))
    }
}

/// Never returns without a reason.
type Ended = Result<std::convert::Infallible, Status>;

async fn run(
    shared: &Shared,
    mut incoming: Streaming<pb::WorkerMessage>,
    sender: &mpsc::Sender<Result<pb::CoordinatorMessage, Status>>,
) -> Ended {
    let challenge = Challenge {
        coordinator: shared.poster,
        nonce: signature::nonce(),
        chain_id: shared.domain.chain_id,
        market: shared.deployment.market,
    };
    let nonce = challenge.nonce;
    let patience = shared.patience();
    send(sender, ToWorker::Challenge(challenge), patience).await?;
    let hello = Duration::from_secs(shared.limits.hello_seconds.into());
    let first = timeout(hello, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello came"))??
        .ok_or_else(gone)?;
    let FromWorker::Hello(hello) = FromWorker::try_from(first)? else {
        return Err(Status::failed_precondition("the first message must be hello"));
    };
    authenticate(shared, &hello, nonce).await?;
    let (outgoing, orders) = mpsc::channel(OUTGOING);
    let session = Arc::new(Session {
        worker: hello.provider,
        node: hello.node,
        token: signature::nonce(),
        models: hello.models.iter().copied().collect(),
        capacity: hello.capacity.into(),
        outgoing,
        upload: Arc::new(Semaphore::new(UPLOAD_KIB)),
        end: CancellationToken::new(),
    });
    tracing::info!(worker = %session.worker, node = %session.node, capacity = session.capacity, software = hello.software, "worker connected");
    shared.sessions.insert(Arc::clone(&session));
    let Err(status) = serve(shared, &session, incoming, orders, sender).await;
    if shared.sessions.remove(&session) {
        // The offers lapse by themselves too; this only spares the next worker the wait.
        if let Err(error) = crate::db::leases::update_abandoned(&shared.db, session.worker).await {
            tracing::warn!(worker = %session.worker, %error, "offers not withdrawn");
        }
    }
    tracing::info!(worker = %session.worker, "worker disconnected");
    shared.changed();
    Err(status)
}

/// The node key signed the challenge, and the chain says that it is the provider's.
async fn authenticate(shared: &Shared, hello: &Hello, nonce: B256) -> Result<(), Status> {
    let Hello {
        provider,
        node,
        signature,
        ..
    } = hello;
    let digest = signature::hello_digest(
        shared.domain.chain_id,
        shared.domain.market,
        *provider,
        *node,
        shared.poster,
        nonce,
    );
    if signature::recover(digest, signature) != Some(*node) {
        return Err(Status::unauthenticated(format!(
            "the hello is not signed by node key {node}"
        )));
    }
    let unavailable = |error: ChainError| {
        tracing::warn!(%error, "provider not read");
        Status::unavailable("the chain gave no answer, try again")
    };
    let head = shared.reader.head().await.map_err(unavailable)?;
    let call = IMarket::providerOfCall { provider: *provider };
    let on_chain = shared
        .reader
        .call(shared.deployment.market, &call, head.hash)
        .await
        .map_err(unavailable)?;
    if on_chain.node != *node {
        return Err(Status::unauthenticated(format!(
            "provider {provider} has node key {} on chain, not {node}",
            on_chain.node
        )));
    }
    Ok(())
}

async fn serve(
    shared: &Shared,
    session: &Arc<Session>,
    mut incoming: Streaming<pb::WorkerMessage>,
    mut orders: mpsc::Receiver<ToWorker>,
    sender: &mpsc::Sender<Result<pb::CoordinatorMessage, Status>>,
) -> Ended {
    let welcome = Welcome {
        session: session.token,
        max_value_bytes: shared.max_value_bytes,
        max_job_bytes: shared.max_job_bytes,
    };
    let patience = shared.patience();
    let rate = shared.limits.max_message_rate;
    send(sender, ToWorker::Welcome(welcome), patience).await?;
    let mut news = News::default();
    let mut bucket = Bucket::new(rate, Instant::now());
    let mut changes = shared.changes.subscribe();
    changes.mark_changed();
    shared.changed();
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return Err(Status::unavailable("the coordinator is shutting down")),
            () = session.end.cancelled() => return Err(Status::aborted("another session of this provider began")),
            Some(order) = orders.recv() => send(sender, order, patience).await?,
            changed = changes.changed() => {
                changed.map_err(|_| Status::unavailable("the coordinator is shutting down"))?;
                for message in news.collect(shared, session).await.map_err(unavailable)? {
                    send(sender, message, patience).await?;
                }
            }
            message = incoming.message() => {
                let message = message?.ok_or_else(gone)?;
                if !bucket.take(Instant::now()) {
                    return Err(Status::resource_exhausted(format!("more than {rate} messages a second")));
                }
                let message = FromWorker::try_from(message)?;
                worker::handle(shared, session, message, clock::now()).await.map_err(|refusal| {
                    tracing::warn!(worker = %session.worker, %refusal, "message refused");
                    Status::from(refusal)
                })?;
            }
        }
    }
}

/// A worker that does not read for this long is gone; its session would hold up nobody else meanwhile.
async fn send(
    sender: &mpsc::Sender<Result<pb::CoordinatorMessage, Status>>,
    message: ToWorker,
    patience: Duration,
) -> Result<(), Status> {
    match offer(sender, Ok(message.into()), patience).await {
        true => Ok(()),
        false => Err(Status::cancelled("the worker does not read")),
    }
}

fn gone() -> Status {
    Status::cancelled("the worker closed the session")
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::SecondHello | Refusal::Lease(_) | Refusal::TooLate => Status::failed_precondition(text),
            Refusal::ForeignJob | Refusal::ForeignClaim(_) => Status::permission_denied(text),
            Refusal::Result(_) | Refusal::Answer(_) | Refusal::TraceLength { .. } => Status::invalid_argument(text),
            Refusal::Unavailable(error) => unavailable(error),
        }
    }
}

/// What the worker has been told in this session; a new session is told everything again.
#[derive(Debug, Default)]
struct News {
    told: HashMap<B256, touchstone_wire::worker::ClaimState>,
    asked: HashSet<(B256, B256)>,
}

impl News {
    async fn collect(&mut self, shared: &Shared, session: &Session) -> Result<Vec<ToWorker>, crate::db::DbError> {
        let mut messages = Vec::new();
        for question in worker::questions(shared, session.worker).await? {
            if self.asked.insert((question.dispute, question.state)) {
                tracing::info!(dispute_id = %question.dispute, worker = %session.worker, "worker asked");
                messages.push(ToWorker::Question(question));
            }
        }
        for update in worker::updates(shared, session.worker).await? {
            if self.told.insert(update.claim, update.state) != Some(update.state) {
                messages.push(ToWorker::Update(update));
            }
        }
        Ok(messages)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    /// A second.
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self {
            rate,
            tokens: BURST * rate,
            at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(BURST * self.rate);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

// A worker may have one value of the largest size in flight.
const _: () = assert!(UPLOAD_KIB * 1_024 > limits::CHUNK_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_heals() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50, start);
        assert!((0..200).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        let later = start + Duration::from_secs(1);
        assert!((0..50).all(|_| bucket.take(later)));
        assert!(!bucket.take(later));
    }
}
