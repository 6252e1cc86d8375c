"""inference with a policy that is a node: the page's example as printed, and all that such a node can do wrong."""
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

from vla_ros.core.policy_file import load_policy_file, write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import Inference
from vla_ros_msgs.msg import ActionChunk, Fault, Observation, SafetyReport
from vla_ros_msgs.srv import GetActionChunk

ROOT = Path(__file__).parents[2]
SIM = str(ROOT / "config" / "robots" / "sim.yaml")
PAGE = (ROOT / "doc" / "howto" / "ros_service.md").read_text(encoding="utf-8")
OPTIONS = {"service": "/asked", "images": {"front": [8, 8]}, "state": ["odom.x"], "actions": ["forward", "turn"],
           "units": {"turn": "deg/s"}, "timeout": 0.5, "connect_timeout": 2.0}


class Answerer:
    """A node that is the policy: two rows, at as many cm/s as the prompt has letters. `mood` spoils what it answers."""

    def __init__(self, context):
        self.node = rclpy.create_node("answerer", context=context)
        self.node.create_service(GetActionChunk, "/asked", self.answer)
        self.asked, self.release = [], threading.Event()
        self.mood = lambda request, response: None

    def answer(self, request, response):
        self.asked.append(request)
        row = [len(request.prompt) / 100.0, 90.0]
        response.values, response.rows, response.width = row * 2, 2, 2
        self.mood(request, response)
        return response


