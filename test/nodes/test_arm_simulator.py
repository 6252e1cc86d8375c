"""The arm's simulator as a process: topics, trajectories, the gripper, the driver's time-out, and how it ends."""
from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from builtin_interfaces.msg import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from test_simulator import BEST_EFFORT, Robot, context, most, rate  # noqa: F401
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import MarkerArray

from vla_ros.core.depth import depth_of
from vla_ros.sim.arm.chain import FINGER, NAMES, urdf
from vla_ros.sim.arm.scene import sample_table
from vla_ros.sim.arm.world import DRIVER_TIMEOUT_S


class Arm(Robot):
    module = "vla_ros.sim.arm.node"
    topics = {
        "/scene_camera/image_raw": (Image, BEST_EFFORT),
        "/wrist_camera/image_raw": (Image, BEST_EFFORT),
        "/joint_states": (JointState, 10),
        "/sim/objects": (MarkerArray, 1),
        "/robot_description": (String, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)),
    }

    @property
    def joints(self) -> dict[str, float]:
        message = self.last["/joint_states"]
        return dict(zip(message.name, message.position))


@pytest.fixture
def arm(context: Any, machine: Any) -> Iterator[Arm]:  # noqa: F811
    arm = Arm(context, machine, "seed:=3")
    assert arm.wait(lambda: set(arm.topics) <= set(arm.last))
    yield arm
    arm.close()


def trajectory(goal: dict[str, float], seconds: float) -> JointTrajectory:
    point = JointTrajectoryPoint(positions=list(goal.values()))
    point.time_from_start = Duration(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))
    return JointTrajectory(joint_names=list(goal), points=[point])


def test_topics_their_rates_and_their_contents(arm: Arm) -> None:
    for times in arm.times.values():
        times.clear()
    began = time.monotonic()
    arm.spin(2.0)
    given = 1.0 - arm.machine.lost(began) / (time.monotonic() - began)  # of the time, by the machine
    assert 40 * given < rate(arm.times["/joint_states"]) < most(50, 2.0)
    assert rate(arm.times["/sim/objects"]) > 7 * given
    images = [arm.last[f"/{camera}_camera/image_raw"] for camera in ("scene", "wrist")]
    assert [(image.height, image.width, image.encoding, len(image.data)) for image in images] == [
        (256, 256, "rgb8", 3 * 256 * 256)] * 2
    assert set(arm.joints) == {*NAMES, FINGER}
    assert arm.last["/robot_description"].data == urdf()
    truth = {marker.ns: marker for marker in arm.last["/sim/objects"].markers}
    assert set(truth) == {"robot", *(thing.name for thing in sample_table(3).objects)}
    for thing in sample_table(3).objects:
        place = truth[thing.name].pose.position
        assert math.dist((place.x, place.y), (thing.x, thing.y)) < 0.005


def test_it_follows_a_trajectory_of_joints_in_any_order_and_the_gripper(arm: Arm) -> None:
    arms = arm.node.create_publisher(JointTrajectory, "/arm_controller/joint_trajectory", 1)
    gripper = arm.node.create_publisher(Float64MultiArray, "/gripper_controller/commands", 1)
    assert arm.wait(lambda: arms.get_subscription_count() > 0 and gripper.get_subscription_count() > 0)
    before = arm.joints
    goal = {name: before[name] + 0.1 * (index - 2) for index, name in enumerate(reversed(NAMES))}

    def there() -> bool:
        arms.publish(trajectory(goal, 0.2))
        gripper.publish(Float64MultiArray(data=[0.01]))
        now = arm.joints
        return all(abs(now[name] - goal[name]) < 0.01 for name in NAMES) and abs(now[FINGER] - 0.01) < 0.002

    assert arm.wait(there, 5.0)


