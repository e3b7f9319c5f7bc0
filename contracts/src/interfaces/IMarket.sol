// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./IModelRegistry.sol";

/// @title Requests, claims and all the money
/// @notice A requester pays for one inference; a worker answers with a bonded claim; the claim becomes final when its challenge
/// window has passed with no dispute open on it. Whatever anybody is owed is booked as credit here and fetched with
/// `withdraw`; no settlement calls out.
///
///     Requested ──claim──► Claimed ──finalize──► Final ──deliver──► (delivery Succeeded | Reverted)
///        │  ▲                │  │
///        │  └────strike──────┘  └──void (undecodable descriptor)──► Void
///        └──refund──► Refunded (deadline passed) | Void (absolute limit passed)
///
/// Every call works for anybody who has what it needs: a coordinator is a convenience.
///
/// Assumptions for safety: within each challenge window one honest challenger re-executes the claim and can get a transaction
/// included; the disputes contract and its judge are the ones named here.
/// Assumptions for liveness: somebody calls `finalize`, `refund` and `deliver`; all three pay nobody else than they name.
/// @dev Longer than the house size: all the prose about requests, claims and money is here.
interface IMarket {
    enum RequestStatus {
        None,
        Requested,
        Claimed,
        Final,
        Refunded,
        Void
    }

    enum ClaimStatus {
        None,
        Open,
        Final,
        Struck,
        Void
    }

    /// @notice Whether and when the requester is called back.
    enum CallbackMode {
        None,
        Final
    }

    enum Delivery {
        /// No callback was asked for.
        None,
        Pending,
        Succeeded,
        /// The callback reverted, or used up its gas.
        Reverted
    }

    /// @notice Immutable terms of this deployment. Times in seconds, money in wei, shares in 1/10,000.
    struct Parameters {
        /// How long disputes may be opened on a claim.
        uint64 windowSeconds;
        /// How long a request waits for a claim, anew after each strike.
        uint64 deadlineSeconds;
        /// How long a request may live at all.
        uint64 limitSeconds;
        /// Each side's clock in a dispute.
        uint64 clockSeconds;
        /// The least a side has left after the other's move.
        uint64 extensionSeconds;
        /// The most turns the worker can be given in one dispute.
        uint16 maxTurns;
        uint16 workerShare;
        uint16 posterShare;
        uint16 publisherShare;
        /// Reserved from the worker's stake by each claim.
        uint128 workerBond;
        /// The least bond of a dispute.
        uint128 bondFloor;
        /// The most gas that a worker's answers in one dispute are reckoned with.
        uint64 answerGas;
    }

    /// @notice What a requester may choose.
    struct Options {
        CallbackMode mode;
        /// Gas limit of the callback; 0 with mode `None`.
        uint32 callbackGas;
        /// The most the requester pays for a unit of the delivery's gas, in wei; 0 with mode `None`.
        uint128 callbackGasPrice;
        /// Passed through to the callback.
        bytes32 tag;
    }

    struct Request {
        RequestStatus status;
        Delivery delivery;
        address requester;
        /// Starts at 1; one more after each strike.
        uint32 attempt;
        uint32 callbackGas;
        uint128 callbackGasPrice;
        /// Claims are taken up to and including this time.
        uint64 deadline;
        /// No claim is taken that could be open later than this; `deadline` leaves room for it.
        uint64 limit;
        bytes32 model;
        /// Inputs commitment (PROTOCOL.md section 4).
        bytes32 inputs;
        bytes32 tag;
        uint128 fee;
        /// Paid in advance for the delivery's gas.
        uint128 prepaid;
        /// The open or final claim; the last one while struck. Meaningful once `attempt` > 1 or status is past `Requested`.
        bytes32 claim;
    }

    struct Claim {
        ClaimStatus status;
        uint32 attempt;
        uint32 openDisputes;
        /// The provider.
        address worker;
        /// The provider's node key when the claim was made; signs the claim's layer answers.
        address node;
        /// Disputes may be opened up to and including this time.
        uint64 windowEnd;
        /// Gets the coordinator's share.
        address poster;
        uint256 request;
        bytes32 outputs;
        bytes32 traceRoot;
    }

    /// @notice What a claim says besides its outputs; the EIP-712 message is made of this, the request, and the outputs.
    struct Terms {
        uint256 request;
        uint32 attempt;
        /// The provider.
        address worker;
        bytes32 traceRoot;
        address poster;
        uint64 validUntil;
    }

