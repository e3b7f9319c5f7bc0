// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elements} from "../libraries/Elements.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {IndexMap} from "../libraries/IndexMap.sol";
import {Parts} from "../libraries/Parts.sol";
import {Rules} from "../libraries/Rules.sol";
import {Sums, SumsMath} from "../libraries/Sums.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {Operator} from "../types/Operator.sol";

/// @title Sums, means and maxima over the terms of one operand
/// @notice Mirrors `crates/protocol/src/leaf/reduction.rs` and the sums of `contraction.rs`.
library Reduction {
    /// @notice Element bits of the in-bounds terms of operand 0 among `[from, to)`, in term order.
    function terms(Operator memory o, uint256[] memory index, uint256 base, uint256 from, uint256 to)
        internal
        pure
        returns (uint256[] memory list)
    {
        if (from >= to) return list;
        uint256 last = IndexMap.lastAxis(index, o.reductionAxes);
        uint256 length = IndexMap.lastLength(o.reductionAxes);
        uint256 count = 0;
        unchecked {
            list = new uint256[](to - from);
            uint256 begin = IndexMap.seek(index, o.reductionAxes, from);
            do {
                IndexMap.Run memory r = IndexMap.run(o.operands[0], index, last, length);
                IndexMap.clip(r, begin, from, to);
                if (r.lo < r.hi) {
                    _fill(list, count, count + r.hi - r.lo, base, o.operands[0].dtype, r.first, uint256(r.stride));
                    count += r.hi - r.lo;
                }
                begin += length;
            } while (begin < to && IndexMap.next(index, o.reductionAxes));
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    /// @dev Puts the elements at `offset`, `offset + stride` … into the places `[from, to)` of the list, which has them.
    function _fill(
        uint256[] memory list,
        uint256 from,
        uint256 to,
        uint256 base,
        uint256 dtype,
        uint256 offset,
        uint256 stride
    ) private pure {
        unchecked {
            if (Tensor.sizeOf(dtype) != 4) {
                for (; from < to; ++from) {
                    list[from] = Elements.read(base, dtype, offset);
                    offset += stride;
                }
                return;
            }
        }
        assembly ("memory-safe") {
            let source := add(base, shl(2, offset))
            let step := shl(2, stride)
            let end := add(list, shl(5, to))
            for { let slot := add(list, shl(5, from)) } lt(slot, end) {} {
                slot := add(slot, 32)
                mstore(slot, shr(224, mload(source)))
                source := add(source, step)
            }
        }
    }

    /// @param list element bits of the in-bounds terms.
    function check(Operator memory o, uint256 profile, uint256[] memory list, uint256 y) internal pure returns (bool) {
        if (o.code == Rules.MAX_POOL) return maximum(list, y);
        if (o.code == Rules.ARG_MAX) return argMaximum(o.operands[0].dtype, list, Elements.integer(o.dtype, y));
        Sums memory sums = SumsMath.empty();
        SumsMath.values(sums, list);
        if (o.code == Rules.SUM) return SumsMath.checkSum(sums, profile, o.terms, list.length, y);
        uint256 divisor = o.params[0] == 0 ? list.length : o.terms;
        return SumsMath.checkMean(sums, profile, o.terms, list.length, divisor, y);
    }

    /// @notice The sign of zero is free. With a NaN among the terms NaN and all that is not above the maximum of the rest is
    /// admitted. The maximum of nothing is −∞; of nothing but −∞ the least finite number is admitted too.
    function maximum(uint256[] memory list, uint256 y) internal pure returns (bool) {
        uint256 least = Fp32.SIGN | Fp32.INFINITY;
        uint256 greatest = least;
        bool nan = false;
        for (uint256 i = 0; i < list.length; ++i) {
            Fp32.Order order = Fp32.compare(list[i], greatest);
            if (order == Fp32.Order.Greater) greatest = list[i];
            else if (order == Fp32.Order.Unordered) nan = true;
        }
        bool nothing = greatest == least;
        if (nan || Fp32.isNan(y)) {
            return nan && Fp32.compare(y, nothing ? least - 1 : greatest) != Fp32.Order.Greater;
        }
        return Fp32.sameValue(y, greatest) || (nothing && y == least - 1);
    }

    /// @notice Whether `y` is the position of the first greatest term (0 when there is none but NaN) or of any NaN.
    function argMaximum(uint256 dtype, uint256[] memory list, int256 y) internal pure returns (bool) {
        uint256 position = 0;
        bool some = false;
        for (uint256 i = 0; i < list.length; ++i) {
            if (dtype == Tensor.F32) {
                if (Fp32.isNan(list[i])) {
                    if (y == int256(i)) return true;
                    continue;
                }
                if (some && Fp32.compare(list[i], list[position]) != Fp32.Order.Greater) continue;
            } else if (some && Elements.integer(dtype, list[i]) <= Elements.integer(dtype, list[position])) {
                continue;
            }
            (position, some) = (i, true);
        }
        return y == int256(position);
    }

    /// @notice How terms lie to the claimed maximum `y`: counts of terms above, equal, NaN, and neither NaN nor −∞, which add up over
    /// parts.
    function maximumCounts(uint256[] memory list, uint256 y) internal pure returns (uint256) {
        uint256 counts = 0;
        unchecked {
            for (uint256 i = 0; i < list.length; ++i) {
                uint256 x = list[i];
                if (Fp32.isNan(x)) {
                    counts += 1 << 64;
                    continue;
                }
                if (x != Fp32.SIGN | Fp32.INFINITY) counts += 1 << 96;
                Fp32.Order order = Fp32.compare(x, y);
                if (order == Fp32.Order.Greater) ++counts;
                else if (order == Fp32.Order.Equal) counts += 1 << 32;
            }
        }
        return counts;
    }

    /// @notice The rule of `maximum` on the counts of all terms: where there is more than −∞, `y` is above the greatest iff nothing is
    /// above or equal to it, and is the greatest iff something is equal and nothing above.
    function checkMaximum(uint256 counts, uint256 y) internal pure returns (bool) {
        uint256 above = Parts.field(counts, 0);
        uint256 equal = Parts.field(counts, 1);
        bool nan = Parts.field(counts, 2) != 0;
        bool nothing = Parts.field(counts, 3) == 0;
        uint256 least = Fp32.SIGN | Fp32.INFINITY;
        if (Fp32.isNan(y)) return nan;
        if (nan) return nothing ? Fp32.compare(y, least - 1) != Fp32.Order.Greater : above != 0 || equal != 0;
        return nothing ? y == least || y == least - 1 : above == 0 && equal != 0;
    }

    /// @notice How terms, the first of them at position `from`, lie to `own`, the one at the claimed position `y`: counts of terms before
    /// it that are not less, and of terms after it that are greater, which add up over parts.
    function argCounts(uint256 dtype, uint256[] memory list, uint256 from, int256 y, uint256 own)
        internal
        pure
        returns (uint256)
    {
        uint256 counts = 0;
        unchecked {
            for (uint256 i = 0; i < list.length; ++i) {
                int256 position = int256(from + i);
                if (position == y) continue;
                (bool greater, bool equal) = _order(dtype, list[i], own);
                if (position > y) {
                    if (greater) counts += 1 << 32;
                } else if (greater || equal) {
                    ++counts;
                }
            }
        }
        return counts;
    }

    /// @notice Whether an element is a NaN.
    function isNan(uint256 dtype, uint256 x) internal pure returns (bool) {
        return dtype == Tensor.F32 && Fp32.isNan(x);
    }

    function _order(uint256 dtype, uint256 x, uint256 own) private pure returns (bool greater, bool equal) {
        if (dtype == Tensor.F32) {
            Fp32.Order order = Fp32.compare(x, own);
            return (order == Fp32.Order.Greater, order == Fp32.Order.Equal);
        }
        (int256 a, int256 b) = (Elements.integer(dtype, x), Elements.integer(dtype, own));
        return (a > b, a == b);
    }
}
