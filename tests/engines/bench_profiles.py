#!/usr/bin/env python3
"""What a profile costs: the libtorch engine under `fast`, `blocked:256` and `wide` against PyTorch eager: `make bench-profiles`.

    python tests/engines/bench_profiles.py PROGRAMS [--minilm FOLDER] [--threads N] [--rounds N] [--write]

In each round every contestant runs once, in turn, so that what slows the machine slows all of them; medians are compared. The engine's time is
what a worker pays: inputs in, every value that is committed out. PyTorch's is the module's forward alone. `--write` puts MiniLM's
ratios into docs/cheats.json for the plot."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models"))
sys.path.insert(0, str(ROOT / "models/minilm"))
PROFILES = ["fast", "blocked:256", "wide"]
LIMIT = 1.8
FOUND = ROOT / "docs/cheats.json"

# Threads that wait must not spin: the contestants are two processes that take turns.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch


class Peer:
    """The program `peer`, asked for one run at a time."""

    def __init__(self, program: Path, model: Path, threads: int, inputs: list[np.ndarray], folder: Path) -> None:
        files = []
        for number, array in enumerate(inputs):
            np.save(folder / f"{number}.npy", array)
            files.append(str(folder / f"{number}.npy"))
        command = [str(program), "time", str(model), str(threads), *files]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, profile: str) -> float:
        self.process.stdin.write(profile + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("peer has ended")
        return int(answer) / 1e9

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def digits() -> tuple[Path, torch.nn.Module, list[np.ndarray]]:
    """The digits transformer."""
    import train_digits

    image = np.load(ROOT / "models/digits_vit/inputs/digit_0_label_7.npy")
    return ROOT / "models/digits_vit/model.onnx", train_digits.load(), [image]


def minilm(folder: Path) -> tuple[Path, torch.nn.Module, list[np.ndarray]]:
    """all-MiniLM-L6-v2, its embedding."""
    import export

    module = export.Embedding(export.load(export.model_folder(None))).eval()
    inputs = [np.load(folder / "sentence_0" / f"{name}.npy") for name in export.NAMES]
    return folder / "embedding_torchscript.onnx", module, inputs


def compare(programs: Path, subject: tuple, threads: int, rounds: int) -> dict[str, float]:
    """Median seconds of a run by contestant."""
    model, module, inputs = subject
    tensors = [torch.from_numpy(array) for array in inputs]
    torch.set_num_threads(threads)
    times: dict[str, list[float]] = {name: [] for name in ["PyTorch eager", *PROFILES]}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        peer = Peer(programs / "peer", model, threads, inputs, Path(folder))
        for round_ in range(rounds + 1):
            for name in times:
                if name == "PyTorch eager":
                    started = time.perf_counter()
                    module(*tensors)
                    spent = time.perf_counter() - started
                else:
                    spent = peer.seconds(name)
                if round_ > 0:
                    times[name].append(spent)
        peer.close()
    return {name: statistics.median(spent) for name, spent in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    subjects = {"digits transformer": digits()}
    if arguments.minilm:
        subjects["MiniLM"] = minilm(arguments.minilm)
    print(f"{arguments.threads} threads, median of {arguments.rounds}")
    for name, subject in subjects.items():
        medians = compare(arguments.programs, subject, arguments.threads, arguments.rounds)
        base = medians["PyTorch eager"]
        for contestant, seconds in medians.items():
            over = f", more than {LIMIT}" if contestant == "wide" and seconds > LIMIT * base else ""
            print(f"{name}: {contestant}: {seconds * 1e3:.2f} ms, {seconds / base:.2f} x PyTorch eager{over}", flush=True)
        if arguments.write and name == "MiniLM":
            data = json.loads(FOUND.read_text())
            for contestant in PROFILES:
                data.setdefault("profiles", {}).setdefault(contestant, {})["cost"] = round(medians[contestant] / base, 3)
            FOUND.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
