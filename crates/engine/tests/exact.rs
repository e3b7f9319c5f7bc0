//! Exact operators: libtorch, the reference and a direct evaluation agree bit for bit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Noise, bools, both, i32s, i64s, operand, plan, specials, vector};
use touchstone_engine::Value;
use touchstone_protocol::descriptor::{Code, Dtype};

/// Every pair of specials, then random bits.
fn pairs() -> (Vec<f32>, Vec<f32>) {
    let (s, mut noise) = (specials(), Noise(1));
    let mut pairs: Vec<(f32, f32)> = s.iter().flat_map(|a| s.iter().map(|b| (*a, *b))).collect();
    pairs.extend((0..20000).map(|_| (noise.bits(), noise.bits())));
    pairs.extend((0..20000).map(|_| {
        let a = noise.bits();
        (a, f32::from_bits(a.to_bits() ^ (noise.next() as u32 & 0x8000_ffff)))
    }));
    pairs.into_iter().unzip()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn float_arithmetic_rounds_correctly() {
    let (a, b) = pairs();
    type Direct = fn(f64, f64) -> f64;
    // fp64 has more than twice the bits of fp32, so rounding its result again is rounding once.
    let table: [(Code, Direct); 6] = [
        (Code::Add, |a, b| a + b),
        (Code::Sub, |a, b| a - b),
        (Code::Mul, |a, b| a * b),
        (Code::Div, |a, b| a / b),
        (Code::Min, f64::min),
        (Code::Max, f64::max),
    ];
    for (code, direct) in table {
        let case = plan(
            code,
            Dtype::F32,
            &[a.len() as u32],
            &[],
            &[],
            vec![operand(vector(&a), 0, &[1]), operand(vector(&b), 0, &[1])],
        );
        let (torch, reference) = both(&case);
        for (k, (t, r)) in torch
            .to_f32()
            .unwrap()
            .iter()
            .zip(reference.to_f32().unwrap())
            .enumerate()
        {
            let want = direct(a[k].into(), b[k].into()) as f32;
            for got in [*t, r] {
                let free = matches!(code, Code::Min | Code::Max)
                    && (got == want || ((a[k].is_nan() || b[k].is_nan()) && got.is_nan()));
                assert!(free || same(got, want), "{code:?} {} {}: {got} for {want}", a[k], b[k]);
            }
        }
    }
}

#[test]
fn float_unary_operators_are_exact() {
    let (mut a, _) = pairs();
    a.truncate(30000);
    type Direct = fn(f32) -> f32;
    let table: [(Code, Direct); 4] = [
        (Code::Sqrt, |a| f64::from(a).sqrt() as f32),
        (Code::Neg, |a| f32::from_bits(a.to_bits() ^ 0x8000_0000)),
        (Code::Abs, |a| f32::from_bits(a.to_bits() & 0x7fff_ffff)),
        (Code::Relu, |a| if a > 0.0 || a.is_nan() { a } else { 0.0 }),
    ];
    for (code, direct) in table {
        let case = plan(
            code,
            Dtype::F32,
            &[a.len() as u32],
            &[],
            &[],
            vec![operand(vector(&a), 0, &[1])],
        );
        let (torch, reference) = both(&case);
        for (k, (t, r)) in torch
            .to_f32()
            .unwrap()
            .iter()
            .zip(reference.to_f32().unwrap())
            .enumerate()
        {
            for got in [*t, r] {
                let free = code == Code::Relu && got == direct(a[k]);
                assert!(free || same(got, direct(a[k])), "{code:?} {}: {got}", a[k]);
            }
        }
    }
}

fn wide(code: Code, a: i64, b: i64) -> i128 {
    let (a, b) = (i128::from(a), i128::from(b));
    match code {
        Code::Add => a + b,
        Code::Sub => a - b,
        Code::Mul => a * b,
        Code::Div => {
            if b == 0 {
                0
            } else {
                a / b
            }
        }
        Code::Min => a.min(b),
        _ => a.max(b),
    }
}

#[test]
fn integer_arithmetic_wraps_and_division_is_total() {
    let mut noise = Noise(2);
    let mut s = vec![
        0,
        1,
        -1,
        2,
        -2,
        7,
        -7,
        i64::MIN,
        i64::MAX,
        i32::MIN.into(),
        i32::MAX.into(),
        1 << 32,
    ];
    s.extend((0..60).map(|k| noise.next() as i64 >> (k % 60)));
    let (a, b): (Vec<i64>, Vec<i64>) = s.iter().flat_map(|a| s.iter().map(|b| (*a, *b))).unzip();
    let (a32, b32): (Vec<i32>, Vec<i32>) = a.iter().zip(&b).map(|(a, b)| (*a as i32, *b as i32)).unzip();
    let n = [a.len() as u32];
    for code in [Code::Add, Code::Sub, Code::Mul, Code::Div, Code::Min, Code::Max] {
        let (torch, reference) = both(&plan(
            code,
            Dtype::I64,
            &n,
            &[],
            &[],
            vec![operand(i64s(&n, &a), 0, &[1]), operand(i64s(&n, &b), 0, &[1])],
        ));
        let want: Vec<i64> = a.iter().zip(&b).map(|(a, b)| wide(code, *a, *b) as i64).collect();
        assert_eq!(torch, i64s(&n, &want), "{code:?}");
        assert_eq!(reference, i64s(&n, &want), "{code:?}");
        let (torch, reference) = both(&plan(
            code,
            Dtype::I32,
            &n,
            &[],
            &[],
            vec![operand(i32s(&n, &a32), 0, &[1]), operand(i32s(&n, &b32), 0, &[1])],
        ));
        let want: Vec<i32> = a32
            .iter()
            .zip(&b32)
            .map(|(a, b)| wide(code, (*a).into(), (*b).into()) as i32)
            .collect();
        assert_eq!(torch, i32s(&n, &want), "{code:?}");
        assert_eq!(reference, i32s(&n, &want), "{code:?}");
    }
    for code in [Code::Neg, Code::Abs] {
        let (torch, reference) = both(&plan(
            code,
            Dtype::I64,
            &n,
            &[],
            &[],
            vec![operand(i64s(&n, &a), 0, &[1])],
        ));
        let want: Vec<i64> = a
            .iter()
            .map(|a| {
                if code == Code::Neg {
                    a.wrapping_neg()
                } else {
                    a.wrapping_abs()
                }
            })
            .collect();
        assert_eq!((torch, reference), (i64s(&n, &want), i64s(&n, &want)), "{code:?}");
        let (torch, reference) = both(&plan(
            code,
            Dtype::I32,
            &n,
            &[],
            &[],
            vec![operand(i32s(&n, &a32), 0, &[1])],
        ));
        let want: Vec<i32> = a32
            .iter()
            .map(|a| {
                if code == Code::Neg {
                    a.wrapping_neg()
                } else {
                    a.wrapping_abs()
                }
            })
            .collect();
        assert_eq!((torch, reference), (i32s(&n, &want), i32s(&n, &want)), "{code:?}");
    }
}

#[test]
fn casts_saturate_wrap_and_round() {
    let mut noise = Noise(3);
    let mut floats = specials();
    floats.extend((0..3000).map(|_| noise.bits()));
    floats.extend((0..3000).map(|_| noise.float() * 3e9));
    let mut integers: Vec<i64> = (0..3000).map(|k| noise.next() as i64 >> (k % 60)).collect();
    // Halfway between fp32 neighbours and one beside: conversion through fp64 would round twice.
    integers.extend([
        i64::MIN,
        i64::MAX,
        (1 << 24) + 1,
        (1 << 54) + (1 << 30) + 1,
        (1 << 54) + (1 << 30),
        -(1 << 54) - (1 << 30) - 1,
    ]);
    integers.extend([0x4000_0040_0000_0001, 0x7fff_ff40_0000_0001, 0x4000_0040_0000_0000]);
    let narrow: Vec<i32> = integers.iter().map(|i| *i as i32).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    let sources = [
        vector(&floats),
        i64s(&[integers.len() as u32], &integers),
        i32s(&[narrow.len() as u32], &narrow),
        Value::new(Dtype::U8, [256], bytes.clone()).unwrap(),
        bools(&[false, true]),
    ];
    let targets = [Dtype::F32, Dtype::I64, Dtype::I32, Dtype::U8, Dtype::Bool];
    for source in &sources {
        for target in targets {
            let case = plan(
                Code::Cast,
                target,
                &source.dims,
                &[],
                &[],
                vec![operand(source.clone(), 0, &[1])],
            );
            let (torch, reference) = both(&case);
            assert_eq!(torch, reference, "{:?} to {target:?}", source.dtype);
        }
    }
    // The reference is Rust's `as`; the rule in numbers for what is easy to get wrong.
    let odd = vector(&[
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.9,
        300.0,
        -300.0,
        2147483648.0,
        -2147483648.0,
    ]);
    let cast = |to| {
        both(&plan(
            Code::Cast,
            to,
            &[8],
            &[],
            &[],
            vec![operand(odd.clone(), 0, &[1])],
        ))
        .0
    };
    assert_eq!(
        cast(Dtype::I32),
        i32s(&[8], &[0, i32::MAX, i32::MIN, 0, 300, -300, i32::MAX, i32::MIN])
    );
    assert_eq!(
        cast(Dtype::I64),
        i64s(&[8], &[0, i64::MAX, i64::MIN, 0, 300, -300, 1 << 31, -(1 << 31)])
    );
    assert_eq!(*cast(Dtype::U8).bytes, [0, 255, 0, 0, 255, 0, 255, 0]);
    assert_eq!(*cast(Dtype::Bool).bytes, [1; 8]);
    let wide = i64s(
        &[3],
        &[(1 << 54) + (1 << 30) + 1, (1 << 54) + (1 << 30), 0x7fff_ff40_0000_0001],
    );
    let (torch, _) = both(&plan(
        Code::Cast,
        Dtype::F32,
        &[3],
        &[],
        &[],
        vec![operand(wide, 0, &[1])],
    ));
    assert_eq!(
        torch.to_f32().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
        [0x5a80_0001, 0x5a80_0000, 0x5eff_ffff]
    );
}

#[test]
fn comparisons_take_nan_as_false_and_logic_is_logic() {
    let s = specials();
    let (a, b): (Vec<f32>, Vec<f32>) = s.iter().flat_map(|a| s.iter().map(|b| (*a, *b))).unzip();
    type Holds = fn(f32, f32) -> bool;
    let table: [(Code, Holds); 5] = [
        (Code::Equal, |a, b| a == b),
        (Code::Less, |a, b| a < b),
        (Code::LessEq, |a, b| a <= b),
        (Code::Greater, |a, b| a > b),
        (Code::GreaterEq, |a, b| a >= b),
    ];
    for (code, holds) in table {
        let n = [a.len() as u32];
        let want = bools(&a.iter().zip(&b).map(|(a, b)| holds(*a, *b)).collect::<Vec<_>>());
        let got = both(&plan(
            code,
            Dtype::Bool,
            &n,
            &[],
            &[],
            vec![operand(vector(&a), 0, &[1]), operand(vector(&b), 0, &[1])],
        ));
        assert_eq!(got, (want.clone(), want), "{code:?}");
        let (ai, bi): (Vec<i64>, Vec<i64>) = a.iter().zip(&b).map(|(a, b)| (*a as i64, *b as i64)).unzip();
        let (t, r) = both(&plan(
            code,
            Dtype::Bool,
            &n,
            &[],
            &[],
            vec![operand(i64s(&n, &ai), 0, &[1]), operand(i64s(&n, &bi), 0, &[1])],
        ));
        assert_eq!(t, r, "{code:?}");
    }
    let (p, q) = (bools(&[false, false, true, true]), bools(&[false, true, false, true]));
    let logic = |code, operands| both(&plan(code, Dtype::Bool, &[4], &[], &[], operands));
    let two = || vec![operand(p.clone(), 0, &[1]), operand(q.clone(), 0, &[1])];
    let (and, or, not) = (
        bools(&[false, false, false, true]),
        bools(&[false, true, true, true]),
        bools(&[true, true, false, false]),
    );
    assert_eq!(logic(Code::And, two()), (and.clone(), and));
    assert_eq!(logic(Code::Or, two()), (or.clone(), or));
    assert_eq!(logic(Code::Not, vec![operand(p.clone(), 0, &[1])]), (not.clone(), not));
}

#[test]
fn where_gives_bits_and_operands_broadcast() {
    // [2, 3] from a condition by column, a by row and one b, with NaN payloads kept.
    let payload = f32::from_bits(0xffc1_2345);
    let case = plan(
        Code::Where,
        Dtype::F32,
        &[2, 3],
        &[],
        &[],
        vec![
            operand(bools(&[true, false, true]), 0, &[0, 1]),
            operand(vector(&[payload, 7.0]), 0, &[1, 0]),
            operand(vector(&[-0.0]), 0, &[0, 0]),
        ],
    );
    let (torch, reference) = both(&case);
    assert_eq!(torch, reference);
    let bits: Vec<u32> = torch.to_f32().unwrap().iter().map(|x| x.to_bits()).collect();
    assert_eq!(
        bits,
        [
            payload.to_bits(),
            0x8000_0000,
            payload.to_bits(),
            7f32.to_bits(),
            0x8000_0000,
            7f32.to_bits()
        ]
    );
}
