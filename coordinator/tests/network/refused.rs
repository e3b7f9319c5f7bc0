//! Who is asked after a worker left a job.

use touchstone_chain::{Address, U256};
use touchstone_wire::worker::{FromWorker, Offer, Refuse, RefuseReason};

use crate::common::{Account, Net, eventually, worker::Worker};

fn refusal(offer: &Offer) -> FromWorker {
    FromWorker::Refuse(Refuse {
        job: offer.job,
        reason: RefuseReason::BadOffer,
        detail: "free stake is 0 wei".to_owned(),
    })
}

/// Leases of a request's first attempt that came to nothing with a worker, long ago.
async fn failed(net: &Net, request: U256, worker: Address, (status, count): (&str, i64)) {
    let mut database = net.database.connect().await;
    let query = "insert into leases (request, attempt, worker, status, detail, offered_at, expires_at)
                 select id, attempt, $2, $3, '', 0, 5 from requests, generate_series(1, $4) where id = $1::text::numeric";
    eventually("the request is stored", async || {
        let inserted = sqlx::query(query)
            .bind(request.to_string())
            .bind(worker.as_slice())
            .bind(status)
            .bind(count)
            .execute(&mut database)
            .await
            .unwrap();
        (inserted.rows_affected() > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_job_is_offered_to_another_worker_and_to_the_same_one_where_there_is_none() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    net.request().await;
    let mut first = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let offer = first.offer().await;
    // Stake is looked at once the job is taken on.
    first.say(FromWorker::Accept(offer.job)).await;
    first.say(refusal(&offer)).await;
    assert_eq!(first.offer().await.job, offer.job, "there is no other");
    let mut second = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    first.say(refusal(&offer)).await;
    assert_eq!(second.offer().await.job, offer.job);
    coordinator.stop().await;
}

#[tokio::test]
async fn refusals_never_shut_a_worker_out_and_what_it_spoilt_does() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let request = net.request().await;
    let [spoils, refuses] = [Account::Provider, Account::OtherProvider].map(|account| net.key(account).address());
    failed(&net, request, spoils, ("expired", 5)).await;
    failed(&net, request, refuses, ("refused", 20)).await;
    let spoils = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let mut refuses = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    assert_eq!(refuses.offer().await.job.request, request);
    coordinator.stop().await;
    drop(spoils);
}
