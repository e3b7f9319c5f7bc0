"""Breaks the judge in one place at a time and sees that the named test fails.

docs/mutants.tsv lists the constants, terms and roundings of the judge's bounds, each with changes that halve, drop or turn it.
A line is `id, file, before, after, tests, result, digest, note`: `before` occurs once in its file, `\\n` in it is a line's end, and
each of `tests` (TARGET:NAME, apart by commas) fails by the change. What survives is argued in the note.

    mutants.py              runs the lines whose sources have changed since (see `digest`) and records how they ended
    mutants.py ID...        runs these
    mutants.py --all        runs every line, whatever was recorded
    mutants.py --sample N   runs N of them, always the same ones
    mutants.py --find       as without, and names a test where the line has `?`
    mutants.py --check      runs nothing: the list applies, is complete and was recorded from the present sources

    mutants.py --jobs N     in N copies side by side

Everything happens in a copy of the repository, .state/mutants/tree, with a target folder of its own.
"""

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, fields

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = ROOT / "docs/mutants.tsv"
STATE = ROOT / ".state/mutants"
CRATE = "crates/protocol"
CONTRACTS = ["contracts/src", "contracts/test", "contracts/artifacts", "contracts/foundry.toml"]
COPIED = ["Cargo.lock", ".cargo", CRATE, *CONTRACTS, "scripts"]
# Where to look for a test that fails, by a part of the changed file's name, the most telling first. Differential tests see any
# difference between the two languages, so they are for contracts alone: a rule should not need its twin.
TARGETS = {
    "contracts/": ["differential_enclosure", "differential"],
    "/enclosure/elementary": ["lib", "enclosure_constants", "enclosure_limits"],
    "/enclosure/fixed": ["lib", "enclosure_constants", "enclosure_limits", "profile_enclosures", "profile_engines"],
    "/enclosure/normalize": [
        "profile_enclosures",
        "profile_engines",
        "enclosure_constants",
        "enclosure_limits",
        "enclosure_moments",
        "enclosure_honest",
        "parts",
        "parts_limits",
    ],
    "/enclosure/": ["enclosure_constants", "enclosure_limits", "enclosure_honest", "profile_enclosures", "profile_engines", "parts"],
    "/leaf/rounded": ["tensor_cores"],
    "": ["envelopes", "profile_sums", "tensor_cores", "judge_terms", "judge", "lib"],
}
# Where the bounds are: no constant there is left out. Solidity has the same ones, held by the differential tests; the list
# changes the main ones.
RULES = [f"{CRATE}/src/leaf/*.rs", f"{CRATE}/src/enclosure/[!t]*.rs", f"{CRATE}/src/profile.rs"]
CONSTANT = re.compile(r"^ *(?:pub(?:\(\w+\))? )?const (\w+):[^;]*;", re.M)
# A whole function, Rust's or Solidity's, as the formatters lay it out; names of constants.
FUNCTION = re.compile(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:fn|function) \w+.*?^\1}$", re.M | re.S)
STATEMENT = re.compile(r"^.*\b(?:const|constant) \w+\b[^;]*;", re.M)
NAME = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
SECONDS = 600
# Cases a family in differential tests: enough to see a difference that matters, and quick where there is none.
CASES = "4000"


@dataclass
class Mutant:
    """A line of the list."""

    id: str
    file: str
    before: str
    after: str
    tests: str
    result: str
    digest: str
    note: str

    def text(self) -> str:
        """What it changes."""
        return self.before.replace("\\n", "\n")

    def changed(self, text: str) -> str:
        return text.replace(self.text(), self.after.replace("\\n", "\n"))

    def occurrences(self, text: str) -> int:
        return text.count(self.text())

    def named(self) -> dict[str, list[str]]:
        """Tests by target."""
        tests: dict[str, list[str]] = {}
        for test in filter(lambda test: test not in ("", "?"), self.tests.split(",")):
            target, _, name = test.partition(":")
            tests.setdefault(target, []).append(name)
        return tests


class Broken(Exception):
    """The change, or the tree before it, is no program."""


