"""Holds a policy file against the dataset that its policy learned from: do its rows say the same?

Ranges are for check.py. Here it is motion: a joint follows its own command, in the same unit and
direction; what holds a gripper open is a thing, and nothing holds it closed; and rows that are
played at another rate than they were recorded move at another speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.robot import Robot
from vla_ros.core.types import NANOSECONDS
from vla_ros.policies import file_spec
from vla_ros.policies.base import PolicySpec, size_text
from vla_ros.policies.check import (
    DEGREES,
    LEAST_OVERLAP,
    PER_CENT,
    UNIT_FACTOR,
    TrainingRanges,
    overlap,
)
from vla_ros.policies.numbers import FittedAction, Numbers, measured_joint
from vla_ros.policies.training_data import (
    TOLD_BY_HAND,
    PolicyColumns,
    TrainingData,
    data_ranges,
    plain_name,
    policy_columns,
)

# Of the first frames: beyond, a correlation does not change, and the check shall take seconds.
MOST_FRAMES = 20_000
FEWEST_FRAMES = 30  # fewer correlate by chance
# A joint follows its command by a drive's and a bus' delay; half a second is a slow one's.
MOST_LAG_S = 0.5
STILL_SHARE = 1e-3  # of the bounds' span: what deviates less is noise, and noise follows nothing
COMMANDED_SHARE = 1e-4  # of it: commands have no noise, and changes from row to row are small
# Of the variance. Two joints of a reaching arm share some 0.5 to 0.9 of it, and a joint follows
# its own command with 0.95 and more.
FOLLOWS = 0.8
FOLLOWS_GRIPPER = 0.5  # all or nothing is commanded, and fingers take their time
# So many times less of another joint's motion is left unexplained than of its own: joints that
# move together (two arms that mirror each other) differ by less.
CLEARLY = 4.0
# Rows that are changes explain at least so much of the changes measured, and of where the joint is
# so much less than that.
CHANGES = 0.5
CHANGES_MORE = 0.3
SAME_UNIT = 2.0  # a drive that reaches half of its command's way, or overshoots by as much
# A gripper's commands are often all or nothing, and its fingers stop at what they hold: only a
# factor of about 100 is a unit's.
SAME_GRIPPER_UNIT = PER_CENT / UNIT_FACTOR
# A gripper is blocked where both its command and its fingers stand still for so long, apart by more
# than play and a calibration that differs between leader and follower.
STEADY_S = 0.3
STEADY_SHARE = 0.03  # of its way
BLOCKED_SHARE = 0.15
BLOCKED_FRAMES = 10  # fewer are chance
ONE_SIDED = 0.8  # of the blocked frames: some are a finger that sticks
RATE_SHARE = 0.01  # 29.97 beside 30 frames a second is the same rate
# Of the rows that move. Demonstrations have short bursts that the gate may slow without harm.
FAST_SHARE = 0.05
ASPECT_SHARE = 0.01  # rounding to whole pixels


@dataclass(frozen=True)
class ChannelMotion:
    """What training commanded of a channel and what it measured there, in the channel's unit.

    Attributes:
        name: the policy's of the action.
        action: how it is the robot's.
        commanded: N.
        measured: N; None: the dataset does not say.
    """

    name: str
    action: FittedAction
    commanded: NDArray[np.floating]
    measured: NDArray[np.floating] | None

    @property
    def is_gripper(self) -> bool:
        """Whether it is a part of a way, from 0 (closed) to 1 (open)."""
        channel = self.action.channel
        return channel.unit == "1" and not channel.is_velocity


def check_data(
    robot: Robot, file: PolicyFile, data: TrainingData, known: TrainingRanges
) -> list[CheckFinding]:
    """What a dataset shows beyond the ranges of its numbers, which check_policy is given.

    Args:
        robot: the robot's file.
        file: the policy's.
        data: what it learned from.
        known: what the policy itself says of its training.

    Raises:
        ValueError: the policy itself is not known, or its options are wrong.
    """
    spec = file_spec(file)
    columns = policy_columns(file, spec, data)
    text = f"{len(data.starts)} episodes, {data.frames} frames, {data.fps:g} a second"
    findings = [CheckFinding(FITS, "dataset", text), *columns.findings]
    findings += _same_training(known, data_ranges(data, columns, TrainingRanges()))
    findings.append(_rate(file.policy, spec, data))
    findings += _images(spec, data)
    try:
        numbers = Numbers(spec, file, robot)
    except ValueError:
        return findings  # check_policy says why
    motions = channel_motions(spec, numbers, robot, data, columns)
    if data.frames < FEWEST_FRAMES:
        text = f"{data.frames} frames are too few to see what follows what"
        return [*findings, CheckFinding(UNKNOWN, "motion", text, "give a larger dataset")]
    findings += _named_crosswise(numbers, robot, spec)
    findings += _follow(motions, data)
    wrong = [finding.subject for finding in findings if finding.mark == WRONG]
    for motion in motions:
        # One that moves against its commands stops short of both ends.
        follows = f"motion of {motion.name}" not in wrong
        if motion.is_gripper and motion.measured is not None and follows:
            findings.append(_gripper(motion, data))
    findings += _speeds(spec, motions, data)
    return findings


# -- is it the right dataset -------------------------------------------------------------
def _same_training(known: TrainingRanges, seen: TrainingRanges) -> Iterator[CheckFinding]:
    """Whether the policy's own statistics may be of this dataset."""
    others: list[str] = []
    both = 0
    for what, ours, theirs in (
        ("state", known.state, seen.state),
        ("action", known.actions, seen.actions),
    ):
        for name in ours:
            if name not in theirs:
                continue
            both += 1
            a = ours[name]
            b = theirs[name]
            if overlap((a.low, a.high), (b.low, b.high)) < LEAST_OVERLAP:
                others.append(
                    f"{what} {name} {a.low:.3g} to {a.high:.3g} beside {b.low:.3g} to {b.high:.3g}"
                )
    if others:
        yield CheckFinding(
            DOUBTFUL,
            "statistics",
            f"the policy's own statistics are others than the dataset's: {'; '.join(others)}",
            "is it the dataset that it learned from?",
        )
    elif both:
        text = f"{both} numbers lie where the policy's own statistics say"
        yield CheckFinding(FITS, "statistics", text)


