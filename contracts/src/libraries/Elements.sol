// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Tensor} from "./Tensor.sol";

/// @title Elements of opened tensors
/// @notice An opened tensor is a *base*: the memory address at which its element 0 would lie. Elements of four bytes have been turned
/// from little to big endian when they were opened; bits are a number in the low end of a word.
library Elements {
    /// @notice Bits of element `offset`, which has been opened.
    function read(uint256 base, uint256 dtype, uint256 offset) internal pure returns (uint256 bits) {
        assembly ("memory-safe") {
            switch dtype
            case 1 { bits := shr(224, mload(add(base, shl(2, offset)))) }
            case 6 { bits := shr(224, mload(add(base, shl(2, offset)))) }
            case 7 {
                bits := shr(192, mload(add(base, shl(3, offset))))
                bits := or(shl(8, and(bits, 0x00ff00ff00ff00ff)), and(shr(8, bits), 0x00ff00ff00ff00ff))
                bits := or(shl(16, and(bits, 0x0000ffff0000ffff)), and(shr(16, bits), 0x0000ffff0000ffff))
                bits := or(shl(32, and(bits, 0xffffffff)), shr(32, bits))
            }
            case 2 { bits := shr(248, mload(add(base, offset))) }
            case 9 { bits := shr(248, mload(add(base, offset))) }
            default {
                bits := mload(add(base, shl(1, offset)))
                bits := or(byte(0, bits), shl(8, byte(1, bits)))
            }
        }
    }

    /// @notice The value of an integer, u8 or bool element.
    function integer(uint256 dtype, uint256 bits) internal pure returns (int256) {
        if (dtype == Tensor.I32) return int32(uint32(bits));
        return dtype == Tensor.I64 ? int64(uint64(bits)) : int256(bits);
    }

    /// @notice Turns the elements of four bytes in `[from, to)`, whole chunks, from little to big endian.
    function swap(uint256 from, uint256 to) internal pure {
        assembly ("memory-safe") {
            let bytes_ := 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff
            let pairs := 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff
            // Two words a round: the round itself is a quarter of what a word costs.
            for {} lt(from, to) {} {
                let w := mload(from)
                w := or(shl(8, and(w, bytes_)), and(shr(8, w), bytes_))
                mstore(from, or(shl(16, and(w, pairs)), and(shr(16, w), pairs)))
                from := add(from, 32)
                w := mload(from)
                w := or(shl(8, and(w, bytes_)), and(shr(8, w), bytes_))
                mstore(from, or(shl(16, and(w, pairs)), and(shr(16, w), pairs)))
                from := add(from, 32)
            }
        }
    }
}
