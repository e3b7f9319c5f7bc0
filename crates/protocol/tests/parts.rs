//! Judging by parts: on true sums it says what the whole row says, a false total or part is found by going down, and the compiled
//! contracts say the same, of damaged evidence too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "parts/cases.rs"]
mod cases;
#[path = "parts/gas.rs"]
mod gas;
mod support;

use std::collections::BTreeMap;

use alloy_primitives::U256;
use cases::{CODES, Long, long};
use support::evm::Chain;
use support::{Stage, Stream, cases as count_of};
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::judge::{self, judge_element};
use touchstone_protocol::parts::{
    Header, LEAF_TERMS, add_up, check_totals, depth, header, is_long, leaves, one_shot_terms, part_count, parts, step,
    sums, terms, word_count,
};
use touchstone_protocol::witness::{Reason, Verdict, judge_part};

/// More terms than one transaction judges, by up to three leaves.
fn length(stream: &mut Stream, code: Code) -> u32 {
    one_shot_terms(code) as u32 + 1 + stream.below(3 * LEAF_TERMS) as u32
}

/// Results that a row may have: what its own judge may take for right, the edges of that, and anything.
fn result(stream: &mut Stream, case: &Long, element: u64) -> u64 {
    let d = &case.descriptor;
    if d.code == Code::ArgMax {
        return match stream.below(4) {
            0 => stream.below(d.terms() + 2).wrapping_sub(stream.below(2)),
            _ => first_inside(case, element, (0..d.terms()).step_by(1)).unwrap_or(7),
        };
    }
    let values = case.operands[0]
        .chunks_exact(4)
        .map(|x| u32::from_le_bytes([x[0], x[1], x[2], x[3]]));
    match stream.below(6) {
        0 => stream.pattern().into(),
        1 => stream.pick(&[0x7fc0_0000, 0x7f80_0000, 0xff80_0000, 0, 0x8000_0000, 0xff7f_ffff]),
        2 if d.code == Code::MaxPool => values.clone().next().unwrap_or(0).into(),
        _ => {
            let sum: f64 = values.clone().map(|x| f64::from(f32::from_bits(x))).sum();
            let most = values.clone().map(f32::from_bits).fold(f32::NEG_INFINITY, f32::max);
            let honest = match d.code {
                Code::MaxPool => most,
                Code::Softmax => {
                    let of = |x: u32| f64::from(f32::from_bits(x) - most).exp();
                    let total: f64 = values.clone().map(of).sum();
                    (of(values.clone().nth(element as usize).unwrap_or(0)) / total) as f32
                }
                Code::Mean => (sum / d.terms() as f64) as f32,
                _ => sum as f32,
            };
            u64::from(honest.to_bits().wrapping_add(stream.below(9) as u32).wrapping_sub(4))
        }
    }
}

fn first_inside(case: &Long, element: u64, candidates: impl Iterator<Item = u64>) -> Option<u64> {
    let value = |at: u64| {
        let dtype = case.descriptor.operands[0].dtype;
        let size = dtype.size();
        let bytes = &case.operands[0][at as usize * size..][..size];
        let bits = bytes.iter().rev().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        if size == 8 {
            bits as i64 as f64
        } else {
            f64::from(f32::from_bits(bits as u32))
        }
    };
    // The greatest by value is the one, of floats and of long integers; then its judge says.
    let greatest = candidates.reduce(|a, b| if value(b) > value(a) { b } else { a })?;
    let output = case.output(element, greatest);
    let verdict = judge_element(&case.descriptor, case.profile, &case.operands(), &output, element);
    (verdict == Ok(judge::Verdict::Inside)).then_some(greatest)
}

/// The sums of every leaf.
fn leaf_sums(case: &Long, element: u64, header: &Header) -> Vec<Vec<U256>> {
    let d = &case.descriptor;
    (0..leaves(d))
        .map(|leaf| sums(d, case.profile, &case.operands(), element, header, &terms(d, 0, leaf)).unwrap())
        .collect()
}

