//! Which bits the judge reads and how many roundings it counts: what a family's rule cannot see by itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{bytes_as, bytes_of, elementwise, matmul, operand};
use touchstone_protocol::descriptor::{Bound, Code, Descriptor, Dtype, Operand, Place};
use touchstone_protocol::judge::{Verdict, judge_element};
use touchstone_protocol::model::Profile;

const ONE: u32 = 0x3f80_0000;
const TWO: u32 = 0x4000_0000;

fn inside(d: &Descriptor, operands: &[Vec<u8>], output: &[u8], element: u64) -> bool {
    let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
    judge_element(d, Profile::FAST.encode(), &operands, output, element).unwrap() == Verdict::Inside
}

#[test]
fn where_takes_its_second_operand_if_the_first_is_true() {
    let d = elementwise(Code::Where, Dtype::I32, &[Dtype::Bool, Dtype::I32, Dtype::I32], 3);
    let of = |bits: &[u64]| bytes_as(Dtype::I32, bits);
    let operands = [vec![1, 0, 2], of(&[10, 11, 12]), of(&[20, 21, 22])];
    let (right, wrong) = (of(&[10, 21, 12]), of(&[20, 11, 22]));
    assert!((0..3).all(|e| inside(&d, &operands, &right, e) && !inside(&d, &operands, &wrong, e)));
}

/// A copy of two operands of two elements; the second is in bounds everywhere, the first at element 0.
fn overlapping(dtype: Dtype, fill: [u32; 2]) -> Descriptor {
    let part = |place, extent: u32, constant: i64| Operand {
        bounds: vec![Bound {
            extent,
            constant,
            terms: vec![(0, 1)],
        }],
        ..operand(place, dtype, &[2], &[1])
    };
    Descriptor {
        params: fill.to_vec(),
        operands: vec![part(Place::Input(0), 1, 0), part(Place::Weight(6), 2, 0)],
        ..elementwise(Code::Copy, dtype, &[], 2)
    }
}

#[test]
fn the_first_operand_in_bounds_is_copied() {
    let d = overlapping(Dtype::U8, [0, 0]);
    let operands = [vec![1, 2], vec![3, 4]];
    assert!(inside(&d, &operands, &[1, 4], 0) && inside(&d, &operands, &[1, 4], 1));
    assert!(!inside(&d, &operands, &[3, 2], 0) && !inside(&d, &operands, &[3, 2], 1));
}

#[test]
fn the_fill_is_cut_to_the_dtype() {
    for (dtype, fill) in [
        (Dtype::U8, 0x88),
        (Dtype::F32, 0x5566_7788),
        (Dtype::F16, 0x7788),
        (Dtype::Bf16, 0x7788),
        (Dtype::I64, 0x1122_3344_5566_7788),
    ] {
        let mut d = overlapping(dtype, [0x1122_3344, 0x5566_7788]);
        // Nothing is in bounds.
        d.operands.iter_mut().for_each(|o| o.bounds[0].constant = 7);
        let operands = vec![vec![0; 2 * dtype.size()]; 2];
        assert!(inside(&d, &operands, &bytes_as(dtype, &[fill; 2]), 0), "{dtype:?}");
        assert!(!inside(&d, &operands, &bytes_as(dtype, &[fill ^ 1; 2]), 0), "{dtype:?}");
    }
}

#[test]
fn an_addend_in_bounds_counts_as_a_term_and_no_other() {
    // 1·1 + 1 = 2, k = 2: a last place of 2 is inside; with one rounding it would not be.
    let mut d = matmul(1, 1, 1, 1);
    let operands = [bytes_of(&[ONE]), bytes_of(&[ONE]), bytes_of(&[ONE])];
    assert!(inside(&d, &operands, &bytes_of(&[TWO + 1]), 0) && !inside(&d, &operands, &bytes_of(&[TWO + 2]), 0));
    // Out of bounds it is 0 and no rounding: 1·1, k = 1, and a last place above 1 is 2 u.
    d.operands[2].bounds = vec![Bound {
        extent: 1,
        constant: 5,
        terms: vec![(1, 1)],
    }];
    assert!(inside(&d, &operands, &bytes_of(&[ONE]), 0) && !inside(&d, &operands, &bytes_of(&[ONE + 1]), 0));
    assert!(inside(&d, &operands, &bytes_of(&[ONE - 1]), 0) && !inside(&d, &operands, &bytes_of(&[ONE - 2]), 0));
}

#[test]
fn terms_count_where_both_factors_are_in_bounds() {
    // Two terms of one factor, one of the other: k = 1, whichever it is.
    for short in [0, 1] {
        let mut d = matmul(1, 2, 1, 0);
        d.operands[short].bounds = vec![Bound {
            extent: 1,
            constant: 0,
            terms: vec![(2, 1)],
        }];
        let operands = [bytes_of(&[ONE, ONE]), bytes_of(&[ONE, ONE])];
        assert!(inside(&d, &operands, &bytes_of(&[ONE]), 0), "{short}");
        assert!(!inside(&d, &operands, &bytes_of(&[ONE + 1]), 0), "{short}");
        // With both: S = 2, k = 2.
        d.operands[short].bounds.clear();
        assert!(inside(&d, &operands, &bytes_of(&[TWO + 1]), 0) && !inside(&d, &operands, &bytes_of(&[TWO + 2]), 0));
    }
}

#[test]
fn a_mean_divides_by_its_terms_in_bounds_or_by_all() {
    for (mode, y) in [(0, ONE), (1, 0x3f00_0000)] {
        let d = Descriptor {
            dims: vec![1],
            output_axes: vec![1],
            reduction_axes: vec![2],
            params: vec![mode],
            operands: vec![Operand {
                bounds: vec![Bound {
                    extent: 1,
                    constant: 0,
                    terms: vec![(1, 1)],
                }],
                ..operand(Place::Input(0), Dtype::F32, &[2], &[0, 1])
            }],
            ..elementwise(Code::Mean, Dtype::F32, &[], 1)
        };
        let x = [bytes_of(&[ONE, ONE])];
        assert!(
            inside(&d, &x, &bytes_of(&[y]), 0) && !inside(&d, &x, &bytes_of(&[y ^ (1 << 23)]), 0),
            "{mode}"
        );
    }
}