    struct Provider {
        /// Staked in all, reserved part included.
        uint256 staked;
        /// Backing open claims.
        uint256 reserved;
        address node;
    }

    /// @notice All that the market owes. The sum never exceeds what it holds.
    struct Ledger {
        uint256 stakes;
        uint256 escrow;
        uint256 bonds;
        /// Kept for the challengers of disputes that a strike made moot.
        uint256 setAside;
        uint256 credits;
        /// Never paid out.
        uint256 burned;
    }

    event Staked(address indexed provider, uint256 amount, uint256 staked);
    event Unstaked(address indexed provider, uint256 amount, uint256 staked);
    event NodeSet(address indexed provider, address indexed node);
    /// @param inputData the inputs themselves, in graph-input order.
    event Requested(
        uint256 indexed request,
        bytes32 indexed model,
        address indexed requester,
        bytes32 inputs,
        bytes inputData,
        Options options,
        uint256 fee,
        uint256 prepaid,
        uint64 deadline,
        uint64 limit
    );
    /// @param outputData the outputs themselves, in graph-output order.
    event Claimed(
        bytes32 indexed claim,
        uint256 indexed request,
        address indexed worker,
        address node,
        uint32 attempt,
        address poster,
        bytes32 outputs,
        bytes32 traceRoot,
        bytes outputData,
        uint64 windowEnd
    );
    event Finalized(uint256 indexed request, bytes32 indexed claim);
    /// @notice The requester's money is credit again. `status` is `Refunded` or `Void`.
    event Closed(uint256 indexed request, RequestStatus status, uint256 returned);
    /// @notice A claim was disproved or its worker fell silent; the request takes claims again, as `attempt`.
    event Struck(
        bytes32 indexed claim,
        uint256 indexed request,
        address indexed worker,
        address challenger,
        uint32 attempt,
        uint64 deadline,
        uint256 reward,
        uint256 setAside,
        uint256 burned
    );
    /// @notice A descriptor of the claim's model does not decode: the worker's bond is free again, the request is `Void`.
    event Voided(bytes32 indexed claim, uint256 indexed request);
    event Delivered(uint256 indexed request, address indexed requester, bool success, uint256 gasUsed, uint256 paid);
    event Credited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    /// @notice The named parameter contradicts another one.
    error BadParameters(bytes32 which);
    error OnlyDisputes(address caller);
    error UnknownRequest(uint256 request);
    error UnknownClaim(bytes32 claim);
    error WrongRequestStatus(RequestStatus expected, RequestStatus actual);
    error WrongClaimStatus(ClaimStatus expected, ClaimStatus actual);
    error WrongAttempt(uint32 expected, uint32 actual);
    /// @notice The payment is less than fee and prepaid delivery.
    error Underpaid(uint256 expected, uint256 actual);
    /// @notice Mode `None` has no callback gas and no price; mode `Final` has some gas.
    error BadOptions();
    /// @notice More callback gas than a delivery can be sure to have.
    error CallbackTooLarge(uint256 limit, uint256 actual);
    error WrongLength(uint256 expected, uint256 actual);
    /// @notice A bool is a byte 0 or 1.
    error BadBool(uint256 offset);
    /// @notice A dispute over the model could need more turns than a worker can be given.
    error ModelTooDeep(uint256 limit, uint256 actual);
    /// @notice The time for this has passed.
    error TooLate(uint64 deadline, uint64 timestamp);
    /// @notice The time for this has not come: it is possible after `deadline`.
    error TooEarly(uint64 deadline, uint64 timestamp);
    error BadSignature(address expected, address recovered);
    /// @notice The worker's claim on this request was struck before.
    error StruckBefore(uint256 request, address worker);
    error InsufficientStake(uint256 expected, uint256 actual);
    error BadNode();
    error OpenDisputes(uint32 count);
    error NothingToDeliver(Delivery delivery);
    error WrongOutputs(bytes32 expected, bytes32 actual);
    /// @notice Too little gas to give the callback what was prepaid.
    error InsufficientGas(uint256 expected, uint256 actual);
    error NoCredit(address account);
    error TransferFailed(address to);

    // ---- Providers

    /// @notice Adds to the caller's stake.
    function stake() external payable;

