"""A policy server by openpi's protocol that turns a base well, and breaks as it is told.

Run as a module; its port stands in the file PORT_FILE of the faults' folder, and stays the same
where it is started again. "serve KIND after S" is S seconds of good answers, then the fault; KIND
is a key of BREAKS.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from vla_ros.bench.faults.valve import FOLDER, note
from vla_ros.policies.base import Rows
from vla_ros.policies.remote.server import INTERNAL_ERROR
from vla_ros.policies.remote.wire import packed, unpacked

PORT_FILE = "policy_server"
TIMEOUT_S = 0.3  # that the client waits for an answer
ROWS = 8
RATE_HZ = 10.0
CHANNELS = ("linear.x", "angular.z")
HUGE_BYTES = 100 << 20


def client_file(folder: Path) -> Mapping[str, Any]:
    """What the policy `remote` must be told to ask this server: its options.

    Raises:
        ConnectionError: it has not come up yet.
    """
    try:
        port = int((folder / PORT_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConnectionError(f"the faulty policy server has not come up: {error}") from None
    return {
        "url": f"ws://127.0.0.1:{port}",
        "images": {"image": "camera"},
        "state": {},
        "actions": list(CHANNELS),
        "rate": RATE_HZ,
        "rows": ROWS,
        "timeout": TIMEOUT_S,
        "connect_timeout": 1.0,
    }


def good_rows() -> Rows:
    """Just under the operating limit of 0.5 rad/s, and never the same twice: ROWS x 2."""
    speed = 0.48 + 0.015 * math.sin(time.monotonic())
    return np.tile(np.array([0.0, speed], np.float32), (ROWS, 1))


def answer(connection: ServerConnection, rows: Rows) -> None:
    connection.send(packed({"actions": rows}))


def slow(connection: ServerConnection, rows: Rows) -> None:
    """Answers, but long after anybody listens."""
    time.sleep(5.0 * TIMEOUT_S)
    answer(connection, rows)


def dead(connection: ServerConnection, rows: Rows) -> None:
    """Its process is gone; who watches it starts it again."""
    os._exit(1)


def wide(connection: ServerConnection, rows: Rows) -> None:
    """A column too many."""
    answer(connection, np.hstack([rows, rows[:, -1:]]))


def nan(connection: ServerConnection, rows: Rows) -> None:
    """One channel of each row is not a number."""
    rows[:, -1] = math.nan
    answer(connection, rows)


def old(connection: ServerConnection, rows: Rows) -> None:
    """One answer for ever, whatever it is shown."""
    answer(connection, np.full_like(rows, 0.0) + np.array([0.0, 0.48], np.float32))


def error(connection: ServerConnection, rows: Rows) -> None:
    """As openpi's server does: the traceback as a text, and then the end."""
    connection.send("Traceback (most recent call last):\nRuntimeError: it broke on purpose")
    connection.close(INTERNAL_ERROR, "see the message before")


def huge(connection: ServerConnection, rows: Rows) -> None:
    """More than anybody should read."""
    connection.send(bytes(HUGE_BYTES))


def stranger(connection: ServerConnection, rows: Rows) -> None:
    """Another service speaks at that port, and by no protocol that is known here."""
    connection.socket.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


BREAKS: dict[str, Callable[[ServerConnection, Rows], None]] = {
    "slow": slow,
    "dead": dead,
    "wide": wide,
    "nan": nan,
    "old": old,
    "error": error,
    "huge": huge,
    "stranger": stranger,
}


class BreakingPoint:
    """When it must fail: "VERB KIND after S" is S seconds of good work, then the fault."""

    def __init__(self, verb: str) -> None:
        self._words = re.compile(rf"{verb} (\w+) after ([\d.]+)")
        self._lock = threading.Lock()
        self._prompt = ""
        self._since = 0.0  # steady s, of the first question with these words
        self._noted = False

    def due(self, prompt: str) -> str:
        """The kind of the fault that is due with this question; empty: none."""
        with self._lock:
            now = time.monotonic()
            if prompt != self._prompt:
                self._prompt = prompt
                self._since = now
                self._noted = False
            words = self._words.fullmatch(prompt)
            if words is None or now - self._since < float(words[2]):
                return ""
            if not self._noted:
                self._noted = True
                note("policy")
            return words[1]


class FaultyServer:
    """Answers well until the words say otherwise."""

    def __init__(self) -> None:
        self._breaks = BreakingPoint("serve")

    def talk(self, connection: ServerConnection) -> None:
        """With one client, in a thread of its own."""
        try:
            connection.send(packed({}))
            for question in connection:
                if isinstance(question, bytes):
                    self._reply(connection, unpacked(question)["prompt"])
        except (ConnectionClosed, OSError):
            pass  # it had heard enough

    def _reply(self, connection: ServerConnection, prompt: str) -> None:
        kind = self._breaks.due(prompt)
        respond = BREAKS[kind] if kind else answer
        respond(connection, good_rows())


def main() -> None:
    place = Path(os.environ[FOLDER]) / PORT_FILE
    port = int(place.read_text(encoding="ascii")) if place.exists() else 0
    with serve(
        FaultyServer().talk, "127.0.0.1", port, compression=None, ping_interval=None
    ) as server:
        part = place.with_suffix(".part")  # whole or not at all, as whoever waits for it reads it
        part.write_text(str(server.socket.getsockname()[1]), encoding="ascii")
        part.replace(place)
        server.serve_forever()


if __name__ == "__main__":
    main()
