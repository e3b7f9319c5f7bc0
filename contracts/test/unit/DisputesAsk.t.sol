// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Move, Phase} from "../../src/types/Position.sol";
import {ChallengerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesAskTest is ChallengerMoveBase {
    function call(bytes32 s) internal view override returns (bytes memory) {
        return abi.encodeCall(IDisputes.ask, (dispute, s));
    }

    function test_refusesInAnotherPhase() public {
        ask(dispute);
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Revealing));
        reveal(dispute, Toy.trace());
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Picking));
    }

    function test_refusesAtALeaf() public {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.skip(dispute, s, 3, Toy.trace()[3], Toy.proof(Toy.trace(), 5, 3));
        refuse(call(state(dispute)), abi.encodeWithSelector(IDisputes.AtLeaf.selector));
    }

    function test_asks() public {
        vm.warp(START + 10);
        bytes memory data = call(state(dispute));
        IDisputes.Dispute memory before = get();
        before.position.moves = 2;
        before.position.phase = Phase.Revealing;
        bytes32 digest = keccak256(
            abi.encode(
                dispute,
                uint256(2),
                Phase.Revealing,
                uint256(0),
                uint256(0),
                before.position.node,
                uint256(5),
                0,
                0,
                uint256(0)
            )
        );
        vm.expectEmit(address(disputes));
        emit IDisputes.Moved(dispute, Move.Ask, digest, before.position, START + 10 + CLOCK);
        accept(data);
        IDisputes.Dispute memory d = get();
        vm.assertEq(abi.encode(d.position), abi.encode(before.position));
        vm.assertEq(d.turns, 1);
        vm.assertEq(d.challengerLeft, CLOCK - 10);
        vm.assertEq(d.deadline, START + 10 + CLOCK);
    }
}
