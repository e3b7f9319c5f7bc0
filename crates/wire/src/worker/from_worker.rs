//! What a worker says, from the wire and to it.

use alloy_primitives::U256;

use super::{
    Answer, Commitments, FromWorker, Hello, Job, Progress, Refuse, RefuseReason, Reply, RunResult, Stage, Upload,
    UploadHeader,
};
use crate::{
    WireError,
    field::{address, at_most, clip, fixed, hash_bytes, hashes, required, text, uint, uint_bytes, word_bytes, words},
    limits,
    proto::worker::v1 as pb,
    value::ValueHeader,
};

impl From<Job> for pb::Job {
    fn from(job: Job) -> Self {
        let Job { request, attempt } = job;
        Self {
            request: uint_bytes(request),
            attempt,
        }
    }
}

pub(super) fn job(value: Option<pb::Job>) -> Result<Job, WireError> {
    let pb::Job { request, attempt } = required("job", value)?;
    Ok(Job {
        request: uint("job.request", &request)?,
        attempt,
    })
}

impl From<RefuseReason> for pb::RefuseReason {
    fn from(reason: RefuseReason) -> Self {
        match reason {
            RefuseReason::Busy => Self::Busy,
            RefuseReason::Draining => Self::Draining,
            RefuseReason::UnknownModel => Self::UnknownModel,
            RefuseReason::ModelMismatch => Self::ModelMismatch,
            RefuseReason::BadInput => Self::BadInput,
            RefuseReason::BadOffer => Self::BadOffer,
            RefuseReason::Failed => Self::Failed,
        }
    }
}

fn refuse_reason(value: i32) -> Result<RefuseReason, WireError> {
    match pb::RefuseReason::try_from(value) {
        Ok(pb::RefuseReason::Busy) => Ok(RefuseReason::Busy),
        Ok(pb::RefuseReason::Draining) => Ok(RefuseReason::Draining),
        Ok(pb::RefuseReason::UnknownModel) => Ok(RefuseReason::UnknownModel),
        Ok(pb::RefuseReason::ModelMismatch) => Ok(RefuseReason::ModelMismatch),
        Ok(pb::RefuseReason::BadInput) => Ok(RefuseReason::BadInput),
        Ok(pb::RefuseReason::BadOffer) => Ok(RefuseReason::BadOffer),
        Ok(pb::RefuseReason::Failed) => Ok(RefuseReason::Failed),
        Ok(pb::RefuseReason::Unspecified) | Err(_) => Err(WireError::Enum {
            field: "refuse.reason",
            value,
        }),
    }
}

impl From<Stage> for pb::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Fetching => Self::Fetching,
            Stage::Compiling => Self::Compiling,
            Stage::Running => Self::Running,
            Stage::Committing => Self::Committing,
            Stage::Uploading => Self::Uploading,
        }
    }
}

fn stage(value: i32) -> Result<Stage, WireError> {
    match pb::Stage::try_from(value) {
        Ok(pb::Stage::Fetching) => Ok(Stage::Fetching),
        Ok(pb::Stage::Compiling) => Ok(Stage::Compiling),
        Ok(pb::Stage::Running) => Ok(Stage::Running),
        Ok(pb::Stage::Committing) => Ok(Stage::Committing),
        Ok(pb::Stage::Uploading) => Ok(Stage::Uploading),
        Ok(pb::Stage::Unspecified) | Err(_) => Err(WireError::Enum {
            field: "progress.stage",
            value,
        }),
    }
}

