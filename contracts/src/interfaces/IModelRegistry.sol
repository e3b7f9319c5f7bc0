// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Models that may be asked for
/// @notice A model is a compiled plan and its weights, both as roots, with the inputs it takes and the outputs it gives. Its id
/// is the digest of all of that and of its publisher (PROTOCOL.md section 4), so an entry never changes and nobody can
/// publish it in another's name. The file itself lives elsewhere: `uri` says where, `digest` says which bytes.
///
/// Assumptions for safety: a worker compiles the file by itself and compares the id before it signs anything.
/// Assumptions for liveness: somebody serves the file.
interface IModelRegistry {
    /// @notice What the id is made of, besides publisher and io.
    struct Header {
        bytes32 planRoot;
        bytes32 weightsRoot;
        uint32 operators;
        uint32 weights;
        uint32 traceValues;
        uint32 layers;
        uint64 profile;
    }

    /// @notice What is stored of a model. `price` is the least fee of a request, in wei.
    struct Model {
        Header header;
        address publisher;
        uint8 inputs;
        uint8 outputs;
        uint32 inputBytes;
        uint32 outputBytes;
        uint256 price;
    }

    /// @param digest keccak256 of the ONNX file's bytes.
    /// @param io dtypes and shapes of inputs and outputs, encoded as in PROTOCOL.md section 4.
    event Published(
        bytes32 indexed model,
        address indexed publisher,
        bytes32 indexed digest,
        Header header,
        bytes io,
        string uri,
        uint256 price
    );

    /// @notice The same publisher published the same model before.
    error AlreadyPublished(bytes32 model);
    /// @notice No model has this id.
    error UnknownModel(bytes32 model);
    /// @notice The io bytes are not the canonical encoding of at least one input and one output.
    error BadIo(uint256 offset);
    /// @notice Inputs and outputs are given inline: each way at most 16 KiB.
    error TooLarge(uint256 limit, uint256 actual);
    /// @notice No numerics profile has this word (PROTOCOL.md section 4).
    error BadProfile(uint64 profile);
    /// @notice A plan has at least one operator and one layer, and not more layers or trace values than operators.
    error BadCounts(uint32 operators, uint32 traceValues, uint32 layers);

    /// @notice Publishes a model in the caller's name. Anybody may.
    /// @param digest keccak256 of the ONNX file's bytes.
    /// @return model the id.
    function publish(Header calldata header, bytes calldata io, string calldata uri, bytes32 digest, uint256 price)
        external
        returns (bytes32 model);

    /// @notice The id that `publish` gives when `publisher` calls it.
    function idOf(address publisher, Header calldata header, bytes calldata io) external pure returns (bytes32 model);

    function isPublished(bytes32 model) external view returns (bool);

    /// @notice Reverts with `UnknownModel` when there is none.
    function modelOf(bytes32 model) external view returns (Model memory);

    /// @notice dtypes and shapes of inputs and outputs. Reverts with `UnknownModel` when there is none.
    function ioOf(bytes32 model) external view returns (bytes memory);
}
