"""A policy is asked for by name: ours, an installed package's entry point, or module:Class; no code
of ours changes."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import act_numbers
import pytest

from vla_ros.core.policy_file import load_policy_file
from vla_ros.core.types import Instruction, Observation
from vla_ros.policies import POLICIES, known, make_policy, policy_class, policy_spec
from vla_ros.policies.base import NotUnderstood

ROOT = Path(__file__).parents[2]
ACT = Path(__file__).parent / "lerobot_act"
JOINTS = list(act_numbers.JOINTS)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

WANDER = """
import numpy as np
from vla_ros.policies.base import PolicySpec


class Wander:
    name = "wander@1"

    @classmethod
    def spec(cls, options):
        return PolicySpec(("linear.x",), 1, 100_000_000, {"camera": (8, 8)})

    def __init__(self, options):
        self.speed = options.get("speed", 0.2)

    def predict(self, observation):
        return np.array([[self.speed]])

    def reset(self):
        pass


class Half:
    def predict(self, observation):
        return None


class Nameless(Wander):
    name = None


class Vague(Wander):
    @classmethod
    def spec(cls, options):
        return {"channels": ["linear.x"]}


def function(options):
    return None
"""
SEEN = Observation(0, Instruction(0, 1, "go"), {})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder on PYTHONPATH, and what writes modules and entry points into it. Module names are
    the test's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    number = abs(hash(str(tmp_path)))

    def write(text: str, points: str = "", distribution: str = "theirs") -> str:
        name = f"wander_{number}"
        (tmp_path / f"{name}.py").write_text(text)
        if points:
            info = tmp_path / f"{distribution}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
            )
            (info / "entry_points.txt").write_text(
                f"[vla_ros.policies]\n{points.format(module=name)}\n"
            )
        return name

    return write


def test_module_and_class_name_a_policy(package: Any) -> None:
    name = f"{package(WANDER)}:Wander"
    assert policy_spec(name).channels == ("linear.x",)
    assert make_policy(name, {"speed": 0.3}).predict(SEEN).tolist() == [[0.3]]


def test_an_installed_package_s_entry_point_names_a_policy(package: Any) -> None:
    package(WANDER, "wander = {module}:Wander")
    assert make_policy("wander").predict(SEEN).tolist() == [[0.2]]
    assert known() == sorted({*POLICIES, "wander"})
    with pytest.raises(
        ValueError,
        match="unknown policy 'wonder'; known are: builtin, builtin_arm, color_servo, constant, lerobot, remote, ros_service, wander; one",
    ):
        policy_class("wonder")


def test_an_entry_point_never_takes_the_place_of_one_of_ours(package: Any) -> None:
    package(WANDER, "constant = {module}:Wander")
    assert policy_class("constant").__name__ == "Constant"


def test_two_packages_that_offer_one_name_are_refused_with_both(package: Any) -> None:
    name = package(WANDER, "wander = {module}:Wander")
    package(WANDER, "wander = {module}:Nameless", "others")
    with pytest.raises(
        ValueError, match=f"offered by several packages: {name}:Nameless, {name}:Wander; give"
    ):
        policy_class("wander")


@pytest.mark.parametrize("place", ["{module}:Wonder", "{module}"])
def test_an_entry_point_that_names_no_class_is_a_sentence_with_its_place(
    package: Any, place: str
) -> None:
    package(WANDER, f"wander = {place}")
    with pytest.raises(ValueError, match=r"^policy 'wander'"):
        policy_class("wander")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nowhere_at_all:Wander",
            "policy 'nowhere_at_all:Wander': there is no module 'nowhere_at_all' here; install its "
            "package where the nodes run, or put its folder on PYTHONPATH",
        ),
        ("vla_ros.nowhere:Wander", "there is no module 'vla_ros.nowhere' here"),
        ("{module}.sub:Wander", "there is no module '{module}.sub' here"),
        (
            "{module}:Wonder",
            "has no class 'Wonder'; its policies are: Wander, Half, Nameless, Vague",
        ),
        ("{module}:function", "'function' is a function; give a class"),
        (
            "{module}:Half",
            "class 'Half' has no spec, no reset; a policy has spec, predict and reset",
        ),
        ("{module}:", "is none; give module:Class, like my_package.wander:Wander"),
        (":Wander", "is none; give module:Class"),
        ("{module}:Wander:Wander", "is none; give module:Class"),
        ("a b:Wander", "is none; give module:Class"),
        ("..x:Wander", "is none; give module:Class"),
        ("", "unknown policy ''; known are: builtin, builtin_arm, color_servo, constant"),
        ("x" * 10_000, "unknown policy 'xxx"),
    ],
)
def test_what_is_no_policy_gets_a_sentence(package: Any, name: str, sentence: str) -> None:
    module = package(WANDER)
    with pytest.raises(ValueError) as caught:
        policy_class(name.format(module=module))
    assert sentence.format(module=module) in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "import torch_of_yesterday",
            "raised ModuleNotFoundError: .*No module named 'torch_of_yesterday'",
        ),
        (
            "raise RuntimeError('no GPU')",
            "raised RuntimeError: 'no GPU'; python3 -c 'import wander_",
        ),
        ("import sys; sys.exit(3)", "raised SystemExit: '3'"),
        ("def", "raised SyntaxError"),
    ],
)
def test_a_module_that_raises_says_what(package: Any, line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        policy_class(f"{package(line)}:Wander")


def test_what_a_class_gives_is_checked(package: Any) -> None:
    module = package(WANDER)
    with pytest.raises(ValueError, match="spec gives a dict; a PolicySpec is right"):
        policy_spec(f"{module}:Vague")
    with pytest.raises(ValueError, match='has no name; give its class one, like name = "wander@1"'):
        make_policy(f"{module}:Nameless")


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_ours_are_policies(name: str) -> None:
    options = {  # nobody has a default server or checkpoint
        "remote": {"url": "ws://robot:8000", "preset": "droid"},
        "ros_service": {"service": "ask", "images": {"a": [8, 8]}, "actions": ["linear.x"], "rate": 10, "rows": 1},
        "lerobot": {"checkpoint": str(ACT), "state": JOINTS, "actions": JOINTS, "rate": 30.0},
    }
    assert policy_spec(name, options.get(name)).channels and policy_class(name).__name__.lower() == name.replace(
        "_", ""
    )


# -- CONTRIBUTING's recipe -----------------------------------------------------------------------------------
def test_the_recipe_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = CONTRIBUTING.split("### A policy\n")[1].split("\n### ")[0]
    blocks = re.findall(r"^   ```(\w+)\n(.*?)^   ```", recipe, re.M | re.S)
    assert [kind for kind, _ in blocks] == ["python", "yaml", "python"]
    module, policy_file, trial = (textwrap.dedent(text) for _, text in blocks)
    (tmp_path / "wander.py").write_text(module)
    (tmp_path / "wander.yaml").write_text(policy_file)
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(trial, {})
    chosen = load_policy_file(tmp_path / "wander.yaml")
    policy = make_policy(chosen.policy, chosen.options)
    assert policy.predict(Observation(1, Instruction(0, 2, ""), {})).tolist() == [[0.0, 0.0]]
    with pytest.raises(NotUnderstood, match="'dance' is not known; say 'wander'"):
        policy.predict(Observation(1, Instruction(0, 3, "dance"), {}))
    with pytest.raises(ValueError, match="policy 'wander' has no option 'sped'; it has speed"):
        policy_spec(chosen.policy, {"sped": 1})
    for command in (
        [sys.executable, "-m", "mypy", "--strict"],
        [sys.executable, "-m", "ruff", "check"],
    ):
        if find_spec(command[2]):
            done = subprocess.run(
                [*command, str(tmp_path / "wander.py")], cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout
