// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IJudge} from "./IJudge.sol";

/// @title The judge of long operators, by parts
/// @notice Holds an element against its envelope by sums over all its terms, and the sums of 1,024 terms against the terms themselves
/// (PROTOCOL.md section 6, *By parts*). `crates/protocol/src/witness` is the same judge. Total, as `IJudge` is.
///
/// A header is three words: what the worker chooses (the maximum of a Softmax row, the exponent field of a LayerNorm row's largest
/// term, else 0), the element's bits, and the bits of the element's own term, else 0.
interface IPartJudge {
    /// @notice Judges the element that `witness` opens by the sums over all its terms.
    /// @param free what the worker chooses.
    /// @return outcome as of `IJudge.judge`; @return header zeros unless the verdict is `Inside` or `Outside`.
    function judgeTotals(
        IJudge.Context calldata context,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata totals
    ) external view returns (IJudge.Outcome memory outcome, uint256[3] memory header);

    /// @notice `Inside` if the terms of leaf `leaf` that `witness` opens have these sums, `Outside` if they have others.
    function judgePart(
        IJudge.Context calldata context,
        bytes calldata witness,
        uint32 leaf,
        uint256[3] calldata header,
        uint256[] calldata sums
    ) external view returns (IJudge.Outcome memory outcome);
}
