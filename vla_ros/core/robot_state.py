"""A robot file's state: which numbers say how the robot is, where they come from, in which unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_ros.core.robot_fields import check_keys, flag, number, optional_number, topic_name
from vla_ros.core.shown import shown

JOINT_STATE = "sensor_msgs/msg/JointState"
NUMBERS = "std_msgs/msg/Float64MultiArray"
ODOMETRY = "nav_msgs/msg/Odometry"
WRENCH = "geometry_msgs/msg/WrenchStamped"
IMU = "sensor_msgs/msg/Imu"
_AXES = ("x", "y", "z")
ORIENTATION = ("roll", "pitch", "yaw")
# What a message of the type holds, in SI units; empty: the file names its numbers and their unit.
STATE_TYPES: dict[str, tuple[str, ...]] = {
    JOINT_STATE: (),
    NUMBERS: (),
    ODOMETRY: ("odom.x", "odom.y", "odom.yaw", "linear.x", "angular.z"),
    WRENCH: tuple(f"{part}.{axis}" for part in ("force", "torque") for axis in _AXES),
    IMU: (
        *ORIENTATION,
        *(
            f"{part}.{axis}"
            for part in ("angular_velocity", "linear_acceleration")
            for axis in _AXES
        ),
    ),
}
# A number in this unit, times this, is in SI units.
UNITS = {
    "rad": 1.0,
    "deg": math.pi / 180.0,
    "m": 1.0,
    "mm": 0.001,
    "1": 1.0,
    "0..1": 1.0,
    "0..100": 0.01,
    "-100..100": 0.01,
    "rad/s": 1.0,
    "deg/s": math.pi / 180.0,
    "m/s": 1.0,
    "N": 1.0,
    "Nm": 1.0,
}
# Two arms with hands, a base and their force sensors have some 100.
MAX_STATE = 256  # numbers: they travel with every observation


@dataclass(frozen=True)
class StateSource:
    """Some numbers of one topic. Several may read the same topic, each in its own unit.

    Attributes:
        names: of the numbers, as the policy knows them, in order. A list where the message has the
            same names (an array has none: the order counts); else {name: the message's}.
        unit: what is published, of joints and arrays; other messages are in SI units.
        scale, offset: the number in SI units, times `scale`, plus `offset`, is the state's.
        wraps: an angle that begins anew after a turn: kept within half a turn of 0.
        required: the robot holds when this topic is silent.
    """

    topic: str
    type: str
    names: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    wraps: bool = False
    required: bool = True

    @property
    def factor(self) -> float:
        """What is published, times this, is in SI units."""
        return UNITS.get(self.unit, 1.0)

    def value(self, published: float) -> float:
        """The state's number for what was published."""
        value = published * self.factor * self.scale + self.offset
        return wrapped(value) if self.wraps else value


def wrapped(angle: float) -> float:
    """The same angle within half a turn of 0, rad; half a turn itself is positive."""
    turned = math.remainder(angle, math.tau)
    return math.pi if turned == -math.pi else turned


def parse_state(data: Any) -> tuple[StateSource, ...]:
    """The `state` part of a robot file. Raises ValueError with a sentence."""
    if not isinstance(data, list):
        raise ValueError(f"state is {shown(data)}; give a list of topics with their names")
    sources = tuple(map(_source, data))
    # DDS gives a topic one type: the second subscription would never hear anything.
    types: dict[str, str] = {}
    owners: dict[str, str] = {}
    for source in sources:
        if types.setdefault(source.topic, source.type) != source.type:
            raise ValueError(
                f"state: '{source.topic}' is of type {types[source.topic]} and of {source.type}; a "
                "topic has one type"
            )
        for name in source.names:
            if name in owners:
                raise ValueError(
                    f"state '{name}' comes from {owners[name]} and from {source.topic}; once is "
                    "right, a mapping gives the second another name: {my_name: theirs}"
                )
            owners[name] = source.topic
    if len(owners) > MAX_STATE:
        raise ValueError(f"state has {len(owners)} numbers; at most {MAX_STATE}")
    arrays = [source.topic for source in sources if source.type == NUMBERS]
    for topic in arrays:
        if arrays.count(topic) > 1:
            raise ValueError(f"state: '{topic}' is listed twice; an array's numbers stand together")
    return sources


def _source(fields: Any) -> StateSource:
    optional = {"names", "unit", "scale", "offset", "wraps", "required"}
    check_keys(fields, "an entry of state", {"topic", "type"}, optional)
    topic = topic_name(fields["topic"], "state: topic")
    where = f"state '{topic}'"
    kind = fields["type"]
    if kind not in STATE_TYPES:
        raise ValueError(f"{where}: type is {shown(kind)}; use one of {', '.join(STATE_TYPES)}")
    names = _names(fields, kind, where)
    scale = optional_number(fields, "scale", where, 1.0)
    # A typing error that would look like a robot that stands still.
    if scale == 0.0:
        raise ValueError(f"{where}: scale is 0; everything would be the same number")
    unit = _unit(fields, kind, where)
    wraps = flag(fields.get("wraps", False), f"{where}: wraps")
    if wraps and unit not in ("rad", "deg"):
        raise ValueError(f"{where}: wraps is for an angle, in rad or deg")
    return StateSource(
        topic,
        kind,
        names,
        unit,
        scale,
        number(fields.get("offset", 0.0), f"{where}: offset"),
        wraps,
        flag(fields.get("required", True), f"{where}: required"),
    )


def _unit(fields: Mapping[str, Any], kind: str, where: str) -> str:
    if STATE_TYPES[kind]:
        if "unit" in fields:
            raise ValueError(f"{where}: unit is for joints and arrays; a {kind} is in SI units")
        return ""
    # No default: degrees taken for radians move an arm 57 times as far.
    unit = fields.get("unit")
    if unit not in UNITS:
        problem = "lacks unit" if unit is None else f"has unit {shown(unit)}"
        raise ValueError(f"{where} {problem}; use one of {', '.join(UNITS)}")
    return str(unit)


def _names(fields: Mapping[str, Any], kind: str, where: str) -> dict[str, str]:
    """State's name -> the message's."""
    there = STATE_TYPES[kind]
    if "names" not in fields:
        if kind == ODOMETRY:
            return dict(zip(there, there))
        raise ValueError(f"{where} lacks names: {', '.join(there) or 'of its numbers'}")
    names = fields["names"]
    if isinstance(names, list) and names:
        pairs = [(name, name) for name in names]
    elif isinstance(names, Mapping) and names and kind != NUMBERS:
        pairs = list(names.items())
    else:
        mapped = "" if kind == NUMBERS else ", or a mapping {state's name: the message's}"
        raise ValueError(f"{where}: names is {shown(names)}; give a list of names{mapped}")
    for name, theirs in pairs:
        if not _is_name(name) or not _is_name(theirs):
            raise ValueError(f"{where}: names has {shown(name)}: {shown(theirs)}; give texts")
        if there and theirs not in there:
            raise ValueError(f"{where}: a {kind} has no {shown(theirs)}; it has {', '.join(there)}")
    return _unique(pairs, where)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100


def _unique(pairs: Sequence[tuple[str, str]], where: str) -> dict[str, str]:
    """As a mapping. Raises ValueError for a name that stands twice, on either side."""
    for side in (0, 1):
        seen: set[str] = set()
        for entry in pairs:
            if entry[side] in seen:
                raise ValueError(f"{where}: names has '{entry[side]}' twice; once is right")
            seen.add(entry[side])
    return dict(pairs)
