//! `trace_commitments`: what a worker says its run's boundary values are.

use sqlx::{PgConnection, PgExecutor};
use touchstone_chain::{Address, B256};
use touchstone_wire::worker::Job;

use super::{
    DbError,
    convert::{hash, int},
};

/// Replaces the commitments of a job by a worker.
pub async fn insert_trace(db: &mut PgConnection, job: Job, worker: Address, trace: &[B256]) -> Result<(), DbError> {
    let attempt = int("trace_commitments.attempt", job.attempt)?;
    sqlx::query!(
        "delete from trace_commitments where request = $1::text::numeric and attempt = $2 and worker = $3",
        job.request.to_string(),
        attempt,
        worker.as_slice(),
    )
    .execute(&mut *db)
    .await?;
    let numbers: Vec<i64> = (0..int("trace_commitments.number", trace.len())?).collect();
    let commitments: Vec<Vec<u8>> = trace.iter().map(|commitment| commitment.to_vec()).collect();
    sqlx::query!(
        "insert into trace_commitments (request, attempt, worker, number, commitment)
         select $1::text::numeric, $2, $3, number, commitment
         from unnest($4::bigint[], $5::bytea[]) as rows (number, commitment)",
        job.request.to_string(),
        attempt,
        worker.as_slice(),
        &numbers,
        &commitments,
    )
    .execute(&mut *db)
    .await?;
    Ok(())
}

/// The commitments of a job by a worker, in trace order.
pub async fn select_trace(db: impl PgExecutor<'_>, job: Job, worker: Address) -> Result<Vec<B256>, DbError> {
    let rows = sqlx::query_scalar!(
        "select commitment from trace_commitments
         where request = $1::text::numeric and attempt = $2 and worker = $3 order by number",
        job.request.to_string(),
        int("trace_commitments.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|bytes| hash("trace_commitments.commitment", bytes))
        .collect()
}
