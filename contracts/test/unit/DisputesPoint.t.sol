// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChoiceBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesPointTest is ChoiceBase {
    function with(bytes32 s, uint32 operator_, uint64 element) private view returns (bytes memory) {
        return abi.encodeCall(
            IDisputes.point, (dispute, s, operator_, element, Toy.descriptor(operator_), planProof(operator_))
        );
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, 3, 5);
    }

    function test_refusesWhatThePlanHasNot() public {
        bytes32 s = state(dispute);
        bytes4 range = IDisputes.OutOfRange.selector;
        bytes memory data =
            abi.encodeCall(IDisputes.point, (dispute, s, 24, 0, Toy.descriptor(3), Toy.proof(Toy.plan(), 5, 24)));
        refuse(data, abi.encodeWithSelector(range, 24, 24));
        refuse(with(s, 3, 6), abi.encodeWithSelector(range, 6, 6));
        refuse(with(s, 3, type(uint64).max), abi.encodeWithSelector(range, 6, type(uint64).max));
        data = abi.encodeCall(IDisputes.point, (dispute, s, 4, 0, Toy.descriptor(3), planProof(3)));
        refuse(data, abi.encodeWithSelector(IDisputes.BadProof.selector));
    }

    function test_refusesInnerValuesWithoutARoot() public {
        refuse(with(state(dispute), 9, 0), abi.encodeWithSelector(IDisputes.LayerMissing.selector, 1));
        askLayer(dispute, 9);
        answerLayer(dispute, 1);
        refuse(with(state(dispute), 17, 0), abi.encodeWithSelector(IDisputes.LayerMissing.selector, 2));
        accept(with(state(dispute), 9, 0));
    }

    function test_voidsTheClaimOfAModelThatDoesNotDecode() public {
        bytes memory data = with(state(dispute), Toy.GARBAGE, 0);
        vm.expectEmit(address(market));
        emit IMarket.Voided(claim, request);
        accept(data);
        assertPhase(dispute, Phase.Voided);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Void));
        vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Void));
        vm.assertEq(market.creditOf(requester), PRICE);
        vm.assertEq(market.creditOf(challenger), BOND);
        vm.assertEq(market.providerOf(provider).staked, 3 ether);
        vm.assertEq(market.providerOf(provider).reserved, 0);
        assertConserved();
    }

    function test_points() public {
        vm.warp(START + 4);
        bytes memory data = with(state(dispute), 3, 5);
        vm.expectEmit(address(disputes));
        emit IDisputes.Pointed(dispute, 3, 5, Toy.descriptor(3));
        accept(data);
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Defending));
        vm.assertEq(d.position.operator_, 3);
        vm.assertEq(d.position.element, 5);
        vm.assertEq(d.turns, 1);
        vm.assertEq(d.challengerLeft, CLOCK - 4);
        vm.assertEq(d.deadline, START + 4 + CLOCK);
    }
}
