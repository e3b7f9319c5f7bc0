// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../interfaces/IMarket.sol";
import {ITouchstoneConsumer} from "../interfaces/ITouchstoneConsumer.sol";

/// @title An example of a consumer that cannot take its result
/// @notice Its callback always reverts. Settlement does not care: the request is final, everybody is paid, and the result can be
/// read from the market's `Claimed` event and checked with `IMarket.isResult`.
contract RevertingConsumer is ITouchstoneConsumer {
    uint32 private constant CALLBACK_GAS = 50_000;

    IMarket public immutable market;
    bytes32 public immutable model;
    address payable public immutable owner;

    error Unwilling(uint256 request);

    constructor(IMarket market_, bytes32 model_) {
        market = market_;
        model = model_;
        owner = payable(msg.sender);
    }

    /// @notice Forwards the payment: `IMarket.quote(model, 50_000, gasPrice)` says how much.
    function ask(bytes calldata inputs, uint128 gasPrice) external payable returns (uint256 request) {
        IMarket.Options memory options = IMarket.Options({
            mode: IMarket.CallbackMode.Final, callbackGas: CALLBACK_GAS, callbackGasPrice: gasPrice, tag: bytes32(0)
        });
        request = market.request{value: msg.value}(model, inputs, options);
    }

    /// @notice Sends what the market owes this contract, refunds and unused callback gas, to whoever deployed it.
    function collect() external returns (uint256 amount) {
        amount = market.withdraw(owner);
    }

    /// @inheritdoc ITouchstoneConsumer
    function onResult(uint256 request, bytes32, bytes calldata, bytes32) external pure override {
        revert Unwilling(request);
    }
}
