//! What a connected worker may do and what it is told. The connection itself is in [`crate::grpc::worker`].

use sqlx::Acquire as _;
use touchstone_chain::{Address, B256, Order, U256};
use touchstone_wire::worker::{
    Answer, ClaimState, Commitments, FromWorker, Job, Question, Refuse, Reply, RunResult, Tree, Update,
};

use crate::{
    db::{
        self, DbError,
        claims::ClaimStatus,
        disputes::Phase,
        layers::Layer,
        leases::Lease,
        outbox::{Line, insert_order},
        submissions::Submission,
    },
    dispute::{self, AnswerRefusal},
    grpc::Shared,
    lease::{self, LeaseEvent, LeaseRefusal, LeaseStatus},
    planner,
    result::{self, Expected, ResultRefusal},
    scheduler,
    sessions::Session,
};

/// Claims of a worker that it is told about.
const RECENT: i64 = 64;
/// Seconds before a refused answer may be replaced.
const ANSWER_RETRY_SECONDS: u64 = 2;

/// A message that is refused, and ends the session.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Hello comes once.
    #[error("hello was said before")]
    SecondHello,
    /// The job was never this worker's.
    #[error("the job was not given to this worker")]
    ForeignJob,
    /// The claim is not this worker's.
    #[error("claim {0} is not this worker's")]
    ForeignClaim(B256),
    /// The lease does not allow it.
    #[error(transparent)]
    Lease(#[from] LeaseRefusal),
    /// The request no longer waits for this attempt.
    #[error("the request no longer waits for this attempt")]
    TooLate,
    /// Too many or too few commitments.
    #[error("{actual} trace commitments, the model has {expected}")]
    TraceLength {
        /// Of the model.
        expected: u32,
        /// Sent.
        actual: usize,
    },
    /// The result is wrong.
    #[error("the result is refused: {0}")]
    Result(#[from] ResultRefusal),
    /// The answer is wrong.
    #[error("the answer is refused: {0}")]
    Answer(#[from] AnswerRefusal),
    /// Not the worker's fault.
    #[error(transparent)]
    Unavailable(#[from] DbError),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Does what the worker says, or says why not. Everything it changes is durable when it returns; progress changes nothing and
/// costs nothing.
pub async fn handle(shared: &Shared, session: &Session, message: FromWorker, now: u64) -> Result<(), Refusal> {
    let done = match message {
        FromWorker::Hello(_) => Err(Refusal::SecondHello),
        FromWorker::Accept(job) => accept(shared, session, job, now).await,
        FromWorker::Refuse(refuse) => self::refuse(shared, session, refuse, now).await,
        FromWorker::Progress(progress) => {
            tracing::debug!(request = %progress.job.request, worker = %session.worker, stage = ?progress.stage, "progress");
            return Ok(());
        }
        FromWorker::Commitments(commitments) => self::commitments(shared, session, commitments, now).await,
        FromWorker::Result(result) => submit(shared, session, result, now).await,
        FromWorker::Answer(answer) => self::answer(shared, session, answer, now).await,
    };
    shared.changed();
    done
}

async fn lease_of(shared: &Shared, worker: Address, job: Job) -> Result<Lease, Refusal> {
    db::leases::select_lease(&shared.db, job, worker)
        .await?
        .ok_or(Refusal::ForeignJob)
}

/// Whether a checked result came under the lease, whatever became of it.
fn was_submitted(lease: &Lease) -> bool {
    matches!(lease.status, LeaseStatus::Submitted | LeaseStatus::Failed)
}

/// Changes the lease's status in the database, from what `lease` says it is.
async fn advance(
    db: impl sqlx::PgExecutor<'_>,
    lease: &Lease,
    event: LeaseEvent,
    now: u64,
    expires_at: u64,
    detail: &str,
) -> Result<(), Refusal> {
    let to = lease::apply(lease.status, event, now, lease.expires_at)?;
    if !db::leases::update_status(db, lease.id, lease.status, to, expires_at, detail).await? {
        // Something else, like its expiry, came first.
        return Err(LeaseRefusal::Ended(LeaseStatus::Expired).into());
    }
    Ok(())
}

async fn accept(shared: &Shared, session: &Session, job: Job, now: u64) -> Result<(), Refusal> {
    let lease = lease_of(shared, session.worker, job).await?;
    if lease.status == LeaseStatus::Accepted {
        return Ok(());
    }
    match advance(
        &shared.db,
        &lease,
        LeaseEvent::Accept,
        now,
        now + shared.lease_seconds,
        "",
    )
    .await
    {
        // The offer lapsed while the acceptance was on its way: no lie, and the worker learns it from its result.
        Err(Refusal::Lease(LeaseRefusal::Ended(LeaseStatus::Expired))) => Ok(()),
        done => done,
    }?;
    tracing::info!(request = %job.request, attempt = job.attempt, worker = %session.worker, "job accepted");
    Ok(())
}

async fn refuse(shared: &Shared, session: &Session, refuse: Refuse, now: u64) -> Result<(), Refusal> {
    let Refuse { job, reason, detail } = refuse;
    let lease = lease_of(shared, session.worker, job).await?;
    tracing::info!(request = %job.request, worker = %session.worker, ?reason, "job refused");
    let text = format!("{reason:?}: {}", detail.replace('\0', " "));
    match advance(&shared.db, &lease, LeaseEvent::Refuse, now, lease.expires_at, &text).await {
        // Refusing what is over changes nothing.
        Err(Refusal::Lease(LeaseRefusal::Ended(_))) => Ok(()),
        done => done,
    }
}

async fn commitments(shared: &Shared, session: &Session, commitments: Commitments, now: u64) -> Result<(), Refusal> {
    let Commitments { job, trace } = commitments;
    let lease = lease_of(shared, session.worker, job).await?;
    if was_submitted(&lease) && db::trace::select_trace(&shared.db, job, session.worker).await? == trace {
        // Sent again after a lost connection.
        return Ok(());
    }
    // The same condition as for the result that follows.
    lease::apply(lease.status, LeaseEvent::Submit, now, lease.expires_at)?;
    let request = db::requests::select_request(&shared.db, job.request)
        .await?
        .ok_or(Refusal::TooLate)?;
    let model = db::models::select_model(&shared.db, request.model)
        .await?
        .ok_or(Refusal::TooLate)?;
    if trace.len() != model.trace_values as usize {
        return Err(Refusal::TraceLength {
            expected: model.trace_values,
            actual: trace.len(),
        });
    }
    let mut transaction = shared.db.begin().await?;
    db::trace::insert_trace(&mut transaction, job, session.worker, &trace).await?;
    transaction.commit().await?;
    tracing::info!(request = %job.request, attempt = job.attempt, worker = %session.worker, "commitments stored");
    Ok(())
}

async fn submit(shared: &Shared, session: &Session, result: RunResult, now: u64) -> Result<(), Refusal> {
    let job = result.job;
    let lease = lease_of(shared, session.worker, job).await?;
    if let Some(submitted) = db::submissions::select_submission(&shared.db, lease.id).await?
        && submitted.result() == result
    {
        // Sent again after a lost connection.
        return Ok(());
    }
    lease::apply(lease.status, LeaseEvent::Submit, now, lease.expires_at)?;
    let request = db::requests::select_request(&shared.db, job.request)
        .await?
        .ok_or(Refusal::TooLate)?;
    if request.state.attempt != job.attempt {
        return Err(Refusal::TooLate);
    }
    let model = db::models::select_model(&shared.db, request.model)
        .await?
        .ok_or(Refusal::TooLate)?;
    let trace = db::trace::select_trace(&shared.db, job, session.worker).await?;
    let expected = Expected {
        domain: shared.domain,
        worker: session.worker,
        node: session.node,
        model: model.id,
        io: &model.io,
        profile: model.profile,
        trace_values: model.trace_values,
        inputs: request.inputs,
        poster: shared.poster,
        trace: &trace,
        valid_until: scheduler::valid_until(&request),
    };
    let checked = result::check(&expected, &result);
    let mut transaction = shared.db.begin().await?;
    let claim = match checked {
        Ok(claim) => claim,
        Err(refusal) => {
            // The next worker need not wait for this one's lease to run out.
            advance(
                &mut *transaction,
                &lease,
                LeaseEvent::Refuse,
                now,
                lease.expires_at,
                &refusal.to_string(),
            )
            .await?;
            transaction.commit().await?;
            return Err(refusal.into());
        }
    };
    advance(&mut *transaction, &lease, LeaseEvent::Submit, now, lease.expires_at, "").await?;
    let submission = Submission {
        claim,
        lease: lease.id,
        job,
        worker: session.worker,
        node: session.node,
        output_data: result.output,
        trace_root: result.trace_root,
        valid_until: result.valid_until,
        signature: result.signature,
    };
    if !db::submissions::insert_submission(&mut *transaction, &submission).await? {
        return Err(Refusal::TooLate);
    }
    transaction.commit().await?;
    tracing::info!(request = %job.request, claim_id = %claim, worker = %session.worker, "result checked");
    Ok(())
}

async fn answer(shared: &Shared, session: &Session, answer: Answer, now: u64) -> Result<(), Refusal> {
    let claim = db::claims::select_claim(&shared.db, answer.claim).await?;
    let claim = claim
        .filter(|claim| claim.worker == session.worker)
        .ok_or(Refusal::ForeignClaim(answer.claim))?;
    let Some(dispute) = db::disputes::select_dispute(&shared.db, answer.dispute).await? else {
        return Err(AnswerRefusal::Foreign {
            dispute: answer.dispute,
            claim: answer.claim,
        }
        .into());
    };
    if let Reply::Unable(reason) = &answer.reply {
        tracing::warn!(dispute_id = %dispute.id, worker = %session.worker, reason, "worker cannot answer");
        return Ok(());
    }
    let late = dispute.state.digest != answer.state;
    if let Reply::Layer {
        root,
        signature,
        commitments,
    } = &answer.reply
        && dispute.state.phase != Phase::Layering
        && matches!(dispute.state.tree, Tree::Layer(_))
    {
        // Nothing is left to say on chain; what it commits to is for the challengers. A late answer may be about an earlier layer.
        let layer = (*root, signature, commitments.as_slice());
        match dispute::check_layer(&dispute, &shared.domain, claim.node, layer) {
            Err(_) if late => return Ok(()),
            checked => checked?,
        }
        let layer = Layer {
            root: *root,
            signature: *signature,
            commitments: commitments.clone(),
        };
        let mut transaction = shared.db.begin().await?;
        db::layers::insert_layer(&mut transaction, claim.id, dispute.state.layer, &layer).await?;
        transaction.commit().await?;
        tracing::info!(dispute_id = %dispute.id, layer = dispute.state.layer, worker = %session.worker, "layer stored");
        return Ok(());
    }
    if late {
        // The dispute went on meanwhile; the worker is asked about the new state.
        tracing::info!(dispute_id = %dispute.id, worker = %session.worker, "late answer");
        return Ok(());
    }
    let data = dispute::check(&dispute, &shared.domain, claim.node, &answer)?;
    let order = Order {
        key: planner::answer_key(dispute.id, answer.state),
        to: shared.deployment.disputes,
        data,
        value: U256::ZERO,
        deadline: dispute.state.deadline,
        gas_floor: 0,
    };
    let mut connection = shared.db.acquire().await?;
    let mut transaction = connection.begin().await?;
    if let Reply::Layer {
        root,
        signature,
        commitments,
    } = answer.reply
    {
        let layer = Layer {
            root,
            signature,
            commitments,
        };
        db::layers::insert_layer(&mut transaction, claim.id, dispute.state.layer, &layer).await?;
    }
    insert_order(&mut *transaction, Line::Disputes, &order, now, ANSWER_RETRY_SECONDS).await?;
    transaction.commit().await?;
    tracing::info!(dispute_id = %dispute.id, worker = %session.worker, "answer taken");
    Ok(())
}

/// Questions that are open for a worker, most urgent first.
pub async fn questions(shared: &Shared, worker: Address) -> Result<Vec<Question>, DbError> {
    let disputes = db::disputes::select_questions(&shared.db, worker).await?;
    Ok(disputes.iter().filter_map(dispute::question).collect())
}

/// What became of the worker's claims. An end is told only once it is settled.
pub async fn updates(shared: &Shared, worker: Address) -> Result<Vec<Update>, DbError> {
    let Some(tip) = db::blocks::select_tip(&shared.db).await? else {
        return Ok(Vec::new());
    };
    let settled = tip.number.saturating_sub(shared.confirmations);
    let mut updates = Vec::new();
    for claim in db::claims::select_of_worker(&shared.db, worker, RECENT).await? {
        let state = match claim.status {
            ClaimStatus::Open => ClaimState::Posted,
            ClaimStatus::Final => ClaimState::Final,
            ClaimStatus::Struck => ClaimState::Struck,
            ClaimStatus::Void => ClaimState::Void,
            ClaimStatus::Orphaned => continue,
        };
        if state != ClaimState::Posted && claim.touched > settled {
            continue;
        }
        let job = Job {
            request: claim.request,
            attempt: claim.attempt,
        };
        updates.push(Update {
            job,
            claim: claim.id,
            state,
            detail: String::new(),
        });
    }
    for (claim, job, detail) in db::submissions::select_failed(&shared.db, worker, RECENT).await? {
        updates.push(Update {
            job,
            claim,
            state: ClaimState::Failed,
            detail,
        });
    }
    Ok(updates)
}
