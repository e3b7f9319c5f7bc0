// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChoiceBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesSkipTest is ChoiceBase {
    function with(bytes32 s, uint256 index, bytes32 leaf, bytes32[] memory proof) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.skip, (dispute, s, index, leaf, proof));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, 13, Toy.trace()[13], Toy.proof(Toy.trace(), 5, 13));
    }

    function test_refusesWhatIsBeyondTheCount() public {
        bytes32[] memory proof = Toy.proof(Toy.trace(), 5, 20);
        bytes4 range = IDisputes.OutOfRange.selector;
        refuse(with(state(dispute), 20, bytes32(0), proof), abi.encodeWithSelector(range, 20, 20));
        uint256 huge = (1 << 255) + 3;
        proof = Toy.proof(Toy.trace(), 5, 3);
        refuse(with(state(dispute), huge, Toy.trace()[3], proof), abi.encodeWithSelector(range, 20, huge));
    }

    function test_refusesAProofOfSomethingElse() public {
        bytes memory bad = abi.encodeWithSelector(IDisputes.BadProof.selector);
        bytes32[] memory trace = Toy.trace();
        bytes32 s = state(dispute);
        refuse(with(s, 3, trace[4], Toy.proof(trace, 5, 3)), bad);
        refuse(with(s, 4, trace[3], Toy.proof(trace, 5, 3)), bad);
        refuse(with(s, 3, trace[3], Toy.proof(trace, 4, 3)), bad);
        refuse(with(s, 3, trace[3], new bytes32[](0)), bad);
        refuse(with(s, 3, trace[3], new bytes32[](6)), bad);
    }

    /// Below the present node only: node 1 of the level with four leaves each.
    function test_staysBelowTheNode() public {
        ask(dispute);
        reveal(dispute, Toy.trace());
        descend(dispute, Toy.trace(), 1);
        reveal(dispute, Toy.trace());
        bytes32[] memory trace = Toy.trace();
        bytes memory bad = abi.encodeWithSelector(IDisputes.BadProof.selector);
        refuse(with(state(dispute), 2, trace[2], Toy.proof(trace, 2, 2)), bad);
        refuse(with(state(dispute), 6, trace[6], Toy.proof(trace, 5, 6)), bad);
        // What proves value 6 below this node proves nothing of the value at the same place below another.
        refuse(with(state(dispute), 2, trace[6], Toy.proof(trace, 2, 6)), bad);
        refuse(with(state(dispute), 10, trace[6], Toy.proof(trace, 2, 6)), bad);
        accept(with(state(dispute), 6, trace[6], Toy.proof(trace, 2, 6)));
        vm.assertEq(get().position.index, 6);
    }

    function test_refusesAtALeaf() public {
        accept(call(state(dispute)));
        bytes memory reason = abi.encodeWithSelector(IDisputes.AtLeaf.selector);
        refuse(with(state(dispute), 13, bytes32(0), new bytes32[](0)), reason);
    }

    function test_skipsToALeafAndKeepsTheTurn() public {
        vm.warp(START + 9);
        accept(with(state(dispute), 19, Toy.trace()[19], Toy.proof(Toy.trace(), 5, 19)));
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Choosing));
        vm.assertEq(d.position.node, Toy.trace()[19]);
        vm.assertEq(d.position.index, 19);
        vm.assertEq(d.position.depth, 0);
        vm.assertEq(d.position.moves, 2);
        vm.assertEq(d.turns, 0);
        vm.assertEq(d.deadline, START + CLOCK);
        vm.assertEq(d.challengerLeft, CLOCK);
    }
}
