"""The things on an arm's table, and the truth of the table at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.tasks.world_state import ObjectState

SHAPES = ("block", "cup", "bowl")  # a model's outputs are in this order
GRASPABLE = ("block", "cup")  # a bowl is wider than the open gripper
OPENING_MAX = 0.08  # m between the fingers at gripper 1.0
HAND_OVER = (0.42, 0.0, 0.22)  # m in base_link: where the tool offers what it holds to a person


class TableObject(ObjectState):
    """A thing on the table, m and rad; z is its middle's height, `size` its widest width."""

    @property
    def bottom(self) -> float:
        """How high it is off the table, m, as long as it stands upright."""
        return self.z - self.height / 2


@dataclass(frozen=True)
class TableState:
    """The truth about arm and table now.

    Attributes:
        time: s.
        joints: The six angles, rad.
        home: Those of the arm at home, rad.
        speed: Of the fastest joint, rad/s.
        tool: Where it is in `base_link`, m.
        tool_yaw: Along which its fingers move, rad.
        opening: Between the fingers, m.
        objects: All things on the table.
        held: The name of the thing that both fingers press on.
    """

    time: float
    joints: tuple[float, ...]
    home: tuple[float, ...]
    speed: float
    tool: tuple[float, float, float]
    tool_yaw: float
    opening: float
    objects: tuple[TableObject, ...]
    held: str | None = None

    def object(self, name: str) -> TableObject:
        """The thing of that name; there must be one."""
        return next(thing for thing in self.objects if thing.name == name)
