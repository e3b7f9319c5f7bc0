//! A lease: one worker's hold on one attempt.
//!
//! ```text
//! Offered ──accept──► Accepted ──result──► Submitted ──claim failed──► Failed
//!    │ │                 │ │
//!    │ └──────refuse─────┘ └─────► Refused
//!    └─────time over, or worker gone while Offered ──► Expired
//! ```
//!
//! Offered, Accepted and Submitted are open: the database lets one lease of an attempt be open at a time. Refused, Expired
//! and Failed are final and free the attempt for the next worker.

use touchstone_chain::Address;

use crate::db::convert::text_enum;

text_enum!(
    /// Where a lease stands.
    LeaseStatus, "leases.status", {
        /// The worker has been asked.
        Offered = "offered",
        /// The worker is on it.
        Accepted = "accepted",
        /// A checked result is there.
        Submitted = "submitted",
        /// The worker left it.
        Refused = "refused",
        /// Its time is over.
        Expired = "expired",
        /// The chain did not take the result.
        Failed = "failed",
    }
);

/// What a worker does with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// Takes the offer.
    Accept,
    /// Leaves it.
    Refuse,
    /// Hands in a result.
    Submit,
}

/// The lease does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// The lease has ended.
    #[error("the lease is {0:?}")]
    Ended(LeaseStatus),
    /// It was done before, or comes out of order.
    #[error("{event:?} does not fit a lease that is {status:?}")]
    OutOfOrder {
        /// The lease.
        status: LeaseStatus,
        /// What was tried.
        event: LeaseEvent,
    },
}

/// What a worker's act makes of a lease at `now`. Time is over only when `now > expires_at`.
pub fn apply(status: LeaseStatus, event: LeaseEvent, now: u64, expires_at: u64) -> Result<LeaseStatus, LeaseRefusal> {
    use LeaseEvent::{Accept, Refuse, Submit};
    use LeaseStatus::{Accepted, Expired, Failed, Offered, Refused, Submitted};
    let next = match (status, event) {
        (Offered, Accept) => Accepted,
        (Offered | Accepted, Refuse) => Refused,
        (Accepted, Submit) => Submitted,
        (Offered, Submit) | (Accepted | Submitted, Accept) | (Submitted, Refuse | Submit) => {
            return Err(LeaseRefusal::OutOfOrder { status, event });
        }
        (Refused | Expired | Failed, Accept | Refuse | Submit) => return Err(LeaseRefusal::Ended(status)),
    };
    if now > expires_at && next != Refused {
        return Err(LeaseRefusal::Ended(Expired));
    }
    Ok(next)
}

/// Leases of an attempt that came to nothing with one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Refused, expired or failed.
    pub count: u64,
    /// Of these, the ones expired or failed.
    pub spoilt: u64,
    /// When the last was offered, unix seconds.
    pub last: u64,
}

/// A connected worker that serves the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The provider.
    pub worker: Address,
    /// Jobs it can take on now.
    pub free: u64,
    /// Its failures at this attempt.
    pub failures: Failures,
    /// A claim of it on this request was struck.
    pub struck: bool,
}

/// A worker that spoilt an attempt this often is not asked about it again: each time costs the requester a lease's time, or the
/// poster gas. A refusal costs neither, and its reason may pass (no free stake until a claim is final), so it only makes
/// the next offer later.
pub const MAX_SPOILT: u64 = 5;
/// Seconds before a worker is asked again about an attempt after one failure; doubled with each further one.
pub const RETRY_SECONDS: u64 = 3;
/// How often they are doubled at most, to 48.
pub const RETRY_DOUBLINGS: u64 = 4;

impl Failures {
    /// Whether the worker may be asked at `now`.
    fn allow(self, now: u64) -> bool {
        let wait = match self.count {
            0 => 0,
            count => RETRY_SECONDS << (count - 1).min(RETRY_DOUBLINGS),
        };
        self.spoilt < MAX_SPOILT && now >= self.last.saturating_add(wait)
    }
}

