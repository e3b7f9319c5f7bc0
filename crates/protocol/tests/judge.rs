//! The judge on whole operators and on witnesses, and that the two agree.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Stage, Stream, bytes_as, bytes_of, elementwise, matmul, operand};
use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Place};
use touchstone_protocol::judge::{self, judge_element, judge_operator};
use touchstone_protocol::model::Profile;
use touchstone_protocol::witness::{Reason, Verdict, judge};

const FAST: u64 = Profile::FAST.encode();

fn slices(operands: &[Vec<u8>]) -> Vec<&[u8]> {
    operands.iter().map(Vec::as_slice).collect()
}

/// Judges every element by witness and in memory, and expects the same.
fn both(descriptor: &Descriptor, operands: &[Vec<u8>], output: &[u8]) -> Vec<Verdict> {
    let stage = Stage::new(descriptor, operands, output);
    let context = stage.context();
    (0..descriptor.elements())
        .map(|element| {
            let outcome = judge(&context, &stage.witness(element).unwrap());
            let direct = judge_element(descriptor, FAST, &slices(operands), output, element).unwrap();
            let expect = match direct {
                judge::Verdict::Inside => Verdict::Inside,
                judge::Verdict::Outside => Verdict::Outside,
                judge::Verdict::Undecodable => Verdict::Undecodable,
            };
            assert_eq!(outcome.verdict, expect, "element {element}");
            assert_eq!(
                (outcome.operator, outcome.layer, outcome.element),
                (stage.operator, descriptor.layer, element)
            );
            outcome.verdict
        })
        .collect()
}

fn float_product(rows: usize, n: usize, columns: usize, a: &[u32], b: &[u32], c: &[u32]) -> Vec<u32> {
    let f = |bits: u32| f32::from_bits(bits);
    (0..rows * columns)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            let products = (0..n).map(|i| f(a[row * n + i]) * f(b[column * n + i]));
            (products.sum::<f32>() + c.get(column).map_or(0.0, |c| f(*c))).to_bits()
        })
        .collect()
}

#[test]
fn an_honest_product_is_inside_and_a_wrong_element_is_not() {
    let mut stream = Stream(1);
    let (rows, n, columns) = (3, 70, 5);
    let d = matmul(rows as u32, n as u32, columns as u32, 1);
    let mut numbers = |count: usize| (0..count).map(|_| stream.number()).collect::<Vec<_>>();
    let (a, b, c) = (numbers(rows * n), numbers(columns * n), numbers(columns));
    let operands = [bytes_of(&a), bytes_of(&b), bytes_of(&c)];
    let mut y = float_product(rows, n, columns, &a, &b, &c);
    assert_eq!(
        both(&d, &operands, &bytes_of(&y)),
        vec![Verdict::Inside; rows * columns]
    );
    let report = judge_operator(&d, FAST, &slices(&operands), &bytes_of(&y)).unwrap();
    assert_eq!((report.elements, report.outside), ((rows * columns) as u64, 0));
    assert!(
        report.worst.unwrap().1 < 1 << 31,
        "an honest sum stays far inside: {:?}",
        report.worst
    );
    y[7] ^= 1 << 20;
    let verdicts = both(&d, &operands, &bytes_of(&y));
    assert!(
        verdicts
            .iter()
            .enumerate()
            .all(|(at, v)| (*v == Verdict::Outside) == (at == 7)),
        "{verdicts:?}"
    );
    let report = judge_operator(&d, FAST, &slices(&operands), &bytes_of(&y)).unwrap();
    assert_eq!(
        (report.outside, report.first_outside, report.worst.unwrap().0),
        (1, Some(7), 7)
    );
}

