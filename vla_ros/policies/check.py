"""Holds a policy file against a robot file, on paper: what feeds what, and do the numbers fit?

Names and units are what the files say; whether they say it rightly is judged by what training saw,
where the policy knows that (`training_ranges`), or a dataset shows it (check_data.py): degrees that
were taken for radians are 57 times too far, and a joint whose commands are elsewhere than its
measurements is another joint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_ros.core.check_finding import DOUBTFUL, FITS, WRONG, CheckFinding
from vla_ros.core.normalisation import StateRange
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import NANOSECONDS
from vla_ros.policies import file_options, file_spec, policy_class
from vla_ros.policies.base import PolicySpec, size_text
from vla_ros.policies.numbers import FittedAction, Numbers, NumberScale, measured_joint
from vla_ros.policies.views import Views

DEGREES = 180.0 / math.pi
# Training may have gone a little beyond what the robot is allowed now.
SLACK = 0.02  # of the bounds' span
PER_CENT = 100.0
# Within this factor of 57.3 or 100, a number is most likely off by just that.
UNIT_FACTOR = 3.0
# Of a bounds' span: what moves less even in the larger unit is a joint that was not used.
UNUSED = 0.02
# Of the span, in the larger unit: a gripper that is used goes at least half of its way. One that is
# kept shut may rattle by a hundredth of that; only all of the way is no accident.
USED_GRIPPER = 0.5
ALL_OF_THE_WAY = 0.9
# Of a joint's measurements and its commands: they follow each other, so their ranges nearly agree.
LEAST_OVERLAP = 0.3


# Ends of what training saw of a number, in the channel's unit; and how they came to be in that.
SeenRange = tuple[tuple[float, float], Channel, NumberScale]


@dataclass(frozen=True)
class TrainingRanges:
    """What training saw of the policy's numbers, in its units; empty: nobody knows."""

    state: Mapping[str, StateRange] = field(default_factory=dict)
    actions: Mapping[str, StateRange] = field(default_factory=dict)


def check_policy(
    robot: Robot, file: PolicyFile, seen: TrainingRanges | None = None
) -> list[CheckFinding]:
    """All that can be said without a running robot; nothing is loaded that takes long.

    Args:
        robot: the robot's file.
        file: the policy's.
        seen: what training saw, of a dataset; None: as the policy itself knows it.

    Raises:
        ValueError: the policy itself is not known, or its options are wrong.
    """
    spec = file_spec(file)
    findings = [_summary(spec)]
    findings += _images(spec, file, robot)
    try:
        numbers = Numbers(spec, file, robot)
    except ValueError as error:
        remedy = "state and actions of the policy file say which of its numbers is which"
        return [*findings, CheckFinding(WRONG, "numbers", f"the policy {error}", remedy)]
    if halved := robot.halved(numbers.channels):
        findings.append(
            CheckFinding(
                WRONG,
                f"output {halved[0].topic}",
                f"the policy commands some of its channels, but not '{halved[1]}'",
                "command all channels of an output, or none",
            )
        )
    ranges = training_ranges(file) if seen is None else seen
    findings += _state(spec, numbers, ranges, robot)
    mark = _unit_mark(_seen_actions(spec, numbers, ranges))
    for action in numbers.actions:
        findings += _action(spec, action, numbers, ranges, mark, robot)
    findings += _dropped(spec, numbers)
    for output in robot.outputs:
        if not set(output.channels) & set(numbers.channels):
            findings.append(CheckFinding(FITS, f"output {output.topic}", "left alone"))
    return findings


def training_ranges(file: PolicyFile) -> TrainingRanges:
    """As the policy's class knows them. Raises ValueError for statistics that are none."""
    known: Any = getattr(policy_class(file.policy), "training_ranges", None)
    ranges: TrainingRanges = known(file_options(file)) if known else TrainingRanges()
    return ranges


def _summary(spec: PolicySpec) -> CheckFinding:
    step_s = spec.step / NANOSECONDS
    return CheckFinding(
        FITS,
        "chunk",
        f"{spec.steps} rows, one each {step_s:g} s: {spec.steps * step_s:.2g} s ahead",
    )


