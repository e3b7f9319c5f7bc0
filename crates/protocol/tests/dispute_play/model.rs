//! A toy model and a run of it: operator 0 without inner values; the next ones in layer 1, the last one no descriptor.

use alloy_primitives::{B256, keccak256};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::digest::{hash_parts, tag};
use touchstone_protocol::dispute::OperatorFacts;
use touchstone_protocol::merkle::MerkleTree;

/// Elements of every operator.
pub const ELEMENTS: u32 = 2;

pub struct Model {
    pub trace_values: u32,
    pub descriptors: Vec<Vec<u8>>,
    pub facts: Vec<Option<OperatorFacts>>,
    pub plan: MerkleTree,
    pub trace: MerkleTree,
    pub inner: MerkleTree,
}

impl Model {
    pub fn new(trace_values: u32, inner_values: u32, operators: u32) -> Self {
        let mut descriptors = Vec::new();
        let mut facts = Vec::new();
        for number in 0..operators - 1 {
            let descriptor = descriptor(number, inner_values);
            facts.push(Some(OperatorFacts::from(&descriptor)));
            descriptors.push(descriptor.encode().expect("descriptor"));
        }
        descriptors.push(vec![1, 0xff]);
        facts.push(None);
        let leaves = descriptors
            .iter()
            .map(|d| hash_parts(&[tag("operator").as_slice(), d]))
            .collect();
        // The first value is zero, as any value may be.
        let values = |name: &str, count: u32| -> MerkleTree {
            MerkleTree::new(
                (0..count)
                    .map(|i| {
                        if i == 0 {
                            B256::ZERO
                        } else {
                            keccak256(format!("{name} {i}"))
                        }
                    })
                    .collect(),
            )
        };
        Self {
            trace_values,
            descriptors,
            facts,
            plan: MerkleTree::new(leaves),
            trace: values("trace", trace_values),
            inner: values("inner", inner_values),
        }
    }

    pub fn operators(&self) -> u32 {
        self.descriptors.len() as u32
    }
}

fn descriptor(number: u32, inner_values: u32) -> Descriptor {
    let (layer, count, place) = if number == 0 {
        (0, 0, Place::Trace(0))
    } else {
        (1, inner_values, Place::Inner(number - 1))
    };
    Descriptor {
        code: Code::Relu,
        layer,
        layer_inner_count: count,
        place,
        dtype: Dtype::F32,
        dims: vec![ELEMENTS],
        output_axes: vec![ELEMENTS],
        reduction_axes: Vec::new(),
        params: Vec::new(),
        operands: vec![Operand {
            place: Place::Input(0),
            dtype: Dtype::F32,
            dims: vec![ELEMENTS],
            base: 0,
            strides: vec![1],
            bounds: Vec::new(),
        }],
    }
}
