// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bound, Operand} from "../types/Operator.sol";

/// @title Index maps
/// @notice Which element of an operand an output element and a term read (PROTOCOL.md section 3, *Index map*); mirrors
/// `crates/protocol/src/index.rs`. Nothing that a descriptor can say overflows a word, so arithmetic is unchecked.
library IndexMap {
    /// @notice The terms of one run along the last reduction axis that are in bounds, `[lo, hi)`, and where they lie.
    struct Run {
        uint256 lo;
        uint256 hi;
        /// Element offset of term `lo`.
        uint256 first;
        /// Elements from term to term.
        int256 stride;
        /// An in-bounds offset lies outside the operand: the descriptor has no meaning at this element.
        bool bad;
    }

    /// @notice Indices over output axes, of `element`, then over reduction axes, zeros.
    function unravel(uint256[] memory outputAxes, uint256 reductions, uint256 element)
        internal
        pure
        returns (uint256[] memory index)
    {
        unchecked {
            index = new uint256[](outputAxes.length + reductions);
            for (uint256 i = outputAxes.length; i != 0; --i) {
                // An element below the product of the axes: none of them is 0.
                index[i - 1] = element % outputAxes[i - 1];
                element /= outputAxes[i - 1];
            }
        }
    }

    /// @notice The run of `length` terms along axis `last`, at `index` of the others. For an operand that is read once an element,
    /// `last` is the number of axes and `length` 1: the run is empty when the operand is out of bounds.
    /// @dev `index[last]` is 0.
    function run(Operand memory operand, uint256[] memory index, uint256 last, uint256 length)
        internal
        pure
        returns (Run memory r)
    {
        unchecked {
            (int256 lo, int256 hi) = (0, int256(length));
            for (uint256 i = 0; i < operand.bounds.length; ++i) {
                (int256 from, int256 to) = _interval(operand.bounds[i], index, last, hi);
                if (from > lo) lo = from;
                if (to < hi) hi = to;
            }
            if (lo >= hi) return r;
            int256 start = operand.base;
            int256[] memory strides = operand.strides;
            assembly ("memory-safe") {
                let more := sub(index, strides)
                let end := add(strides, shl(5, mload(strides)))
                for { let at_ := strides } lt(at_, end) {} {
                    at_ := add(at_, 32)
                    start := add(start, mul(mload(at_), mload(add(at_, more))))
                }
            }
            if (last < strides.length) r.stride = strides[last];
            int256 first = start + r.stride * lo;
            int256 final_ = start + r.stride * (hi - 1);
            int256 elements = int256(operand.elements);
            r.bad = first < 0 || first >= elements || final_ < 0 || final_ >= elements;
            (r.lo, r.hi, r.first) = (uint256(lo), uint256(hi), uint256(first));
        }
    }

    /// @notice Least and greatest in-bounds offset over the terms `[from, to)`; `none` when none of them is in bounds. The runs that
    /// they lie in have a meaning as a whole, or none.
    function span(Operand memory operand, uint256[] memory index, uint256[] memory axes, uint256 from, uint256 to)
        internal
        pure
        returns (bool none, bool bad, uint256 least, uint256 greatest)
    {
        none = true;
        if (from >= to) return (none, bad, least, greatest);
        uint256 last = lastAxis(index, axes);
        uint256 length = lastLength(axes);
        unchecked {
            uint256 begin = seek(index, axes, from);
            do {
                Run memory r = run(operand, index, last, length);
                if (r.bad) bad = true;
                clip(r, begin, from, to);
                if (r.lo < r.hi) {
                    uint256 other = r.first + uint256(r.stride) * (r.hi - 1 - r.lo);
                    (uint256 a, uint256 b) = r.first < other ? (r.first, other) : (other, r.first);
                    if (none || a < least) least = a;
                    if (none || b > greatest) greatest = b;
                    none = false;
                }
                begin += length;
            } while (begin < to && next(index, axes));
        }
    }

    /// @notice Sets the reduction axes of `index` to the run that term `from` lies in; gives the first term of that run. Without terms
    /// there is no run: callers see to it.
    function seek(uint256[] memory index, uint256[] memory axes, uint256 from) internal pure returns (uint256 begin) {
        unchecked {
            uint256 length = lastLength(axes);
            uint256 rest = from / length;
            begin = rest * length;
            uint256 outputs = index.length - axes.length;
            for (uint256 i = axes.length; i > 1; --i) {
                index[outputs + i - 2] = rest % axes[i - 2];
                rest /= axes[i - 2];
            }
        }
    }

    /// @notice Leaves of a run that begins at term `begin` what lies in `[from, to)`; places still count in the run.
    function clip(Run memory r, uint256 begin, uint256 from, uint256 to) internal pure {
        unchecked {
            uint256 lo = from > begin ? from - begin : 0;
            if (lo > r.lo) {
                r.first += uint256(r.stride) * (lo - r.lo);
                r.lo = lo;
            }
            if (to - begin < r.hi) r.hi = to - begin;
        }
    }

    /// @notice Length of the last reduction axis.
    function lastLength(uint256[] memory axes) internal pure returns (uint256) {
        unchecked {
            return axes.length == 0 ? 1 : axes[axes.length - 1];
        }
    }

    /// @notice The place of the last reduction axis in `index`; its length where there is none.
    function lastAxis(uint256[] memory index, uint256[] memory axes) internal pure returns (uint256) {
        unchecked {
            return axes.length == 0 ? index.length : index.length - 1;
        }
    }

    /// @notice Steps to the next run: counts up the reduction axes but the last. False, with all of them 0 again, after the end.
    function next(uint256[] memory index, uint256[] memory axes) internal pure returns (bool) {
        unchecked {
            uint256 outputs = index.length - axes.length;
            for (uint256 i = axes.length; i > 1; --i) {
                uint256 place = outputs + i - 2;
                if (++index[place] < axes[i - 2]) return true;
                index[place] = 0;
            }
            return false;
        }
    }

    /// @dev The `i` with `0 ≤ first + i·step < extent`, as a half-open interval; of every `i`, `[0, length)`.
    function _interval(Bound memory bound, uint256[] memory index, uint256 last, int256 length)
        private
        pure
        returns (int256 from, int256 to)
    {
        unchecked {
            int256 first = bound.constant_;
            int256 step;
            for (uint256 i = 0; i < bound.axes.length; ++i) {
                uint256 axis = bound.axes[i];
                if (axis == last) step += bound.coefficients[i];
                else first += bound.coefficients[i] * int256(index[axis]);
            }
            int256 extent = int256(bound.extent);
            if (step == 0) return (0, first >= 0 && first < extent ? length : int256(0));
            if (step > 0) return (_divUp(-first, step), _divUp(extent - first, step));
            return (_divUp(first - extent + 1, -step), _divUp(first + 1, -step));
        }
    }

    /// @dev `ceil(a / b)` for `b > 0`; division goes towards zero.
    function _divUp(int256 a, int256 b) private pure returns (int256) {
        unchecked {
            return a > 0 ? (a + b - 1) / b : a / b;
        }
    }
}
