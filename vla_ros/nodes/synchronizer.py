"""synchronizer: pairs frames, the instruction and the robot's state by stamp, newest pair first."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, PointCloud2

from vla_ros.core.depth import DepthPair, DepthPairing
from vla_ros.core.pairing import Pairing, PairingWatch, cloud_stream
from vla_ros.core.point_cloud import cloud_array
from vla_ros.core.robot import load_robot
from vla_ros.core.robot_clouds import Cloud, chosen_clouds
from vla_ros.core.robot_state import JOINT_STATE, StateSource
from vla_ros.core.shown import shown
from vla_ros.core.state_numbers import published_numbers
from vla_ros.core.state_table import StateTable
from vla_ros.core.types import Frame, to_nanoseconds, to_seconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.camera_nodes import chosen_cameras
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.passed import Passed
from vla_ros.nodes.common.qos import IMAGES, JOINTS, LATCHED, REPORTS, STATE
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.common.state_messages import MESSAGES
from vla_ros.nodes.node_parameters import ALL
from vla_ros_msgs.msg import Instruction as InstructionMessage
from vla_ros_msgs.msg import Observation as ObservationMessage

STATE_PERIOD_S = 0.02  # not when a frame comes: the image would wait for it
WATCH_PERIOD_S = 0.25
CLOUD_BYTES = 80_000_000  # two million points of 40 bytes; a larger message is not unpacked


class Synchronizer(ManagedNode):
    """Pairs frames, the instruction and the robot's state by their stamps.

    Subscribed topics:
        frame (sensor_msgs/Image): the only camera's; of several, CAMERA/frame is each one's.
        depth_frame (sensor_msgs/Image): the depth of a frame of the same stamp, of a camera that
            has one; of several, CAMERA/depth_frame.
        instruction/accepted (vla_ros_msgs/Instruction): the instruction that holds.
        the robot file's clouds (sensor_msgs/PointCloud2): of those that the policy looks at, the
            newest; its points are handed on in the observation.
        the robot file's state: the numbers that say how the robot is.
        /diagnostics (diagnostic_msgs/DiagnosticArray): how many frames were handed on.

    Published topics:
        observation (vla_ros_msgs/Observation): what belongs together, as soon as it is there.
        passed (std_msgs/Header): the stamp of what was just handed on, for `vla trace`; only while
            somebody listens.

    Parameters:
        `synchronizer` in nodes/node_parameters.py.

    Faults:
        communication: for `fault_after` there were frames and an instruction, but no pair; or
            frames that were handed on did not arrive.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("synchronizer", **options)
        self._pairing: Pairing | None = None
        self._joined: dict[str, DepthPairing[np.ndarray]] = {}  # of each camera with depth
        self._told = 0

    def configure(self) -> None:
        robot = load_robot(self.params["robot_file"])
        cameras = chosen_cameras(robot, self.params["cameras"])
        clouds = chosen_clouds(robot.clouds, self.params["clouds"], ALL)
        if not cameras and not clouds:
            raise ValueError(
                f"robot '{robot.name}' has no camera in its file, and a policy looks through one; "
                "name it under `cameras`"
            )
        self._pairing = Pairing(
            cameras,
            self.params["mode"],
            to_nanoseconds(self.params["max_skew"]),
            to_nanoseconds(self.params["instruction_ttl"]),
            self.params["buffer"],
            to_nanoseconds(self.params["max_future"]),
            to_nanoseconds(self.params["buffer_time"]),
            [cloud.name for cloud in clouds],
        )
        self._observation = self.add_publisher(ObservationMessage, "observation", IMAGES)
        self._passed = Passed(self, "observation")
        for camera in cameras:
            topic = robot.frame_topic(camera)
            read = reader_of(Image, writable=True)
            self.add_subscription(Image, topic, self._frame_of(camera), IMAGES, read=read)
        self._joined = {}
        for camera in robot.depth_cameras:
            if camera in cameras:
                # camera_ingest has paired them: what belongs together has the same stamp.
                self._joined[camera] = DepthPairing(self._pairing.drops, exact=True)
                topic = robot.depth_frame_topic(camera)
                self.add_subscription(Image, topic, partial(self._on_depth, camera), IMAGES)
        # The instruction that holds is kept also while inactive: it is published once, not again.
        self.add_subscription(
            InstructionMessage, "instruction/accepted", self._on_instruction, LATCHED, always=True
        )
        self._state = StateTable(robot.state)
        sources: dict[str, list[StateSource]] = {}  # by topic: one message may hold several units
        for source in robot.state:
            sources.setdefault(source.topic, []).append(source)
        self._readers: dict[Reader, Callable[[Any], None]] = {}
        for topic, entries in sources.items():
            kind = entries[0].type
            qos = JOINTS if kind == JOINT_STATE else STATE
            message = MESSAGES[kind]
            reader = self.add_reader(message, topic, qos, read=reader_of(message))
            self._readers[reader] = partial(self._on_state, entries)
        self._clouds: dict[Reader, Cloud] = {}
        for cloud in clouds:
            reader = self.add_reader(PointCloud2, cloud.topic, STATE, most_bytes=CLOUD_BYTES)
            self._clouds[reader] = cloud
        self.add_timer(STATE_PERIOD_S, self._read_state)
        self._watch = PairingWatch(cameras)
        self._topics: dict[str, str] = {}  # camera -> where its frames are
        for camera in cameras:
            self._topics[camera] = self.resolve_topic_name(robot.frame_topic(camera))
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
            # A forgotten remap must not mix two cameras: the policy would take one for the other.
            joined = self._joined.get(camera)
            paired = joined is not None and message.header.frame_id == convert.paired_name(camera)
            if message.header.frame_id != camera and not paired:
                self.reject(
                    "another camera's frame",
                    f"a frame of camera {shown(message.header.frame_id)} came on "
                    f"{self._topics[camera]}, where '{camera}' is expected; mend the remapping, or "
                    "the parameter 'camera' of its camera_ingest",
                )
                return
            self._watch.frame(camera, start)
            stamp = convert.stamp_ns(message.header.stamp)
            if joined is not None and paired:
                self._take_pair(camera, joined.add_image(stamp, image), start)
                return
            self._pairing.add_frame(Frame(stamp, camera, image), self.now())
            self._pair(start)

        return on_frame

    def _on_depth(self, camera: str, message: Image) -> None:
        """The depth image that belongs to the frame of the same stamp."""
        start = time.monotonic_ns()
        self.stats.tick(f"depth {camera}", start)
        try:
            depth = convert.depth_image(message)
        except ValueError as error:
            self.reject("bad depth frame", error)
            return
        if message.header.frame_id != convert.depth_name(camera):
            self.reject(
                "another camera's frame",
                f"a depth frame of {shown(message.header.frame_id)} came where that of '{camera}' "
                "is expected; mend the remapping, or the parameter 'camera' of its camera_ingest",
            )
            return
        stamp = convert.stamp_ns(message.header.stamp)
        self._take_pair(camera, self._joined[camera].add_depth(stamp, depth), start)

    def _take_pair(self, camera: str, pair: DepthPair[np.ndarray] | None, start: int) -> None:
        """Hands on an image whose depth is there; one alone waits, and is dropped in the end."""
        assert self._pairing is not None
        if pair is None:
            return
        self._pairing.add_frame(Frame(pair.stamp, camera, pair.image, pair.depth), self.now())
        self._pair(start)

    def _on_instruction(self, message: InstructionMessage) -> None:
        assert self._pairing is not None
        self._pairing.add_instruction(convert.instruction(message))
        if self.active:
            self._pair(time.monotonic_ns())

    def _on_state(self, sources: list[StateSource], message: Any) -> None:
        """Takes one message of the robot's state for all that read it, or for none."""
        now = time.monotonic_ns()
        wanted: list[str] = []
        for source in sources:
            wanted.extend(source.names.values())
        try:
            published = published_numbers(sources[0].type, message, wanted)
            for source in sources:
                self._state.update(source, published, now)
        except ValueError as error:
            self.reject(f"bad {sources[0].topic}", error)

    def _state_now(self, now: int) -> dict[str, float]:
        """What was heard of the robot within state_timeout of `now` (steady ns)."""
        return self._state.values(now, to_nanoseconds(self.params["state_timeout"]))

    def _left_out(self, now: int) -> str:
        """What is not in the state because it is too old: a sentence, or empty."""
        timeout = to_nanoseconds(self.params["state_timeout"])
        ages = self._state.stale(now, timeout)
        if not ages:
            return ""
        names = [f"'{name}' ({to_seconds(age):.1f} s)" for name, age in ages.items()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return (
            f"the state goes without {', '.join(names[:5])}{more}: nothing good was heard of it "
            f"for longer than {self.params['state_timeout']:g} s (state_timeout)"
        )

    def _read_state(self) -> None:
        for reader, callback in self._readers.items():
            for message in reader.take():
                callback(message)
        for reader, cloud in self._clouds.items():
            self._read_cloud(reader, cloud)

    def _read_cloud(self, reader: Reader, cloud: Cloud) -> None:
        """Takes the newest cloud of a topic, if one has come."""
        assert self._pairing is not None
        for message in reader.take():
            start = time.monotonic_ns()
            self.stats.tick(f"cloud {cloud.name}", start)
            stamp = convert.stamp_ns(message.header.stamp)
            try:
                if stamp <= 0:
                    raise ValueError("its stamp is 0; its driver must stamp it")
                layout = convert.cloud_layout(message)
                points = cloud_array(message.data, layout, cloud.points, cloud.color)
                if not len(points):
                    raise ValueError("none of its points has three numbers")
                placed = cloud.placed(points)
            except ValueError as error:
                self.reject("bad cloud", f"cloud '{cloud.name}' on {cloud.topic}: {error}")
                continue
            self._pairing.add_frame(Frame(stamp, cloud_stream(cloud.name), placed), self.now())
            if self.active:
                self._pair(start)
        if reader.oversized:
            reader.oversized = 0
            self.reject(
                "bad cloud",
                f"cloud '{cloud.name}' on {cloud.topic} has more than {CLOUD_BYTES} bytes: "
                "downsample it",
            )

    def _pair(self, start: int) -> None:
        assert self._pairing is not None
        state = self._state_now(start)
        observation = self._pairing.read(self.now(), state, self._state.ages(state, start))
        if observation is None:
            self._tell_expiry()
            return
        self._observation.publish(convert.observation_message(observation))
        self._passed.tell(observation.stamp)
        self._watch.pair(start)
        self.stats.tick("observation", start)
        self.stats.latency(time.monotonic_ns() - start)

    def _look(self) -> None:
        """Reports frames that are lost on the way, and frames and words that give no pair."""
        assert self._pairing is not None
        self._count_handed_on()
        if self.active:
            waiting_for = self._waiting_for() if self._pairing.instructed(self.now()) else ""
            patience = to_nanoseconds(self.params["fault_after"])
            self.problem = self._watch.look(time.monotonic_ns(), patience, waiting_for)
            if self.problem:
                self.report_fault("communication", self.problem)
            else:  # whether the robot may move without it is the gate's business, and the policy's
                self.problem = self._left_out(time.monotonic_ns())

    def _waiting_for(self) -> str:
        """Why there is no pair."""
        assert self._pairing is not None
        for camera, joined in self._joined.items():
            if joined.waiting:
                return f"the depth images that belong to the images of '{camera}'"
        return self._pairing.waiting_for

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
        return {"waiting for": self._waiting_for(), **drops}


def main() -> None:
    run(Synchronizer)


if __name__ == "__main__":
    main()
