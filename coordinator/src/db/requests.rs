//! `requests`: payload from the event, state from the view.

use sqlx::PgExecutor;
use touchstone_chain::{Address, B256, U256};

use super::{
    DbError,
    convert::{from_int, hash, int, text_enum, uint},
};

text_enum!(
    /// Where a request stands on chain.
    RequestStatus, "requests.status", {
        /// Takes claims.
        Requested = "requested",
        /// Has an open claim.
        Claimed = "claimed",
        /// Answered for good.
        Final = "final",
        /// Money back after a missed deadline.
        Refunded = "refunded",
        /// Ended without a result.
        Void = "void",
        /// Not on the present chain.
        Orphaned = "orphaned",
    }
);

text_enum!(
    /// Where the callback stands.
    Delivery, "requests.delivery", {
        /// Not asked for.
        None = "none",
        /// Asked for, not made.
        Pending = "pending",
        /// Made.
        Succeeded = "succeeded",
        /// Made, and reverted.
        Reverted = "reverted",
    }
);

/// What a request's event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// Number on chain.
    pub id: U256,
    /// Model asked for.
    pub model: B256,
    /// Who asked.
    pub requester: Address,
    /// Digest of the inputs' commitments.
    pub inputs: B256,
    /// The inputs.
    pub input_data: Vec<u8>,
    /// Gas of the callback.
    pub callback_gas: u32,
    /// Wei per gas that the requester pays for it at most.
    pub callback_gas_price: u128,
    /// Claims are taken until then, unix seconds.
    pub deadline: u64,
    /// No claim may be open after it, unix seconds.
    pub limit: u64,
}

/// A request's state as the contract tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestState {
    /// Status.
    pub status: RequestStatus,
    /// Callback.
    pub delivery: Delivery,
    /// The attempt that may be claimed, or was.
    pub attempt: u64,
    /// Unix seconds.
    pub deadline: u64,
    /// Unix seconds.
    pub limit: u64,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number on chain.
    pub id: U256,
    /// Model asked for.
    pub model: B256,
    /// Digest of the inputs' commitments.
    pub inputs: B256,
    /// The inputs.
    pub input_data: Vec<u8>,
    /// Gas of the callback.
    pub callback_gas: u32,
    /// Its state.
    pub state: RequestState,
}

/// Adds a request; if another branch of the chain had one of this number, replaces it.
pub async fn insert_request(db: impl PgExecutor<'_>, request: &NewRequest, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "insert into requests (id, model, requester, inputs, input_data, callback_gas, callback_gas_price, status,
                               delivery, attempt, deadline, limit_at, touched, dirty)
         values ($1::text::numeric, $2, $3, $4, $5, $6, $7::text::numeric, 'requested', 'none', 1, $8, $9, $10, true)
         on conflict (id) do update set model = excluded.model, requester = excluded.requester, inputs = excluded.inputs,
             input_data = excluded.input_data, callback_gas = excluded.callback_gas, callback_gas_price = excluded.callback_gas_price, touched = excluded.touched, dirty = true",
        request.id.to_string(),
        request.model.as_slice(),
        request.requester.as_slice(),
        request.inputs.as_slice(),
        &request.input_data,
        i64::from(request.callback_gas),
        request.callback_gas_price.to_string(),
        int("requests.deadline", request.deadline)?,
        int("requests.limit_at", request.limit)?,
        int("requests.touched", block)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Something happened to the request in this block.
