//! The judge in Rust and the judge contract, compiled, give the same outcome for the same bytes.
//!
//! A *case* is one witness. Each family is driven by a generator of operators with random and edge values; outputs are the honest
//! result, results a few units around the edge of the envelope, and arbitrary patterns. Damaged witnesses come on top.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;

use support::evm::Chain;
use support::families::{self, Case};
use support::{PROFILES, Stage, Stream, TENSOR, cases};
use touchstone_protocol::descriptor::{Code, Descriptor};
use touchstone_protocol::model::Profile;
use touchstone_protocol::witness::{Reason, Verdict, judge};

/// Cases of each family with whole witnesses, unless `TOUCHSTONE_CASES` says otherwise.
const CASES: u64 = 10_000;

/// Cases of a family whose rule depends on the profile's kind, of which there are four.
const SUMS: u64 = 4 * 12_500;

/// Runs a family's generator until there are `usual` cases, or as many as asked for; prints how they ended.
fn run(name: &str, seed: u64, usual: u64, mut generate: impl FnMut(&mut Stream) -> Case) {
    let mut chain = Chain::new();
    let mut stream = Stream(seed);
    let cases = cases(usual);
    let mut count = 0;
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<u64, u64> = BTreeMap::new();
    while count < cases {
        let case = generate(&mut stream);
        let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
        let context = stage.context();
        for element in 0..case.descriptor.elements() {
            let witness = stage.witness(element).unwrap();
            let outcome = chain.both(&context, &witness);
            *ends.entry(format!("{:?}", outcome.verdict)).or_default() += 1;
            *kinds.entry(case.profile >> 56).or_default() += 1;
            count += 1;
        }
    }
    println!("differential {name}: {count} cases, {ends:?}, by kind {kinds:?}");
    assert!(
        kinds.len() == 4 && kinds.values().all(|of| *of > count / 5),
        "{kinds:?}"
    );
    assert!(
        ends.get("Inside").is_some_and(|n| *n > count / 10),
        "too few are inside: {ends:?}"
    );
    assert!(
        ends.get("Outside").is_some_and(|n| *n > count / 10),
        "too few are outside: {ends:?}"
    );
    damaged(name, seed ^ 1, &mut chain, &mut generate);
}

