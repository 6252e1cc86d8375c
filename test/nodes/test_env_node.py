"""A gymnasium environment as a robot behind the real gate, and `vla sim` as a process."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("gymnasium", reason="environments need gymnasium")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64, Float64MultiArray
from tiny_env import ARM, CART, arm_robot, cart_robot
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.compressed import decode
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, SENSOR
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.sim.env.node import EnvRobot, StepPace
from vla_ros.sim.env.plan import fit_env
from vla_ros.sim.env.world import EnvWorld
from vla_ros_msgs.msg import ActionChunk, Heartbeat, Instruction

ROOT = Path(__file__).parents[2]


def write_robot(folder: Path, data: dict[str, Any]) -> str:
    path = folder / "robot.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")  # which is YAML, too
    return str(path)


@pytest.fixture
def simulated(around: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes an environment's node that runs; its world and its robot file's path."""
    nodes = []

    def make(name: str, data: dict[str, Any], rate: float | None = None, **options: Any) -> tuple[EnvWorld, str]:
        path = write_robot(tmp_path, data)
        world, robot = EnvWorld(name, rate=rate), load_robot(path)
        nodes.append(EnvRobot(world, robot, fit_env(robot, world.offer), **options))
        around.executor.add_node(nodes[-1])
        nodes[-1].start()
        around.spin()
        return world, path

    yield make
    for node in nodes:
        node.stop()
        node.destroy_node()


class Policy:
    """An operator and a policy that wants `values`, twenty times a second."""

    def __init__(self, around: Any, values: dict[str, float]) -> None:
        self.around, self.values, self.sequence, self.instruction = around, values, 0, 0
        self.chunks = around.speaker(ActionChunk, "action_chunk", LATEST)
        self.instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.heartbeats = around.speaker(Heartbeat, "heartbeat", EVENTS)
        self.say("")
        around.node.create_timer(0.05, self.live)

    def say(self, text: str) -> None:
        self.instruction += bool(text)
        self.instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), self.instruction, text)))

    def live(self) -> None:
        self.heartbeats.publish(Heartbeat(node="inference", state="active", process="1"))
        if self.instruction and self.values:
            self.sequence += 1
            row = np.array([list(self.values.values())], np.float32)
            self.chunks.publish(convert.chunk_message(CoreChunk(
                time.time_ns(), self.instruction, tuple(self.values), row, 100_000_000, self.sequence)))

    def drive(self) -> None:
        self.around.wait(lambda: self.around.call("safety_validator/arm").success)
        self.say("go")


def test_an_arm_goes_through_the_gate_where_the_policy_wants_it_and_holds_when_it_is_silent(around: Any, simulated: Any) -> None:
    joints = around.hear(JointState, "/joint_states", EVENTS)
    opening = around.hear(Float64MultiArray, "/grip", EVENTS)
    images = around.hear(Image, "/front/image", SENSOR)
    rewards = around.hear(Float64, "/sim/reward", EVENTS)
    world, path = simulated(ARM, arm_robot())
    around.start(SafetyValidator, robot_file=path, required_nodes=["inference"])
    policy = Policy(around, {"elbow": 0.75, "roll": 0.1, "gripper": 0.25})
    policy.drive()
    around.wait(lambda: np.allclose(world.numbers(), [0.75, 0.1, 0.25], atol=0.01), 10.0)
    around.wait(lambda: rewards[-1].data == pytest.approx(0.75, abs=0.01))
    assert joints[-1].name == ["elbow", "roll"] and joints[-1].position[0] == pytest.approx(0.75, abs=0.01)
    assert opening[-1].data[0] == pytest.approx(0.25, abs=0.01)
    assert (images[-1].height, images[-1].width, images[-1].encoding) == (48, 64, "rgb8")
    assert images[-1].header.frame_id == "front_optical_frame"
    pixels = convert.rgb_image(images[-1])
    assert abs(int(pixels.mean()) - 130) <= 4  # the image shows where the elbow is
    assert bytes(images[-1].data) != bytes(images[-2].data)  # a sensor's noise: else it looks frozen
    stamp = images[-1].header.stamp
    around.wait(lambda: stamp in [message.header.stamp for message in joints])  # an image is of the moment of its joints
    policy.values = {}
    time.sleep(0.7)
    held = world.numbers()
    time.sleep(0.3)
    assert world.numbers() == pytest.approx(held, abs=1e-6)


