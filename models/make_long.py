#!/usr/bin/env python3
"""Writes models/long: models with a reduction that is too long for one verdict, so that it is judged by parts. An input fits a request, so a row of
2^20 terms is a small one repeated."""

from pathlib import Path

from hostile_cases.kit import ints, model, node, value

FOLDER = Path(__file__).parent / "long"
ROWS, COLUMNS = 1024, 1024


def total():
    """The sum of the input's 1,024 numbers repeated 1,024 times."""
    nodes = [node("Expand", "x shape", "repeated"), node("ReduceSum", "repeated", "total", keepdims=0)]
    proto = model(nodes, [ints("shape", ROWS, COLUMNS)], [value("x", [1, COLUMNS])], [value("total", [])])
    proto.producer_name = "touchstone"
    return proto


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "sum.onnx").write_bytes(total().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
