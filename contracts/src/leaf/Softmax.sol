// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Profile} from "../libraries/Profile.sol";

/// @title Softmax
/// @notice Shifted by the row's maximum; derived in `docs/envelopes.md#softmax`, mirrors `crates/protocol/src/enclosure/softmax.rs`.
/// Numbers are bits of binary32.
library Softmax {
    /// @notice The longest row that is judged; a longer one convicts nobody.
    uint256 internal constant MAX_ROW = 1 << 13;

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
            if (n > MAX_ROW) return true;
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
