"""Counts tests by kind from runners' logs: count_tests.py LOG_DIR NAME=EXIT_STATUS...

A runner that failed without a failed test, ran nothing, or stopped inside a test program counts as one failed test.
"""

import json
import pathlib
import re
import subprocess
import sys
from collections import defaultdict

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Count:
    """Passed, failed and skipped tests of one kind."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def add(self, passed: str | int, failed: str | int, skipped: str | int) -> None:
        self.passed += int(passed)
        self.failed += int(failed)
        self.skipped += int(skipped)


def count_rust(log: str, end_to_end: set[str]) -> dict[str, Count]:
    """`end_to_end` names the test programs of the crate whose files are kinds of their own."""
    counts: dict[str, Count] = defaultdict(Count)
    kind, started, finished = "rust", 0, 0

    def start(new: str) -> None:
        nonlocal kind, started, finished
        if started > finished:  # the program before this one died without a result
            counts[kind].add(0, 1, 0)
        kind, started, finished = new, 1, 0

    for line in log.splitlines():
        if match := re.match(r"\s+Running (unittests )?\S+ \(\S*?([^/\s]+)-[0-9a-f]+\)", line):
            name = match[2]
            start("rust unit" if match[1] else f"rust {name}" if name in end_to_end else "rust integration")
        elif re.match(r"\s+Doc-tests ", line):
            start("rust doc")
        elif match := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", line):
            counts[kind].add(*match.groups())
            finished += 1  # documentation may come in several batches, each with a result
    start("")
    return counts


def count_solidity(log: str) -> dict[str, Count]:
    counts: dict[str, Count] = defaultdict(Count)
    kind = "solidity"
    for line in log.splitlines():
        if match := re.match(r"Ran \d+ tests? for test/(?:(\w+)/)?", line):
            kind = f"solidity {match[1]}" if match[1] else "solidity"
        elif match := re.match(r"Suite result: \w+\. (\d+) passed; (\d+) failed; (\d+) skipped", line):
            counts[kind].add(*match.groups())
    return counts


def count_python(log: str, name: str) -> dict[str, Count]:
    counts: dict[str, Count] = defaultdict(Count)
    ran = re.findall(r"^Ran (\d+) tests? in", log, re.M)
    if not ran:
        return counts
    last = log.rstrip().splitlines()[-1]
    found = {key: int(value) for key, value in re.findall(r"(failures|errors|skipped|unexpected successes)=(\d+)", last)}
    skipped = found.pop("skipped", 0)
    failed = sum(found.values())
    counts[name].add(max(int(ran[-1]) - failed - skipped, 0), failed, skipped)
    return counts


def end_to_end_programs() -> set[str]:
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    packages = json.loads(output)["packages"] if output else []
    return {
        target["name"].replace("-", "_")
        for package in packages
        if package["name"] == "touchstone-tests"
        for target in package["targets"]
        if "test" in target["kind"]
    }


def count(name: str, log: str, status: int, end_to_end: set[str]) -> dict[str, Count]:
    log = ANSI.sub("", log)
    if name == "rust":
        counts = count_rust(log, end_to_end)
    elif name == "solidity":
        counts = count_solidity(log)
    else:
        counts = count_python(log, name.replace("-", " "))
    failed = sum(c.failed for c in counts.values())
    ran = failed + sum(c.passed for c in counts.values())
    if (status != 0 and failed == 0) or ran == 0:
        counts[f"{name}: the run itself"].add(0, 1, 0)
    return counts


def main(logs: pathlib.Path, results: list[str]) -> int:
    total = Count()
    print(f"\n{'kind':<36}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for result in results:
        name, status = result.split("=")
        log = (logs / f"{name}.log").read_text(errors="replace")
        for kind, c in sorted(count(name, log, int(status), end_to_end_programs()).items()):
            print(f"{kind:<36}{c.passed:>8}{c.failed:>8}{c.skipped:>9}")
            total.add(c.passed, c.failed, c.skipped)
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
