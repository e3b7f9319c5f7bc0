#!/usr/bin/env python3
"""Writes models/suite: four networks from both PyTorch exporters, with the values ONNX Runtime gives them.

python models/make_suite.py            train all but the transformer (seconds), export all, record
python models/make_suite.py --record   record again from the committed files
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from torch import nn

import digits
import networks
import onnx_export
import onnx_run
import train_digits

FOLDER = Path(__file__).parent / "suite"
SEED = 2
EXPECTED_INPUTS = 16
# How many inputs have all their inner values recorded: the vision transformer's are 0.9 MB each.
RECORDED_INPUTS = {"mlp": 3, "cnn": 3, "vit": 1, "reader": 3}
# The newest default opset of the dynamo exporter, the one most used in the wild for TorchScript, and an old
# one in which LayerNormalization does not exist yet.
DYNAMO_OPSET, TORCHSCRIPT_OPSET, OLD_OPSET = 20, 17, 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="do not train or export")
    if not parser.parse_args().record:
        export_all()
    record_all()


def trained(model_class: type[nn.Module], epochs: int) -> tuple[nn.Module, float]:
    digits.seed_everything(SEED)
    model = model_class()
    return model, digits.train(model, epochs, SEED)


def export_all() -> None:
    mlp, mlp_accuracy = trained(networks.Mlp, 60)
    cnn, cnn_accuracy = trained(networks.Cnn, 20)
    reader, reader_accuracy = trained(networks.Reader, 60)
    vit = train_digits.load()
    networks_by_name = {"mlp": mlp, "cnn": cnn, "vit": vit, "reader": networks.Reading(reader).eval()}
    FOLDER.mkdir(exist_ok=True)
    for name, model in networks_by_name.items():
        onnx_export.export(model, FOLDER / f"{name}_torchscript.onnx", dynamo=False, opset=TORCHSCRIPT_OPSET)
        onnx_export.export(model, FOLDER / f"{name}_dynamo.onnx", dynamo=True, opset=DYNAMO_OPSET)
    onnx_export.export(
        cnn, FOLDER / "cnn_torchscript_batchnorm.onnx", dynamo=False, opset=TORCHSCRIPT_OPSET, preserve=True
    )
    onnx_export.export(vit, FOLDER / "vit_torchscript_opset14.onnx", dynamo=False, opset=OLD_OPSET)
    accuracies = {"mlp": mlp_accuracy, "cnn": cnn_accuracy, "reader": reader_accuracy}
    accuracies = {name: round(accuracy, 4) for name, accuracy in accuracies.items()}
    (FOLDER / "metrics.json").write_text(json.dumps({"test_accuracy": accuracies}, indent=2) + "\n")
    print(accuracies)


def record_all() -> None:
    _, images, _, _ = digits.split()
    images = images[:EXPECTED_INPUTS]
    np.save(FOLDER / "inputs.npy", images)
    for stale in ("expected", "values"):
        shutil.rmtree(FOLDER / stale, ignore_errors=True)
    (FOLDER / "expected").mkdir()
    for path in sorted(FOLDER.glob("*.onnx")):
        np.save(FOLDER / "expected" / f"{path.stem}.npy", onnx_run.run(path, images))
        for k in range(RECORDED_INPUTS[path.stem.split("_")[0]]):
            values = onnx_run.float_values(path, images[k : k + 1])
            onnx_run.save_npz(FOLDER / "values" / path.stem / f"{k}.npz", values)


if __name__ == "__main__":
    main()
