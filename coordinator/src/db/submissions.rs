//! `submissions`: signed results, checked, on their way to the chain.

use sqlx::PgExecutor;
use touchstone_chain::{Address, B256, U256, signature::SignatureBytes};
use touchstone_wire::worker::{Job, RunResult};

use super::{
    DbError,
    convert::{address, from_int, hash, int, uint},
};

/// A checked result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The claim's id.
    pub claim: B256,
    /// The lease it came under.
    pub lease: i64,
    /// Request and attempt.
    pub job: Job,
    /// The provider.
    pub worker: Address,
    /// The key that signed.
    pub node: Address,
    /// The outputs.
    pub output_data: Vec<u8>,
    /// Tree of the trace.
    pub trace_root: B256,
    /// The chain takes the claim until then, unix seconds.
    pub valid_until: u64,
    /// Signature of the claim.
    pub signature: SignatureBytes,
}

impl Submission {
    /// What the worker sent.
    pub fn result(&self) -> RunResult {
        RunResult {
            job: self.job,
            output: self.output_data.clone(),
            trace_root: self.trace_root,
            valid_until: self.valid_until,
            signature: self.signature,
        }
    }
}

/// A row of all columns but status and detail. A macro, because each checked query has a row type of its own.
macro_rules! submission {
    ($row:ident) => {
        Ok(Submission {
            claim: hash("submissions.claim", &$row.claim)?,
            lease: $row.lease,
            job: Job {
                request: uint("submissions.request", &$row.request)?,
                attempt: from_int("submissions.attempt", $row.attempt)?,
            },
            worker: address("submissions.worker", &$row.worker)?,
            node: address("submissions.node", &$row.node)?,
            output_data: $row.output_data,
            trace_root: hash("submissions.trace_root", &$row.trace_root)?,
            valid_until: from_int("submissions.valid_until", $row.valid_until)?,
            signature: SignatureBytes::try_from($row.signature.as_slice()).map_err(|_| DbError::Corrupt {
                column: "submissions.signature",
            })?,
        })
    };
}

/// Adds a result; nothing happens if it is there.
pub async fn insert_submission(db: impl PgExecutor<'_>, submission: &Submission) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "insert into submissions (claim, lease, request, attempt, worker, node, output_data, trace_root, valid_until,
                                  signature, status, detail)
         values ($1, $2, $3::text::numeric, $4, $5, $6, $7, $8, $9, $10, 'waiting', '')
         on conflict do nothing",
        submission.claim.as_slice(),
        submission.lease,
        submission.job.request.to_string(),
        int("submissions.attempt", submission.job.attempt)?,
        submission.worker.as_slice(),
        submission.node.as_slice(),
        &submission.output_data,
        submission.trace_root.as_slice(),
        int("submissions.valid_until", submission.valid_until)?,
        submission.signature.as_slice(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Results whose request still waits for a claim of their attempt.
pub async fn select_postable(db: impl PgExecutor<'_>) -> Result<Vec<Submission>, DbError> {
    let rows = sqlx::query!(
        r#"select s.claim, s.lease, s.request::text as "request!", s.attempt, s.worker, s.node, s.output_data, s.trace_root,
                  s.valid_until, s.signature
           from submissions s join requests r on r.id = s.request
           where s.status = 'waiting' and r.status = 'requested' and r.attempt = s.attempt
           order by r.deadline limit 64"#
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| submission!(row)).collect()
}

/// The result that came under a lease.
pub async fn select_submission(db: impl PgExecutor<'_>, lease: i64) -> Result<Option<Submission>, DbError> {
    let row = sqlx::query!(
        r#"select claim, lease, request::text as "request!", attempt, worker, node, output_data, trace_root, valid_until,
                  signature
           from submissions where lease = $1"#,
        lease
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| submission!(row)).transpose()
}

/// Results that are on chain now.
pub async fn update_claimed(db: impl PgExecutor<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "update submissions s set status = 'claimed' from claims c
         where s.status <> 'claimed' and c.id = s.claim and c.status <> 'orphaned'"
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Results that fell off the chain wait again.
pub async fn update_orphaned(db: impl PgExecutor<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "update submissions s set status = 'waiting' from claims c
         where s.status = 'claimed' and c.id = s.claim and c.status = 'orphaned'"
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Results that the chain refused, whose transaction reverted, or whose request went on without them: they fail, and their
/// lease with them. Returns the workers.
pub async fn update_failed(db: impl PgExecutor<'_>) -> Result<Vec<Address>, DbError> {
    let rows = sqlx::query_scalar!(
        "with failed as (
             update submissions s set status = 'failed',
                 detail = coalesce((select o.reason from outbox o where o.key = 'claim:' || encode(s.claim, 'hex')
                                    and o.status in ('reverted', 'refused')), 'the request went on without this claim')
             where s.status = 'waiting'
               and (exists (select from outbox o where o.key = 'claim:' || encode(s.claim, 'hex')
                            and o.status in ('reverted', 'refused'))
                 or not exists (select from requests r where r.id = s.request and r.status = 'requested'
                                and r.attempt = s.attempt))
               and not exists (select from claims c where c.id = s.claim and c.status <> 'orphaned')
             returning s.lease, s.worker, s.detail)
         update leases l set status = 'failed', detail = failed.detail from failed
         where l.id = failed.lease and l.status = 'submitted'
         returning l.worker"
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|worker| address("leases.worker", worker)).collect()
}

/// The worker's results that failed, newest first: claim, job, why.
pub async fn select_failed(
    db: impl PgExecutor<'_>,
    worker: Address,
    limit: i64,
) -> Result<Vec<(B256, Job, String)>, DbError> {
    let rows = sqlx::query!(
        r#"select claim, request::text as "request!", attempt, detail from submissions
           where worker = $1 and status = 'failed' order by lease desc limit $2"#,
        worker.as_slice(),
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let job = Job {
                request: U256::from_str_radix(&row.request, 10).map_err(|_| DbError::Corrupt {
                    column: "submissions.request",
                })?,
                attempt: from_int("submissions.attempt", row.attempt)?,
            };
            Ok((hash("submissions.claim", &row.claim)?, job, row.detail))
        })
        .collect()
}
