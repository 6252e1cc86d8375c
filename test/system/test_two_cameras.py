"""An arm with two cameras and no base, as processes: all of it follows from its robot file."""
from __future__ import annotations

import time
from array import array
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Float64MultiArray

from vla_ros.core.config_files import config_folder
from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.nodes.common.convert import time_message
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATEST, SENSOR
from vla_ros.operator.client import Operator, spinning, wait_for
from vla_ros.operator.processes import ProcessGroup, suite_environment, suite_nodes
from vla_ros_msgs.msg import Observation

pytestmark = pytest.mark.alone
ROBOT = config_folder() / "robots" / "so101.yaml"
POLICY = """
import numpy as np
from vla_ros.policies.base import PolicySpec

class Reach:
    "Turns the first joint to 0.2 rad from where it is measured; looks through two cameras."
    name = "reach@test"
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

    @classmethod
    def spec(cls, options):
        return PolicySpec(cls.joints, 1, 100_000_000, {"image": (48, 64), "wrist_image": (32, 32)}, state=cls.joints)

    def __init__(self, options):
        pass

    def predict(self, observation):
        assert set(observation.images) == {"image", "wrist_image"}
        row = [observation.state[joint] for joint in self.joints]
        row[0] = 0.2
        return np.array([row], np.float32)

    def reset(self):
        pass
"""


class Arm:
    """Its driver, in degrees, and its cameras: red in front, blue at the wrist. It obeys at once."""

    def __init__(self, node):
        self.names = [channel.joint for channel in load_robot(ROBOT).channels]
        self.positions = [0.0, 10.0, 20.0, 0.0, 0.0, 50.0]
        self.joints = node.create_publisher(JointState, "/joint_states", EVENTS)
        colours = {"/front/image_raw/compressed": (0, 0, 255), "/wrist/image_raw/compressed": (255, 0, 0)}  # bgr
        self.cameras = []
        for topic, colour in colours.items():
            pixels = cv2.imencode(".png", np.full((480, 640, 3), colour, np.uint8))[1].tobytes()
            self.cameras.append((node.create_publisher(CompressedImage, topic, SENSOR), array("B", pixels)))
        node.create_subscription(Float64MultiArray, "/follower/joint_commands", self.obey, LATEST)
        node.create_timer(0.02, self.say)
        node.create_timer(0.1, self.show)

    def obey(self, message):
        self.positions = list(message.data)

    def say(self):
        message = JointState(name=self.names, position=self.positions)
        message.header.stamp = time_message(time.time_ns())
        self.joints.publish(message)

    def show(self):
        for publisher, pixels in self.cameras:
            message = CompressedImage(format="png", data=pixels)
            message.header.stamp = time_message(time.time_ns())
            publisher.publish(message)


@pytest.mark.timeout(180)
def test_an_arm_with_two_cameras_is_driven_by_what_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reaching.py").write_text(POLICY)
    monkeypatch.syspath_prepend(str(tmp_path))
    policy_file = write_policy_file(tmp_path / "policy.yaml", "reaching:Reach", images={
        "image": {"camera": "front"}, "wrist_image": {"camera": "wrist"}})
    environment = suite_environment()
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"
    # its images never change
    commands = suite_nodes(robot_file=ROBOT, policy_file=policy_file, overrides={"camera_ingest": {"frozen_after": 3600.0}})
    assert {"camera_ingest_front", "camera_ingest_wrist"} < set(commands) and len(commands) == 7
    with ProcessGroup() as group, spinning("arm") as node:
        arm, operator = Arm(node), Operator(node)
        seen: list[Observation] = []
        node.create_subscription(Observation, "/vla/observation", seen.append, IMAGES)
        for name, command in commands.items():
            group.start(name, command, env=environment, log_path=tmp_path / f"{name}.log")
        try:
            def armed() -> bool:
                group.poll()
                return operator.call("arm", 2.0, wait_for)[0]
            assert wait_for(armed, 60.0), operator.call("arm", 2.0, wait_for)
            assert wait_for(operator.heard, 10.0)  # else the words are lost
            operator.say("reach")
            assert wait_for(lambda: abs(arm.positions[0] - 11.459) < 0.1, 20.0), arm.positions  # 0.2 rad in degrees
            front, wrist = seen[-1].images
            assert list(seen[-1].cameras) == ["front", "wrist"]
            assert front.data[24 * 3 * 64 + 96] == 255 and wrist.data[16 * 3 * 32 + 50] == 255  # red, blue
            assert list(seen[-1].state_names) == arm.names and seen[-1].state[5] == pytest.approx(0.5)
        except AssertionError:
            for path in sorted(tmp_path.glob("*.log")):
                print(f"-- {path.stem}\n{path.read_text(errors='replace')[-1500:]}")
            raise
