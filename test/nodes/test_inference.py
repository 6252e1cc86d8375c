"""inference: the newest observation wins, and a policy that fails moves nothing."""
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from robots import TWO, robot_file
from std_srvs.srv import Trigger

from vla_ros.core.policy_file import KEYS, write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes import inference
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import Inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import NotUnderstood, PolicySpec
from vla_ros_msgs.msg import ActionChunk, Fault, Heartbeat, Observation

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
WHEELS = ("linear.x", "angular.z")


class Slow:
    """Takes 0.1 s, remembers what it saw; "fail" and "bug" raise, "refuse" does not understand."""

    name = "slow@test"
    seen: list = []
    resets = 0

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100_000_000, {"camera": (8, 8)})

    def __init__(self, options):
        Slow.seen, Slow.resets = [], 0

    def predict(self, observation):
        if observation.instruction.text == "refuse":
            raise NotUnderstood("the word 'frobnicate' is not known")
        if observation.instruction.text == "bug":
            return np.zeros(3) + np.zeros(2)
        if observation.instruction.text == "fail":
            raise RuntimeError("out of memory")
        time.sleep(0.1)
        Slow.seen.append(observation.stamp)
        return np.array([[0.2]], np.float32)

    def reset(self):
        Slow.resets += 1


class Steps:
    """Eight rows of 0.1 for its first image, of 0.3 for its second, and so on."""

    name = "steps@test"

    @classmethod
    def spec(cls, options):
        return PolicySpec(WHEELS, 1, 100_000_000, {"camera": (8, 8)})

    def __init__(self, options):
        self.count = 0

    def predict(self, observation):
        self.count += 1
        return np.full((8, 2), 0.2 * self.count - 0.1, np.float32)

    def reset(self):
        self.count = 0


def test_the_target_of_constant_changes_while_it_runs(around, tmp_path):
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    policy_file = write_policy_file(tmp_path / "still.yaml", "constant",
                                    options={"values": {"linear.x": 0.0, "angular.z": 0.0, "gripper": 0.5}})
    node = around.start(Inference, policy_file=policy_file, robot_file=SIM, warm_up=0)
    around.wait(lambda: speaker.get_subscription_count())

    def said():
        chunks.clear()
        image = np.zeros((224, 224, 3), np.uint8)
        speaker.publish(convert.observation_message(CoreObservation(time.time_ns(), Instruction(1, 1, "go"), {"camera": image}, {})))
        return list(around.wait(lambda: chunks)[-1].values)

    def aim(text):
        return node.set_parameters_atomically([Parameter("target", value=text)])

    assert said() == [0.0, 0.0, 0.5]
    assert aim("gripper=0.25, linear.x=0.5").successful and said() == [0.5, 0.0, 0.25]
    assert aim("angular.z = -1").successful and said() == [0.0, -1.0, 0.5]
    refused = aim("wings=1")
    assert not refused.successful and "'target' holds 'wings'; the policy commands linear.x, angular.z, gripper" in refused.reason
    assert said() == [0.0, -1.0, 0.5]
    assert aim("").successful and said() == [0.0, 0.0, 0.5]


class TwoEyed:
    """Looks through two cameras of different sizes and is told a joint."""

    name = "two_eyed@test"
    shapes: list = []

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100_000_000, {"front": (8, 8), "wrist": (4, 6)}, state=("joint1",))

    def __init__(self, options):
        TwoEyed.shapes, self.warnings, self.announcements = [], [], ()

    def predict(self, observation):
        TwoEyed.shapes.append((observation.images["front"].shape, observation.images["wrist"].shape))
        self.warnings = ["joint1 is far"] if observation.state["joint1"] > 1.0 else []
        self.announcements = tuple(f"step {step} of 2" for step in (1, 2) if observation.state["joint1"] > 2.0 + step)
        return np.array([[0.2]], np.float32)

    def reset(self):
        pass


@pytest.fixture
def two_eyed(around, monkeypatch):
    monkeypatch.setitem(POLICIES, "two_eyed", f"{__name__}:TwoEyed")
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    faults = around.hear(Fault, "fault", EVENTS)
    speaker = around.speaker(Observation, "observation", IMAGES)
    node = around.start(Inference, policy="two_eyed", robot_file=robot_file(cameras=TWO))
    around.wait(lambda: speaker.get_subscription_count())

    def show(instruction_id=1, joint=0.0, **sizes):
        images = {name: np.zeros((*size, 3), np.uint8) for name, size in sizes.items()}
        state = {} if joint is None else {"joint1": joint}
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Instruction(1, instruction_id, "go"), images, state)))
    return node, chunks, faults, show


def test_a_policy_with_two_cameras_is_warmed_up_and_runs(around, two_eyed):
    _, chunks, _, show = two_eyed
    assert TwoEyed.shapes and set(TwoEyed.shapes) == {((8, 8, 3), (4, 6, 3))}
    show(front=(8, 8), wrist=(4, 6))
    around.wait(lambda: chunks)


