// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title A contract that asks for inferences and is called back
/// @notice The market calls with at most the gas that the request prepaid. Whatever the callback does, settlement has
/// happened before and stands; a callback that reverts is not repeated, its result stays in the market's events and can be
/// checked with `IMarket.isResult`.
interface ITouchstoneConsumer {
    /// @notice A final result. Implementations check that the caller is the market.
    /// @param request the request's number, as `IMarket.request` returned it.
    /// @param model the model's id.
    /// @param outputs the outputs' bytes in graph-output order, little-endian, row-major, no header.
    /// @param tag what the request passed through.
    function onResult(uint256 request, bytes32 model, bytes calldata outputs, bytes32 tag) external;
}
