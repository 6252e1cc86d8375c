"""What the ROS graph shows of a robot, as plain data: topics, who is on them, what came.

It is taken by graph_snapshot.py; robot_check.py and robot_draft.py read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class GraphEndpoint:
    """A publisher or subscription of a node.

    Attributes:
        node: its full name.
        type: of its messages.
        reliable: it offers, or asks for, that nothing is lost.
        latched: it offers, or asks for, what was said before (transient local).
    """

    node: str
    type: str
    reliable: bool = True
    latched: bool = False


@dataclass(frozen=True)
class HeardTopic:
    """What came on a topic while it was listened to.

    Attributes:
        count: of messages.
        rate: messages a second; 0 for fewer than two.
        longest_gap: between two of them, s.
        age: median of how old a message's stamp was when it came, by this machine's clock, s; None
            where the type has no stamp or nothing came. Negative: ahead of it.
        sim_age: the same by /clock; None where that is not published.
        unstamped: messages whose stamp is zero.
        messages: the last ones, oldest first, with the fields of their ROS type; one alone of
            images and point clouds.
    """

    count: int = 0
    rate: float = 0.0
    longest_gap: float = 0.0
    age: float | None = None
    sim_age: float | None = None
    unstamped: int = 0
    messages: tuple[Any, ...] = ()


@dataclass(frozen=True)
class GraphTopic:
    """Who is on a topic, and what came; `heard` is None where nobody listened."""

    publishers: tuple[GraphEndpoint, ...] = ()
    subscribers: tuple[GraphEndpoint, ...] = ()
    heard: HeardTopic | None = None


@dataclass(frozen=True)
class GraphSnapshot:
    """A robot's graph over a few seconds, without those who only look on.

    Attributes:
        seconds: how long was listened.
        topics: by their full names.
        services: name -> type.
        controller_joints: a listening node -> its parameter `joints`, as ros2_control's controllers
            have it.
        description: the URDF on /robot_description; empty: none.
    """

    seconds: float
    topics: Mapping[str, GraphTopic] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    controller_joints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    description: str = ""

    def topic(self, name: str) -> GraphTopic:
        """That topic; an empty one where nobody is on it."""
        return self.topics.get(full_topic(name), GraphTopic())


def full_topic(name: str) -> str:
    """A topic of a robot file is the robot's: it does not depend on a node's namespace."""
    return name if name.startswith("/") else f"/{name}"
