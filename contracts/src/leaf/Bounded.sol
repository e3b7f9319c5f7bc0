// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Profile} from "../libraries/Profile.sol";

/// @title Library functions
/// @notice |ŷ − f(x)| ≤ 2·k_rel·u·|f(x)| + k_abs·u·s + η, or some number of ŷ's rounding cell without η under `wide`; derived in `docs/envelopes.md#bounded`, mirrors
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

    /// @dev |f| in [lo, hi] units, and what the rule adds to 2·k_rel·u·|f|, in u of the unit.
    struct Target {
        uint256 lo;
        uint256 hi;
        uint256 slack;
        uint256 profile;
    }

    /// @dev ±mantissa · 2^exponent, which is mantissa · 2^shift units; `infinite`: everything from there on.
    struct Value {
        bool negative;
        uint256 mantissa;
        int256 exponent;
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
            f.slack = Profile.kAbs(profile) << 96;
            f.profile = profile;
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
            f.slack = ((Profile.kAbs(profile) * m) << (code == GELU ? 97 : 96)) + _eta(profile, unit);
            f.profile = profile;
            // x · (1 + erf) may overflow before it is halved, but not in binary64.
            int256 overflow = Fixed.OVERFLOW_EXPONENT - (Profile.isWide(profile) ? int256(0) : int256(1));
            return _hold(f, _value(y, negative, unit, overflow));
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
            f.slack = _eta(profile, unit);
            f.profile = profile;
            return _hold(f, _value(y, false, unit, Fixed.OVERFLOW_EXPONENT));
        }
    }

    /// @dev η in u of a unit of 2^unit: none where nothing underflows before the last rounding.
    function _eta(uint256 profile, int256 unit) private pure returns (uint256) {
        if (Profile.isWide(profile)) return 0;
        unchecked {
            return Fixed.ceil(1, int256(Profile.precision(profile)) - ETA - unit);
        }
    }

    /// @dev `y` with its sign turned when `turn`; an infinity stands at `OVERFLOW · 2^overflow`.
    function _value(uint256 y, bool turn, int256 unit, int256 overflow) private pure returns (Value memory v) {
        (v.negative, v.mantissa, v.exponent) = Fixed.decode(y);
        v.negative = v.negative != turn;
        if (Fp32.isInfinite(y)) {
            v.infinite = true;
            v.mantissa = Fixed.OVERFLOW;
            v.exponent = overflow;
        }
        unchecked {
            v.shift = v.exponent - unit;
        }
    }

    function _hold(Target memory f, Value memory y) private pure returns (bool) {
        if (y.mantissa != 0 && y.shift > 170) return false;
        unchecked {
            uint256 p = Profile.precision(f.profile);
            uint256 kRel = Profile.kRel(f.profile);
            (uint256 lo, uint256 hi) = _ends(y, f);
            uint256 below = 2 * kRel * f.lo + f.slack;
            if (y.negative && y.mantissa != 0) return !y.infinite && (f.lo + lo) << p <= below;
            if (!y.infinite && (hi << p) + below < f.lo << p) return false;
            return lo << p <= (f.hi << p) + 2 * kRel * f.hi + f.slack;
        }
    }

    /// @dev The least and the greatest that |ŷ| stands for, rounded outward to units.
    function _ends(Value memory y, Target memory f) private pure returns (uint256 lo, uint256 hi) {
        unchecked {
            uint256 quarters = 4 * y.mantissa;
            (uint256 down, uint256 up) = Fixed.cell(Profile.isWide(f.profile), y.mantissa, y.exponent);
            lo = Fixed.floor(quarters > down ? quarters - down : 0, y.shift - 2);
            hi = Fixed.ceil(quarters + up, y.shift - 2);
        }
    }
}
