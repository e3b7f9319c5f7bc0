//! The worker in front of a coordinator with TLS.

use crate::certificates::Authority;
use crate::common::{CHAIN_ID, Coordinator, MARKET, Worker, compiled, config, honest, model_file, offer};
use tonic::transport::Server;
use touchstone_service::CoordinatorAddress;
use touchstone_wire::worker::{FromWorker, ToWorker};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_over_tls_with_its_model_file_and_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ours");
    let server = Server::builder()
        .tls_config(authority.server_tls(folder.path()))
        .unwrap();
    let file = model_file();
    let mut coordinator = Coordinator::on(server, file.clone(), CHAIN_ID, MARKET).await;
    let mut config = config(coordinator.address, folder.path());
    let url = format!("https://localhost:{}", coordinator.address.port());
    config.coordinator = CoordinatorAddress::new(&url, Some(authority.file), false).unwrap();
    let worker = Worker::start(config, honest());
    let mut session = coordinator.session().await;
    let offer = offer(&compiled(&file), &file, 1);
    session.say(ToWorker::Offer(Box::new(offer.clone()))).await;
    assert_eq!(session.hear().await, FromWorker::Accept(offer.job));
    assert!(matches!(session.hear().await, FromWorker::Commitments(_)));
    assert!(matches!(session.hear().await, FromWorker::Result(_)));
    assert!(!coordinator.uploads.lock().unwrap().is_empty());
    worker.stop().await;
}