def check_horizon(spec: PolicySpec, horizon: int, max_age: float, where: str) -> list[CheckFinding]:
    """Whether the gate lets all rows of a horizon pass.

    Args:
        spec: the policy's.
        horizon: of its file, rows; 0: none.
        max_age: of the image behind an action, s, of the gate.
        where: whose that is, for a sentence.
    """
    step_s = spec.step / NANOSECONDS
    rows = max(1, math.floor(max_age / step_s + 1e-9))
    if horizon <= rows:
        return []
    text = (
        f"{horizon} rows are {horizon * step_s:.2g} s on one image, and max_age is {max_age:g} s "
        f"({where}): the robot waits after row {rows} of each chunk"
    )
    change = (
        f"horizon: {rows}, or a max_age of safety_validator above {horizon * step_s:.2g}: the "
        "robot then acts on what it saw that long ago"
    )
    return [CheckFinding(DOUBTFUL, "horizon", text, change)]


# -- what it sees ------------------------------------------------------------------------
def _images(spec: PolicySpec, file: PolicyFile, robot: Robot) -> Iterator[CheckFinding]:
    try:
        views = Views(spec, file.images)
        views.check(robot.camera_nodes, robot.depth_cameras, robot.clouds)
    except ValueError as error:
        yield CheckFinding(
            WRONG, "images", str(error), "images of the policy file name the cameras"
        )
        return
    for name, view in views.cameras.items():
        camera = robot.camera(name)
        subject = f"camera {name}"
        text = f"{camera.topic} -> {view}"
        if not camera.size:
            yield CheckFinding(FITS, subject, text)
            continue
        text = f"{camera.topic}, {size_text(camera.size)} -> {view}"
        given = camera.size[1] / camera.size[0]
        wanted = view.size[1] / view.size[0]
        # A per cent is rounding to whole pixels.
        if camera.rotate in (90, 270) or abs(given / wanted - 1.0) < 0.01:
            yield CheckFinding(FITS, subject, text)
        else:
            yield CheckFinding(
                DOUBTFUL,
                subject,
                f"{text}: another shape, so it is fitted in by '{view.resize}'",
                "which shape did it learn from? crop of the camera, or resize of the image",
            )


# -- what it is told ---------------------------------------------------------------------
def _state(
    spec: PolicySpec, numbers: Numbers, ranges: TrainingRanges, robot: Robot
) -> Iterator[CheckFinding]:
    known = {name for source in robot.state for name in source.names}
    mark = _unit_mark(_seen_state(spec, numbers, ranges, robot))
    for name in spec.state:
        robots, scale = numbers.sources[name]
        subject = f"state {name}"
        text = f"{robots} of the robot{_scaled(scale)}"
        if robots not in known:
            yield CheckFinding(
                WRONG,
                subject,
                f"the robot file's state has no '{robots}'; it has "
                f"{', '.join(sorted(known)) or 'none'}",
                "add it to the robot file's state, or name the right one (from) in the policy file",
            )
            continue
        channel = _channel_of(robots, robot)
        seen = ranges.state.get(name)
        if channel is None or seen is None:
            yield CheckFinding(FITS, subject, text)
            continue
        yield _ranged(subject, text, (_robot_range(seen, scale), channel, scale), mark)


def _seen_state(
    spec: PolicySpec, numbers: Numbers, ranges: TrainingRanges, robot: Robot
) -> Iterator[SeenRange]:
    for name in spec.state:
        robots, scale = numbers.sources[name]
        channel = _channel_of(robots, robot)
        if channel is not None and name in ranges.state:
            yield _robot_range(ranges.state[name], scale), channel, scale


def _channel_of(name: str, robot: Robot) -> Channel | None:
    """The channel whose joint a number of the state measures, where both are in the same unit."""
    for source in robot.state:
        for channel in robot.channels:
            same = source.topic == channel.joint_topic and source.names.get(name) == channel.joint
            plain = (source.scale, source.offset, channel.scale, channel.offset) == (1, 0, 1, 0)
            if same and plain and channel.joint and not channel.is_velocity:
                return channel
    return None