impl From<FromWorker> for pb::WorkerMessage {
    fn from(message: FromWorker) -> Self {
        use pb::worker_message::Message;
        let message = match message {
            FromWorker::Hello(Hello {
                provider,
                node,
                signature,
                models,
                capacity,
                software,
            }) => Message::Hello(pb::Hello {
                provider: provider.to_vec(),
                node: node.to_vec(),
                signature: signature.to_vec(),
                models: hash_bytes(models),
                capacity,
                software: clip(software, limits::MAX_TEXT_BYTES),
            }),
            FromWorker::Accept(job) => Message::Accept(pb::Accept { job: Some(job.into()) }),
            FromWorker::Refuse(Refuse { job, reason, detail }) => Message::Refuse(pb::Refuse {
                job: Some(job.into()),
                reason: pb::RefuseReason::from(reason).into(),
                detail: clip(detail, limits::MAX_TEXT_BYTES),
            }),
            FromWorker::Progress(Progress { job, stage }) => Message::Progress(pb::Progress {
                job: Some(job.into()),
                stage: pb::Stage::from(stage).into(),
            }),
            FromWorker::Commitments(Commitments { job, trace }) => Message::Commitments(pb::Commitments {
                job: Some(job.into()),
                trace: hash_bytes(trace),
            }),
            FromWorker::Result(RunResult {
                job,
                output,
                trace_root,
                valid_until,
                signature,
            }) => Message::Result(pb::Result {
                job: Some(job.into()),
                output,
                trace_root: trace_root.to_vec(),
                valid_until,
                signature: signature.to_vec(),
            }),
            FromWorker::Answer(Answer {
                claim,
                dispute,
                state,
                reply,
            }) => Message::Answer(pb::Answer {
                claim: claim.to_vec(),
                dispute: dispute.to_vec(),
                state: state.to_vec(),
                answer: Some(reply.into()),
            }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<pb::WorkerMessage> for FromWorker {
    type Error = WireError;

    fn try_from(message: pb::WorkerMessage) -> Result<Self, WireError> {
        use pb::worker_message::Message;
        let pb::WorkerMessage { message } = message;
        Ok(match required("message", message)? {
            Message::Hello(pb::Hello {
                provider,
                node,
                signature,
                models,
                capacity,
                software,
            }) => {
                if capacity == 0 || capacity > limits::MAX_CAPACITY {
                    return Err(WireError::Range {
                        field: "hello.capacity",
                        value: capacity.into(),
                    });
                }
                Self::Hello(Hello {
                    provider: address("hello.provider", &provider)?,
                    node: address("hello.node", &node)?,
                    signature: fixed("hello.signature", &signature)?,
                    models: hashes("hello.models", models, limits::MAX_MODELS)?,
                    capacity,
                    software: text("hello.software", software, limits::MAX_TEXT_BYTES)?,
                })
            }
            Message::Accept(pb::Accept { job: value }) => Self::Accept(job(value)?),
            Message::Refuse(pb::Refuse {
                job: value,
                reason,
                detail,
            }) => Self::Refuse(Refuse {
                job: job(value)?,
                reason: refuse_reason(reason)?,
                detail: text("refuse.detail", detail, limits::MAX_TEXT_BYTES)?,
            }),
            Message::Progress(pb::Progress {
                job: value,
                stage: number,
            }) => Self::Progress(Progress {
                job: job(value)?,
                stage: stage(number)?,
            }),
            Message::Commitments(pb::Commitments { job: value, trace }) => Self::Commitments(Commitments {
                job: job(value)?,
                trace: hashes("commitments.trace", trace, limits::MAX_COMMITMENTS)?,
            }),
            Message::Result(pb::Result {
                job: value,
                output,
                trace_root,
                valid_until,
                signature,
            }) => Self::Result(RunResult {
                job: job(value)?,
                output: at_most("result.output", output, limits::MAX_INLINE_BYTES)?,
                trace_root: fixed("result.trace_root", &trace_root)?,
                valid_until,
                signature: fixed("result.signature", &signature)?,
            }),
            Message::Answer(pb::Answer {
                claim,
                dispute,
                state,
                answer,
            }) => Self::Answer(Answer {
                claim: fixed("answer.claim", &claim)?,
                dispute: fixed("answer.dispute", &dispute)?,
                state: fixed("answer.state", &state)?,
                reply: required("answer.answer", answer)?.try_into()?,
            }),
        })
    }
}

/// Words of the parts of one node.
const MAX_PARTS_WORDS: usize = limits::MAX_CHILDREN * limits::MAX_SUM_WORDS;

/// A header's words.
fn three(field: &'static str, bytes: &[u8]) -> Result<[U256; 3], WireError> {
    let words = words(field, bytes, 3)?;
    <[U256; 3]>::try_from(words).map_err(|words| WireError::Length {
        field,
        expected: 96,
        actual: 32 * words.len(),
    })
}

impl From<Reply> for pb::answer::Answer {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Reveal(children) => Self::Reveal(pb::RevealAnswer {
                children: hash_bytes(children),
            }),
            Reply::Layer {
                root,
                signature,
                commitments,
            } => Self::Layer(pb::LayerAnswer {
                root: root.to_vec(),
                signature: signature.to_vec(),
                commitments: hash_bytes(commitments),
            }),
            Reply::Defend(witness) => Self::Defend(pb::DefendAnswer { witness }),
            Reply::Total {
                witness,
                free,
                parts,
                signature,
            } => Self::Total(pb::TotalAnswer {
                witness,
                free: uint_bytes(free),
                parts: word_bytes(&parts),
                signature: signature.to_vec(),
            }),
            Reply::Split {
                header,
                sums,
                parts,
                signature,
            } => Self::Split(pb::SplitAnswer {
                header: word_bytes(&header),
                sums: word_bytes(&sums),
                parts: word_bytes(&parts),
                signature: signature.to_vec(),
            }),
            Reply::Prove { header, sums, witness } => Self::Prove(pb::ProveAnswer {
                header: word_bytes(&header),
                sums: word_bytes(&sums),
                witness,
            }),
            Reply::Unable(reason) => Self::Unable(pb::UnableAnswer {
                reason: clip(reason, limits::MAX_TEXT_BYTES),
            }),
        }
    }
}

impl TryFrom<pb::answer::Answer> for Reply {
    type Error = WireError;

    fn try_from(answer: pb::answer::Answer) -> Result<Self, WireError> {
        use pb::answer::Answer;
        Ok(match answer {
            Answer::Reveal(pb::RevealAnswer { children }) => {
                Self::Reveal(hashes("answer.reveal.children", children, limits::MAX_CHILDREN)?)
            }
            Answer::Layer(pb::LayerAnswer {
                root,
                signature,
                commitments,
            }) => Self::Layer {
                root: fixed("answer.layer.root", &root)?,
                signature: fixed("answer.layer.signature", &signature)?,
                commitments: hashes("answer.layer.commitments", commitments, limits::MAX_COMMITMENTS)?,
            },
            Answer::Defend(pb::DefendAnswer { witness }) => {
                Self::Defend(at_most("answer.defend.witness", witness, limits::MAX_WITNESS_BYTES)?)
            }
            Answer::Total(pb::TotalAnswer {
                witness,
                free,
                parts,
                signature,
            }) => Self::Total {
                witness: at_most("answer.total.witness", witness, limits::MAX_WITNESS_BYTES)?,
                free: uint("answer.total.free", &free)?,
                parts: words("answer.total.parts", &parts, MAX_PARTS_WORDS)?,
                signature: fixed("answer.total.signature", &signature)?,
            },
            Answer::Split(pb::SplitAnswer {
                header,
                sums,
                parts,
                signature,
            }) => Self::Split {
                header: three("answer.split.header", &header)?,
                sums: words("answer.split.sums", &sums, limits::MAX_SUM_WORDS)?,
                parts: words("answer.split.parts", &parts, MAX_PARTS_WORDS)?,
                signature: fixed("answer.split.signature", &signature)?,
            },
            Answer::Prove(pb::ProveAnswer { header, sums, witness }) => Self::Prove {
                header: three("answer.prove.header", &header)?,
                sums: words("answer.prove.sums", &sums, limits::MAX_SUM_WORDS)?,
                witness: at_most("answer.prove.witness", witness, limits::MAX_WITNESS_BYTES)?,
            },
            Answer::Unable(pb::UnableAnswer { reason }) => {
                Self::Unable(text("answer.unable.reason", reason, limits::MAX_TEXT_BYTES)?)
            }
        })
    }
}

impl From<Upload> for pb::UploadRequest {
    fn from(upload: Upload) -> Self {
        use pb::upload_request::Part;
        let part = match upload {
            Upload::Header(UploadHeader { session, job, value }) => {
                let ValueHeader {
                    commitment,
                    dtype,
                    dims,
                    length,
                } = value;
                Part::Header(pb::UploadHeader {
                    session: session.to_vec(),
                    job: Some(job.into()),
                    commitment: commitment.to_vec(),
                    dtype: (dtype as u8).into(),
                    dims,
                    length,
                })
            }
            Upload::Chunk(bytes) => Part::Chunk(bytes),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<pb::UploadRequest> for Upload {
    type Error = WireError;

    fn try_from(upload: pb::UploadRequest) -> Result<Self, WireError> {
        use pb::upload_request::Part;
        let pb::UploadRequest { part } = upload;
        Ok(match required("upload.part", part)? {
            Part::Header(pb::UploadHeader {
                session,
                job: value,
                commitment,
                dtype,
                dims,
                length,
            }) => Self::Header(UploadHeader {
                session: fixed("upload.session", &session)?,
                job: job(value)?,
                value: ValueHeader::checked(fixed("upload.commitment", &commitment)?, dtype, dims, length)?,
            }),
            Part::Chunk(bytes) => Self::Chunk(at_most("upload.chunk", bytes, limits::CHUNK_BYTES)?),
        })
    }
}
