//! Shared vectors: `contracts/test/vectors/commitments.json` is what this crate computes, and `contracts/test/unit/Commitments.t.sol`
//! holds the libraries against it. Run with `TOUCHSTONE_WRITE_VECTORS=1` to write the file anew.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use alloy_primitives::{Address, U256, hex};
use serde_json::{Value, json};
use support::{Stream, elementwise, families, matmul};
use touchstone_protocol::claim::{Claim, Domain, LayerAnswer, bound_trace, inputs_hash, outputs_hash};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype};
use touchstone_protocol::digest::{B256, hash};
use touchstone_protocol::merkle::MerkleTree;
use touchstone_protocol::model::{Io, ModelHeader, Profile, Spec};
use touchstone_protocol::tensor::{TensorTree, commit};

fn bytes(data: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(data))
}

fn words(list: &[B256]) -> Vec<String> {
    list.iter().map(bytes).collect()
}

fn merkle() -> Vec<Value> {
    [(0u64, 0u64), (1, 0), (2, 1), (3, 2), (5, 4), (8, 3), (13, 12)]
        .map(|(count, index)| {
            // Every second leaf is zero: content is never a flag.
            let leaves: Vec<B256> = (0..count)
                .map(|i| if i % 2 == 1 { B256::ZERO } else { hash([i as u8]) })
                .collect();
            let tree = MerkleTree::new(leaves.clone());
            let proof = tree.proof(index).unwrap_or_default();
            json!({ "index": index, "leaves": words(&leaves), "proof": words(&proof), "root": bytes(tree.root()) })
        })
        .to_vec()
}

fn tensors(stream: &mut Stream) -> Vec<Value> {
    let shapes: [(Dtype, &[u32]); 9] = [
        (Dtype::F32, &[]),
        (Dtype::F32, &[3, 0]),
        (Dtype::I64, &[32]),
        (Dtype::I64, &[33]),
        (Dtype::U8, &[2, 3, 150]),
        (Dtype::Bool, &[1, 1, 1, 1, 1, 1, 1, 5]),
        (Dtype::I32, &[7, 100]),
        (Dtype::F16, &[5, 27]),
        (Dtype::Bf16, &[129]),
    ];
    shapes
        .map(|(dtype, dims)| {
            let count: u32 = dims.iter().product();
            let data: Vec<u8> = (0..count as usize * dtype.size()).map(|_| stream.word() as u8).collect();
            let mut head = vec![dtype as u8, dims.len() as u8];
            dims.iter().for_each(|dim| head.extend(dim.to_be_bytes()));
            json!({ "commitment": bytes(commit(dtype, dims, &data).unwrap()), "data": bytes(&data), "head": bytes(&head) })
        })
        .to_vec()
}

fn ranges(stream: &mut Stream) -> Vec<Value> {
    [
        (1u32, 0u64, 1u64),
        (2, 0, 1),
        (5, 1, 4),
        (5, 4, 5),
        (7, 0, 7),
        (8, 3, 4),
        (9, 2, 9),
    ]
    .map(|(chunks, lo, hi)| {
        let data: Vec<u8> = (0..chunks as usize * 256 - 100).map(|_| stream.word() as u8).collect();
        let tensor = TensorTree::new(Dtype::U8, &[chunks * 256 - 100], data).unwrap();
        let opening = tensor.open(lo, hi).unwrap();
        json!({
            "chunks": bytes(&opening.chunks),
            "count": chunks,
            "lo": lo,
            "root": bytes(tensor.chunk_root()),
            "siblings": words(&opening.siblings),
        })
    })
    .to_vec()
}

