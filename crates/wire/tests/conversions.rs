//! Every message survives the way there and back; every broken one is refused by the field that is broken.
#![allow(clippy::unwrap_used, clippy::panic)]

use alloy_primitives::{Address, B256, FixedBytes, U256};
use prost::Message as _;
use touchstone_protocol::descriptor::Dtype;
use touchstone_wire::{
    WireError, challenger, limits,
    proto::{challenger::v1 as cpb, worker::v1 as pb},
    value::{Assembly, ValueHeader},
    worker::*,
};

const JOB: Job = Job {
    request: U256::MAX,
    attempt: 3,
};
const HASH: B256 = B256::repeat_byte(7);

fn from_worker() -> Vec<FromWorker> {
    let answer = |reply| {
        FromWorker::Answer(Answer {
            claim: HASH,
            dispute: B256::ZERO,
            state: HASH,
            reply,
        })
    };
    let refuse = |reason| {
        FromWorker::Refuse(Refuse {
            job: JOB,
            reason,
            detail: "why".to_owned(),
        })
    };
    let mut all = vec![
        FromWorker::Hello(Hello {
            provider: Address::repeat_byte(1),
            node: Address::repeat_byte(2),
            signature: FixedBytes::repeat_byte(3),
            models: vec![HASH, B256::ZERO],
            capacity: 4,
            software: "test 1".to_owned(),
        }),
        FromWorker::Accept(JOB),
        FromWorker::Commitments(Commitments {
            job: JOB,
            trace: vec![HASH, B256::ZERO],
        }),
        FromWorker::Result(RunResult {
            job: JOB,
            output: vec![1, 2],
            trace_root: HASH,
            valid_until: u64::MAX,
            signature: FixedBytes::repeat_byte(4),
        }),
        answer(Reply::Reveal(vec![HASH; 8])),
        answer(Reply::Layer {
            root: HASH,
            signature: FixedBytes::repeat_byte(5),
            commitments: vec![HASH],
        }),
        answer(Reply::Defend(vec![9; limits::MAX_WITNESS_BYTES])),
        answer(Reply::Unable("lost".to_owned())),
    ];
    use RefuseReason::*;
    all.extend([Busy, Draining, UnknownModel, ModelMismatch, BadInput, BadOffer, Failed].map(refuse));
    use Stage::*;
    let progress = |stage| FromWorker::Progress(Progress { job: JOB, stage });
    all.extend([Fetching, Compiling, Running, Committing, Uploading].map(progress));
    all.extend(on_parts().map(answer));
    all
}

/// Answers about long operators, as long as they get.
fn on_parts() -> [Reply; 3] {
    let words = |count| {
        (0..count as u64)
            .map(|word| U256::MAX - U256::from(word))
            .collect::<Vec<_>>()
    };
    let header = [U256::from(1), U256::from(2), U256::MAX];
    [
        Reply::Total {
            witness: vec![9; limits::MAX_WITNESS_BYTES],
            free: U256::from(7),
            parts: words(limits::MAX_CHILDREN * limits::MAX_SUM_WORDS),
            signature: FixedBytes::repeat_byte(6),
        },
        Reply::Split {
            header,
            sums: words(limits::MAX_SUM_WORDS),
            parts: words(2),
            signature: FixedBytes::repeat_byte(7),
        },
        Reply::Prove {
            header,
            sums: words(1),
            witness: vec![9],
        },
    ]
}

