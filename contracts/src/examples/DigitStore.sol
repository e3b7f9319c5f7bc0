// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "../interfaces/IMarket.sol";
import {ITouchstoneConsumer} from "../interfaces/ITouchstoneConsumer.sol";

/// @title An example consumer
/// @notice Asks which digit an image shows and keeps the answer: the class of the largest of ten fp32 logits.
contract DigitStore is ITouchstoneConsumer {
    /// @dev Enough for `onResult`, with room.
    uint32 private constant CALLBACK_GAS = 150_000;
    uint256 private constant CLASSES = 10;

    IMarket public immutable market;
    bytes32 public immutable model;
    address payable public immutable owner;

    /// @notice Whether this contract made the request.
    mapping(uint256 request => bool) public isAsked;
    /// @notice Whether the answer has come.
    mapping(uint256 request => bool) public isAnswered;
    mapping(uint256 request => uint8) public digitOf;

    event Asked(uint256 indexed request);
    event Answered(uint256 indexed request, uint8 digit);

    error OnlyMarket(address caller);
    error UnexpectedResult(uint256 request, bytes32 model);
    error WrongLength(uint256 expected, uint256 actual);

    constructor(IMarket market_, bytes32 model_) {
        market = market_;
        model = model_;
        owner = payable(msg.sender);
    }

    /// @notice Forwards the payment: `IMarket.quote(model, 150_000, gasPrice)` says how much.
    /// @param image the model's input bytes.
    /// @param gasPrice the most to pay for a unit of the delivery's gas, in wei.
    function ask(bytes calldata image, uint128 gasPrice) external payable returns (uint256 request) {
        IMarket.Options memory options = IMarket.Options({
            mode: IMarket.CallbackMode.Final, callbackGas: CALLBACK_GAS, callbackGasPrice: gasPrice, tag: bytes32(0)
        });
        request = market.request{value: msg.value}(model, image, options);
        isAsked[request] = true;
        emit Asked(request);
    }

    /// @notice Sends what the market owes this contract, refunds and unused callback gas, to whoever deployed it.
    function collect() external returns (uint256 amount) {
        amount = market.withdraw(owner);
    }

    /// @inheritdoc ITouchstoneConsumer
    function onResult(uint256 request, bytes32 model_, bytes calldata outputs, bytes32) external override {
        if (msg.sender != address(market)) revert OnlyMarket(msg.sender);
        if (!isAsked[request] || model_ != model) revert UnexpectedResult(request, model_);
        if (outputs.length != 4 * CLASSES) revert WrongLength(4 * CLASSES, outputs.length);
        uint8 digit;
        uint256 best;
        for (uint256 class; class < CLASSES; class++) {
            uint256 key = _key(outputs[4 * class:4 * class + 4]);
            if (key > best) (best, digit) = (key, uint8(class));
        }
        isAnswered[request] = true;
        digitOf[request] = digit;
        emit Answered(request, digit);
    }

    /// @dev Orders little-endian fp32 values as integers: negative ones turned over, positive ones above them. NaN, which is
    /// no logit, comes lowest. Of equal keys the first counts.
    function _key(bytes calldata b) private pure returns (uint256) {
        uint32 bits =
            uint32(uint8(b[0])) | uint32(uint8(b[1])) << 8 | uint32(uint8(b[2])) << 16 | uint32(uint8(b[3])) << 24;
        if (bits & 0x7fffffff > 0x7f800000) return 0;
        // Both zeros are one value.
        if (bits == 0x80000000) bits = 0;
        return bits >> 31 == 1 ? ~bits : bits | 0x80000000;
    }
}
