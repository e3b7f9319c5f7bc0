// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {Base} from "../Base.sol";

contract MarketClaimTest is Base {
    uint256 private request;

    function setUp() public override {
        super.setUp();
        request = newRequest();
    }

    function refuse(IMarket.Terms memory terms, bytes memory signature, bytes memory reason) private {
        vm.expectRevert(reason);
        market.claim(terms, outputs(), signature);
    }

    function signed(IMarket.Terms memory terms) private view returns (bytes memory) {
        return sign(NODE_KEY, market.claimDigest(terms, outputs()));
    }

    function test_refusesAnUnknownRequest() public {
        IMarket.Terms memory terms = termsFor(request);
        terms.request = 99;
        refuse(terms, "", abi.encodeWithSelector(IMarket.UnknownRequest.selector, 99));
    }

    function test_refusesASecondClaim() public {
        newClaim(request);
        IMarket.Terms memory terms = termsFor(request);
        bytes memory reason = abi.encodeWithSelector(
            IMarket.WrongRequestStatus.selector, IMarket.RequestStatus.Requested, IMarket.RequestStatus.Claimed
        );
        refuse(terms, signed(terms), reason);
    }

    function test_refusesAnotherAttempt() public {
        IMarket.Terms memory terms = termsFor(request);
        terms.attempt = 2;
        refuse(terms, signed(terms), abi.encodeWithSelector(IMarket.WrongAttempt.selector, 1, 2));
    }

    function test_deadlineItselfIsInTime() public {
        vm.warp(START + DEADLINE + 1);
        IMarket.Terms memory terms = termsFor(request);
        bytes memory signature = signed(terms);
        refuse(
            terms, signature, abi.encodeWithSelector(IMarket.TooLate.selector, START + DEADLINE, START + DEADLINE + 1)
        );
        vm.warp(START + DEADLINE);
        market.claim(terms, outputs(), signature);
    }

    function test_validUntilItselfIsInTime() public {
        IMarket.Terms memory terms = termsFor(request);
        terms.validUntil = START + 5;
        bytes memory signature = signed(terms);
        vm.warp(START + 6);
        refuse(terms, signature, abi.encodeWithSelector(IMarket.TooLate.selector, START + 5, START + 6));
        vm.warp(START + 5);
        market.claim(terms, outputs(), signature);
    }

    function test_refusesAWorkerStruckOnThisRequest() public {
        bytes32 dispute = opened(newClaim(request));
        convict(dispute, OUTSIDE);
        IMarket.Terms memory terms = termsFor(request);
        vm.assertEq(terms.attempt, 2);
        refuse(terms, signed(terms), abi.encodeWithSelector(IMarket.StruckBefore.selector, request, provider));
        // It may still serve others.
        newClaim(newRequest());
    }

    function test_refusesOutputsOfAnotherLength() public {
        IMarket.Terms memory terms = termsFor(request);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongLength.selector, 40, 41));
        market.claim(terms, new bytes(41), "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongLength.selector, 40, 39));
        market.claim(terms, new bytes(39), "");
    }

    /// Lesson 3: everything that the claim says, and where, is signed.
    function test_refusesASignatureOverAnythingElse() public {
        address node = vm.addr(NODE_KEY);
        IMarket.Terms memory terms = termsFor(request);
        bytes memory signature = signed(terms);
        for (uint256 i; i < 6; i++) {
            IMarket.Terms memory other = termsFor(request);
            bytes memory data = outputs();
            if (i == 0) other.traceRoot = bytes32(0);
            if (i == 1) other.poster = stranger;
            if (i == 2) other.validUntil++;
            if (i == 3) data[39] ^= 0x01;
            if (i == 4) vm.chainId(1);
            if (i == 5) {
                vm.chainId(31337);
                other.request = newRequest();
            }
            vm.expectPartialRevert(IMarket.BadSignature.selector);
            market.claim(other, data, signature);
        }
        bytes memory forged = sign(OTHER_KEY, market.claimDigest(terms, outputs()));
        refuse(terms, forged, abi.encodeWithSelector(IMarket.BadSignature.selector, node, vm.addr(OTHER_KEY)));
    }

    /// A copied claim names the copier as worker, so the trace root it binds is another one.
    function test_refusesACopiedClaim() public {
        IMarket.Terms memory terms = termsFor(request);
        bytes memory signature = signed(terms);
        terms.worker = stranger;
        vm.startPrank(stranger);
        market.stake{value: 1 ether}();
        market.setNode(vm.addr(NODE_KEY));
        vm.stopPrank();
        vm.expectPartialRevert(IMarket.BadSignature.selector);
        market.claim(terms, outputs(), signature);
    }

    /// Lesson 4: one canonical encoding of a signature.
    function test_refusesASignatureThatIsNotCanonical() public {
        IMarket.Terms memory terms = termsFor(request);
        bytes32 digest = market.claimDigest(terms, outputs());
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(NODE_KEY, digest);
        bytes memory nobody = abi.encodeWithSelector(IMarket.BadSignature.selector, vm.addr(NODE_KEY), address(0));
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        refuse(terms, abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27)), nobody);
        refuse(terms, abi.encodePacked(r, s, v, uint8(0)), nobody);
        refuse(terms, abi.encodePacked(r, s), nobody);
        refuse(terms, abi.encodePacked(r, s, uint8(0)), nobody);
        refuse(terms, "", nobody);
    }

    /// A provider without a node key has the zero address as node, and that is nobody's signature.
    function test_refusesNobodysSignatureForAProviderWithoutNode() public {
        vm.prank(stranger);
        market.stake{value: 1 ether}();
        IMarket.Terms memory terms = termsFor(request);
        terms.worker = stranger;
        refuse(terms, "", abi.encodeWithSelector(IMarket.BadSignature.selector, address(0), address(0)));
    }

    function test_refusesWithoutFreeStake() public {
        vm.prank(provider);
        market.unstake(2 ether + 1);
        IMarket.Terms memory terms = termsFor(request);
        bytes memory reason = abi.encodeWithSelector(IMarket.InsufficientStake.selector, WORKER_BOND, WORKER_BOND - 1);
        refuse(terms, signed(terms), reason);
    }

    function test_claims() public {
        IMarket.Terms memory terms = termsFor(request);
        bytes memory data = outputs();
        bytes32 commitment = keccak256(abi.encodePacked(data, new bytes(216)));
        commitment = keccak256(abi.encodePacked(Tensor.TAG, uint8(1), uint8(1), uint32(10), commitment));
        commitment = keccak256(abi.encodePacked(keccak256("touchstone.outputs.1"), commitment));
        bytes32 message = keccak256(
            abi.encode(
                keccak256(
                    "Claim(uint256 request,uint256 attempt,address worker,bytes32 model,bytes32 inputs,bytes32 outputs,bytes32 boundTrace,uint64 profile,address poster,uint64 validUntil)"
                ),
                request,
                1,
                provider,
                model,
                market.requestOf(request).inputs,
                commitment,
                keccak256(abi.encode(provider, terms.traceRoot)),
                uint64(0x08040000),
                poster,
                terms.validUntil
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Touchstone"),
                keccak256("1"),
                uint256(31337),
                address(market)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, message));
        vm.assertEq(market.domainSeparator(), domain);

        vm.expectEmit(address(market));
        emit IMarket.Claimed(
            digest, request, provider, vm.addr(NODE_KEY), 1, poster, commitment, terms.traceRoot, data, START + WINDOW
        );
        vm.prank(stranger);
        bytes32 claim = market.claim(terms, data, sign(NODE_KEY, digest));

        vm.assertEq(claim, digest);
        vm.assertEq(market.providerOf(provider).reserved, WORKER_BOND);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Claimed));
        vm.assertEq(market.requestOf(request).claim, claim);
        IMarket.Claim memory expected = IMarket.Claim({
            status: IMarket.ClaimStatus.Open,
            attempt: 1,
            openDisputes: 0,
            worker: provider,
            node: vm.addr(NODE_KEY),
            windowEnd: START + WINDOW,
            poster: poster,
            request: request,
            outputs: commitment,
            traceRoot: terms.traceRoot
        });
        vm.assertEq(abi.encode(market.claimOf(claim)), abi.encode(expected));
        vm.assertFalse(market.isResult(request, data));
        assertConserved();
    }

    function test_digestOfAnUnknownRequestIsRefused() public {
        IMarket.Terms memory terms = termsFor(request);
        terms.request = 2;
        vm.expectRevert(abi.encodeWithSelector(IMarket.UnknownRequest.selector, 2));
        market.claimDigest(terms, outputs());
    }
}
