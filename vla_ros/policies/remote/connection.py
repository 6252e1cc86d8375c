"""A connection to a policy server by openpi's protocol: one question, one answer, over a websocket.

The server greets with a map of metadata. A text instead of bytes is an error of the server's. After
a time-out the late answer would be taken for that to the next question, so the connection is thrown
away; the next question makes a new one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.policies.remote.wire import MOST_BYTES, packed, unpacked

# A server that is gone is not asked anew with every image: first after this long, then twice as
# long each time.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class Connection:
    """Asks a server; not for two threads at once.

    Args:
        url: ws:// or wss://, with the server's path where it has one.
        key: sent as `Authorization: Api-Key`; empty: none.
        timeout: for an answer, s.
        connect_timeout: for the connection and the server's greeting, s.
    """

    def __init__(self, url: str, key: str, timeout: float, connect_timeout: float) -> None:
        self.url = url
        self._key = key
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._socket: ClientConnection | None = None
        self._closing = ExitStack()
        self._pause = 0.0
        self._not_before = 0.0  # monotonic
        self.metadata: Mapping[str, Any] = {}

    def open(self) -> None:
        """Connects, unless it is connected.

        Raises:
            ConnectionError: nobody answers there as a policy server does.
        """
        if self._socket is not None:
            return
        if (wait := self._not_before - time.monotonic()) > 0.0:
            raise ConnectionError(
                f"the policy server at {self.url} is gone; it is tried again in {wait:.1f} s"
            )
        headers = {"Authorization": f"Api-Key {self._key}"} if self._key else None
        try:
            # No pings: a server that thinks does not answer them, and would be taken for dead.
            socket = self._closing.enter_context(
                connect(
                    self.url,
                    compression=None,
                    max_size=MOST_BYTES,
                    open_timeout=self._connect_timeout,
                    ping_interval=None,
                    close_timeout=0.2,
                    additional_headers=headers,
                    proxy=None,
                )
            )
            greeting = socket.recv(timeout=self._connect_timeout)
            metadata = unpacked(greeting) if isinstance(greeting, bytes) else greeting
            if not isinstance(metadata, Mapping):
                raise ValueError(f"it greets with {shown(metadata)}; a map of metadata is right")
        except (OSError, WebSocketException, ValueError) as error:
            self.close()
            self._pause = min(max(FIRST_PAUSE_S, 2.0 * self._pause), LONGEST_PAUSE_S)
            self._not_before = time.monotonic() + self._pause
            raise ConnectionError(
                f"no policy server at {self.url}: {_words(error)}; start it, or mend the url"
            ) from error
        self._socket = socket
        self.metadata = metadata
        self._pause = 0.0

    def ask(self, question: Mapping[str, Any]) -> Any:
        """The server's answer.

        Raises:
            ConnectionError: it is not there, does not answer in time, or hangs up.
            NotUnderstood: its policy does not know these words.
            RuntimeError: it answers with another error.
            ValueError: it answers with what is no message.
        """
        self.open()
        assert self._socket is not None
        try:
            self._socket.send(packed(question))
            answer = self._socket.recv(timeout=self._timeout)
        except TimeoutError:
            self.close()
            raise ConnectionError(
                f"the policy server at {self.url} did not answer within {self._timeout:g} s"
            ) from None
        except (OSError, WebSocketException) as error:
            self.close()
            raise ConnectionError(
                f"the policy server at {self.url} hung up: {_words(error)}"
            ) from error
        except BaseException:  # half a question may be on its way
            self.close()
            raise
        if isinstance(answer, str):  # it closes after that
            self.close()
            lines = answer.strip().splitlines() or ["an empty text"]
            # As `vla serve` says it: words that the policy does not know are no fault.
            kind, _, sentence = lines[-1].partition(": ")
            if kind == NotUnderstood.__name__:
                raise NotUnderstood(sentence[:300])
            raise RuntimeError(f"the policy server at {self.url} failed: {shown(lines[-1], 300)}")
        try:
            return unpacked(answer)
        except ValueError:
            self.close()
            raise

    def close(self) -> None:
        """Throws the connection away; the next question makes a new one."""
        self._socket = None
        self._closing.close()


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return shown(text, 200) if text else type(error).__name__
