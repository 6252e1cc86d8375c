"""inference with LeRobot's process beside it: one that dies is a communication fault, and it ends with the node."""
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="no msgpack here")
pytest.importorskip("websockets.sync.server", reason="no websockets here, or an old one")

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from fake_sidecar import SIZE, checkpoint, fake_environment

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.types import Instruction
from vla_ros.core.types import Observation as CoreObservation
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST
from vla_ros.nodes.inference import Inference
from vla_ros_msgs.msg import ActionChunk, Fault, Observation

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")


def policy_file(folder, behaviour):
    numbers = ["linear.x", "angular.z"]
    options = {"checkpoint": str(checkpoint(folder / "checkpoint")), "state": numbers, "actions": list(numbers),
               "sidecar": {"env": str(fake_environment(folder / "env", behaviour)), "timeout": 1.0}}
    return write_policy_file(folder / "policy.yaml", "lerobot", options=options, rate=10,
                             images={"front": {"camera": "camera"}})


def test_a_sidecar_that_dies_is_a_communication_fault_and_comes_back(around, tmp_path):
    chunks = around.hear(ActionChunk, "action_chunk", LATEST)
    faults = around.hear(Fault, "fault", EVENTS)
    speaker = around.speaker(Observation, "observation", IMAGES)
    node = around.start(Inference, policy_file=policy_file(tmp_path, "dies"), robot_file=SIM, warm_up=1)
    around.wait(speaker.get_subscription_count)

    def show():
        image = np.zeros((*SIZE, 3), np.uint8)
        speaker.publish(convert.observation_message(CoreObservation(
            time.time_ns(), Instruction(1, 1, "go"), {"camera": image}, {"linear.x": 0.1, "angular.z": 0.0})))
        time.sleep(0.05)
        return True

    around.wait(lambda: show() and faults and faults[-1].kind == "communication", 10.0)
    assert "hung up" in faults[-1].text or "sidecar" in faults[-1].text
    around.wait(lambda: show() and chunks and chunks[-1], 20.0)
    assert convert.chunk(chunks[-1]).policy == "lerobot fake@12345678"
    assert (tmp_path / "env" / "starts").read_text() == "2"
    assert node.diagnose()["engine"].startswith("LeRobot in the sidecar (process ")


def test_one_that_cannot_run_refuses_configure_with_its_sentence(around, tmp_path):
    node = around.make(Inference, policy_file=policy_file(tmp_path, "problem"), robot_file=SIM)
    assert node.trigger_configure().name != "SUCCESS"
    assert "the weights are upside down; turn them" in node.problem
