"""How long one question to the gate takes, in this process: `Gate.step` beside the plain gate's
clamp."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

from vla_ros.bench.gate_naive import clamp
from vla_ros.bench.gate_robot import CHANNELS, NARROW, ROBOT, SCAN, WIDE, chunk, room
from vla_ros.bench.pipeline_measure import milliseconds
from vla_ros.core.types import Instruction
from vla_ros.operator.processes import BESIDE_GATE
from vla_ros.safety.gate import Gate, LatestInputs, State
from vla_ros.safety.obstacles import look
from vla_ros.safety.positions import CONFIRMATIONS
from vla_ros.safety.rule import Verdict
from vla_ros.safety.rules.instruction_age import INSTRUCTION_LIMIT
from vla_ros.safety.settings import Settings

# ns
PERIOD = 20_000_000
CHUNKS = 100_000_000
EPOCH = 1_700_000_000_000_000_000
SENSOR = next(iter(ROBOT.obstacles.sensors if ROBOT.obstacles else ()))
SOURCES = {
    **{f"node {name}": 250_000_000 for name in BESIDE_GATE},
    "/joint_states": 300_000_000,
    "/odom": 300_000_000,
}
WARM_UP = 100  # steps that are not counted


Took = tuple[int, int]  # ns on the wall's clock, and of processor time


def clocks() -> Took:
    return time.perf_counter_ns(), time.thread_time_ns()


def since(begin: Took) -> Took:
    wall, processor = begin
    return time.perf_counter_ns() - wall, time.thread_time_ns() - processor


class Ours:
    """An armed gate, and a robot around it that follows."""

    def __init__(self, distance: float) -> None:
        self._distance = distance  # m, of the walls around it
        self._gate = Gate(
            ROBOT, Settings(sources=SOURCES, limits={INSTRUCTION_LIMIT.name: 3_600_000.0})
        )
        self._inputs = LatestInputs(instruction=Instruction(0, 1, ""))
        self._steady = 0
        self.limited = 0
        self.looks = list[int]()  # ns of processor time for each scan
        for _ in range(CONFIRMATIONS):  # until it is known where the joints stand
            self._hear({})
            self._gate.step(self._steady, EPOCH + self._steady, self._inputs)
            self._steady += PERIOD
        self._hear({})
        armed, why = self._gate.arm(self._steady, EPOCH + self._steady, self._inputs)
        if not armed:
            raise ValueError(
                f"the bench's gate cannot be armed: {why}; the bench does not fit the gate any more"
            )
        self._inputs.instruction = Instruction(EPOCH + self._steady, 2, "go")

    def _hear(self, action: Any) -> None:
        now = self._steady
        self._inputs.seen.update(dict.fromkeys(SOURCES, now))
        self._inputs.measured.update({name: (action.get(name, 0.5), now) for name in CHANNELS[2:]})
        if now % CHUNKS == 0:
            ranges, angles = room(self._distance)
            begin = clocks()
            self._inputs.readings[SCAN] = (
                look(SENSOR, EPOCH + now, ranges, angles, 0.05, 10.0),
                now,
            )
            self.looks.append(since(begin)[1])

    def step(self) -> Took:
        """One period later. A gate that is not ACTIVE is not what is to be measured."""
        self._steady += PERIOD
        stamp = EPOCH + self._steady
        if self._steady % CHUNKS == 0 or self._inputs.chunk is None:
            self._inputs.chunk = chunk(self._steady // CHUNKS, stamp - 50_000_000, 2, CHUNKS / 1e9)
        begin = clocks()
        action, report = self._gate.step(self._steady, stamp, self._inputs)
        took = since(begin)
        if report.state is not State.ACTIVE:
            raise ValueError(
                f"the bench's gate is {report.state.name}: {report.reason}; "
                "the bench does not fit the gate any more"
            )
        self.limited += report.verdict is Verdict.LIMITED
        self._hear(action)
        return took


class Plain:
    def __init__(self) -> None:
        self._messages = [
            array("f", chunk(number, 0, 2, 0.1).values.tobytes()) for number in range(100)
        ]
        self._count = 0

    def step(self) -> Took:
        self._count += 1
        values = self._messages[self._count % len(self._messages)]
        begin = clocks()
        clamp(values, len(CHANNELS))
        return since(begin)


def measure(steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """Figure -> gate -> percentiles in ms; in turns of 1000 steps. The plain gate looks at no
    scan."""
    wide = Ours(WIDE)
    narrow = Ours(NARROW)
    plain = Plain()
    asked: dict[str, Callable[[], Took]] = {
        "wide": wide.step,
        "narrow": narrow.step,
        "plain": plain.step,
    }
    taken: dict[str, list[Took]] = {name: [] for name in asked}
    for ask in asked.values():
        for _ in range(WARM_UP):
            ask()
    wide.limited = 0
    for begin in range(0, steps, 1000):
        for name, ask in asked.items():
            taken[name] += [ask() for _ in range(min(1000, steps - begin))]
    walls, processors = (
        {
            name: milliseconds((took[clock] for took in values), digits=4)
            for name, values in taken.items()
        }
        for clock in (0, 1)
    )
    walls["wide"]["limited"] = round(wide.limited / steps, 3)
    return {
        "step": {"ours": walls["wide"], "plain": walls["plain"]},
        "step_calm": {"ours": processors["wide"], "plain": processors["plain"]},
        "narrow": {"ours": walls["narrow"]},
        "narrow_calm": {"ours": processors["narrow"]},
        "look": {"ours": milliseconds(wide.looks, digits=4)},
    }
