"""Checks the committed models against ONNX Runtime. Run with `python -m unittest models/test_models.py`.

Needs numpy, onnx and onnxruntime, no PyTorch: nothing is trained or exported here."""

import json
import sys
import unittest
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import make_halves
import make_hostile
import make_long
import onnx_run

SUITE = HERE / "suite"
DIGITS = HERE / "digits_vit"
# Both are float32 networks with logits below 20; exports of one network differ by re-association only.
TOLERANCE = 1e-4
NETWORKS = ("mlp", "cnn", "vit", "reader")


def suite_models() -> list[Path]:
    return sorted(SUITE.glob("*.onnx"))


class DigitsModel(unittest.TestCase):
    def test_accuracy_is_as_recorded_and_at_least_95_percent(self) -> None:
        images, labels = np.load(DIGITS / "inputs/images.npy"), np.load(DIGITS / "inputs/labels.npy")
        guesses = onnx_run.run(DIGITS / "model.onnx", images).argmax(1)
        accuracy = float((guesses == labels).mean())
        recorded = json.loads((DIGITS / "metrics.json").read_text())
        self.assertGreaterEqual(accuracy, 0.95)
        self.assertAlmostEqual(accuracy, recorded["test_accuracy"], delta=0.005)

    def test_demo_images_are_test_images_read_rightly(self) -> None:
        images = np.load(DIGITS / "inputs/images.npy")
        files = sorted((DIGITS / "inputs").glob("digit_*.npy"))
        self.assertEqual(len(files), 10)
        for file in files:
            _, k, _, label = file.stem.split("_")
            image = np.load(file)
            self.assertEqual((image.shape, image.dtype), ((1, 1, 8, 8), np.float32))
            np.testing.assert_array_equal(image[0], images[int(k)])
            self.assertEqual(int(onnx_run.run(DIGITS / "model.onnx", image).argmax()), int(label))

    def test_inputs_are_in_range(self) -> None:
        images = np.load(DIGITS / "inputs/images.npy")
        self.assertEqual((images.shape, images.dtype), ((360, 1, 8, 8), np.float32))
        self.assertTrue(((images >= 0) & (images <= 1)).all())


class Suite(unittest.TestCase):
    def test_every_network_comes_from_both_exporters(self) -> None:
        names = {path.stem for path in suite_models()}
        for network in NETWORKS:
            self.assertLessEqual({f"{network}_torchscript", f"{network}_dynamo"}, names)

    def test_expected_outputs_reproduce(self) -> None:
        images = np.load(SUITE / "inputs.npy")
        for path in suite_models():
            with self.subTest(path.stem):
                expected = np.load(SUITE / f"expected/{path.stem}.npy")
                np.testing.assert_allclose(onnx_run.run(path, images), expected, rtol=0, atol=TOLERANCE)

    def test_exports_of_one_network_agree(self) -> None:
        images = np.load(SUITE / "inputs.npy")
        for network in NETWORKS:
            results = [onnx_run.run(path, images) for path in suite_models() if path.stem.startswith(network)]
            for other in results[1:]:
                np.testing.assert_allclose(other, results[0], rtol=0, atol=TOLERANCE)

    def test_recorded_values_reproduce_and_are_complete(self) -> None:
        images = np.load(SUITE / "inputs.npy")
        for path in suite_models():
            recorded = sorted((SUITE / "values" / path.stem).glob("*.npz"))
            self.assertTrue(recorded, path.stem)
            for file in recorded:
                with self.subTest(f"{path.stem}/{file.stem}"), np.load(file) as values:
                    k = int(file.stem)
                    fresh = onnx_run.float_values(path, images[k : k + 1])
                    self.assertEqual({onnx_run.file_name(name) for name in fresh}, set(values.files))
                    for name, value in fresh.items():
                        was = values[onnx_run.file_name(name)]
                        np.testing.assert_allclose(value, was, rtol=0, atol=TOLERANCE, err_msg=name)

    def test_batch_norm_stays_where_it_should(self) -> None:
        def batch_norms(name: str) -> int:
            return sum(node.op_type == "BatchNormalization" for node in onnx.load(SUITE / name).graph.node)

        self.assertEqual(batch_norms("cnn_torchscript_batchnorm.onnx"), 5)
        self.assertEqual(batch_norms("cnn_torchscript.onnx"), 2)
        self.assertGreaterEqual(batch_norms("cnn_dynamo.onnx"), 2)


