// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IJudge} from "../interfaces/IJudge.sol";
import {Copy} from "../leaf/Copy.sol";
import {Operand, Operator} from "../types/Operator.sol";
import {Descriptor} from "./Descriptor.sol";
import {Elements} from "./Elements.sol";
import {IndexMap} from "./IndexMap.sol";
import {Merkle} from "./Merkle.sol";
import {Parts} from "./Parts.sol";
import {Profile} from "./Profile.sol";
import {Rules} from "./Rules.sol";
import {Tensor} from "./Tensor.sol";

/// @title Opening a witness
/// @notice Reads PROTOCOL.md section 6 in order and holds everything against the context; mirrors
/// `crates/protocol/src/witness/mod.rs`. Total: what does not open ends with a reason, never with a revert.
/// @dev Longer than the house size: the reasons and the three judges share the opening.
library Witness {
    uint256 internal constant TRUNCATED = 1;
    uint256 internal constant TRAILING = 2;
    uint256 internal constant OPERATOR_INDEX = 3;
    uint256 internal constant PLAN_PROOF = 4;
    uint256 internal constant INPUTS_LIST = 5;
    uint256 internal constant OUTPUTS_LIST = 6;
    uint256 internal constant ELEMENT_INDEX = 7;
    uint256 internal constant PLACE_INDEX = 8;
    uint256 internal constant PLACE_PROOF = 9;
    uint256 internal constant LAYER_ROOT_MISSING = 10;
    uint256 internal constant CHUNK_RANGE = 11;
    uint256 internal constant PROFILE = 12;
    uint256 internal constant LONG = 13;
    uint256 internal constant TOTALS = 14;
    /// Not a reason: the descriptor has no meaning.
    uint256 internal constant UNDECODABLE = 255;

    /// @notice What a witness is for: an element at once, one by its totals, or, less than both, a leaf of its terms.
    uint256 internal constant AT_ONCE = 1 << 32;
    uint256 internal constant BY_TOTALS = AT_ONCE + 1;

    bytes32 private constant INPUTS = keccak256("touchstone.inputs.1");
    bytes32 private constant OUTPUTS = keccak256("touchstone.outputs.1");

    /// @notice An opened witness.
    struct Opened {
        /// 0, or why there is nothing to hold against the envelope.
        uint256 stop;
        Operator o;
        /// Indices of the element over the output axes, then zeros for the reduction axes.
        uint256[] index;
        /// The element's bits.
        uint256 y;
        /// Where the operands' elements are, see `Elements`; 0 where nothing is read.
        uint256[] bases;
        /// What the witness is for.
        uint256 way;
        /// Calldata: what is read next, the end, and the two lists of commitments.
        uint256 next;
        uint256 end;
        uint256 inputs;
        uint256 outputs;
    }

    /// @notice Opens everything; fills `outcome` as far as the witness says what it is about.
    /// @param way `AT_ONCE`, `BY_TOTALS`, or the number of a leaf.
    function open(IJudge.Context calldata context, bytes calldata witness, IJudge.Outcome memory outcome, uint256 way)
        internal
        pure
        returns (Opened memory w)
    {
        assembly ("memory-safe") {
            mstore(add(w, 0xc0), witness.offset)
            mstore(add(w, 0xe0), add(witness.offset, witness.length))
        }
        w.way = way;
        if (!Profile.isKnown(context.profile)) {
            w.stop = PROFILE;
            return w;
        }
        outcome.operator_ = uint32(_number(w, 4));
        outcome.element = uint64(_number(w, 8));
        _head(context, w, outcome.operator_);
        if (w.stop != 0) return w;
        outcome.layer = w.o.layer;
        w.stop = _way(w.o, context.profile, outcome.element, way);
        if (w.stop != 0) return w;
        w.inputs = _list(w, INPUTS, context.inputCount, context.inputs, INPUTS_LIST);
        if (w.stop != 0) return w;
        w.outputs = _list(w, OUTPUTS, context.outputCount, context.outputs, OUTPUTS_LIST);
        if (w.stop != 0) return w;
        _openings(context, w, outcome.element);
        if (w.stop == 0 && w.next != w.end) w.stop = TRAILING;
    }

    /// @dev The descriptor and its place in the plan.
    function _head(IJudge.Context calldata context, Opened memory w, uint256 operator_) private pure {
        uint256 length = _number(w, 2);
        uint256 from = _take(w, length);
        if (w.stop != 0) return;
        if (operator_ >= context.operators) {
            w.stop = OPERATOR_INDEX;
            return;
        }
        bytes memory descriptor = new bytes(length);
        assembly ("memory-safe") {
            calldatacopy(add(descriptor, 32), from, length)
        }
        uint256 levels = Merkle.depth(context.operators);
        uint256 siblings = _take(w, 32 * levels);
        if (w.stop != 0) return;
        if (Merkle.proofRoot(Descriptor.leaf(descriptor), operator_, siblings, levels) != context.planRoot) {
            w.stop = PLAN_PROOF;
            return;
        }
        w.o = Descriptor.decode(descriptor);
        if (!w.o.decoded) w.stop = UNDECODABLE;
    }

    /// @dev Whether the operator is judged this way, and has the element and the leaf.
    function _way(Operator memory o, uint256 profile, uint256 element, uint256 way) private pure returns (uint256) {
        if (o.terms > Parts.mostTerms(profile)) return UNDECODABLE;
        if (Parts.isLong(o) == (way == AT_ONCE)) return LONG;
        bool beyond = way < AT_ONCE && way >= Parts.leaves(o.terms);
        return element >= o.elements || beyond ? ELEMENT_INDEX : 0;
    }

    /// @dev A list of commitments that hashes to `expected`; gives its position in calldata.
    function _list(Opened memory w, bytes32 tag, uint256 count, bytes32 expected, uint256 reason)
        private
        pure
        returns (uint256 from)
    {
        uint256 stated = _number(w, 1);
        if (w.stop != 0) return 0;
        if (stated != count) {
            w.stop = reason;
            return 0;
        }
        from = _take(w, 32 * count);
        if (w.stop != 0) return 0;
        bytes32 actual;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            calldatacopy(add(free, 32), from, shl(5, count))
            actual := keccak256(free, shl(5, add(count, 1)))
        }
        if (actual != expected) w.stop = reason;
    }

    /// @dev The output, then the operands as they stand, but a Gather's index before its data.
    function _openings(IJudge.Context calldata context, Opened memory w, uint256 element) private pure {
        Operator memory o = w.o;
        w.index = IndexMap.unravel(o.outputAxes, o.reductionAxes.length, element);
        uint256 count = o.operands.length;
        w.bases = new uint256[](count);
        if (w.way < AT_ONCE) {
            // The terms of a leaf, and nothing else.
            count = Rules.termOperands(o.code);
        } else {
            Operand memory output;
            (output.kind, output.number, output.dtype, output.head) = (o.kind, o.number, o.dtype, o.head);
            output.elements = o.elements;
            uint256 base = _open(context, w, output, element, element);
            if (w.stop != 0) return;
            w.y = Elements.read(base, o.dtype, element);
        }
        bool gather = o.code == Rules.GATHER;
        for (uint256 n = 0; n < count; ++n) {
            uint256 i = gather ? 1 - n : n;
            _operand(context, w, i, gather && i == 0);
            if (w.stop != 0) return;
        }
    }

    /// @dev Opens what the element reads of one operand.
    function _operand(IJudge.Context calldata context, Opened memory w, uint256 i, bool gathered) private pure {
        Operator memory o = w.o;
        Operand memory operand = o.operands[i];
        uint256 least;
        uint256 greatest;
        if (i < Rules.termOperands(o.code)) {
            bool none;
            bool bad;
            if (w.way == BY_TOTALS) {
                (none, bad, least) = _own(w);
                greatest = least;
            } else {
                (uint256 from, uint256 to) = terms(w);
                (none, bad, least, greatest) = IndexMap.span(operand, w.index, o.reductionAxes, from, to);
            }
            if (bad) w.stop = UNDECODABLE;
            if (none || bad) return;
        } else {
            int256 base = operand.base;
            // A Gather's data lies where its index, opened before, says.
            if (gathered) {
                uint256 at_ = IndexMap.run(o.operands[1], w.index, w.index.length, 1).first;
                uint256 k = Elements.read(w.bases[1], o.operands[1].dtype, at_);
                unchecked {
                    operand.base = base + int256(Copy.gatherOffset(o, k));
                }
            }
            IndexMap.Run memory r = IndexMap.run(operand, w.index, w.index.length, 1);
            if (r.bad) w.stop = UNDECODABLE;
            if (r.hi == 0 || r.bad) return;
            (least, greatest) = (r.first, r.first);
        }
        w.bases[i] = _open(context, w, operand, least, greatest);
    }

    /// @notice The terms that are opened: all, or those of the leaf.
    function terms(Opened memory w) internal pure returns (uint256 from, uint256 to) {
        if (w.way == AT_ONCE) return (0, w.o.terms);
        unchecked {
            from = w.way * Parts.LEAF_TERMS;
            to = from + Parts.LEAF_TERMS;
        }
        if (to > w.o.terms) to = w.o.terms;
    }

    /// @dev Offset of the element's own term in operand 0, if it has one.
    function _own(Opened memory w) private pure returns (bool none, bool bad, uint256 offset) {
        Operator memory o = w.o;
        (bool some, uint256 place) = Parts.ownPlace(o, w.index, w.y);
        if (!some) return (true, false, 0);
        uint256 last = IndexMap.lastAxis(w.index, o.reductionAxes);
        IndexMap.Run memory r = IndexMap.run(o.operands[0], w.index, last, IndexMap.lastLength(o.reductionAxes));
        unchecked {
            if (r.bad || r.hi == 0) return (true, r.bad, 0);
            return (false, false, r.first + uint256(r.stride) * place);
        }
    }

    /// @notice Bits of the element's own term, 0 where it has none.
    function own(Opened memory w) internal pure returns (uint256) {
        (bool none,, uint256 offset) = _own(w);
        return none ? 0 : Elements.read(w.bases[0], w.o.operands[0].dtype, offset);
    }

    /// @notice Bits of an operand that is read once an element, and is in bounds.
    function bits(Opened memory w, uint256 i) internal pure returns (uint256) {
        uint256 offset = IndexMap.run(w.o.operands[i], w.index, w.index.length, 1).first;
        return Elements.read(w.bases[i], w.o.operands[i].dtype, offset);
    }

    /// @notice Bits of the operands from `first` on, all read once.
    function once(Opened memory w, uint256 first) internal pure returns (uint256[] memory list) {
        list = new uint256[](w.o.operands.length - first);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = bits(w, i + first);
        }
    }

    /// @dev Opens the chunks that hold elements `least` to `greatest` of a tensor.
    function _open(
        IJudge.Context calldata context,
        Opened memory w,
        Operand memory operand,
        uint256 least,
        uint256 greatest
    ) private pure returns (uint256 base) {
        bytes32 chunkRoot = _place(context, w, operand);
        if (w.stop != 0) return 0;
        uint256 size = Tensor.sizeOf(operand.dtype);
        unchecked {
            uint256 levels = Merkle.depth(Tensor.chunkCount(operand.elements * size));
            uint256 lo = least * size / Tensor.CHUNK;
            uint256 width = greatest * size / Tensor.CHUNK + 1 - lo;
            uint256 chunks = _take(w, width * Tensor.CHUNK);
            uint256 siblings = _take(w, 32 * Merkle.rangeSiblingCount(lo, lo + width, levels));
            if (w.stop != 0) return 0;
            uint256 data;
            uint256 leaves;
            assembly ("memory-safe") {
                data := mload(0x40)
                leaves := add(data, shl(8, width))
                // 32 bytes more, so that the last elements can be read by whole words.
                mstore(0x40, add(leaves, 32))
                calldatacopy(data, chunks, shl(8, width))
                // The leaves lie in free memory; they are used up at once.
                for { let i := 0 } lt(i, width) { i := add(i, 1) } {
                    mstore(add(leaves, shl(5, i)), keccak256(add(data, shl(8, i)), 256))
                }
            }
            if (Merkle.rangeRoot(leaves, lo, width, levels, siblings) != chunkRoot) {
                w.stop = CHUNK_RANGE;
                return 0;
            }
            if (size == 4) Elements.swap(data, leaves);
            return data - lo * Tensor.CHUNK;
        }
    }

    /// @dev The chunk root of a tensor, held against the place where it is committed.
    function _place(IJudge.Context calldata context, Opened memory w, Operand memory operand)
        private
        pure
        returns (bytes32 chunkRoot)
    {
        uint256 kind = operand.kind;
        uint256 count;
        bytes32 root;
        if (kind == 0) count = context.inputCount;
        else if (kind == 1) (count, root) = (context.weights, context.weightsRoot);
        else if (kind == 2) (count, root) = (context.traceValues, context.traceRoot);
        else if (kind == 3) count = context.outputCount;
        else (count, root) = (w.o.layerInnerCount, context.layerRoot);
        if (operand.number >= count) {
            w.stop = PLACE_INDEX;
            return 0;
        }
        if (kind == 4 && (!context.layerStands || context.layer != w.o.layer)) {
            w.stop = LAYER_ROOT_MISSING;
            return 0;
        }
        uint256 from = _take(w, 32);
        if (w.stop != 0) return 0;
        assembly ("memory-safe") {
            chunkRoot := calldataload(from)
        }
        bytes32 commitment = Tensor.commitment(operand.head, chunkRoot);
        bool bound;
        if (kind == 0 || kind == 3) {
            unchecked {
                from = (kind == 0 ? w.inputs : w.outputs) + 32 * operand.number;
            }
            assembly ("memory-safe") {
                bound := eq(calldataload(from), commitment)
            }
        } else {
            uint256 levels = Merkle.depth(count);
            from = _take(w, 32 * levels);
            if (w.stop != 0) return 0;
            bound = Merkle.proofRoot(commitment, operand.number, from, levels) == root;
        }
        if (!bound) w.stop = PLACE_PROOF;
    }

    /// @dev Position of the next `size` bytes; stops as truncated when there are fewer.
    function _take(Opened memory w, uint256 size) private pure returns (uint256 from) {
        unchecked {
            from = w.next;
            if (w.stop == 0 && size > w.end - from) w.stop = TRUNCATED;
            if (w.stop != 0) return 0;
            w.next = from + size;
        }
    }

    /// @dev The next `size` ≤ 32 bytes as a number; 0 once stopped.
    function _number(Opened memory w, uint256 size) private pure returns (uint256 value) {
        uint256 from = _take(w, size);
        if (w.stop != 0) return 0;
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(from))
        }
    }
}
