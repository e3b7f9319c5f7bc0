// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Move, Phase, Position, Tree} from "../../src/types/Position.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesOpenTest is Base {
    uint256 private request;
    bytes32 private claim;

    function setUp() public override {
        super.setUp();
        (request, claim) = claimed();
    }

    function refuse(bytes32 id, uint256 value, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(challenger);
        disputes.open{value: value}(id, 0);
    }

    function test_refusesAClaimThatIsNotOpen() public {
        refuse(bytes32(0), BOND, abi.encodeWithSelector(IMarket.UnknownClaim.selector, bytes32(0)));
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        bytes4 wrong = IMarket.WrongClaimStatus.selector;
        refuse(claim, BOND, abi.encodeWithSelector(wrong, IMarket.ClaimStatus.Open, IMarket.ClaimStatus.Final));
    }

    function test_endOfTheWindowIsInTime() public {
        vm.warp(START + WINDOW + 1);
        refuse(claim, BOND, abi.encodeWithSelector(IMarket.TooLate.selector, START + WINDOW, START + WINDOW + 1));
        vm.warp(START + WINDOW);
        opened(claim);
    }

    function test_refusesTooSmallABond() public {
        refuse(claim, BOND - 1, abi.encodeWithSelector(IDisputes.Underbonded.selector, BOND, BOND - 1));
        vm.fee(50 gwei);
        refuse(claim, BOND, abi.encodeWithSelector(IDisputes.Underbonded.selector, 0.8 ether, BOND));
    }

    function test_refusesTheSameSaltAgain() public {
        bytes32 dispute = opened(claim);
        refuse(claim, BOND, abi.encodeWithSelector(IDisputes.DisputeExists.selector, dispute));
    }

    function test_opens() public {
        bytes32 id = keccak256(
            abi.encode(
                keccak256("touchstone.dispute.1"), uint256(31337), address(disputes), claim, challenger, uint256(5)
            )
        );
        Position memory position = Position({
            moves: 1,
            phase: Phase.Choosing,
            tree: Tree.Trace,
            layer: 0,
            node: Merkle.root(Toy.trace()),
            depth: 5,
            index: 0,
            operator_: 0,
            element: 0
        });
        bytes32 digest = keccak256(
            abi.encode(id, uint256(1), uint256(1), uint256(0), uint256(0), position.node, uint256(5), 0, 0, uint256(0))
        );
        vm.warp(START + 3);
        vm.expectEmit(address(disputes));
        emit IDisputes.Opened(id, claim, challenger, 5, BOND, START + 3 + CLOCK);
        vm.expectEmit(address(disputes));
        emit IDisputes.Moved(id, Move.Open, digest, position, START + 3 + CLOCK);
        vm.prank(challenger);
        vm.assertEq(disputes.open{value: BOND + 7}(claim, 5), id);

        vm.assertEq(disputes.disputeId(claim, challenger, 5), id);
        vm.assertEq(disputes.stateDigest(id), digest);
        IDisputes.Dispute memory expected = IDisputes.Dispute({
            claim: claim,
            challenger: challenger,
            position: position,
            count: 20,
            turns: 0,
            deadline: START + 3 + CLOCK,
            challengerLeft: uint32(CLOCK),
            workerLeft: uint32(CLOCK),
            bond: BOND,
            challengerCost: 0,
            workerCost: 0
        });
        vm.assertEq(abi.encode(disputes.disputeOf(id)), abi.encode(expected));
        vm.assertEq(market.claimOf(claim).openDisputes, 1);
        vm.assertEq(market.ledger().bonds, BOND);
        vm.assertEq(market.creditOf(challenger), 7);
        vm.assertEq(address(disputes).balance, 0);
        assertConserved();
    }

    function test_severalDisputesOnOneClaim() public {
        bytes32 first = openedBy(challenger, claim, 0);
        bytes32 second = openedBy(challenger, claim, 1);
        bytes32 third = openedBy(stranger, claim, 0);
        vm.assertTrue(first != second && second != third && first != third);
        vm.assertEq(market.claimOf(claim).openDisputes, 3);
        // Each has states of its own.
        vm.assertNotEq(state(first), state(second));
    }

    function test_metersByTheBaseFeeUpToTheBond() public {
        vm.fee(2 gwei);
        bytes32 dispute = opened(claim);
        uint256 cost = disputes.disputeOf(dispute).challengerCost;
        vm.assertGt(cost, 250_000 * 2 gwei);
        vm.assertLt(cost, 500_000 * 2 gwei);
    }

    /// Bytes that mean nothing cost little where a contract sends them, so they are not refunded.
    function test_doesNotMeterTrailingBytes() public {
        vm.fee(2 gwei);
        uint256 bond = market.bondFor(block.basefee);
        bytes memory call = abi.encodeCall(IDisputes.open, (claim, 0));
        uint256 snapshot = vm.snapshotState();
        vm.prank(challenger);
        (bool success, bytes memory id) = address(disputes).call{value: bond}(call);
        uint256 cost = disputes.disputeOf(abi.decode(id, (bytes32))).challengerCost;
        vm.revertToState(snapshot);
        vm.prank(challenger);
        (success, id) = address(disputes).call{value: bond}(abi.encodePacked(call, new bytes(32_768)));
        vm.assertTrue(success);
        vm.assertEq(disputes.disputeOf(abi.decode(id, (bytes32))).challengerCost, cost);
    }

    /// An unknown dispute has no phase, and no digest of it is ever accepted.
    function test_unknownDisputeIsNone() public view {
        assertPhase(bytes32(uint256(1)), Phase.None);
    }
}