#[test]
fn true_sums_say_what_the_row_says() {
    let mut stream = Stream(71);
    let mut ends: BTreeMap<(Code, bool), u64> = BTreeMap::new();
    for _ in 0..count_of(40) {
        for code in CODES {
            let terms = length(&mut stream, code);
            let case = long(&mut stream, code, terms);
            let d = &case.descriptor;
            assert!(is_long(d));
            let element = stream.below(d.elements());
            for _ in 0..3 {
                let output = case.output(element, result(&mut stream, &case, element));
                let operands = case.operands();
                let head = header(d, case.profile, &operands, &output, element).unwrap();
                let words = word_count(d, case.profile);
                let totals = add_up(&leaf_sums(&case, element, &head).concat(), words);
                // The parts of the root add up to the same.
                let parts = parts(d, case.profile, &operands, element, &head, depth(d), 0).unwrap();
                assert_eq!(parts.len(), part_count(leaves(d), depth(d), 0));
                assert_eq!(add_up(&parts.concat(), words), totals);
                let check = check_totals(d, case.profile, &operands, &output, element, head.free, &totals).unwrap();
                let inside = check.expect("true totals are some terms'").inside;
                let verdict = judge_element(d, case.profile, &operands, &output, element).unwrap();
                assert_eq!(inside, verdict == judge::Verdict::Inside, "{code:?} {head:?}");
                *ends.entry((code, inside)).or_default() += 1;
            }
        }
    }
    println!("{ends:?}");
    assert_eq!(
        ends.len(),
        2 * CODES.len(),
        "each code is met inside and outside: {ends:?}"
    );
}

/// A worker's lie: sums of leaves of which some are false, and the totals that they add up to.
fn lie(stream: &mut Stream, leaves: &mut [Vec<U256>]) {
    for _ in 0..1 + stream.below(3) {
        let leaf = stream.below(leaves.len() as u64) as usize;
        let word = stream.below(leaves[leaf].len() as u64) as usize;
        let by = match stream.below(3) {
            0 => U256::ONE << stream.below(256) as usize,
            1 => U256::from(stream.word()),
            _ => U256::ONE,
        };
        leaves[leaf][word] = leaves[leaf][word].wrapping_add(by);
    }
}

/// Goes down to the first part that is not what its terms add up to, as a challenger does; the leaf, if there is one.
fn descend(case: &Long, element: u64, header: &Header, claimed: &[Vec<U256>]) -> Option<u32> {
    let d = &case.descriptor;
    let (mut level, mut index) = (depth(d), 0);
    // A root without parts is its own.
    loop {
        let mine = parts(d, case.profile, &case.operands(), element, header, level, index).unwrap();
        let below = step(level);
        let theirs = (0..mine.len()).map(|child| {
            let first = (((index << below) + child as u32) << (level - below)) as usize;
            let end = (first + (1 << (level - below))).min(claimed.len());
            add_up(&claimed[first..end].concat(), mine[child].len())
        });
        let child = mine.iter().zip(theirs).position(|(mine, theirs)| *mine != theirs)?;
        index = (index << below) + child as u32;
        level -= below;
        if level == 0 {
            return Some(index);
        }
    }
}

#[test]
fn a_false_sum_is_found_by_going_down_and_a_true_one_stands() {
    let mut stream = Stream(72);
    let mut chain = Chain::new();
    for round in 0..count_of(6) {
        for code in CODES {
            let terms = length(&mut stream, code);
            let case = long(&mut stream, code, terms);
            let d = &case.descriptor;
            let element = stream.below(d.elements());
            let output = case.output(element, result(&mut stream, &case, element));
            let stage = Stage::new(d, &case.operands, &output).under(case.profile);
            let context = stage.context();
            let honest = header(d, case.profile, &case.operands(), &output, element).unwrap();
            let truth = leaf_sums(&case, element, &honest);
            assert_eq!(descend(&case, element, &honest, &truth), None);
            // Every true leaf stands; the contract is asked for one.
            for (leaf, sums) in truth.iter().enumerate() {
                let witness = stage.part(element, leaf as u32).unwrap();
                let outcome = if leaf as u64 == round % truth.len() as u64 {
                    chain.part(&context, &witness, leaf as u32, &honest, sums).0
                } else {
                    judge_part(&context, &witness, leaf as u32, &honest, sums)
                };
                assert_eq!(outcome.verdict, Verdict::Inside, "{code:?} leaf {leaf}");
            }
            for _ in 0..3 {
                let mut claimed = truth.clone();
                lie(&mut stream, &mut claimed);
                if claimed == truth {
                    continue;
                }
                let leaf = descend(&case, element, &honest, &claimed).expect("a false leaf");
                let witness = stage.part(element, leaf).unwrap();
                let (outcome, _) = chain.part(&context, &witness, leaf, &honest, &claimed[leaf as usize]);
                assert_eq!(outcome.verdict, Verdict::Outside, "{code:?} leaf {leaf}");
            }
        }
    }
}

