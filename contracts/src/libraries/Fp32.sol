// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title IEEE-754 binary32 on bit patterns
/// @notice Round to nearest, ties to even, subnormals kept; mirrors `crates/protocol/src/fp32.rs`. Numbers are bits in the low 32 of
/// a word. Every function is total; results that are NaN are `NAN`.
library Fp32 {
    uint256 internal constant NAN = 0x7fc00000;
    uint256 internal constant INFINITY = 0x7f800000;
    uint256 internal constant SIGN = 0x80000000;
    uint256 internal constant MAGNITUDE = 0x7fffffff;

    /// @notice What `compare` gives.
    enum Order {
        Less,
        Equal,
        Greater,
        Unordered
    }

    function isNan(uint256 x) internal pure returns (bool) {
        return x & MAGNITUDE > INFINITY;
    }

    function isInfinite(uint256 x) internal pure returns (bool) {
        return x & MAGNITUDE == INFINITY;
    }

    function isFinite(uint256 x) internal pure returns (bool) {
        return x & MAGNITUDE < INFINITY;
    }

    function isZero(uint256 x) internal pure returns (bool) {
        return x & MAGNITUDE == 0;
    }

    /// @notice Whether two results are the same: equal bits, or both NaN.
    function same(uint256 x, uint256 y) internal pure returns (bool) {
        return x == y || (isNan(x) && isNan(y));
    }

    /// @notice As `same`, with the sign of zero free.
    function sameValue(uint256 x, uint256 y) internal pure returns (bool) {
        return same(x, y) || (isZero(x) && isZero(y));
    }

    /// @notice Exponent, 1 to 254, and significand, below 2^24, of a finite number: `significand · 2^(exponent − 150)`.
    function parts(uint256 x) internal pure returns (uint256 exponent, uint256 significand) {
        exponent = (x >> 23) & 0xff;
        significand = x & 0x7fffff;
        if (exponent == 0) return (1, significand);
        significand |= 0x800000;
    }

    /// @notice The number nearest to `± significand · 2^exponent`; `sticky` says that the exact magnitude is a little above that
    /// (see the Rust side for when that may be said). `significand` is below 2^128.
    function round(uint256 sign, uint256 significand, int256 exponent, bool sticky) internal pure returns (uint256) {
        unchecked {
            if (significand == 0) return sign;
            int256 top = int256(_bits(significand)) - 1 + exponent;
            // Exponent of the result's last place.
            int256 last = top - 23 < -149 ? int256(-149) : top - 23;
            if (last > 104) return sign | INFINITY;
            int256 shift = last - exponent;
            uint256 kept;
            if (shift <= 0) {
                kept = significand << uint256(-shift);
            } else if (shift <= 127) {
                kept = significand >> uint256(shift);
                uint256 rest = significand & ((1 << uint256(shift)) - 1);
                uint256 half = 1 << uint256(shift - 1);
                if (rest > half || (rest == half && (sticky || kept & 1 == 1))) ++kept;
            }
            // A significand that rounds up to 2^24 carries into the exponent.
            return sign | ((uint256(last + 149) << 23) + kept);
        }
    }

    function add(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            if (isNan(a) || isNan(b)) return NAN;
            if (isInfinite(a)) return isInfinite(b) && a != b ? NAN : a;
            if (isInfinite(b)) return b;
            if (_field(a) < _field(b)) (a, b) = (b, a);
            (uint256 ea, uint256 ma) = parts(a);
            (uint256 eb, uint256 mb) = parts(b);
            uint256 distance = ea - eb;
            // 64 bits below the greater one's last place hold all of the other; what is below them is half a unit of the next.
            int256 small = int256(distance <= 64 ? mb << (65 - distance) : (mb == 0 ? 0 : 1));
            int256 sum = (a & SIGN == 0 ? int256(ma << 65) : -int256(ma << 65)) + (b & SIGN == 0 ? small : -small);
            // Of equal signs the sign; of an exact cancellation, plus.
            if (sum == 0) return a & b & SIGN;
            return round(sum < 0 ? SIGN : 0, uint256(sum < 0 ? -sum : sum), int256(ea) - 215, false);
        }
    }

    function sub(uint256 a, uint256 b) internal pure returns (uint256) {
        return isNan(b) ? NAN : add(a, b ^ SIGN);
    }

    function mul(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            uint256 sign = (a ^ b) & SIGN;
            if (isNan(a) || isNan(b)) return NAN;
            if (isInfinite(a) || isInfinite(b)) return isZero(a) || isZero(b) ? NAN : sign | INFINITY;
            (uint256 ea, uint256 ma) = parts(a);
            (uint256 eb, uint256 mb) = parts(b);
            return round(sign, ma * mb, int256(ea + eb) - 300, false);
        }
    }

    function div(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            uint256 sign = (a ^ b) & SIGN;
            if (isNan(a) || isNan(b)) return NAN;
            if (isInfinite(a)) return isInfinite(b) ? NAN : sign | INFINITY;
            if (isInfinite(b)) return sign;
            if (isZero(b)) return isZero(a) ? NAN : sign | INFINITY;
            (uint256 ea, uint256 ma) = parts(a);
            (uint256 eb, uint256 mb) = parts(b);
            // The quotient has at least 48 bits, or is 0.
            uint256 dividend = ma << 72;
            return round(sign, dividend / mb, int256(ea) - int256(eb) - 72, dividend % mb != 0);
        }
    }

    function sqrt(uint256 a) internal pure returns (uint256) {
        unchecked {
            if (isZero(a)) return a;
            if (isNan(a) || a & SIGN != 0) return NAN;
            if (isInfinite(a)) return a;
            (uint256 ea, uint256 ma) = parts(a);
            // An even exponent and a radicand of 63 or 64 bits, so that the root has 32.
            int256 exponent = int256(ea) - 150;
            uint256 shift = 64 - _bits(ma);
            if ((exponent - int256(shift)) % 2 != 0) --shift;
            uint256 radicand = ma << shift;
            uint256 root = 1 << 32;
            // Newton's steps from above fall until the floor is reached.
            for (uint256 next = (root + radicand / root) >> 1; next < root; next = (root + radicand / root) >> 1) {
                root = next;
            }
            return round(0, root, (exponent - int256(shift)) / 2, root * root != radicand);
        }
    }

    /// @notice −0 equals +0.
    function compare(uint256 a, uint256 b) internal pure returns (Order) {
        if (isNan(a) || isNan(b)) return Order.Unordered;
        (int256 x, int256 y) = (_key(a), _key(b));
        return x < y ? Order.Less : (x == y ? Order.Equal : Order.Greater);
    }

    /// @notice The number nearest to an integer of 64 bits.
    function fromInteger(int256 value) internal pure returns (uint256) {
        unchecked {
            return round(value < 0 ? SIGN : 0, uint256(value < 0 ? -value : value), 0, false);
        }
    }

    /// @notice The integer towards zero, cut to `[least, greatest]`; NaN gives 0.
    function toInteger(uint256 x, int256 least, int256 greatest) internal pure returns (int256) {
        unchecked {
            if (isNan(x)) return 0;
            (uint256 exponent, uint256 significand) = parts(x);
            // Every number from 2^64 on, infinity with it, counts as 2^64 − 1.
            uint256 magnitude = type(uint64).max;
            if (exponent < 150) magnitude = significand >> (150 - exponent);
            else if (exponent < 214) magnitude = significand << (exponent - 150);
            int256 value = x & SIGN == 0 ? int256(magnitude) : -int256(magnitude);
            return value < least ? least : (value > greatest ? greatest : value);
        }
    }

    function _field(uint256 x) private pure returns (uint256) {
        return x & INFINITY;
    }

    /// @dev A number that orders as the value does, zeros equal.
    function _key(uint256 x) private pure returns (int256) {
        unchecked {
            return x & SIGN == 0 ? int256(x & MAGNITUDE) : -int256(x & MAGNITUDE);
        }
    }

    function _bits(uint256 x) private pure returns (uint256 count) {
        assembly ("memory-safe") {
            count := sub(256, clz(x))
        }
    }
}
