"""Camera, synchronizer and inference as one real process: what takes it down stops the robot, and all of them come back."""
from __future__ import annotations

import os
import time

import pytest

pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

from vla_ros.bench.faults.stack import Suite
from vla_ros.bench.faults.worlds import stand_in
from vla_ros.core import process_identity
from vla_ros.core.composed import KINDS, PROGRAM
from vla_ros.core.policy_file import write_policy_file
from vla_ros.operator.processes import node_command, suite_environment, suite_nodes

pytestmark = [pytest.mark.alone, pytest.mark.timeout(120)]

POLICY = """
import re
from pathlib import Path

from vla_ros.policies.constant import Constant

class Stubborn(Constant):
    "Spins; at the word hang, the first time, it computes for hours, and lets no other thread of its process run."

    def predict(self, observation):
        hung = Path(__file__).with_name("hung")
        if "hang" in observation.instruction.text and not hung.exists():
            hung.touch()  # the fresh process hears the same instruction
            re.match("(a+)+$", 60 * "a" + "b")
        return super().predict(observation)
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composed")
    (folder / "stubborn.py").write_text(POLICY)
    policy_file = write_policy_file(folder / "spin.yaml", "stubborn:Stubborn",
                                    options={"values": {"linear.x": 0.0, "angular.z": 0.48}})
    commands = suite_nodes(policy_file=policy_file, composed=True, overrides={
        "safety_validator": {"stuck_policy_limit": 0.0}, "supervisor": {"diagnostics_period": 0.1, "hung_after": 1.5}})
    commands["simulator"] = stand_in(node_command("simulator", parameters={"seed": 3}), "vla_ros.bench.faults.faulty_robot")
    environment = suite_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), environment.get("PYTHONPATH", "")])
    running = Suite(folder, commands, environment, folder)
    yield running
    running.close()


def heard(suite, part):
    return any(part in sentence for sentence in suite.feedback)


@pytest.mark.full
def test_a_process_that_is_killed_at_full_speed_stops_the_robot_and_all_its_nodes_come_back(suite):
    suite.spin()
    del suite.feedback[:]
    pid, since = suite.group.pid(PROGRAM), time.monotonic()
    suite.group.kill(PROGRAM)
    seconds = suite.standstill(since)
    print(f"\nkilled: standstill after {seconds:.3f} s, {suite.stopped_by(since, since + 2.0)}")
    assert seconds < 1.5
    suite.wait(lambda: all(heard(suite, f"{kind} was lost") for kind in KINDS), 5.0, "they are missed")
    suite.stages = {}
    suite.wait(suite.all_active, 30.0, "all nodes are back")
    assert suite.group.pid(PROGRAM) != pid


@pytest.mark.skipif(not process_identity.host(), reason="/proc is needed to know of processes")
def test_a_policy_that_lets_nobody_else_run_stops_the_robot_and_its_process_is_ended_once(suite):
    suite.spin()
    del suite.feedback[:]
    pid, since = suite.group.pid(PROGRAM), time.monotonic()
    suite.utter("spin and hang the picture")
    seconds = suite.standstill(since)
    print(f"\nthe policy hangs: standstill after {seconds:.3f} s, {suite.stopped_by(since, since + 2.0)}")
    assert seconds < 2.0
    suite.wait(lambda: heard(suite, "it was ended (SIGKILL)"), 10.0, "it is ended")
    suite.stages = {}
    suite.wait(suite.all_active, 30.0, "all nodes are back")
    assert suite.group.pid(PROGRAM) != pid
    ends = [sentence for sentence in suite.feedback if "SIGKILL" in sentence]
    assert len(ends) == 1 and all(kind in ends[0] for kind in KINDS), ends
    assert not heard(suite, "it was not ended")
    suite.spin()
