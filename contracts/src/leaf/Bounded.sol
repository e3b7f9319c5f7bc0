// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";

/// @title Library functions
/// @notice |ŷ − f(x)| ≤ 2·k_rel·u·|f(x)| + k_abs·u·s + η; derived in `docs/envelopes.md#bounded`, mirrors
/// `crates/protocol/src/enclosure/bounded.rs`. x and y are bits of binary32.
library Bounded {
    uint256 internal constant ERF = 0x40;
    uint256 internal constant GELU = 0x41;
    uint256 internal constant GELU_TANH = 0x42;
    uint256 internal constant TANH = 0x43;
    uint256 internal constant SIGMOID = 0x44;
    uint256 internal constant EXP = 0x45;

    uint256 private constant ONE = Fixed.ONE;
    /// @dev −log2 of η.
    int256 private constant ETA = 150;

    /// @dev |f| in [lo, hi] units, and what the rule adds to 2·k_rel·u·|f|, in 2^-24 of the unit.
    struct Target {
        uint256 lo;
        uint256 hi;
        uint256 slack;
        uint256 kRel;
    }

    /// @dev ±mantissa · 2^shift units; `infinite`: everything from there on.
    struct Value {
        bool negative;
        uint256 mantissa;
        int256 shift;
        bool infinite;
    }

    /// @notice Whether `y` is a value of function `code` at `x`. Other codes have no rule here: outside.
    function bounded(uint256 code, uint256 profile, uint256 x, uint256 y) internal pure returns (bool) {
        if (Fp32.isNan(x) || Fp32.isNan(y)) {
            bool limit = Fp32.isInfinite(x) && (code == GELU || code == GELU_TANH);
            return Fp32.isNan(y) && (Fp32.isNan(x) || limit);
        }
        if (code == ERF || code == TANH || code == SIGMOID) return _saturating(code, profile, x, y);
        if (code == GELU || code == GELU_TANH) return _gelu(code, profile, x, y);
        if (code == EXP) return _exp(profile, x, y);
        return false;
    }

    function _saturating(uint256 code, uint256 profile, uint256 x, uint256 y) private pure returns (bool) {
        bool negative = x >> 31 == 1;
        Target memory f;
        if (Fp32.isInfinite(x)) {
            f.lo = f.hi = code == SIGMOID && negative ? 0 : ONE;
        } else {
            uint256 a = Fixed.magnitude(x);
            (f.lo, f.hi) = code == ERF
                ? Elementary.erf(a, false)
                : code == TANH ? Elementary.tanh(a) : Elementary.sigmoid(a, 1, negative);
        }
        if (Fp32.isInfinite(y)) return false;
        unchecked {
            f.slack = _kAbs(profile) << 96;
            f.kRel = _kRel(profile);
            return _hold(f, _value(y, negative && code != SIGMOID, -96, 0));
        }
    }

    function _gelu(uint256 code, uint256 profile, uint256 x, uint256 y) private pure returns (bool) {
        if (Fp32.isInfinite(x)) return x >> 31 == 1 ? Fp32.isZero(y) : y == Fp32.INFINITY;
        (bool negative, uint256 m, int256 e) = Fixed.decode(x);
        uint256 a = Fixed.magnitude(x);
        unchecked {
            Target memory f;
            (f.lo, f.hi) = code == GELU ? Elementary.geluGate(a, negative) : Elementary.geluTanhGate(a, negative);
            f.lo *= m;
            f.hi *= m;
            int256 unit = e - 96;
            f.slack = ((_kAbs(profile) * m) << (code == GELU ? 97 : 96)) + Fixed.ceil(1, 24 - ETA - unit);
            f.kRel = _kRel(profile);
            return _hold(f, _value(y, negative, unit, Fixed.OVERFLOW_EXPONENT - 1));
        }
    }

    function _exp(uint256 profile, uint256 x, uint256 y) private pure returns (bool) {
        bool negative = x >> 31 == 1;
        uint256 a = Fp32.isInfinite(x) ? Elementary.EXP_LIMIT : Fixed.magnitude(x);
        if (a >= Elementary.EXP_LIMIT && !negative) return y == Fp32.INFINITY;
        unchecked {
            Target memory f;
            int256 unit;
            if (a >= Elementary.EXP_LIMIT) {
                f.hi = ONE;
                unit = -184 - 96;
            } else {
                (uint256 m, uint256 k) = negative ? Elementary.expNegative(a) : Elementary.expPositive(a);
                f.lo = m - Elementary.EXP_ERROR;
                f.hi = m + Elementary.EXP_ERROR;
                unit = (negative ? -int256(k) : int256(k)) - 96;
            }
            f.slack = Fixed.ceil(1, 24 - ETA - unit);
            f.kRel = _kRel(profile);
            return _hold(f, _value(y, false, unit, Fixed.OVERFLOW_EXPONENT));
        }
    }

    function _kRel(uint256 profile) private pure returns (uint256) {
        return (profile >> 24) & 0xff;
    }

    function _kAbs(uint256 profile) private pure returns (uint256) {
        return (profile >> 16) & 0xff;
    }

    /// @dev `y` with its sign turned when `turn`; an infinity stands at `OVERFLOW · 2^overflow`.
    function _value(uint256 y, bool turn, int256 unit, int256 overflow) private pure returns (Value memory v) {
        (v.negative, v.mantissa, v.shift) = Fixed.decode(y);
        v.negative = v.negative != turn;
        if (Fp32.isInfinite(y)) {
            v.infinite = true;
            v.mantissa = Fixed.OVERFLOW;
            v.shift = overflow;
        }
        unchecked {
            v.shift -= unit;
        }
    }

    function _hold(Target memory f, Value memory y) private pure returns (bool) {
        if (y.mantissa != 0 && y.shift > 200) return false;
        unchecked {
            uint256 lo = Fixed.floor(y.mantissa, y.shift);
            uint256 below = 2 * f.kRel * f.lo + f.slack;
            if (y.negative && y.mantissa != 0) return !y.infinite && (f.lo + lo) << 24 <= below;
            if (!y.infinite && (Fixed.ceil(y.mantissa, y.shift) << 24) + below < f.lo << 24) return false;
            return lo << 24 <= (f.hi << 24) + 2 * f.kRel * f.hi + f.slack;
        }
    }
}
