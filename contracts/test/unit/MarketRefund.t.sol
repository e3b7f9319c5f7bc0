// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";

contract MarketRefundTest is Base {
    /// @dev Claims and strikes again and again, each time as late as can be, by ever new workers.
    function exhaust(uint256 request) private returns (uint64 last) {
        last = START + LIMIT - WINDOW - market.longestDispute();
        for (uint160 i = 1; market.requestOf(request).deadline < last; i++) {
            provider = address(0x1000 + i);
            vm.deal(provider, 1 ether);
            vm.startPrank(provider);
            market.stake{value: 1 ether}();
            market.setNode(vm.addr(NODE_KEY));
            vm.stopPrank();
            vm.warp(market.requestOf(request).deadline);
            convict(opened(newClaim(request)), OUTSIDE);
        }
    }

    function test_refusesWhatIsNotRequested() public {
        vm.expectRevert(abi.encodeWithSelector(IMarket.UnknownRequest.selector, 7));
        market.refund(7);
        (uint256 request,) = claimed();
        vm.warp(START + DEADLINE + 1);
        bytes4 wrong = IMarket.WrongRequestStatus.selector;
        vm.expectRevert(abi.encodeWithSelector(wrong, IMarket.RequestStatus.Requested, IMarket.RequestStatus.Claimed));
        market.refund(request);
    }

    function test_deadlineHasToHavePassed() public {
        uint256 request = newRequest();
        vm.warp(START + DEADLINE);
        vm.expectRevert(abi.encodeWithSelector(IMarket.TooEarly.selector, START + DEADLINE, START + DEADLINE));
        market.refund(request);
    }

    function test_refunds() public {
        (uint256 fee, uint256 prepaid) = market.quote(model, 100_000, 1 gwei);
        IMarket.Options memory options = IMarket.Options(IMarket.CallbackMode.Final, 100_000, 1 gwei, 0);
        vm.prank(requester);
        uint256 request = market.request{value: fee + prepaid}(model, inputs(), options);
        vm.warp(START + DEADLINE + 1);
        vm.expectEmit(address(market));
        emit IMarket.Credited(requester, fee + prepaid);
        vm.expectEmit(address(market));
        emit IMarket.Closed(request, IMarket.RequestStatus.Refunded, fee + prepaid);
        vm.prank(stranger);
        market.refund(request);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Refunded));
        vm.assertEq(market.creditOf(requester), fee + prepaid);
        assertConserved();
        vm.expectPartialRevert(IMarket.WrongRequestStatus.selector);
        market.refund(request);
    }

    /// Every claim can be decided before the limit: strikes move the deadline, but never beyond that.
    function test_strikesNeverMoveTheDeadlineBeyondTheLimit() public {
        uint256 request = newRequest();
        uint64 last = exhaust(request);
        vm.assertEq(market.requestOf(request).deadline, last);
        vm.assertGt(market.requestOf(request).attempt, 3);
        vm.warp(last + 1);
        market.refund(request);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Void));
        vm.assertEq(market.creditOf(requester), PRICE);
        assertConserved();
    }

    function test_strikeRestartsTheDeadline() public {
        (uint256 request, bytes32 claim) = claimed();
        vm.warp(START + 5);
        convict(opened(claim), OUTSIDE);
        vm.assertEq(market.requestOf(request).deadline, START + 5 + DEADLINE);
        vm.warp(START + 5 + DEADLINE + 1);
        market.refund(request);
        vm.assertEq(uint256(market.requestOf(request).status), uint256(IMarket.RequestStatus.Refunded));
    }
}
