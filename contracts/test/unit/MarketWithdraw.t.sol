// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";
import {Reverter} from "../toy/Consumers.sol";

contract MarketWithdrawTest is Base {
    function test_refusesWithoutCredit() public {
        vm.expectRevert(abi.encodeWithSelector(IMarket.NoCredit.selector, stranger));
        vm.prank(stranger);
        market.withdraw(payable(stranger));
    }

    /// Lesson 14: a payee that does not take its money keeps it as credit, and stops nobody.
    function test_keepsTheCreditOfWhoDoesNotTakeIt() public {
        vm.prank(provider);
        market.unstake(1 ether);
        Reverter unwilling = new Reverter();
        vm.expectRevert(abi.encodeWithSelector(IMarket.TransferFailed.selector, address(unwilling)));
        vm.prank(provider);
        market.withdraw(payable(address(unwilling)));
        vm.assertEq(market.creditOf(provider), 1 ether);
        assertConserved();
    }

    function test_withdraws() public {
        vm.prank(provider);
        market.unstake(1 ether);
        vm.expectEmit(address(market));
        emit IMarket.Withdrawn(provider, address(0xCAFE), 1 ether);
        vm.prank(provider);
        uint256 amount = market.withdraw(payable(address(0xCAFE)));
        vm.assertEq(amount, 1 ether);
        vm.assertEq(address(0xCAFE).balance, 1 ether);
        vm.assertEq(market.creditOf(provider), 0);
        vm.assertEq(market.ledger().credits, 0);
        assertConserved();
    }
}
