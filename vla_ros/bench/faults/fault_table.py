"""A driving robot's faults: what each does, how soon it must stand, what must hold afterwards.

A limit is what the design promises: how long the slowest of the rules that may catch it waits, one
period of the gate, braking from full speed, and the way to the wheels. The driver's own time-out is
the last of them, where the gate itself is gone. BUSY_ALLOWANCE_S is added to each when it is
judged: a machine with two cores and other work.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from lifecycle_msgs.msg import Transition

from vla_ros.bench.faults.stack import GATE, Suite
from vla_ros.core.types import TELEOP
from vla_ros.operator.processes import BESIDE_GATE

# the gate's parameters, by default, and the simulated driver's time-out
TOPIC_TIMEOUT_S = 0.3
OBSERVATION_AGE_S = 0.4
TELEOP_TIMEOUT_S = 0.3
DRIVER_TIMEOUT_S = 0.5
FROZEN_AFTER_S = 1.0  # camera_ingest's frozen_after in these runs; its default is 5 s
STUCK_AFTER_S = 1.0  # the gate's stuck_policy_limit in these runs; its default is 20 s
GATE_PERIOD_S = 0.02
BRAKING_S = 0.5 / 6.0  # from full speed, the gate's brake or the driver's
# a command or an image on its way, the driver's control step (20 ms), the wheels lagging behind
TRANSPORT_S = 0.06
STOPPING_S = GATE_PERIOD_S + BRAKING_S + TRANSPORT_S  # from a cause that the gate learns at once
BUSY_ALLOWANCE_S = 0.15  # the one allowance for other work on the machine
FLOOD_HZ = 10_000.0  # messages a second
PRESSES = 4  # of a deadman, until the robot turns
SIDECAR_TRIES = 15  # of 3.7 s and more: longer than the longest pause before its next start here
GOOD_WORK_S = 0.7  # before a policy breaks: long enough for full speed


@dataclass(frozen=True)
class Fault:
    """What is done to the robot and the nodes, and what must come of it."""

    name: str
    world: str  # where it happens: one of worlds.WORLDS
    inject: Callable[[Suite], float]  # returns when it happened, steady s
    limit: float  # s, until the robot stands
    # Those that may catch it; "driver" and "zero" (a zero on the wire, then silence) are for a gate
    # that says nothing more.
    rules: frozenset[str]
    mend: Callable[[Suite], object]
    after: frozenset[str] = frozenset({"holding"})  # states, one of which the gate is in then
    may_resume: bool = False  # the robot may go on without a person once the fault is over
    patience: float = 4.0  # s to come back by itself
    tells: str = ""  # a piece of what the operator hears
    needs: str = ""  # what must be possible here: a key of Suite.cannot
    arrives_within: float = 0.0  # s after the fault in which what was on its way may move it again
    lasts: float = 0.3  # s that it goes on after the standstill; the robot stands so long
    measure: str = "wheels"  # or "gate", where it is the robot itself that fails
    # s for which nothing may come of it: the robot goes on at full speed, and no rule catches it
    goes_on: float = 0.0
    springs: float = 0.0  # rad that a joint may move from where it stands, where something held it


def nothing(suite: Suite) -> None:
    """Nobody has to do anything."""


# -- processes -------------------------------------------------------------------------
# What happens returns when it did (steady s); a suite comes last, so that `partial` can fill in
# the rest.
def send_signal(name: str, number: int, suite: Suite) -> float:
    """`number`, a signal, to the process of that name."""
    now = time.monotonic()
    suite.group.kill(name, number)
    return now


def resume(name: str, after: float, suite: Suite) -> None:
    """SIGCONT, `after` so many seconds."""
    suite.watch(after)
    suite.group.kill(name, signal.SIGCONT)


def transitions(numbers: tuple[int, ...], suite: Suite) -> float:
    """The gate's lifecycle, by hand; the first of them is the fault."""
    now = time.monotonic()
    for number in numbers:
        suite.change(number)
    return now


def bring_up(suite: Suite) -> None:
    """The gate, after a cleanup."""
    transitions((Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE), suite)


