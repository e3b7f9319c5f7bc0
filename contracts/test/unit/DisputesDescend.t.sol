// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChallengerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesDescendTest is ChallengerMoveBase {
    function with(bytes32 s, uint256 child, bytes32[] memory list) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.descend, (dispute, s, child, list));
    }

    function children() private view returns (bytes32[] memory) {
        IDisputes.Dispute memory d = get();
        return Toy.children(Toy.trace(), d.position.depth, d.position.index);
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, 2, children());
    }

    function prepare() internal override {
        ask(dispute);
        reveal(dispute, Toy.trace());
    }

    function test_refusesInAnotherPhase() public {
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Choosing));
        ask(dispute);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Revealing));
    }

    function test_refusesOtherChildren() public {
        prepare();
        bytes32[] memory list = children();
        list[2] = bytes32(0);
        bytes32 root = Merkle.root(list);
        bytes memory reason = abi.encodeWithSelector(IDisputes.WrongNode.selector, get().position.node, root);
        refuse(with(state(dispute), 2, list), reason);
        list = new bytes32[](4);
        refuse(with(state(dispute), 2, list), abi.encodeWithSelector(IDisputes.WrongCount.selector, 8, 4));
    }

    /// Lesson 6: neither beyond the children nor into the filling.
    function test_refusesWhatIsBeyondTheCount() public {
        prepare();
        bytes4 range = IDisputes.OutOfRange.selector;
        refuse(with(state(dispute), 8, children()), abi.encodeWithSelector(range, 8, 8));
        refuse(with(state(dispute), type(uint256).max, children()), abi.encodeWithSelector(range, 8, type(uint256).max));
        // Child 5 begins at leaf 20, of 20.
        refuse(with(state(dispute), 5, children()), abi.encodeWithSelector(range, 20, 20));
        refuse(with(state(dispute), 7, children()), abi.encodeWithSelector(range, 20, 28));
        accept(with(state(dispute), 4, children()));
    }

    function test_descendsAndAsksAgain() public {
        prepare();
        vm.warp(START + 9);
        bytes32 node = children()[4];
        accept(with(state(dispute), 4, children()));
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Revealing));
        vm.assertEq(d.position.node, node);
        vm.assertEq(d.position.depth, 2);
        vm.assertEq(d.position.index, 4);
        vm.assertEq(d.position.moves, 4);
        vm.assertEq(d.turns, 2);
        vm.assertEq(d.challengerLeft, CLOCK - 9);
        vm.assertEq(d.deadline, START + 9 + CLOCK);
    }

    function test_descendsToALeafAndKeepsTheTurn() public {
        prepare();
        descend(dispute, Toy.trace(), 4);
        reveal(dispute, Toy.trace());
        uint64 deadline = get().deadline;
        vm.warp(START + 9);
        accept(with(state(dispute), 3, children()));
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Choosing));
        vm.assertEq(d.position.node, Toy.trace()[19]);
        vm.assertEq(d.position.index, 19);
        vm.assertEq(d.position.depth, 0);
        vm.assertEq(d.turns, 2);
        vm.assertEq(d.deadline, deadline);
    }
}
