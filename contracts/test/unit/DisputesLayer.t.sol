// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Phase, Tree} from "../../src/types/Position.sol";
import {ChoiceBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesLayerTest is ChoiceBase {
    function with(bytes32 s, uint32 operator_, bytes memory descriptor, bytes32[] memory proof)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(IDisputes.layer, (dispute, s, operator_, descriptor, proof));
    }

    function by(bytes32 s, uint32 operator_) private view returns (bytes memory) {
        return with(s, operator_, Toy.descriptor(operator_), planProof(operator_));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return by(s, 17);
    }

    function test_refusesAnOperatorThatThePlanHasNot() public {
        bytes32[] memory proof = Toy.proof(Toy.plan(), 5, 24);
        bytes memory reason = abi.encodeWithSelector(IDisputes.OutOfRange.selector, 24, 24);
        refuse(with(state(dispute), 24, Toy.descriptor(17), proof), reason);
    }

    function test_refusesAnotherDescriptor() public {
        bytes memory bad = abi.encodeWithSelector(IDisputes.BadProof.selector);
        bytes32 s = state(dispute);
        refuse(with(s, 16, Toy.descriptor(17), planProof(17)), bad);
        refuse(with(s, 17, Toy.descriptor(16), planProof(17)), bad);
        refuse(with(s, 17, abi.encodePacked(Toy.descriptor(17), uint8(0)), planProof(17)), bad);
        refuse(with(s, 17, Toy.descriptor(17), Toy.proof(Toy.plan(), 4, 17)), bad);
        refuse(with(s, 17, "", new bytes32[](0)), bad);
    }

    function test_refusesWhatDoesNotDecode() public {
        refuse(by(state(dispute), Toy.GARBAGE), abi.encodeWithSelector(IDisputes.Undecodable.selector));
    }

    function test_refusesALayerWithoutInnerValues() public {
        refuse(by(state(dispute), 3), abi.encodeWithSelector(IDisputes.NoInnerValues.selector, 0));
    }

    function test_asksForTheRoot() public {
        vm.warp(START + 4);
        accept(by(state(dispute), 17));
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Layering));
        vm.assertEq(uint256(d.position.tree), uint256(Tree.Layer));
        vm.assertEq(d.position.layer, 2);
        vm.assertEq(d.position.depth, 4);
        vm.assertEq(d.position.node, bytes32(0));
        vm.assertEq(d.count, 11);
        vm.assertEq(d.turns, 1);
        vm.assertEq(d.challengerLeft, CLOCK - 4);
        vm.assertEq(d.deadline, START + 4 + CLOCK);
    }

    /// Whatever layer a root stands for, in whatever dispute, it is there at once.
    function test_goesToARootThatStands() public {
        bytes32 other = openedBy(challenger, claim, 1);
        askLayer(other, 9);
        answerLayer(other, 1);
        uint64 deadline = get().deadline;
        accept(by(state(dispute), 15));
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Choosing));
        vm.assertEq(d.position.node, Merkle.root(Toy.inner(1)));
        vm.assertEq(d.position.depth, 3);
        vm.assertEq(d.count, 5);
        vm.assertEq(d.turns, 0);
        vm.assertEq(d.deadline, deadline);
    }

    function test_goesFromOneLayerToAnother() public {
        accept(by(state(dispute), 17));
        answerLayer(dispute, 2);
        accept(by(state(dispute), 9));
        vm.assertEq(get().position.layer, 1);
        vm.assertEq(get().count, 5);
    }

    /// P5: a challenger that asks on and on runs out of questions, and one turn is left for an element.
    function test_refusesWhenTheWorkerHasHadItsTurns() public {
        uint32 before = 1;
        for (uint256 turns; turns < 9; turns++) {
            if (turns < 2) {
                askLayer(dispute, turns == 0 ? 9 : 17);
                answerLayer(dispute, turns == 0 ? 1 : 2);
            } else {
                // Both roots stand: each visit is one question.
                askLayer(dispute, turns % 2 == 0 ? 9 : 17);
                ask(dispute);
                reveal(dispute, Toy.inner(turns % 2 == 0 ? 1 : 2));
            }
            vm.assertGt(get().position.moves, before);
            before = get().position.moves;
        }
        vm.assertEq(get().turns, 9);
        askLayer(dispute, 9);
        bytes32 s = state(dispute);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.OutOfTurns.selector, 10));
        vm.prank(challenger);
        disputes.ask(dispute, s);
        point(dispute, 9, 0);
        vm.assertEq(get().turns, 10);
    }
}
