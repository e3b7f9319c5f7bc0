"""PyTorch's own kernels, node by node, on a fixed number of threads, with oneDNN on or off."""

import numpy as np
import torch
from torch.nn import functional


class InTorch:
    """PyTorch eager. Square roots are taken in fp64 and rounded: its fp32 root is not correctly rounded on long tensors
    (docs/envelopes.md, Exact), so that one function of it does not conform."""

    wide = False

    def __init__(self, threads: int, onednn: bool) -> None:
        self.threads, self.onednn = threads, onednn
        self.name = f"PyTorch, {threads} thread{'s' if threads > 1 else ''}, oneDNN {'on' if onednn else 'off'}"

    def take(self, array: np.ndarray) -> np.ndarray:
        return array

    def run(self, graph, inputs: dict, profile: str) -> dict:
        torch.set_num_threads(self.threads)
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=self.onednn), np.errstate(all="ignore"):
            return graph.run(self, inputs)

    @staticmethod
    def to(*arrays):
        return tuple(torch.from_numpy(np.array(array)) for array in arrays)

    def call(self, function, *arrays, **arguments) -> np.ndarray:
        return function(*self.to(*arrays), **arguments).numpy()

    def matmul(self, a, b):
        return self.call(torch.matmul, a, b)

    def matmul_add(self, a, b, c):
        a, b, c = self.to(a, b, c)
        return torch.addmm(c, a, b).numpy()

    def binary(self, op, a, b):
        return self.call({"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}[op], a, b)

    def sqrt(self, x):
        return self.call(lambda t: t.double().sqrt().float(), x)

    def exp(self, x):
        return self.call(torch.exp, x)

    def tanh(self, x):
        return self.call(torch.tanh, x)

    def erf(self, x):
        return self.call(torch.erf, x)

    def sigmoid(self, x):
        return self.call(torch.sigmoid, x)

    def gelu(self, x, tanh):
        return self.call(functional.gelu, x, approximate="tanh" if tanh else "none")

    def softmax(self, x, axis):
        return self.call(torch.softmax, x, dim=axis)

    def layer_norm(self, x, scale, bias, epsilon, axis):
        shape = x.shape[axis % x.ndim :]
        scale, bias = np.broadcast_to(scale, shape), np.broadcast_to(bias, shape)
        return self.call(lambda x, g, b: functional.layer_norm(x, shape, g, b, epsilon), x, scale, bias)

    def batch_norm(self, x, scale, bias, mean, var, epsilon):
        def call(x, scale, bias, mean, var):
            return functional.batch_norm(x, mean, var, scale, bias, training=False, eps=epsilon)

        return self.call(call, x, scale, bias, mean, var)

    def reduce(self, x, axes, keep, mean):
        return self.call(torch.mean if mean else torch.sum, x, dim=axes, keepdim=keep)

    def conv(self, x, weight, bias, a):
        pads = a.get("pads", [0] * 4)
        x, weight = self.to(x, weight)
        x = functional.pad(x, (pads[1], pads[3], pads[0], pads[2])) if pads[:2] != pads[2:] else x
        padding = tuple(pads[:2]) if pads[:2] == pads[2:] else 0
        bias = None if bias is None else self.to(bias)[0]
        strides, dilations = a.get("strides", 1), a.get("dilations", 1)
        return functional.conv2d(x, weight, bias, strides, padding, dilations, a.get("group", 1)).numpy()

    def average_pool(self, x, a):
        pads = a.get("pads", [0] * 4)
        counted = bool(a.get("count_include_pad", 0))
        pool = lambda t: functional.avg_pool2d(  # noqa: E731
            t, a["kernel_shape"], a.get("strides", 1), tuple(pads[:2]), count_include_pad=counted
        )
        return self.call(pool, x)

    def max_pool(self, x, a):
        pads = a.get("pads", [0] * 4)
        pool = lambda t: functional.max_pool2d(t, a["kernel_shape"], a.get("strides", 1), tuple(pads[:2]))  # noqa: E731
        return self.call(pool, x)
