//! Long operators with values: the families, rows of every kind, lengths that are no multiple of a leaf.

use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::fp32;

use crate::support::{Stream, bytes_as, bytes_of, elementwise, operand};

/// An operator and the values of its operands; its output is zeros.
pub struct Long {
    pub descriptor: Descriptor,
    pub operands: Vec<Vec<u8>>,
    pub profile: u64,
}

impl Long {
    pub fn operands(&self) -> Vec<&[u8]> {
        self.operands.iter().map(Vec::as_slice).collect()
    }

    /// An output whose `element` has these bits.
    pub fn output(&self, element: u64, bits: u64) -> Vec<u8> {
        let d = &self.descriptor;
        let size = d.dtype.size();
        let mut output = vec![0; d.elements() as usize * size];
        let at = element as usize * size;
        output[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
        output
    }
}

/// Every code that has terms.
pub const CODES: [Code; 7] = [
    Code::Contract,
    Code::Sum,
    Code::Mean,
    Code::Softmax,
    Code::LayerNorm,
    Code::MaxPool,
    Code::ArgMax,
];

/// Rows of moderate numbers, with specials, of little but zeros, with ties, with little but specials, huge, tiny.
pub fn row(stream: &mut Stream, count: u32) -> Vec<u32> {
    let kind = stream.below(8);
    (0..count)
        .map(|_| match kind {
            0 | 1 => stream.number(),
            2 if stream.below(400) == 0 => stream.pattern(),
            3 if stream.below(50) != 0 => (stream.word() as u32) & fp32::SIGN,
            4 => stream.pick(&[0x3f80_0000, 0x4000_0000, 0xbf80_0000, 0, fp32::SIGN]),
            5 => stream.pick(&[fp32::NAN, fp32::INFINITY, fp32::SIGN | fp32::INFINITY, 0xff7f_ffff]),
            6 => ((stream.word() as u32) & 0x80ff_ffff) | 0x7e80_0000,
            7 => (stream.word() as u32) & 0x83ff_ffff,
            _ => stream.number(),
        })
        .collect()
}

/// A long operator of `code` with `terms` terms, which is more than its code takes at once.
pub fn long(stream: &mut Stream, code: Code, terms: u32) -> Long {
    let profile = stream.profile();
    let f32s = |stream: &mut Stream, count| bytes_of(&row(stream, count));
    let (descriptor, operands) = match code {
        Code::Contract => contraction(stream, terms),
        Code::Softmax | Code::LayerNorm => {
            // Rows over the last axis; the values of the first row alone matter.
            let more = if code == Code::LayerNorm { 2 } else { 0 };
            let places = [Place::Weight(0), Place::Weight(6)];
            let mut operands = vec![operand(Place::Trace(5), Dtype::F32, &[terms], &[0, 1])];
            operands.extend(
                places[..more]
                    .iter()
                    .map(|at| operand(*at, Dtype::F32, &[terms], &[1, 0])),
            );
            let params = if code == Code::LayerNorm {
                vec![0x3727_c5ac, 0]
            } else {
                vec![0]
            };
            let descriptor = Descriptor {
                reduction_axes: vec![terms],
                params,
                operands,
                ..elementwise(code, Dtype::F32, &[], terms)
            };
            let values = (0..=more).map(|_| f32s(stream, terms)).collect();
            (descriptor, values)
        }
        Code::ArgMax => {
            let dtype = stream.pick(&[Dtype::F32, Dtype::F32, Dtype::I32, Dtype::I64]);
            let to = stream.pick(&[Dtype::I32, Dtype::I64]);
            let descriptor = Descriptor {
                reduction_axes: vec![terms],
                operands: vec![operand(Place::Trace(0), dtype, &[terms], &[0, 1])],
                ..elementwise(code, to, &[], 1)
            };
            let bits: Vec<u64> = row(stream, terms).into_iter().map(|x| x as i32 as i64 as u64).collect();
            (descriptor, vec![bytes_as(dtype, &bits)])
        }
        _ => window(stream, code, terms),
    };
    Long {
        descriptor,
        operands,
        profile,
    }
}

/// Products of which some have no partner: runs of three terms, the second factor ending early.
fn contraction(stream: &mut Stream, terms: u32) -> (Descriptor, Vec<Vec<u8>>) {
    let outer = terms.div_ceil(3);
    let n = 3 * outer;
    let bound = |extent: u32, axis: u8| Bound {
        extent,
        constant: 0,
        terms: vec![(axis, 1)],
    };
    // Output axes: one of a single element; reduction axes: outer, 3.
    let a = operand(Place::Trace(0), Dtype::F32, &[n], &[0, 3, 1]);
    let b = Operand {
        bounds: vec![bound(outer - 1 - stream.below(400) as u32, 1), bound(2, 2)],
        ..operand(Place::Weight(1), Dtype::F32, &[n], &[0, 3, 1])
    };
    let addend = operand(Place::Weight(2), Dtype::F32, &[1], &[1, 0, 0]);
    let descriptor = Descriptor {
        reduction_axes: vec![outer, 3],
        operands: vec![a, b, addend],
        ..elementwise(Code::Contract, Dtype::F32, &[], 1)
    };
    let values = [n, n, 1].map(|count| bytes_of(&row(stream, count)));
    (descriptor, values.into())
}

/// Terms along a line of which the first are before its beginning and the last beyond its end.
fn window(stream: &mut Stream, code: Code, terms: u32) -> (Descriptor, Vec<Vec<u8>>) {
    let (before, after) = (stream.below(1500) as u32, stream.below(1500) as u32);
    let size = terms.saturating_sub(before + after);
    let descriptor = Descriptor {
        reduction_axes: vec![terms],
        params: if code == Code::Mean {
            vec![stream.below(2) as u32]
        } else {
            vec![]
        },
        operands: vec![Operand {
            base: -i64::from(before),
            bounds: vec![Bound {
                extent: size,
                constant: -i64::from(before),
                terms: vec![(1, 1)],
            }],
            ..operand(Place::Inner(4), Dtype::F32, &[size], &[0, 1])
        }],
        ..elementwise(code, Dtype::F32, &[], 1)
    };
    (descriptor, vec![bytes_of(&row(stream, size))])
}
