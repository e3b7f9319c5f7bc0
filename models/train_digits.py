#!/usr/bin/env python3
"""Trains the digits vision transformer and writes models/digits_vit: model, weights, test images, metrics.

python models/train_digits.py            train, a few minutes on two threads
python models/train_digits.py --export   write the files again from the committed weights
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import digits
import networks
import onnx_export
import onnx_run

FOLDER = Path(__file__).parent / "digits_vit"
WEIGHTS = FOLDER / "weights.npz"
SEED = 1
EPOCHS = 60
LEARNING_RATE = 4e-3
OPSET = 18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", action="store_true", help="do not train, use the committed weights")
    if not parser.parse_args().export:
        digits.seed_everything(SEED)
        model = networks.DigitsViT()
        digits.train(model, EPOCHS, SEED, LEARNING_RATE)
        onnx_run.save_npz(WEIGHTS, {name: value.numpy() for name, value in model.state_dict().items()})
    write(load())


def load() -> networks.DigitsViT:
    """The trained network, from the committed weights."""
    model = networks.DigitsViT()
    with np.load(WEIGHTS) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model.eval()


def write(model: networks.DigitsViT) -> None:
    path = FOLDER / "model.onnx"
    onnx_export.export(model, path, dynamo=True, opset=OPSET)

    _, images, _, labels = digits.split()
    guesses = onnx_run.run(path, images).argmax(1)
    inputs = FOLDER / "inputs"
    inputs.mkdir(exist_ok=True)
    np.save(inputs / "images.npy", images)
    np.save(inputs / "labels.npy", labels)
    for stale in inputs.glob("digit_*.npy"):
        stale.unlink()
    for label in range(10):
        k = int(np.flatnonzero((labels == label) & (guesses == label))[0])
        np.save(inputs / f"digit_{k}_label_{label}.npy", images[k : k + 1])

    metrics = {
        "test_accuracy": round(float((guesses == labels).mean()), 4),
        "test_images": len(labels),
        "test_correct": int((guesses == labels).sum()),
        "split_seed": digits.SPLIT_SEED,
        "training_seed": SEED,
        "epochs": EPOCHS,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (FOLDER / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
