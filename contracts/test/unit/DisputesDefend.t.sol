// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IJudge} from "../../src/interfaces/IJudge.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {WorkerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";
import {ToyJudge} from "../toy/ToyJudge.sol";

contract DisputesDefendTest is WorkerMoveBase {
    function with(bytes32 s, bytes memory witness) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.defend, (dispute, s, witness));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, Toy.witness(3, 5, INSIDE));
    }

    function prepare() internal override {
        point(dispute, 3, 5);
    }

    function test_refusesAnotherElement() public {
        prepare();
        bytes32 s = state(dispute);
        bytes4 wrong = IDisputes.WrongElement.selector;
        refuse(with(s, Toy.witness(3, 4, INSIDE)), abi.encodeWithSelector(wrong, 3, 4));
        refuse(with(s, Toy.witness(2, 5, INSIDE)), abi.encodeWithSelector(wrong, 2, 5));
    }

    /// Lesson 18: what does not open is no verdict, whoever sent it.
    function test_refusesAWitnessThatDoesNotOpen() public {
        prepare();
        bytes32 s = state(dispute);
        refuse(with(s, Toy.witness(3, 5, REFUSED)), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 9));
        refuse(with(s, ""), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 1));
        assertPhase(dispute, Phase.Defending);
    }

    /// Lesson 17: neither is a judge that runs out of gas, at any amount of it, or that reverts.
    function test_refusesAJudgeThatFails() public {
        prepare();
        bytes32 s = state(dispute);
        bytes memory data = with(s, Toy.witness(3, 5, judge.REVERT()));
        refuse(data, abi.encodeWithSelector(ToyJudge.Broken.selector));
        data = with(s, Toy.witness(3, 5, judge.BURN()));
        for (uint256 gas = 100_000; gas < 1_700_000; gas += 200_000) {
            (bool success,) = address(disputes).call{gas: gas}(data);
            vm.assertFalse(success);
        }
        data = with(s, Toy.witness(3, 5, INSIDE));
        for (uint256 gas = 10_000; gas < 400_000; gas += 10_000) {
            uint256 snapshot = vm.snapshotState();
            (bool success,) = address(disputes).call{gas: gas}(data);
            assertPhase(dispute, success ? Phase.Lost : Phase.Defending);
            vm.revertToState(snapshot);
        }
    }

    function test_insideLosesTheDispute() public {
        prepare();
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.Judged(dispute, IJudge.Outcome(IJudge.Verdict.Inside, 0, 3, 0, 5));
        accept(data);
        assertPhase(dispute, Phase.Lost);
        vm.assertEq(market.creditOf(provider), BOND - BOND / 4);
        vm.assertEq(market.ledger().burned, BOND / 4);
        vm.assertEq(market.ledger().bonds, 0);
        vm.assertEq(market.claimOf(claim).openDisputes, 0);
        vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Open));
        assertConserved();
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
    }

    function test_outsideStrikes() public {
        prepare();
        accept(with(state(dispute), Toy.witness(3, 5, OUTSIDE)));
        assertPhase(dispute, Phase.Struck);
        vm.assertEq(market.creditOf(challenger), BOND + WORKER_BOND / 2);
        assertConserved();
    }

    function test_undecodableVoids() public {
        prepare();
        accept(with(state(dispute), Toy.witness(3, 5, UNDECODABLE)));
        assertPhase(dispute, Phase.Voided);
        vm.assertEq(market.creditOf(challenger), BOND);
        vm.assertEq(market.creditOf(requester), PRICE);
        assertConserved();
    }

    /// Lesson 3: the judge sees this claim, this model, this layer and nothing else.
    function test_judgeSeesTheContextOfTheClaim() public {
        askLayer(dispute, 9);
        answerLayer(dispute, 1);
        point(dispute, 9, 5);
        bytes memory witness = Toy.witness(9, 5, INSIDE);
        bytes memory data = with(state(dispute), witness);
        IMarket.Claim memory c = market.claimOf(claim);
        (, bytes32 layerRoot) = disputes.layerRootOf(claim, 1);
        IJudge.Context memory context = IJudge.Context({
            planRoot: header().planRoot,
            weightsRoot: keccak256("weights"),
            traceRoot: c.traceRoot,
            layerRoot: layerRoot,
            layer: 1,
            layerStands: true,
            inputs: market.requestOf(request).inputs,
            outputs: c.outputs,
            operators: 24,
            weights: 3,
            traceValues: 20,
            inputCount: 2,
            outputCount: 1,
            profile: Toy.PROFILE
        });
        vm.expectCall(address(judge), abi.encodeCall(IJudge.judge, (context, witness)));
        accept(data);
    }

    function test_metersTheWorkersMoves() public {
        vm.fee(1 gwei);
        prepare();
        accept(call(state(dispute)));
        uint256 cost = get().workerCost;
        vm.assertGt(cost, 60_000 * 1 gwei);
        vm.assertLe(cost, BOND);
    }
}
