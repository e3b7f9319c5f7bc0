// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Move, Phase, Position} from "../types/Position.sol";
import {IJudge} from "./IJudge.sol";
import {IMarket} from "./IMarket.sol";

/// @title Disputes over claims
/// @notice A challenger, fixed for its dispute and bonded, points; the worker opens what is pointed at; the judge decides one
/// element of one operator (PROTOCOL.md section 8).
///
///                     open
///                      │
///        ┌────────► Choosing ──ask──► Revealing ──reveal──► Picking ──descend──► Revealing | Choosing (leaf)
///        │           └── from Choosing and Picking alike:
///        │               skip(leaf, proof) ──► Choosing at the leaf
///        │               layer(ℓ) ──► Layering ──answerLayer──► Choosing at the layer tree's root
///        │               point(operator, element) ──► Defending ──defend──► Lost · Struck · Voided
///        │                └─► Totalling (a long operator) ──total──► Parting · Struck · Voided
///        │               Parting ──part──► Splitting ──split──► Parting
///        │                            └──► Proving (1,024 terms) ──prove──► Lost · Struck · Voided
///        └ in any live phase: convict(witness) ──► Struck · Voided
///
/// Each side has one clock. It runs in the side's own turn; after the other side's move it shows at least the extension. Moves of
/// one side in a row share one deadline. A side whose clock has run out has lost: anybody says so with `timeout`.
///
/// Every move after `open` names the digest of the state it answers. Against another state it reverts, with one exception:
/// a call that equals, byte for byte, the one that led to the present state succeeds and changes nothing.
///
/// Whoever is sure of a wrong element calls `openAndConvict` and is done in one transaction, layers without inner values or
/// with a standing root; else `open`, `layer`, (answer), `convict`.
///
/// Assumptions for safety: the judge is total and runs within the gas of one transaction.
/// Assumptions for liveness: each side's transactions are included within the extension.
interface IDisputes {
    /// @notice A dispute. `position.phase` is `Moot` where it ended with its claim.
    struct Dispute {
        bytes32 claim;
        address challenger;
        Position position;
        /// Leaves of the tree that `position` is in, or of a long operator's terms.
        uint32 count;
        /// Turns that the worker has been given.
        uint16 turns;
        /// The last moment of the turn that runs.
        uint64 deadline;
        /// What each clock shows in the other side's turn, in seconds.
        uint32 challengerLeft;
        uint32 workerLeft;
        uint256 bond;
        /// Metered cost of each side's moves, in wei.
        uint256 challengerCost;
        uint256 workerCost;
    }

    /// @notice `digest` is the new state; the next move names it. In a final phase `deadline` has no meaning.
    event Moved(bytes32 indexed dispute, Move indexed move, bytes32 digest, Position position, uint64 deadline);
    /// @notice Comes before the `Moved` of the same move, as all events below.
    event Opened(
        bytes32 indexed dispute,
        bytes32 indexed claim,
        address indexed challenger,
        uint256 salt,
        uint256 bond,
        uint64 deadline
    );
    /// @param node the node that they hash to.
    event Revealed(bytes32 indexed dispute, bytes32 indexed node, bytes32[] children);
    /// @notice A layer's root stands, for every dispute on the claim.
    event LayerAnswered(bytes32 indexed claim, uint32 indexed layer, bytes32 root, bytes32 indexed dispute);
    event Pointed(bytes32 indexed dispute, uint32 operator_, uint64 element, bytes descriptor);
    /// @notice The sums of the parts of a long operator's node, one after the other; the node is now the hash of both.
    event Parted(bytes32 indexed dispute, uint256[3] header, uint256[] parts);
    /// @notice A judge's verdict that ended the dispute, or that the totals of a long operator are inside.
    event Judged(bytes32 indexed dispute, IJudge.Outcome outcome);
    /// @notice The end of a dispute by one of its own moves. `phase` is `Struck`, `Lost`, `Conceded` or `Voided`.
    event Ended(
        bytes32 indexed dispute, bytes32 indexed claim, Phase phase, uint256 challengerCost, uint256 workerCost
    );
    /// @notice The money of a moot dispute has been booked as its challenger's credit.
    event Settled(bytes32 indexed dispute, bytes32 indexed claim);

