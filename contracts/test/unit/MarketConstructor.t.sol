// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";

contract MarketConstructorTest is Base {
    function refuse(IMarket.Parameters memory p, bytes32 which) private {
        bytes memory code = bytes.concat(deployer.getCode("Market.sol:Market"), abi.encode(p, registry, address(1)));
        refuseCode(code, abi.encodeWithSelector(IMarket.BadParameters.selector, which));
    }

    function refuseCode(bytes memory code, bytes memory reason) private {
        address created;
        bytes memory result;
        assembly ("memory-safe") {
            created := create(0, add(code, 32), mload(code))
            result := mload(0x40)
            mstore(result, returndatasize())
            returndatacopy(add(result, 32), 0, returndatasize())
            mstore(0x40, add(add(result, 64), returndatasize()))
        }
        vm.assertEq(created, address(0));
        vm.assertEq(result, reason);
    }

    function test_refusesParametersThatContradict() public {
        IMarket.Parameters memory p = parameters();
        p.windowSeconds = 0;
        refuse(p, "window");
        p = parameters();
        p.windowSeconds = LIMIT + 1;
        refuse(p, "window");
        p = parameters();
        p.deadlineSeconds = 0;
        refuse(p, "deadline");
        p = parameters();
        p.extensionSeconds = 0;
        refuse(p, "extension");
        p = parameters();
        p.extensionSeconds = CLOCK + 1;
        refuse(p, "extension");
        p = parameters();
        p.maxTurns = 3;
        refuse(p, "clock");
        p = parameters();
        p.maxTurns = 11;
        refuse(p, "clock");
        p = parameters();
        p.limitSeconds = 366 days;
        refuse(p, "limit");
        p = parameters();
        p.workerShare++;
        refuse(p, "shares");
        p = parameters();
        p.bondFloor = 0;
        refuse(p, "bonds");
        p = parameters();
        p.bondFloor = p.workerBond / 2 + 1;
        refuse(p, "bonds");
        p = parameters();
        p.answerGas = 0;
        refuse(p, "answer gas");
    }

    /// Lesson 9: a window or clock that does not fit.
    function test_limitLeavesRoomForDeadlineWindowAndTheLongestDispute() public {
        IMarket.Parameters memory p = parameters();
        p.limitSeconds = DEADLINE + WINDOW + 2 * CLOCK + 31 * EXTENSION;
        (IMarket m,) = deploy(p);
        vm.assertEq(m.longestDispute(), 2 * CLOCK + 31 * EXTENSION);
        p.limitSeconds--;
        refuse(p, "limit");
    }

    function test_keepsItsParameters() public view {
        vm.assertEq(abi.encode(market.parameters()), abi.encode(parameters()));
        vm.assertEq(address(market.registry()), address(registry));
        vm.assertEq(market.disputes(), address(disputes));
        vm.assertEq(market.requestCount(), 0);
    }

    function test_disputesRefusesAMarketThatNamesAnother() public {
        bytes memory code = bytes.concat(deployer.getCode("Disputes.sol:Disputes"), abi.encode(market, judge));
        refuseCode(code, abi.encodeWithSelector(IDisputes.BadParameters.selector, bytes32("market")));
    }

    function test_bondFollowsTheBaseFeeAboveTheFloor() public view {
        vm.assertEq(market.bondFor(0), BOND);
        vm.assertEq(market.bondFor(1 gwei), BOND);
        vm.assertEq(market.bondFor(100 gwei), 2 * 8_000_000 * 100 gwei);
    }
}
