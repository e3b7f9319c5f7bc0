// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../interfaces/IDisputes.sol";
import {Phase, Position, Tree} from "../types/Position.sol";
import {Clock} from "./Clock.sol";
import {Merkle} from "./Merkle.sol";
import {Parts} from "./Parts.sol";

/// @title The state machine of a dispute
/// @notice Each function is one move: it checks what of the move depends on the game alone, and changes the game. Whose move it is,
/// money, signatures and verdicts are the contract's. Mirrors `crates/protocol/src/dispute/`; PROTOCOL.md section 8.
library Dispute {
    /// @dev Levels that one answer goes down: eight nodes.
    uint256 private constant STEP = 3;
    /// @notice Turns that a long operator takes beyond the one that totals it: four splits, to one of 2^14 leaves, and a proof. They
    /// come on top of `maxTurns`.
    uint16 internal constant PART_TURNS = 5;

    /// @dev A deployment's terms. `maxTurns` bounds the turns up to the element.
    struct Rules {
        uint32 clock;
        uint32 extension;
        uint16 maxTurns;
    }

    struct Game {
        bytes32 claim;
        address challenger;
        uint64 deadline;
        uint32 count;
        Position position;
        uint32 challengerLeft;
        uint32 workerLeft;
        uint16 turns;
        uint128 bond;
        uint128 challengerCost;
        uint128 workerCost;
        /// keccak256 of the calldata that led to the present state.
        bytes32 lastMove;
    }

    /// @notice What the next move has to name.
    function digest(bytes32 dispute, Position memory p) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(dispute, p.moves, p.phase, p.tree, p.layer, p.node, p.depth, p.index, p.operator_, p.element)
        );
    }

    function isLive(Phase phase) internal pure returns (bool) {
        return phase >= Phase.Choosing && phase <= Phase.Proving;
    }

    function isWorkersTurn(Phase phase) internal pure returns (bool) {
        return isLive(phase) && phase != Phase.Choosing && phase != Phase.Picking && phase != Phase.Parting;
    }

    /// @notice Turns that a walk to a leaf of a tree of `count` leaves takes.
    function questions(uint256 count) internal pure returns (uint256) {
        return (Merkle.depth(count) + STEP - 1) / STEP;
    }

    // ---- Moves of the challenger

    /// @notice Begins at the root of the trace of `count` values.
    function open(Game storage g, Rules memory rules, bytes32 traceRoot, uint32 count, uint256 timestamp) internal {
        g.challengerLeft = rules.clock;
        g.workerLeft = rules.clock;
        g.position.moves = 1;
        _enter(g, Tree.Trace, 0, count);
        g.position.node = traceRoot;
        g.position.phase = Phase.Choosing;
        g.deadline = Clock.start(rules.clock, rules.extension, timestamp);
    }

    function ask(Game storage g, Rules memory rules, uint256 timestamp) internal {
        Position storage p = g.position;
        if (p.phase != Phase.Choosing) revert IDisputes.WrongPhase(p.phase);
        if (p.depth == 0) revert IDisputes.AtLeaf();
        _question(g, rules, Phase.Revealing, timestamp);
    }

    function descend(Game storage g, Rules memory rules, uint256 child, bytes32[] calldata children, uint256 timestamp)
        internal
    {
        Position storage p = g.position;
        if (p.phase != Phase.Picking) revert IDisputes.WrongPhase(p.phase);
        uint256 step = _requireChildren(p, children);
        if (child >= children.length) revert IDisputes.OutOfRange(children.length, child);
        uint256 index = (uint256(p.index) << step) + child;
        uint256 depth = p.depth - step;
        // Nothing but filling lies beyond the count.
        if (index << depth >= g.count) revert IDisputes.OutOfRange(g.count, index << depth);
        p.node = children[child];
        p.index = uint32(index);
        p.depth = uint8(depth);
        if (depth == 0) {
            p.phase = Phase.Choosing;
            p.moves++;
        } else {
            _question(g, rules, Phase.Revealing, timestamp);
        }
    }

    function skip(Game storage g, uint256 index, bytes32 leaf, bytes32[] calldata proof) internal {
        Position storage p = g.position;
        _requireChoice(p);
        if (p.depth == 0) revert IDisputes.AtLeaf();
        if (index >= g.count) revert IDisputes.OutOfRange(g.count, index);
        uint256 depth = p.depth;
        uint256 below = index & ((1 << depth) - 1);
        if (index >> depth != p.index || !Merkle.verify(p.node, leaf, below, 1 << depth, proof)) {
            revert IDisputes.BadProof();
        }
        p.node = leaf;
        p.index = uint32(index);
        p.depth = 0;
        p.phase = Phase.Choosing;
        p.moves++;
    }

    /// @notice Goes to the root of a layer of `count` inner values: at once where it stands, else by asking for it.
    function layer(
        Game storage g,
        Rules memory rules,
        uint32 number,
        uint32 count,
        bool stands,
        bytes32 root,
        uint256 timestamp
    ) internal {
        Position storage p = g.position;
        _requireChoice(p);
        if (count == 0) revert IDisputes.NoInnerValues(number);
        _enter(g, Tree.Layer, number, count);
        if (stands) {
            p.node = root;
            p.phase = Phase.Choosing;
            p.moves++;
        } else {
            p.node = bytes32(0);
            _question(g, rules, Phase.Layering, timestamp);
        }
    }

    /// @param leaves of the tree over the operator's terms if it is long, else 0.
    function point(
        Game storage g,
        Rules memory rules,
        uint32 operator_,
        uint64 element,
        uint32 leaves,
        uint256 timestamp
    ) internal {
        Position storage p = g.position;
        _requireChoice(p);
        p.operator_ = operator_;
        p.element = element;
        if (leaves == 0) return _turn(g, rules, Phase.Defending, timestamp);
        g.count = leaves;
        p.node = bytes32(0);
        p.depth = uint8(Merkle.depth(leaves));
        p.index = 0;
        _turn(g, rules, Phase.Totalling, timestamp);
    }

    /// @notice Goes to one of the present node's parts, whose sums are known: asks for its own parts, or for a leaf's terms.
    function part(
        Game storage g,
        Rules memory rules,
        uint256 child,
        uint256[3] calldata header,
        uint256[] calldata words,
        uint256 timestamp
    ) internal {
        Position storage p = g.position;
        if (p.phase != Phase.Parting) revert IDisputes.WrongPhase(p.phase);
        requireNode(g, header, words);
        uint256 width = widthOf(g, words.length);
        if (child >= words.length / width) revert IDisputes.OutOfRange(words.length / width, child);
        uint256 step = Parts.step(p.depth);
        p.node = Parts.node(header, words[child * width:(child + 1) * width]);
        p.index = uint32((uint256(p.index) << step) + child);
        uint256 depth = p.depth - step;
        p.depth = uint8(depth);
        _turn(g, rules, depth == 0 ? Phase.Proving : Phase.Splitting, timestamp);
    }

    /// @notice The operator pointed at does not decode: the model is nobody's fault here.
    function pointAtNothing(Game storage g) internal {
        _requireChoice(g.position);
        finish(g, Phase.Voided);
    }

    // ---- Moves of the worker

    function reveal(Game storage g, Rules memory rules, bytes32[] calldata children, uint256 timestamp) internal {
        Position storage p = g.position;
        if (p.phase != Phase.Revealing) revert IDisputes.WrongPhase(p.phase);
        _requireChildren(p, children);
        _answered(g, rules, Phase.Picking, timestamp);
    }

    /// @notice When the turn of a worker ended whose answer stands `since` then, in this dispute or another: an answer there
    /// does not cut this one's turn short, as the challenger cannot know of it at once.
    function answered(Game storage g, uint64 since) internal view returns (uint64) {
        return since > g.deadline ? since : g.deadline;
    }

    /// @param timestamp now, or when the worker's turn ended by another dispute's answer.
    function answerLayer(Game storage g, Rules memory rules, bytes32 root, uint256 timestamp) internal {
        Position storage p = g.position;
        if (p.phase != Phase.Layering) revert IDisputes.WrongPhase(p.phase);
        p.node = root;
        _answered(g, rules, Phase.Choosing, timestamp);
    }

    /// @notice The sums of the present node's parts are known: `node` stands for them.
    function parted(Game storage g, Rules memory rules, bytes32 node, uint256 timestamp) internal {
        g.position.node = node;
        _answered(g, rules, Phase.Parting, timestamp);
    }

    /// @notice Header and words are the present node's.
    function requireNode(Game storage g, uint256[3] calldata header, uint256[] calldata words) internal view {
        bytes32 node = Parts.node(header, words);
        if (node != g.position.node) revert IDisputes.WrongNode(g.position.node, node);
    }

    /// @notice Words that each of the present node's parts has, at least one, of `length` in all.
    function widthOf(Game storage g, uint256 length) internal view returns (uint256 width) {
        uint256 count = Parts.count(g.count, g.position.depth, g.position.index);
        width = length / count;
        if (width == 0 || width * count != length) revert IDisputes.WrongCount(count, length);
    }

    // ---- Ends

    function finish(Game storage g, Phase outcome) internal {
        g.position.phase = outcome;
        g.position.moves++;
    }

    // ---- Inside

    function _requireChoice(Position storage p) private view {
        if (p.phase != Phase.Choosing && p.phase != Phase.Picking) revert IDisputes.WrongPhase(p.phase);
    }

    /// @dev Checks that `children` are the node's descendants; returns how many levels they are below it.
    function _requireChildren(Position storage p, bytes32[] calldata children) private view returns (uint256 step) {
        step = p.depth < STEP ? p.depth : STEP;
        if (children.length != 1 << step) revert IDisputes.WrongCount(1 << step, children.length);
        bytes32 node = Merkle.root(children);
        if (node != p.node) revert IDisputes.WrongNode(p.node, node);
    }

    function _enter(Game storage g, Tree tree, uint32 number, uint32 count) private {
        Position storage p = g.position;
        p.tree = tree;
        p.layer = number;
        p.depth = uint8(Merkle.depth(count));
        p.index = 0;
        g.count = count;
    }

    /// @dev A question about commitments leaves the worker a turn for the one about an element.
    function _question(Game storage g, Rules memory rules, Phase phase, uint256 timestamp) private {
        if (g.turns + 1 >= rules.maxTurns) revert IDisputes.OutOfTurns(rules.maxTurns);
        _turn(g, rules, phase, timestamp);
    }

    /// @dev The worker's turn begins.
    function _turn(Game storage g, Rules memory rules, Phase phase, uint256 timestamp) private {
        g.challengerLeft = Clock.stop(g.deadline, timestamp);
        g.deadline = Clock.start(g.workerLeft, rules.extension, timestamp);
        g.turns++;
        g.position.phase = phase;
        g.position.moves++;
    }

    /// @dev The challenger's turn begins.
    function _answered(Game storage g, Rules memory rules, Phase phase, uint256 timestamp) private {
        g.workerLeft = Clock.stop(g.deadline, timestamp);
        g.deadline = Clock.start(g.challengerLeft, rules.extension, timestamp);
        g.position.phase = phase;
        g.position.moves++;
    }
}
