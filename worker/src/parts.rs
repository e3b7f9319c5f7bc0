//! What is said of long operators in a dispute: the totals of one element, the sums of a node's parts, the terms of a leaf.
//!
//! Sums are made anew for each question, from the run's values alone, so that they always are the same. What is signed names its place in the
//! claim and is true whoever asks and in whatever dispute.

use alloy_primitives::B256;
use touchstone_chain::signature::{self, SignatureBytes};
use touchstone_engine::Long;
use touchstone_protocol::{claim::PartsAnswer, parts, witness};
use touchstone_wire::worker::Reply;

use crate::answer::{AnswerError, Case, Opening};

impl Case<'_> {
    /// The totals of an element of a long operator, which our own judge finds inside.
    pub fn total(&self, operator: u32, element: u64) -> Result<Reply, AnswerError> {
        self.opened(operator, element, |opening| {
            let long = opening.long()?;
            let reply = self.say_total(opening, &long)?;
            if let Reply::Total {
                witness, free, parts, ..
            } = &reply
            {
                let (outcome, _) = witness::judge_totals(&opening.context, witness, *free, &long.add_up(parts));
                opening.inside(outcome.verdict)?;
            }
            Ok(reply)
        })
    }

    /// The parts of a node of it.
    pub fn split(&self, operator: u32, element: u64, depth: u32, index: u64) -> Result<Reply, AnswerError> {
        self.opened(operator, element, |opening| {
            let index = opening.node(depth, index)?;
            if depth == 0 {
                return Err(AnswerError::Invalid("a leaf has no parts".into()));
            }
            self.say_split(opening, &opening.long()?, depth, index)
        })
    }

    /// The terms of a leaf of it, which our own judge finds to have the leaf's sums.
    pub fn prove(&self, operator: u32, element: u64, leaf: u64) -> Result<Reply, AnswerError> {
        self.opened(operator, element, |opening| {
            let leaf = opening.node(0, leaf)?;
            let long = opening.long()?;
            let header = long.header()?;
            let sums = long.sums(&header, 0, leaf)?;
            let witness = opening.builder.part(operator, opening.descriptor, element, leaf)?;
            opening.inside(witness::judge_part(&opening.context, &witness, leaf, &header, &sums).verdict)?;
            Ok(Reply::Prove {
                header: header.words(),
                sums,
                witness,
            })
        })
    }

    /// The totals of these values, whatever the judge says of them.
    pub fn say_total(&self, opening: &Opening<'_>, long: &Long<'_>) -> Result<Reply, AnswerError> {
        let header = long.header()?;
        let depth = parts::depth(opening.descriptor);
        let parts = long.parts(&header, depth, 0)?;
        Ok(Reply::Total {
            witness: opening
                .builder
                .head(opening.operator, opening.descriptor, opening.element)?,
            free: header.free,
            signature: self.sign(opening, depth, 0, parts::node_word(&header, &parts))?,
            parts,
        })
    }

    /// The parts of a node of these values.
    pub fn say_split(
        &self,
        opening: &Opening<'_>,
        long: &Long<'_>,
        depth: u32,
        index: u32,
    ) -> Result<Reply, AnswerError> {
        let header = long.header()?;
        let (sums, parts) = (long.sums(&header, depth, index)?, long.parts(&header, depth, index)?);
        Ok(Reply::Split {
            header: header.words(),
            sums,
            signature: self.sign(opening, depth, index, parts::node_word(&header, &parts))?,
            parts,
        })
    }

    fn sign(
        &self,
        opening: &Opening<'_>,
        depth: u32,
        index: u32,
        node: B256,
    ) -> Result<SignatureBytes, signature::SignError> {
        let answer = PartsAnswer {
            claim: self.signed.claim,
            operator: opening.operator,
            element: opening.element,
            depth,
            index,
            node,
        };
        signature::sign(self.key, answer.digest(&self.domain))
    }
}

impl Opening<'_> {
    /// The committed values of a long operator.
    pub fn long(&self) -> Result<Long<'_>, AnswerError> {
        if !parts::is_long(self.descriptor) {
            return Err(AnswerError::Invalid(format!(
                "operator {} is judged at once",
                self.operator
            )));
        }
        Ok(Long::of(
            self.builder.source,
            self.descriptor,
            self.context.profile,
            self.element,
        )?)
    }

    /// The index of a node that has terms.
    fn node(&self, depth: u32, index: u64) -> Result<u32, AnswerError> {
        let (levels, leaves) = (parts::depth(self.descriptor), parts::leaves(self.descriptor));
        let exists = depth <= levels && index < u64::from(leaves) && index << depth < u64::from(leaves);
        u32::try_from(index)
            .ok()
            .filter(|_| exists)
            .ok_or_else(|| AnswerError::Invalid(format!("there is no node {index}, {depth} above the leaves")))
    }
}
