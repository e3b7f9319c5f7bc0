//! What becomes of claims, and how long their runs are kept.

use alloy_primitives::B256;
use touchstone_wire::worker::{ClaimState, Update};

use crate::{
    app::{App, lock, now},
    record::{End, Record, Signed, State},
    store::StoreError,
};

impl App {
    /// What became of a claim, says the coordinator. With a node of our own the chain is asked instead.
    pub(crate) fn update(&self, update: &Update) {
        let Update {
            job,
            claim,
            state,
            detail,
        } = update;
        tracing::info!(claim_id = %claim, ?state, detail, "update");
        let end = match state {
            ClaimState::Posted => None,
            // Until valid-until anybody can still post it: the sweep decides.
            ClaimState::Failed => return,
            ClaimState::Final => Some(End::Final),
            ClaimState::Struck => Some(End::Struck),
            ClaimState::Void => Some(End::Void),
        };
        if end.is_some() && self.chain.is_some() {
            return;
        }
        let stored = self
            .store
            .select_claim(*claim)
            .map(|record| record.filter(|record| record.terms.job() == *job));
        let outcome = match (stored, end) {
            (Ok(Some(record)), None) => self.posted(&record),
            (Ok(Some(record)), Some(end)) => self.end(&record, end, now()),
            (Ok(None), _) => {
                tracing::warn!(claim_id = %claim, "update on a claim that is not ours");
                Ok(())
            }
            (Err(error), _) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::error!(claim_id = %claim, %error, "update not stored");
        }
    }

    /// A claim is on chain.
    pub(crate) fn posted(&self, record: &Record) -> Result<(), StoreError> {
        match record.signed() {
            Some(signed) if !signed.posted => self.change_signed(signed.claim, |signed| signed.posted = true),
            _ => Ok(()),
        }
    }

    pub(crate) fn change_signed(&self, claim: B256, change: impl FnOnce(&mut Signed)) -> Result<(), StoreError> {
        self.store.update_claim(claim, |record| match &mut record.state {
            State::Signed(signed) => change(signed),
            State::Accepted | State::Ended { .. } => {}
        })
    }

    /// A claim has ended: its values are kept a while longer.
    pub(crate) fn end(&self, record: &Record, end: End, now: u64) -> Result<(), StoreError> {
        let State::Signed(signed) = &record.state else {
            return Ok(());
        };
        tracing::info!(claim_id = %signed.claim, ?end, "claim ended");
        if end == End::Struck {
            self.trip(format!(
                "claim {} of request {} was struck",
                signed.claim, record.terms.request
            ));
        }
        let release_at = now.saturating_add(self.config.keep.as_secs());
        self.store.update_claim(signed.claim, |record| {
            if let State::Signed(signed) = &record.state {
                record.state = State::Ended {
                    signed: signed.clone(),
                    end,
                    release_at,
                };
            }
        })
    }

    /// Deletes what is no longer needed.
    pub(crate) fn sweep(&self, now: u64) -> Result<(), StoreError> {
        self.store
            .outbox()
            .delete_ended(now.saturating_sub(self.config.keep.as_secs()))?;
        for record in self.store.select_runs()? {
            match &record.state {
                State::Accepted => {
                    let job = record.terms.job();
                    if !lock(&self.busy).contains(&job) && now > record.terms.lease_expires {
                        self.store.delete_lease(job)?;
                    }
                }
                // With a node of our own, the chain says when a claim has ended. Without one, what was posted is kept until the coordinator
                // says how it ended.
                State::Signed(signed) => {
                    let keep = self.config.keep.as_secs();
                    if self.chain.is_none() && !signed.posted && now > signed.valid_until.saturating_add(keep) {
                        self.end(&record, End::Lapsed, now)?;
                    }
                }
                State::Ended { signed, release_at, .. } => {
                    if now > *release_at {
                        self.store.delete_ended(signed.claim)?;
                    }
                }
            }
        }
        Ok(())
    }
}
