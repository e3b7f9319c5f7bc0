//! Cheating engines: each computes a model as an honest one does but for one thing, commits what it got, and is held against the honest
//! plan. Measured is by how much it exceeds its envelope, and how small it may be made until the judge no longer sees it.
//!
//! What an operator's result must be depends on the operands that the cheat itself committed. So only the operators that it touches can be
//! outside; all others follow honestly from the lie, and are run so, but not judged.
//!
//! # Layout
//!
//! - [`subject`]: a model with an honest run, and one operator at a time.
//! - [`kinds`]: the cheats.
//! - [`measure`](mod@measure): a cheat at its full size, and the smallest size that is convicted.

pub mod kinds;
pub mod measure;
pub mod subject;

pub use kinds::Kind;
pub use measure::{Measured, measure};
pub use subject::Subject;
