// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Merkle} from "../src/libraries/Merkle.sol";
import {Phase} from "../src/types/Position.sol";
import {Base} from "./Base.sol";
import {Toy} from "./toy/Toy.sol";

/// @title A claim with one dispute, and what every move has in common
abstract contract DisputeBase is Base {
    uint256 internal request;
    bytes32 internal claim;
    bytes32 internal dispute;

    function setUp() public virtual override {
        super.setUp();
        (request, claim) = claimed();
        dispute = opened(claim);
    }

    /// @dev The move under test, with this state, valid in the phase that `prepare` leads to.
    function call(bytes32 s) internal view virtual returns (bytes memory);

    function prepare() internal virtual;

    /// @dev Who sends it.
    function sender() internal view virtual returns (address) {
        return challenger;
    }

    function send(address from, bytes memory data) internal returns (bool success, bytes memory result) {
        vm.prank(from);
        return address(disputes).call(data);
    }

    function accept(bytes memory data) internal {
        (bool success, bytes memory result) = send(sender(), data);
        vm.assertTrue(success, vm.toString(bytes32(result)));
    }

    function refuse(bytes memory data, bytes memory reason) internal {
        (bool success, bytes memory result) = send(sender(), data);
        vm.assertFalse(success);
        vm.assertEq(result, reason);
    }

    function get() internal view returns (IDisputes.Dispute memory) {
        return disputes.disputeOf(dispute);
    }

    /// @dev As if another dispute had struck it.
    function endClaim() internal {
        vm.prank(address(disputes));
        market.strike(claim, stranger, 0, 0, 0);
    }

    // ---- Of every move

    /// Lesson 2: a move that names another state takes nothing.
    function test_refusesAnotherState() public {
        bytes32 before = state(dispute);
        prepare();
        bytes32 s = state(dispute);
        refuse(call(~s), abi.encodeWithSelector(IDisputes.StaleState.selector, s, ~s));
        if (before != s) refuse(call(before), abi.encodeWithSelector(IDisputes.StaleState.selector, s, before));
    }

    function test_refusesAnUnknownDispute() public {
        prepare();
        bytes32 s = state(dispute);
        dispute = ~dispute;
        refuse(call(s), abi.encodeWithSelector(IDisputes.UnknownDispute.selector, dispute));
    }

    /// Lesson 11: nothing moves once the claim has ended.
    function test_refusesOnceAnotherDisputeEndedTheClaim() public {
        prepare();
        bytes memory data = call(state(dispute));
        endClaim();
        assertPhase(dispute, Phase.Moot);
        refuse(data, abi.encodeWithSelector(IDisputes.ClaimEnded.selector, claim));
    }

    /// Lesson 13: the same call again is done already.
    function test_theSameCallAgainChangesNothing() public {
        prepare();
        bytes memory data = call(state(dispute));
        accept(data);
        bytes32 s = state(dispute);
        bytes memory d = abi.encode(disputes.disputeOf(dispute));
        bytes memory l = abi.encode(market.ledger());
        vm.recordLogs();
        vm.warp(block.timestamp + 1);
        accept(data);
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(state(dispute), s);
        vm.assertEq(abi.encode(disputes.disputeOf(dispute)), d);
        vm.assertEq(abi.encode(market.ledger()), l);
    }

    function test_conserves() public {
        vm.fee(1000 gwei);
        prepare();
        accept(call(state(dispute)));
        assertConserved();
    }
}

/// @title What the challenger's moves have in common
abstract contract ChallengerMoveBase is DisputeBase {
    function prepare() internal virtual override {}

    function test_refusesEverybodyElse() public {
        prepare();
        (bool success, bytes memory result) = send(stranger, call(state(dispute)));
        vm.assertFalse(success);
        vm.assertEq(result, abi.encodeWithSelector(IDisputes.OnlyChallenger.selector, challenger, stranger));
    }

    /// Lesson 8: the deadline itself is in time.
    function test_deadlineItselfIsInTime() public {
        prepare();
        bytes memory data = call(state(dispute));
        uint64 deadline = get().deadline;
        vm.warp(deadline + 1);
        refuse(data, abi.encodeWithSelector(IDisputes.Expired.selector, deadline, deadline + 1));
        vm.warp(deadline);
        accept(data);
    }
}

/// @title What moves in Choosing and Picking have in common
abstract contract ChoiceBase is ChallengerMoveBase {
    function test_refusesInTheWorkersTurn() public {
        ask(dispute);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Revealing));
    }

    function test_acceptsInPicking() public {
        ask(dispute);
        reveal(dispute, Toy.trace());
        accept(call(state(dispute)));
    }

    function test_refusesWhenOver() public {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.concede(dispute, s);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Conceded));
    }
}

/// @title What the worker's moves have in common
abstract contract WorkerMoveBase is DisputeBase {
    function sender() internal view override returns (address) {
        return stranger;
    }

    function test_refusesInTheChallengersTurn() public {
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Choosing));
    }

    function test_deadlineItselfIsInTime() public {
        prepare();
        bytes memory data = call(state(dispute));
        uint64 deadline = get().deadline;
        vm.warp(deadline + 1);
        refuse(data, abi.encodeWithSelector(IDisputes.Expired.selector, deadline, deadline + 1));
        vm.warp(deadline);
        accept(data);
    }
}
