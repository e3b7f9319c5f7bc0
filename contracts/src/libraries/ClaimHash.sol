// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title What a worker signs
/// @notice EIP-712 digests of a claim, a layer answer and parts of sums, under one domain: the market's (PROTOCOL.md section 4).
library ClaimHash {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant CLAIM = keccak256(
        "Claim(uint256 request,uint256 attempt,address worker,bytes32 model,bytes32 inputs,bytes32 outputs,bytes32 boundTrace,uint64 profile,address poster,uint64 validUntil)"
    );
    bytes32 private constant LAYER = keccak256("Layer(bytes32 claim,uint256 layer,bytes32 root)");
    bytes32 private constant PARTS =
        keccak256("Parts(bytes32 claim,uint256 operator,uint256 element,uint256 depth,uint256 index,bytes32 node)");
    /// @dev Half the order of secp256k1, rounded down: the largest `s` of a canonical signature.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    struct Claim {
        uint256 request;
        uint256 attempt;
        address worker;
        bytes32 model;
        bytes32 inputs;
        bytes32 outputs;
        bytes32 traceRoot;
        uint64 profile;
        address poster;
        uint64 validUntil;
    }

    /// @dev Computed anew each time, so that a chain that splits off has its own.
    function domain(address market) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("Touchstone"), keccak256("1"), block.chainid, market));
    }

    /// @dev The trace root is signed bound to the worker. It stands in the claim's calldata too, so who copies a whole claim
    /// from there and signs it himself cannot be told apart, but has to answer disputes over a trace that he does not hold.
    function claim(bytes32 separator, Claim memory c) internal pure returns (bytes32) {
        bytes32 boundTrace = keccak256(abi.encode(c.worker, c.traceRoot));
        bytes32 message = keccak256(
            abi.encode(
                CLAIM,
                c.request,
                c.attempt,
                c.worker,
                c.model,
                c.inputs,
                c.outputs,
                boundTrace,
                c.profile,
                c.poster,
                c.validUntil
            )
        );
        return _typed(separator, message);
    }

    function layer(bytes32 separator, bytes32 claimId, uint256 number, bytes32 root) internal pure returns (bytes32) {
        return _typed(separator, keccak256(abi.encode(LAYER, claimId, number, root)));
    }

    /// @notice An answer with the sums of parts, which hash to `node`: those of the node `index` at `depth` of an element's terms.
    function parts(
        bytes32 separator,
        bytes32 claimId,
        uint256 operator_,
        uint256 element,
        uint256 depth,
        uint256 index,
        bytes32 node
    ) internal pure returns (bytes32) {
        return _typed(separator, keccak256(abi.encode(PARTS, claimId, operator_, element, depth, index, node)));
    }

    /// @notice Who signed, or the zero address, which nobody is, for anything but a canonical 65-byte signature.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return address(0);
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    function _typed(bytes32 separator, bytes32 message) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, message));
    }
}
