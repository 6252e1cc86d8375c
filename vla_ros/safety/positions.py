"""Where joints verifiably stand: one wrong message moves nothing."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from vla_ros.core.robot import Channel, Robot
from vla_ros.core.types import to_seconds

MEASURING_ERROR = 0.01  # of a channel's range
# times its `max_speed`: by hand, or by gravity, a joint is moved faster than the gate moves it
PLAUSIBLE = 4.0
CONFIRMATIONS = 3  # measurements in a row that agree: as many wrong ones are no accident
RESTED = 500_000_000  # ns without motion after which a joint has arrived where it was going


@dataclass
class _Track:
    value: float = math.nan
    when: int = 0  # of that value, steady ns
    seen: int = -1  # when anything was last measured
    candidate: float = math.nan
    since: int = 0  # of the candidate's last confirmation
    confirmed: int = 0


class Positions:
    """What was measured of each position, less what it cannot be."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def look(
        self,
        robot: Robot,
        measured: Mapping[str, tuple[float, int]],
        sent: Container[str],
        forget: int,
    ) -> dict[str, str]:
        """Takes what was measured (channel -> value, steady ns) since the look before.

        Of a joint that wraps, turns are counted while it is `sent` anywhere: from where it is sent
        to.

        A value that the joint cannot have reached since the last one is believed once others agree
        with it. Returns the channels that jumped so within `forget` ns, each with a sentence: an
        encoder that was reset, one that wraps, or a lie that lasts.
        """
        jumped = {}
        for channel in robot.channels:
            value, when = measured.get(channel.name, (math.nan, -1))
            track = self._tracks.setdefault(channel.name, _Track())
            if when == track.seen or not math.isfinite(value):
                continue
            track.seen = when
            turn = channel.turn if channel.name in sent else 0.0
            if sentence := _take(track, channel, value, when, turn, forget):
                jumped[channel.name] = sentence
        return jumped

    def in_doubt(self, channel: Channel) -> bool:
        """Whether what was measured last contradicts what is believed: no place to start from."""
        return self._tracks[channel.name].confirmed > 0 if channel.name in self._tracks else True

    def stands(self, channel: Channel, now: int, forget: int) -> float | None:
        """In the channel's unit, or None where that was not known within `forget` ns.

        An encoder's error beyond the bounds is no reason to call a closed gripper outside.
        """
        track = self._tracks.get(channel.name)
        if track is None or math.isnan(track.value) or now - track.when > forget:
            return None
        low, high = channel.bounds
        nearest = min(max(track.value, low), high)
        return (
            nearest if abs(track.value - nearest) <= MEASURING_ERROR * (high - low) else track.value
        )


@dataclass
class Stay:
    """Where a position is to stay while no action moves it.

    A joint that is blocked, or moved by hand, is followed: asked to be where it is, it is asked for
    no motion. A drive that lets it sink by more than `tolerance` looks the same, and would sink
    once more from where it was followed to: what comes to rest just as far beside its new place as
    it was beside the old one obeys, and is not followed again.
    """

    target: float
    jump: float = 0.0  # how far it was followed the last time
    rest: float = math.nan  # where it has been since `since`, steady ns
    since: int = 0

    def look(self, stands: float, now: int, tolerance: float) -> bool:
        """Whether the target is now where the joint `stands`."""
        if not abs(stands - self.rest) <= tolerance / 10.0:
            self.rest = stands
            self.since = now
        apart = stands - self.target
        if abs(apart) <= tolerance:
            return False
        obeys = abs(apart - self.jump) <= max(tolerance / 4.0, 0.1 * abs(self.jump))
        rested = now - self.since >= RESTED and not obeys
        if self.jump and not rested and abs(apart) <= 2.0 * abs(self.jump) + tolerance:
            return False
        self.jump = apart
        self.target = stands
        return True


def _take(
    track: _Track, channel: Channel, value: float, when: int, turn: float, forget: int
) -> str:
    known = not math.isnan(track.value)
    if known and turn:  # the same place, as many turns on as it takes
        value += turn * round((track.value - value) / turn)
    recent = known and when - track.when <= forget
    if recent and abs(value - track.value) <= _reach(channel, when - track.when):
        track.value = value
        track.when = when
        track.confirmed = 0
        return ""
    agrees = track.confirmed and abs(value - track.candidate) <= _reach(channel, when - track.since)
    track.confirmed = track.confirmed + 1 if agrees else 1
    track.candidate = value
    track.since = when
    if track.confirmed < CONFIRMATIONS:
        return ""
    before = track.value
    age = when - track.when
    track.value = value
    track.when = when
    track.confirmed = 0
    if not recent:
        return ""
    return (
        f"{channel.name} was measured at {before:.3g} {channel.unit} and {to_seconds(age):.2f} s "
        f"later at {value:.3g}; it cannot move so fast (if it turns on and on, say continuous: "
        "true in the robot file)"
    )


def _reach(channel: Channel, elapsed: int) -> float:
    """How far a position may be from where it was measured `elapsed` ns before."""
    low, high = channel.bounds
    return (
        MEASURING_ERROR * (high - low)
        + PLAUSIBLE * channel.max_speed * min(max(elapsed, 0), 1_000_000_000) / 1e9
    )


def unwound(value: float, near: float, turn: float) -> float:
    """`value` as many whole turns on as brings it nearest to `near`."""
    return value + turn * round((near - value) / turn) if math.isfinite(value) else value