# -- what it commands --------------------------------------------------------------------
def _action(
    spec: PolicySpec,
    action: FittedAction,
    numbers: Numbers,
    ranges: TrainingRanges,
    mark: str,
    robot: Robot,
) -> Iterator[CheckFinding]:
    name = spec.channels[action.column]
    channel = action.channel
    subject = f"action {name}"
    kind = f" ({action.kind})" if action.kind else ""
    text = f"-> {channel.name}{kind}{_scaled(action.scale)}"
    # One name for two joints: the policy learned that what it commands is what it measures.
    measured = numbers.sources.get(name)
    joint = measured_joint(channel, robot)
    its_names = (channel.name, channel.joint, joint.name if joint else "")
    if measured and channel.joint and measured[0] not in its_names:
        yield CheckFinding(
            WRONG,
            subject,
            f"{text}, and the policy's state '{name}' is the robot's '{measured[0]}'",
            "the same name is one joint for the policy: give the same one in state and actions",
        )
        return
    seen = ranges.actions.get(name)
    if seen is None:
        yield CheckFinding(FITS, subject, f"{text}; what training saw is not known")
        return
    if action.measured is not None:  # a change: bounds say nothing of it
        yield CheckFinding(FITS, subject, f"{text}, training {seen.low:.3g} to {seen.high:.3g}")
        return
    commanded = _robot_range(seen, action.scale)
    finding = _ranged(subject, text, (commanded, channel, action.scale), mark)
    state = ranges.state.get(name)
    if finding.mark == FITS and state is not None and not channel.is_velocity:
        # A joint that was not used is measured with a little noise, and commanded without.
        slack = SLACK * _span(channel)
        known = _robot_range(state, action.scale)
        if overlap(_wider(commanded, slack), _wider(known, slack)) < LEAST_OVERLAP:
            finding = CheckFinding(
                DOUBTFUL,
                subject,
                f"{finding.text}; but training measured it at {state.low:.3g} to {state.high:.3g} "
                f"and commanded {seen.low:.3g} to {seen.high:.3g}",
                "is it a change (kind: delta or relative), or another joint?",
            )
    yield finding


def _seen_actions(
    spec: PolicySpec, numbers: Numbers, ranges: TrainingRanges
) -> Iterator[SeenRange]:
    for action in numbers.actions:
        name = spec.channels[action.column]
        if action.measured is None and name in ranges.actions:
            ends = _robot_range(ranges.actions[name], action.scale)
            yield ends, action.channel, action.scale


def _dropped(spec: PolicySpec, numbers: Numbers) -> Iterator[CheckFinding]:
    used = {action.column for action in numbers.actions}
    for column, name in enumerate(spec.channels):
        if column not in used:
            yield CheckFinding(
                DOUBTFUL, f"action {name}", "goes nowhere", "right, if this robot has no such joint"
            )


# -- numbers -----------------------------------------------------------------------------
def _scaled(scale: NumberScale) -> str:
    """How the policy's number is the robot's, for the table; empty: they are the same."""
    if scale == NumberScale():
        return ""
    offset = f" {scale.offset:+g}" if scale.offset else ""
    return f", the policy's is x {scale.factor:.4g}{offset}"


def _robot_range(seen: StateRange, scale: NumberScale) -> tuple[float, float]:
    """What training saw, in the robot's unit."""
    ends = ((seen.low - scale.offset) / scale.factor, (seen.high - scale.offset) / scale.factor)
    return min(ends) + 0.0, max(ends) + 0.0  # never -0, which would be printed


def _unit_mark(seen: Iterable[SeenRange]) -> str:
    """How sure it is that angles which hardly move are radians that were taken for degrees.

    One that moves shows that the unit is right: the others are joints that were little used. Where
    several hardly move, and would all be within their bounds as radians, there is no other reason.
    """
    doubted = 0
    fit = True
    for ends, channel, scale in seen:
        if not _is_angle(channel) or not _is_divided(scale, DEGREES):
            continue
        if ends[1] - ends[0] >= _span(channel) * UNIT_FACTOR / DEGREES:
            return FITS
        if _hardly_moves(ends, channel, DEGREES):
            doubted += 1
            fit &= _within((ends[0] * DEGREES, ends[1] * DEGREES), channel)
    return WRONG if doubted > 1 and fit else DOUBTFUL


