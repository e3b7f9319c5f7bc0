#!/usr/bin/env python3
"""Writes models/long: models with a reduction that is too long for one verdict, so that it is judged by parts. An input fits a request, so a row of
2^20 terms is a small one repeated."""

from pathlib import Path

import numpy as np
from hostile_cases.kit import ints, model, node, value
from onnx.numpy_helper import from_array

FOLDER = Path(__file__).parent / "long"
ROWS, COLUMNS = 1024, 1024
# What the shorter rows are made of.
ROW = 256


def total():
    """The sum of the input's 1,024 numbers repeated 1,024 times."""
    nodes = [node("Expand", "x shape", "repeated"), node("ReduceSum", "repeated", "total", keepdims=0)]
    proto = model(nodes, [ints("shape", ROWS, COLUMNS)], [value("x", [1, COLUMNS])], [value("total", [])])
    proto.producer_name = "touchstone"
    return proto


def rows(copies: int, nodes, outputs):
    """A row of the input's numbers repeated, times 1, 2 … so that no copy is like another."""
    width = copies * ROW
    repeated = [
        node("Mul", "x factors", "scaled"),
        node("Reshape", "scaled shape", "row"),
    ]
    factors = from_array(np.arange(1, copies + 1, dtype=np.float32)[:, None] / np.float32(copies), "factors")
    ends = [value("y", outputs)]
    weights = [factors, ints("shape", 1, width), from_array(np.ones(width, np.float32), "ones")]
    used = {name for each in [*repeated, *nodes] for name in each.input}
    proto = model([*repeated, *nodes], [w for w in weights if w.name in used], [value("x", [1, ROW])], ends)
    proto.producer_name = "touchstone"
    return proto


MODELS = {
    "sum": total,
    # Two leaves of terms, four, and one that is not whole.
    "softmax": lambda: rows(8, [node("Softmax", "row", "y", axis=1)], [1, 8 * ROW]),
    "norm": lambda: rows(16, [node("LayerNormalization", "row ones", "y", axis=1)], [1, 16 * ROW]),
    "max": lambda: rows(3, [node("ReduceMax", "row", "y", axes=[1], keepdims=0)], [1]),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, build in MODELS.items():
        (FOLDER / f"{name}.onnx").write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
