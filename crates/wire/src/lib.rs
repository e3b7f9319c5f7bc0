//! The gRPC services of `proto/` and their conversions to domain types.
//!
//! # Layout
//!
//! - [`proto`]: generated messages, clients and servers; nothing outside a conversion or a client call handles them.
//! - [`worker`], [`challenger`], [`value`]: domain types, one conversion each way. From the wire it is `TryFrom` and checks
//!   presence, lengths, counts and enums; to the wire it cannot fail. Both destructure fully, so a new field does not compile
//!   until somebody decided what it means.
//! - [`limits`]: every limit on messages, lists and streams, in one place.
//! - [`WireError`]: what was wrong with a message, by field; as a status it is *invalid argument*.

pub mod challenger;
mod error;
mod field;
pub mod limits;
pub mod value;
pub mod worker;

pub use error::WireError;

/// Generated code, one module per package.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod proto {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/proto.rs"));
    }
    pub use generated::touchstone::{challenger, model, worker};
}
