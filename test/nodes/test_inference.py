"""inference: the newest observation wins, and a policy that fails moves nothing."""
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.core.types import Command
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes import inference
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATEST, PICTURES
from vla_ros.nodes.inference import Inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros_msgs.msg import ActionChunk, Fault, Heartbeat, Observation

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
WHEELS = ("linear.x", "angular.z")


class Slow:
    """Takes 0.1 s, remembers what it saw; "fail" raises, "refuse" does not understand, "nan" lies."""

    name = "slow@test"
    seen: list = []
    resets = 0

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100_000_000, (8, 8))

    def __init__(self, options):
        Slow.seen, Slow.resets = [], 0

    def predict(self, observation):
        if observation.command.text == "refuse":
            raise ValueError("the word 'frobnicate' is not known")
        if observation.command.text == "fail":
            raise RuntimeError("out of memory")
        time.sleep(0.1)
        Slow.seen.append(observation.stamp)
        return CoreChunk(0, 0, ("gripper",), np.array([[0.2]], np.float32), 100_000_000)

    def reset(self):
        Slow.resets += 1


class Steps:
    """Eight rows of 0.1 for its first picture, of 0.3 for its second, and so on."""

    name = "steps@test"

    @classmethod
    def spec(cls, options):
        return PolicySpec(WHEELS, 1, 100_000_000, (8, 8))

    def __init__(self, options):
        self.count = 0

    def predict(self, observation):
        self.count += 1
        return CoreChunk(0, 0, WHEELS, np.full((8, 2), 0.2 * self.count - 0.1, np.float32), 100_000_000)

    def reset(self):
        self.count = 0


class TwoEyed:
    """Looks through two cameras of different sizes and is told a joint."""

    name = "two_eyed@test"
    shapes: list = []

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100_000_000, (8, 8), images={"front": (8, 8), "wrist": (4, 6)},
                          state=("joint1",))

    def __init__(self, options):
        TwoEyed.shapes, self.warnings = [], []

    def predict(self, observation):
        TwoEyed.shapes.append((observation.images["front"].shape, observation.images["wrist"].shape))
        self.warnings = ["joint1 is far"] if observation.state["joint1"] > 1.0 else []
        return CoreChunk(0, 0, ("gripper",), np.array([[0.2]], np.float32), 100_000_000)

    def reset(self):
        pass


@pytest.fixture
def two_eyed(around, monkeypatch):
    monkeypatch.setitem(POLICIES, "two_eyed", f"{__name__}:TwoEyed")
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    faults = around.hear(Fault, "fault", EVENTS)
    speaker = around.speaker(Observation, "observation", PICTURES)
    node = around.start(Inference, policy="two_eyed", robot_file=SIM)
    around.wait(lambda: speaker.get_subscription_count())

    def show(generation=1, joint=0.0, **sizes):
        images = {name: np.zeros((*size, 3), np.uint8) for name, size in sizes.items()}
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Command(1, generation, "go"), images, {"joint1": joint})))
    return node, chunks, faults, show


def test_a_policy_with_two_cameras_is_warmed_up_and_runs(around, two_eyed):
    _, chunks, _, show = two_eyed
    assert TwoEyed.shapes and set(TwoEyed.shapes) == {((8, 8, 3), (4, 6, 3))}
    show(front=(8, 8), wrist=(4, 6))
    around.wait(lambda: chunks)


def test_cameras_that_the_policy_does_not_look_through_are_named_and_are_no_fault(around, two_eyed):
    node, chunks, faults, show = two_eyed
    for _ in range(5):
        show(camera=(8, 8))
        time.sleep(0.02)
    sentence = ("inference: the policy looks through front of 8 x 8, wrist of 4 x 6, and the observation has "
                "camera of 8 x 8; name the cameras as the policy does")
    around.wait(lambda: around.said(sentence))
    assert node.trouble and sum("looks through" in message.data for message in around.feedback) == 1
    assert not chunks and not faults
    show(front=(8, 8), wrist=(4, 6))
    around.wait(lambda: chunks)
    assert node.trouble == ""


