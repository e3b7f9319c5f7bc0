// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {ITouchstoneConsumer} from "../../src/interfaces/ITouchstoneConsumer.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

/// @dev What the examples have beyond the callback.
interface IExample is ITouchstoneConsumer {
    error OnlyMarket(address caller);
    error UnexpectedResult(uint256 request, bytes32 model);

    function ask(bytes calldata inputs, uint128 gasPrice) external payable returns (uint256);
    function collect() external returns (uint256);
    function isAnswered(uint256 request) external view returns (bool);
    function digitOf(uint256 request) external view returns (uint8);
}

contract DigitStoreTest is Base {
    uint128 private constant GAS_PRICE = 2 gwei;

    IExample private store;
    bytes private logits;

    function setUp() public override {
        super.setUp();
        store = example("DigitStore.sol:DigitStore");
    }

    function example(string memory name) private returns (IExample created) {
        bytes memory code = bytes.concat(deployer.getCode(name), abi.encode(market, model));
        vm.prank(requester);
        assembly ("memory-safe") {
            created := create(0, add(code, 32), mload(code))
        }
    }

    function outputs() internal view override returns (bytes memory) {
        return logits;
    }

    /// @dev Ten fp32 patterns, little-endian.
    function encode(uint32[10] memory values) private pure returns (bytes memory data) {
        for (uint256 i; i < 10; i++) {
            for (uint256 b; b < 4; b++) {
                data = abi.encodePacked(data, uint8(values[i] >> (8 * b)));
            }
        }
    }

    function askAndFinalize(IExample consumer, uint32 callbackGas) private returns (uint256 request) {
        (uint256 fee, uint256 prepaid) = market.quote(model, callbackGas, GAS_PRICE);
        request = consumer.ask{value: fee + prepaid}(inputs(), GAS_PRICE);
        newClaim(request);
        vm.warp(block.timestamp + WINDOW + 1);
        market.finalize(request);
    }

    function digit(uint32[10] memory values) private returns (uint8) {
        logits = encode(values);
        uint256 request = askAndFinalize(store, 150_000);
        market.deliver(request, logits);
        vm.assertTrue(store.isAnswered(request));
        vm.assertEq(uint256(market.requestOf(request).delivery), uint256(IMarket.Delivery.Succeeded));
        return store.digitOf(request);
    }

    function test_storesTheLargestLogitsClass() public {
        uint32 one = 0x3f800000;
        uint32 minusOne = 0xbf800000;
        uint32 minusTwo = 0xc0000000;
        uint32 tiny = 1;
        uint32 nan = 0x7fc00000;
        uint32 minusZero = 0x80000000;
        vm.assertEq(digit([minusTwo, minusTwo, minusTwo, one, 0, 0, 0, minusTwo, 0, 0]), 3);
        vm.assertEq(
            digit([minusTwo, minusTwo, minusTwo, minusTwo, minusTwo, minusTwo, minusTwo, minusTwo, minusTwo, minusOne]),
            9
        );
        vm.assertEq(digit([uint32(0), 0, 0, 0, 0, tiny, 0, 0, 0, 0]), 5);
        // The first of equals, zeros of both signs among them; NaN is no logit.
        vm.assertEq(
            digit([minusOne, minusZero, 0, minusOne, minusOne, minusOne, minusOne, minusOne, minusOne, minusOne]), 1
        );
        vm.assertEq(digit([nan, minusOne, 0x7f800001, 0xffc00000, minusOne, 0xff800000, one, one, 0, 0]), 6);
        vm.assertEq(digit([one, one, 0x7f800000, 0x7f7fffff, one, one, one, one, one, one]), 2);
    }

    function test_takesResultsFromTheMarketAlone() public {
        vm.expectRevert(abi.encodeWithSelector(IExample.OnlyMarket.selector, stranger));
        vm.prank(stranger);
        store.onResult(1, model, new bytes(40), 0);
        vm.expectRevert(abi.encodeWithSelector(IExample.UnexpectedResult.selector, 1, model));
        vm.prank(address(market));
        store.onResult(1, model, new bytes(40), 0);
    }

    function test_returnsWhatIsLeftToItsOwner() public {
        uint256 before = requester.balance;
        (uint256 fee, uint256 prepaid) = market.quote(model, 150_000, GAS_PRICE);
        uint256 request = store.ask{value: fee + prepaid}(inputs(), GAS_PRICE);
        vm.warp(START + DEADLINE + 1);
        market.refund(request);
        vm.prank(stranger);
        store.collect();
        vm.assertEq(requester.balance, before + fee + prepaid);
    }

    /// Lesson 14, end to end: everybody is paid, the result stays.
    function test_revertingConsumerBlocksNothing() public {
        IExample reverting = example("RevertingConsumer.sol:RevertingConsumer");
        logits = new bytes(40);
        uint256 request = askAndFinalize(reverting, 50_000);
        market.deliver(request, logits);
        vm.assertEq(uint256(market.requestOf(request).delivery), uint256(IMarket.Delivery.Reverted));
        vm.assertEq(market.creditOf(provider), PRICE * 90 / 100);
        vm.assertTrue(market.isResult(request, logits));
        assertConserved();
    }
}
