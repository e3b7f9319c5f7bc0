"""This project's own engines, by the program `peer` of the tests crate."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np


class InTouchstone:
    """The reference engine or the libtorch engine; each runs under the profile that it is asked for."""

    wide = False
    every_profile = True

    def __init__(self, peer: Path, engine: str, threads: int) -> None:
        self.peer, self.engine, self.threads = peer, engine, threads
        self.name = f"this project's {engine}" + (f", {threads} threads" if threads > 1 else "")

    def run(self, graph, inputs: dict, profile: str) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "values").mkdir()
            files = []
            for number, name in enumerate(graph.inputs):
                np.save(folder / f"{number}.npy", inputs[name])
                files.append(str(folder / f"{number}.npy"))
            command = [str(self.peer), "values", str(graph.path), self.engine, str(self.threads), profile,
                       str(folder / "values"), *files]
            told = subprocess.run(command, capture_output=True, text=True)
            if told.returncode != 0:
                raise RuntimeError(f"{' '.join(command[:6])}: {told.stderr.strip()}")
            return {file.stem: np.load(file) for file in (folder / "values").glob("*.npy")}
