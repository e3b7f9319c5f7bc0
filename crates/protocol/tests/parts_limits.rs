//! How long an operator may be, and that sums of the longest ones fit their words.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alloy_primitives::U256;
use touchstone_protocol::descriptor::{Code, Descriptor, Dtype, Place};
use touchstone_protocol::model::Profile;
use touchstone_protocol::parts::{
    Header, check_totals, depth, is_long, leaves, most_terms, one_shot_terms, part_count, step, terms,
};
use touchstone_protocol::witness::Verdict;

use support::evm::Chain;
use support::{Stage, bytes_of, elementwise, operand};

const FAST: u64 = Profile::FAST.encode();
const WIDE: u64 = Profile::WIDE.encode();
const ONE: u32 = 0x3f80_0000;

/// A sum of `terms` times the same number.
fn repeated(code: Code, terms: u32) -> Descriptor {
    Descriptor {
        reduction_axes: vec![terms],
        operands: vec![operand(Place::Trace(5), Dtype::F32, &[1], &[0, 0])],
        ..elementwise(code, Dtype::F32, &[], 1)
    }
}

#[test]
fn the_least_that_is_long() {
    for (code, most) in [
        (Code::Contract, 4096),
        (Code::Sum, 4096),
        (Code::Mean, 4096),
        (Code::Softmax, 1024),
        (Code::LayerNorm, 2048),
        (Code::MaxPool, 256),
        (Code::ArgMax, 256),
    ] {
        assert_eq!(one_shot_terms(code), most);
        assert!(!is_long(&repeated(code, most as u32)) && is_long(&repeated(code, most as u32 + 1)));
    }
}

/// A header's words have up to 64 bits; of those of a number 32 count.
#[test]
fn bits_beyond_a_numbers_do_not_count() {
    let ones = bytes_of(&[0x3f80_0000; 300]);
    let d = Descriptor {
        reduction_axes: vec![300],
        operands: vec![operand(Place::Trace(5), Dtype::F32, &[300], &[0, 1])],
        ..elementwise(Code::ArgMax, Dtype::I64, &[], 1)
    };
    let stage = Stage::new(&d, std::slice::from_ref(&ones), &5u64.to_le_bytes());
    let witness = stage.part(0, 0).unwrap();
    for own in [0x3f80_0000u64, 0x1_3f80_0000, 0xffff_ffff_3f80_0000] {
        let header = Header {
            free: U256::ZERO,
            y: U256::from(5),
            own: U256::from(own),
        };
        let mut chain = Chain::new();
        for (before, verdict) in [(5, Verdict::Inside), (0, Verdict::Outside)] {
            let (outcome, _) = chain.part(&stage.context(), &witness, 0, &header, &[U256::from(before)]);
            assert_eq!(outcome.verdict, verdict, "{own:#x}");
        }
    }
}

#[test]
fn parts_cover_all_terms_once() {
    for count in [257, 1025, 4097, 9 * 1024, 9 * 1024 + 1, 1 << 20, 1 << 24] {
        let d = repeated(Code::MaxPool, count);
        assert_eq!(u64::from(leaves(&d)), u64::from(count).div_ceil(1024));
        let mut nodes = vec![(depth(&d), 0)];
        let mut covered = 0;
        let mut rounds = 0;
        while nodes[0].0 > 0 {
            rounds += 1;
            let below = |(level, index): &(u32, u32)| {
                let (level, index, step) = (*level, *index, step(*level));
                let parts = part_count(leaves(&d), level, index) as u32;
                assert!((1..=8).contains(&parts));
                (0..parts).map(move |child| (level - step, (index << step) + child))
            };
            nodes = nodes.iter().flat_map(below).collect();
        }
        for (level, index) in nodes {
            let range = terms(&d, level, index);
            assert_eq!(range.start, covered);
            assert!(range.end > range.start && range.end - range.start <= 1024);
            covered = range.end;
        }
        assert_eq!(covered, u64::from(count));
        // The totals, four splits and a proof are all the answers there are: a round ends with one.
        assert!(rounds <= 5, "{rounds}");
    }
}

