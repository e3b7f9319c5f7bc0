"""A model that is one operator of each kind beside the other, and inputs made to err as far as rounding can.

What a model computes inside is seldom extreme: here the operands are inputs, so that equal, growing and shrinking terms,
cancellation, subnormals, near-ties and masked rows reach each operator as they are."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
KINDS = ("equal", "growing", "shrinking", "cancellation", "subnormal", "near ties", "masked rows", "spread")
LONG, ROWS = 640, 6
# What one kind has of each input; kinds stand one after the other.
PARTS = {
    "a": [ROWS, LONG],
    "b": [LONG, ROWS],
    "rows": [ROWS, LONG],
    "scores": [ROWS, 96],
    "tokens": [ROWS, 256],
    "image": [1, 4, 8, 8],
    "numbers": [1200],
    "others": [1200],
}
SHAPES = {
    name: [shape[0], shape[1] * len(KINDS)] if name == "b" else [shape[0] * len(KINDS), *shape[1:]]
    for name, shape in PARTS.items()
}


def build(path: Path) -> None:
    """Writes the model."""
    rng = np.random.default_rng(5)
    weights = {
        "scale": rng.uniform(0.5, 2, 256),
        "bias": rng.normal(size=256) * 0.1,
        "kernel": rng.normal(size=(6, 4, 3, 3)),
        "kernel_bias": rng.normal(size=6),
        "bn_scale": rng.normal(size=4),
        "bn_bias": rng.normal(size=4),
        "bn_mean": rng.normal(size=4) * 3,
        "bn_var": np.array([1e-4, 0.5, 2.0, 30.0]),
        "linear": rng.normal(size=(256, 32)) * 0.1,
        "linear_bias": rng.normal(size=32),
    }
    initializers = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "last"))
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        ("MatMul", ["a", "b"], "product", {}),
        ("ReduceSum", ["rows", "last"], "sum", {"keepdims": 0}),
        ("ReduceMean", ["rows", "last"], "mean", {"keepdims": 0}),
        ("ArgMax", ["rows"], "first", {"axis": 1, "keepdims": 0}),
        ("Softmax", ["scores"], "softmax", {"axis": 1}),
        ("LayerNormalization", ["tokens", "scale", "bias"], "norm", {"axis": -1, "epsilon": 1e-5}),
        ("Gemm", ["tokens", "linear", "linear_bias"], "linear_out", {}),
        ("Conv", ["image", "kernel", "kernel_bias"], "convolved", {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
        ("BatchNormalization", ["image", "bn_scale", "bn_bias", "bn_mean", "bn_var"], "normal", {"epsilon": 1e-5}),
        ("MaxPool", ["image"], "greatest", pool),
        ("AveragePool", ["image"], "average", pool | {"count_include_pad": 0}),
        ("Sqrt", ["magnitudes"], "root", {}),
        ("Div", ["numbers", "others"], "quotient", {}),
        ("Mul", ["numbers", "others"], "times", {}),
        ("Add", ["numbers", "others"], "plus", {}),
        ("Sub", ["numbers", "others"], "minus", {}),
    ]
    nodes += [(op, ["numbers"], op.lower(), {}) for op in ("Erf", "Tanh", "Sigmoid", "Exp", "Relu")]
    nodes += [("Gelu", ["numbers"], "gelu", {}), ("Gelu", ["numbers"], "gelu_tanh", {"approximate": "tanh"})]
    nodes.insert(0, ("Abs", ["numbers"], "magnitudes", {}))
    made = [helper.make_node(op, inputs, [output], **a) for op, inputs, output, a in nodes]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in SHAPES.items()]
    outputs = [helper.make_empty_tensor_value_info(output) for _, _, output, _ in nodes]
    graph = helper.make_graph(made, "stress", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def inputs() -> dict[str, np.ndarray]:
    """The model's inputs, all kinds one after the other; products meet every kind with every other."""
    generators = [np.random.default_rng(number) for number in range(len(KINDS))]
    return {
        name: np.concatenate(
            [fill(kind, name, shape, rng).astype(np.float32) for kind, rng in zip(KINDS, generators)], axis=int(name == "b")
        )
        for name, shape in PARTS.items()
    }


def fill(kind: str, name: str, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    """One input. The long axis is the last one, but for `b`."""
    if name in ("numbers", "others"):
        return numbers(kind, name, shape[0], rng)
    if name == "b":
        return np.ascontiguousarray(fill(kind, "a", shape[::-1], rng).T)
    count = shape[-1]
    position = np.arange(count)
    row = np.arange(1, int(np.prod(shape[:-1])) + 1)[:, None]
    filled = {
        # All of one value that fp32 does not hold: every addition errs to the same side for a long time.
        "equal": lambda: np.full((len(row), count), 0.1) * (1 + row / 7),
        "growing": lambda: (1.03 ** (row / 2)) ** position * 1.1,
        "shrinking": lambda: (1.03 ** (row / 2)) ** (count - 1 - position) * 1.1,
        # Large numbers that leave little: pairs that differ in the last places, in a random order.
        "cancellation": lambda: rng.permuted(np.where(position % 2 == 0, 1.0, -1.0) * 3.7 * row
                                             + rng.normal(size=(len(row), count)) * 1e-5, axis=1),
        "subnormal": lambda: rng.normal(size=(len(row), count)) * 10.0 ** -rng.uniform(18, 44, (len(row), count)),
        "near ties": lambda: np.nextafter(np.float32(2.5) * np.ones((len(row), count), np.float32),
                                          np.float32(9) * rng.integers(-1, 2, (len(row), count))).astype(np.float64),
        "masked rows": lambda: masked(rng, len(row), count, name),
        "spread": lambda: rng.normal(size=(len(row), count)) * 10.0 ** rng.uniform(-6, 6, (len(row), count)),
    }[kind]()
    if name == "scores" and kind in ("growing", "shrinking", "spread"):
        filled = np.clip(filled, -200, 200)
    return filled.reshape(shape)


def masked(rng: np.random.Generator, rows: int, count: int, name: str) -> np.ndarray:
    """Random rows of which more and more is masked, the last but one entry of the last row included."""
    filled = rng.normal(size=(rows, count)) * 4
    if name == "scores":
        for row, mask in zip(range(rows), (-1e9, float("-inf"), float(np.finfo(np.float32).min), -1e4, -104.5, -1e9)):
            filled[row, count - 1 - row * (count - 1) // max(rows - 1, 1) :] = 0
            filled[row, max(1, count - row * count // rows) :] += mask
    else:
        filled[:, count // 3 :] = 0.0
    return filled


def numbers(kind: str, name: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Arguments of functions: what they are evaluated at, over all that they tell apart."""
    if kind == "subnormal":
        return rng.normal(size=count) * 10.0 ** -rng.uniform(30, 44, count)
    if kind == "near ties":
        return np.round(rng.normal(size=count) * 8) / 2 + rng.integers(-2, 3, count) * 2.0**-22
    if kind == "growing":
        return np.linspace(-30, 30, count) if name == "numbers" else np.linspace(0.3, 90, count)
    if kind == "shrinking":
        return -(10.0 ** np.linspace(-8, 2, count))
    if kind == "masked rows":
        return np.linspace(-104, -17, count)
    if kind == "equal":
        return np.linspace(-6, -2, count) if name == "numbers" else np.full(count, 0.1)
    return rng.normal(size=count) * (3 if name == "numbers" else 10)