    error BadParameters(bytes32 which);
    error UnknownDispute(bytes32 dispute);
    /// @notice This challenger opened a dispute with this salt before.
    error DisputeExists(bytes32 dispute);
    error OnlyChallenger(address expected, address actual);
    /// @notice The move answers a state that is not the present one.
    error StaleState(bytes32 expected, bytes32 actual);
    /// @notice The move is not one of this phase's.
    error WrongPhase(Phase actual);
    /// @notice The claim is no longer open; the dispute is moot.
    error ClaimEnded(bytes32 claim);
    /// @notice The side to move is out of time.
    error Expired(uint64 deadline, uint64 timestamp);
    /// @notice The side to move still has time.
    error NotExpired(uint64 deadline, uint64 timestamp);
    /// @notice The bond sent is too small.
    error Underbonded(uint256 expected, uint256 actual);
    /// @notice The worker has been given all turns that this question may not use up.
    error OutOfTurns(uint16 limit);
    /// @notice A leaf has nothing below it.
    error AtLeaf();
    error WrongCount(uint256 expected, uint256 actual);
    error WrongNode(bytes32 expected, bytes32 actual);
    /// @notice Outside the tree's values, the plan's operators, or the element count.
    error OutOfRange(uint256 limit, uint256 actual);
    error BadProof();
    /// @notice The parts do not add up to the sums of their node.
    error WrongSums();
    /// @notice The descriptor is the plan's, but does not decode; `point` at it makes the claim void.
    error Undecodable();
    /// @notice The layer has no inner values, so it has no root.
    error NoInnerValues(uint32 layer);
    /// @notice The operator reads or writes inner values and its layer's root has not been asked for.
    error LayerMissing(uint32 layer);
    /// @notice The layer's root stands already; another one cannot.
    error LayerStands(uint32 layer, bytes32 root);
    error BadSignature(address expected, address recovered);
    /// @notice The witness is evidence for nothing: it does not open (reason as in PROTOCOL.md section 6).
    error WitnessRefused(uint8 reason);
    /// @notice The element is inside its envelope.
    error NotOutside();
    /// @notice The witness opens another element than the one pointed at.
    error WrongElement(uint32 operator_, uint64 element);
    /// @notice The dispute's claim has not been ended by another dispute.
    error NotMoot(Phase actual);

    // ---- The challenger

    /// @notice Opens a dispute in the caller's name with a bond of at least `IMarket.bondFor(block.basefee)`; what is above
    /// is credited back. Only while the claim is open and its window has not passed.
    /// @param salt tells apart disputes of one challenger on one claim.
    /// @return dispute the id: `H(abi.encode(TAG("dispute"), chain id, this contract, claim, challenger, salt))`.
    function open(bytes32 claim, uint256 salt) external payable returns (bytes32 dispute);

    /// @notice `open` and `convict` in one transaction.
    function openAndConvict(bytes32 claim, uint256 salt, bytes calldata witness)
        external
        payable
        returns (bytes32 dispute);

    /// @notice Asks the worker to reveal the descendants of the present node.
    function ask(bytes32 dispute, bytes32 state) external;

    /// @notice Goes to one of the revealed descendants; asks for its own descendants unless it is a leaf.
    /// @param child its place among them.
    /// @param children as revealed.
    function descend(bytes32 dispute, bytes32 state, uint256 child, bytes32[] calldata children) external;

    /// @notice Goes to a leaf below the present node.
    /// @param index the leaf's number in the whole tree.
    /// @param proof its siblings up to the present node.
    function skip(bytes32 dispute, bytes32 state, uint256 index, bytes32 leaf, bytes32[] calldata proof) external;

    /// @notice Asks for the root of the layer of `operator_`; goes to it at once where it stands.
    function layer(
        bytes32 dispute,
        bytes32 state,
        uint32 operator_,
        bytes calldata descriptor,
        bytes32[] calldata proof
    ) external;

