//! The coordinator over TLS.

use std::time::Duration;

use crate::common::{Account, Net, certificates::Authority, worker::Worker};
use touchstone_chain::bindings::IMarket::RequestStatus;
use touchstone_coordinator::config::Config;
use touchstone_service::CoordinatorAddress;
use touchstone_wire::worker::ClaimState;

#[tokio::test]
async fn an_honest_session_over_tls_and_none_by_another_authority_or_in_plaintext() {
    let net = Net::start().await;
    let folder = net.dir.path();
    let (ours, others) = (Authority::new(folder, "ours"), Authority::new(folder, "others"));
    let files = ours.certify(folder);
    let coordinator = net
        .coordinator_with(|settings| {
            settings.tls_certificate = Some(files.certificate);
            settings.tls_key = Some(files.key);
        })
        .await;
    let dial = |url: &str, ca| {
        let address = CoordinatorAddress::new(url, ca, false).unwrap();
        address.channel(Duration::from_secs(10)).unwrap()
    };
    let channel = dial(&coordinator.url, Some(ours.file));
    let mut worker = crate::common::eventually("the coordinator serves", async || {
        Worker::connect_on(&net, channel.clone(), Account::Provider).await.ok()
    })
    .await;

    let wrong = dial(&coordinator.url, Some(others.file));
    let refused = Worker::connect_on(&net, wrong, Account::OtherProvider).await;
    assert_eq!(refused.err().unwrap().code(), tonic::Code::Unavailable);
    let plain = dial(&coordinator.url.replace("https", "http"), None);
    assert!(Worker::connect_on(&net, plain, Account::OtherProvider).await.is_err());

    let request = net.request().await;
    let offer = worker.offer().await;
    worker.work(&offer).await;
    worker.told(ClaimState::Posted).await;
    net.until_status(request, RequestStatus::Claimed).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let net = Net::start().await;
    let folder = net.dir.path();
    let files = Authority::new(folder, "ours").certify(folder);
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    let key = Authority::new(&other, "others").certify(&other).key;
    for (certificate, key, expect) in [
        (folder.join("missing.pem"), files.key.clone(), "missing.pem"),
        (files.certificate.clone(), key, "certificate.pem"),
    ] {
        let mut settings = net.settings();
        settings.listen = Some(([127, 0, 0, 1], 0).into());
        settings.tls_certificate = Some(certificate);
        settings.tls_key = Some(key);
        let config = Config::try_from(settings).unwrap();
        let run = touchstone_coordinator::run(config, Default::default());
        let error = tokio::time::timeout(crate::common::PATIENCE, run)
            .await
            .unwrap()
            .unwrap_err();
        assert!(format!("{error:#}").contains(expect), "{error:#}");
    }
}
