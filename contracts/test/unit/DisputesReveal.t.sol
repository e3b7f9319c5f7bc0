// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Phase} from "../../src/types/Position.sol";
import {WorkerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesRevealTest is WorkerMoveBase {
    function children() private pure returns (bytes32[] memory) {
        return Toy.children(Toy.trace(), 5, 0);
    }

    function with(bytes32 s, bytes32[] memory list) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.reveal, (dispute, s, list));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, children());
    }

    function prepare() internal override {
        ask(dispute);
    }

    function test_refusesAnotherCount() public {
        ask(dispute);
        bytes4 wrong = IDisputes.WrongCount.selector;
        refuse(with(state(dispute), new bytes32[](0)), abi.encodeWithSelector(wrong, 8, 0));
        refuse(with(state(dispute), new bytes32[](4)), abi.encodeWithSelector(wrong, 8, 4));
        refuse(with(state(dispute), new bytes32[](16)), abi.encodeWithSelector(wrong, 8, 16));
    }

    function test_refusesOtherNodes() public {
        ask(dispute);
        for (uint256 i; i < 8; i++) {
            bytes32[] memory list = children();
            list[i] ^= bytes32(uint256(1));
            bytes32 root = Merkle.root(list);
            bytes memory reason = abi.encodeWithSelector(IDisputes.WrongNode.selector, get().position.node, root);
            refuse(with(state(dispute), list), reason);
        }
    }

    function test_reveals() public {
        ask(dispute);
        vm.warp(START + 7);
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.Revealed(dispute, Merkle.root(Toy.trace()), children());
        accept(data);
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Picking));
        vm.assertEq(d.position.moves, 3);
        vm.assertEq(d.workerLeft, CLOCK - 7);
        vm.assertEq(d.deadline, START + 7 + CLOCK);
    }

    /// The last level of the toy's trace is four wide.
    function test_revealsAShallowLastLevel() public {
        ask(dispute);
        reveal(dispute, Toy.trace());
        descend(dispute, Toy.trace(), 1);
        vm.assertEq(get().position.depth, 2);
        bytes32[] memory list = Toy.children(Toy.trace(), 2, 1);
        vm.assertEq(list.length, 4);
        accept(with(state(dispute), list));
    }

    /// Lesson 1: a subtree of zeros is data like any other.
    function test_revealsZeros() public {
        ask(dispute);
        reveal(dispute, Toy.trace());
        descend(dispute, Toy.trace(), 3);
        accept(with(state(dispute), new bytes32[](4)));
        descend(dispute, Toy.trace(), 0);
        vm.assertEq(get().position.node, bytes32(0));
        vm.assertEq(get().position.index, 12);
        assertPhase(dispute, Phase.Choosing);
    }

    /// Lesson 7: at the last second, the other side still has the extension.
    function test_extensionAfterTheLastSecond() public {
        vm.warp(get().deadline);
        ask(dispute);
        vm.assertEq(get().challengerLeft, 0);
        vm.warp(get().deadline);
        reveal(dispute, Toy.trace());
        vm.assertEq(get().workerLeft, 0);
        vm.assertEq(get().deadline, block.timestamp + EXTENSION);
        vm.warp(get().deadline);
        descend(dispute, Toy.trace(), 0);
        vm.assertEq(get().deadline, block.timestamp + EXTENSION);
    }
}
