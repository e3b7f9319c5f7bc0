//! Long operators: what a worker gave of a node, held against what its committed operands give.

use alloy_primitives::{B256, U256};
use touchstone_engine::{LayerTrace, Long, Trace};
use touchstone_protocol::{
    dispute::{Phase, Position},
    judge::JudgeError,
    parts::{self, Header},
    witness::{self, WitnessError},
};

use crate::{
    model::Model,
    record::PartedRow,
    strategy::{Compared, Given},
    verdict::NoEvidence,
};

/// Why nothing is said about parts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    /// A value is not at hand.
    #[error("values: {0}")]
    Witness(#[from] WitnessError),
    /// The judge refuses the values, or a header that no contract would have taken.
    #[error("sums: {0}")]
    Judge(#[from] JudgeError),
    /// The dispute is not about parts.
    #[error("there are no parts in phase {0:?}")]
    Phase(Phase),
}

/// Holds what a worker gave of the node where a dispute stands against what these values give.
///
/// # Errors
/// A value is not at hand, or the dispute is not about parts.
pub(crate) fn compare(
    model: &Model,
    trace: &Trace,
    layer: Option<&LayerTrace>,
    position: &Position,
    given: &Given,
) -> Result<Compared, PartsError> {
    let opened = model.opened(trace, layer);
    let d = model
        .plan
        .operators
        .get(position.operator as usize)
        .ok_or(WitnessError::Operator(position.operator))?;
    let long = Long::of(&opened, d, model.plan.profile, position.element)?;
    let header = Header::from_words(given.header);
    let (depth, index) = (u32::from(position.depth), position.index);
    let own = match position.phase {
        Phase::Parting => long.parts(&header, depth, index)?,
        Phase::Proving => long.sums(&header, depth, index)?,
        phase => return Err(PartsError::Phase(phase)),
    };
    let words = parts::word_count(d, model.plan.profile);
    let differs = own
        .chunks(words)
        .zip(given.sums.chunks(words))
        .position(|(own, given)| own != given);
    Ok(differs.map_or(Compared::Same, |child| Compared::Differs(child as u32)))
}

/// The witness that shows a leaf not to have the sums that were given, judged by the same code that the contract mirrors.
///
/// # Errors
/// It does not show that.
pub(crate) fn prove(
    model: &Model,
    trace: &Trace,
    layer: Option<&LayerTrace>,
    position: &Position,
    given: &Given,
) -> Result<Vec<u8>, NoEvidence> {
    let (opened, leaf) = (model.opened(trace, layer), position.index);
    let witness = opened.part(position.operator, position.element, leaf)?;
    let header = Header::from_words(given.header);
    match witness::judge_part(&opened.context(), &witness, leaf, &header, &given.sums).verdict {
        witness::Verdict::Outside => Ok(witness),
        verdict => Err(NoEvidence::Verdict(verdict)),
    }
}

/// Most words that the sums of one part have.
const MOST_WORDS: usize = touchstone_wire::limits::MAX_SUM_WORDS;

/// The word of a node: of its header with its own sums, or with its parts'.
pub(crate) fn node(header: &[U256; 3], sums: &[U256]) -> B256 {
    parts::node_word(&Header::from_words(*header), sums)
}

/// The header and the sums of the part that a node is, among what was given before. How many words a part has is tried: no other number hashes
/// to the node.
pub(crate) fn leaf(node: B256, rows: &[PartedRow]) -> Option<Given> {
    for PartedRow { header, parts } in rows {
        for words in 1..=MOST_WORDS.min(parts.len()) {
            let is_it = |part: &&[U256]| self::node(header, part) == node;
            if let Some(part) = parts.chunks_exact(words).find(is_it) {
                let (header, sums) = (*header, part.to_vec());
                return Some(Given { header, sums });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(from: u64, count: u64) -> Vec<U256> {
        (from..from + count).map(U256::from).collect()
    }

    #[test]
    fn a_leaf_is_found_among_all_that_was_given() {
        let header = [U256::ZERO, U256::from(7), U256::ZERO];
        let row = |from, count| PartedRow {
            header,
            parts: words(from, count),
        };
        // Eight parts of three words, then two.
        let rows = [row(0, 24), row(100, 6)];
        for (from, row) in [(9, 0), (21, 0), (100, 1), (103, 1)] {
            let sums = words(from, 3);
            let found = leaf(node(&header, &sums), &rows);
            assert_eq!(found, Some(Given { header, sums }), "{row}");
        }
        assert_eq!(
            leaf(node(&header, &words(1, 3)), &rows),
            None,
            "not at a part's beginning"
        );
        let other = [U256::from(1), U256::from(7), U256::ZERO];
        assert_eq!(leaf(node(&other, &words(9, 3)), &rows), None, "another header");
        assert_eq!(leaf(B256::ZERO, &[row(0, 0)]), None);
    }
}
