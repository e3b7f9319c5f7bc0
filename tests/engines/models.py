"""The models of the suite with their inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import data
import stress
from graph import Graph, plan_values


@dataclass
class Case:
    """A model and its inputs by name: real ones are numbered, built ones named by what they are made of."""

    name: str
    graph: Graph
    inputs: dict[str, dict[str, np.ndarray]]


def of_images(name: str, file: str, touchstone: Path, real: int, built: tuple[str, ...] | None = None) -> Case:
    """A model of the digits: so many test images, and images built to err, of these kinds or of all."""
    path = data.MODELS / file
    graph = Graph(path, plan_values(touchstone, path))
    matrices = [w for node in graph.proto.graph.node for n in node.input[1:2] if (w := graph.weights.get(n)) is not None
                and w.dtype == np.float32 and w.ndim >= 2]
    first = matrices[0].reshape(len(matrices[0]), -1)
    inputs = {f"digit {k}": image for k, image in enumerate(data.real_images(real))}
    kinds = data.built_images(first)
    return Case(name, graph, inputs | {kind: kinds[kind] for kind in (kinds if built is None else built)})


def stressed(folder: Path, touchstone: Path) -> Case:
    """One operator of each kind, fed with what errs most."""
    path = folder / "stress.onnx"
    stress.build(path)
    return Case("operators", Graph(path, plan_values(touchstone, path)), {", ".join(stress.KINDS): stress.inputs()})


def minilm(folder: Path, touchstone: Path) -> Case:
    """all-MiniLM-L6-v2 as `make minilm` leaves it: a sentence, and one token over and over behind a mask."""
    path = folder / "embedding_torchscript.onnx"
    graph = Graph(path, plan_values(touchstone, path))
    sentence = lambda k: {n: np.load(folder / f"sentence_{k}" / f"{n}.npy") for n in graph.inputs}  # noqa: E731
    masked = {n: np.full_like(a, {"input_ids": 2013}.get(n, 0)) for n, a in sentence(0).items()}
    masked["attention_mask"][:, :2] = 1
    return Case("MiniLM", graph, {"a sentence": sentence(0), "one token over and over, all but two masked": masked})


def small(folder: Path, touchstone: Path) -> Iterator[Case]:
    """What is judged with every run of the tests."""
    yield stressed(folder, touchstone)
    few = ("cancellation", "near ties")
    yield of_images("MLP", "suite/mlp_torchscript.onnx", touchstone, 1, few)
    yield of_images("digits transformer", "digits_vit/model.onnx", touchstone, 1, few)


def large(folder: Path, touchstone: Path, minilm_folder: Path | None) -> Iterator[Case]:
    """All of them."""
    yield stressed(folder, touchstone)
    most = ("equal", "cancellation", "subnormal", "near ties", "large")
    yield of_images("MLP", "suite/mlp_torchscript.onnx", touchstone, 2, most)
    yield of_images("residual CNN", "suite/cnn_torchscript_batchnorm.onnx", touchstone, 2, most)
    yield of_images("digits transformer", "digits_vit/model.onnx", touchstone, 2, most)
    yield of_images("its layer norms in parts", "suite/vit_torchscript_opset14.onnx", touchstone, 1, ("cancellation", "near ties"))
    if minilm_folder is not None:
        yield minilm(minilm_folder, touchstone)
