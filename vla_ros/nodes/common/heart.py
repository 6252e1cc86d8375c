"""A node's heartbeat: from a thread of its own, for as long as the executor turns.

And which heartbeats of other nodes count.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vla_ros_msgs.msg import Heartbeat

HEARTBEAT_PERIOD_S = 0.1  # the gate's and the supervisor's time-outs are multiples of it
# An executor that turns less often than this hangs. Longer than a busy machine keeps one
# waiting, as it does while a `ros2` command starts; short, because until then a node that hears
# nothing looks well.
STALL_TIMEOUT_S = 0.5
STATES = (
    Heartbeat.UNCONFIGURED,
    Heartbeat.CONFIGURING,
    Heartbeat.BUILDING,
    Heartbeat.INACTIVE,
    Heartbeat.ACTIVE,
    Heartbeat.FINALIZED,
)


def check_heartbeat(message: Heartbeat) -> None:
    """Raises ValueError for one without a node, a process or a known state: no sign of life."""
    node = message.node[:60]
    process = message.process[:60]
    state = message.state[:40]
    if message.state not in STATES:
        raise ValueError(
            f"a heartbeat of '{node}' has state '{state}'; use one of {', '.join(STATES)}"
        )
    if not node or not process:
        raise ValueError(f"a heartbeat has node '{node}' and process '{process}'; give both")


class Pulse:
    """Of an executor, for all nodes that it runs: does it turn, and if not, is it excused?"""

    def __init__(self) -> None:
        self.excused = False
        self.resumed = -math.inf  # when it was last back from what excused it, steady s
        self._turned = -math.inf

    def turn(self) -> None:
        """The executor is alive."""
        self._turned = time.monotonic()

    @property
    def turns(self) -> bool:
        return time.monotonic() - self._turned < STALL_TIMEOUT_S

    @contextmanager
    def excuse(self) -> Iterator[None]:
        """The executor is kept busy, by work that may take minutes and that others wait for."""
        self.excused = True
        try:
            yield
        finally:
            self.excused = False
            self.turn()
            self.resumed = time.monotonic()


class Heart:
    """Calls `beat` ten times a second while the executor turns, or while it is excused.

    The executor calls `turn`. Excused, `report` is called as well, once a second. Neither may
    raise. Python runs one thread at a time: code that keeps the GIL silences this one too, and
    SIGSTOP all of them.

    Args:
        pulse: of the executor; nodes that share one share this too.
    """

    def __init__(
        self, beat: Callable[[], None], report: Callable[[], None], pulse: Pulse | None = None
    ) -> None:
        self._beat = beat
        self._report = report
        self._pulse = pulse or Pulse()
        self.turn = self._pulse.turn
        self.excused = self._pulse.excuse
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        for count in itertools.count():
            if self._over.wait(HEARTBEAT_PERIOD_S):
                return
            if self._pulse.excused or self._pulse.turns:
                self._beat()
            if self._pulse.excused and count % 10 == 0:
                self._report()
