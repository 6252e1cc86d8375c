"""Breaks code on purpose, one small way after another, each in a copy of the tree, and shows that the tests notice.

The breaks are data: test/safety/mutate.py has the gate's, package.py those of the other folders. One that no test
catches, or whose text no longer stands exactly once in its file, is an error: a refactoring cannot switch it off.

Most of the time of a short run of tests goes into importing libraries. So they are imported here, once, and each run
is a fork of this process, which has nothing of the package in memory yet.
"""
from __future__ import annotations

import argparse
import importlib
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("vla_ros", "config", "doc", "msg", "test", "setup.cfg", "README.md")  # what the tests look at
# Not mujoco and matplotlib: the tests choose how these draw before they are imported.
LIBRARIES = ("pytest", "numpy", "cv2", "yaml", "hypothesis", "pyarrow.parquet", "av", "torch", "safetensors.torch")
EXAMPLES = "300"  # of each of the gate's properties: fewer than in the tests, and always the same
LONGEST_CPU_S = 300  # of a run of tests; more is an endless loop


class Mutation(NamedTuple):
    file: str
    old: str  # stands exactly once in the file
    new: str
    tests: tuple[str, ...]  # the files of those that ought to notice


class Outcome(NamedTuple):
    caught: bool
    sentence: str
    seconds: float = 0.0


class Run(NamedTuple):
    """A fork that tests a copy of the tree."""

    number: int
    folder: Path
    output: Path
    start: float


# -- what a mutation is ---------------------------------------------------------------------------------------
def misfit(mutation: Mutation, root: Path = ROOT) -> str:
    """Why the mutation does not fit the code; empty: it does."""
    path = root / mutation.file
    if not path.is_file():
        return f"there is no {mutation.file}"
    for test in mutation.tests:
        if not (root / test).is_file():
            return f"there is no {test}"
    count = path.read_text(encoding="utf-8").count(mutation.old)
    if count != 1:
        return f"{mutation.old!r} stands {count} times in {mutation.file}; once is right"
    if mutation.old == mutation.new:
        return f"{mutation.old!r} is put in place of itself"
    try:
        compile(mutated(mutation, root), mutation.file, "exec")
    except SyntaxError as error:
        return f"{mutation.file} is no Python with {mutation.new!r} in it: {error}"
    return ""


def mutated(mutation: Mutation, root: Path = ROOT) -> str:
    return (root / mutation.file).read_text(encoding="utf-8").replace(mutation.old, mutation.new)


def copy_tree(folder: Path, root: Path = ROOT) -> None:
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)


# -- runs of tests --------------------------------------------------------------------------------------------
def attempts(mutations: Sequence[Mutation], root: Path = ROOT, workers: int | None = None,
             seconds: float = float("inf")) -> Iterator[tuple[int, Outcome]]:
    """Each mutation's number and outcome, as they come. After `seconds` none is begun any more, but for the first.

    A mutation without a file changes nothing: its tests ought to pass.
    """
    begun = time.monotonic()
    import_libraries()
    waiting = deque(enumerate(mutations))
    running: dict[int, Run] = {}
    with tempfile.TemporaryDirectory(prefix="vla_mutations_") as name:
        while waiting or running:
            late = time.monotonic() - begun > seconds
            if waiting and late and len(waiting) < len(mutations):
                waiting.clear()
            elif waiting and len(running) < (workers or os.cpu_count() or 1):
                number, mutation = waiting.popleft()
                problem = misfit(mutation, root) if mutation.file else ""
                if problem:
                    yield number, Outcome(False, problem)
                else:
                    pid, run = begin(number, mutation, root, Path(name))
                    running[pid] = run
            elif running:
                pid, status = os.wait()
                if pid in running:
                    run = running.pop(pid)
                    yield run.number, outcome_of(run, os.waitstatus_to_exitcode(status))
                    shutil.rmtree(run.folder, ignore_errors=True)


def import_libraries() -> None:
    if "vla_ros" in sys.modules:
        raise RuntimeError("vla_ros is imported already; mutations are tried from a process of their own")
    os.environ["OMP_NUM_THREADS"] = "1"  # as many runs as cores; and a fork has no threads but its own
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)


