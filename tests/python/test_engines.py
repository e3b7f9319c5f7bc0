"""No honest engine is ever outside: every engine of tests/engines, judged by `touchstone audit` on a small part of what
`make engines` does, real data and data built to err."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/engines"))

import models
import table
from engines import all_engines, profiles_of
from judged import audit

PROGRAMS = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"
TOUCHSTONE = PROGRAMS / "touchstone"


class Engines(unittest.TestCase):
    def test_every_engine_is_inside_on_real_and_built_data(self) -> None:
        engines = all_engines(PROGRAMS)
        with tempfile.TemporaryDirectory() as folder:
            for case in models.small(Path(folder), TOUCHSTONE):
                # What was rounded less often is judged under the narrowest profile it conforms to.
                shares, wrong = table.judge_case(case, engines, TOUCHSTONE, narrowest=True)
                self.assertEqual(wrong, [])
                for engine in engines:
                    narrowest = list(profiles_of(engine))[-1]
                    found = [share for (name, profile, _), share in shares.items() if (name, profile) == (engine.name, narrowest)]
                    self.assertGreater(max(found), 0.0, f"{engine.name} on {case.name}: nothing with a width was judged")
                    # The greatest share of the cell of a number is its edge, where ties are.
                    self.assertLessEqual(max(found), 1.0)

    def test_the_suite_sees_an_engine_that_is_outside(self) -> None:
        case = models.of_images("MLP", "suite/mlp_torchscript.onnx", TOUCHSTONE, 1)
        engine = next(engine for engine in all_engines(PROGRAMS) if engine.name == "NumPy")
        inputs = case.inputs["digit 0"]
        values = engine.run(case.graph, inputs, "fast")
        last = case.graph.proto.graph.output[0].name
        values[last] = values[last] * values[last].dtype.type(1.01)
        found = audit(TOUCHSTONE, case.graph.path, inputs, values, "fast")
        self.assertEqual([o["value"] for o in found if not o["inside"]], [last])
