"""The simulated arm's chain: one geometry in the formula, in MuJoCo's model, in the URDF and in the robot file."""
from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from vla_ros.core.robot import load_robot
from vla_ros.sim.arm.chain import (
    FINGER,
    FINGER_TRAVEL_M,
    HOME,
    JOINTS,
    LIMITS,
    NAMES,
    joints_for,
    pointing_down,
    tool_pose,
    urdf,
)

CONFIG = Path(__file__).resolve().parents[2] / "config" / "robots"


def from_urdf(text: str, angles: dict[str, float], tip: str) -> np.ndarray:
    """The 4 x 4 pose of `tip` in base_link, by the URDF alone."""
    joints = {joint.find("child").get("link"): joint for joint in ElementTree.fromstring(text).iter("joint")}
    pose = np.eye(4)
    while tip != "base_link":
        joint = joints[tip]
        origin = joint.find("origin")
        place = np.eye(4)
        place[:3, 3] = [float(number) for number in origin.get("xyz").split()]
        roll, pitch, yaw = (float(number) for number in origin.get("rpy").split())
        place[:3, :3] = about((0, 0, 1), yaw) @ about((0, 1, 0), pitch) @ about((1, 0, 0), roll)
        motion = np.eye(4)
        axis = joint.find("axis")
        name = joint.get("name") if joint.find("mimic") is None else joint.find("mimic").get("joint")
        if joint.get("type") == "revolute":
            motion[:3, :3] = about([float(number) for number in axis.get("xyz").split()], angles[name])
        elif joint.get("type") == "prismatic":
            motion[:3, 3] = angles[name] * np.array([float(number) for number in axis.get("xyz").split()])
        pose = place @ motion @ pose
        tip = joint.find("parent").get("link")
    return pose


def about(axis: object, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis, float)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@pytest.fixture(scope="module")
def arm() -> object:
    pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
    from vla_ros.sim.arm.world import ArmWorld

    return ArmWorld(0)


def test_the_committed_urdf_is_what_the_chain_says() -> None:
    assert (CONFIG / "sim_arm.urdf").read_text(encoding="utf-8") == urdf()


def test_the_urdf_s_tool_and_fingers_are_where_mujoco_has_them(arm: object) -> None:
    text = (CONFIG / "sim_arm.urdf").read_text(encoding="utf-8")
    rng = np.random.default_rng(1)
    for _ in range(50):
        joints = rng.uniform(LIMITS[:, 0], LIMITS[:, 1])
        finger = float(rng.uniform(0.0, FINGER_TRAVEL_M))
        arm.place_arm(joints, 2.0 * finger)
        angles = {**dict(zip(NAMES, joints)), FINGER: finger}
        tool = from_urdf(text, angles, "tool")
        site = arm.data.site("tool")
        np.testing.assert_allclose(tool[:3, 3], site.xpos, atol=1e-5)
        np.testing.assert_allclose(tool[:3, :3], site.xmat.reshape(3, 3), atol=1e-5)
        for body in ("left_finger", "right_finger", "link_3"):
            np.testing.assert_allclose(from_urdf(text, angles, body)[:3, 3], arm.data.body(body).xpos, atol=1e-5)


def test_limits_are_the_same_in_the_urdf_the_model_and_the_robot_file(arm: object) -> None:
    text = (CONFIG / "sim_arm.urdf").read_text(encoding="utf-8")
    limits = {joint.get("name"): joint.find("limit") for joint in ElementTree.fromstring(text).iter("joint")}
    robot = load_robot(CONFIG / "sim_arm.yaml")
    assert robot.simulated
    for joint in JOINTS:
        limit = limits[joint.name]
        assert (float(limit.get("lower")), float(limit.get("upper"))) == joint.limits
        assert arm.model.joint(joint.name).range.tolist() == pytest.approx(joint.limits)
        channel = robot.channel(joint.name)
        assert channel.bounds == pytest.approx(joint.limits, abs=1e-6)
        # the gate asks for less than the motor can do
        assert channel.max_speed < joint.speed == float(limit.get("velocity"))
    assert robot.channel("gripper").scale == FINGER_TRAVEL_M == float(limits[FINGER].get("upper"))


def test_the_joints_for_a_pose_bring_the_tool_there() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        radius, bearing, height = rng.uniform((0.2, -1.2, 0.01), (0.46, 1.2, 0.2))
        place = np.array([radius * math.cos(bearing), radius * math.sin(bearing), height])
        rotation = pointing_down(bearing + math.pi / 2 + rng.uniform(-1.5, 1.5))
        there = tool_pose(joints_for(place, rotation))
        np.testing.assert_allclose(there[0], place, atol=1e-9)
        np.testing.assert_allclose(there[1], rotation, atol=1e-9)


def test_a_solver_comes_to_the_same_joints(arm: object) -> None:
    mink = pytest.importorskip("mink", reason="mink is not installed")
    configuration = mink.Configuration(arm.model)
    task = mink.FrameTask("tool", "site", position_cost=1.0, orientation_cost=1.0)
    joints = joints_for(np.array([0.33, 0.1, 0.05]), pointing_down(1.7))
    pose = np.eye(4)
    pose[:3, 3], pose[:3, :3] = tool_pose(joints)
    task.set_target(mink.SE3.from_matrix(pose))
    addresses = [int(arm.model.joint(name).qposadr[0]) for name in NAMES]
    start = arm.model.qpos0.copy()
    start[addresses] = HOME
    configuration.update(start)
    for _ in range(30):
        velocity = mink.solve_ik(configuration, [task], 0.02, "daqp", damping=1e-6)
        configuration.integrate_inplace(velocity, 0.02)
    np.testing.assert_allclose(configuration.q[addresses], joints, atol=1e-4)


def test_a_tilted_pose_too() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        joints = rng.uniform((-2.0, -0.3, -0.9, -1.2, 0.2, -1.5), (2.0, 1.2, 0.9, 1.2, 1.9, 1.5))
        pose = tool_pose(joints)
        there = tool_pose(joints_for(*pose))
        np.testing.assert_allclose(there[0], pose[0], atol=1e-9)
        np.testing.assert_allclose(there[1], pose[1], atol=1e-9)


def test_a_straight_wrist_has_an_answer() -> None:
    joints = np.array([0.3, 0.4, -0.2, 0.0, 0.0, 0.5])
    np.testing.assert_allclose(joints_for(*tool_pose(joints)), joints, atol=1e-6)


@pytest.mark.parametrize("place, sentence", [
    ((0.6, 0.0, 0.1), "the arm does not reach \\[0.6, 0.0, 0.1\\]: its wrist would be .* m from the shoulder"),
    ((math.nan, 0.0, 0.1), "the arm does not reach"),
    ((-0.3, 0.001, 0.1), "joint_1 would be 3.14 rad; -2.6 to 2.6 it can be"),
])
def test_what_is_out_of_reach_is_said(place: tuple[float, float, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        joints_for(np.array(place), pointing_down(math.pi / 2))


def test_at_home_the_tool_points_down_over_the_table() -> None:
    place, rotation = tool_pose(HOME)
    np.testing.assert_allclose(place, (0.26, 0.0, 0.23), atol=0.002)
    np.testing.assert_allclose(rotation, pointing_down(math.pi / 2), atol=1e-4)


def test_a_tool_that_points_down_moves_its_fingers_along_the_yaw() -> None:
    rotation = pointing_down(0.4)
    np.testing.assert_allclose(rotation[:, 1], (math.cos(0.4), math.sin(0.4), 0.0))
    np.testing.assert_allclose(rotation[:, 2], (0.0, 0.0, -1.0))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
