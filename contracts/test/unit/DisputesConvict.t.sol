// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IJudge} from "../../src/interfaces/IJudge.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChallengerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";
import {ToyJudge} from "../toy/ToyJudge.sol";

contract DisputesConvictTest is ChallengerMoveBase {
    function with(bytes32 s, bytes memory witness) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.convict, (dispute, s, witness));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, Toy.witness(9, 4, OUTSIDE));
    }

    function test_refusesWhatIsInsideOrDoesNotOpen() public {
        bytes32 s = state(dispute);
        refuse(with(s, Toy.witness(9, 4, INSIDE)), abi.encodeWithSelector(IDisputes.NotOutside.selector));
        refuse(with(s, Toy.witness(9, 4, REFUSED)), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 9));
        refuse(with(s, ""), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 1));
        refuse(with(s, Toy.witness(9, 4, judge.REVERT())), abi.encodeWithSelector(ToyJudge.Broken.selector));
    }

    function test_convictsInEveryLivePhase() public {
        for (uint256 i; i < 5; i++) {
            uint256 snapshot = vm.snapshotState();
            if (i == 1 || i == 2) ask(dispute);
            if (i == 2) reveal(dispute, Toy.trace());
            if (i == 3) askLayer(dispute, 9);
            if (i == 4) point(dispute, 3, 0);
            vm.warp(get().deadline);
            accept(call(state(dispute)));
            assertPhase(dispute, Phase.Struck);
            vm.revertToState(snapshot);
        }
    }

    function test_refusesWhenOver() public {
        point(dispute, 3, 0);
        defend(dispute, INSIDE);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Lost));
    }

    function test_judgeSeesNoLayerThatDoesNotStand() public {
        IMarket.Claim memory c = market.claimOf(claim);
        IJudge.Context memory context = IJudge.Context({
            planRoot: header().planRoot,
            weightsRoot: keccak256("weights"),
            traceRoot: c.traceRoot,
            layerRoot: bytes32(0),
            layer: 1,
            layerStands: false,
            inputs: market.requestOf(request).inputs,
            outputs: c.outputs,
            operators: 24,
            weights: 3,
            traceValues: 20,
            inputCount: 2,
            outputCount: 1,
            profile: Toy.PROFILE
        });
        bytes memory data = call(state(dispute));
        vm.expectCall(address(judge), abi.encodeCall(IJudge.judge, (context, Toy.witness(9, 4, OUTSIDE))));
        accept(data);
    }

    function test_strikes() public {
        vm.warp(START + 15);
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(market));
        emit IMarket.Struck(
            claim, request, provider, challenger, 2, START + 15 + DEADLINE, WORKER_BOND / 2, 0, WORKER_BOND / 2
        );
        accept(data);
        assertPhase(dispute, Phase.Struck);
        vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2);
        vm.assertEq(market.providerOf(provider).staked, 2 ether);
        vm.assertEq(market.providerOf(provider).reserved, 0);
        IMarket.Request memory r = market.requestOf(request);
        vm.assertEq(uint256(r.status), uint256(IMarket.RequestStatus.Requested));
        vm.assertEq(r.attempt, 2);
        vm.assertEq(r.fee, PRICE);
        vm.assertEq(market.ledger().escrow, PRICE);
        assertConserved();
    }

    function test_undecodableVoids() public {
        accept(with(state(dispute), Toy.witness(9, 4, UNDECODABLE)));
        assertPhase(dispute, Phase.Voided);
        vm.assertEq(market.creditOf(requester), PRICE);
        vm.assertEq(market.creditOf(challenger), BOND);
        assertConserved();
    }
}
