"""Writes library_functions.json: values of libtorch's and ONNX Runtime's library functions where they are farthest from the truth.

Needs torch, onnx, onnxruntime, scipy. Each entry: function, engine, bits of x, bits of y."""

import json
import pathlib

import numpy as np
import onnxruntime
import scipy.special
import torch
from onnx import TensorProto, helper

U = 2.0**-24
FUNCTIONS = {
    "Erf": (torch.erf, {}, scipy.special.erf, lambda x: np.ones_like(x)),
    "Gelu": (torch.nn.functional.gelu, {}, lambda x: x * scipy.special.ndtr(x), np.abs),
    "GeluTanh": (
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        {"approximate": "tanh"},
        lambda x: x * scipy.special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)),
        np.abs,
    ),
    "Tanh": (torch.tanh, {}, np.tanh, lambda x: np.ones_like(x)),
    "Sigmoid": (torch.sigmoid, {}, scipy.special.expit, lambda x: np.ones_like(x)),
    "Exp": (torch.exp, {}, np.exp, lambda x: np.zeros_like(x)),
}


def onnx_runtime(name, attributes, x):
    op = "Gelu" if name == "GeluTanh" else name
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "function",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def arguments():
    numbers = np.random.default_rng(0)
    some = [np.linspace(-12, 12, 1_000_001), np.linspace(-104, 89, 500_001)]
    some.append(np.exp(numbers.uniform(-100, 3, 200_000)) * numbers.choice([-1, 1], 200_000))
    some.append(np.array([0.0, -0.0, 2.0**127, 3e38, -3e38]))
    return np.concatenate(some).astype(np.float32)


def main():
    torch.set_num_threads(1)
    x = arguments()
    wide = x.astype(np.float64)
    entries = []
    for name, (libtorch, attributes, truth, scale) in FUNCTIONS.items():
        with np.errstate(all="ignore"):
            f = truth(wide)
            strided = libtorch(torch.tensor(np.stack([x] * 3, 1))[:, 1]).numpy()
            values = {
                "libtorch": libtorch(torch.tensor(x)).numpy(),
                "libtorch strided": strided,
                "ONNX Runtime": onnx_runtime(name, attributes, x),
            }
        for engine, y in values.items():
            with np.errstate(all="ignore"):
                error = np.abs(y.astype(np.float64) - f) / (16 * U * np.abs(f) + 4 * U * scale(wide) + 2.0**-150)
            # Among subnormal results the last place is all of the error.
            error[~np.isfinite(error) | (np.abs(y) < 2.0**-126)] = 0
            order = np.argsort(-error)
            picked = list(order[:12]) + list(order[12 : len(order) : len(order) // 12]) + list(range(len(x) - 5, len(x)))
            for at in picked:
                entries.append([name, engine, int(x.view(np.uint32)[at]), int(np.ascontiguousarray(y).view(np.uint32)[at])])
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    pathlib.Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