def test_a_policy_sees_each_camera_under_its_own_name_for_it(around, monkeypatch, tmp_path):
    monkeypatch.setitem(POLICIES, "two_eyed", f"{__name__}:TwoEyed")
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    policy_file = write_policy_file(tmp_path / "policy.yaml", "two_eyed",
                                    images={"front": {"camera": "left"}, "wrist": {"camera": "hand"}})
    file = robot_file(cameras={"hand": {"topic": "/hand"}, "left": {"topic": "/left"}})
    around.start(Inference, policy_file=policy_file, robot_file=file, warm_up=0)
    around.wait(lambda: speaker.get_subscription_count())
    images = {"hand": np.zeros((4, 6, 3), np.uint8), "left": np.zeros((8, 8, 3), np.uint8)}
    speaker.publish(convert.observation_message(CoreObservation(
        time.time_ns(), Instruction(1, 1, "go"), images, {"joint1": 0.0})))
    around.wait(lambda: chunks)
    assert TwoEyed.shapes == [((8, 8, 3), (4, 6, 3))]


def test_cameras_that_the_policy_does_not_look_through_are_named_and_are_no_fault(around, two_eyed):
    node, chunks, faults, show = two_eyed
    for _ in range(5):
        show(camera=(8, 8))
        time.sleep(0.02)
    sentence = ("inference: the policy looks through front of 8 x 8, wrist of 4 x 6, and the observation has "
                "camera of 8 x 8; name the camera as the policy does")
    around.wait(lambda: around.said(sentence))
    assert node.problem and sum("looks through" in message.data for message in around.feedback) == 1
    assert not chunks and not faults
    show(front=(8, 8), wrist=(4, 6))
    around.wait(lambda: chunks)
    assert node.problem == ""


def test_a_number_that_is_not_measured_is_named_and_is_no_fault(around, two_eyed):
    _, chunks, faults, show = two_eyed
    show(joint=None, front=(8, 8), wrist=(4, 6))
    around.wait(lambda: around.said("inference: the policy wants the robot's joint1, which is not measured; there are "
                                    "none"))
    assert not chunks and not faults
    show(front=(8, 8), wrist=(4, 6))
    around.wait(lambda: chunks)


def test_what_is_not_measured_is_told_once_an_instruction(around, two_eyed):
    _, _, _, show = two_eyed

    def told():
        return sum("joint1, which is not measured" in message.data for message in around.feedback)

    for instruction_id in (1, 1, 2, 2):
        show(instruction_id, joint=None, front=(8, 8), wrist=(4, 6))
        around.wait(lambda least=instruction_id: told() >= least)
    time.sleep(0.2)
    assert told() == 2


def test_what_a_policy_warns_of_is_told_once_an_instruction(around, two_eyed):
    _, chunks, _, show = two_eyed
    for instruction_id in (1, 1, 1, 2):
        del chunks[:]
        show(instruction_id, joint=2.0, front=(8, 8), wrist=(4, 6))
        around.wait(lambda: chunks)
    around.wait(lambda: sum("inference: joint1 is far" in message.data for message in around.feedback) == 2)


def test_what_a_policy_announces_is_told_once_an_instruction_and_in_its_order(around, two_eyed):
    _, chunks, _, show = two_eyed
    for instruction_id, joint in ((1, 3.5), (1, 4.5), (1, 4.5), (2, 4.5)):
        del chunks[:]
        show(instruction_id, joint=joint, front=(8, 8), wrist=(4, 6))
        around.wait(lambda: chunks)

    def told():
        return [message.data for message in around.feedback if message.data.startswith("step")]

    around.wait(lambda: len(told()) == 4)
    assert told() == ["step 1 of 2", "step 2 of 2"] * 2


@pytest.fixture
def wires(around, monkeypatch):
    monkeypatch.setitem(POLICIES, "slow", f"{__name__}:Slow")
    node = around.start(Inference, policy="slow", robot_file=SIM)
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    around.wait(lambda: speaker.get_subscription_count())

    def show(text="go", instruction_id=1):
        stamp = time.time_ns()
        speaker.publish(convert.observation_message(CoreObservation(
            stamp, Instruction(stamp, instruction_id, text), {"camera": np.zeros((8, 8, 3), np.uint8)}, {"odom.x": 1.0})))
        return stamp
    Slow.seen.clear()
    return node, chunks, show


def test_a_chunk_carries_where_it_comes_from(around, wires):
    _, chunks, show = wires
    stamp = show(instruction_id=7)
    chunk = convert.chunk(around.wait(lambda: chunks and chunks[-1]))
    assert (chunk.stamp, chunk.instruction_id, chunk.sequence, chunk.policy) == (stamp, 7, 1, "slow@test")
    assert 0.1 <= chunk.latency / 1e9 < 1.0
    assert chunk.values.tolist() == [[pytest.approx(0.2)]]


