// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesOpenAndConvictTest is Base {
    uint256 private request;
    bytes32 private claim;

    function setUp() public override {
        super.setUp();
        (request, claim) = claimed();
    }

    function refuse(uint256 value, bytes memory witness, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(challenger);
        disputes.openAndConvict{value: value}(claim, 0, witness);
        assertPhase(disputes.disputeId(claim, challenger, 0), Phase.None);
        vm.assertEq(market.ledger().bonds, 0);
    }

    function test_refusesWhatDoesNotConvict() public {
        refuse(BOND, Toy.witness(1, 2, INSIDE), abi.encodeWithSelector(IDisputes.NotOutside.selector));
        refuse(BOND, Toy.witness(1, 2, REFUSED), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 9));
        refuse(BOND, "", abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 1));
        refuse(
            BOND - 1, Toy.witness(1, 2, OUTSIDE), abi.encodeWithSelector(IDisputes.Underbonded.selector, BOND, BOND - 1)
        );
    }

    function test_refusesTheSameSaltAgain() public {
        bytes32 dispute = opened(claim);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.DisputeExists.selector, dispute));
        vm.prank(challenger);
        disputes.openAndConvict{value: BOND}(claim, 0, Toy.witness(1, 2, OUTSIDE));
    }

    function test_strikes() public {
        vm.prank(challenger);
        bytes32 dispute = disputes.openAndConvict{value: BOND}(claim, 0, Toy.witness(1, 2, OUTSIDE));
        assertPhase(dispute, Phase.Struck);
        vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2);
        vm.assertEq(market.ledger().burned, WORKER_BOND / 2);
        vm.assertEq(market.providerOf(provider).staked, 2 ether);
        vm.assertEq(market.providerOf(provider).reserved, 0);
        vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Struck));
        vm.assertTrue(market.isStruck(request, provider));
        assertConserved();
    }
}
