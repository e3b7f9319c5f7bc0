// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesSettleTest is Base {
    uint256 private request;
    bytes32 private claim;

    function setUp() public override {
        super.setUp();
        (request, claim) = claimed();
    }

    function test_refusesWhatIsNotMoot() public {
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UnknownDispute.selector, bytes32(0)));
        disputes.settle(0);
        bytes32 dispute = opened(claim);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotMoot.selector, Phase.Choosing));
        disputes.settle(dispute);
        convict(dispute, OUTSIDE);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotMoot.selector, Phase.Struck));
        disputes.settle(dispute);
    }

    function test_refusesALostDisputeOfAStruckClaim() public {
        bytes32 lost = opened(claim);
        point(lost, 3, 0);
        defend(lost, INSIDE);
        convict(openedBy(challenger, claim, 1), OUTSIDE);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotMoot.selector, Phase.Lost));
        disputes.settle(lost);
    }

    function test_refundsBondAndCostOfAStruckClaim() public {
        vm.fee(1 gwei);
        bytes32 moot = openedBy(stranger, claim, 0);
        bytes32 winner = opened(claim);
        convict(winner, OUTSIDE);
        assertPhase(moot, Phase.Moot);
        uint256 cost = disputes.disputeOf(moot).challengerCost;
        vm.assertGt(cost, 0);
        vm.assertEq(market.ledger().setAside, cost);
        vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2 - cost);

        vm.expectEmit(address(disputes));
        emit IDisputes.Settled(moot, claim);
        disputes.settle(moot);
        assertPhase(moot, Phase.Settled);
        vm.assertEq(market.creditOf(stranger), BOND + cost);
        vm.assertEq(market.ledger().setAside, 0);
        vm.assertEq(market.ledger().bonds, 0);
        assertConserved();
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotMoot.selector, Phase.Settled));
        disputes.settle(moot);
    }

    /// The winner's cost comes first; what others cost beyond the rest is shared in proportion; nothing is owed that is not there.
    function test_sharesWhatDoesNotSuffice() public {
        vm.fee(3000 gwei);
        vm.deal(stranger, 10_000 ether);
        vm.deal(challenger, 10_000 ether);
        bytes32 first = openedBy(stranger, claim, 0);
        bytes32 second = openedBy(stranger, claim, 1);
        bytes32 winner = opened(claim);
        convict(winner, OUTSIDE);
        uint256 metered = disputes.disputeOf(first).challengerCost + disputes.disputeOf(second).challengerCost;
        uint256 own = disputes.disputeOf(winner).challengerCost;
        uint256 pool = WORKER_BOND / 2;
        vm.assertGt(metered + own, pool);
        uint256 bond = market.bondFor(block.basefee);
        pool -= own < pool ? own : pool;
        disputes.settle(first);
        vm.assertEq(market.creditOf(stranger), bond + pool * disputes.disputeOf(first).challengerCost / metered);
        disputes.settle(second);
        uint256 reward = market.creditOf(challenger) - bond;
        vm.assertEq(reward, WORKER_BOND / 2 - pool);
        assertConserved();
        // Of rounding, less than a wei for each dispute stays set aside.
        vm.assertLe(market.ledger().setAside, 2);
    }

    /// A lost dispute's cost is its own.
    function test_lostDisputesAreNotRefunded() public {
        vm.fee(1 gwei);
        bytes32 lost = openedBy(challenger, claim, 0);
        point(lost, 3, 0);
        defend(lost, INSIDE);
        convict(openedBy(challenger, claim, 1), OUTSIDE);
        vm.assertEq(market.ledger().setAside, 0);
        assertConserved();
    }

    function test_refundsTheBondOfAVoidClaim() public {
        vm.fee(1 gwei);
        bytes32 moot = openedBy(stranger, claim, 0);
        convict(opened(claim), UNDECODABLE);
        disputes.settle(moot);
        vm.assertEq(market.creditOf(stranger), BOND);
        vm.assertEq(market.ledger().bonds, 0);
        assertConserved();
    }
}
