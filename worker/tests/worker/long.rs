//! Questions about a long operator: each answer is what the judge takes, comes out the same again, and is signed for its place in the claim.

use std::path::PathBuf;

use crate::{
    common::*,
    leases::{claim_of, result},
};
use alloy_primitives::{FixedBytes, U256};
use touchstone_chain::signature;
use touchstone_protocol::{
    claim::{PartsAnswer, outputs_hash},
    parts::{self, Header},
    tensor,
    witness::{self, Context, Verdict},
};
use touchstone_wire::worker::{Ask, FromWorker, Reply, ToWorker};

const OPERATOR: u32 = 1;

fn file() -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "models", "long", "sum.onnx"]
        .iter()
        .collect();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn a_long_sum_is_totalled_split_and_proven() {
    let file = file();
    let model = compiled(&file);
    let d = &model.plan.operators[OPERATOR as usize];
    assert!(parts::is_long(d));
    let mut coordinator = Coordinator::start(file.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(config(coordinator.address, folder.path()), honest());
    let mut session = coordinator.session().await;
    let offer = offer(&model, &file, 1);
    session.say(ToWorker::Offer(Box::new(offer.clone()))).await;
    assert!(matches!(session.hear().await, FromWorker::Accept(_)));
    let (_, result) = result(&mut session).await;
    let outputs = outputs_hash(&[tensor::commit(d.dtype, &d.dims, &result.output).unwrap()]);
    let claim = claim_of(&model, &offer, &result);
    let context = Context {
        plan_root: model.header.plan_root,
        weights_root: model.header.weights_root,
        trace_root: result.trace_root,
        layer: None,
        inputs: offer.inputs,
        outputs,
        operators: model.header.operators,
        weights: model.header.weights,
        trace_values: model.header.trace_values,
        input_count: 1,
        output_count: 1,
        profile: model.header.profile,
    };
    let signer = |depth, index, header: &Header, parts: &[U256], signed: &FixedBytes<65>| {
        let answer = PartsAnswer {
            claim,
            operator: OPERATOR,
            element: 0,
            depth,
            index,
            node: parts::node_word(header, parts),
        };
        signature::recover(answer.digest(&domain()), signed)
    };
    let node = Some(session.hello.node);
    let words = parts::word_count(d, context.profile);

    let ask = Ask::Total {
        operator: OPERATOR,
        element: 0,
    };
    let reply = session.ask(claim, ask).await;
    let Reply::Total {
        witness,
        free,
        parts: given,
        signature: signed,
    } = &reply
    else {
        panic!("{reply:?}")
    };
    let totals = parts::add_up(given, words);
    let (outcome, header) = witness::judge_totals(&context, witness, *free, &totals);
    assert_eq!(outcome.verdict, Verdict::Inside);
    let mut depth = parts::depth(d);
    assert_eq!(signer(depth, 0, &header, given, signed), node);
    assert_eq!(
        session.ask(claim, ask).await,
        reply,
        "the same question, the same answer"
    );

    // Down along the last parts.
    let mut given = given.clone();
    while depth > 0 {
        let child = given.len() / words - 1;
        depth -= parts::step(depth);
        let index = parts::leaves(d).div_ceil(1 << depth) - 1;
        let named = given[child * words..].to_vec();
        if depth == 0 {
            let ask = Ask::Prove {
                operator: OPERATOR,
                element: 0,
                index: index.into(),
            };
            let reply = session.ask(claim, ask).await;
            let Reply::Prove {
                header: said,
                sums,
                witness,
            } = &reply
            else {
                panic!("{reply:?}")
            };
            assert_eq!((*said, sums), (header.words(), &named));
            let outcome = witness::judge_part(&context, witness, index, &header, sums);
            assert_eq!(outcome.verdict, Verdict::Inside);
            break;
        }
        let ask = Ask::Split {
            operator: OPERATOR,
            element: 0,
            depth,
            index: index.into(),
        };
        let reply = session.ask(claim, ask).await;
        let Reply::Split {
            header: said,
            sums,
            parts: next,
            signature: signed,
        } = &reply
        else {
            panic!("{reply:?}")
        };
        assert_eq!((*said, sums), (header.words(), &named));
        assert_eq!(&parts::add_up(next, words), sums);
        assert_eq!(signer(depth, index, &header, next, signed), node);
        assert_ne!(signer(depth, index - 1, &header, next, signed), node);
        given = next.clone();
    }

    // Whoever asks what is not there is wrong, and the worker goes on.
    for ask in [
        Ask::Defend {
            operator: OPERATOR,
            element: 0,
        },
        Ask::Total {
            operator: 0,
            element: 0,
        },
        Ask::Total {
            operator: OPERATOR,
            element: 1,
        },
        Ask::Split {
            operator: OPERATOR,
            element: 0,
            depth: 0,
            index: 0,
        },
        Ask::Split {
            operator: OPERATOR,
            element: 0,
            depth: 7,
            index: 8,
        },
        Ask::Split {
            operator: OPERATOR,
            element: 0,
            depth: u32::MAX,
            index: 0,
        },
        Ask::Prove {
            operator: OPERATOR,
            element: 0,
            index: 1 << 40,
        },
    ] {
        let reply = session.ask(claim, ask).await;
        assert!(matches!(reply, Reply::Unable(_)), "{ask:?}: {reply:?}");
    }
    worker.stop().await;
}
