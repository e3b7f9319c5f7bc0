// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Fixed} from "../libraries/Fixed.sol";
import {Fp32} from "../libraries/Fp32.sol";
import {Profile} from "../libraries/Profile.sol";
import {Rules} from "../libraries/Rules.sol";
import {Bounded} from "./Bounded.sol";

/// @title Sin and Cos
/// @notice Mirrors `crates/protocol/src/enclosure/circular.rs`, which holds the proofs; derived in `docs/envelopes.md#bounded`.
library Circular {
    uint256 private constant ONE = Fixed.ONE;
    /// @dev ⌊2/π⌋ in Q256.
    uint256 private constant TWO_OVER_PI =
        73715533492226901901836098385759174607297965327747686705228263945774433027425;
    /// @dev ⌊π/2⌋ in Q96.
    uint256 private constant HALF_PI = 124451306656115542615260972311;
    /// @dev What the last divisor of the series is made of: 16 terms beyond the first.
    uint256 private constant LAST = 30;
    uint256 private constant CIRCULAR_ERROR = 32;

    /// @dev cos θ (`first` 1) or (sin θ)/θ (`first` 2) of θ² = `square` in Q96.
    function _series(uint256 square, uint256 first) private pure returns (uint256 acc) {
        assembly ("memory-safe") {
            let one := shl(96, 1)
            acc := one
            for { let n := add(first, LAST) } 1 { n := sub(n, 2) } {
                let part := div(shr(96, mul(square, acc)), mul(n, add(n, 1)))
                acc := mul(gt(one, part), sub(one, part))
                if eq(n, first) { break }
            }
        }
    }

    /// @dev |x| = (q + w)·π/2 modulo 2π: q, and sine and cosine of w·π/2 in Q96.
    function _quadrant(uint256 m, int256 e) private pure returns (uint256 q, uint256 sine, uint256 cosine) {
        unchecked {
            uint256 turns = e < 2 ? m * (TWO_OVER_PI >> uint256(2 - e)) : (m * TWO_OVER_PI) << uint256(e - 2);
            q = turns >> 254;
            uint256 angle = (HALF_PI * ((turns << 2) >> 128)) >> 128;
            uint256 square = (angle * angle) >> 96;
            sine = (angle * _series(square, 2)) >> 96;
            cosine = _series(square, 1);
        }
    }

    /// @notice Whether `y` is a value of Sin or Cos at `x`, neither a NaN.
    function circular(uint256 code, uint256 profile, uint256 x, uint256 y) internal pure returns (bool) {
        if (Fp32.isInfinite(x) || Fp32.isInfinite(y)) return false;
        bool turn = x >> 31 == 1 && code == Rules.SIN;
        (, uint256 m, int256 e) = Fixed.decode(x);
        uint256 a = Fixed.magnitude(x);
        Bounded.Target memory f;
        f.profile = profile;
        unchecked {
            if (code == Rules.SIN && a < ONE) {
                uint256 ratio = _series((a * a) >> 96, 2);
                f.lo = m * (ratio - CIRCULAR_ERROR);
                f.hi = m * (ratio + CIRCULAR_ERROR > ONE ? ONE : ratio + CIRCULAR_ERROR);
                f.slack = (Profile.kAbs(profile) * m) << 96;
                return Bounded.hold(f, Bounded.value(y, turn, e - 96, 0));
            }
            (uint256 q, uint256 sine, uint256 cosine) = _quadrant(m, e);
            if (code == Rules.COS) ++q;
            uint256 size = q % 2 == 0 ? sine : cosine;
            f.lo = size > CIRCULAR_ERROR ? size - CIRCULAR_ERROR : 0;
            f.hi = size + CIRCULAR_ERROR;
            f.slack = (Profile.kAbs(profile) << 96) + (CIRCULAR_ERROR << Profile.precision(profile));
            return Bounded.hold(f, Bounded.value(y, turn != (q % 4 >= 2), -96, 0));
        }
    }
}