fn to_worker() -> Vec<ToWorker> {
    let question = |ask| {
        ToWorker::Question(Question {
            claim: HASH,
            dispute: HASH,
            state: B256::ZERO,
            deadline: 5,
            ask,
        })
    };
    let mut all = vec![
        ToWorker::Challenge(Challenge {
            coordinator: Address::repeat_byte(1),
            nonce: HASH,
            chain_id: 31_337,
            market: Address::repeat_byte(2),
        }),
        ToWorker::Welcome(Welcome {
            session: HASH,
            max_value_bytes: 1,
            max_job_bytes: 2,
        }),
        ToWorker::Offer(Box::new(Offer {
            job: JOB,
            model: ModelRef {
                id: HASH,
                publisher: Address::repeat_byte(1),
                file_digest: B256::ZERO,
                profile: 9,
            },
            input: vec![1; limits::MAX_INLINE_BYTES],
            inputs: HASH,
            poster: Address::repeat_byte(3),
            lease_expires: 1,
            deadline: 2,
            valid_until_min: 3,
            valid_until_max: 3,
        })),
        question(Ask::Reveal {
            tree: Tree::Trace,
            node: HASH,
            depth: 3,
            index: 8,
        }),
        question(Ask::Reveal {
            tree: Tree::Layer(0),
            node: HASH,
            depth: 0,
            index: 0,
        }),
        question(Ask::Layer(0)),
        question(Ask::Defend {
            operator: 1,
            element: u64::MAX,
        }),
        question(Ask::Total {
            operator: 2,
            element: 3,
        }),
        question(Ask::Split {
            operator: 4,
            element: 5,
            depth: 6,
            index: 7,
        }),
        question(Ask::Prove {
            operator: 8,
            element: 9,
            index: 10,
        }),
    ];
    use ClaimState::*;
    let update = |state| {
        ToWorker::Update(Update {
            job: JOB,
            claim: HASH,
            state,
            detail: String::new(),
        })
    };
    all.extend([Posted, Final, Struck, Void, Failed].map(update));
    all
}

#[test]
fn there_and_back_through_bytes() {
    for message in from_worker() {
        let bytes = pb::WorkerMessage::from(message.clone()).encode_to_vec();
        assert!(bytes.len() <= limits::MAX_MESSAGE_BYTES);
        let decoded = pb::WorkerMessage::decode(bytes.as_slice()).unwrap();
        assert_eq!(FromWorker::try_from(decoded), Ok(message));
    }
    for message in to_worker() {
        let bytes = pb::CoordinatorMessage::from(message.clone()).encode_to_vec();
        let decoded = pb::CoordinatorMessage::decode(bytes.as_slice()).unwrap();
        assert_eq!(ToWorker::try_from(decoded), Ok(message));
    }
    let value = ValueHeader {
        commitment: HASH,
        dtype: Dtype::I64,
        dims: vec![2, 3],
        length: 48,
    };
    for upload in [
        Upload::Header(UploadHeader {
            session: HASH,
            job: JOB,
            value: value.clone(),
        }),
        Upload::Chunk(vec![1; limits::CHUNK_BYTES]),
    ] {
        assert_eq!(Upload::try_from(pb::UploadRequest::from(upload.clone())), Ok(upload));
    }
    assert_eq!(ValueHeader::try_from(cpb::ValueHeader::from(value.clone())), Ok(value));
}

#[test]
fn the_challengers_messages_there_and_back() {
    use challenger::ClaimStatus::*;
    for (status, trace_root) in [
        (Open, None),
        (Final, Some(HASH)),
        (Struck, None),
        (Void, None),
        (Orphaned, None),
    ] {
        let update = challenger::ClaimUpdate {
            cursor: 1,
            claim: HASH,
            request: U256::from(2),
            attempt: 3,
            worker: Address::repeat_byte(4),
            model: HASH,
            status,
            window_ends: 5,
            trace_root,
        };
        assert_eq!(
            challenger::ClaimUpdate::try_from(cpb::ClaimUpdate::from(update.clone())),
            Ok(update)
        );
    }
    let trace = challenger::Trace {
        trace_root: HASH,
        commitments: vec![HASH],
    };
    assert_eq!(
        challenger::Trace::try_from(cpb::GetTraceResponse::from(trace.clone())),
        Ok(trace)
    );
    let layer = challenger::Layer {
        root: HASH,
        signature: FixedBytes::repeat_byte(1),
        commitments: vec![],
    };
    assert_eq!(
        challenger::Layer::try_from(cpb::GetLayerResponse::from(layer.clone())),
        Ok(layer)
    );
    let zero = cpb::ClaimUpdate::default();
    assert!(challenger::ClaimUpdate::try_from(zero).is_err());
}

