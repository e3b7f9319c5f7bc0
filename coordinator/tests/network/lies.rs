//! Workers that lie or flood are refused with a status that says what; nothing is lost and others go on.

use crate::common::{Account, Net, toy, worker::Worker};
use tonic::Code;
use touchstone_chain::{Address, B256, bindings::IMarket::RequestStatus};
use touchstone_wire::worker::{Answer, ClaimState, FromWorker, Job, Progress, Reply, Stage};

#[tokio::test]
async fn only_the_providers_node_key_opens_a_session() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    // Signed by the right key over another nonce.
    let (mut worker, mut challenge) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
    challenge.nonce = B256::ZERO;
    let hello = worker.hello(&challenge);
    worker.say(FromWorker::Hello(hello)).await;
    assert_eq!(worker.ends().await.0, Code::Unauthenticated);
    // In the name of a provider whose node key is another one.
    let (mut worker, challenge) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
    worker.provider = net.key(Account::OtherProvider).address();
    let hello = worker.hello(&challenge);
    worker.say(FromWorker::Hello(hello)).await;
    let (code, reason) = worker.ends().await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(reason.contains("on chain"), "{reason}");
    // Something before hello.
    let (mut worker, _) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
    worker
        .say(FromWorker::Accept(Job {
            request: Default::default(),
            attempt: 1,
        }))
        .await;
    assert_eq!(worker.ends().await.0, Code::FailedPrecondition);
    // A provider that is none, with a zero node key on chain and a signature that recovers to nothing.
    let (mut worker, challenge) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
    worker.provider = Address::ZERO;
    let mut hello = worker.hello(&challenge);
    hello.node = Address::ZERO;
    hello.signature = Default::default();
    worker.say(FromWorker::Hello(hello)).await;
    assert_eq!(worker.ends().await.0, Code::Unauthenticated);
    // A second session of one provider ends the first.
    let mut first = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let _second = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    assert_eq!(first.ends().await.0, Code::Aborted);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_lying_worker_is_refused_and_the_next_one_serves() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let mut liar = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let request = net.request().await;
    let offer = liar.offer().await;
    let mut honest = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;

    // Values before their commitments; of somebody else's job; without a session; with other bytes than committed.
    liar.say(FromWorker::Accept(offer.job)).await;
    net.until_rows("select count(*) from leases where status = 'accepted'", 1)
        .await;
    let early = liar.upload(offer.job, &toy::trace(), None).await.unwrap_err();
    assert_eq!(early.code(), Code::PermissionDenied);
    liar.say(Worker::commitments(&offer)).await;
    net.until_rows("select count(*) from trace_commitments", 2).await;
    let foreign = honest.upload(offer.job, &toy::trace(), None).await.unwrap_err();
    assert_eq!(foreign.code(), Code::PermissionDenied);
    let session = std::mem::take(&mut liar.session);
    let nobody = liar.upload(offer.job, &toy::trace(), None).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    liar.session = session;
    let wrong = [(vec![3], vec![9; 12])];
    let lie = liar
        .upload(offer.job, &wrong, Some(toy::trace_commitments()[0]))
        .await
        .unwrap_err();
    assert_eq!(lie.code(), Code::InvalidArgument);
    assert!(lie.message().contains("commitment"), "{lie}");
    assert_eq!(
        liar.upload(offer.job, &toy::trace(), None).await.unwrap(),
        2,
        "the truth is still taken"
    );

    // A result that is not signed by the node key ends the session and frees the job at once.
    let mut result = liar.result(&offer);
    result.signature.0[10] ^= 1;
    liar.say(FromWorker::Result(result)).await;
    let (code, reason) = liar.ends().await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(reason.contains("signature"), "{reason}");

    let offer = honest.offer().await;
    assert_eq!(offer.job.request, request);
    // Somebody else's job cannot be handed in.
    let mut liar = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    liar.say(FromWorker::Result(liar.result(&offer))).await;
    assert_eq!(liar.ends().await.0, Code::FailedPrecondition, "its own lease is over");
    honest.work(&offer).await;
    honest.told(ClaimState::Posted).await;
    net.until_status(request, RequestStatus::Claimed).await;

    // An answer about a claim of another worker.
    let mut liar = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let claim = honest.claim(&offer).digest(&honest.domain);
    let zero = B256::ZERO;
    let answer = Answer {
        claim,
        dispute: zero,
        state: zero,
        reply: Reply::Defend(vec![1]),
    };
    liar.say(FromWorker::Answer(answer)).await;
    assert_eq!(liar.ends().await.0, Code::PermissionDenied);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_flood_ends_the_session_of_who_floods() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let mut honest = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    let mut flooder = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let progress = Progress {
        job: Job {
            request: Default::default(),
            attempt: 1,
        },
        stage: Stage::Running,
    };
    // The session may end before the last of them is sent.
    for _ in 0..1_000 {
        if !flooder.try_say(FromWorker::Progress(progress.clone())).await {
            break;
        }
    }
    assert_eq!(flooder.ends().await.0, Code::ResourceExhausted);
    net.request().await;
    let offer = honest.offer().await;
    honest.work(&offer).await;
    honest.told(ClaimState::Posted).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn an_expired_offer_goes_to_the_next_worker() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let mut silent = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let request = net.request().await;
    silent.offer().await;
    let mut next = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    assert_eq!(next.offer().await.job.request, request);
    coordinator.stop().await;
}
