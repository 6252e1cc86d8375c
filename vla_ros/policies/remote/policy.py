"""The policy `remote`: a server is asked for every chunk, by openpi's protocol or GR00T's.

openpi, SGLang and vLLM-Omni speak the first, and so does `vla serve`. What the server wants and
gives stands in the policy file (options.py); how its numbers are the robot's stands there, too
(`state`, `actions`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.remote.options import RemoteOptions, parse_options

# protocol -> where its server is asked, and what that needs
SERVERS = {
    "openpi": ("vla_ros.policies.remote.openpi", "OpenPiServer", "msgpack 'websockets>=15'"),
    "gr00t": ("vla_ros.policies.remote.gr00t", "Gr00tServer", "msgpack pyzmq"),
}


class Server(Protocol):
    """Whoever is asked for rows."""

    def open(self) -> None: ...

    def act(self, observation: Observation) -> Rows: ...

    def close(self) -> None: ...


class Remote:
    """Options: those of RemoteOptions; `url`, and a `preset` or what the server wants and gives."""

    # What no server says in a way that all do.
    FILE_KEYS = ("rate", "horizon", "history")

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """As the options say: no server is asked. Raises ValueError."""
        chosen = parse_options(options)
        return PolicySpec(
            chosen.columns,
            steps=chosen.rows,
            step=to_nanoseconds(1.0 / chosen.rate),
            images=dict.fromkeys(chosen.images.values(), chosen.image_size),
            state=tuple(name for names in chosen.state.values() for name in names),
            any_size=True,
            units=chosen.units,
            kinds=chosen.kinds,
            history=chosen.history,
            # A server that does not know of it leaves it alone; GR00T's has no place for it.
            takes_prefix=chosen.prefix and chosen.protocol == "openpi",
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Connects.

        Raises:
            ValueError: an option is wrong, or not what the server says.
            ConnectionError: the server is not there.
        """
        self._options = parse_options(options)
        self.name = f"remote {self._options.url}"
        self._server = _server(self._options)
        self._server.open()

    def predict(self, observation: Observation) -> Rows:
        """Asks the server: rows x actions, in its units.

        Raises:
            NotUnderstood: there are no words, or its policy does not know them.
            ConnectionError: the server is not there, or does not answer in time.
            RuntimeError: it says that it failed, or gives no rows for these actions.
        """
        # A server does something whatever it is told, also when it is told nothing.
        if not observation.instruction.text.strip():
            raise NotUnderstood("say what the robot is to do")
        rows = self._server.act(observation)
        wanted = self._options.rows
        if len(rows) < wanted:
            raise RuntimeError(
                f"the policy server at {self._options.url} gave {len(rows)} rows, and the "
                f"policy file wants {wanted} (rows, or horizon); give no more than come"
            )
        return rows[:wanted]

    def close(self) -> None:
        """Throws the connection away; the next question makes a new one."""
        self._server.close()

    def reset(self) -> None:
        """Nothing here remembers; what a server remembers is its own."""


def _server(options: RemoteOptions) -> Server:
    """Raises ValueError where a package is missing, or the key's variable is not set."""
    if options.key and options.key not in os.environ:
        raise ValueError(
            f"policy 'remote': the environment variable {options.key} is not set; it holds the "
            "server's key (option key)"
        )
    key = os.environ[options.key] if options.key else ""
    module, name, needs = SERVERS[options.protocol]
    # Here, as whoever only wants the spec opens no connection.
    try:
        server: Server = getattr(import_module(module), name)(options, key)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"policy 'remote' needs the Python package {error.name}, which is not here; "
            f"pip install {needs}"
        ) from None
    return server
