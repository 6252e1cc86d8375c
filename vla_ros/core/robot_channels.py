"""A robot file's channels: the numbers that the robot obeys, their units, limits and rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_ros.core.robot_fields import check_keys, flag, number, optional_number, pair
from vla_ros.core.robot_state import UNITS
from vla_ros.core.shown import shown

JOINT_STATES = "/joint_states"  # where a joint is heard that no entry of `state` names
STOPS = ("zero", "hold_measured", "hold_commanded")
TURN_RAD = 2.0 * math.pi
CHANNEL_KEYS = {"unit", "bounds", "limits", "on_stop"}
OPTIONAL_CHANNEL_KEYS = {
    "acceleration",
    "deceleration",
    "max_speed",
    "deadband",
    "joint",
    "scale",
    "offset",
    "sent_unit",
    "soft_limits",
    "max_step",
    "wraps",
    "start",
    "max_tracking_error",
    "tracking_time",
}


@dataclass(frozen=True)
class Channel:
    """One number the robot obeys, in `unit`.

    Attributes:
        unit: of the channel; velocities end in /s.
        bounds: outside them a whole action is refused. A gripper's are a tenth wider than its
            limits: what is learned overshoots its ends.
        limits: outside them a value is clamped.
        acceleration, deceleration: how fast a velocity may change, unit/s.
        max_speed: how fast a position may change, unit/s.
        deadband: a smaller velocity is zero.
        on_stop: what stopping means: `zero` (velocities), `hold_measured` (positions: where it was
            measured, or what was sent last where nothing measures) or `hold_commanded` (a gripper
            that must not let go: what was sent last).
        joint: what measures it: a name in `state`, else a joint in /joint_states.
        scale, offset: value x `scale` + `offset` is the joint's position, and what is sent; a
            negative `scale`: a gripper that closes with a growing angle.
        sent_unit: of what is sent and of what the joint says, as in `state`; SI by default.
        soft_limits: outside them a position may only move inward.
        max_step: two actions that follow each other may differ by so much.
        wraps: the joint's position begins anew after a turn.
        start: where a position that nothing measures is taken to stand at first.
        max_tracking_error: how far what is measured may be from what is sent.
        tracking_time: for how long it may be farther away, s.
        joint_topic: where the joint is heard; from `state`.
    """

    name: str
    unit: str
    bounds: tuple[float, float]
    limits: tuple[float, float]
    acceleration: float = math.inf
    deceleration: float = math.inf
    max_speed: float = math.inf
    deadband: float = 0.0
    on_stop: str = "zero"
    joint: str = ""
    scale: float = 1.0
    offset: float = 0.0
    sent_unit: str = ""
    soft_limits: tuple[float, float] = (-math.inf, math.inf)
    max_step: float = math.inf
    wraps: bool = False
    start: float | None = None
    max_tracking_error: float = math.inf
    tracking_time: float = 0.5
    joint_topic: str = JOINT_STATES

    @property
    def is_velocity(self) -> bool:
        return self.on_stop == "zero"

    @property
    def is_gripper(self) -> bool:
        """Whether it must not let go: more than open or closed is no more than that."""
        return self.on_stop == "hold_commanded"

    @property
    def unit_mark(self) -> str:
        """What stands behind a value in a sentence: " m/s"; nothing where there is no unit."""
        return "" if self.unit == "1" else f" {self.unit}"

    @property
    def turn(self) -> float:
        """What a whole turn of the joint is in this channel's unit; 0: it does not wrap."""
        return TURN_RAD / abs(self.scale) if self.wraps else 0.0

    def sent(self, value: float) -> float:
        """What is sent for `value`: the joint's position, in its own unit."""
        return (value * self.scale + self.offset) / UNITS.get(self.sent_unit, 1.0)

    def measured(self, position: float) -> float:
        """The channel's value where the joint says `position`."""
        return (position * UNITS.get(self.sent_unit, 1.0) - self.offset) / self.scale


