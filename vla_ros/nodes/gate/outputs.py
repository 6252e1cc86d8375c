"""The topics that reach the robot, and who else is on them. Only safety_validator makes these."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.action.graph import get_action_names_and_types
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.robot import Robot
from vla_ros.core.robot_outputs import Output
from vla_ros.core.types import to_seconds
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.qos import HEARD, LATEST
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.gate.goals import Goals
from vla_ros.nodes.gate.output_messages import output_class, output_message

TYPES = {
    "geometry_msgs/msg/Twist": Twist,
    "geometry_msgs/msg/TwistStamped": TwistStamped,
    "std_msgs/msg/Float64MultiArray": Float64MultiArray,
    "trajectory_msgs/msg/JointTrajectory": JointTrajectory,
}
# how the nodes of those begin who only look on
ONLOOKERS = ("_ros2cli", "rosbag2", "rviz", "foxglove", "blackbox")


def full_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def publishers(node: Node, topic: str) -> list[tuple[bytes, str]]:
    """Everybody that the ROS graph shows to publish on `topic`, as its GID and its node's name."""
    return [
        (bytes(info.endpoint_gid), full_name(info.node_namespace, info.node_name))
        for info in node.get_publishers_info_by_topic(topic)
    ]


class Outputs:
    """Puts an action on the wire: topics by `send`, ROS actions by `pursue`.

    An output some of whose positions are not commanded stays silent.

    Raises:
        ValueError: an output's type is not installed, or its time_from_start is too short.
    """

    def __init__(self, node: ManagedNode, robot: Robot, period: int) -> None:
        self._robot = robot
        self._period = period
        self._channels = {channel.name: channel for channel in robot.channels}
        topics = [output for output in robot.outputs if not output.is_action]
        # topic -> messages
        self.sent = dict.fromkeys((output.topic for output in topics), 0)
        self.gids: set[bytes] = set()  # of its own publishers
        # topic -> publishers of this node's name that were there before it
        self.leftovers: dict[str, set[bytes]] = {}
        self._publishers = [(output, self._publisher(node, output)) for output in topics]
        self.goals: dict[str, Goals] = {}  # action -> what is asked of it
        for output in robot.outputs:
            if output.is_action:
                self.goals[output.topic] = Goals(node, robot, output)

    def _publisher(self, node: ManagedNode, output: Output) -> Any:
        if self._ahead_s(output) < to_seconds(self._period):
            raise ValueError(
                f"output '{output.topic}': time_from_start is {output.time_from_start:g} s; the "
                f"gate sends a point every {to_seconds(self._period):g} s: give at least that"
            )
        before = {gid for gid, _ in publishers(node, output.topic)}
        self.leftovers[output.topic] = {
            gid
            for gid, name in publishers(node, output.topic)
            if name == full_name(node.get_namespace(), node.get_name())
        }
        publisher = node.add_publisher(output_class(output), output.topic, LATEST)
        own = {gid for gid, _ in publishers(node, output.topic)} - before
        if len(own) != 1:  # known by it from now on: which of them is this one?
            raise ValueError(
                f"another node began to publish on {output.topic} at this very moment; try again"
            )
        self.gids |= own
        return publisher

    def send(self, action: Mapping[str, float], now: int) -> None:
        for output, publisher in self._publishers:
            if all(name in action for name in output.channels):
                values = {name: self._channels[name].sent(action[name]) for name in output.channels}
                message = output_message(self._robot, output, values, now, self._ahead_s(output))
                publisher.publish(message)
                self.sent[output.topic] += 1

    def pursue(self, action: Mapping[str, float], moves: bool, stopped: bool) -> None:
        """The same for ROS actions, as goals.

        Args:
            action: as `send`.
            moves: the policy moves the robot; else it holds.
            stopped: no goal may be under way.
        """
        for goals in self.goals.values():
            names = goals.output.channels
            if stopped:
                goals.cancel()
            elif all(name in action for name in names):
                goals.follow({name: action[name] for name in names}, moves)

    def stop(self, now: int) -> None:
        """Zero for everything that stops at zero, and no goals; needs nothing else to work."""
        self.send(
            {channel.name: 0.0 for channel in self._robot.channels if channel.on_stop == "zero"},
            now,
        )
        self.pursue({}, moves=False, stopped=True)

    def listeners(self, output: Output) -> int:
        """How many take what is sent there: of the right type, with a QoS that fits."""
        count: int = dict(self._publishers)[output].get_subscription_count()
        return count

    def settle(self, seconds: float) -> None:
        """Waits until the robot has what was sent, at most `seconds`.

        What is on its way dies with the process.
        """
        end = time.monotonic() + seconds
        for _, publisher in self._publishers:
            publisher.wait_for_all_acked(Duration(seconds=seconds / len(self._publishers)))
        for goals in self.goals.values():
            goals.look()
            while goals.running and time.monotonic() < end:
                time.sleep(0.005)
                goals.look()

    def _ahead_s(self, output: Output) -> float:
        """How far ahead a trajectory's point is: measured in bench/trajectory_controller.py."""
        return output.time_from_start or 2.0 * to_seconds(self._period)