/// A worker that says other sums than its terms have so that a false result is inside: it is found, whatever it says.
#[test]
fn a_false_result_is_struck_by_its_totals_or_by_a_leaf() {
    let mut stream = Stream(73);
    let mut ways: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..count_of(30) {
        for code in CODES {
            let terms = length(&mut stream, code);
            let case = long(&mut stream, code, terms);
            let d = &case.descriptor;
            let element = stream.below(d.elements());
            let output = case.output(element, result(&mut stream, &case, element));
            let operands = case.operands();
            if judge_element(d, case.profile, &operands, &output, element).unwrap() != judge::Verdict::Outside {
                continue;
            }
            // As the result would be right of: other operands, the own free word or that of those.
            let other = long(&mut stream, code, terms);
            let forged = Long {
                descriptor: d.clone(),
                ..other
            };
            let fits = forged
                .operands
                .iter()
                .map(Vec::len)
                .eq(case.operands.iter().map(Vec::len));
            let mut head = header(d, case.profile, &operands, &output, element).unwrap();
            if fits && stream.below(2) == 0 {
                head.free = header(d, case.profile, &forged.operands(), &output, element)
                    .unwrap()
                    .free;
            }
            let mut claimed = leaf_sums(if fits { &forged } else { &case }, element, &head);
            if stream.below(2) == 0 {
                lie(&mut stream, &mut claimed);
            }
            let words = word_count(d, case.profile);
            let totals = add_up(&claimed.concat(), words);
            let check = check_totals(d, case.profile, &operands, &output, element, head.free, &totals).unwrap();
            let way = match check {
                None => "refused",
                Some(check) if !check.inside => "by totals",
                Some(_) => {
                    let leaf = descend(&case, element, &head, &claimed).expect("a false leaf");
                    let stage = Stage::new(d, &case.operands, &output).under(case.profile);
                    let witness = stage.part(element, leaf).unwrap();
                    let outcome = judge_part(&stage.context(), &witness, leaf, &head, &claimed[leaf as usize]);
                    assert_eq!(outcome.verdict, Verdict::Outside, "{code:?} leaf {leaf}");
                    "by a leaf"
                }
            };
            *ways.entry(way).or_default() += 1;
        }
    }
    println!("{ways:?}");
    assert_eq!(ways.len(), 3, "{ways:?}");
}

/// Totals as an adversary writes them.
fn words(stream: &mut Stream, honest: &[U256]) -> Vec<U256> {
    let mut words = honest.to_vec();
    match stream.below(8) {
        0 => return words,
        1 => words.truncate(stream.below(words.len() as u64) as usize),
        2 => words.push(U256::ZERO),
        3 => words.fill(U256::ZERO),
        4 => words.fill(U256::MAX),
        _ => {
            let at = stream.below(words.len() as u64) as usize;
            let bit = U256::ONE << stream.below(256) as usize;
            words[at] = match stream.below(4) {
                0 => words[at] ^ bit,
                1 => words[at].wrapping_add(bit),
                2 => U256::from(stream.word()) << (32 * stream.below(7)) as usize,
                _ => words[at].wrapping_sub(U256::ONE),
            };
        }
    }
    words
}

#[test]
fn both_judges_of_parts_say_the_same() {
    let mut stream = Stream(74);
    let mut chain = Chain::new();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..count_of(20) {
        for code in CODES {
            let terms = length(&mut stream, code);
            let case = long(&mut stream, code, terms);
            let d = &case.descriptor;
            let element = stream.below(d.elements());
            let output = case.output(element, result(&mut stream, &case, element));
            let stage = Stage::new(d, &case.operands, &output).under(case.profile);
            let context = stage.context();
            let honest = header(d, case.profile, &case.operands(), &output, element).unwrap();
            let truth = leaf_sums(&case, element, &honest);
            let totals = add_up(&truth.concat(), truth[0].len());
            let head = stage.head(element).unwrap();
            for kind in 0..12 {
                let (mut witness, mut context, mut free) = (head.clone(), context.clone(), honest.free);
                let totals = if kind < 8 {
                    words(&mut stream, &totals)
                } else {
                    totals.clone()
                };
                if kind % 4 == 1 {
                    let near = free.wrapping_add(U256::from(stream.below(3))).wrapping_sub(U256::ONE);
                    free = match stream.below(5) {
                        0 => U256::MAX >> stream.below(256) as usize,
                        1 => U256::from(stream.pattern()),
                        2 => U256::from(stream.below(256)),
                        _ => near,
                    };
                }
                damage(&mut stream, kind, &mut witness, &mut context);
                let (outcome, _, _) = chain.totals(&context, &witness, free, &totals);
                *ends.entry(format!("totals {:?}", outcome.verdict)).or_default() += 1;
            }
            let leaf = stream.below(truth.len() as u64) as u32;
            let part = stage.part(element, leaf).unwrap();
            for kind in 0..8 {
                let (mut witness, mut context, mut header, mut leaf) = (part.clone(), context.clone(), honest, leaf);
                // Once the true sums, with nothing damaged but the header.
                let sums = if kind < 5 && kind != 3 {
                    words(&mut stream, &truth[leaf as usize])
                } else {
                    truth[leaf as usize].clone()
                };
                match stream.below(8) {
                    0 => header.free = U256::from(stream.pattern()),
                    1 => header.y = U256::from(stream.pattern()) << stream.pick(&[0, 0, 40]) as usize,
                    2 => header.own = U256::from(stream.word()) << stream.pick(&[0, 0, 1]) as usize,
                    3 => leaf = stream.pick(&[0, 1, leaf + 1, truth.len() as u32, u32::MAX]),
                    _ => {}
                }
                damage(&mut stream, kind + 4, &mut witness, &mut context);
                let (outcome, _) = chain.part(&context, &witness, leaf, &header, &sums);
                *ends.entry(format!("part {:?}", outcome.verdict)).or_default() += 1;
            }
            // What is long is not judged at once.
            if witness_fits(d) {
                let outcome = chain.both(&context, &head);
                assert_eq!(outcome.verdict, Verdict::Refused(Reason::Long));
            }
        }
    }
    println!("{ends:?}");
    for end in [
        "totals Inside",
        "totals Outside",
        "totals Refused(Totals)",
        "part Inside",
        "part Outside",
    ] {
        assert!(ends.get(end).is_some_and(|count| *count > 20), "{end}: {ends:?}");
    }
    assert!(ends.contains_key("part Refused(Totals)") && ends.contains_key("part Refused(ElementIndex)"));
}

