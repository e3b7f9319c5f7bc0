//! `claims`: payload from the event, state from the view.

use sqlx::PgExecutor;
use touchstone_chain::{Address, B256, U256};

use super::{
    DbError,
    convert::{address, from_int, hash, int, text_enum, uint},
};

text_enum!(
    /// Where a claim stands on chain.
    ClaimStatus, "claims.status", {
        /// In its window, or disputed.
        Open = "open",
        /// Paid.
        Final = "final",
        /// Disproven.
        Struck = "struck",
        /// Its model does not decode.
        Void = "void",
        /// Not on the present chain.
        Orphaned = "orphaned",
    }
);

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Claim id.
    pub id: B256,
    /// The request.
    pub request: U256,
    /// The attempt.
    pub attempt: u64,
    /// Provider of the worker.
    pub worker: Address,
    /// The provider's node key at that time.
    pub node: Address,
    /// Payee of the coordinator's share.
    pub poster: Address,
    /// Digest of the outputs' commitments.
    pub outputs: B256,
    /// Tree of the trace.
    pub trace_root: B256,
    /// The outputs.
    pub output_data: Vec<u8>,
    /// Last second of the challenge window.
    pub window_end: u64,
    /// Its status.
    pub status: ClaimStatus,
    /// Orders changes for watchers.
    pub change: u64,
    /// Height of the last event about it.
    pub touched: u64,
}

macro_rules! claim {
    ($row:expr) => {{
        let row = $row;
        Ok(Claim {
            id: hash("claims.id", &row.id)?,
            request: uint("claims.request", &row.request)?,
            attempt: from_int("claims.attempt", row.attempt)?,
            worker: address("claims.worker", &row.worker)?,
            node: address("claims.node", &row.node)?,
            poster: address("claims.poster", &row.poster)?,
            outputs: hash("claims.outputs", &row.outputs)?,
            trace_root: hash("claims.trace_root", &row.trace_root)?,
            output_data: row.output_data,
            window_end: from_int("claims.window_end", row.window_end)?,
            status: ClaimStatus::parse(&row.status)?,
            change: from_int("claims.change", row.change)?,
            touched: from_int("claims.touched", row.touched)?,
        })
    }};
}

/// What a claim's event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// Claim id.
    pub id: B256,
    /// The request.
    pub request: U256,
    /// The attempt.
    pub attempt: u64,
    /// Provider of the worker.
    pub worker: Address,
    /// The provider's node key.
    pub node: Address,
    /// Payee of the coordinator's share.
    pub poster: Address,
    /// Digest of the outputs' commitments.
    pub outputs: B256,
    /// Tree of the trace.
    pub trace_root: B256,
    /// The outputs.
    pub output_data: Vec<u8>,
    /// Last second of the challenge window.
    pub window_end: u64,
}

/// Adds a claim; one that another branch of the chain had is the same but for its window.
pub async fn insert_claim(db: impl PgExecutor<'_>, claim: &NewClaim, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "insert into claims (id, request, attempt, worker, node, poster, outputs, trace_root, output_data, window_end, status,
                             open_disputes, change, touched, dirty)
         values ($1, $2::text::numeric, $3, $4, $5, $6, $7, $8, $9, $10, 'open', 0, nextval('claim_changes'), $11, true)
         on conflict (id) do update set window_end = excluded.window_end, node = excluded.node, change = excluded.change,
             touched = excluded.touched, dirty = true",
        claim.id.as_slice(),
        claim.request.to_string(),
        int("claims.attempt", claim.attempt)?,
        claim.worker.as_slice(),
        claim.node.as_slice(),
        claim.poster.as_slice(),
        claim.outputs.as_slice(),
        claim.trace_root.as_slice(),
        &claim.output_data,
        int("claims.window_end", claim.window_end)?,
        int("claims.touched", block)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Something happened to the claim in this block.
pub async fn update_touched(db: impl PgExecutor<'_>, id: B256, block: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update claims set touched = $2, dirty = true where id = $1",
        id.as_slice(),
        int("claims.touched", block)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Everything last touched at or above this height has to be read again.
pub async fn update_dirty_from(db: impl PgExecutor<'_>, height: u64) -> Result<(), DbError> {
    sqlx::query!(
        "update claims set dirty = true where touched >= $1",
        int("claims.touched", height)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Claims that have to be read again.
pub async fn select_dirty(db: impl PgExecutor<'_>) -> Result<Vec<B256>, DbError> {
    let rows = sqlx::query_scalar!("select id from claims where dirty order by change")
        .fetch_all(db)
        .await?;
    rows.iter().map(|id| hash("claims.id", id)).collect()
}

/// Stores what the contract said; counts as a change for watchers if the status is another one.
pub async fn update_state(
    db: impl PgExecutor<'_>,
    id: B256,
    status: ClaimStatus,
    open_disputes: u32,
    window_end: u64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update claims set status = $2, open_disputes = $3, window_end = $4, dirty = false,
             change = case when status = $2 and window_end = $4 then change else nextval('claim_changes') end
         where id = $1",
        id.as_slice(),
        status.as_str(),
        i64::from(open_disputes),
        int("claims.window_end", window_end)?,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One claim.
pub async fn select_claim(db: impl PgExecutor<'_>, id: B256) -> Result<Option<Claim>, DbError> {
    let row = sqlx::query!(
        r#"select id, request::text as "request!", attempt, worker, node, poster, outputs, trace_root, output_data, window_end,
                  status, change, touched
           from claims where id = $1"#,
        id.as_slice()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| claim!(row)).transpose()
}

/// Claims that changed after a watcher's cursor, in order of change.
pub async fn select_changed(db: impl PgExecutor<'_>, cursor: u64, limit: i64) -> Result<Vec<Claim>, DbError> {
    let rows = sqlx::query!(
        r#"select id, request::text as "request!", attempt, worker, node, poster, outputs, trace_root, output_data, window_end,
                  status, change, touched
           from claims where change > $1 order by change limit $2"#,
        i64::try_from(cursor).unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| claim!(row)).collect()
}

/// The newest claims of a worker, newest first.
pub async fn select_of_worker(db: impl PgExecutor<'_>, worker: Address, limit: i64) -> Result<Vec<Claim>, DbError> {
    let rows = sqlx::query!(
        r#"select id, request::text as "request!", attempt, worker, node, poster, outputs, trace_root, output_data, window_end,
                  status, change, touched
           from claims where worker = $1 order by change desc limit $2"#,
        worker.as_slice(),
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| claim!(row)).collect()
}

/// Requests and attempts whose open claim may be made final: window over, no dispute open.
pub async fn select_finalizable(db: impl PgExecutor<'_>, now: u64) -> Result<Vec<(U256, u64)>, DbError> {
    let rows = sqlx::query!(
        r#"select c.request::text as "request!", c.attempt from claims c join requests r on r.id = c.request
           where c.status = 'open' and r.status = 'claimed' and c.open_disputes = 0 and c.window_end < $1
           order by c.window_end limit 64"#,
        int("now", now)?
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                uint("claims.request", &row.request)?,
                from_int("claims.attempt", row.attempt)?,
            ))
        })
        .collect()
}

/// Workers whose claim on this request was struck.
pub async fn select_struck_workers(db: impl PgExecutor<'_>, request: U256) -> Result<Vec<Address>, DbError> {
    let rows = sqlx::query_scalar!(
        "select worker from claims where request = $1::text::numeric and status = 'struck'",
        request.to_string()
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|worker| address("claims.worker", worker)).collect()
}
