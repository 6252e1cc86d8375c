"""Which of a robot's cameras are used, and which nodes those are. No ROS here."""

from __future__ import annotations

from collections.abc import Sequence

from vla_ros.core.robot import CAMERA_NODE, Robot
from vla_ros.nodes.node_parameters import ALL


def chosen_cameras(robot: Robot, names: Sequence[str]) -> list[str]:
    """The robot's cameras that the parameter `cameras` means, in the file's order.

    Raises:
        ValueError: it names one that the file does not.
    """
    there = list(robot.camera_nodes)
    if list(names) == [ALL]:
        return there
    for name in names:
        if name not in there:
            raise ValueError(
                f"parameter 'cameras' holds '{name}'; robot '{robot.name}' has "
                f"{', '.join(there) or 'none'}"
            )
    return [name for name in there if name in names]


def expanded(nodes: Sequence[str], robot: Robot, cameras: Sequence[str]) -> list[str]:
    """The names of nodes, with the node of each camera where `camera_ingest` stands.

    Raises:
        ValueError: as `chosen_cameras`.
    """
    names: list[str] = []
    for name in nodes:
        if name == CAMERA_NODE:
            names += [robot.camera_nodes[camera] for camera in chosen_cameras(robot, cameras)]
        else:
            names.append(name)
    return names
