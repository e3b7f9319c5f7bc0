// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Who gets what
/// @notice Every division of money, in one place; the parts of a sum always add up to it. Mirrors `crates/protocol/src/bond.rs`.
library Bond {
    /// @dev Shares are in 1/10,000.
    uint256 internal constant WHOLE = 10_000;

    /// @notice A challenger's bond: twice what the worker's answers may cost, and at least `floor`.
    function required(uint256 floor, uint256 answerGas, uint256 baseFee) internal pure returns (uint256) {
        uint256 twice = 2 * answerGas * baseFee;
        return twice > floor ? twice : floor;
    }

    /// @notice A lost dispute's bond. A quarter burns, so that disputing oneself is not free; the worker's metered cost comes
    /// next; the rest is the challenger's if it conceded, else the worker's.
    function lost(uint256 bond, uint256 workerCost, bool conceded)
        internal
        pure
        returns (uint256 toWorker, uint256 toChallenger, uint256 burned)
    {
        burned = bond / 4;
        uint256 rest = bond - burned;
        toWorker = conceded && workerCost < rest ? workerCost : rest;
        toChallenger = rest - toWorker;
    }

    /// @notice A struck worker's bond. Half burns: what deters a worker that also plays the challenger. From the other half the
    /// winner's metered cost comes first, so that nobody else's moves can take it; then that of the other challengers
    /// (`metered` is all of it, `own` the winner's part), in proportion where it does not suffice. The winner has the rest.
    /// `pool` is what the others' cost can be refunded from.
    function struck(uint256 bond, uint256 metered, uint256 own)
        internal
        pure
        returns (uint256 reward, uint256 setAside, uint256 burned, uint256 pool)
    {
        burned = bond / 2;
        pool = bond - burned;
        pool -= own < pool ? own : pool;
        setAside = refund(pool, metered - own, metered - own);
        reward = bond - burned - setAside;
    }

    /// @notice What `pool` refunds of `cost`, a part of `metered`.
    function refund(uint256 pool, uint256 metered, uint256 cost) internal pure returns (uint256) {
        return metered <= pool ? cost : pool * cost / metered;
    }

    /// @notice A final claim's fee; the worker has what rounding leaves.
    function split(uint256 fee, uint256 posterShare, uint256 publisherShare)
        internal
        pure
        returns (uint256 toWorker, uint256 toPoster, uint256 toPublisher)
    {
        toPoster = fee * posterShare / WHOLE;
        toPublisher = fee * publisherShare / WHOLE;
        toWorker = fee - toPoster - toPublisher;
    }
}
