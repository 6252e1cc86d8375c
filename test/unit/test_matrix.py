"""`.ci/matrix` itself, with a Python that only pretends: what it says, and what its exit code means."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.text
# As much of a python3.10 as the script asks for.
PRETENDER = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo made >>"$MADE" ;;
    *"-m pip install"*) exit ${PIP:-0} ;;
    *print*executable*) echo "$0" ;;
    *"-m pytest"*) echo "$CLOSING" && exit ${PYTEST:-0} ;;
    -) echo "Python 3.10.0, numpy 1.21.5" ;;
esac
"""


@pytest.fixture
def here(tmp_path: Path, root: Path) -> Path:
    """A checkout with nothing but the script."""
    shutil.copytree(root / ".ci", tmp_path / "checkout" / ".ci")
    return tmp_path / "checkout"


def matrix(here: Path, *names: str, pretend: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    tools = here.parent / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "python3.10").unlink(missing_ok=True)
    if pretend:
        (tools / "python3.10").write_text(PRETENDER)
        (tools / "python3.10").chmod(0o755)
    given = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(here), "MADE": str(here.parent / "made"), **environment}
    return subprocess.run([str(here / ".ci" / "matrix"), *names], env=given, capture_output=True, text=True)


def test_what_passed_is_in_the_table_and_the_environment_is_made_once(here: Path) -> None:
    for _ in range(2):
        done = matrix(here, "jammy", CLOSING="== 7 passed in 1.00s ==")
        assert done.returncode == 0 and "✓ jammy" in done.stdout and "7 passed in 1.00s" in done.stdout, done
        assert "numpy 1.21.5" in done.stdout
    assert (here.parent / "made").read_text() == "made\n"
    with (here / ".ci" / "distributions" / "jammy.txt").open("a") as file:
        file.write("six==1.16.0\n")
    matrix(here, "jammy", CLOSING="== 7 passed in 1.00s ==")
    assert (here.parent / "made").read_text() == "made\nmade\n"


def test_a_test_that_fails_is_the_exit_code(here: Path) -> None:
    done = matrix(here, "jammy", PYTEST="1", CLOSING="FAILED test_x.py::test_y\n== 1 failed, 6 passed in 1.00s ==")
    assert done.returncode == 1 and "✗ jammy" in done.stdout and "1 failed, 6 passed" in done.stdout
    assert "FAILED test_x.py::test_y" in done.stdout


def test_a_run_that_ended_without_tests_failed(here: Path) -> None:
    done = matrix(here, "jammy", PYTEST="1", CLOSING="Segmentation fault")
    assert done.returncode == 1 and "✗ jammy" in done.stdout and "ended before the tests did" in done.stdout


def test_what_cannot_be_made_here_is_said_and_is_no_failure(here: Path) -> None:
    done = matrix(here, "jammy", PIP="1", CLOSING="7 passed")
    assert done.returncode == 0 and "– jammy" in done.stdout and "pip could not install" in done.stdout


@pytest.mark.skipif(Path("/usr/bin/python3.10").exists(), reason="this system's own Python is 3.10")
def test_without_that_python_it_is_one_sentence(here: Path) -> None:
    lonely = [folder for folder in os.environ["PATH"].split(":") if not Path(folder, "python3.10").exists()]
    done = matrix(here, "jammy", pretend=False, PATH=":".join(lonely))
    assert done.returncode == 0 and "could not be tried: no Python 3.10" in done.stdout


def test_an_unknown_name_is_a_sentence(here: Path) -> None:
    done = matrix(here, "jammie")
    assert done.returncode == 2 and 'no "jammie"; there are jammy bookworm' in done.stderr and not done.stdout
