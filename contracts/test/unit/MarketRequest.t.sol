// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

contract MarketRequestTest is Base {
    function callback(uint32 gas, uint128 price) private pure returns (IMarket.Options memory) {
        return IMarket.Options(IMarket.CallbackMode.Final, gas, price, bytes32("tag"));
    }

    function refuse(bytes memory data, IMarket.Options memory options, uint256 value, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(requester);
        market.request{value: value}(model, data, options);
    }

    function test_refusesAnUnknownModel() public {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, bytes32(0)));
        market.request{value: PRICE}(bytes32(0), inputs(), noCallback());
    }

    function test_refusesUnderpayment() public {
        bytes memory reason = abi.encodeWithSelector(IMarket.Underpaid.selector, PRICE, PRICE - 1);
        refuse(inputs(), noCallback(), PRICE - 1, reason);
        (uint256 fee, uint256 prepaid) = market.quote(model, 50_000, 3 gwei);
        reason = abi.encodeWithSelector(IMarket.Underpaid.selector, fee + prepaid, fee + prepaid - 1);
        refuse(inputs(), callback(50_000, 3 gwei), fee + prepaid - 1, reason);
    }

    function test_refusesOptionsThatContradict() public {
        IMarket.Options memory options = noCallback();
        options.callbackGas = 1;
        refuse(inputs(), options, 1 ether, abi.encodeWithSelector(IMarket.BadOptions.selector));
        options = noCallback();
        options.callbackGasPrice = 1;
        refuse(inputs(), options, 1 ether, abi.encodeWithSelector(IMarket.BadOptions.selector));
        refuse(inputs(), callback(0, 1), 1 ether, abi.encodeWithSelector(IMarket.BadOptions.selector));
    }

    function test_refusesInputsOfAnotherLength() public {
        uint256 size = Toy.INPUT_BYTES;
        bytes memory data = inputs();
        refuse(
            abi.encodePacked(data, uint8(0)),
            noCallback(),
            PRICE,
            abi.encodeWithSelector(IMarket.WrongLength.selector, size, size + 1)
        );
        assembly ("memory-safe") {
            mstore(data, sub(mload(data), 1))
        }
        refuse(data, noCallback(), PRICE, abi.encodeWithSelector(IMarket.WrongLength.selector, size, size - 1));
        refuse("", noCallback(), PRICE, abi.encodeWithSelector(IMarket.WrongLength.selector, 24, 0));
    }

    function test_refusesABoolThatIsNoBool() public {
        bytes memory data = inputs();
        data[25] = 0x02;
        refuse(data, noCallback(), PRICE, abi.encodeWithSelector(IMarket.BadBool.selector, 25));
    }

    function test_takesInputsOfSixteenKibibytes() public {
        bytes memory one = abi.encodePacked(uint8(1), uint8(1), uint8(1), uint32(4));
        bytes32 id = publish(header(), abi.encodePacked(uint8(1), uint8(2), uint8(1), uint32(16384), one));
        market.request{value: PRICE}(id, new bytes(16384), noCallback());
    }

    /// What could not be delivered in one transaction would be prepaid for ever.
    function test_refusesACallbackThatCannotBeDelivered() public {
        uint32 most = 5_000_000;
        bytes memory reason = abi.encodeWithSelector(IMarket.CallbackTooLarge.selector, most, most + 1);
        refuse(inputs(), callback(most + 1, 0), 1 ether, reason);
        market.request{value: PRICE}(model, inputs(), callback(most, 0));
    }

    function test_refusesAModelThatIsTooDeep() public {
        IModelRegistry.Header memory h = header();
        (h.operators, h.traceValues) = (1 << 12, 1 << 12);
        bytes32 fits = publish(h, Toy.io());
        market.request{value: PRICE}(fits, inputs(), noCallback());
        h.operators++;
        bytes32 tooDeep = publish(h, Toy.io());
        vm.expectRevert(abi.encodeWithSelector(IMarket.ModelTooDeep.selector, 10, 11));
        market.request{value: PRICE}(tooDeep, inputs(), noCallback());
    }

    function test_requests() public {
        bytes memory data = inputs();
        (uint256 fee, uint256 prepaid) = market.quote(model, 50_000, 3 gwei);
        vm.assertEq(fee, PRICE);
        vm.assertEq(prepaid, (50_000 + 130_000 + 48 * 40) * 3 gwei);

        // f32 [2, 3] and bool [3], one chunk each.
        bytes32 first = keccak256(abi.encodePacked(slice(data, 0, 24), new bytes(232)));
        bytes32 second = keccak256(abi.encodePacked(slice(data, 24, 27), new bytes(253)));
        first = keccak256(abi.encodePacked(Tensor.TAG, uint8(1), uint8(2), uint32(2), uint32(3), first));
        second = keccak256(abi.encodePacked(Tensor.TAG, uint8(9), uint8(1), uint32(3), second));
        bytes32 commitment = keccak256(abi.encodePacked(keccak256("touchstone.inputs.1"), first, second));

        uint256 value = fee + prepaid + 5;
        vm.expectEmit(address(market));
        emit IMarket.Requested(
            1,
            model,
            requester,
            commitment,
            data,
            callback(50_000, 3 gwei),
            fee + 5,
            prepaid,
            START + DEADLINE,
            START + LIMIT
        );
        vm.prank(requester);
        uint256 request = market.request{value: value}(model, data, callback(50_000, 3 gwei));

        vm.assertEq(request, 1);
        vm.assertEq(market.requestCount(), 1);
        IMarket.Request memory r = market.requestOf(1);
        IMarket.Request memory expected = IMarket.Request({
            status: IMarket.RequestStatus.Requested,
            delivery: IMarket.Delivery.Pending,
            requester: requester,
            attempt: 1,
            callbackGas: 50_000,
            callbackGasPrice: 3 gwei,
            deadline: START + DEADLINE,
            limit: START + LIMIT,
            model: model,
            inputs: commitment,
            tag: bytes32("tag"),
            fee: uint128(fee + 5),
            prepaid: uint128(prepaid),
            claim: bytes32(0)
        });
        vm.assertEq(abi.encode(r), abi.encode(expected));
        vm.assertEq(market.ledger().escrow, value);
        assertConserved();
    }

    function test_requestsWithoutCallback() public {
        uint256 request = newRequest();
        IMarket.Request memory r = market.requestOf(request);
        vm.assertEq(uint256(r.delivery), uint256(IMarket.Delivery.None));
        vm.assertEq(r.prepaid, 0);
        vm.assertEq(r.fee, PRICE);
    }

    function slice(bytes memory data, uint256 from, uint256 to) private pure returns (bytes memory part) {
        part = new bytes(to - from);
        for (uint256 i; i < part.length; i++) {
            part[i] = data[from + i];
        }
    }
}
