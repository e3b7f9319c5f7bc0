// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IJudge} from "../../src/interfaces/IJudge.sol";
import {IPartJudge} from "../../src/interfaces/IPartJudge.sol";
import {Phase} from "../../src/types/Position.sol";
import {ChallengerMoveBase, WorkerMoveBase} from "../DisputeBase.sol";
import {Toy} from "../toy/Toy.sol";
import {ToyJudge} from "../toy/ToyJudge.sol";

contract DisputesTotalTest is WorkerMoveBase {
    function with(bytes32 s, bytes memory witness, uint256[] memory parts, bytes memory signature)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(IDisputes.total, (dispute, s, witness, 7, parts, signature));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return said(s, INSIDE);
    }

    function said(bytes32 s, uint8 verdict) private view returns (bytes memory) {
        uint256[] memory parts = partsOf(dispute);
        if (parts.length == 0) parts = Toy.parts(Toy.LEAVES, 4, 0);
        return with(s, Toy.witness(Toy.LONG, 5, verdict), parts, signParts(dispute, parts));
    }

    function prepare() internal override {
        point(dispute, Toy.LONG, 5);
    }

    function test_pointEntersTheTreeOverTheTerms() public {
        prepare();
        IDisputes.Dispute memory d = get();
        assertPhase(dispute, Phase.Totalling);
        vm.assertEq(d.count, Toy.LEAVES);
        vm.assertEq(d.position.depth, 4);
        vm.assertEq(d.position.index, 0);
        vm.assertEq(d.position.node, 0);
        vm.assertEq(d.turns, 1);
    }

    function test_showsThePartsAndGivesTheTurn() public {
        prepare();
        vm.warp(START + 9);
        uint256[] memory parts = partsOf(dispute);
        vm.assertEq(parts.length, 10);
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.Judged(dispute, IJudge.Outcome(IJudge.Verdict.Inside, 0, Toy.LONG, 0, 5));
        vm.expectEmit(address(disputes));
        emit IDisputes.Parted(dispute, partHeader(dispute), parts);
        accept(data);
        IDisputes.Dispute memory d = get();
        assertPhase(dispute, Phase.Parting);
        vm.assertEq(d.position.node, keccak256(abi.encodePacked(partHeader(dispute), parts)));
        vm.assertEq(d.workerLeft, CLOCK - 9);
        vm.assertEq(d.turns, 1);
    }

    /// The judge is given what the parts add up to.
    function test_judgesTheSumOfTheParts() public {
        prepare();
        bytes memory data = call(state(dispute));
        vm.expectCall(address(judge), abi.encodeWithSelector(IPartJudge.judgeTotals.selector));
        accept(data);
    }

    /// Lesson 3: the free choices are the worker's, so nobody else can have it struck by them.
    function test_refusesWhatTheNodeKeyDidNotSign() public {
        prepare();
        bytes32 s = state(dispute);
        uint256[] memory parts = partsOf(dispute);
        for (uint8 verdict = INSIDE; verdict <= OUTSIDE; verdict++) {
            bytes memory witness = Toy.witness(Toy.LONG, 5, verdict);
            bytes memory signature = signParts(dispute, parts);
            parts[0]++;
            (bool success,) = send(sender(), with(s, witness, parts, signature));
            parts[0]--;
            vm.assertFalse(success);
            address node = vm.addr(NODE_KEY);
            bytes4 bad = IDisputes.BadSignature.selector;
            refuse(with(s, witness, parts, ""), abi.encodeWithSelector(bad, node, address(0)));
        }
    }

    function test_refusesAnotherElement() public {
        prepare();
        bytes32 s = state(dispute);
        uint256[] memory parts = partsOf(dispute);
        bytes memory reason = abi.encodeWithSelector(IDisputes.WrongElement.selector, Toy.LONG, 4);
        refuse(with(s, Toy.witness(Toy.LONG, 4, INSIDE), parts, signParts(dispute, parts)), reason);
        reason = abi.encodeWithSelector(IDisputes.WrongElement.selector, 3, 5);
        refuse(with(s, Toy.witness(3, 5, INSIDE), parts, signParts(dispute, parts)), reason);
    }

    function test_refusesAnotherNumberOfParts() public {
        prepare();
        bytes32 s = state(dispute);
        bytes memory witness = Toy.witness(Toy.LONG, 5, INSIDE);
        for (uint256 length; length < 15; length++) {
            if (length == 5 || length == 10) continue;
            uint256[] memory parts = new uint256[](length);
            bytes memory reason = abi.encodeWithSelector(IDisputes.WrongCount.selector, 5, length);
            refuse(with(s, witness, parts, signParts(dispute, parts)), reason);
        }
    }

    function test_refusesAJudgeThatFails() public {
        prepare();
        bytes32 s = state(dispute);
        refuse(said(s, REFUSED), abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 9));
        refuse(said(s, judge.REVERT()), abi.encodeWithSelector(ToyJudge.Broken.selector));
        bytes memory data = said(s, INSIDE);
        for (uint256 gas = 10_000; gas < 500_000; gas += 10_000) {
            uint256 snapshot = vm.snapshotState();
            (bool success,) = address(disputes).call{gas: gas}(data);
            assertPhase(dispute, success ? Phase.Parting : Phase.Totalling);
            vm.revertToState(snapshot);
        }
    }

    function test_totalsOutsideStrike() public {
        prepare();
        accept(said(state(dispute), OUTSIDE));
        assertPhase(dispute, Phase.Struck);
        assertConserved();
    }

    /// What the plan binds needs nobody's signature.
    function test_undecodableVoids() public {
        prepare();
        bytes memory witness = Toy.witness(Toy.LONG, 5, UNDECODABLE);
        accept(with(state(dispute), witness, partsOf(dispute), ""));
        assertPhase(dispute, Phase.Voided);
        assertConserved();
    }
}