def _is_divided(scale: NumberScale, factor: float) -> bool:
    """Whether the policy's numbers are taken for ones about `factor` times the robot's."""
    return factor / UNIT_FACTOR < abs(scale.factor) < factor * UNIT_FACTOR


def _is_angle(channel: Channel) -> bool:
    return channel.unit in ("rad", "rad/s")


def _way(channel: Channel) -> tuple[float, float]:
    """From where to where it may go; a gripper's bounds lie beyond that."""
    return channel.limits if channel.is_gripper else channel.bounds


def _span(channel: Channel) -> float:
    low, high = _way(channel)
    return high - low


def _hardly_moves(seen: tuple[float, float], channel: Channel, factor: float) -> bool:
    """Whether it moves as little as if its numbers were taken for ones `factor` times smaller."""
    moves = (seen[1] - seen[0]) / _span(channel)
    return UNUSED / factor < moves < UNIT_FACTOR / factor


def _within(seen: tuple[float, float], channel: Channel) -> bool:
    low, high = channel.bounds
    slack = SLACK * _span(channel)
    return low - slack <= seen[0] and seen[1] <= high + slack


def _ranged(subject: str, text: str, of_training: SeenRange, unit_mark: str) -> CheckFinding:
    """What training saw beside what the robot is allowed; `unit_mark` as `_unit_mark` says."""
    seen, channel, scale = of_training
    low, high = channel.bounds
    text += (
        f", training {seen[0]:.3g} to {seen[1]:.3g}{channel.unit_mark}, bounds {low:g} to {high:g}"
    )
    reach = max(map(abs, seen)) / max(map(abs, _way(channel)))
    if _is_angle(channel) and DEGREES / UNIT_FACTOR < reach < DEGREES * UNIT_FACTOR:
        return CheckFinding(
            WRONG,
            subject,
            f"{text}: {reach:.0f} times too far",
            "it is in degrees: say unit: deg (deg/s) in the policy file",
        )
    share = channel.unit == "1"
    if share and PER_CENT / UNIT_FACTOR < reach < PER_CENT * UNIT_FACTOR:
        return CheckFinding(
            WRONG,
            subject,
            f"{text}: {reach:.0f} times too far",
            "it goes from 0 to 100: say so (closed: 0, open: 100) in the policy file",
        )
    if not _within(seen, channel):
        return CheckFinding(
            WRONG if reach > UNIT_FACTOR or not overlap(seen, channel.bounds) else DOUBTFUL,
            subject,
            f"{text}: what is outside is refused",
            "are unit and joint right? then widen the robot file's bounds, where that is safe",
        )
    degrees = _is_angle(channel) and _is_divided(scale, DEGREES)
    if degrees and unit_mark != FITS and _hardly_moves(seen, channel, DEGREES):
        return CheckFinding(
            unit_mark,
            subject,
            f"{text}: it hardly moves",
            "were its radians taken for degrees? leave unit out, if so",
        )
    larger = (seen[0] * PER_CENT, seen[1] * PER_CENT)
    used = (larger[1] - larger[0]) / _span(channel)
    of_hundred = share and _is_divided(scale, PER_CENT)
    if of_hundred and _within(larger, channel) and used > USED_GRIPPER:
        return CheckFinding(
            WRONG if used > ALL_OF_THE_WAY else DOUBTFUL,
            subject,
            f"{text}: it hardly moves",
            "it goes from 0 to 1 already: say closed: 0, open: 1 in the policy file, or nothing",
        )
    return CheckFinding(FITS, subject, text)


def _wider(ends: tuple[float, float], slack: float) -> tuple[float, float]:
    return ends[0] - slack, ends[1] + slack


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """How much two ranges have in common, of what either covers; 1: they are the same."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    whole = max(a[1], b[1]) - min(a[0], b[0])
    if whole <= 0.0:
        return 1.0
    return max(0.0, common) / whole
