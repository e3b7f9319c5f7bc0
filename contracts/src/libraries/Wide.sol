// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice An unsigned integer of 768 bits, `low + mid · 2^256 + high · 2^512`.
struct Wide {
    uint256 low;
    uint256 mid;
    uint256 high;
}

/// @title Integers of 768 bits
/// @notice Exact sums over the whole range of fp32 products, in units of 2^-300; mirrors `crates/protocol/src/wide.rs`.
/// Overflow wraps; callers stay far below it.
library WideMath {
    /// @notice `value · 2^shift` for `shift < 512`; what is beyond 768 bits is lost.
    function shifted(uint256 value, uint256 shift) internal pure returns (Wide memory r) {
        if (shift >= 256) {
            shift -= 256;
            r.mid = value << shift;
            r.high = value >> (256 - shift);
        } else {
            r.low = value << shift;
            r.mid = value >> (256 - shift);
        }
    }

    /// @notice Sum of `lanes[i] · 2^(128·i)` over four words in memory.
    function fromLanes(uint256 lanes) internal pure returns (Wide memory r) {
        assembly ("memory-safe") {
            let a := mload(lanes)
            let b := mload(add(lanes, 32))
            let c := mload(add(lanes, 64))
            let d := mload(add(lanes, 96))
            let low := add(a, shl(128, b))
            // No lane reaches 2^208, so neither sum carries but the first.
            let mid := add(add(c, shr(128, b)), lt(low, a))
            let sum := add(mid, shl(128, d))
            mstore(r, low)
            mstore(add(r, 32), sum)
            mstore(add(r, 64), add(shr(128, d), lt(sum, mid)))
        }
    }

    function add(Wide memory a, Wide memory b) internal pure returns (Wide memory r) {
        unchecked {
            r.low = a.low + b.low;
            uint256 carry = r.low < a.low ? 1 : 0;
            uint256 mid = a.mid + b.mid;
            r.high = a.high + b.high + (mid < a.mid ? 1 : 0);
            r.mid = mid + carry;
            if (r.mid < mid) ++r.high;
        }
    }

    /// @notice `|a − b|`.
    function distance(Wide memory a, Wide memory b) internal pure returns (Wide memory r) {
        if (less(a, b)) (a, b) = (b, a);
        unchecked {
            r.low = a.low - b.low;
            uint256 borrow = a.low < b.low ? 1 : 0;
            uint256 mid = a.mid - b.mid;
            r.high = a.high - b.high - (a.mid < b.mid ? 1 : 0);
            r.mid = mid - borrow;
            if (mid < borrow) --r.high;
        }
    }

    function times(Wide memory a, uint256 factor) internal pure returns (Wide memory r) {
        uint256 carry;
        (r.low, carry) = _multiply(a.low, factor, 0);
        (r.mid, carry) = _multiply(a.mid, factor, carry);
        (r.high,) = _multiply(a.high, factor, carry);
    }

    function less(Wide memory a, Wide memory b) internal pure returns (bool) {
        if (a.high != b.high) return a.high < b.high;
        if (a.mid != b.mid) return a.mid < b.mid;
        return a.low < b.low;
    }

    /// @dev `a · b + carry`, for `b` and `carry` below 2^128.
    function _multiply(uint256 a, uint256 b, uint256 carry) private pure returns (uint256 low, uint256 high) {
        assembly ("memory-safe") {
            let rest := mulmod(a, b, not(0))
            low := mul(a, b)
            high := sub(sub(rest, low), lt(rest, low))
            low := add(low, carry)
            high := add(high, lt(low, carry))
        }
    }
}
