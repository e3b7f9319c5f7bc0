// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice One condition of an index map: `0 <= constant_ + sum(coefficients[i] * index[axes[i]]) < extent`.
struct Bound {
    uint256 extent;
    int256 constant_;
    /// Output axes are counted first, then reduction axes.
    uint256[] axes;
    int256[] coefficients;
}

/// @notice One operand of an operator: where it is committed and how output element and term index it.
struct Operand {
    /// 0 input, 1 weight, 2 trace, 3 output, 4 inner.
    uint256 kind;
    uint256 number;
    uint256 dtype;
    /// `u8 dtype ‖ u8 rank ‖ u32 dim × rank`, as the tensor's commitment takes it.
    bytes head;
    uint256 elements;
    int256 base;
    /// One per output axis, then one per reduction axis.
    int256[] strides;
    Bound[] bounds;
}

/// @notice One operator of a plan. `decoded` is false when the bytes are no descriptor; nothing else has a meaning then.
struct Operator {
    bool decoded;
    uint256 code;
    uint32 layer;
    uint32 layerInnerCount;
    /// Where the output is committed.
    uint256 kind;
    uint256 number;
    uint256 dtype;
    bytes head;
    uint256[] outputAxes;
    uint256[] reductionAxes;
    uint256[] params;
    Operand[] operands;
    /// Product of the output axes.
    uint256 elements;
    /// Product of the reduction axes, 1 when there are none.
    uint256 terms;
    /// Whether the output or an operand is an inner value of the layer.
    bool touchesInner;
}
