//! `leases`: who works on which attempt. The states and their changes are in [`crate::lease`].

use sqlx::PgExecutor;
use touchstone_chain::{Address, U256};
use touchstone_wire::worker::Job;

use super::{
    DbError,
    convert::{address, from_int, int},
};
use crate::lease::{Failures, LeaseStatus};

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Row number.
    pub id: i64,
    /// Request and attempt.
    pub job: Job,
    /// The provider.
    pub worker: Address,
    /// Where it stands.
    pub status: LeaseStatus,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Gives a job to a worker, unless somebody has it; returns the lease's number.
pub async fn insert_lease(
    db: impl PgExecutor<'_>,
    job: Job,
    worker: Address,
    now: u64,
    expires_at: u64,
) -> Result<Option<i64>, DbError> {
    let id = sqlx::query_scalar!(
        "insert into leases (request, attempt, worker, status, detail, offered_at, expires_at)
         values ($1::text::numeric, $2, $3, 'offered', '', $4, $5)
         on conflict (request, attempt) where status in ('offered', 'accepted', 'submitted') do nothing
         returning id",
        job.request.to_string(),
        int("leases.attempt", job.attempt)?,
        worker.as_slice(),
        int("leases.offered_at", now)?,
        int("leases.expires_at", expires_at)?,
    )
    .fetch_optional(db)
    .await?;
    Ok(id)
}

/// Changes a lease's status, if it still has the one expected.
pub async fn update_status(
    db: impl PgExecutor<'_>,
    id: i64,
    from: LeaseStatus,
    to: LeaseStatus,
    expires_at: u64,
    detail: &str,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "update leases set status = $3, expires_at = $4, detail = $5 where id = $1 and status = $2",
        id,
        from.as_str(),
        to.as_str(),
        int("leases.expires_at", expires_at)?,
        detail,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The newest lease of a job with a worker.
pub async fn select_lease(db: impl PgExecutor<'_>, job: Job, worker: Address) -> Result<Option<Lease>, DbError> {
    let row = sqlx::query!(
        "select id, status, expires_at from leases
         where request = $1::text::numeric and attempt = $2 and worker = $3 order by id desc limit 1",
        job.request.to_string(),
        int("leases.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Lease {
            id: row.id,
            job,
            worker,
            status: LeaseStatus::parse(&row.status)?,
            expires_at: from_int("leases.expires_at", row.expires_at)?,
        })
    })
    .transpose()
}

/// Ends leases whose time is over; returns how many.
pub async fn update_expired(db: impl PgExecutor<'_>, now: u64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "update leases set status = 'expired' where status in ('offered', 'accepted') and expires_at < $1",
        int("now", now)?
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Ends offers to a worker that is gone: it cannot take them any more.
pub async fn update_abandoned(db: impl PgExecutor<'_>, worker: Address) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "update leases set status = 'expired', detail = 'the worker disconnected'
         where status = 'offered' and worker = $1",
        worker.as_slice()
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Jobs that workers hold at this moment, by worker.
pub async fn select_load(db: impl PgExecutor<'_>) -> Result<Vec<(Address, u64)>, DbError> {
    let rows = sqlx::query!(
        r#"select worker, count(*) as "count!" from leases where status in ('offered', 'accepted') group by worker"#
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((address("leases.worker", &row.worker)?, from_int("leases", row.count)?)))
        .collect()
}

/// Leases of an attempt that came to nothing, by worker.
pub async fn select_failures(db: impl PgExecutor<'_>, job: Job) -> Result<Vec<(Address, Failures)>, DbError> {
    let rows = sqlx::query!(
        r#"select worker, count(*) as "count!", count(*) filter (where status <> 'refused') as "spoilt!",
                  max(offered_at) as "last!"
           from leases
           where request = $1::text::numeric and attempt = $2 and status in ('refused', 'expired', 'failed')
           group by worker"#,
        job.request.to_string(),
        int("leases.attempt", job.attempt)?,
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let failures = Failures {
                count: from_int("leases", row.count)?,
                spoilt: from_int("leases", row.spoilt)?,
                last: from_int("leases", row.last)?,
            };
            Ok((address("leases.worker", &row.worker)?, failures))
        })
        .collect()
}

/// Whether the worker ever got this job.
pub async fn exists(db: impl PgExecutor<'_>, job: Job, worker: Address) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from leases where request = $1::text::numeric and attempt = $2 and worker = $3
                          and status in ('accepted', 'submitted')) as "found!""#,
        job.request.to_string(),
        int("leases.attempt", job.attempt)?,
        worker.as_slice(),
    )
    .fetch_one(db)
    .await?;
    Ok(found)
}

/// Ends the leases of a request whose content changed under them (another branch of the chain).
pub async fn update_request_changed(db: impl PgExecutor<'_>, request: U256) -> Result<(), DbError> {
    sqlx::query!(
        "update leases set status = 'expired', detail = 'the request changed'
         where request = $1::text::numeric and status in ('offered', 'accepted', 'submitted')",
        request.to_string()
    )
    .execute(db)
    .await?;
    Ok(())
}
