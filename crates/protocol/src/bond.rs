//! Who gets what (PROTOCOL.md section 9): every division of money. The parts of a sum always add up to it. Amounts are wei,
//! below 2^128 as on chain; within that nothing here overflows.

use alloy_primitives::U256;

/// The whole of a fee, as shares count: 1/10,000.
pub const WHOLE: u16 = 10_000;

/// A challenger's bond: twice what the worker's answers may cost, and at least `floor`.
pub fn required(floor: U256, answer_gas: u64, base_fee: U256) -> U256 {
    floor.max(
        base_fee
            .saturating_mul(U256::from(answer_gas))
            .saturating_mul(U256::from(2)),
    )
}

/// What becomes of a lost dispute's bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// To the claim's worker.
    pub to_worker: U256,
    /// Back to the challenger.
    pub to_challenger: U256,
    /// To nobody.
    pub burned: U256,
}

/// A quarter burns, so that disputing oneself is not free; the worker's metered cost comes next; the rest is the challenger's if
/// it conceded, else the worker's.
pub fn lost(bond: U256, worker_cost: U256, conceded: bool) -> Lost {
    let burned = bond / U256::from(4);
    let rest = bond - burned;
    let to_worker = if conceded { worker_cost.min(rest) } else { rest };
    Lost {
        to_worker,
        to_challenger: rest - to_worker,
        burned,
    }
}

/// What becomes of a struck worker's bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struck {
    /// To the challenger of the dispute that struck.
    pub reward: U256,
    /// Kept for the challengers of the claim's other disputes.
    pub set_aside: U256,
    /// To nobody.
    pub burned: U256,
    /// What the other challengers' cost can be refunded from.
    pub pool: U256,
}

/// Half burns: what deters a worker that also plays the challenger. From the other half the winner's metered cost comes first, so
/// that nobody else's moves can take it; then that of the other challengers (`metered` is all of it, `own` the winner's part), in
/// proportion where it does not suffice. The winner has the rest.
pub fn struck(bond: U256, metered: U256, own: U256) -> Struck {
    let burned = bond / U256::from(2);
    let half = bond - burned;
    let pool = half - own.min(half);
    let others = metered.saturating_sub(own);
    let set_aside = refund(pool, others, others);
    Struck {
        reward: half - set_aside,
        set_aside,
        burned,
        pool,
    }
}

/// What `pool` refunds of `cost`, a part of `metered`.
pub fn refund(pool: U256, metered: U256, cost: U256) -> U256 {
    let cost = cost.min(metered);
    if metered <= pool {
        cost
    } else {
        pool.saturating_mul(cost) / metered
    }
}

/// What becomes of a final claim's fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// To the worker, with what rounding leaves.
    pub to_worker: U256,
    /// To who posted the claim.
    pub to_poster: U256,
    /// To the model's publisher.
    pub to_publisher: U256,
}

/// Splits a fee by shares in 1/10,000 that are [`WHOLE`] together with the worker's.
pub fn split(fee: U256, poster_share: u16, publisher_share: u16) -> Split {
    let part = |share: u16| fee.saturating_mul(U256::from(share.min(WHOLE))) / U256::from(WHOLE);
    let (to_poster, to_publisher) = (part(poster_share), part(publisher_share));
    Split {
        to_worker: fee.saturating_sub(to_poster).saturating_sub(to_publisher),
        to_poster,
        to_publisher,
    }
}
