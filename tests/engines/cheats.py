#!/usr/bin/env python3
"""Measures the cheats on a model and writes what was found to docs/cheats.json and the table of docs/cheats.md: `make cheats`.

    python tests/engines/cheats.py PROGRAMS [--minilm FOLDER]     measure, write both
    python tests/engines/cheats.py --page                         write the table from docs/cheats.json

PROGRAMS is the folder with `cheats`, a program of the tests crate. docs/cheats.png is drawn by plot_cheats.py."""

import argparse
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, FOUND = ROOT / "docs/cheats.md", ROOT / "docs/cheats.json"
END = "<!-- end of table -->"
DIGITS = ROOT / "models/digits_vit"
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def measure(programs: Path, model: Path, profile: str, inputs: list[Path], other: list[Path]) -> dict:
    """What the program found of every cheat."""
    command = [programs / "cheats", model, profile, *inputs, "--", *other]
    told = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(told.stdout)


def slack(programs: Path, model: Path, inputs: list[Path]) -> dict[str, float]:
    """How far an undetectable cheat can move the cosine of the embedding with any other, by profile."""
    command = [programs / "touchstone", "model", "slack", model, "--input", *inputs, "--functional", "cosine", "--json"]
    told = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    cosine = json.loads(told.stdout)["outputs"][0]["cosines"][0]
    return {profile: found["slack"] for profile, found in cosine["profiles"].items()}


def share(found: dict) -> str:
    """By how much an element exceeded."""
    if found["outside"] == 0:
        return f"inside ({found['share']:.2f})"
    if found["share"] is None:
        return "beyond count"
    return f"{found['share']:,.0f} ×" if found["share"] >= 100 else f"{found['share']:.1f} ×"


def smallest(found: dict) -> str:
    """The smallest size that is convicted."""
    return found["smallest"]["size"] if found["smallest"] else "any"


def table(found: dict) -> str:
    """One model's table."""
    lines = ["| cheat | `wide`: exceeds by | elements out | smallest convicted | `fast`: exceeds by | elements out | smallest convicted |",
             "|---|---|---|---|---|---|---|"]
    for name in sorted(found["wide"], key=lambda name: found["wide"][name]["place"]):
        cells = [name]
        for profile in ("wide", "fast"):
            row = found[profile][name]
            cells += [share(row), f"{row['outside']:,} of {row['elements']:,}", smallest(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path, nargs="?")
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    data = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    if not arguments.page:
        subjects = {"digits transformer": (DIGITS / "model.onnx", [DIGITS / "inputs/digit_0_label_7.npy"],
                                           [DIGITS / "inputs/digit_1_label_6.npy"])}
        if arguments.minilm:
            sentence = lambda k: [arguments.minilm / f"sentence_{k}" / f"{name}.npy" for name in NAMES]  # noqa: E731
            subjects["MiniLM"] = (arguments.minilm / "embedding_torchscript.onnx", sentence(0), sentence(1))
        for name, (model, inputs, other) in subjects.items():
            data[name] = {p: measure(arguments.programs, model, p, inputs, other) for p in ("wide", "fast")}
        if arguments.minilm:
            for profile, found in slack(arguments.programs, *subjects["MiniLM"][:2]).items():
                data.setdefault("profiles", {}).setdefault(profile, {})["slack"] = found
        FOUND.write_text(json.dumps(data, indent=1) + "\n")
    text = PAGE.read_text()
    for name in ("MiniLM", "digits transformer"):
        begin = f"<!-- table: {name} -->"
        start = text.index(begin) + len(begin)
        text = text[:start] + "\n" + table(data[name]) + "\n" + text[text.index(END, start) :]
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
