"""How the hostile files are built: a register of cases and short words for operators, values and weights."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

FLOAT, DOUBLE, INT64, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)

CASES: dict[str, tuple[str, str, Callable[[], ModelProto | bytes]]] = {}


def case(verdict: str, what: str):
    def register(build: Callable[[], ModelProto | bytes]):
        CASES[build.__name__] = (verdict, what, build)
        return build

    return register


def node(kind: str, inputs: str, output: str, **attributes) -> NodeProto:
    """An operator; `inputs` and `output` are names apart by spaces."""
    return helper.make_node(kind, inputs.split(), output.split(), name=f"n_{output}", **attributes)


def value(name: str, shape: list | None, dtype: int = FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name: str, shape: tuple = (4, 3), dtype=np.float32) -> TensorProto:
    return from_array(np.arange(np.prod(shape), dtype=dtype).reshape(shape) / 8 + 1, name)


def ints(name: str, *numbers: int) -> TensorProto:
    return from_array(np.array(numbers, np.int64), name)


def model(nodes, weights=(), inputs=None, outputs=None, opset: int | None = 17) -> ModelProto:
    """A model from x, float32 [2, 4], to y, float32 [2, 3], unless told otherwise."""
    graph = helper.make_graph(
        list(nodes), "g", inputs or [value("x", [2, 4])], outputs or [value("y", [2, 3])], list(weights)
    )
    opsets = [] if opset is None else [helper.make_opsetid("", opset)]
    proto = helper.make_model(graph, producer_name="hostile", ir_version=8)
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    return proto


def good() -> ModelProto:
    return model([node("MatMul", "x w", "y")], [weight("w")])


def changed(change: Callable[[ModelProto], object]) -> ModelProto:
    proto = good()
    change(proto)
    return proto


def one(kind: str, weights=(), inputs="x", x: list | None = None, y: list | None = None, **attributes) -> ModelProto:
    """One operator from x to y. Unless told otherwise, y has the rank of x and sizes without a number."""
    x = x or [2, 4]
    return model(
        [node(kind, inputs, "y", **attributes)],
        weights,
        [value("x", x)],
        [value("y", y or [f"d{axis}" for axis in range(len(x))])],
    )
