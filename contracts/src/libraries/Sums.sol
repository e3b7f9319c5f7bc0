// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fp32} from "./Fp32.sol";
import {Parts} from "./Parts.sol";
import {Profile} from "./Profile.sol";
import {Rounded, RoundedMath} from "./Rounded.sol";
import {Wide, WideMath} from "./Wide.sol";

/// @notice Exact sums of the terms of one element.
struct Sums {
    /// Memory address of eight words: lane `i` of the positive terms counts units of 2^(128·i − 300), then those of the negative.
    uint256 lanes;
    /// How many terms are +∞, −∞.
    uint256 plus;
    uint256 minus;
    /// How many are NaN; of one every engine's result is.
    uint256 nan;
    /// How many factors that are not finite may have been multiplied by a padding zero.
    uint256 nanAllowed;
    /// What the rounding of factors asks for, where they may be rounded.
    Rounded rounded;
}

/// @title Exact sums, and the error that any order of summation can make
/// @notice Mirrors `crates/protocol/src/leaf/contraction.rs`, which explains the rule; derivation in `docs/envelopes.md`.
/// @dev Longer than the house size: sums of products and of numbers share their lanes, clauses and rule.
library SumsMath {
    /// The least magnitude that rounds to infinity, in units of 2^-300, is this shifted by 403.
    uint256 private constant OVERFLOW = (1 << 25) - 1;
    /// The same as `Fp32.parts` would give it.
    uint256 private constant OVERFLOW_EXPONENT = 253;

    /// @dev 1/u, and whether a result stands for its rounding cell; how many roundings there may be: on any term's way into the result,
    /// into the sum before it is divided; how many may underflow inexactly, times the divisor; and the divisor. Under `wide` none
    /// underflows, and the sum does not overflow.
    struct Rule {
        uint256 unit;
        bool wide;
        uint256 roundings;
        uint256 sumRoundings;
        uint256 underflows;
        uint256 divisor;
        /// The right side of the rule, where it is not made of the sums alone.
        bool bounded;
        Wide bound;
    }

    /// @notice No terms yet, of a contraction under a profile.
    function begin(uint256 profile) internal pure returns (Sums memory sums) {
        sums = empty();
        uint256 format = Profile.format(profile);
        if (format != 0) RoundedMath.begin(sums.rounded, format);
    }

    function empty() internal pure returns (Sums memory sums) {
        uint256 lanes;
        assembly ("memory-safe") {
            lanes := mload(0x40)
            mstore(0x40, add(lanes, 256))
            calldatacopy(lanes, calldatasize(), 256)
        }
        sums.lanes = lanes;
    }

    /// @notice Adds `count` products of fp32 numbers, big-endian in memory from `a` and `b` on, `strideA` and `strideB` bytes apart.
    function products(Sums memory sums, uint256 a, uint256 b, uint256 strideA, uint256 strideB, uint256 count)
        internal
        pure
    {
        if (sums.rounded.rounding != 0) RoundedMath.products(sums.rounded, a, b, strideA, strideB, count);
        uint256 lanes = sums.lanes;
        uint256 special = 0;
        assembly ("memory-safe") {
            // What the lanes hold is kept beyond the free memory: an infinity or NaN is seen only on the way.
            let kept := mload(0x40)
            mcopy(kept, lanes, 256)
            let from := a
            let other := b
            for { let left := count } left { left := sub(left, 1) } {
                let x := shr(224, mload(from))
                let y := shr(224, mload(other))
                // Four words of lanes a sign; of an exponent below 2^9 the bits 7 and 8. Masked: shifts there and back become large masks.
                let lane := add(lanes, and(shr(24, xor(x, y)), 0x80))
                let e := and(shr(23, x), 0xff)
                let f := and(shr(23, y), 0xff)
                // Bit 8 of either is set by an exponent of 255.
                special := or(special, or(add(e, 1), add(f, 1)))
                // A subnormal has no leading bit, and the exponent of the least normal.
                x := mul(or(and(x, 0x7fffff), shl(23, gt(e, 0))), or(and(y, 0x7fffff), shl(23, gt(f, 0))))
                e := add(add(e, iszero(e)), add(f, iszero(f)))
                lane := add(lane, and(shr(2, e), 0x60))
                mstore(lane, add(mload(lane), shl(and(e, 127), x)))
                from := add(from, strideA)
                other := add(other, strideB)
            }
            special := and(special, 256)
            if special { mcopy(lanes, kept, 256) }
        }
        if (special == 0) return;
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                _product(sums, _load(a + i * strideA), _load(b + i * strideB));
            }
        }
    }

    /// @notice Adds one fp32 number.
    function value(Sums memory sums, uint256 x) internal pure {
        if (Fp32.isFinite(x)) {
            (uint256 exponent, uint256 significand) = Fp32.parts(x);
            unchecked {
                _add(sums, x >> 31, significand, exponent + 150);
            }
            return;
        }
        if (Fp32.isNan(x)) ++sums.nan;
        else if (x >> 31 == 0) ++sums.plus;
        else ++sums.minus;
    }

    /// @notice Notes a factor in bounds whose partner is not: it may have met a padding zero.
    function unpaired(Sums memory sums, uint256 x) internal pure {
        if (!Fp32.isFinite(x)) ++sums.nanAllowed;
        if (sums.rounded.rounding != 0) RoundedMath.unpaired(sums.rounded, x);
    }

    /// @notice Adds fp32 numbers.
    function values(Sums memory sums, uint256[] memory list) internal pure {
        uint256 lanes = sums.lanes;
        uint256 special = 0;
        assembly ("memory-safe") {
            // As in `products`.
            let kept := mload(0x40)
            mcopy(kept, lanes, 256)
            let end := add(list, shl(5, mload(list)))
            for { let slot := list } lt(slot, end) {} {
                slot := add(slot, 32)
                let x := mload(slot)
                let lane := add(lanes, and(shr(24, x), 0x80))
                let e := and(shr(23, x), 0xff)
                special := or(special, add(e, 1))
                x := or(and(x, 0x7fffff), shl(23, gt(e, 0)))
                e := add(add(e, iszero(e)), 150)
                lane := add(lane, and(shr(2, e), 0x60))
                mstore(lane, add(mload(lane), shl(and(e, 127), x)))
            }
            special := and(special, 256)
            if special { mcopy(lanes, kept, 256) }
        }
        if (special == 0) return;
        for (uint256 i = 0; i < list.length; ++i) {
            value(sums, list[i]);
        }
    }

    /// @dev Words of lanes, and most bits of one: 2^24 products below 2^48, shifted by at most 127; of 2^20 weighed by at most 2^10 + 1.
    uint256 private constant LANES = 8;
    uint256 private constant LANE_BITS = 199;
    uint256 private constant ROUNDED_BITS = 206;

    /// @notice The sums as words that add up from part to part: the lanes, then the counts of terms in bounds (`counted`), NaN, +∞, −∞
    /// and unpaired. Where factors may be rounded, the lanes of `Rounded` and its counts follow.
    function words(Sums memory sums, uint256 counted) internal pure returns (uint256[] memory list) {
        bool rounded = sums.rounded.rounding != 0;
        list = new uint256[](rounded ? 2 * LANES + 2 : LANES + 1);
        _copy(_word(list, 0), sums.lanes);
        list[LANES] = Parts.pack(counted, sums.nan, sums.plus, sums.minus, sums.nanAllowed);
        if (!rounded) return list;
        Rounded memory r = sums.rounded;
        _copy(_word(list, LANES + 1), r.lanes);
        list[2 * LANES + 1] = Parts.pack(r.plus, r.minus, r.nan, 0, 0);
    }

    /// @notice Puts the sums that words are into `sums`, which has begun without terms, with the count of terms in bounds; `known` is false
    /// where no `terms` terms have such sums.
    function fromWords(Sums memory sums, uint256[] memory list, uint256 terms)
        internal
        pure
        returns (bool known, uint256 counted)
    {
        bool rounded = sums.rounded.rounding != 0;
        if (list.length != (rounded ? 2 * LANES + 2 : LANES + 1)) return (false, 0);
        uint256 counts = list[LANES];
        known = Parts.fits(counts, 5, terms);
        for (uint256 i = 0; i < LANES; ++i) {
            if (list[i] >> LANE_BITS != 0) known = false;
            if (rounded && list[LANES + 1 + i] >> ROUNDED_BITS != 0) known = false;
        }
        _copy(sums.lanes, _word(list, 0));
        counted = Parts.field(counts, 0);
        sums.nan = Parts.field(counts, 1);
        sums.plus = Parts.field(counts, 2);
        sums.minus = Parts.field(counts, 3);
        sums.nanAllowed = Parts.field(counts, 4);
        if (!rounded) return (known, counted);
        counts = list[2 * LANES + 1];
        // A product may have an overflowing factor, and padding too: of each term both factors.
        if (!Parts.fits(counts, 3, 2 * terms)) known = false;
        Rounded memory r = sums.rounded;
        _copy(r.lanes, _word(list, LANES + 1));
        (r.plus, r.minus, r.nan) = (Parts.field(counts, 0), Parts.field(counts, 1), Parts.field(counts, 2));
    }

    /// @dev Where a list's word is in memory.
    function _word(uint256[] memory list, uint256 i) private pure returns (uint256 at_) {
        assembly ("memory-safe") {
            at_ := add(add(list, 32), shl(5, i))
        }
    }

    /// @dev Eight words.
    function _copy(uint256 to, uint256 from) private pure {
        assembly ("memory-safe") {
            mcopy(to, from, 256)
        }
    }

    /// @param terms of the operator, in bounds or not.
    function checkContraction(
        Sums memory sums,
        uint256 profile,
        uint256 terms,
        uint256 products_,
        uint256 values_,
        uint256 y
    ) internal pure returns (bool) {
        if (sums.rounded.rounding != 0) {
            return _check(sums, _roundedRule(sums, terms, products_, values_), y);
        }
        unchecked {
            uint256 roundings = Profile.way(profile, products_, terms) + values_;
            // In binary64 products are exact.
            if (Profile.isWide(profile) && roundings != 0) --roundings;
            return _check(sums, _rule(profile, roundings, roundings, products_ + values_, 1), y);
        }
    }

    /// @param terms of the operator, in bounds or not.
    function checkSum(Sums memory sums, uint256 profile, uint256 terms, uint256 counted, uint256 y)
        internal
        pure
        returns (bool)
    {
        uint256 roundings = _additions(profile, terms, counted);
        return _check(sums, _rule(profile, roundings, roundings, 0, 1), y);
    }

    /// @notice The mean of nothing is NaN or 0.
    /// @param terms of the operator, in bounds or not.
    function checkMean(Sums memory sums, uint256 profile, uint256 terms, uint256 counted, uint256 divisor, uint256 y)
        internal
        pure
        returns (bool)
    {
        if (divisor == 0) return Fp32.isNan(y) || Fp32.isZero(y);
        unchecked {
            uint256 additions = _additions(profile, terms, counted);
            return _check(sums, _rule(profile, additions + 2, additions, divisor, divisor), y);
        }
    }

    /// @dev The most additions that one of `counted` numbers in bounds passes.
    function _additions(uint256 profile, uint256 terms, uint256 counted) private pure returns (uint256) {
        unchecked {
            return counted == 0 ? 0 : Profile.way(profile, counted, terms) - 1;
        }
    }

    function _rule(uint256 profile, uint256 roundings, uint256 sumRoundings, uint256 underflows, uint256 divisor)
        private
        pure
        returns (Rule memory rule)
    {
        rule.unit = 1 << Profile.precision(profile);
        rule.wide = Profile.isWide(profile);
        rule.roundings = roundings;
        rule.sumRoundings = sumRoundings;
        rule.underflows = underflows;
        rule.divisor = divisor;
    }

    /// @dev Of a contraction whose factors may be rounded.
    function _roundedRule(Sums memory sums, uint256 terms, uint256 products_, uint256 values_)
        private
        pure
        returns (Rule memory rule)
    {
        Wide memory magnitude = WideMath.add(WideMath.fromLanes(sums.lanes), WideMath.fromLanes(sums.lanes + 128));
        rule.unit = 1 << RoundedMath.PRECISION;
        rule.divisor = 1;
        rule.bounded = true;
        (rule.roundings, rule.bound) = RoundedMath.bound(sums.rounded, products_, values_, terms, magnitude);
    }

    function _check(Sums memory sums, Rule memory rule, uint256 y) private pure returns (bool) {
        (bool plus, bool minus, bool nanAllowed) = (sums.plus != 0, sums.minus != 0, sums.nanAllowed != 0);
        if (sums.nan != 0 || (plus && minus)) return Fp32.isNan(y);
        Wide memory positive = WideMath.fromLanes(sums.lanes);
        Wide memory negative = WideMath.fromLanes(sums.lanes + 128);
        bool infinite = plus || minus;
        if (Fp32.isFinite(y)) return !infinite && _finite(rule, positive, negative, y);
        if (Fp32.isNan(y)) {
            if (rule.wide) return nanAllowed;
            return nanAllowed || sums.rounded.nan != 0
                || ((plus || sums.rounded.plus != 0 || _overflows(rule, positive))
                    && (minus || sums.rounded.minus != 0 || _overflows(rule, negative)));
        }
        // Once there is an infinite term, the other sign can only come in as NaN.
        bool up = y == Fp32.INFINITY;
        if (infinite) return up ? plus : minus;
        // Under `wide` nothing overflows before the last rounding.
        if (rule.wide) return _finite(rule, positive, negative, y);
        return (up ? sums.rounded.plus : sums.rounded.minus) != 0 || _overflows(rule, up ? positive : negative);
    }

    /// @dev `|ŷ·divisor − S|·(1/u − k) ≤ k·A + j·η/u`, or under `wide` half of ŷ's cell times (1/u − k) in the place of the last.
    /// An infinite ŷ comes here under `wide` alone, and stands for everything from the least magnitude on that rounds to it.
    function _finite(Rule memory rule, Wide memory positive, Wide memory negative, uint256 y)
        private
        pure
        returns (bool)
    {
        unchecked {
            bool infinite = Fp32.isInfinite(y);
            (uint256 exponent, uint256 significand) = infinite ? (OVERFLOW_EXPONENT, OVERFLOW) : Fp32.parts(y);
            Wide memory reach = WideMath.shifted(significand * rule.divisor, exponent + 150);
            Wide memory own = y & Fp32.SIGN == 0 ? positive : negative;
            reach = WideMath.add(y & Fp32.SIGN == 0 ? negative : positive, reach);
            uint256 kept = rule.unit - rule.roundings;
            Wide memory slack;
            if (!rule.wide) {
                slack = WideMath.shifted(rule.underflows * rule.unit, 150);
            } else {
                bool beyond = WideMath.less(reach, own);
                if (infinite && beyond) return true;
                if (!infinite) {
                    // Half a last place; downwards from a power of two a quarter.
                    uint256 half = !beyond && significand == 1 << 23 && exponent > 1 ? exponent + 148 : exponent + 149;
                    slack = WideMath.times(WideMath.shifted(rule.divisor, half), kept);
                }
            }
            Wide memory miss = WideMath.times(WideMath.distance(own, reach), kept);
            Wide memory bound = WideMath.times(WideMath.add(positive, negative), rule.roundings);
            bound = rule.bounded ? rule.bound : WideMath.add(bound, slack);
            return !WideMath.less(bound, miss);
        }
    }

    /// @dev Whether terms of one sign can add up to infinity.
    function _overflows(Rule memory rule, Wide memory sum) private pure returns (bool) {
        unchecked {
            if (rule.bounded) {
                Wide memory least = WideMath.shifted(OVERFLOW, 403);
                if (!WideMath.less(sum, least)) return true;
                Wide memory short = WideMath.times(WideMath.distance(least, sum), rule.unit - rule.roundings);
                return !WideMath.less(rule.bound, short);
            }
            Wide memory most = WideMath.times(WideMath.add(sum, WideMath.shifted(rule.underflows, 150)), rule.unit);
            Wide memory limit = WideMath.times(WideMath.shifted(OVERFLOW, 403), rule.unit - rule.sumRoundings);
            return !WideMath.less(most, limit);
        }
    }

    function _product(Sums memory sums, uint256 a, uint256 b) private pure {
        uint256 negative = (a ^ b) >> 31;
        if (Fp32.isFinite(a) && Fp32.isFinite(b)) {
            (uint256 ea, uint256 ma) = Fp32.parts(a);
            (uint256 eb, uint256 mb) = Fp32.parts(b);
            unchecked {
                _add(sums, negative, ma * mb, ea + eb);
            }
            return;
        }
        if (Fp32.isNan(a) || Fp32.isNan(b) || Fp32.isZero(a) || Fp32.isZero(b)) ++sums.nan;
        else if (negative == 0) ++sums.plus;
        else ++sums.minus;
    }

    function _add(Sums memory sums, uint256 negative, uint256 significand, uint256 exponent) private pure {
        uint256 lanes = sums.lanes;
        assembly ("memory-safe") {
            let lane := add(add(lanes, shl(7, negative)), and(shr(2, exponent), 0x60))
            mstore(lane, add(mload(lane), shl(and(exponent, 127), significand)))
        }
    }

    function _load(uint256 from) private pure returns (uint256 x) {
        assembly ("memory-safe") {
            x := shr(224, mload(from))
        }
    }
}
