//! The gRPC services: thin; each call converts, asks, converts back.

pub mod challenger;
pub mod model;
pub mod worker;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use touchstone_chain::{Address, ChainReader, event::Deployment};
use touchstone_protocol::claim::Domain;

use crate::{
    db::DbError,
    files::ModelFiles,
    limits::Limits,
    quota::{Permit, Quota},
    sessions::Sessions,
    values::ValueStore,
};

/// A stream of answers.
pub(crate) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// What every service needs.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The database.
    pub db: PgPool,
    /// The chain.
    pub reader: ChainReader,
    /// The contracts.
    pub deployment: Deployment,
    /// Signing domain.
    pub domain: Domain,
    /// The coordinator's name, and payee of its share.
    pub poster: Address,
    /// Connected workers.
    pub sessions: Sessions,
    /// Values on disk.
    pub values: ValueStore,
    /// Model files.
    pub files: ModelFiles,
    /// Counts up whenever something may have changed.
    pub changes: watch::Sender<u64>,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// KiB of uploads in flight, of all workers.
    pub upload: Arc<Semaphore>,
    /// Seconds from acceptance to result.
    pub lease_seconds: u64,
    /// Depth of settled facts.
    pub confirmations: u64,
    /// Largest value.
    pub max_value_bytes: u64,
    /// Bytes of one job.
    pub max_job_bytes: u64,
    /// What peers may take.
    pub limits: Limits,
    /// Sessions in use.
    pub session_quota: Quota,
    /// Downloads and watches in use.
    pub reader_quota: Quota,
}

impl Shared {
    /// How long a peer may take for the next message.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.limits.slow_seconds.into())
    }

    /// Wakes whoever waits for a change.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Takes one of a quota for whoever asks.
pub(crate) fn take<T>(quota: &Quota, what: &str, request: &Request<T>) -> Result<Permit, Status> {
    // In a test without a network there is no address: it counts as this machine.
    let address = request
        .remote_addr()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    quota
        .take(address)
        .map_err(|exceeded| Status::resource_exhausted(format!("too many {what}: {exceeded}")))
}

/// Sends the next message of a stream. `false`: nobody reads, or not in time.
pub(crate) async fn offer<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    message: Result<T, Status>,
    patience: Duration,
) -> bool {
    sender.send_timeout(message, patience).await.is_ok()
}

/// A failure of ours: retry later. Details are for our log. A number that no row can hold is the caller's.
pub(crate) fn unavailable(error: DbError) -> Status {
    if let DbError::TooLarge { column } = error {
        return Status::invalid_argument(format!("a number is larger than any {column}"));
    }
    tracing::warn!(%error, "database not available to a call");
    Status::unavailable("the coordinator's database gave no answer, try again")
}

/// Reads a file chunk by chunk into a stream, until the end or until nobody reads; the permit is held as long.
pub(crate) fn stream_file<T: Send + 'static>(
    path: PathBuf,
    mut offset: u64,
    (sender, permit): (mpsc::Sender<Result<T, Status>>, Permit),
    patience: Duration,
    wrap: impl Fn(Vec<u8>) -> T + Send + 'static,
) {
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let from = path.clone();
            let read = tokio::task::spawn_blocking(move || crate::values::read_chunk(&from, offset)).await;
            let message = match read {
                Ok(Ok(chunk)) if chunk.is_empty() => return,
                Ok(Ok(chunk)) => {
                    offset += chunk.len() as u64;
                    Ok(wrap(chunk))
                }
                _ => Err(Status::unavailable("the file could not be read")),
            };
            let failed = message.is_err();
            if !offer(&sender, message, patience).await || failed {
                return;
            }
        }
    });
}
