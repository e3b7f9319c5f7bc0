"""The engines, and which of them conform to which profile."""

from collections.abc import Iterator
from pathlib import Path

from in_numpy import InNumpy, Order
from in_onnxruntime import InOnnxRuntime
from in_torch import InTorch
from in_touchstone import InTouchstone

BLOCK = 16
FAST, BLOCKED, WIDE = "fast", f"blocked:{BLOCK}", "wide"


def all_engines(programs: Path) -> list:
    """Every engine; `programs` is the folder of the project's own."""
    return [
        *(InTorch(threads, onednn) for threads in (1, 2) for onednn in (True, False)),
        InOnnxRuntime(1, False),
        InOnnxRuntime(2, False),
        InOnnxRuntime(1, True),
        InTouchstone(programs / "peer", "libtorch", 1),
        InTouchstone(programs / "peer", "libtorch", 2),
        InTouchstone(programs / "peer", "reference", 1),
        InNumpy("NumPy", Order.LIBRARY),
        InNumpy("in order", Order.FORWARD),
        InNumpy("reversed, reciprocals", Order.REVERSED, reciprocal=True),
        InNumpy(f"blocks of {BLOCK}", Order.BLOCKED, block=BLOCK),
        InNumpy("fp64, rounded once", Order.LIBRARY, wide=True),
        InNumpy("fp64 in order, reciprocals, rounded once", Order.FORWARD, wide=True, reciprocal=True),
    ]


def profiles_of(engine) -> Iterator[str]:
    """The profiles that an engine conforms to: an engine that rounds less often conforms to the wider ones too."""
    own = getattr(engine, "every_profile", False)
    yield FAST
    if engine.wide or own or getattr(engine, "block", 0):
        yield BLOCKED
    if engine.wide or own:
        yield WIDE
