//! Peers that take too much: each limit refuses by name, and what is given back can be taken again.

use std::time::Duration;

use crate::common::{
    Account, Coordinator, Net, eventually, toy,
    worker::{Worker, channel},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic::{Code, Status, Streaming, transport::Channel};
use touchstone_chain::B256;
use touchstone_coordinator::limits::LimitSettings;
use touchstone_protocol::{descriptor::Dtype, tensor};
use touchstone_wire::{
    proto::{
        challenger::v1::{
            ClaimUpdate, GetTraceRequest, WatchClaimsRequest, challenger_service_client::ChallengerServiceClient,
        },
        model::v1::{FetchFileRequest, model_service_client::ModelServiceClient},
        worker::v1 as pb,
    },
    value::ValueHeader,
    worker::{ClaimState, FromWorker, Upload, UploadHeader},
};

async fn limited(net: &Net, limits: LimitSettings) -> Coordinator {
    net.coordinator_with(|settings| settings.limits = limits).await
}

async fn watch(channel: &Channel) -> Result<Streaming<ClaimUpdate>, Status> {
    let mut client = ChallengerServiceClient::new(channel.clone());
    Ok(client
        .watch_claims(WatchClaimsRequest { cursor: 0 })
        .await?
        .into_inner())
}

/// Waits until the other side closes a connection on which nothing is said.
async fn closes(mut connection: TcpStream) {
    // The server may have said hello, and may close with an error.
    let end = timeout(crate::common::PATIENCE, connection.read_to_end(&mut Vec::new())).await;
    let _ = end.expect("it is closed");
}

fn plain(coordinator: &Coordinator) -> String {
    coordinator.url.trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn connections_are_counted_and_those_beyond_are_closed() {
    let net = Net::start().await;
    let limits = LimitSettings {
        max_connections_per_address: Some(2),
        ..LimitSettings::default()
    };
    let coordinator = limited(&net, limits).await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let second = channel(&coordinator.url).await;
    closes(TcpStream::connect(plain(&coordinator)).await.unwrap()).await;
    drop(second);
    // The place is free again, and the first connection never noticed.
    let third = channel(&coordinator.url).await;
    watch(&third).await.unwrap();
    net.request().await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    worker.told(ClaimState::Posted).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn who_says_nothing_is_hung_up_on() {
    let net = Net::start().await;
    let limits = LimitSettings {
        hello_seconds: Some(1),
        ..LimitSettings::default()
    };
    let coordinator = limited(&net, limits).await;
    // On the connection, and in a session that does not prove its key.
    closes(TcpStream::connect(plain(&coordinator)).await.unwrap()).await;
    let (mut worker, _) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
    let (code, reason) = worker.ends().await;
    assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "no hello came"));
    coordinator.stop().await;
}

#[tokio::test]
async fn sessions_are_counted_before_they_prove_anything() {
    let net = Net::start().await;
    for (max_sessions, max_sessions_per_address, expect) in
        [(Some(1), None, "all there are"), (None, Some(1), "your address")]
    {
        let limits = LimitSettings {
            max_sessions,
            max_sessions_per_address,
            ..LimitSettings::default()
        };
        let coordinator = limited(&net, limits).await;
        let (unproven, _) = Worker::dial(&net, &coordinator.url, Account::Provider).await;
        let other = channel(&coordinator.url).await;
        let refused = Worker::connect_on(&net, other.clone(), Account::OtherProvider).await;
        let refused = refused.err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains(expect), "{refused}");
        drop(unproven);
        eventually("there is room again", async || {
            Worker::connect_on(&net, other.clone(), Account::OtherProvider)
                .await
                .ok()
        })
        .await;
        coordinator.stop().await;
    }
}

#[tokio::test]
async fn who_does_not_read_gives_its_place_to_others() {
    let net = Net::start().await;
    let limits = LimitSettings {
        max_readers_per_address: Some(1),
        slow_seconds: Some(1),
        ..LimitSettings::default()
    };
    // More than any buffer on the way holds.
    let (folder, file) = (net.dir.path().join("models"), vec![7; 32 << 20]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("large.onnx"), &file).unwrap();
    let coordinator = limited(&net, limits).await;
    let channel = channel(&coordinator.url).await;
    let mut models = ModelServiceClient::new(channel.clone());
    let request = FetchFileRequest {
        digest: touchstone_protocol::digest::hash(&file).to_vec(),
        offset: 0,
    };
    let mut unread = models.fetch_file(request.clone()).await.unwrap().into_inner();
    let refused = watch(&channel).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let refused = models.fetch_file(request).await.unwrap_err();
    assert!(refused.message().contains("too many downloads"), "{refused}");
    eventually("the place is free", async || watch(&channel).await.ok()).await;
    // What was cut off is not taken for the whole.
    let mut read = 0;
    while let Ok(Some(part)) = unread.message().await {
        read += part.chunk.len();
    }
    assert!(read < file.len());
    coordinator.stop().await;
}

