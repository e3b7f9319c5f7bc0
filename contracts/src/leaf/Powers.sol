// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Logarithm} from "../libraries/Logarithm.sol";
import {Profile} from "../libraries/Profile.sol";
import {Bounded} from "./Bounded.sol";

/// @title Exp, Log, Softplus, Pow
/// @notice Mirrors `crates/protocol/src/enclosure/powers.rs`; derived in `docs/envelopes.md#bounded`.
library Powers {
    uint256 private constant ONE = Fixed.ONE;
    /// @dev Bits of 1.
    uint256 private constant UNIT = 0x3f800000;

    /// @dev Whether a number is an integer. Infinities count as even, as in C.
    enum Whole {
        No,
        Even,
        Odd
    }

    /// @notice Exp of `x`, neither a NaN.
    function exp(uint256 profile, uint256 x, uint256 y) internal pure returns (bool) {
        uint256 a = Fp32.isInfinite(x) ? Elementary.EXP_LIMIT : Fixed.magnitude(x);
        return _exponential(profile, a, x >> 31 == 1, y, false);
    }

    /// @dev e^t, or with `negative` e^-t, for t in Q96 within 130 units; `turn`: the negative of it.
    function _exponential(uint256 profile, uint256 t, bool negative, uint256 y, bool turn) private pure returns (bool) {
        if (t >= Elementary.EXP_LIMIT && !negative) return Fp32.isInfinite(y) && (y >> 31 == 1) == turn;
        unchecked {
            Bounded.Target memory f;
            int256 unit;
            if (t >= Elementary.EXP_LIMIT) {
                f.hi = ONE;
                unit = -184 - 96;
            } else {
                (uint256 m, uint256 k) = negative ? Elementary.expNegative(t) : Elementary.expPositive(t);
                f.lo = m - Elementary.EXP_ERROR;
                f.hi = m + Elementary.EXP_ERROR;
                unit = (negative ? -int256(k) : int256(k)) - 96;
            }
            f.slack = Bounded.eta(profile, unit);
            f.profile = profile;
            return Bounded.hold(f, Bounded.value(y, turn, unit, Fixed.OVERFLOW_EXPONENT));
        }
    }

    /// @notice Log of `x`, neither a NaN.
    function log(uint256 profile, uint256 x, uint256 y) internal pure returns (bool) {
        if (Fp32.isZero(x)) return y == Fp32.INFINITY | Fp32.SIGN;
        if (x == Fp32.INFINITY) return y == Fp32.INFINITY;
        if (x >> 31 == 1 || Fp32.isInfinite(y)) return false;
        (, uint256 m, int256 e) = Fixed.decode(x);
        (bool negative, uint256 size) = Logarithm.ln(m, e);
        Bounded.Target memory f;
        unchecked {
            f.lo = size > Logarithm.LOG_ERROR ? (size - Logarithm.LOG_ERROR) >> 32 : 0;
            f.hi = ((size + Logarithm.LOG_ERROR) >> 32) + 1;
        }
        f.profile = profile;
        return Bounded.hold(f, Bounded.value(y, negative, -96, 0));
    }

    /// @notice ln(1 + e^x), neither a NaN.
    function softplus(uint256 profile, uint256 x, uint256 y) internal pure returns (bool) {
        bool negative = x >> 31 == 1;
        if (x == Fp32.INFINITY) return y == x;
        uint256 a = Fp32.isInfinite(x) ? Elementary.EXP_LIMIT : Fixed.magnitude(x);
        Bounded.Target memory f;
        f.profile = profile;
        int256 unit = -96;
        unchecked {
            if (a >= Elementary.EXP_LIMIT && !negative) {
                (, uint256 m, int256 e) = Fixed.decode(x);
                unit = e - 96;
                f.lo = m << 96;
                f.hi = f.lo + 1;
            } else {
                (uint256 lo, uint256 hi) = Elementary.expInterval(a, 1);
                f.lo = Logarithm.lnOnePlus(lo) + (negative ? 0 : a);
                f.hi = f.lo + 1 + Logarithm.ONE_PLUS_ERROR + (hi - lo);
            }
            f.slack = Fixed.ceil(Profile.kAbs(profile), -unit);
            return Bounded.hold(f, Bounded.value(y, false, unit, Fixed.OVERFLOW_EXPONENT));
        }
    }

    /// @dev Of bits that are no NaN.
    function _whole(uint256 x) private pure returns (Whole) {
        (, uint256 m, int256 e) = Fixed.decode(x);
        unchecked {
            if (Fp32.isInfinite(x) || e > 0 || m == 0) return Whole.Even;
            uint256 places = uint256(-e);
            if (places > 23 || m & ((1 << places) - 1) != 0) return Whole.No;
            return (m >> places) & 1 == 0 ? Whole.Even : Whole.Odd;
        }
    }

    /// @notice Whether `y` is a value of `x` to the power of `exponent`.
    function power(uint256 profile, uint256 x, uint256 exponent, uint256 y) internal pure returns (bool) {
        uint256 size = x & Fp32.MAGNITUDE;
        Whole whole = _whole(exponent);
        bool finite = Fp32.isFinite(x) && Fp32.isFinite(exponent);
        bool nan = Fp32.isNan(x) || Fp32.isNan(exponent);
        bool one = Fp32.isZero(exponent) || x == UNIT || (size == UNIT && Fp32.isInfinite(exponent));
        bool root = Fp32.isFinite(x) && x > Fp32.SIGN && whole == Whole.No;
        if (Fp32.isNan(y)) return nan || root || (one && !finite);
        if (one) return finite ? _exponential(profile, 0, false, y, false) : y == UNIT;
        if (nan || root) return false;
        bool turn = x >> 31 == 1 && whole == Whole.Odd;
        bool down = exponent >> 31 == 1;
        if (size == 0 || !finite) {
            if ((size > UNIT) != down) return y == (turn ? Fp32.INFINITY | Fp32.SIGN : Fp32.INFINITY);
            return Fp32.isZero(y);
        }
        (, uint256 m, int256 e) = Fixed.decode(x);
        (bool negative, uint256 ln) = Logarithm.ln(m, e);
        (, m, e) = Fixed.decode(exponent);
        unchecked {
            return _exponential(profile, Fixed.floor(m * ln, e - 32), negative != down, y, turn);
        }
    }
}
