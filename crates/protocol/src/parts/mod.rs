//! Long operators are judged by parts (PROTOCOL.md section 6, *By parts*): what an operator with more terms than one transaction judges
//! is held against is exact sums over its terms, and who doubts them walks down to 1,024 terms that one transaction adds up.
//!
//! The *sums* of a node are a fixed number of words, each of them a function of single terms added up modulo 2^256. So if a total is
//! not what it should be and its parts add up to it, one of the parts is not what it should be either, whatever the words are.
//!
//! # Layout
//! - this file: which operators are long, the tree over their terms, what is committed of a node, and the sums from values at hand
//! - `sums`: the sums of terms, and the totals held against the envelope

mod sums;

use std::ops::Range;

use alloy_primitives::U256;

use crate::check::Check;
use crate::descriptor::{Code, Descriptor};
use crate::digest::{B256, hash};
use crate::dispute::STEP;
use crate::judge::{Element, JudgeError, Values};
use crate::merkle;
use crate::profile::Numerics;

/// Consecutive terms, row-major over the reduction axes, that one transaction adds up.
pub const LEAF_TERMS: u64 = 1024;

/// The words of a node's sums, or of several nodes' one after the other.
pub type Words = Vec<U256>;

/// The most terms of an operator that is judged in one transaction; operators with more are *long*.
pub const fn one_shot_terms(code: Code) -> u64 {
    match code {
        Code::Contract | Code::Sum | Code::Mean => 4096,
        Code::LayerNorm => 2048,
        Code::Softmax => 1024,
        // MaxPool and ArgMax; the others have one term.
        _ => 256,
    }
}

/// The most terms of an operator under a profile that is known: the bounds are theorems up to it.
pub const fn most_terms(profile: u64) -> u64 {
    if Numerics::of(profile).wide { 1 << 24 } else { 1 << 20 }
}

/// Whether an operator is judged by parts.
pub fn is_long(descriptor: &Descriptor) -> bool {
    descriptor.terms() > one_shot_terms(descriptor.code)
}

/// Leaves of the tree over an operator's terms, as far as there are terms.
pub fn leaves(descriptor: &Descriptor) -> u32 {
    // At most 2^24 terms in what decodes.
    u32::try_from(descriptor.terms().div_ceil(LEAF_TERMS)).unwrap_or(u32::MAX)
}

/// Levels of the tree below its root.
pub fn depth(descriptor: &Descriptor) -> u32 {
    merkle::depth(leaves(descriptor).into())
}

/// Levels that the parts of a node at `depth` lie below it.
pub const fn step(depth: u32) -> u32 {
    if depth < STEP { depth } else { STEP }
}

/// How many parts the node `index` at `depth` has: its descendants that have terms, of a tree with `leaves` leaves.
pub const fn part_count(leaves: u32, depth: u32, index: u32) -> usize {
    let first = (index as u64) << depth;
    let end = (index as u64 + 1) << depth;
    let end = if end < leaves as u64 { end } else { leaves as u64 };
    end.saturating_sub(first).div_ceil(1 << (depth - step(depth))) as usize
}

/// The terms of the node `index` at `depth`.
pub fn terms(descriptor: &Descriptor, depth: u32, index: u32) -> Range<u64> {
    let most = descriptor.terms();
    let at = |index: u64| (index << depth).saturating_mul(LEAF_TERMS).min(most);
    at(index.into())..at(u64::from(index) + 1)
}

/// How many words the sums of an operator's node are.
pub fn word_count(descriptor: &Descriptor, profile: u64) -> usize {
    sums::word_count(descriptor.code, profile)
}

/// What the sums are relative to, and what the verdict reads besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The worker's choice: bits of a Softmax row's maximum, exponent field of a LayerNorm row's largest term, else 0.
    pub free: U256,
    /// Bits of the output element.
    pub y: U256,
    /// Bits of the element's own term: at its place in the row of Softmax and LayerNorm, at the claimed position of ArgMax (0 where
    /// there is no such term), else 0.
    pub own: U256,
}

impl Header {
    /// The three words as they are hashed and sent.
    pub const fn words(&self) -> [U256; 3] {
        [self.free, self.y, self.own]
    }

