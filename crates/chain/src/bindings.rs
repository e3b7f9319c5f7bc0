//! The contracts' interfaces, generated from `contracts/src`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

use touchstone_protocol::model::ModelHeader;

impl From<&ModelHeader> for IModelRegistry::Header {
    /// What is published of a model; its io follows in full, so that the registry hashes it.
    fn from(header: &ModelHeader) -> Self {
        let ModelHeader {
            plan_root,
            weights_root,
            operators,
            weights,
            trace_values,
            layers,
            profile,
            io: _,
        } = header;
        Self {
            planRoot: *plan_root,
            weightsRoot: *weights_root,
            operators: *operators,
            weights: *weights,
            traceValues: *trace_values,
            layers: *layers,
            profile: *profile,
        }
    }
}
