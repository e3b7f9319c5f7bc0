//! What the tests of this crate share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

pub mod evaluate;
mod zip;

use std::{collections::BTreeMap, path::PathBuf};

use touchstone_model::{Plan, Tensor, tensor_file};

pub use zip::zip;

/// The folder of committed model files.
pub fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

/// Names of the suite's models.
pub fn suite() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(models().join("suite"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_string()))
        .collect();
    names.sort();
    names
}

pub fn read(path: &str) -> Vec<u8> {
    std::fs::read(models().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn npy(path: &str) -> Tensor {
    tensor_file::read_npy(&read(path)).unwrap()
}

/// The arrays of an `.npz`; arrays of other dtypes are left out.
pub fn npz(path: &str) -> BTreeMap<String, Tensor> {
    let bytes = read(path);
    let array = |(name, bytes): (String, &[u8])| {
        Some((
            name.trim_end_matches(".npy").to_string(),
            tensor_file::read_npy(bytes).ok()?,
        ))
    };
    zip(&bytes).into_iter().filter_map(array).collect()
}

/// An ONNX value name as the fixtures spell it in file names.
pub fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// One element along the first axis, kept.
pub fn nth(tensor: &Tensor, n: usize) -> Tensor {
    let size = tensor.bytes.len() / tensor.dims[0] as usize;
    let mut dims = tensor.dims.clone();
    dims[0] = 1;
    Tensor::new(tensor.dtype, dims, &tensor.bytes[n * size..(n + 1) * size]).unwrap()
}

/// Greatest difference of two lists, relative to the greatest magnitude.
pub fn distance(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let finite = expected.iter().filter(|x| x.is_finite());
    let scale = finite.fold(1e-30f64, |scale, x| scale.max(x.abs()));
    actual
        .iter()
        .zip(expected)
        .map(|(a, b)| {
            let same = a == b || (a.is_nan() && b.is_nan());
            if same { 0.0 } else { (a - b).abs() / scale }
        })
        .fold(0.0, |m, x| if x.is_nan() { f64::INFINITY } else { m.max(x) })
}

/// Deterministic numbers (xorshift), so that a failure can be found again.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// The bytes with one to four of them changed or dropped.
pub fn damaged(original: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.next() as u8,
            2 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][numbers.below(4)],
            _ => {
                bytes.remove(at);
            }
        }
    }
    bytes
}

/// Runs a plan on zeros if it is small: the evaluator asserts that every offset is within its operand. Every plan has a model
/// id unless all its inputs are bound.
pub fn check_offsets(plan: &Plan) {
    assert_eq!(plan.header().is_err(), plan.inputs.is_empty());
    let elements: u64 = plan
        .operators
        .iter()
        .map(|d| d.elements().saturating_mul(d.terms()))
        .fold(0, u64::saturating_add);
    if elements < 200_000 {
        let zeros = |io: &touchstone_model::plan::Io| {
            let count = io.dims.iter().product::<u32>() as usize;
            Tensor::new(io.dtype, io.dims.clone(), vec![0; count * io.dtype.size()]).unwrap()
        };
        evaluate::run(plan, &plan.inputs.iter().map(zeros).collect::<Vec<_>>());
    }
}
