// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Profile} from "../libraries/Profile.sol";
import {Rules} from "../libraries/Rules.sol";
import {Circular} from "./Circular.sol";
import {Powers} from "./Powers.sol";

/// @title Library functions
/// @notice |ŷ − f(x)| ≤ 2·k_rel·u·|f(x)| + k_abs·u·s + η, or some number of ŷ's rounding cell without η under `wide`; derived in `docs/envelopes.md#bounded`, mirrors
/// `crates/protocol/src/enclosure/bounded.rs`. x and y are bits of binary32.
library Bounded {
    uint256 private constant ONE = Fixed.ONE;
    /// @dev −log2 of η.
    int256 private constant ETA = 150;

    /// @notice |f| in [lo, hi] units, and what the rule adds to 2·k_rel·u·|f|, in u of the unit.
    struct Target {
        uint256 lo;
        uint256 hi;
        uint256 slack;
        uint256 profile;
    }

    /// @notice ±mantissa · 2^exponent, which is mantissa · 2^shift units; `infinite`: everything from there on.
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
            bool undefined = code == Rules.LOG
                ? x > Fp32.SIGN
                : Fp32.isInfinite(x) && (code == Rules.GELU || code == Rules.GELU_TANH || _isCircular(code));
            return Fp32.isNan(y) && (Fp32.isNan(x) || undefined);
        }
        if (code == Rules.ERF || code == Rules.TANH || code == Rules.SIGMOID) return _saturating(code, profile, x, y);
        if (code == Rules.GELU || code == Rules.GELU_TANH) return _gelu(code, profile, x, y);
        if (code == Rules.EXP) return Powers.exp(profile, x, y);
        if (code == Rules.LOG) return Powers.log(profile, x, y);
        if (code == Rules.SOFTPLUS) return Powers.softplus(profile, x, y);
        return _isCircular(code) && Circular.circular(code, profile, x, y);
    }

    function _isCircular(uint256 code) private pure returns (bool) {
        return code == Rules.SIN || code == Rules.COS;
    }

    function _saturating(uint256 code, uint256 profile, uint256 x, uint256 y) private pure returns (bool) {
        bool negative = x >> 31 == 1;
        Target memory f;
        if (Fp32.isInfinite(x)) {
            f.lo = f.hi = code == Rules.SIGMOID && negative ? 0 : ONE;
        } else {
            uint256 a = Fixed.magnitude(x);
            (f.lo, f.hi) = code == Rules.ERF
                ? Elementary.erf(a, false)
                : code == Rules.TANH ? Elementary.tanh(a) : Elementary.sigmoid(a, 1, negative);
        }
        if (Fp32.isInfinite(y)) return false;
        unchecked {
            f.slack = Profile.kAbs(profile) << 96;
            f.profile = profile;
            return hold(f, value(y, negative && code != Rules.SIGMOID, -96, 0));
        }
    }

    function _gelu(uint256 code, uint256 profile, uint256 x, uint256 y) private pure returns (bool) {
        if (Fp32.isInfinite(x)) return x >> 31 == 1 ? Fp32.isZero(y) : y == Fp32.INFINITY;
        (bool negative, uint256 m, int256 e) = Fixed.decode(x);
        uint256 a = Fixed.magnitude(x);
        unchecked {
            Target memory f;
            (f.lo, f.hi) = code == Rules.GELU ? Elementary.geluGate(a, negative) : Elementary.geluTanhGate(a, negative);
            f.lo *= m;
            f.hi *= m;
            int256 unit = e - 96;
            f.slack = ((Profile.kAbs(profile) * m) << (code == Rules.GELU ? 97 : 96)) + eta(profile, unit);
            f.profile = profile;
            // x · (1 + erf) may overflow before it is halved, but not in binary64.
            int256 overflow = Fixed.OVERFLOW_EXPONENT - (Profile.isWide(profile) ? int256(0) : int256(1));
            return hold(f, value(y, negative, unit, overflow));
        }
    }

    /// @notice η in u of a unit of 2^unit: none where nothing underflows before the last rounding.
    function eta(uint256 profile, int256 unit) internal pure returns (uint256) {
        if (Profile.isWide(profile)) return 0;
        unchecked {
            return Fixed.ceil(1, int256(Profile.precision(profile)) - ETA - unit);
        }
    }

    /// @notice `y` with its sign turned when `turn`; an infinity stands at `OVERFLOW · 2^overflow`.
    function value(uint256 y, bool turn, int256 unit, int256 overflow) internal pure returns (Value memory v) {
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

    /// @notice Holds y against the target: lo decides below and hi above.
    function hold(Target memory f, Value memory y) internal pure returns (bool) {
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
