"""What the demo sees of the suite: every topic that matters, read without slowing anybody down.

Latency is `SafetyReport.age` at the tick where an action (instruction_id, sequence) shows for the
first time: the gate's own clock against the camera's stamp, at the moment when the command leaves.
This process' own delays are not in it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any

import rclpy.serialization
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.core.stats import Rate
from vla_ros.demo.film import Film, image_pixels
from vla_ros.demo.overlay import Moment
from vla_ros.demo.plots import DriveRecord, PathPoint, Thing
from vla_ros.demo.scoring import world_state, yaw
from vla_ros.operator.client import LATCHED, STATES, VERDICTS
from vla_ros.tasks.world_state import WorldState
from vla_ros_msgs.msg import ActionChunk, Instruction, Observation, SafetyReport

# Of images and chunks the newest is enough, and a slow reader costs the writer nothing.
LOOSE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def decode(raw: bytes) -> NDArray[Any]:
    """A serialized sensor_msgs/Image -> pixels (H x W x 3, rgb8).

    Done in the film's thread, and only for images that are filmed.
    """
    return image_pixels(rclpy.serialization.deserialize_message(raw, Image))


class Monitor:
    """Subscribes on `node`, which spins in a thread of its own; others read the attributes.

    What is replaced whole (`report`, `markers`, ...) needs no lock; queues and counters have one.

    Args:
        node: Its callbacks fill the attributes.
        track: Gets the robot's path and the latencies.
        camera_topic: What the film shows.
        namespace: Of the suite's nodes.
    """

    def __init__(
        self, node: Node, track: DriveRecord, camera_topic: str, namespace: str = "/vla"
    ) -> None:
        self.track = track
        self.film: Film | None = None
        self.instruction_number = 0  # which of the demo's instructions is on; 0: none
        self.caption = ""
        self.report: SafetyReport | None = None
        self.instruction: Instruction | None = None
        self.pose: PathPoint | None = None
        self.markers: dict[str, Marker] = {}  # the robot and the things, by name
        self.opening = 0.0  # m, of the gripper
        self.feedback: deque[str] = deque(maxlen=200)
        self.diagnostics: dict[str, dict[str, str]] = {}  # "node: task" -> what it said last of it
        self.rates = {
            "camera": Rate(),
            "observation": Rate(),
            "action": Rate(),
            "command": Rate(),
        }
        self._speeds: deque[tuple[float, float, float]] = deque(maxlen=300)  # s, m/s, rad/s
        self._emitted: deque[tuple[float, float, float]] = deque(maxlen=300)
        self._lock = threading.Lock()
        self._last_action = (-1, -1)  # instruction_id, sequence
        self._counted: tuple[float, dict[str, int]] = (time.monotonic(), {})
        self._subscribe(node, camera_topic, namespace)

    def _subscribe(self, node: Node, camera_topic: str, namespace: str) -> None:
        subscribe = node.create_subscription

        def count(kind: type, topic: str, name: str) -> None:
            # raw: a message that is only counted need not be deserialized
            subscribe(kind, topic, lambda _: self._tick(name), LOOSE, raw=True)

        subscribe(Image, camera_topic, self._on_image, LOOSE, raw=True)
        count(Observation, f"{namespace}/observation", "observation")
        count(ActionChunk, f"{namespace}/action_chunk", "action")
        subscribe(Instruction, f"{namespace}/instruction/accepted", self._on_instruction, LATCHED)
        subscribe(SafetyReport, f"{namespace}/safety_report", self._on_report, 10)
        subscribe(String, f"{namespace}/feedback", self._on_feedback, 10)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        subscribe(Twist, "/cmd_vel", self._on_twist, 10)
        subscribe(Odometry, "/odom", self._on_odometry, 10)
        subscribe(JointState, "/joint_states", self._on_joints, 1)
        subscribe(MarkerArray, "/sim/objects", self._on_objects, 1)

    # Asked from other threads

    def speeds(self) -> list[tuple[float, float, float]]:
        """(seconds, m/s, rad/s) from /odom."""
        with self._lock:
            return list(self._speeds)

    def emitted(self) -> list[tuple[float, float, float]]:
        """(seconds, m/s, rad/s) from /cmd_vel."""
        with self._lock:
            return list(self._emitted)

    def hertz(self, name: str) -> float:
        """How often that of `rates` comes now."""
        with self._lock:
            return self.rates[name].hertz(time.monotonic_ns())

    def count_from_now(self) -> None:
        """Where the averages begin."""
        with self._lock:
            totals = {name: rate.total for name, rate in self.rates.items()}
            self._counted = (time.monotonic(), totals)

    def average_rates(self) -> dict[str, float]:
        """Hz since `count_from_now`."""
        since, before = self._counted
        with self._lock:
            seconds = max(time.monotonic() - since, 1e-3)
            rates = {}
            for name, rate in self.rates.items():
                rates[name] = (rate.total - before.get(name, 0)) / seconds
            return rates

    def world(self) -> WorldState | None:
        """The simulator's truth now; None while it is silent."""
        with self._lock:
            _, linear, angular = self._speeds[-1] if self._speeds else (0.0, 0.0, 0.0)
        return world_state(dict(self.markers), (linear, angular), self.opening, self.seconds())

    def things(self) -> dict[str, Thing]:
        """The objects in the room, as they are now."""
        things = {}
        for name, marker in dict(self.markers).items():
            if name != "robot":
                things[name] = thing(marker)
        return things

    def seconds(self) -> float:
        """Since the watch began, or since `count_from_now`."""
        return time.monotonic() - self._counted[0]

    def moment(self) -> Moment:
        """What is true now, for the film and the view."""
        report = self.report
        instruction = self.instruction
        words = instruction.text if instruction else ""
        if report is None:
            return Moment(self.seconds(), self.caption, words)
        return Moment(
            self.seconds(),
            self.caption,
            words,
            STATES[report.state],
            VERDICTS[report.verdict],
            report.rule,
            report.reason,
            tuple(report.channels),
            tuple(report.requested),
            tuple(report.emitted),
            self.target(words),
        )

    def target(self, words: str) -> tuple[float, float] | None:
        """Metres and radians (left positive) from the robot to what the words name.

        None where they name nothing in the room.
        """
        pose = self.pose
        if pose is None:
            return None
        for name, marker in dict(self.markers).items():
            if name in words:
                dx = marker.pose.position.x - pose.x
                dy = marker.pose.position.y - pose.y
                bearing = math.remainder(math.atan2(dy, dx) - pose.yaw, 2 * math.pi)
                return math.hypot(dx, dy), bearing
        return None

    # Callbacks

    def _tick(self, name: str) -> None:
        with self._lock:
            self.rates[name].tick(time.monotonic_ns())

    def _on_image(self, raw: bytes) -> None:
        self._tick("camera")
        now = time.monotonic()
        if self.film is not None and self.film.wants(now):
            self.film.add(now, raw, self.moment())

    def _on_instruction(self, instruction: Instruction) -> None:
        self.instruction = instruction

    def _on_feedback(self, message: String) -> None:
        self.feedback.append(message.data)

    def _on_report(self, report: SafetyReport) -> None:
        self.report = report
        action = (report.instruction_id, report.sequence)
        # The gate reports fifty times a second, and an action stays on for several reports: its
        # age at the first one is the latency.
        if report.state == SafetyReport.ACTIVE and action != self._last_action:
            self._last_action = action
            with self._lock:
                self.track.latencies.append(report.age.sec * 1e3 + report.age.nanosec * 1e-6)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            task = status.name.rpartition("/")[2]  # without the namespace
            self.diagnostics[task] = {pair.key: pair.value for pair in status.values}

    def _on_twist(self, twist: Twist) -> None:
        self._tick("command")
        with self._lock:
            self._emitted.append((time.monotonic(), twist.linear.x, twist.angular.z))

    def _on_odometry(self, odometry: Odometry) -> None:
        twist = odometry.twist.twist
        with self._lock:
            self._speeds.append((time.monotonic(), twist.linear.x, twist.angular.z))

    def _on_joints(self, joints: JointState) -> None:
        if "gripper_joint" in joints.name:
            self.opening = float(joints.position[list(joints.name).index("gripper_joint")])

    def _on_objects(self, array: MarkerArray) -> None:
        # a new dict, never a changed one: other threads read it without a lock
        self.markers = {marker.ns: marker for marker in array.markers}
        robot = self.markers.get("robot")
        if robot is not None:
            place = robot.pose.position
            number = self.instruction_number
            self.pose = PathPoint(self.seconds(), place.x, place.y, yaw(robot), number)
            self.track.path.append(self.pose)


def thing(marker: Marker) -> Thing:
    """A marker of /sim/objects as the images show it."""
    place = marker.pose.position
    colour = (marker.color.r, marker.color.g, marker.color.b)
    width = marker.scale.x or 0.06  # m; of a marker without a size
    return Thing(marker.ns, place.x, place.y, width, colour, yaw(marker))
