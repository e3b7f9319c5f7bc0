// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Numbers as mantissa · 2^exponent, and directed rounding between units
/// @notice Mirrors `crates/protocol/src/enclosure/fixed.rs`, which holds the proofs. A value in Q96 counts units of 2^-96. Shifts
/// round by name: `floor` toward zero, `ceil` away from it. Nothing here checks for overflow: callers bound their values.
library Fixed {
    /// @notice 1 in Q96.
    uint256 internal constant ONE = 1 << 96;
    /// @notice The least magnitude that rounds to infinity, 2^128 − 2^103 = `OVERFLOW · 2^103`.
    uint256 internal constant OVERFLOW = (1 << 25) - 1;
    int256 internal constant OVERFLOW_EXPONENT = 103;

    /// @notice A finite number as `± mantissa · 2^exponent`; bits of an infinity or NaN give what means nothing.
    function decode(uint256 x) internal pure returns (bool negative, uint256 mantissa, int256 exponent) {
        assembly ("memory-safe") {
            let e := and(shr(23, x), 0xff)
            mantissa := or(and(x, 0x7fffff), shl(23, iszero(iszero(e))))
            exponent := sub(add(e, iszero(e)), 150)
            negative := and(shr(31, x), 1)
        }
    }

    /// @notice By how much the reals that round to a magnitude may lie below and above it, in quarters of its last place; nothing unless
    /// `wide`, nothing for `OVERFLOW`.
    function cell(bool wide, uint256 mantissa, int256 exponent) internal pure returns (uint256 down, uint256 up) {
        if (!wide || mantissa == OVERFLOW) return (0, 0);
        return (mantissa == 1 << 23 && exponent > -149 ? 1 : 2, 2);
    }

    /// @notice |x| in Q96, rounded down.
    function magnitude(uint256 x) internal pure returns (uint256 r) {
        assembly ("memory-safe") {
            let e := and(shr(23, x), 0xff)
            let m := or(and(x, 0x7fffff), shl(23, iszero(iszero(e))))
            e := add(e, iszero(e))
            // One of the two shifts is by 2^256 less something, which gives 0, or both are by 0.
            r := or(shl(sub(e, 54), m), shr(sub(54, e), m))
        }
    }

    /// @notice `mantissa · 2^shift` rounded down.
    function floor(uint256 mantissa, int256 shift) internal pure returns (uint256 r) {
        assembly ("memory-safe") {
            // A negative count is beyond 255 as a word, and gives 0; at 0 both sides are the mantissa.
            r := or(shl(shift, mantissa), shr(sub(0, shift), mantissa))
        }
    }

    /// @notice `mantissa · 2^shift` rounded up.
    function ceil(uint256 mantissa, int256 shift) internal pure returns (uint256 r) {
        assembly ("memory-safe") {
            let down := shr(sub(0, shift), mantissa)
            r := or(shl(shift, mantissa), add(down, and(slt(shift, 0), lt(shl(sub(0, shift), down), mantissa))))
        }
    }

    /// @notice ⌈a / b⌉ for b > 0.
    function divUp(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            return (a + b - 1) / b;
        }
    }

    /// @notice Number of significant bits, 0 for 0.
    function bits(uint256 a) internal pure returns (int256 r) {
        assembly ("memory-safe") {
            r := sub(256, clz(a))
        }
    }

    /// @notice Whether `a · 2^x ≤ b · 2^y`, exactly.
    function atMost(uint256 a, int256 x, uint256 b, int256 y) internal pure returns (bool) {
        unchecked {
            if (a == 0 || b == 0) return a == 0;
            int256 topA = bits(a) + x;
            int256 topB = bits(b) + y;
            if (topA != topB) return topA < topB;
            return x >= y ? a << uint256(x - y) <= b : a <= b << uint256(y - x);
        }
    }

    /// @notice ⌊√a⌋.
    function sqrt(uint256 a) internal pure returns (uint256 x) {
        if (a == 0) return 0;
        assembly ("memory-safe") {
            x := shl(shr(1, sub(257, clz(a))), 1)
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := shr(1, add(x, div(a, x)))
            x := sub(x, gt(x, div(a, x)))
        }
    }
}
