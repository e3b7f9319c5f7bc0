//! A claim as the loop keeps it, and what is said about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alloy_primitives::B256;
use tokio::time::Instant;

use crate::{
    examine::Spot,
    record::ClaimRow,
    strategy::{Action, Compared, Finding},
    tolerance::Suspect,
    verdict::Verdict,
    work::{Layers, Progress},
};

/// Blocks after which an ended claim is forgotten.
const KEEP_BLOCKS: u64 = 128;

/// Whether a claim that was seen to have ended in block `since` may be forgotten. Not before we have looked for a dispute of ours on it: while one is
/// live or moot there is a bond in it to fetch, however long ago the claim ended.
pub(crate) fn is_done_with(since: u64, head: u64, known: Option<&Tracked>) -> bool {
    head > since + KEEP_BLOCKS && known.is_some_and(|known| !known.disputed)
}

/// A claim that is looked at.
pub(crate) struct Tracked {
    pub(crate) row: ClaimRow,
    pub(crate) open: bool,
    pub(crate) progress: Progress,
    pub(crate) layers: Layers,
    pub(crate) busy: bool,
    pub(crate) layers_busy: BTreeSet<u32>,
    /// Nodes of long operators whose sums were compared with ours.
    pub(crate) compared: BTreeMap<B256, Compared>,
    pub(crate) comparing: bool,
    pub(crate) next_try: Instant,
    pub(crate) wait: Duration,
    /// Whether a dispute of ours may exist.
    pub(crate) disputed: bool,
    /// What was said last, so that it is said once.
    pub(crate) said: Option<String>,
    pub(crate) would: Option<Action>,
}

impl Tracked {
    /// A claim just seen; a dispute of ours may be on it from before.
    pub(crate) fn new(row: ClaimRow, open: bool, wait: Duration) -> Self {
        Self {
            row,
            open,
            progress: Progress::default(),
            layers: Layers::new(),
            busy: false,
            layers_busy: BTreeSet::new(),
            compared: BTreeMap::new(),
            comparing: false,
            next_try: Instant::now(),
            wait,
            disputed: true,
            said: None,
            would: None,
        }
    }

    /// Whether nothing but bits is held against the claim.
    pub(crate) fn by_bits(&self) -> bool {
        matches!(&self.progress.verdict, Some(Verdict::Suspect(suspects)) if suspects.iter().all(|suspect| suspect.by_bits))
    }

    /// Whether bits were held against the claim, and all layers that the worker opened were right.
    pub(crate) fn was_right(&self) -> bool {
        let by_bits = match &self.progress.verdict {
            Some(Verdict::Suspect(suspects)) => suspects.iter().any(|suspect| suspect.by_bits),
            _ => false,
        };
        by_bits && !self.layers.is_empty() && self.layers.values().all(|opened| opened.finding == Finding::Inside)
    }

    /// Whether we dispute because values are withheld: then that stays so after the window.
    pub(crate) fn withheld(&self) -> bool {
        self.disputed && self.progress.outputs.is_some()
    }

    pub(crate) fn say_verdict(&mut self) {
        let Some(verdict) = &self.progress.verdict else { return };
        let said = format!("{verdict:?}");
        if self.said.as_ref() == Some(&said) {
            return;
        }
        self.said = Some(said);
        let (claim, request, worker, name) = (self.row.claim, self.row.request, self.row.worker, verdict.name());
        match verdict {
            Verdict::Valid { worst } => {
                tracing::info!(%claim, %request, %worker, verdict = name, share = worst, "verdict")
            }
            Verdict::Wrong(spot) => {
                let Spot {
                    operator,
                    element,
                    share,
                } = *spot;
                tracing::warn!(%claim, %request, %worker, verdict = name, operator, element, share, "verdict");
            }
            Verdict::Suspect(suspects) => {
                for suspect in suspects {
                    let Suspect {
                        layer,
                        spot:
                            Spot {
                                operator,
                                element,
                                share,
                            },
                        tolerated,
                        by_bits,
                    } = *suspect;
                    tracing::warn!(%claim, %request, %worker, verdict = name, layer, operator, element, share, tolerated, by_bits, "verdict");
                }
            }
            Verdict::Unverifiable { why } => {
                let share = self.progress.outputs.map(|apart| apart.spot.share);
                tracing::warn!(%claim, %request, %worker, verdict = name, why, outputs = share, "verdict");
            }
            Verdict::Foreign { why } => tracing::error!(%claim, %request, %worker, verdict = name, why, "verdict"),
        }
    }

    pub(crate) fn say_would(&self, action: &Action) {
        let (claim, request) = (self.row.claim, self.row.request);
        let spots: Vec<(Option<u32>, Spot)> = match &self.progress.verdict {
            Some(Verdict::Wrong(spot)) => vec![(None, *spot)],
            Some(Verdict::Suspect(suspects)) => suspects
                .iter()
                .map(|suspect| (Some(suspect.layer), suspect.spot))
                .collect(),
            _ => self
                .progress
                .outputs
                .map(|apart| (None, apart.spot))
                .into_iter()
                .collect(),
        };
        for (
            layer,
            Spot {
                operator,
                element,
                share,
            },
        ) in spots
        {
            tracing::warn!(%claim, %request, ?action, layer, operator, element, share, "would dispute");
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256};

    use super::*;
    use crate::record::ClaimRow;

    #[test]
    fn a_claim_with_a_bond_of_ours_in_it_is_never_forgotten() {
        let row = ClaimRow {
            claim: B256::ZERO,
            request: U256::ZERO,
            attempt: 1,
            worker: Address::ZERO,
            node: Address::ZERO,
            outputs: B256::ZERO,
            trace_root: B256::ZERO,
            output_data: Default::default(),
            window_end: 0,
            ended: Some(1),
        };
        // Just read from the store, after a restart: whether there is a dispute was not asked yet.
        let mut tracked = Tracked::new(row, false, Duration::ZERO);
        let late = 1 + KEEP_BLOCKS + 1;
        assert!(!is_done_with(1, late, None));
        assert!(!is_done_with(1, late, Some(&tracked)));
        tracked.disputed = false;
        assert!(is_done_with(1, late, Some(&tracked)));
        assert!(!is_done_with(1, late - 1, Some(&tracked)));
    }
}
