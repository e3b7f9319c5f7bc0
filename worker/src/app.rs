//! The running worker's jobs: an offer, the run, the delivery; what is taken up again after a restart.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::B256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use touchstone_protocol::descriptor::Place;
use touchstone_service::files::ModelService;
use touchstone_wire::limits::CALL_TIMEOUT;
use touchstone_wire::worker::{Commitments, FromWorker, Job, Offer, Progress, Refuse, RefuseReason, Stage, Welcome};

use crate::{
    answer::Responder,
    breaker::Breaker,
    chain::Chain,
    config::Config,
    job::{self, JobError, Signer},
    link::Link,
    model::Library,
    record::{Record, Signed, State, Terms},
    runner::Runner,
    store::{Store, StoreError},
    upload,
};

/// Questions of a coordinator answered at once; the others wait. Replays of one engine run one after the other anyway.
const ANSWERS_AT_ONCE: usize = 4;
/// The same for questions that the chain asks: however many a coordinator asks, these have their turn.
const DIRECT_ANSWERS_AT_ONCE: usize = 1;
/// How often a lease is checked against a chain that gives no answer.
const LEASE_CHECKS: u32 = 3;

/// Everything that the tasks of a worker share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) signer: Signer,
    pub(crate) store: Store,
    pub(crate) breaker: Breaker,
    pub(crate) library: Library,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) responder: Arc<dyn Responder>,
    pub(crate) channel: Channel,
    pub(crate) link: Link,
    pub(crate) chain: Option<Chain>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    slots: Arc<Semaphore>,
    pub(crate) answers: Semaphore,
    pub(crate) direct_answers: Semaphore,
    /// Jobs in work.
    pub(crate) busy: Mutex<HashSet<Job>>,
    /// Questions in work.
    pub(crate) asked: Mutex<HashSet<B256>>,
    /// Results sent in this session, and those that a coordinator refused to hear again.
    deliveries: Mutex<Deliveries>,
}

#[derive(Debug, Default)]
struct Deliveries {
    sent: BTreeSet<Job>,
    given_up: BTreeSet<Job>,
}

