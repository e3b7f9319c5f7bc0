// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Operator} from "../types/Operator.sol";
import {Tensor} from "./Tensor.sol";

/// @title Arity, dtypes and parameters of each operator code
/// @notice PROTOCOL.md section 5; mirrors `crates/protocol/src/descriptor/check.rs`.
library Rules {
    uint256 internal constant COPY = 0x01;
    uint256 internal constant GATHER = 0x02;
    uint256 internal constant ADD = 0x10;
    uint256 internal constant SUB = 0x11;
    uint256 internal constant MUL = 0x12;
    uint256 internal constant DIV = 0x13;
    uint256 internal constant SQRT = 0x14;
    uint256 internal constant NEG = 0x15;
    uint256 internal constant ABS = 0x16;
    uint256 internal constant MIN = 0x17;
    uint256 internal constant MAX = 0x18;
    uint256 internal constant RELU = 0x19;
    uint256 internal constant CAST = 0x1a;
    uint256 internal constant WHERE = 0x1b;
    uint256 internal constant EQUAL = 0x1c;
    uint256 internal constant LESS = 0x1d;
    uint256 internal constant LESS_EQ = 0x1e;
    uint256 internal constant GREATER = 0x1f;
    uint256 internal constant GREATER_EQ = 0x20;
    uint256 internal constant AND = 0x21;
    uint256 internal constant OR = 0x22;
    uint256 internal constant NOT = 0x23;
    uint256 internal constant MAX_POOL = 0x30;
    uint256 internal constant ARG_MAX = 0x31;
    uint256 internal constant ERF = 0x40;
    uint256 internal constant GELU = 0x41;
    uint256 internal constant GELU_TANH = 0x42;
    uint256 internal constant TANH = 0x43;
    uint256 internal constant SIGMOID = 0x44;
    uint256 internal constant EXP = 0x45;
    uint256 internal constant LOG = 0x46;
    uint256 internal constant SOFTPLUS = 0x47;
    uint256 internal constant SIN = 0x48;
    uint256 internal constant COS = 0x49;
    uint256 internal constant POW = 0x4a;
    uint256 internal constant CONTRACT = 0x60;
    uint256 internal constant SUM = 0x68;
    uint256 internal constant MEAN = 0x69;
    uint256 internal constant SOFTMAX = 0x70;
    uint256 internal constant LAYER_NORM = 0x78;
    uint256 internal constant BATCH_NORM = 0x7a;

    /// The least normal fp32 number and infinity: an epsilon is from the one to below the other.
    uint256 private constant NORMAL = 0x800000;
    uint256 private constant INFINITY = 0x7f800000;

    /// @notice How many of the first operands are read at every term of the reduction. The others are read once an element.
    function termOperands(uint256 code) internal pure returns (uint256) {
        if (code == CONTRACT) return 2;
        return code == MAX_POOL || code == ARG_MAX || code == SUM || code == MEAN || code == SOFTMAX
            || code == LAYER_NORM
            ? 1
            : 0;
    }

    /// @notice Whether the rule says what an operand that is out of bounds counts as.
    function takesBounds(uint256 code) internal pure returns (bool) {
        return code == COPY || code == MAX_POOL || code == CONTRACT || code == SUM || code == MEAN;
    }

    /// @notice Whether the operator's operands, dtypes, reduction axes and parameters are its code's. False for no code.
    function check(Operator memory o) internal pure returns (bool) {
        uint256 code = o.code;
        uint256 n = o.operands.length;
        uint256 axes = o.reductionAxes.length;
        uint256 params = o.params.length;
        // Families with their own shape first; what is left has neither reduction axes nor parameters.
        if (code == COPY) return n > 0 && axes == 0 && params == 2 && _all(o, o.dtype);
        if (code == GATHER) {
            return n == 2 && axes == 0 && params == 2 && o.params[0] != 0 && o.operands[0].dtype == o.dtype
                && _index(o.operands[1].dtype);
        }
        if (code == CONTRACT) return n > 1 && params == 0 && _all(o, Tensor.F32);
        if (code == MAX_POOL || code == SUM) return n == 1 && params == 0 && _all(o, Tensor.F32);
        if (code == MEAN) return n == 1 && params == 1 && o.params[0] <= 1 && _all(o, Tensor.F32);
        if (code == ARG_MAX) {
            return n == 1 && axes == 1 && params == 0
                && (o.operands[0].dtype == Tensor.F32 || _index(o.operands[0].dtype)) && _index(o.dtype);
        }
        if (code == SOFTMAX) return n == 1 && axes == 1 && params == 1 && _row(o, o.params[0]) && _all(o, Tensor.F32);
        if (code == LAYER_NORM) {
            return n == 3 && axes == 1 && params == 2 && _epsilon(o) && _row(o, o.params[1]) && _all(o, Tensor.F32);
        }
        if (code == BATCH_NORM) {
            return n == 5 && axes == 0 && params == 1 && _epsilon(o) && _all(o, Tensor.F32);
        }
        if (axes != 0 || params != 0) return false;
        if (code >= ADD && code <= DIV || code == MIN || code == MAX) {
            return n == 2 && (_float(o.dtype) || _index(o.dtype)) && _all(o, o.dtype);
        }
        if (code == NEG || code == ABS) {
            return n == 1 && (_float(o.dtype) || _index(o.dtype)) && _all(o, o.dtype);
        }
        if (code == SQRT || code == RELU) return n == 1 && _float(o.dtype) && _all(o, o.dtype);
        if (code >= ERF && code <= COS) return n == 1 && _all(o, Tensor.F32);
        if (code == POW) return n == 2 && _all(o, Tensor.F32);
        if (code == CAST) {
            // To and from the others f16 and bf16 go by way of f32.
            return n == 1
                && (o.dtype == Tensor.F32
                    || o.operands[0].dtype == Tensor.F32
                    || !(Tensor.isHalf(o.dtype) || Tensor.isHalf(o.operands[0].dtype)));
        }
        if (code == WHERE) {
            return n == 3 && o.operands[0].dtype == Tensor.BOOL && o.operands[1].dtype == o.dtype
                && o.operands[2].dtype == o.dtype;
        }
        if (code >= EQUAL && code <= GREATER_EQ) {
            return n == 2 && o.dtype == Tensor.BOOL && o.operands[0].dtype == o.operands[1].dtype;
        }
        if (code == AND || code == OR) return n == 2 && _all(o, Tensor.BOOL);
        return code == NOT && n == 1 && _all(o, Tensor.BOOL);
    }

    /// @dev Whether output and operands all have this dtype.
    function _all(Operator memory o, uint256 dtype) private pure returns (bool) {
        for (uint256 i = 0; i < o.operands.length; ++i) {
            if (o.operands[i].dtype != dtype) return false;
        }
        return o.dtype == dtype;
    }

    function _float(uint256 dtype) private pure returns (bool) {
        return dtype == Tensor.F32 || Tensor.isHalf(dtype);
    }

    function _index(uint256 dtype) private pure returns (bool) {
        return dtype == Tensor.I32 || dtype == Tensor.I64;
    }

    /// @dev Whether the first parameter is a positive normal number: without one, 0/0 has no value to judge.
    function _epsilon(Operator memory o) private pure returns (bool) {
        return o.params[0] >= NORMAL && o.params[0] < INFINITY;
    }

    /// @dev Whether `axis` is an output axis of the reduction's length: an element's place in its row is its index there.
    function _row(Operator memory o, uint256 axis) private pure returns (bool) {
        return axis < o.outputAxes.length && o.outputAxes[axis] == o.reductionAxes[0];
    }
}