def test_what_a_policy_warns_of_is_told_once_an_instruction(around, two_eyed):
    _, chunks, _, show = two_eyed
    for generation in (1, 1, 1, 2):
        del chunks[:]
        show(generation, joint=2.0, front=(8, 8), wrist=(4, 6))
        around.wait(lambda: chunks)
    around.wait(lambda: sum("inference: joint1 is far" in message.data for message in around.feedback) == 2)


@pytest.fixture
def wires(around, monkeypatch):
    monkeypatch.setitem(POLICIES, "slow", f"{__name__}:Slow")
    node = around.start(Inference, policy="slow", robot_file=SIM)
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", PICTURES)
    around.wait(lambda: speaker.get_subscription_count())

    def show(text="go", generation=1):
        stamp = time.time_ns()
        speaker.publish(convert.observation_message(CoreObservation(
            stamp, Command(stamp, generation, text), {"camera": np.zeros((8, 8, 3), np.uint8)}, {"odom.x": 1.0})))
        return stamp
    Slow.seen.clear()
    return node, chunks, show


def test_a_chunk_carries_where_it_comes_from(around, wires):
    _, chunks, show = wires
    stamp = show(generation=7)
    chunk = convert.chunk(around.wait(lambda: chunks and chunks[-1]))
    assert (chunk.stamp, chunk.generation, chunk.sequence, chunk.policy) == (stamp, 7, 1, "slow@test")
    assert 0.1 <= chunk.latency / 1e9 < 1.0
    assert chunk.values.tolist() == [[pytest.approx(0.2)]]


def test_while_an_engine_is_built_it_says_so_and_its_heart_beats(around, monkeypatch):
    def make(name, options, engine, say):
        say("building engine x")
        time.sleep(1.0)
        return Slow(engine)
    monkeypatch.setitem(POLICIES, "slow", f"{__name__}:Slow")
    monkeypatch.setattr(inference, "make_policy", make)
    node = around.make(Inference, policy="slow", robot_file=SIM, precision="bf16")
    beats = around.hear(Heartbeat, "heartbeat", EVENTS)
    reports = around.hear(DiagnosticArray, "/diagnostics", EVENTS)
    node._turn_timer.cancel(), node._report_timer.cancel()  # as while configure holds the executor
    around.spin()
    around.wait(lambda: node._heartbeat.get_subscription_count())
    node.trigger_configure()
    around.wait(lambda: sum(beat.state == "building" for beat in beats) >= 6)
    assert any(report.status[0].message == "building engine x" for report in reports)
    assert around.said("inference: building engine x") and (node.stage, node.trouble) == ("inactive", "")


def test_the_newest_observation_wins(around, wires):
    node, _chunks, show = wires
    stamps = []
    for _ in range(20):
        stamps.append(show())
        time.sleep(0.01)
    around.wait(lambda: Slow.seen and Slow.seen[-1] == stamps[-1])
    assert len(Slow.seen) < 8
    assert Slow.seen == sorted(Slow.seen)
    assert node.stats.drops["observation replaced by a newer one"] > 5


