//! Takes values that workers upload: only those of their jobs, only within limits, only with the right commitment.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tonic::Status;
use touchstone_chain::{Address, B256};
use touchstone_wire::{
    value::Assembly,
    worker::{Job, Upload, UploadHeader},
};

use crate::{
    db::{self, DbError},
    grpc::{Shared, unavailable},
    values::ValueError,
};

/// How long an upload waits for the commitments that announce it.
const COMMITMENT_WAIT: Duration = Duration::from_secs(3);
/// How long an upload waits for memory that others use.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// One upload call.
#[derive(Debug)]
pub struct Receiver {
    shared: Shared,
    current: Option<Current>,
    stored: u32,
}

#[derive(Debug)]
struct Current {
    assembly: Assembly,
    job: Job,
    worker: Address,
    header: touchstone_wire::value::ValueHeader,
    /// The whole value has to be here by then.
    deadline: std::time::Instant,
    /// Memory of this value, of all uploads and of the worker's, given back when it is stored.
    _memory: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Receiver {
    /// Nothing received yet.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared,
            current: None,
            stored: 0,
        }
    }

    /// Takes the next part; what it completes is stored when it returns.
    pub async fn take(&mut self, part: Upload) -> Result<(), Status> {
        match part {
            Upload::Header(header) => {
                if self.current.is_some() {
                    return Err(Status::invalid_argument(
                        "a value begins before the last one is complete",
                    ));
                }
                self.current = Some(self.begin(header).await?);
            }
            Upload::Chunk(chunk) => {
                let current = self
                    .current
                    .as_mut()
                    .ok_or_else(|| Status::invalid_argument("a chunk comes before any header"))?;
                current.assembly.push(&chunk)?;
            }
        }
        if self.current.as_ref().is_some_and(|current| current.assembly.complete())
            && let Some(current) = self.current.take()
        {
            self.store(current).await?;
        }
        Ok(())
    }

    /// When the next part has to be here: at `next`, or earlier if the value as a whole is too slow.
    pub fn deadline(&self, next: std::time::Instant) -> std::time::Instant {
        self.current.as_ref().map_or(next, |current| current.deadline.min(next))
    }

    /// How many values were stored; an error if the last one is incomplete.
    pub fn finish(self) -> Result<u32, Status> {
        match self.current {
            Some(_) => Err(Status::invalid_argument("the last value is incomplete")),
            None => Ok(self.stored),
        }
    }

    async fn begin(&self, header: UploadHeader) -> Result<Current, Status> {
        let UploadHeader { session, job, value } = header;
        let shared = &self.shared;
        let session = shared
            .sessions
            .by_token(session)
            .ok_or_else(|| Status::unauthenticated("no such session"))?;
        if value.length > shared.max_value_bytes {
            return Err(Status::resource_exhausted(format!(
                "a value of {} bytes, the limit is {}",
                value.length, shared.max_value_bytes
            )));
        }
        if !self
            .expected(&value.commitment, job, session.worker)
            .await
            .map_err(unavailable)?
        {
            return Err(Status::permission_denied(format!(
                "{} is no value of a job of this worker",
                value.commitment
            )));
        }
        let used = db::values::select_job_bytes(&shared.db, job, session.worker)
            .await
            .map_err(unavailable)?;
        if used.saturating_add(value.length) > shared.max_job_bytes {
            return Err(Status::resource_exhausted(format!(
                "more than {} bytes for one job",
                shared.max_job_bytes
            )));
        }
        let kib = u32::try_from(value.length.div_ceil(1_024)).unwrap_or(u32::MAX);
        let memory = async {
            let own = Arc::clone(&session.upload).acquire_many_owned(kib).await;
            (own, Arc::clone(&shared.upload).acquire_many_owned(kib).await)
        };
        let memory = match timeout(MEMORY_WAIT, memory).await {
            Ok((Ok(own), Ok(all))) => (own, all),
            _ => return Err(Status::resource_exhausted("too many bytes of uploads in flight")),
        };
        Ok(Current {
            assembly: Assembly::new(value.clone()),
            job,
            worker: session.worker,
            deadline: self.deadline_of(value.length),
            header: value,
            _memory: memory,
        })
    }

    /// Memory that is held for a value is not held for ever.
    fn deadline_of(&self, length: u64) -> std::time::Instant {
        let seconds = length / u64::from(self.shared.limits.min_upload_rate);
        std::time::Instant::now() + self.shared.patience() + Duration::from_secs(seconds)
    }

    /// Whether the value is one of the job's. What the worker said just before, on its session, may still be on its way.
    async fn expected(&self, commitment: &B256, job: Job, worker: Address) -> Result<bool, DbError> {
        let mut changes = self.shared.changes.subscribe();
        let deadline = Instant::now() + COMMITMENT_WAIT;
        loop {
            changes.mark_unchanged();
            if db::leases::exists(&self.shared.db, job, worker).await?
                && db::values::is_of_job(&self.shared.db, *commitment, job, worker).await?
            {
                return Ok(true);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(false),
            }
        }
    }

    async fn store(&mut self, current: Current) -> Result<(), Status> {
        let Current {
            assembly,
            job,
            worker,
            header,
            deadline: _,
            _memory,
        } = current;
        let (_, bytes) = assembly.finish()?;
        // A value without uses is removed while nobody stores one.
        let _gate = self.shared.values.gate().read_owned().await;
        self.shared
            .values
            .write(&header, bytes)
            .await
            .map_err(|error| match error {
                ValueError::Commitment { .. } | ValueError::Tensor(_) => Status::invalid_argument(error.to_string()),
                ValueError::Io(_) | ValueError::Interrupted => {
                    tracing::warn!(%error, "value not stored");
                    Status::unavailable("the value could not be stored, try again")
                }
            })?;
        let mut db = self
            .shared
            .db
            .acquire()
            .await
            .map_err(|error| unavailable(error.into()))?;
        db::values::insert_value(&mut db, &header, job, worker)
            .await
            .map_err(unavailable)?;
        self.stored += 1;
        Ok(())
    }
}
