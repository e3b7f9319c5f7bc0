// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Evidence} from "./Evidence.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IJudge} from "./interfaces/IJudge.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ClaimHash} from "./libraries/ClaimHash.sol";
import {Clock} from "./libraries/Clock.sol";
import {Dispute as Rulebook} from "./libraries/Dispute.sol";
import {Parts} from "./libraries/Parts.sol";
import {Move, Phase, Position} from "./types/Position.sol";

/// @title Disputes
/// @dev Longer than the house size: one external function a move, and its view; the rules are in libraries.
/// @notice See `IDisputes`. Rules are in the `Dispute` library, money in the market; here are access, openings, signatures,
/// verdicts, metering and events.
contract Disputes is IDisputes {
    using Rulebook for Rulebook.Game;

    bytes32 private constant DISPUTE = keccak256("touchstone.dispute.1");
    /// @dev Gas of a transaction that the meter does not see: the intrinsic part, and what follows the metering; where the
    /// move ends the dispute, also what the market does then. `docs/gas.md` is measured against it.
    uint256 private constant UNSEEN_GAS = 21_000 + 20_000;
    uint256 private constant STRIKE_GAS = 190_000;
    uint256 private constant LOST_GAS = 85_000;
    uint256 private constant CALLDATA_GAS = 16;
    /// @dev Bytes of a call that has a selector and this many words, and of a byte string or list beside its content.
    uint256 private constant SELECTOR = 4;
    uint256 private constant WORD = 32;
    uint256 private constant SIGNATURE = 96;
    /// @dev A witness begins with operator, element and descriptor length; the descriptor with version, code and layer.
    uint256 private constant WITNESS_HEAD = 20;

    struct LayerRoot {
        bool stands;
        uint64 since;
        bytes32 root;
    }

    IMarket public immutable override market;
    IJudge public immutable override judge;
    IModelRegistry private immutable REGISTRY;
    Evidence private immutable EVIDENCE;
    uint32 private immutable CLOCK;
    uint32 private immutable EXTENSION;
    uint16 private immutable MAX_TURNS;

    mapping(bytes32 dispute => Rulebook.Game) private _games;
    mapping(bytes32 claim => mapping(uint32 layer => LayerRoot)) private _layers;
    /// @dev Metered cost of the challengers of a claim's disputes, lost ones left out.
    mapping(bytes32 claim => uint256) private _metered;

    constructor(IMarket market_, IJudge judge_) {
        if (market_.disputes() != address(this)) revert BadParameters("market");
        market = market_;
        judge = judge_;
        REGISTRY = market_.registry();
        EVIDENCE = new Evidence(market_, judge_);
        IMarket.Parameters memory p = market_.parameters();
        CLOCK = uint32(p.clockSeconds);
        EXTENSION = uint32(p.extensionSeconds);
        MAX_TURNS = p.maxTurns;
    }

    // ---- The challenger

    /// @inheritdoc IDisputes
    function open(bytes32 claim, uint256 salt) external payable override returns (bytes32 dispute) {
        uint256 gasBefore = gasleft();
        dispute = _open(claim, salt);
        Rulebook.Game storage g = _games[dispute];
        _meterChallenger(g, gasBefore, SELECTOR + 2 * WORD);
        _moved(dispute, g, Move.Open);
    }

    /// @inheritdoc IDisputes
    function openAndConvict(bytes32 claim, uint256 salt, bytes calldata witness)
        external
        payable
        override
        returns (bytes32 dispute)
    {
        uint256 gasBefore = gasleft();
        dispute = _open(claim, salt);
        Rulebook.Game storage g = _games[dispute];
        _moved(dispute, g, Move.Open);
        _convict(dispute, g, witness, gasBefore, SELECTOR + 4 * WORD + _padded(witness.length));
    }

    /// @inheritdoc IDisputes
    function ask(bytes32 dispute, bytes32 state) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        g.ask(_rules(), block.timestamp);
        _meterChallenger(g, gasBefore, SELECTOR + 2 * WORD);
        _moved(dispute, g, Move.Ask);
    }

    /// @inheritdoc IDisputes
    function descend(bytes32 dispute, bytes32 state, uint256 child, bytes32[] calldata children) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        g.descend(_rules(), child, children, block.timestamp);
        _meterChallenger(g, gasBefore, SELECTOR + (5 + children.length) * WORD);
        _moved(dispute, g, Move.Descend);
    }

    /// @inheritdoc IDisputes
    function skip(bytes32 dispute, bytes32 state, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        override
    {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        g.skip(index, leaf, proof);
        _meterChallenger(g, gasBefore, SELECTOR + (6 + proof.length) * WORD);
        _moved(dispute, g, Move.Skip);
    }

    /// @inheritdoc IDisputes
    function layer(
        bytes32 dispute,
        bytes32 state,
        uint32 operator_,
        bytes calldata descriptor,
        bytes32[] calldata proof
    ) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        Evidence.Facts memory o = EVIDENCE.operatorOf(g.claim, operator_, descriptor, proof);
        if (!o.decoded) revert Undecodable();
        LayerRoot storage known = _layers[g.claim][o.layer];
        g.layer(_rules(), o.layer, o.layerInnerCount, known.stands, known.root, block.timestamp);
        _meterChallenger(g, gasBefore, SELECTOR + (7 + proof.length) * WORD + _padded(descriptor.length));
        _moved(dispute, g, Move.Layer);
    }

    /// @inheritdoc IDisputes
    function point(
        bytes32 dispute,
        bytes32 state,
        uint32 operator_,
        uint64 element,
        bytes calldata descriptor,
        bytes32[] calldata proof
    ) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        Evidence.Facts memory o = EVIDENCE.operatorOf(g.claim, operator_, descriptor, proof);
        emit Pointed(dispute, operator_, element, descriptor);
        if (o.decoded) {
            if (element >= o.elements) revert OutOfRange(o.elements, element);
            if (o.touchesInner && !_layers[g.claim][o.layer].stands) revert LayerMissing(o.layer);
            g.point(_rules(), operator_, element, o.leaves, block.timestamp);
            _meterChallenger(g, gasBefore, SELECTOR + (8 + proof.length) * WORD + _padded(descriptor.length));
            _moved(dispute, g, Move.Point);
        } else {
            g.pointAtNothing();
            _moved(dispute, g, Move.Point);
            _end(dispute, g);
        }
    }

    /// @inheritdoc IDisputes
    function part(bytes32 dispute, bytes32 state, uint256 child, uint256[3] calldata header, uint256[] calldata parts)
        external
        override
    {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        g.part(_rules(), child, header, parts, block.timestamp);
        _meterChallenger(g, gasBefore, SELECTOR + (8 + parts.length) * WORD);
        _moved(dispute, g, Move.Part);
    }

    /// @inheritdoc IDisputes
    function convict(bytes32 dispute, bytes32 state, bytes calldata witness) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        _convict(dispute, g, witness, gasBefore, SELECTOR + 4 * WORD + _padded(witness.length));
    }

    /// @inheritdoc IDisputes
    function concede(bytes32 dispute, bytes32 state) external override {
        (Rulebook.Game storage g, bool repeated) = _challengers(dispute, state);
        if (repeated) return;
        g.finish(Phase.Conceded);
        _moved(dispute, g, Move.Concede);
        _end(dispute, g);
    }

    // ---- The worker

    /// @inheritdoc IDisputes
    function reveal(bytes32 dispute, bytes32 state, bytes32[] calldata children) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        _requireInTime(g);
        bytes32 node = g.position.node;
        g.reveal(_rules(), children, block.timestamp);
        emit Revealed(dispute, node, children);
        _meterWorker(g, gasBefore, SELECTOR + (4 + children.length) * WORD);
        _moved(dispute, g, Move.Reveal);
    }

    /// @inheritdoc IDisputes
    function answerLayer(bytes32 dispute, bytes32 state, bytes32 root, bytes calldata signature) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        uint32 number = g.position.layer;
        bytes32 claim = g.claim;
        if (g.position.phase != Phase.Layering) revert WrongPhase(g.position.phase);
        LayerRoot storage known = _layers[claim][number];
        if (known.stands) {
            if (known.root != root) revert LayerStands(number, known.root);
        } else {
            _requireInTime(g);
            _requireSigned(claim, layerDigest(claim, number, root), signature);
            (known.stands, known.since, known.root) = (true, uint64(block.timestamp), root);
            emit LayerAnswered(claim, number, root, dispute);
        }
        uint64 answered = g.answered(known.since);
        g.answerLayer(_rules(), root, answered < block.timestamp ? answered : block.timestamp);
        _meterWorker(g, gasBefore, SELECTOR + 5 * WORD + SIGNATURE);
        _moved(dispute, g, Move.AnswerLayer);
    }

    /// @inheritdoc IDisputes
    function defend(bytes32 dispute, bytes32 state, bytes calldata witness) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        _requireInTime(g);
        if (g.position.phase != Phase.Defending) revert WrongPhase(g.position.phase);
        IJudge.Outcome memory outcome = EVIDENCE.judge(g.claim, _layerOf(g.claim, witness), witness);
        _judged(dispute, outcome);
        _requireElement(g, outcome);
        g.finish(_phaseOf(outcome.verdict));
        _meterWorker(g, gasBefore, SELECTOR + 4 * WORD + _padded(witness.length));
        _moved(dispute, g, Move.Defend);
        _end(dispute, g);
    }

    /// @inheritdoc IDisputes
    function total(
        bytes32 dispute,
        bytes32 state,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata parts,
        bytes calldata signature
    ) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        _requireInTime(g);
        if (g.position.phase != Phase.Totalling) revert WrongPhase(g.position.phase);
        uint256[3] memory header;
        Phase outcome;
        (outcome, header) = _totals(dispute, g, witness, free, parts);
        bytes32 node = Parts.node(header, parts);
        // The free choices are the worker's: nobody else can have it struck by others.
        if (outcome != Phase.Voided) _requireParts(g, node, signature);
        if (outcome == Phase.Lost) {
            g.parted(_rules(), node, block.timestamp);
            emit Parted(dispute, header, parts);
        } else {
            g.finish(outcome);
        }
        _meterWorker(g, gasBefore, SELECTOR + (8 + parts.length) * WORD + _padded(witness.length) + SIGNATURE);
        _moved(dispute, g, Move.Total);
        if (outcome != Phase.Lost) _end(dispute, g);
    }

    /// @inheritdoc IDisputes
    function split(
        bytes32 dispute,
        bytes32 state,
        uint256[3] calldata header,
        uint256[] calldata sums,
        uint256[] calldata parts,
        bytes calldata signature
    ) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        _requireInTime(g);
        if (g.position.phase != Phase.Splitting) revert WrongPhase(g.position.phase);
        g.requireNode(header, sums);
        if (g.widthOf(parts.length) != sums.length || !EVIDENCE.addsUp(sums, parts)) revert WrongSums();
        bytes32 node = Parts.node(header, parts);
        _requireParts(g, node, signature);
        g.parted(_rules(), node, block.timestamp);
        emit Parted(dispute, header, parts);
        _meterWorker(g, gasBefore, SELECTOR + (10 + sums.length + parts.length) * WORD + SIGNATURE);
        _moved(dispute, g, Move.Split);
    }

    /// @inheritdoc IDisputes
    function prove(
        bytes32 dispute,
        bytes32 state,
        uint256[3] calldata header,
        uint256[] calldata sums,
        bytes calldata witness
    ) external override {
        uint256 gasBefore = gasleft();
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        _requireInTime(g);
        if (g.position.phase != Phase.Proving) revert WrongPhase(g.position.phase);
        g.requireNode(header, sums);
        IJudge.Outcome memory outcome =
            EVIDENCE.judgePart(g.claim, _layerOf(g.claim, witness), witness, g.position.index, header, sums);
        _judged(dispute, outcome);
        _requireElement(g, outcome);
        g.finish(_phaseOf(outcome.verdict));
        _meterWorker(g, gasBefore, SELECTOR + (9 + sums.length) * WORD + _padded(witness.length));
        _moved(dispute, g, Move.Prove);
        _end(dispute, g);
    }

    // ---- Anybody

    /// @inheritdoc IDisputes
    function timeout(bytes32 dispute, bytes32 state) external override {
        (Rulebook.Game storage g, bool repeated) = _anybodys(dispute, state);
        if (repeated) return;
        bool workers = Rulebook.isWorkersTurn(g.position.phase);
        uint64 deadline = g.deadline;
        LayerRoot storage known = _layers[g.claim][g.position.layer];
        if (g.position.phase == Phase.Layering && known.stands) {
            // Another dispute has the answer: the challenger may go on, and this is its turn.
            workers = false;
            deadline = Clock.start(g.challengerLeft, EXTENSION, g.answered(known.since));
        }
        if (!Clock.expired(deadline, block.timestamp)) revert NotExpired(deadline, uint64(block.timestamp));
        g.finish(workers ? Phase.Struck : Phase.Lost);
        _moved(dispute, g, Move.Timeout);
        _end(dispute, g);
    }

    /// @inheritdoc IDisputes
    function settle(bytes32 dispute) external override {
        Rulebook.Game storage g = _games[dispute];
        Phase phase = _phase(g);
        if (phase == Phase.None) revert UnknownDispute(dispute);
        if (phase != Phase.Moot) revert NotMoot(phase);
        g.position.phase = Phase.Settled;
        market.settleMoot(g.claim, g.challenger, g.bond, g.challengerCost);
        emit Settled(dispute, g.claim);
    }

    // ---- Views

    /// @inheritdoc IDisputes
    function disputeId(bytes32 claim, address challenger, uint256 salt) public view override returns (bytes32) {
        return keccak256(abi.encode(DISPUTE, block.chainid, address(this), claim, challenger, salt));
    }

    /// @inheritdoc IDisputes
    function disputeOf(bytes32 dispute) external view override returns (Dispute memory d) {
        Rulebook.Game storage g = _games[dispute];
        d = Dispute({
            claim: g.claim,
            challenger: g.challenger,
            position: g.position,
            count: g.count,
            turns: g.turns,
            deadline: g.deadline,
            challengerLeft: g.challengerLeft,
            workerLeft: g.workerLeft,
            bond: g.bond,
            challengerCost: g.challengerCost,
            workerCost: g.workerCost
        });
        d.position.phase = _phase(g);
    }

    /// @inheritdoc IDisputes
    function stateDigest(bytes32 dispute) external view override returns (bytes32) {
        return Rulebook.digest(dispute, _games[dispute].position);
    }

    /// @inheritdoc IDisputes
    function layerRootOf(bytes32 claim, uint32 number) external view override returns (bool stands, bytes32 root) {
        LayerRoot storage known = _layers[claim][number];
        return (known.stands, known.root);
    }

    /// @inheritdoc IDisputes
    function layerDigest(bytes32 claim, uint32 number, bytes32 root) public view override returns (bytes32) {
        return ClaimHash.layer(ClaimHash.domain(address(market)), claim, number, root);
    }

    /// @inheritdoc IDisputes
    function partsDigest(bytes32 claim, uint32 operator_, uint64 element, uint8 depth, uint32 index, bytes32 node)
        public
        view
        override
        returns (bytes32)
    {
        return ClaimHash.parts(ClaimHash.domain(address(market)), claim, operator_, element, depth, index, node);
    }

    // ---- Before a move

    function _rules() private view returns (Rulebook.Rules memory) {
        return Rulebook.Rules(CLOCK, EXTENSION, MAX_TURNS);
    }

    function _open(bytes32 claim, uint256 salt) private returns (bytes32 dispute) {
        dispute = disputeId(claim, msg.sender, salt);
        Rulebook.Game storage g = _games[dispute];
        if (g.position.phase != Phase.None) revert DisputeExists(dispute);
        uint256 bond = market.bondFor(block.basefee);
        if (msg.value < bond) revert Underbonded(bond, msg.value);
        market.disputeOpened{value: msg.value}(claim, msg.sender, bond);
        IMarket.Claim memory c = market.claimOf(claim);
        uint32 count = REGISTRY.modelOf(market.requestOf(c.request).model).header.traceValues;
        g.claim = claim;
        g.challenger = msg.sender;
        // Nobody has 2^128 wei.
        g.bond = uint128(bond);
        g.open(_rules(), c.traceRoot, count, block.timestamp);
        emit Opened(dispute, claim, msg.sender, salt, bond, g.deadline);
    }

    /// @dev What every later move begins with. `repeated`: the very call that led here, already done.
    function _anybodys(bytes32 dispute, bytes32 state) private view returns (Rulebook.Game storage g, bool repeated) {
        g = _games[dispute];
        Phase phase = g.position.phase;
        if (phase == Phase.None) revert UnknownDispute(dispute);
        bytes32 present = Rulebook.digest(dispute, g.position);
        if (state != present) {
            if (keccak256(msg.data) != g.lastMove) revert StaleState(present, state);
            return (g, true);
        }
        if (!Rulebook.isLive(phase)) revert WrongPhase(phase);
        if (market.claimOf(g.claim).status != IMarket.ClaimStatus.Open) revert ClaimEnded(g.claim);
    }

    /// @dev The same for the challenger's own moves: all are in time or too late.
    function _challengers(bytes32 dispute, bytes32 state)
        private
        view
        returns (Rulebook.Game storage g, bool repeated)
    {
        (g, repeated) = _anybodys(dispute, state);
        if (repeated) return (g, true);
        if (msg.sender != g.challenger) revert OnlyChallenger(g.challenger, msg.sender);
        _requireInTime(g);
    }

    function _requireInTime(Rulebook.Game storage g) private view {
        if (Clock.expired(g.deadline, block.timestamp)) revert Expired(g.deadline, uint64(block.timestamp));
    }

    /// @dev The sums of the present node's parts, which hash to `node`, are signed.
    function _requireParts(Rulebook.Game storage g, bytes32 node, bytes calldata signature) private view {
        Position memory p = g.position;
        bytes32 digest = partsDigest(g.claim, p.operator_, p.element, p.depth, p.index, node);
        _requireSigned(g.claim, digest, signature);
    }

    /// @dev By the claim's node key. The market took no claim whose node is the zero address.
    function _requireSigned(bytes32 claim, bytes32 digest, bytes calldata signature) private view {
        address node = market.claimOf(claim).node;
        address signer = ClaimHash.recover(digest, signature);
        if (signer != node) revert BadSignature(node, signer);
    }

    // ---- Verdicts

    function _convict(
        bytes32 dispute,
        Rulebook.Game storage g,
        bytes calldata witness,
        uint256 gasBefore,
        uint256 callBytes
    ) private {
        IJudge.Outcome memory outcome = EVIDENCE.judge(g.claim, _layerOf(g.claim, witness), witness);
        _judged(dispute, outcome);
        if (outcome.verdict == IJudge.Verdict.Inside) revert NotOutside();
        g.finish(_phaseOf(outcome.verdict));
        _meterChallenger(g, gasBefore, callBytes);
        _moved(dispute, g, Move.Convict);
        _end(dispute, g);
    }

    /// @dev Judges totals and says what would end the dispute so; `Lost`, the worker being right, does not.
    function _totals(
        bytes32 dispute,
        Rulebook.Game storage g,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata parts
    ) private returns (Phase, uint256[3] memory) {
        uint256 width = g.widthOf(parts.length);
        (IJudge.Outcome memory outcome, uint256[3] memory header) =
            EVIDENCE.judgeTotals(g.claim, _layerOf(g.claim, witness), witness, free, parts, width);
        _judged(dispute, outcome);
        _requireElement(g, outcome);
        return (_phaseOf(outcome.verdict), header);
    }

    /// @dev The layer as the witness's own descriptor has it; the judge ties the descriptor to the plan.
    function _layerOf(bytes32 claim, bytes calldata witness) private view returns (Evidence.Layer memory) {
        uint32 number = witness.length < WITNESS_HEAD ? 0 : uint32(bytes4(witness[WITNESS_HEAD - 4:WITNESS_HEAD]));
        LayerRoot storage known = _layers[claim][number];
        return Evidence.Layer(number, known.stands, known.root);
    }

    /// @dev A verdict other than `Refused`. Should the judge run out of gas, so does this call: that is never a verdict.
    function _judged(bytes32 dispute, IJudge.Outcome memory outcome) private {
        if (outcome.verdict == IJudge.Verdict.Refused) revert WitnessRefused(outcome.reason);
        emit Judged(dispute, outcome);
    }

    function _requireElement(Rulebook.Game storage g, IJudge.Outcome memory outcome) private view {
        if (outcome.operator_ != g.position.operator_ || outcome.element != g.position.element) {
            revert WrongElement(outcome.operator_, outcome.element);
        }
    }

    function _phaseOf(IJudge.Verdict verdict) private pure returns (Phase) {
        if (verdict == IJudge.Verdict.Inside) return Phase.Lost;
        if (verdict == IJudge.Verdict.Outside) return Phase.Struck;
        return Phase.Voided;
    }

    // ---- After a move

    /// @dev Cost so far goes to the side's account, up to the bond: no refund is larger. `callBytes` is what the move takes when
    /// it is encoded canonically: who adds bytes that mean nothing is not refunded for them.
    function _meterChallenger(Rulebook.Game storage g, uint256 gasBefore, uint256 callBytes) private {
        uint256 before = g.challengerCost;
        uint256 cost = before + _cost(g.position.phase, gasBefore, callBytes);
        if (cost > g.bond) cost = g.bond;
        g.challengerCost = uint128(cost);
        _metered[g.claim] += cost - before;
    }

    function _meterWorker(Rulebook.Game storage g, uint256 gasBefore, uint256 callBytes) private {
        uint256 cost = g.workerCost + _cost(g.position.phase, gasBefore, callBytes);
        g.workerCost = uint128(cost < g.bond ? cost : g.bond);
    }

    function _cost(Phase phase, uint256 gasBefore, uint256 callBytes) private view returns (uint256) {
        uint256 ending = phase == Phase.Struck ? STRIKE_GAS : Rulebook.isLive(phase) ? 0 : LOST_GAS;
        return (gasBefore - gasleft() + UNSEEN_GAS + ending + CALLDATA_GAS * callBytes) * block.basefee;
    }

    /// @dev Bytes of a byte string's content as a call carries it.
    function _padded(uint256 length) private pure returns (uint256) {
        return (length + WORD - 1) / WORD * WORD;
    }

    function _moved(bytes32 dispute, Rulebook.Game storage g, Move move) private {
        g.lastMove = keccak256(msg.data);
        Position memory p = g.position;
        emit Moved(dispute, move, Rulebook.digest(dispute, p), p, g.deadline);
    }

    /// @dev Carries the outcome over to the market. Nothing in here can fail while the claim is open.
    function _end(bytes32 dispute, Rulebook.Game storage g) private {
        (bytes32 claim, Phase phase, uint256 own) = (g.claim, g.position.phase, g.challengerCost);
        emit Ended(dispute, claim, phase, own, g.workerCost);
        if (phase == Phase.Struck) {
            market.strike(claim, g.challenger, g.bond, _metered[claim], own);
        } else if (phase == Phase.Voided) {
            market.voidClaim(claim, g.challenger, g.bond);
        } else {
            _metered[claim] -= own;
            market.disputeLost(claim, g.challenger, g.bond, g.workerCost, phase == Phase.Conceded);
        }
    }

    // ---- Inside

    /// @dev The stored phase, or `Moot`.
    function _phase(Rulebook.Game storage g) private view returns (Phase phase) {
        phase = g.position.phase;
        bool live = Rulebook.isLive(phase);
        if (live && market.claimOf(g.claim).status != IMarket.ClaimStatus.Open) return Phase.Moot;
    }
}
