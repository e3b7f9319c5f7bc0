//! Model files by digest.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use touchstone_wire::{
    challenger::hash,
    proto::model::v1::{FetchFileRequest, FetchFileResponse, model_service_server::ModelService},
};

use super::{Answers, Shared, stream_file, take};

/// `touchstone.model.v1.ModelService`.
#[derive(Clone, Debug)]
pub struct Models(pub Shared);

#[tonic::async_trait]
impl ModelService for Models {
    type FetchFileStream = Answers<FetchFileResponse>;

    async fn fetch_file(&self, request: Request<FetchFileRequest>) -> Result<Response<Self::FetchFileStream>, Status> {
        let permit = take(&self.0.reader_quota, "downloads", &request)?;
        let FetchFileRequest { digest, offset } = request.into_inner();
        let digest = hash("digest", &digest)?;
        let Some((path, length)) = self.0.files.find(digest).await else {
            return Err(Status::not_found(format!("no model file has digest {digest}")));
        };
        if offset > length {
            return Err(Status::out_of_range(format!(
                "offset {offset} of a file of {length} bytes"
            )));
        }
        let (sender, receiver) = mpsc::channel(4);
        stream_file(path, offset, (sender, permit), self.0.patience(), move |chunk| {
            FetchFileResponse { length, chunk }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
