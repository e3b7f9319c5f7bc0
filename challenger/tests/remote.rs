//! The gRPC client against servers that lie, flood, fall silent and stop.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../crates/service/tests/common/certificates.rs"]
mod certificates;

use std::{pin::Pin, time::Duration};

use alloy_primitives::{B256, keccak256};
use certificates::Authority;
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};
use touchstone_challenger::remote::{Coordinator, Remote, RemoteError, Wanted};
use touchstone_protocol::{descriptor::Dtype, tensor::TensorTree};
use touchstone_service::{
    CoordinatorAddress,
    files::{FileCache, FileError},
};
use touchstone_wire::{
    limits::CHUNK_BYTES,
    proto::{
        challenger::v1::{
            ClaimUpdate, FetchValueRequest, FetchValueResponse, GetLayerRequest, GetLayerResponse, GetTraceRequest,
            GetTraceResponse, ValueHeader, WatchClaimsRequest,
            challenger_service_server::{ChallengerService, ChallengerServiceServer},
            fetch_value_response::Part,
        },
        model::v1::{
            FetchFileRequest, FetchFileResponse,
            model_service_server::{ModelService, ModelServiceServer},
        },
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Honest,
    OtherBytes,
    OtherShape,
    TooMany,
    TooFew,
    NoHeader,
    Silent,
}

#[derive(Clone, Copy)]
struct Fake(Way);

type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn value() -> TensorTree {
    let bytes: Vec<u8> = (0..CHUNK_BYTES + 4).map(|i| i as u8).collect();
    TensorTree::new(Dtype::F32, &[(CHUNK_BYTES / 4 + 1) as u32], bytes).unwrap()
}

const FILE: &[u8] = b"a model file";

/// A stream of these parts; a silent one never ends.
fn parts<T: Send + 'static>(way: Way, parts: Vec<T>) -> Response<Parts<T>> {
    let given = tokio_stream::iter(parts.into_iter().map(Ok));
    match way {
        Way::Silent => Response::new(Box::pin(tokio_stream::pending())),
        _ => Response::new(Box::pin(given)),
    }
}

#[tonic::async_trait]
impl ChallengerService for Fake {
    type WatchClaimsStream = Parts<ClaimUpdate>;

    async fn watch_claims(&self, _: Request<WatchClaimsRequest>) -> Result<Response<Self::WatchClaimsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_trace(&self, _: Request<GetTraceRequest>) -> Result<Response<GetTraceResponse>, Status> {
        let commitment = if self.0 == Way::TooFew {
            vec![1; 31]
        } else {
            vec![1; 32]
        };
        match self.0 {
            Way::Silent => std::future::pending().await,
            _ => Ok(Response::new(GetTraceResponse {
                trace_root: vec![0; 32],
                commitments: vec![commitment],
            })),
        }
    }

    async fn get_layer(&self, _: Request<GetLayerRequest>) -> Result<Response<GetLayerResponse>, Status> {
        Err(Status::not_found("not yet"))
    }

    type FetchValueStream = Parts<FetchValueResponse>;

    async fn fetch_value(&self, _: Request<FetchValueRequest>) -> Result<Response<Self::FetchValueStream>, Status> {
        let value = value();
        let mut bytes = value.bytes().to_vec();
        let mut dims = value.dims().to_vec();
        match self.0 {
            Way::OtherBytes => bytes[7] ^= 1,
            Way::OtherShape => dims.push(1),
            _ => {}
        }
        let length = bytes.len() as u64;
        let header = ValueHeader {
            commitment: value.commitment().to_vec(),
            dtype: 1,
            dims,
            length,
        };
        let mut all: Vec<Part> = vec![Part::Header(header)];
        all.extend(bytes.chunks(CHUNK_BYTES).map(|chunk| Part::Chunk(chunk.to_vec())));
        match self.0 {
            Way::TooMany => all.insert(1, Part::Chunk(vec![0; 8])),
            Way::TooFew => all.truncate(2),
            Way::NoHeader => drop(all.remove(0)),
            _ => {}
        }
        Ok(parts(
            self.0,
            all.into_iter()
                .map(|part| FetchValueResponse { part: Some(part) })
                .collect(),
        ))
    }
}

#[tonic::async_trait]
impl ModelService for Fake {
    type FetchFileStream = Parts<FetchFileResponse>;

