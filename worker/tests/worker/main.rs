//! The worker in front of a coordinator made of channels, and of a local chain.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../crates/chain/tests/common/anvil.rs"]
mod anvil;
#[path = "../../../crates/service/tests/common/certificates.rs"]
mod certificates;
mod common;
mod direct;
mod keeping;
mod leases;
mod long;
mod tls;
