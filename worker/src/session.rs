//! The session with the coordinator: connect, prove the node key, take messages, reconnect.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming, transport::Channel};
use touchstone_chain::{Address, signature};
use touchstone_wire::{
    WireError, limits,
    proto::worker::v1::{CoordinatorMessage, WorkerMessage, worker_service_client::WorkerServiceClient},
    worker::{Challenge, FromWorker, Hello, ToWorker, Welcome},
};

use crate::{app::App, link::QUEUE};

/// First pause after a lost session; doubles up to the greatest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const GREATEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The coordinator serves another deployment: nothing it says is for us.
    #[error(
        "coordinator serves chain {chain_id} and market {market}, this worker signs for chain {own_chain_id} and market {own_market}"
    )]
    Foreign {
        /// Its chain.
        chain_id: u64,
        /// Its market.
        market: Address,
        /// Ours.
        own_chain_id: u64,
        /// Ours.
        own_market: Address,
    },
    /// The coordinator ended it, or cannot be reached.
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] Box<tonic::Status>),
    /// It sent what means nothing.
    #[error("message: {0}")]
    Message(#[from] WireError),
    /// It said nothing in time.
    #[error("no {0} in time")]
    Silent(&'static str),
    /// It said something out of turn.
    #[error("expected {0}")]
    Unexpected(&'static str),
    /// It closed the stream.
    #[error("closed by the coordinator")]
    Closed,
    /// The key could not sign.
    #[error(transparent)]
    Sign(#[from] signature::SignError),
}

impl SessionError {
    /// Whether the coordinator refused something that this session sent.
    fn refused(&self) -> bool {
        matches!(self, Self::Status(status) if matches!(
            status.code(),
            Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition | Code::ResourceExhausted
        ))
    }
}

/// Keeps a session open until shutdown. Returns early only when the coordinator is foreign.
pub(crate) async fn keep_open(app: Arc<App>, shutdown: CancellationToken) -> Result<(), SessionError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => {
                app.link.clear();
                return Ok(());
            }
            Err(ended) = session(&app) => ended,
        };
        let had_session = app.link.welcome().is_some();
        app.link.clear();
        if let SessionError::Foreign { .. } = ended {
            return Err(ended);
        }
        if ended.refused() {
            app.give_up_deliveries();
        }
        if had_session {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(error = %ended, pause_ms = pause.as_millis() as u64, "session ended");
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(GREATEST_PAUSE);
    }
}

type Inbound = Streaming<CoordinatorMessage>;

async fn session(app: &Arc<App>) -> Result<std::convert::Infallible, SessionError> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut inbound = open(&app.channel, receiver).await?;
    let challenge = challenge(&mut inbound).await?;
    let signer = &app.signer;
    if (challenge.chain_id, challenge.market) != (signer.domain.chain_id, signer.domain.market) {
        return Err(SessionError::Foreign {
            chain_id: challenge.chain_id,
            market: challenge.market,
            own_chain_id: signer.domain.chain_id,
            own_market: signer.domain.market,
        });
    }
    let (provider, node) = (signer.provider, signer.key.address());
    let Challenge {
        coordinator,
        nonce,
        chain_id,
        market,
    } = challenge;
    let digest = signature::hello_digest(chain_id, market, provider, node, coordinator, nonce);
    let hello = FromWorker::Hello(Hello {
        provider,
        node,
        signature: signature::sign(&signer.key, digest)?,
        models: app.library.served().to_vec(),
        capacity: app.config.capacity,
        software: concat!("touchstone-worker ", env!("CARGO_PKG_VERSION")).to_owned(),
    });
    sender.send(hello).await.map_err(|_| SessionError::Closed)?;
    let ToWorker::Welcome(welcome) = next(&mut inbound, "welcome").await? else {
        return Err(SessionError::Unexpected("welcome"));
    };
    let Welcome {
        max_value_bytes,
        max_job_bytes,
        ..
    } = welcome;
    tracing::info!(%coordinator, max_value_bytes, max_job_bytes, "session open");
    app.link.set(sender, welcome);
    app.resume();
    loop {
        match receive(&mut inbound).await? {
            ToWorker::Offer(offer) => app.offer(*offer).await,
            ToWorker::Question(question) => app.question(question),
            ToWorker::Update(update) => app.update(&update),
            ToWorker::Challenge(_) | ToWorker::Welcome(_) => {
                return Err(SessionError::Unexpected("an offer, a question or an update"));
            }
        }
    }
}

/// Opens the stream.
async fn open(channel: &Channel, outbound: mpsc::Receiver<FromWorker>) -> Result<Inbound, SessionError> {
    let mut client = WorkerServiceClient::new(channel.clone())
        .max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let outbound = ReceiverStream::new(outbound).map(WorkerMessage::from);
    let call = tokio::time::timeout(limits::CALL_TIMEOUT, client.session(outbound)).await;
    Ok(call
        .map_err(|_| SessionError::Silent("session"))?
        .map_err(Box::new)?
        .into_inner())
}

async fn challenge(inbound: &mut Inbound) -> Result<Challenge, SessionError> {
    match next(inbound, "challenge").await? {
        ToWorker::Challenge(challenge) => Ok(challenge),
        _ => Err(SessionError::Unexpected("challenge")),
    }
}

async fn next(inbound: &mut Inbound, what: &'static str) -> Result<ToWorker, SessionError> {
    tokio::time::timeout(limits::CALL_TIMEOUT, receive(inbound))
        .await
        .map_err(|_| SessionError::Silent(what))?
}

async fn receive(inbound: &mut Inbound) -> Result<ToWorker, SessionError> {
    let message = inbound.message().await.map_err(Box::new)?.ok_or(SessionError::Closed)?;
    Ok(ToWorker::try_from(message)?)
}

/// What a coordinator says of itself: for `check`.
pub(crate) async fn ask_challenge(channel: &Channel) -> Result<Challenge, SessionError> {
    // The sender lives as long as the question.
    let (_sender, receiver) = mpsc::channel(1);
    challenge(&mut open(channel, receiver).await?).await
}
