// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {DisputeBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesTimeoutTest is DisputeBase {
    function call(bytes32 s) internal view override returns (bytes memory) {
        return abi.encodeCall(IDisputes.timeout, (dispute, s));
    }

    function sender() internal view override returns (address) {
        return stranger;
    }

    function prepare() internal override {
        ask(dispute);
        reveal(dispute, Toy.trace());
        vm.warp(get().deadline + 1);
    }

    function test_deadlineItselfIsTooEarly() public {
        uint64 deadline = get().deadline;
        vm.warp(deadline);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.NotExpired.selector, deadline, deadline));
        vm.warp(deadline + 1);
        accept(call(state(dispute)));
    }

    function test_strikesInTheWorkersTurns() public {
        for (uint256 i; i < 3; i++) {
            uint256 snapshot = vm.snapshotState();
            if (i == 0) ask(dispute);
            if (i == 1) askLayer(dispute, 9);
            if (i == 2) point(dispute, 3, 0);
            vm.warp(get().deadline + 1);
            accept(call(state(dispute)));
            assertPhase(dispute, Phase.Struck);
            // Whoever says so, the dispute's challenger is paid.
            vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2);
            vm.assertEq(market.creditOf(stranger), 0);
            vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Struck));
            assertConserved();
            vm.revertToState(snapshot);
        }
    }

    function test_losesInTheChallengersTurns() public {
        for (uint256 i; i < 2; i++) {
            uint256 snapshot = vm.snapshotState();
            if (i == 1) {
                ask(dispute);
                reveal(dispute, Toy.trace());
            }
            vm.warp(get().deadline + 1);
            accept(call(state(dispute)));
            assertPhase(dispute, Phase.Lost);
            vm.assertEq(market.creditOf(provider), BOND - BOND / 4);
            vm.assertEq(market.creditOf(challenger), 0);
            assertConserved();
            market.finalize(request);
            vm.revertToState(snapshot);
        }
    }

    function test_refusesWhenOver() public {
        vm.warp(get().deadline + 1);
        accept(call(state(dispute)));
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Lost));
    }
}
