//! The coordinator with real contracts, Postgres and gRPC; workers, requesters and challengers played by hand.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain;
mod common;
mod disputes;
mod flow;
mod lies;
mod limits;
mod refused;
mod resent;
mod settled;
mod tls;