def begin(number: int, mutation: Mutation, root: Path, place: Path) -> tuple[int, Run]:
    folder = place / str(number)
    copy_tree(folder, root)
    if mutation.file:
        (folder / mutation.file).write_text(mutated(mutation, root), encoding="utf-8")
    run = Run(number, folder, place / f"{number}.txt", time.monotonic())
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 70  # neither of pytest's
        try:
            code = run_tests(run, likeliest_first(mutation))
        finally:
            os._exit(code)
    return pid, run


def likeliest_first(mutation: Mutation) -> list[str]:
    """Its tests, those first that are named after its file: the first that fails is enough."""
    name = Path(mutation.file).stem
    return sorted(mutation.tests, key=lambda test: not (name and name in Path(test).stem))


def run_tests(run: Run, tests: Sequence[str]) -> int:
    """In the fork: pytest's exit code."""
    output = os.open(run.output, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S + 5))
    os.chdir(run.folder)
    sys.path.insert(0, str(run.folder))
    sys.dont_write_bytecode = True
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # what a pytest around this one tells its own processes
    os.environ |= {"PYTHONPATH": f"{run.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                   "PYTHONDONTWRITEBYTECODE": "1", "VLA_PROPERTY_EXAMPLES": EXAMPLES,
                   "VLA_PROPERTY_PROFILE": "mutation"}
    import pytest

    code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--disable-warnings", *tests]))
    sys.stdout.flush()
    return code


def outcome_of(run: Run, code: int) -> Outcome:
    seconds = time.monotonic() - run.start
    text = run.output.read_text(encoding="utf-8", errors="replace")
    if code == 0:
        return Outcome(False, "NOT CAUGHT", seconds)
    if code != 1:
        return Outcome(False, f"the tests did not run ({code}): {text[-2000:]}", seconds)
    failed = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    test = failed[0].split(" - ")[0].partition("::")[2] if failed else "a test"
    return Outcome(True, f"caught by {test}", seconds)


# -- the command ----------------------------------------------------------------------------------------------
def main(mutations: Sequence[Mutation], sample: Callable[[str], list[Mutation]] | None = None) -> int:
    """Tries the mutations that the command line asks for, and prints what became of each."""
    parser = argparse.ArgumentParser(description="break the code in small ways, and show that the tests notice")
    parser.add_argument("words", nargs="*", help="those whose line holds all of these words")
    parser.add_argument("--workers", type=int, help="runs at a time; as many as there are cores")
    if sample is not None:
        parser.add_argument("--day", nargs="?", const=date.today().isoformat(), help="the sample of a day, as 2026-11-26")
        parser.add_argument("--seconds", type=float, default=float("inf"), help="none is begun after so long")
    given = parser.parse_args()
    day = getattr(given, "day", None)
    if day is not None and sample is not None:
        print(f"the sample of {day}")
        mutations = sample(day)
    chosen = [mutation for mutation in mutations if all(word in " ".join(mutation[:3]) for word in given.words)]
    start = time.monotonic()
    if day is None:
        tests = list(dict.fromkeys(test for mutation in chosen for test in mutation.tests))
        print(f"{len(chosen)} mutations; first {len(tests)} files of tests without any", flush=True)
        for _, outcome in attempts([Mutation("", "", "", (test,)) for test in tests], workers=given.workers):
            if outcome.sentence != "NOT CAUGHT":
                print(f"without any mutation: {outcome.sentence}; mend that first")
                return 1
    tried = caught = 0
    for number, outcome in attempts(chosen, workers=given.workers, seconds=getattr(given, "seconds", float("inf"))):
        file, old, new, _ = chosen[number]
        print(f"{file}: {' '.join(old.split())[:60]}  ->  {' '.join(new.split())[:60] or 'nothing'}")
        print(f"    {outcome.sentence} ({outcome.seconds:.0f} s)", flush=True)
        tried += 1
        caught += outcome.caught
    skipped = f" ({len(chosen) - tried} were left out, for want of time)" if tried < len(chosen) else ""
    print(f"{caught} of {tried} mutations were caught, in {time.monotonic() - start:.0f} s{skipped}")
    return 0 if caught == tried else 1
