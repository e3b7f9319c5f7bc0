"""What the judge says of an engine's values: `touchstone audit`, and the greatest share by family."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

FAMILIES = {
    "Contract": "contraction", "Sum": "reduction", "Mean": "reduction", "Softmax": "softmax", "LayerNorm": "layer norm",
    "BatchNorm": "batch norm", "Erf": "bounded", "Gelu": "bounded", "GeluTanh": "bounded", "Tanh": "bounded",
    "Sigmoid": "bounded", "Exp": "bounded", "Copy": "copy", "Gather": "copy", "Where": "copy",
}
OUT = 3


def family(code: str) -> str:
    """The family of an operator's code; what is in no other is exact."""
    return FAMILIES.get(code, "exact")


def file_name(value: str) -> str:
    """The file that `audit` looks for a value in."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", value) + ".npy"


def audit(touchstone: Path, model: Path, inputs: dict, values: dict, profile: str) -> list[dict]:
    """What the judge says of each operator whose result and operands the engine gave.

    What was not given (copies that the compiler adds, whole numbers) was computed from what was, exactly."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "values").mkdir()
        for name, array in values.items():
            np.save(folder / "values" / file_name(name), np.ascontiguousarray(array).reshape(array.shape))
        files = []
        for name, array in inputs.items():
            np.save(folder / file_name(name), array)
            files.append(str(folder / file_name(name)))
        command = [str(touchstone), "audit", str(model), "--input", *files, "--values", str(folder / "values"),
                   "--profile", profile, "--json"]
        told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode not in (0, OUT):
        raise RuntimeError(f"{model.name} under {profile}: {told.stderr.strip()}")
    report = json.loads(told.stdout)
    operators = report["operators"]
    for operator in operators:
        if operator["against"]:
            raise RuntimeError(f"{model.name}: {operator['value']} is judged against values that nobody gave")
    if report["inside"] != (told.returncode == 0) or report["inside"] != all(o["inside"] for o in operators):
        raise RuntimeError(f"{model.name}: exit status {told.returncode} and report contradict each other")
    return [operator for operator in operators if operator["given"]]


def worst(operators: list[dict]) -> dict[str, dict]:
    """The operator of the greatest share in each family."""
    found: dict[str, dict] = {}
    for operator in operators:
        held = found.get(family(operator["code"]))
        if held is None or operator["share"] > held["share"]:
            found[family(operator["code"])] = operator
    return found
