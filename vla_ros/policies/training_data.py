"""What a policy learned from, as plain arrays; which of its numbers are which of the policy's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.check_finding import DOUBTFUL, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.normalisation import StateRange
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.types import Image, Size
from vla_ros.policies import file_options
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.check import TrainingRanges
from vla_ros.policies.remote.options import parse_options

# A checkpoint or a server does not say its rate: whoever wrote the policy file did, by hand.
# Another policy knows it from its training, and may use each third row.
TOLD_BY_HAND = ("lerobot", "remote", "ros_service")


@dataclass(frozen=True)
class RecordedImages:
    """Some images of one camera, as they were recorded.

    Attributes:
        images: K of height x width x 3, rgb8.
        episodes: which episode each is of, K.
        size: height and width, pixels.
    """

    images: Sequence[Image]
    episodes: NDArray[np.int64]
    size: Size


@dataclass(frozen=True)
class TrainingData:
    """A dataset of N frames.

    Attributes:
        source: as sentences name it.
        fps: frames a second.
        starts: the first frame of each episode, E.
        state: name -> N numbers, of all that was measured, in the dataset's units.
        state_order: those of observation.state, as they stand there.
        actions: name -> N numbers, as they stand there.
        images: camera -> some of its images.
        task: an instruction that it was recorded with.
    """

    source: str
    fps: float
    starts: NDArray[np.int64]
    state: Mapping[str, NDArray[np.floating]]
    state_order: tuple[str, ...]
    actions: Mapping[str, NDArray[np.floating]]
    images: Mapping[str, RecordedImages] = field(default_factory=dict)
    task: str = ""

    @property
    def frames(self) -> int:
        return len(next(iter(self.actions.values())))

    @property
    def ends(self) -> NDArray[np.int64]:
        """Of each frame, the frame after the last of its episode, N."""
        edges = np.append(self.starts, self.frames)
        return np.repeat(edges[1:], np.diff(edges))


@dataclass(frozen=True)
class PolicyColumns:
    """A dataset's numbers by the policy's names; what it lacks is not there.

    Attributes:
        state, actions: the policy's name -> the dataset's.
        findings: what does not fit, or could not be judged.
    """

    state: Mapping[str, str]
    actions: Mapping[str, str]
    findings: tuple[CheckFinding, ...]


def policy_columns(file: PolicyFile, spec: PolicySpec, data: TrainingData) -> PolicyColumns:
    """By their names; where the dataset knows none of them, by their place.

    Args:
        file: the policy's.
        spec: the policy's.
        data: what it learned from.

    Raises:
        ValueError: an option of the policy is wrong.
    """
    findings: list[CheckFinding] = []
    state_by_place, actions_by_place = _by_place(file)
    state: dict[str, str] = {}
    if spec.state:
        known = tuple(data.state)
        state = _match(spec.state, known, data.state_order, state_by_place)
        findings += _names("state", spec.state, data.state_order, known, state, state_by_place)
    order = tuple(data.actions)
    actions = _match(spec.channels, order, order, actions_by_place)
    findings += _names("actions", spec.channels, order, order, actions, actions_by_place)
    return PolicyColumns(state, actions, tuple(findings))


def _by_place(file: PolicyFile) -> tuple[bool, bool]:
    """Whether state, and actions, are what their place in one array says, whatever they are called.

    A service of ROS 2, and a server with groups of numbers, are told and say whose each is.
    """
    if file.policy == "remote":
        options = parse_options(file_options(file))
        return len(options.state) == 1, len(options.actions) == 1
    return (file.policy == "lerobot",) * 2


def plain_name(name: str) -> str:
    """A joint's name as people mean it: LeRobot's `main_shoulder_pan.pos` is shoulder_pan."""
    return name.lower().removesuffix(".pos").removeprefix("main_")


def _match(
    names: Sequence[str], known: Sequence[str], order: Sequence[str], by_place: bool
) -> dict[str, str]:
    theirs = {plain_name(name): name for name in known}
    matched: dict[str, str] = {}
    for name in names:
        if plain_name(name) in theirs:
            matched[name] = theirs[plain_name(name)]
    by_place = not matched or (by_place and set(matched.values()) == set(order))
    if by_place and len(names) == len(order):
        return dict(zip(names, order))
    return matched


def _names(
    what: str,
    names: Sequence[str],
    order: Sequence[str],
    known: Sequence[str],
    matched: Mapping[str, str],
    by_place: bool,
) -> Iterator[CheckFinding]:
    """What is to be said of the policy's names of its state or actions beside the dataset's."""
    subject = f"names of {what}"
    missing = [name for name in names if name not in matched]
    if missing:
        yield CheckFinding(
            UNKNOWN,
            subject,
            f"the dataset has no {', '.join(missing)}; it has {', '.join(known) or 'none'}",
            "give the dataset that the policy learned from, or its names in the policy file",
        )
        return
    ours = list(map(plain_name, names))
    theirs = list(map(plain_name, order))
    if set(ours) == set(theirs) and ours != theirs:
        place = next(i for i, name in enumerate(ours) if name != theirs[i])
        yield CheckFinding(
            WRONG if by_place else DOUBTFUL,
            subject,
            f"number {place + 1} is '{names[place]}' in the policy file and '{order[place]}' in "
            "the dataset",
            f"give them in the dataset's order: {', '.join(order)}",
        )
    elif not set(ours) <= set(map(plain_name, known)):
        yield CheckFinding(
            UNKNOWN,
            subject,
            f"the dataset calls them {', '.join(order)}: they are held together by their place",
            "compare the two lists: which is which nobody else can say",
        )


def data_ranges(
    data: TrainingData, columns: PolicyColumns, known: TrainingRanges
) -> TrainingRanges:
    """What it holds of the policy's numbers, in their unit, by the policy's names.

    `known`: what the policy says itself, of those that the dataset lacks.
    """
    return TrainingRanges(
        {**known.state, **_ranges(data.state, columns.state)},
        {**known.actions, **_ranges(data.actions, columns.actions)},
    )


def _ranges(
    values: Mapping[str, NDArray[np.floating]], names: Mapping[str, str]
) -> dict[str, StateRange]:
    ranges: dict[str, StateRange] = {}
    for name, theirs in names.items():
        column = np.asarray(values[theirs], np.float64)
        ranges[name] = StateRange(
            name,
            float(column.mean()),
            float(column.std()),
            float(column.min()),
            float(column.max()),
        )
    return ranges
