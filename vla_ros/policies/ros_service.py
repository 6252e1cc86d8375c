"""`ros_service`: any node is the policy; its service GetActionChunk is asked for every chunk.

Only the node `inference` speaks ROS: it hands in who asks (`connect`). What is asked, and what of
an answer is believed, is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.policy_file import KINDS, MOST_ROWS
from vla_ros.core.robot_fields import flag, number, topic_name
from vla_ros.core.robot_state import UNITS
from vla_ros.core.types import Image, Observation, Size, is_size, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.options import (
    check_options,
    choice_by_name,
    list_of_names,
    option_is_wrong,
)
from vla_ros.policies.remote.back_off import BackOff

NAME = "ros_service"
OPTIONS = (
    "service",
    "timeout",
    "connect_timeout",
    "images",
    "state",
    "actions",
    "units",
    "kinds",
    "rows",
    "pending",
    # of the policy file
    "rate",
    "horizon",
)
MOST_CHARACTERS = 300  # of a sentence of the service's, for people
STEP_TOLERANCE = 0.01  # of a step: 1 / 30 s has no exact number of nanoseconds


@dataclass(frozen=True)
class RosServiceOptions:
    """What stands under `options` of a policy file with `policy: ros_service`.

    Attributes:
        service: its name; without a leading slash, in the namespace of `inference`.
        actions: the columns of the rows that it answers with.
        rate: rows a second.
        rows: of each answer; `horizon`: how many of them are executed before the next one's.
        images: what it is shown: the policy's name of an image -> height, width, pixels.
        state: the numbers that it is told.
        units, kinds: of the names in `state` and `actions`, where they are not SI units and what
            the robot's channel takes.
        timeout: for an answer, s; `connect_timeout` for the service to be there.
        pending: whether it is sent what is left of its last rows.
    """

    service: str
    actions: tuple[str, ...]
    rate: float
    rows: int
    horizon: int
    images: Mapping[str, Size]
    state: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 2.0
    connect_timeout: float = 10.0
    pending: bool = True

    @property
    def step(self) -> int:
        """Between two rows, ns."""
        return to_nanoseconds(1.0 / self.rate)


@dataclass(frozen=True)
class ChunkRequest:
    """What the service is asked. Times in ns.

    Attributes:
        state: S numbers in the order of the options' `state`, in the policy's units.
        pending: what is left of the last answer, K x channels: row i is for the same moment as row
            i of the answer; `pending_executed`: so many of them will have been executed by then.
    """

    stamp: int
    instruction_id: int
    prompt: str
    images: Mapping[str, Image]
    state: Mapping[str, float]
    channels: tuple[str, ...]
    rows: int
    step: int
    horizon: int
    pending: NDArray[np.float32]
    pending_executed: int


@dataclass(frozen=True)
class ChunkAnswer:
    """What it answered, as it came: nothing of it is checked yet.

    Attributes:
        values: rows x width numbers in one row after the other.
        channels: the columns' names; empty: as they were asked for.
        step: between rows, ns; 0: as it was asked for.
        not_understood, error: a sentence in place of rows.
    """

    values: NDArray[np.float32]
    rows: int
    width: int
    channels: Sequence[str] = ()
    step: int = 0
    not_understood: str = ""
    error: str = ""


class ChunkService(Protocol):
    """Who asks the service. One thread uses it, the one that predicts."""

    def is_there(self) -> bool: ...

    def ask(self, request: ChunkRequest, timeout_s: float) -> ChunkAnswer | None:
        """The answer to this request and to no other; None: it did not come in time."""
        ...


class RosService:
    """Options: those of RosServiceOptions; `service`, `images`, `actions` and `rows` are needed.

    `rate` and `horizon` stand beside the options in the policy file.

    Until `connect` was called, as only the node `inference` does, it cannot predict.
    """

    FILE_KEYS = ("rate", "horizon")  # what no service says

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """As the options say: no service is asked. Raises ValueError."""
        chosen = parse_options(options)
        return PolicySpec(
            chosen.actions,
            steps=chosen.rows,
            step=chosen.step,
            images=chosen.images,
            state=chosen.state,
            units=chosen.units,
            kinds=chosen.kinds,
            takes_prefix=chosen.pending,
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = parse_options(options)
        self.name = f"{NAME} {self._options.service}"
        self._service: ChunkService | None = None
        self._back_off = BackOff()

    def connect(self, open_service: Callable[[str], ChunkService]) -> None:
        """Waits until the service is there.

        Args:
            open_service: makes who asks a service, of its name.

        Raises:
            ConnectionError: it did not come within `connect_timeout`.
        """
        service = open_service(self._options.service)
        end = time.monotonic() + self._options.connect_timeout
        while not service.is_there():
            if time.monotonic() > end:
                raise ConnectionError(
                    f"no node offers the service {self._options.service} "
                    f"(vla_ros_msgs/srv/GetActionChunk) within "
                    f"{self._options.connect_timeout:g} s; start the node that is the policy first"
                )
            time.sleep(0.05)
        self._service = service

    def predict(self, observation: Observation) -> Rows:
        """Asks the service: rows x actions, in its units.

        Raises:
            NotUnderstood: there are no words, or the service cannot follow them.
            ConnectionError: the service is gone, or does not answer in time.
            RuntimeError: it says that it failed, or what it answered are not the rows that were
                asked for.
        """
        if self._service is None:
            raise RuntimeError(
                f"policy '{NAME}' asks a service of ROS 2, which only the node inference does; "
                "run it there"
            )
        # As a policy on a server: it would do something whatever it is told, also when it is told
        # nothing.
        if not observation.instruction.text.strip():
            raise NotUnderstood("say what the robot is to do")
        answer = self._ask(self._service, self._request(observation))
        if answer.not_understood:
            raise NotUnderstood(answer.not_understood[:MOST_CHARACTERS])
        return self._checked(answer)

    def reset(self) -> None:
        """Nothing here remembers; the node that is the policy sees another instruction_id."""

    def _request(self, observation: Observation) -> ChunkRequest:
        options = self._options
        prefix = observation.prefix
        nothing = np.zeros((0, len(options.actions)), np.float32)
        return ChunkRequest(
            observation.stamp,
            observation.instruction.instruction_id,
            observation.instruction.text,
            {name: observation.images[name] for name in options.images},
            {name: observation.state[name] for name in options.state},
            options.actions,
            options.rows,
            options.step,
            options.horizon,
            prefix.rows if prefix else nothing,
            prefix.delay if prefix else 0,
        )

    def _ask(self, service: ChunkService, request: ChunkRequest) -> ChunkAnswer:
        """Raises ConnectionError where nothing comes, and soon after without asking again."""
        name = f"the service {self._options.service}"
        self._back_off.check(name)
        # Else the request would wait for whoever offers the service next.
        answer = service.ask(request, self._options.timeout) if service.is_there() else None
        if answer is None:
            # One request in flight: the next one goes out when this one had time to be answered.
            self._back_off.failed()
            if not service.is_there():
                raise ConnectionError(f"{name} is gone; does the node that is the policy run?")
            raise ConnectionError(
                f"{name} did not answer within {self._options.timeout:g} s (timeout)"
            )
        self._back_off.succeeded()
        return answer

    def _checked(self, answer: ChunkAnswer) -> NDArray[np.float32]:
        """The answer's rows, rows x actions. Raises RuntimeError where they are not that."""
        options = self._options
        subject = f"the service {options.service}"
        if answer.error:
            raise RuntimeError(f"{subject} failed: {answer.error[:MOST_CHARACTERS]}")
        if answer.width != len(options.actions):
            raise RuntimeError(
                f"{subject} gave rows of {answer.width} numbers for {len(options.actions)} "
                f"channels: {', '.join(options.actions)}"
            )
        if answer.channels and tuple(answer.channels) != options.actions:
            names = ", ".join(answer.channels)[:MOST_CHARACTERS]
            raise RuntimeError(
                f"{subject} gave {names}, and the policy file's actions are "
                f"{', '.join(options.actions)}; the same names in the same order are right"
            )
        if answer.rows != options.rows:
            raise RuntimeError(
                f"{subject} gave {answer.rows} rows, and the policy file wants {options.rows} "
                "(rows, or horizon); give as many as are asked for"
            )
        if answer.step and abs(answer.step - options.step) > STEP_TOLERANCE * options.step:
            raise RuntimeError(
                f"{subject} gave rows {answer.step / 1e9:g} s apart, and by the policy file's rate "
                f"they are {options.step / 1e9:g} s apart"
            )
        if len(answer.values) != answer.rows * answer.width:
            raise RuntimeError(
                f"{subject} gave {len(answer.values)} values, and says that they are "
                f"{answer.rows} rows of {answer.width}"
            )
        rows = answer.values.reshape(answer.rows, answer.width)
        for row, column in np.argwhere(~np.isfinite(rows)):
            raise RuntimeError(
                f"{subject} gave {rows[row, column]} for '{options.actions[column]}' in row {row}; "
                "give finite numbers"
            )
        return rows