# -- rate and images ---------------------------------------------------------------------
def _rate(policy: str, spec: PolicySpec, data: TrainingData) -> CheckFinding:
    rate = NANOSECONDS / spec.step
    text = f"{rate:.4g} rows a second, and the dataset has {data.fps:.4g} frames a second"
    ratio = data.fps / rate
    if abs(ratio - 1.0) <= RATE_SHARE:
        return CheckFinding(FITS, "rate", text)
    speed = f"{ratio:.3g} times too slow" if ratio > 1.0 else f"{1.0 / ratio:.3g} times too fast"
    # A policy of one's own may have learned each second or third frame.
    thinned = ratio > 1.0 and abs(ratio - round(ratio)) <= RATE_SHARE * ratio
    mark = DOUBTFUL if thinned and policy not in TOLD_BY_HAND else WRONG
    return CheckFinding(
        mark,
        "rate",
        f"{text}: every motion is {speed}",
        f"give {data.fps:g} as the policy's rate (fps), if it learned each frame",
    )


def _images(spec: PolicySpec, data: TrainingData) -> Iterator[CheckFinding]:
    for key, size in spec.images.items():
        subject = f"image {key}"
        if key not in data.images:
            there = ", ".join(data.images) or "none"
            text = f"the dataset has no camera of that name; it has {there}"
            yield CheckFinding(UNKNOWN, subject, text, "compare what both show by eye")
            continue
        recorded = data.images[key].size
        text = f"recorded as {size_text(recorded)}, the policy takes {size_text(size)}"
        shape = (recorded[0] / recorded[1]) / (size[0] / size[1])
        if abs(shape - 1.0) <= ASPECT_SHARE:
            yield CheckFinding(FITS, subject, text)
        else:
            yield CheckFinding(
                DOUBTFUL,
                subject,
                f"{text}: another shape",
                f"was it fitted in by '{spec.resize}' in training, too? see resize",
            )


# -- what follows what -------------------------------------------------------------------
def channel_motions(
    spec: PolicySpec,
    numbers: Numbers,
    robot: Robot,
    data: TrainingData,
    columns: PolicyColumns,
) -> list[ChannelMotion]:
    """Of each channel that the dataset has commands for."""
    motions: list[ChannelMotion] = []
    for action in numbers.actions:
        name = spec.channels[action.column]
        if name in columns.actions:
            values = np.asarray(data.actions[columns.actions[name]], np.float64)
            measured = _measured(action, columns.actions[name], numbers, robot, data, columns)
            motions.append(ChannelMotion(name, action, action.scale.to_robot(values), measured))
    return motions


