// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fixed} from "./Fixed.sol";

/// @title Enclosures of the logarithm
/// @notice Mirrors `crates/protocol/src/enclosure/logarithm.rs`, step by step; the proofs of the errors stand there.
library Logarithm {
    uint256 private constant ONE = Fixed.ONE;
    /// @dev ⌊ln 2⌋ in Q128.
    int256 private constant LN2 = 235865763225513294137944142764154484399;
    uint256 private constant ROOT_TWO = 11863283;
    /// @notice Units of 2^-128 by which `ln` may be off, either way.
    uint256 internal constant LOG_ERROR = 256;
    /// @notice Units of 2^-96 by which `lnOnePlus` may be low.
    uint256 internal constant ONE_PLUS_ERROR = 128;

    /// @dev artanh z for z ≤ 1/3 with `q` fraction bits.
    function _artanh(uint256 z, uint256 q) private pure returns (uint256 sum) {
        assembly ("memory-safe") {
            let square := shr(q, mul(z, z))
            sum := z
            let odd := 3
            for {} z { odd := add(odd, 2) } {
                z := shr(q, mul(z, square))
                sum := add(sum, div(z, odd))
            }
        }
    }

    /// @notice ln of mantissa · 2^exponent > 0: whether it is negative, and its size in Q128.
    function ln(uint256 mantissa, int256 exponent) internal pure returns (bool negative, uint256 size) {
        unchecked {
            int256 shift = 24 - Fixed.bits(mantissa);
            mantissa <<= uint256(shift);
            bool half = mantissa > ROOT_TWO;
            uint256 unit = half ? 1 << 24 : 1 << 23;
            int256 k = exponent - shift + (half ? int256(24) : int256(23));
            uint256 difference = mantissa < unit ? unit - mantissa : mantissa - unit;
            int256 part = int256(_artanh((difference << 128) / (mantissa + unit), 128) << 1);
            int256 sum = k * LN2 + (mantissa < unit ? -part : part);
            negative = sum < 0;
            size = uint256(negative ? -sum : sum);
        }
    }

    /// @notice ln(1 + e) for 0 ≤ e ≤ 1 in Q96.
    function lnOnePlus(uint256 e) internal pure returns (uint256) {
        unchecked {
            return _artanh((e << 96) / ((ONE << 1) + e), 96) << 1;
        }
    }
}
