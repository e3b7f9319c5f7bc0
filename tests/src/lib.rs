//! End-to-end tests with their adversaries, the demo and the devnet: real anvil, Postgres, libtorch and gRPC, each service a process of its own.
//!
//! # Layout
//!
//! - [`adversary`]: workers that cheat, as little as the judge convicts.
//! - [`cheats`]: engines that cheat, and how small a cheat the judge sees.
//! - [`paths`]: where binaries, artifacts and models are.
//! - [`anvil`], [`postgres`], [`process`]: things that run, and end with their handle.
//! - [`network`]: a chain with the contracts, a published model, staked workers, and the services.
//! - [`chain`]: what a person would do by hand: send a transaction, wait for an event.
//! - [`scenario`]: a real image, a question to the network, what is waited for.
//! - [`story`]: the main job, as the demo plays it; [`keeper`]: kills the coordinator while it is played.
//! - [`books`]: who has what at the end.
//! - [`timeline`]: what happened, for people.

pub mod adversary;
pub mod anvil;
pub mod books;
pub mod chain;
pub mod cheats;
pub mod keeper;
pub mod network;
pub mod paths;
pub mod postgres;
pub mod process;
pub mod scenario;
pub mod story;
pub mod timeline;
