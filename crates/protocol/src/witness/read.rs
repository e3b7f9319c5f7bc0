//! Reading a witness's bytes.

use super::Reason;
use crate::digest::{B256, hash_parts, tag};
use crate::merkle;

/// What is left of the bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<&'a [u8], Reason> {
        let count = usize::try_from(count).map_err(|_| Reason::Truncated)?;
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Reason::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Reason::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Reason> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn word(&mut self) -> Result<B256, Reason> {
        self.array().map(B256::from)
    }

    pub(super) fn words(&mut self, count: usize) -> Result<Vec<B256>, Reason> {
        let bytes = self.bytes(count as u64 * 32)?;
        Ok(bytes.chunks_exact(32).map(B256::from_slice).collect())
    }

    /// Root that `leaf` and the next `depth` words, its siblings, lead to. The index is below `2^depth`.
    pub(super) fn proof_root(&mut self, leaf: &B256, index: u64, depth: u32) -> Result<B256, Reason> {
        let siblings = self.words(depth as usize)?;
        merkle::proof_root(leaf, index, &siblings).ok_or(Reason::PlaceIndex)
    }

    /// A list of `count` commitments that hash to `expected`.
    pub(super) fn list(&mut self, name: &str, count: u32, expected: &B256, wrong: Reason) -> Result<&'a [u8], Reason> {
        let [stated] = self.array::<1>()?;
        if u32::from(stated) != count {
            return Err(wrong);
        }
        let bytes = self.bytes(u64::from(count) * 32)?;
        if hash_parts(&[tag(name).as_slice(), bytes]) == *expected {
            Ok(bytes)
        } else {
            Err(wrong)
        }
    }

    pub(super) fn finish(&self) -> Result<(), Reason> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Reason::Trailing)
        }
    }
}