@contextmanager
def answering():
    """In a context and a thread of its own, as another process is."""
    context = rclpy.Context()
    rclpy.init(context=context)
    answerer = Answerer(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(answerer.node)

    over = threading.Event()

    def spin():
        while not over.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield answerer
    over.set()
    answerer.release.set()
    thread.join(timeout=5.0)
    executor.shutdown()
    answerer.node.destroy_node()
    context.try_shutdown()


class World:
    def __init__(self, around, folder):
        self.around, self.folder, self.count = around, folder, 0
        self.chunks = around.hear(ActionChunk, "action_chunk", LATEST)
        self.faults = around.hear(Fault, "fault", EVENTS)
        self.speaker = around.speaker(Observation, "observation", IMAGES)

    def start(self, **options):
        policy_file = write_policy_file(
            self.folder / "policy.yaml", "ros_service", options={**OPTIONS, **options},
            images={"front": {"camera": "camera"}}, rate=10, horizon=2,
            actions=[{"name": "forward", "to": "linear.x"},
                     {"name": "turn", "to": "angular.z", "unit": "deg/s", "kind": "velocity"}])
        node = self.around.start(Inference, policy_file=policy_file, robot_file=SIM)
        self.around.wait(self.speaker.get_subscription_count)
        return node

    def show(self, text="go", stamp=None, same=False):
        self.count += 0 if same else 1
        image = np.full((8, 8, 3), 7, np.uint8)
        self.speaker.publish(convert.observation_message(CoreObservation(
            stamp or time.time_ns(), Instruction(1, self.count, text), {"camera": image}, {"odom.x": 0.25})))
        return True

    def answered(self, text="go"):
        """Shows images until one is answered, as a camera would."""
        del self.chunks[:]
        for _ in range(100):
            self.show(text)
            try:
                return self.around.wait(lambda: self.chunks and self.chunks[-1], 0.2)
            except AssertionError:
                continue
        raise AssertionError("no answer")

    def fault(self, kind, text="go"):
        """The first fault of that kind, as images go on coming."""
        del self.faults[:]
        return self.around.wait(lambda: self.show(text) and next((f for f in self.faults if f.kind == kind), None), 10.0)


@pytest.fixture
def answerer():
    with answering() as made:
        yield made


@pytest.fixture
def world(around, tmp_path):
    return World(around, tmp_path)


def test_its_rows_become_the_robots_channels_and_it_is_asked_for_what_the_file_says(world, answerer):
    world.start()
    trials = len(answerer.asked)
    assert trials == 3 and all(request.stamp.sec == 0 and request.prompt for request in answerer.asked)  # warm_up
    chunk = convert.chunk(world.answered("wander"))
    assert chunk.channels == ("linear.x", "angular.z")
    assert chunk.values == pytest.approx(np.array([[0.06, np.pi / 2]] * 2))
    assert chunk.step == 100_000_000 and chunk.policy == "ros_service /asked"
    asked = answerer.asked[-1]
    assert (asked.prompt, asked.instruction_id) == ("wander", world.count)
    assert (asked.image_names, asked.images[0].encoding) == (["front"], "rgb8")
    assert convert.rgb_image(asked.images[0]).tolist() == np.full((8, 8, 3), 7).tolist()
    assert (asked.state_names, list(asked.state)) == (["odom.x"], [0.25])
    assert (asked.channels, asked.rows, convert.stamp_ns(asked.step)) == (["forward", "turn"], 2, 100_000_000)
    assert len(asked.pending) == 0 and abs(convert.stamp_ns(asked.stamp) - time.time_ns()) < 60 * 10**9


def test_the_rows_that_are_still_to_come_go_with_the_next_request(world, answerer):
    reports = world.around.speaker(SafetyReport, "safety_report", EVENTS)
    world.start()
    world.around.wait(reports.get_subscription_count)
    begin = time.time_ns()
    world.show("go", begin)
    first = world.around.wait(lambda: world.chunks and world.chunks[-1])

    def executes_and_goes_on():  # the gate plays its first row, and the next image comes
        report = SafetyReport(state=SafetyReport.ACTIVE, verdict=SafetyReport.PASSED, sequence=first.sequence)
        report.header.stamp = convert.time_message(begin + 50_000_000)
        reports.publish(report)
        world.show("go", begin + 100_000_000, same=True)
        return [request for request in answerer.asked if len(request.pending)]

    asked = world.around.wait(executes_and_goes_on, 10.0)[0]
    assert list(asked.pending) == pytest.approx([0.02, 90.0])
    assert asked.horizon == 2 and asked.pending_executed <= 2


def set_to(**fields):
    def mood(request, response):
        for name, value in fields.items():
            setattr(response, name, value)
    return mood


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"width": 3, "values": [0.0] * 6}, "gave rows of 3 numbers for 2 channels: forward, turn"),
    ({"rows": 3, "values": [0.0] * 6}, "gave 3 rows, and the policy file wants 2 (rows, or horizon)"),
    ({"values": [0.0, float("nan"), 0.0, 0.0]}, "gave nan for 'turn' in row 0"),
    ({"values": [0.0]}, "gave 1 values, and says that they are 2 rows of 2"),
    ({"channels": ["turn", "forward"]}, "gave turn, forward, and"),
    ({"error": "out of memory"}, "failed: out of memory")])
def test_an_answer_that_is_wrong_never_reaches_the_gate(world, answerer, fields, sentence):
    world.start()
    world.answered()
    answerer.mood = set_to(**fields)
    del world.chunks[:]
    assert sentence in world.fault("action").text
    assert not world.chunks
    answerer.mood = set_to()
    world.answered()


def test_a_wrong_answer_is_found_before_the_robot_moves(world, answerer, around, tmp_path):
    answerer.mood = set_to(width=1)
    with pytest.raises(AssertionError, match="gave rows of 1 numbers for 2 channels"):
        world.start()


def test_words_that_it_does_not_know_go_to_the_operator_and_are_no_fault(world, answerer):
    world.start()
    answerer.mood = set_to(not_understood="'dance' is not known; say 'wander'")
    world.show("dance")
    world.around.wait(lambda: world.around.said("not understood: 'dance' is not known; say 'wander'"))
    assert not world.faults and not world.chunks


