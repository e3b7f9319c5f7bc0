//! Disputes as the coordinator sees them: it asks the worker, relays its answer, and ends what nobody goes on with.

use crate::common::{Account, Coordinator, Net, eventually, toy, worker::Worker};
use tonic::Code;
use touchstone_chain::{
    B256, U256,
    bindings::{
        IDisputes,
        IMarket::{self, RequestStatus},
        Phase,
    },
};
use touchstone_wire::worker::{Answer, Ask, ClaimState, FromWorker, Question, Reply, Tree};

/// A claim with a dispute in which the worker has to reveal the trace's root.
async fn asked(net: &Net, coordinator: &Coordinator) -> (Worker, U256, Question) {
    let mut worker = Worker::connect(net, &coordinator.url, Account::Provider).await;
    let request = net.request().await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    let claim = worker.told(ClaimState::Posted).await.claim;
    let disputes = net.deployment.disputes;
    let bond = U256::from(1_000_000_000_000_000_000_u64);
    net.send(
        Account::Challenger,
        disputes,
        &IDisputes::openCall {
            claim,
            salt: U256::ZERO,
        },
        bond,
    )
    .await;
    let challenger = net.key(Account::Challenger).address();
    let dispute = net
        .view(
            disputes,
            IDisputes::disputeIdCall {
                claim,
                challenger,
                salt: U256::ZERO,
            },
        )
        .await;
    let state = net.view(disputes, IDisputes::stateDigestCall { dispute }).await;
    net.send(
        Account::Challenger,
        disputes,
        &IDisputes::askCall { dispute, state },
        U256::ZERO,
    )
    .await;
    let question = worker.question().await;
    assert_eq!((question.claim, question.dispute), (claim, dispute));
    (worker, request, question)
}

async fn phase(net: &Net, dispute: B256) -> Phase {
    net.view(net.deployment.disputes, IDisputes::disputeOfCall { dispute })
        .await
        .position
        .phase
}

fn reveal(question: &Question, children: Vec<B256>) -> FromWorker {
    let Question {
        claim, dispute, state, ..
    } = *question;
    FromWorker::Answer(Answer {
        claim,
        dispute,
        state,
        reply: Reply::Reveal(children),
    })
}

#[tokio::test]
async fn an_answer_is_relayed_and_a_silent_challenger_loses() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let (mut worker, request, question) = asked(&net, &coordinator).await;
    let node = touchstone_protocol::merkle::root(&toy::trace_commitments());
    assert_eq!(
        question.ask,
        Ask::Reveal {
            tree: Tree::Trace,
            node,
            depth: 1,
            index: 0
        }
    );
    // A lie costs the session and no gas; the question is asked again.
    worker.say(reveal(&question, vec![B256::ZERO, B256::ZERO])).await;
    assert_eq!(worker.ends().await.0, Code::InvalidArgument);
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    assert_eq!(worker.question().await, question);
    // The coordinator may die at any time.
    coordinator.kill().await;
    let coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    assert_eq!(worker.question().await, question);
    worker.say(reveal(&question, toy::trace_commitments())).await;
    eventually("the answer is on chain", async || {
        (phase(&net, question.dispute).await == Phase::Picking).then_some(())
    })
    .await;
    net.node.pass(65).await;
    eventually("the challenger has lost", async || {
        (phase(&net, question.dispute).await == Phase::Lost).then_some(())
    })
    .await;
    net.until_status(request, RequestStatus::Final).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_struck_worker_never_gets_the_request_again_and_the_next_does() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let (mut silent, request, question) = asked(&net, &coordinator).await;
    net.node.pass(75).await;
    eventually("the claim is struck", async || {
        let claim = net
            .view(net.deployment.market, IMarket::claimOfCall { claim: question.claim })
            .await;
        (claim.status == IMarket::ClaimStatus::Struck).then_some(())
    })
    .await;
    net.node.mine(2).await;
    assert_eq!(silent.told(ClaimState::Struck).await.claim, question.claim);
    // It is connected, idle and alone, and still gets no offer; the next worker does.
    let mut next = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    let offer = next.offer().await;
    assert_eq!((offer.job.request, offer.job.attempt), (request, 2));
    next.work(&offer).await;
    next.told(ClaimState::Posted).await;
    net.node.pass(25).await;
    net.until_status(request, RequestStatus::Final).await;
    let mut database = net.database.connect().await;
    let query = "select count(*) from leases where attempt = 2 and worker = $1";
    let leases: i64 = sqlx::query_scalar(query)
        .bind(silent.provider.as_slice())
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(leases, 0);
    coordinator.stop().await;
}
