// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";

/// @title Tensors as they are committed
/// @notice PROTOCOL.md section 2, *Tensor*; mirrors `crates/protocol/src/tensor.rs`.
library Tensor {
    /// Bytes a chunk holds.
    uint256 internal constant CHUNK = 256;
    /// Greatest size of a tensor in bytes.
    uint256 internal constant MAX_BYTES = 1 << 31;
    bytes32 internal constant TAG = keccak256("touchstone.tensor.1");

    uint256 internal constant F32 = 1;
    uint256 internal constant U8 = 2;
    uint256 internal constant I32 = 6;
    uint256 internal constant I64 = 7;
    uint256 internal constant BOOL = 9;
    uint256 internal constant F16 = 10;
    uint256 internal constant BF16 = 16;

    /// @notice Bytes of one element; 0 for a number that is no dtype.
    function sizeOf(uint256 dtype) internal pure returns (uint256) {
        if (dtype == F32 || dtype == I32) return 4;
        if (dtype == U8 || dtype == BOOL) return 1;
        if (isHalf(dtype)) return 2;
        return dtype == I64 ? 8 : 0;
    }

    /// @notice Whether this is one of the formats of two bytes.
    function isHalf(uint256 dtype) internal pure returns (bool) {
        return dtype == F16 || dtype == BF16;
    }

    /// @notice Chunks of a tensor of this many bytes: at least one.
    function chunkCount(uint256 bytes_) internal pure returns (uint256) {
        unchecked {
            return bytes_ <= CHUNK ? 1 : (bytes_ + CHUNK - 1) / CHUNK;
        }
    }

    /// @notice The commitment of a tensor.
    /// @param head `u8 dtype ‖ u8 rank ‖ u32 dim × rank`.
    function commitment(bytes memory head, bytes32 chunkRoot) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG, head, chunkRoot));
    }

    /// @notice Commitment of a whole tensor given in calldata, whose length the caller has held against its shape.
    function commit(bytes memory head, bytes calldata data) internal pure returns (bytes32) {
        return commitment(head, chunkRootOf(data));
    }

    /// @notice Root of the chunk tree over `data`.
    function chunkRootOf(bytes calldata data) internal pure returns (bytes32 root) {
        uint256 count = chunkCount(data.length);
        uint256 levels = Merkle.depth(count);
        assembly ("memory-safe") {
            // One chunk of scratch, then one word a chunk; nothing of it is kept.
            let scratch := mload(0x40)
            let leaves := add(scratch, 256)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                // Beyond its end calldatacopy gives zeros, but data may be followed by other calldata.
                let at := shl(8, i)
                let left := sub(data.length, at)
                if gt(left, 256) { left := 256 }
                calldatacopy(scratch, calldatasize(), 256)
                calldatacopy(scratch, add(data.offset, at), left)
                mstore(add(leaves, shl(5, i)), keccak256(scratch, 256))
            }
            calldatacopy(scratch, calldatasize(), 256)
            let filler := keccak256(scratch, 256)
            for {} levels { levels := sub(levels, 1) } {
                mstore(add(leaves, shl(5, count)), filler)
                count := shr(1, add(count, 1))
                for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                    mstore(add(leaves, shl(5, i)), keccak256(add(leaves, shl(6, i)), 64))
                }
                mstore(0, filler)
                mstore(32, filler)
                filler := keccak256(0, 64)
            }
            root := mload(leaves)
        }
    }
}
