"""`vla demo --robot arm`: what it sees of the arm, what it suggests, and its film."""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the demo needs ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="vla_ros is not built")
pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.core.policy_file import chosen_policy
from vla_ros.demo.arm import SCENE_TOPIC, ArmDemo, ArmMonitor, arm_policy_file
from vla_ros.demo.plots import DriveRecord
from vla_ros.sim.arm.chain import FINGER, NAMES
from vla_ros.tasks.arm.success import judge_arm


@pytest.fixture
def watch() -> Iterator[ArmMonitor]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("arm_demo_test", context=context)
    yield ArmMonitor(node, DriveRecord(), SCENE_TOPIC)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def marker(name: str, x: float, y: float, z: float, size: float = 0.04) -> Marker:
    thing = Marker(ns=name)
    thing.pose.position.x, thing.pose.position.y, thing.pose.position.z = x, y, z
    thing.pose.orientation.w = 1.0
    thing.scale.x = thing.scale.y = thing.scale.z = size
    return thing


def joints(angle: float, finger: float) -> JointState:
    return JointState(name=[*NAMES, FINGER], position=[angle] * 6 + [finger])


def test_the_truth_is_put_together_from_markers_and_joints(watch: ArmMonitor) -> None:
    assert watch.world() is None
    tool = marker("robot", 0.3, 0.0, 0.12)
    tool.text = "red block"
    watch._on_objects(MarkerArray(markers=[marker("red block", 0.3, 0.0, 0.12), tool]))
    assert watch.world() is None  # no joints yet
    watch._on_joints(joints(0.2, 0.021))
    table = watch.world()
    assert table is not None
    assert (table.tool, table.held, table.opening) == ((0.3, 0.0, 0.12), "red block", 0.042)
    assert table.joints == (0.2,) * 6
    block = table.object("red block")
    assert (block.colour, block.shape, block.size, block.bottom) == ("red", "block", 0.04, pytest.approx(0.10))
    assert judge_arm("pick up the red block", table, table).done


def test_the_speed_is_the_fastest_joint_s(watch: ArmMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for tick in range(10):
        now = 100.0 + 0.02 * tick
        watch._on_joints(joints(0.5 * 0.02 * tick, 0.04))
    assert watch.speeds()[-1][2] == pytest.approx(0.5)
    for tick in range(10, 20):
        now = 100.0 + 0.02 * tick
        watch._on_joints(joints(0.09, 0.04))
    assert watch.speeds()[-1][2] == 0.0


def test_what_is_sent_has_a_speed_too(watch: ArmMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for tick in range(10):
        now = 100.0 + 0.02 * tick
        point = JointTrajectoryPoint(positions=[0.3 * 0.02 * tick] * 6)
        watch._on_trajectory(JointTrajectory(joint_names=list(NAMES), points=[point]))
    assert watch.emitted()[-1][2] == pytest.approx(0.3, abs=0.01)
    watch._on_trajectory(JointTrajectory(joint_names=list(NAMES)))  # without a point: nothing is said


def image(colour: int) -> bytes:
    return serialize_message(Image(height=64, width=64, encoding="rgb8", step=192, data=bytes([colour]) * 64 * 192))


def demo(watch: Any) -> Any:
    stage = ArmDemo.__new__(ArmDemo)
    stage.watch = watch
    return stage


def test_both_cameras_are_on_the_film(watch: ArmMonitor) -> None:
    alone = demo(watch).decode(image(50))
    assert alone.shape == (480, 640, 3) and (alone == 50).all()
    watch._on_wrist(image(200))
    both = demo(watch).decode(image(50))
    assert (both[0, 0] == 50).all() and (both[0, -1] == 200).all()
    assert 0.05 < (both == 200).mean() < 0.1


def test_what_it_suggests_is_on_the_table() -> None:
    names = ("red block", "blue block", "green bowl", "blue cup")
    suggestions = demo(SimpleNamespace(things=lambda: dict.fromkeys(names))).suggestions()
    assert suggestions == ["put the blue block into the green bowl", "go home", "pick up the red block"]


def test_its_steps_are_judged_one_after_another(watch: ArmMonitor) -> None:
    stage = demo(watch)
    stage.success = None
    said: list[str] = []
    stage._view = SimpleNamespace(say=said.append)
    words = "close the gripper, then open the gripper"
    assert stage._read(words, None) == (2, words, True)
    assert said == ["  2 steps: close the gripper, then open the gripper"]
    watch._on_objects(MarkerArray(markers=[marker("red block", 0.3, 0.0, 0.02), marker("robot", 0.3, 0.0, 0.12)]))
    watch._on_joints(joints(0.2, 0.04))
    opened = watch.world()
    judged = stage._judging(words, opened)
    assert not judged(opened).done  # the second step alone
    watch._on_joints(joints(0.2, 0.0))
    assert not judged(watch.world()).done
    assert judged(opened).done
    assert "of its own, give --success" in stage._judging("make coffee", opened)(opened).sentence
    assert "the table has no blue cup" in stage._judging("pick up the blue cup", opened)(opened).sentence


def test_its_policy_file_names_the_table(tmp_path: Path) -> None:
    chosen = chosen_policy("", arm_policy_file(tmp_path / "demo", 7))
    assert (chosen.policy, chosen.options) == ("vla_ros.sim.arm.policy:TableExpert", {"seed": 7})
