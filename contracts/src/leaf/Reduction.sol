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
                    uint256 x = Elements.read(base, dtype, offset);
                    assembly ("memory-safe") {
                        mstore(add(add(list, 32), shl(5, from)), x)
                    }
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

    /// @dev The rank of −∞; the next one is the least finite number's.
    int256 private constant LEAST = -int256(Fp32.INFINITY);

    /// @dev A number that orders as an element does, zeros equal; of no use where it is a NaN.
    function _rank(uint256 dtype, uint256 x) private pure returns (int256) {
        unchecked {
            if (dtype != Tensor.F32) return Elements.integer(dtype, x);
            int256 magnitude = int256(x & Fp32.MAGNITUDE);
            return x & Fp32.SIGN == 0 ? magnitude : -magnitude;
        }
    }

    /// @dev The greatest rank of terms that are no NaN, below all ranks if there is none; the first place where it stands, or 0; and
    /// whether there is a NaN.
    function _greatest(uint256 dtype, uint256[] memory list)
        private
        pure
        returns (int256 greatest, uint256 place, bool nan)
    {
        greatest = type(int256).min;
        if (dtype != Tensor.F32) {
            uint256 top = dtype == Tensor.I32 ? 3 : 7;
            assembly ("memory-safe") {
                let end := add(list, shl(5, mload(list)))
                let found := add(list, 32)
                for { let slot := list } lt(slot, end) {} {
                    slot := add(slot, 32)
                    let rank := signextend(top, mload(slot))
                    if sgt(rank, greatest) {
                        greatest := rank
                        found := slot
                    }
                }
                place := shr(5, sub(sub(found, 32), list))
            }
            return (greatest, place, false);
        }
        assembly ("memory-safe") {
            let end := add(list, shl(5, mload(list)))
            let found := add(list, 32)
            for { let slot := list } lt(slot, end) {} {
                slot := add(slot, 32)
                // As `_rank`.
                let rank := mload(slot)
                let negative := sub(0, shr(31, rank))
                rank := and(rank, 0x7fffffff)
                if gt(rank, 0x7f800000) {
                    nan := 1
                    continue
                }
                rank := sub(xor(rank, negative), negative)
                if sgt(rank, greatest) {
                    greatest := rank
                    found := slot
                }
            }
            place := shr(5, sub(sub(found, 32), list))
        }
    }

    /// @notice The sign of zero is free. With a NaN among the terms NaN and all that is not above the maximum of the rest is
    /// admitted. The maximum of nothing is −∞; of nothing but −∞ the least finite number is admitted too.
    function maximum(uint256[] memory list, uint256 y) internal pure returns (bool) {
        unchecked {
            (int256 greatest,, bool nan) = _greatest(Tensor.F32, list);
            if (Fp32.isNan(y)) return nan;
            int256 rank = _rank(Tensor.F32, y);
            if (greatest > LEAST) return rank == greatest || (nan && rank < greatest);
            return rank == LEAST || rank == LEAST + 1;
        }
    }

    /// @notice Whether `y` is the position of the first greatest term (0 when there is none but NaN) or of any NaN.
    function argMaximum(uint256 dtype, uint256[] memory list, int256 y) internal pure returns (bool) {
        (, uint256 place, bool nan) = _greatest(dtype, list);
        if (y == int256(place)) return true;
        return nan && y >= 0 && uint256(y) < list.length && Fp32.isNan(list[uint256(y)]);
    }

    /// @notice How terms lie to the claimed maximum `y`: counts of terms above, equal, NaN, and neither NaN nor −∞, which add up over
    /// parts.
    function maximumCounts(uint256[] memory list, uint256 y) internal pure returns (uint256) {
        uint256 counts = 0;
        unchecked {
            // A NaN is nothing's equal.
            int256 claimed = Fp32.isNan(y) ? type(int256).max : _rank(Tensor.F32, y);
            for (uint256 i = 0; i < list.length; ++i) {
                uint256 x = list[i];
                if (Fp32.isNan(x)) {
                    counts += 1 << 64;
                    continue;
                }
                int256 rank = _rank(Tensor.F32, x);
                if (rank != LEAST) counts += 1 << 96;
                if (rank > claimed) ++counts;
                else if (rank == claimed) counts += 1 << 32;
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
            if (isNan(dtype, own)) return 0;
            int256 rank = _rank(dtype, own);
            bool float = dtype == Tensor.F32;
            for (uint256 i = 0; i < list.length; ++i) {
                uint256 x = list[i];
                if (float && Fp32.isNan(x)) continue;
                int256 position = int256(from + i);
                int256 other = _rank(dtype, x);
                if (position > y) {
                    if (other > rank) counts += 1 << 32;
                } else if (position < y && other >= rank) {
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
}
