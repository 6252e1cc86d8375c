"""synchronizer: pairs frames, the instruction and the robot's state by stamp, newest pair first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState

from vla_ros.core.joint_states import JointTable
from vla_ros.core.pairing import NO_STATE, Pairing, PairingWatch
from vla_ros.core.types import Frame, to_nanoseconds, to_seconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.qos import IMAGES, JOINTS, LATCHED, REPORTS, STATE
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.common.run_node import run
from vla_ros_msgs.msg import Instruction as InstructionMessage
from vla_ros_msgs.msg import Observation as ObservationMessage

STATE_PERIOD_S = 0.02  # not when a frame comes: the image would wait for it
WATCH_PERIOD_S = 0.25


class Synchronizer(ManagedNode):
    """Pairs frames, the instruction and the robot's state by their stamps.

    Subscribed topics:
        frame (sensor_msgs/Image): one topic a camera, as `frame_topics` says.
        instruction/accepted (vla_ros_msgs/Instruction): the instruction that holds.
        /joint_states (sensor_msgs/JointState): positions for the state, with `use_joint_states`.
        /odom (nav_msgs/Odometry): pose and speed for the state, with `use_odometry`.
        /diagnostics (diagnostic_msgs/DiagnosticArray): how many frames were handed on.

    Published topics:
        observation (vla_ros_msgs/Observation): what belongs together, as soon as it is there.

    Parameters:
        `synchronizer` in nodes/node_parameters.py.

    Faults:
        communication: for `fault_after` there were frames and an instruction, but no pair; or
            frames that were handed on did not arrive.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("synchronizer", **options)
        self._pairing: Pairing | None = None
        self._told = 0

    def configure(self) -> None:
        cameras = self.params["cameras"]
        topics = self.params["frame_topics"]
        if not cameras or len(cameras) != len(topics) or len(set(cameras)) != len(cameras):
            raise ValueError(
                f"parameter 'frame_topics' is {topics}; give one topic for each of cameras "
                f"{cameras}"
            )
        self._pairing = Pairing(
            cameras,
            self.params["mode"],
            to_nanoseconds(self.params["max_skew"]),
            to_nanoseconds(self.params["instruction_ttl"]),
            self.params["buffer"],
            to_nanoseconds(self.params["max_future"]),
            to_nanoseconds(self.params["buffer_time"]),
        )
        self._observation = self.add_publisher(ObservationMessage, "observation", IMAGES)
        for camera, topic in zip(cameras, topics):
            self.add_subscription(Image, topic, self._frame_of(camera), IMAGES)
        # The instruction that holds is kept also while inactive: it is published once, not again.
        self.add_subscription(
            InstructionMessage, "instruction/accepted", self._on_instruction, LATCHED, always=True
        )
        self._state: dict[Reader, Callable[[Any], None]] = {}
        self._joints = JointTable()
        self._odometry: tuple[Mapping[str, float], int] | None = None  # and when it came, steady ns
        self.add_timer(STATE_PERIOD_S, self._read_state)
        if self.params["use_joint_states"]:
            self._state[self.add_reader(JointState, "/joint_states", JOINTS)] = (
                self._on_joint_states
            )
        if self.params["use_odometry"]:
            self._state[self.add_reader(Odometry, "/odom", STATE)] = self._on_odometry
        self._watch = PairingWatch(cameras)
        self._topics = {
            camera: self.resolve_topic_name(topic) for camera, topic in zip(cameras, topics)
        }
        self._reports = self.add_reader(DiagnosticArray, "/diagnostics", REPORTS)
        self.add_timer(WATCH_PERIOD_S, self._look)

    def activate(self) -> None:
        self._watch.begin(time.monotonic_ns())

    def apply(self, parameters: dict[str, Any]) -> None:
        assert self._pairing is not None
        self._pairing.max_skew = to_nanoseconds(parameters["max_skew"])
        self._pairing.instruction_ttl = to_nanoseconds(parameters["instruction_ttl"])
        self._pairing.max_future = to_nanoseconds(parameters["max_future"])

    def _frame_of(self, camera: str) -> Callable[[Image], None]:
        def on_frame(message: Image) -> None:
            assert self._pairing is not None
            start = time.monotonic_ns()
            self.stats.tick(f"frame {camera}", start)
            try:
                image = convert.rgb_image(message)
            except ValueError as error:
                self.reject("bad frame", error)
                return
            self._watch.frame(camera, start)
            self._pairing.add_frame(
                Frame(convert.stamp_ns(message.header.stamp), camera, image), self.now()
            )
            self._pair(start)

        return on_frame

    def _on_instruction(self, message: InstructionMessage) -> None:
        assert self._pairing is not None
        self._pairing.add_instruction(convert.instruction(message))
        if self.active:
            self._pair(time.monotonic_ns())

    def _on_joint_states(self, message: JointState) -> None:
        try:
            self._joints.update(
                message.name,
                message.position,
                convert.stamp_ns(message.header.stamp),
                time.monotonic_ns(),
            )
        except ValueError as error:
            self.reject("bad joint state", error)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            self._odometry = convert.odometry_state(message), time.monotonic_ns()
        except ValueError as error:
            self.reject("bad odometry", error)

    def _state_now(self, now: int) -> dict[str, float]:
        """What was heard of the robot within state_timeout of `now` (steady ns).

        Odometry first, then joints by name.
        """
        timeout = to_nanoseconds(self.params["state_timeout"])
        values, came = self._odometry or (NO_STATE, now)
        return {
            **(values if now - came <= timeout else NO_STATE),
            **self._joints.positions(now, timeout),
        }

    def _left_out(self, now: int) -> str:
        """What is not in the state because it is too old: a sentence, or empty."""
        timeout = to_nanoseconds(self.params["state_timeout"])
        ages = {}
        for joint in self._joints.stale(now, timeout):
            ages[f"'{joint}'"] = self._joints.age(joint, now) or 0
        if self._odometry and now - self._odometry[1] > timeout:
            ages["odometry"] = now - self._odometry[1]
        if not ages:
            return ""
        names = [f"{name} ({to_seconds(age):.1f} s)" for name, age in ages.items()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return (
            f"the state goes without {', '.join(names[:5])}{more}: nothing good was heard of it "
            f"for longer than {self.params['state_timeout']:g} s (state_timeout)"
        )

    def _read_state(self) -> None:
        for reader, callback in self._state.items():
            for message in reader.take():
                callback(message)

    def _pair(self, start: int) -> None:
        assert self._pairing is not None
        observation = self._pairing.read(self.now(), self._state_now(start))
        if observation is None:
            self._tell_expiry()
            return
        self._observation.publish(convert.observation_message(observation))
        self._watch.pair(start)
        self.stats.tick("observation", start)
        self.stats.latency(time.monotonic_ns() - start)

    def _look(self) -> None:
        """Reports frames that are lost on the way, and frames and words that give no pair."""
        assert self._pairing is not None
        self._count_handed_on()
        if self.active:
            waiting_for = self._pairing.waiting_for if self._pairing.instructed(self.now()) else ""
            patience = to_nanoseconds(self.params["fault_after"])
            self.problem = self._watch.look(time.monotonic_ns(), patience, waiting_for)
            if self.problem:
                self.report_fault("communication", self.problem)
            else:  # whether the robot may move without it is the gate's business, and the policy's
                self.problem = self._left_out(time.monotonic_ns())

    def _count_handed_on(self) -> None:
        """How many frames each camera_ingest says that it published, in its /diagnostics."""
        totals = {}  # "node: topic" -> how many it published
        for message in self._reports.take():
            for status in message.status:
                for pair in status.values:
                    if pair.key == "Events since startup":
                        totals[status.name] = pair.value
        if not totals:
            return
        now = time.monotonic_ns()
        for camera, topic in self._topics.items():
            for publisher in self.get_publishers_info_by_topic(topic):
                namespace = publisher.node_namespace.rstrip("/")
                total = totals.get(f"{namespace}/{publisher.node_name}: frame", "")
                if total.isdecimal():
                    self._watch.handed_on(camera, int(total), now)

    def _tell_expiry(self) -> None:
        assert self._pairing is not None
        expired = self._pairing.expired
        if expired and expired != self._told:
            self.notify_operator(f"the robot holds: {self._pairing.waiting_for}")
        self._told = expired

    def diagnose(self) -> dict[str, str]:
        if self._pairing is None:
            return {}
        drops = {f"dropped: {reason}": str(count) for reason, count in self._pairing.drops.items()}
        return {"waiting for": self._pairing.waiting_for, **drops}


def main() -> None:
    run(Synchronizer)


if __name__ == "__main__":
    main()
