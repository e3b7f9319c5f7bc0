// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Merkle} from "../../src/libraries/Merkle.sol";

/// @title A toy model and a run of it
/// @notice Small, and awkward on purpose: trees with padding, whole subtrees of zeros that are data, a layer without inner values, an
/// operator that does not decode.
///
///     layer 0: operators 0–7, no inner values, 7 is long    layer 1: 8–15, 5 inner values    layer 2: 16–22, 11 inner values; 23 is no descriptor
library Toy {
    uint32 internal constant OPERATORS = 24;
    uint32 internal constant TRACE_VALUES = 20;
    uint32 internal constant LAYERS = 3;
    uint32 internal constant GARBAGE = 23;
    /// @dev A maximum over nine leaves of terms, of which the last has one term.
    uint32 internal constant LONG = 7;
    uint32 internal constant LEAVES = 9;
    uint64 internal constant ELEMENTS = 6;
    uint64 internal constant PROFILE = 0x08040000;
    uint256 internal constant INPUT_BYTES = 24 + 3;
    uint256 internal constant OUTPUT_BYTES = 40;

    /// @dev f32 [2, 3] and bool [3]; f32 [10].
    function io() internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(2),
            uint8(1),
            uint8(2),
            uint32(2),
            uint32(3),
            uint8(9),
            uint8(1),
            uint32(3),
            uint8(1),
            uint8(1),
            uint8(1),
            uint32(10)
        );
    }

    function layerOf(uint32 operator_) internal pure returns (uint32) {
        return operator_ / 8;
    }

    function innerCount(uint32 layer) internal pure returns (uint32) {
        return layer == 0 ? 0 : layer == 1 ? 5 : 11;
    }

    /// @dev The sums of a node of a long operator's terms: no terms are so, but sums add up whatever they are.
    function sums(uint256 leaves, uint256 depth, uint256 index) internal pure returns (uint256[] memory list) {
        list = new uint256[](2);
        for (uint256 leaf = index << depth; leaf < leaves && leaf < (index + 1) << depth; leaf++) {
            list[0] += leaf + 1;
            unchecked {
                list[1] -= leaf;
            }
        }
    }

    /// @dev The sums of its parts, those that have terms.
    function parts(uint256 leaves, uint256 depth, uint256 index) internal pure returns (uint256[] memory list) {
        uint256 step = depth < 3 ? depth : 3;
        list = new uint256[](2 << step);
        uint256 count;
        for (uint256 child; child < 1 << step; child++) {
            uint256 at_ = (index << step) + child;
            if (at_ << (depth - step) >= leaves) break;
            uint256[] memory node_ = sums(leaves, depth - step, at_);
            (list[2 * child], list[2 * child + 1]) = (node_[0], node_[1]);
            count += 2;
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    /// @dev Relu over six elements of input 0: to trace values in layer 0, to inner values elsewhere.
    function descriptor(uint32 operator_) internal pure returns (bytes memory) {
        uint32 layer = layerOf(operator_);
        if (operator_ == GARBAGE) return abi.encodePacked(uint8(1), uint8(0xff), layer, uint32(11), "no descriptor");
        if (operator_ == LONG) return longDescriptor();
        uint8 kind = layer == 0 ? 2 : 4;
        bytes memory output = abi.encodePacked(kind, operator_ % 8, uint8(1), uint8(1), uint32(6));
        bytes memory operand = abi.encodePacked(
            uint8(0), uint32(0), uint8(1), uint8(2), uint32(2), uint32(3), int64(0), int64(1), uint8(0)
        );
        return abi.encodePacked(
            uint8(1),
            uint8(0x19),
            layer,
            innerCount(layer),
            output,
            uint8(1),
            uint32(6),
            uint8(0),
            uint8(0),
            uint8(1),
            operand
        );
    }

    /// @dev A maximum of six elements, each over terms that all are element 0 of input 0.
    function longDescriptor() internal pure returns (bytes memory) {
        bytes memory operand = abi.encodePacked(
            uint8(0), uint32(0), uint8(1), uint8(2), uint32(2), uint32(3), int64(0), int64(0), int64(0), uint8(0)
        );
        return abi.encodePacked(
            uint8(1),
            uint8(0x30),
            uint64(0),
            abi.encodePacked(uint8(2), LONG, uint8(1), uint8(1), uint32(6)),
            uint8(1),
            uint32(6),
            uint8(1),
            uint32(8 * 1024 + 1),
            uint8(0),
            uint8(1),
            operand
        );
    }

    function plan() internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](OPERATORS);
        for (uint32 i; i < OPERATORS; i++) {
            leaves[i] = keccak256(abi.encodePacked(keccak256("touchstone.operator.1"), descriptor(i)));
        }
    }

    /// @dev Values 8 to 15, a whole subtree, are zero.
    function trace() internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](TRACE_VALUES);
        for (uint256 i; i < TRACE_VALUES; i++) {
            if (i < 8 || i > 15) leaves[i] = keccak256(abi.encode("trace", i));
        }
    }

    function inner(uint32 layer) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](innerCount(layer));
        for (uint256 i; i < leaves.length; i++) {
            leaves[i] = keccak256(abi.encode("inner", layer, i));
        }
    }

    /// @dev A witness for `ToyJudge`.
    function witness(uint32 operator_, uint64 element, uint8 verdict) internal pure returns (bytes memory) {
        bytes memory d = descriptor(operator_);
        return abi.encodePacked(operator_, element, uint16(d.length), d, verdict);
    }

    /// @dev The node at `index` of the level `depth` levels above the leaves.
    function node(bytes32[] memory leaves, uint256 depth, uint256 index) internal pure returns (bytes32) {
        if (depth == 0) return index < leaves.length ? leaves[index] : bytes32(0);
        return Merkle.node(node(leaves, depth - 1, 2 * index), node(leaves, depth - 1, 2 * index + 1));
    }

    /// @dev The `2^step` descendants of a node `depth` levels above the leaves.
    function children(bytes32[] memory leaves, uint256 depth, uint256 index)
        internal
        pure
        returns (bytes32[] memory list)
    {
        uint256 step = depth < 3 ? depth : 3;
        list = new bytes32[](1 << step);
        for (uint256 i; i < list.length; i++) {
            list[i] = node(leaves, depth - step, (index << step) + i);
        }
    }

    /// @dev The siblings of a leaf, up to the node `levels` above it.
    function proof(bytes32[] memory leaves, uint256 levels, uint256 index)
        internal
        pure
        returns (bytes32[] memory list)
    {
        list = new bytes32[](levels);
        for (uint256 i; i < levels; i++) {
            list[i] = node(leaves, i, (index >> i) ^ 1);
        }
    }
}
