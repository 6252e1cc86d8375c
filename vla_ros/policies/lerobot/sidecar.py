"""LeRobot's own process beside ours: started, asked, watched, started again, and surely ended.

It answers on loopback by openpi's protocol, for a key that is made up for each start. While it is
not there, a question fails at once as a lost connection, and the fallback policy drives.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vla_ros.core.robot_fields import number
from vla_ros.core.shown import shown
from vla_ros.core.types import NANOSECONDS, Observation
from vla_ros.policies.base import LOADING_TIMEOUT_S, PolicySpec, Rows
from vla_ros.policies.lerobot.checkpoint import Checkpoint, refuse_code
from vla_ros.policies.lerobot.environment import environment_python
from vla_ros.policies.remote.options import RemoteOptions

if TYPE_CHECKING:
    from vla_ros.policies.remote.openpi import OpenPiServer

# env: the folder of its environment. device: cpu, cuda, ... tokenizer: a folder with one, where the
# checkpoint names a hub's. seed: of each chunk's noise; without it, each has another. timeout: for
# an answer, s. start_timeout: until it is loaded, s.
SIDECAR_OPTIONS = ("env", "device", "tokenizer", "seed", "timeout", "start_timeout")
SCRIPT = Path(__file__).with_name("sidecar_main.py")
KEY_VARIABLE = "VLA_SIDECAR_KEY"
ANSWER_TIMEOUT_S = 2.0
START_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 5.0
# A single late answer is a busy machine; after so many in a row it hangs, and is ended.
MOST_LATE_ANSWERS = 3
FIRST_PAUSE_S = 1.0  # before it is started again; twice as long each time
LONGEST_PAUSE_S = 60.0
LONGEST_LINE_BYTES = 65_536  # of its announcement


class Sidecar:
    """Runs a checkpoint as LeRobot does; not for two threads at once.

    Args:
        options: The policy's, as they stand in the policy file.
        given: Those of `sidecar`.
        checkpoint, spec: What runs, and what is expected of it.
        say: Hears what takes long.

    Raises:
        ValueError: An option is wrong, there is no environment, or LeRobot cannot load the
            checkpoint.
        ConnectionError: It does not come up in time.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        given: Mapping[str, Any],
        checkpoint: Checkpoint,
        spec: PolicySpec,
        say: Callable[[str], None],
    ) -> None:
        for key in ("env", "device", "tokenizer"):
            if not isinstance(given.get(key, ""), str):
                raise ValueError(
                    f"policy 'lerobot': sidecar: {key} is {shown(given[key])}; give a text"
                )
        if "seed" in given and type(given["seed"]) is not int:
            raise ValueError(
                f"policy 'lerobot': sidecar: seed is {shown(given['seed'])}; give a whole number"
            )
        timeout = _seconds(given, "timeout", ANSWER_TIMEOUT_S)
        start_timeout = _seconds(given, "start_timeout", START_TIMEOUT_S)
        if start_timeout > LOADING_TIMEOUT_S:
            raise ValueError(
                f"policy 'lerobot': sidecar: start_timeout is {start_timeout:g} s; a policy that "
                f"loads for longer than {LOADING_TIMEOUT_S:g} s counts as hung: give less"
            )
        refuse_code(checkpoint)
        python = environment_python(given.get("env", ""))
        self._spec = spec
        self._timeout = timeout
        self._wants_reset = False
        self._late = 0
        self._asked: OpenPiServer | None = None
        self._address = (0, "")  # of whom is asked
        say(f"LeRobot loads {checkpoint.folder} in a process of its own ({python})")
        self._keeper = Keeper([str(python), "-I", str(SCRIPT)], dict(options), start_timeout)
        # Also at the end of this process; whoever forgets the policy ends its process.
        weakref.finalize(self, self._keeper.close)
        try:
            # The keeper ends a start that takes too long by itself.
            self._keeper.wait(start_timeout + 5.0)
            server = self._server()
            server.open()
        except BaseException:
            self._keeper.close()
            raise
        self.name = str(server.metadata.get("policy", "lerobot"))
        self.notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        return {"engine": f"LeRobot in the sidecar ({self._keeper.state})"}

    def predict(self, observation: Observation) -> Rows:
        """Its rows, T x C.

        Raises:
            ConnectionError: It is not there, or does not answer in time.
            RuntimeError: It says that it failed, or gives no rows for these actions.
        """
        server = self._server()
        began = time.monotonic()
        try:
            rows = server.act(observation, {"reset": True} if self._wants_reset else {})
        except ConnectionError as error:
            # What hung up at once is seen by the keeper; what keeps us waiting is not.
            if time.monotonic() - began < self._timeout:
                raise
            self._late += 1
            if self._late >= MOST_LATE_ANSWERS:
                self._keeper.end_process(f"it did not answer {MOST_LATE_ANSWERS} times in a row")
            raise ConnectionError(
                f"{error}; a policy that needs longer has timeout in sidecar"
            ) from error
        self._late = 0
        self._wants_reset = False
        if len(rows) < self._spec.steps:
            raise RuntimeError(
                f"the sidecar gave {len(rows)} rows, and {self._spec.steps} are expected"
            )
        return rows[: self._spec.steps]

    def reset(self) -> None:
        """Said with the next question: nobody else asks in between."""
        self._wants_reset = True

    def _server(self) -> OpenPiServer:
        """Whom to ask now; another one after each start. Raises ConnectionError."""
        from vla_ros.policies.remote.openpi import OpenPiServer

        address = self._keeper.address()
        if self._asked is None or self._address != address:
            port, key = address
            spec = self._spec
            options = RemoteOptions(
                f"ws://127.0.0.1:{port}",
                images={("images", name): name for name in spec.images},
                state={("state",): spec.state} if spec.state else {},
                actions={"actions": spec.channels},
                rate=NANOSECONDS / spec.step,
                rows=spec.steps,
                history=spec.history,
                timeout=self._timeout,
                connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout),
            )
            self._asked = OpenPiServer(options, key)
            self._address = address
            self._late = 0
        return self._asked