/// What a message with one thing changed is refused for.
fn refused(message: FromWorker, change: impl FnOnce(&mut pb::worker_message::Message)) -> WireError {
    let mut raw = pb::WorkerMessage::from(message);
    change(raw.message.as_mut().unwrap());
    FromWorker::try_from(raw).unwrap_err()
}

#[test]
fn broken_messages_are_refused_by_field() {
    use pb::worker_message::Message::*;
    assert_eq!(
        FromWorker::try_from(pb::WorkerMessage { message: None }),
        Err(WireError::Missing { field: "message" })
    );
    let all = from_worker();
    let check = |index: usize, change: fn(&mut pb::worker_message::Message), expect: WireError| {
        assert_eq!(refused(all[index].clone(), change), expect);
    };
    check(
        0,
        |m| {
            if let Hello(hello) = m {
                hello.provider.pop();
            }
        },
        WireError::Length {
            field: "hello.provider",
            expected: 20,
            actual: 19,
        },
    );
    check(
        0,
        |m| {
            if let Hello(hello) = m {
                hello.signature.push(0)
            }
        },
        WireError::Length {
            field: "hello.signature",
            expected: 65,
            actual: 66,
        },
    );
    check(
        0,
        |m| {
            if let Hello(hello) = m {
                hello.models = vec![vec![0; 32]; limits::MAX_MODELS + 1]
            }
        },
        WireError::TooMany {
            field: "hello.models",
            limit: limits::MAX_MODELS,
            actual: limits::MAX_MODELS + 1,
        },
    );
    check(
        0,
        |m| {
            if let Hello(hello) = m {
                hello.capacity = 0
            }
        },
        WireError::Range {
            field: "hello.capacity",
            value: 0,
        },
    );
    check(
        1,
        |m| {
            if let Accept(accept) = m {
                accept.job = None
            }
        },
        WireError::Missing { field: "job" },
    );
    check(
        2,
        |m| {
            if let Commitments(list) = m {
                list.trace[1].clear()
            }
        },
        WireError::Length {
            field: "commitments.trace",
            expected: 32,
            actual: 0,
        },
    );
    check(
        3,
        |m| {
            if let Result(result) = m {
                result.output = vec![0; limits::MAX_INLINE_BYTES + 1]
            }
        },
        WireError::TooMany {
            field: "result.output",
            limit: limits::MAX_INLINE_BYTES,
            actual: limits::MAX_INLINE_BYTES + 1,
        },
    );
    check(
        4,
        |m| {
            if let Answer(answer) = m {
                answer.answer = None
            }
        },
        WireError::Missing { field: "answer.answer" },
    );
    check(
        6,
        |m| {
            if let Answer(pb::Answer {
                answer: Some(pb::answer::Answer::Defend(defend)),
                ..
            }) = m
            {
                defend.witness.push(0)
            }
        },
        WireError::TooMany {
            field: "answer.defend.witness",
            limit: limits::MAX_WITNESS_BYTES,
            actual: limits::MAX_WITNESS_BYTES + 1,
        },
    );
    // Zero and undefined numbers of enums.
    for (value, index) in [(0, 8), (99, 8)] {
        let error = refused(all[index].clone(), |m| {
            if let Refuse(refuse) = m {
                refuse.reason = value
            }
        });
        assert_eq!(
            error,
            WireError::Enum {
                field: "refuse.reason",
                value
            }
        );
        let error = refused(all[15].clone(), |m| {
            if let Progress(progress) = m {
                progress.stage = value
            }
        });
        assert_eq!(
            error,
            WireError::Enum {
                field: "progress.stage",
                value
            }
        );
    }
}