/// What the parts of an [`App`] are.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) library: Library,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) responder: Arc<dyn Responder>,
    pub(crate) channel: Channel,
    pub(crate) chain: Option<Chain>,
    pub(crate) shutdown: CancellationToken,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            config,
            store,
            library,
            runner,
            responder,
            channel,
            chain,
            shutdown,
        } = parts;
        Self {
            signer: Signer {
                key: config.node.0.clone(),
                provider: config.provider,
                domain: crate::record::domain(config.chain_id, config.market),
            },
            breaker: Breaker::new(store.clone()),
            slots: Arc::new(Semaphore::new(config.capacity as usize)),
            answers: Semaphore::new(ANSWERS_AT_ONCE),
            direct_answers: Semaphore::new(DIRECT_ANSWERS_AT_ONCE),
            busy: Mutex::default(),
            asked: Mutex::default(),
            deliveries: Mutex::default(),
            link: Link::default(),
            tasks: TaskTracker::new(),
            config,
            store,
            library,
            runner,
            responder,
            channel,
            chain,
            shutdown,
        }
    }

    /// Where model files are fetched.
    pub(crate) fn model_service(&self) -> ModelService {
        ModelService {
            channel: self.channel.clone(),
            timeout: CALL_TIMEOUT,
        }
    }

    /// An offered job: taken, or refused with a reason.
    pub(crate) async fn offer(self: &Arc<Self>, offer: Offer) {
        let job = offer.job;
        match self.admit(offer) {
            Ok(Admission::Running) => {
                self.link.send(FromWorker::Accept(job)).await;
            }
            Ok(Admission::Done(record)) => {
                self.link.send(FromWorker::Accept(job)).await;
                let app = self.clone();
                self.tasks.spawn(async move { app.deliver(&record).await });
            }
            Ok(Admission::New(terms, permit)) => {
                tracing::info!(request = %job.request, attempt = job.attempt, model = %terms.model, "lease accepted");
                self.link.send(FromWorker::Accept(job)).await;
                let app = self.clone();
                self.tasks.spawn(async move { app.work(*terms, permit).await });
            }
            Err((reason, detail)) => self.refuse(job, reason, detail).await,
        }
    }

    fn admit(&self, offer: Offer) -> Answered {
        let unable = |error: &dyn std::fmt::Display| (RefuseReason::Failed, error.to_string());
        let (job, bounds) = (offer.job, offer.valid_until_min..=offer.valid_until_max);
        if lock(&self.busy).contains(&job) {
            return Ok(Admission::Running);
        }
        let now = now();
        let offered = job::check_offer(&offer, now).and_then(|()| Ok(self.library.check_served(offer.model.id)?));
        let mut terms = Box::new(Terms::of(offer));
        if let Some(record) = self.store.select_run(job).map_err(|error| unable(&error))?
            && let Some(signed) = record.signed()
        {
            if bounds.contains(&signed.valid_until) {
                terms.valid_until = signed.valid_until;
            }
            return self.again(&record, signed, &terms).map_err(|error| unable(&error))?;
        }
        if let Some(tripped) = self.breaker.tripped().map_err(|error| unable(&error))? {
            return Err((RefuseReason::Draining, format!("circuit breaker: {}", tripped.reason)));
        }
        if self.shutdown.is_cancelled() {
            return Err((RefuseReason::Draining, "shutting down".into()));
        }
        offered.map_err(|error| (error.reason(), error.to_string()))?;
        let busy = |_| (RefuseReason::Busy, format!("running {} jobs", self.config.capacity));
        let permit = self.slots.clone().try_acquire_owned().map_err(busy)?;
        if !self.store.upsert_lease(&terms).map_err(|error| unable(&error))? {
            return Err((RefuseReason::BadOffer, "a claim is signed for this attempt".into()));
        }
        lock(&self.busy).insert(job);
        Ok(Admission::New(terms, permit))
    }

    /// An offer for a job that a claim is signed for: the same claim again, or nothing. It is never given up for an offer, however long ago it
    /// could last be posted: it may be on chain, and what defends it must be here for as long as it is.
    fn again(&self, record: &Record, signed: &Signed, terms: &Terms) -> Result<Answered, StoreError> {
        let claim = signed.claim;
        if !matches!(record.state, State::Signed(_)) || !record.terms.sign_alike(terms) {
            let detail = format!("claim {claim} is signed for this attempt, on other terms, or it has ended");
            return Ok(Err((RefuseReason::BadOffer, detail)));
        }
        lock(&self.deliveries).given_up.remove(&terms.job());
        let record = Record {
            terms: terms.clone(),
            ..record.clone()
        };
        self.store.update_claim(claim, |stored| stored.terms = terms.clone())?;
        Ok(Ok(Admission::Done(Box::new(record))))
    }

    async fn refuse(&self, job: Job, reason: RefuseReason, detail: String) {
        tracing::info!(request = %job.request, attempt = job.attempt, ?reason, detail, "job refused");
        self.link.send(FromWorker::Refuse(Refuse { job, reason, detail })).await;
    }

    /// Runs a leased job to its end.
    async fn work(self: Arc<Self>, terms: Terms, permit: OwnedSemaphorePermit) {
        let job = terms.job();
        let outcome = self.perform(&terms, permit).await;
        lock(&self.busy).remove(&job);
        match outcome {
            Ok(record) => self.deliver(&record).await,
            Err(error) => {
                if error.trips_breaker() {
                    self.trip(format!("request {} attempt {}: {error}", job.request, job.attempt));
                }
                if let Err(error) = self.store.delete_lease(job) {
                    tracing::error!(%error, "lease not deleted");
                }
                self.refuse(job, error.reason(), error.to_string()).await;
            }
        }
    }

    async fn perform(self: &Arc<Self>, terms: &Terms, permit: OwnedSemaphorePermit) -> Result<Record, JobError> {
        let job = terms.job();
        let left = Duration::from_secs(terms.lease_expires.saturating_sub(now()));
        let ready = async {
            self.check_lease(terms).await?;
            self.progress(job, Stage::Fetching).await;
            let model = self.library.get(&terms.model_ref(), &self.model_service()).await?;
            self.progress(job, Stage::Running).await;
            let (app, terms) = (self.clone(), terms.clone());
            blocking(move || {
                let run = job::run(app.runner.as_ref(), &model, &terms);
                // A run that nobody waits for any more still occupies the engine, and so its slot.
                drop(permit);
                run
            })
            .await
        };
        let run = tokio::time::timeout(left, ready)
            .await
            .map_err(|_| JobError::LeaseOver)??;
        self.progress(job, Stage::Committing).await;
        let (app, terms) = (self.clone(), terms.clone());
        let record = blocking(move || {
            let engine = app.runner.fingerprint();
            job::commit(&app.signer, &app.store, &terms, &run, engine, app.config.keep_inner)
        })
        .await?;
        if let Some(signed) = record.signed() {
            tracing::info!(request = %job.request, attempt = job.attempt, claim_id = %signed.claim, "claim signed");
        }
        Ok(record)
    }

    async fn check_lease(&self, terms: &Terms) -> Result<(), JobError> {
        let Some(chain) = &self.chain else { return Ok(()) };
        let mut attempt = 1;
        loop {
            match chain.check_lease(terms, &self.signer).await {
                // The node may be a block behind the coordinator's.
                Err(error) if attempt < LEASE_CHECKS => tracing::debug!(%error, "lease not confirmed yet"),
                outcome => return outcome,
            }
            attempt += 1;
            tokio::time::sleep(self.config.poll).await;
        }
    }

    async fn progress(&self, job: Job, stage: Stage) {
        self.link.send(FromWorker::Progress(Progress { job, stage })).await;
    }

    /// Sends a signed run: commitments, values, result. Without a session nothing happens: the next one begins with it.
    async fn deliver(&self, record: &Record) {
        let (job, Some(signed), Some(welcome)) = (record.terms.job(), record.signed(), self.link.welcome()) else {
            return;
        };
        lock(&self.deliveries).sent.insert(job);
        self.link
            .send(FromWorker::Commitments(Commitments {
                job,
                trace: signed.trace.clone(),
            }))
            .await;
        self.progress(job, Stage::Uploading).await;
        self.upload_trace(job, signed, &welcome).await;
        self.link.send(FromWorker::Result(signed.result(job))).await;
    }

    async fn upload_trace(&self, job: Job, signed: &Signed, welcome: &Welcome) {
        let values = places(Place::Trace, &signed.trace);
        let outcome = upload::upload(&self.channel, &self.store, welcome, (job, signed.claim), 0, &values).await;
        match outcome.map(|()| self.change_signed(signed.claim, |stored| stored.uploaded = true)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(request = %job.request, %error, "upload not noted"),
            Err(error) => tracing::warn!(request = %job.request, %error, "trace values not uploaded"),
        }
    }

    /// A new session: sends again what may not have arrived.
    pub(crate) fn resume(self: &Arc<Self>) {
        let app = self.clone();
        lock(&self.deliveries).sent.clear();
        self.tasks.spawn(async move {
            let runs = app.store.select_runs().unwrap_or_else(|error| {
                tracing::error!(%error, "runs not read");
                Vec::new()
            });
            for record in runs {
                let job = record.terms.job();
                let (State::Signed(signed), Some(welcome)) = (&record.state, app.link.welcome()) else {
                    continue;
                };
                if signed.posted && !signed.uploaded {
                    app.upload_trace(job, signed, &welcome).await;
                } else if !signed.posted
                    && now() < record.terms.lease_expires
                    && !lock(&app.deliveries).given_up.contains(&job)
                {
                    app.deliver(&record).await;
                }
            }
        });
    }

    /// The coordinator ended a session because of something we sent: what was delivered in it is not sent again unasked.
    pub(crate) fn give_up_deliveries(&self) {
        let mut deliveries = lock(&self.deliveries);
        let sent = std::mem::take(&mut deliveries.sent);
        deliveries.given_up.extend(sent);
    }

    /// Takes up leases that were accepted before a restart.
    pub(crate) async fn restart(self: &Arc<Self>) -> Result<(), StoreError> {
        for record in self.store.select_runs()? {
            if record.state != State::Accepted {
                continue;
            }
            let job = record.terms.job();
            let tripped = self.breaker.tripped()?.is_some();
            match self.slots.clone().try_acquire_owned() {
                Ok(permit) if !tripped && now() < record.terms.lease_expires => {
                    tracing::info!(request = %job.request, attempt = job.attempt, "lease taken up again");
                    lock(&self.busy).insert(job);
                    let app = self.clone();
                    self.tasks.spawn(async move { app.work(record.terms, permit).await });
                }
                _ => self.store.delete_lease(job)?,
            }
        }
        Ok(())
    }

    pub(crate) fn trip(&self, reason: String) {
        if let Err(error) = self.breaker.trip(reason, now()) {
            tracing::error!(%error, "circuit breaker not stored");
        }
    }
}

/// What is said to an offer.
type Answered = Result<Admission, (RefuseReason, String)>;

enum Admission {
    /// In work since an earlier offer.
    Running,
    /// Signed since an earlier offer.
    Done(Box<Record>),
    /// Stored, with a slot.
    New(Box<Terms>, OwnedSemaphorePermit),
}

/// Numbers commitments by place.
pub(crate) fn places(place: fn(u32) -> Place, commitments: &[B256]) -> Vec<(Place, B256)> {
    commitments
        .iter()
        .enumerate()
        .map(|(number, commitment)| (place(number as u32), *commitment))
        .collect()
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(act)
        .await
        .map_err(|error| JobError::Task(error.to_string()))?
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
