"""Processes that measure, with time limits: one that hangs or crashes costs what it was at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

POLL_S = 0.02  # of what compiles for seconds
QUOTED_CHARACTERS = 300  # of what a process said last, and as many before a crash
Line = dict[str, Any]


class Measuring:
    """A `gpu_trial` that runs.

    Attributes:
        index: The item that it is at; -1 before the first.
        phase: Of that item: starting, making, made, measuring, graph, done.
        since: When the phase began, s on the monotonic clock.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, environment: Mapping[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.spec = spec
        self.index = -1
        self.phase = "starting"
        self.since = time.monotonic()
        self._out = folder / "out"
        self._err = folder / "err"
        self._read = 0  # bytes
        with self._out.open("wb") as out, self._err.open("wb") as err:
            # To files: what it said is there after a crash, and no full pipe can stop it.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vla_ros.bench.gpu_trial", json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **environment},
                start_new_session=True,  # so that `kill` ends its compilers as well
            )

    def lines(self) -> list[Line]:
        """What it has said since this was asked last; whole lines of JSON."""
        with self._out.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]  # the rest of a line comes with the next call
        self._read += len(text)
        lines: list[Line] = []
        for written in text.splitlines():
            try:
                lines.append(dict(json.loads(written)))
            except (ValueError, TypeError):
                continue  # a library may print what it likes
        for line in lines:
            at = (line.get("item", self.index), line.get("phase", self.phase))
            if at != (self.index, self.phase):
                self.index, self.phase = at
                self.since = time.monotonic()
        return lines

    def go(self) -> None:
        """It has waited with what it has made, and may measure."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, as `ended` says

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """How it ended and what it said last, in a sentence."""
        code = self._process.wait()
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        text = " ".join(self._err.read_text(encoding="utf-8", errors="replace").split())
        if not text:
            return f"its process ended with {ending}"
        # A library's own words come before Python's, which say where it was, and then list all that
        # is loaded.
        crash = text.find("Fatal Python error")
        end = len(text) if crash < 0 else crash + QUOTED_CHARACTERS
        start = max(0, end - 2 * QUOTED_CHARACTERS)
        return f"its process ended with {ending}: … {text[start:end]}"

    def kill(self) -> None:
        """Ends it, and what it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


class Runner:
    """Runs specs, so many at once, until the time is over.

    Args:
        hear: Is given the spec, the item's index and a line, for each line.
        fail: Is given the spec, the item's index, the phase it was at and why, in words.
        deadline: On the monotonic clock; what is not done by then is left.
    """

    def __init__(
        self,
        hear: Callable[[Mapping[str, Any], int, Line], None],
        fail: Callable[[Mapping[str, Any], int, str, str], None],
        deadline: float,
        folder: Path,
    ) -> None:
        self._hear = hear
        self._fail = fail
        self._deadline = deadline
        self._folder = folder
        self._started = 0

    def run(
        self,
        specs: Sequence[Mapping[str, Any]],
        at_once: int,
        limits_s: Mapping[str, float],
        environment: Callable[[Mapping[str, Any]], Mapping[str, str]],
        reserve_s: float = 0.0,
    ) -> None:
        """All specs. Those that `wait` are made at once and measured one by one when all are made,
        or when no more than `reserve_s` are left for that.

        Args:
            limits_s: Of the phases `starting` (of the process), `making` and `measuring`.
            environment: What a spec's process finds beside this one's.
        """
        self._limits_s = limits_s
        queue = list(specs)
        making: list[Measuring] = []
        ready: list[Measuring] = []
        try:
            while (queue or making) and time.monotonic() < self._deadline - reserve_s:
                while queue and len(making) < at_once:
                    self._started += 1  # names its folder
                    spec = queue.pop(0)
                    place = self._folder / str(self._started)
                    making.append(Measuring(spec, place, environment(spec)))
                for trial in list(making):
                    rest = self._step(trial)
                    if rest is not None:
                        making.remove(trial)
                        queue[:0] = rest
                    elif trial.spec["wait"] and trial.phase == "made":
                        making.remove(trial)
                        ready.append(trial)
                time.sleep(POLL_S)
            for trial in making:
                trial.kill()  # so that nothing disturbs those that are measured
            for trial in ready:
                trial.go()
                trial.since = time.monotonic()
                while time.monotonic() < self._deadline and self._step(trial) is None:
                    time.sleep(POLL_S)
        finally:
            for trial in (*making, *ready):
                trial.kill()

    def _step(self, trial: Measuring) -> list[Mapping[str, Any]] | None:
        """None: it goes on. Otherwise it has ended, and these specs are what it leaves to do."""
        ended = trial.ended  # before its lines: none come after it
        for line in trial.lines():
            self._hear(trial.spec, line.get("item", -1), line)
        items = trial.spec["items"]
        if ended and trial.phase == "done" and trial.index == len(items) - 1:
            trial.kill()
            return []
        limit = self._limits_s.get(trial.phase, self._limits_s["measuring"])
        waits = trial.spec["wait"] and trial.phase == "made"
        late = time.monotonic() - trial.since > limit and not waits
        if not ended and not late:
            return None
        trial.kill()
        why = trial.last_words() if ended else f"it was {trial.phase} for more than {limit:g} s"
        if trial.index < 0:  # nothing of it can run
            for index in range(len(items)):
                self._fail(trial.spec, index, trial.phase, why)
            return []
        if trial.phase != "done":  # else it ended between two items
            self._fail(trial.spec, trial.index, trial.phase, why)
        left = items[trial.index + 1 :]
        return [{**trial.spec, "items": left, "facts": False}] if left else []
