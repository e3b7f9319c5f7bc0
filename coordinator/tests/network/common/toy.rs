//! A model that nobody can run, for paths on which nobody has to: two inputs' worth of numbers in, one out, two trace values.

use touchstone_chain::{Address, B256, bindings::IModelRegistry};
use touchstone_protocol::{
    claim::inputs_hash,
    descriptor::Dtype,
    digest,
    model::{Io, ModelHeader, Profile, Spec},
    tensor,
};

/// Two f32.
pub const INPUT: [u8; 8] = [0, 0, 128, 63, 0, 0, 0, 64];
/// One f32.
pub const OUTPUT: [u8; 4] = [0, 0, 64, 64];
/// The model file.
pub const FILE: &[u8] = b"a model file";

fn io() -> Io {
    let spec = |dim| Spec {
        dtype: Dtype::F32,
        dims: vec![dim],
    };
    Io {
        inputs: vec![spec(2)],
        outputs: vec![spec(1)],
    }
}

fn header() -> ModelHeader {
    ModelHeader {
        plan_root: B256::repeat_byte(0x11),
        weights_root: B256::repeat_byte(0x22),
        operators: 4,
        weights: 1,
        trace_values: 2,
        layers: 1,
        profile: Profile::FAST.encode(),
        io: digest::hash(io().encode().unwrap()),
    }
}

pub fn model_id(publisher: Address) -> B256 {
    header().id(publisher)
}

pub fn publish_call() -> IModelRegistry::publishCall {
    let header = header();
    IModelRegistry::publishCall {
        header: (&header).into(),
        io: io().encode().unwrap().into(),
        uri: "somewhere".to_owned(),
        digest: digest::hash(FILE),
        price: touchstone_chain::U256::from(1_000),
    }
}

pub fn inputs() -> B256 {
    inputs_hash(&[tensor::commit(Dtype::F32, &[2], &INPUT).unwrap()])
}

pub fn output_commitment(output: &[u8]) -> B256 {
    tensor::commit(Dtype::F32, &[1], output).unwrap()
}

/// The trace: two values with their shapes.
pub fn trace() -> [(Vec<u32>, Vec<u8>); 2] {
    [(vec![3], vec![1; 12]), (vec![100_000], vec![2; 400_000])]
}

pub fn trace_commitments() -> Vec<B256> {
    trace()
        .iter()
        .map(|(dims, bytes)| tensor::commit(Dtype::F32, dims, bytes).unwrap())
        .collect()
}
