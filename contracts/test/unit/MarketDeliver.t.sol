// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";
import {Asking, Bomber, Burner, Recorder, Reentrant, Reverter} from "../toy/Consumers.sol";

/// @dev Lessons 14 and 17: a callback blocks nothing, and running out of gas is nobody's result.
contract MarketDeliverTest is Base {
    uint128 private constant GAS_PRICE = 2 gwei;

    function finalFor(Asking consumer) private returns (uint256 request, uint256 prepaid) {
        uint256 fee;
        (fee, prepaid) = market.quote(model, 100_000, GAS_PRICE);
        request = consumer.ask{value: fee + prepaid}(market, model, inputs(), GAS_PRICE);
        newClaim(request);
        vm.warp(block.timestamp + WINDOW + 1);
        market.finalize(request);
        vm.txGasPrice(1 gwei);
    }

    function deliver(uint256 request) private returns (IMarket.Delivery) {
        vm.prank(stranger);
        market.deliver(request, outputs());
        return market.requestOf(request).delivery;
    }

    function assertDelivery(uint256 request, IMarket.Delivery expected) private {
        vm.assertEq(uint256(deliver(request)), uint256(expected));
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingToDeliver.selector, expected));
        market.deliver(request, outputs());
        assertConserved();
    }

    function test_refusesBeforeFinality() public {
        (uint256 request,) = claimed();
        bytes4 wrong = IMarket.WrongRequestStatus.selector;
        vm.expectRevert(abi.encodeWithSelector(wrong, IMarket.RequestStatus.Final, IMarket.RequestStatus.Claimed));
        market.deliver(request, outputs());
        vm.expectRevert(abi.encodeWithSelector(IMarket.UnknownRequest.selector, 0));
        market.deliver(0, outputs());
    }

    function test_refusesWhereNoneWasAskedFor() public {
        (uint256 request,) = claimed();
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingToDeliver.selector, IMarket.Delivery.None));
        market.deliver(request, outputs());
    }

    function test_refusesOtherOutputs() public {
        (uint256 request,) = finalFor(new Recorder());
        bytes memory other = outputs();
        other[39] ^= 0x80;
        vm.expectPartialRevert(IMarket.WrongOutputs.selector);
        market.deliver(request, other);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongLength.selector, 40, 0));
        market.deliver(request, "");
    }

    function test_refusesWithoutTheGasThatWasPrepaid() public {
        Recorder consumer = new Recorder();
        (uint256 request,) = finalFor(consumer);
        // Whatever gas is given: the delivery reverts, or the callback has all of its own.
        for (uint256 gas = 150_000; gas < 400_000; gas += 5_000) {
            uint256 snapshot = vm.snapshotState();
            (bool success,) = address(market).call{gas: gas}(abi.encodeCall(market.deliver, (request, outputs())));
            if (success) {
                vm.assertEq(uint256(market.requestOf(request).delivery), uint256(IMarket.Delivery.Succeeded));
                vm.assertGe(consumer.gas(), 98_000);
            } else {
                vm.assertEq(uint256(market.requestOf(request).delivery), uint256(IMarket.Delivery.Pending));
            }
            if (gas == 150_000) vm.assertFalse(success);
            if (gas == 395_000) vm.assertTrue(success);
            vm.revertToState(snapshot);
        }
    }

    function test_delivers() public {
        Recorder consumer = new Recorder();
        (uint256 request, uint256 prepaid) = finalFor(consumer);
        vm.assertEq(market.ledger().escrow, prepaid);
        assertDelivery(request, IMarket.Delivery.Succeeded);
        vm.assertEq(consumer.seen(), keccak256(abi.encode(request, model, outputs(), bytes32("tag"))));
        uint256 paid = market.creditOf(stranger);
        vm.assertGt(paid, 100_000 * 1 gwei);
        vm.assertLt(paid, prepaid);
        vm.assertEq(market.creditOf(address(consumer)), prepaid - paid);
        vm.assertEq(market.ledger().escrow, 0);
    }

    function test_paysNoMoreThanThePriceNamed() public {
        (uint256 request, uint256 prepaid) = finalFor(new Burner());
        vm.txGasPrice(1000 gwei);
        deliver(request);
        vm.assertLe(market.creditOf(stranger), prepaid);
        vm.assertGt(market.creditOf(stranger), 165_000 * uint256(GAS_PRICE));
        assertConserved();
    }

    function test_reverterBlocksNothing() public {
        Reverter consumer = new Reverter();
        (uint256 request,) = finalFor(consumer);
        assertDelivery(request, IMarket.Delivery.Reverted);
        vm.assertTrue(market.isResult(request, outputs()));
        vm.assertEq(market.creditOf(provider), 0.009 ether);
    }

    function test_burnerBlocksNothing() public {
        (uint256 request,) = finalFor(new Burner());
        assertDelivery(request, IMarket.Delivery.Reverted);
    }

    function test_returnBombBlocksNothing() public {
        (uint256 request,) = finalFor(new Bomber());
        assertDelivery(request, IMarket.Delivery.Reverted);
    }

    function test_requesterWithoutCodeBlocksNothing() public {
        (uint256 fee, uint256 prepaid) = market.quote(model, 100_000, GAS_PRICE);
        IMarket.Options memory options = IMarket.Options(IMarket.CallbackMode.Final, 100_000, GAS_PRICE, 0);
        vm.prank(requester);
        uint256 request = market.request{value: fee + prepaid}(model, inputs(), options);
        newClaim(request);
        vm.warp(START + WINDOW + 1);
        market.finalize(request);
        assertDelivery(request, IMarket.Delivery.Succeeded);
    }

    function test_reentrantConsumerGetsNothingTwice() public {
        Reentrant consumer = new Reentrant();
        (uint256 request,) = finalFor(consumer);
        assertDelivery(request, IMarket.Delivery.Succeeded);
        vm.assertFalse(consumer.delivered());
        vm.assertFalse(consumer.withdrawn());
    }
}