/// Witnesses that are cut, extended, flipped, or whose context is another.
fn damaged(name: &str, seed: u64, chain: &mut Chain, generate: &mut impl FnMut(&mut Stream) -> Case) {
    let mut stream = Stream(seed);
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..12 {
        let case = generate(&mut stream);
        let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
        let context = stage.context();
        let good = stage.witness(stream.below(case.descriptor.elements())).unwrap();
        for kind in 0..30 {
            let mut witness = good.clone();
            let mut context = context.clone();
            let at = stream.below(witness.len() as u64) as usize;
            match kind % 10 {
                0 => witness.truncate(at),
                1 => witness.extend((0..1 + stream.below(40)).map(|i| i as u8)),
                2..=4 => witness[at] ^= 1 << stream.below(8),
                // The descriptor and what stands around it are where most rules are.
                5 | 6 => {
                    let at = 14 + stream.below(200) as usize % (witness.len() - 14);
                    witness[at] = stream.pick(&[0, 1, 2, 4, 5, 9, 16, 0x7f, 0x80, 0xff]);
                    // With the plan's proof made anew, so that the descriptor is looked at.
                    context.plan_root = replanned(&stage, &witness);
                    // Beyond what compile allows a verdict may run out of gas, which is none.
                    let length = usize::from(u16::from_be_bytes([witness[12], witness[13]]));
                    let changed = witness.get(14..14 + length).map(Descriptor::decode);
                    if changed.is_some_and(|d| d.is_ok_and(|d| d.terms() > 4096)) {
                        continue;
                    }
                }
                7 => witness[11] ^= 1 + stream.below(7) as u8,
                8 => {
                    let from = at.min(witness.len().saturating_sub(64));
                    witness[from..].rotate_left(32.min(good.len() - from));
                }
                _ => match stream.below(8) {
                    0 => context.layer = None,
                    1 => context.layer = context.layer.map(|(layer, root)| (layer + 1, root)),
                    2 => context.weights = stream.below(9) as u32,
                    3 => context.trace_values = stream.below(12) as u32,
                    4 => context.operators = stream.below(9) as u32,
                    5 => context.input_count = stream.below(5) as u32,
                    6 => context.output_count = stream.below(4) as u32,
                    _ => context.profile ^= 1 << stream.below(64),
                },
            }
            let outcome = chain.both(&context, &witness);
            let end = match outcome.verdict {
                Verdict::Refused(reason) => format!("{reason:?}"),
                other => format!("{other:?}"),
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!(
        "differential {name}, damaged: {} cases, {ends:?}",
        ends.values().sum::<u64>()
    );
    assert!(ends.len() >= 6, "too few kinds of refusal: {ends:?}");
}

/// Root of the plan as the witness's descriptor and proof have it.
fn replanned(stage: &Stage, witness: &[u8]) -> touchstone_protocol::digest::B256 {
    use touchstone_protocol::{descriptor, merkle};
    let length = usize::from(u16::from_be_bytes([witness[12], witness[13]]));
    let Some(bytes) = witness.get(14..14 + length) else {
        return stage.plan.root();
    };
    let siblings = stage.plan.proof(stage.operator.into()).unwrap();
    merkle::proof_root(&descriptor::leaf(bytes), stage.operator.into(), &siblings).unwrap()
}

#[test]
fn copy() {
    run("copy", 11, CASES, families::copy);
}

#[test]
fn exact() {
    run("exact", 12, CASES, families::exact);
}

#[test]
fn halves() {
    run("halves", 19, CASES, families::halves);
}

#[test]
fn contraction() {
    run("contraction", 13, SUMS, families::contraction);
}

/// Where factors become infinite, subnormal or 0 in a format.
#[test]
fn rounded_factors() {
    let mut chain = Chain::new();
    let mut stream = Stream(20);
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let (mut count, cases) = (0, cases(9_000));
    while count < cases {
        let case = families::rounded_factors(&mut stream);
        let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
        for element in 0..case.descriptor.elements() {
            let at = element as usize * 4;
            let y = u32::from_le_bytes(case.output[at..at + 4].try_into().unwrap());
            let outcome = chain.both(&stage.context(), &stage.witness(element).unwrap());
            let kind = if y & 0x7fff_ffff > 0x7f80_0000 {
                "NaN"
            } else if y & 0x7fff_ffff == 0x7f80_0000 {
                "infinite"
            } else {
                "finite"
            };
            *ends.entry(format!("{kind} {:?}", outcome.verdict)).or_default() += 1;
            count += 1;
        }
    }
    println!("differential rounded: {count} cases, {ends:?}");
    assert!(ends.len() == 6 && ends.values().all(|n| *n > count / 200), "{ends:?}");
}

#[test]
fn reduction() {
    run("reduction", 14, SUMS, families::reduction);
}

/// Through the whole judge; `differential_enclosure.rs` drives the leaves of these families with many more.
#[test]
fn enclosed() {
    run("bounded, softmax, normalize", 17, 6_000, families::enclosed);
}

/// Descriptors of all families with bytes changed, put in or taken out, under a plan that binds them: both decode the same ones and
/// go on alike.
#[test]
fn damaged_descriptors() {
    let mut chain = Chain::new();
    let mut stream = Stream(16);
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let makers = [
        families::copy,
        families::exact,
        families::halves,
        families::contraction,
        families::reduction,
        families::enclosed,
    ];
    for round in 0..200 {
        let case = makers[round % makers.len()](&mut stream);
        let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
        let witness = stage.witness(stream.below(case.descriptor.elements())).unwrap();
        let length = usize::from(u16::from_be_bytes([witness[12], witness[13]]));
        for _ in 0..20 {
            let mut descriptor = witness[14..14 + length].to_vec();
            for _ in 0..=stream.below(2) {
                let at = stream.below(descriptor.len() as u64) as usize;
                match stream.below(8) {
                    0 => drop(descriptor.remove(at)),
                    1 => descriptor.insert(at, stream.word() as u8),
                    2 => descriptor[at] = stream.pick(&[0, 1, 3, 5, 8, 9, 17, 0x7f, 0x80, 0xff]),
                    // Small steps near the front: codes, dtypes, counts.
                    3 => descriptor[at.min(60)] ^= 1 << stream.below(3),
                    _ => descriptor[at] = descriptor[at].wrapping_add(stream.below(5) as u8).wrapping_sub(2),
                }
            }
            // Beyond what compile allows a verdict may run out of gas, which is none.
            if Descriptor::decode(&descriptor).is_ok_and(|d| d.terms() > 4096) {
                continue;
            }
            let mut changed = witness[..12].to_vec();
            changed.extend((descriptor.len() as u16).to_be_bytes());
            changed.extend(&descriptor);
            changed.extend(&witness[14 + length..]);
            let mut context = stage.context();
            context.plan_root = replanned(&stage, &changed);
            let outcome = chain.both(&context, &changed);
            let end = match outcome.verdict {
                Verdict::Refused(reason) => format!("{reason:?}"),
                other => format!("{other:?}"),
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!(
        "differential descriptors: {} cases, {ends:?}",
        ends.values().sum::<u64>()
    );
    assert!(ends.len() >= 6, "too few kinds of ends: {ends:?}");
}

/// Descriptors with another code, axes, parameters, dtypes, strides or bounds: both decode the same ones.
#[test]
fn descriptors_against_every_rule() {
    use support::raw;
    let mut chain = Chain::new();
    let mut stream = Stream(18);
    let makers = [
        families::copy,
        families::exact,
        families::halves,
        families::contraction,
        families::reduction,
        families::enclosed,
    ];
    let mut decoded: BTreeMap<Code, [u64; 2]> = BTreeMap::new();
    for round in 0..400 {
        let case = makers[round % makers.len()](&mut stream);
        let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
        for _ in 0..16 {
            let mut d = case.descriptor.clone();
            for _ in 0..=stream.below(2) {
                raw::change(&mut stream, &mut d);
            }
            if d.terms() > 4096 {
                continue;
            }
            let bytes = raw::encode(&d);
            assert_eq!(Descriptor::decode(&bytes).is_ok(), d.check().is_ok());
            // The head alone: what follows is looked at only once the descriptor decodes.
            let mut witness = stage.operator.to_be_bytes().to_vec();
            witness.extend([0; 8]);
            witness.extend((bytes.len() as u16).to_be_bytes());
            witness.extend(&bytes);
            let mut context = stage.context();
            context.plan_root = replanned(&stage, &witness);
            let proof = stage.plan.proof(stage.operator.into()).unwrap();
            proof.iter().for_each(|sibling| witness.extend(sibling.0));
            let outcome = chain.both(&context, &witness);
            decoded.entry(d.code).or_default()[usize::from(outcome.verdict == Verdict::Undecodable)] += 1;
        }
    }
    println!("differential descriptors by code, [decoded, undecodable]: {decoded:?}");
    assert!(decoded.len() > 30, "every code but the rarest comes up");
}

/// Both know the same profiles: every word of one or two bits' difference from a profile's, and any.
#[test]
fn profiles() {
    let mut chain = Chain::new();
    let mut stream = Stream(19);
    let case = families::contraction(&mut stream);
    let stage = Stage::new(&case.descriptor, &case.operands, &case.output);
    let witness = stage.witness(0).unwrap();
    let mut known = 0;
    let mut hold = |profile: u64| {
        let context = touchstone_protocol::witness::Context {
            profile,
            ..stage.context()
        };
        let refused = chain.both(&context, &witness).verdict == Verdict::Refused(Reason::Profile);
        assert_eq!(refused, Profile::decode(profile).is_err(), "{profile:#018x}");
        known += u64::from(!refused);
    };
    for profile in PROFILES.into_iter().chain(TENSOR) {
        for bit in 0..64 {
            (bit..64).for_each(|other| hold(profile ^ (1 << bit) ^ (1 << other)));
            hold(profile ^ (1 << bit));
        }
        hold(profile);
    }
    (0..500).for_each(|_| hold(stream.word()));
    (0..=0xffff)
        .step_by(8)
        .for_each(|block| hold(PROFILES[1] & !(0xffff << 32) | block << 32));
    // Two bits exchange one block for another, in eleven ways; two flips of one bit are none.
    assert!(known > 6 * 65 + 11 + 12, "{known}");
}

/// The judge refuses or decides any bytes at all, alike.
#[test]
fn arbitrary_bytes() {
    let mut chain = Chain::new();
    let mut stream = Stream(15);
    let case = families::contraction(&mut stream);
    let context = Stage::new(&case.descriptor, &case.operands, &case.output).context();
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length).map(|_| stream.word() as u8 & stream.word() as u8).collect();
        let outcome = chain.both(&context, &bytes);
        assert!(matches!(outcome.verdict, Verdict::Refused(_)));
        assert_eq!(outcome, judge(&context, &bytes));
    }
}
