#!/usr/bin/env python3
"""Prints, for every .onnx file named (or all of digits_vit and suite), its opset, size and operators with counts."""

import sys
from collections import Counter
from pathlib import Path

import onnx

HERE = Path(__file__).parent


def main() -> None:
    default = [*HERE.glob("digits_vit/*.onnx"), *sorted(HERE.glob("suite/*.onnx"))]
    for path in [Path(name) for name in sys.argv[1:]] or default:
        proto = onnx.load(path)
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in proto.opset_import)
        counts = sorted(Counter(node.op_type for node in proto.graph.node).items())
        print(f"{path.name}: {opsets}, {path.stat().st_size} bytes, {len(proto.graph.node)} operators")
        print("  " + ", ".join(f"{name} {count}" for name, count in counts))


if __name__ == "__main__":
    main()
