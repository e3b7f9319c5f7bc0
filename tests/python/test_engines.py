"""No honest engine is ever outside: every engine of tests/engines, judged by `touchstone audit` on a small part of what
`make engines` does, real data and data built to err."""

import os
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/engines"))

import models
from engines import all_engines, profiles_of
from judged import audit
from table import is_named

PROGRAMS = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"
# Built inputs of the two trained models; the model of single operators gets all of them.
BUILT = ("digit 0", "cancellation", "near ties")


class Engines(unittest.TestCase):
    def test_every_engine_is_inside_on_real_and_built_data(self) -> None:
        touchstone = PROGRAMS / "touchstone"
        judged = 0
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
            for case in models.small(Path(folder), touchstone):
                waiting = []
                for engine in all_engines(PROGRAMS):
                    # What was rounded less often is judged under the narrowest profile it conforms to.
                    profile = list(profiles_of(engine))[-1]
                    for kind, inputs in case.inputs.items():
                        if case.name != "operators" and kind not in BUILT:
                            continue
                        values = engine.run(case.graph, inputs, profile)
                        told = pool.submit(audit, touchstone, case.graph.path, inputs, values, profile)
                        waiting.append((engine.name, profile, kind, told))
                for engine, profile, kind, told in waiting:
                    with self.subTest(case.name, engine=engine, profile=profile, kind=kind):
                        for found in told.result():
                            judged += 1
                            if not is_named(engine, found["code"]):
                                self.assertTrue(found["inside"], found)
        self.assertGreater(judged, 5000)

    def test_the_judge_sees_an_engine_that_is_not(self) -> None:
        """The suite itself tells: one value moved by 1 % is out, in that operator and nowhere else."""
        touchstone = PROGRAMS / "touchstone"
        case = models.of_images("MLP", "suite/mlp_torchscript.onnx", touchstone, 1)
        engine = next(engine for engine in all_engines(PROGRAMS) if engine.name == "NumPy")
        inputs = case.inputs["digit 0"]
        values = engine.run(case.graph, inputs, "fast")
        last = case.graph.proto.graph.output[0].name
        values[last] = values[last] * values[last].dtype.type(1.01)
        found = audit(touchstone, case.graph.path, inputs, values, "fast")
        self.assertEqual([o["value"] for o in found if not o["inside"]], [last])