/// 2^20 terms, 2^24 under `wide`; one more is undecodable, whoever asks and in whatever way.
#[test]
fn a_longer_operator_is_undecodable() {
    let mut chain = Chain::new();
    for (profile, most) in [
        (FAST, 1 << 20),
        (Profile::blocked(64).unwrap().encode(), 1 << 20),
        (WIDE, 1 << 24),
    ] {
        assert_eq!(most_terms(profile), most);
        for more in [0, 1] {
            let d = repeated(Code::Sum, most as u32 + more);
            // 2^24 terms more than a descriptor takes have no encoding, so there is no plan to put it in.
            if d.terms() > 1 << 24 {
                assert!(d.encode().is_err());
                continue;
            }
            let stage = Stage::new(&d, &[bytes_of(&[ONE])], &bytes_of(&[0])).under(profile);
            let (context, head) = (stage.context(), stage.head(0).unwrap());
            // That many ones, in units of 2^-300, and their count.
            let total = U256::from(d.terms()) << 44usize;
            let mut totals = [U256::ZERO; 9];
            (totals[2], totals[8]) = (total, U256::from(d.terms()));
            let (outcome, _, _) = chain.totals(&context, &head, U256::ZERO, &totals);
            let expected = if more == 0 {
                Verdict::Outside
            } else {
                Verdict::Undecodable
            };
            assert_eq!(outcome.verdict, expected);
            // The last leaf, of ones.
            let leaf = leaves(&d) - 1;
            let count = d.terms() - u64::from(leaf) * 1024;
            let mut sums = [U256::ZERO; 9];
            (sums[2], sums[8]) = (U256::from(count) << 44usize, U256::from(count));
            let part = stage.part(0, leaf).unwrap();
            let (outcome, _) = chain.part(&context, &part, leaf, &Default::default(), &sums);
            let expected = if more == 0 {
                Verdict::Inside
            } else {
                Verdict::Undecodable
            };
            assert_eq!(outcome.verdict, expected);
            let at_once = chain.both(&context, &head).verdict;
            assert_eq!(at_once == Verdict::Undecodable, more == 1);
        }
    }
}

/// A row of +x and −x in equal parts, x the greatest number, has every sum as large as it gets; its results are ±1. With a window a bit
/// wider than it is 8nQ overflows.
#[test]
fn the_sums_of_the_longest_layer_norm_fit() {
    for (profile, n) in [(WIDE, 1u32 << 24), (FAST, 1 << 20), (WIDE, 2050)] {
        let d = Descriptor {
            reduction_axes: vec![n],
            params: vec![0x3727_c5ac, 0],
            operands: vec![
                operand(Place::Trace(5), Dtype::F32, &[1], &[0, 0]),
                operand(Place::Weight(0), Dtype::F32, &[1], &[0, 0]),
                operand(Place::Weight(6), Dtype::F32, &[1], &[0, 0]),
            ],
            ..elementwise(Code::LayerNorm, Dtype::F32, &[], n)
        };
        // The greatest number; under `fast` one whose square does not overflow, nor the sum of them.
        let largest = if profile == WIDE { 0x7f7f_ffffu32 } else { 0x52ff_ffff };
        let operands = [largest, ONE, 0].map(|x| bytes_of(&[x]));
        let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
        let (x, count) = (U256::from(0x00ff_ffff) << 54usize, U256::from(n));
        let totals = [U256::ZERO, count * x * x, count * x, count << 32usize];
        let free = U256::from(largest >> 23);
        let mut output = vec![0; 4 * n as usize];
        let mut inside = |y: f32| {
            output[..4].copy_from_slice(&y.to_le_bytes());
            let check = check_totals(&d, profile, &operands, &output, 0, free, &totals).unwrap();
            check.expect("these totals are a row's").inside
        };
        assert!(inside(1.0), "{n}");
        // K(n)·u is 1/16 of 2^20 terms; else it is next to nothing.
        let off = if profile == FAST { 0.5 } else { 1e-6 };
        assert!(!inside(1.0 + off) && !inside(1.0 - off) && !inside(-1.0), "{n}");
        // A row with larger sums is none.
        let mut more = totals;
        more[1] = (count << 156usize) + U256::ONE;
        output[..4].copy_from_slice(&bytes_of(&[ONE]));
        assert_eq!(check_totals(&d, profile, &operands, &output, 0, free, &more), Ok(None));
    }
}

