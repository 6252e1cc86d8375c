"""inference: a policy that raises, hangs or lies is reported; a reset or the fallback works without it."""
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from std_srvs.srv import SetBool, Trigger

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import MAX_HUNG_WORKERS, Inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros_msgs.msg import ActionChunk, Fault, Observation

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
SLOW = {"options": {"values": {"linear.x": 0.05, "angular.z": 0.0}}}
GOOD = np.array([[0.2]], np.float32)


class Wild:
    """Does what the words say. Each object has its own `mood`; `release` lets those that hang go on."""

    made: list = []
    release = threading.Event()
    fails_to_load = False

    @classmethod
    def spec(cls, options):
        return PolicySpec(("gripper",), 1, 100_000_000, {"camera": (8, 8)})

    def __init__(self, options):
        if Wild.fails_to_load:
            raise RuntimeError("no memory left")
        self.resets, self.spoiled = 0, False
        Wild.made.append(self)
        self.name = f"wild@{len(Wild.made)}"

    def predict(self, observation):
        text = observation.instruction.text
        if text == "hang" or self.spoiled:
            self.spoiled = True
            Wild.release.wait(20.0)
        if text == "raise":
            raise RuntimeError("out of memory")
        if text == "exit":
            raise SystemExit(3)
        values = {"flat": GOOD[0], "wide": np.zeros((1, 3), np.float32), "empty": np.zeros((0, 1), np.float32),
                  "words": np.array([["a"]])}.get(text, GOOD)
        return None if text == "none" else values

    def reset(self):
        self.resets += 1


@pytest.fixture
def world(around, monkeypatch, tmp_path):
    monkeypatch.setitem(POLICIES, "wild", f"{__name__}:Wild")
    Wild.made, Wild.fails_to_load = [], False
    Wild.release.clear()
    yield World(around, tmp_path)
    Wild.release.set()


class World:
    def __init__(self, around, folder):
        self.around, self.folder, self.instruction_id = around, folder, 0
        self.chunks = around.hear(ActionChunk, "action_chunk", LATEST)
        self.faults = around.hear(Fault, "fault", EVENTS)
        self.speaker = around.speaker(Observation, "observation", IMAGES)
        self.reset = around.node.create_client(Trigger, "inference/reset_policy")
        self.switch_to_fallback = around.node.create_client(SetBool, "inference/switch_to_fallback")

    def with_fallback(self, policy="constant", **keys):
        write_policy_file(self.folder / "fallback.yaml", policy, **keys)
        return {"policy_file": write_policy_file(self.folder / "policy.yaml", "wild", fallback="fallback.yaml")}

    def start(self, **parameters):
        which = {} if "policy_file" in parameters else {"policy": "wild"}
        node = self.around.start(Inference, **{**which, "robot_file": SIM, "predict_timeout": 0.2, **parameters})
        node._end_process = lambda: self.ended.append(True)
        self.ended = []
        self.around.wait(lambda: self.speaker.get_subscription_count() and self.switch_to_fallback.service_is_ready())
        return node

    def show(self, text="go"):
        self.instruction_id += 1
        image = np.zeros((8, 8, 3), np.uint8)
        self.speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Instruction(1, self.instruction_id, text), {"camera": image}, {})))

    def call(self, client, **request):
        kind = Trigger.Request if client is self.reset else SetBool.Request
        future = client.call_async(kind(**request))
        self.around.wait(future.done, 1.0)  # whatever the policy does
        return future.result()

    def acts(self, policy):
        """An observation is answered by `policy`."""
        del self.chunks[:]
        self.show()
        return self.around.wait(lambda: self.chunks and self.chunks[-1].policy) == policy


@pytest.mark.parametrize("text, says", [
    ("raise", "RuntimeError: out of memory"), ("exit", "SystemExit: 3"),
    ("none", "gave a NoneType; predict returns an array of numbers, rows x channels"),
    ("flat", "rows of shape (1,) for 1 channels"), ("wide", "rows of shape (1, 3) for 1 channels"),
    ("empty", "rows of shape (0, 1) for 1 channels"), ("words", "gave an array of <U1; predict returns an array of numbers"),
])
def test_a_policy_that_raises_or_gives_garbage_is_an_action_fault(world, text, says):
    world.start()
    for _ in range(5):
        world.show(text)
        time.sleep(0.02)
    fault = world.around.wait(lambda: world.faults and world.faults[0])
    assert (fault.source, fault.kind) == ("inference", "action") and fault.stamp.sec
    assert says in fault.text
    time.sleep(0.2)
    assert len(world.faults) == 1 and not world.chunks  # at most one a second
    assert world.acts("wild@1")


def test_a_prediction_that_takes_too_long_is_an_action_fault_as_long_as_it_lasts(world):
    node = world.start()
    world.show("hang")
    fault = world.around.wait(lambda: world.faults and world.faults[0])
    assert "policy 'wild@1' has been at work for 0." in fault.text
    assert "predict_timeout" in fault.text
    world.around.wait(lambda: len(world.faults) == 2, 2.0)
    Wild.release.set()
    time.sleep(0.3)
    del world.faults[:]
    time.sleep(1.2)
    assert not world.faults and node.problem == ""


