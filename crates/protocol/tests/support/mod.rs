//! A claim over one operator, with witnesses to its elements.
#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::panic)]

pub mod evm;
pub mod families;
pub mod raw;

use touchstone_protocol::claim::{inputs_hash, outputs_hash};
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::digest::{B256, hash};
use touchstone_protocol::merkle::MerkleTree;
use touchstone_protocol::model::Profile;
use touchstone_protocol::tensor::TensorTree;
use touchstone_protocol::witness::{Context, Source, WitnessBuilder, WitnessError};

/// How many cases a family gets: as many as `usual`, or as `TOUCHSTONE_CASES` says.
pub fn cases(usual: u64) -> u64 {
    std::env::var("TOUCHSTONE_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(usual)
}

/// Tensor cores, by format: all but contractions is as under `fast`.
pub const TENSOR: [u64; 3] = [Profile::TF32.encode(), Profile::BF16.encode(), Profile::FP16.encode()];

/// A profile of each other kind; the block is short, so that rows of tests have several.
pub const PROFILES: [u64; 3] = [Profile::FAST.encode(), 0x0100_0010_0804_0000, Profile::WIDE.encode()];

/// A fixed stream of numbers.
#[derive(Clone)]
pub struct Stream(pub u64);

impl Stream {
    pub fn word(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit
    }

    /// A profile; the stream goes on as if none had been asked for.
    pub fn profile(&self) -> u64 {
        let mut aside = Stream(self.0 ^ 0x5eed);
        match aside.below(4) {
            0 => aside.pick(&TENSOR),
            kind => PROFILES[kind as usize - 1],
        }
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// An fp32 of moderate size.
    pub fn number(&mut self) -> u32 {
        let word = self.word() as u32;
        (word & 0x807f_ffff) | ((110 + (self.below(24) as u32)) << 23)
    }

    /// Any bit pattern, with zeros, subnormals, infinities, NaNs and extremes far more often than by chance.
    pub fn pattern(&mut self) -> u32 {
        const EDGES: [u32; 14] = [
            0,
            1,
            2,
            0x007f_ffff,
            0x0080_0000,
            0x0080_0001,
            0x3f80_0000,
            0x3f7f_ffff,
            0x4b80_0000,
            0x7f7f_ffff,
            0x7f7f_fffe,
            0x7f80_0000,
            0x7fc0_0000,
            0x7f80_0001,
        ];
        let sign = (self.word() as u32) & 0x8000_0000;
        match self.below(8) {
            0 | 1 => self.pick(&EDGES) ^ sign,
            2 => self.word() as u32,
            3 => (self.word() as u32 & 0x007f_ffff) ^ sign,
            _ => self.number(),
        }
    }
}

/// One operator among others of a plan, its operands and output at the places that the descriptor names.
pub struct Stage {
    pub descriptor: Descriptor,
    pub operator: u32,
    pub plan: MerkleTree,
    pub weights: MerkleTree,
    pub trace: MerkleTree,
    pub layer: MerkleTree,
    pub inputs: Vec<B256>,
    pub outputs: Vec<B256>,
    pub values: Vec<(Place, TensorTree)>,
    pub profile: u64,
}

impl Source for Stage {
    fn tensor(&self, place: Place) -> Option<&TensorTree> {
        self.values
            .iter()
            .find(|(at, _)| *at == place)
            .map(|(_, tensor)| tensor)
    }
}

impl Stage {
    /// Commits the operands and the output among made-up neighbours.
    pub fn new(descriptor: &Descriptor, operands: &[Vec<u8>], output: &[u8]) -> Self {
        let mut values = Vec::new();
        for (operand, bytes) in descriptor.operands.iter().zip(operands) {
            let tensor = TensorTree::new(operand.dtype, &operand.dims, bytes.clone()).expect("operand bytes");
            values.push((operand.place, tensor));
        }
        let tensor = TensorTree::new(descriptor.dtype, &descriptor.dims, output.to_vec()).expect("output bytes");
        values.push((descriptor.place, tensor));
        let leaves = |kind: u8, count: u64| -> Vec<B256> {
            let mut leaves: Vec<B256> = (0..count).map(|i| hash([kind, i as u8])).collect();
            for (place, tensor) in &values {
                let (of, number) = place.parts();
                if of == kind {
                    leaves[number as usize] = tensor.commitment();
                }
            }
            leaves
        };
        let operator = 2;
        let mut plan: Vec<B256> = (0..5u8).map(hash_byte).collect();
        plan[operator as usize] = descriptor.leaf().expect("descriptor");
        Self {
            descriptor: descriptor.clone(),
            operator,
            plan: MerkleTree::new(plan),
            weights: MerkleTree::new(leaves(1, 7)),
            trace: MerkleTree::new(leaves(2, 9)),
            layer: MerkleTree::new(leaves(4, u64::from(descriptor.layer_inner_count))),
            inputs: leaves(0, 3),
            outputs: leaves(3, 2),
            values,
            profile: Profile::FAST.encode(),
        }
    }

    /// The same under another numerics profile.
    pub fn under(self, profile: u64) -> Self {
        Self { profile, ..self }
    }

    pub fn context(&self) -> Context {
        Context {
            plan_root: self.plan.root(),
            weights_root: self.weights.root(),
            trace_root: self.trace.root(),
            layer: Some((self.descriptor.layer, self.layer.root())),
            inputs: inputs_hash(&self.inputs),
            outputs: outputs_hash(&self.outputs),
            operators: self.plan.len() as u32,
            weights: self.weights.len() as u32,
            trace_values: self.trace.len() as u32,
            input_count: self.inputs.len() as u32,
            output_count: self.outputs.len() as u32,
            profile: self.profile,
        }
    }

    pub fn witness(&self, element: u64) -> Result<Vec<u8>, WitnessError> {
        self.builder().witness(self.operator, &self.descriptor, element)
    }

    /// What goes with totals.
    pub fn head(&self, element: u64) -> Result<Vec<u8>, WitnessError> {
        self.builder().head(self.operator, &self.descriptor, element)
    }

    /// What opens a leaf of terms.
    pub fn part(&self, element: u64, leaf: u32) -> Result<Vec<u8>, WitnessError> {
        self.builder().part(self.operator, &self.descriptor, element, leaf)
    }

    fn builder(&self) -> WitnessBuilder<'_, Self> {
        WitnessBuilder {
            plan: &self.plan,
            weights: &self.weights,
            trace: &self.trace,
            layer: Some((self.descriptor.layer, &self.layer)),
            inputs: &self.inputs,
            outputs: &self.outputs,
            source: self,
        }
    }
}

fn hash_byte(byte: u8) -> B256 {
    hash([byte])
}

/// Bytes of fp32 bits.
pub fn bytes_of(bits: &[u32]) -> Vec<u8> {
    bits.iter().flat_map(|bits| bits.to_le_bytes()).collect()
}

/// Little-endian bytes of elements of any dtype.
pub fn bytes_as(dtype: Dtype, bits: &[u64]) -> Vec<u8> {
    bits.iter()
        .flat_map(|bits| bits.to_le_bytes()[..dtype.size()].to_vec())
        .collect()
}

/// An operand that is read in row-major order of its own shape, with these strides.
pub fn operand(place: Place, dtype: Dtype, dims: &[u32], strides: &[i64]) -> Operand {
    Operand {
        place,
        dtype,
        dims: dims.to_vec(),
        base: 0,
        strides: strides.to_vec(),
        bounds: vec![],
    }
}

/// An operator of `operands` element by element over `count` elements.
pub fn elementwise(code: Code, to: Dtype, from: &[Dtype], count: u32) -> Descriptor {
    let places = [
        Place::Input(1),
        Place::Trace(4),
        Place::Weight(3),
        Place::Weight(5),
        Place::Inner(2),
    ];
    Descriptor {
        code,
        layer: 3,
        layer_inner_count: 6,
        place: Place::Inner(1),
        dtype: to,
        dims: vec![count],
        output_axes: vec![count],
        reduction_axes: vec![],
        params: vec![],
        operands: from
            .iter()
            .zip(places)
            .map(|(dtype, place)| operand(place, *dtype, &[count], &[1]))
            .collect(),
    }
}

/// `rows × n` times `n × columns` (the second stored transposed), with `addends` rows of biases.
pub fn matmul(rows: u32, n: u32, columns: u32, addends: usize) -> Descriptor {
    let mut operands = vec![
        operand(Place::Trace(0), Dtype::F32, &[rows, n], &[n.into(), 0, 1]),
        operand(Place::Weight(1), Dtype::F32, &[columns, n], &[0, n.into(), 1]),
    ];
    let places = [Place::Weight(2), Place::Inner(0), Place::Trace(7)];
    for place in places.into_iter().take(addends) {
        operands.push(operand(place, Dtype::F32, &[columns], &[0, 1, 0]));
    }
    Descriptor {
        code: Code::Contract,
        layer: 1,
        layer_inner_count: 2,
        place: Place::Trace(2),
        dtype: Dtype::F32,
        dims: vec![rows, columns],
        output_axes: vec![rows, columns],
        reduction_axes: vec![n],
        params: vec![],
        operands,
    }
}