class Keeper:
    """The thread that starts the process, sees it end, and starts it again.

    It is the only one that starts it: the kernel ends the process when that thread ends.

    Args:
        command: What to start; the request comes after it.
        options: The policy's, for the request.
        start_timeout: Until it announces its port, s.
    """

    def __init__(
        self, command: list[str], options: Mapping[str, Any], start_timeout: float
    ) -> None:
        self._command = command
        self._options = options
        self._start_timeout = start_timeout
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0  # 0: it is not ready
        self._key = ""
        self._problem = ""  # the last
        self._refused = False  # at its first start it said why it cannot run
        self._was_ready = False
        self._ended_for = ""  # why we ended it
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="sidecar", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """In a word or a sentence, for people."""
        with self._changed:
            process = self._process
            if self._port and process is not None:
                return f"process {process.pid}"
            return self._problem or "starting"

    def wait(self, seconds: float) -> None:
        """Until it is ready.

        Raises:
            ValueError: It says that it cannot run.
            ConnectionError: It is not ready by then, or ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._port or self._problem, seconds)
            if self._refused:
                raise ValueError(self._problem)
        self.address()

    def address(self) -> tuple[int, str]:
        """Its port, and the key for it. Raises ConnectionError while it is not ready."""
        with self._changed:
            if not self._port:
                raise ConnectionError(
                    f"the sidecar is not ready: {self._problem or 'it is being started'}"
                )
            return self._port, self._key

    def end_process(self, why: str) -> None:
        """It is started again, after a pause."""
        with self._changed:
            self._ended_for = why
            self._port = 0
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Ends it for good."""
        self._closing.set()
        with self._changed:
            if self._process is not None:
                self._process.kill()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    # -- in the thread -----------------------------------------------------------------
    def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            began = time.monotonic()
            problem = self._run_once()
            with self._changed:
                self._port = 0
                self._process = None
                self._problem = problem
                self._ended_for = ""
                self._changed.notify_all()
                if self._refused:
                    return
            # What ran for long has earned a quick start.
            if time.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self._closing.wait(pause_s)
            pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)

    def _run_once(self) -> str:
        """From its start to its end. Returns why it ended."""
        key = secrets.token_hex(16)
        request = {
            "options": self._options,
            "host": "127.0.0.1",
            "port": 0,
            "key": KEY_VARIABLE,
            "parent": os.getpid(),
        }
        try:
            process = subprocess.Popen(
                [*self._command, json.dumps(request)],
                stdin=subprocess.PIPE,  # its end tells the process that we are gone
                stdout=subprocess.PIPE,
                env={**os.environ, KEY_VARIABLE: key},
            )
        except (OSError, TypeError, ValueError) as error:
            return f"{self._command[0]} cannot be started: {error}"
        with self._changed:
            self._process = process
        if self._closing.is_set():  # close() came before it could see the process
            process.kill()
        with process:
            assert process.stdout is not None
            line = _line_of(process.stdout, self._start_timeout)
            if line is None:
                process.kill()
                return f"it was not ready within {self._start_timeout:g} s (start_timeout)"
            port, problem = _announced(line)
            if problem:
                process.kill()
                self._refused = not self._was_ready
                return problem
            with self._changed:
                if port and not self._ended_for:
                    self._port = port
                    self._key = key
                    self._was_ready = True
                    self._problem = ""
                    self._changed.notify_all()
            code = process.wait()
            with self._changed:
                return self._ended_for or f"it ended (exit code {code}); its last words are above"


def _line_of(pipe: IO[bytes], seconds: float) -> bytes | None:
    """The first line that comes; empty: the other end was closed. None: nothing in that time."""
    end = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE_BYTES:
            if not selector.select(max(0.0, end - time.monotonic())):
                return None
            part = os.read(pipe.fileno(), 4096)
            if not part:
                return line
            line += part
    return line


def _announced(line: bytes) -> tuple[int, str]:
    """The port, or the problem that it cannot run for; neither: it said nothing."""
    try:
        said = json.loads(line) if line else {}
    except ValueError:
        said = {"problem": f"the sidecar says {shown(line)}, which is no announcement"}
    if not isinstance(said, dict):
        said = {}
    port = said.get("port", 0)
    return (port if type(port) is int else 0), str(said.get("problem", ""))


def _seconds(given: Mapping[str, Any], key: str, default: float) -> float:
    return number(given.get(key, default), f"policy 'lerobot': sidecar: {key}", above=0.0)
