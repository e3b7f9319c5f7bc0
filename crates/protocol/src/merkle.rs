//! Position-bound binary keccak trees (PROTOCOL.md section 2, *Tree* and *Range opening*).
//!
//! The bits of the index say on which side a sibling stands, so a proof binds the leaf's position. Trees are filled up to a
//! power of two with a filler leaf, which is never stored: each level keeps its real nodes and the filler's hash at its height.

use crate::digest::{B256, hash, hash_parts};

/// Greatest depth of a tree: indices are below 2^32.
pub const MAX_DEPTH: u32 = 32;

/// A node over two children.
pub fn node(left: &B256, right: &B256) -> B256 {
    let mut bytes = [0u8; 64];
    bytes[..32].copy_from_slice(left.as_slice());
    bytes[32..].copy_from_slice(right.as_slice());
    hash(bytes)
}

/// Depth of a tree of `count` leaves: `ceil(log2(max(1, count)))`.
pub const fn depth(count: u64) -> u32 {
    if count <= 1 {
        0
    } else {
        u64::BITS - (count - 1).leading_zeros()
    }
}

/// Root of the tree over `leaves`, filled with zero leaves; of no leaves, zero.
pub fn root(leaves: &[B256]) -> B256 {
    MerkleTree::new(leaves.to_vec()).root()
}

/// Root that `leaf` at `index` and its siblings, from the leaf upward, lead to. `None` when the index has more bits than the
/// proof has siblings.
pub fn proof_root(leaf: &B256, index: u64, siblings: &[B256]) -> Option<B256> {
    if siblings.len() > MAX_DEPTH as usize || (index >> siblings.len()) != 0 {
        return None;
    }
    let mut current = *leaf;
    for (level, sibling) in siblings.iter().enumerate() {
        current = if (index >> level) & 1 == 0 {
            node(&current, sibling)
        } else {
            node(sibling, &current)
        };
    }
    Some(current)
}

/// Whether `leaf` stands at `index` of the tree of `count` leaves with this root. An index at or beyond `count`, or a proof of
/// another length than the depth, is refused.
pub fn verify(root: &B256, leaf: &B256, index: u64, count: u64, siblings: &[B256]) -> bool {
    index < count && siblings.len() == depth(count) as usize && proof_root(leaf, index, siblings) == Some(*root)
}

/// Number of siblings that open leaves `[lo, hi)` of a tree of this depth.
pub fn range_sibling_count(lo: u64, hi: u64, depth: u32) -> usize {
    let (mut lo, mut hi, mut count) = (lo, hi, 0);
    for _ in 0..depth {
        count += (lo & 1) as usize + (hi & 1) as usize;
        lo >>= 1;
        hi = hi.div_ceil(2);
    }
    count
}

/// Root that leaves `[lo, lo + leaves.len())` and the range's siblings lead to in a tree of this depth. `None` when the range is
/// empty or does not fit, or when there is a sibling more or fewer than the range needs. Reduces `leaves` in place.
pub fn range_root(leaves: &mut [B256], lo: u64, depth: u32, siblings: &[B256]) -> Option<B256> {
    let hi = lo.checked_add(leaves.len() as u64)?;
    if leaves.is_empty() || depth > MAX_DEPTH || hi > 1 << depth || siblings.len() != range_sibling_count(lo, hi, depth)
    {
        return None;
    }
    let (mut lo, mut width) = (lo, leaves.len());
    let mut rest = siblings.iter();
    for _ in 0..depth {
        let left = if lo & 1 == 1 { rest.next() } else { None };
        let right = if (lo + width as u64) & 1 == 1 {
            rest.next()
        } else {
            None
        };
        let mut read = 0;
        let mut write = 0;
        if let Some(sibling) = left {
            leaves[0] = node(sibling, &leaves[0]);
            read = 1;
            write = 1;
        }
        while read + 1 < width {
            leaves[write] = node(&leaves[read], &leaves[read + 1]);
            read += 2;
            write += 1;
        }
        if let Some(sibling) = right {
            leaves[write] = node(&leaves[read], sibling);
            write += 1;
        }
        lo >>= 1;
        width = write;
    }
    Some(leaves[0])
}

