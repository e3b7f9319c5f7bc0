// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Elementary} from "../libraries/Elementary.sol";
import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";

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

            uint256 kRel = (profile >> 24) & 0xff;
            Sums memory others = Sums(0, 0, 1);
            for (uint256 i = 0; i < n; ++i) {
                (uint256 a, uint256 b, uint256 j) = _term(kRel, uint256(maximum - values[i]));
                others.roundings += _counted(maximum - values[i]);
                if (i == place) continue;
                others.down += a >> j;
                others.up += (b >> j) + 2;
            }
            (uint256 lo, uint256 hi, uint256 k) = _term(kRel, uint256(maximum - values[place]));
            return _hold(others, lo, hi, k, y);
        }
    }

    function _hold(Sums memory others, uint256 lo, uint256 hi, uint256 k, uint256 y) private pure returns (bool) {
        unchecked {
            (, uint256 twice, int256 shift) = Fixed.decode(y);
            twice *= 2;
            uint256 half = shift == -149 ? 1 : 0;
            shift += int256(k) - 1;
            uint256 kept = (1 << 24) - others.roundings;
            uint256 least = (hi >> k) + others.down - 1;
            uint256 above = twice > half ? twice - half : 0;
            if (!Fixed.atMost(above * least * kept, shift, hi, 24)) return false;
            uint256 most = (lo >> k) + others.up + 2;
            return Fixed.atMost(lo * kept, 0, (twice + half) * most, shift + 24);
        }
    }

    /// @dev One term e^-t: `[lo, hi] · 2^(-96-k)`.
    function _term(uint256 kRel, uint256 t) private pure returns (uint256 lo, uint256 hi, uint256 k) {
        unchecked {
            if (t >= NEGLIGIBLE) return (0, Fixed.ONE << 1, 150);
            uint256 m;
            (m, k) = Elementary.expNegative(t);
            uint256 rest = (1 << 56) - ((t >> 64) + 2 + (kRel << 33));
            lo = ((m - Elementary.EXP_ERROR) * rest) >> 56;
            if (k > 126 || (k == 126 && lo < Fixed.ONE)) lo = 0;
            hi = ((m + Elementary.EXP_ERROR) << 56) / rest + 1;
            if (k > 54) hi += 1 << (k - 54);
        }
    }

    /// @dev 1 if the additions of a term this far below the maximum count as roundings.
    function _counted(int256 t) private pure returns (uint256) {
        return uint256(t) < NEGLIGIBLE ? 1 : 0;
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
