// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Position-bound binary keccak trees
/// @notice PROTOCOL.md section 2, *Tree* and *Range opening*; mirrors `crates/protocol/src/merkle.rs`.
/// Siblings are read from calldata, 32 bytes each, lowest first, from a position that the caller has checked to be inside.
library Merkle {
    /// @notice Levels above the leaves of a tree of `count` leaves: `ceil(log2(max(1, count)))`.
    function depth(uint256 count) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            if gt(count, 1) { result := sub(256, clz(sub(count, 1))) }
        }
    }

    /// @notice A node over two children.
    function node(bytes32 left, bytes32 right) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0, left)
            mstore(32, right)
            result := keccak256(0, 64)
        }
    }

    /// @notice Root of the tree over `leaves`, filled with zero leaves; of no leaves, zero.
    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        uint256 width = leaves.length;
        if (width == 0) return 0;
        bytes32[] memory level = new bytes32[](width);
        for (uint256 i = 0; i < width; ++i) {
            level[i] = leaves[i];
        }
        bytes32 filler = 0;
        while (width > 1) {
            for (uint256 i = 0; i < width; i += 2) {
                level[i / 2] = node(level[i], i + 1 < width ? level[i + 1] : filler);
            }
            width = (width + 1) / 2;
            filler = node(filler, filler);
        }
        return level[0];
    }

    /// @notice Root that `leaf` at `index` and `levels` siblings at calldata position `from` lead to. Bits of the index above the
    /// siblings are not looked at: compare the index with the count first.
    function proofRoot(bytes32 leaf, uint256 index, uint256 from, uint256 levels)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            result := leaf
            for { let end := add(from, shl(5, levels)) } lt(from, end) { from := add(from, 32) } {
                // The node goes to word 0 or 1 as the index's bit says, the sibling to the other.
                let side := shl(5, and(index, 1))
                mstore(side, result)
                mstore(xor(side, 32), calldataload(from))
                result := keccak256(0, 64)
                index := shr(1, index)
            }
        }
    }

    /// @notice Whether `leaf` stands at `index` of the tree of `count` leaves with this root. An index at or beyond `count`, or a
    /// proof of another length than the depth, is refused.
    function verify(bytes32 root_, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata siblings)
        internal
        pure
        returns (bool)
    {
        if (index >= count || siblings.length != depth(count)) return false;
        uint256 from;
        assembly ("memory-safe") {
            from := siblings.offset
        }
        return proofRoot(leaf, index, from, siblings.length) == root_;
    }

    /// @notice Number of siblings that open leaves `[lo, hi)` of a tree of this depth.
    function rangeSiblingCount(uint256 lo, uint256 hi, uint256 depth_) internal pure returns (uint256 count) {
        unchecked {
            for (uint256 level = 0; level < depth_; ++level) {
                count += (lo & 1) + (hi & 1);
                lo >>= 1;
                hi = (hi + 1) >> 1;
            }
        }
    }

    /// @notice Root that leaves `[lo, lo + width)`, words in memory at `leaves`, and the range's siblings at calldata position `from`
    /// lead to in a tree of this depth. The caller has checked `0 < width` and `lo + width <= 2^depth`. Overwrites the leaves.
    function rangeRoot(uint256 leaves, uint256 lo, uint256 width, uint256 depth_, uint256 from)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            for { let level := 0 } lt(level, depth_) { level := add(level, 1) } {
                let left := and(lo, 1)
                let right := and(add(lo, width), 1)
                let read := leaves
                let write := leaves
                let end := add(leaves, shl(5, width))
                if left {
                    mstore(0, calldataload(from))
                    mstore(32, mload(read))
                    from := add(from, 32)
                    mstore(write, keccak256(0, 64))
                    read := add(read, 32)
                    write := add(write, 32)
                }
                for {} lt(add(read, 32), end) { read := add(read, 64) } {
                    mstore(write, keccak256(read, 64))
                    write := add(write, 32)
                }
                if right {
                    mstore(0, mload(read))
                    mstore(32, calldataload(from))
                    from := add(from, 32)
                    mstore(write, keccak256(0, 64))
                    write := add(write, 32)
                }
                lo := shr(1, lo)
                width := shr(5, sub(write, leaves))
            }
            result := mload(leaves)
        }
    }
}
