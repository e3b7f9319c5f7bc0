//! What is told only once it is settled, and what is let go of only after that.

use crate::common::{
    Account, Coordinator, Net, toy,
    worker::{Worker, channel},
};
use tonic::Code;
use touchstone_chain::{B256, U256, bindings::IMarket::RequestStatus};
use touchstone_coordinator::{db, retention, values::ValueStore};
use touchstone_wire::{
    proto::challenger::v1::{FetchValueRequest, challenger_service_client::ChallengerServiceClient},
    worker::{ClaimState, ToWorker},
};

/// Blocks only with transactions and when we say so.
async fn still(net: &Net) {
    net.node.ask("evm_setIntervalMining", serde_json::json!([0])).await;
    net.node.automine(true).await;
}

/// A request served and final on chain; the claim, and the block that ended it.
async fn served(net: &Net, worker: &mut Worker) -> (B256, u64) {
    let request = net.request().await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    let claim = worker.claim(&offer).digest(&worker.domain);
    net.until_status(request, RequestStatus::Claimed).await;
    (claim, finalized(net, request, claim).await)
}

async fn finalized(net: &Net, request: U256, claim: B256) -> u64 {
    net.node.pass(25).await;
    net.until_status(request, RequestStatus::Final).await;
    let mut database = net.database.connect().await;
    crate::common::eventually("the end is read", async || {
        let query = "select touched from claims where id = $1 and status = 'final' and not dirty";
        let touched: Option<i64> = sqlx::query_scalar(query)
            .bind(claim.as_slice())
            .fetch_optional(&mut database)
            .await
            .unwrap();
        touched.map(|height| u64::try_from(height).unwrap())
    })
    .await
}

#[tokio::test]
async fn the_end_of_a_claim_is_told_when_it_is_deep_enough_and_again_to_every_session() {
    const CONFIRMATIONS: u64 = 5;
    let net = Net::start().await;
    let coordinator = net
        .coordinator_with(|settings| settings.confirmations = Some(CONFIRMATIONS))
        .await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    still(&net).await;
    let (claim, ended) = served(&net, &mut worker).await;
    // A new session is told all that may be told; then it gets a job. The request is one more block.
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    net.request().await;
    loop {
        match worker.hear().await.unwrap() {
            ToWorker::Offer(_) => break,
            ToWorker::Update(update) => assert_ne!(update.state, ClaimState::Final, "it is not settled"),
            _ => {}
        }
    }
    assert!(net.reader.head().await.unwrap().number < ended + CONFIRMATIONS);
    net.node.mine(CONFIRMATIONS).await;
    assert_eq!(worker.told(ClaimState::Final).await.claim, claim);
    let mut again = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    assert_eq!(again.told(ClaimState::Final).await.claim, claim);
    coordinator.stop().await;
}

async fn fetch(coordinator: &Coordinator) -> Result<(), Code> {
    let mut client = ChallengerServiceClient::new(channel(&coordinator.url).await);
    let request = FetchValueRequest {
        commitment: toy::trace_commitments()[1].to_vec(),
        offset: 0,
    };
    client
        .fetch_value(request)
        .await
        .map(|_| ())
        .map_err(|status| status.code())
}

#[tokio::test]
async fn values_are_kept_as_long_as_any_claim_needs_them_and_then_so_many_blocks() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    still(&net).await;
    let (_, first) = served(&net, &mut worker).await;
    // The same values once more, for a claim that is open.
    let request = net.request().await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    net.until_status(request, RequestStatus::Claimed).await;
    net.until_rows("select count(*) from value_uses", 4).await;

    let url = net.database.url.parse().unwrap();
    let database = db::connect(url, crate::common::PATIENCE).await.unwrap();
    let store = ValueStore::open(&net.dir.path().join("coordinator")).unwrap();
    let there = || -> Vec<bool> {
        let exists = |value| store.path(value).exists();
        toy::trace_commitments().into_iter().map(exists).collect()
    };
    let sweep = async |height| retention::sweep(&database, &store, height).await.unwrap();
    assert_eq!(sweep(first - 1).await, 0);
    net.until_rows("select count(*) from value_uses", 4).await;
    assert_eq!(sweep(first).await, 0, "the second claim needs them");
    net.until_rows("select count(*) from value_uses", 2).await;
    assert_eq!(there(), [true, true]);
    fetch(&coordinator).await.unwrap();

    let claim = worker.claim(&offer).digest(&worker.domain);
    let second = finalized(&net, request, claim).await;
    assert_eq!(sweep(second - 1).await, 0);
    assert_eq!(there(), [true, true]);
    // A coordinator that keeps them for three blocks lets go of them at its first look after that.
    coordinator.stop().await;
    let keep = |settings: &mut touchstone_coordinator::config::Settings| settings.retention_blocks = Some(3);
    let coordinator = net.coordinator_with(keep).await;
    fetch(&coordinator).await.unwrap();
    net.node.mine(4).await;
    let mut connection = net.database.connect().await;
    crate::common::eventually("the chain is followed", async || {
        let tip: i64 = sqlx::query_scalar("select max(number) from blocks")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        (tip as u64 >= second + 4).then_some(())
    })
    .await;
    coordinator.stop().await;
    let coordinator = net.coordinator_with(keep).await;
    net.until_rows("select count(*) from value_uses", 0).await;
    net.until_rows("select count(*) from stored_values", 0).await;
    assert_eq!(fetch(&coordinator).await, Err(Code::NotFound));
    crate::common::eventually("the files are gone", async || (there() == [false, false]).then_some(())).await;
    coordinator.stop().await;
}