class Committed(unittest.TestCase):
    def test_files_say_nothing_of_the_machine_and_hold_their_weights(self) -> None:
        for path in [DIGITS / "model.onnx", *suite_models()]:
            with self.subTest(path.name):
                proto = onnx.load(path, load_external_data=False)
                self.assertFalse(any(tensor.external_data for tensor in proto.graph.initializer))
                self.assertFalse(any(node.metadata_props or node.doc_string for node in proto.graph.node))

    def test_sizes(self) -> None:
        self.assertLess((DIGITS / "model.onnx").stat().st_size, 1_000_000)
        self.assertLess(sum(path.stat().st_size for path in suite_models()), 3_000_000)
        self.assertLess(sum(path.stat().st_size for path in SUITE.glob("values/*/*.npz")), 4_500_000)


class Hostile(unittest.TestCase):
    def test_files_and_table_are_what_the_script_writes(self) -> None:
        folder = make_hostile.FOLDER
        cases = make_hostile.CASES
        self.assertEqual({path.stem for path in folder.glob("*.onnx")}, set(cases))
        self.assertEqual((folder / "cases.tsv").read_text(), make_hostile.table())
        for name, (_, _, build) in cases.items():
            with self.subTest(name):
                self.assertEqual((folder / f"{name}.onnx").read_bytes(), make_hostile.data_of(build))

    def test_legal_ones_load_in_onnx_runtime(self) -> None:
        for name, (verdict, _, _) in make_hostile.CASES.items():
            if verdict == "legal":
                with self.subTest(name):
                    options = onnxruntime.SessionOptions()
                    options.log_severity_level = 3
                    path = str(make_hostile.FOLDER / f"{name}.onnx")
                    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Long(unittest.TestCase):
    def test_the_file_is_what_the_script_writes_and_sums_what_it_says(self) -> None:
        for name, build in make_long.MODELS.items():
            data = (make_long.FOLDER / f"{name}.onnx").read_bytes()
            self.assertEqual(data, build().SerializeToString(deterministic=True))
        data = (make_long.FOLDER / "sum.onnx").read_bytes()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        x = np.arange(make_long.COLUMNS, dtype=np.float32)[None] / 1024
        [total] = session.run(None, {"x": x})
        self.assertLess(abs(total - 1024 * x.sum()), 10)


class Halves(unittest.TestCase):
    def test_the_file_is_what_the_script_writes_and_computes_what_it_says(self) -> None:
        data = (make_halves.FOLDER / "mixed.onnx").read_bytes()
        self.assertEqual(data, make_halves.mixed().SerializeToString(deterministic=True))
        x = (np.arange(make_halves.WIDTH, dtype=np.float16)[None] - 20) / np.float16(16)
        # ONNX Runtime's processor kernels keep float32 between float16 operators: the specification's own evaluator rounds.
        [y] = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"x": x})
        w, v = (
            make_halves.fractions(make_halves.WIDTH, columns, dtype).astype(np.float64)
            for columns, dtype in [(make_halves.WIDTH, np.float16), (make_halves.OUTPUTS, ml_dtypes.bfloat16)]
        )
        scaled = (x.astype(np.float64) @ w + x) * 0.3
        expected = np.where(scaled > 0, scaled, scaled / 3) @ v
        self.assertEqual((y.dtype, y.shape), (np.float16, (1, make_halves.OUTPUTS)))
        self.assertLess(np.abs(y - expected).max(), 2e-2 * np.abs(expected).max())


if __name__ == "__main__":
    unittest.main()
