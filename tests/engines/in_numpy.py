"""Engines in NumPy: the same formulas with sums in different orders, in fp32 or in fp64.

`Order.LIBRARY` leaves the order to NumPy (OpenBLAS for products, pairwise sums). The others add term by term along the axis, for
all elements side by side: in order, from the last to the first, or in blocks of `block`."""

from enum import Enum

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special


class Order(Enum):
    LIBRARY = "the library's"
    FORWARD = "in order"
    REVERSED = "reversed"
    BLOCKED = "in blocks"


def windows(x: np.ndarray, a: dict, kernel: tuple[int, ...], fill: float) -> np.ndarray:
    """Windows [N, C, OH, OW, KH, KW] of images [N, C, H, W], `fill` around them."""
    pads = a.get("pads", [0] * 4)
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=x.dtype.type(fill))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    found = sliding_window_view(padded, spans, axis=(2, 3))
    return found[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


class InNumpy:
    """One engine: a precision and an order of summation; `reciprocal` multiplies by 1/s where the others divide by s."""

    def __init__(self, name: str, order: Order, *, wide: bool = False, block: int = 0, reciprocal: bool = False) -> None:
        self.name, self.order, self.wide, self.block, self.reciprocal = name, order, wide, block, reciprocal
        self.kind = np.float64 if wide else np.float32

    def take(self, array: np.ndarray) -> np.ndarray:
        return array.astype(self.kind) if array.dtype == np.float32 else array

    def run(self, graph, inputs: dict, profile: str) -> dict:
        with np.errstate(all="ignore"):
            return graph.run(self, inputs)

    def total(self, count: int, term) -> np.ndarray:
        """The sum of `term(0)` … `term(count - 1)`, arrays of one shape, in this engine's order."""
        order = range(count - 1, -1, -1) if self.order is Order.REVERSED else range(count)
        block = self.block if self.order is Order.BLOCKED else count
        sums = []
        for k in order:
            if self.order is Order.BLOCKED and k % block == 0 or not sums:
                sums.append(term(k))
            else:
                sums[-1] = sums[-1] + term(k)
        result = sums[0]
        for other in sums[1:]:
            result = result + other
        return result

    def sum(self, x: np.ndarray) -> np.ndarray:
        """Over the last axis."""
        if self.order is Order.LIBRARY:
            return np.sum(x, axis=-1, dtype=self.kind)
        return self.total(x.shape[-1], lambda k: x[..., k])

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self.order is Order.LIBRARY:
            return np.matmul(a, b)
        a, b = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        return self.total(a.shape[-1], lambda k: a[..., :, k, None] * b[..., k, None, :])

    def matmul_add(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return self.matmul(a, b) + c

    def binary(self, op: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op](a, b)

    def sqrt(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)

    def exp(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)

    def tanh(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def erf(self, x: np.ndarray) -> np.ndarray:
        return special.erf(x)

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        if self.reciprocal:
            return special.expit(x)
        return self.kind(1) / (self.kind(1) + np.exp(-x))

    def gelu(self, x: np.ndarray, tanh: bool) -> np.ndarray:
        half, one = self.kind(0.5), self.kind(1)
        if tanh:
            inner = self.kind(np.sqrt(2 / np.pi)) * (x + self.kind(0.044715) * x * x * x)
            return half * x * (one + np.tanh(inner))
        return half * x * (one + special.erf(x * self.kind(np.sqrt(0.5))))

    def softmax(self, x: np.ndarray, axis: int) -> np.ndarray:
        x = np.moveaxis(x, axis, -1)
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        s = self.sum(e)[..., None]
        return np.moveaxis(e * (self.kind(1) / s) if self.reciprocal else e / s, -1, axis)

    def mean(self, x: np.ndarray) -> np.ndarray:
        n = self.kind(x.shape[-1])
        return self.sum(x) * (self.kind(1) / n) if self.reciprocal else self.sum(x) / n

    def layer_norm(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float, axis: int) -> np.ndarray:
        shape, first = x.shape, axis % x.ndim
        rows = x.reshape(*shape[:first], -1)
        centred = rows - self.mean(rows)[..., None]
        deviation = np.sqrt(self.mean(centred * centred)[..., None] + self.kind(np.float32(epsilon)))
        if self.reciprocal:
            y = centred * ((self.kind(1) / deviation) * scale.reshape(-1)) + bias.reshape(-1)
        else:
            y = centred / deviation * scale.reshape(-1) + bias.reshape(-1)
        return y.reshape(shape)

    def batch_norm(self, x, scale, bias, mean, var, epsilon: float) -> np.ndarray:
        along = (slice(None),) + (None,) * (x.ndim - 2)
        deviation = np.sqrt(var + self.kind(np.float32(epsilon)))
        if self.reciprocal:
            alpha = scale * (self.kind(1) / deviation)
            return x * alpha[along] + (bias - mean * alpha)[along]
        return (x - mean[along]) / deviation[along] * scale[along] + bias[along]

    def reduce(self, x: np.ndarray, axes: tuple[int, ...], keep: bool, mean: bool) -> np.ndarray:
        others = [axis for axis in range(x.ndim) if axis not in axes]
        rows = np.transpose(x, [*others, *axes]).reshape(*[x.shape[i] for i in others], -1)
        result = self.mean(rows) if mean else self.sum(rows)
        return result.reshape([1 if i in axes else x.shape[i] for i in range(x.ndim)]) if keep else result

    def conv(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, a: dict) -> np.ndarray:
        groups = a.get("group", 1)
        seen = windows(x, a, weight.shape[2:], 0.0)
        n, _, height, width = seen.shape[:4]
        parts = []
        for columns, rows in zip(np.split(seen, groups, axis=1), np.split(weight, groups)):
            columns = columns.transpose(0, 2, 3, 1, 4, 5).reshape(n, height * width, -1)
            parts.append(self.matmul(columns, rows.reshape(len(rows), -1).T))
        y = np.concatenate(parts, axis=2)
        y = y + bias if bias is not None else y
        return y.transpose(0, 2, 1).reshape(n, -1, height, width)

    def average_pool(self, x: np.ndarray, a: dict) -> np.ndarray:
        kernel = tuple(a["kernel_shape"])
        sums = self.sum(windows(x, a, kernel, 0.0).reshape(*windows(x, a, kernel, 0.0).shape[:4], -1))
        counted = windows(np.ones_like(x), a, kernel, float(a.get("count_include_pad", 0)))
        return sums / counted.sum(axis=(-2, -1))

    def max_pool(self, x: np.ndarray, a: dict) -> np.ndarray:
        return windows(x, a, tuple(a["kernel_shape"]), -np.inf).max(axis=(-2, -1))
