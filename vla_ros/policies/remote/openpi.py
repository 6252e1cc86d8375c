"""A server by openpi's protocol: one question, one answer, over a websocket.

The server greets with a map of metadata. A text instead of bytes is an error of the server's. After
a time-out the late answer would be taken for that to the next question, so the connection is thrown
away; the next question makes a new one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.core.types import Image, Observation
from vla_ros.policies.remote.back_off import BackOff
from vla_ros.policies.remote.options import Path, RemoteOptions
from vla_ros.policies.remote.rows import joined, moments_of, state_array
from vla_ros.policies.remote.wire import MOST_BYTES, PREFIX, packed, unpacked


class OpenPiServer:
    """Asks a server what the robot is to do.

    Args:
        options: what it takes and gives.
        key: its key; empty: it wants none.
    """

    def __init__(self, options: RemoteOptions, key: str) -> None:
        self._options = options
        self._connection = Connection(
            options.url, key, options.timeout, options.connect_timeout, self._check
        )

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What it greeted with."""
        return self._connection.metadata

    def open(self) -> None:
        """Connects, unless it is connected.

        Raises:
            ConnectionError: nobody answers there as a policy server does.
            ValueError: it takes or gives something else than the options say.
        """
        self._connection.open()

    def _check(self, metadata: Mapping[str, Any]) -> None:
        """Raises ValueError where the server takes or gives something else than the options say."""
        # Only some servers say what they want and give; those are held to it.
        options = self._options
        numbers = [name for names in options.state.values() for name in names]
        for what, ours in (("state", numbers), ("actions", list(options.columns))):
            theirs = metadata.get(what)
            if isinstance(theirs, list) and theirs != ours:
                raise ValueError(
                    f"the policy server at {options.url} has the {what} "
                    f"{', '.join(map(str, theirs)) or 'none'}, and the policy file's options "
                    f"{', '.join(ours) or 'none'}; give the server's"
                )

    def act(
        self, observation: Observation, more: Mapping[str, Any] | None = None
    ) -> NDArray[np.floating]:
        """The server's rows, as many as come, x all actions.

        Args:
            observation: what the robot sees and is told.
            more: goes with the question, beside it.

        Raises:
            NotUnderstood: its policy does not know these words.
            ConnectionError: it is not there, or does not answer in time.
            RuntimeError: it says that it failed, or answers with what are no rows.
            ValueError: another server is there now, which takes or gives something else.
        """
        self.open()
        try:
            answer = self._connection.ask({**self._question(observation), **(more or {})})
        except NotUnderstood:
            raise
        except ValueError as error:
            raise RuntimeError(f"the policy server at {self._options.url}: {error}") from None
        columns: list[NDArray[np.floating]] = []
        for key, names in self._options.actions.items():
            columns.append(self._rows(answer, key, names))
        return joined(columns, f"the policy server at {self._options.url}")

    def close(self) -> None:
        """Throws the connection away; the next question makes a new one."""
        self._connection.close()

    def _question(self, observation: Observation) -> dict[str, Any]:
        question: dict[str, Any] = {}
        for place, name in self._options.images.items():
            images = [self._laid_out(moment.images[name]) for moment in moments_of(observation)]
            _put(question, place, np.stack(images) if observation.history else images[0])
        for place, names in self._options.state.items():
            numbers = [state_array(moment, names) for moment in moments_of(observation)]
            _put(question, place, np.stack(numbers) if observation.history else numbers[0])
        _put(question, self._options.prompt_key, observation.instruction.text)
        if prefix := observation.prefix:
            question[PREFIX] = {
                "rows": np.ascontiguousarray(prefix.rows, np.float32),
                "delay": prefix.delay,
                "horizon": prefix.horizon,
            }
        return question

    def _laid_out(self, image: Image) -> Image:
        if self._options.layout == "chw":
            return np.ascontiguousarray(image.transpose(2, 0, 1))
        return image

    def _rows(self, answer: Any, key: str, names: tuple[str, ...]) -> NDArray[np.floating]:
        """Under `key` of an answer's map, or the answer itself; also as a batch of one.

        Raises RuntimeError where they are none for these actions.
        """
        rows = answer
        if isinstance(answer, Mapping):
            rows = answer.get(key, answer.get(key.encode()))
        if not isinstance(rows, np.ndarray):
            raise RuntimeError(
                f"the policy server at {self._options.url} gave {shown(answer)}; "
                f"a map with an array '{key}' is right"
            )
        if rows.ndim == 3 and len(rows) == 1:
            rows = rows[0]
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise RuntimeError(
                f"the policy server at {self._options.url} gave {key} of shape {rows.shape}; "
                f"rows x {len(names)} is right for {', '.join(names)}"
            )
        return rows


