// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PartJudge} from "./PartJudge.sol";
import {IJudge} from "./interfaces/IJudge.sol";
import {IPartJudge} from "./interfaces/IPartJudge.sol";
import {Contraction} from "./leaf/Contraction.sol";
import {Copy} from "./leaf/Copy.sol";
import {Enclosures} from "./leaf/Enclosures.sol";
import {Exact} from "./leaf/Exact.sol";
import {Reduction} from "./leaf/Reduction.sol";
import {Rules} from "./libraries/Rules.sol";
import {Witness} from "./libraries/Witness.sol";
import {Operator} from "./types/Operator.sol";

/// @title The judge of one element
/// @notice Opens a witness and holds the element against its family's rule.
contract Judge is IJudge {
    /// @notice Where the bounded, softmax and normalize families are.
    Enclosures public immutable enclosures;
    /// @inheritdoc IJudge
    IPartJudge public immutable override parts;

    constructor(PartJudge parts_) {
        parts = parts_;
        enclosures = parts_.enclosures();
    }

    /// @inheritdoc IJudge
    function judge(Context calldata context, bytes calldata witness) external view returns (Outcome memory outcome) {
        Witness.Opened memory w = Witness.open(context, witness, outcome, Witness.AT_ONCE);
        if (w.stop == Witness.UNDECODABLE) outcome.verdict = Verdict.Undecodable;
        else if (w.stop != 0) outcome.reason = uint8(w.stop);
        else outcome.verdict = _inside(w, context.profile) ? Verdict.Inside : Verdict.Outside;
    }

    function _inside(Witness.Opened memory w, uint256 profile) private view returns (bool) {
        Operator memory o = w.o;
        uint256 code = o.code;
        if (code == Rules.COPY) return Copy.check(o, w.index, w.bases, w.y);
        if (code == Rules.CONTRACT) return Contraction.check(o, profile, w.index, w.bases, w.y);
        if (code == Rules.GATHER) return w.y == Witness.bits(w, 0);
        if (code == Rules.WHERE) return w.y == Witness.bits(w, Witness.bits(w, 0) == 0 ? 2 : 1);
        if (code < Rules.MAX_POOL) {
            uint256 b = o.operands.length == 2 ? Witness.bits(w, 1) : 0;
            return Exact.check(code, o.operands[0].dtype, o.dtype, Witness.bits(w, 0), b, w.y);
        }
        uint256[] memory row = Reduction.terms(o, w.index, w.bases[0], 0, o.terms);
        if (code == Rules.MAX_POOL || code == Rules.ARG_MAX || code == Rules.SUM || code == Rules.MEAN) {
            return Reduction.check(o, profile, row, w.y);
        }
        return _enclosed(w, profile, row);
    }

    /// @dev A call that runs out of gas reverts here too: out of gas is no verdict.
    function _enclosed(Witness.Opened memory w, uint256 profile, uint256[] memory row) private view returns (bool) {
        Operator memory o = w.o;
        uint256[] memory once = Witness.once(w, 1);
        bool softmax = o.code == Rules.SOFTMAX;
        uint256 place = softmax || o.code == Rules.LAYER_NORM ? w.index[o.params[softmax ? 0 : 1]] : 0;
        uint256 epsilon = softmax || o.params.length == 0 ? 0 : o.params[0];
        return enclosures.check(o.code, profile, row, place, once, epsilon, w.y);
    }
}