def _measured(
    action: FittedAction,
    name: str,
    numbers: Numbers,
    robot: Robot,
    data: TrainingData,
    columns: PolicyColumns,
) -> NDArray[np.floating] | None:
    """Where the channel's joint was measured, or how fast it moved; `name`: the dataset's.

    As the policy is told it; else under the robot's name, else under the command's.
    """
    channel = action.channel
    joint = None if channel.is_velocity else measured_joint(channel, robot)
    robots = joint.name if joint else channel.name
    for policys, (source, scale) in numbers.sources.items():
        if source == robots and policys in columns.state:
            values = scale.to_robot(np.asarray(data.state[columns.state[policys]], np.float64))
            return joint.in_channel(values) if joint else values
    if joint and robots in data.state and robots != name:
        return np.asarray(joint.in_channel(np.asarray(data.state[robots], np.float64)))
    if name in data.state:
        return action.scale.to_robot(np.asarray(data.state[name], np.float64))
    return None


def follow(
    commanded: NDArray[np.floating],
    measured: NDArray[np.floating],
    ends: NDArray[np.int64],
    most_lag: int,
    changes: bool = False,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """How well each of Q joints follows each of P commands.

    Args:
        commanded: N x P.
        measured: N x Q.
        ends: of each frame, the frame after its episode's last, N.
        most_lag: frames that a joint may be behind.
        changes: whether its change from frame to frame follows, not where it is.

    Returns:
        The correlation at the lag where it is largest, -1 to 1, P x Q; and that lag, in frames.
        0 of what does not move.
    """
    shape = (commanded.shape[1], measured.shape[1])
    best = np.zeros(shape)
    best_lag = np.zeros(shape, np.int64)
    frames = np.arange(len(commanded))
    for lag in range(most_lag + 1):
        later = frames + lag
        kept = frames[later + int(changes) < ends]
        if len(kept) < FEWEST_FRAMES:
            break
        moved = measured[kept + lag]
        if changes:
            moved = measured[kept + lag + 1] - moved
        found = _correlation(commanded[kept], moved)
        better = np.abs(found) > np.abs(best)
        best[better] = found[better]
        best_lag[better] = lag
    return best, best_lag


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """P x Q, of N x P and N x Q."""
    a = a - a.mean(0)
    b = b - b.mean(0)
    scale = np.sqrt(np.outer((a**2).sum(0), (b**2).sum(0)))
    return np.divide(a.T @ b, scale, out=np.zeros_like(scale), where=scale > 0.0)


def _follow(motions: Sequence[ChannelMotion], data: TrainingData) -> Iterator[CheckFinding]:
    """Whether each joint follows its own command, as the kind and unit that the file says."""
    moving = [motion for motion in motions if _moves(motion)]
    for motion in motions:
        if motion.measured is None:
            yield CheckFinding(
                UNKNOWN,
                f"motion of {motion.name}",
                "the dataset does not say where it was, so nothing is held against its commands",
                "see that unit and joint are right",
            )
    if not moving:
        return
    used = slice(0, MOST_FRAMES)
    commanded = np.stack([motion.commanded[used] for motion in moving], axis=1)
    measured = np.stack([_where(motion)[used] for motion in moving], axis=1)
    ends = np.minimum(data.ends[used], len(commanded))
    most_lag = max(1, round(MOST_LAG_S * data.fps))
    level, lags = follow(commanded, measured, ends, most_lag)
    change, _ = follow(commanded, measured, ends, most_lag, changes=True)
    explained = np.maximum(level**2, change**2)
    others = exchanged(explained)
    fits: list[int] = []
    for place, motion in enumerate(moving):
        if place in others:
            other = moving[others[place]].name
            yield CheckFinding(
                WRONG,
                f"motion of {motion.name}",
                f"'{other}' follows its commands ({_percent(explained[place, others[place]])}), "
                f"and it does not itself ({_percent(explained[place, place])})",
                "two joints are exchanged: in state or actions of the policy file, or in the "
                "dataset's names",
            )
            continue
        finding = _kind(motion, level[place, place], change[place, place], data, ends)
        if finding is None:
            fits.append(place)
        else:
            yield finding
    if fits:
        own = explained[fits, fits]
        lag = float(np.median(lags[fits, fits])) / data.fps
        names = ", ".join(moving[place].name for place in fits)
        yield CheckFinding(
            FITS,
            "motion",
            f"{names}: each follows its command (at least {_percent(own.min())}), {lag:.2g} s "
            "behind",
        )


def exchanged(explained: NDArray[np.floating]) -> dict[int, int]:
    """Which joint's command another joint follows clearly better, in closed circles.

    Args:
        explained: share of the motion of joint j that command i explains, P x P.

    Returns:
        Command -> the joint that follows it.
    """
    left = 1.0 - explained
    others: dict[int, int] = {}
    for command in range(len(left)):
        joint = int(left[command].argmin())
        clear = left[command, command] >= CLEARLY * left[command, joint]
        if joint != command and clear and explained[command, joint] >= FOLLOWS:
            others[command] = joint
    # A joint that takes another's place leaves its own to a third, or to that one: who does not is
    # alike by chance.
    while lone := [command for command, joint in others.items() if joint not in others]:
        for command in lone:
            del others[command]
    return others


def _moves(motion: ChannelMotion) -> bool:
    if motion.measured is None:
        return False
    low, high = motion.action.channel.bounds
    commanded = motion.commanded.std() > COMMANDED_SHARE * (high - low)
    return bool(commanded and motion.measured.std() > STILL_SHARE * (high - low))


def _where(motion: ChannelMotion) -> NDArray[np.floating]:
    assert motion.measured is not None  # of those that move
    return motion.measured


def _kind(
    motion: ChannelMotion, level: float, change: float, data: TrainingData, ends: NDArray[np.int64]
) -> CheckFinding | None:
    """What is wrong with the kind, unit or direction of a channel's commands; None: nothing.

    `level` and `change`: how its position and its changes correlate with them.
    """
    subject = f"motion of {motion.name}"
    channel = motion.action.channel
    kind = motion.action.kind or "position"
    is_change = change**2 >= CHANGES and change**2 - level**2 >= CHANGES_MORE
    is_position = level**2 >= FOLLOWS and not is_change
    if is_change and not channel.is_velocity and kind != "relative":
        frames = np.flatnonzero(np.arange(len(ends)) + 1 < ends)
        measured = _where(motion)
        size = motion.commanded[frames].std() / (measured[frames + 1] - measured[frames]).std()
        # A row that is as large as the change until the next one, or as the change in a second.
        shown = "delta" if abs(math.log(size)) < abs(math.log(size / data.fps)) else "velocity"
        if shown != kind:
            return CheckFinding(
                WRONG,
                subject,
                f"its rows follow how it moves ({_percent(change**2)}), not where it is "
                f"({_percent(level**2)}): they are a {shown}, and are taken for a {kind}",
                f"give kind: {shown} in actions of the policy file",
            )
        return _against(motion) if change < 0.0 else None
    if is_position and kind in ("delta", "velocity") and not channel.is_velocity:
        return CheckFinding(
            DOUBTFUL,
            subject,
            f"its rows in the dataset are where it is ({_percent(level**2)}), and are taken for a "
            f"{kind}",
            f"right, if the policy itself makes a {kind} of them; else leave kind out",
        )
    if level**2 < (FOLLOWS_GRIPPER if motion.is_gripper else FOLLOWS):
        return CheckFinding(
            UNKNOWN,
            subject,
            f"it hardly follows its commands ({_percent(max(level**2, change**2))})",
            "see that unit and joint are right",
        )
    return _unit(motion, level)


def _unit(motion: ChannelMotion, level: float) -> CheckFinding | None:
    """What is wrong with the unit or direction of positions that a joint follows."""
    if level < 0.0:
        return _against(motion)
    size = float(motion.commanded.std() / _where(motion).std())
    allowed = SAME_UNIT
    if motion.is_gripper:
        size = _way(motion.commanded) / _way(_where(motion))
        allowed = SAME_GRIPPER_UNIT
    if 1.0 / allowed <= size <= allowed:
        return None
    units = {DEGREES: "degrees beside radians", PER_CENT: "0 to 100 beside 0 to 1"}
    factor = PER_CENT if motion.is_gripper else DEGREES
    ratio = max(size, 1.0 / size)
    text = f"its commands are {size:.3g} times its measurements"
    if factor / UNIT_FACTOR < ratio < factor * UNIT_FACTOR:
        text += f": {units[factor]}"
    remedy = "state and actions are in different units: give each one's in the policy file"
    return CheckFinding(WRONG, f"motion of {motion.name}", text, remedy)


def _way(values: NDArray[np.floating]) -> float:
    """How far a gripper goes from the end that it is nearer to, 0 or 1."""
    return min(float(np.abs(values).max()), float(np.abs(values - 1.0).max()))


def _against(motion: ChannelMotion) -> CheckFinding:
    return CheckFinding(
        WRONG,
        f"motion of {motion.name}",
        "it moves against its commands: one of the two is upside down",
        "exchange closed and open in either state or actions of the policy file"
        if motion.is_gripper
        else "see the sign of the robot file's scale, and the dataset's",
    )


def _percent(share: float) -> str:
    return f"{int(100.0 * share)} %"


def _named_crosswise(numbers: Numbers, robot: Robot, spec: PolicySpec) -> Iterator[CheckFinding]:
    """Names that the robot has too, given to each other: state and actions alike show nothing."""
    known = {plain_name(channel.name): channel.name for channel in robot.channels}
    given: dict[str, str] = {}  # the channel of the action's name -> the one that it goes to
    for action in numbers.actions:
        name = plain_name(spec.channels[action.column])
        if name in known:
            given[known[name]] = action.channel.name
    for own, channel in given.items():
        if own != channel and channel in given:
            yield CheckFinding(
                WRONG,
                f"action {own}",
                f"the policy's '{own}' is given to '{channel}', and the robot has a '{own}'",
                "exchange them in state and actions of the policy file",
            )


# -- gripper and speed -------------------------------------------------------------------
def _gripper(motion: ChannelMotion, data: TrainingData) -> CheckFinding:
    """Which end is closed: fingers that stop short of their command hold something between them."""
    subject = f"gripper {motion.name}"
    frames = max(2, round(STEADY_S * data.fps))
    measured = _where(motion)
    steady = _steady(motion.commanded, frames, data) & _steady(measured, frames, data)
    apart = measured - motion.commanded
    opened = int((steady & (apart > BLOCKED_SHARE)).sum())
    short = steady & (apart < -BLOCKED_SHARE)
    closed = int(short.sum())
    # One that is never moved to both of its ends may be badly calibrated, and shows nothing.
    ends = motion.commanded.min() < 0.4 and motion.commanded.max() > 0.6
    if not ends or opened + closed < BLOCKED_FRAMES:
        return CheckFinding(
            UNKNOWN,
            subject,
            "nothing is held in the dataset, so which end is closed is not seen",
            "see it in an image, or close it by hand: 0 is closed to the robot",
        )
    seconds = (opened + closed) / data.fps
    most = ONE_SIDED * (opened + closed)
    remedy = "exchange closed and open in state and actions of the policy file"
    if closed >= most and not (short & (measured < measured.max() - BLOCKED_SHARE)).any():
        text = f"for {seconds:.1f} s it opens no further: it is upside down, or that is its stop"
        return CheckFinding(DOUBTFUL, subject, text, f"open it by hand; upside down: {remedy}")
    if closed >= most:
        return CheckFinding(
            WRONG,
            subject,
            f"for {seconds:.1f} s something keeps it from opening, and nothing can: it is upside "
            "down",
            remedy,
        )
    if opened < most:
        text = f"it stops short both of closing ({opened} frames) and of opening ({closed})"
        return CheckFinding(UNKNOWN, subject, text, "close it by hand: 0 is closed to the robot")
    return CheckFinding(FITS, subject, f"for {seconds:.1f} s it holds something: 0 is closed")


def _steady(values: NDArray[np.floating], frames: int, data: TrainingData) -> NDArray[np.bool_]:
    """At which frames it has stood still for `frames` of the same episode, N."""
    steady = np.zeros(len(values), np.bool_)
    if len(values) >= frames:
        windows = np.lib.stride_tricks.sliding_window_view(values, frames)
        steady[frames - 1 :] = windows.max(-1) - windows.min(-1) <= STEADY_SHARE
    lengths = np.diff(np.append(data.starts, len(values)))
    since = np.arange(len(values)) - np.repeat(data.starts, lengths)
    result: NDArray[np.bool_] = steady & (since >= frames - 1)
    return result


def _speeds(
    spec: PolicySpec, motions: Sequence[ChannelMotion], data: TrainingData
) -> Iterator[CheckFinding]:
    """Whether the gate lets positions move as fast as the rows will."""
    inside = np.flatnonzero(np.arange(data.frames) + 1 < data.ends)
    rate = NANOSECONDS / spec.step
    fast: list[str] = []
    for motion in motions:
        channel = motion.action.channel
        # A gripper's command may jump; its own drive takes its time.
        if channel.is_velocity or motion.is_gripper or math.isinf(channel.max_speed):
            continue
        if motion.action.kind not in ("", "position"):
            continue
        speeds = np.abs(motion.commanded[inside + 1] - motion.commanded[inside]) * rate
        moving = speeds[speeds > STILL_SHARE * channel.max_speed]
        if not len(moving):
            continue
        share = float((moving > channel.max_speed).mean())
        if share > FAST_SHARE:
            most = float(np.quantile(moving, 0.95))
            fast.append(
                f"{motion.name} {_percent(share)} (95 % stay below {most:.3g}, and max_speed is "
                f"{channel.max_speed:g} {channel.unit}/s)"
            )
    if fast:
        yield CheckFinding(
            DOUBTFUL,
            "speed",
            f"rows that move and are faster than the gate lets them: {', '.join(fast)}",
            "is the rate right? else raise max_speed, where that is safe",
        )
