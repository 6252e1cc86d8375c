"""What RViz and Foxglove can show of the gate's world: markers in the robot's base frame.

Footprint and the distances around it, what the range sensors hit, the workspace's boxes, where
the planned rows lead, and where they end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.core.robot import Robot
from vla_ros.core.robot_obstacles import NO_FOOTPRINT, Footprint
from vla_ros.core.types import ActionChunk, to_seconds
from vla_ros.core.workspace import WorkspaceBox
from vla_ros.nodes.common.convert import duration_message, time_message
from vla_ros.safety.obstacles import Reading
from vla_ros.safety.tool import Tool

Array = NDArray[np.float64]
# red, green, blue, opacity
FOOTPRINT = (0.2, 0.5, 1.0, 1.0)
STOP = (0.9, 0.2, 0.2, 0.8)
SLOW = (0.9, 0.7, 0.2, 0.6)
OBSTACLE = (0.9, 0.2, 0.2, 1.0)
INSIDE = (0.2, 0.8, 0.3, 0.15)
OUTSIDE = (0.9, 0.2, 0.2, 0.25)
PLAN = (0.7, 0.3, 0.9, 1.0)
LINE_M = 0.01
POINT_M = 0.03
TARGET_M = 0.06
# A marker that is not said again is gone: who looks must not take an old one for what is there.
LIFETIME_NS = 1_000_000_000


class RobotMarkers:
    """Makes the markers of one robot; those of what it does not have are left out."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self._tool = Tool(robot) if robot.workspace is not None else None

    def array(
        self,
        stamp: int,
        readings: Mapping[str, Reading],
        chunk: ActionChunk | None,
        standing: Mapping[str, float],
    ) -> MarkerArray:
        """All of them.

        Args:
            stamp: ns, of the markers.
            readings: a range sensor's topic -> its newest.
            chunk: the newest plan.
            standing: channel -> where it is measured, in its unit.
        """
        markers = [*self._footprint(), *self._obstacles(readings), *self._boxes()]
        markers += self._plan(chunk, standing)
        for number, marker in enumerate(markers):
            marker.header.frame_id = self.robot.base_frame
            marker.header.stamp = time_message(stamp)
            marker.id = number
            marker.lifetime = duration_message(LIFETIME_NS)
            marker.pose.orientation.w = 1.0
        return MarkerArray(markers=markers)

    def _footprint(self) -> list[Marker]:
        robot = self.robot
        if robot.footprint == NO_FOOTPRINT:
            return []
        markers = [_outline("footprint", robot.footprint, 0.0, FOOTPRINT)]
        if robot.obstacles is not None:
            markers.append(
                _outline("stop distance", robot.footprint, robot.obstacles.stop_distance, STOP)
            )
            markers.append(
                _outline("slow distance", robot.footprint, robot.obstacles.slow_distance, SLOW)
            )
        return markers

    def _obstacles(self, readings: Mapping[str, Reading]) -> list[Marker]:
        markers = []
        for topic, reading in readings.items():
            if len(reading.points):
                floor = np.zeros((len(reading.points), 1))
                points = np.hstack([reading.points, floor])  # N x 3
                markers.append(
                    _marker(f"obstacles {topic}", Marker.POINTS, POINT_M, OBSTACLE, points)
                )
        return markers

    def _boxes(self) -> list[Marker]:
        workspace = self.robot.workspace
        if workspace is None:
            return []
        inside = [_box("workspace inside", box, INSIDE) for box in workspace.inside]
        outside = [_box("workspace outside", box, OUTSIDE) for box in workspace.outside]
        return inside + outside

    def _plan(self, chunk: ActionChunk | None, standing: Mapping[str, float]) -> list[Marker]:
        if chunk is None or chunk.values.ndim != 2 or not np.isfinite(chunk.values).all():
            return []
        way = self._way(chunk, standing)  # K x 3
        if way is None or len(way) < 2:
            return []
        line = _marker("planned rows", Marker.LINE_STRIP, LINE_M, PLAN, way)
        end = _marker("target", Marker.SPHERE_LIST, TARGET_M, PLAN, way[-1:])
        return [line, end]

    def _way(self, chunk: ActionChunk, standing: Mapping[str, float]) -> Array | None:
        """Where the rows lead, in the base frame as it is now; None: nowhere that can be drawn."""
        if self._tool is not None:
            places = []
            for row in chunk.values.tolist():
                values = self._tool.values({**standing, **dict(zip(chunk.channels, row))})
                if values is not None:
                    places.append(values)
            return self._tool.points(places) if places else None
        if "linear.x" not in chunk.channels:
            return None
        return floor_way(chunk)


def floor_way(chunk: ActionChunk) -> Array:
    """The way of a base that obeys each row for a step: (T + 1) x 3, m, from where it stands."""
    step = to_seconds(chunk.step)
    columns: dict[str, Array] = {}
    for name in ("linear.x", "linear.y", "angular.z"):
        columns[name] = np.zeros(len(chunk.values))
        if name in chunk.channels:
            columns[name] = chunk.values[:, chunk.channels.index(name)].astype(float)
    yaw = np.cumsum(columns["angular.z"]) * step
    # half of a row's turn is behind it while it drives
    heading = yaw - columns["angular.z"] * step / 2
    forward = columns["linear.x"]
    left = columns["linear.y"]
    x = np.cumsum(forward * np.cos(heading) - left * np.sin(heading)) * step
    y = np.cumsum(forward * np.sin(heading) + left * np.cos(heading)) * step
    way = np.zeros((len(chunk.values) + 1, 3))
    way[1:, 0] = x
    way[1:, 1] = y
    return way


def _outline(name: str, footprint: Footprint, beyond: float, colour: Sequence[float]) -> Marker:
    """The footprint's outline, `beyond` metres farther out, on the floor."""
    front = footprint.front + beyond
    back = -footprint.back - beyond
    left = footprint.left + beyond
    right = -footprint.right - beyond
    corners = [(front, left), (front, right), (back, right), (back, left), (front, left)]
    points = np.array([(x, y, 0.0) for x, y in corners])
    return _marker(name, Marker.LINE_STRIP, LINE_M, colour, points)


def _box(name: str, box: WorkspaceBox, colour: Sequence[float]) -> Marker:
    low = np.array(box.min, float)
    high = np.array(box.max, float)
    # a side that is open would be infinitely long, and nobody draws that
    low = np.maximum(low, -10.0)
    high = np.minimum(high, 10.0)
    marker = _marker(f"{name} {box.name}".strip(), Marker.CUBE, 0.0, colour, np.zeros((0, 3)))
    x, y, z = ((low + high) / 2).tolist()
    marker.pose.position = Point(x=x, y=y, z=z)
    x, y, z = (high - low).tolist()
    marker.scale = Vector3(x=x, y=y, z=z)
    return marker


def _marker(name: str, kind: int, size: float, colour: Sequence[float], points: Array) -> Any:
    red, green, blue, opacity = colour
    marker = Marker(ns=name, type=kind, action=Marker.ADD)
    marker.scale = Vector3(x=size, y=size, z=size)
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=opacity)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
    return marker
