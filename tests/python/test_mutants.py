"""The list of mutants applies to the judge as it stands, leaves no constant out, and its results are of the present sources."""

import dataclasses
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import mutants
from mutants import Mutant

TEST = f"{mutants.CRATE}/tests/edges.rs"
RULE = f"{mutants.CRATE}/src/leaf/rule.rs"


class Committed(unittest.TestCase):
    def test_the_list_is_whole_and_fresh(self) -> None:
        found = mutants.faults(mutants.read())
        self.assertEqual(found, [], "make mutants runs what has changed")


class Faults(unittest.TestCase):
    """Each fault is seen, in a small repository of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.put(RULE, "/// Doc.\nconst WIDTH: u64 = 8;\nfn bound() -> u64 {\n    WIDTH + 1\n}\n")
        self.put(TEST, "#[test]\nfn the_edge() {\n    assert_eq!(1, 1);\n}\n\n#[test]\nfn other() {\n}\n")
        good = Mutant("width-halved", RULE, "const WIDTH: u64 = 8;", "const WIDTH: u64 = 4;", "edges:the_edge", "killed", "", "")
        self.good = dataclasses.replace(good, digest=mutants.digest(good, self.root))

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def faults(self, *listed: Mutant) -> str:
        return "\n".join(mutants.faults(list(listed), self.root))

    def but(self, **changes: str) -> str:
        changed = dataclasses.replace(self.good, **changes)
        if "digest" not in changes:
            changed = dataclasses.replace(changed, digest=mutants.digest(changed, self.root))
        return self.faults(changed)

    def test_a_right_list_has_none(self) -> None:
        self.assertEqual(self.faults(self.good), "")

    def test_a_change_that_does_not_apply(self) -> None:
        self.assertIn("occurs 0 times", self.but(before="const DEPTH"))
        self.assertIn("occurs 2 times", self.but(before="WIDTH"))
        self.assertIn("changes nothing", self.but(after=self.good.before))

    def test_a_line_twice(self) -> None:
        self.assertIn("twice", self.faults(self.good, self.good))

    def test_a_test_that_is_not_there(self) -> None:
        self.assertIn("no test edges:the_hedge", self.but(tests="edges:the_hedge"))
        self.assertIn("no test hedges:the_edge", self.but(tests="hedges:the_edge"))
        self.assertIn("killed by no test", self.but(tests=""))

    def test_a_survivor_without_an_argument(self) -> None:
        self.assertIn("nobody says why", self.but(result="survived"))
        self.assertEqual(self.but(result="survived", note="within the proof"), "")
        self.assertIn("has not been run", self.but(result=""))
        self.assertIn("has not been run", self.but(result="broken"))

    def test_sources_that_have_changed(self) -> None:
        self.put(RULE, (self.root / RULE).read_text().replace("Doc.", "Other words.\n// And more."))
        self.assertEqual(self.faults(self.good), "", "comments do not count")
        self.put(TEST, (self.root / TEST).read_text().replace("fn other() {\n", "fn other() {\n    let _ = 1;\n"))
        self.assertEqual(self.faults(self.good), "", "nor do other tests")
        self.put(TEST, (self.root / TEST).read_text().replace("assert_eq!(1, 1)", "assert_eq!(2, 2)"))
        self.assertIn("have changed", self.faults(self.good))
        self.setUp()
        self.put(RULE, (self.root / RULE).read_text().replace("WIDTH + 1", "WIDTH + 2"))
        self.assertIn("have changed", self.faults(self.good))

    def test_only_what_a_change_touches_makes_it_old(self) -> None:
        self.put(RULE, (self.root / RULE).read_text() + "fn other() -> u64 {\n    1\n}\n")
        self.assertEqual(self.faults(self.good), "", "of a constant the functions that name it")
        inside = dataclasses.replace(self.good, id="one-dropped", before="WIDTH + 1", after="WIDTH")
        inside = dataclasses.replace(inside, digest=mutants.digest(inside, self.root))
        self.put(RULE, (self.root / RULE).read_text().replace("    1\n", "    2\n"))
        self.assertEqual(self.faults(self.good, inside), "", "of what stands in a function that function")
        self.put(RULE, (self.root / RULE).read_text().replace("-> u64 {\n    WIDTH", "-> u64 {\n    let _ = 0;\n    WIDTH"))
        self.assertIn("one-dropped: its sources have changed", self.faults(self.good, inside))

    def test_a_constant_that_nothing_changes(self) -> None:
        self.put(RULE, (self.root / RULE).read_text() + "pub(crate) const ETA: Wide =\n    Wide(150);\n")
        fresh = dataclasses.replace(self.good, digest=mutants.digest(self.good, self.root))
        self.assertIn(f"{RULE}: nothing changes ETA", self.faults(fresh))
        value = dataclasses.replace(fresh, id="eta", before="Wide(150)", after="Wide(151)")
        value = dataclasses.replace(value, digest=mutants.digest(value, self.root))
        self.assertEqual(self.faults(fresh, value), "")


if __name__ == "__main__":
    unittest.main()