#[test]
fn a_padded_convolution_counts_only_terms_in_bounds() {
    // One channel, 4 × 4, kernel 3 × 3, padding 1: all ones give the number of terms in bounds.
    let d = Descriptor {
        code: Code::Contract,
        layer: 0,
        layer_inner_count: 0,
        place: Place::Output(1),
        dtype: Dtype::F32,
        dims: vec![1, 1, 4, 4],
        output_axes: vec![4, 4],
        reduction_axes: vec![3, 3],
        params: vec![],
        operands: vec![
            touchstone_protocol::descriptor::Operand {
                base: -5,
                bounds: vec![
                    Bound {
                        extent: 4,
                        constant: -1,
                        terms: vec![(0, 1), (2, 1)],
                    },
                    Bound {
                        extent: 4,
                        constant: -1,
                        terms: vec![(1, 1), (3, 1)],
                    },
                ],
                ..operand(Place::Input(0), Dtype::F32, &[4, 4], &[4, 1, 4, 1])
            },
            operand(Place::Weight(0), Dtype::F32, &[3, 3], &[0, 0, 3, 1]),
        ],
    };
    let ones = |count| bytes_of(&vec![0x3f80_0000u32; count]);
    let expect: Vec<f32> = (0..16)
        .map(|at| [2.0, 3.0, 3.0, 2.0][at / 4] * [2.0, 3.0, 3.0, 2.0][at % 4])
        .collect();
    let bits: Vec<u32> = expect.iter().map(|x| x.to_bits()).collect();
    assert_eq!(
        both(&d, &[ones(16), ones(9)], &bytes_of(&bits)),
        vec![Verdict::Inside; 16]
    );
    // An infinite weight that meets only padding at this corner may have been multiplied by zero, or not.
    let mut weights = vec![0x3f80_0000u32; 9];
    weights[0] = 0x7f80_0000;
    for (y, verdict) in [
        (0x7fc0_0000, Verdict::Inside),
        (4f32.to_bits(), Verdict::Inside),
        (0x7f80_0000, Verdict::Outside),
    ] {
        let mut y_bits = bits.clone();
        y_bits[0] = y;
        assert_eq!(
            both(&d, &[ones(16), bytes_of(&weights)], &bytes_of(&y_bits))[0],
            verdict,
            "{y:#x}"
        );
    }
}

#[test]
fn copies_take_the_first_operand_in_bounds_or_the_fill() {
    // Concat of 3 and 4 elements with one element of padding behind.
    let part = |place, count: u32, base: i64| touchstone_protocol::descriptor::Operand {
        base: -base,
        bounds: vec![Bound {
            extent: count,
            constant: -base,
            terms: vec![(0, 1)],
        }],
        ..operand(place, Dtype::I64, &[count], &[1])
    };
    let d = Descriptor {
        params: vec![0xffff_ffff, 0xffff_fff7],
        operands: vec![part(Place::Input(0), 3, 0), part(Place::Weight(6), 4, 3)],
        ..elementwise(Code::Copy, Dtype::I64, &[], 8)
    };
    let operands = [bytes_as(Dtype::I64, &[1, 2, 3]), bytes_as(Dtype::I64, &[4, 5, 6, 7])];
    let y = [1, 2, 3, 4, 5, 6, 7, -9i64 as u64];
    assert_eq!(both(&d, &operands, &bytes_as(Dtype::I64, &y)), vec![Verdict::Inside; 8]);
    let wrong = y.map(|y| y ^ (1 << 40));
    assert_eq!(
        both(&d, &operands, &bytes_as(Dtype::I64, &wrong)),
        vec![Verdict::Outside; 8]
    );
}

#[test]
fn gathers_wrap_and_clamp_their_index() {
    let d = Descriptor {
        dims: vec![5, 2],
        output_axes: vec![5, 2],
        params: vec![3, 2],
        operands: vec![
            operand(Place::Weight(0), Dtype::U8, &[3, 2], &[0, 1]),
            operand(Place::Trace(8), Dtype::I32, &[5], &[1, 0]),
        ],
        ..elementwise(Code::Gather, Dtype::U8, &[], 10)
    };
    let index: Vec<u64> = [0i32, -1, 2, 900, -900].iter().map(|k| u64::from(*k as u32)).collect();
    let operands = [vec![10, 11, 20, 21, 30, 31], bytes_as(Dtype::I32, &index)];
    let y = [10, 11, 30, 31, 30, 31, 30, 31, 10, 11];
    assert_eq!(both(&d, &operands, &y), vec![Verdict::Inside; 10]);
    assert_eq!(both(&d, &operands, &y.map(|y| y + 1)), vec![Verdict::Outside; 10]);
}

#[test]
fn means_divide_by_the_terms_in_bounds_or_by_all() {
    for (mode, expect) in [(0, [1.5f32, 2.0, 2.5]), (1, [1.0, 2.0, 5.0 / 3.0])] {
        let d = Descriptor {
            dims: vec![3],
            output_axes: vec![3],
            reduction_axes: vec![3],
            params: vec![mode],
            operands: vec![touchstone_protocol::descriptor::Operand {
                base: -1,
                bounds: vec![Bound {
                    extent: 3,
                    constant: -1,
                    terms: vec![(0, 1), (1, 1)],
                }],
                ..operand(Place::Input(0), Dtype::F32, &[3], &[1, 1])
            }],
            ..elementwise(Code::Mean, Dtype::F32, &[], 3)
        };
        let x = bytes_of(&[1f32, 2.0, 3.0].map(f32::to_bits));
        assert_eq!(
            both(&d, std::slice::from_ref(&x), &bytes_of(&expect.map(f32::to_bits))),
            vec![Verdict::Inside; 3]
        );
        let wrong = expect.map(|y| (y * 1.001).to_bits());
        assert_eq!(both(&d, &[x], &bytes_of(&wrong)), vec![Verdict::Outside; 3]);
    }
}

