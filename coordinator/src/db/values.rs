//! `stored_values` and `value_uses`: which values are on disk, and which jobs need them.

use sqlx::{PgConnection, PgExecutor};
use touchstone_chain::{Address, B256};
use touchstone_protocol::descriptor::Dtype;
use touchstone_wire::{value::ValueHeader, worker::Job};

use super::{
    DbError,
    convert::{from_int, hash, int},
};

/// Records a value that is on disk, and its use.
pub async fn insert_value(
    db: &mut PgConnection,
    value: &ValueHeader,
    job: Job,
    worker: Address,
) -> Result<(), DbError> {
    let dims: Vec<i64> = value.dims.iter().map(|&dim| i64::from(dim)).collect();
    sqlx::query!(
        "insert into stored_values (commitment, dtype, dims, length) values ($1, $2, $3, $4) on conflict do nothing",
        value.commitment.as_slice(),
        i16::from(value.dtype as u8),
        &dims,
        int("stored_values.length", value.length)?,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into value_uses (commitment, request, attempt, worker) values ($1, $2::text::numeric, $3, $4)
         on conflict do nothing",
        value.commitment.as_slice(),
        job.request.to_string(),
        int("value_uses.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .execute(&mut *db)
    .await?;
    Ok(())
}

/// What a stored value is.
pub async fn select_value(db: impl PgExecutor<'_>, commitment: B256) -> Result<Option<ValueHeader>, DbError> {
    let row = sqlx::query!(
        "select dtype, dims, length from stored_values where commitment = $1",
        commitment.as_slice()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let dtype = u8::try_from(row.dtype).ok().and_then(Dtype::from_code);
        Ok(ValueHeader {
            commitment,
            dtype: dtype.ok_or(DbError::Corrupt {
                column: "stored_values.dtype",
            })?,
            dims: row
                .dims
                .iter()
                .map(|&dim| from_int("stored_values.dims", dim))
                .collect::<Result<_, _>>()?,
            length: from_int("stored_values.length", row.length)?,
        })
    })
    .transpose()
}

/// Bytes stored for a job of a worker.
pub async fn select_job_bytes(db: impl PgExecutor<'_>, job: Job, worker: Address) -> Result<u64, DbError> {
    let bytes = sqlx::query_scalar!(
        r#"select coalesce(sum(v.length), 0)::bigint as "bytes!" from value_uses u
           join stored_values v on v.commitment = u.commitment
           where u.request = $1::text::numeric and u.attempt = $2 and u.worker = $3"#,
        job.request.to_string(),
        int("value_uses.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .fetch_one(db)
    .await?;
    from_int("stored_values.length", bytes)
}

/// Whether the commitment is one of the job's: of its trace, or of an answered layer of its claim.
pub async fn is_of_job(db: impl PgExecutor<'_>, commitment: B256, job: Job, worker: Address) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from trace_commitments where commitment = $1 and request = $2::text::numeric
                          and attempt = $3 and worker = $4)
               or exists (select from layer_commitments l join claims c on c.id = l.claim
                          where l.commitment = $1 and c.request = $2::text::numeric and c.attempt = $3 and c.worker = $4)
               as "found!""#,
        commitment.as_slice(),
        job.request.to_string(),
        int("value_uses.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .fetch_one(db)
    .await?;
    Ok(found)
}

/// Forgets the uses of claims that ended at or below a height, and of attempts that came to nothing.
pub async fn delete_finished_uses(db: impl PgExecutor<'_>, height: u64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "delete from value_uses u
         where exists (select from claims c where c.request = u.request and c.attempt = u.attempt and c.worker = u.worker
                       and c.status in ('final', 'struck', 'void') and c.touched <= $1)
            or exists (select from requests r where r.id = u.request and r.touched <= $1
                       and r.status in ('refunded', 'void', 'final'))",
        int("height", height)?
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Values that no job needs.
pub async fn select_unused(db: impl PgExecutor<'_>) -> Result<Vec<B256>, DbError> {
    let rows = sqlx::query_scalar!(
        "select v.commitment from stored_values v
         where not exists (select from value_uses u where u.commitment = v.commitment) limit 1024"
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|bytes| hash("stored_values.commitment", bytes))
        .collect()
}

/// Forgets a value that no job needs; says whether it is forgotten.
pub async fn delete_value(db: impl PgExecutor<'_>, commitment: B256) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "delete from stored_values v where v.commitment = $1
         and not exists (select from value_uses u where u.commitment = v.commitment)",
        commitment.as_slice()
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
