// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Parts} from "../libraries/Parts.sol";
import {Profile} from "../libraries/Profile.sol";

/// @title Softmax
/// @notice Shifted by the row's maximum; derived in `docs/envelopes.md#softmax`, mirrors `crates/protocol/src/enclosure/softmax.rs`.
/// Numbers are bits of binary32.
library Softmax {
    /// @dev Most bits of a sum of 2^24 ends.
    uint256 private constant SUM_BITS = 128;
    /// @dev 104 in Q96.
    uint256 private constant NEGLIGIBLE = 104 << 96;
    /// @dev What stands for −∞.
    int256 private constant MINUS_INFINITY = -(1 << 254);

    /// @dev Sums of the terms' lower and upper ends in Q96, and the roundings behind a result.
    struct Sums {
        uint256 down;
        uint256 up;
        uint256 roundings;
    }

    /// @notice Holds `y` against element `place` of the softmax of `row`.
    function softmax(uint256 profile, uint256[] memory row, uint256 place, uint256 y) internal pure returns (bool) {
        unchecked {
            uint256 n = row.length;
            if (n > Parts.mostTerms(profile)) return true;
            int256[] memory values = new int256[](n);
            int256 maximum = MINUS_INFINITY;
            bool undefined;
            for (uint256 i = 0; i < n; ++i) {
                uint256 x = row[i];
                int256 value = _signed(x);
                values[i] = value;
                if (value > maximum) maximum = value;
                if (Fp32.isNan(x) || x == Fp32.INFINITY) undefined = true;
            }
            if (undefined || maximum == MINUS_INFINITY) return Fp32.isNan(y);
            if (place >= n) return true;
            if (!Fp32.isFinite(y) || (y >> 31 == 1 && !Fp32.isZero(y))) return false;

            uint256 rule = _rule(profile);
            Sums memory others = Sums(0, 0, 1);
            for (uint256 i = 0; i < n; ++i) {
                uint256 t = uint256(maximum - values[i]);
                if (t < NEGLIGIBLE) ++others.roundings;
                if (i == place) continue;
                (uint256 a, uint256 b, uint256 j) = _term(rule, t);
                others.down += a >> j;
                others.up += (b >> j) + 2;
            }
            (uint256 lo, uint256 hi, uint256 k) = _term(rule, uint256(maximum - values[place]));
            return _hold(others, lo, hi, k, y, Profile.isWide(profile));
        }
    }

    /// @notice What is kept of terms by parts, relative to the maximum that is claimed: sums of their lower and upper ends, and counts of
    /// terms whose additions are roundings, above the maximum, equal to it, and NaN or +∞.
    function sums(uint256 profile, uint256 maximum, uint256[] memory row)
        internal
        pure
        returns (uint256[] memory words)
    {
        unchecked {
            words = new uint256[](3);
            uint256 rule = _rule(profile);
            int256 most = _signed(maximum);
            uint256 counts = 0;
            for (uint256 i = 0; i < row.length; ++i) {
                uint256 x = row[i];
                if (Fp32.isNan(x) || x == Fp32.INFINITY) {
                    counts += 1 << 96;
                    continue;
                }
                int256 value = _signed(x);
                if (value > most) {
                    counts += 1 << 32;
                    continue;
                }
                if (value == most) counts += 1 << 64;
                uint256 t = uint256(most - value);
                if (t < NEGLIGIBLE) ++counts;
                (uint256 lo, uint256 hi, uint256 k) = _term(rule, t);
                words[0] += lo >> k;
                words[1] += (hi >> k) + 2;
            }
            words[2] = counts;
        }
    }

    /// @notice Whether a row's maximum may be these bits: a number or −∞.
    function admits(uint256 maximum) internal pure returns (bool) {
        return maximum >> 32 == 0 && !Fp32.isNan(maximum) && maximum != Fp32.INFINITY;
    }

    /// @notice Holds `y` against the softmax of a row with these sums over `terms` terms, at a place whose term is `own`. `known` is false
    /// where no row has them.
    function totals(uint256 profile, uint256 terms, uint256 maximum, uint256 own, uint256[] memory words, uint256 y)
        internal
        pure
        returns (bool known, bool inside)
    {
        unchecked {
            if (words.length != 3 || words[0] >> SUM_BITS != 0 || words[1] >> SUM_BITS != 0) return (false, false);
            uint256 counts = words[2];
            if (!Parts.fits(counts, 4, terms)) return (false, false);
            if (Parts.field(counts, 3) != 0) return (true, Fp32.isNan(y));
            if (Parts.field(counts, 1) != 0 || Parts.field(counts, 2) == 0) return (false, false);
            int256 most = _signed(maximum);
            if (most == MINUS_INFINITY) return (true, Fp32.isNan(y));
            if (Fp32.isNan(own) || own == Fp32.INFINITY || _signed(own) > most) return (false, false);
            (uint256 lo, uint256 hi, uint256 k) = _term(_rule(profile), uint256(most - _signed(own)));
            Sums memory others = Sums(words[0] - (lo >> k), words[1] - (hi >> k) - 2, 1 + Parts.field(counts, 0));
            // The maximum's own exponential is above a half.
            if (words[0] < Fixed.ONE >> 1 || words[0] < lo >> k || words[1] < (hi >> k) + 2) return (false, false);
            if (!Fp32.isFinite(y) || (y >> 31 == 1 && !Fp32.isZero(y))) return (true, false);
            return (true, _hold(others, lo, hi, k, y, Profile.isWide(profile)));
        }
    }

    function _hold(Sums memory others, uint256 lo, uint256 hi, uint256 k, uint256 y, bool wide)
        private
        pure
        returns (bool)
    {
        unchecked {
            (, uint256 m, int256 shift) = Fixed.decode(y);
            (uint256 down, uint256 up) = Fixed.cell(wide, m, shift);
            // A subnormal quotient is rounded to a multiple of 2^-149.
            if (!wide && shift == -149) (down, up) = (2, 2);
            m *= 4;
            shift += int256(k) - 2;
            uint256 p = wide ? 53 : 24;
            uint256 kept = (1 << p) - others.roundings;
            uint256 least = (hi >> k) + others.down - 1;
            if (!Fixed.atMost((m > down ? m - down : 0) * least * kept, shift, hi, int256(p))) return false;
            uint256 most = (lo >> k) + others.up + 2;
            return Fixed.atMost(lo * kept, 0, (m + up) * most, shift + int256(p));
        }
    }

    /// @dev What a term needs of the profile, in one word: `rest` of a term at the maximum, 1 − b less two units, in units of u·2^-32;
    /// above it −log2 of that unit; above that the exponent from which a term may underflow in fp32, 255 if it is binary64.
    function _rule(uint256 profile) private pure returns (uint256) {
        unchecked {
            bool wide = Profile.isWide(profile);
            uint256 scale = Profile.precision(profile) + 32;
            uint256 rest = (1 << scale) - 2 - (Profile.kRel(profile) << 33);
            return rest | scale << 128 | uint256(wide ? 255 : 54) << 136;
        }
    }

    /// @dev One term e^-t: `[lo, hi] · 2^(-96-k)`, by a `_rule`.
    function _term(uint256 rule, uint256 t) private pure returns (uint256 lo, uint256 hi, uint256 k) {
        unchecked {
            if (t >= NEGLIGIBLE) return (0, rule >> 136 == 54 ? Fixed.ONE << 1 : Fixed.ONE - (Fixed.ONE >> 6), 150);
            uint256 m;
            (m, k) = Elementary.expNegative(t);
            uint256 scale = (rule >> 128) & 0xff;
            uint256 rest = uint128(rule) - (t >> 64);
            lo = ((m - Elementary.EXP_ERROR) * rest) >> scale;
            hi = ((m + Elementary.EXP_ERROR) << scale) / rest + 1;
            if (k > rule >> 136) {
                hi += 1 << (k - 54);
                // Exponentials below 2^-126 may be flushed.
                if (k > 126 || (k == 126 && lo < Fixed.ONE)) lo = 0;
            }
        }
    }

    /// @dev The value in Q96, truncated toward zero; −∞ as `MINUS_INFINITY`.
    function _signed(uint256 x) private pure returns (int256) {
        unchecked {
            if (Fp32.isInfinite(x)) return MINUS_INFINITY;
            int256 value = int256(Fixed.magnitude(x));
            return x >> 31 == 1 ? -value : value;
        }
    }
}
