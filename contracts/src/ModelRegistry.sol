// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Io} from "./libraries/Io.sol";
import {Profile} from "./libraries/Profile.sol";

/// @title ModelRegistry
/// @notice See `IModelRegistry`. No owner, nothing can be changed or removed.
contract ModelRegistry is IModelRegistry {
    bytes32 private constant MODEL = keccak256("touchstone.model.1");
    uint256 private constant VERSION = 1;

    mapping(bytes32 model => Model) private _models;
    mapping(bytes32 model => bytes) private _io;
    mapping(bytes32 model => bool) public override isPublished;

    /// @inheritdoc IModelRegistry
    function publish(Header calldata header, bytes calldata io, string calldata uri, bytes32 digest, uint256 price)
        external
        override
        returns (bytes32 model)
    {
        if (!Profile.isKnown(header.profile)) revert BadProfile(header.profile);
        if (
            header.operators == 0 || header.layers == 0 || header.layers > header.operators
                || header.traceValues > header.operators
        ) revert BadCounts(header.operators, header.traceValues, header.layers);
        (uint8 inputs, uint8 outputs, uint32 inputBytes, uint32 outputBytes) = Io.check(io);

        model = idOf(msg.sender, header, io);
        if (isPublished[model]) revert AlreadyPublished(model);
        isPublished[model] = true;
        _models[model] = Model(header, msg.sender, inputs, outputs, inputBytes, outputBytes, price);
        _io[model] = io;
        emit Published(model, msg.sender, digest, header, io, uri, price);
    }

    /// @inheritdoc IModelRegistry
    function idOf(address publisher, Header calldata header, bytes calldata io) public pure override returns (bytes32) {
        return keccak256(
            abi.encode(
                MODEL,
                VERSION,
                publisher,
                header.planRoot,
                header.weightsRoot,
                uint256(header.operators),
                uint256(header.weights),
                uint256(header.traceValues),
                uint256(header.layers),
                header.profile,
                keccak256(io)
            )
        );
    }

    /// @inheritdoc IModelRegistry
    function modelOf(bytes32 model) external view override returns (Model memory) {
        if (!isPublished[model]) revert UnknownModel(model);
        return _models[model];
    }

    /// @inheritdoc IModelRegistry
    function ioOf(bytes32 model) external view override returns (bytes memory) {
        if (!isPublished[model]) revert UnknownModel(model);
        return _io[model];
    }
}
