"""`vla demo --robot arm`: what the demo sees and says differently where the robot is the arm."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker

from vla_ros.demo.monitor import LOOSE, Monitor, decode
from vla_ros.demo.overlay import CAMERA_HEIGHT, WIDTH
from vla_ros.demo.plots import DriveRecord
from vla_ros.demo.scenario import Demo
from vla_ros.demo.scoring import yaw
from vla_ros.sim.arm import chain
from vla_ros.tasks.arm.judged_meaning import judged_arm_meaning
from vla_ros.tasks.arm.sequence import ArmJudging
from vla_ros.tasks.arm.table import TableObject, TableState
from vla_ros.tasks.success import Judgement

SCENE_TOPIC = "/scene_camera/image_raw"
WRIST_TOPIC = "/wrist_camera/image_raw"
INSET = 150  # pixels of the film that the wrist's image is wide and high
INSET_FRAME = 3


def arm_policy_file(folder: Path, seed: int) -> str:
    """Writes the policy file of the expert that knows the table of `seed`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "policy.yaml"
    policy = f"policy: vla_ros.sim.arm.policy:TableExpert\noptions: {{seed: {seed}}}\n"
    path.write_text(policy, encoding="utf-8")
    return str(path)


class ArmMonitor(Monitor):
    """Sees the arm: its speed is its fastest joint's, rad/s; as `Monitor` else."""

    def __init__(
        self, node: Node, track: DriveRecord, camera_topic: str, namespace: str = "/vla"
    ) -> None:
        self.wrist: bytes | None = None  # the newest image, serialized
        self._joints: dict[str, float] = {}
        self._joint_speed = 0.0  # rad/s
        self._moments: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=5)
        self._sent: tuple[float, NDArray[np.float64]] | None = None
        super().__init__(node, track, camera_topic, namespace)
        node.create_subscription(Image, WRIST_TOPIC, self._on_wrist, LOOSE, raw=True)
        node.create_subscription(
            JointTrajectory, "/arm_controller/joint_trajectory", self._on_trajectory, 10
        )

    def world(self) -> TableState | None:  # type: ignore[override]
        """The simulator's truth now; None while it is silent."""
        markers = dict(self.markers)
        tool = markers.get("robot")
        if tool is None or not self._joints:
            return None
        things = [marker for name, marker in markers.items() if name != "robot"]
        place = tool.pose.position
        return TableState(
            time=self.seconds(),
            joints=tuple(self._joints[name] for name in chain.NAMES),
            home=tuple(chain.HOME.tolist()),
            speed=self._joint_speed,
            tool=(place.x, place.y, place.z),
            tool_yaw=yaw(tool),
            opening=2.0 * self._joints[chain.FINGER],
            objects=tuple(map(table_object, things)),
            held=tool.text or None,
        )

    def _on_joints(self, joints: JointState) -> None:
        self._joints = dict(zip(joints.name, joints.position))
        now = time.monotonic()
        angles = np.array([self._joints[name] for name in chain.NAMES])
        self._moments.append((now, angles))
        before, earlier = self._moments[0]
        if now - before > 0.05:  # not from one message to the next: they come in bursts
            self._joint_speed = float(np.abs(angles - earlier).max()) / (now - before)
            with self._lock:
                self._speeds.append((now, 0.0, self._joint_speed))

    def _on_trajectory(self, trajectory: JointTrajectory) -> None:
        self._tick("command")
        if not trajectory.points:
            return
        now = time.monotonic()
        angles = np.array(trajectory.points[-1].positions)
        if self._sent is not None and now - self._sent[0] < 0.04:
            return  # too soon after the one before to say how fast it changes
        speed = 0.0
        if self._sent is not None:
            speed = float(np.abs(angles - self._sent[1]).max()) / (now - self._sent[0])
        self._sent = (now, angles)
        with self._lock:
            self._emitted.append((now, 0.0, speed))

    def _on_wrist(self, raw: bytes) -> None:
        self.wrist = raw


def table_object(marker: Marker) -> TableObject:
    """A thing of the table, as a marker of /sim/objects tells it."""
    colour, _, shape = marker.ns.partition(" ")  # "red block"
    place = marker.pose.position
    size = (marker.scale.x, marker.scale.z)
    return TableObject(marker.ns, colour, shape, place.x, place.y, place.z, yaw(marker), *size)


class ArmDemo(Demo):
    """The demo with the arm."""

    monitor = ArmMonitor
    camera_topic = SCENE_TOPIC
    pose_of = "tool"

    def meaning(self, words: str) -> tuple[Any, bool]:
        """What words mean for the judge, and whether only as read. Raises NotUnderstood."""
        return judged_arm_meaning(words)

    def following(self, meant: Any, start: Any) -> Callable[[Any], Judgement]:
        """What judges each moment."""
        return ArmJudging(meant, start)

    def first_thing(self, meant: Any, start: Any) -> str:
        """Nothing: how near the tool comes to it is not looked at."""
        return ""

    def suggestions(self) -> list[str]:
        """Three kinds of task that this table allows: put into, go home, pick up something else."""
        names = sorted(self.watch.things())
        blocks = [name for name in names if name.endswith("block")]
        bowls = [name for name in names if name.endswith("bowl")]
        return [f"put the {blocks[0]} into the {bowls[0]}", "go home", f"pick up the {blocks[1]}"]

    def decode(self, raw: bytes) -> NDArray[np.uint8]:
        """Both cameras' images in one: the scene's, and the wrist's in a corner, over the floor."""
        scene = cv2.resize(decode(raw), (WIDTH, WIDTH))
        above = (WIDTH - CAMERA_HEIGHT) // 2  # of floor that is cut off, and as much table below
        picture: NDArray[np.uint8] = scene[above : above + CAMERA_HEIGHT].copy()
        watch: Any = self.watch
        if watch.wrist is not None:
            inset = cv2.resize(decode(watch.wrist), (INSET, INSET))
            picture[: INSET + INSET_FRAME, -INSET - INSET_FRAME :] = 255
            picture[:INSET, -INSET:] = inset
        return picture