def parse_options(given: Mapping[str, Any]) -> RosServiceOptions:
    """The options.

    Raises:
        ValueError: a sentence with the option, its value and what is right.
    """
    check_options(NAME, given, OPTIONS)
    rows = given.get("rows", given.get("horizon"))
    for name in ("service", "images", "actions", "rate", "rows"):
        if name not in given and (name != "rows" or rows is None):
            where = "rate of its policy file" if name == "rate" else f"the option {name}"
            raise ValueError(f"policy '{NAME}' lacks {where}; a service does not say it")
    # To `isinstance`, true is a whole number.
    if type(rows) is not int or not 0 < rows <= MOST_ROWS:
        remedy = f"give a whole number, 1 to {MOST_ROWS}"
        raise ValueError(option_is_wrong(NAME, "rows", rows, remedy))
    actions = list_of_names(NAME, "actions", given["actions"])
    state = list_of_names(NAME, "state", given["state"]) if given.get("state") else ()
    names = (*state, *actions)
    return RosServiceOptions(
        topic_name(given["service"], f"policy '{NAME}': service"),
        actions,
        number(given["rate"], f"policy '{NAME}': rate", above=0.0),
        rows,
        given.get("horizon", rows),
        _images(given["images"]),
        state,
        choice_by_name(NAME, "units", given.get("units", {}), names, tuple(UNITS)),
        choice_by_name(NAME, "kinds", given.get("kinds", {}), actions, KINDS),
        number(given.get("timeout", 2.0), f"policy '{NAME}': timeout", above=0.0),
        number(given.get("connect_timeout", 10.0), f"policy '{NAME}': connect_timeout", above=0.0),
        flag(given.get("pending", True), f"policy '{NAME}': pending"),
    )


def _images(value: object) -> dict[str, Size]:
    # Images set the pace: without one, nothing would ever be asked.
    if not isinstance(value, Mapping) or not value:
        remedy = "give each image's [height, width] by its name"
        raise ValueError(option_is_wrong(NAME, "images", value, remedy))
    sizes: dict[str, Size] = {}
    for name, size in value.items():
        if not isinstance(name, str) or not name:
            raise ValueError(option_is_wrong(NAME, "images: a name", name, "give a text"))
        if not is_size(size):
            remedy = "give [height, width] in pixels"
            raise ValueError(option_is_wrong(NAME, f"images: {name}", size, remedy))
        sizes[name] = (size[0], size[1])
    return sizes
