"""A driving robot's faults: what each does, how soon it must stand, and what must hold afterwards.
One line a fault.

A limit is what the design promises: how long the slowest of the rules that may catch it waits, one
period of the gate, braking from full speed, and the way to the wheels. The driver's own time-out is
the last of them, where the gate itself is gone. BUSY is added to each when it is judged: a machine
with two cores and other work.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from lifecycle_msgs.msg import Transition

from vla_ros.bench.faults.stack import GATE, Suite
from vla_ros.operator.processes import BESIDE_GATE

# s: the gate's parameters, and the simulated driver
HEARTBEAT = 0.25
TOPIC = 0.3
AGE = 0.4
DRIVER = 0.5
FROZEN = 1.0  # s, camera_ingest's frozen_after in these runs; its default is 5 s
PERIOD = 0.02  # s, the gate's
BRAKE = 0.5 / 6.0  # s, from full speed, the gate's brake or the driver's
# s: a command or an image on its way, the driver's control step (20 ms), the wheels lagging behind
WAY = 0.06
STOP = PERIOD + BRAKE + WAY  # s, from a cause that the gate learns at once
BUSY = 0.15  # s, the one allowance for other work on the machine
FLOOD = 10_000.0  # messages a second
WORK = 0.7  # s of good work before a policy breaks: long enough for full speed
NEVER = "never"
MAY = "may"


@dataclass(frozen=True)
class Fault:
    """`inject` returns when (steady s) it happened. `rules`: those that may catch it; "driver" and
    "zero" (a zero on the wire, then silence) are for a gate that says nothing more. `itself`:
    whether the robot may go on without a person once the fault is over. `tells`: a piece of what
    the operator hears."""

    name: str
    world: str
    inject: Callable[[Suite], float]
    limit: float
    rules: frozenset[str]
    mend: Callable[[Suite], object]
    after: frozenset[str] = frozenset({"holding"})
    itself: str = NEVER
    patience: float = 4.0  # s to come back by itself
    tells: str = ""
    needs: str = ""  # what must be possible here: a key of Suite.cannot
    lasts: float = 0.3  # s that it goes on after the standstill; the robot stands so long
    measure: str = "wheels"  # or "gate", where it is the robot itself that fails
    springs: float = 0.0  # rad that a joint may move from where it stands, where something held it


def nothing(suite: Suite) -> None:
    """Nobody has to do anything."""


# -- processes -------------------------------------------------------------------------
def send(name: str, number: int, suite: Suite) -> float:
    now = time.monotonic()
    suite.group.kill(name, number)
    return now


def resume(name: str, after: float, suite: Suite) -> None:
    suite.watch(after)
    suite.group.kill(name, signal.SIGCONT)


def transitions(numbers: tuple[int, ...], suite: Suite) -> float:
    now = time.monotonic()
    for number in numbers:
        suite.change(number)
    return now


def bring_up(suite: Suite) -> None:
    transitions((Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE), suite)


# -- the policy and the sensors --------------------------------------------------------
def spoil(kind: str, seconds: float, suite: Suite) -> float:
    """`seconds` of good work, then `kind` of policy.BREAKS; when it broke is the policy's own
    word."""
    (suite.folder / "policy").unlink(missing_ok=True)
    suite.say(f"break {kind} after {seconds:g}")
    return suite.noted("policy", seconds + 5.0)


def cancel(suite: Suite) -> None:
    suite.utter("stop")
    suite.watch(0.1)


def replace_policy(suite: Suite) -> None:
    cancel(suite)
    suite.group.kill("inference")


def set_fault(what: str, verb: str, suite: Suite) -> float:
    return suite.fault(what, verb)


# -- what people and the network do ----------------------------------------------------
def press(suite: Suite) -> float:
    now = time.monotonic()
    suite.press(True)
    return now


def release(suite: Suite) -> None:
    suite.press(False)
    suite.watch(0.1)


def words(text: str, suite: Suite) -> float:
    now = time.monotonic()
    suite.utter(text)
    return now


def flood(kinds: tuple[str, ...], seconds: float, suite: Suite) -> float:
    """A flood, and `seconds` later the stop, once. What the gate did meanwhile goes to the
    notes."""
    process = psutil.Process(suite.group.pid(GATE))
    before = process.memory_info().rss
    suite.start_flood(kinds, FLOOD)
    began = time.monotonic()
    suite.watch(seconds)
    now = press(suite)
    late = lateness([heard.stamp for heard in list(suite.reports) if heard.when > began])
    grown = (process.memory_info().rss - before) / 1e6
    suite.notes.append(
        f"the gate's reports came at most {late * 1e3:.0f} ms late; its memory grew by {grown:.1f} "
        "MB"
    )
    # what the machine kept from the robot as well
    starved = lateness([sample.when for sample in suite.since(began)])
    if late > DRIVER + starved:  # the driver had to act; the gate itself latches at half a second
        suite.problems.append(f"the gate was silent for {late + PERIOD:.2f} s")
    if grown > 50.0:
        suite.problems.append(f"the gate's memory grew by {grown:.0f} MB")
    return now


def lateness(stamps: list[float]) -> float:
    """The longest time between two reports, less the period; s."""
    return max([b - a - PERIOD for a, b in zip(stamps, stamps[1:])], default=0.0)


def ebb(kinds: tuple[str, ...], suite: Suite) -> None:
    suite.watch(0.5)
    rates = suite.stop_flood(kinds)
    each = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in rates.items())
    suite.notes.append(f"{sum(rates.values()):,.0f} messages a second went out ({each})")
    release(suite)


def fill_disk(suite: Suite) -> float:
    """Full, then two seconds in which every node has something to log; then the stop."""
    pids = suite.group.pids()
    with open(suite.logs / "filler", "wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    filler.write(b"\0" * size)
            except OSError:
                continue
    free = os.statvfs(suite.logs).f_bavail
    if free:
        suite.problems.append(f"the disk was not full: {free} blocks were free")
    for _ in range(4):
        suite.utter("\x00")
        suite.call("arm")
        suite.watch(0.5)
    suite.wait(suite.spinning, 3.0, "the robot goes on")
    now = press(suite)
    suite.watch(1.0)
    if gone := [name for name, pid in pids.items() if suite.group.pids().get(name) != pid]:
        suite.problems.append(f"these died of the full disk: {', '.join(gone)}")
    return now


def empty_disk(suite: Suite) -> None:
    Path(suite.logs / "filler").unlink()
    release(suite)


def pull(suite: Suite) -> float:
    assert suite.cable
    now = time.monotonic()
    suite.cable.pull()
    return now


def plug(suite: Suite) -> None:
    assert suite.cable
    suite.watch(1.0)
    suite.cable.plug()


def spoil_cable(delay: float, loss: float, suite: Suite) -> float:
    assert suite.cable
    now = time.monotonic()
    suite.cable.behave(delay, loss)
    return now


def lossy_then_stop(loss: float, suite: Suite) -> float:
    """The robot may go on or hold; the stop reaches it through what is left of the network."""
    spoil_cable(0.0, loss, suite)
    suite.watch(2.0)
    return press(suite)


def mend_cable(suite: Suite) -> None:
    spoil_cable(0.0, 0.0, suite)
    release(suite)


# -- the table -------------------------------------------------------------------------
def rules(*names: str) -> frozenset[str]:
    return frozenset(names)


# A node gone: its heartbeat, or what no longer comes from it.
QUIET = rules("source_timeout", "observation_age", "instruction_match")
# Neither sensors nor images come any more, whichever is missed first.
SILENT = rules("source_timeout", "observation_age", "range_sensors")
GATE_GONE = frozenset({"disarmed", "stopped"})
TOPICS = ("command", "action_chunk", "instruction", "stop")
GOOD = tuple(f"good {topic}" for topic in TOPICS)
BAD = tuple(f"bad {topic}" for topic in TOPICS)
SERVICES = ("services",)


def processes() -> list[Fault]:
    out = []
    for name in BESIDE_GATE:
        # Whatever comes back: a person has seen the robot stand, and speaks again.
        out.append(
            Fault(
                f"SIGKILL of {name}",
                "robot",
                partial(send, name, signal.SIGKILL),
                AGE + STOP,
                QUIET,
                nothing,
                itself=NEVER,
                patience=15.0,
                tells="" if name == "supervisor" else f"{name} was lost",
            )
        )
    for name in BESIDE_GATE:
        out.append(
            Fault(
                f"SIGSTOP of {name}, SIGCONT 1 s later",
                "robot",
                partial(send, name, signal.SIGSTOP),
                AGE + STOP,
                QUIET,
                partial(resume, name, 0.5),
                itself=MAY,
                patience=10.0,
            )
        )
    gate = partial(Fault, world="robot", after=GATE_GONE, mend=nothing)
    out += [
        gate(
            "SIGKILL of the gate",
            inject=partial(send, GATE, signal.SIGKILL),
            limit=DRIVER + BRAKE + WAY,
            rules=rules("driver"),
            tells=f"{GATE} was lost",
        ),
        gate(
            "SIGSTOP of the gate, SIGCONT 1.5 s later",
            inject=partial(send, GATE, signal.SIGSTOP),
            limit=DRIVER + BRAKE + WAY,
            rules=rules("driver"),
            mend=partial(resume, GATE, 0.5),
        ),
        gate(
            "SIGTERM of the gate",
            inject=partial(send, GATE, signal.SIGTERM),
            limit=STOP,
            rules=rules("zero"),
        ),
        gate(
            "SIGINT of the gate",
            inject=partial(send, GATE, signal.SIGINT),
            limit=STOP,
            rules=rules("zero"),
        ),
        gate(
            "deactivate of the gate",
            inject=partial(transitions, (Transition.TRANSITION_DEACTIVATE,)),
            limit=STOP,
            rules=rules("zero"),
            mend=partial(transitions, (Transition.TRANSITION_ACTIVATE,)),
        ),
        gate(
            "deactivate and cleanup of the gate",
            limit=STOP,
            rules=rules("zero"),
            mend=bring_up,
            inject=partial(
                transitions, (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
            ),
        ),
        gate(
            "shutdown of the gate",
            limit=STOP,
            rules=rules("zero"),
            mend=partial(send, GATE, signal.SIGKILL),
            inject=partial(transitions, (Transition.TRANSITION_ACTIVE_SHUTDOWN,)),
        ),
    ]
    return out


def people() -> list[Fault]:
    return [
        Fault(
            "the stop is pressed", "robot", press, STOP, rules("stop"), release, rules("stopped")
        ),
        Fault(
            "the word stop is said",
            "robot",
            partial(words, "stop"),
            STOP,
            rules("instruction_match"),
            nothing,
        ),
    ]


def policies(good: float = WORK) -> list[Fault]:
    """`good`: s of good work before a NaN; a minute with --long. Rule `stop`: the supervisor may be
    quicker."""
    broken = partial(Fault, world="robot", mend=cancel, after=rules("holding", "stopped"))
    out = [
        broken(
            f"the policy {what}",
            inject=partial(spoil, kind, WORK),
            limit=limit + STOP,
            rules=rules(*by, "stop"),
        )
        for what, kind, limit, by in (
            ("raises an exception", "error", AGE, ("observation_age",)),
            ("gives nothing", "nothing", AGE, ("observation_age",)),
            ("gives flat values", "flat", AGE, ("observation_age",)),
            ("gives a column too many", "columns", AGE, ("observation_age",)),
            ("gives no rows", "rows", AGE, ("chunk_shape", "observation_age")),
            ("gives infinity", "infinity", 0.0, ("finite_values",)),
            ("gives 1e30", "huge", 0.0, ("hard_bounds", "chunk_continuity")),
        )
    ]
    out.append(
        broken(
            f"the policy gives NaN after {good:g} s of good work",
            inject=partial(spoil, "nan", good),
            limit=STOP,
            rules=rules("finite_values"),
        )
    )
    out.append(
        broken(
            "the policy's process has no memory left",
            inject=partial(spoil, "memory", WORK),
            limit=AGE + STOP,
            rules=QUIET | rules("stop"),
            itself=MAY,
        )
    )
    out.append(
        broken(
            "the policy hangs",
            inject=partial(spoil, "hang", WORK),
            limit=AGE + STOP,
            rules=QUIET | rules("stop"),
            mend=replace_policy,
        )
    )
    return out


def sensors() -> list[Fault]:
    well = partial(set_fault, "robot", "well")
    out = [
        Fault(name, "robot", partial(set_fault, "robot", verb), limit + STOP, by, well, itself=MAY)
        for name, verb, limit, by in (
            ("the camera falls silent", "camera silent", AGE, rules("observation_age")),
            ("the camera repeats its last message", "camera frozen", AGE, rules("observation_age")),
            ("/odom falls silent", "odom silent", TOPIC, rules("source_timeout")),
            ("/joint_states falls silent", "joints silent", TOPIC, rules("source_timeout")),
            ("/scan falls silent", "scan silent", TOPIC, rules("range_sensors")),
        )
    ]
    out.append(
        Fault(
            "the camera gives one image for ever, with new stamps",
            "robot",
            partial(set_fault, "robot", "camera stuck"),
            FROZEN + AGE + STOP,
            QUIET,
            well,
            after=rules("holding", "stopped"),
            itself=MAY,
            patience=10.0,
            lasts=2.0,
        )
    )
    out.append(
        Fault(
            "the robot's computer stands still (SIGSTOP of the simulator)",
            "robot",
            partial(send, "simulator", signal.SIGSTOP),
            TOPIC + PERIOD + WAY,
            SILENT,
            partial(resume, "simulator", 0.5),
            itself=MAY,
            measure="gate",
        )
    )
    return out


def floods() -> list[Fault]:
    # A flood that takes the cores from the camera or from inference keeps heartbeats and images
    # away: that holds the robot as well, and may do so before the stop.
    flooded = partial(
        Fault,
        world="robot",
        limit=STOP,
        rules=SILENT | rules("stop", "stood"),
        after=rules("stopped"),
    )
    return [
        flooded(
            "a flood of repeated words, actions and stop(false), then the stop",
            inject=partial(flood, GOOD, 2.0),
            mend=partial(ebb, GOOD),
        ),
        flooded(
            "a flood of garbage on the same topics, then the stop",
            inject=partial(flood, BAD, 2.0),
            mend=partial(ebb, BAD),
        ),
        flooded(
            "a flood of calls of arm and reset, then the stop",
            inject=partial(flood, SERVICES, 2.0),
            mend=partial(ebb, SERVICES),
        ),
        flooded(
            "a full disk for logs, then the stop", inject=fill_disk, mend=empty_disk, needs="disk"
        ),
    ]


def clocks() -> list[Fault]:
    well = partial(set_fault, "gate", "well")
    timed = partial(Fault, world="clock", after=rules("stopped"))
    run = partial(set_fault, "clock", "run")
    return [
        timed(
            "/clock stalls",
            inject=partial(set_fault, "clock", "stall"),
            limit=AGE + STOP,
            rules=rules("observation_age", "clock"),
            mend=run,
            after=rules("holding", "stopped"),
        ),
        timed(
            "/clock jumps ahead by a minute",
            inject=partial(set_fault, "clock", "jump 60"),
            limit=PERIOD + STOP,
            rules=rules("stop", "clock"),
            mend=nothing,
        ),
        timed(
            "/clock jumps back by a minute",
            inject=partial(set_fault, "clock", "jump -60"),
            limit=PERIOD + STOP,
            rules=rules("stop", "clock"),
            mend=nothing,
        ),
        timed(
            "the gate's executor is blocked for 3 s",
            inject=partial(set_fault, "gate", "executor"),
            limit=AGE + STOP,
            rules=rules("observation_age", "range_sensors"),
            mend=lambda suite: suite.watch(2.5),
            after=rules("holding"),
            itself=MAY,
        ),
        timed(
            "the gate's own thread is blocked for 3 s",
            inject=partial(set_fault, "gate", "tick"),
            limit=DRIVER + BRAKE + WAY,
            rules=rules("driver"),
            mend=lambda suite: suite.watch(2.5),
        ),
        timed(
            "a callback of the gate raises",
            inject=partial(set_fault, "gate", "callback"),
            limit=STOP,
            rules=rules("stop"),
            mend=well,
        ),
        timed(
            "the gate raises in the middle of a tick",
            inject=partial(set_fault, "gate", "step"),
            limit=STOP,
            rules=rules("stop"),
            mend=well,
        ),
    ]


def networks() -> list[Fault]:
    wired = partial(Fault, world="network")
    return [
        wired(
            "the network to the robot is gone",
            inject=pull,
            limit=DRIVER + BRAKE + WAY,
            rules=SILENT,
            mend=plug,
            itself=MAY,
            patience=8.0,
        ),
        # what was commanded before the gate knew arrives that much later
        wired(
            "the network delays everything by 0.6 s",
            inject=partial(spoil_cable, 0.6, 0.0),
            limit=TOPIC + 0.6 + STOP,
            rules=SILENT,
            mend=mend_cable,
            itself=MAY,
            patience=8.0,
        ),
        wired(
            "the network loses a tenth of all packets, then the stop",
            inject=partial(lossy_then_stop, 0.1),
            limit=STOP,
            rules=rules("stop"),
            mend=mend_cable,
            after=rules("stopped"),
        ),
    ]


def bases(good: float = WORK) -> list[Fault]:
    """All of the driving robot's."""
    return [*people(), *policies(good), *sensors(), *processes(), *floods(), *clocks(), *networks()]
