// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Numerics profiles
/// @notice A word `u8 kind ‖ u8 flags ‖ u16 block ‖ u8 k_rel ‖ u8 k_abs ‖ u16 0` says how an engine may compute and with what
/// constants it is judged (PROTOCOL.md section 4). Mirrors `crates/protocol/src/profile.rs`.
library Profile {
    uint256 private constant FAST = 0;
    uint256 private constant BLOCKED = 1;
    uint256 private constant WIDE = 2;
    uint256 private constant TENSOR = 3;
    /// @notice Formats of factors, the flags of kind 3.
    uint256 internal constant TF32 = 1;
    uint256 internal constant BF16 = 2;
    uint256 internal constant FP16 = 3;
    /// @dev All but kind, flags and block: k_rel 8, k_abs 4.
    uint256 private constant REST = 0xffffffff;
    uint256 private constant CONSTANTS = 0x08040000;
    uint256 private constant LEAST_BLOCK = 16;
    uint256 private constant GREATEST_BLOCK = 1 << 15;

    /// @notice Whether the word is a profile's: there is one word for each.
    function isKnown(uint64 word) internal pure returns (bool) {
        if (word & REST != CONSTANTS) return false;
        uint256 kind = word >> 56;
        uint256 block_ = _block(word);
        uint256 flags = format(word);
        if (kind == TENSOR) return flags >= TF32 && flags <= FP16 && block_ == 0;
        if (flags != 0) return false;
        if (kind != BLOCKED) return (kind == FAST || kind == WIDE) && block_ == 0;
        unchecked {
            return block_ >= LEAST_BLOCK && block_ <= GREATEST_BLOCK && block_ & (block_ - 1) == 0;
        }
    }

    /// @notice Whether operators are computed in binary64 and rounded to fp32 once: a result stands for its rounding cell, and nothing
    /// overflows or underflows before.
    function isWide(uint256 word) internal pure returns (bool) {
        return word >> 56 == WIDE;
    }

    /// @notice −log2 of u, the relative error of one rounding inside an operator.
    function precision(uint256 word) internal pure returns (uint256) {
        return isWide(word) ? 53 : 24;
    }

    /// @notice What the factors of contractions may be rounded to; 0: nothing.
    function format(uint256 word) internal pure returns (uint256) {
        return (word >> 48) & 0xff;
    }

    /// @notice Half the relative error of a library function, in u.
    function kRel(uint256 word) internal pure returns (uint256) {
        return (word >> 24) & 0xff;
    }

    /// @notice Absolute error of a library function, in u times the scale of the function.
    function kAbs(uint256 word) internal pure returns (uint256) {
        return (word >> 16) & 0xff;
    }

    /// @notice How many operations a term passes at most on its way through a sum, its own product or first addition included.
    /// `counted` of the operator's `terms` terms are in bounds; blocks are made of all of them.
    function way(uint256 word, uint256 counted, uint256 terms) internal pure returns (uint256) {
        uint256 size = _block(word);
        if (size == 0) return counted;
        unchecked {
            uint256 blocked = size + (terms + size - 1) / size;
            return blocked < counted ? blocked : counted;
        }
    }

    function _block(uint256 word) private pure returns (uint256) {
        return (word >> 32) & 0xffff;
    }
}
