"""The scripts that bring up the project and judge its test runs: they must not call a failure a success."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import count_tests

RUST_LOG = """\
     Running unittests src/lib.rs (target/debug/deps/touchstone_protocol-0123456789abcdef)
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/vectors.rs (/elsewhere/debug/deps/vectors-0123456789abcdef)
test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/tidy.rs (target/debug/deps/tidy-0123456789abcdef)
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests touchstone_protocol
test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
"""
SOLIDITY_LOG = """\
Ran 4 tests for test/unit/Clock.t.sol:ClockTest
Suite result: FAILED. 3 passed; 1 failed; 0 skipped; finished in 8.56ms (8.31ms CPU time)
Ran 1 test for test/Other.t.sol:OtherTest
Suite result: ok. 1 passed; 0 failed; 0 skipped; finished in 8.56ms (8.31ms CPU time)
Ran 2 test suites in 12.84ms (8.56ms CPU time): 4 tests passed, 1 failed, 0 skipped (5 total tests)
"""


def counted(name: str, log: str, status: int) -> dict[str, tuple[int, int, int]]:
    counts = count_tests.count(name, log, status, {"tidy"})
    return {kind: (c.passed, c.failed, c.skipped) for kind, c in counts.items()}


class Counting(unittest.TestCase):
    def test_rust_is_counted_by_kind(self) -> None:
        expected = {
            "rust unit": (12, 0, 0),
            "rust integration": (3, 1, 2),
            "rust tidy": (5, 0, 0),
            "rust doc": (4, 0, 0),
        }
        self.assertEqual(counted("rust", RUST_LOG, 101), expected)

    def test_a_test_program_that_dies_is_a_failure(self) -> None:
        lines = RUST_LOG.splitlines()
        died = "\n".join(lines[:5] + lines[6:])
        self.assertEqual(counted("rust", died, 101)["rust tidy"], (0, 1, 0))
        self.assertEqual(counted("rust", "\n".join(lines[:-3]), 101)["rust tidy"], (0, 1, 0))

    def test_solidity_is_counted_by_folder(self) -> None:
        self.assertEqual(counted("solidity", SOLIDITY_LOG, 1), {"solidity unit": (3, 1, 0), "solidity": (1, 0, 0)})

    def test_python_failures_and_errors_both_fail(self) -> None:
        log = "Ran 9 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=3)\n"
        self.assertEqual(counted("python-x", log, 1), {"python x": (3, 3, 3)})
        self.assertEqual(counted("python-x", "Ran 2 tests in 0.1s\n\nOK\n", 0), {"python x": (2, 0, 0)})

    def test_a_runner_that_fails_or_runs_nothing_is_a_failure(self) -> None:
        for name, log, status in [
            ("rust", "error: could not compile", 101),
            ("rust", "", 0),
            ("solidity", "No tests found", 0),
            ("python-x", "Ran 0 tests in 0.0s\n\nOK\n", 0),
            ("python-x", "Ran 2 tests in 0.1s\n\nOK\n", 1),
        ]:
            with self.subTest(name=name, log=log):
                self.assertEqual(counted(name, log, status)[f"{name}: the run itself"], (0, 1, 0))

    def test_the_last_line_and_the_status_say_the_same(self) -> None:
        with tempfile.TemporaryDirectory() as logs:
            pathlib.Path(logs, "solidity.log").write_text(SOLIDITY_LOG)
            command = [sys.executable, ROOT / "scripts/count_tests.py", logs, "solidity=1"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        self.assertEqual(done.stdout.splitlines()[-1], "4 passed, 1 failed")
        self.assertEqual(done.returncode, 1)


class SetUp(unittest.TestCase):
    def bash(self, script: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)

    def test_a_wrong_digest_is_refused_with_its_remedy(self) -> None:
        done = self.bash("set -euo pipefail; source scripts/lib.sh; check_digest Makefile 00; echo went on")
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("went on", done.stdout)
        self.assertRegex(done.stderr, r"Makefile has sha256 [0-9a-f]{64}, expected 00\n\s+remedy: ")

    def test_an_unfit_libtorch_is_refused_with_its_remedy(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder, "include/torch/headeronly/version.h")
            for text, complaint in [(None, "has no include/"), ("#define TORCH_VERSION_MAJOR 1\n", "is version 1,")]:
                if text:
                    header.parent.mkdir(parents=True)
                    header.write_text(text)
                link = f'source scripts/lib.sh; STATE={folder}; eval "$(sed -n "/^link_users/,/^}}/p" scripts/setup.d/libtorch.sh)"'
                done = self.bash(f"{link}; LIBTORCH={folder}; link_users_libtorch")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(complaint, done.stderr)
                self.assertIn("remedy: ", done.stderr)


class Postgres(unittest.TestCase):
    SCRIPT = str(ROOT / "scripts/postgres.sh")

    def test_a_given_database_is_used_and_never_stopped(self) -> None:
        environment = {**os.environ, "DATABASE_URL": "postgres://somewhere/else"}
        for arguments in (["start"], ["url"], ["with", "printenv", "DATABASE_URL"]):
            done = subprocess.run([self.SCRIPT, *arguments], env=environment, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, "postgres://somewhere/else\n"))
        done = subprocess.run([self.SCRIPT, "stop"], env=environment, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_holders_share_one_cluster_and_pass_on_the_status(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        holder = subprocess.Popen(
            [self.SCRIPT, "hold"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        url = holder.stdout.readline()
        try:
            command = [self.SCRIPT, "with", "bash", "-c", "echo $DATABASE_URL; exit 7"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            self.assertEqual((done.stdout, done.returncode), (url, 7))
            still = subprocess.run([self.SCRIPT, "url"], env=environment, capture_output=True, text=True)
            self.assertEqual((still.stdout, still.returncode), (url, 0), "the other holder must keep it")
        finally:
            holder.stdin.close()
            self.assertEqual(holder.wait(timeout=60), 0)
            holder.stdout.close()


if __name__ == "__main__":
    unittest.main()
