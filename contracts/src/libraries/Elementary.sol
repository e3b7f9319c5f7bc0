// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fixed} from "./Fixed.sol";

/// @title Enclosures of exp, erf, sigmoid and tanh in Q96
/// @notice Mirrors `crates/protocol/src/enclosure/elementary.rs`, step by step; the proofs of the errors stand there. Arguments are
/// magnitudes in Q96, rounded down.
library Elementary {
    uint256 private constant ONE = Fixed.ONE;
    uint256 private constant LN2 = 54916777467707473351141471128;
    uint256 private constant TWO_OVER_SQRT_PI = 89399408028353504598410466558;
    uint256 private constant SQRT_TWO_OVER_PI = 63214927650911841617241039488;
    uint256 private constant TWO_SQRT_TWO_OVER_PI = 126429855301823683234482078976;
    uint256 private constant GELU_CUBIC = 3542687286825329855495317739;

    /// @notice Units by which the mantissas of the exponentials may be off, either way.
    uint256 internal constant EXP_ERROR = 1024;
    uint256 private constant ERF_ERROR = 16384;
    uint256 private constant GATE_ERROR = 16384;
    /// @notice Exponentials of arguments from 128 on are below 2^-184: callers clamp.
    uint256 internal constant EXP_LIMIT = 1 << 103;
    uint256 private constant ERF_CUT = 1 << 102;
    uint256 private constant ERF_TAIL = 1 << 47;

    /// @dev Σ rⁿ/n! for n ≤ 24.
    function _taylor(uint256 r) private pure returns (uint256 acc) {
        assembly ("memory-safe") {
            let one := shl(96, 1)
            acc := one
            acc := add(one, div(shr(96, mul(r, acc)), 24))
            acc := add(one, div(shr(96, mul(r, acc)), 23))
            acc := add(one, div(shr(96, mul(r, acc)), 22))
            acc := add(one, div(shr(96, mul(r, acc)), 21))
            acc := add(one, div(shr(96, mul(r, acc)), 20))
            acc := add(one, div(shr(96, mul(r, acc)), 19))
            acc := add(one, div(shr(96, mul(r, acc)), 18))
            acc := add(one, div(shr(96, mul(r, acc)), 17))
            acc := add(one, div(shr(96, mul(r, acc)), 16))
            acc := add(one, div(shr(96, mul(r, acc)), 15))
            acc := add(one, div(shr(96, mul(r, acc)), 14))
            acc := add(one, div(shr(96, mul(r, acc)), 13))
            acc := add(one, div(shr(96, mul(r, acc)), 12))
            acc := add(one, div(shr(96, mul(r, acc)), 11))
            acc := add(one, div(shr(96, mul(r, acc)), 10))
            acc := add(one, div(shr(96, mul(r, acc)), 9))
            acc := add(one, div(shr(96, mul(r, acc)), 8))
            acc := add(one, div(shr(96, mul(r, acc)), 7))
            acc := add(one, div(shr(96, mul(r, acc)), 6))
            acc := add(one, div(shr(96, mul(r, acc)), 5))
            acc := add(one, div(shr(96, mul(r, acc)), 4))
            acc := add(one, div(shr(96, mul(r, acc)), 3))
            acc := add(one, div(shr(96, mul(r, acc)), 2))
            acc := add(one, div(shr(96, mul(r, acc)), 1))
        }
    }

    /// @notice e^-t = m · 2^(-96-k).
    function expNegative(uint256 t) internal pure returns (uint256 m, uint256 k) {
        unchecked {
            k = Fixed.divUp(t, LN2);
            m = _taylor(k * LN2 - t);
        }
    }

    /// @notice e^t = m · 2^(k-96).
    function expPositive(uint256 t) internal pure returns (uint256 m, uint256 k) {
        unchecked {
            k = t / LN2;
            m = _taylor(t - k * LN2);
        }
    }

    /// @notice e^-t for t within `off` units.
    function expInterval(uint256 t, uint256 off) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            if (t >= EXP_LIMIT) return (0, 1 + off);
            (uint256 m, uint256 k) = expNegative(t);
            return _belowOne(m >> k, EXP_ERROR + 1 + off);
        }
    }

    /// @dev `value ± off`, not below 0 nor above 1.
    function _belowOne(uint256 value, uint256 off) private pure returns (uint256 lo, uint256 hi) {
        unchecked {
            lo = value > off ? value - off : 0;
            hi = value + off;
            if (lo > ONE) lo = ONE;
            if (hi > ONE) hi = ONE;
        }
    }

    /// @notice 1/(1 + e^-t), or with `negative` 1/(1 + e^t), for t within `off` units.
    function sigmoid(uint256 t, uint256 off, bool negative) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            (uint256 a, uint256 b) = expInterval(t, off);
            if (negative) return ((a << 96) / (ONE + a), (b << 96) / (ONE + b) + 1);
            return ((ONE << 96) / (ONE + b), (ONE << 96) / (ONE + a) + 1);
        }
    }

    function tanh(uint256 t) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            (uint256 a, uint256 b) = expInterval(t << 1, 2);
            return (((ONE - b) << 96) / (ONE + b), ((ONE - a) << 96) / (ONE + a) + 1);
        }
    }

    /// @notice erf(a), or with `halved` erf(a/√2).
    function erf(uint256 a, bool halved) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            uint256 q = a >= ONE << 3 ? ERF_CUT : (a * a) >> (halved ? 96 : 95);
            if (q >= ERF_CUT) return (ONE - ERF_TAIL, ONE);
            uint256 sum = ONE;
            uint256 term = ONE;
            for (uint256 odd = 3; term != 0; odd += 2) {
                term = ((term * q) >> 96) / odd;
                sum += term;
            }
            (uint256 m, uint256 k) = expNegative(q >> 1);
            uint256 h = (sum * m) >> (96 + k);
            uint256 factor = halved ? SQRT_TWO_OVER_PI : TWO_OVER_SQRT_PI;
            return _belowOne((((factor * a) >> 96) * h) >> 96, ERF_ERROR);
        }
    }

    /// @notice (1 + erf(x/√2))/2 for |x| = a.
    function geluGate(uint256 a, bool negative) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            (lo, hi) = erf(a, true);
            if (negative) return ((ONE - hi) >> 1, ((ONE - lo) >> 1) + 1);
            return ((ONE + lo) >> 1, ((ONE + hi) >> 1) + 1);
        }
    }

    /// @notice (1 + tanh(√(2/π)·(x + 0.044715·x³)))/2 for |x| = a.
    function geluTanhGate(uint256 a, bool negative) internal pure returns (uint256 lo, uint256 hi) {
        unchecked {
            if (a >= ONE << 4) return sigmoid(EXP_LIMIT, 0, negative);
            uint256 square = (a * a) >> 96;
            uint256 cubic = ONE + ((GELU_CUBIC * square) >> 96);
            uint256 inner = (a * cubic) >> 96;
            return sigmoid((TWO_SQRT_TWO_OVER_PI * inner) >> 96, GATE_ERROR, negative);
        }
    }
}
