"""A policy with words of its own is judged in the demo by a function of its own."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("vla_ros_msgs")
pytest.importorskip("visualization_msgs")

from test_demo_judging import ByHand, cart_judging

from vla_ros.cli import main as command_line
from vla_ros.demo.scenario import Demo
from vla_ros.demo.scoring import verdict
from vla_ros.demo.stack import Failed
from vla_ros.demo.success_function import success_function
from vla_ros.tasks.success import Judgement
from vla_ros.tasks.world_state import WorldState

TUTORIAL = Path(__file__).parents[2] / "doc" / "tutorials" / "first_policy.md"
FUNCTIONS = '''
import numpy as np
from vla_ros.tasks.success import Judgement

place = "here"

def far(instruction, start, now):
    return now.x - start.x > float(instruction.split()[1])

def numpy_far(instruction, start, now):
    return np.float64(now.x) > 0.5

def explained(instruction, start, now):
    return Judgement(False, 0.2, "0.2 m are left")

def defaults(*words, **more):
    return True

class Judge:
    def __call__(self, instruction, start, now):
        return True

judge = Judge()

def two(start, now):
    return True

def four(instruction, start, now, more):
    return True

def forgets(instruction, start, now):
    now.x > 0.5

def number(instruction, start, now):
    return 1

def raises(instruction, start, now):
    return now.objects[0]
'''


def world(x: float = 0.0) -> WorldState:
    return WorldState(0.0, x, 0.0, 0.0, 0.3, 0.0, 0.1, ())


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"success_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    return name


@pytest.mark.parametrize("x, done", [(0.49, False), (0.5, False), (0.51, True)])
@pytest.mark.parametrize("name", ["far", "numpy_far"])
def test_a_function_that_gives_a_bool_judges(module: str, name: str, x: float, done: bool) -> None:
    judged = verdict("wander 0.5", world(), world(x), success_function(f"{module}:{name}"))
    assert judged.done is done and judged.distance == (0.0 if done else math.inf)
    assert judged.sentence == f"success function '{module}:{name}' says {'yes' if done else 'no'}"


def test_a_function_may_explain_itself_with_a_verdict(module: str) -> None:
    judged = verdict("wander", world(), world(), success_function(f"{module}:explained"))
    assert (judged.done, judged.distance, judged.sentence) == (False, 0.2, "0.2 m are left")


@pytest.mark.parametrize("name", ["defaults", "judge"])
def test_whatever_can_be_called_with_the_three_will_do(module: str, name: str) -> None:
    assert verdict("wander", world(), world(), success_function(f"{module}:{name}")).done


def test_the_demo_s_own_judge_can_be_named() -> None:
    judged = success_function("vla_ros.tasks.success:judge")("turn left", world(), world())
    assert judged.sentence == "the robot turned 0 of 90 degrees"


def test_a_silent_simulator_is_not_done_and_asks_nobody(module: str) -> None:
    assert not verdict("wander", None, world(), success_function(f"{module}:raises")).done


def test_words_of_its_own_without_a_function_say_what_is_missing() -> None:
    judged = cart_judging("wander about", world(), ByHand(""))(world(1.0))
    assert not judged.done and judged.sentence.endswith("for a policy with words of its own, give --success")
    assert "--success" not in cart_judging("go to the blue block", world(), ByHand(""))(world()).sentence


@pytest.mark.parametrize("place, sentence", [
    ("driven", "success function 'driven' is none; give module:function, like my_package.wander:driven"),
    ("{module}:", "is none; give module:function"),
    (":far", "is none; give module:function"),
    ("a b:far", "is none; give module:function"),
    ("x" * 10_000, "success function 'xxx"),
    ("nowhere_at_all:far", "there is no module 'nowhere_at_all' here"),
    ("{module}:near", "has no function 'near'"),
    ("{module}:place", "has no function 'place'"),
    ("{module}:two", "takes (start, now); it is given (instruction: str, start: WorldState, now: WorldState) -> bool"),
    ("{module}:four", "takes (instruction, start, now, more); it is given (instruction"),
])
def test_what_is_no_success_function_gets_a_sentence(module: str, place: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        success_function(place.format(module=module))
    assert sentence in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("name, sentence", [
    ("forgets", "gives None; give True, False or a Judgement"),
    ("number", "gives 1; give True, False or a Judgement"),
    ("raises", r"raised IndexError \(success_\d+.py, line \d+\): tuple index out of range"),
])
def test_a_function_that_is_broken_ends_the_demo_with_a_sentence(module: str, name: str, sentence: str) -> None:
    with pytest.raises(Failed, match=f"^success function '{module}:{name}' {sentence}$"):
        verdict("wander", world(), world(), success_function(f"{module}:{name}"))


def test_a_function_without_instructions_of_its_own_is_refused(module: str, capsys: Any) -> None:
    pytest.importorskip("mujoco")
    assert command_line.main(["demo", "--policy", "color_servo", "--success", f"{module}:far"]) == 2
    assert "give at least one" in capsys.readouterr().err
    assert command_line.main(["demo", "--policy", "color_servo", "--success", "far", "wander 1"]) == 2
    assert "module:function" in capsys.readouterr().err


def test_the_tutorial_s_function_judges_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"tutorial_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text("\n".join(blocks))
    success = success_function(f"{name}:driven")
    assert [verdict("wander", world(), world(x), success).done for x in (0.0, 0.5, 0.51)] == [False, False, True]


def test_a_success_function_is_asked_and_not_the_reader() -> None:
    def never(words: str, start: WorldState, now: WorldState) -> Judgement:
        return Judgement(False, 1.0, words)

    demo = Demo.__new__(Demo)  # one that has no reader
    demo.success = never
    assert demo._judging("wander", world())(world(1.0)).sentence == "wander"
