// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {ITouchstoneConsumer} from "../../src/interfaces/ITouchstoneConsumer.sol";

/// @dev Asks with a callback of this much gas.
abstract contract Asking is ITouchstoneConsumer {
    IMarket internal market;
    uint32 internal constant GAS = 100_000;

    function ask(IMarket market_, bytes32 model, bytes calldata inputs, uint128 gasPrice)
        external
        payable
        returns (uint256)
    {
        market = market_;
        IMarket.Options memory options = IMarket.Options(IMarket.CallbackMode.Final, GAS, gasPrice, bytes32("tag"));
        return market.request{value: msg.value}(model, inputs, options);
    }

    receive() external payable virtual {}
}

/// @dev Keeps what it was called with, and with how much gas.
contract Recorder is Asking {
    bytes32 public seen;
    uint256 public gas;

    function onResult(uint256 request, bytes32 model, bytes calldata outputs, bytes32 tag) external override {
        gas = gasleft();
        seen = keccak256(abi.encode(request, model, outputs, tag));
    }
}

contract Reverter is Asking {
    function onResult(uint256, bytes32, bytes calldata, bytes32) external pure override {
        revert("unwilling");
    }

    receive() external payable override {
        revert("unwilling");
    }
}

contract Burner is Asking {
    function onResult(uint256, bytes32, bytes calldata, bytes32) external pure override {
        while (true) {}
    }
}

/// @dev Returns as much as its gas buys, so that copying it would cost the caller.
contract Bomber is Asking {
    function onResult(uint256, bytes32, bytes calldata, bytes32) external pure override {
        assembly {
            revert(0, 15000)
        }
    }
}

/// @dev Tries to be delivered to and to withdraw again from within.
contract Reentrant is Asking {
    bool public delivered;
    bool public withdrawn;

    function onResult(uint256 request, bytes32, bytes calldata outputs, bytes32) external override {
        try market.deliver(request, outputs) {
            delivered = true;
        } catch {}
        try market.withdraw(payable(address(this))) {
            withdrawn = true;
        } catch {}
    }
}
