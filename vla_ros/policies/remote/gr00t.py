"""A GR00T server (N1.6, N1.7): one question, one answer, over a ZeroMQ socket.

A question names an endpoint and may hold data. Arrays go as files of numpy's own format. Before
anything else the server is asked what it takes and gives, and held to it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from vla_ros.core.shown import shown
from vla_ros.core.types import Observation
from vla_ros.policies.remote.back_off import BackOff
from vla_ros.policies.remote.options import RemoteOptions
from vla_ros.policies.remote.rows import joined, moments_of, state_array
from vla_ros.policies.remote.wire import ARRAY_KINDS, MOST_BYTES

VIDEO = "video"
STATE = "state"
ACTION = "action"
LANGUAGE = "language"


class Gr00tServer:
    """Asks a server; not for two threads at once.

    Args:
        options: what it takes and gives.
        key: its token; empty: it wants none.
    """

    def __init__(self, options: RemoteOptions, key: str) -> None:
        self._options = options
        self._key = key
        self._where = f"the policy server at {options.url}"
        self._context: zmq.Context[Any] = zmq.Context.instance()
        self._socket: zmq.Socket[bytes] | None = None
        self._losses: zmq.Socket[bytes] | None = None  # of its connection, as ZeroMQ tells them
        self._back_off = BackOff()

    def open(self) -> None:
        """Connects, unless it is connected.

        Raises:
            ConnectionError: nobody answers there as a GR00T server does.
            ValueError: it takes or gives something else than the options say.
        """
        if self._socket is not None and not self._is_lost():
            return
        self.close()
        self._back_off.check(self._where)
        try:
            modalities = self._ask("get_modality_config", None, self._options.connect_timeout)
        except (ConnectionError, RuntimeError) as error:
            self.close()
            self._back_off.failed()
            raise ConnectionError(f"no GR00T server at {self._options.url}: {error}") from error
        try:
            self._check(modalities)
        except ValueError:
            self.close()
            self._back_off.failed()
            raise
        self._back_off.succeeded()

    def act(self, observation: Observation) -> NDArray[np.floating]:
        """The server's rows, as many as come, x all actions.

        Raises:
            ConnectionError: it is not there, or does not answer in time.
            RuntimeError: it says that it failed, or answers with what are no rows.
            ValueError: another server is there now, which takes or gives something else.
        """
        self.open()
        answer = self._ask("get_action", self._question(observation), self._options.timeout)
        actions = answer[0] if isinstance(answer, list) and answer else answer
        columns: list[NDArray[np.floating]] = []
        for key, names in self._options.actions.items():
            rows = actions.get(key) if isinstance(actions, Mapping) else None
            right = isinstance(rows, np.ndarray) and rows.ndim == 3 and len(rows) == 1
            if not right or rows is None or rows.shape[2] != len(names):
                given = rows.shape if isinstance(rows, np.ndarray) else shown(rows)
                raise RuntimeError(
                    f"{self._where} gave '{key}' as {given}; 1 x rows x {len(names)} is right"
                )
            columns.append(rows[0])
        return joined(columns, self._where)

    def close(self) -> None:
        """Throws the connection away; the next question makes a new one."""
        sockets = (self._losses, self._socket)
        self._socket = None
        self._losses = None
        for socket in sockets:
            if socket is not None:
                socket.close(linger=0)

    def _is_lost(self) -> bool:
        """Whether the connection was: ZeroMQ makes a new one by itself, to whoever listens then."""
        return self._losses is not None and bool(self._losses.poll(0))

    def _question(self, observation: Observation) -> dict[str, Any]:
        moments = moments_of(observation)
        video: dict[str, Any] = {}
        for place, name in self._options.images.items():
            images = [moment.images[name] for moment in moments]
            video[place[-1]] = np.stack(images)[None]  # a batch of one
        state: dict[str, Any] = {}
        for place, names in self._options.state.items():
            numbers = [state_array(moment, names) for moment in moments]
            state[place[-1]] = np.stack(numbers)[None]
        language = {self._options.prompt_key[-1]: [[observation.instruction.text]]}
        return {
            "observation": {VIDEO: video, STATE: state, LANGUAGE: language},
            "options": None,
        }

    def _ask(self, endpoint: str, data: Any, timeout: float) -> Any:
        """Raises ConnectionError without an answer, RuntimeError for an error or what is none."""
        question: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            question["data"] = data
        if self._key:
            question["api_token"] = self._key
        if self._socket is None:
            self._socket = self._context.socket(zmq.REQ)
            self._socket.setsockopt(zmq.LINGER, 0)  # a question that nobody took is not kept
            self._socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
            self._losses = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self._socket.connect(self._options.url)
        self._socket.setsockopt(zmq.SNDTIMEO, round(1e3 * timeout))
        self._socket.setsockopt(zmq.RCVTIMEO, round(1e3 * timeout))
        try:
            self._socket.send(msgpack.packb(question, default=_as_map))
            answer = self._socket.recv()
        except zmq.Again:
            # A REQ socket without its answer takes no other question.
            self.close()
            raise ConnectionError(f"{self._where} did not answer within {timeout:g} s") from None
        except zmq.ZMQError as error:
            self.close()
            raise ConnectionError(f"{self._where}: {error}") from error
        if self._is_lost():
            self.close()
            raise ConnectionError(
                f"{self._where} went, and who answers now may be another; the next question is "
                "asked when that one has said what it takes and gives"
            )
        try:
            unpacked = msgpack.unpackb(answer, object_hook=_from_map, strict_map_key=False)
        except Exception as error:  # msgpack's and numpy's own
            self.close()
            raise RuntimeError(
                f"{self._where} gave what is no message: {shown(str(error))}"
            ) from None
        if isinstance(unpacked, Mapping) and "error" in unpacked:
            raise RuntimeError(f"{self._where} failed: {shown(unpacked['error'], 300)}")
        return unpacked

    def _check(self, modalities: Any) -> None:
        """The options are what the server takes and gives. Raises ValueError."""
        ours = {
            VIDEO: [place[-1] for place in self._options.images],
            STATE: [place[-1] for place in self._options.state],
            LANGUAGE: [self._options.prompt_key[-1]],
            ACTION: list(self._options.actions),
        }
        for kind, names in ours.items():
            config = modalities.get(kind) if isinstance(modalities, Mapping) else None
            theirs = config.get("modality_keys") if isinstance(config, Mapping) else None
            moments = config.get("delta_indices") if isinstance(config, Mapping) else None
            if not isinstance(theirs, list) or not isinstance(moments, list):
                raise ValueError(f"{self._where} does not say what its {kind} is: {shown(config)}")
            if sorted(map(str, theirs)) != sorted(names):
                raise ValueError(
                    f"{self._where} has the {kind} {', '.join(map(str, theirs)) or 'none'}, and "
                    f"the policy file's options {', '.join(names) or 'none'}; give the server's"
                )
            if kind == ACTION and len(moments) < self._options.rows:
                raise ValueError(
                    f"{self._where} gives {len(moments)} rows, and the policy file wants "
                    f"{self._options.rows} (rows, or horizon); give no more than come"
                )
            sent = self._options.history
            if kind in (VIDEO, STATE) and len(moments) != sent:
                raise ValueError(
                    f"{self._where} wants {len(moments)} moments of {kind}, and {sent} would be "
                    f"sent; give history: {{observations: {len(moments)}}} in the policy file"
                )


def _as_map(value: object) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in ARRAY_KINDS:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": file.getvalue()}
    raise TypeError(f"{shown(value)} cannot be sent; texts, numbers and arrays of numbers can")


def _from_map(fields: dict[Any, Any]) -> Any:
    if fields.get("__ndarray_class__"):
        array = np.load(io.BytesIO(fields["as_npy"]), allow_pickle=False)
        if array.dtype.kind not in ARRAY_KINDS:
            raise ValueError(f"an array of {array.dtype}; numbers are right")
        return array
    if "__ModalityConfig_class__" in fields:
        return fields.get("as_json")
    return fields
