//! Tensors as they are committed: row-major little-endian bytes in 256-byte chunks (PROTOCOL.md section 2, *Tensor*).

use std::sync::Arc;

use crate::descriptor::Dtype;
use crate::digest::{B256, hash, hash_parts, tag};
use crate::merkle::{self, MerkleTree};

/// Bytes a chunk holds.
pub const CHUNK: usize = 256;

/// Greatest rank of a tensor.
pub const MAX_RANK: usize = 8;

/// Greatest size of a tensor in bytes.
pub const MAX_BYTES: u64 = 1 << 31;

/// Why bytes are not the tensor they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// More than [`MAX_RANK`] dimensions.
    #[error("tensor has rank {0}, at most 8 are allowed")]
    Rank(usize),
    /// More than [`MAX_BYTES`] bytes.
    #[error("tensor of shape {0:?} is larger than 2^31 bytes")]
    TooLarge(Vec<u32>),
    /// The bytes are not exactly the shape's.
    #[error("tensor of shape {dims:?} needs {expected} bytes, got {actual}")]
    Length {
        /// The shape.
        dims: Vec<u32>,
        /// Bytes that the shape needs.
        expected: u64,
        /// Bytes that were given.
        actual: u64,
    },
}

/// Product of the dimensions; `None` when it is above 2^31. The empty product is 1, and one zero dimension makes it 0.
pub fn element_count(dims: &[u32]) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1u64, |product, &dim| {
        Some(product * u64::from(dim)).filter(|p| *p <= MAX_BYTES)
    })
}

/// Size in bytes of a tensor.
///
/// # Errors
/// Rank above 8 or more than 2^31 bytes.
pub fn byte_length(dtype: Dtype, dims: &[u32]) -> Result<u64, TensorError> {
    if dims.len() > MAX_RANK {
        return Err(TensorError::Rank(dims.len()));
    }
    element_count(dims)
        .map(|count| count * dtype.size() as u64)
        .filter(|bytes| *bytes <= MAX_BYTES)
        .ok_or_else(|| TensorError::TooLarge(dims.to_vec()))
}

/// Bits of an element, given its little-endian bytes, at most eight.
#[inline]
pub fn element_bits(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// Chunks of a tensor of this many bytes: at least one.
pub const fn chunk_count(bytes: u64) -> u64 {
    let count = bytes.div_ceil(CHUNK as u64);
    if count == 0 { 1 } else { count }
}

/// Leaf of one chunk of at most 256 bytes, filled with zeros.
pub fn chunk_leaf(bytes: &[u8]) -> B256 {
    if bytes.len() >= CHUNK {
        return hash(&bytes[..CHUNK]);
    }
    let mut chunk = [0u8; CHUNK];
    chunk[..bytes.len()].copy_from_slice(bytes);
    hash(chunk)
}

/// `H(TAG("tensor") ‖ u8 dtype ‖ u8 rank ‖ u32 dim × rank ‖ chunk root)`. The rank must be at most 255.
pub fn commitment(dtype: Dtype, dims: &[u32], chunk_root: &B256) -> B256 {
    let mut head = Vec::with_capacity(2 + 4 * dims.len());
    head.push(dtype as u8);
    head.push(dims.len() as u8);
    for dim in dims {
        head.extend_from_slice(&dim.to_be_bytes());
    }
    hash_parts(&[tag("tensor").as_slice(), &head, chunk_root.as_slice()])
}

/// Chunks `[lo, hi)` of a tensor with the siblings that lead to its chunk root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeOpening {
    /// `(hi − lo) · 256` bytes.
    pub chunks: Vec<u8>,
    /// The canonical siblings, from the leaves up.
    pub siblings: Vec<B256>,
}

/// Chunk root that the chunks starting at number `lo` and their siblings lead to; `None` when they do not fit the tree of a tensor of
/// `bytes` bytes.
pub fn opened_root(chunks: &[u8], lo: u64, bytes: u64, siblings: &[B256]) -> Option<B256> {
    if !chunks.len().is_multiple_of(CHUNK) {
        return None;
    }
    let mut leaves: Vec<B256> = chunks.chunks(CHUNK).map(hash).collect();
    merkle::range_root(&mut leaves, lo, merkle::depth(chunk_count(bytes)), siblings)
}

/// A tensor with its chunk tree, ready to be committed and opened. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorTree {
    dtype: Dtype,
    dims: Vec<u32>,
    bytes: Arc<[u8]>,
    tree: MerkleTree,
}

