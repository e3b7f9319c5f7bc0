"""Writing the ONNX files of this folder with either PyTorch exporter."""

import os
import tempfile
from pathlib import Path

import onnx
import torch
from torch import nn


def export(model: nn.Module, path: Path, *, dynamo: bool, opset: int, preserve: bool = False) -> None:
    """Exports at the fixed input float32 [1, 1, 8, 8], weights embedded.

    Outputs are named as the network's `outputs` says, or else `logits`.

    `preserve` keeps the TorchScript exporter from folding batch norms into convolutions."""
    image = torch.zeros(1, 1, 8, 8)
    names = {
        "input_names": ["image"],
        "output_names": list(getattr(model, "outputs", ["logits"])),
        "opset_version": opset,
    }
    with tempfile.TemporaryDirectory() as folder:
        raw = os.path.join(folder, "raw.onnx")
        if dynamo:
            torch.onnx.export(model, (image,), dynamo=True, verbose=False, **names).save(raw, external_data=False)
        else:
            mode = torch.onnx.TrainingMode.PRESERVE if preserve else torch.onnx.TrainingMode.EVAL
            torch.onnx.export(model, (image,), raw, dynamo=False, training=mode, **names)
        proto = onnx.load(raw)
    strip_notes(proto)
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def strip_notes(proto: onnx.ModelProto) -> None:
    """Drops what the exporters note for people: stack traces with the paths of the machine that exported."""
    graph = proto.graph
    for part in [proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
