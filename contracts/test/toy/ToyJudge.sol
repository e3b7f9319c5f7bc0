// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IJudge} from "../../src/interfaces/IJudge.sol";
import {IPartJudge} from "../../src/interfaces/IPartJudge.sol";

/// @title A judge that believes the witness
/// @notice Takes the head of a real witness, `u32 operator ‖ u64 element ‖ u16 length ‖ descriptor`, and as its last byte the verdict,
/// so that every path of the game is a few bytes away. Two more last bytes stand for what a real judge must not do. It believes so
/// about totals and leaves too; a header's second word is the element's number.
contract ToyJudge is IJudge, IPartJudge {
    uint8 public constant BURN = 4;
    uint8 public constant REVERT = 5;

    error Broken();

    function parts() external view override returns (IPartJudge) {
        return this;
    }

    function judge(Context calldata, bytes calldata witness) external pure override returns (Outcome memory) {
        return _believe(witness);
    }

    function judgeTotals(Context calldata, bytes calldata witness, uint256 free, uint256[] calldata)
        external
        pure
        override
        returns (Outcome memory outcome, uint256[3] memory header)
    {
        outcome = _believe(witness);
        header = [free, outcome.element, 0];
    }

    function judgePart(Context calldata, bytes calldata witness, uint32, uint256[3] calldata, uint256[] calldata)
        external
        pure
        override
        returns (Outcome memory)
    {
        return _believe(witness);
    }

    function _believe(bytes calldata witness) private pure returns (Outcome memory outcome) {
        if (witness.length < 15) return Outcome(Verdict.Refused, 1, 0, 0, 0);
        outcome.operator_ = uint32(bytes4(witness[0:4]));
        outcome.element = uint64(bytes8(witness[4:12]));
        uint8 last = uint8(witness[witness.length - 1]);
        if (last == REVERT) revert Broken();
        if (last == BURN) while (true) {}
        outcome.verdict = Verdict(last);
        if (last == 0) outcome.reason = 9;
    }
}
