//! Puts the parts together and keeps them running.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use sqlx::{PgConnection, PgPool};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use touchstone_chain::{ChainReader, Sender, SenderConfig};
use touchstone_protocol::claim::Domain;
use touchstone_wire::{
    limits,
    proto::{
        challenger::v1::challenger_service_server::ChallengerServiceServer,
        model::v1::model_service_server::ModelServiceServer, worker::v1::worker_service_server::WorkerServiceServer,
    },
};

use crate::{
    clock,
    config::{Config, TlsFiles},
    db::{
        self,
        outbox::{Line, Outbox},
    },
    files::ModelFiles,
    follower::{Follower, check_chain},
    grpc::{Shared, challenger::Challengers, model::Models, worker::Workers},
    incoming::{Incoming, Patience},
    limits::Limits,
    planner::Planner,
    quota::Quota,
    retention,
    scheduler::Scheduler,
    sessions::Sessions,
    values::ValueStore,
};

/// Every request to the node and the database fails after this.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// Between sweeps of values.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// The service name under which health says whether the coordinator follows the chain.
pub const READINESS: &str = "touchstone.readiness";
/// Without a look at the chain for this long, the coordinator is not ready.
const STALE_AFTER: Duration = Duration::from_secs(15);
/// One writer a database: the advisory lock's number.
const WRITER_LOCK: i64 = 0x7463_6f6f_7264;

/// The limits of the wire on a service.
macro_rules! sized {
    ($service:expr) => {
        $service
            .max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(limits::MAX_MESSAGE_BYTES)
    };
}

/// Runs a coordinator until `shutdown`; an error says what ended it.
///
/// # Errors
/// At start: no database, no node, another chain or deployment than configured, a database of another deployment, an
/// address that is taken. Later: the lost writer lock, or a task that panicked.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {}", config.listen))?;
    run_on(config, listener, shutdown).await
}

/// As [`run`], on a socket that listens already.
pub async fn run_on(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    tracing::info!(?config, "coordinator starts");
    let pool = db::connect(config.database.clone(), IO_TIMEOUT)
        .await
        .context("open the database")?;
    let writer = lock_writer(&pool, &shutdown).await?;
    let reader = ChainReader::new(&config.rpc_url, IO_TIMEOUT)?;
    let (chain_id, deployment) = check_chain(&pool, &reader, config.chain_id, config.market).await?;
    let values = ValueStore::open(&config.data_dir)
        .with_context(|| format!("open the value store {}", config.data_dir.display()))?;
    // No error below leaves a task behind: they all end with this token.
    let stop = shutdown.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    let shared = Shared {
        db: pool.clone(),
        reader: reader.clone(),
        deployment,
        domain: Domain {
            chain_id,
            market: config.market,
        },
        poster: config.claim_key.address(),
        sessions: Sessions::default(),
        values,
        files: ModelFiles::new(config.model_dirs.clone()),
        changes: watch::channel(0).0,
        shutdown: stop.clone(),
        upload: Arc::new(Semaphore::new(
            usize::try_from(config.max_value_bytes >> 10)?.max(512 << 10),
        )),
        lease_seconds: config.lease_seconds,
        confirmations: config.confirmations,
        max_value_bytes: config.max_value_bytes,
        max_job_bytes: config.max_job_bytes,
        limits: config.limits,
        session_quota: Quota::new(config.limits.max_sessions, config.limits.max_sessions_per_address),
        reader_quota: Quota::new(config.limits.max_readers, config.limits.max_readers_per_address),
    };
    let server = server(&config)?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(READINESS, ServingStatus::NotServing).await;

    let mut tasks = JoinSet::new();
    tasks.spawn(hold_writer(writer, stop.clone()));
    tasks.spawn(follow(shared.clone(), config.clone(), health));
    for (line, key) in [(Line::Claims, &config.claim_key), (Line::Disputes, &config.dispute_key)] {
        let sender_config = SenderConfig {
            confirmations: config.confirmations,
            ..SenderConfig::new(chain_id)
        };
        let sender = Sender::new(reader.clone(), key.clone(), sender_config);
        tasks.spawn(send(
            shared.clone(),
            sender,
            Outbox::new(pool.clone(), line),
            config.poll,
        ));
    }
    tasks.spawn(sweep(shared.clone(), config.retention_blocks));
    let routes = Routes::new(health_service)
        .add_service(sized!(WorkerServiceServer::new(Workers(shared.clone()))))
        .add_service(sized!(ChallengerServiceServer::new(Challengers(shared.clone()))))
        .add_service(sized!(ModelServiceServer::new(Models(shared.clone()))));
    let incoming = incoming(listener, &config.limits)?;
    tasks.spawn(serve(server, incoming, routes, stop.clone()));

    supervise(tasks, &shutdown, &stop).await
}

/// Waits for all tasks. The first that ends before it was told to ends everything, and says why.
async fn supervise(
    mut tasks: JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let result = match ended {
            Ok(result) => result,
            Err(error) => Err(anyhow::anyhow!("a task ended abnormally: {error}")),
        };
        if !stop.is_cancelled() {
            if outcome.is_ok() && !shutdown.is_cancelled() {
                outcome = result.and_then(|()| bail!("a task ended by itself"));
            }
            stop.cancel();
        }
    }
    tracing::info!("coordinator stopped");
    outcome
}

