"""`touchstone audit` on what ONNX Runtime computes here and now, every value inside the models exposed. Run with
`python -m unittest models/test_audit.py` after `cargo build`."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import onnx_run

TOUCHSTONE = HERE.parent / "target/debug/touchstone"
IMAGES = np.load(HERE / "suite/inputs.npy")


class Audit(unittest.TestCase):
    def setUp(self) -> None:
        self.assertTrue(TOUCHSTONE.exists(), f"{TOUCHSTONE} is not there: run `cargo build`")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def audit(self, model: str, image: np.ndarray, values: dict[str, np.ndarray]) -> tuple[int, dict]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "values").mkdir()
        np.save(folder / "input.npy", image)
        for name, value in values.items():
            np.save(folder / "values" / f"{onnx_run.file_name(name)}.npy", value)
        command = [TOUCHSTONE, "audit", HERE / f"suite/{model}.onnx", "--json"]
        command += ["--input", folder / "input.npy", "--values", folder / "values"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertIn(ran.returncode, (0, 3), ran.stderr)
        return ran.returncode, json.loads(ran.stdout)

    def test_onnx_runtime_is_in(self) -> None:
        for model in ("mlp_dynamo", "cnn_torchscript_batchnorm", "vit_torchscript", "reader_torchscript"):
            for rewrite, threads in ((False, 1), (True, 2)):
                with self.subTest(model, rewrite=rewrite):
                    image = IMAGES[5:6]
                    values = onnx_run.all_values(HERE / f"suite/{model}.onnx", image, rewrite, threads)
                    status, report = self.audit(model, image, values)
                    self.assertEqual((status, report["inside"], report["outside"]), (0, True, 0))
                    self.assertLess(report["worst"]["share"], 1)
                    self.assertGreater(report["worst"]["share"], 0)
                    # All that the plan shares with the file was given.
                    missing = [o for o in report["operators"] if o["value"] is not None and not o["given"]]
                    self.assertEqual(missing, [])

    def test_a_change_by_a_thousandth_is_out(self) -> None:
        image = IMAGES[:1]
        values = onnx_run.all_values(HERE / "suite/vit_torchscript.onnx", image)
        name = "/blocks/blocks.2/norm1/LayerNormalization_output_0"
        changed = values[name].copy()
        changed[0, 4, 9] *= 1.001
        status, report = self.audit("vit_torchscript", image, values | {name: changed})
        self.assertEqual((status, report["inside"]), (3, False))
        first = next(o for o in report["operators"] if not o["inside"])
        self.assertEqual((first["value"], first["index"], first["outside"]), (name, [0, 4, 9], 1))
        self.assertGreater(first["share"], 1)


if __name__ == "__main__":
    unittest.main()