def read(path: pathlib.Path = LIST) -> list[Mutant]:
    lines = path.read_text().splitlines()
    names = [field.name for field in fields(Mutant)]
    if lines[0].split("\t") != names:
        raise SystemExit(f"{path}: the first line is not {names}")
    mutants = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(names):
            raise SystemExit(f"{path}:{number}: {len(cells)} cells of {len(names)}")
        mutants.append(Mutant(*cells))
    return mutants


def write(mutants: list[Mutant], path: pathlib.Path = LIST) -> None:
    names = [field.name for field in fields(Mutant)]
    lines = [names] + [[getattr(mutant, name) for name in names] for mutant in mutants]
    # At once, so that whoever stops this loses nothing.
    new = path.with_suffix(".new")
    new.write_text("".join("\t".join(line) + "\n" for line in lines))
    new.replace(path)


def source_of(target: str, name: str) -> str:
    """The file that a test stands in."""
    if target != "lib":
        return f"{CRATE}/tests/{target}.rs"
    modules = name.split("::")[:-1]
    if modules[-1] == "tests":
        modules.pop()
    return f"{CRATE}/src/{'/'.join(modules)}.rs"


def test_text(root: pathlib.Path, target: str, name: str) -> str | None:
    """A test's own lines, or None where there is no such test."""
    path = root / source_of(target, name)
    if not path.exists():
        return None
    found = re.search(rf"^( *)fn {re.escape(name.split('::')[-1])}\(.*?^\1}}$", path.read_text(), re.M | re.S)
    return found and found.group(0)


def without_comments(text: str) -> str:
    """What a program is, however it is laid out and explained: its words and signs."""
    lines = (re.sub(r"//.*$", "", line) for line in text.splitlines())
    words = re.findall(r"\w+|[^\w\s]", "\n".join(lines))
    return re.sub(r", ([)\]}])", r"\1", " ".join(words))


def touched(mutant: Mutant, text: str) -> str:
    """What of a file the change touches: the function that it stands in; of a constant its line and the functions that name it."""
    functions = list(FUNCTION.finditer(text))
    at = text.find(mutant.text())
    within = [found.group(0) for found in functions if found.start() <= at < found.end()]
    if within:
        return within[0]
    statements = [found.group(0) for found in STATEMENT.finditer(text) if found.start() <= at < found.end()]
    names = NAME.findall("".join(statements) + mutant.text())
    if not names:
        return text
    named = re.compile(rf"\b(?:{'|'.join(names)})\b")
    return "\n".join([*statements, mutant.text(), *(found.group(0) for found in functions if named.search(found.group(0)))])


def digest(mutant: Mutant, root: pathlib.Path = ROOT) -> str:
    """Of all that a result depends on first of all: what is changed (see `touched`) and the named tests, comments apart."""
    parts = [mutant.before, mutant.after, mutant.tests, without_comments(touched(mutant, (root / mutant.file).read_text()))]
    for target, names in mutant.named().items():
        parts += [without_comments(test_text(root, target, name) or "") for name in names]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def left_out(mutants: list[Mutant], root: pathlib.Path) -> list[str]:
    """Constants of the judge's rules that no line changes."""
    found = []
    for path in sorted(path for pattern in RULES for path in root.glob(pattern)):
        name = str(path.relative_to(root))
        # What follows is of the file's own tests.
        text = path.read_text().split("#[cfg(test)]\nmod tests")[0]
        spans = [(at, at + len(mutant.text())) for mutant in mutants if mutant.file == name and (at := text.find(mutant.text())) >= 0]
        for constant in CONSTANT.finditer(text):
            if not any(constant.start() < to and at < constant.end() for at, to in spans):
                found.append(f"{name}: nothing changes {constant.group(1)}")
    return found


def faults(mutants: list[Mutant], root: pathlib.Path = ROOT) -> list[str]:
    """What is wrong with the list as it stands."""
    found = left_out(mutants, root)
    seen = set()
    for mutant in mutants:
        say = lambda what, mutant=mutant: found.append(f"{mutant.id}: {what}")
        if mutant.id in seen:
            say("twice in the list")
        seen.add(mutant.id)
        path = root / mutant.file
        if not path.exists():
            say(f"there is no {mutant.file}")
            continue
        if (count := mutant.occurrences(path.read_text())) != 1:
            say(f"what it changes occurs {count} times in {mutant.file}")
        if mutant.before == mutant.after:
            say("it changes nothing")
        for target, names in mutant.named().items():
            for name in names:
                if test_text(root, target, name) is None:
                    say(f"there is no test {target}:{name}")
        if mutant.result == "killed":
            if not mutant.named():
                say("killed by no test")
        elif mutant.result == "survived":
            if not mutant.note:
                say("survived, and nobody says why that is right")
        else:
            say("has not been run")
            continue
        if mutant.digest != digest(mutant, root):
            say("its sources have changed since it was run: make mutants")
    return found


