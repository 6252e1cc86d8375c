"""`vla robot init` and `check` beside drivers that run, in this process; beside the simulated arm: test/system/test_first_robot.py."""
from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")

from geometry_msgs.msg import Twist
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from spinning import Spinning
from std_msgs.msg import Float64MultiArray, String

from vla_ros.cli.main import main
from vla_ros.core.robot import load_robot
from vla_ros.operator.client import spinning

JOINTS = ["shoulder", "elbow"]
URDF = """<robot name="two"><link name="base_link"/><link name="upper"/><link name="tool"/>
<joint name="shoulder" type="revolute"><parent link="base_link"/><child link="upper"/><axis xyz="0 0 1"/>
<limit lower="-2" upper="2" velocity="1.5" effort="1"/></joint>
<joint name="elbow" type="revolute"><parent link="upper"/><child link="tool"/><origin xyz="0.3 0 0"/><axis xyz="0 0 1"/>
<limit lower="-1" upper="1" velocity="1.5" effort="1"/></joint></robot>"""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SOON = ["--seconds", "1"]


class Drivers:
    """A camera, joint states and a forward controller that says its joints, as a robot's drivers are."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = Node("drivers")
        self.controller = Node("forward_controller")
        self.controller.declare_parameter("joints", JOINTS[::-1])
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.images = self.node.create_publisher(Image, "/eye/image_raw", best_effort)
        self.joints = self.node.create_publisher(JointState, "/joint_states", 10)
        self.description = self.node.create_publisher(String, "/robot_description", LATCHED)
        self.description.publish(String(data=URDF))
        self.commands: list[Any] = []
        self.controller.create_subscription(Float64MultiArray, "/forward_controller/commands", self.commands.append, 10)
        self.size = (48, 64)
        self.node.create_timer(0.02, self._publish)
        self.spinning = Spinning(self.node, self.controller)

    def _publish(self) -> None:
        now = self.node.get_clock().now().to_msg()
        height, width = self.size
        image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=bytes(3 * height * width))
        joints = JointState(name=JOINTS, position=[0.1, -0.2])
        for publisher, message in ((self.images, image), (self.joints, joints)):
            message.header.stamp = now
            publisher.publish(message)

    def close(self) -> None:
        self.spinning.close()
        rclpy.try_shutdown()


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Drivers]:
    monkeypatch.chdir(tmp_path)
    drivers = Drivers()
    yield drivers
    drivers.close()


def findings(capsys: pytest.CaptureFixture[str], code: int) -> dict[str, list[str]]:
    """Mark -> subjects, of a check that ends with `code`."""
    capsys.readouterr()
    assert main(["robot", "check", "robot.yaml", "--json", *SOON]) == code
    marks: dict[str, list[str]] = {}
    answer = json.loads(capsys.readouterr().out)
    assert answer["fits"] is (code == 0)
    for finding in answer["findings"]:
        marks.setdefault(finding["mark"], []).append(finding["subject"])
    return marks


def test_a_draft_of_what_runs_passes_its_check_and_nothing_was_moved(drivers: Drivers, capsys: Any) -> None:
    assert main(["robot", "init", "--name", "two", *SOON]) == 0
    assert "wrote robot.yaml and robot.urdf" in capsys.readouterr().out
    robot = load_robot("robot.yaml")
    assert robot.name == "two" and robot.urdf and robot.camera("eye").size == (48, 64)
    assert [(output.topic, list(output.channels)) for output in robot.outputs] == [
        ("/forward_controller/commands", JOINTS[::-1])]  # in the controller's order
    assert robot.channel("elbow").bounds == (-1.0, 1.0)
    assert set(findings(capsys, 0)) == {"✓"}
    assert not drivers.commands
    # and it is not written over
    before = Path("robot.yaml").read_text()
    assert main(["robot", "init", *SOON]) == 2
    assert "robot.yaml is there already; give another --out, or --force to replace it" in capsys.readouterr().err
    assert Path("robot.yaml").read_text() == before
    assert main(["robot", "init", "--name", "again", "--force", "--json", *SOON]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["robot.yaml", "robot.urdf"]
    assert load_robot("robot.yaml").name == "again"


def test_what_does_not_fit_is_found(drivers: Drivers, capsys: Any) -> None:
    assert main(["robot", "init", *SOON]) == 0
    text = Path("robot.yaml").read_text()
    Path("robot.yaml").write_text(text.replace("size: [48, 64]", "size: [64, 48]").replace("[elbow, shoulder]", "[shoulder, elbow]"))
    teleop = drivers.node.create_publisher(Float64MultiArray, "/forward_controller/commands", 1)
    wrong = findings(capsys, 1)["✗"]
    assert wrong == ["camera 'eye'", "output /forward_controller/commands", "output /forward_controller/commands"]
    drivers.node.destroy_publisher(teleop)
    assert main(["robot", "check", "robot.yaml", *SOON]) == 1
    table = capsys.readouterr().out
    assert "✗" in table and "2 are wrong; nothing was moved" in table


def test_listeners_of_another_type_and_of_another_quality_are_found(drivers: Drivers, capsys: Any) -> None:
    assert main(["robot", "init", *SOON]) == 0
    drivers.controller.create_subscription(Float64MultiArray, "/forward_controller/commands", lambda message: None, LATCHED)
    with spinning("other") as node:  # a participant has one type a topic
        node.create_subscription(Twist, "/forward_controller/commands", lambda message: None, 1)
        assert findings(capsys, 1)["✗"] == ["output /forward_controller/commands"] * 2


def test_where_nothing_runs_one_sentence_says_so(capsys: Any, tmp_path: Path) -> None:
    began = time.monotonic()
    assert main(["robot", "init", "--wait", "0.5", "--out", str(tmp_path / "robot.yaml")]) == 1
    assert time.monotonic() < began + 3.0
    errors = capsys.readouterr().err
    assert errors.startswith("no camera, joint states or controller is seen in ROS domain ") and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_description_that_is_none_and_a_folder_that_is_not_there_are_said(drivers: Drivers, capsys: Any) -> None:
    drivers.description.publish(String(data="<sdf/>"))
    assert main(["robot", "init", "--json", *SOON]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == ["robot.yaml"]  # and no URDF
    assert "/robot_description begins with <sdf>; a URDF begins with <robot>" in answer["todo"]
    assert "bounds is 'TODO'" in answer["problems"][0]
    assert main(["robot", "init", "--out", "none/robot.yaml", *SOON]) == 2
    assert "cannot write none/robot.yaml: No such file or directory; give another --out" in capsys.readouterr().err
