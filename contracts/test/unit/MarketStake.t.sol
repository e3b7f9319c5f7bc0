// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";

contract MarketStakeTest is Base {
    function test_stakes() public {
        vm.expectEmit(address(market));
        emit IMarket.Staked(stranger, 2 ether, 2 ether);
        vm.prank(stranger);
        market.stake{value: 2 ether}();
        vm.expectEmit(address(market));
        emit IMarket.Staked(stranger, 1 ether, 3 ether);
        vm.prank(stranger);
        market.stake{value: 1 ether}();
        vm.assertEq(market.providerOf(stranger).staked, 3 ether);
        vm.assertEq(market.providerOf(stranger).reserved, 0);
        vm.assertEq(address(market).balance, 6 ether);
        assertConserved();
    }

    function test_unstakeRefusesMoreThanIsFree() public {
        claimed();
        vm.expectRevert(abi.encodeWithSelector(IMarket.InsufficientStake.selector, 2 ether + 1, 2 ether));
        vm.prank(provider);
        market.unstake(2 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.InsufficientStake.selector, 1, 0));
        vm.prank(stranger);
        market.unstake(1);
    }

    function test_unstakeBooksCredit() public {
        claimed();
        vm.expectEmit(address(market));
        emit IMarket.Credited(provider, 2 ether);
        vm.expectEmit(address(market));
        emit IMarket.Unstaked(provider, 2 ether, 1 ether);
        vm.prank(provider);
        market.unstake(2 ether);
        vm.assertEq(market.creditOf(provider), 2 ether);
        vm.assertEq(market.providerOf(provider).staked, 1 ether);
        assertConserved();
    }

    function test_stakeIsFreeAgainAfterFinality() public {
        (uint256 request,) = claimed();
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        vm.prank(provider);
        market.unstake(3 ether);
        vm.assertEq(market.providerOf(provider).staked, 0);
        assertConserved();
    }

    function test_setNodeRefusesNobody() public {
        vm.expectRevert(IMarket.BadNode.selector);
        vm.prank(provider);
        market.setNode(address(0));
    }

    function test_setNode() public {
        vm.expectEmit(address(market));
        emit IMarket.NodeSet(stranger, address(77));
        vm.prank(stranger);
        market.setNode(address(77));
        vm.assertEq(market.providerOf(stranger).node, address(77));
    }
}
