// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fp32} from "./Fp32.sol";
import {Tensor} from "./Tensor.sol";

/// @title IEEE-754 binary16 and bfloat16 on bit patterns, by way of binary32
/// @notice Every number of either format is one of binary32; mirrors `crates/protocol/src/half.rs`, which says why what is computed there
/// and rounded once more is rounded right. A format is its dtype; elements of other dtypes stay what they are.
library Half {
    /// @notice The binary32 number that the element is; a NaN keeps its sign and payload.
    function decode(uint256 dtype, uint256 bits) internal pure returns (uint256) {
        unchecked {
            if (!Tensor.isHalf(dtype)) return bits;
            (uint256 fraction, uint256 least) = _format(dtype);
            uint256 sign = (bits & 0x8000) << 16;
            uint256 exponent = (bits & 0x7fff) >> fraction;
            uint256 significand = bits & ((1 << fraction) - 1);
            if (exponent == 0x7fff >> fraction) return sign | Fp32.INFINITY | (significand << (23 - fraction));
            if (exponent == 0) exponent = 1;
            else significand |= 1 << fraction;
            return Fp32.round(sign, significand, int256(exponent + least) - int256(128 + fraction), false);
        }
    }

    /// @notice The number of the format that is nearest to a binary32 number, ties to even; NaN gives the format's quiet NaN.
    function encode(uint256 dtype, uint256 x) internal pure returns (uint256) {
        unchecked {
            if (!Tensor.isHalf(dtype)) return x;
            (uint256 fraction, uint256 least) = _format(dtype);
            uint256 infinity = (0x7fff >> fraction) << fraction;
            if (Fp32.isNan(x)) return infinity | (1 << (fraction - 1));
            (uint256 exponent, uint256 significand) = Fp32.parts(x);
            // A number below the format's normal ones loses as many bits more.
            uint256 shift = 23 - fraction;
            if (exponent < least) (shift, exponent) = (shift + least - exponent, least);
            uint256 rest = significand & ((1 << shift) - 1);
            uint256 half = 1 << (shift - 1);
            significand >>= shift;
            if (rest > half || (rest == half && significand & 1 == 1)) ++significand;
            // A significand that rounds up to a power of two carries into the exponent, and from the greatest number to infinity.
            uint256 bits = ((exponent - least) << fraction) + significand;
            return ((x & Fp32.SIGN) >> 16) | (bits > infinity ? infinity : bits);
        }
    }

    /// @dev Bits of the fraction, and the exponent that the least normal number has as binary32.
    function _format(uint256 dtype) private pure returns (uint256 fraction, uint256 least) {
        return dtype == Tensor.F16 ? (10, 113) : (7, 1);
    }
}
