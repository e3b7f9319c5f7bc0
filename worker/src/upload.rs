//! Sending values to the coordinator, so that challengers can fetch them. Nobody's safety rests on it.

use std::time::Duration;

use alloy_primitives::B256;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};
use touchstone_protocol::descriptor::Place;
use touchstone_wire::{
    limits,
    proto::worker::v1::{UploadRequest, worker_service_client::WorkerServiceClient},
    value::ValueHeader,
    worker::{Job, Upload, UploadHeader, Welcome},
};

use crate::store::{Store, StoreError};

/// All values of one upload.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Why values were not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The coordinator did not take them.
    #[error("coordinator: {0}")]
    Status(#[from] Box<tonic::Status>),
    /// It took too long.
    #[error("not done in {UPLOAD_TIMEOUT:?}")]
    Timeout,
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Pauses before an upload is tried again: it may have overtaken the message that announces its commitments.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Uploads stored values of a job's claim with their commitments; too large ones are left out.
pub(crate) async fn upload(
    channel: &Channel,
    store: &Store,
    welcome: &Welcome,
    of: (Job, B256),
    layer: u32,
    values: &[(Place, B256)],
) -> Result<(), UploadError> {
    for pause in PAUSES {
        match attempt(channel, store, welcome, of, layer, values.to_vec()).await {
            Err(UploadError::Status(status)) if matches!(status.code(), Code::PermissionDenied | Code::Unavailable) => {
                tracing::debug!(request = %of.0.request, message = status.message(), "upload tried again");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
    attempt(channel, store, welcome, of, layer, values.to_vec()).await
}

async fn attempt(
    channel: &Channel,
    store: &Store,
    welcome: &Welcome,
    (job, claim): (Job, B256),
    layer: u32,
    values: Vec<(Place, B256)>,
) -> Result<(), UploadError> {
    if values.is_empty() {
        return Ok(());
    }
    let (sender, receiver) = tokio::sync::mpsc::channel::<UploadRequest>(4);
    let (store, welcome) = (store.clone(), welcome.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut total = 0u64;
        for (place, commitment) in values {
            let Some(value) = store.select_value(claim, layer, place)? else {
                continue;
            };
            let length = value.bytes.len() as u64;
            total += length;
            if length > welcome.max_value_bytes || total > welcome.max_job_bytes {
                tracing::warn!(
                    ?place,
                    length,
                    "value not uploaded, it is beyond the coordinator's limits"
                );
                continue;
            }
            let header = ValueHeader {
                commitment,
                dtype: value.dtype,
                dims: value.dims.clone(),
                length,
            };
            let header = Upload::Header(UploadHeader {
                session: welcome.session,
                job,
                value: header,
            });
            let chunks = value
                .bytes
                .chunks(limits::CHUNK_BYTES)
                .map(|chunk| Upload::Chunk(chunk.to_vec()));
            for part in std::iter::once(header).chain(chunks) {
                if sender.blocking_send(part.into()).is_err() {
                    // The call is over; its status says why.
                    return Ok(());
                }
            }
        }
        Ok::<(), StoreError>(())
    });
    let mut client = WorkerServiceClient::new(channel.clone()).max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let call = tokio::time::timeout(UPLOAD_TIMEOUT, client.upload(ReceiverStream::new(receiver))).await;
    call.map_err(|_| UploadError::Timeout)?.map_err(Box::new)?;
    match reading.await {
        Ok(read) => Ok(read?),
        // The reader has been cancelled with the runtime: nothing is lost, uploads are repeated.
        Err(_) => Err(UploadError::Timeout),
    }
}
