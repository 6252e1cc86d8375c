"""A policy's numbers and the robot's: names, units and kinds, fitted together once.

The robot's numbers are in SI units, as its file names them; a policy may know them by other names,
in degrees, or as steps from where the arm was. Nothing is guessed: what has not the same name
stands in the policy file, or the two do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.chunks import check_rows
from vla_ros.core.policy_file import KINDS, PolicyFile, PolicyNumber
from vla_ros.core.resampling import AT, BY, HOLD, Column, resampled, rows_from
from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_state import UNITS, StateSource
from vla_ros.core.types import NANOSECONDS, ActionChunk, Observation, Prefix
from vla_ros.policies.base import PolicySpec, Rows


@dataclass(frozen=True)
class NumberScale:
    """The policy's value is the robot's, times `factor`, plus `offset`."""

    factor: float = 1.0
    offset: float = 0.0

    def to_policy(self, value: float) -> float:
        return value * self.factor + self.offset

    def to_robot(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """T values."""
        return (values - self.offset) / self.factor


@dataclass(frozen=True)
class FittedAction:
    """A column of the policy's rows, and the robot's channel that it is for.

    `measured` says where the channel's joint was, of the robot's state; None: not needed.
    """

    column: int
    channel: Channel
    scale: NumberScale
    kind: str
    measured: MeasuredJoint | None = None


@dataclass(frozen=True)
class MeasuredJoint:
    """Where a channel's joint is, from the robot's state."""

    name: str
    source: StateSource
    channel: Channel

    def position(self, state: Mapping[str, float]) -> float:
        """In the channel's unit. Raises ValueError where the joint is not measured."""
        if self.name not in state:
            raise ValueError(
                f"the policy's '{self.channel.name}' is from where the joint is, and "
                f"'{self.name}' is not measured; there are {', '.join(state) or 'none'}"
            )
        return float(self.in_channel(state[self.name]))

    def in_channel(self, value: Any) -> Any:
        """A number of the robot's state, or an array of it, in the channel's unit."""
        # Back to what the driver publishes: that is what a channel's scale and offset are for.
        source = self.source
        published = (value - source.offset) / source.scale / source.factor
        return self.channel.measured(published)


