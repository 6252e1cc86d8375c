"""The truth of a room at one moment, by which a task is judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectState:
    """An object of the scene, in metres and radians; `size` is its width, `colour` a word."""

    name: str
    colour: str
    shape: str
    x: float
    y: float
    z: float
    yaw: float
    size: float
    height: float


@dataclass(frozen=True)
class WorldState:
    """The world now, in truth: time (s), pose (m, rad), speeds, gripper opening (m), objects."""

    time: float
    x: float
    y: float
    yaw: float
    linear: float
    angular: float
    opening: float
    objects: tuple[ObjectState, ...]
    held: str | None = None  # an object's name
