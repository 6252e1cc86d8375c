"""Offers a policy of ours to others: openpi's own client asks it, or the policy `remote`.

One question, one answer, over a websocket. The greeting says what the policy wants and gives. One
policy is behind all connections, and is asked by one at a time.
"""

from __future__ import annotations

import hmac
import http
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from vla_ros.core.shown import shown
from vla_ros.core.types import NANOSECONDS, Instruction, Observation, Prefix
from vla_ros.policies.base import Policy, PolicySpec
from vla_ros.policies.remote.wire import MOST_BYTES, PREFIX, packed, unpacked

INTERNAL_ERROR = 1011  # as openpi's server closes after an error
STATE = "state"
IMAGES = "images"
PROMPT = "prompt"
RESET = "reset"


class PolicyServer:
    """A policy behind a port.

    A question is {"images": {key: height x width x 3 uint8}, "state": array, "prompt": text}, with
    the spec's images, and its state's numbers in its order, and perhaps a prefix (wire.PREFIX), and
    "reset", true where what the policy remembers does not count; the answer {"actions": T x C,
    "server_timing": {"infer_ms": ms}}.

    Args:
        policy, spec: what is offered; what the policy has as `metadata` goes with the greeting.
        host, port: where; port 0: any that is free.
        key: what a client must send as `Authorization: Api-Key`; empty: nothing.
        say: hears who comes and goes, and what fails.
    """

    def __init__(
        self,
        policy: Policy,
        spec: PolicySpec,
        host: str,
        port: int,
        key: str = "",
        say: Callable[[str], None] = print,
    ) -> None:
        self._policy = policy
        self._spec = spec
        self._key = key
        self._say = say
        self._lock = threading.Lock()
        self._last_prompt: str | None = None
        self._instruction_id = 0
        self._server: Server = serve(
            self._talk,
            host,
            port,
            compression=None,
            max_size=MOST_BYTES,
            process_request=self._admit,
            # A client that thinks between two questions is not to be taken for gone.
            ping_interval=None,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.socket.getsockname()[1]
        return port

    def serve_forever(self) -> None:
        """Until `close`."""
        self._server.serve_forever()

    def close(self) -> None:
        """Ends `serve_forever`, and takes nobody in any more."""
        self._server.shutdown()

    def policy_file(self) -> str:
        """The policy file by which the policy `remote` asks this server from this machine."""
        spec = self._spec
        sizes = set(spec.images.values())
        options: dict[str, Any] = {
            "url": f"ws://127.0.0.1:{self.port}",
            "images": {IMAGES: {name: name for name in spec.images}},
            "state": {STATE: list(spec.state)} if spec.state else {},
            "actions": list(spec.channels),
            "rows": spec.steps,
        }
        if len(sizes) == 1:
            options["image_size"] = list(sizes.pop())
        if spec.units:
            options["units"] = dict(spec.units)
        if spec.kinds:
            options["kinds"] = dict(spec.kinds)
        file: dict[str, Any] = {"policy": "remote", "options": options}
        file["rate"] = NANOSECONDS / spec.step
        if spec.history > 1:
            spacing = (spec.history_spacing or spec.step) / NANOSECONDS
            file["history"] = {"observations": spec.history, "spacing": spacing}
        return yaml.safe_dump(file, sort_keys=False)

    def metadata(self) -> dict[str, Any]:
        """What the policy wants and gives, by its spec."""
        spec = self._spec
        images: dict[str, list[int]] = {}
        for name, size in spec.images.items():
            images[name] = [int(side) for side in size]
        return {
            "policy": self._policy.name,
            "images": images,
            "state": list(spec.state),
            "actions": list(spec.channels),
            "units": dict(spec.units),
            "kinds": dict(spec.kinds),
            "horizon": spec.steps,
            "rate": NANOSECONDS / spec.step,
            **getattr(self._policy, "metadata", {}),
        }

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """None: come in."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        given = request.headers.get("Authorization", "")
        # In constant time: how long a refusal takes must not say how much of the key was right.
        if self._key and not hmac.compare_digest(given.encode(), f"Api-Key {self._key}".encode()):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a key is needed\n")
        return None

    def _talk(self, connection: ServerConnection) -> None:
        """With one client, in a thread of its own."""
        peer = connection.remote_address[0]
        self._say(f"{peer} is connected")
        try:
            connection.send(packed(self.metadata()))
            for question in connection:
                connection.send(packed(self._answer(question)))
        except ConnectionClosed:
            pass
        except Exception as error:
            # openpi's clients expect the error as a text, and then the end. What stands in the
            # traceback beside its last line is nobody's business out there.
            self._say(f"{peer}: {traceback.format_exc()}")
            try:
                connection.send(f"{type(error).__name__}: {error}")
                connection.close(INTERNAL_ERROR, "see the message before")
            except ConnectionClosed:
                pass
        self._say(f"{peer} is gone")

    def _answer(self, question: str | bytes) -> dict[str, Any]:
        """Raises ValueError for what is no question, and whatever the policy raises."""
        if isinstance(question, str):
            raise ValueError("a question is msgpack, and this is a text")
        asked = unpacked(question)
        if not isinstance(asked, Mapping):
            raise ValueError(f"a question is a map, and this is {shown(asked)}")
        with self._lock:
            observation = self._observation(asked)
            began = time.perf_counter()
            rows = self._policy.predict(observation)
        spent_ms = (time.perf_counter() - began) * 1e3
        return {
            "actions": np.ascontiguousarray(rows, np.float32),
            "server_timing": {"infer_ms": spent_ms},
        }

    def _observation(self, asked: Mapping[str, Any]) -> Observation:
        """Raises ValueError where it is not what the policy wants."""
        prompt = asked.get(PROMPT)
        if not isinstance(prompt, str):
            raise ValueError(f"the question's prompt is {shown(prompt)}; give a text")
        # With a history, images and state have an axis more in front, oldest first.
        moments = self._spec.history
        axis = (moments,) if moments > 1 else ()
        images = asked.get(IMAGES, {})
        seen: dict[str, Any] = {}
        for name, size in self._spec.images.items():
            image = images.get(name) if isinstance(images, Mapping) else None
            shape = (*axis, *size, 3)
            right = isinstance(image, np.ndarray) and image.shape == shape
            if not right or image is None or image.dtype != np.uint8:
                given = shown(image) if not isinstance(image, np.ndarray) else image.shape
                wanted = " x ".join(map(str, shape))
                raise ValueError(
                    f"the question's images: '{name}' is {given}; {wanted} of uint8 is right"
                )
            seen[name] = image.reshape(moments, *size, 3)
        count = len(self._spec.state)
        numbers = np.zeros((moments, 0))
        if count:
            given_state = np.asarray(asked.get(STATE, ()))
            if given_state.shape != (*axis, count) or given_state.dtype.kind not in "fiu":
                raise ValueError(
                    f"the question's state has the shape {given_state.shape}; "
                    f"{count} numbers are right: {', '.join(self._spec.state)}"
                )
            numbers = given_state.reshape(moments, count)
        prefix = self._prefix(asked.get(PREFIX))
        # Other words are another instruction: what the policy remembered does not hold for it.
        if prompt != self._last_prompt or asked.get(RESET) is True:
            self._last_prompt = prompt
            self._instruction_id += 1
            self._policy.reset()
        now = time.time_ns()
        instruction = Instruction(now, self._instruction_id, prompt)
        observations: list[Observation] = []
        for moment in range(moments):
            state = dict(zip(self._spec.state, map(float, numbers[moment])))
            shown_then = {name: stack[moment] for name, stack in seen.items()}
            ago = (moments - 1 - moment) * (self._spec.history_spacing or self._spec.step)
            observations.append(Observation(now - ago, instruction, shown_then, state))
        return replace(observations[-1], history=tuple(observations[:-1]), prefix=prefix)

    def _prefix(self, asked: Any) -> Prefix | None:
        """What is left of the chunk before, for a policy that continues it.

        Raises ValueError where it is none.
        """
        if asked is None or not self._spec.takes_prefix:
            return None
        given = asked if isinstance(asked, Mapping) else {}
        rows = given.get("rows")
        numbers = (given.get("delay"), given.get("horizon"))
        columns = len(self._spec.channels)
        right = isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == columns
        # `type`, since to `isinstance` true is a whole number.
        if not right or rows is None or set(map(type, numbers)) != {int}:
            shape = rows.shape if isinstance(rows, np.ndarray) else shown(rows)
            raise ValueError(
                f"the question's prefix has rows {shape}, delay and horizon {shown(numbers)}; "
                f"K x {columns} and two whole numbers are right"
            )
        return Prefix(np.asarray(rows, np.float32), given["delay"], given["horizon"])
