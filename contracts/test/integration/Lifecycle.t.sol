// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

/// @title Whole lives of requests
contract LifecycleTest is Base {
    function test_honestClaimIsPaid() public {
        (uint256 request,) = claimed();
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        vm.assertEq(market.creditOf(provider), PRICE * 90 / 100);
        vm.assertEq(market.creditOf(poster), PRICE * 5 / 100);
        vm.assertEq(market.creditOf(publisher), PRICE * 5 / 100);
        vm.assertTrue(market.isResult(request, outputs()));
        assertConserved();
    }

    function test_wrongClaimIsStruckAndTheRequestServedByAnother() public {
        (uint256 request, bytes32 claim) = claimed();
        bytes32 dispute = opened(claim);
        askLayer(dispute, 9);
        answerLayer(dispute, 1);
        convict(dispute, OUTSIDE);
        assertPhase(dispute, Phase.Struck);

        provider = stranger;
        vm.startPrank(stranger);
        market.stake{value: 1 ether}();
        market.setNode(vm.addr(NODE_KEY));
        vm.stopPrank();
        newClaim(request);
        vm.warp(block.timestamp + WINDOW + 1);
        market.finalize(request);
        vm.assertEq(market.creditOf(stranger), PRICE * 90 / 100);
        vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2);
        assertConserved();
    }

    function test_wholeWalk() public {
        (, bytes32 claim) = claimed();
        bytes32 dispute = opened(claim);
        bytes32[] memory trace = Toy.trace();
        ask(dispute);
        reveal(dispute, trace);
        descend(dispute, trace, 4);
        reveal(dispute, trace);
        descend(dispute, trace, 2);
        vm.assertEq(disputes.disputeOf(dispute).position.index, 18);
        vm.assertEq(disputes.disputeOf(dispute).position.node, trace[18]);
        askLayer(dispute, 17);
        answerLayer(dispute, 2);
        bytes32[] memory inner = Toy.inner(2);
        ask(dispute);
        reveal(dispute, inner);
        descend(dispute, inner, 5);
        reveal(dispute, inner);
        descend(dispute, inner, 0);
        vm.assertEq(disputes.disputeOf(dispute).position.index, 10);
        point(dispute, 17, 3);
        defend(dispute, INSIDE);
        assertPhase(dispute, Phase.Lost);
        vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Open));
        assertConserved();
    }
}