pub async fn update_touched(db: impl PgExecutor<'_>, id: U256, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update requests set touched = $2, dirty = true where id = $1::text::numeric",
        id.to_string(),
        int("requests.touched", block)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Everything last touched at or above this height has to be read again.
pub async fn update_dirty_from(db: impl PgExecutor<'_>, height: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update requests set dirty = true where touched >= $1",
        int("requests.touched", height)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Requests that have to be read again.
pub async fn select_dirty(db: impl PgExecutor<'_>) -> Result<Vec<U256>, DbError> {
    let rows = sqlx::query_scalar!(r#"select id::text as "id!" from requests where dirty order by id"#)
        .fetch_all(db)
        .await?;
    rows.iter().map(|id| uint("requests.id", id)).collect()
}

/// Stores what the contract said.
pub async fn update_state(db: impl PgExecutor<'_>, id: U256, state: &RequestState) -> Result<(), DbError> {
    sqlx::query!(
        "update requests set status = $2, delivery = $3, attempt = $4, deadline = $5, limit_at = $6, dirty = false
         where id = $1::text::numeric",
        id.to_string(),
        state.status.as_str(),
        state.delivery.as_str(),
        int("requests.attempt", state.attempt)?,
        int("requests.deadline", state.deadline)?,
        int("requests.limit_at", state.limit)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The contract knows no request of this number.
pub async fn update_orphaned(db: impl PgExecutor<'_>, id: U256) -> Result<(), DbError> {
    sqlx::query!(
        "update requests set status = 'orphaned', dirty = false where id = $1::text::numeric",
        id.to_string()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One request.
pub async fn select_request(db: impl PgExecutor<'_>, id: U256) -> Result<Option<Request>, DbError> {
    let row = sqlx::query!(
        r#"select id::text as "id!", model, inputs, input_data, callback_gas, status, delivery, attempt, deadline, limit_at
           from requests where id = $1::text::numeric"#,
        id.to_string()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Request {
            id: uint("requests.id", &row.id)?,
            model: hash("requests.model", &row.model)?,
            inputs: hash("requests.inputs", &row.inputs)?,
            input_data: row.input_data,
            callback_gas: from_int("requests.callback_gas", row.callback_gas)?,
            state: RequestState {
                status: RequestStatus::parse(&row.status)?,
                delivery: Delivery::parse(&row.delivery)?,
                attempt: from_int("requests.attempt", row.attempt)?,
                deadline: from_int("requests.deadline", row.deadline)?,
                limit: from_int("requests.limit_at", row.limit_at)?,
            },
        })
    })
    .transpose()
}

/// Requests that wait for a claim and nobody works on, before their deadline, oldest deadline first.
pub async fn select_unleased(db: impl PgExecutor<'_>, now: u64) -> Result<Vec<U256>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"select r.id::text as "id!" from requests r
           where r.status = 'requested' and r.deadline > $1
             and not exists (select from leases l where l.request = r.id and l.attempt = r.attempt
                             and l.status in ('offered', 'accepted', 'submitted'))
           order by r.deadline limit 64"#,
        int("now", now)?
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|id| uint("requests.id", id)).collect()
}

/// Requests whose deadline has passed without a claim: number and attempt.
pub async fn select_overdue(db: impl PgExecutor<'_>, now: u64) -> Result<Vec<(U256, u64)>, DbError> {
    let rows = sqlx::query!(
        r#"select id::text as "id!", attempt from requests
           where status = 'requested' and deadline < $1 order by deadline limit 64"#,
        int("now", now)?
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                uint("requests.id", &row.id)?,
                from_int("requests.attempt", row.attempt)?,
            ))
        })
        .collect()
}

/// A final result whose callback has not been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The request.
    pub request: U256,
    /// Gas of the callback.
    pub callback_gas: u32,
    /// The outputs.
    pub output_data: Vec<u8>,
}

/// Final requests that wait for their callback and pay for its gas at this base fee, in wei. Those not tried yet come first, so that
/// what is refused again and again holds nothing up.
pub async fn select_undelivered(db: impl PgExecutor<'_>, base_fee: u64) -> Result<Vec<Undelivered>, DbError> {
    let rows = sqlx::query!(
        r#"select r.id::text as "id!", r.callback_gas, c.output_data
           from requests r join claims c on c.request = r.id and c.status = 'final'
             left join outbox o on o.key = 'deliver:' || r.id
           where r.status = 'final' and r.delivery = 'pending' and r.callback_gas_price >= $1::bigint
             and o.status is distinct from 'open'
           order by coalesce(o.updated_at, 0), r.id limit 64"#,
        int("base fee", base_fee)?
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Undelivered {
                request: uint("requests.id", &row.id)?,
                callback_gas: from_int("requests.callback_gas", row.callback_gas)?,
                output_data: row.output_data,
            })
        })
        .collect()
}