def test_a_prediction_just_below_the_limit_is_none(world):
    world.start(predict_timeout=1.0)
    world.show("hang")
    time.sleep(0.6)
    Wild.release.set()
    time.sleep(0.6)
    assert not world.faults


def test_resetting_a_policy_that_works_resets_it_once_in_its_own_thread(world):
    world.start()
    assert world.acts("wild@1")
    before = Wild.made[0].resets
    world.instruction_id -= 1  # the same instruction: nothing else resets it
    assert world.call(world.reset).success
    world.show()
    world.around.wait(lambda: Wild.made[0].resets == before + 1)
    assert len(Wild.made) == 1


def test_resetting_a_policy_that_hangs_gives_a_fresh_one_and_the_old_one_is_not_heard(world):
    node = world.start()
    world.show("hang")
    world.around.wait(lambda: world.faults)
    assert "a fresh one is made" in world.call(world.reset).message
    assert world.acts("wild@2")
    assert node.diagnose() == {"policy": "wild@2", "role": "policy", "hung workers left": "1"}
    del world.chunks[:]
    Wild.release.set()  # the old one answers after all
    world.around.wait(lambda: node.diagnose()["hung workers left"] == "0")
    time.sleep(0.1)
    assert not world.chunks
    assert Wild.made[0] is not Wild.made[1] and not Wild.made[1].spoiled


def test_falling_back_and_forth(world):
    node = world.start(**world.with_fallback(**SLOW))
    assert world.acts("wild@1")
    assert world.call(world.switch_to_fallback, data=True).success
    assert world.acts("constant")
    assert "fallback policy 'constant' runs already" in world.call(world.switch_to_fallback, data=True).message
    assert world.call(world.switch_to_fallback, data=False).success
    assert world.acts("wild@1")  # the same object: it never hung
    assert len(Wild.made) == 1 and node.diagnose()["role"] == "policy"


def test_falling_back_from_a_policy_that_hangs(world):
    world.start(**world.with_fallback(**SLOW))
    world.show("hang")
    world.around.wait(lambda: world.faults)
    assert world.call(world.switch_to_fallback, data=True).success
    assert world.acts("constant")
    assert world.call(world.switch_to_fallback, data=False).success
    assert world.acts("wild@2")


def test_without_a_fallback_it_says_so(world):
    world.start()
    answer = world.call(world.switch_to_fallback, data=True)
    assert not answer.success and "no fallback policy is configured ('fallback' in the policy file)" in answer.message
    assert world.acts("wild@1")


def test_a_fresh_policy_that_cannot_be_made_is_an_action_fault(world):
    world.start()
    world.show("hang")
    world.around.wait(lambda: world.faults)
    Wild.fails_to_load = True
    world.call(world.reset)
    world.around.wait(lambda: "no memory left" in world.faults[-1].text, 3.0)
    Wild.fails_to_load = False
    assert world.call(world.reset).success
    assert world.acts("wild@2")


def test_a_worker_that_hangs_at_deactivate_shares_nothing_with_the_next(world):
    node = world.start()
    world.show("hang")
    world.around.wait(lambda: world.faults)
    node.trigger_deactivate()
    node.trigger_activate()
    assert world.acts("wild@2")
    Wild.release.set()
    time.sleep(0.1)
    assert [chunk.policy for chunk in world.chunks] == ["wild@2"]


def test_one_that_is_merely_at_work_at_deactivate_goes_on_afterwards(world):
    node = world.start(predict_timeout=5.0)
    world.show("hang")
    world.around.wait(lambda: Wild.made[0].spoiled)
    node.trigger_deactivate()
    node.trigger_activate()
    Wild.release.set()
    assert world.acts("wild@1") and len(Wild.made) == 1


def test_too_many_workers_that_hang_end_the_process(world):
    world.start(predict_timeout=0.1)
    for count in range(MAX_HUNG_WORKERS):
        assert not world.ended
        assert world.acts(f"wild@{count + 1}")
        world.show("hang")
        world.around.wait(lambda: Wild.made[-1].spoiled)
        time.sleep(0.15)
        world.call(world.reset)
    assert world.ended
    world.around.wait(lambda: world.around.said("3 workers hang in their policies"))


@pytest.mark.parametrize("fallback, says", [
    ({"policy": "rt2"}, "unknown policy 'rt2'"),
    ({"policy": "color_servo"}, "fallback policy 'color_servo' looks through camera of 240 x 320 (pad), but policy "
                                "'wild' through camera of 8 x 8 (pad); give a fallback that wants the same"),
    ({"images": {"camera": {"size": [224, 224]}}}, "'constant' looks through camera of 224 x 224 (pad), but policy"),
    ({"images": {"camera": {"camera": "other"}}}, "'constant' looks through other of 224 x 224 (pad), but policy"),
    ({"images": {"camera": {"resize": "crop"}}}, "'constant' looks through camera of 8 x 8 (crop), but policy"),
    ({"options": {"values": {"wings": 1.0}}}, "fallback policy 'constant' commands 'wings', but robot 'sim' obeys"),
])
def test_a_fallback_that_does_not_fit_fails_configure(world, fallback, says):
    node = world.around.make(Inference, robot_file=SIM, **world.with_fallback(**fallback))
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem
