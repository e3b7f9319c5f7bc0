// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IPartJudge} from "./IPartJudge.sol";

/// @title The judge of one element
/// @notice Holds one output element of one operator against its envelope, given the committed operands (PROTOCOL.md section 6).
/// `crates/protocol/src/witness` is the same judge; tests hold them equal bit for bit.
///
/// Assumptions for safety: the context comes from a caller that bound it to a claim; 2^23 gas is available (`judge` is
/// total: for any bytes it returns an outcome or runs out of gas, and out of gas is no verdict).
interface IJudge {
    enum Verdict {
        /// The evidence does not open; `reason` says why. Nothing follows for anybody.
        Refused,
        /// A conforming engine may have produced the element.
        Inside,
        /// No conforming engine can have produced it.
        Outside,
        /// The operator's descriptor is bound by the plan root and has no meaning.
        Undecodable
    }

    /// @notice What a claim and its model commit to.
    struct Context {
        bytes32 planRoot;
        bytes32 weightsRoot;
        bytes32 traceRoot;
        /// Root of the inner values of `layer`; has a meaning only while `layerStands`.
        bytes32 layerRoot;
        uint32 layer;
        bool layerStands;
        /// Hash of the list of input commitments.
        bytes32 inputs;
        /// Hash of the list of output commitments.
        bytes32 outputs;
        uint32 operators;
        uint32 weights;
        uint32 traceValues;
        uint32 inputCount;
        uint32 outputCount;
        uint64 profile;
    }

    /// @notice A verdict and what it is about. `operator_` and `element` are as the witness says, 0 where it ends before saying;
    /// `layer` is the descriptor's, 0 unless it decodes.
    struct Outcome {
        Verdict verdict;
        uint8 reason;
        uint32 operator_;
        uint32 layer;
        uint64 element;
    }

    /// @notice Judges the element that `witness` opens.
    function judge(Context calldata context, bytes calldata witness) external view returns (Outcome memory);

    /// @notice The judge of operators that are too long for one transaction.
    function parts() external view returns (IPartJudge);
}
