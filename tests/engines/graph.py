"""Runs an ONNX model node by node on an engine that computes one operator at a time.

An engine of this folder is an object with a method for each function that rounds (`matmul`, `softmax`, `erf` …). What only moves
or compares numbers is done here with NumPy, in the same way for all. A node's result is an fp32 array, or for an engine that is
`wide` an fp64 array, which is rounded to fp32 where the plan has a value of that name: an operator of a plan may be several nodes,
and `wide` rounds once an operator."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

# Nodes without rounding: bytes are moved, integers computed, numbers compared.
EXACT_UNARY = {"Neg": np.negative, "Abs": np.abs, "Relu": lambda x: np.maximum(x, x.dtype.type(0)), "Not": np.logical_not}
EXACT_BINARY = {"Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
                "GreaterOrEqual": np.greater_equal, "And": np.logical_and, "Or": np.logical_or}
ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
FUNCTIONS = {"Erf": "erf", "Tanh": "tanh", "Sigmoid": "sigmoid", "Exp": "exp"}


@dataclass(frozen=True)
class PlanValue:
    """What a plan says of one of its values: the code of its operator and the layer that it is in."""

    code: str
    boundary: bool


def plan_values(touchstone: Path, model: Path, *arguments: str) -> dict[str, PlanValue]:
    """The values of a model's plan by name, as `touchstone model inspect` prints them."""
    command = [str(touchstone), "model", "inspect", str(model), "--json", *arguments]
    told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {told.stderr.strip()}")
    operators = json.loads(told.stdout)["operators"]
    return {o["name"]: PlanValue(o["code"], not o["place"].startswith("inner")) for o in operators}


