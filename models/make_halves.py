#!/usr/bin/env python3
"""Writes models/halves: a model whose input, output, weights and values between are float16 and bfloat16; what multiplies and sums is float32."""

from pathlib import Path

import ml_dtypes
import numpy as np
from hostile_cases.kit import model, node, value
from onnx import TensorProto
from onnx.numpy_helper import from_array

FOLDER = Path(__file__).parent / "halves"
WIDTH, OUTPUTS = 64, 10
F32, F16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def fractions(rows: int, columns: int, dtype) -> np.ndarray:
    """Weights that need no generator: 29 fractions from -1/4 to 1/4, rounded."""
    i, j = np.indices((rows, columns))
    return (((37 * i + 11 * j) % 29 - 14) / np.float32(56)).astype(dtype)


def mixed():
    """A residual block and a classifier as mixed precision has them: sums in float32, everything between rounded."""
    weights = [
        from_array(fractions(WIDTH, WIDTH, np.float16), "w"),
        from_array(fractions(WIDTH, OUTPUTS, ml_dtypes.bfloat16), "v"),
        from_array(np.float16(0.3), "factor"),
        from_array(np.float16(3), "three"),
        from_array(np.float16(0), "zero"),
    ]
    nodes = [
        node("Cast", "w", "w32", to=F32),
        node("Cast", "v", "v32", to=F32),
        node("Cast", "x", "x32", to=F32),
        node("MatMul", "x32 w32", "product"),
        node("Cast", "product", "rounded", to=F16),
        node("Add", "rounded x", "residual"),
        node("Mul", "residual factor", "scaled"),
        node("Div", "scaled three", "below"),
        node("Greater", "scaled zero", "positive"),
        node("Where", "positive scaled below", "hidden"),
        node("Cast", "hidden", "short", to=BF16),
        node("Cast", "short", "hidden32", to=F32),
        node("MatMul", "hidden32 v32", "scores"),
        node("Cast", "scores", "y", to=F16),
    ]
    proto = model(nodes, weights, [value("x", [1, WIDTH], F16)], [value("y", [1, OUTPUTS], F16)])
    proto.producer_name = "touchstone"
    return proto


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "mixed.onnx").write_bytes(mixed().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
