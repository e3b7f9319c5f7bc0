//! The way to a coordinator: TLS, or plaintext on this machine.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use touchstone_wire::limits;

use crate::config::without_secrets;

/// Where a coordinator is, and by whom its certificate must be issued. Shown without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorAddress {
    url: String,
    /// PEM file of the authority; none: the system's.
    ca: Option<PathBuf>,
}

impl CoordinatorAddress {
    /// Checks an address. `ca` is a file of certificate authorities (PEM) to trust instead of the system's. Plaintext leaves this
    /// machine only if `allow_plaintext` says so.
    ///
    /// # Errors
    /// It is neither http nor https, it is plaintext to another machine, or there is an authority for plaintext.
    pub fn new(url: &str, ca: Option<PathBuf>, allow_plaintext: bool) -> anyhow::Result<Self> {
        let shown = without_secrets(url);
        let uri: Uri = url
            .parse()
            .with_context(|| format!("coordinator is {shown}, which is no URL"))?;
        let host = uri
            .host()
            .with_context(|| format!("coordinator is {shown}, which names no host"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => {
                ensure!(
                    ca.is_none(),
                    "coordinator is {shown} and coordinator_ca is set: plaintext has no certificate, use https"
                );
                ensure!(
                    allow_plaintext || is_loopback(host),
                    "coordinator is {shown}: without TLS only this machine is dialled; use https (with --coordinator-ca for an \
                     authority of your own), or allow it with --allow-plaintext on a network that nobody else is on"
                );
            }
            _ => bail!("coordinator is {shown}, must begin with http:// or https://"),
        }
        Ok(Self {
            url: url.to_owned(),
            ca,
        })
    }

    /// A channel; it connects when it is used, and again after a loss. A connection attempt may take `connect_timeout`.
    ///
    /// # Errors
    /// The authority's file cannot be read.
    pub fn channel(&self, connect_timeout: Duration) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .context("coordinator is no URL")?
            .connect_timeout(connect_timeout)
            .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if self.url.starts_with("https://") {
            crate::tls::choose_provider();
            let tls = match &self.ca {
                None => ClientTlsConfig::new().with_native_roots(),
                Some(path) => {
                    let pem = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
            };
            endpoint = endpoint
                .tls_config(tls)
                .context("coordinator's certificate authority")?;
        }
        Ok(endpoint.connect_lazy())
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.url))?;
        match &self.ca {
            Some(ca) => write!(f, " (authority {})", ca.display()),
            None => Ok(()),
        }
    }
}

/// Whether a URL's host is this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_for_this_machine_unless_it_is_allowed() {
        let check = |url, ca: Option<&str>, allow| CoordinatorAddress::new(url, ca.map(PathBuf::from), allow);
        for good in [
            "http://127.0.0.1:1",
            "http://localhost:1/",
            "http://[::1]:1",
            "https://example.org",
        ] {
            check(good, None, false).unwrap();
        }
        for bad in [
            "http://example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "http://10.0.0.1:7450",
            "http://[::2]:1",
        ] {
            let error = check(bad, None, false).unwrap_err().to_string();
            assert!(
                error.contains("https") && error.contains("--allow-plaintext"),
                "{error}"
            );
            check(bad, None, true).unwrap();
        }
        for (bad, expect) in [
            ("ftp://127.0.0.1", "http:// or https://"),
            ("/nowhere", "names no host"),
            ("http://[", "no URL"),
        ] {
            let error = check(bad, None, true).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        let error = check("http://127.0.0.1:1", Some("ca.pem"), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("use https"), "{error}");
    }

    #[test]
    fn it_is_shown_without_secrets() {
        let address = CoordinatorAddress::new("https://me:secret@host:1/secret", Some("ca.pem".into()), false).unwrap();
        assert_eq!(address.to_string(), "https://host:1/… (authority ca.pem)");
        let error = CoordinatorAddress::new("http://me:secret@host:1/secret", None, false).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
