// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../interfaces/IMarket.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Tensor} from "./Tensor.sol";

/// @title Inputs and outputs
/// @notice Reads io bytes (`u8 n ‖ (u8 dtype ‖ u8 rank ‖ u32 dim × rank) × n`, inputs then outputs) and commits to tensors that
/// are given inline in that order (PROTOCOL.md sections 2 and 4).
library Io {
    bytes32 private constant INPUTS = keccak256("touchstone.inputs.1");
    bytes32 private constant OUTPUTS = keccak256("touchstone.outputs.1");
    uint256 private constant MAX_RANK = 8;
    /// @dev Inputs, and outputs, that fit into one transaction with room to spare.
    uint256 private constant MAX_INLINE = 16 * 1024;
    /// @dev More inputs or outputs than any model here has; keeps every loop short.
    uint256 private constant MAX_VALUES = 32;

    /// @notice Checks the whole encoding; reverts with the offset of what is wrong.
    function check(bytes calldata io)
        internal
        pure
        returns (uint8 inputs, uint8 outputs, uint32 inputBytes, uint32 outputBytes)
    {
        uint256 offset;
        (offset, inputs, inputBytes) = _list(io, 0);
        (offset, outputs, outputBytes) = _list(io, offset);
        if (offset != io.length) revert IModelRegistry.BadIo(offset);
        if (inputBytes > MAX_INLINE) revert IModelRegistry.TooLarge(MAX_INLINE, inputBytes);
        if (outputBytes > MAX_INLINE) revert IModelRegistry.TooLarge(MAX_INLINE, outputBytes);
    }

    function commitInputs(bytes memory io, bytes calldata data) internal pure returns (bytes32) {
        (, bytes32 commitment) = _commit(INPUTS, io, 0, data, true);
        return commitment;
    }

    function commitOutputs(bytes memory io, bytes calldata data) internal pure returns (bytes32 commitment) {
        uint256 offset = 1;
        uint256 inputs = uint8(io[0]);
        for (uint256 i; i < inputs; i++) {
            offset += 2 + 4 * uint256(uint8(io[offset + 1]));
        }
        (, commitment) = _commit(OUTPUTS, io, offset, data, false);
    }

    /// @dev One list, checked. Sizes add up to less than 2^32: at most 32 tensors, together at most 2^31 bytes.
    function _list(bytes calldata io, uint256 offset) private pure returns (uint256 next, uint8 count, uint32 total) {
        if (offset >= io.length) revert IModelRegistry.BadIo(offset);
        count = uint8(io[offset]);
        if (count == 0 || count > MAX_VALUES) revert IModelRegistry.BadIo(offset);
        next = offset + 1;
        uint256 sum;
        for (uint256 i; i < count; i++) {
            if (next + 2 > io.length) revert IModelRegistry.BadIo(next);
            uint256 size = Tensor.sizeOf(uint8(io[next]));
            uint256 rank = uint8(io[next + 1]);
            if (size == 0 || rank > MAX_RANK || next + 2 + 4 * rank > io.length) revert IModelRegistry.BadIo(next);
            bool empty;
            for (uint256 d; d < rank; d++) {
                uint256 dim = uint32(bytes4(io[next + 2 + 4 * d:next + 6 + 4 * d]));
                if (dim == 0) empty = true;
                else if (size <= Tensor.MAX_BYTES) size *= dim;
            }
            if (!empty) sum += size;
            if (sum > Tensor.MAX_BYTES) revert IModelRegistry.BadIo(next);
            next += 2 + 4 * rank;
        }
        total = uint32(sum);
    }

    /// @dev Commits to the tensors of the list at `offset` of checked io bytes; `data` has to be theirs exactly.
    function _commit(bytes32 tag, bytes memory io, uint256 offset, bytes calldata data, bool strict)
        private
        pure
        returns (uint256 next, bytes32 commitment)
    {
        uint256 count = uint8(io[offset]);
        bytes32[] memory words = new bytes32[](count + 1);
        words[0] = tag;
        next = offset + 1;
        uint256 from;
        for (uint256 i; i < count; i++) {
            (uint256 headerLength, uint256 size) = _header(io, next);
            if (from + size > data.length) revert IMarket.WrongLength(from + size, data.length);
            if (strict && uint8(io[next]) == Tensor.BOOL) _requireBools(data, from, from + size);
            words[i + 1] = Tensor.commit(_slice(io, next, headerLength), data[from:from + size]);
            next += headerLength;
            from += size;
        }
        if (from != data.length) revert IMarket.WrongLength(from, data.length);
        commitment = keccak256(abi.encodePacked(words));
    }

    /// @dev dtype and shape as a commitment hashes them are what io bytes hold.
    function _slice(bytes memory io, uint256 offset, uint256 length) private pure returns (bytes memory head) {
        head = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(head, 32), add(add(io, 32), offset), length)
        }
    }

    /// @dev Length of one header and size of its tensor in bytes; io bytes were checked when the model was published.
    function _header(bytes memory io, uint256 offset) private pure returns (uint256 length, uint256 size) {
        uint256 rank = uint8(io[offset + 1]);
        length = 2 + 4 * rank;
        size = Tensor.sizeOf(uint8(io[offset]));
        for (uint256 d; d < rank; d++) {
            uint256 dim;
            for (uint256 b; b < 4; b++) {
                dim = (dim << 8) | uint8(io[offset + 2 + 4 * d + b]);
            }
            // Without overflow: dimensions beyond 2^31 bytes occur only beside a zero, and eight of 32 bits fit.
            unchecked {
                size *= dim;
            }
        }
    }

    function _requireBools(bytes calldata data, uint256 from, uint256 to) private pure {
        for (uint256 i = from; i < to; i++) {
            if (uint8(data[i]) > 1) revert IMarket.BadBool(i);
        }
    }
}
