#!/usr/bin/env python3
"""Judges every engine on every model and writes docs/engines.md: `make engines`.

    python tests/engines/table.py PROGRAMS [--minilm FOLDER] [--write] [--only WORD]

PROGRAMS is the folder with `touchstone` and `peer`. The exit status is 1 where anything is out that is not on the page's list of
what does not conform."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import models
from engines import all_engines, profiles_of
from judged import audit, family

PAGE = Path(__file__).resolve().parents[2] / "docs/engines.md"
BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"
COLUMNS = ["contraction", "reduction", "softmax", "layer norm", "batch norm", "bounded"]
# Functions that do not conform to the profiles, with the argument on the page: engine's name begins with, code of the operator.
NOT_CONFORMING: list[tuple[str, str]] = []


def is_named(engine: str, code: str) -> bool:
    """Whether an engine's function is on the list of those that do not conform."""
    return any(engine.startswith(start) and code == named for start, named in NOT_CONFORMING)


def judge_case(case, engines, touchstone: Path, tell=lambda line: None, narrowest: bool = False) -> tuple[dict, list[str]]:
    """The greatest share by (engine, profile, family) of what conforms, and what is out though nobody said so; under each profile
    that an engine conforms to, or the narrowest alone."""
    shares: dict[tuple[str, str, str], float] = {}
    wrong = []
    # The same bits have the same verdict.
    judged: dict[int, list] = {}
    for engine in engines:
        for profile in list(profiles_of(engine))[-1 if narrowest else 0 :]:
            for kind, inputs in case.inputs.items():
                started = time.monotonic()
                values = engine.run(case.graph, inputs, profile)
                key = (kind, profile, *sorted((name, array.tobytes()) for name, array in values.items() if name in case.graph.plan))
                if hash(key) not in judged:
                    judged[hash(key)] = audit(touchstone, case.graph.path, inputs, values, profile)
                for found in judged[hash(key)]:
                    if is_named(engine.name, found["code"]):
                        continue
                    key = (engine.name, profile, family(found["code"]))
                    shares[key] = max(shares.get(key, 0.0), found["share"])
                    if not found["inside"]:
                        wrong.append(f"{case.name}, {kind}: {engine.name} under {profile}: {found['code']} {found['value']} "
                                     f"{found['index']} has {found['share']:.3f} of its envelope, {found['outside']} out")
                tell(f"{case.name}, {kind}: {engine.name} under {profile}: {time.monotonic() - started:.2f} s")
    return shares, wrong


def shown(share: float | None) -> str:
    """Three places, cut: a share below 1 never reads 1."""
    return "" if share is None else f"{int(share * 1000) / 1000:.3f}"


def table(case, engines, shares: dict) -> str:
    """One model's table."""
    columns = [c for c in COLUMNS if any(key[2] == c for key in shares)]
    lines = [f"Inputs: {', '.join(case.inputs)}.", "",
             "| engine | profile | " + " | ".join(columns) + " | copy, exact |",
             "|---|---|" + "---|" * (len(columns) + 1)]
    for engine in engines:
        for profile in profiles_of(engine):
            cells = [shown(shares.get((engine.name, profile, c))) for c in columns]
            bits = max(shares.get((engine.name, profile, c), 0.0) for c in ("copy", "exact"))
            lines.append(f"| {engine.name} | `{profile}` | " + " | ".join(cells) + f" | {'0' if bits == 0 else 'out'} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    touchstone = arguments.programs / "touchstone"
    engines = all_engines(arguments.programs)
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for case in models.large(Path(folder), touchstone, arguments.minilm):
            if arguments.only not in case.name:
                continue
            shares, wrong = judge_case(case, engines, touchstone, lambda line: print(line, file=sys.stderr))
            made = table(case, engines, shares)
            out += wrong
            print(made, *wrong, sep="\n", flush=True)
            if arguments.write:
                write(case.name, made)
    return 1 if out else 0


def write(name: str, made: str) -> None:
    """Puts a model's table in its place on the page."""
    text, begin = PAGE.read_text(), BEGIN.format(name)
    start = text.index(begin) + len(begin)
    PAGE.write_text(text[:start] + "\n" + made + "\n" + text[text.index(END, start) :])


if __name__ == "__main__":
    sys.exit(main())
