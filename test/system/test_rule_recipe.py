"""CONTRIBUTING.md's recipe for a safety rule, followed to the letter in a copy of the project."""
from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("### A safety rule")[1].split("\n### ")[0]
COPIED = ("vla_ros", "config", "test", "doc", "resource", "launch", "msg", ".ci", "setup.cfg", "setup.py", "package.xml",
          ".ruff.toml", "README.md", "mkdocs.yml", "CONTRIBUTING.md", "Makefile")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # A pytest of its own: none of the worker's around it.
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**outer, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


def good(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the recipe's files, its line and what its command writes."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    files = re.findall(r"^ *```python\n( *)# (\S+)\n(.*?)^ *```", RECIPE, re.M | re.S)
    assert [path for _, path, _ in files] == ["vla_ros/safety/rules/tilt.py", "test/unit/test_tilt.py"]
    for _, path, text in files:
        (folder / path).write_text(textwrap.dedent(text), encoding="utf-8")
    line, before = re.findall(r'`("\w+",)` after `("\w+",)`', RECIPE)[0]
    table = folder / "vla_ros" / "safety" / "rules" / "__init__.py"
    text = table.read_text(encoding="utf-8")
    assert text.count(f" {before}\n") == 1
    table.write_text(re.sub(rf"( +){before}\n", rf"\g<0>\1{line}\n", text), encoding="utf-8")
    command, = re.findall(r"^3\. `python3 (.+?)`", RECIPE, re.M)
    good(run(folder, sys.executable, *command.split()))
    return folder


def test_the_package_changed_by_one_file_and_one_line(followed: Path) -> None:
    changed = {}
    for path in (followed / "vla_ros").rglob("*"):
        name = path.relative_to(followed)
        if path.is_file() and "__pycache__" not in path.parts:
            there = (ROOT / name).read_bytes().splitlines() if (ROOT / name).is_file() else None
            if there != path.read_bytes().splitlines():
                changed[str(name)] = None if there is None else len(path.read_bytes().splitlines()) - len(there)
    assert changed == {"vla_ros/safety/rules/tilt.py": None, "vla_ros/safety/rules/__init__.py": 1}


def test_what_the_rule_declares_is_written_down(followed: Path) -> None:
    assert "    max_tilt: 0.35\n" in (followed / "config" / "vla.yaml").read_text(encoding="utf-8")
    assert "| `tilt` | the base tilts: it *stops*; or the IMU is silent or says nothing | topic `/imu/data`; `max_tilt` " \
        "0.35 rad, `imu_timeout` 0.3 s |" in (followed / "doc" / "gate.md").read_text(encoding="utf-8")
    policy = (followed / "config" / "security" / "policy.xml").read_text(encoding="utf-8")
    # the driver publishes it; the gate and the flight recorder hear it
    assert policy.count("<topic>/imu/data</topic>") == 3


def test_the_tests_that_the_recipe_names_are_green(followed: Path) -> None:
    tests, = re.findall(r"`python3 (-m pytest .+?)`", RECIPE)
    good(run(followed, "bash", "-c", f"{sys.executable} {tests} -q -x -p no:cacheprovider"))


def test_the_lines_for_its_mutation_are_where_they_are_said_to_be_and_it_is_caught(followed: Path) -> None:
    place = followed / "test" / "safety" / "mutate.py"
    before = place.read_text(encoding="utf-8")
    above, tests, change = re.findall(r"in\s+`TESTS`, above `(.+?)`, `(.+?)`, and in `BREAKS`\s+`(.+?)`:", RECIPE)[0]
    assert before.count(f"         {above}: ") == before.count("BREAKS = [\n") == 1
    try:
        place.write_text(before.replace(f"         {above}: ", f"         {tests}\n         {above}: ").replace(
            "BREAKS = [\n", f"BREAKS = [\n    {change}\n"), encoding="utf-8")
        done = run(followed, sys.executable, "test/safety/mutate.py", "tilt")
    finally:
        place.write_text(before, encoding="utf-8")
    good(done)
    assert "1 of 1 mutations were caught" in done.stdout


def test_ruff_is_clean(followed: Path) -> None:
    if shutil.which("ruff") is None:
        pytest.skip("ruff is not installed; `make check` runs where it is")
    good(run(followed, ".ci/check", "ruff"))


def test_mypy_is_clean_and_sees_a_field_that_is_not_there(followed: Path) -> None:
    if shutil.which("mypy") is None:
        pytest.skip("mypy is not installed; `make check` runs where it is")
    good(run(followed, "mypy", "vla_ros/safety"))
    path = followed / "vla_ros" / "safety" / "rules" / "tilt.py"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace("inputs.value(IMU)", "inputs.measured_tilt"), encoding="utf-8")
        done = run(followed, "mypy", str(path))
    finally:
        path.write_text(text, encoding="utf-8")
    assert '"RuleInputs" has no attribute "measured_tilt"' in done.stdout


def test_the_gate_subscribes_holds_stops_and_lets_pass(followed: Path) -> None:
    if not all(map(importlib.util.find_spec, ("rclpy", "vla_ros_msgs"))):
        pytest.skip("the gate's node needs ROS 2 (rclpy) and the messages")
    shutil.copy(followed / "test" / "system" / "tilt_gate.py", followed / "test" / "nodes" / "test_tilt_gate.py")
    try:
        good(run(followed, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/nodes/test_tilt_gate.py"))
    finally:
        (followed / "test" / "nodes" / "test_tilt_gate.py").unlink()