fn descriptors(stream: &mut Stream) -> Vec<Value> {
    let mut list: Vec<Descriptor> = (0..3)
        .flat_map(|_| {
            [
                families::copy,
                families::exact,
                families::contraction,
                families::reduction,
            ]
            .map(|make| make(stream).descriptor)
        })
        .collect();
    list.push(matmul(2, 3, 4, 3));
    list.push(Descriptor {
        params: vec![0x3727_c5ac],
        ..elementwise(Code::BatchNorm, Dtype::F32, &[Dtype::F32; 5], 6)
    });
    let mut encoded: Vec<Vec<u8>> = list.iter().map(|d| d.encode().unwrap()).collect();
    for _ in 0..40 {
        let mut damaged = encoded[stream.below(list.len() as u64) as usize].clone();
        let at = stream.below(damaged.len() as u64) as usize;
        match stream.below(4) {
            0 => damaged.truncate(at),
            1 => damaged.push(0),
            _ => damaged[at] = damaged[at].wrapping_add(1 + stream.below(3) as u8),
        }
        encoded.push(damaged);
    }
    encoded
        .iter()
        .map(|encoding| {
            let d = Descriptor::decode(encoding);
            let of = |value: &dyn Fn(&Descriptor) -> u64| d.as_ref().map_or(0, value);
            json!({
                "bytes": bytes(encoding),
                "code": of(&|d| d.code as u64),
                "decoded": d.is_ok(),
                "elements": of(&|d| d.elements()),
                "inner": of(&|d| d.layer_inner_count.into()),
                "layer": of(&|d| d.layer.into()),
                "leaf": bytes(touchstone_protocol::descriptor::leaf(encoding)),
                "terms": of(&|d| d.terms()),
                "touchesInner": d.as_ref().is_ok_and(Descriptor::touches_inner),
            })
        })
        .collect()
}

fn signed() -> (Value, Value, Value) {
    let io = Io {
        inputs: vec![Spec {
            dtype: Dtype::F32,
            dims: vec![1, 1, 8, 8],
        }],
        outputs: vec![
            Spec {
                dtype: Dtype::F32,
                dims: vec![1, 10],
            },
            Spec {
                dtype: Dtype::I64,
                dims: vec![1],
            },
        ],
    };
    let io = io.encode().unwrap();
    let header = ModelHeader {
        plan_root: hash("plan"),
        weights_root: hash("weights"),
        operators: 70,
        weights: 31,
        trace_values: 12,
        layers: 9,
        profile: Profile::FAST.encode(),
        io: hash(&io),
    };
    let publisher = Address::repeat_byte(0x11);
    let model = header.id(publisher);
    let domain = Domain {
        chain_id: 31337,
        market: Address::repeat_byte(0x44),
    };
    let worker = Address::repeat_byte(0x22);
    let claim = Claim {
        request: U256::from(7),
        attempt: 2,
        worker,
        model,
        inputs: inputs_hash(&[hash("input")]),
        outputs: outputs_hash(&[hash("output"), hash("other")]),
        bound_trace: bound_trace(worker, hash("trace")),
        profile: header.profile,
        poster: Address::repeat_byte(0x33),
        valid_until: 1_800_000_000,
    };
    let id = claim.digest(&domain);
    let layer = LayerAnswer {
        claim: id,
        layer: 5,
        root: hash("layer"),
    };
    let model_vector = json!({
        "id": bytes(model),
        "io": bytes(&io),
        "layers": header.layers,
        "operators": header.operators,
        "planRoot": bytes(header.plan_root),
        "profile": header.profile,
        "publisher": publisher.to_string(),
        "traceValues": header.trace_values,
        "weights": header.weights,
        "weightsRoot": bytes(header.weights_root),
    });
    let claim_vector = json!({
        "attempt": claim.attempt,
        "chainId": domain.chain_id,
        "digest": bytes(id),
        "inputs": bytes(claim.inputs),
        "market": domain.market.to_string(),
        "outputs": bytes(claim.outputs),
        "poster": claim.poster.to_string(),
        "request": 7,
        "traceRoot": bytes(hash("trace")),
        "validUntil": claim.valid_until,
        "worker": worker.to_string(),
    });
    let layer_vector =
        json!({ "digest": bytes(layer.digest(&domain)), "layer": layer.layer, "root": bytes(layer.root) });
    (model_vector, claim_vector, layer_vector)
}

#[test]
fn the_committed_vectors_are_what_this_crate_computes() {
    let mut stream = Stream(21);
    let (model, claim, layer) = signed();
    let vectors = json!({
        "claim": claim,
        "descriptors": descriptors(&mut stream),
        "layer": layer,
        "merkle": merkle(),
        "model": model,
        "ranges": ranges(&mut stream),
        "tensors": tensors(&mut stream),
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/test/vectors/commitments.json");
    if std::env::var_os("TOUCHSTONE_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == text,
        "contracts/test/vectors/commitments.json is not what this crate computes"
    );
}
