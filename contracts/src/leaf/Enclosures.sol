// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Rules} from "../libraries/Rules.sol";
import {Bounded} from "./Bounded.sol";
import {Normalize} from "./Normalize.sol";
import {Powers} from "./Powers.sol";
import {Softmax} from "./Softmax.sol";

/// @title The families that are held against interval enclosures
/// @notice A contract of its own because one contract may have 24 KiB; `PartJudge` deploys it for itself and for `Judge`.
contract Enclosures {
    /// @notice Whether `y` may be the result of operator `code`.
    /// @param row the terms of operand 0 over the reduction axis; of an operator without one, operand 0 alone.
    /// @param place the element's place in the row.
    /// @param once the other operands, in order.
    /// @param epsilon of the normalize family.
    function check(
        uint256 code,
        uint256 profile,
        uint256[] calldata row,
        uint256 place,
        uint256[] calldata once,
        uint256 epsilon,
        uint256 y
    ) external pure returns (bool) {
        if (code == Rules.SOFTMAX) return Softmax.softmax(profile, row, place, y);
        if (code == Rules.LAYER_NORM) return Normalize.layerNorm(profile, row, place, once[0], once[1], epsilon, y);
        if (code == Rules.BATCH_NORM) {
            return Normalize.batchNorm(profile, row[0], once[0], once[1], once[2], once[3], epsilon, y);
        }
        if (code == Rules.POW) return Powers.power(profile, row[0], once[0], y);
        return Bounded.bounded(code, profile, row[0], y);
    }

    /// @notice The sums of some of a row's terms, see `Softmax.sums` and `Normalize.sums`.
    /// @param terms of the whole row.
    /// @param free what the worker chose.
    function sums(uint256 code, uint256 profile, uint256 terms, uint256 free, uint256[] calldata row)
        external
        pure
        returns (uint256[] memory)
    {
        return code == Rules.SOFTMAX ? Softmax.sums(profile, free, row) : Normalize.sums(terms, free, row);
    }

    /// @notice Whether `y` may be the result at a place whose term is `own`, in a row with these sums over its `terms` terms; `known` is
    /// false where no row has them.
    function totals(
        uint256 code,
        uint256 profile,
        uint256 terms,
        uint256[2] calldata freeAndOwn,
        uint256[] calldata once,
        uint256 epsilon,
        uint256[] calldata words,
        uint256 y
    ) external pure returns (bool known, bool inside) {
        (uint256 free, uint256 own) = (freeAndOwn[0], freeAndOwn[1]);
        if (code == Rules.SOFTMAX) return Softmax.totals(profile, terms, free, own, words, y);
        return Normalize.totals(profile, terms, free, own, once[0], once[1], epsilon, words, y);
    }
}
