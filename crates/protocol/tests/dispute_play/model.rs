//! A toy model and a run of it: operator 0 without inner values, and operator 2, which is long; the others in layer 1, the last one no
//! descriptor.

use alloy_primitives::{B256, U256, keccak256};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::digest::{hash_parts, tag};
use touchstone_protocol::dispute::OperatorFacts;
use touchstone_protocol::merkle::MerkleTree;
use touchstone_protocol::parts::{self, LEAF_TERMS};

/// Elements of every operator.
pub const ELEMENTS: u32 = 2;
/// The operator that is judged by parts.
pub const LONG: u32 = 2;

/// A maximum over all terms of the input; the last leaf has one.
fn long(leaves: u32) -> Descriptor {
    // Of one leaf as many as there have to be for it to be long.
    let terms = ((leaves - 1) * LEAF_TERMS as u32 + 1).max(parts::one_shot_terms(Code::MaxPool) as u32 + 1);
    Descriptor {
        code: Code::MaxPool,
        place: Place::Trace(0),
        layer: 0,
        layer_inner_count: 0,
        reduction_axes: vec![terms],
        operands: vec![Operand {
            place: Place::Input(0),
            dtype: Dtype::F32,
            dims: vec![terms],
            base: 0,
            strides: vec![0, 1],
            bounds: Vec::new(),
        }],
        ..descriptor(0, 0)
    }
}

/// The sums of a node of its terms: no terms are so, but sums add up whatever they are.
pub fn sums(leaves: u32, depth: u32, index: u32) -> Vec<U256> {
    let end = ((index + 1) << depth).min(leaves);
    (index << depth..end).fold(vec![U256::ZERO; 2], |sums, leaf| {
        let leaf = U256::from(leaf);
        vec![sums[0] + leaf + U256::ONE, sums[1].wrapping_sub(leaf)]
    })
}

/// The sums of its parts.
pub fn parts(leaves: u32, depth: u32, index: u32) -> Vec<U256> {
    let step = parts::step(depth);
    (0..parts::part_count(leaves, depth, index) as u32)
        .flat_map(|child| sums(leaves, depth - step, (index << step) + child))
        .collect()
}

pub struct Model {
    pub trace_values: u32,
    pub descriptors: Vec<Vec<u8>>,
    pub facts: Vec<Option<OperatorFacts>>,
    pub plan: MerkleTree,
    pub trace: MerkleTree,
    pub inner: MerkleTree,
}

impl Model {
    /// Operator 2 has `leaves` leaves of terms.
    pub fn new(trace_values: u32, inner_values: u32, operators: u32, leaves: u32) -> Self {
        let mut descriptors = Vec::new();
        let mut facts = Vec::new();
        for number in 0..operators - 1 {
            let descriptor = if number == LONG {
                long(leaves)
            } else {
                descriptor(number, inner_values)
            };
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