#[tokio::test]
async fn a_connection_has_so_many_calls_at_once() {
    let net = Net::start().await;
    let limits = LimitSettings {
        max_streams: Some(2),
        ..LimitSettings::default()
    };
    let coordinator = limited(&net, limits).await;
    let (greedy, modest) = (channel(&coordinator.url).await, channel(&coordinator.url).await);
    let (first, _second) = (watch(&greedy).await.unwrap(), watch(&greedy).await.unwrap());
    let third = tokio::spawn(async move { watch(&greedy).await.map(|_| ()) });
    // Others are served meanwhile.
    let mut client = ChallengerServiceClient::new(modest);
    for _ in 0..50 {
        let claim = B256::ZERO.to_vec();
        let answer = client.get_trace(GetTraceRequest { claim }).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
    assert!(!third.is_finished(), "it waits until one of the others ends");
    drop(first);
    timeout(crate::common::PATIENCE, third).await.unwrap().unwrap().unwrap();
    coordinator.stop().await;
}

#[tokio::test]
async fn values_beyond_the_limits_are_refused_before_they_are_sent() {
    let net = Net::start().await;
    let coordinator = net
        .coordinator_with(|settings| {
            settings.max_value_bytes = Some(400_000);
            settings.max_job_bytes = Some(400_000);
        })
        .await;
    net.request().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let offer = worker.offer().await;
    worker.say(FromWorker::Accept(offer.job)).await;
    worker.say(Worker::commitments(&offer)).await;
    let [small, large] = toy::trace();
    let over = (vec![100_001], vec![0; 400_004]);
    let refused = worker.upload(offer.job, &[over], None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("400004 bytes, the limit is 400000"),
        "{refused}"
    );
    assert_eq!(worker.upload(offer.job, &[large], None).await.unwrap(), 1);
    let refused = worker.upload(offer.job, &[small], None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("for one job"), "{refused}");
    coordinator.stop().await;
}

#[tokio::test]
async fn an_upload_that_stops_or_drips_is_ended() {
    let net = Net::start().await;
    let limits = LimitSettings {
        slow_seconds: Some(1),
        min_upload_rate: Some(u32::MAX),
        ..LimitSettings::default()
    };
    let coordinator = limited(&net, limits).await;
    net.request().await;
    let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
    let offer = worker.offer().await;
    worker.say(FromWorker::Accept(offer.job)).await;
    worker.say(Worker::commitments(&offer)).await;
    let [_, (dims, bytes)] = toy::trace();
    let header = Upload::Header(UploadHeader {
        session: worker.session,
        job: offer.job,
        value: ValueHeader {
            commitment: tensor::commit(Dtype::F32, &dims, &bytes).unwrap(),
            dtype: Dtype::F32,
            dims,
            length: bytes.len() as u64,
        },
    });
    let (_stopped, call) = worker.upload_by_hand();
    let ended = timeout(crate::common::PATIENCE, call).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
    // Each byte comes in time, the whole would take hours.
    let (parts, call) = worker.upload_by_hand();
    parts.send(header.into()).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let drip = async {
        loop {
            ticks.tick().await;
            if parts.send(Upload::Chunk(vec![2]).into()).await.is_err() {
                return;
            }
        }
    };
    timeout(crate::common::PATIENCE, drip).await.expect("it is ended");
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    coordinator.stop().await;
}

#[tokio::test]
async fn messages_that_mean_nothing_end_the_session_of_who_sends_them() {
    use pb::worker_message::Message;
    let net = Net::start().await;
    let coordinator = net.coordinator().await;
    let job = |attempt| pb::Job {
        request: vec![0; 32],
        attempt,
    };
    let refuse = |reason| {
        Message::Refuse(pb::Refuse {
            job: Some(job(1)),
            reason,
            detail: String::new(),
        })
    };
    let progress = Message::Progress(pb::Progress {
        job: Some(job(1)),
        stage: 77,
    });
    let many = Message::Commitments(pb::Commitments {
        job: Some(job(1)),
        trace: vec![vec![0; 32]; 65_537],
    });
    let large = Message::Commitments(pb::Commitments {
        job: Some(job(1)),
        trace: vec![vec![0; 5 << 20]],
    });
    let beyond = Message::Accept(pb::Accept {
        job: Some(job(u64::MAX)),
    });
    for (message, code, expect) in [
        (refuse(99), Code::InvalidArgument, "reason is 99"),
        (refuse(0), Code::InvalidArgument, "reason is 0"),
        (progress, Code::InvalidArgument, "stage is 77"),
        (many, Code::InvalidArgument, "65537 items, the limit is 65536"),
        (large, Code::OutOfRange, "length"),
        (beyond, Code::InvalidArgument, "larger than any"),
        (
            Message::Accept(pb::Accept { job: None }),
            Code::InvalidArgument,
            "job is missing",
        ),
    ] {
        let mut worker = Worker::connect(&net, &coordinator.url, Account::Provider).await;
        worker.say_raw(message).await;
        let (actual, reason) = worker.ends().await;
        assert_eq!(actual, code, "{reason}");
        assert!(reason.contains(expect), "{reason}");
    }
    let mut client = ChallengerServiceClient::new(channel(&coordinator.url).await);
    let short = client
        .get_trace(GetTraceRequest { claim: vec![0; 31] })
        .await
        .unwrap_err();
    assert_eq!(short.code(), Code::InvalidArgument);
    // Nobody else noticed.
    net.request().await;
    let mut honest = Worker::connect(&net, &coordinator.url, Account::OtherProvider).await;
    let offer = honest.offer().await;
    honest.work(&offer).await;
    honest.told(ClaimState::Posted).await;
    coordinator.stop().await;
}
