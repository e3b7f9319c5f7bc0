//! Keys of the tables, and values as rows.

use alloy_primitives::B256;
use touchstone_engine::Value;
use touchstone_protocol::descriptor::{Dtype, Place};
use touchstone_wire::worker::Job;

use super::StoreError;

pub(super) fn job_key(job: Job) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&job.request.to_be_bytes::<32>());
    key[32..].copy_from_slice(&job.attempt.to_be_bytes());
    key
}

pub(super) fn layer_key(claim: B256, layer: u32) -> Vec<u8> {
    [claim.as_slice(), &layer.to_be_bytes()].concat()
}

pub(super) fn value_key(job: &[u8; 40], layer: u32, place: Place) -> Vec<u8> {
    let (kind, number) = place.parts();
    let layer = if matches!(place, Place::Inner(_)) { layer } else { 0 };
    [job.as_slice(), &layer.to_be_bytes(), &[kind], &number.to_be_bytes()].concat()
}

/// `u8 dtype ‖ u8 rank ‖ u32 dim × rank ‖ bytes`.
pub(super) fn encode_value(value: &Value) -> Vec<u8> {
    let mut row = vec![value.dtype as u8, value.dims.len() as u8];
    value.dims.iter().for_each(|dim| row.extend(dim.to_be_bytes()));
    row.extend_from_slice(&value.bytes);
    row
}

pub(super) fn decode_value(row: &[u8]) -> Result<Value, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        table: "values".into(),
        what,
    };
    let [code, rank, rest @ ..] = row else {
        return Err(corrupt("no header".into()));
    };
    let dtype = Dtype::from_code(*code).ok_or_else(|| corrupt(format!("dtype {code}")))?;
    let (dims, bytes) = rest
        .split_at_checked(4 * usize::from(*rank))
        .ok_or_else(|| corrupt("no shape".into()))?;
    let dims: Vec<u32> = dims
        .as_chunks::<4>()
        .0
        .iter()
        .map(|dim| u32::from_be_bytes(*dim))
        .collect();
    Value::new(dtype, dims, bytes).map_err(|error| corrupt(error.to_string()))
}
