"""Running ONNX files in ONNX Runtime and writing down what came out."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def session(proto: onnx.ModelProto, rewrite: bool = False, threads: int = 1) -> onnxruntime.InferenceSession:
    """ONNX Runtime, unless said otherwise on one thread with no graph rewriting, so that every operator runs as the file has it."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if rewrite else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """First outputs float32 [n, 10] for images float32 [n, 1, 8, 8], one run an image."""
    opened = session(onnx.load(path))
    return np.concatenate([opened.run(None, {"image": image[None]})[0] for image in images])


def float_values(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Those of all values that are float32."""
    return {name: value for name, value in all_values(path, image).items() if value.dtype == np.float32}


def all_values(path: Path, image: np.ndarray, rewrite: bool = False, threads: int = 1) -> dict[str, np.ndarray]:
    """Every value an operator gives for one image [1, 1, 8, 8], by its name in the file.

    Constants are left out: they stand in the file. So are the exporters' Identity copies of weights."""
    proto = onnx.load(path)
    fixed = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" or (node.op_type == "Identity" and node.input[0] in fixed):
            fixed.update(node.output)
    names = [name for node in proto.graph.node for name in node.output if name and name not in fixed]
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return dict(zip(names, session(proto, rewrite, threads).run(names, {"image": image})))


def file_name(value_name: str) -> str:
    """An ONNX value name with every character but letters, digits, `.`, `-` and `_` replaced by `_`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", value_name)


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz of stored (uncompressed) members with fixed dates: the same arrays give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len({file_name(name) for name in arrays}) != len(arrays):
        raise ValueError(f"two value names of {path} become the same file name")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(zipfile.ZipInfo(f"{file_name(name)}.npy"), member.getvalue())
