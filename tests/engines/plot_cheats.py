#!/usr/bin/env python3
"""Draws docs/cheats.png from docs/cheats.json. Needs matplotlib 3.11 in an environment of its own; nothing else here does."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"wide": "#1f6f8b", "fast": "#c8553d"}
# The size of each cheat as it is named, on the same axis: the relative change that it makes.
NAMED = {
    "bf16-rounded weights": 2**-8, "fp16-rounded weights": 2**-11, "int8-quantized weights": 2**-8,
    "one weight matrix scaled by 1 + 1e-4": 1e-4, "TF32-style input rounding": 2**-11, "a skipped layer": 1, "early exit": 1,
    "another input": 1, "a pruned head": 1, "a bit flip in one inner element": 2**-1,
    "a changed epsilon": 1e-5,
}


def main() -> None:
    data = json.loads((ROOT / "docs/cheats.json").read_text())
    found = data["MiniLM"]
    names = [n for n in sorted(found["wide"], key=lambda n: -found["wide"][n]["place"]) if found["wide"][n]["smallest"]]
    extra = data.get("profiles", {})
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4), gridspec_kw={"width_ratios": [3, 1.1]})
    for row, name in enumerate(names):
        sizes = {p: found[p][name]["smallest"]["relative"] for p in COLOURS}
        left.plot([sizes["wide"], sizes["fast"]], [row, row], color="#bbbbbb", linewidth=2, zorder=1)
        for profile, size in sizes.items():
            left.scatter(size, row, color=COLOURS[profile], s=42, zorder=2, label=profile if row == 0 else None)
        if name in NAMED:
            left.scatter(NAMED[name], row, marker="x", color="black", s=36, zorder=2)
    left.scatter([], [], marker="x", color="black", s=36, label="as named")
    for profile, colour in COLOURS.items():
        slack = extra.get(profile, {}).get("slack")
        if slack is not None:
            left.axvline(slack, color=colour, linestyle=":", linewidth=1.4, label=f"slack of the cosine, {profile}")
    left.set_xscale("log")
    left.set_yticks(range(len(names)), names)
    left.set_xlabel("relative change: the smallest that is convicted (dots)")
    left.set_title("all-MiniLM-L6-v2: smallest cheats convicted")
    left.grid(axis="x", color="#eeeeee")
    left.set_axisbelow(True)
    left.legend(loc="upper left", bbox_to_anchor=(0.0, -0.13), ncol=5, frameon=False, fontsize=8)
    costs = {name: values["cost"] for name, values in extra.items() if "cost" in values}
    bars = right.bar(list(costs), list(costs.values()), color=[COLOURS.get(name, "#8a8a8a") for name in costs])
    # Inside the bars: on top of them the line at 1 would cross the numbers.
    right.bar_label(bars, fmt="%.2f ×", label_type="center", color="white")
    right.axhline(1, color="black", linewidth=0.8)
    right.set_title("time, PyTorch eager = 1")
    figure.tight_layout()
    figure.savefig(ROOT / "docs/cheats.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
