//! The way to a coordinator over TLS: by an authority of one's own, by the system's, and not at all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/certificates.rs"]
mod certificates;

use std::{path::Path, process::Command, time::Duration};

use certificates::Authority;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, transport::Server};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use touchstone_service::CoordinatorAddress;

/// A server with a certificate of this authority; its port.
async fn serve(authority: &Authority, folder: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .tls_config(authority.server_tls(folder))
        .unwrap()
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    port
}

async fn dial(url: &str, ca: Option<&Path>) -> Result<(), Status> {
    let address = CoordinatorAddress::new(url, ca.map(Path::to_owned), false).unwrap();
    let channel = address.channel(Duration::from_secs(5)).unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.map(|_| ())
}

#[tokio::test]
async fn only_a_certificate_of_the_configured_authority_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (
        Authority::new(folder.path(), "ours"),
        Authority::new(folder.path(), "others"),
    );
    let port = serve(&ours, folder.path()).await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{port}");
        dial(&url, Some(&ours.file)).await.unwrap();
        let refused = dial(&url, Some(&others.file)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
        dial(&url, None)
            .await
            .expect_err("the system does not know our authority");
    }
    dial(&format!("http://127.0.0.1:{port}"), None)
        .await
        .expect_err("there is no plaintext on a port with TLS");
    let missing = CoordinatorAddress::new("https://localhost:1", Some(folder.path().join("no.pem")), false).unwrap();
    let error = missing.channel(Duration::from_secs(5)).unwrap_err();
    assert!(error.to_string().contains("no.pem"), "{error}");
}

const URL: &str = "TOUCHSTONE_TEST_URL";
const SELF: &str = "without_an_authority_the_systems_are_asked";

/// Plays both parts: this process serves, and starts itself again as one that dials, on a system whose authorities are in one file.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_the_systems_are_asked() {
    if let Ok(url) = std::env::var(URL) {
        return dial(&url, None).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (
        Authority::new(folder.path(), "ours"),
        Authority::new(folder.path(), "others"),
    );
    let url = format!("https://localhost:{}", serve(&ours, folder.path()).await);
    for (authority, known) in [(ours, true), (others, false)] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", SELF])
            .env(URL, &url)
            .env("SSL_CERT_FILE", &authority.file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
            .status;
        assert_eq!(status.success(), known, "{}", authority.file.display());
    }
}
