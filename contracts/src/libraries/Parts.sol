// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Operator} from "../types/Operator.sol";
import {Elements} from "./Elements.sol";
import {Profile} from "./Profile.sol";
import {Rules} from "./Rules.sol";

/// @title Long operators and the tree over their terms
/// @notice Mirrors `crates/protocol/src/parts/mod.rs`. A *header* is three words; the sums of a node are a number of words that the
/// operator's code has, see `PartJudge`.
library Parts {
    /// @notice Consecutive terms that one transaction adds up.
    uint256 internal constant LEAF_TERMS = 1024;
    /// @dev Levels from a node to its parts.
    uint256 private constant STEP = 3;

    /// @notice The most terms of an operator that is judged in one transaction.
    function oneShotTerms(uint256 code) internal pure returns (uint256) {
        if (code == Rules.CONTRACT || code == Rules.SUM || code == Rules.MEAN) return 4096;
        if (code == Rules.LAYER_NORM) return 2048;
        if (code == Rules.SOFTMAX) return 1024;
        return 256;
    }

    /// @notice The most terms of an operator under a profile: the bounds are theorems up to it.
    function mostTerms(uint256 profile) internal pure returns (uint256) {
        return Profile.isWide(profile) ? 1 << 24 : 1 << 20;
    }

    /// @notice Whether an operator is judged by parts.
    function isLong(Operator memory o) internal pure returns (bool) {
        return o.terms > oneShotTerms(o.code);
    }

    /// @notice Leaves of the tree over `terms` terms.
    function leaves(uint256 terms) internal pure returns (uint256) {
        unchecked {
            return (terms + LEAF_TERMS - 1) / LEAF_TERMS;
        }
    }

    /// @notice Levels from a node at `depth` to its parts.
    function step(uint256 depth) internal pure returns (uint256) {
        return depth < STEP ? depth : STEP;
    }

    /// @notice How many parts the node `index` at `depth` has: its descendants that have terms.
    function count(uint256 leaves_, uint256 depth, uint256 index) internal pure returns (uint256) {
        unchecked {
            uint256 end = (index + 1) << depth;
            if (end > leaves_) end = leaves_;
            uint256 width = 1 << (depth - step(depth));
            return (end - (index << depth) + width - 1) / width;
        }
    }

    /// @notice What is committed of a node.
    function node(uint256[3] memory header, uint256[] memory words) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(header, words));
    }

    /// @notice The sum of nodes of `width` words, one after the other, modulo 2^256.
    function addUp(uint256[] calldata words, uint256 width) internal pure returns (uint256[] memory sums) {
        sums = new uint256[](width);
        unchecked {
            for (uint256 i = 0; i < words.length; ++i) {
                sums[i % width] += words[i];
            }
        }
    }

    /// @notice Where among the terms the element's own is: at its place in the row, or at the position `y` of a maximum.
    function ownPlace(Operator memory o, uint256[] memory index, uint256 y)
        internal
        pure
        returns (bool some, uint256 place)
    {
        if (o.code == Rules.SOFTMAX) place = index[o.params[0]];
        else if (o.code == Rules.LAYER_NORM) place = index[o.params[1]];
        else if (o.code == Rules.ARG_MAX) place = uint256(Elements.integer(o.dtype, y));
        else return (false, 0);
        // A negative position is beyond all as a word.
        some = place < o.terms;
    }

    /// @notice Up to eight counts in one word, 32 bits each from the lowest.
    function pack(uint256 a, uint256 b, uint256 c, uint256 d, uint256 e) internal pure returns (uint256) {
        return a | b << 32 | c << 64 | d << 96 | e << 128;
    }

    /// @notice Whether a word is `fields` counts of 32 bits, each at most `most`.
    function fits(uint256 word, uint256 fields, uint256 most) internal pure returns (bool) {
        unchecked {
            for (; fields != 0; --fields) {
                if (word & 0xffffffff > most) return false;
                word >>= 32;
            }
        }
        return word == 0;
    }

    /// @notice Field `i` of a word of counts.
    function field(uint256 word, uint256 i) internal pure returns (uint256) {
        return (word >> (32 * i)) & 0xffffffff;
    }
}
