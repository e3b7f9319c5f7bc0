//! A worker whose connection was lost says again what it does not know to have arrived.

use crate::common::{Account, Coordinator, Net, toy, worker::Worker};
use tonic::Code;
use touchstone_chain::{B256, signature};
use touchstone_wire::worker::{ClaimState, Commitments, FromWorker, Offer, RunResult};

/// A job handed in; its worker is gone.
async fn handed_in(net: &Net, coordinator: &Coordinator) -> Offer {
    net.request().await;
    let mut worker = Worker::connect(net, &coordinator.url, Account::Provider).await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    worker.told(ClaimState::Posted).await;
    offer
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_the_session_goes_on() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let offer = handed_in(&net, &coordinator).await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    for _ in 0..2 {
        worker.say(Worker::commitments(&offer)).await;
        worker.say(FromWorker::Result(worker.result(&offer))).await;
    }
    // Messages are heard in order: this session, which would have ended before, gets the next job and does it.
    net.request().await;
    let next = worker.offer().await;
    assert_ne!(next.job, offer.job);
    worker.work(&next).await;
    net.until_rows("select count(*) from submissions", 2).await;
    net.until_rows("select count(*) from leases", 2).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn something_else_under_the_same_lease_is_refused_and_not_stored() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let offer = handed_in(&net, &coordinator).await;
    let trace = {
        let mut trace = toy::trace_commitments();
        trace[0] = B256::repeat_byte(7);
        FromWorker::Commitments(Commitments { job: offer.job, trace })
    };
    let result = |worker: &Worker| {
        let mut claim = worker.claim(&offer);
        claim.valid_until -= 1;
        FromWorker::Result(RunResult {
            valid_until: claim.valid_until,
            signature: signature::sign(&worker.key, claim.digest(&worker.domain)).unwrap(),
            ..worker.result(&offer)
        })
    };
    let says: [&dyn Fn(&Worker) -> FromWorker; 2] = [&|_| trace.clone(), &result];
    for say in says {
        let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
        worker.say(say(&worker)).await;
        let (code, reason) = worker.ends().await;
        assert_eq!(code, Code::FailedPrecondition, "{reason}");
    }
    net.until_rows("select count(*) from submissions where status = 'claimed'", 1)
        .await;
    let stored = "select count(*) from trace_commitments where commitment = decode(repeat('07', 32), 'hex')";
    net.until_rows(stored, 0).await;
    coordinator.stop().await;
}
