//! Checked conversions of single fields.

use alloy_primitives::{Address, B256, FixedBytes, U256};

use crate::WireError;

/// A signature as 65 bytes `r ‖ s ‖ v`.
pub(crate) type SignatureBytes = FixedBytes<65>;

pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

pub(crate) fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<FixedBytes<N>, WireError> {
    let array: [u8; N] = bytes.try_into().map_err(|_| WireError::Length {
        field,
        expected: N,
        actual: bytes.len(),
    })?;
    Ok(FixedBytes(array))
}

pub(crate) fn address(field: &'static str, bytes: &[u8]) -> Result<Address, WireError> {
    Ok(Address(fixed(field, bytes)?))
}

pub(crate) fn uint(field: &'static str, bytes: &[u8]) -> Result<U256, WireError> {
    Ok(U256::from_be_bytes(fixed::<32>(field, bytes)?.0))
}

pub(crate) fn uint_bytes(value: U256) -> Vec<u8> {
    value.to_be_bytes::<32>().to_vec()
}

/// Words one after the other, `limit` of them at most.
pub(crate) fn words(field: &'static str, bytes: &[u8], limit: usize) -> Result<Vec<U256>, WireError> {
    let (words, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(WireError::Length {
            field,
            expected: 32 * (words.len() + 1),
            actual: bytes.len(),
        });
    }
    at_most(
        field,
        words.iter().map(|word| U256::from_be_bytes(*word)).collect(),
        limit,
    )
}

pub(crate) fn word_bytes(words: &[U256]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
}

pub(crate) fn at_most<T>(field: &'static str, items: Vec<T>, limit: usize) -> Result<Vec<T>, WireError> {
    match items.len() {
        actual if actual > limit => Err(WireError::TooMany { field, limit, actual }),
        _ => Ok(items),
    }
}

pub(crate) fn text(field: &'static str, text: String, limit: usize) -> Result<String, WireError> {
    match text.len() {
        actual if actual > limit => Err(WireError::TooMany { field, limit, actual }),
        _ => Ok(text),
    }
}

pub(crate) fn hashes(field: &'static str, items: Vec<Vec<u8>>, limit: usize) -> Result<Vec<B256>, WireError> {
    at_most(field, items, limit)?
        .iter()
        .map(|item| fixed(field, item))
        .collect()
}

pub(crate) fn hash_bytes(items: Vec<B256>) -> Vec<Vec<u8>> {
    items.into_iter().map(|item| item.to_vec()).collect()
}

/// Cuts a detail to what the wire carries, at a character boundary.
pub(crate) fn clip(mut text: String, limit: usize) -> String {
    while text.len() > limit {
        text.pop();
    }
    text
}
