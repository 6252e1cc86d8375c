"""`vla policy check --live` beside drivers that run, in this process: what it hears is judged, and nothing is moved."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from spinning import Spinning
from std_msgs.msg import Float64MultiArray

sys.path.append(str(Path(__file__).parents[1] / "unit"))
import policy_data

from vla_ros.cli.main import main
from vla_ros.policies import check_live

# Its spec says what an SO-101's checkpoint says; it takes its time, and does nothing.
POLICY = f'''
import time
import numpy as np
from vla_ros.core.types import to_nanoseconds
from vla_ros.policies.base import PolicySpec

NAMES = {policy_data.NAMES!r}

class Slow:
    name = "slow@1"

    @classmethod
    def spec(cls, options):
        units = dict.fromkeys(NAMES[:-1], "deg")
        return PolicySpec(NAMES, 15, to_nanoseconds(1 / 30), {{"front": (48, 64)}}, state=NAMES, units=units)

    def __init__(self, options):
        self.seconds = options.get("seconds", 0.0)

    def predict(self, observation):
        time.sleep(self.seconds)
        return np.zeros((15, 6))

    def reset(self):
        pass
'''
POLICY_FILE = """policy: slow_policy:Slow
options: {seconds: SECONDS}
state: [{name: gripper, from: gripper, closed: 0, open: 100}]
actions: [{name: gripper, to: gripper, closed: 0, open: 100}]
"""


class Drivers:
    """An SO-101's: one raw camera, joint states in degrees, and somebody who hears its commands."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = Node("drivers")
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.images = self.node.create_publisher(Image, "/front/image_raw", best_effort)
        self.joints = self.node.create_publisher(JointState, "/joint_states", 10)
        self.commands: list[Any] = []
        self.node.create_subscription(Float64MultiArray, "/follower/joint_commands", self.commands.append, 10)
        self.image = policy_data.images(1, 9).images[0]
        self.change: Callable[[np.ndarray], np.ndarray] = lambda image: image
        self.degrees = dict.fromkeys(policy_data.ARM, -10.0)
        self.node.create_timer(0.03, self._publish)
        self.spinning = Spinning(self.node)

    def _publish(self) -> None:
        image = np.ascontiguousarray(self.change(self.image))
        height, width = image.shape[:2]
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=image.tobytes())
        joints = JointState(name=[*self.degrees, "gripper"], position=[*self.degrees.values(), 50.0])
        for publisher, said in ((self.images, message), (self.joints, joints)):
            said.header.stamp = self.node.get_clock().now().to_msg()
            publisher.publish(said)

    def close(self) -> None:
        self.spinning.close()
        rclpy.try_shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A robot file, a policy and the dataset that it learned from."""
    folder = tmp_path_factory.mktemp("pair")
    text = (policy_data.CONFIG / "robots" / "so101.yaml").read_text()
    text = text.replace("max_speed: 0.8", "max_speed: 4.0").replace("/image_raw/compressed, transport: compressed, size: [480, 640]", "/image_raw")
    lines = [line for line in text.splitlines() if not line.startswith("  wrist: {topic")]
    (folder / "robot.yaml").write_text("\n".join(lines))
    (folder / "slow_policy.py").write_text(POLICY)
    for name, seconds in (("quick", 0.0), ("slow", 0.3)):
        (folder / f"{name}.yaml").write_text(POLICY_FILE.replace("SECONDS", str(seconds)))
    policy_data.write(folder / "data")
    return folder


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Drivers]:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    drivers = Drivers()
    yield drivers
    drivers.close()


def check(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, tuple[str, str]]:
    """What a check says that ends with `code`: subject -> mark and text."""
    capsys.readouterr()
    assert main(["policy", "check", "robot.yaml", *words, "--live", "--seconds", "1", "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["fits"] is (code == 0)
    return {finding["subject"]: (finding["mark"], finding["text"]) for finding in answer["findings"]}


def test_a_right_pair_fits_and_nothing_is_moved(drivers: Drivers, capsys: pytest.CaptureFixture[str]) -> None:
    said = check(capsys, 0, "quick.yaml", "--data", "data")
    assert {mark for mark, _ in said.values()} == {"✓"}, said
    assert said["camera front now"][1].startswith("it is like the recorded images by 0.9")
    assert "within what training saw" in said["state now"][1] and "elbow_flex" in said["state now"][1]
    assert "100 predictions here" in said["latency"][1]
    assert "max_age is 0.4 s (the default; no gate runs)" in said["observation_age"][1]
    assert not drivers.commands
    assert drivers.node.count_publishers("/follower/joint_commands") == 0


def test_a_turned_image_a_joint_elsewhere_and_a_slow_policy_are_found(
    drivers: Drivers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_live, "LONGEST_TRIAL_S", 1.0)
    drivers.change = lambda image: image[::-1, ::-1, ::-1]  # turned, and bgr under the name of rgb8
    drivers.degrees["elbow_flex"] = 95.0
    said = check(capsys, 1, "slow.yaml", "--data", "data")
    assert said["camera front now"][0] == "✗" and "turned by 180 degrees" in said["camera front now"][1]
    assert said["colours of camera front"][0] == "✗" and "red and blue are exchanged" in said["colours of camera front"][1]
    mark, text = said["state elbow_flex now"]
    assert mark == "!" and text.startswith("it is 95, by ")
    assert said["observation_age"][0] == "!" and "holds between chunks" in said["observation_age"][1]


def test_without_a_dataset_it_says_what_it_needs(drivers: Drivers, capsys: pytest.CaptureFixture[str]) -> None:
    said = check(capsys, 0, "quick.yaml")
    assert [said[subject][0] for subject in ("state now", "camera front now", "training")] == ["?"] * 3
    assert said["latency"][0] == "✓"


def test_a_gate_that_runs_says_its_own_limit(drivers: Drivers, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Node("safety_validator", namespace="/vla")
    gate.declare_parameter("max_age", 2.5)
    drivers.spinning.executor.add_node(gate)
    assert "max_age is 2.5 s (of the gate that runs)" in check(capsys, 0, "quick.yaml")["observation_age"][1]
    gate.destroy_node()
