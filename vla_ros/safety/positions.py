"""Where joints verifiably stand: one wrong message moves nothing."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import to_seconds

MEASURING_ERROR = 0.01  # of a channel's range, from its lower bound to its upper one
# A joint moves at most so many times its `max_speed`: by hand, or by gravity, it is moved faster
# than the gate moves it.
MAX_SPEED_FACTOR = 4.0
CONFIRMATIONS = 3  # measurements in a row that agree: as many wrong ones are no accident
REST_TIME_NS = 500_000_000  # without motion, after which a joint has arrived where it was going
# However long ago it was measured, a joint is not believed to have gone farther than in that time.
LONGEST_REACH_NS = 1_000_000_000


@dataclass
class _Track:
    """What is believed of one joint, and a measurement that contradicts it. Times in steady ns."""

    value: float = math.nan  # what is believed
    when: int = 0  # it was measured
    seen: int = -1  # when anything was last measured
    candidate: float = math.nan  # what others have to agree with
    since: int = 0  # when it was last confirmed
    confirmed: int = 0  # how many have agreed, itself included


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
        """Takes what was measured since the look before.

        A value that the joint cannot have reached since the last one is believed once others agree
        with it.

        Args:
            robot: whose channels.
            measured: channel -> (value in its unit, steady ns).
            sent: the channels that are sent anywhere: of those that wrap, turns are counted, from
                where they are sent to.
            forget: after so many ns without a measurement a joint may be anywhere.

        Returns:
            The channels that jumped within `forget`, each with a sentence: an encoder that was
            reset, one that wraps, or a lie that lasts.
        """
        jumped = {}
        for channel in robot.channels:
            value, when = measured.get(channel.name, (math.nan, -1))
            track = self._tracks.setdefault(channel.name, _Track())
            if when == track.seen or not math.isfinite(value):
                continue  # looked at before, or it says nothing
            track.seen = when
            turn = channel.turn if channel.name in sent else 0.0
            if sentence := _take(track, channel, value, when, turn, forget):
                jumped[channel.name] = sentence
        return jumped

    def in_doubt(self, channel: Channel) -> bool:
        """Whether what was measured last contradicts what is believed: no place to start from."""
        track = self._tracks.get(channel.name)
        return track is None or track.confirmed > 0

    def stands(self, channel: Channel, now: int, forget: int) -> float | None:
        """In the channel's unit, or None where that was not known within `forget` ns.

        An encoder's error beyond the bounds is no reason to call a closed gripper outside.
        """
        track = self._tracks.get(channel.name)
        if track is None or math.isnan(track.value) or now - track.when > forget:
            return None
        low, high = channel.bounds
        nearest = min(max(track.value, low), high)
        if abs(track.value - nearest) <= MEASURING_ERROR * (high - low):
            return nearest
        return track.value


@dataclass
class Stay:
    """Where a position is to stay while no action moves it.

    A joint that is blocked, or moved by hand, is followed: asked to be where it is, it is asked for
    no motion. A drive that lets it sink by more than `tolerance` looks the same, and would sink
    once more from where it was followed to: what comes to rest just as far beside its new place as
    it was beside the old one obeys, and is not followed again.
    """

    target: float
    jump: float = 0.0  # how far it was followed the last time; 0: never
    rest: float = math.nan  # where it has been since `since`, steady ns
    since: int = 0

    def look(self, stands: float, now: int, tolerance: float) -> bool:
        """Whether the target was moved to where the joint stands.

        Args:
            stands: where it is measured, in its channel's unit.
            now: steady ns.
            tolerance: how far it may be from its target, in the same unit.
        """
        # Less than a tenth of what counts as apart is no motion. NaN, at first, is not within.
        if not abs(stands - self.rest) <= tolerance / 10.0:
            self.rest = stands
            self.since = now
        apart = stands - self.target
        if abs(apart) <= tolerance:
            return False
        # As far beside the new place as it was beside the old one, to a tenth: a drive that sinks.
        obeys = abs(apart - self.jump) <= max(tolerance / 4.0, 0.1 * abs(self.jump))
        rested = now - self.since >= REST_TIME_NS and not obeys
        # Followed once, it is given time to rest before it is followed again, unless it is led far.
        if self.jump and not rested and abs(apart) <= 2.0 * abs(self.jump) + tolerance:
            return False
        self.jump = apart
        self.target = stands
        return True


def _take(
    track: _Track, channel: Channel, value: float, when: int, turn: float, forget: int
) -> str:
    """Believes a measurement, or waits for others; a sentence where what is believed jumps."""
    known = not math.isnan(track.value)
    if known and turn:  # the same place, as many turns on as it takes
        value += turn * round((track.value - value) / turn)
    recent = known and when - track.when <= forget
    if recent and abs(value - track.value) <= _reach(channel, when - track.when):
        track.value = value
        track.when = when
        track.confirmed = 0
        return ""
    # It contradicts what is believed: is it what the one before it said, too?
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
        return ""  # nobody knows how it came there: that is no jump
    return (
        f"{channel.name} was measured at {before:.3g}{channel.unit_mark} and "
        f"{to_seconds(age):.2f} s later at {value:.3g}; it cannot move so fast (if it turns on and "
        "on, say wraps: true in the robot file)"
    )


def _reach(channel: Channel, elapsed: int) -> float:
    """How far a position may be from where it was measured `elapsed` ns before, in its unit."""
    low, high = channel.bounds
    elapsed = min(max(elapsed, 0), LONGEST_REACH_NS)
    return MEASURING_ERROR * (high - low) + MAX_SPEED_FACTOR * channel.max_speed * elapsed / 1e9


def unwound(value: float, near: float, turn: float) -> float:
    """`value` as many whole turns on as brings it nearest to `near`."""
    return value + turn * round((near - value) / turn) if math.isfinite(value) else value
