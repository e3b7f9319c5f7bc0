// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMarket} from "./interfaces/IMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ITouchstoneConsumer} from "./interfaces/ITouchstoneConsumer.sol";
import {Bond} from "./libraries/Bond.sol";
import {ClaimHash} from "./libraries/ClaimHash.sol";
import {Clock} from "./libraries/Clock.sol";
import {Dispute} from "./libraries/Dispute.sol";
import {Io} from "./libraries/Io.sol";

/// @title Market
/// @dev Longer than the house size: one contract holds all the money, so that one ledger shows it.
/// @notice See `IMarket`. Every wei that comes in is booked in one field of the ledger and moves between fields only together
/// with what it stands for. It leaves by `withdraw` alone.
contract Market is IMarket {
    /// @dev A callback with more could not be delivered within half of a transaction's gas (2^24) beside 16 KiB of outputs.
    uint256 private constant MAX_CALLBACK_GAS = 5_000_000;
    /// @dev Gas of `deliver` around the callback: a part of its own, and one for each byte of the outputs (the calldata floor
    /// of EIP-7623 and hashing).
    uint256 private constant DELIVERY_GAS = 130_000;
    uint256 private constant DELIVERY_GAS_BYTE = 48;
    /// @dev Gas that `deliver` needs after the callback, whatever the callback does.
    uint256 private constant AFTER_CALLBACK_GAS = 90_000;

    /// @dev What a strike left for the challengers of the claim's other disputes.
    struct Pool {
        uint256 amount;
        uint256 metered;
    }

    IModelRegistry public immutable override registry;
    address public immutable override disputes;
    uint64 public immutable override longestDispute;

    uint64 private immutable WINDOW;
    uint64 private immutable DEADLINE;
    uint64 private immutable LIMIT;
    uint64 private immutable CLOCK;
    uint64 private immutable EXTENSION;
    uint16 private immutable MAX_TURNS;
    uint16 private immutable WORKER_SHARE;
    uint16 private immutable POSTER_SHARE;
    uint16 private immutable PUBLISHER_SHARE;
    uint128 private immutable WORKER_BOND;
    uint128 private immutable BOND_FLOOR;
    uint64 private immutable ANSWER_GAS;

    uint256 public override requestCount;
    mapping(uint256 request => Request) private _requests;
    mapping(bytes32 claim => Claim) private _claims;
    mapping(bytes32 claim => Pool) private _pools;
    mapping(address provider => Provider) private _providers;
    mapping(uint256 request => mapping(address worker => bool)) public override isStruck;
    mapping(address account => uint256) public override creditOf;
    Ledger private _ledger;

    modifier onlyDisputes() {
        if (msg.sender != disputes) revert OnlyDisputes(msg.sender);
        _;
    }

    /// @param disputes_ the disputes contract, deployed next; its constructor checks that it is the one.
    constructor(Parameters memory p, IModelRegistry registry_, address disputes_) {
        // Bounds first: they keep the sums below from overflowing.
        if (p.limitSeconds > 365 days || p.clockSeconds > p.limitSeconds || p.deadlineSeconds > p.limitSeconds) {
            revert BadParameters("limit");
        }
        if (p.windowSeconds == 0 || p.windowSeconds > p.limitSeconds) revert BadParameters("window");
        if (p.deadlineSeconds == 0) revert BadParameters("deadline");
        if (p.extensionSeconds == 0 || p.extensionSeconds > p.clockSeconds) revert BadParameters("extension");
        // One question for each tree, the layer root, one element: less is no dispute.
        uint256 turns = uint256(p.maxTurns) + Dispute.PART_TURNS;
        if (p.maxTurns < 4 || turns * p.extensionSeconds > p.clockSeconds) revert BadParameters("clock");
        uint64 longest = Clock.longest(p.clockSeconds, p.extensionSeconds, p.maxTurns);
        if (p.deadlineSeconds + p.windowSeconds + longest > p.limitSeconds) revert BadParameters("limit");
        if (uint256(p.workerShare) + p.posterShare + p.publisherShare != Bond.WHOLE) revert BadParameters("shares");
        if (p.bondFloor == 0 || p.workerBond / 2 < p.bondFloor) revert BadParameters("bonds");
        if (p.answerGas == 0) revert BadParameters("answer gas");

        registry = registry_;
        disputes = disputes_;
        longestDispute = longest;
        WINDOW = p.windowSeconds;
        DEADLINE = p.deadlineSeconds;
        LIMIT = p.limitSeconds;
        CLOCK = p.clockSeconds;
        EXTENSION = p.extensionSeconds;
        MAX_TURNS = p.maxTurns;
        WORKER_SHARE = p.workerShare;
        POSTER_SHARE = p.posterShare;
        PUBLISHER_SHARE = p.publisherShare;
        WORKER_BOND = p.workerBond;
        BOND_FLOOR = p.bondFloor;
        ANSWER_GAS = p.answerGas;
    }

    // ---- Providers

    /// @inheritdoc IMarket
    function stake() external payable override {
        Provider storage provider = _providers[msg.sender];
        provider.staked += msg.value;
        _ledger.stakes += msg.value;
        emit Staked(msg.sender, msg.value, provider.staked);
    }

    /// @inheritdoc IMarket
    function unstake(uint256 amount) external override {
        Provider storage provider = _providers[msg.sender];
        uint256 free = provider.staked - provider.reserved;
        if (amount > free) revert InsufficientStake(amount, free);
        provider.staked -= amount;
        _ledger.stakes -= amount;
        _credit(msg.sender, amount);
        emit Unstaked(msg.sender, amount, provider.staked);
    }

    /// @inheritdoc IMarket
    function setNode(address node) external override {
        // The zero address is what a bad signature recovers to.
        if (node == address(0)) revert BadNode();
        _providers[msg.sender].node = node;
        emit NodeSet(msg.sender, node);
    }

    // ---- Requests

    /// @inheritdoc IMarket
    function request(bytes32 model, bytes calldata inputs, Options calldata options)
        external
        payable
        override
        returns (uint256 number)
    {
        _checkOptions(options);
        IModelRegistry.Model memory m = registry.modelOf(model);
        uint256 turns = _turns(m.header);
        if (turns > MAX_TURNS) revert ModelTooDeep(MAX_TURNS, turns);
        uint256 prepaid = _prepaid(options.callbackGas, options.callbackGasPrice, m.outputBytes);
        if (msg.value < m.price + prepaid) revert Underpaid(m.price + prepaid, msg.value);

        number = ++requestCount;
        Request storage r = _requests[number];
        r.status = RequestStatus.Requested;
        r.delivery = options.mode == CallbackMode.None ? Delivery.None : Delivery.Pending;
        r.requester = msg.sender;
        r.attempt = 1;
        r.callbackGas = options.callbackGas;
        r.callbackGasPrice = options.callbackGasPrice;
        r.deadline = uint64(block.timestamp) + DEADLINE;
        r.limit = uint64(block.timestamp) + LIMIT;
        r.model = model;
        r.inputs = Io.commitInputs(registry.ioOf(model), inputs);
        r.tag = options.tag;
        // Nobody has 2^128 wei.
        r.fee = uint128(msg.value - prepaid);
        r.prepaid = uint128(prepaid);
        _ledger.escrow += msg.value;
        emit Requested(number, model, msg.sender, r.inputs, inputs, options, r.fee, prepaid, r.deadline, r.limit);
    }

    /// @inheritdoc IMarket
    function claim(Terms calldata terms, bytes calldata outputs, bytes calldata signature)
        external
        override
        returns (bytes32 id)
    {
        Request storage r = _requestAt(terms.request, RequestStatus.Requested);
        if (terms.attempt != r.attempt) revert WrongAttempt(r.attempt, terms.attempt);
        _requireInTime(r.deadline);
        _requireInTime(terms.validUntil);
        if (isStruck[terms.request][terms.worker]) revert StruckBefore(terms.request, terms.worker);

        bytes32 commitment;
        (id, commitment) = _claimDigest(r, terms, outputs);
        Provider storage provider = _providers[terms.worker];
        address signer = ClaimHash.recover(id, signature);
        if (signer == address(0) || signer != provider.node) revert BadSignature(provider.node, signer);
        uint256 free = provider.staked - provider.reserved;
        if (free < WORKER_BOND) revert InsufficientStake(WORKER_BOND, free);

        provider.reserved += WORKER_BOND;
        r.status = RequestStatus.Claimed;
        r.claim = id;
        uint64 windowEnd = uint64(block.timestamp) + WINDOW;
        _claims[id] = Claim({
            status: ClaimStatus.Open,
            attempt: terms.attempt,
            openDisputes: 0,
            worker: terms.worker,
            node: signer,
            windowEnd: windowEnd,
            poster: terms.poster,
            request: terms.request,
            outputs: commitment,
            traceRoot: terms.traceRoot
        });
        emit Claimed(
            id,
            terms.request,
            terms.worker,
            signer,
            terms.attempt,
            terms.poster,
            commitment,
            terms.traceRoot,
            outputs,
            windowEnd
        );
    }

    /// @inheritdoc IMarket
    function finalize(uint256 number) external override {
        Request storage r = _requestAt(number, RequestStatus.Claimed);
        Claim storage c = _claims[r.claim];
        _requirePast(c.windowEnd);
        if (c.openDisputes != 0) revert OpenDisputes(c.openDisputes);

        r.status = RequestStatus.Final;
        c.status = ClaimStatus.Final;
        _providers[c.worker].reserved -= WORKER_BOND;
        uint256 fee = r.fee;
        (uint256 toWorker, uint256 toPoster, uint256 toPublisher) = Bond.split(fee, POSTER_SHARE, PUBLISHER_SHARE);
        _ledger.escrow -= fee;
        _credit(c.worker, toWorker);
        _credit(c.poster, toPoster);
        _credit(registry.modelOf(r.model).publisher, toPublisher);
        emit Finalized(number, r.claim);
    }

    /// @inheritdoc IMarket
    function deliver(uint256 number, bytes calldata outputs) external override {
        uint256 gasBefore = gasleft();
        Request storage r = _requestAt(number, RequestStatus.Final);
        if (r.delivery != Delivery.Pending) revert NothingToDeliver(r.delivery);
        bytes32 expected = _claims[r.claim].outputs;
        bytes32 actual = Io.commitOutputs(registry.ioOf(r.model), outputs);
        if (actual != expected) revert WrongOutputs(expected, actual);

        // A second delivery from within the callback finds nothing pending.
        r.delivery = Delivery.Reverted;
        bytes memory message = abi.encodeCall(ITouchstoneConsumer.onResult, (number, r.model, outputs, r.tag));
        bool success = _callback(r.requester, r.callbackGas, message);
        if (success) r.delivery = Delivery.Succeeded;

        uint256 prepaid = r.prepaid;
        uint256 gasUsed = gasBefore - gasleft() + DELIVERY_GAS / 2 + DELIVERY_GAS_BYTE * outputs.length;
        uint256 price = tx.gasprice < r.callbackGasPrice ? tx.gasprice : r.callbackGasPrice;
        uint256 paid = gasUsed * price < prepaid ? gasUsed * price : prepaid;
        _ledger.escrow -= prepaid;
        _credit(msg.sender, paid);
        _credit(r.requester, prepaid - paid);
        emit Delivered(number, r.requester, success, gasUsed, paid);
    }

    /// @inheritdoc IMarket
    function refund(uint256 number) external override {
        Request storage r = _requestAt(number, RequestStatus.Requested);
        _requirePast(r.deadline);
        bool pastLimit = Clock.expired(r.limit - WINDOW - longestDispute, block.timestamp);
        _close(number, r, pastLimit ? RequestStatus.Void : RequestStatus.Refunded);
    }

    /// @inheritdoc IMarket
    function withdraw(address payable to) external override returns (uint256 amount) {
        amount = creditOf[msg.sender];
        if (amount == 0) revert NoCredit(msg.sender);
        creditOf[msg.sender] = 0;
        _ledger.credits -= amount;
        emit Withdrawn(msg.sender, to, amount);
        (bool success,) = to.call{value: amount}("");
        if (!success) revert TransferFailed(to);
    }

    // ---- For the disputes contract alone

    /// @inheritdoc IMarket
    function disputeOpened(bytes32 id, address challenger, uint256 bond) external payable override onlyDisputes {
        Claim storage c = _claimAt(id);
        _requireInTime(c.windowEnd);
        c.openDisputes++;
        _ledger.bonds += bond;
        _credit(challenger, msg.value - bond);
    }

    /// @inheritdoc IMarket
    function disputeLost(bytes32 id, address challenger, uint256 bond, uint256 workerCost, bool conceded)
        external
        override
        onlyDisputes
    {
        Claim storage c = _claimAt(id);
        c.openDisputes--;
        (uint256 toWorker, uint256 toChallenger, uint256 burned) = Bond.lost(bond, workerCost, conceded);
        _ledger.bonds -= bond;
        _ledger.burned += burned;
        _credit(c.worker, toWorker);
        _credit(challenger, toChallenger);
    }

    /// @inheritdoc IMarket
    function strike(bytes32 id, address challenger, uint256 bond, uint256 metered, uint256 own)
        external
        override
        onlyDisputes
    {
        Claim storage c = _claimAt(id);
        Request storage r = _requests[c.request];
        (uint256 reward, uint256 setAside, uint256 burned, uint256 pool) = Bond.struck(WORKER_BOND, metered, own);
        c.status = ClaimStatus.Struck;
        c.openDisputes--;
        _pools[id] = Pool(pool, metered - own);
        Provider storage provider = _providers[c.worker];
        provider.staked -= WORKER_BOND;
        provider.reserved -= WORKER_BOND;
        isStruck[c.request][c.worker] = true;

        r.status = RequestStatus.Requested;
        r.attempt++;
        uint64 last = r.limit - WINDOW - longestDispute;
        uint64 deadline = uint64(block.timestamp) + DEADLINE;
        r.deadline = deadline < last ? deadline : last;

        _ledger.stakes -= WORKER_BOND;
        _ledger.bonds -= bond;
        _ledger.setAside += setAside;
        _ledger.burned += burned;
        _credit(challenger, bond + reward);
        emit Struck(id, c.request, c.worker, challenger, r.attempt, r.deadline, reward, setAside, burned);
    }

    /// @inheritdoc IMarket
    function voidClaim(bytes32 id, address challenger, uint256 bond) external override onlyDisputes {
        Claim storage c = _claimAt(id);
        c.status = ClaimStatus.Void;
        c.openDisputes--;
        _providers[c.worker].reserved -= WORKER_BOND;
        _ledger.bonds -= bond;
        _credit(challenger, bond);
        emit Voided(id, c.request);
        _close(c.request, _requests[c.request], RequestStatus.Void);
    }

    /// @inheritdoc IMarket
    function settleMoot(bytes32 id, address challenger, uint256 bond, uint256 cost) external override onlyDisputes {
        Claim storage c = _claims[id];
        c.openDisputes--;
        _ledger.bonds -= bond;
        uint256 refunded;
        if (c.status == ClaimStatus.Struck) {
            Pool storage pool = _pools[id];
            refunded = Bond.refund(pool.amount, pool.metered, cost);
            _ledger.setAside -= refunded;
        }
        _credit(challenger, bond + refunded);
    }

    // ---- Views

    /// @inheritdoc IMarket
    function parameters() external view override returns (Parameters memory) {
        return Parameters({
            windowSeconds: WINDOW,
            deadlineSeconds: DEADLINE,
            limitSeconds: LIMIT,
            clockSeconds: CLOCK,
            extensionSeconds: EXTENSION,
            maxTurns: MAX_TURNS,
            workerShare: WORKER_SHARE,
            posterShare: POSTER_SHARE,
            publisherShare: PUBLISHER_SHARE,
            workerBond: WORKER_BOND,
            bondFloor: BOND_FLOOR,
            answerGas: ANSWER_GAS
        });
    }

    /// @inheritdoc IMarket
    function quote(bytes32 model, uint32 callbackGas, uint128 callbackGasPrice)
        external
        view
        override
        returns (uint256 fee, uint256 prepaid)
    {
        IModelRegistry.Model memory m = registry.modelOf(model);
        return (m.price, _prepaid(callbackGas, callbackGasPrice, m.outputBytes));
    }

    /// @inheritdoc IMarket
    function bondFor(uint256 baseFee) external view override returns (uint256) {
        return Bond.required(BOND_FLOOR, ANSWER_GAS, baseFee);
    }

    /// @inheritdoc IMarket
    function requestOf(uint256 number) external view override returns (Request memory) {
        return _requests[number];
    }

    /// @inheritdoc IMarket
    function claimOf(bytes32 id) external view override returns (Claim memory) {
        return _claims[id];
    }

    /// @inheritdoc IMarket
    function providerOf(address provider) external view override returns (Provider memory) {
        return _providers[provider];
    }

    /// @inheritdoc IMarket
    function ledger() external view override returns (Ledger memory) {
        return _ledger;
    }

    /// @inheritdoc IMarket
    function isResult(uint256 number, bytes calldata outputs) external view override returns (bool) {
        Request storage r = _requests[number];
        if (r.status != RequestStatus.Final) return false;
        return Io.commitOutputs(registry.ioOf(r.model), outputs) == _claims[r.claim].outputs;
    }

    /// @inheritdoc IMarket
    function claimDigest(Terms calldata terms, bytes calldata outputs) external view override returns (bytes32 digest) {
        Request storage r = _requests[terms.request];
        if (r.status == RequestStatus.None) revert UnknownRequest(terms.request);
        (digest,) = _claimDigest(r, terms, outputs);
    }

    /// @inheritdoc IMarket
    function domainSeparator() public view override returns (bytes32) {
        return ClaimHash.domain(address(this));
    }

    // ---- Inside

    function _requestAt(uint256 number, RequestStatus expected) private view returns (Request storage r) {
        r = _requests[number];
        if (r.status == RequestStatus.None) revert UnknownRequest(number);
        if (r.status != expected) revert WrongRequestStatus(expected, r.status);
    }

    function _claimAt(bytes32 id) private view returns (Claim storage c) {
        c = _claims[id];
        if (c.status == ClaimStatus.None) revert UnknownClaim(id);
        if (c.status != ClaimStatus.Open) revert WrongClaimStatus(ClaimStatus.Open, c.status);
    }

    function _requireInTime(uint64 deadline) private view {
        if (Clock.expired(deadline, block.timestamp)) revert TooLate(deadline, uint64(block.timestamp));
    }

    function _requirePast(uint64 deadline) private view {
        if (!Clock.expired(deadline, block.timestamp)) revert TooEarly(deadline, uint64(block.timestamp));
    }

    function _checkOptions(Options calldata options) private pure {
        bool none = options.callbackGas == 0 && options.callbackGasPrice == 0;
        bool some = options.callbackGas != 0;
        if (options.mode == CallbackMode.None ? !none : !some) revert BadOptions();
        if (options.callbackGas > MAX_CALLBACK_GAS) revert CallbackTooLarge(MAX_CALLBACK_GAS, options.callbackGas);
    }

    /// @dev Turns that a whole walk through trace and one layer takes: three levels a turn, the root, the element.
    function _turns(IModelRegistry.Header memory header) private pure returns (uint256) {
        return Dispute.questions(header.traceValues) + Dispute.questions(header.operators) + 2;
    }

    function _prepaid(uint256 callbackGas, uint256 price, uint256 outputBytes) private pure returns (uint256) {
        return (callbackGas + DELIVERY_GAS + DELIVERY_GAS_BYTE * outputBytes) * price;
    }

    function _claimDigest(Request storage r, Terms calldata terms, bytes calldata outputs)
        private
        view
        returns (bytes32 digest, bytes32 commitment)
    {
        bytes32 model = r.model;
        commitment = Io.commitOutputs(registry.ioOf(model), outputs);
        digest = ClaimHash.claim(
            domainSeparator(),
            ClaimHash.Claim({
                request: terms.request,
                attempt: terms.attempt,
                worker: terms.worker,
                model: model,
                inputs: r.inputs,
                outputs: commitment,
                traceRoot: terms.traceRoot,
                profile: registry.modelOf(model).header.profile,
                poster: terms.poster,
                validUntil: terms.validUntil
            })
        );
    }

    /// @dev Calls with all of `gasLimit` or not at all: of what is left, the EVM passes on at most 63/64. What the callee
    /// returns is not copied, however long it is.
    function _callback(address to, uint256 gasLimit, bytes memory message) private returns (bool success) {
        uint256 needed = gasLimit + gasLimit / 63 + AFTER_CALLBACK_GAS;
        if (gasleft() < needed) revert InsufficientGas(needed, gasleft());
        assembly ("memory-safe") {
            success := call(gasLimit, to, 0, add(message, 32), mload(message), 0, 0)
        }
    }

    function _close(uint256 number, Request storage r, RequestStatus status) private {
        r.status = status;
        uint256 amount = uint256(r.fee) + r.prepaid;
        _ledger.escrow -= amount;
        _credit(r.requester, amount);
        emit Closed(number, status, amount);
    }

    function _credit(address account, uint256 amount) private {
        if (amount == 0) return;
        creditOf[account] += amount;
        _ledger.credits += amount;
        emit Credited(account, amount);
    }
}
