"""How long one step takes in this process: `Gate.step` beside the plain gate's clamp."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from vla_ros.bench.gate_naive import clamp
from vla_ros.bench.gate_robot import CHANNELS, NARROW_ROOM_M, ROBOT, SCAN, WIDE_ROOM_M, chunk, room
from vla_ros.bench.pipeline_measure import milliseconds
from vla_ros.core.types import Instruction
from vla_ros.operator.processes import BESIDE_GATE
from vla_ros.safety.gate import Gate, LatestInputs, State
from vla_ros.safety.obstacles import look
from vla_ros.safety.positions import CONFIRMATIONS
from vla_ros.safety.rule import Verdict
from vla_ros.safety.rules.instruction_age import INSTRUCTION_LIMIT
from vla_ros.safety.settings import Settings

PERIOD_NS = 20_000_000
CHUNK_PERIOD_NS = 100_000_000  # a new action, and a new scan
EPOCH_NS = 1_700_000_000_000_000_000  # the ROS clock when the steady one is 0
IN_TURN = 1000  # steps of one gate before it is another's turn
SENSOR = ROBOT.sensors[0]
# source -> how long it may be silent, ns: as the gate's node asks for by default
SOURCES = {
    **dict.fromkeys(map("node {}".format, BESIDE_GATE), 250_000_000),
    "/joint_states": 300_000_000,
    "/odom": 300_000_000,
}
WARM_UP = 100  # steps that are not counted


Took = tuple[int, int]  # ns on the wall's clock, and of processor time


def clocks() -> Took:
    """Both clocks now. Processor time leaves out what other processes took meanwhile."""
    return time.perf_counter_ns(), time.thread_time_ns()


def since(begin: Took) -> Took:
    """What both clocks show since then."""
    wall, processor = begin
    return time.perf_counter_ns() - wall, time.thread_time_ns() - processor


class Ours:
    """An armed gate, and a robot around it that follows. ValueError where it does not move."""

    def __init__(self, distance: float) -> None:
        self._distance = distance  # m, of the walls around it
        # s: one instruction lasts for all steps; 20,000 of them are 400 s to the gate
        limits = {INSTRUCTION_LIMIT.name: 3_600_000.0}
        self._gate = Gate(ROBOT, Settings(sources=SOURCES, limits=limits))
        self._inputs = LatestInputs(instruction=Instruction(0, 1, ""))
        self._steady = 0
        self.limited = 0
        self.looks = list[int]()  # ns of processor time for each scan
        for _ in range(CONFIRMATIONS):  # until it is known where the joints stand
            self._hear({})
            self._gate.step(self._steady, EPOCH_NS + self._steady, self._inputs)
            self._steady += PERIOD_NS
        self._hear({})
        armed, why = self._gate.arm(self._steady, EPOCH_NS + self._steady, self._inputs)
        if not armed:
            raise ValueError(
                f"the bench's gate cannot be armed: {why}; the bench does not fit the gate any more"
            )
        self._inputs.instruction = Instruction(EPOCH_NS + self._steady, 2, "go")

    def _hear(self, action: Any) -> None:
        """All sources speak; the joints stand where `action` (channel -> value) sent them."""
        now = self._steady
        self._inputs.seen.update(dict.fromkeys(SOURCES, now))
        for name in CHANNELS[2:]:  # the first two are the base's velocities
            self._inputs.measured[name] = (action.get(name, 0.5), now)
        if now % CHUNK_PERIOD_NS == 0:
            ranges, angles = room(self._distance)
            begin = clocks()
            reading = look(SENSOR, EPOCH_NS + now, ranges, angles, 0.05, 10.0)
            self.looks.append(since(begin)[1])
            self._inputs.readings[SCAN] = (reading, now)

    def step(self) -> Took:
        """One period later. A gate that is not ACTIVE is not what is to be measured."""
        self._steady += PERIOD_NS
        stamp = EPOCH_NS + self._steady
        if self._steady % CHUNK_PERIOD_NS == 0 or self._inputs.chunk is None:
            sequence = self._steady // CHUNK_PERIOD_NS
            # the image that it was made of is 50 ms old
            taken = stamp - 50_000_000
            self._inputs.chunk = chunk(sequence, taken, 2, CHUNK_PERIOD_NS / 1e9)
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
    """The body of the plain gate's callback, with the values as a message holds them."""

    def __init__(self) -> None:
        self._messages = []
        for number in range(100):  # made beforehand: making them is not what is to be measured
            self._messages.append(array("f", chunk(number, 0, 2, 0.1).values.tobytes()))
        self._count = 0

    def step(self) -> Took:
        self._count += 1
        values = self._messages[self._count % len(self._messages)]
        begin = clocks()
        clamp(values, len(CHANNELS))
        return since(begin)


def measure(steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """The gates in turns, so that what the machine does meanwhile falls on all of them.

    Returns:
        Figure -> gate -> percentiles in ms. The plain gate looks at no scan.
    """
    wide = Ours(WIDE_ROOM_M)
    narrow = Ours(NARROW_ROOM_M)
    plain = Plain()
    gates: dict[str, Callable[[], Took]] = {
        "wide": wide.step,
        "narrow": narrow.step,
        "plain": plain.step,
    }
    taken: dict[str, list[Took]] = defaultdict(list)
    for ask in gates.values():
        for _ in range(WARM_UP):
            ask()
    wide.limited = 0
    for begin in range(0, steps, IN_TURN):
        for name, ask in gates.items():
            for _ in range(min(IN_TURN, steps - begin)):
                taken[name].append(ask())
    walls = {}
    processors = {}
    for name, times in taken.items():
        wall, processor = zip(*times)
        walls[name] = milliseconds(wall, digits=4)
        processors[name] = milliseconds(processor, digits=4)
    walls["wide"]["limited"] = round(wide.limited / steps, 3)
    return {
        "step": {"ours": walls["wide"], "plain": walls["plain"]},
        "step_calm": {"ours": processors["wide"], "plain": processors["plain"]},
        "narrow": {"ours": walls["narrow"]},
        "narrow_calm": {"ours": processors["narrow"]},
        "look": {"ours": milliseconds(wide.looks, digits=4)},
    }
