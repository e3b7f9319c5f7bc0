// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Parts} from "../libraries/Parts.sol";
import {Profile} from "../libraries/Profile.sol";
import {Rules} from "../libraries/Rules.sol";

/// @title Layer norm and batch norm
/// @dev Longer than the house size: both share the arithmetic of roots and gaps.
/// @notice Derived in `docs/envelopes.md#normalize`, mirrors `crates/protocol/src/enclosure/normalize.rs`, which bounds every size.
/// Numbers are bits of binary32. n·(x − μ) and n³·σ² are exact integers of a window below the row's largest term.
library Normalize {
    /// @dev Bits that the largest term of a row is shifted by; of a row by parts, of up to 2^24 terms, less, so that 8nQ and KQ stay
    /// below 2^256.
    uint256 private constant WINDOW = 73;
    uint256 private constant LONG_WINDOW = 54;
    /// @dev |x| below 2^63, or x² may overflow.
    int256 private constant SQUARES = 63;
    /// @dev Relative roundings of a layer norm's quotient.
    uint256 private constant QUOTIENT = 8;
    /// @dev Relative roundings of a batch norm's products, and of its bias.
    uint256 private constant BATCH = 9;
    uint256 private constant BATCH_BIAS = 2;

    /// @dev An interval of square roots, in units of 2^exponent.
    struct Root {
        uint256 lo;
        uint256 hi;
        int256 exponent;
    }

    /// @dev A row: number of terms, n·(x − μ) at the place, their unit, H, top with |x| < 2^top, root, overflow clause.
    struct Row {
        uint256 n;
        int256 deviation;
        int256 unit;
        uint256 reach;
        int256 top;
        Root root;
        bool overflow;
        uint256 profile;
    }

    /// @dev ±numerator / denominator.
    struct End {
        bool negative;
        uint256 numerator;
        uint256 denominator;
    }

    /// @dev ŷ − β with what the last roundings may add, in units of 2^unit; open towards an infinite ŷ.
    struct Gap {
        int256 lo;
        int256 hi;
        int256 unit;
        bool openBelow;
        bool openAbove;
    }

    /// @notice Holds `y` against element `place` of the layer norm of `row`.
    function layerNorm(
        uint256 profile,
        uint256[] memory row,
        uint256 place,
        uint256 scale,
        uint256 bias,
        uint256 eps,
        uint256 y
    ) internal pure returns (bool) {
        if (row.length == 0 || row.length > Parts.mostTerms(profile) || eps >= Fp32.INFINITY) return true;
        uint256 largest = _largest(row);
        if (largest >= Fp32.INFINITY || !Fp32.isFinite(scale) || !Fp32.isFinite(bias)) return !Fp32.isFinite(y);
        if (place >= row.length) return true;
        return _layer(_prepare(profile, row, place, largest, eps), scale, bias, y);
    }

    function _largest(uint256[] memory row) private pure returns (uint256 largest) {
        unchecked {
            for (uint256 i = 0; i < row.length; ++i) {
                uint256 x = row[i] & Fp32.MAGNITUDE;
                if (x > largest) largest = x;
            }
        }
    }

    function _prepare(uint256 profile, uint256[] memory row, uint256 place, uint256 largest, uint256 eps)
        private
        pure
        returns (Row memory)
    {
        (,, int256 exponent) = Fixed.decode(largest);
        (int256 sum, uint256 squares, uint256 absolute) = (0, 0, 0);
        uint256 window = _window(row.length);
        unchecked {
            for (uint256 i = 0; i < row.length; ++i) {
                int256 value = _windowed(row[i], exponent, window);
                uint256 size = uint256(value < 0 ? -value : value);
                sum += value;
                absolute += size;
                squares += size * size;
            }
        }
        return _row(profile, row.length, exponent, row[place], sum, squares, absolute, eps);
    }

    /// @dev The row of a place whose term is `own`.
    function _row(
        uint256 profile,
        uint256 n,
        int256 exponent,
        uint256 own,
        int256 sum,
        uint256 squares,
        uint256 absolute,
        uint256 eps
    ) private pure returns (Row memory r) {
        unchecked {
            r.profile = profile;
            r.n = n;
            r.top = exponent + 24;
            uint256 window = _window(n);
            r.unit = exponent - int256(window);
            r.deviation = _windowed(own, exponent, window) * int256(n) - sum;
            // Σ(nX − ΣX)² = n·(n·ΣX² − (ΣX)²).
            _spread(r, n * (n * squares - uint256(sum * sum)), absolute, eps);
        }
    }

    function _window(uint256 n) private pure returns (uint256) {
        return n <= Parts.oneShotTerms(Rules.LAYER_NORM) ? WINDOW : LONG_WINDOW;
    }

    /// @notice What is kept of terms, a part of `n` terms, by parts, relative to the exponent field of the largest that is claimed: ΣX,
    /// ΣX², Σ|X|, and counts of terms with a greater exponent, with the same, and not finite.
    function sums(uint256 n, uint256 field, uint256[] memory row) internal pure returns (uint256[] memory words) {
        words = new uint256[](4);
        uint256 window = _window(n);
        unchecked {
            uint256 counts = 0;
            for (uint256 i = 0; i < row.length; ++i) {
                uint256 x = row[i];
                uint256 e = _field(x);
                if (e == 255) {
                    counts += 1 << 64;
                } else if (e > field) {
                    ++counts;
                } else {
                    if (e == field) counts += 1 << 32;
                    int256 value = _windowed(x, int256(field) - 150, window);
                    uint256 size = _abs(value);
                    words[0] += uint256(value);
                    words[1] += size * size;
                    words[2] += size;
                }
            }
            words[3] = counts;
        }
    }

    /// @notice Holds `y` against the layer norm of a row with these sums over its `n` terms, at a place whose term is `own`. `known` is
    /// false where no row has them.
    function totals(
        uint256 profile,
        uint256 n,
        uint256 field,
        uint256 own,
        uint256 scale,
        uint256 bias,
        uint256 eps,
        uint256[] memory words,
        uint256 y
    ) internal pure returns (bool known, bool inside) {
        unchecked {
            if (words.length != 4 || !Parts.fits(words[3], 3, n)) return (false, false);
            uint256 most = 1 << (24 + _window(n));
            if (words[2] > n * most || words[1] > n * most * most) return (false, false);
            if (Parts.field(words[3], 2) != 0) return (true, !Fp32.isFinite(y));
            bool one = Parts.field(words[3], 0) == 0 && Parts.field(words[3], 1) != 0;
            if (!one || _field(own) > field) return (false, false);
            uint256 sum = _abs(int256(words[0]));
            if (sum > words[2] || sum * sum > n * words[1]) return (false, false);
            if (!Fp32.isFinite(scale) || !Fp32.isFinite(bias)) return (true, !Fp32.isFinite(y));
            Row memory r = _row(profile, n, int256(field) - 150, own, int256(words[0]), words[1], words[2], eps);
            return (true, _layer(r, scale, bias, y));
        }
    }

    /// @dev The exponent field of a number, a subnormal's as that of the least normal number.
    function _field(uint256 x) private pure returns (uint256 e) {
        e = (x >> 23) & 0xff;
        if (e == 0) e = 1;
    }

    /// @dev A term in units of 2^(exponent − window), truncated toward zero.
    function _windowed(uint256 x, int256 exponent, uint256 window) private pure returns (int256 value) {
        assembly ("memory-safe") {
            let e := and(shr(23, x), 0xff)
            let m := or(and(x, 0x7fffff), shl(23, iszero(iszero(e))))
            e := sub(add(e, iszero(e)), 150)
            value := shr(sub(exponent, e), shl(window, m))
            // Negated where the sign is set.
            let sign := sub(0, and(shr(31, x), 1))
            value := sub(xor(value, sign), sign)
        }
    }

    /// @dev H, the root's interval and the overflow clause, from Q and Σ|X|.
    function _spread(Row memory r, uint256 q, uint256 absolute, uint256 eps) private pure {
        unchecked {
            uint256 n = r.n;
            uint256 k = n + 3 * uint256(Fixed.bits(n - 1)) + 12;
            uint256 unit = 1 << Profile.precision(r.profile);
            uint256 kept = unit - k;
            uint256 h = Fixed.divUp(k * absolute, kept) + (n << 2);
            if (!Profile.isWide(r.profile)) h += Fixed.ceil(n * (n + 1), -151 - r.unit);
            r.reach = h;
            uint256 spread = h * (Fixed.sqrt((n * q) << 3) + 1) + ((n * h * h) << 1);
            uint256 hi = _grown(q + spread, k, kept);
            uint256 lo = q > spread ? q - spread : 0;
            lo -= Fixed.divUp(lo * k, unit);
            int256 square = 2 * r.unit;
            if (!Profile.isWide(r.profile)) r.overflow = _overflows(r, _grown(absolute, k, kept), hi, square);
            _root(r, lo / (n * n * n), hi / (n * n * n) + 1, square, eps);
        }
    }

    /// @dev value/(1 − k·u), rounded up.
    function _grown(uint256 value, uint256 k, uint256 kept) private pure returns (uint256) {
        unchecked {
            return value + Fixed.divUp(value * k, kept);
        }
    }

    /// @dev Whether a term's square, Σ|x|, which bounds every partial sum, or twice n³·σ², for the squares and their sums, reaches
    /// fp32's end.
    function _overflows(Row memory r, uint256 absolute, uint256 squares, int256 square) private pure returns (bool) {
        unchecked {
            return r.top > SQUARES || Fixed.atMost(Fixed.OVERFLOW, Fixed.OVERFLOW_EXPONENT, absolute, r.unit)
                || Fixed.atMost(Fixed.OVERFLOW * r.n * r.n, Fixed.OVERFLOW_EXPONENT, squares, square + 1);
        }
    }

    /// @dev √ of the variance's interval plus epsilon.
    function _root(Row memory r, uint256 lo, uint256 hi, int256 square, uint256 eps) private pure {
        unchecked {
            (, uint256 epsilon, int256 shift) = Fixed.decode(eps);
            int256 unit = _unit(_max(_max(square + Fixed.bits(hi), shift + Fixed.bits(epsilon)), Fixed.bits(r.n) - 149));
            uint256 underflow = Profile.isWide(r.profile) ? 0 : Fixed.ceil(r.n, -149 - 2 * unit);
            shift -= 2 * unit;
            square -= 2 * unit;
            lo = Fixed.floor(lo, square);
            lo = (lo > underflow ? lo - underflow : 0) + Fixed.floor(epsilon, shift);
            hi = Fixed.ceil(hi, square) + underflow + Fixed.ceil(epsilon, shift);
            r.root = Root(Fixed.sqrt(lo), Fixed.sqrt(hi) + 1, unit);
        }
    }

    function _layer(Row memory r, uint256 scale, uint256 bias, uint256 y) private pure returns (bool) {
        unchecked {
            (bool negative, uint256 g, int256 exponent) = Fixed.decode(scale);
            int256 size = Fixed.bits(g) + exponent;
            if (!_carries(r.profile, r.root, _max(_max(r.top + 2, size), 1))) return true;
            if (Fp32.isNan(y)) return r.overflow;
            int256 deviation = negative ? -r.deviation : r.deviation;
            int256 width = Fixed.bits(_abs(deviation) + r.reach) + 1 - Fixed.bits(r.n) + r.unit;
            Gap memory gap = _gap(r.profile, y, bias, _max(_max(size, width), 1) + 2 - 150, false);
            int256 shift = exponent + r.unit - r.root.exponent - gap.unit;
            return (gap.openBelow || _reaches(gap.lo, _layerEnd(r, deviation, g), shift))
                && (gap.openAbove || _reaches(-gap.hi, _layerEnd(r, -deviation, g), shift));
        }
    }

    /// @dev The greatest value of the quotient times |g|.
    function _layerEnd(Row memory r, int256 deviation, uint256 g) private pure returns (End memory) {
        unchecked {
            int256 end = deviation + int256(r.reach);
            if (r.overflow && end < 0) end = 0;
            uint256 size = _abs(end);
            uint256 p = Profile.precision(r.profile);
            uint256 kept = (1 << p) - QUOTIENT;
            if (end < 0) return End(true, ((size * kept) >> p) * g, r.n * r.root.hi);
            return End(false, Fixed.divUp(size << p, kept) * g, r.n * r.root.lo);
        }
    }

    /// @notice Holds `y` against (x − mean)·scale/√(var + eps) + bias.
    function batchNorm(
        uint256 profile,
        uint256 x,
        uint256 scale,
        uint256 bias,
        uint256 mean,
        uint256 variance,
        uint256 eps,
        uint256 y
    ) internal pure returns (bool) {
        if (!Fp32.isFinite(eps)) return true;
        bool finite = Fp32.isFinite(x) && Fp32.isFinite(scale) && Fp32.isFinite(bias) && Fp32.isFinite(mean);
        if (!finite || Fp32.isNan(variance)) return !Fp32.isFinite(y);
        if (Fp32.isInfinite(variance)) {
            return Fp32.isNan(y) || (variance == Fp32.INFINITY && Fp32.sameValue(y, bias));
        }
        (int256 lo, int256 hi, int256 unit) = _shifted(variance, eps);
        if (hi < 0) return Fp32.isNan(y);
        if (lo <= 0) return true;
        unchecked {
            Root memory root = Root(Fixed.sqrt(uint256(lo)), Fixed.sqrt(uint256(hi)) + 1, unit);
            int256 top = _max(_top(x), _top(mean));
            int256 size = _top(scale);
            if (!_carries(profile, root, _max(_max(top, size), 1))) return true;
            if (!Fp32.isFinite(y)) {
                int256 product = top + 1 + size - (Fixed.bits(root.lo) - 1 + unit);
                if (!Profile.isWide(profile) && _max(product, _top(bias)) >= 126) return true;
                if (Fp32.isNan(y)) return false;
            }
            Gap memory gap = _gap(profile, y, bias, _max(_max(size, top), 1) + 3 - 150, true);
            uint256 kept = (1 << Profile.precision(profile)) - BATCH;
            return _batch(root, gap, kept, x, mean, scale, top - 90);
        }
    }

    /// @dev variance + eps in units of 2^(2·unit).
    function _shifted(uint256 variance, uint256 eps) private pure returns (int256 lo, int256 hi, int256 unit) {
        unchecked {
            unit = _unit(_max(_top(variance), _top(eps)) + 1);
            (int256 a, int256 b) = _part(variance, unit);
            (lo, hi) = _part(eps, unit);
            lo += a;
            hi += b;
        }
    }

    function _part(uint256 x, int256 unit) private pure returns (int256, int256) {
        unchecked {
            (bool negative, uint256 m, int256 e) = Fixed.decode(x);
            int256 down = int256(Fixed.floor(m, e - 2 * unit));
            int256 up = int256(Fixed.ceil(m, e - 2 * unit));
            return negative ? (-up, -down) : (down, up);
        }
    }

    function _batch(Root memory root, Gap memory gap, uint256 kept, uint256 x, uint256 mean, uint256 scale, int256 unit)
        private
        pure
        returns (bool)
    {
        unchecked {
            (bool turn, uint256 g, int256 exponent) = Fixed.decode(scale);
            int256 a = _signed(x, unit);
            int256 b = _signed(mean, unit);
            int256 reach = int256(Fixed.divUp((_abs(a) + _abs(b)) * BATCH, kept) + 4);
            int256 deviation = turn ? b - a : a - b;
            int256 shift = exponent + unit - root.exponent - gap.unit;
            return (gap.openBelow || _reaches(gap.lo, _batchEnd(root, deviation + reach, g), shift))
                && (gap.openAbove || _reaches(-gap.hi, _batchEnd(root, reach - deviation, g), shift));
        }
    }

    function _batchEnd(Root memory root, int256 end, uint256 g) private pure returns (End memory) {
        unchecked {
            return End(end < 0, _abs(end) * g, end < 0 ? root.hi : root.lo);
        }
    }

    /// @dev ŷ − β ± (u|ŷ| or, for `batch`, γ(2)|β|) ± 2^eta, or under `wide` ŷ's cell in the place of the last.
    function _gap(uint256 profile, uint256 y, uint256 bias, int256 eta, bool batch)
        private
        pure
        returns (Gap memory gap)
    {
        unchecked {
            bool wide = Profile.isWide(profile);
            bool infinite = Fp32.isInfinite(y);
            (bool yNegative, uint256 ym, int256 ye) = Fixed.decode(y);
            (bool bNegative, uint256 bm, int256 be) = Fixed.decode(bias);
            if (infinite) {
                (ym, ye) = (Fixed.OVERFLOW, Fixed.OVERFLOW_EXPONENT);
                // The product may overflow before β of the other sign is added, but not in binary64.
                if (bNegative != yNegative && !wide) bm = 0;
            }
            int256 unit = _max(Fixed.bits(ym) + ye, Fixed.bits(bm) + be);
            unit = (wide ? unit : _max(unit, eta)) - 90;
            (uint256 down, uint256 up) = Fixed.cell(wide, ym, ye);
            uint256 slack = wide ? 2 : Fixed.ceil(1, eta - unit) + 2;
            int256 p = int256(Profile.precision(profile));
            if (batch) {
                slack += Fixed.divUp(Fixed.ceil(bm, be - unit) * BATCH_BIAS, (1 << uint256(p)) - BATCH_BIAS);
            } else if (!infinite || wide) {
                slack += Fixed.ceil(4 * ym + up, ye - 2 - p - unit);
            }
            int256 mid = int256(Fixed.floor(ym, ye - unit));
            if (yNegative) mid = -mid;
            int256 other = int256(Fixed.floor(bm, be - unit));
            mid -= bNegative ? -other : other;
            if (yNegative) (down, up) = (up, down);
            gap.lo = mid - int256(slack + Fixed.ceil(down, ye - 2 - unit));
            gap.hi = mid + int256(slack + Fixed.ceil(up, ye - 2 - unit));
            gap.unit = unit;
            gap.openBelow = infinite && yNegative;
            gap.openAbove = infinite && !yNegative;
        }
    }

    /// @dev Whether `gap ≤ end · 2^shift`.
    function _reaches(int256 gap, End memory end, int256 shift) private pure returns (bool) {
        unchecked {
            uint256 product = _abs(gap) * end.denominator;
            if (gap < 0) return !end.negative || Fixed.atMost(end.numerator, shift, product, 0);
            if (end.negative) return gap == 0 && end.numerator == 0;
            return Fixed.atMost(product, 0, end.numerator, shift);
        }
    }

    /// @dev Whether a factor below 2^top times the reciprocal stays below 2^127; in binary64 a reciprocal is enough.
    function _carries(uint256 profile, Root memory root, int256 top) private pure returns (bool) {
        unchecked {
            return root.lo != 0 && (Profile.isWide(profile) || top - (Fixed.bits(root.lo) - 1 + root.exponent) < 127);
        }
    }

    /// @dev Half of the exponent that holds values below 2^top in 240 bits.
    function _unit(int256 top) private pure returns (int256) {
        unchecked {
            return (top - 239) >> 1;
        }
    }

    function _signed(uint256 x, int256 unit) private pure returns (int256) {
        unchecked {
            (bool negative, uint256 m, int256 e) = Fixed.decode(x);
            int256 value = int256(Fixed.floor(m, e - unit));
            return negative ? -value : value;
        }
    }

    function _top(uint256 x) private pure returns (int256) {
        unchecked {
            (, uint256 m, int256 e) = Fixed.decode(x);
            return Fixed.bits(m) + e;
        }
    }

    function _abs(int256 a) private pure returns (uint256) {
        unchecked {
            return uint256(a < 0 ? -a : a);
        }
    }

    function _max(int256 a, int256 b) private pure returns (int256) {
        return a > b ? a : b;
    }
}
