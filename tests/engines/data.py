"""Inputs of the models: real ones, and images built so that the first sums err as far as rounding can."""

from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parents[2] / "models"


def real_images(count: int) -> list[dict[str, np.ndarray]]:
    """The first test images of the digits."""
    images = np.load(MODELS / "digits_vit/inputs/images.npy")
    return [{"image": images[k : k + 1]} for k in range(count)]


def built_images(first: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Images by kind, made for a first layer with these weights, [rows, terms]."""
    rng = np.random.default_rng(3)
    pixels = np.arange(64)
    # The part of an image that the first layer's rows see as nearly nothing: their sums cancel.
    u, _, basis = np.linalg.svd(first.astype(np.float64), full_matrices=True)
    hidden = basis[-1]
    if len(hidden) != 64:
        side = int(len(hidden) ** 0.5)
        hidden = np.tile(hidden.reshape(side, side), (8 // side + 1, 8 // side + 1))[:8, :8].reshape(-1)
    kinds = {
        "equal": np.full(64, 0.1),
        "growing": 1.1**pixels,
        "shrinking": 1.1 ** (63 - pixels),
        "cancellation": hidden * 300,
        "subnormal": rng.uniform(size=64) * 1e-41,
        "near ties": np.float32(0.7) + rng.integers(0, 2, 64) * 2.0**-24,
        "masked rows": np.where(pixels < 48, 0, rng.uniform(size=64)),
        "large": rng.normal(size=64) * 1e5,
    }
    return {kind: {"image": image.reshape(1, 1, 8, 8).astype(np.float32)} for kind, image in kinds.items()}
