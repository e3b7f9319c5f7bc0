//! Sums of an element's terms, and totals held against its envelope. Mirrors `contracts/src/PartJudge.sol`.

use std::ops::Range;

use alloy_primitives::U256;

use super::{Header, Words, pack, unpack};
use crate::check::Check;
use crate::descriptor::Code;
use crate::enclosure::{LayerNormRow, Moments, SoftmaxRow, SoftmaxSums};
use crate::index::Undecodable;
use crate::judge::Element;
use crate::leaf::contraction::Sums;
use crate::leaf::reduction::{ArgCounts, MaximumCounts};

/// How many words the sums of a code's node are.
pub(super) fn word_count(code: Code, profile: u64) -> usize {
    match code {
        Code::Softmax => SoftmaxSums::WORDS,
        Code::LayerNorm => Moments::WORDS,
        Code::MaxPool | Code::ArgMax => 1,
        _ => Sums::word_count(profile, code == Code::Contract),
    }
}

/// A header whose words are what the code takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    free: u32,
    y: u64,
    own: u64,
}

impl Element<'_> {
    /// Reads a header. `None`: the free word is none that a worker may choose, or another one is no element's bits.
    pub(crate) fn frame(&self, header: &Header) -> Option<Frame> {
        let free = u32::try_from(header.free).ok()?;
        let admitted = match self.d.code {
            Code::Softmax => SoftmaxSums::admits(free),
            Code::LayerNorm => (1..=254).contains(&free),
            _ => free == 0,
        };
        admitted.then_some(Frame {
            free,
            y: u64::try_from(header.y).ok()?,
            own: u64::try_from(header.own).ok()?,
        })
    }

    /// The free word that an honest worker chooses.
    pub(crate) fn free(&self) -> Result<U256, Undecodable> {
        let row = || self.row(&(0..u64::MAX)).map(Vec::into_iter);
        Ok(U256::from(match self.d.code {
            Code::Softmax => SoftmaxSums::maximum(row()?),
            Code::LayerNorm => Moments::exponent(row()?),
            _ => 0,
        }))
    }

    /// Where among the terms the element's own is: at its place in the row, or at the position `y` of a maximum.
    pub(crate) fn own_place(&self, y: u64) -> Option<u64> {
        let place = match self.d.code {
            Code::Softmax => self.row_place(self.d.params[0]) as u64,
            Code::LayerNorm => self.row_place(self.d.params[1]) as u64,
            Code::ArgMax => u64::try_from(self.claimed(y)).ok()?,
            _ => return None,
        };
        (place < self.d.terms()).then_some(place)
    }

    /// The bits of the element's own term.
    pub(crate) fn own(&self, y: u64) -> Result<Option<u64>, Undecodable> {
        let Some(place) = self.own_place(y) else {
            return Ok(None);
        };
        Ok(self.term_offset(place)?.map(|offset| self.read(0, offset)))
    }

    fn row(&self, terms: &Range<u64>) -> Result<Vec<u32>, Undecodable> {
        let mut row = Vec::new();
        self.terms_in(terms, |_, x| row.push(x as u32))?;
        Ok(row)
    }

    /// The sums over `terms`.
    pub(crate) fn sums(&self, profile: u64, frame: &Frame, terms: &Range<u64>) -> Result<Words, Undecodable> {
        let d = self.d;
        Ok(match d.code {
            Code::Softmax => SoftmaxSums::new(profile, frame.free, self.row(terms)?.into_iter()).words(),
            Code::LayerNorm => Moments::new(d.terms(), frame.free, self.row(terms)?.into_iter()).words(),
            Code::MaxPool => {
                let mut counts = MaximumCounts::new(frame.y as u32);
                self.terms_in(terms, |_, x| counts.value(x as u32))?;
                vec![pack(&counts.counts())]
            }
            Code::ArgMax => {
                let mut counts = ArgCounts::new(d.operands[0].dtype, self.claimed(frame.y), frame.own);
                self.terms_in(terms, |position, x| counts.value(position, x))?;
                vec![pack(&counts.counts())]
            }
            _ => {
                let mut sums = Sums::under(profile, d.terms());
                let counted = if d.code == Code::Contract {
                    self.products_in(terms, &mut sums)?
                } else {
                    let mut counted = 0;
                    self.terms_in(terms, |_, x| {
                        counted += 1;
                        sums.value(x as u32);
                    })?;
                    counted
                };
                sums.words(counted, d.code == Code::Contract)
            }
        })
    }

    /// Holds `y` against its envelope by the sums over all terms. `None`: no terms have these totals beside this element.
    pub(crate) fn check_totals(
        &self,
        profile: u64,
        free: U256,
        y: u64,
        own: Option<u64>,
        totals: &[U256],
    ) -> Result<Option<Check>, Undecodable> {
        let d = self.d;
        let terms = d.terms();
        let header = Header {
            free,
            y: U256::from(y),
            own: U256::from(own.unwrap_or(0)),
        };
        let Some(frame) = self.frame(&header) else {
            return Ok(None);
        };
        let own = frame.own as u32;
        Ok(match d.code {
            Code::Softmax => SoftmaxSums::from_words(terms, totals)
                .and_then(|sums| SoftmaxRow::of_sums(profile, frame.free, &sums, own))
                .map(|row| row.check(0, y as u32)),
            Code::LayerNorm => {
                let (scale, bias) = (self.once(1)? as u32, self.once(2)? as u32);
                Moments::from_words(terms, totals)
                    .and_then(|sums| LayerNormRow::of_sums(profile, terms, frame.free, &sums, own, d.params[0]))
                    .map(|row| row.check(0, scale, bias, y as u32))
            }
            Code::MaxPool => counts(terms, totals).map(|counts| MaximumCounts::check(counts, y as u32)),
            Code::ArgMax => counts(terms, totals)
                .map(|counts| ArgCounts::check(counts, d.operands[0].dtype, header_own(&frame, self.own_place(y)))),
            _ => {
                let Some((mut sums, counted)) = Sums::from_words(profile, terms, totals, d.code == Code::Contract)
                else {
                    return Ok(None);
                };
                Some(match (d.code, d.params.first()) {
                    (Code::Contract, _) => {
                        let values = self.addends(&mut sums)?;
                        sums.check_contraction(counted, values, y as u32)
                    }
                    (Code::Sum, _) => sums.check_sum(counted, y as u32),
                    (_, Some(0)) => sums.check_mean(counted, counted, y as u32),
                    _ => sums.check_mean(counted, terms, y as u32),
                })
            }
        })
    }
}

/// The own term of an ArgMax, if the claimed position is one.
fn header_own(frame: &Frame, place: Option<u64>) -> Option<u64> {
    place.map(|_| frame.own)
}

/// The counts in the one word of a maximum's totals, none above the number of terms.
fn counts<const N: usize>(terms: u64, totals: &[U256]) -> Option<[u64; N]> {
    let [word] = *totals else {
        return None;
    };
    unpack(word).filter(|counts: &[u64; N]| counts.iter().all(|count| *count <= terms))
}
