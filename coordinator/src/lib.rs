//! The coordinator: leases requests to workers, posts their claims, relays their dispute moves, finalizes, refunds.
//!
//! It can neither forge a claim nor stop anybody: whatever it does works by direct contract calls too. It never runs a model.
//!
//! # Layout
//!
//! - [`app`]: wiring and supervision; [`config`]; [`db`]: one file per table
//! - [`follower`]: the chain into the database
//! - [`planner`]: the database into transactions; they are sent by `touchstone_chain::Sender` from the outbox
//! - [`scheduler`] and [`lease`]: requests to workers
//! - [`worker`], [`result`], [`dispute`], [`upload`]: what a worker says, checked
//! - [`values`], [`retention`], [`files`]: bytes on disk
//! - [`incoming`], [`sessions`], [`grpc`]: connections; [`limits`], [`quota`]: how much of them
//!
//! **Invariant:** what must survive a crash is in Postgres before anybody is told of it; tasks share only the database and a
//! signal that it changed.

pub mod app;
pub mod clock;
pub mod config;
pub mod db;
pub mod dispute;
pub mod files;
pub mod follower;
pub mod grpc;
pub mod incoming;
pub mod lease;
pub mod limits;
pub mod planner;
pub mod quota;
pub mod result;
pub mod retention;
pub mod scheduler;
pub mod sessions;
pub mod upload;
pub mod values;
pub mod worker;

pub use app::{run, run_on};
