"""The simulator's truth, as markers and odometry bring it, judged."""
import math
from types import SimpleNamespace

import pytest

pytest.importorskip("visualization_msgs")
from visualization_msgs.msg import Marker

from vla_ros.demo.scoring import verdict, world_state


def marker(name: str, x: float, y: float, yaw: float = 0.0, text: str = "") -> Marker:
    made = Marker(ns=name, text=text)
    made.pose.position.x, made.pose.position.y = x, y
    made.pose.orientation.z, made.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    made.scale.x = made.scale.y = made.scale.z = 0.06
    return made


def room(x: float = 0.0, yaw: float = 0.0, held: str = "", speeds: tuple[float, float] = (0.0, 0.0)):
    markers = [marker("robot", x, 0.0, yaw, held), marker("red block", 1.0, 0.0, 0.5), marker("green ball", 0.0, 1.0)]
    return world_state({one.ns: one for one in markers}, speeds, 0.1)


def test_the_truth_is_what_the_markers_say():
    state = room(0.3, 2.0, "green ball", (0.1, -0.2))
    assert (state.x, state.yaw, state.linear, state.angular, state.opening, state.held) == (
        0.3, pytest.approx(2.0), 0.1, -0.2, 0.1, "green ball")
    block = state.objects[0]
    assert (block.name, block.colour, block.shape, block.x, block.size) == ("red block", "red", "block", 1.0, 0.06)
    assert block.yaw == pytest.approx(0.5)
    assert room().held is None


def test_no_robot_no_truth():
    assert world_state({"red block": marker("red block", 1, 0)}, (0.0, 0.0), 0.1) is None
    silent = verdict("turn left", None, room())
    assert not silent.done and "/sim/objects" in silent.sentence


@pytest.mark.parametrize("words, now, done", [
    ("go to the red block", {"x": 0.62}, True),
    ("go to the red block", {"x": 0.3}, False),
    ("go to the red block", {"x": 0.62, "speeds": (0.3, 0.0)}, False),
    ("turn left", {"yaw": math.pi / 2}, True),
    ("turn left", {"yaw": -math.pi / 2}, False),
    ("grab the green ball", {"held": "green ball"}, True),
    ("grab the green ball", {"held": "red block"}, False),
    ("make me a coffee", {}, False),
    ("go to the blue block", {"x": 0.62}, False),
])
def test_instructions_are_judged_by_the_truth(words, now, done):
    judged = verdict(words, room(), room(**now))
    assert judged.done is done and judged.sentence


def test_words_without_meaning_say_so():
    assert "coffee" in verdict("make me a coffee", room(), room()).sentence
    assert "blue block" in verdict("go to the blue block", room(), room()).sentence


def test_where_the_named_thing_is():
    from vla_ros.demo.monitor import Monitor
    watch = SimpleNamespace(pose=SimpleNamespace(x=0.0, y=0.0, yaw=math.pi / 2),
                            markers={"red block": marker("red block", 1.0, 0.0)})
    assert Monitor.target(watch, "go to the red block") == pytest.approx((1.0, -math.pi / 2))
    assert Monitor.target(watch, "turn left") is None
