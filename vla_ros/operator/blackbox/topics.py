"""What the flight recorder hears: the suite's own topics, and those that the robot file names.

No ROS here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.core.robot import Robot
from vla_ros.core.stick import twist_output
from vla_ros.safety.rules import RULES

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CLOUD = "sensor_msgs/msg/PointCloud2"
SCAN = "sensor_msgs/msg/LaserScan"
# Of a topic that is read ten times a second: three seconds of a gate at 100 Hz, should the reader
# be held up.
DEPTH = 300
FEW = 20  # of scans, each some kB


@dataclass(frozen=True)
class RecordedTopic:
    """A topic that is kept.

    Attributes:
        name: as a ROS name; without a leading "/" it is in the nodes' namespace.
        type: as "std_msgs/msg/String".
        latched: what was said last still holds, however long ago: it is kept for good.
        depth: how many messages wait until they are read; 1: the newest is enough.
    """

    name: str
    type: str
    latched: bool = False
    depth: int = DEPTH

    @property
    def is_image(self) -> bool:
        """Whether it is kept as JPEG."""
        return self.type == IMAGE

    @property
    def kept_name(self) -> str:
        """What it is called in the file, as image_transport would call it."""
        return f"{self.name}/compressed" if self.is_image else self.name

    @property
    def kept_type(self) -> str:
        """Its type in the file."""
        return COMPRESSED_IMAGE if self.is_image else self.type


# Not `instruction`, `stop` and `record/note`, which people publish by hand: `ros2 topic pub --once`
# publishes as soon as it knows one listener. With this one in reach, three of eight presses never
# came to the gate. What became of them is in `feedback` and in the gate's reports.
SUITE_TOPICS = (
    RecordedTopic("instruction/accepted", "vla_ros_msgs/msg/Instruction", latched=True),
    RecordedTopic("feedback", "std_msgs/msg/String"),
    RecordedTopic("action_chunk", "vla_ros_msgs/msg/ActionChunk"),
    RecordedTopic("safety_report", "vla_ros_msgs/msg/SafetyReport"),
    RecordedTopic("heartbeat", "vla_ros_msgs/msg/Heartbeat"),
    RecordedTopic("fault", "vla_ros_msgs/msg/Fault"),
    RecordedTopic("halt", "vla_ros_msgs/msg/Halt", latched=True),
    RecordedTopic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
    # What a person's stick says. The rows that `teleop` makes of it stand in the gate's reports.
    RecordedTopic("joy", "sensor_msgs/msg/Joy"),
    RecordedTopic("teleop_joints", "sensor_msgs/msg/JointState"),
)


def recorded_topics(robot: Robot, cameras: Sequence[str]) -> list[RecordedTopic]:
    """All of them, each once; what both sides name is the suite's.

    Args:
        robot: the robot file.
        cameras: those whose frames the suite makes.
    """
    topics: dict[str, RecordedTopic] = {}
    for topic in SUITE_TOPICS:
        topics[topic.name] = topic
    if base := twist_output(robot):
        topics["teleop_twist"] = RecordedTopic("teleop_twist", base.type)
    for camera in cameras:
        name = robot.frame_topic(camera)
        # read at the pace of the recorder: a camera's 30 images a second are not woken up for
        topics[name] = RecordedTopic(name, IMAGE, depth=1)
    types = dict(robot.required_topics)
    for source in robot.state:
        types[source.topic] = source.type
    for sensor in robot.sensors:
        types[sensor.topic] = sensor.type
    for output in robot.outputs:
        if not output.is_action:  # whose goals are no topic
            types[output.topic] = output.type
    for rule in RULES:
        for declared in rule.sources:
            types[declared.topic] = declared.type
    for name, kind in types.items():
        depth = {CLOUD: 1, SCAN: FEW}.get(kind, DEPTH)
        topics.setdefault(name, RecordedTopic(name, kind, depth=depth))
    return list(topics.values())