/// The window is wide enough: of a row with one large pair, its mean 0 and its 0 at the place, truncation admits less than K(n) does.
#[test]
fn the_window_of_a_long_row_adds_nothing_that_shows() {
    let n = 2049u32;
    let mut row = vec![0f32; n as usize];
    (row[0], row[1]) = (1.5, -1.5);
    let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
    let judged = touchstone_protocol::enclosure::LayerNormRow::new(WIDE, &bits, 0x0080_0000);
    let k = touchstone_protocol::enclosure::moment_roundings(n as usize) as f64;
    // D/σ = K·u·mean|x|/σ, with mean|x| = 3/n and σ² = 4.5/n; beside it the quotient's roundings are nothing.
    let reach = k * 2f64.powi(-53) * (3.0 / f64::from(n)) / (4.5 / f64::from(n)).sqrt();
    let inside = |share: f64| judged.check(5, ONE, 0, ((reach * share) as f32).to_bits()).inside;
    assert!(inside(0.999) && !inside(1.001));
}

/// The largest product in its largest lane, 2^24 times: the sums are some terms', and a bit more is not.
#[test]
fn sums_of_the_largest_products_fit_their_lanes() {
    let n = 1u32 << 24;
    let d = Descriptor {
        reduction_axes: vec![n],
        operands: vec![
            operand(Place::Trace(5), Dtype::F32, &[1], &[0, 0]),
            operand(Place::Weight(0), Dtype::F32, &[1], &[0, 0]),
        ],
        ..elementwise(Code::Contract, Dtype::F32, &[], 1)
    };
    let operands = [bytes_of(&[ONE]), bytes_of(&[ONE])];
    let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
    let mut totals = [U256::ZERO; 9];
    totals[8] = U256::from(n);
    let most = (U256::from(0x00ff_ffffu64 * 0x00ff_ffff) << 127usize) * U256::from(n);
    for lane in 0..8 {
        for (sum, known) in [(most, true), (U256::ONE << 199usize, false)] {
            totals[lane] = sum;
            let check = check_totals(&d, WIDE, &operands, &bytes_of(&[ONE]), 0, U256::ZERO, &totals).unwrap();
            assert_eq!(check.is_some(), known, "{lane}");
        }
        totals[lane] = U256::ZERO;
    }
    // Where factors may be rounded a term weighs up to 1 + 2^10 besides, and there are 2^20.
    let terms = 1u32 << 20;
    let shorter = Descriptor {
        reduction_axes: vec![terms],
        ..d.clone()
    };
    let most = (U256::from(0x00ff_ffffu64 * 0x00ff_ffff * 1025) << 127usize) * U256::from(terms);
    let mut rounded = [U256::ZERO; 18];
    rounded[8] = U256::from(terms);
    for lane in 9..17 {
        for (sum, known) in [(most, true), (U256::ONE << 206usize, false)] {
            rounded[lane] = sum;
            let fp16 = Profile::FP16.encode();
            let check = check_totals(&shorter, fp16, &operands, &bytes_of(&[ONE]), 0, U256::ZERO, &rounded).unwrap();
            assert_eq!(check.is_some(), known, "{lane}");
        }
        rounded[lane] = U256::ZERO;
    }
    totals[8] += U256::ONE;
    let check = check_totals(&d, WIDE, &operands, &bytes_of(&[ONE]), 0, U256::ZERO, &totals);
    assert_eq!(check, Ok(None), "more terms than there are");
}