#[test]
fn broken_words_are_refused_by_field() {
    let all = on_parts();
    let check = |index: usize, change: fn(&mut pb::answer::Answer), field: &str| {
        let mut raw = pb::answer::Answer::from(all[index].clone());
        change(&mut raw);
        let error = Reply::try_from(raw).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    };
    use pb::answer::Answer::{Prove, Split, Total};
    check(
        0,
        |answer| {
            if let Total(total) = answer {
                total.parts.extend([0; 32])
            }
        },
        "answer.total.parts has 161 items",
    );
    check(
        0,
        |answer| {
            if let Total(total) = answer {
                total.parts.pop();
            }
        },
        "answer.total.parts has 5119 bytes, expected 5120",
    );
    check(
        0,
        |answer| {
            if let Total(total) = answer {
                total.witness.push(0)
            }
        },
        "answer.total.witness",
    );
    check(
        0,
        |answer| {
            if let Total(total) = answer {
                total.free.pop();
            }
        },
        "answer.total.free",
    );
    check(
        1,
        |answer| {
            if let Split(split) = answer {
                split.header.truncate(64)
            }
        },
        "answer.split.header has 64 bytes, expected 96",
    );
    check(
        1,
        |answer| {
            if let Split(split) = answer {
                split.sums.extend([0; 32])
            }
        },
        "answer.split.sums",
    );
    check(
        2,
        |answer| {
            if let Prove(prove) = answer {
                prove.header.extend([0; 32])
            }
        },
        "answer.prove.header",
    );
}

#[test]
fn details_are_cut_at_a_character() {
    let detail = "é".repeat(limits::MAX_TEXT_BYTES);
    let message = FromWorker::Refuse(Refuse {
        job: JOB,
        reason: RefuseReason::Failed,
        detail,
    });
    match FromWorker::try_from(pb::WorkerMessage::from(message)) {
        Ok(FromWorker::Refuse(refuse)) => assert_eq!(refuse.detail, "é".repeat(limits::MAX_TEXT_BYTES / 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_say_what_their_shape_says() {
    let check = |dtype, dims: &[u32], length| ValueHeader::checked(HASH, dtype, dims.to_vec(), length).is_ok();
    assert!(check(1, &[], 4), "a scalar");
    assert!(check(1, &[0, 5], 0), "an empty tensor");
    assert!(check(9, &[3], 3));
    assert!(!check(1, &[3], 11));
    assert!(!check(3, &[1], 1), "no such dtype");
    assert!(!check(257, &[1], 4));
    assert!(!check(2, &[1; 9], 1), "rank");
    assert!(!check(2, &[u32::MAX, u32::MAX], 1), "overflow");
    assert!(!check(2, &[1 << 31, 2], 1 << 32), "larger than the protocol allows");
}

#[test]
fn chunks_add_up_exactly() {
    let header = ValueHeader {
        commitment: HASH,
        dtype: Dtype::U8,
        dims: vec![5],
        length: 5,
    };
    let mut assembly = Assembly::new(header.clone());
    assembly.push(&[1, 2, 3]).unwrap();
    assert!(!assembly.complete());
    assert!(assembly.push(&[]).is_err(), "an empty chunk could go on for ever");
    assert!(assembly.push(&[4, 5, 6]).is_err(), "too long");
    assembly.push(&[4, 5]).unwrap();
    assert!(assembly.complete());
    assert_eq!(assembly.finish(), Ok((header.clone(), vec![1, 2, 3, 4, 5])));
    assert!(Assembly::new(header).finish().is_err());
    let large = ValueHeader {
        commitment: HASH,
        dtype: Dtype::U8,
        dims: vec![1 << 20],
        length: 1 << 20,
    };
    assert!(Assembly::new(large).push(&vec![0; limits::CHUNK_BYTES + 1]).is_err());
}
