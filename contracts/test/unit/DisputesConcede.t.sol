// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChallengerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesConcedeTest is ChallengerMoveBase {
    function call(bytes32 s) internal view override returns (bytes memory) {
        return abi.encodeCall(IDisputes.concede, (dispute, s));
    }

    /// Lesson 15: disputing oneself costs a quarter of the bond.
    function test_concedes() public {
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.Ended(dispute, claim, Phase.Conceded, 0, 0);
        accept(data);
        assertPhase(dispute, Phase.Conceded);
        vm.assertEq(market.creditOf(challenger), BOND - BOND / 4);
        vm.assertEq(market.creditOf(provider), 0);
        vm.assertEq(market.ledger().burned, BOND / 4);
        assertConserved();
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
    }

    function test_paysTheWorkersMeteredCost() public {
        vm.fee(2 gwei);
        ask(dispute);
        reveal(dispute, Toy.trace());
        uint256 cost = get().workerCost;
        vm.assertGt(cost, 60_000 * 2 gwei);
        accept(call(state(dispute)));
        vm.assertEq(market.creditOf(provider), cost);
        vm.assertEq(market.creditOf(challenger), BOND - BOND / 4 - cost);
        assertConserved();
    }

    /// Lesson 10: a cost above the bond does not stop the exit.
    function test_costBeyondTheBondTakesTheRest() public {
        ask(dispute);
        vm.fee(100_000 gwei);
        reveal(dispute, Toy.trace());
        vm.assertEq(get().workerCost, BOND);
        accept(call(state(dispute)));
        vm.assertEq(market.creditOf(provider), BOND - BOND / 4);
        vm.assertEq(market.creditOf(challenger), 0);
        assertConserved();
    }
}
