//! A request's life through the coordinator, with real contracts, Postgres and gRPC, and a worker played by hand.

use crate::common::{Account, Net, eventually, toy, worker::Worker};
use tokio_stream::StreamExt as _;
use touchstone_chain::{
    B256, U256,
    bindings::IMarket::{self, CallbackMode, Delivery, RequestStatus},
};
use touchstone_protocol::merkle;
use touchstone_wire::{
    challenger::{ClaimStatus, ClaimUpdate, Trace},
    proto::{
        challenger::v1::{self as pb, challenger_service_client::ChallengerServiceClient},
        model::v1::{FetchFileRequest, model_service_client::ModelServiceClient},
    },
    worker::ClaimState,
};

async fn next_claim(watch: &mut tonic::Streaming<pb::ClaimUpdate>) -> ClaimUpdate {
    watch
        .message()
        .await
        .unwrap()
        .expect("the watch goes on")
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn from_request_to_final_and_everything_a_challenger_needs_on_the_way() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let request = net.request().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let offer = worker.offer().await;
    assert_eq!(
        (offer.job.request, offer.job.attempt, offer.input.as_slice()),
        (request, 1, &toy::INPUT[..])
    );
    assert_eq!(offer.inputs, toy::inputs(), "the chain commits to the inputs as we do");
    worker.work(&offer).await;
    let claim = worker.told(ClaimState::Posted).await.claim;
    assert_eq!(claim, worker.claim(&offer).digest(&worker.domain));

    let mut client = ChallengerServiceClient::connect(coordinator.url.clone()).await.unwrap();
    let mut watch = client
        .watch_claims(pb::WatchClaimsRequest { cursor: 0 })
        .await
        .unwrap()
        .into_inner();
    let open = next_claim(&mut watch).await;
    assert_eq!(
        (open.claim, open.status, open.worker),
        (claim, ClaimStatus::Open, worker.provider)
    );
    let root = merkle::root(&toy::trace_commitments());
    assert_eq!(open.trace_root, Some(root));
    let trace = client
        .get_trace(pb::GetTraceRequest { claim: claim.to_vec() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        Trace::try_from(trace).unwrap(),
        Trace {
            trace_root: root,
            commitments: toy::trace_commitments()
        }
    );
    for offset in [0, 300_000] {
        let request = pb::FetchValueRequest {
            commitment: toy::trace_commitments()[1].to_vec(),
            offset,
        };
        let parts: Vec<_> = client.fetch_value(request).await.unwrap().into_inner().collect().await;
        let mut bytes = Vec::new();
        for part in parts.into_iter().skip(1) {
            match part.unwrap().part {
                Some(pb::fetch_value_response::Part::Chunk(chunk)) => bytes.extend(chunk),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bytes, toy::trace()[1].1[offset as usize..]);
    }
    let missing = client
        .get_layer(pb::GetLayerRequest {
            claim: claim.to_vec(),
            layer: 0,
        })
        .await
        .unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);

    net.node.pass(25).await;
    net.until_status(request, RequestStatus::Final).await;
    net.node.mine(2).await;
    worker.told(ClaimState::Final).await;
    let last = eventually("the watch shows the end", async || {
        Some(next_claim(&mut watch).await).filter(|claim| claim.status == ClaimStatus::Final)
    })
    .await;
    assert!(last.cursor > open.cursor);
    let resumed = client
        .watch_claims(pb::WatchClaimsRequest { cursor: open.cursor })
        .await
        .unwrap()
        .into_inner();
    let mut resumed = resumed;
    assert_eq!(next_claim(&mut resumed).await.status, ClaimStatus::Final);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_request_nobody_takes_is_refunded() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let request = net.request().await;
    net.node.pass(61).await;
    net.until_status(request, RequestStatus::Refunded).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn model_files_are_served_by_digest_and_resumed() {
    let net = Net::start().await;
    let folder = net.dir.path().join("models");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("toy.onnx"), toy::FILE).unwrap();
    let coordinator = net.coordinator().await;
    let mut client = eventually("the coordinator serves", async || {
        ModelServiceClient::connect(coordinator.url.clone()).await.ok()
    })
    .await;
    let digest = touchstone_protocol::digest::hash(toy::FILE);
    for offset in [0, 5] {
        let request = FetchFileRequest {
            digest: digest.to_vec(),
            offset,
        };
        let parts: Vec<_> = client.fetch_file(request).await.unwrap().into_inner().collect().await;
        let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap().chunk).collect();
        assert_eq!(bytes, toy::FILE[offset as usize..]);
    }
    let unknown = FetchFileRequest {
        digest: B256::ZERO.to_vec(),
        offset: 0,
    };
    assert_eq!(
        client.fetch_file(unknown).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    let beyond = FetchFileRequest {
        digest: digest.to_vec(),
        offset: 1_000,
    };
    assert_eq!(
        client.fetch_file(beyond).await.unwrap_err().code(),
        tonic::Code::OutOfRange
    );
    coordinator.stop().await;
}

#[tokio::test]
async fn killed_between_any_two_steps_it_goes_on() {
    let net = Net::start().await;
    let mut coordinator = net.coordinator().await;
    let request = net.request().await;
    // Killed while it follows.
    coordinator.kill().await;
    coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let offer = worker.offer().await;
    worker.say(touchstone_wire::worker::FromWorker::Accept(offer.job)).await;
    net.until_rows("select count(*) from leases where status = 'accepted'", 1)
        .await;
    // Killed with a job out; the worker comes back and hands it in.
    coordinator.kill().await;
    coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    worker.work(&offer).await;
    // Killed with a result in, wherever its transaction is.
    net.until_rows("select count(*) from submissions", 1).await;
    coordinator.kill().await;
    coordinator = net.coordinator().await;
    net.until_status(request, RequestStatus::Claimed).await;
    coordinator.kill().await;
    net.node.pass(25).await;
    coordinator = net.coordinator().await;
    net.until_status(request, RequestStatus::Final).await;
    coordinator.kill().await;
    coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    net.node.mine(2).await;
    worker.told(ClaimState::Final).await;
    coordinator.stop().await;
}

/// Who names no price for its callback has to call `deliver` itself, and does not hold up who does.
#[tokio::test]
async fn only_a_callback_that_is_paid_for_is_delivered() {
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let mut requests = Vec::new();
    for price in [0, 100_000_000_000] {
        let options = IMarket::Options {
            mode: CallbackMode::Final,
            callbackGas: 50_000,
            callbackGasPrice: price,
            tag: B256::ZERO,
        };
        let request = net.request_with(options, U256::from(10_u64.pow(18))).await;
        let offer = worker.offer().await;
        assert_eq!(offer.job.request, request);
        worker.work(&offer).await;
        net.until_status(request, RequestStatus::Claimed).await;
        net.node.pass(25).await;
        net.until_status(request, RequestStatus::Final).await;
        requests.push(request);
    }
    let delivery = async |request| {
        net.view(net.deployment.market, IMarket::requestOfCall { request })
            .await
            .delivery
    };
    eventually("the paid callback is delivered", async || {
        (delivery(requests[1]).await == Delivery::Succeeded).then_some(())
    })
    .await;
    assert_eq!(delivery(requests[0]).await, Delivery::Pending);
    coordinator.stop().await;
}
