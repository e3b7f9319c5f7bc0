// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elements} from "../libraries/Elements.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Half} from "../libraries/Half.sol";
import {Rules} from "../libraries/Rules.sol";
import {Tensor} from "../libraries/Tensor.sol";

/// @title Operators whose result is one correctly rounded number, an integer, or a truth value
/// @notice Mirrors `crates/protocol/src/leaf/exact.rs`. Operands and result are element bits.
library Exact {
    /// @notice Whether `y`, of dtype `to`, is what the operator may give for operands of dtype `from`. Unary ones ignore `b`. An f16 or
    /// bf16 is the f32 that it equals; a result in one of them is the f32 result, rounded.
    function check(uint256 code, uint256 from, uint256 to, uint256 a, uint256 b, uint256 y)
        internal
        pure
        returns (bool)
    {
        if (Tensor.isHalf(from)) (from, a, b) = (Tensor.F32, Half.decode(from, a), Half.decode(from, b));
        uint256 wide = Tensor.isHalf(to) ? Tensor.F32 : to;
        uint256 expected = apply_(code, from, wide, a, b);
        if (wide != Tensor.F32) return y == expected;
        (expected, y) = (Half.decode(to, Half.encode(to, expected)), Half.decode(to, y));
        if (code == Rules.MIN || code == Rules.MAX) {
            // The sign of zero is free; of a NaN and a number, the number may be the result too.
            return Fp32.sameValue(y, expected) || (Fp32.isNan(a) && Fp32.sameValue(y, b))
                || (Fp32.isNan(b) && Fp32.sameValue(y, a));
        }
        if (code == Rules.RELU) return Fp32.sameValue(y, expected) || (Fp32.isNan(expected) && Fp32.isZero(y));
        return Fp32.same(y, expected);
    }

    /// @notice What the operator gives; where the rule leaves a choice, one of the values it admits.
    function apply_(uint256 code, uint256 from, uint256 to, uint256 a, uint256 b) internal pure returns (uint256) {
        if (code == Rules.CAST) return _cast(from, to, a);
        if (code >= Rules.EQUAL && code <= Rules.GREATER_EQ) return _compare(code, from, a, b) ? 1 : 0;
        if (code == Rules.AND) return a != 0 && b != 0 ? 1 : 0;
        if (code == Rules.OR) return a != 0 || b != 0 ? 1 : 0;
        if (code == Rules.NOT) return a == 0 ? 1 : 0;
        if (from == Tensor.F32) return _float(code, a, b);
        uint256 mask = from == Tensor.I32 ? type(uint32).max : type(uint64).max;
        return _integer(code, Elements.integer(from, a), Elements.integer(from, b)) & mask;
    }

    function _float(uint256 code, uint256 a, uint256 b) private pure returns (uint256) {
        if (code == Rules.ADD) return Fp32.add(a, b);
        if (code == Rules.SUB) return Fp32.sub(a, b);
        if (code == Rules.MUL) return Fp32.mul(a, b);
        if (code == Rules.DIV) return Fp32.div(a, b);
        if (code == Rules.SQRT) return Fp32.sqrt(a);
        if (code == Rules.NEG) return a ^ Fp32.SIGN;
        if (code == Rules.ABS) return a & Fp32.MAGNITUDE;
        if (code == Rules.RELU) b = 0;
        Fp32.Order order = Fp32.compare(a, b);
        if (order == Fp32.Order.Unordered) return Fp32.NAN;
        if (code == Rules.MIN) return order == Fp32.Order.Less ? a : b;
        // Max, and Relu as the maximum with zero.
        return order == Fp32.Order.Less || (code == Rules.RELU && order == Fp32.Order.Equal) ? b : a;
    }

    /// @dev The low bits of the result; operands are values of 32 or 64 bits.
    function _integer(uint256 code, int256 a, int256 b) private pure returns (uint256) {
        unchecked {
            if (code == Rules.ADD) return uint256(a + b);
            if (code == Rules.SUB) return uint256(a - b);
            if (code == Rules.MUL) return uint256(a * b);
            if (code == Rules.DIV) return b == 0 ? 0 : uint256(a / b);
            if (code == Rules.NEG) return uint256(-a);
            if (code == Rules.ABS) return uint256(a < 0 ? -a : a);
            if (code == Rules.MIN) return uint256(a < b ? a : b);
            return uint256(a > b ? a : b);
        }
    }

    function _compare(uint256 code, uint256 dtype, uint256 a, uint256 b) private pure returns (bool) {
        bool less;
        bool equal;
        if (dtype == Tensor.F32) {
            Fp32.Order order = Fp32.compare(a, b);
            if (order == Fp32.Order.Unordered) return false;
            (less, equal) = (order == Fp32.Order.Less, order == Fp32.Order.Equal);
        } else {
            (int256 x, int256 y) = (Elements.integer(dtype, a), Elements.integer(dtype, b));
            (less, equal) = (x < y, x == y);
        }
        if (code == Rules.EQUAL) return equal;
        if (code == Rules.LESS) return less;
        if (code == Rules.LESS_EQ) return less || equal;
        if (code == Rules.GREATER) return !less && !equal;
        return !less;
    }

    function _cast(uint256 from, uint256 to, uint256 a) private pure returns (uint256) {
        if (from == Tensor.F32) {
            if (to == Tensor.F32) return a;
            if (to == Tensor.BOOL) return Fp32.isZero(a) ? 0 : 1;
            if (to == Tensor.U8) return uint256(Fp32.toInteger(a, 0, 255));
            if (to == Tensor.I32) {
                return uint256(Fp32.toInteger(a, type(int32).min, type(int32).max)) & type(uint32).max;
            }
            return uint256(Fp32.toInteger(a, type(int64).min, type(int64).max)) & type(uint64).max;
        }
        if (from == Tensor.BOOL && a != 0) a = 1;
        int256 value = Elements.integer(from, a);
        if (to == Tensor.F32) return Fp32.fromInteger(value);
        if (to == Tensor.BOOL) return value == 0 ? 0 : 1;
        if (to == Tensor.U8) return uint256(value) & 0xff;
        return uint256(value) & (to == Tensor.I32 ? type(uint32).max : type(uint64).max);
    }
}
