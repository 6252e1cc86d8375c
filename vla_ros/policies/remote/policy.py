"""The policy `remote`: a server is asked for every chunk, by openpi's websocket protocol.

openpi, SGLang and vLLM-Omni speak it, and so does `vla serve`. What the server wants and gives
stands in the policy file (options.py); how its numbers are the robot's stands there, too (`state`,
`actions`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_ros.core.shown import shown
from vla_ros.core.types import Image, Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.remote.options import Path, RemoteOptions, parse_options


class Remote:
    """Options: those of RemoteOptions; `url`, and a `preset` or what the server wants and gives."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """As the options say: no server is asked. Raises ValueError."""
        chosen = parse_options(options)
        return PolicySpec(
            chosen.actions,
            steps=chosen.horizon,
            step=to_nanoseconds(1.0 / chosen.rate),
            images=dict.fromkeys(chosen.images.values(), chosen.image_size),
            state=tuple(name for names in chosen.state.values() for name in names),
            any_size=True,
            units=chosen.units,
            kinds=chosen.kinds,
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Connects.

        Raises:
            ValueError: an option is wrong, or not what the server says.
            ConnectionError: the server is not there.
        """
        self._options = parse_options(options)
        self.name = f"remote {self._options.url}"
        # Here, as whoever only wants the spec opens no connection.
        try:
            from vla_ros.policies.remote.connection import Connection
        except ModuleNotFoundError as error:
            raise ValueError(
                f"policy 'remote' needs the Python package {error.name}, which is not here; "
                "pip install msgpack 'websockets>=15'"
            ) from None
        self._connection = Connection(
            self._options.url,
            _key(self._options),
            self._options.timeout,
            self._options.connect_timeout,
        )
        self._connection.open()
        self._check_metadata(self._connection.metadata)

    def _check_metadata(self, metadata: Mapping[str, Any]) -> None:
        """A server that says what it wants and gives is held to it. Raises ValueError."""
        numbers = [name for names in self._options.state.values() for name in names]
        for what, ours in (("state", numbers), ("actions", list(self._options.actions))):
            theirs = metadata.get(what)
            if isinstance(theirs, list) and theirs != ours:
                raise ValueError(
                    f"the policy server at {self._options.url} has the {what} "
                    f"{', '.join(map(str, theirs)) or 'none'}, and the policy file's options "
                    f"{', '.join(ours) or 'none'}; give the server's"
                )

    def predict(self, observation: Observation) -> Rows:
        """Asks the server: horizon x actions, in its units.

        Raises:
            NotUnderstood: there are no words, or its policy does not know them.
            ConnectionError: the server is not there, or does not answer in time.
            RuntimeError: it says that it failed, or gives no rows for these actions.
        """
        # A server does something whatever it is told, also when it is told nothing.
        if not observation.instruction.text.strip():
            raise NotUnderstood("say what the robot is to do")
        try:
            answer = self._connection.ask(self._question(observation))
        except NotUnderstood:
            raise
        except ValueError as error:
            raise RuntimeError(f"the policy server at {self._options.url}: {error}") from None
        return self._rows(answer)

    def reset(self) -> None:
        """Nothing here remembers, and the protocol has no word for it."""

    def _question(self, observation: Observation) -> dict[str, Any]:
        question: dict[str, Any] = {}
        for place, name in self._options.images.items():
            image: Image = observation.images[name]
            if self._options.layout == "chw":
                image = np.ascontiguousarray(image.transpose(2, 0, 1))
            _put(question, place, image)
        for place, names in self._options.state.items():
            numbers = [observation.state[name] for name in names]
            _put(question, place, np.array(numbers, np.float32))
        _put(question, self._options.prompt, observation.instruction.text)
        return question

    def _rows(self, answer: Any) -> Rows:
        """T x C of an answer: a map with `actions`, or the array itself, also as a batch of one.

        Raises RuntimeError where it is none for these actions.
        """
        rows = answer.get("actions") if isinstance(answer, Mapping) else answer
        if rows is None and isinstance(answer, Mapping):
            rows = answer.get(b"actions")
        if not isinstance(rows, np.ndarray):
            raise RuntimeError(
                f"the policy server at {self._options.url} gave {shown(answer)}; "
                "a map with an array 'actions' is right"
            )
        if rows.ndim == 3 and len(rows) == 1:
            rows = rows[0]
        wanted = len(self._options.actions)
        if rows.ndim != 2 or rows.shape[1] != wanted:
            raise RuntimeError(
                f"the policy server at {self._options.url} gave actions of shape {rows.shape}; "
                f"rows x {wanted} is right for the actions {', '.join(self._options.actions)}"
            )
        if len(rows) < self._options.horizon:
            raise RuntimeError(
                f"the policy server at {self._options.url} gave {len(rows)} rows, and the "
                f"policy file's horizon is {self._options.horizon}; give no more than come"
            )
        return rows[: self._options.horizon]


def _key(options: RemoteOptions) -> str:
    """Raises ValueError where the variable is not set."""
    if options.key and options.key not in os.environ:
        raise ValueError(
            f"policy 'remote': the environment variable {options.key} is not set; it holds the "
            "server's key (option key)"
        )
    return os.environ.get(options.key, "") if options.key else ""


def _put(message: dict[str, Any], place: Path, value: object) -> None:
    for key in place[:-1]:
        message = message.setdefault(key, {})
    message[place[-1]] = value