    /// @notice Asks the worker to prove one element.
    function point(
        bytes32 dispute,
        bytes32 state,
        uint32 operator_,
        uint64 element,
        bytes calldata descriptor,
        bytes32[] calldata proof
    ) external;

    /// @notice Names the part whose sums are not what its terms add up to; asks for the sums of its own parts, or for its terms.
    /// @param child its place among the parts.
    /// @param header as in `Parted`, and `parts` too.
    function part(bytes32 dispute, bytes32 state, uint256 child, uint256[3] calldata header, uint256[] calldata parts)
        external;

    /// @notice Proves an element wrong. Possible in every live phase, in time.
    function convict(bytes32 dispute, bytes32 state, bytes calldata witness) external;

    /// @notice Gives up. Possible in every live phase; costs a quarter of the bond and the worker's metered cost.
    function concede(bytes32 dispute, bytes32 state) external;

    // ---- The worker; sent by anybody

    /// @param children the `2^min(3, depth)` descendants of the present node, left to right.
    function reveal(bytes32 dispute, bytes32 state, bytes32[] calldata children) external;

    /// @notice Gives the layer's root. Once it stands, other disputes that wait for it go on by the same root, at any time
    /// and with no signature.
    /// @param signature 65 bytes r ‖ s ‖ v by the claim's node key over `Layer(claim, layer, root)`.
    function answerLayer(bytes32 dispute, bytes32 state, bytes32 root, bytes calldata signature) external;

    /// @notice Opens the element pointed at.
    function defend(bytes32 dispute, bytes32 state, bytes calldata witness) external;

    /// @notice Gives the sums of a long operator's terms as those of its parts: up to eight nodes, left to right, of as many words as
    /// the operator's code has.
    /// @param witness opens the element without its terms.
    /// @param free what the worker chooses, see `IPartJudge`.
    /// @param signature 65 bytes by the claim's node key over `Parts(claim, operator, element, depth, index, H(header ‖ parts))`,
    /// depth and index being those of the node whose parts are given.
    function total(
        bytes32 dispute,
        bytes32 state,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata parts,
        bytes calldata signature
    ) external;

    /// @notice Gives the sums of the parts of the node that was named. They add up to `sums`, which hash to it with the header.
    /// @param signature as of `total`.
    function split(
        bytes32 dispute,
        bytes32 state,
        uint256[3] calldata header,
        uint256[] calldata sums,
        uint256[] calldata parts,
        bytes calldata signature
    ) external;

    /// @notice Opens the terms of the leaf that was named. The evidence decides, whoever sends it.
    function prove(
        bytes32 dispute,
        bytes32 state,
        uint256[3] calldata header,
        uint256[] calldata sums,
        bytes calldata witness
    ) external;

    // ---- Anybody

    /// @notice Ends the dispute against the side whose clock has run out.
    function timeout(bytes32 dispute, bytes32 state) external;

    /// @notice Books bond and metered cost of a moot dispute as its challenger's credit.
    function settle(bytes32 dispute) external;

    // ---- Views

    function market() external view returns (IMarket);
    function judge() external view returns (IJudge);
    function disputeId(bytes32 claim, address challenger, uint256 salt) external view returns (bytes32);
    function disputeOf(bytes32 dispute) external view returns (Dispute memory);
    /// @notice The digest that the next move names.
    function stateDigest(bytes32 dispute) external view returns (bytes32);
    function layerRootOf(bytes32 claim, uint32 layer) external view returns (bool stands, bytes32 root);
    /// @notice What the worker's node key signs for `answerLayer`.
    function layerDigest(bytes32 claim, uint32 layer, bytes32 root) external view returns (bytes32);
    /// @notice What the worker's node key signs for `total` and `split`.
    function partsDigest(bytes32 claim, uint32 operator_, uint64 element, uint8 depth, uint32 index, bytes32 node)
        external
        view
        returns (bytes32);
}
