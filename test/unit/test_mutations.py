"""The mutations: each fits the code as it is now, the harness tells caught from not caught, and a few are tried daily."""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.text
ROOT = Path(__file__).resolve().parents[2]
BUDGET_S = 30.0  # none of the day's sample is begun later, so on a busy machine fewer than ten are tried


def loaded(path: str) -> ModuleType:
    """A script of the tests, as a module."""
    folder = str((ROOT / path).parent)
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location(f"mutations_{Path(path).stem}", ROOT / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


PACKAGE, GATE = loaded("test/mutations/package.py"), loaded("test/safety/mutate.py")
harness = sys.modules["harness"]
ALL = [*PACKAGE.MUTATIONS, *GATE.MUTATIONS]


# -- what they are ------------------------------------------------------------------------------------------
def test_what_each_mutation_replaces_stands_once_in_the_code_and_its_tests_are_there() -> None:
    """A refactoring that changes such a line must change the mutation with it, or it would be switched off."""
    assert [problem for mutation in ALL if (problem := harness.misfit(mutation))] == []


def test_the_gate_s_table_of_tests_has_no_line_that_another_takes_the_files_of() -> None:
    places = [*GATE.TESTS]
    shadowed = [place for number, place in enumerate(places) if place.startswith(tuple(places[:number]))]
    assert shadowed == []
    assert [test for tests in GATE.TESTS.values() for test in tests if not (ROOT / test).is_file()] == []


def test_no_mutation_is_made_twice() -> None:
    assert len({mutation[:3] for mutation in ALL}) == len(ALL)


def test_every_folder_of_the_package_that_computes_is_broken_in_many_ways() -> None:
    assert len(PACKAGE.MUTATIONS) >= 60
    for folder, least in (("core", 30), ("policies", 10), ("models", 15), ("engines", 5), ("training", 20), ("datasets", 5)):
        count = sum(mutation.file.startswith(f"vla_ros/{folder}/") for mutation in PACKAGE.MUTATIONS)
        assert count >= least, f"{folder} has {count} mutations"


# -- the harness --------------------------------------------------------------------------------------------
@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project of one function and one test."""
    for name, text in (("vla_ros/speed.py", "MOST = 2\n\n\ndef clamp(value):\n    return min(value, MOST)\n"),
                       ("vla_ros/__init__.py", ""),
                       ("test/test_speed.py", "from vla_ros.speed import clamp\n\n\ndef test_clamp():\n    assert clamp(3) == 2\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


CASES = [
    ("min(value, MOST)", "max(value, MOST)", True, "caught by test_clamp"),
    ("MOST = 2", "MOST = 1 + 1", False, "NOT CAUGHT"),
    ("MOST = 3", "MOST = 4", False, "'MOST = 3' stands 0 times in vla_ros/speed.py; once is right"),
    ("MOST", "LEAST", False, "'MOST' stands 2 times in vla_ros/speed.py; once is right"),
    ("MOST = 2", "MOST = 2", False, "'MOST = 2' is put in place of itself"),
    ("MOST = 2", "MOST =", False, "vla_ros/speed.py is no Python with 'MOST =' in it"),
    ("def clamp(value):", "def clip(value):", False, "the tests did not run"),
    ("return min", "while True: pass\n    return min", False, "the tests did not run"),
]


def test_a_mutation_is_caught_by_a_test_that_fails_or_it_is_said_why_not(tree: Path) -> None:
    before = (tree / "vla_ros" / "speed.py").read_text()
    code = f"""
import json, sys
from pathlib import Path
import harness
harness.LIBRARIES, harness.LONGEST_CPU_S = ("pytest",), 2
mutations = [harness.Mutation("vla_ros/speed.py", old, new, ("test/test_speed.py",)) for old, new, *_ in {CASES!r}]
print(json.dumps(sorted(harness.attempts(mutations, Path({str(tree)!r})))))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT / "test" / "mutations")})
    assert run.returncode == 0, run.stderr
    outcomes = json.loads(run.stdout)
    assert [number for number, _ in outcomes] == [*range(len(CASES))]
    for (_, (was_caught, sentence, _)), (_, _, caught, expected) in zip(outcomes, CASES):
        assert was_caught == caught and sentence.startswith(expected), sentence
    assert (tree / "vla_ros" / "speed.py").read_text() == before


def test_tests_that_are_named_after_the_file_are_tried_first() -> None:
    tests = ("test/test_gate.py", "test/test_speed_outputs.py", "test/test_input.py")
    mutation = harness.Mutation("vla_ros/outputs.py", "MOST = 2", "MOST = 3", tests)
    assert harness.likeliest_first(mutation) == ["test/test_speed_outputs.py", "test/test_gate.py", "test/test_input.py"]
    assert harness.likeliest_first(harness.Mutation("", "", "", tests)) == [*tests]


@pytest.mark.parametrize(("file", "test", "sentence"), [
    ("vla_ros/gone.py", "test/test_speed.py", "there is no vla_ros/gone.py"),
    ("vla_ros/speed.py", "test/test_gone.py", "there is no test/test_gone.py"),
])
def test_files_that_are_gone_are_named(tree: Path, file: str, test: str, sentence: str) -> None:
    assert harness.misfit(harness.Mutation(file, "MOST = 2", "MOST = 3", (test,)), tree) == sentence


# -- the sample of the day ----------------------------------------------------------------------------------
def test_a_day_s_sample_is_always_the_same_and_each_mutation_has_its_day() -> None:
    days = [(date(2026, 1, 1) + timedelta(days)).isoformat() for days in range(365)]
    samples = [PACKAGE.sample(day) for day in days]
    assert samples[0] == PACKAGE.sample(days[0]) != samples[1]
    assert all(len(set(sample)) == 10 for sample in samples)
    quick = {mutation for mutation in PACKAGE.MUTATIONS if PACKAGE.SLOW.isdisjoint(mutation.tests)}
    assert set().union(*samples) == quick and len(quick) >= 60


def test_the_sample_of_the_day_is_caught() -> None:
    """As many of the ten as there is time for, each in a copy of the tree. VLA_MUTATION_DAY tries another day's."""
    for library in ("torch", "mujoco", "pyarrow", "av", "hypothesis"):  # without one, its tests would be skipped
        pytest.importorskip(library)
    day = os.environ.get("VLA_MUTATION_DAY") or date.today().isoformat()
    command = ["test/mutations/package.py", "--day", day, "--workers", "1", "--seconds", str(BUDGET_S)]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    print(run.stdout)
    assert run.returncode == 0, f"python3 {' '.join(command[:3])}:\n{run.stdout}{run.stderr}"
