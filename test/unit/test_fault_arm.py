"""The arm that can be told to fail: its joints, its file, its faults' limits, and its part of the page."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_ros.bench.faults.faulty_joints import (
    HAND_SPEED_RAD_S,
    LAG_S,
    MAX_SPEED_RAD_S,
    Joint,
    back_and_forth,
)
from vla_ros.core.robot import load_robot

ROOT = Path(__file__).resolve().parents[2]
ROBOT = load_robot(ROOT / "config" / "robots" / "arm.yaml")
STEP = 0.01  # s


def follow(joint: Joint, seconds: float, began: float = 0.0) -> float:
    """Its fastest speed meanwhile."""
    steps = range(1, round(seconds / STEP) + 1)
    return max(abs(joint.step(began + STEP * step, STEP) or joint.speed) for step in steps)


def test_a_joint_goes_to_its_command_within_its_time_and_a_lag_and_stays_when_commands_cease() -> None:
    joint = Joint(0.3)
    joint.command(0.4, 0.0, 0.2)
    assert follow(joint, 0.2) == pytest.approx(0.5, abs=0.01)
    assert joint.position == pytest.approx(0.4 - 0.5 * LAG_S, abs=0.004)
    follow(joint, 60.0, 0.2)
    assert joint.position == pytest.approx(0.4, abs=1e-6) and abs(joint.speed) < 1e-6


def test_a_drive_is_no_faster_than_its_motor() -> None:
    joint = Joint(0.0)
    joint.command(1.5, 0.0, 0.0)
    assert follow(joint, 0.5) == pytest.approx(MAX_SPEED_RAD_S)


def test_a_blocked_joint_springs_to_its_command_when_it_is_freed() -> None:
    joint = Joint(0.2)
    joint.blocked = True
    joint.command(1.0, 0.0, 0.1)
    assert follow(joint, 2.0) == 0.0 and joint.position == 0.2
    joint.blocked = False
    follow(joint, 2.0, 2.0)
    assert joint.position == pytest.approx(1.0)


def test_a_hand_moves_a_joint_slowly_and_the_drive_takes_it_back() -> None:
    joint = Joint(0.2)
    joint.command(0.2, 0.0, 0.0)
    joint.hand = -0.3
    assert follow(joint, 2.0) == pytest.approx(HAND_SPEED_RAD_S)
    assert joint.position == pytest.approx(-0.3)
    joint.hand = None
    follow(joint, 2.0, 2.0)
    assert joint.position == pytest.approx(0.2)


def test_back_and_forth_turns_round_at_its_reach() -> None:
    assert [back_and_forth(way, 1.5) for way in (0.0, 1.5, 2.0, 4.5, 5.0, 6.0)] == [0.0, 1.5, 1.0, -1.5, -1.0, 0.0]


def test_the_limits_of_the_faults_are_the_robot_file_s() -> None:
    pytest.importorskip("rclpy", reason="the table needs ROS 2 (rclpy)")
    from vla_ros.bench.faults.arm_table import TRACKING_ERROR_RAD, TRACKING_TIME_S
    from vla_ros.bench.faults.faulty_arm import FINGER, JOINTS, START
    from vla_ros.bench.faults.faulty_policies import REACH_RAD
    from vla_ros.bench.faults.stack import LIMIT_RAD_S
    assert [channel.joint for channel in ROBOT.channels] == [*JOINTS, FINGER]
    for name in JOINTS:
        channel = ROBOT.channel(name)
        assert (channel.max_speed, channel.max_tracking_error, channel.tracking_time) == (
            LIMIT_RAD_S, pytest.approx(TRACKING_ERROR_RAD), TRACKING_TIME_S)
        assert abs(START[name]) < REACH_RAD[name] < channel.soft_limits[1] == -channel.soft_limits[0]


def test_the_arm_s_workspace_ends_where_its_fault_says(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="the faults need ROS 2 (rclpy)")
    from vla_ros.bench.faults.arm_workspace import EDGE_RAD, JOINTS, write_robot_file
    from vla_ros.bench.faults.faulty_policies import OUT_RAD, REACH_RAD
    from vla_ros.safety.tool import Tool
    robot = load_robot(write_robot_file(tmp_path))
    assert [channel.limits for channel in robot.channels] == [channel.limits for channel in ROBOT.channels]
    tool = Tool(robot)
    assert tool.channels == ("joint_1",) and robot.workspace is not None
    assert REACH_RAD["joint_1"] < EDGE_RAD < OUT_RAD < robot.channel(JOINTS[0]).soft_limits[1]
    for angle, outside in ((-1.5, False), (1.5, False), (EDGE_RAD - 1e-3, False), (EDGE_RAD + 1e-3, True), (OUT_RAD, True)):
        assert bool(tool.beyond(tool.points([np.array([angle])]))[0, 0] > 0.0) == outside


def test_a_page_keeps_what_was_not_tried_now() -> None:
    pytest.importorskip("rclpy", reason="the table needs ROS 2 (rclpy)")
    from vla_ros.bench.bench_faults import all_faults
    from vla_ros.bench.faults.fault_page import page
    from vla_ros.bench.faults.fault_trial import Result
    base = next(fault for fault in all_faults() if fault.world == "robot")
    arm = next(fault for fault in all_faults() if fault.world == "arm")
    whole = page([base, arm], [Result(base.name, 0.1, rule="stop"), Result(arm.name, 0.2, rule="stop", moved=0.0123)],
                 1, 0.5)
    assert "| the stop is pressed | rule `stop` | 0.10 | 0.10 |" in whole and whole.count("\n## An arm\n") == 1
    assert "| the stop is pressed | rule `stop` | 0.20 | 0.20 | 0.33 |  |  | 0.012 |" in whole
    later = page([arm], [Result(arm.name, 0.3, rule="stop", problems=["it moved"])], 1, 7.0, whole)
    assert later.startswith(whole[:whole.index("\n## An arm\n")]) and "| 0.30 | 0.30 |" in later
    assert "0.20 | 0.20" not in later and "load average was 7.0" in later and "* the stop is pressed: it moved." in later
    again = page([base], [Result(base.name, 0.4, rule="stop")], 1, 0.5, later)
    assert "| 0.40 | 0.40 |" in again and again.endswith(later[later.index("\n## An arm\n"):])
