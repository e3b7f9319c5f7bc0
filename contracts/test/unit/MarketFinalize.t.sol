// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";

contract MarketFinalizeTest is Base {
    function refuse(uint256 request, bytes memory reason) private {
        vm.expectRevert(reason);
        market.finalize(request);
    }

    function test_refusesWhatIsNotClaimed() public {
        refuse(1, abi.encodeWithSelector(IMarket.UnknownRequest.selector, 1));
        uint256 request = newRequest();
        bytes4 wrong = IMarket.WrongRequestStatus.selector;
        refuse(request, abi.encodeWithSelector(wrong, IMarket.RequestStatus.Claimed, IMarket.RequestStatus.Requested));
        newClaim(request);
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        refuse(request, abi.encodeWithSelector(wrong, IMarket.RequestStatus.Claimed, IMarket.RequestStatus.Final));
    }

    function test_windowHasToHavePassed() public {
        (uint256 request,) = claimed();
        vm.warp(START + WINDOW);
        refuse(request, abi.encodeWithSelector(IMarket.TooEarly.selector, START + WINDOW, START + WINDOW));
    }

    /// Lesson 11: not while something is open below it; a lost dispute never shields the others.
    function test_refusesWhileADisputeIsOpen() public {
        (uint256 request, bytes32 claim) = claimed();
        bytes32 first = openedBy(challenger, claim, 0);
        openedBy(challenger, claim, 1);
        vm.warp(START + WINDOW + 1);
        refuse(request, abi.encodeWithSelector(IMarket.OpenDisputes.selector, 2));
        bytes32 s = state(first);
        vm.prank(challenger);
        disputes.concede(first, s);
        refuse(request, abi.encodeWithSelector(IMarket.OpenDisputes.selector, 1));
        assertConserved();
    }

    function test_finalizes() public {
        (uint256 request, bytes32 claim) = claimed();
        vm.warp(START + WINDOW + 1);
        vm.expectEmit(address(market));
        emit IMarket.Finalized(request, claim);
        vm.prank(stranger);
        market.finalize(request);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Final));
        vm.assertEq(uint256(market.claimOf(claim).status), uint256(IMarket.ClaimStatus.Final));
        vm.assertEq(market.creditOf(provider), 0.009 ether);
        vm.assertEq(market.creditOf(poster), 0.0005 ether);
        vm.assertEq(market.creditOf(publisher), 0.0005 ether);
        vm.assertEq(market.providerOf(provider).reserved, 0);
        vm.assertEq(market.providerOf(provider).staked, 3 ether);
        vm.assertEq(market.ledger().escrow, 0);
        vm.assertTrue(market.isResult(request, outputs()));
        bytes memory other = outputs();
        other[0] ^= 0x01;
        vm.assertFalse(market.isResult(request, other));
        assertConserved();
    }

    function testFuzz_feeIsSplitWhole(uint96 extra) public {
        vm.deal(requester, uint256(extra) + PRICE);
        vm.prank(requester);
        uint256 request = market.request{value: PRICE + extra}(model, inputs(), noCallback());
        newClaim(request);
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        uint256 sum = market.creditOf(provider) + market.creditOf(poster) + market.creditOf(publisher);
        vm.assertEq(sum, PRICE + extra);
        assertConserved();
    }
}
