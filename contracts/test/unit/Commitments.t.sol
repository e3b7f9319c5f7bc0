// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelRegistry} from "../../src/ModelRegistry.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {ClaimHash} from "../../src/libraries/ClaimHash.sol";
import {Descriptor} from "../../src/libraries/Descriptor.sol";
import {Merkle} from "../../src/libraries/Merkle.sol";
import {Tensor} from "../../src/libraries/Tensor.sol";
import {Operator} from "../../src/types/Operator.sol";
import {Test} from "../Vm.sol";

/// @title Commitments as Rust computes them
/// @notice `test/vectors/commitments.json` is written and checked by `crates/protocol/tests/vectors.rs`.
contract CommitmentsTest is Test {
    string private vectors;

    function setUp() public {
        vectors = vm.readFile("test/vectors/commitments.json");
    }

    function verify(bytes32 root, bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata siblings)
        external
        pure
        returns (bool)
    {
        return Merkle.verify(root, leaf, index, count, siblings);
    }

    function rangeRoot(bytes calldata chunks, uint256 lo, uint256 count, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        uint256 width = chunks.length / 256;
        bytes32[] memory leaves = new bytes32[](width);
        for (uint256 i = 0; i < width; ++i) {
            leaves[i] = keccak256(chunks[256 * i:256 * (i + 1)]);
        }
        uint256 depth = Merkle.depth(count);
        vm.assertEq(siblings.length, Merkle.rangeSiblingCount(lo, lo + width, depth), "siblings");
        uint256 words;
        uint256 from;
        assembly ("memory-safe") {
            words := add(leaves, 32)
            from := siblings.offset
        }
        return Merkle.rangeRoot(words, lo, width, depth, from);
    }

    function commit(bytes calldata head, bytes calldata data) external pure returns (bytes32) {
        return Tensor.commit(head, data);
    }

    function test_trees_and_proofs() public view {
        uint256 count;
        for (; _has("merkle", count); ++count) {
            bytes32[] memory leaves = vm.parseJsonBytes32Array(vectors, _key("merkle", count, "leaves"));
            bytes32[] memory proof = vm.parseJsonBytes32Array(vectors, _key("merkle", count, "proof"));
            bytes32 root = vm.parseJsonBytes32(vectors, _key("merkle", count, "root"));
            uint256 index = vm.parseJsonUint(vectors, _key("merkle", count, "index"));
            vm.assertEq(Merkle.root(leaves), root, "root");
            if (leaves.length == 0) continue;
            vm.assertTrue(this.verify(root, leaves[index], index, leaves.length, proof), "proof");
            vm.assertTrue(
                !this.verify(root, leaves[index], index + (1 << proof.length), leaves.length, proof), "high index"
            );
            vm.assertTrue(!this.verify(root, keccak256("other"), index, leaves.length, proof), "other leaf");
            if (index > 0) vm.assertTrue(!this.verify(root, leaves[index], index, index, proof), "beyond the count");
        }
        vm.assertEq(count, 7);
    }

    function test_range_openings() public view {
        uint256 count;
        for (; _has("ranges", count); ++count) {
            bytes32 root = this.rangeRoot(
                vm.parseJsonBytes(vectors, _key("ranges", count, "chunks")),
                vm.parseJsonUint(vectors, _key("ranges", count, "lo")),
                vm.parseJsonUint(vectors, _key("ranges", count, "count")),
                vm.parseJsonBytes32Array(vectors, _key("ranges", count, "siblings"))
            );
            vm.assertEq(root, vm.parseJsonBytes32(vectors, _key("ranges", count, "root")), "root");
        }
        vm.assertEq(count, 7);
    }

    function test_tensors() public view {
        uint256 count;
        for (; _has("tensors", count); ++count) {
            bytes memory head = vm.parseJsonBytes(vectors, _key("tensors", count, "head"));
            bytes memory data = vm.parseJsonBytes(vectors, _key("tensors", count, "data"));
            vm.assertEq(
                this.commit(head, data),
                vm.parseJsonBytes32(vectors, _key("tensors", count, "commitment")),
                "commitment"
            );
        }
        vm.assertEq(count, 9);
    }

    function test_descriptors() public view {
        uint256 count;
        uint256 decoded;
        for (; _has("descriptors", count); ++count) {
            bytes memory data = vm.parseJsonBytes(vectors, _key("descriptors", count, "bytes"));
            vm.assertEq(Descriptor.leaf(data), vm.parseJsonBytes32(vectors, _key("descriptors", count, "leaf")), "leaf");
            Operator memory o = Descriptor.decode(data);
            vm.assertTrue(o.decoded == vm.parseJsonBool(vectors, _key("descriptors", count, "decoded")), "decoded");
            if (!o.decoded) continue;
            ++decoded;
            vm.assertEq(o.code, vm.parseJsonUint(vectors, _key("descriptors", count, "code")), "code");
            vm.assertEq(o.layer, vm.parseJsonUint(vectors, _key("descriptors", count, "layer")), "layer");
            vm.assertEq(o.layerInnerCount, vm.parseJsonUint(vectors, _key("descriptors", count, "inner")), "inner");
            vm.assertEq(o.elements, vm.parseJsonUint(vectors, _key("descriptors", count, "elements")), "elements");
            vm.assertEq(o.terms, vm.parseJsonUint(vectors, _key("descriptors", count, "terms")), "terms");
            vm.assertTrue(
                o.touchesInner == vm.parseJsonBool(vectors, _key("descriptors", count, "touchesInner")), "inner places"
            );
        }
        vm.assertEq(count, 54);
        vm.assertTrue(decoded > 14 && decoded < 50, "both kinds");
    }

    function test_model_id() public {
        IModelRegistry.Header memory header = IModelRegistry.Header({
            planRoot: vm.parseJsonBytes32(vectors, ".model.planRoot"),
            weightsRoot: vm.parseJsonBytes32(vectors, ".model.weightsRoot"),
            operators: uint32(vm.parseJsonUint(vectors, ".model.operators")),
            weights: uint32(vm.parseJsonUint(vectors, ".model.weights")),
            traceValues: uint32(vm.parseJsonUint(vectors, ".model.traceValues")),
            layers: uint32(vm.parseJsonUint(vectors, ".model.layers")),
            profile: uint64(vm.parseJsonUint(vectors, ".model.profile"))
        });
        address publisher = vm.parseJsonAddress(vectors, ".model.publisher");
        bytes memory io = vm.parseJsonBytes(vectors, ".model.io");
        bytes32 id = new ModelRegistry().idOf(publisher, header, io);
        vm.assertEq(id, vm.parseJsonBytes32(vectors, ".model.id"), "id");
    }

    function test_claim_and_layer_digests() public {
        vm.chainId(vm.parseJsonUint(vectors, ".claim.chainId"));
        bytes32 domain = ClaimHash.domain(vm.parseJsonAddress(vectors, ".claim.market"));
        bytes32 claim = ClaimHash.claim(
            domain,
            ClaimHash.Claim({
                request: vm.parseJsonUint(vectors, ".claim.request"),
                attempt: vm.parseJsonUint(vectors, ".claim.attempt"),
                worker: vm.parseJsonAddress(vectors, ".claim.worker"),
                model: vm.parseJsonBytes32(vectors, ".model.id"),
                inputs: vm.parseJsonBytes32(vectors, ".claim.inputs"),
                outputs: vm.parseJsonBytes32(vectors, ".claim.outputs"),
                traceRoot: vm.parseJsonBytes32(vectors, ".claim.traceRoot"),
                profile: uint64(vm.parseJsonUint(vectors, ".model.profile")),
                poster: vm.parseJsonAddress(vectors, ".claim.poster"),
                validUntil: uint64(vm.parseJsonUint(vectors, ".claim.validUntil"))
            })
        );
        vm.assertEq(claim, vm.parseJsonBytes32(vectors, ".claim.digest"), "claim");
        bytes32 layer = ClaimHash.layer(
            domain, claim, vm.parseJsonUint(vectors, ".layer.layer"), vm.parseJsonBytes32(vectors, ".layer.root")
        );
        vm.assertEq(layer, vm.parseJsonBytes32(vectors, ".layer.digest"), "layer");
    }

    function _has(string memory list, uint256 index) private view returns (bool) {
        return vm.keyExistsJson(vectors, _key(list, index, ""));
    }

    /// @dev `.list[index].field`, or `.list[index]`.
    function _key(string memory list, uint256 index, string memory field) private pure returns (string memory) {
        bytes memory digits = index < 10
            ? abi.encodePacked(bytes1(uint8(48 + index)))
            : abi.encodePacked(bytes1(uint8(48 + index / 10)), bytes1(uint8(48 + index % 10)));
        string memory item = string.concat(".", list, "[", string(digits), "]");
        return bytes(field).length == 0 ? item : string.concat(item, ".", field);
    }
}
