//! What a coordinator is asked for. Nothing of it is believed: every answer is bound by a hash that is on chain.

use std::{fmt, time::Duration};

use alloy_primitives::B256;
use tonic::{Code, Status, transport::Channel};
use touchstone_protocol::{descriptor::Dtype, tensor::TensorTree};
use touchstone_service::{
    CoordinatorAddress,
    files::{Chunks, ModelService, Source},
};
use touchstone_wire::{
    challenger::{Layer, Trace},
    limits,
    proto::challenger::v1::{
        FetchValueRequest, GetLayerRequest, GetTraceRequest, challenger_service_client::ChallengerServiceClient,
        fetch_value_response::Part,
    },
    value::{Assembly, ValueHeader},
};

pub use touchstone_service::files::Later;

/// Why there is no answer. All of it is tried again while there is time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answered, or not in time.
    #[error("{what}: {why}")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// They do not have it.
    #[error("{what}: not there")]
    NotFound {
        /// What was asked.
        what: &'static str,
    },
    /// The answer is not what was asked for.
    #[error("{what}: the answer is wrong: {why}")]
    Wrong {
        /// What was asked.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// A value as it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its commitment.
    pub commitment: B256,
    /// Its element type by the plan.
    pub dtype: Dtype,
    /// Its shape by the plan.
    pub dims: Vec<u32>,
}

/// Whoever has the values of claims, and model files.
pub trait Remote: Source {
    /// Commitments of a claim's trace; not checked against the claim.
    fn trace(&self, claim: B256) -> Later<'_, Result<Vec<B256>, RemoteError>>;
    /// Commitments of a layer's inner values; not checked.
    fn layer(&self, claim: B256, layer: u32) -> Later<'_, Result<Vec<B256>, RemoteError>>;
    /// A value, checked against its commitment, dtype and shape.
    fn value<'a>(&'a self, wanted: &'a Wanted) -> Later<'a, Result<TensorTree, RemoteError>>;
}

/// A coordinator's services. The connection is made when it is first needed, and again after it was lost.
#[derive(Clone, Debug)]
pub struct Coordinator {
    channel: Channel,
    /// A call, or the wait for the next part of a stream, that takes longer has failed.
    timeout: Duration,
}

/// No coordinator at all: everything comes from the chain and own runs.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Coordinator {
    /// Prepares the connection.
    ///
    /// # Errors
    /// The file of its certificate authority cannot be read.
    pub fn new(address: &CoordinatorAddress, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            channel: address.channel(limits::CONNECT_TIMEOUT.min(timeout))?,
            timeout,
        })
    }

    fn challenger(&self) -> ChallengerServiceClient<Channel> {
        ChallengerServiceClient::new(self.channel.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, RemoteError> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        let unavailable = |why: String| RemoteError::Unavailable { what, why };
        answer
            .map_err(|_| unavailable(format!("no answer within {:?}", self.timeout)))?
            .map_err(|status| match status.code() {
                Code::NotFound => RemoteError::NotFound { what },
                code => unavailable(format!("{code:?}: {}", status.message())),
            })
    }
}

fn wrong(what: &'static str, why: impl fmt::Display) -> RemoteError {
    RemoteError::Wrong {
        what,
        why: why.to_string(),
    }
}

impl Remote for Coordinator {
    fn trace(&self, claim: B256) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Box::pin(async move {
            let what = "trace commitments";
            let request = GetTraceRequest { claim: claim.to_vec() };
            let answer = self.ask(what, self.challenger().get_trace(request)).await?;
            let Trace { commitments, .. } = answer.into_inner().try_into().map_err(|error| wrong(what, error))?;
            Ok(commitments)
        })
    }

    fn layer(&self, claim: B256, layer: u32) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Box::pin(async move {
            let what = "layer commitments";
            let request = GetLayerRequest {
                claim: claim.to_vec(),
                layer,
            };
            let answer = self.ask(what, self.challenger().get_layer(request)).await?;
            let Layer { commitments, .. } = answer.into_inner().try_into().map_err(|error| wrong(what, error))?;
            Ok(commitments)
        })
    }

    fn value<'a>(&'a self, wanted: &'a Wanted) -> Later<'a, Result<TensorTree, RemoteError>> {
        Box::pin(async move {
            let what = "value";
            let request = FetchValueRequest {
                commitment: wanted.commitment.to_vec(),
                offset: 0,
            };
            let mut parts = self
                .ask(what, self.challenger().fetch_value(request))
                .await?
                .into_inner();
            let first = self.ask(what, parts.message()).await?.and_then(|part| part.part);
            let Some(Part::Header(header)) = first else {
                return Err(wrong(what, "it does not begin with a header"));
            };
            let header = ValueHeader::try_from(header).map_err(|error| wrong(what, error))?;
            if header.dtype != wanted.dtype || header.dims != wanted.dims {
                return Err(wrong(
                    what,
                    format!(
                        "{:?} {:?}, the plan has {:?} {:?}",
                        header.dtype, header.dims, wanted.dtype, wanted.dims
                    ),
                ));
            }
            let mut assembly = Assembly::new(header);
            while !assembly.complete() {
                match self.ask(what, parts.message()).await?.and_then(|part| part.part) {
                    Some(Part::Chunk(chunk)) => assembly.push(&chunk).map_err(|error| wrong(what, error))?,
                    _ => return Err(wrong(what, "it ends early")),
                }
            }
            let (header, bytes) = assembly.finish().map_err(|error| wrong(what, error))?;
            let tree = TensorTree::new(header.dtype, &header.dims, bytes).map_err(|error| wrong(what, error))?;
            match tree.commitment() {
                actual if actual == wanted.commitment => Ok(tree),
                actual => Err(wrong(
                    what,
                    format!("its commitment is {actual}, asked for was {}", wanted.commitment),
                )),
            }
        })
    }
}

impl Source for Coordinator {
    fn open(&self, digest: B256, offset: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        Box::pin(async move {
            let service = ModelService {
                channel: self.channel.clone(),
                timeout: self.timeout,
            };
            service.open(digest, offset).await
        })
    }
}

impl Nobody {
    fn refuse<'a, T: Send + 'a>(what: &'static str) -> Later<'a, Result<T, RemoteError>> {
        Box::pin(std::future::ready(Err(RemoteError::Unavailable {
            what,
            why: "no coordinator is configured".into(),
        })))
    }
}

impl Remote for Nobody {
    fn trace(&self, _: B256) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Self::refuse("trace commitments")
    }

    fn layer(&self, _: B256, _: u32) -> Later<'_, Result<Vec<B256>, RemoteError>> {
        Self::refuse("layer commitments")
    }

    fn value<'a>(&'a self, _: &'a Wanted) -> Later<'a, Result<TensorTree, RemoteError>> {
        Self::refuse("value")
    }
}

impl Source for Nobody {
    fn open(&self, _: B256, _: u64) -> Later<'_, Result<Box<dyn Chunks>, String>> {
        Box::pin(std::future::ready(Err("no coordinator is configured".to_owned())))
    }
}