def test_while_an_engine_is_built_it_says_so_and_its_heart_beats(around, monkeypatch):
    def make(name, options, engine, say):
        say("building engine x")
        time.sleep(1.0)
        return Slow(engine)
    monkeypatch.setitem(POLICIES, "slow", f"{__name__}:Slow")
    monkeypatch.setattr(inference, "make_policy", make)
    node = around.make(Inference, policy="slow", robot_file=SIM)
    beats = around.hear(Heartbeat, "heartbeat", EVENTS)
    reports = around.hear(DiagnosticArray, "/diagnostics", EVENTS)
    node._turn_timer.cancel(), node._report_timer.cancel()  # as while configure holds the executor
    around.spin()
    around.wait(lambda: node._heartbeat.get_subscription_count())
    node.trigger_configure()
    around.wait(lambda: sum(beat.state == "building" for beat in beats) >= 6)
    assert any(report.status[0].message == "building engine x" for report in reports)
    assert around.said("inference: building engine x") and (node.state, node.problem) == ("inactive", "")


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
    node = around.start(Inference, policy="steps", robot_file=SIM, chunk_blending=blending, blend_time=0.5)
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    speaker = around.speaker(Observation, "observation", IMAGES)
    around.wait(lambda: speaker.get_subscription_count())

    def tell(instruction_id):
        stamp, before = time.time_ns(), len(chunks)
        speaker.publish(convert.observation_message(CoreObservation(
            stamp, Instruction(stamp, instruction_id, "go"), {"camera": np.zeros((8, 8, 3), np.uint8)}, {})))
        around.wait(lambda: len(chunks) > before)
        chunk = convert.chunk(chunks[-1])
        assert (chunk.stamp, chunk.instruction_id) == (stamp, instruction_id)
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
    for instruction_id in (1, 1, 2):
        show(instruction_id=instruction_id)
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


def test_a_policy_s_own_value_error_is_a_fault_and_no_word_that_it_does_not_know(around, wires):
    node, chunks, show = wires
    show("bug")
    around.wait(lambda: node.stats.drops["exception ValueError"] == 1)
    assert "policy 'slow@test' failed: ValueError: operands could not be broadcast" in node.problem
    assert not chunks and not around.said("not understood")


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
    ({"options": {"values": {"wings": 1.0}}}, "commands 'wings', but robot 'sim' obeys"),
    ({"options": {"values": {"linear.x": 0.1}}}, "commands linear.x, but not 'angular.z'; /cmd_vel takes all"),
    ({"engine": "eager"}, "policy 'constant' runs on no engine; take engine and precision out of its policy file"),
    ({"images": {"eye": {}}}, "the policy file's images name 'eye', and the policy looks at camera of 224 x 224"),
    ({"images": {"camera": {"camera": "front"}}},
     "the policy looks through front of 224 x 224 (pad), and the cameras are camera; name the camera as"),
    ({"robot_file": robot_file(cameras=TWO)},
     "looks through camera of 224 x 224 (pad), and the cameras are front, wrist; name"),
    ({"robot_file": robot_file(cameras=None)}, "looks through camera of 224 x 224 (pad), and the cameras are none; name"),
    ({"policy": "constant", "options": {}}, "'policy' ('constant') and 'policy_file'"),
    ({"warm_up": -1}, "'warm_up' is -1"),
    ({"target": "linear.x"}, "target has 'linear.x'; give channel=value, a finite number"),
    ({"target": "wings=1"}, "'target' holds 'wings'; the policy commands linear.x, angular.z"),
    ({"predict_timeout": 0.0}, "'predict_timeout' is 0.0"),
    ({"chunk_blending": "soft"}, "'chunk_blending' is 'soft'; use one of latest, linear, temporal_ensemble"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, tmp_path, parameters, says):
    of_file = {key: value for key, value in parameters.items() if key in KEYS and key != "policy"}
    given = {key: value for key, value in parameters.items() if key not in of_file}
    if of_file:
        given["policy_file"] = write_policy_file(tmp_path / "policy.yaml", "constant", **of_file)
    else:
        given.setdefault("policy", "constant")
    node = around.make(Inference, **{"robot_file": SIM, **given})
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem


def test_words_with_nothing_to_read_are_told_to_the_operator_and_are_no_fault(around, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    faults = around.hear(Fault, "fault", EVENTS)
    speaker = around.speaker(Observation, "observation", IMAGES)
    policy_file = write_policy_file(tmp_path / "policy.yaml", "builtin", engine="eager")
    around.start(Inference, policy_file=policy_file, engine_cache="none", robot_file=SIM)
    around.wait(lambda: speaker.get_subscription_count())
    state = {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": 0.0}

    def show(text, instruction_id):
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Instruction(1, instruction_id, text), {"camera": np.zeros((120, 160, 3), np.uint8)}, state)))

    texts = ("!!!", ".", "\N{HORIZONTAL ELLIPSIS}", "\N{THUMBS UP SIGN}", "a" * 200)
    for instruction_id, text in enumerate(texts, 1):
        for _ in range(3):
            show(text, instruction_id)
        around.wait(lambda n=instruction_id: sum("not understood: " in each.data for each in around.feedback) == n)
    assert not faults and not chunks
    show("turn left", 99)
    around.wait(lambda: chunks)