def test_an_arm_that_hears_no_more_holds(arm: Arm) -> None:
    arms = arm.node.create_publisher(JointTrajectory, "/arm_controller/joint_trajectory", 1)
    assert arm.wait(lambda: arms.get_subscription_count() > 0)
    before = arm.joints["joint_1"]
    goal = {**{name: arm.joints[name] for name in NAMES}, "joint_1": before + 2.0}
    arms.publish(trajectory(goal, 4.0))  # half a rad a second
    arm.spin(DRIVER_TIMEOUT_S + 1.0)
    held = arm.joints["joint_1"]
    assert 0.05 < held - before <= 0.5 * DRIVER_TIMEOUT_S + 0.02
    arm.spin(0.5)
    assert arm.joints["joint_1"] == pytest.approx(held, abs=0.005)


def test_wild_commands_make_it_hold_with_a_sentence(arm: Arm) -> None:
    arms = arm.node.create_publisher(JointTrajectory, "/arm_controller/joint_trajectory", 10)
    gripper = arm.node.create_publisher(Float64MultiArray, "/gripper_controller/commands", 10)
    assert arm.wait(lambda: arms.get_subscription_count() > 0 and gripper.get_subscription_count() > 0)
    before = arm.joints
    goal = dict.fromkeys(NAMES, 0.5)
    arms.publish(trajectory({**goal, "joint_3": math.nan}, 0.1))
    arms.publish(trajectory(dict.fromkeys(NAMES[:5], 0.5), 0.1))
    arms.publish(JointTrajectory(joint_names=list(NAMES)))
    arms.publish(JointTrajectory(joint_names=list(NAMES), points=[JointTrajectoryPoint(positions=[0.5])]))
    gripper.publish(Float64MultiArray(data=[math.nan]))
    gripper.publish(Float64MultiArray(data=[0.0, 0.0]))
    arm.spin(1.0)
    for name, position in before.items():
        assert arm.joints[name] == pytest.approx(position, abs=0.01)
    code, output, _ = arm.end(signal.SIGINT)
    assert code == 0
    assert "the arm holds: it was told" in output
    assert "the gripper holds: " in output
    assert "Traceback" not in output


def test_a_reset_is_the_next_table(arm: Arm) -> None:
    client = arm.node.create_client(Trigger, "/arm_simulator/reset")
    assert client.wait_for_service(5.0)
    future = client.call_async(Trigger.Request())
    assert arm.wait(future.done)
    names = ", ".join(thing.name for thing in sample_table(4).objects)
    assert future.result().message == f"scene 4: {names}"


@pytest.mark.parametrize("parameter, sentence", [
    ("width:=10", "parameter width (of both cameras' images, pixels) is 10; give 64 to 960"),
    ("seed:=-1", "parameter seed (which scene) is -1; give 0 to"),
])
def test_a_bad_parameter_ends_it_with_a_sentence(parameter: str, sentence: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "vla_ros.sim.arm.node", "--ros-args", "-p", parameter],
                           capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith(f"simulator: {sentence}")


class DeepArm(Arm):
    topics = {
        "/scene_camera/image_raw": (Image, BEST_EFFORT),
        "/scene_camera/depth/image_raw": (Image, BEST_EFFORT),
        "/wrist_camera/depth/image_raw": (Image, BEST_EFFORT),
    }


def test_depth_is_published_on_request_aligned_and_of_the_same_stamps(context: Any, machine: Any) -> None:  # noqa: F811
    arm = DeepArm(context, machine, "seed:=3", "depth:=true", "camera_rate:=10.0", "width:=64", "height:=64")
    stamps: dict[str, set[int]] = {topic: set() for topic in arm.topics}

    def together() -> bool:
        for topic, message in arm.last.items():
            stamps[topic].add(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
        return len(stamps) == 3 and len(set.intersection(*stamps.values())) >= 2

    try:
        assert arm.wait(together)
        message = arm.last["/scene_camera/depth/image_raw"]
        depth = depth_of(message.data, message.encoding, message.height, message.width, message.step,
                         bool(message.is_bigendian), 10**6)
        assert message.encoding == "32FC1" and depth.shape == (64, 64) and 0.5 < np.nanmin(depth) < np.nanmedian(depth) < 1.5
    finally:
        arm.close()
