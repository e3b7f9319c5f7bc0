//! What the coordinator owes the chain, derived anew from the database at every step; nothing is remembered.
//!
//! | the database says | transaction | line |
//! |---|---|---|
//! | a checked result, its request still waits for a claim | `claim:<claim>` | claims |
//! | an open claim, window over, no dispute | `finalize:<request>:<attempt>` | claims |
//! | a final request, callback pending, paid for at the present base fee | `deliver:<request>` | claims |
//! | a request past its deadline, no claim | `refund:<request>:<attempt>` | claims |
//! | a dispute whose side to move is out of time | `timeout:<dispute>:<state>` | disputes |
//!
//! Answers of workers (`answer:<dispute>:<state>`) are ordered by their session. The chain's time is the tip's timestamp.

use sqlx::PgPool;
use touchstone_chain::{
    Address, Order, SolCall, U256,
    bindings::IMarket::{self, claimCall, deliverCall, finalizeCall, refundCall},
    event::Deployment,
};

use crate::{
    db::{
        self, DbError,
        blocks::StoredBlock,
        outbox::{Line, insert_order},
        requests::Undelivered,
        submissions::Submission,
    },
    dispute,
};

/// Seconds before a transaction that ended is ordered again, if the chain still calls for it.
pub const RETRY_SECONDS: u64 = 15;
/// Seconds that challengers have a worker's missed turn to themselves.
pub const WORKER_GRACE_SECONDS: u64 = 5;

/// Orders transactions.
#[derive(Clone, Debug)]
pub struct Planner {
    db: PgPool,
    deployment: Deployment,
    poster: Address,
}

impl Planner {
    /// A planner whose claims name `poster` as payee.
    pub fn new(db: PgPool, deployment: Deployment, poster: Address) -> Self {
        Self { db, deployment, poster }
    }

    /// Orders what is due at the chain's tip; `now` is the wall clock's time. Returns how much is new.
    pub async fn step(&self, tip: &StoredBlock, now: u64) -> Result<u64, DbError> {
        let chain_now = tip.timestamp;
        let mut orders = Vec::new();
        db::submissions::update_claimed(&self.db).await?;
        db::submissions::update_orphaned(&self.db).await?;
        for submission in db::submissions::select_postable(&self.db).await? {
            if submission.valid_until >= chain_now {
                orders.push((Line::Claims, self.claim(&submission)));
            }
        }
        for (request, attempt) in db::claims::select_finalizable(&self.db, chain_now).await? {
            let key = format!("finalize:{request}:{attempt}");
            orders.push((Line::Claims, self.market(key, &finalizeCall { request }, u64::MAX, 0)));
        }
        for undelivered in db::requests::select_undelivered(&self.db, tip.base_fee).await? {
            orders.push((Line::Claims, self.deliver(undelivered)));
        }
        for (request, attempt) in db::requests::select_overdue(&self.db, chain_now).await? {
            let key = format!("refund:{request}:{attempt}");
            orders.push((Line::Claims, self.market(key, &refundCall { request }, u64::MAX, 0)));
        }
        let worker_now = chain_now.saturating_sub(WORKER_GRACE_SECONDS);
        for late in db::disputes::select_timed_out(&self.db, chain_now, worker_now).await? {
            let order = Order {
                key: format!("timeout:{:x}:{:x}", late.id, late.state.digest),
                to: self.deployment.disputes,
                data: dispute::timeout(&late),
                value: U256::ZERO,
                deadline: late.state.deadline,
                gas_floor: 0,
            };
            orders.push((Line::Disputes, order));
        }
        let mut new = 0;
        for (line, order) in orders {
            if insert_order(&self.db, line, &order, now, RETRY_SECONDS).await? {
                tracing::info!(order = %order.key, "transaction ordered");
                new += 1;
            }
        }
        Ok(new)
    }

    /// Gives up on results that the chain did not take. Apart from [`Planner::step`], because a worker may be waiting for it.
    pub async fn fail(&self) -> Result<usize, DbError> {
        let workers = db::submissions::update_failed(&self.db).await?;
        for worker in &workers {
            tracing::warn!(%worker, "claim not taken by the chain");
        }
        Ok(workers.len())
    }

    fn claim(&self, submission: &Submission) -> Order {
        let call = claimCall {
            terms: IMarket::Terms {
                request: submission.job.request,
                attempt: u32::try_from(submission.job.attempt).unwrap_or(u32::MAX),
                worker: submission.worker,
                traceRoot: submission.trace_root,
                poster: self.poster,
                validUntil: submission.valid_until,
            },
            outputs: submission.output_data.clone().into(),
            signature: submission.signature.to_vec().into(),
        };
        self.market(claim_key(submission.claim), &call, submission.valid_until, 0)
    }

    fn deliver(&self, undelivered: Undelivered) -> Order {
        let Undelivered {
            request,
            callback_gas,
            output_data,
        } = undelivered;
        // The contract keeps a 64th back and refuses to call with less than was prepaid.
        let gas = u64::from(callback_gas) * 64 / 63 + 250_000 + 40 * output_data.len() as u64;
        let call = deliverCall {
            request,
            outputs: output_data.into(),
        };
        self.market(format!("deliver:{request}"), &call, u64::MAX, gas)
    }

    fn market(&self, key: String, call: &impl SolCall, deadline: u64, gas_floor: u64) -> Order {
        Order {
            key,
            to: self.deployment.market,
            data: call.abi_encode().into(),
            value: U256::ZERO,
            deadline,
            gas_floor,
        }
    }
}

/// The purpose of posting a claim.
pub fn claim_key(claim: touchstone_chain::B256) -> String {
    format!("claim:{claim:x}")
}

/// The purpose of answering a state of a dispute.
pub fn answer_key(dispute: touchstone_chain::B256, state: touchstone_chain::B256) -> String {
    format!("answer:{dispute:x}:{state:x}")
}

#[cfg(test)]
mod tests {
    use touchstone_chain::B256;

    #[test]
    fn keys_are_plain_hexadecimal_as_the_database_writes_it() {
        // `update_failed` builds the same key from `encode(claim, 'hex')`.
        assert_eq!(
            super::claim_key(B256::repeat_byte(0xab)),
            format!("claim:{}", "ab".repeat(32))
        );
    }
}
