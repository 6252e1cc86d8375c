"""How long one question to the gate takes, in this process: `Gate.step` beside the plain gate's clamp."""
from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

from vla_ros.core.types import Command
from vla_ros.safety.gate import Gate, Inputs, State
from vla_ros.safety.rules import Settings, Verdict
from vla_ros.tools.bench.gate_plain import clamp
from vla_ros.tools.bench.gate_robot import CHANNELS, ROBOT, chunk
from vla_ros.tools.bench.measure import milliseconds

PERIOD, CHUNKS = 20_000_000, 100_000_000  # ns
EPOCH = 1_700_000_000_000_000_000
NODES = ("camera_ingest", "command_ingest", "synchronizer", "inference", "supervisor")
SOURCES = {**{f"node {name}": 250_000_000 for name in NODES}, "/joint_states": 300_000_000, "/odom": 300_000_000}
WARM_UP = 100  # steps that are not counted


class Ours:
    """An armed gate, and a robot around it that follows."""

    def __init__(self) -> None:
        self._gate, self._inputs = Gate(ROBOT, Settings(sources=SOURCES)), Inputs(command=Command(0, 1, ""))
        self._steady, self.limited = 0, 0
        self._hear({})
        self._gate.step(self._steady, EPOCH, self._inputs)
        armed, why = self._gate.arm(self._steady, self._inputs)
        if not armed:
            raise ValueError(f"the bench's gate cannot be armed: {why}; the bench does not fit the gate any more")
        self._inputs.command = Command(EPOCH, 2, "go")

    def _hear(self, action: Any) -> None:
        now = self._steady
        self._inputs.seen.update(dict.fromkeys(SOURCES, now))
        self._inputs.measured.update({name: (action.get(name, 0.5), now) for name in CHANNELS[2:]})

    def step(self) -> int:
        """One period later; ns that the gate took. A gate that is not ACTIVE is not what is to be measured."""
        self._steady += PERIOD
        stamp = EPOCH + self._steady
        if self._steady % CHUNKS == 0 or self._inputs.chunk is None:
            self._inputs.chunk = chunk(self._steady // CHUNKS, stamp - 50_000_000, 2, CHUNKS / 1e9)
        begin = time.perf_counter_ns()
        action, report = self._gate.step(self._steady, stamp, self._inputs)
        took = time.perf_counter_ns() - begin
        if report.state is not State.ACTIVE:
            raise ValueError(f"the bench's gate is {report.state.name}: {report.reason}; "
                             "the bench does not fit the gate any more")
        self.limited += report.verdict is Verdict.LIMITED
        self._hear(action)
        return took


class Plain:
    def __init__(self) -> None:
        self._messages = [array("f", chunk(number, 0, 2, 0.1).values.tobytes()) for number in range(100)]
        self._count = 0

    def step(self) -> int:
        self._count += 1
        values = self._messages[self._count % len(self._messages)]
        begin = time.perf_counter_ns()
        clamp(values, len(CHANNELS))
        return time.perf_counter_ns() - begin


def measure(steps: int) -> dict[str, dict[str, float]]:
    """Percentiles in ms, in turns of 1000 steps."""
    ours, plain = Ours(), Plain()
    taken: dict[str, list[int]] = {"ours": [], "plain": []}
    asked: dict[str, Callable[[], int]] = {"ours": ours.step, "plain": plain.step}
    for step in asked.values():
        for _ in range(WARM_UP):
            step()
    ours.limited = 0
    for begin in range(0, steps, 1000):
        for name, step in asked.items():
            taken[name] += [step() for _ in range(min(1000, steps - begin))]
    out = {name: milliseconds(values, digits=4) for name, values in taken.items()}
    out["ours"]["limited"] = round(ours.limited / steps, 3)
    return out