fn witness_fits(d: &touchstone_protocol::descriptor::Descriptor) -> bool {
    d.terms() > 0
}

/// Cuts, extends, flips, or takes another context: from the eighth kind on.
fn damage(stream: &mut Stream, kind: u64, witness: &mut Vec<u8>, context: &mut touchstone_protocol::witness::Context) {
    let at = stream.below(witness.len() as u64) as usize;
    match kind {
        0..8 => {}
        8 => witness.truncate(at),
        9 => witness.push(0),
        10 => witness[at] ^= 1 << stream.below(8),
        _ => match stream.below(4) {
            0 => context.layer = None,
            1 => context.trace_values = stream.below(12) as u32,
            2 => context.plan_root.0[0] ^= 1,
            _ => context.profile ^= 1 << stream.below(64),
        },
    }
}

#[test]
fn short_operators_are_not_judged_by_parts() {
    let mut stream = Stream(75);
    let mut chain = Chain::new();
    let case = support::families::contraction(&mut stream);
    let stage = Stage::new(&case.descriptor, &case.operands, &case.output).under(case.profile);
    let (context, witness) = (stage.context(), stage.head(0).unwrap());
    let (outcome, header, _) = chain.totals(&context, &witness, U256::ZERO, &[U256::ZERO; 9]);
    assert_eq!(
        (outcome.verdict, header),
        (Verdict::Refused(Reason::Long), Header::default())
    );
    let (outcome, _) = chain.part(&context, &witness, 0, &header, &[U256::ZERO; 9]);
    assert_eq!(outcome.verdict, Verdict::Refused(Reason::Long));
}

/// A maximum or an exponent that is not the row's is refused with the sums that go with it, be it above or below.
#[test]
fn a_free_word_that_is_not_the_rows_is_refused() {
    let mut stream = Stream(76);
    for (code, words) in [
        (Code::Softmax, [0x3f80_0000u32, 0x4000_0000, 0x4040_0000]),
        (Code::LayerNorm, [127, 128, 129]),
    ] {
        let mut case = long(&mut stream, code, 3000);
        // Twos, of exponent 128, and some ones, the element's own term among them: a lower word is some term's, but not the greatest's.
        let mut row = [0x4000_0000; 3000];
        row[..10].fill(0x3f80_0000);
        case.operands[0] = support::bytes_of(&row);
        for (free, honest) in words.into_iter().zip([false, true, false]) {
            let (d, operands, output) = (&case.descriptor, case.operands(), case.output(3, 0));
            let head = Header {
                free: U256::from(free),
                ..header(d, case.profile, &operands, &output, 3).unwrap()
            };
            let totals = add_up(&leaf_sums(&case, 3, &head).concat(), word_count(d, case.profile));
            let check = check_totals(d, case.profile, &operands, &output, 3, head.free, &totals).unwrap();
            assert_eq!(check.is_some(), honest, "{code:?} {free:#x}");
        }
    }
}
