// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bounded} from "../../src/leaf/Bounded.sol";
import {Normalize} from "../../src/leaf/Normalize.sol";
import {Powers} from "../../src/leaf/Powers.sol";
import {Softmax} from "../../src/leaf/Softmax.sol";

/// @title Verdicts of the enclosure families on packed cases
/// @notice `crates/protocol/tests/differential_enclosure.rs` runs it beside the Rust judge. Every number is four bytes, big-endian.
/// Each function gives one byte a case, 1 for inside, and the greatest gas of a case, reading it from calldata left out.
contract EnclosureHarness {
    /// @notice Cases `code, x, y`.
    function bounded(uint256 profile, bytes calldata cases)
        external
        view
        returns (bytes memory verdicts, uint256 most)
    {
        verdicts = new bytes(cases.length / 12);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            uint256[] memory w = _words(cases[12 * i:12 * i + 12]);
            uint256 gas = gasleft();
            bool inside = Bounded.bounded(w[0], profile, w[1], w[2]);
            most = _greater(most, gas - gasleft());
            if (inside) verdicts[i] = 0x01;
        }
    }

    /// @notice Cases `x, exponent, y`.
    function power(uint256 profile, bytes calldata cases) external view returns (bytes memory verdicts, uint256 most) {
        verdicts = new bytes(cases.length / 12);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            uint256[] memory w = _words(cases[12 * i:12 * i + 12]);
            uint256 gas = gasleft();
            bool inside = Powers.power(profile, w[0], w[1], w[2]);
            most = _greater(most, gas - gasleft());
            if (inside) verdicts[i] = 0x01;
        }
    }

    /// @notice Cases `x, scale, bias, mean, variance, eps, y`.
    function batchNorm(uint256 profile, bytes calldata cases)
        external
        view
        returns (bytes memory verdicts, uint256 most)
    {
        verdicts = new bytes(cases.length / 28);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            uint256[] memory w = _words(cases[28 * i:28 * i + 28]);
            uint256 gas = gasleft();
            bool inside = Normalize.batchNorm(profile, w[0], w[1], w[2], w[3], w[4], w[5], w[6]);
            most = _greater(most, gas - gasleft());
            if (inside) verdicts[i] = 0x01;
        }
    }

    /// @notice Cases `place, y` on one row.
    function softmax(uint256 profile, bytes calldata row, bytes calldata cases)
        external
        view
        returns (bytes memory verdicts, uint256 most)
    {
        uint256[] memory terms = _words(row);
        verdicts = new bytes(cases.length / 8);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            uint256[] memory w = _words(cases[8 * i:8 * i + 8]);
            uint256 gas = gasleft();
            bool inside = Softmax.softmax(profile, terms, w[0], w[1]);
            most = _greater(most, gas - gasleft());
            if (inside) verdicts[i] = 0x01;
        }
    }

    /// @notice Cases `place, scale, bias, y` on one row.
    function layerNorm(uint256 profile, bytes calldata row, uint256 eps, bytes calldata cases)
        external
        view
        returns (bytes memory verdicts, uint256 most)
    {
        uint256[] memory terms = _words(row);
        verdicts = new bytes(cases.length / 16);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            uint256[] memory w = _words(cases[16 * i:16 * i + 16]);
            uint256 gas = gasleft();
            bool inside = Normalize.layerNorm(profile, terms, w[0], w[1], w[2], eps, w[3]);
            most = _greater(most, gas - gasleft());
            if (inside) verdicts[i] = 0x01;
        }
    }

    function _words(bytes calldata packed) private pure returns (uint256[] memory words) {
        words = new uint256[](packed.length / 4);
        for (uint256 i = 0; i < words.length; ++i) {
            words[i] = uint32(bytes4(packed[4 * i:4 * i + 4]));
        }
    }

    function _greater(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
