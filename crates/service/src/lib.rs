//! What every service does alike.
//!
//! # Layout
//!
//! - [`config`]: files, missing values, keys, addresses without their secrets
//! - [`address`]: the way to a coordinator, with TLS or on this machine
//! - [`files`]: model files by digest, fetched, checked, kept
//! - [`program`]: logs and signals; [`tls`]: by whose cryptography
//!
//! **Invariant:** nothing here knows what a service is for.

pub mod address;
pub mod config;
pub mod files;
pub mod program;
pub mod tls;

pub use address::CoordinatorAddress;
