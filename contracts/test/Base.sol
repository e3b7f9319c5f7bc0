// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {Merkle} from "../src/libraries/Merkle.sol";
import {Phase, Position} from "../src/types/Position.sol";
import {Test} from "./Vm.sol";
import {Toy} from "./toy/Toy.sol";
import {ToyJudge} from "./toy/ToyJudge.sol";

/// @dev Of forge's cheatcodes, those that only these tests use. Deploying by name keeps the contracts out of every test's code.
interface Deployer {
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address);
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getNonce(address account) external view returns (uint64);
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// @title A market with one toy model, one worker and one challenger
abstract contract Base is Test {
    uint256 internal constant NODE_KEY = 0xA11CE;
    uint256 internal constant OTHER_KEY = 0xB0B;
    uint256 internal constant PRICE = 0.01 ether;
    uint256 internal constant BOND = 0.05 ether;
    uint256 internal constant WORKER_BOND = 1 ether;
    uint64 internal constant START = 1_000_000;
    uint64 internal constant WINDOW = 20;
    uint64 internal constant DEADLINE = 60;
    uint64 internal constant LIMIT = 600;
    uint64 internal constant CLOCK = 60;
    uint64 internal constant EXTENSION = 4;
    uint8 internal constant REFUSED = 0;
    uint8 internal constant INSIDE = 1;
    uint8 internal constant OUTSIDE = 2;
    uint8 internal constant UNDECODABLE = 3;

    Deployer internal constant deployer = Deployer(address(vm));

    address internal publisher = address(0xA0);
    address internal requester = address(0xA1);
    address internal provider = address(0xA2);
    address internal poster = address(0xA3);
    address internal challenger = address(0xA4);
    address internal stranger = address(0xA5);

    ToyJudge internal judge;
    IModelRegistry internal registry;
    IMarket internal market;
    IDisputes internal disputes;
    bytes32 internal model;

    function setUp() public virtual {
        vm.warp(START);
        vm.fee(0);
        vm.chainId(31337);
        judge = new ToyJudge();
        registry = IModelRegistry(deployer.deployCode("ModelRegistry.sol:ModelRegistry", ""));
        (market, disputes) = deploy(parameters());
        for (uint160 i = 0xA0; i <= 0xA5; i++) {
            vm.deal(address(i), 1000 ether);
        }
        model = publish(header(), Toy.io());
        vm.startPrank(provider);
        market.stake{value: 3 ether}();
        market.setNode(vm.addr(NODE_KEY));
        vm.stopPrank();
    }

    // ---- Deployment

    function parameters() internal pure returns (IMarket.Parameters memory) {
        return IMarket.Parameters({
            windowSeconds: WINDOW,
            deadlineSeconds: DEADLINE,
            limitSeconds: LIMIT,
            clockSeconds: CLOCK,
            extensionSeconds: EXTENSION,
            maxTurns: 10,
            workerShare: 9000,
            posterShare: 500,
            publisherShare: 500,
            workerBond: uint128(WORKER_BOND),
            bondFloor: uint128(BOND),
            answerGas: 8_000_000
        });
    }

    function deploy(IMarket.Parameters memory p) internal returns (IMarket m, IDisputes d) {
        address next = deployer.computeCreateAddress(address(this), deployer.getNonce(address(this)) + 1);
        m = IMarket(deployer.deployCode("Market.sol:Market", abi.encode(p, registry, next)));
        d = IDisputes(deployer.deployCode("Disputes.sol:Disputes", abi.encode(m, judge)));
    }

    function header() internal pure returns (IModelRegistry.Header memory) {
        return IModelRegistry.Header({
            planRoot: Merkle.root(Toy.plan()),
            weightsRoot: keccak256("weights"),
            operators: Toy.OPERATORS,
            weights: 3,
            traceValues: Toy.TRACE_VALUES,
            layers: Toy.LAYERS,
            profile: Toy.PROFILE
        });
    }

    function publish(IModelRegistry.Header memory h, bytes memory io) internal returns (bytes32) {
        vm.prank(publisher);
        return registry.publish(h, io, "file://toy.onnx", keccak256("toy"), PRICE);
    }

    // ---- A request's life

    function inputs() internal pure returns (bytes memory data) {
        data = new bytes(Toy.INPUT_BYTES);
        for (uint256 i; i < data.length; i++) {
            data[i] = i < 24 ? bytes1(uint8(i)) : bytes1(uint8(i % 2));
        }
    }

    function outputs() internal view virtual returns (bytes memory data) {
        data = new bytes(Toy.OUTPUT_BYTES);
        for (uint256 i; i < data.length; i++) {
            data[i] = bytes1(uint8(200 - i));
        }
    }

    function noCallback() internal pure returns (IMarket.Options memory) {
        return IMarket.Options(IMarket.CallbackMode.None, 0, 0, bytes32("tag"));
    }

    function newRequest() internal returns (uint256) {
        vm.prank(requester);
        return market.request{value: PRICE}(model, inputs(), noCallback());
    }

    function termsFor(uint256 request) internal view returns (IMarket.Terms memory) {
        return IMarket.Terms({
            request: request,
            attempt: market.requestOf(request).attempt,
            worker: provider,
            traceRoot: Merkle.root(Toy.trace()),
            poster: poster,
            validUntil: uint64(block.timestamp) + 1000
        });
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function newClaim(uint256 request) internal returns (bytes32) {
        IMarket.Terms memory terms = termsFor(request);
        bytes memory signature = sign(NODE_KEY, market.claimDigest(terms, outputs()));
        return market.claim(terms, outputs(), signature);
    }

    /// @dev A request with a claim whose window runs.
    function claimed() internal returns (uint256 request, bytes32 claim) {
        request = newRequest();
        claim = newClaim(request);
    }

    // ---- Disputes

    function opened(bytes32 claim) internal returns (bytes32) {
        return openedBy(challenger, claim, 0);
    }

    function openedBy(address account, bytes32 claim, uint256 salt) internal returns (bytes32) {
        uint256 bond = market.bondFor(block.basefee);
        vm.prank(account);
        return disputes.open{value: bond}(claim, salt);
    }

    function state(bytes32 dispute) internal view returns (bytes32) {
        return disputes.stateDigest(dispute);
    }

    function phase(bytes32 dispute) internal view returns (Phase) {
        return disputes.disputeOf(dispute).position.phase;
    }

    function assertPhase(bytes32 dispute, Phase expected) internal view {
        vm.assertEq(uint256(phase(dispute)), uint256(expected), "phase");
    }

    function ask(bytes32 dispute) internal {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.ask(dispute, s);
    }

    function reveal(bytes32 dispute, bytes32[] memory leaves) internal {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        disputes.reveal(dispute, state(dispute), Toy.children(leaves, d.position.depth, d.position.index));
    }

    function descend(bytes32 dispute, bytes32[] memory leaves, uint256 child) internal {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.descend(dispute, s, child, Toy.children(leaves, d.position.depth, d.position.index));
    }

    function askLayer(bytes32 dispute, uint32 operator_) internal {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.layer(dispute, s, operator_, Toy.descriptor(operator_), planProof(operator_));
    }

    function answerLayer(bytes32 dispute, uint32 layer) internal {
        bytes32 root = Merkle.root(Toy.inner(layer));
        bytes32 claim = disputes.disputeOf(dispute).claim;
        bytes memory signature = sign(NODE_KEY, disputes.layerDigest(claim, layer, root));
        disputes.answerLayer(dispute, state(dispute), root, signature);
    }

    function point(bytes32 dispute, uint32 operator_, uint64 element) internal {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.point(dispute, s, operator_, element, Toy.descriptor(operator_), planProof(operator_));
    }

    function defend(bytes32 dispute, uint8 verdict) internal {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        bytes memory witness = Toy.witness(d.position.operator_, d.position.element, verdict);
        disputes.defend(dispute, state(dispute), witness);
    }

    /// @dev Header of everything that `ToyJudge` says of a long operator's element.
    function partHeader(bytes32 dispute) internal view returns (uint256[3] memory) {
        return [uint256(7), disputes.disputeOf(dispute).position.element, 0];
    }

    /// @dev The node key's signature over header and the sums of the present node's parts.
    function signParts(bytes32 dispute, uint256[] memory parts) internal view returns (bytes memory) {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        bytes32 node = keccak256(abi.encodePacked(partHeader(dispute), parts));
        Position memory p = d.position;
        return sign(NODE_KEY, disputes.partsDigest(d.claim, p.operator_, p.element, p.depth, p.index, node));
    }

    function partsOf(bytes32 dispute) internal view returns (uint256[] memory) {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        return Toy.parts(d.count, d.position.depth, d.position.index);
    }

    function sumsOf(bytes32 dispute) internal view returns (uint256[] memory) {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        return Toy.sums(d.count, d.position.depth, d.position.index);
    }

    function total(bytes32 dispute, uint8 verdict) internal {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        bytes memory witness = Toy.witness(d.position.operator_, d.position.element, verdict);
        uint256[] memory parts = partsOf(dispute);
        disputes.total(dispute, state(dispute), witness, 7, parts, signParts(dispute, parts));
    }

    function part(bytes32 dispute, uint256 child) internal {
        bytes32 s = state(dispute);
        (uint256[3] memory h, uint256[] memory parts) = (partHeader(dispute), partsOf(dispute));
        vm.prank(challenger);
        disputes.part(dispute, s, child, h, parts);
    }

    function split(bytes32 dispute) internal {
        uint256[] memory parts = partsOf(dispute);
        bytes memory signature = signParts(dispute, parts);
        disputes.split(dispute, state(dispute), partHeader(dispute), sumsOf(dispute), parts, signature);
    }

    function prove(bytes32 dispute, uint8 verdict) internal {
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        bytes memory witness = Toy.witness(d.position.operator_, d.position.element, verdict);
        disputes.prove(dispute, state(dispute), partHeader(dispute), sumsOf(dispute), witness);
    }

    function convict(bytes32 dispute, uint8 verdict) internal {
        bytes32 s = state(dispute);
        vm.prank(challenger);
        disputes.convict(dispute, s, Toy.witness(1, 2, verdict));
    }

    function planProof(uint32 operator_) internal pure returns (bytes32[] memory) {
        return Toy.proof(Toy.plan(), 5, operator_);
    }

    // ---- Money

    /// @dev Whatever happened, everything the market owes is there.
    function assertConserved() internal view {
        IMarket.Ledger memory l = market.ledger();
        vm.assertEq(
            l.stakes + l.escrow + l.bonds + l.setAside + l.credits + l.burned, address(market).balance, "ledger"
        );
    }
}