def test_a_cart_stops_when_the_gate_is_gone(around: Any, simulated: Any) -> None:
    world, path = simulated(CART, cart_robot(), rate=50.0)
    gate = around.start(SafetyValidator, robot_file=path, required_nodes=["inference"])
    Policy(around, {"linear.x": 0.5, "angular.z": 0.0}).drive()
    around.wait(lambda: world.action()[0] == pytest.approx(0.5))
    gate._outputs.send = lambda action, now: None  # as if its process were gone
    around.wait(lambda: world.action()[0] == 0.0)


def test_a_reset_is_the_next_episode_or_that_of_the_seed(around: Any, simulated: Any) -> None:
    world, _ = simulated(ARM, arm_robot())
    answer = around.call("/env_simulator/reset")
    assert (answer.success, answer.message, world.seed) == (True, f"scene 1: {ARM}", 1)
    node = next(node for node in around.executor.get_nodes() if node.get_name() == "env_simulator")
    node.set_parameters([Parameter("seed", value=9)])
    around.call("/env_simulator/reset")
    assert world.seed == 9


def test_a_command_that_is_none_is_refused_and_the_robot_holds(around: Any, simulated: Any) -> None:
    world, _ = simulated(ARM, arm_robot())
    arm = around.speaker(JointTrajectory, "/arm", EVENTS)
    grip = around.speaker(Float64MultiArray, "/gripper", EVENTS)
    around.wait(lambda: arm.get_subscription_count() and grip.get_subscription_count())
    arm.publish(JointTrajectory(joint_names=["elbow"]))
    grip.publish(Float64MultiArray(data=[0.1, 0.2]))
    steps = world.counts.steps
    around.wait(lambda: world.counts.steps > steps + 20)
    assert world.action() == pytest.approx([0.25, -0.5, 0.75])


def test_a_twist_s_axes_are_taken_by_name(around: Any, simulated: Any) -> None:
    world, _ = simulated(CART, cart_robot(), rate=50.0)
    wheel = around.speaker(Twist, "/cmd_vel", EVENTS)
    around.wait(wheel.get_subscription_count)
    twist = Twist()
    twist.linear.x, twist.angular.z = 0.25, -0.75
    wheel.publish(twist)
    around.wait(lambda: world.action().tolist() == [0.25, -0.75])


def test_a_compressed_camera_and_the_report(around: Any, simulated: Any) -> None:
    images = around.hear(CompressedImage, "/front/image", SENSOR)
    reports = around.hear(DiagnosticArray, "/diagnostics", EVENTS)
    simulated(ARM, arm_robot(cameras={"front": {"topic": "/front/image", "transport": "compressed"}}), noise=False)
    around.wait(lambda: images and reports)
    pixels = decode(images[-1].data, images[-1].format, 10**6)
    assert pixels.shape == (48, 64, 3) and abs(int(pixels.mean()) - 110) <= 2
    status = reports[-1].status[0]
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == f"env_simulator: {ARM}" and "steps a second of 50" in status.message
    assert values["success"] == "false" and values["episodes"] == "0" and float(values["steps a second"]) > 5.0


def test_the_reached_rate_is_said_beside_the_wanted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace, said = StepPace(50.0), []
    for _ in range(301):  # at 25 steps a second
        pace.step(said.append)
        now += 0.04
    assert pace.text() == "25.0 steps a second of 50 (0.50)" and said == [pace.text()]
    assert pace.text(whole=True).startswith("300 steps, 24.9 steps a second of 50")


def verb(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([sys.executable, "-m", "vla_ros.cli.main", "sim", *words], text=True, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_the_verb_runs_until_it_is_interrupted_and_says_what_was_reached(around: Any, tmp_path: Path) -> None:
    rewards = around.hear(Float64, "/sim/reward", EVENTS)
    around.spin()
    process = verb("--env", ARM, "--robot-file", write_robot(tmp_path, arm_robot()))
    around.wait(lambda: len(rewards) > 5, 20.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20.0)
    assert process.returncode == 0, output
    assert "camera front: pixels.front on /front/image" in output
    assert "steps a second of 50" in output.splitlines()[-1] and output.splitlines()[-1].endswith("no episode ended")


def test_an_environment_that_fails_ends_the_verb_with_a_sentence(tmp_path: Path) -> None:
    process = verb("--env", ARM, "--env-args", "breaks=true", "--robot-file", write_robot(tmp_path, arm_robot()))
    output, _ = process.communicate(timeout=30.0)
    assert process.returncode == 1
    assert f"simulator: the environment {ARM} failed after 0 steps: KeyError: 'a fault of theirs'" in output