/// Whom to ask next: never one that was struck or spoils it again and again, not one that just failed, rather one with fewer failures, then
/// with more room.
pub fn choose(candidates: &[Candidate], now: u64) -> Option<Address> {
    candidates
        .iter()
        .filter(|candidate| !candidate.struck && candidate.free > 0 && candidate.failures.allow(now))
        .min_by_key(|candidate| (candidate.failures.count, u64::MAX - candidate.free, candidate.worker))
        .map(|candidate| candidate.worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It has not been asked yet.
    const CANDIDATE: Candidate = Candidate {
        worker: Address::repeat_byte(1),
        free: 1,
        failures: Failures {
            count: 0,
            spoilt: 0,
            last: 0,
        },
        struck: false,
    };

    #[test]
    fn the_whole_table() {
        use LeaseEvent::{Accept, Refuse, Submit};
        use LeaseStatus::{Accepted, Expired, Failed, Offered, Refused, Submitted};
        let out = |status, event| Err(LeaseRefusal::OutOfOrder { status, event });
        let ended = |status| Err(LeaseRefusal::Ended(status));
        for (status, accept, refuse, submit) in [
            (Offered, Ok(Accepted), Ok(Refused), out(Offered, Submit)),
            (Accepted, out(Accepted, Accept), Ok(Refused), Ok(Submitted)),
            (
                Submitted,
                out(Submitted, Accept),
                out(Submitted, Refuse),
                out(Submitted, Submit),
            ),
            (Refused, ended(Refused), ended(Refused), ended(Refused)),
            (Expired, ended(Expired), ended(Expired), ended(Expired)),
            (Failed, ended(Failed), ended(Failed), ended(Failed)),
        ] {
            assert_eq!(apply(status, Accept, 10, 10), accept, "{status:?}");
            assert_eq!(apply(status, Refuse, 10, 10), refuse, "{status:?}");
            assert_eq!(apply(status, Submit, 10, 10), submit, "{status:?}");
        }
    }

    #[test]
    fn the_last_second_counts_and_the_next_does_not() {
        use LeaseEvent::{Accept, Refuse, Submit};
        use LeaseStatus::{Accepted, Expired, Offered, Refused};
        assert_eq!(apply(Accepted, Submit, 10, 10), Ok(LeaseStatus::Submitted));
        assert_eq!(apply(Accepted, Submit, 11, 10), Err(LeaseRefusal::Ended(Expired)));
        assert_eq!(apply(Offered, Accept, 11, 10), Err(LeaseRefusal::Ended(Expired)));
        assert_eq!(
            apply(Offered, Refuse, 11, 10),
            Ok(Refused),
            "a late refusal says the same as expiry"
        );
    }

    #[test]
    fn words_are_read_back() {
        for status in [
            LeaseStatus::Offered,
            LeaseStatus::Accepted,
            LeaseStatus::Submitted,
            LeaseStatus::Refused,
            LeaseStatus::Expired,
            LeaseStatus::Failed,
        ] {
            assert_eq!(LeaseStatus::parse(status.as_str()).unwrap(), status);
        }
        assert!(LeaseStatus::parse("other").is_err());
    }

    #[test]
    fn the_next_worker_is_another_one_and_never_a_struck_one() {
        let worker = Address::repeat_byte;
        let base = CANDIDATE;
        let check = |candidates: &[Candidate], now, expect| assert_eq!(choose(candidates, now), expect);
        check(&[], 0, None);
        check(&[base], 0, Some(worker(1)));
        check(&[Candidate { struck: true, ..base }], 0, None);
        check(&[Candidate { free: 0, ..base }], 0, None);
        let once = Failures {
            count: 1,
            spoilt: 0,
            last: 100,
        };
        let failed = Candidate { failures: once, ..base };
        check(
            &[
                failed,
                Candidate {
                    worker: worker(2),
                    ..base
                },
            ],
            200,
            Some(worker(2)),
        );
        check(&[failed], 102, None);
        check(&[failed], 103, Some(worker(1)));
        for (spoilt, expect) in [(MAX_SPOILT - 1, Some(worker(1))), (MAX_SPOILT, None)] {
            let failures = Failures {
                count: MAX_SPOILT,
                spoilt,
                ..once
            };
            check(&[Candidate { failures, ..base }], 1_000, expect);
        }
        check(
            &[
                base,
                Candidate {
                    worker: worker(2),
                    free: 3,
                    ..base
                },
            ],
            0,
            Some(worker(2)),
        );
    }

    #[test]
    fn who_only_refuses_is_asked_again_for_ever_but_ever_later() {
        let waits = [3, 6, 12, 24, 48, 48, 48];
        for (count, wait) in (1..).zip(waits).chain([(u64::MAX, 48)]) {
            let failures = Failures {
                count,
                spoilt: 0,
                last: 100,
            };
            let refused = Candidate { failures, ..CANDIDATE };
            assert_eq!(choose(&[refused], 99 + wait), None, "{count}");
            assert_eq!(choose(&[refused], 100 + wait), Some(refused.worker), "{count}");
        }
    }
}