class Graph:
    """A model with what its plan is made of."""

    def __init__(self, path: Path, plan: dict[str, PlanValue]) -> None:
        self.path = path
        self.proto = onnx.load(path)
        self.plan = plan
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.graph.initializer}
        self.makers = {name: node for node in self.proto.graph.node for name in node.output}
        self.inputs = [i.name for i in self.proto.graph.input if i.name not in self.weights]
        self.movers: dict[int, ReferenceEvaluator] = {}

    def run(self, engine, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value that the plan has under its ONNX name, for these graph inputs."""
        values = {name: engine.take(array) for name, array in (self.weights | inputs).items()}
        constant = set(self.weights)
        kept = {}
        for number, node in enumerate(self.proto.graph.node):
            operands = [values[name] if name else None for name in node.input]
            gelu_of = self.gelu(node) if engine.wide else None
            if gelu_of is not None:
                results = [engine.gelu(values[gelu_of], self.plan[node.output[0]].code == "GeluTanh")]
            else:
                results = self.node(number, node, operands, engine)
            fixed = all(name in constant for name in node.input if name)
            for name, result in zip(node.output, results):
                if not name:
                    continue
                if fixed:
                    constant.add(name)
                # Constants are folded in fp32.
                if result.dtype == np.float64 and (fixed or name in self.plan):
                    with np.errstate(over="ignore"):
                        result = result.astype(np.float32)
                if name in self.plan and not fixed:
                    kept[name] = np.array(result)
                values[name] = engine.take(result)
        return kept

    def node(self, number: int, node: onnx.NodeProto, x: list, engine) -> list[np.ndarray]:
        """What one node gives."""
        a = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        op = node.op_type
        floats = bool(x) and x[0] is not None and x[0].dtype.kind == "f"
        if op in EXACT_UNARY:
            return [EXACT_UNARY[op](x[0])]
        if op in EXACT_BINARY:
            return [EXACT_BINARY[op](x[0], x[1])]
        if op in ARITHMETIC:
            return [engine.binary(op, x[0], x[1]) if floats else ARITHMETIC[op](x[0], x[1])]
        if op == "Div" and floats:
            return [engine.binary(op, x[0], x[1])]
        if op == "Sqrt":
            return [engine.sqrt(x[0])]
        if op == "Pow" and floats and np.all(x[1] == 2):
            return [engine.binary("Mul", x[0], x[0])]
        if op in ("Min", "Max"):
            return [np.minimum(x[0], x[1]) if op == "Min" else np.maximum(x[0], x[1])]
        if op == "Clip":
            return [clip(x)]
        if op in FUNCTIONS:
            return [getattr(engine, FUNCTIONS[op])(x[0])]
        if op == "Gelu":
            return [engine.gelu(x[0], a.get("approximate", b"none") == b"tanh")]
        if op == "MatMul":
            return [engine.matmul(x[0], x[1])]
        if op == "Gemm":
            return [gemm(engine, x, a)]
        if op == "Conv":
            return [engine.conv(x[0], x[1], x[2] if len(x) > 2 else None, a)]
        if op == "Softmax":
            return [engine.softmax(x[0], a.get("axis", -1))]
        if op == "LayerNormalization":
            bias = x[2] if len(x) > 2 else np.zeros(1, x[0].dtype)
            return [engine.layer_norm(x[0], x[1], bias, a.get("epsilon", 1e-5), a.get("axis", -1))]
        if op == "BatchNormalization":
            return [engine.batch_norm(*x, a.get("epsilon", 1e-5))]
        if op in ("ReduceSum", "ReduceMean") and floats:
            axes = a.get("axes", x[1].tolist() if len(x) > 1 and x[1] is not None else None)
            axes = tuple(range(x[0].ndim)) if axes is None else tuple(int(i) % x[0].ndim for i in axes)
            return [engine.reduce(x[0], axes, bool(a.get("keepdims", 1)), op == "ReduceMean")]
        if op == "ReduceL2":
            axes = a.get("axes", x[1].tolist() if len(x) > 1 and x[1] is not None else None)
            axes = tuple(int(i) % x[0].ndim for i in axes)
            return [engine.sqrt(engine.reduce(engine.binary("Mul", x[0], x[0]), axes, bool(a.get("keepdims", 1)), False))]
        if op == "GlobalAveragePool":
            return [engine.reduce(x[0], tuple(range(2, x[0].ndim)), True, True)]
        if op == "AveragePool":
            return [engine.average_pool(x[0], a)]
        if op == "MaxPool":
            return [engine.max_pool(x[0], a)]
        if op == "ArgMax":
            return [argmax(x[0], a)]
        if op == "Cast" and floats and a["to"] == onnx.TensorProto.FLOAT:
            return [x[0]]
        return self.moved(number, node, x)

    def moved(self, number: int, node: onnx.NodeProto, x: list) -> list[np.ndarray]:
        """Nodes that move bytes or compute shapes, by ONNX's reference code."""
        if number not in self.movers:
            graph = onnx.helper.make_graph(
                [node], "node", [onnx.ValueInfoProto(name=name) for name in node.input if name],
                [onnx.ValueInfoProto(name=name) for name in node.output],
            )
            model = onnx.helper.make_model(graph, opset_imports=self.proto.opset_import, ir_version=self.proto.ir_version)
            self.movers[number] = ReferenceEvaluator(model)
        given = {name: value for name, value in zip(node.input, x) if name}
        return [np.asarray(result) for result in self.movers[number].run(None, given)]

    def gelu(self, node: onnx.NodeProto) -> str | None:
        """The argument of the GELU whose last node this is, where the file has it in parts and the plan in one operator."""
        made = self.plan.get(node.output[0])
        if made is None or made.code not in ("Gelu", "GeluTanh") or node.op_type == "Gelu":
            return None
        curve = {"Gelu": "Erf", "GeluTanh": "Tanh"}[made.code]
        factors, open_names = [], list(node.input)
        while open_names:
            maker = self.makers.get(open_names.pop())
            if maker is None:
                continue
            if maker.op_type == curve:
                factors.append(maker)
            elif maker.op_type in ("Mul", "Add", "Div"):
                open_names.extend(maker.input)
        if made.code == "GeluTanh" or len(factors) != 1:
            raise NotImplementedError(f"{node.name}: a GELU in parts that this runner does not know")
        scaled = self.makers[factors[0].input[0]]
        return next(name for name in scaled.input if name not in self.weights and self.is_computed(name))

    def is_computed(self, name: str) -> bool:
        """Whether a value depends on more than constants."""
        maker = self.makers.get(name)
        return name in self.inputs or (maker is not None and any(self.is_computed(n) for n in maker.input if n))


def clip(x: list) -> np.ndarray:
    """Clip is Max, then Min."""
    y = x[0]
    if len(x) > 1 and x[1] is not None:
        y = np.maximum(y, x[1].astype(y.dtype))
    if len(x) > 2 and x[2] is not None:
        y = np.minimum(y, x[2].astype(y.dtype))
    return y


def gemm(engine, x: list, a: dict) -> np.ndarray:
    """Gemm as exporters write it: alpha and beta are 1."""
    if a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise NotImplementedError("Gemm with alpha or beta")
    left = x[0].T if a.get("transA", 0) else x[0]
    right = x[1].T if a.get("transB", 0) else x[1]
    return engine.matmul_add(left, right, x[2]) if len(x) > 2 and x[2] is not None else engine.matmul(left, right)


def argmax(x: np.ndarray, a: dict) -> np.ndarray:
    """The lowest position of the maximum."""
    axis = a.get("axis", 0)
    found = np.argmax(x, axis=axis)
    return (np.expand_dims(found, axis) if a.get("keepdims", 1) else found).astype(np.int64)