    /// The header that three words are.
    pub const fn from_words([free, y, own]: [U256; 3]) -> Self {
        Self { free, y, own }
    }
}

/// What is committed of a node: header and sums, or header and parts' sums once these are known.
pub fn node_word(header: &Header, words: &[U256]) -> B256 {
    let bytes: Vec<u8> = header
        .words()
        .iter()
        .chain(words)
        .flat_map(|word| word.to_be_bytes::<32>())
        .collect();
    hash(&bytes)
}

/// The sum of `parts`, nodes of `count` words one after the other.
pub fn add_up(parts: &[U256], count: usize) -> Words {
    let mut sums = vec![U256::ZERO; count];
    for part in parts.chunks(count.max(1)) {
        for (sum, word) in sums.iter_mut().zip(part) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums
}

/// The header of an element, with the free word that an honest worker chooses.
///
/// # Errors
/// As [`crate::judge::judge_element`], and the element has no meaning.
pub fn header(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    output: &[u8],
    element: u64,
) -> Result<Header, JudgeError> {
    let values = Values::new(descriptor, profile, operands, output, element)?;
    let undecodable = |_| JudgeError::Undecodable { element };
    let e = values.element(element);
    let y = values.y(element);
    Ok(Header {
        free: e.free().map_err(undecodable)?,
        y: U256::from(y),
        own: U256::from(e.own(y).map_err(undecodable)?.unwrap_or(0)),
    })
}

/// The sums over some of an element's terms, relative to a header.
///
/// # Errors
/// As [`header`]; the header's free word is none that a worker may choose.
pub fn sums(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    element: u64,
    header: &Header,
    terms: &Range<u64>,
) -> Result<Words, JudgeError> {
    let values = Values::of_operands(descriptor, profile, operands, element)?;
    sums_of(&values.element(element), profile, header, terms, element)
}

/// The sums of the parts of node `index` at `depth`, in order.
///
/// # Errors
/// As [`sums`].
pub fn parts(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    element: u64,
    header: &Header,
    depth: u32,
    index: u32,
) -> Result<Vec<Words>, JudgeError> {
    let values = Values::of_operands(descriptor, profile, operands, element)?;
    let e = values.element(element);
    let step = step(depth);
    (0..part_count(leaves(descriptor), depth, index) as u32)
        .map(|child| {
            let terms = terms(descriptor, depth - step, (index << step) + child);
            sums_of(&e, profile, header, &terms, element)
        })
        .collect()
}

fn sums_of(
    e: &Element<'_>,
    profile: u64,
    header: &Header,
    terms: &Range<u64>,
    element: u64,
) -> Result<Words, JudgeError> {
    let frame = e.frame(header).ok_or(JudgeError::Header)?;
    e.sums(profile, &frame, terms)
        .map_err(|_| JudgeError::Undecodable { element })
}

/// Holds an element against its envelope by its totals, with `free` as the worker's choice; the judge's last step. `None`: no terms have
/// these totals beside this element, so they are refused.
///
/// # Errors
/// As [`header`].
pub fn check_totals(
    descriptor: &Descriptor,
    profile: u64,
    operands: &[&[u8]],
    output: &[u8],
    element: u64,
    free: U256,
    totals: &[U256],
) -> Result<Option<Check>, JudgeError> {
    let values = Values::new(descriptor, profile, operands, output, element)?;
    let undecodable = |_| JudgeError::Undecodable { element };
    let e = values.element(element);
    let y = values.y(element);
    let own = e.own(y).map_err(undecodable)?;
    e.check_totals(profile, free, y, own, totals).map_err(undecodable)
}

/// 32-bit fields in one word, from the lowest.
pub(crate) fn pack(counts: &[u64]) -> U256 {
    (counts.iter().rev()).fold(U256::ZERO, |word, count| (word << 32usize) | U256::from(*count))
}

/// The fields of a word; `None` where there are more than `N`.
pub(crate) fn unpack<const N: usize>(word: U256) -> Option<[u64; N]> {
    let mut rest = word;
    let counts = std::array::from_fn(|_| {
        let [low, ..] = rest.into_limbs();
        rest >>= 32;
        low & 0xffff_ffff
    });
    rest.is_zero().then_some(counts)
}