impl TensorTree {
    /// Hashes `bytes`: row-major, little-endian, exactly the shape's length.
    ///
    /// # Errors
    /// The length is not the shape's, or the shape is beyond the limits.
    pub fn new(dtype: Dtype, dims: &[u32], bytes: impl Into<Arc<[u8]>>) -> Result<Self, TensorError> {
        let bytes = bytes.into();
        check_length(dtype, dims, bytes.len())?;
        let tree = chunk_tree(&bytes);
        Ok(Self {
            dtype,
            dims: dims.to_vec(),
            bytes,
            tree,
        })
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Shape.
    pub fn dims(&self) -> &[u32] {
        &self.dims
    }

    /// The bytes as committed, without the last chunk's fill.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The chunk tree.
    pub fn tree(&self) -> &MerkleTree {
        &self.tree
    }

    /// Root of the chunk tree.
    pub fn chunk_root(&self) -> B256 {
        self.tree.root()
    }

    /// The tensor's commitment.
    pub fn commitment(&self) -> B256 {
        commitment(self.dtype, &self.dims, &self.chunk_root())
    }

    /// Opens chunks `[lo, hi)`; `None` when the range is empty or beyond the tensor's own chunks.
    pub fn open(&self, lo: u64, hi: u64) -> Option<RangeOpening> {
        if hi > self.tree.len() {
            return None;
        }
        let siblings = self.tree.range_siblings(lo, hi)?;
        let (start, end) = (lo as usize * CHUNK, hi as usize * CHUNK);
        let mut chunks = self.bytes[start.min(self.bytes.len())..end.min(self.bytes.len())].to_vec();
        chunks.resize(end - start, 0);
        Some(RangeOpening { chunks, siblings })
    }
}

/// Commitment of a tensor's bytes, for those that will not open it.
///
/// # Errors
/// As [`TensorTree::new`].
pub fn commit(dtype: Dtype, dims: &[u32], bytes: &[u8]) -> Result<B256, TensorError> {
    check_length(dtype, dims, bytes.len())?;
    Ok(commitment(dtype, dims, &chunk_tree(bytes).root()))
}

fn check_length(dtype: Dtype, dims: &[u32], actual: usize) -> Result<(), TensorError> {
    let expected = byte_length(dtype, dims)?;
    if actual as u64 != expected {
        return Err(TensorError::Length {
            dims: dims.to_vec(),
            expected,
            actual: actual as u64,
        });
    }
    Ok(())
}

fn chunk_tree(bytes: &[u8]) -> MerkleTree {
    let filler = chunk_leaf(&[]);
    let leaves = if bytes.is_empty() {
        vec![filler]
    } else {
        bytes.chunks(CHUNK).map(chunk_leaf).collect()
    };
    MerkleTree::with_filler(leaves, filler)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(count: u32) -> TensorTree {
        let bytes: Vec<u8> = (0..count)
            .flat_map(|i| (i.wrapping_mul(2654435761)).to_le_bytes())
            .collect();
        TensorTree::new(Dtype::F32, &[count], bytes).unwrap()
    }

    #[test]
    fn an_empty_tensor_has_one_zero_chunk() {
        let empty = TensorTree::new(Dtype::I64, &[3, 0], Vec::new()).unwrap();
        assert_eq!(empty.chunk_root(), hash([0u8; 256]));
        assert_eq!(empty.open(0, 1).unwrap().chunks, vec![0u8; 256]);
    }

    #[test]
    fn the_tree_is_filled_with_zero_chunks() {
        // 130 elements: three chunks, the last with 8 bytes, and one filler.
        let t = tensor(130);
        let mut padded = t.bytes().to_vec();
        padded.resize(4 * CHUNK, 0);
        let l: Vec<B256> = padded.chunks(CHUNK).map(hash).collect();
        let expect = merkle::node(&merkle::node(&l[0], &l[1]), &merkle::node(&l[2], &l[3]));
        assert_eq!(t.chunk_root(), expect);
    }

    #[test]
    fn shape_and_dtype_are_bound() {
        let bytes = vec![7u8; 24];
        let all = [
            commit(Dtype::F32, &[6], &bytes).unwrap(),
            commit(Dtype::F32, &[2, 3], &bytes).unwrap(),
            commit(Dtype::F32, &[3, 2], &bytes).unwrap(),
            commit(Dtype::I32, &[6], &bytes).unwrap(),
            commit(Dtype::F32, &[6, 1], &bytes).unwrap(),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(
            commit(Dtype::F32, &[6], &bytes[1..]).unwrap_err(),
            TensorError::Length {
                dims: vec![6],
                expected: 24,
                actual: 23
            }
        );
        assert!(commit(Dtype::F32, &[1; 9], &[0; 4]).is_err());
        assert!(matches!(
            commit(Dtype::U8, &[65536, 65536], &[]),
            Err(TensorError::TooLarge(_))
        ));
        assert!(commit(Dtype::U8, &[65536, 65536, 0], &[]).is_ok());
    }

    #[test]
    fn ranges_open_to_the_chunk_root() {
        let t = tensor(64 * 6 + 3);
        for lo in 0..7 {
            for hi in lo + 1..=7 {
                let opening = t.open(lo, hi).unwrap();
                let root = opened_root(&opening.chunks, lo, t.bytes().len() as u64, &opening.siblings);
                assert_eq!(root, Some(t.chunk_root()));
            }
        }
        assert_eq!(t.open(0, 8), None);
        assert_eq!(t.open(3, 3), None);
    }
}