/// A tree that keeps its nodes, for proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleTree {
    /// Real nodes, leaves first; the last level is the root alone (empty when there are no leaves).
    levels: Vec<Vec<B256>>,
    /// The filler's hash at each height.
    fillers: Vec<B256>,
}

impl MerkleTree {
    /// Tree filled with zero leaves, as for plans, weights, traces and layers.
    pub fn new(leaves: Vec<B256>) -> Self {
        Self::with_filler(leaves, B256::ZERO)
    }

    /// Tree filled with `filler` leaves.
    pub fn with_filler(leaves: Vec<B256>, filler: B256) -> Self {
        let depth = depth(leaves.len() as u64);
        let mut levels = Vec::with_capacity(depth as usize + 1);
        let mut fillers = vec![filler];
        levels.push(leaves);
        for height in 0..depth as usize {
            let below = &levels[height];
            let pad = fillers[height];
            let above = below
                .chunks(2)
                .map(|pair| node(&pair[0], pair.get(1).unwrap_or(&pad)))
                .collect();
            levels.push(above);
            fillers.push(hash_parts(&[pad.as_slice(), pad.as_slice()]));
        }
        Self { levels, fillers }
    }

    /// Number of leaves, fillers not counted.
    pub fn len(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// Whether the tree has no leaves.
    pub fn is_empty(&self) -> bool {
        self.levels[0].is_empty()
    }

    /// Levels above the leaves.
    pub fn depth(&self) -> u32 {
        (self.levels.len() - 1) as u32
    }

    /// The leaves in order.
    pub fn leaves(&self) -> &[B256] {
        &self.levels[0]
    }

    /// The root; of no leaves, the filler.
    pub fn root(&self) -> B256 {
        self.levels
            .last()
            .and_then(|level| level.first())
            .copied()
            .unwrap_or(self.fillers[0])
    }

    /// Node number `index` at `height` above the leaves, fillers included; `None` beyond the tree.
    pub fn node_at(&self, height: u32, index: u64) -> Option<B256> {
        let depth = self.depth();
        if height > depth || index >> (depth - height) != 0 {
            return None;
        }
        let (level, filler) = (&self.levels[height as usize], self.fillers[height as usize]);
        Some(level.get(usize::try_from(index).ok()?).copied().unwrap_or(filler))
    }

    /// Siblings of leaf `index`, from the leaf upward; `None` at or beyond [`MerkleTree::len`].
    pub fn proof(&self, index: u64) -> Option<Vec<B256>> {
        if index >= self.len() {
            return None;
        }
        (0..self.depth())
            .map(|height| self.node_at(height, (index >> height) ^ 1))
            .collect()
    }

    /// Siblings that open leaves `[lo, hi)`; `None` for an empty range or one beyond the tree. Fillers may be opened.
    pub fn range_siblings(&self, lo: u64, hi: u64) -> Option<Vec<B256>> {
        if lo >= hi || hi > 1 << self.depth() {
            return None;
        }
        let (mut lo, mut hi) = (lo, hi);
        let mut siblings = Vec::new();
        for height in 0..self.depth() {
            if lo & 1 == 1 {
                siblings.push(self.node_at(height, lo - 1)?);
            }
            if hi & 1 == 1 {
                siblings.push(self.node_at(height, hi)?);
            }
            lo >>= 1;
            hi = hi.div_ceil(2);
        }
        Some(siblings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<B256> {
        (0..count).map(|i| hash(i.to_be_bytes())).collect()
    }

    /// The definition, by recursion over the padded list.
    fn plain_root(leaves: &[B256], filler: B256) -> B256 {
        let size = leaves.len().max(1).next_power_of_two();
        let mut level: Vec<B256> = leaves.to_vec();
        level.resize(size, filler);
        while level.len() > 1 {
            level = level.chunks(2).map(|p| node(&p[0], &p[1])).collect();
        }
        level[0]
    }

    #[test]
    fn depth_is_the_ceiling_of_the_logarithm() {
        let expect = [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 20, 20),
            ((1 << 20) + 1, 21),
        ];
        for (count, d) in expect {
            assert_eq!(depth(count), d, "{count}");
        }
    }

    #[test]
    fn roots_follow_the_definition() {
        for count in 0..=33 {
            for filler in [B256::ZERO, hash(b"filler")] {
                let tree = MerkleTree::with_filler(leaves(count), filler);
                assert_eq!(tree.root(), plain_root(&leaves(count), filler), "{count}");
            }
        }
        assert_eq!(root(&[]), B256::ZERO);
    }

    #[test]
    fn proofs_bind_position_and_count() {
        for count in 1..=17 {
            // All leaves zero too: content is never a flag.
            for leaves in [leaves(count), vec![B256::ZERO; count as usize]] {
                let tree = MerkleTree::new(leaves.clone());
                let root = tree.root();
                for (index, leaf) in leaves.iter().enumerate() {
                    let index = index as u64;
                    let proof = tree.proof(index).unwrap();
                    assert!(verify(&root, leaf, index, count, &proof));
                    assert!(!verify(&root, leaf, index + (1 << proof.len()), count, &proof));
                    assert!(!verify(&root, &hash(b"other"), index, count, &proof));
                    let mut longer = proof.clone();
                    longer.push(B256::ZERO);
                    assert!(!verify(&root, leaf, index, count, &longer));
                    if !proof.is_empty() {
                        assert!(!verify(&root, leaf, index, count, &proof[1..]));
                        if !leaf.is_zero() && (index ^ 1) < count {
                            assert!(!verify(&root, leaf, index ^ 1, count, &proof));
                        }
                    }
                }
                assert_eq!(tree.proof(count), None);
            }
        }
    }

    #[test]
    fn a_filler_is_not_a_leaf() {
        let tree = MerkleTree::new(leaves(3));
        let siblings = vec![tree.node_at(0, 2).unwrap(), tree.node_at(1, 0).unwrap()];
        assert_eq!(proof_root(&B256::ZERO, 3, &siblings), Some(tree.root()));
        assert!(!verify(&tree.root(), &B256::ZERO, 3, 3, &siblings));
    }

    #[test]
    fn ranges_open_to_the_root_with_no_sibling_more_or_fewer() {
        for count in 1..=20u64 {
            let tree = MerkleTree::with_filler(leaves(count), hash(b"filler"));
            let d = tree.depth();
            for lo in 0..count {
                for hi in lo + 1..=count {
                    let siblings = tree.range_siblings(lo, hi).unwrap();
                    assert_eq!(siblings.len(), range_sibling_count(lo, hi, d));
                    let open = tree.leaves()[lo as usize..hi as usize].to_vec();
                    assert_eq!(
                        range_root(&mut open.clone(), lo, d, &siblings),
                        Some(tree.root()),
                        "{count} {lo} {hi}"
                    );
                    let mut more = siblings.clone();
                    more.push(B256::ZERO);
                    assert_eq!(range_root(&mut open.clone(), lo, d, &more), None);
                    if !siblings.is_empty() {
                        assert_eq!(range_root(&mut open.clone(), lo, d, &siblings[1..]), None);
                    }
                    let mut wrong = open.clone();
                    wrong[0] = B256::ZERO;
                    assert_ne!(range_root(&mut wrong, lo, d, &siblings), Some(tree.root()));
                    if hi < count {
                        assert_ne!(range_root(&mut open.clone(), lo + 1, d, &siblings), Some(tree.root()));
                    }
                }
            }
            assert_eq!(tree.range_siblings(0, (1 << d) + 1), None);
            assert_eq!(tree.range_siblings(1, 1), None);
        }
    }
}
