"""The simulator's truth, as markers and odometry bring it, judged."""
import math
from types import SimpleNamespace

import pytest

pytest.importorskip("visualization_msgs")
from visualization_msgs.msg import Marker

from vla_ros.core.instructions import NotUnderstood
from vla_ros.demo.scoring import judging, world_state
from vla_ros.tasks.judged_meaning import judged_meaning
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.sequence import Judging


def marker(name: str, x: float, y: float, yaw: float = 0.0, text: str = "") -> Marker:
    made = Marker(ns=name, text=text)
    made.pose.position.x, made.pose.position.y = x, y
    made.pose.orientation.z, made.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    made.scale.x = made.scale.y = made.scale.z = 0.06
    return made


def room(x: float = 0.0, yaw: float = 0.0, held: str = "", speeds: tuple[float, float] = (0.0, 0.0)):
    markers = [marker("robot", x, 0.0, yaw, held), marker("red block", 1.0, 0.0, 0.5), marker("green ball", 0.0, 1.0)]
    return world_state({one.ns: one for one in markers}, speeds, 0.1)


class ByHand:
    """Reads one sentence as one meaning, whatever it is."""

    def __init__(self, notation: str) -> None:
        self.notation = notation

    def read(self, text: str):
        if not self.notation:
            raise NotUnderstood(f"the words {text!r} are not understood")
        return meaning_of(self.notation)


def cart_judging(words, start, reader):
    return judging(words, start, lambda text: judged_meaning(text, reader), Judging)


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
    silent = cart_judging("turn left", None, ByHand(""))(room())
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
    judged = cart_judging(words, room(), ByHand(""))(room(**now))
    assert judged.done is done and judged.sentence


def test_words_without_meaning_say_so():
    assert "coffee" in cart_judging("make me a coffee", room(), ByHand(""))(room()).sentence
    assert "blue block" in cart_judging("go to the blue block", room(), ByHand(""))(room()).sentence


def test_where_the_named_thing_is():
    from vla_ros.demo.monitor import Monitor
    watch = SimpleNamespace(pose=SimpleNamespace(x=0.0, y=0.0, yaw=math.pi / 2),
                            markers={"red block": marker("red block", 1.0, 0.0)})
    assert Monitor.target(watch, "go to the red block") == pytest.approx((1.0, -math.pi / 2))
    assert Monitor.target(watch, "turn left") is None


def test_several_steps_are_judged_one_after_another():
    now = cart_judging("first here, then there", room(), ByHand("turn_left ; grab:green ball"))
    assert now(room()).sentence.startswith("step 1 of 2: the robot turned 0 of 90 degrees")
    assert not now(room(held="green ball")).done  # the second step alone
    assert not now(room(yaw=math.pi / 2)).done
    assert now(room(yaw=math.pi / 2, held="green ball")).done


@pytest.mark.parametrize("notation, now, done", [
    ("forward:0.3m", {"x": 0.3}, True), ("forward:0.3m", {"x": 0.1}, False),
    ("face:object not red", {"yaw": math.pi / 2}, True), ("face:nearest block", {"yaw": math.pi / 2}, False),
])
def test_amounts_and_relations_are_judged_as_the_reader_reads_them(notation, now, done):
    assert cart_judging("whatever was said", room(), ByHand(notation))(room(**now)).done is done


def test_a_judgement_that_only_the_reader_s_meaning_stands_behind_says_so():
    misread = cart_judging("turn left", room(), ByHand("turn_right"))
    assert misread(room(yaw=math.pi / 2)).done and not misread(room(yaw=-math.pi / 2)).done
    assert "reader" not in misread(room()).sentence
    as_read = cart_judging("swivel to port", room(), ByHand("turn_left"))(room(yaw=math.pi / 2))
    assert as_read.done and as_read.sentence.endswith("(as the reader read it: turn left 90 degrees)")


def test_what_is_not_there_in_a_later_step_is_a_sentence_and_not_the_end():
    now = cart_judging("turn, then grab it", room(), ByHand("turn_left ; grab:blue ball"))
    verdict_now = now(room(yaw=math.pi / 2))
    assert not verdict_now.done and "the room has no blue ball" in verdict_now.sentence
    first = cart_judging("grab it", room(), ByHand("grab:blue ball"))(room())
    assert not first.done and "the room has no blue ball" in first.sentence


def test_words_that_nobody_reads_say_what_is_missing_and_silence_says_so():
    assert cart_judging("wander", room(), ByHand(""))(room()).sentence.endswith("give --success")
    assert "/sim/objects" in cart_judging("turn left", None, ByHand("turn_left"))(room()).sentence
    assert "/sim/objects" in cart_judging("turn left", room(), ByHand("turn_left"))(None).sentence