class Tree:
    """The copy in which things are broken."""

    def __init__(self, number: int = 0) -> None:
        beside = str(number or "")
        self.root = STATE / f"tree{beside}"
        self.root.mkdir(parents=True, exist_ok=True)
        tracked = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "--", *COPIED], cwd=ROOT, check=True, capture_output=True, text=True
        )
        wanted = {name for name in tracked.stdout.splitlines() if (ROOT / name).is_file()}
        for name in wanted:
            self._put(name, (ROOT / name).read_bytes())
        manifest = re.sub(r"members = \[.*?\]", f'members = ["{CRATE}"]', (ROOT / "Cargo.toml").read_text(), count=1, flags=re.S)
        # Built hundreds of times and run for a second each.
        manifest = manifest.replace("touchstone-protocol]\nopt-level = 3", "touchstone-protocol]\nopt-level = 1\ndebug = false")
        self._put("Cargo.toml", manifest.encode())
        for path in [*(self.root / CRATE).rglob("*"), *(self.root / "contracts").rglob("*")]:
            name = str(path.relative_to(self.root))
            if path.is_file() and name not in wanted and not name.startswith(("contracts/out", "contracts/cache")):
                path.unlink()
        (self.root / ".state").mkdir(exist_ok=True)
        tools = self.root / ".state/bin"
        if not tools.exists():
            # A link may be left that leads to where the repository was.
            tools.unlink(missing_ok=True)
            tools.symlink_to(ROOT / ".state/bin")
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(STATE / f"target{beside}"), TOUCHSTONE_CASES=CASES)
        self.environment.pop("TOUCHSTONE_UPDATE", None)
        self.green: set[tuple[str, str]] = set()

    def _put(self, name: str, content: bytes) -> None:
        path = self.root / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod((ROOT / name).stat().st_mode)

    def tests(self, target: str, names: list[str], exact: bool = True) -> set[str]:
        """Runs tests of a target; those that failed."""
        which = ["--lib"] if target == "lib" else ["--test", target]
        build = ["nice", "-n", "4", "cargo", "test", "--quiet", "-p", "touchstone-protocol", *which]
        built = subprocess.run([*build, "--no-run"], cwd=self.root, env=self.environment, capture_output=True, text=True)
        if built.returncode != 0:
            raise Broken(built.stderr[-2000:])
        # One line a test, so that --quiet is not for this one.
        run = [part for part in build if part != "--quiet"] + ["--", *(["--exact"] if exact else []), *names]
        try:
            done = subprocess.run(
                run, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=SECONDS, errors="replace"
            )
        except subprocess.TimeoutExpired:
            return set(names)
        if "forge build" in done.stdout + done.stderr:
            raise Broken((done.stdout + done.stderr)[-2000:])
        failed = set(re.findall(r"^test (\S+) \.\.\. FAILED$", done.stdout, re.M))
        # Prints in between break the line; the list at the end has all of them.
        if "\nfailures:\n" in done.stdout:
            failed |= set(re.findall(r"^    (\S+)$", done.stdout.rsplit("\nfailures:\n", 1)[1], re.M))
        ran = sum(int(count) for count in re.findall(r"(\d+) (?:passed|failed);", done.stdout))
        if exact and done.returncode == 0 and ran < len(names):
            raise Broken(f"{target}: {ran} of {names} ran")
        return failed or (set(names) if done.returncode != 0 else set())

    def hold(self, named: dict[str, list[str]]) -> None:
        """The tests pass while nothing is broken."""
        for target, names in named.items():
            new = [name for name in names if (target, name) not in self.green]
            if new and (failed := self.tests(target, new)):
                raise Broken(f"nothing is changed, and {target}: {sorted(failed)} fail")
            self.green |= {(target, name) for name in new}

    def run(self, mutant: Mutant, find: bool) -> str:
        """How it ends: killed when all the named tests fail."""
        path = self.root / mutant.file
        artifact = self.root / "contracts/artifacts/Judge.json"
        text, compiled = path.read_text(), artifact.read_bytes()
        if mutant.occurrences(text) != 1:
            raise Broken(f"occurs {mutant.occurrences(text)} times in {mutant.file}")
        finding = find and mutant.tests in ("", "?")
        if not finding:
            self.hold(mutant.named())
        try:
            path.write_text(mutant.changed(text))
            contract = mutant.file.startswith("contracts/")
            if contract and (finding or "differential" in mutant.named()):
                self._compile()
            if finding:
                return self._find(mutant)
            named = mutant.named()
            killed = bool(named) and all(set(names) <= self.tests(target, names) for target, names in named.items())
            return "killed" if killed else "survived"
        finally:
            path.write_text(text)
            artifact.write_bytes(compiled)

    def _compile(self) -> None:
        """The judge contract as the tests deploy it."""
        command = ["nice", "scripts/artifacts.sh", "Judge"]
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken((done.stdout + done.stderr)[-2000:])

    def _find(self, mutant: Mutant) -> str:
        for target in next(targets for part, targets in TARGETS.items() if part in mutant.file):
            # Of the crate's own tests those beside the change.
            module = mutant.file.removeprefix(f"{CRATE}/src/").removesuffix(".rs").replace("/", "::")
            beside = ["enclosure::" if "enclosure" in module else module] if target == "lib" else []
            failed = self.tests(target, beside, exact=False)
            if failed:
                mutant.tests = f"{target}:{sorted(failed)[0]}"
                return "killed"
        mutant.tests = ""
        return "survived"


