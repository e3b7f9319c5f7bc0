// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Where a dispute stands. `Choosing` to `Proving` are live; the others are final, except that `Moot` becomes
/// `Settled` when its challenger's money is fetched. `Moot` is never stored: it is what a live dispute is once its claim is
/// struck or void.
enum Phase {
    /// No such dispute.
    None,
    /// Challenger's turn, at a node of a tree.
    Choosing,
    /// Worker's turn, to reveal the node's descendants.
    Revealing,
    /// Challenger's turn, the node's descendants are known.
    Picking,
    /// Worker's turn, to sign a layer's root.
    Layering,
    /// Worker's turn, to open one element.
    Defending,
    /// Worker's turn, to sign the sums of a long operator's terms.
    Totalling,
    /// Challenger's turn, the sums of a node's parts are known.
    Parting,
    /// Worker's turn, to sign the sums of the parts of the part that was named.
    Splitting,
    /// Worker's turn, to open the terms of a leaf.
    Proving,
    /// The claim was struck by this dispute.
    Struck,
    /// The challenger was wrong or late.
    Lost,
    /// The challenger gave up.
    Conceded,
    /// A descriptor of the model does not decode; nobody was wrong.
    Voided,
    /// The claim ended by another dispute; bond and costs wait to be fetched.
    Moot,
    /// They have been.
    Settled
}

/// @notice The tree a dispute walks: the claim's trace values, or one layer's inner values.
enum Tree {
    Trace,
    Layer
}

/// @notice Moves, as events name them.
enum Move {
    Open,
    Ask,
    Reveal,
    Descend,
    Skip,
    Layer,
    AnswerLayer,
    Point,
    Defend,
    Total,
    Part,
    Split,
    Prove,
    Convict,
    Concede,
    Timeout
}

/// @notice What the state digest is made of, besides the dispute's id. Fields that the phase does not use keep their last value.
struct Position {
    /// Moves made so far, `open` included.
    uint32 moves;
    Phase phase;
    Tree tree;
    /// The layer asked for last; of the tree's values when `tree` is `Layer`.
    uint32 layer;
    /// Of a long operator's terms the hash of a header and of sums, or of the parts' sums once these are known.
    bytes32 node;
    /// Levels below the node; 0 at a leaf.
    uint8 depth;
    /// The node's place among the nodes of its level; at a leaf the value's number, or that of 1,024 terms.
    uint32 index;
    /// Set by `point`.
    uint32 operator_;
    /// Set by `point`.
    uint64 element;
}
