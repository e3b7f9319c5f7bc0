// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elements} from "../libraries/Elements.sol";
import {IndexMap} from "../libraries/IndexMap.sol";
import {Sums, SumsMath} from "../libraries/Sums.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {Operator} from "../types/Operator.sol";

/// @title Sums of products with addends
/// @notice Reads the terms; mirrors `contract` in `crates/protocol/src/judge.rs`. Terms count where both factors are in bounds.
library Contraction {
    /// @dev Terms `[from, to)`, and the term that the present run begins at.
    struct Range {
        uint256 from;
        uint256 to;
        uint256 begin;
    }

    /// @param index over output axes, then reduction axes.
    /// @param bases of the operands, see `Elements`.
    /// @param y the committed element.
    function check(Operator memory o, uint256 profile, uint256[] memory index, uint256[] memory bases, uint256 y)
        internal
        pure
        returns (bool)
    {
        Sums memory sums = SumsMath.begin(profile);
        uint256 products_ = products(o, sums, index, bases, 0, o.terms);
        uint256 values = addends(o, sums, index, bases);
        return SumsMath.checkContraction(sums, profile, o.terms, products_, values, y);
    }

    /// @notice Adds the products of the terms `[from, to)`; how many are in bounds.
    function products(
        Operator memory o,
        Sums memory sums,
        uint256[] memory index,
        uint256[] memory bases,
        uint256 from,
        uint256 to
    ) internal pure returns (uint256 count) {
        if (from >= to) return 0;
        Range memory range = Range(from, to, IndexMap.seek(index, o.reductionAxes, from));
        uint256 length = IndexMap.lastLength(o.reductionAxes);
        unchecked {
            do {
                count += _run(o, sums, index, bases, range, length);
                range.begin += length;
            } while (range.begin < to && IndexMap.next(index, o.reductionAxes));
        }
    }

    /// @notice Adds the addends; how many are in bounds.
    function addends(Operator memory o, Sums memory sums, uint256[] memory index, uint256[] memory bases)
        internal
        pure
        returns (uint256 count)
    {
        unchecked {
            for (uint256 i = 2; i < o.operands.length; ++i) {
                IndexMap.Run memory r = IndexMap.run(o.operands[i], index, index.length, 1);
                if (r.hi == 0) continue;
                SumsMath.value(sums, Elements.read(bases[i], Tensor.F32, r.first));
                ++count;
            }
        }
    }

    function _run(
        Operator memory o,
        Sums memory sums,
        uint256[] memory index,
        uint256[] memory bases,
        Range memory range,
        uint256 length
    ) private pure returns (uint256) {
        uint256 last = IndexMap.lastAxis(index, o.reductionAxes);
        IndexMap.Run memory a = IndexMap.run(o.operands[0], index, last, length);
        IndexMap.Run memory b = IndexMap.run(o.operands[1], index, last, length);
        IndexMap.clip(a, range.begin, range.from, range.to);
        IndexMap.clip(b, range.begin, range.from, range.to);
        uint256 lo = a.lo > b.lo ? a.lo : b.lo;
        uint256 hi = a.hi < b.hi ? a.hi : b.hi;
        _unpaired(sums, a, bases[0], lo, hi);
        _unpaired(sums, b, bases[1], lo, hi);
        if (lo >= hi) return 0;
        unchecked {
            SumsMath.products(
                sums,
                bases[0] + 4 * (a.first + uint256(a.stride) * (lo - a.lo)),
                bases[1] + 4 * (b.first + uint256(b.stride) * (lo - b.lo)),
                4 * uint256(a.stride),
                4 * uint256(b.stride),
                hi - lo
            );
            return hi - lo;
        }
    }

    /// @dev Notes factors in bounds whose partner, outside `[lo, hi)`, is not: they may have met a padding zero.
    function _unpaired(Sums memory sums, IndexMap.Run memory r, uint256 base, uint256 lo, uint256 hi) private pure {
        if (r.lo == lo && r.hi == hi) return;
        unchecked {
            for (uint256 i = r.lo; i < r.hi; ++i) {
                if (i >= lo && i < hi) continue;
                uint256 x = Elements.read(base, Tensor.F32, r.first + uint256(r.stride) * (i - r.lo));
                SumsMath.unpaired(sums, x);
            }
        }
    }
}