#[test]
fn an_offset_beyond_its_operand_is_undecodable() {
    let mut d = elementwise(Code::Neg, Dtype::F32, &[Dtype::F32], 4);
    d.operands[0].strides = vec![2];
    let x = vec![0u8; 16];
    let report = judge_operator(&d, FAST, &[&x], &bytes_of(&[0x8000_0000; 4])).unwrap();
    assert_eq!((report.first_undecodable, report.outside), (Some(2), 0));
    let stage = Stage::new(&d, &[x], &bytes_of(&[0x8000_0000; 4]));
    assert_eq!(
        judge(&stage.context(), &stage.witness(1).unwrap()).verdict,
        Verdict::Inside
    );
    // Nobody can make a witness for element 2, but its head says enough.
    let mut witness = stage.witness(1).unwrap();
    witness[11] = 2;
    assert_eq!(judge(&stage.context(), &witness).verdict, Verdict::Undecodable);
}

#[test]
fn every_way_to_refuse_has_its_reason() {
    let d = matmul(2, 70, 3, 2);
    let operands = [vec![0u8; 560], vec![0u8; 840], vec![0u8; 12], vec![0u8; 12]];
    let stage = Stage::new(&d, &operands, &[0u8; 24]);
    let context = stage.context();
    let witness = stage.witness(4).unwrap();
    let reason = |context: &_, witness: &[u8]| judge(context, witness).verdict;
    assert_eq!(reason(&context, &witness), Verdict::Inside);
    for cut in 0..witness.len() {
        assert_eq!(
            reason(&context, &witness[..cut]),
            Verdict::Refused(Reason::Truncated),
            "{cut}"
        );
    }
    let mut longer = witness.clone();
    longer.push(0);
    assert_eq!(reason(&context, &longer), Verdict::Refused(Reason::Trailing));
    // Every single bit of the witness matters.
    let mut flipped = witness.clone();
    for at in 0..witness.len() {
        flipped[at] ^= 1;
        assert!(matches!(reason(&context, &flipped), Verdict::Refused(_)), "{at}");
        flipped[at] ^= 1;
    }
    let mut contexts = Vec::new();
    let mut with = |change: &dyn Fn(&mut touchstone_protocol::witness::Context), expect: Reason| {
        let mut other = context.clone();
        change(&mut other);
        contexts.push((other, expect));
    };
    let other = support::bytes_of(&[7; 8]);
    let other = touchstone_protocol::digest::B256::from_slice(&other);
    with(&|c| c.operators = 2, Reason::OperatorIndex);
    with(&|c| c.plan_root = other, Reason::PlanProof);
    with(&|c| c.inputs = other, Reason::InputsList);
    with(&|c| c.input_count = 2, Reason::InputsList);
    with(&|c| c.outputs = other, Reason::OutputsList);
    with(&|c| c.weights = 1, Reason::PlaceIndex);
    with(&|c| c.trace_values = 1, Reason::PlaceIndex);
    with(&|c| c.weights_root = other, Reason::PlaceProof);
    with(&|c| c.trace_root = other, Reason::PlaceProof);
    with(&|c| c.layer = None, Reason::LayerRootMissing);
    with(&|c| c.layer = Some((0, stage.layer.root())), Reason::LayerRootMissing);
    with(&|c| c.layer = Some((1, other)), Reason::PlaceProof);
    with(&|c| c.profile = 0, Reason::Profile);
    for (context, expect) in contexts {
        assert_eq!(reason(&context, &witness), Verdict::Refused(expect));
    }
    let mut element = witness.clone();
    element[4..12].copy_from_slice(&6u64.to_be_bytes());
    assert_eq!(reason(&context, &element), Verdict::Refused(Reason::ElementIndex));
    let mut chunk = witness.clone();
    *chunk.last_mut().unwrap() ^= 1;
    assert_eq!(reason(&context, &chunk), Verdict::Refused(Reason::ChunkRange));
}
