"""Real processes that hang, and policies that do: the operator hears it, and the robot is driven again."""
from __future__ import annotations

import signal
import sys
import time

import pytest

pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

from vla_ros.bench.faults.stack import Suite
from vla_ros.bench.faults.worlds import stand_in
from vla_ros.core import process_identity
from vla_ros.core.policy_file import write_policy_file
from vla_ros.operator.processes import node_command, suite_environment, suite_nodes

pytestmark = pytest.mark.alone
SPIN = {"values": {"linear.x": 0.0, "angular.z": 0.48}}

POLICY = """
import time
from vla_ros.policies.constant import Constant

class Moody(Constant):
    "Spins; hangs on the word hang, and its object never works again."
    name = "moody"
    spoiled = False

    def predict(self, observation):
        self.spoiled = self.spoiled or "hang" in observation.instruction.text
        while self.spoiled:
            time.sleep(1.0)
        if "raise" in observation.instruction.text:
            raise RuntimeError("out of memory")
        return super().predict(observation)

from vla_ros.nodes.inference import main
main()
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hung")
    policy_file = write_policy_file(folder / "spin.yaml", "constant", options=SPIN)
    commands = suite_nodes(policy_file=policy_file, overrides={
        "safety_validator": {"stuck_policy_limit": 0.0}, "supervisor": {"diagnostics_period": 0.1}})
    commands["simulator"] = stand_in(node_command("simulator", parameters={"seed": 3}), "vla_ros.bench.faults.faulty_robot")
    running = Suite(folder, commands, suite_environment(), folder)
    yield running
    running.close()


def heard(suite, part):
    return any(part in sentence for sentence in suite.feedback)


@pytest.mark.skipif(not process_identity.host(), reason="/proc is needed to know of processes")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", [pytest.param("inference", marks=pytest.mark.full), "safety_validator"])
def test_any_process_that_hangs_at_full_speed_is_ended_and_brought_back(suite, name):
    suite.spin()
    del suite.feedback[:]
    pid, since = suite.group.pid(name), time.monotonic()
    suite.group.kill(name, signal.SIGSTOP)
    seconds = suite.standstill(since)
    print(f"\n{name} stopped: standstill after {seconds:.3f} s")
    suite.wait(lambda: heard(suite, f"{name} was lost"), 5.0, "the operator hears of the loss")
    assert heard(suite, "its process is stopped")
    suite.wait(lambda: heard(suite, f"{name} hangs") and heard(suite, "SIGKILL"), 6.0, "it is ended")
    suite.stages = {}
    suite.wait(suite.all_active, 30.0, f"{name} is back")
    assert suite.group.pid(name) != pid


@pytest.mark.timeout(120)
def test_a_supervisor_that_was_away_ends_nobody(suite):
    suite.spin()
    del suite.feedback[:]
    pids = suite.group.pids()
    suite.group.kill("supervisor", signal.SIGSTOP)
    time.sleep(5.0)
    suite.group.kill("supervisor", signal.SIGCONT)
    time.sleep(2.0)
    suite.group.poll()
    assert suite.group.pids() == pids and not heard(suite, "was lost")
    suite.wait(suite.all_active, 5.0, "all are active")


@pytest.mark.timeout(180)
def test_a_policy_that_hangs_soon_after_its_node_was_lost_hands_over_to_the_fallback(suite, tmp_path):
    suite.wait(suite.all_active, 60.0, "all nodes active")
    write_policy_file(tmp_path / "spin.yaml", "constant", options=SPIN)
    policy_file = tmp_path / "moody.yaml"  # only that process knows it
    policy_file.write_text(f"{{policy: '__main__:Moody', options: {SPIN}, fallback: spin.yaml}}")
    command = suite_nodes(policy_file=policy_file, overrides={"inference": {"predict_timeout": 1.0}})["inference"]
    arguments = command[command.index("--ros-args"):]
    suite.group.stop(["inference"])
    suite.group.start("inference", [sys.executable, "-c", POLICY, *arguments], suite_environment(), tmp_path / "log")
    suite.stages = {}
    suite.spin()
    del suite.feedback[:]
    since = time.monotonic()
    suite.utter("spin and hang the picture")
    print(f"\npolicy hangs: standstill after {suite.standstill(since):.3f} s")
    # Step 1 was the process that came back a moment ago.
    suite.wait(lambda: heard(suite, "Step 2 of 2: the fallback policy takes over"), 5.0, "the second step")
    suite.wait(lambda: heard(suite, "fallback policy 'constant' runs from now on"), 5.0, "the fallback runs")
    suite.say("spin")
    suite.wait(suite.spinning, 5.0, "the fallback drives")
    assert suite.group.returncode("inference") is None  # the node's process lived through it all
