"""A robot's ROS graph by hand, as graph_snapshot.py would take it: an arm with two cameras, and a base."""
from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tool_world import NAMES

from vla_ros.operator.robot_graph import IMAGE, GraphEndpoint, GraphSnapshot, GraphTopic, HeardTopic

JOINT_STATE = "sensor_msgs/msg/JointState"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
NUMBERS = "std_msgs/msg/Float64MultiArray"
TWIST = "geometry_msgs/msg/Twist"


def image(height: int = 480, width: int = 640, encoding: str = "rgb8", sample_bytes: int = 3) -> Any:
    return SimpleNamespace(height=height, width=width, encoding=encoding, step=width * sample_bytes, is_bigendian=0,
                           data=bytes(height * width * sample_bytes))


def joints(names: Any = NAMES, positions: Any = None) -> Any:
    return SimpleNamespace(name=list(names), position=[0.1] * len(names) if positions is None else list(positions))


def heard(*messages: Any, **others: Any) -> HeardTopic:
    return replace(HeardTopic(count=90, rate=30.0, longest_gap=0.05, age=0.01, messages=messages), **others)


def said(kind: str, *messages: Any, by: str = "/driver", **others: Any) -> GraphTopic:
    """A topic that somebody publishes."""
    return GraphTopic((GraphEndpoint(by, kind),), (), heard(*messages, **others))


def taken(kind: str, by: str = "/controller", **others: Any) -> GraphTopic:
    """A topic that somebody listens to."""
    return GraphTopic((), (GraphEndpoint(by, kind, **others),))


def arm_graph(**topics: GraphTopic) -> GraphSnapshot:
    """Two cameras, joint states, a trajectory controller; `topics` by their names with / as __."""
    graph = {
        "/scene_camera/image_raw": said(IMAGE, image()), "/wrist_camera/image_raw": said(IMAGE, image()),
        "/joint_states": said(JOINT_STATE, joints()), "/arm": taken(TRAJECTORY),
    }
    graph.update({name.replace("__", "/"): topic for name, topic in topics.items()})
    return GraphSnapshot(3.0, graph)


def with_topic(graph: GraphSnapshot, name: str, topic: GraphTopic) -> GraphSnapshot:
    return replace(graph, topics={**graph.topics, name: topic})


def without(graph: GraphSnapshot, name: str) -> GraphSnapshot:
    return replace(graph, topics={other: topic for other, topic in graph.topics.items() if other != name})
