// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "./interfaces/IDisputes.sol";
import {IJudge} from "./interfaces/IJudge.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IPartJudge} from "./interfaces/IPartJudge.sol";
import {Descriptor} from "./libraries/Descriptor.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Parts} from "./libraries/Parts.sol";
import {Operator} from "./types/Operator.sol";

/// @title What a claim binds, brought before the judges
/// @notice A contract of its own because one contract may have 24 KiB; `Disputes` deploys it. It keeps nothing and anybody may ask.
contract Evidence {
    /// @notice A layer's root, as it stands or does not.
    struct Layer {
        uint32 number;
        bool stands;
        bytes32 root;
    }

    /// @notice What a move needs of an operator. `leaves`: of the tree over its terms if it is long, else 0.
    struct Facts {
        bool decoded;
        uint32 layer;
        uint32 layerInnerCount;
        uint256 elements;
        bool touchesInner;
        uint32 leaves;
    }

    IMarket private immutable MARKET;
    IModelRegistry private immutable REGISTRY;
    IJudge private immutable JUDGE;
    IPartJudge private immutable PARTS;

    constructor(IMarket market_, IJudge judge_) {
        MARKET = market_;
        REGISTRY = market_.registry();
        JUDGE = judge_;
        PARTS = judge_.parts();
    }

    /// @notice Facts of an operator of the claim's plan, which the proof shows the descriptor to be.
    function operatorOf(bytes32 claim, uint32 operator_, bytes calldata descriptor, bytes32[] calldata proof)
        external
        view
        returns (Facts memory facts)
    {
        IModelRegistry.Header memory header =
        REGISTRY.modelOf(MARKET.requestOf(MARKET.claimOf(claim).request).model).header;
        if (operator_ >= header.operators) revert IDisputes.OutOfRange(header.operators, operator_);
        bytes32 leaf = Descriptor.leaf(descriptor);
        if (!Merkle.verify(header.planRoot, leaf, operator_, header.operators, proof)) revert IDisputes.BadProof();
        Operator memory o = Descriptor.decode(descriptor);
        if (!o.decoded) return facts;
        uint32 leaves = Parts.isLong(o) ? uint32(Parts.leaves(o.terms)) : 0;
        return Facts(true, o.layer, o.layerInnerCount, o.elements, o.touchesInner, leaves);
    }

    /// @notice The judge's verdict on an element of the claim.
    function judge(bytes32 claim, Layer calldata layer, bytes calldata witness)
        external
        view
        returns (IJudge.Outcome memory)
    {
        return JUDGE.judge(_context(claim, layer), witness);
    }

    /// @notice The verdict by the sum of `parts`, nodes of `width` words, with the header.
    function judgeTotals(
        bytes32 claim,
        Layer calldata layer,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata parts,
        uint256 width
    ) external view returns (IJudge.Outcome memory, uint256[3] memory) {
        return PARTS.judgeTotals(_context(claim, layer), witness, free, Parts.addUp(parts, width));
    }

    /// @notice The verdict on the sums of a leaf.
    function judgePart(
        bytes32 claim,
        Layer calldata layer,
        bytes calldata witness,
        uint32 leaf,
        uint256[3] calldata header,
        uint256[] calldata sums
    ) external view returns (IJudge.Outcome memory) {
        return PARTS.judgePart(_context(claim, layer), witness, leaf, header, sums);
    }

    /// @notice Whether nodes of `sums.length` words, one after the other, add up to `sums`.
    function addsUp(uint256[] calldata sums, uint256[] calldata parts) external pure returns (bool) {
        return keccak256(abi.encodePacked(Parts.addUp(parts, sums.length))) == keccak256(abi.encodePacked(sums));
    }

    function _context(bytes32 claim, Layer calldata layer) private view returns (IJudge.Context memory) {
        IMarket.Claim memory c = MARKET.claimOf(claim);
        IMarket.Request memory r = MARKET.requestOf(c.request);
        IModelRegistry.Model memory m = REGISTRY.modelOf(r.model);
        return IJudge.Context({
            planRoot: m.header.planRoot,
            weightsRoot: m.header.weightsRoot,
            traceRoot: c.traceRoot,
            layerRoot: layer.root,
            layer: layer.number,
            layerStands: layer.stands,
            inputs: r.inputs,
            outputs: c.outputs,
            operators: m.header.operators,
            weights: m.header.weights,
            traceValues: m.header.traceValues,
            inputCount: m.inputs,
            outputCount: m.outputs,
            profile: m.header.profile
        });
    }
}
