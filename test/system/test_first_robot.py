"""The tutorial "Your first robot" with the simulated arm: init, check, start, arm, a sentence, and it obeys."""
from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")
pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from visualization_msgs.msg import MarkerArray

from vla_ros.cli.main import main
from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.operator.client import spinning, wait_for
from vla_ros.operator.processes import ProcessGroup, suite_environment, suite_nodes

pytestmark = pytest.mark.alone
EXPERT = "vla_ros.sim.arm.policy:TableExpert"
SECONDS = ["--seconds", "1"]


def until(words: list[str], seconds: float = 30.0) -> None:
    """A verb is given again until it says that it is done."""
    end = time.monotonic() + seconds
    while main(words):
        assert time.monotonic() < end, words
        time.sleep(0.5)


def test_the_arm_obeys_with_the_robot_file_that_was_drafted_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy_file(tmp_path / "expert.yaml", EXPERT, options={"seed": 3})
    environment = {**os.environ, **suite_environment()}
    with ProcessGroup() as group:
        group.start("arm_simulator", [sys.executable, "-m", "vla_ros.sim.arm.node", "--ros-args", "-p", "seed:=3"],
                    env=environment, log_path=tmp_path / "sim.log")
        until(["robot", "init", "--out", "my_robot.yaml", *SECONDS])
        robot = load_robot("my_robot.yaml")
        assert {channel.name for channel in robot.channels} == {"gripper", *(f"joint_{i}" for i in range(1, 7))}
        until(["robot", "check", "my_robot.yaml", *SECONDS])  # again where the machine itself holds the images up
        for name, command in suite_nodes(robot_file="my_robot.yaml", policy_file="expert.yaml").items():
            group.start(name, command, env=environment, log_path=tmp_path / f"{name}.log")
        until(["arm"])
        until(["say", "pick up the red block"])
        held: set[str] = set()

        def look(markers: MarkerArray) -> None:
            held.update(marker.text for marker in markers.markers if marker.ns == "robot" and marker.text)

        with spinning("spectator") as node:
            node.create_subscription(MarkerArray, "/sim/objects", look, 1)
            assert wait_for(lambda: "red block" in held, 20.0), "the red block was not picked up"