# -- the policy and the sensors --------------------------------------------------------
def break_policy(kind: str, seconds: float, suite: Suite, verb: str = "break") -> float:
    """The policy breaks after `seconds` of good work; `kind`: of faulty_policies.BREAKS."""
    (suite.folder / "policy").unlink(missing_ok=True)
    # Other words each time: a server that hears the same ones again has begun to fail already.
    suite.say(f"{verb} {kind} after {seconds + next(TRIES) / 1000:.3f}")
    return suite.noted("policy", seconds + 5.0)


TRIES = itertools.count()
# `kind`: of faulty_server.BREAKS
break_server = partial(break_policy, verb="serve")


def break_sidecar(kind: str, seconds: float, suite: Suite) -> float:
    """The process beside the policy breaks; `kind`: of faulty_sidecar.BREAKS.

    What broke before is to have come back by itself: the pause before its next start is longer each
    time.
    """
    for _ in range(SIDECAR_TRIES):
        suite.spin()  # whatever the try before ended in
        suite.say("host well after 1000")
        suite.watch(OBSERVATION_AGE_S + 2.0 * STOPPING_S)  # the rows before are used up
        with suppress(TimeoutError):
            suite.wait(suite.spinning, 3.0, "the process beside the policy drives")
            return break_policy(kind, seconds, suite, verb="host")
    raise TimeoutError("the process beside the policy did not come back")


def cancel(suite: Suite) -> None:
    """A policy that is broken is so until the next words; these end it."""
    suite.utter("stop")
    suite.watch(0.1)


def replace_policy(suite: Suite) -> None:
    """One that hangs hears nothing any more: its process is ended, and comes back."""
    cancel(suite)
    suite.group.kill("inference")


def set_fault(stand_in: str, verb: str, suite: Suite) -> float:
    """Robot, arm, gate or clock fail as `verb` says, or are "well" again."""
    return suite.fault(stand_in, verb)


# -- what people and the network do ----------------------------------------------------
def press_stop(suite: Suite) -> float:
    """The stop button, until it is released."""
    now = time.monotonic()
    suite.press(True)
    return now


def release_stop(suite: Suite) -> None:
    """Lets the stop button go, which resets nothing."""
    suite.press(False)
    suite.watch(0.1)


def utter(text: str, suite: Suite) -> float:
    """An instruction, once."""
    now = time.monotonic()
    suite.utter(text)
    return now


def flood(kinds: tuple[str, ...], seconds: float, suite: Suite) -> float:
    """A flood, and `seconds` later the stop; what the gate did meanwhile goes to the notes."""
    process = psutil.Process(suite.group.pid(GATE))
    before = process.memory_info().rss
    suite.start_flood(kinds, FLOOD_HZ)
    began = time.monotonic()
    suite.watch(seconds)
    now = press_stop(suite)
    late = lateness(suite.report_stamps(began, math.inf))
    grown = (process.memory_info().rss - before) / 1e6
    suite.notes.append(
        f"the gate's reports came at most {late * 1e3:.0f} ms late; its memory grew by {grown:.1f} "
        "MB"
    )
    # what the machine kept from the robot as well
    starved = lateness(suite.step_times(began, math.inf))
    # the driver had to act; the gate itself latches at half a second
    if late > DRIVER_TIMEOUT_S + starved:
        suite.problems.append(f"the gate was silent for {late + GATE_PERIOD_S:.2f} s")
    if grown > 50.0:
        suite.problems.append(f"the gate's memory grew by {grown:.0f} MB")
    return now


def lateness(stamps: Sequence[float]) -> float:
    """The longest time between two reports or steps, less the gate's period (s); 0 without two."""
    if len(stamps) < 2:
        return 0.0
    return float(np.diff(stamps).max()) - GATE_PERIOD_S


def end_flood(kinds: tuple[str, ...], suite: Suite) -> None:
    """The flood ends, and the stop is let go; how much went out goes to the notes."""
    suite.watch(0.5)
    rates = suite.stop_flood(kinds)
    by_kind = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in rates.items())
    suite.notes.append(f"{sum(rates.values()):,.0f} messages a second went out ({by_kind})")
    release_stop(suite)