@dataclass
class _Heard:
    """What arrives on an output: `surplus` more than was sent there."""

    reader: Reader
    sent: int
    surplus: int = 0


class Others:
    """Who else publishes where the gate does, and whether anybody listens.

    A name proves nothing: GIDs do.
    """

    def __init__(self, node: ManagedNode, robot: Robot, outputs: Outputs) -> None:
        self._node = node
        self._robot = robot
        self._outputs = outputs
        self._unknown: set[str] = set()  # publishers whose node's name is still on its way
        self._heard: dict[str, _Heard] = {}  # topic -> what arrives there
        # topic -> who listens there as it should, by name and GID
        self._right: dict[str, set[tuple[str, bytes]]] = {}
        self._servers: dict[str, set[bytes]] = {}  # action -> who serves it, by GID

    def publishing(self) -> list[str]:
        """Other publishers of robot commands, as "topic from node".

        One of this node's name that was there before it is a gate that died, as long as it is
        silent: DDS forgets it after its lease (20 s).
        """
        others = []
        for output in self._robot.outputs:
            if output.is_action:
                continue  # who sends goals, the graph does not show
            present = publishers(self._node, output.topic)
            left = {gid for gid, _ in present} & self._outputs.leftovers[output.topic]
            speaks = bool(left) and self._speaks(output)
            for gid, name in present:
                if gid not in self._outputs.gids and (gid not in left or speaks):
                    others.append(f"{output.topic} from {name}")
        # A name that is still on its way counts when it stays unknown.
        unknown = self._unknown
        self._unknown = {other for other in others if "UNKNOWN" in other}
        return [other for other in others if other not in self._unknown or other in unknown]

    def _speaks(self, output: Output) -> bool:
        """Whether more arrives on an output than this node sent; two may be on their way."""
        topic = output.topic
        sent = self._outputs.sent[output.topic]
        if topic not in self._heard:
            try:
                self._heard[topic] = _Heard(
                    self._node.add_reader(output_class(output), topic, HEARD, raw=True), sent
                )
            except Exception:
                # SROS 2 does not let the gate hear it: then nobody knows that it is silent
                return True
        heard = self._heard[topic]
        # Never below zero: what was lost of its own must not hide what is somebody else's.
        arrived = len(list(heard.reader.take()))
        heard.surplus = max(0, heard.surplus + arrived - (sent - heard.sent))
        heard.sent = sent
        return heard.surplus > 2

    def unheard(self) -> list[str]:
        """Outputs that the robot does not take, each as a sentence."""
        return list(chain.from_iterable(map(self._deaf, self._robot.outputs)))

    def _deaf(self, output: Output) -> list[str]:
        """What keeps the robot from hearing an output, a sentence each."""
        if output.is_action:
            return self._unserved(output)
        own = full_name(self._node.get_namespace(), self._node.get_name())
        right = set()  # who listens for the right type, by name and GID
        wrong = []  # who listens for another, by name and type
        for info in self._node.get_subscriptions_info_by_topic(output.topic):
            name = full_name(info.node_namespace, info.node_name)
            if name == own or name.rpartition("/")[2].startswith(ONLOOKERS):
                continue
            if info.topic_type == output.type:
                right.add((name, bytes(info.endpoint_gid)))
            elif "UNKNOWN" not in name:
                wrong.append((name, info.topic_type))
        topic = f"{output.topic} ({output.type})"
        if wrong:
            return [
                f"{name} listens to {output.topic} for {kind}, which the gate does not send; "
                f"change the type in the robot file, {output.type}"
                for name, kind in wrong[:3]
            ]
        matched = self._outputs.listeners(output) - (1 if output.topic in self._heard else 0)
        if not right:
            return [f"nobody listens to {topic}; is the driver running?"]
        if matched < 1:
            return [
                f"{next(iter(right))[0]} listens to {topic}, but not with a QoS that takes what "
                "the gate sends: reliable, volatile"
            ]
        before = self._right.get(output.topic, right)
        self._right[output.topic] = right
        names_before = {name for name, _ in before}
        again = {name for name, _ in right - before if "UNKNOWN" not in name} & names_before
        return [f"{name} listens to {topic} anew: it was started again" for name in sorted(again)]

    def _unserved(self, output: Output) -> list[str]:
        """The same of an action: who serves it is known by its status topic."""
        goals = self._outputs.goals[output.topic]
        action = f"{output.topic} ({output.type})"
        kinds = dict(get_action_names_and_types(self._node)).get(output.topic, [output.type])
        present = publishers(self._node, f"{output.topic}/_action/status")
        if output.type not in kinds:
            return [
                f"{output.topic} is served as {kinds[0]}, which the gate does not ask for; change "
                f"the type in the robot file, {output.type}"
            ]
        servers = {gid for gid, _ in present}
        if not servers:
            lost = goals.running
            goals.lose()
            if lost:
                return [f"{action}: its server is gone in the middle of a goal; is it running?"]
            return [f"nobody serves {action}; is its controller running?"]
        before = self._servers.get(output.topic, servers)
        self._servers[output.topic] = servers
        if servers - before:
            goals.lose()
            return [f"{action} is served anew: its controller was started again"]
        return goals.troubles()