def parse_channel(name: str, fields: Any) -> Channel:
    where = f"channel '{name}'"
    check_keys(fields, where, CHANNEL_KEYS, OPTIONAL_CHANNEL_KEYS)
    # Each within the next: soft limits within limits within bounds.
    bounds = pair(fields["bounds"], f"{where}: bounds")
    limits = pair(fields["limits"], f"{where}: limits")
    if not (bounds[0] <= limits[0] and limits[1] <= bounds[1]):
        raise ValueError(f"{where}: limits {_ends(limits)} reach outside bounds {_ends(bounds)}")
    stop = fields["on_stop"]
    if stop not in STOPS:
        raise ValueError(f"{where}: on_stop is {shown(stop)}; use one of {', '.join(STOPS)}")
    if stop == "zero" and not limits[0] <= 0.0 <= limits[1]:
        raise ValueError(f"{where}: on_stop is 'zero', but zero is outside limits {_ends(limits)}")
    # A joint beyond its soft limit, where a hand may have moved it, can still come back.
    soft = _soft_limits(fields, where, limits)
    unit = str(fields["unit"])
    joint = str(fields.get("joint", ""))
    # A position that stopped at zero would be sent there.
    if (stop == "zero") != unit.endswith("/s"):
        raise ValueError(
            f"{where}: on_stop is '{stop}', but its unit is '{unit}'; zero is for velocities (in "
            ".../s), hold_measured and hold_commanded for positions"
        )
    speeds = _speeds(fields, where, stop == "zero")
    wraps = flag(fields.get("wraps", False), f"{where}: wraps")
    if wraps and (stop == "zero" or not joint):
        raise ValueError(f"{where}: wraps is for a position that a joint measures")
    scale = optional_number(fields, "scale", where, 1.0)
    if scale == 0.0:
        raise ValueError(f"{where}: scale is 0; everything would be sent as the same number")
    offset = optional_number(fields, "offset", where, 0.0)
    if offset and stop == "zero":
        raise ValueError(f"{where}: offset is {offset:g}; a velocity of 0 must be sent as 0")
    sent_unit = fields.get("sent_unit", "")
    if "sent_unit" in fields and sent_unit not in UNITS:
        raise ValueError(f"{where}: sent_unit is {shown(sent_unit)}; use one of {', '.join(UNITS)}")
    start = _start(fields, where, limits)
    # What a drive may lag behind by: half a second at full speed (a bus, a controller and the drive
    # each take their share), or a twentieth of its range. A gripper that holds something never
    # reaches what it is told to.
    lag = math.inf
    if stop == "hold_measured" and joint:
        lag = max(0.05 * (bounds[1] - bounds[0]), 0.5 * speeds["max_speed"])
    if "max_tracking_error" in fields:
        if stop == "zero" or not joint:
            raise ValueError(f"{where}: max_tracking_error is for a position that a joint measures")
        lag = number(fields["max_tracking_error"], f"{where}: max_tracking_error", above=0.0)
    return Channel(
        name=name,
        unit=unit,
        bounds=bounds,
        limits=limits,
        **speeds,
        deadband=optional_number(fields, "deadband", where, 0.0, at_least=0.0),
        on_stop=stop,
        joint=joint,
        wraps=wraps,
        start=start,
        max_tracking_error=lag,
        tracking_time=optional_number(fields, "tracking_time", where, 0.5, at_least=0.0),
        scale=scale,
        offset=offset,
        sent_unit=sent_unit,
        joint_topic=JOINT_STATES,  # until `state` says otherwise
        soft_limits=soft,
        max_step=optional_number(fields, "max_step", where, math.inf, above=0.0),
    )


def _soft_limits(
    fields: Mapping[str, Any], where: str, limits: tuple[float, float]
) -> tuple[float, float]:
    """Where a measured joint may only move inward; as `limits` where the file does not say."""
    if "soft_limits" not in fields:
        return limits
    soft = pair(fields["soft_limits"], f"{where}: soft_limits")
    is_velocity = fields["on_stop"] == "zero"
    if is_velocity or not fields.get("joint"):
        raise ValueError(
            f"{where}: soft limits are for a position that a joint measures; this has "
            f"{'on_stop zero' if is_velocity else 'no joint'}"
        )
    if not (limits[0] <= soft[0] and soft[1] <= limits[1]):
        raise ValueError(f"{where}: soft limits {_ends(soft)} reach outside limits {_ends(limits)}")
    return soft


def _start(fields: Mapping[str, Any], where: str, limits: tuple[float, float]) -> float | None:
    """Where a position that nothing measures stands at first."""
    if "start" not in fields:
        return None
    start = number(fields["start"], f"{where}: start")
    is_velocity = fields["on_stop"] == "zero"
    joint = str(fields.get("joint", ""))
    if is_velocity or joint:
        raise ValueError(
            f"{where}: start is for a position that nothing measures; this has "
            f"{'on_stop zero' if is_velocity else f'joint {joint}'}"
        )
    if not limits[0] <= start <= limits[1]:
        raise ValueError(f"{where}: start is {start:g}, outside limits {_ends(limits)}")
    return start


def _speeds(fields: Mapping[str, Any], where: str, is_velocity: bool) -> dict[str, float]:
    """How fast a value may change: velocities have an acceleration, positions a max_speed."""
    if is_velocity:
        kind = "velocity"
        right = "acceleration"
        wrong = ["max_speed"]
    else:
        kind = "position"
        right = "max_speed"
        wrong = ["acceleration", "deceleration"]
    if right not in fields:
        raise ValueError(f"{where} lacks {right}: how fast a {kind} may change")
    for name in wrong:
        if name in fields:
            raise ValueError(f"{where}: {name} is not for a {kind}; give {right}")
    speed = number(fields[right], f"{where}: {right}", above=0.0)
    if not is_velocity:
        return {"max_speed": speed}
    slowing = number(fields.get("deceleration", speed), f"{where}: deceleration", above=0.0)
    return {"acceleration": speed, "deceleration": slowing}


def _ends(pair: tuple[float, float]) -> str:
    """As the file has them: float32's digits would name numbers that nobody wrote."""
    return f"[{pair[0]:g}, {pair[1]:g}]"
