// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bound, Operand, Operator} from "../types/Operator.sol";
import {Rules} from "./Rules.sol";
import {Tensor} from "./Tensor.sol";

/// @title Descriptors of operators
/// @notice Decodes PROTOCOL.md section 3; mirrors `crates/protocol/src/descriptor`. Total: bytes that break a rule give
/// `decoded == false`.
library Descriptor {
    uint256 private constant MAX_LENGTH = 4096;
    /// Under any profile; what each one allows is `Parts.mostTerms`.
    uint256 private constant MAX_TERMS = 1 << 24;
    bytes32 private constant TAG = keccak256("touchstone.operator.1");

    /// Where reading stands in the bytes. Once `bad`, every read gives zero.
    struct Reader {
        uint256 next;
        uint256 end;
        bool bad;
    }

    /// @notice Leaf of the plan tree over an encoded descriptor.
    function leaf(bytes memory descriptor) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG, descriptor));
    }

    /// @notice Reads a whole descriptor and checks every rule that concerns it.
    function decode(bytes memory descriptor) internal pure returns (Operator memory o) {
        if (descriptor.length > MAX_LENGTH) return o;
        Reader memory r;
        assembly ("memory-safe") {
            mstore(r, add(descriptor, 32))
            mstore(add(r, 32), add(add(descriptor, 32), mload(descriptor)))
        }
        if (_take(r, 1) != 1) return o;
        o.code = _take(r, 1);
        o.layer = uint32(_take(r, 4));
        o.layerInnerCount = uint32(_take(r, 4));
        (o.kind, o.number) = _place(r);
        o.touchesInner = o.kind == 4;
        uint256 outputElements;
        (o.dtype, o.head, outputElements) = _tensor(r);
        o.outputAxes = _list(r, 8);
        o.reductionAxes = _list(r, 4);
        o.params = _list(r, 8);
        o.elements = _product(o.outputAxes);
        o.terms = _product(o.reductionAxes);
        uint256 count = _take(r, 1);
        if (r.bad || count > 16 || o.kind < 2 || o.elements != outputElements || o.terms > MAX_TERMS) return o;
        o.operands = new Operand[](count);
        for (uint256 i = 0; i < count; ++i) {
            _operand(r, o, i);
            if (r.bad) return o;
        }
        o.decoded = r.next == r.end && Rules.check(o);
    }

    function _operand(Reader memory r, Operator memory o, uint256 index) private pure {
        Operand memory operand = o.operands[index];
        (operand.kind, operand.number) = _place(r);
        if (operand.kind == 4) o.touchesInner = true;
        (operand.dtype, operand.head, operand.elements) = _tensor(r);
        operand.base = _signed(r);
        uint256 outputs = o.outputAxes.length;
        uint256 axes = outputs + o.reductionAxes.length;
        // Operands read once an element must not depend on a term.
        bool once = index >= Rules.termOperands(o.code);
        operand.strides = new int256[](axes);
        for (uint256 i = 0; i < axes; ++i) {
            int256 stride = _signed(r);
            if (once && i >= outputs && stride != 0) r.bad = true;
            operand.strides[i] = stride;
        }
        uint256 count = _take(r, 1);
        if (count > 4 || (count != 0 && !Rules.takesBounds(o.code))) r.bad = true;
        if (r.bad) return;
        operand.bounds = new Bound[](count);
        for (uint256 i = 0; i < count; ++i) {
            Bound memory bound = operand.bounds[i];
            bound.extent = _take(r, 4);
            bound.constant_ = _signed(r);
            uint256 terms = _take(r, 1);
            if (terms > 4) r.bad = true;
            if (r.bad) return;
            bound.axes = new uint256[](terms);
            bound.coefficients = new int256[](terms);
            for (uint256 j = 0; j < terms; ++j) {
                uint256 axis = _take(r, 1);
                if (axis >= (once ? outputs : axes)) r.bad = true;
                bound.axes[j] = axis;
                bound.coefficients[j] = _signed(r);
            }
        }
    }

    /// @dev The next `size` ≤ 32 bytes as a number.
    function _take(Reader memory r, uint256 size) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            let here := mload(r)
            let next := add(here, size)
            switch gt(next, mload(add(r, 32)))
            case 0 {
                value := shr(sub(256, shl(3, size)), mload(here))
                mstore(r, next)
            }
            default { mstore(add(r, 64), 1) }
            if mload(add(r, 64)) { value := 0 }
        }
    }

    function _signed(Reader memory r) private pure returns (int256) {
        return int64(uint64(_take(r, 8)));
    }

    function _place(Reader memory r) private pure returns (uint256 kind, uint256 number) {
        kind = _take(r, 1);
        number = _take(r, 4);
        if (kind > 4) r.bad = true;
    }

    function _list(Reader memory r, uint256 limit) private pure returns (uint256[] memory list) {
        uint256 count = _take(r, 1);
        if (count > limit) r.bad = true;
        if (r.bad) return list;
        list = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = _take(r, 4);
        }
    }

    /// @dev dtype and shape: their bytes are what a commitment hashes.
    function _tensor(Reader memory r) private pure returns (uint256 dtype, bytes memory head, uint256 elements) {
        uint256 from = r.next;
        dtype = _take(r, 1);
        uint256 rank = _take(r, 1);
        uint256 size = Tensor.sizeOf(dtype);
        if (size == 0 || rank > 8) r.bad = true;
        elements = 1;
        unchecked {
            for (uint256 i = 0; i < rank && !r.bad; ++i) {
                // Eight factors below 2^32 cannot overflow.
                elements *= _take(r, 4);
            }
            if (elements > Tensor.MAX_BYTES || elements * size > Tensor.MAX_BYTES) r.bad = true;
            if (r.bad) return (dtype, head, elements);
            head = new bytes(2 + 4 * rank);
        }
        assembly ("memory-safe") {
            mcopy(add(head, 32), from, mload(head))
        }
    }

    function _product(uint256[] memory axes) private pure returns (uint256 product) {
        product = 1;
        unchecked {
            // At most eight factors below 2^32.
            for (uint256 i = 0; i < axes.length; ++i) {
                product *= axes[i];
            }
        }
    }
}
