// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fp32} from "./Fp32.sol";
import {Profile} from "./Profile.sol";
import {Wide, WideMath} from "./Wide.sol";

/// @notice The sums that only the rounding of factors asks for.
struct Rounded {
    /// Memory address of eight words: the lanes of R, then those of L, as `Sums` has them.
    uint256 lanes;
    /// log2 of 2ρ in units of 2^-23; 0 where factors are not rounded.
    uint256 rounding;
    /// The format's least normal number.
    uint256 least;
    /// The least number that the format rounds to infinity.
    uint256 overflow;
    /// log2 of ω in units of 2^-300.
    uint256 floor;
    /// How many terms may be +∞, −∞ because a factor is rounded to infinity.
    uint256 plus;
    uint256 minus;
    /// How many terms, or factors beside padding, may be NaN for the same reason, or because the factor of an infinity is flushed to 0.
    uint256 nan;
}

/// @title Contractions whose factors may be rounded to a format of tensor cores, and whose sums may be made by them
/// @notice Mirrors `crates/protocol/src/leaf/rounded.rs`, which explains the rule.
library RoundedMath {
    /// @notice −log2 of what truncating one term of a fused sum, or its result, may cost.
    uint256 internal constant PRECISION = 23;
    /// Products in a fused sum, at least.
    uint256 private constant GROUP = 4;
    /// Roundings to the floor, for each product and addend.
    uint256 private constant FLOORS = 4;

    function begin(Rounded memory r, uint256 format) internal pure {
        if (format == Profile.TF32) (r.rounding, r.least, r.overflow, r.floor) = (14, 0x00800000, 0x7f7ff000, 174);
        else if (format == Profile.BF16) (r.rounding, r.least, r.overflow, r.floor) = (16, 0x00800000, 0x7f7f8000, 174);
        else (r.rounding, r.least, r.overflow, r.floor) = (13, 0x38800000, 0x477ff000, 250);
        uint256 lanes;
        assembly ("memory-safe") {
            lanes := mload(0x40)
            mstore(0x40, add(lanes, 256))
            calldatacopy(lanes, calldatasize(), 256)
        }
        r.lanes = lanes;
    }

    /// @notice Takes in the factors of `count` products, laid out as for `SumsMath.products`.
    function products(Rounded memory r, uint256 a, uint256 b, uint256 strideA, uint256 strideB, uint256 count)
        internal
        pure
    {
        uint256 lanes = r.lanes;
        uint256 least = r.least;
        uint256 limit = r.overflow - 1;
        // log2 of 1/2ρ.
        uint256 lost = PRECISION - r.rounding;
        uint256 special = 0;
        assembly ("memory-safe") {
            function add_(lanes_, x, y, weight) {
                let e := shr(23, x)
                let f := shr(23, y)
                let m := mul(or(and(x, 0x7fffff), shl(23, gt(e, 0))), or(and(y, 0x7fffff), shl(23, gt(f, 0))))
                e := add(add(e, iszero(e)), add(f, iszero(f)))
                let lane := add(lanes_, and(shr(2, e), 0x60))
                mstore(lane, add(mload(lane), shl(and(e, 127), mul(m, weight))))
            }
            let from := a
            let other := b
            for { let left := count } left { left := sub(left, 1) } {
                let x := and(shr(224, mload(from)), 0x7fffffff)
                let y := and(shr(224, mload(other)), 0x7fffffff)
                from := add(from, strideA)
                other := add(other, strideB)
                if or(gt(x, limit), gt(y, limit)) {
                    special := 1
                    if or(gt(x, 0x7f7fffff), gt(y, 0x7f7fffff)) { continue }
                }
                let small := or(lt(x, least), lt(y, least))
                add_(lanes, x, y, add(1, mul(small, shl(lost, 1))))
                if small {
                    if lt(x, least) { x := least }
                    if lt(y, least) { y := least }
                    add_(add(lanes, 128), x, y, 2)
                }
            }
        }
        if (special == 0) return;
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                _special(r, _load(a + i * strideA), _load(b + i * strideB));
            }
        }
    }

    /// @notice Takes in a factor whose partner is out of bounds, where an engine may put 0.
    function unpaired(Rounded memory r, uint256 x) internal pure {
        x &= Fp32.MAGNITUDE;
        if (x >= r.overflow) ++r.nan;
        if (!Fp32.isFinite(x)) return;
        unchecked {
            (uint256 ex, uint256 mx) = Fp32.parts(x < r.least ? r.least : x);
            (uint256 ey, uint256 my) = Fp32.parts(r.least);
            uint256 lane = r.lanes + 128 + 32 * ((ex + ey) >> 7);
            uint256 product = (2 * mx * my) << ((ex + ey) & 127);
            assembly ("memory-safe") {
                mstore(lane, add(mload(lane), product))
            }
        }
    }

    /// @notice q, and the right side of the rule, of a contraction whose terms' magnitudes add up to `magnitude`.
    /// @param terms of the operator, in bounds or not.
    function bound(Rounded memory r, uint256 products_, uint256 values_, uint256 terms, Wide memory magnitude)
        internal
        pure
        returns (uint256 roundings, Wide memory most)
    {
        unchecked {
            uint256 groups = (terms + GROUP - 1) / GROUP;
            groups = (products_ < groups ? products_ : groups) + values_;
            roundings = products_ + values_ + 2 * groups;
            most = WideMath.times(WideMath.add(magnitude, WideMath.fromLanes(r.lanes + 128)), roundings);
            most = WideMath.add(most, WideMath.times(WideMath.fromLanes(r.lanes), 1 << r.rounding));
            most = WideMath.add(most, WideMath.shifted(FLOORS * (products_ + values_), PRECISION + r.floor));
        }
    }

    /// @dev A factor that may be infinite.
    function _special(Rounded memory r, uint256 a, uint256 b) private pure {
        uint256 x = a & Fp32.MAGNITUDE;
        uint256 y = b & Fp32.MAGNITUDE;
        if (x < r.overflow && y < r.overflow) return;
        if (x < r.least || y < r.least) ++r.nan;
        if (x == 0 || y == 0) return;
        if ((a ^ b) >> 31 == 0) ++r.plus;
        else ++r.minus;
    }

    function _load(uint256 from) private pure returns (uint256 x) {
        assembly ("memory-safe") {
            x := shr(224, mload(from))
        }
    }
}
