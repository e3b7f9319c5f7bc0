// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Phase} from "../../src/types/Position.sol";
import {WorkerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";

contract DisputesAnswerLayerTest is WorkerMoveBase {
    function root() private pure returns (bytes32) {
        return Merkle.root(Toy.inner(1));
    }

    function with(bytes32 s, bytes32 value, bytes memory signature) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.answerLayer, (dispute, s, value, signature));
    }

    function signed() private view returns (bytes memory) {
        return sign(NODE_KEY, disputes.layerDigest(claim, 1, root()));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, root(), signed());
    }

    function prepare() internal override {
        askLayer(dispute, 9);
    }

    function test_refusesWhatTheNodeDidNotSign() public {
        prepare();
        bytes32 s = state(dispute);
        address node = vm.addr(NODE_KEY);
        bytes4 bad = IDisputes.BadSignature.selector;
        refuse(with(s, root(), ""), abi.encodeWithSelector(bad, node, address(0)));
        bytes memory signature = sign(OTHER_KEY, disputes.layerDigest(claim, 1, root()));
        refuse(with(s, root(), signature), abi.encodeWithSelector(bad, node, vm.addr(OTHER_KEY)));
        // Of another root, layer, claim: who signed is somebody else.
        bytes32[3] memory digests = [
            disputes.layerDigest(claim, 1, bytes32(0)),
            disputes.layerDigest(claim, 2, root()),
            disputes.layerDigest(~claim, 1, root())
        ];
        for (uint256 i; i < digests.length; i++) {
            (bool success, bytes memory result) = send(stranger, with(s, root(), sign(NODE_KEY, digests[i])));
            vm.assertFalse(success);
            vm.assertEq(bytes32(result) >> 224, bytes32(bad) >> 224);
        }
    }

    /// The claim's node key answers, whatever key the provider has set since.
    function test_refusesAKeySetLater() public {
        prepare();
        vm.prank(provider);
        market.setNode(vm.addr(OTHER_KEY));
        bytes memory signature = sign(OTHER_KEY, disputes.layerDigest(claim, 1, root()));
        bytes memory reason =
            abi.encodeWithSelector(IDisputes.BadSignature.selector, vm.addr(NODE_KEY), vm.addr(OTHER_KEY));
        refuse(with(state(dispute), root(), signature), reason);
        accept(call(state(dispute)));
    }

    function test_answers() public {
        prepare();
        vm.warp(START + 8);
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.LayerAnswered(claim, 1, root(), dispute);
        accept(data);
        IDisputes.Dispute memory d = get();
        vm.assertEq(uint256(d.position.phase), uint256(Phase.Choosing));
        vm.assertEq(d.position.node, root());
        vm.assertEq(d.workerLeft, CLOCK - 8);
        vm.assertEq(d.deadline, START + 8 + CLOCK);
        (bool stands, bytes32 value) = disputes.layerRootOf(claim, 1);
        vm.assertTrue(stands);
        vm.assertEq(value, root());
        (stands,) = disputes.layerRootOf(claim, 2);
        vm.assertFalse(stands);
    }

    /// Lesson 1: a root of zero stands like any other.
    function test_zeroIsARoot() public {
        prepare();
        bytes memory signature = sign(NODE_KEY, disputes.layerDigest(claim, 1, bytes32(0)));
        accept(with(state(dispute), bytes32(0), signature));
        (bool stands,) = disputes.layerRootOf(claim, 1);
        vm.assertTrue(stands);
        point(dispute, 9, 0);
    }

    /// One answer counts for all disputes on the claim, and there is only one.
    function test_oneAnswerForAll() public {
        prepare();
        bytes32 other = openedBy(challenger, claim, 1);
        askLayer(other, 12);
        answerLayer(other, 1);

        bytes memory signature = sign(NODE_KEY, disputes.layerDigest(claim, 1, bytes32(uint256(1))));
        bytes memory reason = abi.encodeWithSelector(IDisputes.LayerStands.selector, 1, root());
        refuse(with(state(dispute), bytes32(uint256(1)), signature), reason);

        // After the deadline the worker cannot lose by this question, and anybody moves on.
        uint64 deadline = get().deadline;
        vm.warp(deadline + 3);
        bytes32 s = state(dispute);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotExpired.selector, deadline + CLOCK, deadline + 3));
        disputes.timeout(dispute, s);
        accept(with(s, root(), ""));
        vm.assertEq(get().workerLeft, 0);
        vm.assertEq(get().position.node, root());
        assertPhase(dispute, Phase.Choosing);
        // The challenger's turn began when the worker's ended: to answer here late does not lengthen the dispute.
        vm.assertEq(get().deadline, deadline + CLOCK);
    }

    /// A challenger that does nothing with an answer given elsewhere loses: no claim waits for it for ever.
    function test_anAnswerElsewhereBeginsTheChallengersTurn() public {
        prepare();
        uint64 deadline = get().deadline;
        bytes32 other = openedBy(challenger, claim, 1);
        vm.warp(START + 5);
        askLayer(other, 12);
        // This one's deadline passes unseen before the answer comes elsewhere: its turn begins with the answer.
        vm.warp(deadline + 2);
        answerLayer(other, 1);
        uint64 last = deadline + 2 + CLOCK;
        vm.warp(last);
        bytes32 s = state(dispute);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotExpired.selector, last, last));
        disputes.timeout(dispute, s);
        vm.warp(last + 1);
        vm.prank(stranger);
        disputes.timeout(dispute, s);
        assertPhase(dispute, Phase.Lost);
        assertConserved();
    }
}
