//! The sender's two rules: what became of an attempt, and what the next one pays.

use crate::{sender::SenderConfig, store::Attempt};

/// What the chain says about one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// Mined; the flag says whether it succeeded.
    Mined(bool),
    /// The node holds it.
    Pending,
    /// The node does not know it, and its nonce is free.
    Dropped,
    /// Its nonce was used by another transaction.
    Replaced,
}

/// Classifies an attempt from what the chain says: the account's next nonce (asked first), the receipt's status if there is
/// a receipt, and whether the node knows the transaction.
pub fn classify(nonce: u64, next_nonce: u64, receipt: Option<bool>, known: bool) -> AttemptState {
    match (receipt, known) {
        (Some(success), _) => AttemptState::Mined(success),
        (None, true) => AttemptState::Pending,
        (None, false) if nonce < next_nonce => AttemptState::Replaced,
        (None, false) => AttemptState::Dropped,
    }
}

/// Fees of an attempt, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// At most, base fee included.
    pub max_fee: u128,
    /// For the proposer.
    pub priority_fee: u128,
}

impl Fees {
    /// Room for the base fee to double, within the limit.
    pub fn first(base_fee: u64, config: &SenderConfig) -> Self {
        Self {
            max_fee: 2 * u128::from(base_fee) + config.priority_fee,
            priority_fee: config.priority_fee,
        }
        .within(config)
    }

    /// A quarter more of both than the last attempt, and not less than a first attempt would offer; nodes ask for a tenth.
    pub fn bumped(last: &Attempt, base_fee: u64, config: &SenderConfig) -> Self {
        let first = Self::first(base_fee, config);
        let more = |fee: u128| fee + fee / 4 + 1;
        Self {
            max_fee: more(last.max_fee).max(first.max_fee),
            priority_fee: more(last.priority_fee).max(first.priority_fee),
        }
        .within(config)
    }

    fn within(self, config: &SenderConfig) -> Self {
        let max_fee = self.max_fee.min(config.max_fee);
        Self {
            max_fee,
            priority_fee: self.priority_fee.min(max_fee),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(max_fee: u128, priority_fee: u128) -> Attempt {
        Attempt {
            nonce: 0,
            hash: Default::default(),
            raw: Default::default(),
            max_fee,
            priority_fee,
            signed_at: 0,
        }
    }

    #[test]
    fn attempts_are_classified() {
        let check = |next, receipt, known, expect| assert_eq!(classify(5, next, receipt, known), expect);
        check(6, Some(true), true, AttemptState::Mined(true));
        check(6, Some(false), true, AttemptState::Mined(false));
        check(5, None, true, AttemptState::Pending);
        check(5, None, false, AttemptState::Dropped);
        check(6, None, false, AttemptState::Replaced);
        // A node that knows it but has no receipt yet, although the nonce moved: wait.
        check(6, None, true, AttemptState::Pending);
    }

    #[test]
    fn fees_rise_by_more_than_a_tenth_and_stop_at_the_limit() {
        let config = SenderConfig {
            priority_fee: 100,
            max_fee: 10_000,
            ..SenderConfig::new(1)
        };
        let first = Fees::first(1_000, &config);
        assert_eq!(
            first,
            Fees {
                max_fee: 2_100,
                priority_fee: 100
            }
        );
        let bumped = Fees::bumped(&attempt(2_100, 100), 1_000, &config);
        assert_eq!(
            bumped,
            Fees {
                max_fee: 2_626,
                priority_fee: 126
            }
        );
        assert_eq!(
            Fees::bumped(&attempt(2_100, 100), 4_000, &config).max_fee,
            8_100,
            "follows the base fee"
        );
        assert_eq!(
            Fees::bumped(&attempt(9_999, 9_998), 1_000, &config),
            Fees {
                max_fee: 10_000,
                priority_fee: 10_000
            }
        );
    }
}
