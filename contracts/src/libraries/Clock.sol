// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Dispute} from "./Dispute.sol";

/// @title Chess clocks
/// @notice The only place that compares a time with a deadline. Mirrors `crates/protocol/src/clock.rs`.
library Clock {
    /// @notice A move at the deadline itself is in time.
    function expired(uint64 deadline, uint256 timestamp) internal pure returns (bool) {
        return timestamp > deadline;
    }

    /// @notice A side's turn begins: the last moment of it.
    function start(uint32 left, uint32 extension, uint256 timestamp) internal pure returns (uint64 deadline) {
        return uint64(timestamp) + (left > extension ? left : extension);
    }

    /// @notice A side's turn ends: what its clock shows. A late move leaves nothing, it does not fail here.
    function stop(uint64 deadline, uint256 timestamp) internal pure returns (uint32 left) {
        return expired(deadline, timestamp) ? 0 : uint32(deadline - uint64(timestamp));
    }

    /// @notice The longest two clocks can run: each begins with `clock` and gains at most `extension` a turn; the challenger,
    /// who begins, has one turn more than the worker, who has `maxTurns` and the parts' besides.
    function longest(uint64 clock, uint64 extension, uint64 maxTurns) internal pure returns (uint64) {
        return 2 * clock + (2 * (maxTurns + Dispute.PART_TURNS) + 1) * extension;
    }
}