def main() -> int:
    parser = argparse.ArgumentParser(description="breaks the judge in one place at a time and sees that the named test fails")
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--check", action="store_true", help="run nothing; hold the list and its results against the sources")
    parser.add_argument("--all", action="store_true", help="run every line, whatever was recorded")
    parser.add_argument("--sample", type=int, metavar="N", help="run N of them, always the same")
    parser.add_argument("--jobs", type=int, metavar="N", default=1, help="run in N copies of the repository side by side")
    parser.add_argument("--find", action="store_true", help="name a test where the list has `?`")
    arguments = parser.parse_args()
    mutants = read()
    if arguments.check:
        found = faults(mutants)
        print("\n".join(found) or f"{len(mutants)} mutants: the list applies and its results are of the present sources")
        return 1 if found else 0
    chosen = mutants
    if arguments.ids:
        chosen = [mutant for mutant in mutants if mutant.id in arguments.ids]
        if missing := set(arguments.ids) - {mutant.id for mutant in chosen}:
            raise SystemExit(f"no such mutant: {sorted(missing)}")
    elif arguments.sample:
        chosen = sorted(mutants, key=lambda mutant: hashlib.sha256(mutant.id.encode()).hexdigest())[: arguments.sample]
    forced = bool(arguments.ids or arguments.sample or arguments.all)
    done = lambda mutant: mutant.result in ("killed", "survived") and mutant.digest == digest(mutant)
    pending = [mutant for mutant in chosen if forced or not done(mutant)]
    left = iter(enumerate(pending, 1))
    turn = threading.Lock()

    def work(tree: Tree) -> int:
        failures = 0
        while True:
            with turn:
                number, mutant = next(left, (0, None))
            if mutant is None:
                return failures
            try:
                expected, mutant.result = mutant.result, tree.run(mutant, arguments.find)
                mutant.digest = digest(mutant, tree.root)
            except Broken as broken:
                expected, mutant.result = mutant.result, "broken"
                print(broken, file=sys.stderr)
            failures += mutant.result == "broken" or (mutant.result == "survived" and not mutant.note)
            was = f" (was {expected})" if expected and expected != mutant.result else ""
            with turn:
                print(f"[{number}/{len(pending)}] {mutant.id}: {mutant.result}{was} {mutant.tests}", flush=True)
                write(mutants)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as workers:
        failures = sum(workers.map(work, [Tree(number) for number in range(arguments.jobs)]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
