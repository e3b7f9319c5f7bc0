#!/usr/bin/env python3
"""Writes models/hostile: small ONNX files that lie, break rules or stress an importer, and cases.tsv about them.

cases.tsv has one line a file: name, verdict, what is odd about it. The verdict is `refuse` (an error that names the
trouble), `legal` (must import) or `either` (import or refuse, but never crash, hang or eat memory)."""

from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto

from hostile_cases import files, graphs, operators, sizes, tensors  # noqa: F401  importing a module registers its cases
from hostile_cases.kit import CASES

FOLDER = Path(__file__).parent / "hostile"
MAX_BYTES = 20_000


def data_of(build: Callable[[], ModelProto | bytes]) -> bytes:
    made = build()
    return made if isinstance(made, bytes) else made.SerializeToString(deterministic=True)


def table() -> str:
    return "".join(f"{name}\t{verdict}\t{what}\n" for name, (verdict, what, _) in CASES.items())


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.onnx"):
        stale.unlink()
    for name, (_, _, build) in CASES.items():
        data = data_of(build)
        if len(data) >= MAX_BYTES:
            raise ValueError(f"{name} has {len(data)} bytes")
        (FOLDER / f"{name}.onnx").write_bytes(data)
    (FOLDER / "cases.tsv").write_text(table())
    print(f"{len(CASES)} files")


if __name__ == "__main__":
    main()