def test_a_service_that_is_not_there_refuses_configure_with_its_name(world):
    with pytest.raises(AssertionError, match="no node offers the service /asked .* within 0.2 s"):
        world.start(connect_timeout=0.2)


def test_a_service_that_goes_is_a_communication_fault_and_is_found_again(world):
    with answering():
        world.start()
        world.answered()
    assert "the service /asked is gone" in world.fault("communication").text
    with answering():
        world.answered()


def test_a_service_that_hangs_is_a_communication_fault_and_a_late_answer_is_no_answer(world, answerer):
    world.start()
    world.answered()

    def hang(request, response):
        if request.prompt == "late words":
            answerer.release.wait(10.0)

    answerer.mood = hang
    del world.chunks[:]
    assert "did not answer within 0.5 s (timeout)" in world.fault("communication", "late words").text
    late = [request for request in answerer.asked if request.prompt == "late words"]
    assert len(late) == 1  # one request in flight
    answerer.release.set()
    chunk = world.answered("go")
    assert chunk.values[0] == pytest.approx(0.02)  # of "go", and not of the late words
    slow = [each for each in world.chunks if each.values[0] == pytest.approx(0.1)]
    assert not slow


def test_without_an_executor_that_turns_it_answers_as_well(world, answerer):
    """Configure is a callback: the executor waits for it, and for the warm-up in it."""
    world.around.spin()
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    policy_file = write_policy_file(world.folder / "policy.yaml", "ros_service", options={
        **OPTIONS, "actions": ["linear.x", "angular.z"], "units": {}}, images={"front": {"camera": "camera"}}, rate=10, horizon=2)
    node = world.around.make(Inference, policy_file=policy_file, robot_file=SIM)
    client = world.around.node.create_client(ChangeState, "inference/change_state")
    assert client.wait_for_service(5.0)
    future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    world.around.wait(future.done, 10.0)
    assert future.result().success, node.problem
    assert len(answerer.asked) == 3


# -- the page ------------------------------------------------------------------------------------------------
def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_page_s_node_is_the_policy_as_printed(around, tmp_path):
    (source,), (policy_file,) = blocks("python"), blocks("yaml")
    assert len(source.splitlines()) <= 40
    (tmp_path / "wander.py").write_text(source, encoding="utf-8")
    (tmp_path / "wander.yaml").write_text(policy_file, encoding="utf-8")
    write_policy_file(tmp_path / "careful.yaml", "constant")
    process = subprocess.Popen([sys.executable, str(tmp_path / "wander.py")], env=dict(os.environ))
    try:
        options = load_policy_file(tmp_path / "wander.yaml").options
        world = World(around, tmp_path)
        node = around.make(Inference, policy_file=str(tmp_path / "wander.yaml"), robot_file=SIM)
        node.trigger_configure()
        assert node.state == "inactive", node.problem
        node.trigger_activate()
        around.spin()
        around.wait(world.speaker.get_subscription_count)

        def show(text):
            world.count += 1
            image = np.zeros((*options["images"]["front"], 3), np.uint8)
            world.speaker.publish(convert.observation_message(CoreObservation(
                time.time_ns(), Instruction(1, world.count, text), {"camera": image}, {})))
            return True

        chunk = around.wait(lambda: show("wander") and world.chunks and world.chunks[-1])
        assert convert.chunk(chunk).values == pytest.approx(np.array([[0.2, 0.1]] * 5))
        around.wait(lambda: show("dance") and around.said("'dance' is not known; say 'wander'"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        fault = around.wait(lambda: show("wander") and world.faults and world.faults[-1], 10.0)
        assert fault.kind == "communication"
    finally:
        process.kill()
        process.wait()


def test_the_page_has_every_option_and_its_default():
    from vla_ros.policies.ros_service import OPTIONS as KNOWN
    table = PAGE.split("| option | |")[1].split("\n\n")[0]
    named = {"rate", "horizon"} | set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))))
    assert named == set(KNOWN)