class Numbers:
    """A policy's state and actions as this robot's.

    Attributes:
        channels: The robot's that the policy commands, in the order of the chunk's columns.
        actions: The same, with the policy's column of each.
        sources: The policy's name of each number of its state -> the robot's, and how it is scaled.
    """

    def __init__(self, spec: PolicySpec, file: PolicyFile, robot: Robot) -> None:
        """Fits them together.

        Raises:
            ValueError: They do not fit; a sentence with both lists, or with the value, that lacks
                its subject: the policy's name.
        """
        self._spec = spec
        self._horizon = file.horizon
        self.sources: dict[str, tuple[str, NumberScale]] = {}
        self._changed: dict[str, tuple[str, NumberScale]] = {}  # of `sources`, not as they are
        self._fit_state(file.state, robot)
        self.actions = self._fit_actions(file.actions, robot)
        self.channels = tuple(action.channel.name for action in self.actions)
        self._columns = tuple(_passing(action, spec.holds) for action in self.actions)
        # Here, and not with each chunk: making a spec checks all of it.
        self._robot_spec = replace(spec, channels=self.channels)

    def _fit_state(self, entries: Sequence[PolicyNumber], robot: Robot) -> None:
        _check_names(entries, self._spec.state, "state")
        known = [name for source in robot.state for name in source.names]
        given = {entry.name: entry for entry in entries}
        for name in self._spec.state:
            entry = given.get(name, PolicyNumber(name, name))
            scale = _scale(entry, self._spec)
            if name in given and entry.robot not in known:
                raise ValueError(
                    f"takes '{name}' from '{entry.robot}' (state of its policy file), and the "
                    f"state of robot '{robot.name}' has {', '.join(known) or 'nothing'}"
                )
            self.sources[name] = (entry.robot, scale)
            if entry.robot != name or scale != NumberScale():
                self._changed[name] = (entry.robot, scale)

    def _fit_actions(
        self, entries: Sequence[PolicyNumber], robot: Robot
    ) -> tuple[FittedAction, ...]:
        _check_names(entries, self._spec.channels, "actions")
        given = {entry.name: entry for entry in entries}
        channels = {channel.name: channel for channel in robot.channels}
        actions: list[FittedAction] = []
        taken: dict[str, str] = {}
        for column, name in enumerate(self._spec.channels):
            entry = given.get(name, PolicyNumber(name, name))
            if not entry.robot:
                continue
            if entry.robot not in channels:
                raise ValueError(
                    f"commands '{entry.robot}', but robot '{robot.name}' obeys "
                    f"{', '.join(sorted(channels))}"
                )
            if entry.robot in taken:
                raise ValueError(
                    f"commands '{entry.robot}' by '{taken[entry.robot]}' and by '{name}'; one of "
                    "them is right (actions of the policy file)"
                )
            taken[entry.robot] = name
            kind = entry.kind or self._spec.kinds.get(name, "")
            actions.append(
                _action(column, channels[entry.robot], _scale(entry, self._spec), kind, robot)
            )
        if not actions:
            raise ValueError("commands nothing that this robot has; give actions in its file")
        return tuple(actions)

    def state(self, observation: Observation) -> Observation:
        """The observation with the policy's numbers beside the robot's own."""
        if not self._changed:
            return observation
        state = dict(observation.state)
        for name, (robots, scale) in self._changed.items():
            # One that is not measured stays away; whoever checks the observation says so.
            state.pop(name, None)
            if robots in observation.state:
                state[name] = scale.to_policy(observation.state[robots])
        return replace(observation, state=state)

    def chunk(self, rows: Rows, observation: Observation, policy: str = "") -> ActionChunk:
        """What the policy gave for `observation`, as the robot's chunk, up to the file's horizon.

        Args:
            rows: T x C, in the spec's order and units.
            observation: The robot's, before `state`: a delta counts from where the arm was then.
            policy: The policy's name.

        Raises:
            TypeError: What is not rows x channels of numbers.
            ValueError: A joint that a delta counts from was not measured.
        """
        check_rows(rows, len(self._spec.channels))
        rows = rows[: self._horizon or None]
        columns: list[NDArray[np.floating]] = []
        for action in self.actions:
            # float64: sums of many float32 steps would drift
            values = action.scale.to_robot(np.asarray(rows[:, action.column], np.float64))
            columns.append(self._to_channel(values, action, observation))
        return self._robot_spec.chunk(np.stack(columns, axis=1), observation, policy)

    def resampled(self, chunk: ActionChunk, observation: Observation) -> ActionChunk:
        """The chunk at the gate's rate, for the observation that it was made from.

        Positions go straight from row to row, unless the policy's spec says that they hold, as
        velocities and grippers do.
        """
        starts: list[float] = []
        for action, column in zip(self.actions, self._columns):
            start = math.nan
            if column.way == BY and action.measured is not None:
                start = action.measured.position(observation.state)
            starts.append(start)
        return resampled(chunk, self._columns, starts)

    def prefix(
        self, rows: Rows, made_for: Observation, observation: Observation, delay: int
    ) -> Prefix | None:
        """What is left of earlier rows, for a policy that continues them; None: nothing.

        Args:
            rows: T x C, as the policy gave them, for `made_for`.
            made_for: The robot's, as `observation`, for which there are to be rows now.
            delay: ns from that observation until they arrive.

        Raises:
            ValueError: A joint that they count from was not measured.
        """
        offset = (observation.stamp - made_for.stamp) / self._spec.step
        if not 0.0 <= offset < len(rows):
            return None
        ways = [Column(HOLD)] * rows.shape[1]  # what goes nowhere on this robot holds
        anchored = np.array(rows, np.float64)
        for action, column in zip(self.actions, self._columns):
            ways[action.column] = Column(column.way, column.turn * action.scale.factor)
            if action.kind == "relative" and action.measured is not None:
                # The same place, counted from where the joint is now.
                before = action.measured.position(made_for.state)
                moved = before - action.measured.position(observation.state)
                if column.turn:
                    moved = math.remainder(moved, column.turn)
                anchored[:, action.column] += moved * action.scale.factor
        left = rows_from(anchored, ways, offset).astype(np.float32)
        rows_passed = min(-(-delay // self._spec.step), len(left))
        return Prefix(left, rows_passed, self._horizon or len(rows))

    def _to_channel(
        self, values: NDArray[np.floating], action: FittedAction, observation: Observation
    ) -> NDArray[np.floating]:
        """T values as the channel takes them."""
        if action.measured is None:
            return values
        if action.kind != "relative":
            # A row says how far or how fast until the next one: its target is where that ends.
            values = np.cumsum(values)
        if action.kind == "velocity":
            values = values * (self._spec.step / NANOSECONDS)
        return action.measured.position(observation.state) + values


def _passing(action: FittedAction, holds: bool) -> Column:
    """How the channel passes from row to row; `holds` is the spec's."""
    channel = action.channel
    # A change or a speed says where it leads until the next row.
    leads = action.measured is not None and action.kind != "relative"
    if channel.on_stop != "hold_measured" or (holds and not leads):
        return Column(HOLD)
    return Column(BY if leads else AT, channel.turn, channel.bounds)


def _check_names(entries: Sequence[PolicyNumber], names: Sequence[str], what: str) -> None:
    for entry in entries:
        if entry.name not in names:
            raise ValueError(
                f"has no '{entry.name}' in its {what}, as its policy file says; it has "
                f"{', '.join(names) or 'none'}"
            )


def _scale(entry: PolicyNumber, spec: PolicySpec) -> NumberScale:
    if entry.closed is not None and entry.open is not None:
        return NumberScale(entry.open - entry.closed, entry.closed)
    return NumberScale(1.0 / UNITS.get(entry.unit or spec.units.get(entry.name, ""), 1.0))


def _action(
    column: int, channel: Channel, scale: NumberScale, kind: str, robot: Robot
) -> FittedAction:
    if kind and kind not in KINDS:
        raise ValueError(f"'{channel.name}' is of kind '{kind}'; use one of {', '.join(KINDS)}")
    if channel.is_velocity:
        if kind not in ("", "velocity"):
            raise ValueError(
                f"gives '{channel.name}' as a {kind}, and the robot's channel is a velocity, in "
                f"{channel.unit}; give its kind as velocity, or a robot with positions"
            )
        return FittedAction(column, channel, scale, kind)
    if kind in ("", "position"):
        return FittedAction(column, channel, scale, kind)
    # A change needs a place to count from.
    if joint := measured_joint(channel, robot):
        # Of a change only the size counts: where zero lies does not matter.
        return FittedAction(column, channel, NumberScale(scale.factor), kind, joint)
    raise ValueError(
        f"gives '{channel.name}' as a {kind}, which counts from where its joint is, and the "
        f"robot file's state has no {channel.joint or 'joint of that channel'} of "
        f"{channel.joint_topic}; add it to state"
    )


def measured_joint(channel: Channel, robot: Robot) -> MeasuredJoint | None:
    """Where the robot's state says where that channel's joint is; None: it does not."""
    for source in robot.state:
        for name, theirs in source.names.items():
            if source.topic == channel.joint_topic and theirs == channel.joint:
                return MeasuredJoint(name, source, channel)
    return None