    async fn fetch_file(&self, _: Request<FetchFileRequest>) -> Result<Response<Self::FetchFileStream>, Status> {
        let length = FILE.len() as u64;
        let part = |chunk: &[u8]| FetchFileResponse {
            length,
            chunk: chunk.to_vec(),
        };
        let mut all = vec![part(&FILE[..5]), part(&FILE[5..])];
        match self.0 {
            Way::OtherBytes => all[0].chunk[0] ^= 1,
            Way::TooMany => all.push(part(FILE)),
            Way::TooFew => all.truncate(1),
            _ => {}
        }
        Ok(parts(self.0, all))
    }
}

fn dial(url: &str) -> Coordinator {
    let address = CoordinatorAddress::new(url, None, false).unwrap();
    Coordinator::new(&address, Duration::from_millis(500)).unwrap()
}

async fn file(remote: &Coordinator) -> Result<Vec<u8>, FileError> {
    let folder = tempfile::tempdir().unwrap();
    let cache = FileCache::new(folder.path().into(), &[]).unwrap();
    cache.get(keccak256(FILE), remote).await
}

async fn serve(way: Way) -> Coordinator {
    dial(&format!("http://{}", listen(way, Server::builder()).await))
}

/// The address of a server.
async fn listen(way: Way, mut server: Server) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = server
        .add_service(ChallengerServiceServer::new(Fake(way)))
        .add_service(ModelServiceServer::new(Fake(way)));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn wanted() -> Wanted {
    let value = value();
    Wanted {
        commitment: value.commitment(),
        dtype: value.dtype(),
        dims: value.dims().to_vec(),
    }
}

#[tokio::test]
async fn an_honest_one_is_heard() {
    let remote = serve(Way::Honest).await;
    assert_eq!(remote.value(&wanted()).await.unwrap(), value());
    assert_eq!(file(&remote).await.unwrap(), FILE);
    assert_eq!(remote.trace(B256::ZERO).await.unwrap(), [B256::repeat_byte(1)]);
    assert!(matches!(
        remote.layer(B256::ZERO, 0).await,
        Err(RemoteError::NotFound { .. })
    ));
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_refused() {
    for way in [
        Way::OtherBytes,
        Way::OtherShape,
        Way::TooMany,
        Way::TooFew,
        Way::NoHeader,
    ] {
        let remote = serve(way).await;
        let error = remote.value(&wanted()).await.unwrap_err();
        assert!(matches!(error, RemoteError::Wrong { .. }), "{way:?}: {error}");
        if matches!(way, Way::OtherBytes | Way::TooMany | Way::TooFew) {
            let error = file(&remote).await.unwrap_err();
            assert!(
                matches!(error, FileError::Digest { .. } | FileError::Protocol { .. }),
                "{way:?}: {error}"
            );
        }
    }
    let error = serve(Way::TooFew).await.trace(B256::ZERO).await.unwrap_err();
    assert!(matches!(error, RemoteError::Wrong { .. }), "{error}");
}

#[tokio::test]
async fn whoever_is_silent_or_gone_is_unavailable_in_time() {
    let silent = serve(Way::Silent).await;
    let gone = dial("http://127.0.0.1:1");
    for remote in [&silent, &gone] {
        for error in [
            remote.trace(B256::ZERO).await.unwrap_err(),
            remote.value(&wanted()).await.unwrap_err(),
        ] {
            assert!(matches!(error, RemoteError::Unavailable { .. }), "{error}");
        }
        let error = file(remote).await.unwrap_err();
        assert!(matches!(error, FileError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn over_tls_only_whom_our_authority_certified_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (
        Authority::new(folder.path(), "ours"),
        Authority::new(folder.path(), "others"),
    );
    let server = Server::builder().tls_config(ours.server_tls(folder.path())).unwrap();
    let url = format!("https://{}", listen(Way::Honest, server).await);
    let dial = |authority: &Authority| {
        let address = CoordinatorAddress::new(&url, Some(authority.file.clone()), false).unwrap();
        Coordinator::new(&address, Duration::from_secs(5)).unwrap()
    };
    assert_eq!(dial(&ours).value(&wanted()).await.unwrap(), value());
    assert_eq!(file(&dial(&ours)).await.unwrap(), FILE);
    let error = dial(&others).value(&wanted()).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unavailable { .. }), "{error}");
}
