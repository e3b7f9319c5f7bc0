//! Gives waiting requests to connected workers, one worker at a time.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgPool;
use touchstone_chain::{Address, U256};
use touchstone_wire::worker::{Job, ModelRef, Offer, ToWorker};

use crate::{
    db::{self, DbError, models::Model, requests::Request},
    lease::{Candidate, Failures, LeaseStatus, choose},
    sessions::{Session, Sessions},
};

/// Seconds that a worker has to accept an offer.
pub const ACCEPT_SECONDS: u64 = 5;
/// Seconds after the request's deadline in which the chain could still see a claim signed for it.
pub const VALID_AFTER_DEADLINE_SECONDS: u64 = 60;

/// Leases jobs.
#[derive(Clone, Debug)]
pub struct Scheduler {
    db: PgPool,
    sessions: Sessions,
    poster: Address,
    lease_seconds: u64,
}

impl Scheduler {
    /// A scheduler whose claims are to name `poster`.
    pub fn new(db: PgPool, sessions: Sessions, poster: Address, lease_seconds: u64) -> Self {
        Self {
            db,
            sessions,
            poster,
            lease_seconds,
        }
    }

    /// Ends what expired and offers what waits. What fails for one request does not stop the others.
    pub async fn step(&self, chain_now: u64, now: u64) -> Result<(), DbError> {
        let expired = db::leases::update_expired(&self.db, now).await?;
        if expired > 0 {
            tracing::info!(count = expired, "leases expired");
        }
        let sessions = self.sessions.all();
        if sessions.is_empty() {
            return Ok(());
        }
        let waiting = db::requests::select_unleased(&self.db, chain_now).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut load: HashMap<Address, u64> = db::leases::select_load(&self.db).await?.into_iter().collect();
        for id in waiting {
            match self.offer(id, &sessions, &mut load, now).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(request = %id, %error, "request not offered"),
            }
        }
        Ok(())
    }

    async fn offer(
        &self,
        id: U256,
        sessions: &[Arc<Session>],
        load: &mut HashMap<Address, u64>,
        now: u64,
    ) -> Result<(), DbError> {
        let Some(request) = db::requests::select_request(&self.db, id).await? else {
            return Ok(());
        };
        let Some(model) = db::models::select_model(&self.db, request.model).await? else {
            tracing::warn!(request = %id, model = %request.model, "model not known");
            return Ok(());
        };
        let job = Job {
            request: id,
            attempt: request.state.attempt,
        };
        let struck = db::claims::select_struck_workers(&self.db, id).await?;
        let failures: HashMap<Address, Failures> =
            db::leases::select_failures(&self.db, job).await?.into_iter().collect();
        let candidates: Vec<Candidate> = sessions
            .iter()
            .filter(|session| session.serves(request.model) && !session.end.is_cancelled())
            .map(|session| {
                let worker = session.worker;
                Candidate {
                    worker,
                    free: session.capacity.saturating_sub(load.get(&worker).copied().unwrap_or(0)),
                    failures: failures.get(&worker).copied().unwrap_or_default(),
                    struck: struck.contains(&worker),
                }
            })
            .collect();
        let Some(session) = choose(&candidates, now).and_then(|worker| self.sessions.by_worker(worker)) else {
            return Ok(());
        };
        let expires_at = now + ACCEPT_SECONDS;
        let Some(lease) = db::leases::insert_lease(&self.db, job, session.worker, now, expires_at).await? else {
            return Ok(());
        };
        *load.entry(session.worker).or_default() += 1;
        let offer = self.message(&request, &model, now);
        if session.outgoing.try_send(ToWorker::Offer(Box::new(offer))).is_err() {
            let (from, to) = (LeaseStatus::Offered, LeaseStatus::Expired);
            db::leases::update_status(&self.db, lease, from, to, expires_at, "the worker does not read").await?;
            return Ok(());
        }
        tracing::info!(request = %id, attempt = job.attempt, worker = %session.worker, "job offered");
        Ok(())
    }

    fn message(&self, request: &Request, model: &Model, now: u64) -> Offer {
        let (valid_until_min, valid_until_max) = valid_until(request);
        Offer {
            job: Job {
                request: request.id,
                attempt: request.state.attempt,
            },
            model: ModelRef {
                id: model.id,
                publisher: model.publisher,
                file_digest: model.file_digest,
                profile: model.profile,
            },
            input: request.input_data.clone(),
            inputs: request.inputs,
            poster: self.poster,
            lease_expires: now + self.lease_seconds,
            deadline: request.state.deadline,
            valid_until_min,
            valid_until_max,
        }
    }
}

/// Bounds of a claim's valid-until: it must be postable up to the deadline, and not much longer, so that a worker whose claim
/// was held back is free again.
pub fn valid_until(request: &Request) -> (u64, u64) {
    let deadline = request.state.deadline;
    (deadline, deadline.saturating_add(VALID_AFTER_DEADLINE_SECONDS))
}