/// The one coordinator that writes to this database; a second one waits here until the first is gone.
async fn lock_writer(pool: &PgPool, shutdown: &CancellationToken) -> anyhow::Result<PgConnection> {
    let mut connection = pool.acquire().await?.detach();
    let mut ticks = interval(Duration::from_millis(250));
    let mut told = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => bail!("told to stop before the database was free"),
            _ = ticks.tick() => {}
        }
        let locked = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "locked!""#, WRITER_LOCK)
            .fetch_one(&mut connection)
            .await?;
        if locked {
            return Ok(connection);
        }
        if !told {
            tracing::warn!("another coordinator uses this database, waiting for it to end");
            told = true;
        }
    }
}

/// The lock lasts as long as its connection: without it this process must not write.
async fn hold_writer(mut connection: PgConnection, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let ping = sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(&mut connection);
        tokio::time::timeout(IO_TIMEOUT, ping)
            .await
            .context("the writer lock's connection hangs")?
            .context("the writer lock is lost")?;
    }
}

/// Follows the chain and does what follows from it.
async fn follow(shared: Shared, config: Config, health: HealthReporter) -> anyhow::Result<()> {
    let follower = Follower::new(
        shared.db.clone(),
        shared.reader.clone(),
        shared.deployment,
        config.start_block,
    );
    let planner = Planner::new(shared.db.clone(), shared.deployment, shared.poster);
    let scheduler = Scheduler::new(
        shared.db.clone(),
        shared.sessions.clone(),
        shared.poster,
        config.lease_seconds,
    );
    let mut ticks = interval(config.poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = shared.changes.subscribe();
    let mut last_good = tokio::time::Instant::now();
    let mut ready = false;
    loop {
        // A worker's message may make work at once; a look at the chain comes with every tick.
        let look = tokio::select! {
            () = shared.shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => true,
            changed = changes.changed() => { changed.context("the change signal is gone")?; false }
        };
        let mut caught_up = true;
        if look {
            match follower.step().await {
                Ok(progress) => {
                    caught_up = progress.caught_up;
                    if progress.changed {
                        shared.changed();
                    }
                    if !caught_up {
                        ticks.reset_immediately();
                    }
                    last_good = tokio::time::Instant::now();
                }
                Err(error @ crate::follower::FollowError::NotAlone(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "chain not followed");
                    caught_up = false;
                }
            }
        }
        if caught_up && let Err(error) = act(&shared, &planner, &scheduler).await {
            tracing::warn!(%error, "work not derived");
            caught_up = false;
        }
        changes.mark_unchanged();
        let now_ready = (caught_up || ready) && last_good.elapsed() < STALE_AFTER;
        if now_ready != ready {
            ready = now_ready;
            tracing::info!(ready, "readiness changed");
            let status = if ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            health.set_service_status(READINESS, status).await;
        }
    }
}

async fn act(shared: &Shared, planner: &Planner, scheduler: &Scheduler) -> Result<(), db::DbError> {
    let Some(tip) = db::blocks::select_tip(&shared.db).await? else {
        return Ok(());
    };
    let now = clock::now();
    planner.step(&tip, now).await?;
    if planner.fail().await? > 0 {
        shared.changed();
    }
    scheduler.step(tip.timestamp, now).await
}

/// Sends one line's orders.
async fn send(shared: Shared, sender: Sender, outbox: Outbox, poll: Duration) -> anyhow::Result<()> {
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match sender.step(&outbox, clock::now()).await {
            Ok(ended) if ended.is_empty() => {}
            Ok(ended) => {
                for (order, outcome) in ended {
                    tracing::info!(%order, ?outcome, "order ended");
                }
                shared.changed();
            }
            Err(error) => tracing::warn!(account = %sender.address(), %error, "orders not sent"),
        }
    }
}

async fn sweep(shared: Shared, retention_blocks: u64) -> anyhow::Result<()> {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let swept = async {
            let tip = db::blocks::select_tip(&shared.db).await?;
            let depth = retention_blocks.max(shared.confirmations);
            let Some(height) = tip.and_then(|tip| tip.number.checked_sub(depth)) else {
                return Ok(0);
            };
            retention::sweep(&shared.db, &shared.values, height).await
        };
        match swept.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "values removed"),
            Err(error) => tracing::warn!(%error, "values not swept"),
        }
    }
}

/// A server within the limits, with TLS where it is configured.
fn server(config: &Config) -> anyhow::Result<Server> {
    let streams = config.limits.max_streams;
    let server = Server::builder()
        .http2_keepalive_interval(Some(limits::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(streams))
        .concurrency_limit_per_connection(usize::try_from(streams)?);
    let Some(TlsFiles { certificate, key }) = &config.tls else {
        return Ok(server);
    };
    touchstone_service::tls::choose_provider();
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read(certificate)?, read(key)?))
        .timeout(Duration::from_secs(config.limits.hello_seconds.into()));
    server
        .tls_config(tls)
        .with_context(|| format!("use certificate {} with key {}", certificate.display(), key.display()))
}

fn incoming(listener: TcpListener, limits: &Limits) -> anyhow::Result<Incoming> {
    tracing::info!(address = %listener.local_addr()?, "serving");
    let patience = Patience {
        hello: Duration::from_secs(limits.hello_seconds.into()),
        idle: Duration::from_secs(limits.idle_seconds.into()),
    };
    let quota = Quota::new(limits.max_connections, limits.max_connections_per_address);
    Ok(Incoming::new(listener, quota, patience))
}

async fn serve(mut server: Server, incoming: Incoming, routes: Routes, stop: CancellationToken) -> anyhow::Result<()> {
    server
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .context("serve gRPC")
}
