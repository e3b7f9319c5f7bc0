// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elements} from "../libraries/Elements.sol";
import {IndexMap} from "../libraries/IndexMap.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {Operator} from "../types/Operator.sol";

/// @title Operators whose result is an operand's bits
/// @notice Mirrors `copy` and `gather` in `crates/protocol/src/judge.rs`.
library Copy {
    /// @notice Whether `y` is the element of the first operand that is in bounds, or the fill when none is.
    function check(Operator memory o, uint256[] memory index, uint256[] memory bases, uint256 y)
        internal
        pure
        returns (bool)
    {
        for (uint256 i = 0; i < o.operands.length; ++i) {
            IndexMap.Run memory r = IndexMap.run(o.operands[i], index, index.length, 1);
            if (r.hi != 0) return y == Elements.read(bases[i], o.dtype, r.first);
        }
        uint256 fill = (o.params[0] << 32) | o.params[1];
        return y == fill & ((1 << (8 * Tensor.sizeOf(o.dtype))) - 1);
    }

    /// @notice What a Gather's index adds to the data's offset: `k`, plus the extent if it is negative, clamped to the extent,
    /// times the stride.
    function gatherOffset(Operator memory o, uint256 bits) internal pure returns (uint256) {
        unchecked {
            int256 k = Elements.integer(o.operands[1].dtype, bits);
            int256 extent = int256(o.params[0]);
            if (k < 0) k += extent;
            if (k < 0) k = 0;
            if (k >= extent) k = extent - 1;
            return uint256(k) * o.params[1];
        }
    }
}