def _put(message: dict[str, Any], place: Path, value: object) -> None:
    for key in place[:-1]:
        message = message.setdefault(key, {})
    message[place[-1]] = value


class Connection:
    """Asks a server; not for two threads at once.

    Args:
        url: ws:// or wss://, with the server's path where it has one.
        key: sent as `Authorization: Api-Key`; empty: none.
        timeout: for an answer, s.
        connect_timeout: for the connection and the server's greeting, s.
        check: raises ValueError where the greeting is another server's than the one wanted.
    """

    def __init__(
        self,
        url: str,
        key: str,
        timeout: float,
        connect_timeout: float,
        check: Callable[[Mapping[str, Any]], None] = lambda metadata: None,
    ) -> None:
        self.url = url
        self._key = key
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._check = check
        self._socket: ClientConnection | None = None
        self._closing = ExitStack()
        self._back_off = BackOff()
        self.metadata: Mapping[str, Any] = {}

    def open(self) -> None:
        """Connects, unless it is connected.

        Raises:
            ConnectionError: nobody answers there as a policy server does.
            ValueError: it is another server than the one wanted.
        """
        if self._socket is not None:
            return
        self._back_off.check(f"the policy server at {self.url}")
        headers = {"Authorization": f"Api-Key {self._key}"} if self._key else None
        try:
            # No pings: a server that thinks does not answer them, and would be taken for dead.
            connection = self._closing.enter_context(
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
            greeting = connection.recv(timeout=self._connect_timeout)
            metadata = unpacked(greeting) if isinstance(greeting, bytes) else greeting
            if not isinstance(metadata, Mapping):
                raise ValueError(f"it greets with {shown(metadata)}; a map of metadata is right")
        except (OSError, WebSocketException, ValueError) as error:
            self.close()
            self._back_off.failed()
            raise ConnectionError(
                f"no policy server at {self.url}: {_words(error)}; start it, or mend the url"
            ) from error
        try:
            self._check(metadata)
        except ValueError:
            self.close()
            self._back_off.failed()
            raise
        self._socket = connection
        self.metadata = metadata
        self._back_off.succeeded()

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
        data = packed(question)
        # Last before the question: what comes after it is taken for its answer.
        self._check_quiet()
        deadline = time.monotonic() + self._timeout
        try:
            _send(self._socket, data, deadline)
            answer = self._socket.recv(timeout=max(0.0, deadline - time.monotonic()))
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

    def _check_quiet(self) -> None:
        """Nothing lies there that nobody asked for: it would be taken for the next answer.

        Raises ConnectionError.
        """
        assert self._socket is not None
        try:
            self._socket.recv(timeout=0)
        except TimeoutError:
            return
        except (OSError, WebSocketException):
            return  # it hung up, which the question will find
        self.close()
        raise ConnectionError(
            f"the policy server at {self.url} sent an answer that nobody asked for; the connection "
            "is thrown away, as the next answers would be old ones"
        )

    def close(self) -> None:
        """Throws the connection away; the next question makes a new one."""
        self._socket = None
        self._closing.close()


def _send(connection: ClientConnection, data: bytes, deadline: float) -> None:
    """Raises TimeoutError where the server has not taken all of it by then (monotonic, s)."""
    # The library would wait for as long as the server is there and does not read.
    timer = Timer(deadline - time.monotonic(), _cut, (connection,))
    timer.daemon = True
    timer.start()
    try:
        connection.send(data)
    except (OSError, WebSocketException):
        if time.monotonic() >= deadline:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _cut(connection: ClientConnection) -> None:
    with suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return shown(text, 200) if text else type(error).__name__