    /// @notice Books `amount` of the caller's stake as its credit. What backs an open claim stays.
    function unstake(uint256 amount) external;

    /// @notice Delegates to the key that signs the caller's claims and layer answers, for claims made from now on.
    function setNode(address node) external;

    // ---- Requests

    /// @notice Asks for one inference. Pays fee and prepaid delivery: at least what `quote` says; what is above is fee.
    /// The caller is who is called back and who is refunded.
    /// @param inputs all inputs in graph-input order, little-endian, row-major, no header; 16 KiB at most.
    /// @return request the request's number.
    function request(bytes32 model, bytes calldata inputs, Options calldata options)
        external
        payable
        returns (uint256 request);

    /// @notice Makes a claim for `terms.worker` with its node key's EIP-712 signature. Anybody may send it.
    /// @param outputs all outputs in graph-output order, little-endian, row-major, no header.
    /// @param signature 65 bytes r ‖ s ‖ v, s in the lower half.
    /// @return claim the claim's id: the EIP-712 digest.
    function claim(Terms calldata terms, bytes calldata outputs, bytes calldata signature)
        external
        returns (bytes32 claim);

    /// @notice Closes a claim whose window has passed with no dispute open: the fee is split, the bond is free.
    function finalize(uint256 request) external;

    /// @notice Calls the requester back with a final result. The caller is paid for its gas from what was prepaid, the
    /// rest returns to the requester, both as credit. Happens once, whatever the callback does.
    /// @param outputs as in the claim.
    function deliver(uint256 request, bytes calldata outputs) external;

    /// @notice Returns the requester's money after the deadline, as credit.
    function refund(uint256 request) external;

    /// @notice Sends the caller's credit to `to`.
    function withdraw(address payable to) external returns (uint256 amount);

    // ---- For the disputes contract alone

    /// @notice Takes a dispute's bond; what is paid above it is the challenger's credit. Reverts unless the claim is open
    /// and its window has not passed.
    function disputeOpened(bytes32 claim, address challenger, uint256 bond) external payable;

    /// @notice A dispute was lost: its bond goes to the worker, to the challenger (conceded) and is burned in part.
    /// @param workerCost metered cost of the worker's moves.
    function disputeLost(bytes32 claim, address challenger, uint256 bond, uint256 workerCost, bool conceded) external;

    /// @notice The claim was disproved by `challenger`'s dispute.
    /// @param metered metered cost of the challengers of all disputes on the claim that are not lost.
    /// @param own the part of it of this dispute.
    function strike(bytes32 claim, address challenger, uint256 bond, uint256 metered, uint256 own) external;

    /// @notice The claim's model has an undecodable descriptor.
    function voidClaim(bytes32 claim, address challenger, uint256 bond) external;

    /// @notice Pays the challenger of a dispute whose claim ended by another one.
    /// @param cost its metered cost.
    function settleMoot(bytes32 claim, address challenger, uint256 bond, uint256 cost) external;

    // ---- Views

    function registry() external view returns (IModelRegistry);
    function disputes() external view returns (address);
    function parameters() external view returns (Parameters memory);
    /// @notice The longest a dispute can last, in seconds.
    function longestDispute() external view returns (uint64);
    /// @notice What a request costs at least.
    function quote(bytes32 model, uint32 callbackGas, uint128 callbackGasPrice)
        external
        view
        returns (uint256 fee, uint256 prepaid);
    /// @notice The bond of a dispute opened at this base fee. It is an argument because a node's `eth_call` may show 0.
    function bondFor(uint256 baseFee) external view returns (uint256);
    /// @notice Number of the last request; the first is 1.
    function requestCount() external view returns (uint256);
    function requestOf(uint256 request) external view returns (Request memory);
    function claimOf(bytes32 claim) external view returns (Claim memory);
    function providerOf(address provider) external view returns (Provider memory);
    function creditOf(address account) external view returns (uint256);
    function ledger() external view returns (Ledger memory);
    function isStruck(uint256 request, address worker) external view returns (bool);
    /// @notice Whether `outputs` are the final result of the request. Reverts where their length is not the model's.
    function isResult(uint256 request, bytes calldata outputs) external view returns (bool);
    /// @notice The id that a claim with these terms and outputs has: what the worker's node key signs.
    function claimDigest(Terms calldata terms, bytes calldata outputs) external view returns (bytes32);
    function domainSeparator() external view returns (bytes32);
}