contract DisputesPartTest is ChallengerMoveBase {
    function with(bytes32 s, uint256 child, uint256[3] memory h, uint256[] memory parts)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(IDisputes.part, (dispute, s, child, h, parts));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, 1, partHeader(dispute), partsOf(dispute));
    }

    function prepare() internal override {
        point(dispute, Toy.LONG, 5);
        total(dispute, INSIDE);
    }

    function test_goesToThePart() public {
        prepare();
        vm.warp(START + 7);
        accept(call(state(dispute)));
        IDisputes.Dispute memory d = get();
        assertPhase(dispute, Phase.Splitting);
        vm.assertEq(d.position.depth, 1);
        vm.assertEq(d.position.index, 1);
        vm.assertEq(d.position.node, keccak256(abi.encodePacked(partHeader(dispute), Toy.sums(Toy.LEAVES, 1, 1))));
        vm.assertEq(d.challengerLeft, CLOCK - 7);
        vm.assertEq(d.turns, 2);
    }

    /// Nothing lies beyond the terms: there is no such part.
    function test_refusesAPartThatThereIsNot() public {
        prepare();
        bytes32 s = state(dispute);
        bytes memory reason = abi.encodeWithSelector(IDisputes.OutOfRange.selector, 5, 5);
        refuse(with(s, 5, partHeader(dispute), partsOf(dispute)), reason);
    }

    function test_refusesOtherWords() public {
        prepare();
        bytes32 s = state(dispute);
        uint256[] memory parts = partsOf(dispute);
        uint256[3] memory h = partHeader(dispute);
        for (uint256 i; i < 3 + parts.length; i++) {
            if (i < 3) h[i] ^= 1;
            else parts[i - 3] ^= 1;
            (bool success, bytes memory reason) = send(challenger, with(s, 0, h, parts));
            vm.assertFalse(success);
            vm.assertEq(bytes4(reason), IDisputes.WrongNode.selector);
            if (i < 3) h[i] ^= 1;
            else parts[i - 3] ^= 1;
        }
    }

    /// The walk over commitments is over.
    function test_refusesTheMovesOfAChoice() public {
        prepare();
        bytes32 s = state(dispute);
        bytes memory wrong = abi.encodeWithSelector(IDisputes.WrongPhase.selector, Phase.Parting);
        refuse(abi.encodeCall(IDisputes.ask, (dispute, s)), wrong);
        bytes memory descriptor = Toy.descriptor(3);
        refuse(abi.encodeCall(IDisputes.point, (dispute, s, 3, 0, descriptor, planProof(3))), wrong);
    }

    function test_passingLosesTheDispute() public {
        prepare();
        vm.warp(get().deadline + 1);
        disputes.timeout(dispute, state(dispute));
        assertPhase(dispute, Phase.Lost);
    }
}