def fill_disk(suite: Suite) -> float:
    """Full, then two seconds in which every node has something to log; then the stop."""
    pids = suite.group.pids()
    with open(suite.logs / "filler", "wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):  # bytes: to the last one
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
    now = press_stop(suite)
    suite.watch(1.0)
    pids_now = suite.group.pids()
    died = [name for name, pid in pids.items() if pids_now.get(name) != pid]  # and were respawned
    if died:
        suite.problems.append(f"these died of the full disk: {', '.join(died)}")
    return now


def empty_disk(suite: Suite) -> None:
    """Mends fill_disk."""
    Path(suite.logs / "filler").unlink()
    release_stop(suite)


def pull(suite: Suite) -> float:
    """Nothing passes the cable any more."""
    assert suite.cable
    now = time.monotonic()
    suite.cable.pull()
    return now


def plug(suite: Suite) -> None:
    """Plugs the cable in again, a second later."""
    assert suite.cable
    suite.watch(1.0)
    suite.cable.plug()


def spoil_cable(delay: float, loss: float, suite: Suite) -> float:
    """Seconds each way, and the share of frames that are lost."""
    assert suite.cable
    now = time.monotonic()
    suite.cable.behave(delay, loss)
    return now


def lossy_then_stop(loss: float, suite: Suite) -> float:
    """The robot may go on or hold; the stop reaches it through what is left of the network."""
    spoil_cable(0.0, loss, suite)
    suite.watch(2.0)
    return press_stop(suite)


def mend_cable(suite: Suite) -> None:
    """No delay, no loss, and no stop."""
    spoil_cable(0.0, 0.0, suite)
    release_stop(suite)


# -- a person who has taken over -------------------------------------------------------
def while_a_person_drives(happens: Callable[[Suite], float], suite: Suite) -> float:
    """A person takes the robot and turns it at full speed; then it happens."""

    def turned_by_hand() -> bool:
        last = suite.reports[-1]
        return last.control_source == TELEOP and last.state == "active" and suite.spinning()

    # As a person does it: again, where the machine kept the stick's messages for too long, or the
    # stick just came back.
    for attempt in range(PRESSES):
        try:
            suite.fault("stick", "let go")
            suite.watch(0.2)
            suite.fault("stick", "turn")
            suite.watch(0.6)
            suite.wait(turned_by_hand, 3.0, "a person turns the robot")
            return happens(suite)
        except TimeoutError:
            if attempt == PRESSES - 1:
                raise
    raise AssertionError("PRESSES is at least 1")


def one_stick(suite: Suite) -> None:
    """Until the stick is back, and the dead one forgotten: teleop refuses two of them."""
    for count in (2, 1):

        def there(count: int = count) -> bool:
            return suite.node.count_publishers("/vla/joy") == count

        suite.wait(there, 40.0, f"sticks are there: {count}")


def teleop_resumed(suite: Suite) -> None:
    """teleop goes on, and the person lets go: a deadman that is held in vain keeps the robot."""
    resume("teleop", 0.5, suite)
    suite.watch(0.5)
    set_fault("stick", "let go", suite)


# -- the table -------------------------------------------------------------------------
def rules(*names: str) -> frozenset[str]:
    """A set of rules, or of the gate's states, by name."""
    return frozenset(names)


# A node gone: its heartbeat, or what no longer comes from it.
NODE_LOST = rules("source_timeout", "observation_age", "instruction_match")
# Neither sensors nor images come any more, whichever is missed first.
INPUT_LOST = rules("source_timeout", "observation_age", "range_sensors")
GATE_GONE = frozenset({"disarmed", "stopped"})
TOPICS = ("command", "action_chunk", "instruction", "stop")
GOOD = tuple(map("good {}".format, TOPICS))
BAD = tuple(map("bad {}".format, TOPICS))
SERVICES = ("services",)


def processes() -> list[Fault]:
    """A node or the gate is killed, stopped, ended, or taken down by its lifecycle."""
    node = partial(
        Fault, world="robot", limit=OBSERVATION_AGE_S + STOPPING_S, rules=NODE_LOST, mend=nothing
    )
    out = []
    for name in BESIDE_GATE:
        # Whatever comes back: a person has seen the robot stand, and speaks again.
        out.append(
            node(
                f"SIGKILL of {name}",
                inject=partial(send_signal, name, signal.SIGKILL),
                patience=15.0,
                # of its own death the supervisor cannot tell
                tells="" if name == "supervisor" else f"{name} was lost",
            )
        )
    for name in BESIDE_GATE:
        out.append(
            node(
                f"SIGSTOP of {name}, SIGCONT 1 s later",
                inject=partial(send_signal, name, signal.SIGSTOP),
                mend=partial(resume, name, 0.5),
                may_resume=True,
                patience=10.0,
            )
        )
    gate = partial(Fault, world="robot", after=GATE_GONE, mend=nothing)
    out += [
        gate(
            "SIGKILL of the gate",
            inject=partial(send_signal, GATE, signal.SIGKILL),
            limit=DRIVER_TIMEOUT_S + BRAKING_S + TRANSPORT_S,
            rules=rules("driver"),
            tells=f"{GATE} was lost",
        ),
        gate(
            "SIGSTOP of the gate, SIGCONT 1.5 s later",
            inject=partial(send_signal, GATE, signal.SIGSTOP),
            limit=DRIVER_TIMEOUT_S + BRAKING_S + TRANSPORT_S,
            rules=rules("driver"),
            mend=partial(resume, GATE, 0.5),
        ),
        gate(
            "SIGTERM of the gate",
            inject=partial(send_signal, GATE, signal.SIGTERM),
            limit=STOPPING_S,
            rules=rules("zero"),
        ),
        gate(
            "SIGINT of the gate",
            inject=partial(send_signal, GATE, signal.SIGINT),
            limit=STOPPING_S,
            rules=rules("zero"),
        ),
        gate(
            "deactivate of the gate",
            inject=partial(transitions, (Transition.TRANSITION_DEACTIVATE,)),
            limit=STOPPING_S,
            rules=rules("zero"),
            mend=partial(transitions, (Transition.TRANSITION_ACTIVATE,)),
        ),
        gate(
            "deactivate and cleanup of the gate",
            limit=STOPPING_S,
            rules=rules("zero"),
            mend=bring_up,
            inject=partial(
                transitions, (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
            ),
        ),
        gate(
            "shutdown of the gate",
            limit=STOPPING_S,
            rules=rules("zero"),
            mend=partial(send_signal, GATE, signal.SIGKILL),
            inject=partial(transitions, (Transition.TRANSITION_ACTIVE_SHUTDOWN,)),
        ),
    ]
    return out


def people() -> list[Fault]:
    """No fault, but what a person does to stop the robot."""
    moving = partial(Fault, world="robot", limit=STOPPING_S)
    return [
        moving(
            "the stop is pressed",
            inject=press_stop,
            rules=rules("stop"),
            mend=release_stop,
            after=rules("stopped"),
        ),
        moving(
            "the word stop is said",
            inject=partial(utter, "stop"),
            rules=rules("instruction_match"),
            mend=nothing,
        ),
    ]


def policies(good: float = GOOD_WORK_S) -> list[Fault]:
    """A policy that worked well breaks, hangs, or takes all memory.

    Rule `stop` may always catch it: the supervisor may be quicker than the gate.

    Args:
        good: s of good work before a NaN; a minute with --long.
    """
    broken = partial(Fault, world="robot", mend=cancel, after=rules("holding", "stopped"))
    out = []
    # What inference rejects is not published, and the last chunk grows old; what reaches the gate
    # is refused at once.
    for name, kind, wait, caught_by in (
        ("raises an exception", "error", OBSERVATION_AGE_S, rules("observation_age")),
        ("gives nothing", "nothing", OBSERVATION_AGE_S, rules("observation_age")),
        ("gives flat values", "flat", OBSERVATION_AGE_S, rules("observation_age")),
        ("gives a column too many", "columns", OBSERVATION_AGE_S, rules("observation_age")),
        ("gives no rows", "rows", OBSERVATION_AGE_S, rules("chunk_shape", "observation_age")),
        ("gives infinity", "infinity", 0.0, rules("finite_values")),
        ("gives 1e30", "huge", 0.0, rules("hard_bounds", "chunk_continuity")),
    ):
        out.append(
            broken(
                f"the policy {name}",
                inject=partial(break_policy, kind, GOOD_WORK_S),
                limit=wait + STOPPING_S,
                rules=caught_by | rules("stop"),
            )
        )
    out.append(
        broken(
            f"the policy gives NaN after {good:g} s of good work",
            inject=partial(break_policy, "nan", good),
            limit=STOPPING_S,
            rules=rules("finite_values"),
        )
    )
    out.append(
        broken(
            "the policy's process has no memory left",
            inject=partial(break_policy, "memory", GOOD_WORK_S),
            limit=OBSERVATION_AGE_S + STOPPING_S,
            rules=NODE_LOST | rules("stop"),
            may_resume=True,
        )
    )
    out.append(
        broken(
            "the policy hangs",
            inject=partial(break_policy, "hang", GOOD_WORK_S),
            limit=OBSERVATION_AGE_S + STOPPING_S,
            rules=NODE_LOST | rules("stop"),
            mend=replace_policy,
        )
    )
    return out


def servers() -> list[Fault]:
    """A policy's server that worked well breaks; the policy `remote` asks it.

    Rule `stop` may always catch it, as with `policies`.
    """
    out = []
    # A lost server is a communication fault of the policy: no node is restarted.
    lost = rules("observation_age")
    for name, kind, wait, caught_by in (
        ("answers too late", "slow", OBSERVATION_AGE_S, lost),
        ("dies", "dead", OBSERVATION_AGE_S, lost),
        ("gives a column too many", "wide", OBSERVATION_AGE_S, lost),
        ("answers with an error", "error", OBSERVATION_AGE_S, lost),
        ("answers with 100 MB", "huge", OBSERVATION_AGE_S, lost),
        ("speaks no protocol", "stranger", OBSERVATION_AGE_S, lost),
        ("gives NaN", "nan", 0.0, rules("finite_values")),
        ("gives one old answer for ever", "old", STUCK_AFTER_S, rules("stuck_policy")),
    ):
        out.append(
            Fault(
                f"the policy's server {name}",
                world="robot",
                inject=partial(break_server, kind, GOOD_WORK_S),
                limit=wait + STOPPING_S,
                rules=caught_by | rules("stop"),
                mend=cancel,
                after=rules("holding", "stopped"),
                needs="server",
            )
        )
    return out


def sidecars() -> list[Fault]:
    """LeRobot's process beside the policy breaks: a communication fault, as a lost server is."""
    beside = partial(
        Fault,
        world="robot",
        limit=OBSERVATION_AGE_S + STOPPING_S,
        rules=rules("observation_age", "stop"),
        mend=cancel,
        after=rules("holding", "stopped"),
        needs="server",
    )
    return [
        beside("the policy's sidecar dies", inject=partial(break_sidecar, "dead", GOOD_WORK_S)),
        beside("the policy's sidecar hangs", inject=partial(break_sidecar, "hang", GOOD_WORK_S)),
    ]


def sensors() -> list[Fault]:
    """The robot's own topics fall silent, repeat themselves, or all stop at once."""
    well = partial(set_fault, "robot", "well")
    sensor = partial(Fault, world="robot", mend=well, may_resume=True)
    out = []
    for name, verb, wait, rule in (
        ("the camera falls silent", "camera silent", OBSERVATION_AGE_S, "observation_age"),
        (
            "the camera repeats its last message",
            "camera frozen",
            OBSERVATION_AGE_S,
            "observation_age",
        ),
        ("/odom falls silent", "odom silent", TOPIC_TIMEOUT_S, "source_timeout"),
        ("/joint_states falls silent", "joints silent", TOPIC_TIMEOUT_S, "source_timeout"),
        ("/scan falls silent", "scan silent", TOPIC_TIMEOUT_S, "range_sensors"),
    ):
        out.append(
            sensor(
                name,
                inject=partial(set_fault, "robot", verb),
                limit=wait + STOPPING_S,
                rules=rules(rule),
            )
        )
    out.append(
        sensor(
            "the camera gives one image for ever, with new stamps",
            inject=partial(set_fault, "robot", "camera stuck"),
            limit=FROZEN_AFTER_S + OBSERVATION_AGE_S + STOPPING_S,
            rules=NODE_LOST,
            after=rules("holding", "stopped"),
            patience=10.0,
            lasts=2.0,
        )
    )
    out.append(
        sensor(
            "the robot's computer stands still (SIGSTOP of the simulator)",
            inject=partial(send_signal, "simulator", signal.SIGSTOP),
            limit=TOPIC_TIMEOUT_S + GATE_PERIOD_S + TRANSPORT_S,
            rules=INPUT_LOST,
            mend=partial(resume, "simulator", 0.5),
            measure="gate",  # the log of the wheels stands still as well
        )
    )
    return out


def floods() -> list[Fault]:
    """More messages or calls than anybody can take, or a full disk; then the stop."""
    # A flood that takes the cores from the camera or from inference keeps heartbeats and images
    # away: that holds the robot as well, and may do so before the stop.
    flooded = partial(
        Fault,
        world="robot",
        limit=STOPPING_S,
        rules=INPUT_LOST | rules("stop", "stood"),
        after=rules("stopped"),
    )
    return [
        flooded(
            "a flood of repeated words, actions and stop(false), then the stop",
            inject=partial(flood, GOOD, 2.0),
            mend=partial(end_flood, GOOD),
        ),
        flooded(
            "a flood of garbage on the same topics, then the stop",
            inject=partial(flood, BAD, 2.0),
            mend=partial(end_flood, BAD),
        ),
        flooded(
            "a flood of calls of arm and reset, then the stop",
            inject=partial(flood, SERVICES, 2.0),
            mend=partial(end_flood, SERVICES),
        ),
        flooded(
            "a full disk for logs, then the stop", inject=fill_disk, mend=empty_disk, needs="disk"
        ),
    ]


def clocks() -> list[Fault]:
    """/clock stalls or jumps, and the gate is broken from inside."""
    well = partial(set_fault, "gate", "well")
    timed = partial(Fault, world="clock", after=rules("stopped"))
    run = partial(set_fault, "clock", "run")
    return [
        timed(
            "/clock stalls",
            inject=partial(set_fault, "clock", "stall"),
            limit=OBSERVATION_AGE_S + STOPPING_S,
            rules=rules("observation_age", "clock"),
            mend=run,
            after=rules("holding", "stopped"),
        ),
        timed(
            "/clock jumps ahead by a minute",
            inject=partial(set_fault, "clock", "jump 60"),
            limit=GATE_PERIOD_S + STOPPING_S,
            rules=rules("stop", "clock"),
            mend=nothing,
        ),
        timed(
            "/clock jumps back by a minute",
            inject=partial(set_fault, "clock", "jump -60"),
            limit=GATE_PERIOD_S + STOPPING_S,
            rules=rules("stop", "clock"),
            mend=nothing,
        ),
        timed(
            "the gate's executor is blocked for 3 s",
            inject=partial(set_fault, "gate", "executor"),
            limit=OBSERVATION_AGE_S + STOPPING_S,
            rules=rules("observation_age", "range_sensors"),
            mend=lambda suite: suite.watch(2.5),
            after=rules("holding"),
            may_resume=True,
        ),
        timed(
            "the gate's own thread is blocked for 3 s",
            inject=partial(set_fault, "gate", "tick"),
            limit=DRIVER_TIMEOUT_S + BRAKING_S + TRANSPORT_S,
            rules=rules("driver"),
            mend=lambda suite: suite.watch(2.5),
        ),
        timed(
            "a callback of the gate raises",
            inject=partial(set_fault, "gate", "callback"),
            limit=STOPPING_S,
            rules=rules("stop"),
            mend=well,
        ),
        timed(
            "the gate raises in the middle of a tick",
            inject=partial(set_fault, "gate", "step"),
            limit=STOPPING_S,
            rules=rules("stop"),
            mend=well,
        ),
    ]


def networks() -> list[Fault]:
    """The robot's network is gone, slow, or loses packets."""
    wired = partial(Fault, world="network")
    return [
        wired(
            "the network to the robot is gone",
            inject=pull,
            limit=DRIVER_TIMEOUT_S + BRAKING_S + TRANSPORT_S,
            rules=INPUT_LOST,
            mend=plug,
            may_resume=True,
            patience=8.0,
        ),
        # what was commanded before the gate knew arrives that much later
        wired(
            "the network delays everything by 0.6 s",
            inject=partial(spoil_cable, 0.6, 0.0),
            limit=TOPIC_TIMEOUT_S + 0.6 + STOPPING_S,
            arrives_within=TOPIC_TIMEOUT_S + 0.6 + STOPPING_S,
            rules=INPUT_LOST,
            mend=mend_cable,
            may_resume=True,
            patience=8.0,
        ),
        wired(
            "the network loses a tenth of all packets, then the stop",
            inject=partial(lossy_then_stop, 0.1),
            limit=STOPPING_S,
            # images are lost on the way, too
            rules=INPUT_LOST | rules("stop", "stood"),
            mend=mend_cable,
            after=rules("stopped"),
        ),
    ]


def persons() -> list[Fault]:
    """A person's stick dies, repeats itself or is let go; what is behind it dies or hangs."""
    driven = partial(Fault, world="person", rules=rules("teleop_stick"), mend=nothing)
    let_go = partial(set_fault, "stick", "let go")
    out = []
    for name, happens, wait, mend in (
        ("the deadman is let go at full speed", let_go, 0.0, nothing),
        (
            "a person's stick dies at full speed",
            partial(send_signal, "stick", signal.SIGKILL),
            TELEOP_TIMEOUT_S,
            one_stick,
        ),
        (
            "a person's stick repeats its last message",
            partial(set_fault, "stick", "repeat"),
            TELEOP_TIMEOUT_S,
            let_go,
        ),
        (
            "SIGKILL of teleop while a person drives",
            partial(send_signal, "teleop", signal.SIGKILL),
            TELEOP_TIMEOUT_S,
            let_go,
        ),
        (
            "SIGSTOP of teleop while a person drives, SIGCONT 1 s later",
            partial(send_signal, "teleop", signal.SIGSTOP),
            TELEOP_TIMEOUT_S,
            teleop_resumed,
        ),
    ):
        out.append(
            driven(
                name,
                inject=partial(while_a_person_drives, happens),
                limit=wait + STOPPING_S,
                mend=mend,
            )
        )
    return out


def onlookers() -> list[Fault]:
    """Who only looks on dies or hangs: nothing comes of it."""
    ignored = partial(Fault, world="robot", limit=0.0, rules=rules(), goes_on=1.5)
    return [
        ignored(
            "SIGKILL of blackbox",
            inject=partial(send_signal, "blackbox", signal.SIGKILL),
            mend=nothing,
        ),
        ignored(
            "SIGSTOP of blackbox, SIGCONT 1.5 s later",
            inject=partial(send_signal, "blackbox", signal.SIGSTOP),
            mend=partial(resume, "blackbox", 0.0),
        ),
    ]


def bases(good: float = GOOD_WORK_S) -> list[Fault]:
    """All of the driving robot's."""
    return [
        *people(),
        *policies(good),
        *servers(),
        *sidecars(),
        *sensors(),
        *processes(),
        *floods(),
        *onlookers(),
        *clocks(),
        *networks(),
        *persons(),
    ]
