//! `outbox` and `outbox_attempts`: the transactions that the coordinator wants sent.

use sqlx::{PgExecutor, PgPool};
use touchstone_chain::{Attempt, Bytes, Order, Outcome, Store, StoredOrder};

use super::{
    DbError,
    convert::{address, big, from_int, hash, int, text_enum, uint},
};

text_enum!(
    /// A signer with its own nonces. Disputes do not wait behind routine.
    Line, "outbox.line", {
        /// Claims, finalizations, deliveries, refunds.
        Claims = "claims",
        /// Dispute moves and timeouts.
        Disputes = "disputes",
    }
);

/// Asks for a transaction. One that is on its way is left alone. One that ended is opened again with the new content once
/// `retry_after` seconds have passed: whoever still asks for it then sees a chain on which it did not happen (it was
/// refused, reverted, or reorganised away). Says whether there is something new to send.
pub async fn insert_order(
    db: impl PgExecutor<'_>,
    line: Line,
    order: &Order,
    now: u64,
    retry_after: u64,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "with old as (
             delete from outbox_attempts where key in
                 (select key from outbox where key = $1 and status <> 'open' and updated_at + $9 <= $8))
         insert into outbox (key, line, destination, data, value, deadline, gas_floor, status, reason, updated_at)
         values ($1, $2, $3, $4, $5::text::numeric, $6, $7, 'open', '', $8)
         on conflict (key) do update set data = excluded.data, deadline = excluded.deadline, gas_floor = excluded.gas_floor,
             status = 'open', reason = '', transaction = null, block = null, gas_used = null, updated_at = excluded.updated_at
         where outbox.status <> 'open' and outbox.updated_at + $9 <= $8",
        order.key,
        line.as_str(),
        order.to.as_slice(),
        order.data.as_ref(),
        order.value.to_string(),
        i64::try_from(order.deadline).unwrap_or(i64::MAX),
        int("outbox.gas_floor", order.gas_floor)?,
        int("outbox.updated_at", now)?,
        int("retry_after", retry_after)?,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Why the chain refused an order, if it did.
pub async fn select_refusal(db: impl PgExecutor<'_>, key: &str) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!(
        "select reason from outbox where key = $1 and status in ('reverted', 'refused')",
        key
    )
    .fetch_optional(db)
    .await?)
}

/// One line's orders, as a sender needs them.
#[derive(Clone, Debug)]
pub struct Outbox {
    db: PgPool,
    line: Line,
}

impl Outbox {
    /// The orders of a line.
    pub fn new(db: PgPool, line: Line) -> Self {
        Self { db, line }
    }
}

impl Store for Outbox {
    type Error = DbError;

    async fn open_orders(&self) -> Result<Vec<StoredOrder>, DbError> {
        let rows = sqlx::query!(
            r#"select key, destination, data, value::text as "value!", deadline, gas_floor from outbox
               where status = 'open' and line = $1 order by deadline, key limit 256"#,
            self.line.as_str()
        )
        .fetch_all(&self.db)
        .await?;
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        let mut orders = rows
            .into_iter()
            .map(|row| {
                Ok(StoredOrder {
                    order: Order {
                        key: row.key,
                        to: address("outbox.destination", &row.destination)?,
                        data: row.data.into(),
                        value: uint("outbox.value", &row.value)?,
                        deadline: from_int("outbox.deadline", row.deadline)?,
                        gas_floor: from_int("outbox.gas_floor", row.gas_floor)?,
                    },
                    attempts: Vec::new(),
                })
            })
            .collect::<Result<Vec<_>, DbError>>()?;
        let attempts = sqlx::query!(
            r#"select key, hash, nonce, raw, max_fee::text as "max_fee!", priority_fee::text as "priority_fee!", signed_at
               from outbox_attempts where key = any($1) order by signed_at, max_fee"#,
            &keys
        )
        .fetch_all(&self.db)
        .await?;
        for row in attempts {
            let attempt = Attempt {
                nonce: from_int("outbox_attempts.nonce", row.nonce)?,
                hash: hash("outbox_attempts.hash", &row.hash)?,
                raw: Bytes::from(row.raw),
                max_fee: big("outbox_attempts.max_fee", &row.max_fee)?,
                priority_fee: big("outbox_attempts.priority_fee", &row.priority_fee)?,
                signed_at: from_int("outbox_attempts.signed_at", row.signed_at)?,
            };
            if let Some(stored) = orders.iter_mut().find(|stored| stored.order.key == row.key) {
                stored.attempts.push(attempt);
            }
        }
        Ok(orders)
    }

    async fn insert_attempt(&self, key: &str, attempt: &Attempt) -> Result<(), DbError> {
        sqlx::query!(
            "insert into outbox_attempts (hash, key, nonce, raw, max_fee, priority_fee, signed_at)
             values ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7)",
            attempt.hash.as_slice(),
            key,
            int("outbox_attempts.nonce", attempt.nonce)?,
            attempt.raw.as_ref(),
            attempt.max_fee.to_string(),
            attempt.priority_fee.to_string(),
            int("outbox_attempts.signed_at", attempt.signed_at)?,
        )
        .execute(&self.db)
        .await?;
        Ok(())
    }

    async fn delete_attempts(&self, key: &str) -> Result<(), DbError> {
        sqlx::query!("delete from outbox_attempts where key = $1", key)
            .execute(&self.db)
            .await?;
        Ok(())
    }

    async fn update_outcome(&self, key: &str, outcome: &Outcome) -> Result<(), DbError> {
        let (status, reason, inclusion) = match outcome {
            Outcome::Succeeded(inclusion) => ("succeeded", "", Some(inclusion)),
            Outcome::Reverted(inclusion, revert) => ("reverted", revert.reason.as_str(), Some(inclusion)),
            Outcome::Refused(revert) => ("refused", revert.reason.as_str(), None),
        };
        let gas_used = inclusion
            .map(|inclusion| int("outbox.gas_used", inclusion.gas_used))
            .transpose()?;
        sqlx::query!(
            "update outbox set status = $2, reason = $3, transaction = $4, block = $5, gas_used = $6,
                 updated_at = extract(epoch from clock_timestamp())::bigint
             where key = $1 and status = 'open'",
            key,
            status,
            reason,
            inclusion.map(|inclusion| inclusion.transaction.to_vec()),
            inclusion.map(|inclusion| inclusion.block.to_vec()),
            gas_used,
        )
        .execute(&self.db)
        .await?;
        Ok(())
    }
}
