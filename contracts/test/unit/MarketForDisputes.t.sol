// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Base} from "../Base.sol";

/// @dev What only the disputes contract may call. What the calls do is tested by the disputes that make them.
contract MarketForDisputesTest is Base {
    function test_refusesEverybodyElse() public {
        (, bytes32 claim) = claimed();
        bytes[5] memory calls = [
            abi.encodeCall(market.disputeOpened, (claim, stranger, 0)),
            abi.encodeCall(market.disputeLost, (claim, stranger, 0, 0, true)),
            abi.encodeCall(market.strike, (claim, stranger, 0, 0, 0)),
            abi.encodeCall(market.voidClaim, (claim, stranger, 0)),
            abi.encodeCall(market.settleMoot, (claim, stranger, 0, 0))
        ];
        for (uint256 i; i < calls.length; i++) {
            vm.prank(stranger);
            (bool success, bytes memory reason) = address(market).call(calls[i]);
            vm.assertFalse(success);
            vm.assertEq(reason, abi.encodeWithSelector(IMarket.OnlyDisputes.selector, stranger));
        }
    }

    function test_refusesAClaimThatIsNotOpen() public {
        (, bytes32 claim) = claimed();
        convict(opened(claim), OUTSIDE);
        vm.startPrank(address(disputes));
        vm.expectRevert(abi.encodeWithSelector(IMarket.UnknownClaim.selector, bytes32(0)));
        market.strike(0, challenger, 0, 0, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarket.WrongClaimStatus.selector, IMarket.ClaimStatus.Open, IMarket.ClaimStatus.Struck
            )
        );
        market.strike(claim, challenger, 0, 0, 0);
        vm.stopPrank();
    }
}