contract DisputesSplitTest is WorkerMoveBase {
    function with(bytes32 s, uint256[] memory sums, uint256[] memory parts, bytes memory signature)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(IDisputes.split, (dispute, s, partHeader(dispute), sums, parts, signature));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        uint256[] memory parts = partsOf(dispute);
        return with(s, sumsOf(dispute), parts, signParts(dispute, parts));
    }

    function prepare() internal override {
        point(dispute, Toy.LONG, 5);
        total(dispute, INSIDE);
        part(dispute, 1);
    }

    function test_showsTheParts() public {
        prepare();
        uint256[] memory parts = partsOf(dispute);
        bytes memory data = call(state(dispute));
        vm.expectEmit(address(disputes));
        emit IDisputes.Parted(dispute, partHeader(dispute), parts);
        accept(data);
        assertPhase(dispute, Phase.Parting);
        vm.assertEq(get().position.node, keccak256(abi.encodePacked(partHeader(dispute), parts)));
        part(dispute, 1);
        assertPhase(dispute, Phase.Proving);
        vm.assertEq(get().position.index, 3);
        vm.assertEq(get().turns, 3);
    }

    /// The one part of a node with a single leaf is the node.
    function test_aLoneLeafIsItsOwnPart() public {
        point(dispute, Toy.LONG, 5);
        total(dispute, INSIDE);
        part(dispute, 4);
        vm.assertEq(partsOf(dispute).length, 2);
        split(dispute);
        part(dispute, 0);
        vm.assertEq(get().position.index, 8);
        assertPhase(dispute, Phase.Proving);
    }

    function test_refusesPartsThatDoNotAddUp() public {
        prepare();
        bytes32 s = state(dispute);
        uint256[] memory parts = partsOf(dispute);
        for (uint256 i; i < parts.length; i++) {
            unchecked {
                parts[i]++;
            }
            bytes memory data = with(s, sumsOf(dispute), parts, signParts(dispute, parts));
            refuse(data, abi.encodeWithSelector(IDisputes.WrongSums.selector));
            unchecked {
                parts[i]--;
            }
        }
        uint256[] memory wider = new uint256[](8);
        bytes memory wide = with(s, sumsOf(dispute), wider, signParts(dispute, wider));
        refuse(wide, abi.encodeWithSelector(IDisputes.WrongSums.selector));
    }

    /// They add up modulo 2^256, whatever they are.
    function test_acceptsPartsThatWrap() public {
        prepare();
        uint256[] memory parts = partsOf(dispute);
        unchecked {
            parts[0] -= 1 << 255;
            parts[2] += 1 << 255;
        }
        accept(with(state(dispute), sumsOf(dispute), parts, signParts(dispute, parts)));
        assertPhase(dispute, Phase.Parting);
    }

    function test_refusesWhatTheNodeKeyDidNotSign() public {
        prepare();
        bytes memory reason = abi.encodeWithSelector(IDisputes.BadSignature.selector, vm.addr(NODE_KEY), address(0));
        refuse(with(state(dispute), sumsOf(dispute), partsOf(dispute), ""), reason);
    }

    function test_passingStrikes() public {
        prepare();
        vm.warp(get().deadline + 1);
        disputes.timeout(dispute, state(dispute));
        assertPhase(dispute, Phase.Struck);
    }
}

contract DisputesProveTest is WorkerMoveBase {
    function with(bytes32 s, uint256[] memory sums, bytes memory witness) private view returns (bytes memory) {
        return abi.encodeCall(IDisputes.prove, (dispute, s, partHeader(dispute), sums, witness));
    }

    function call(bytes32 s) internal view override returns (bytes memory) {
        return with(s, sumsOf(dispute), Toy.witness(Toy.LONG, 5, INSIDE));
    }

    function prepare() internal override {
        point(dispute, Toy.LONG, 5);
        total(dispute, INSIDE);
        part(dispute, 1);
        split(dispute);
        part(dispute, 0);
    }

    /// The judge is asked about the leaf that was named.
    function test_theEvidenceDecides() public {
        prepare();
        uint256 snapshot = vm.snapshotState();
        bytes32 s = state(dispute);
        vm.expectCall(address(judge), abi.encodeWithSelector(IPartJudge.judgePart.selector));
        accept(call(s));
        assertPhase(dispute, Phase.Lost);
        assertConserved();
        vm.revertToState(snapshot);
        accept(with(s, sumsOf(dispute), Toy.witness(Toy.LONG, 5, OUTSIDE)));
        assertPhase(dispute, Phase.Struck);
        assertConserved();
        vm.revertToState(snapshot);
        accept(with(s, sumsOf(dispute), Toy.witness(Toy.LONG, 5, UNDECODABLE)));
        assertPhase(dispute, Phase.Voided);
        assertConserved();
    }

    function test_refusesOtherEvidence() public {
        prepare();
        bytes32 s = state(dispute);
        bytes4 wrong = IDisputes.WrongElement.selector;
        refuse(with(s, sumsOf(dispute), Toy.witness(Toy.LONG, 4, OUTSIDE)), abi.encodeWithSelector(wrong, 7, 4));
        refuse(
            with(s, sumsOf(dispute), Toy.witness(Toy.LONG, 5, REFUSED)),
            abi.encodeWithSelector(IDisputes.WitnessRefused.selector, 9)
        );
        uint256[] memory other = sumsOf(dispute);
        other[1] ^= 1;
        (bool success, bytes memory reason) = send(stranger, with(s, other, Toy.witness(Toy.LONG, 5, OUTSIDE)));
        vm.assertFalse(success);
        vm.assertEq(bytes4(reason), IDisputes.WrongNode.selector);
    }

    /// A wrong element of another operator may still be shown.
    function test_convictIsPossibleInEveryPhase() public {
        prepare();
        convict(dispute, OUTSIDE);
        assertPhase(dispute, Phase.Struck);
    }
}
