// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IJudge} from "../../src/interfaces/IJudge.sol";

/// @title A judge that believes the witness
/// @notice Takes the head of a real witness, `u32 operator ‖ u64 element ‖ u16 length ‖ descriptor`, and as its last byte the verdict,
/// so that every path of the game is a few bytes away. Two more last bytes stand for what a real judge must not do.
contract ToyJudge is IJudge {
    uint8 public constant BURN = 4;
    uint8 public constant REVERT = 5;

    error Broken();

    function judge(Context calldata, bytes calldata witness) external pure override returns (Outcome memory outcome) {
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
