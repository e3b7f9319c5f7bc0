//! Claims, commitments and values for challengers.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use touchstone_wire::{
    challenger::{ClaimStatus as WireStatus, ClaimUpdate, Layer, Trace, hash},
    proto::challenger::v1 as pb,
    worker::Job,
};

use super::{Answers, Shared, offer, stream_file, take, unavailable};
use crate::{
    db::{
        self, DbError,
        claims::{Claim, ClaimStatus},
    },
    quota::Permit,
};

/// Claims sent at once.
const PAGE: i64 = 64;

/// `touchstone.challenger.v1.ChallengerService`.
#[derive(Clone, Debug)]
pub struct Challengers(pub Shared);

#[tonic::async_trait]
impl pb::challenger_service_server::ChallengerService for Challengers {
    type WatchClaimsStream = Answers<pb::ClaimUpdate>;
    type FetchValueStream = Answers<pb::FetchValueResponse>;

    async fn watch_claims(
        &self,
        request: Request<pb::WatchClaimsRequest>,
    ) -> Result<Response<Self::WatchClaimsStream>, Status> {
        let permit = take(&self.0.reader_quota, "watches", &request)?;
        let pb::WatchClaimsRequest { cursor } = request.into_inner();
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(watch(self.0.clone(), cursor, (sender, permit)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_trace(&self, request: Request<pb::GetTraceRequest>) -> Result<Response<pb::GetTraceResponse>, Status> {
        let pb::GetTraceRequest { claim } = request.into_inner();
        let id = hash("claim", &claim)?;
        let claim = db::claims::select_claim(&self.0.db, id).await.map_err(unavailable)?;
        let claim = claim.ok_or_else(|| Status::not_found(format!("claim {id} is not known")))?;
        let commitments = trace(&self.0, &claim).await.map_err(unavailable)?;
        let commitments =
            commitments.ok_or_else(|| Status::not_found(format!("the trace of claim {id} is not here")))?;
        Ok(Response::new(
            Trace {
                trace_root: claim.trace_root,
                commitments,
            }
            .into(),
        ))
    }

    async fn get_layer(&self, request: Request<pb::GetLayerRequest>) -> Result<Response<pb::GetLayerResponse>, Status> {
        let pb::GetLayerRequest { claim, layer } = request.into_inner();
        let id = hash("claim", &claim)?;
        let mut db = self.0.db.acquire().await.map_err(|error| unavailable(error.into()))?;
        let answer = db::layers::select_layer(&mut db, id, layer)
            .await
            .map_err(unavailable)?;
        let answer = answer.ok_or_else(|| Status::not_found(format!("layer {layer} of claim {id} is not answered")))?;
        let db::layers::Layer {
            root,
            signature,
            commitments,
        } = answer;
        Ok(Response::new(
            Layer {
                root,
                signature,
                commitments,
            }
            .into(),
        ))
    }

    async fn fetch_value(
        &self,
        request: Request<pb::FetchValueRequest>,
    ) -> Result<Response<Self::FetchValueStream>, Status> {
        use pb::fetch_value_response::Part;
        let permit = take(&self.0.reader_quota, "downloads", &request)?;
        let pb::FetchValueRequest { commitment, offset } = request.into_inner();
        let commitment = hash("commitment", &commitment)?;
        let header = db::values::select_value(&self.0.db, commitment)
            .await
            .map_err(unavailable)?;
        let header = header.ok_or_else(|| Status::not_found(format!("value {commitment} is not here")))?;
        if offset > header.length {
            return Err(Status::out_of_range(format!(
                "offset {offset} of a value of {} bytes",
                header.length
            )));
        }
        let (sender, receiver) = mpsc::channel(4);
        let first = pb::FetchValueResponse {
            part: Some(Part::Header(header.into())),
        };
        // The channel is new: there is room.
        let _ = sender.try_send(Ok(first));
        let path = self.0.values.path(commitment);
        stream_file(path, offset, (sender, permit), self.0.patience(), |chunk| {
            pb::FetchValueResponse {
                part: Some(Part::Chunk(chunk)),
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Sends every claim that changed after the cursor, then waits for more, until nobody reads or the end.
async fn watch(
    shared: Shared,
    mut cursor: u64,
    (sender, _permit): (mpsc::Sender<Result<pb::ClaimUpdate, Status>>, Permit),
) {
    let patience = shared.patience();
    let mut changes = shared.changes.subscribe();
    loop {
        changes.mark_unchanged();
        loop {
            let page = match page(&shared, cursor).await {
                Ok(page) => page,
                Err(error) => {
                    offer(&sender, Err(unavailable(error)), patience).await;
                    return;
                }
            };
            let Some(last) = page.last() else { break };
            cursor = last.cursor;
            for update in page {
                if !offer(&sender, Ok(update.into()), patience).await {
                    return;
                }
            }
        }
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = sender.closed() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn page(shared: &Shared, cursor: u64) -> Result<Vec<ClaimUpdate>, DbError> {
    let mut updates = Vec::new();
    for claim in db::claims::select_changed(&shared.db, cursor, PAGE).await? {
        let known = trace(shared, &claim).await?.is_some();
        updates.push(ClaimUpdate {
            cursor: claim.change,
            claim: claim.id,
            request: claim.request,
            attempt: claim.attempt,
            worker: claim.worker,
            model: db::requests::select_request(&shared.db, claim.request)
                .await?
                .map(|request| request.model)
                .unwrap_or_default(),
            status: status(claim.status),
            window_ends: claim.window_end,
            trace_root: known.then_some(claim.trace_root),
        });
    }
    Ok(updates)
}

/// The trace commitments of a claim, if they are here and make up its trace root.
async fn trace(shared: &Shared, claim: &Claim) -> Result<Option<Vec<touchstone_chain::B256>>, DbError> {
    let job = Job {
        request: claim.request,
        attempt: claim.attempt,
    };
    let commitments = db::trace::select_trace(&shared.db, job, claim.worker).await?;
    Ok((touchstone_protocol::merkle::root(&commitments) == claim.trace_root).then_some(commitments))
}

fn status(status: ClaimStatus) -> WireStatus {
    match status {
        ClaimStatus::Open => WireStatus::Open,
        ClaimStatus::Final => WireStatus::Final,
        ClaimStatus::Struck => WireStatus::Struck,
        ClaimStatus::Void => WireStatus::Void,
        ClaimStatus::Orphaned => WireStatus::Orphaned,
    }
}
