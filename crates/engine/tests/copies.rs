//! Copy and Gather: both engines give the bits that the protocol's index maps name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Limit, Noise, Operand_, both, bounded, elements, i32s, i64s, offset, operand, plan};
use touchstone_engine::{Engine, EngineError, Keep, Reference, Value};
use touchstone_model::plan::Plan;
use touchstone_protocol::descriptor::{Code, Dtype};

fn bytes(dtype: Dtype, dims: &[u32], noise: &mut Noise) -> Value {
    let count = dims.iter().product::<u32>() as usize * dtype.size();
    let mask = if dtype == Dtype::Bool { 1 } else { 255 };
    Value::new(
        dtype,
        dims,
        (0..count).map(|_| noise.next() as u8 & mask).collect::<Vec<u8>>(),
    )
    .unwrap()
}

/// The output of a Copy, read off the maps.
fn direct(case: &(Arc<Plan>, Vec<Value>), fill: u64) -> Vec<u8> {
    let d = &case.0.operators[0];
    let size = d.dtype.size();
    let element = |e| {
        (0..d.operands.len())
            .find_map(|k| offset(d, k, e, 0).map(|at| case.1[k].bytes[at * size..(at + 1) * size].to_vec()))
            .unwrap_or_else(|| fill.to_le_bytes()[..size].to_vec())
    };
    (0..elements(d)).flat_map(element).collect()
}

type Operands = fn(Dtype, &mut Noise) -> Vec<Operand_>;

#[test]
fn copies_give_the_mapped_bits_for_every_dtype() {
    let cases: [(&[u32], Operands); 6] = [
        // Transpose.
        (&[4, 2, 3], |t, r| {
            vec![operand(bytes(t, &[2, 3, 4], r), 0, &[1, 12, 4])]
        }),
        // A contiguous slice, whose libtorch view starts inside the memory.
        (&[2, 4], |t, r| vec![operand(bytes(t, &[5, 4], r), 8, &[4, 1])]),
        // Slice with negative steps.
        (&[2, 3], |t, r| vec![operand(bytes(t, &[4, 6], r), 23, &[-12, -2])]),
        // Expand.
        (&[3, 2, 4], |t, r| vec![operand(bytes(t, &[4], r), 0, &[0, 0, 1])]),
        // Concat of [2, 2] and [2, 3] along the second axis.
        (&[2, 5], |t, r| {
            vec![
                bounded(bytes(t, &[2, 2], r), 0, &[2, 1], &[(2, 0, &[(1, 1)])]),
                bounded(bytes(t, &[2, 3], r), -2, &[3, 1], &[(3, -2, &[(1, 1)])]),
            ]
        }),
        // Pad of [3, 3] by one on each side.
        (&[5, 5], |t, r| {
            vec![bounded(
                bytes(t, &[3, 3], r),
                -4,
                &[3, 1],
                &[(3, -1, &[(0, 1)]), (3, -1, &[(1, 1)])],
            )]
        }),
    ];
    let mut noise = Noise(4);
    for (number, (output, make)) in cases.iter().enumerate() {
        for dtype in Dtype::ALL {
            let fill = if dtype == Dtype::Bool { 1 } else { 0x0123_4567_ffc0_ffc1 };
            let params = [(fill >> 32) as u32, fill as u32];
            let case = plan(Code::Copy, dtype, output, &[], &params, make(dtype, &mut noise));
            let want = Value::new(dtype, *output, direct(&case, fill)).unwrap();
            assert_eq!(both(&case), (want.clone(), want), "case {number} {dtype:?}");
        }
    }
}

#[test]
fn an_im2col_copy_has_factored_axes_and_padding() {
    // [1, 2, 4, 4], 3 x 3 windows, padding 1, stride 1: [positions 4, 4][channel 2, 3, 3].
    let mut noise = Noise(5);
    let x = bytes(Dtype::F32, &[1, 2, 4, 4], &mut noise);
    let bounds: [Limit<'_>; 2] = [(4, -1, &[(0, 1), (3, 1)]), (4, -1, &[(1, 1), (4, 1)])];
    let case = plan(
        Code::Copy,
        Dtype::F32,
        &[4, 4, 2, 3, 3],
        &[],
        &[0, 0],
        vec![bounded(x, -5, &[4, 1, 16, 4, 1], &bounds)],
    );
    let want = Value::new(Dtype::F32, [4, 4, 2, 3, 3], direct(&case, 0)).unwrap();
    assert_eq!(both(&case), (want.clone(), want));
}

#[test]
fn gather_wraps_negative_indices_once_and_clamps() {
    let data = i32s(&[4, 2], &[0, 1, 10, 11, 20, 21, 30, 31]);
    let index = [0i64, 3, -1, -4, -5, 4, i64::MAX, i64::MIN];
    let want = i32s(&[8, 2], &[0, 1, 30, 31, 30, 31, 0, 1, 0, 1, 30, 31, 30, 31, 0, 1]);
    let make = |index| {
        plan(
            Code::Gather,
            Dtype::I32,
            &[8, 2],
            &[],
            &[4, 2],
            vec![operand(data.clone(), 0, &[0, 1]), operand(index, 0, &[1, 0])],
        )
    };
    assert_eq!(both(&make(i64s(&[8], &index))), (want.clone(), want.clone()));
    let narrow: Vec<i32> = index
        .iter()
        .map(|i| (*i).clamp(i32::MIN.into(), i32::MAX.into()) as i32)
        .collect();
    assert_eq!(both(&make(i32s(&[8], &narrow))), (want.clone(), want));
}

#[test]
fn a_map_beyond_its_operand_is_an_error_in_both_engines() {
    let mut noise = Noise(6);
    let cases = [
        plan(
            Code::Copy,
            Dtype::F32,
            &[3],
            &[],
            &[0, 0],
            vec![operand(bytes(Dtype::F32, &[4], &mut noise), 0, &[2])],
        ),
        plan(
            Code::Copy,
            Dtype::F32,
            &[3],
            &[],
            &[0, 0],
            vec![operand(bytes(Dtype::F32, &[4], &mut noise), -1, &[1])],
        ),
        plan(
            Code::Copy,
            Dtype::F32,
            &[3],
            &[],
            &[0, 0],
            vec![operand(bytes(Dtype::F32, &[4], &mut noise), 1, &[-1])],
        ),
        plan(
            Code::Copy,
            Dtype::F32,
            &[3],
            &[],
            &[0, 0],
            vec![bounded(
                bytes(Dtype::F32, &[4], &mut noise),
                2,
                &[1],
                &[(9, 0, &[(0, 1)])],
            )],
        ),
        plan(
            Code::Gather,
            Dtype::F32,
            &[1],
            &[],
            &[5, 1],
            vec![
                operand(bytes(Dtype::F32, &[4], &mut noise), 0, &[0]),
                operand(i64s(&[1], &[4]), 0, &[0]),
            ],
        ),
    ];
    for (number, (plan, inputs)) in cases.iter().enumerate() {
        for engine in [&Reference as &dyn Engine, &*common::TORCH] {
            let result = engine.run(plan, inputs, Keep::All);
            assert!(
                matches!(result, Err(EngineError::Operator { operator: 0, .. })),
                "case {number} {}: {result:?}",
                engine.name()
            );
        }
    }
}
