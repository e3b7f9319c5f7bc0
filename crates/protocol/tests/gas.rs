//! What a verdict costs, calldata included, as a transaction of its own. Limits: half of 2^24 gas and of 128 KiB.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::evm::Chain;
use support::families::Case;
use support::{Stage, Stream, bytes_of, elementwise, matmul, operand};
use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place};

/// 1e-5.
const EPSILON: u32 = 0x3727_c5ac;

fn numbers(stream: &mut Stream, count: u32) -> Vec<u8> {
    bytes_of(&(0..count).map(|_| stream.number()).collect::<Vec<_>>())
}

/// Gas and witness bytes of one element with operands of random numbers.
fn cost(chain: &mut Chain, descriptor: Descriptor, element: u64) -> (u64, usize) {
    let mut stream = Stream(7);
    let count = |dims: &[u32]| dims.iter().product();
    let operands = descriptor
        .operands
        .iter()
        .map(|o| numbers(&mut stream, count(&o.dims)))
        .collect();
    let output = numbers(&mut stream, count(&descriptor.dims));
    let case = Case {
        descriptor,
        operands,
        output,
    };
    let stage = Stage::new(&case.descriptor, &case.operands, &case.output);
    let witness = stage.witness(element).unwrap();
    let (answer, gas) = chain.judge(&stage.context(), &witness);
    assert!(answer.0 == 1 || answer.0 == 2, "{answer:?}");
    (gas, witness.len())
}

#[test]
fn verdicts_stay_within_their_gas() {
    let mut chain = Chain::new();
    let f = Dtype::F32;
    let copy = Descriptor {
        params: vec![0, 0],
        ..elementwise(Code::Copy, f, &[f], 4096)
    };
    let row = |code, n: u32, params: Vec<u32>| Descriptor {
        dims: vec![4],
        output_axes: vec![4],
        reduction_axes: vec![n],
        params,
        operands: vec![operand(Place::Trace(0), f, &[4, n], &[n.into(), 1])],
        ..elementwise(code, f, &[], 4)
    };
    // Row by row: the element's place is its index on axis 1; scale and bias go by place.
    let rows = |code, n: u32, params, more: usize| {
        let mut operands = vec![operand(Place::Trace(0), f, &[4, n], &[n.into(), 0, 1])];
        operands.extend(
            [Place::Weight(0), Place::Weight(1)]
                .into_iter()
                .take(more)
                .map(|place| operand(place, f, &[n], &[0, 1, 0])),
        );
        Descriptor {
            dims: vec![4, n],
            output_axes: vec![4, n],
            reduction_axes: vec![n],
            params,
            operands,
            ..elementwise(code, f, &[], 0)
        }
    };
    // A window over channels that is not contiguous: runs of three terms, each with two bounds.
    let window = |channels: u32| Descriptor {
        dims: vec![8, 8],
        output_axes: vec![8, 8],
        reduction_axes: vec![channels, 3, 3],
        operands: vec![
            Operand {
                base: -9,
                bounds: [(0, 3), (1, 4)]
                    .map(|(out, kernel)| Bound {
                        extent: 8,
                        constant: -1,
                        terms: vec![(out, 1), (kernel, 1)],
                    })
                    .to_vec(),
                ..operand(Place::Trace(0), f, &[channels, 8, 8], &[8, 1, 64, 8, 1])
            },
            operand(Place::Weight(0), f, &[channels, 3, 3], &[0, 0, 9, 3, 1]),
        ],
        ..elementwise(Code::Contract, f, &[], 0)
    };
    let cases = [
        ("window of 3 × 3 over 32 channels", window(32), 2_000_000),
        ("copy", copy, 250_000),
        ("add", elementwise(Code::Add, f, &[f, f], 4096), 250_000),
        ("div", elementwise(Code::Div, f, &[f, f], 4096), 250_000),
        ("contraction 64 + 1", matmul(128, 64, 16, 1), 400_000),
        ("contraction 384 + 1", matmul(128, 384, 16, 1), 600_000),
        ("contraction 1,536 + 1", matmul(16, 1536, 16, 1), 1_200_000),
        ("contraction 4,096 + 1", matmul(4, 4096, 4, 1), 2_500_000),
        ("sum 4,096", row(Code::Sum, 4096, vec![]), 2_500_000),
        ("mean 512", row(Code::Mean, 512, vec![0]), 600_000),
        ("max 1,024", row(Code::MaxPool, 1024, vec![]), 1_200_000),
        ("gelu", elementwise(Code::Gelu, f, &[f], 4096), 250_000),
        ("softmax 512", rows(Code::Softmax, 512, vec![1], 0), 2_500_000),
        ("softmax 1,024", rows(Code::Softmax, 1024, vec![1], 0), 5_000_000),
        (
            "layer norm 1,024",
            rows(Code::LayerNorm, 1024, vec![EPSILON, 1], 2),
            1_500_000,
        ),
        (
            "layer norm 2,048",
            rows(Code::LayerNorm, 2048, vec![EPSILON, 1], 2),
            3_000_000,
        ),
        (
            "batch norm",
            Descriptor {
                params: vec![EPSILON],
                ..elementwise(Code::BatchNorm, f, &[f; 5], 4096)
            },
            350_000,
        ),
    ];
    let mut over = Vec::new();
    for (name, descriptor, limit) in cases {
        let (gas, bytes) = cost(&mut chain, descriptor, 3);
        println!("verdict gas: {name}: {gas} gas, {bytes} bytes");
        if gas > limit || bytes > 61_440 {
            over.push(name);
        }
    }
    assert!(over.is_empty(), "over their limit: {over:?}");
}