@pytest.mark.parametrize("blending", ["latest", "linear", "temporal_ensemble"])
def test_chunks_of_one_instruction_are_blended_as_the_parameter_says(around, monkeypatch, blending):
    monkeypatch.setitem(POLICIES, "steps", f"{__name__}:Steps")
    node = around.start(Inference, policy="steps", robot_file=SIM, blending=blending, blend_time=0.5)
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", PICTURES)
    around.wait(lambda: speaker.get_subscription_count())

    def tell(generation):
        stamp, before = time.time_ns(), len(chunks)
        speaker.publish(convert.observation_message(CoreObservation(
            stamp, Command(stamp, generation, "go"), {"camera": np.zeros((8, 8, 3), np.uint8)}, {})))
        around.wait(lambda: len(chunks) > before)
        chunk = convert.chunk(chunks[-1])
        assert (chunk.stamp, chunk.generation) == (stamp, generation)
        return chunk.values[:, 0]
    assert tell(1) == pytest.approx([0.1] * 8)
    second = tell(1)
    if blending == "latest":
        assert second == pytest.approx([0.3] * 8)
    elif blending == "linear":
        assert 0.1 <= second[0] < second[12] < 0.3 and second[39] == pytest.approx(0.3)
    else:
        assert second[0] == pytest.approx(0.2, abs=0.001)
    assert tell(2) == pytest.approx([0.1] * 8), "a new instruction begins afresh"
    tell(2)
    node._on_reset_policy(Trigger.Request(), Trigger.Response())
    assert tell(2) == pytest.approx([0.1] * 8), "and so does a policy that was reset"


def test_a_new_instruction_resets_the_policy(around, wires):
    _, chunks, show = wires
    before = Slow.resets
    for generation in (1, 1, 2):
        show(generation=generation)
        time.sleep(0.15)
    around.wait(lambda: len(chunks) == 3)
    assert Slow.resets - before == 2


def test_words_that_the_policy_does_not_know_reach_the_operator_once(around, wires):
    _, chunks, show = wires
    for _ in range(3):
        show("refuse")
        time.sleep(0.05)
    around.wait(lambda: around.said("'frobnicate' is not known"))
    assert sum("frobnicate" in message.data for message in around.feedback) == 1
    assert not chunks


def test_a_policy_that_fails_speaks_no_action_and_goes_on(around, wires):
    node, chunks, show = wires
    show("fail")
    around.wait(lambda: node.stats.drops["exception RuntimeError"] == 1)
    assert not chunks
    show("go", 2)
    around.wait(lambda: chunks)


def test_an_inactive_node_says_nothing(around, wires):
    node, chunks, show = wires
    show()
    time.sleep(0.02)
    node.trigger_deactivate()  # while the policy is at work
    time.sleep(0.3)
    assert not chunks


@pytest.mark.parametrize("parameters, says", [
    ({"policy": "rt2"}, "unknown policy 'rt2'; known are"),
    ({"robot_file": "/nowhere.yaml"}, "robot file '/nowhere.yaml' does not exist"),
    ({"policy_options": '{"values": {"wings": 1.0}}'}, "commands 'wings', but robot 'sim' obeys"),
    ({"policy_options": '{"values": {"linear.x": 0.1}}'}, "commands linear.x, but not 'angular.z'; /cmd_vel takes all"),
    ({"warm_up": -1}, "'warm_up' is -1"),
    ({"chunk_blending": "soft"}, "'chunk_blending' is 'soft'; use one of latest, linear, temporal_ensemble"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(Inference, **{"policy": "constant", "robot_file": SIM, **parameters})
    node.trigger_configure()
    assert node.stage == "unconfigured" and says in node.trouble


def test_words_with_nothing_to_read_are_told_to_the_operator_and_are_no_fault(around):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    faults = around.hear(Fault, "fault", EVENTS)
    speaker = around.speaker(Observation, "observation", PICTURES)
    around.start(Inference, policy="vla", engine="eager", engine_cache="none", robot_file=SIM)
    around.wait(lambda: speaker.get_subscription_count())
    state = {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0}

    def show(text, generation):
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Command(1, generation, text), {"camera": np.zeros((120, 160, 3), np.uint8)}, state)))

    texts = ("!!!", ".", "\N{HORIZONTAL ELLIPSIS}", "\N{THUMBS UP SIGN}", "a" * 200)
    for generation, text in enumerate(texts, 1):
        for _ in range(3):
            show(text, generation)
        around.wait(lambda n=generation: sum("not understood: " in each.data for each in around.feedback) == n)
    assert not faults and not chunks
    show("turn left", 99)
    around.wait(lambda: chunks)
