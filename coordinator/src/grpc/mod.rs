//! The gRPC services: thin; each call converts, asks, converts back.

pub mod challenger;
pub mod model;
pub mod worker;

use std::{path::PathBuf, sync::Arc};

use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use touchstone_chain::{Address, ChainReader, event::Deployment};
use touchstone_protocol::claim::Domain;

use crate::{db::DbError, files::ModelFiles, sessions::Sessions, values::ValueStore};

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
}

impl Shared {
    /// Wakes whoever waits for a change.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A failure of ours: retry later. Details are for our log.
pub(crate) fn unavailable(error: DbError) -> Status {
    tracing::warn!(%error, "database not available to a call");
    Status::unavailable("the coordinator's database gave no answer, try again")
}

/// Reads a file chunk by chunk into a stream, until the end or until nobody reads.
pub(crate) fn stream_file<T: Send + 'static>(
    path: PathBuf,
    mut offset: u64,
    sender: mpsc::Sender<Result<T, Status>>,
    wrap: impl Fn(Vec<u8>) -> T + Send + 'static,
) {
    tokio::spawn(async move {
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
            if sender.send(message).await.is_err() || failed {
                return;
            }
        }
    });
}
