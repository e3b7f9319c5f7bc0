//! By whose cryptography TLS is spoken.

/// Makes ring the provider of this process, unless it has one. To be called before TLS is configured: our HTTP and our gRPC library bring
/// a provider each, and rustls panics rather than choose between them.
pub fn choose_provider() {
    // An error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
