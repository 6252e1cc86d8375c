"""The results as a page of the docs: a driving robot's, and an arm's below it."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter

from vla_ros.bench.faults.arm_table import (
    INTERPOLATION_S,
    NEAR_EDGE_RAD,
    TRACKING_ERROR_RAD,
    UNFOLLOWED_RAD,
)
from vla_ros.bench.faults.fault_table import (
    BUSY_ALLOWANCE_S,
    FROZEN_AFTER_S,
    GATE_PERIOD_S,
    STUCK_AFTER_S,
    Fault,
)
from vla_ros.bench.faults.fault_trial import Result
from vla_ros.bench.faults.faulty_arm import PUSHED_RAD
from vla_ros.bench.faults.stack import LIMIT_RAD_S
from vla_ros.bench.lateness import DISTURBED_S
from vla_ros.bench.markdown import table

HEAD = """# From a fault to standstill

Written by `vla bench faults --out doc/standstill.md`. The simulated robot turns on the spot just
under its operating limit (0.5 rad/s); then the fault. Seconds are from the fault to when its wheels
stand, by the simulated robot's own log: median and worst of {repeat} runs each, on {cores} cores
({machine}, Python {python}; load average {load:.1f} before it began).

"Limit" is what the design promises: how long the rule that catches the fault waits, a period of the
gate (20 ms), braking from full speed, and the way to the wheels (60 ms). `make check-safety` runs
the same table once each, `make test` one fault of each kind; both allow {busy:g} s more, for a busy
machine, and what a process that only sleeps was woken late; where something was wrong and that was
more than {disturbed:g} s, the fault is tried again. So that a run is short, the gate's
`stuck_policy_limit` is {stuck:g} s here (20 s by default), and `frozen_after` of the camera's node
{frozen:g} s (5 s). Driving straight at 0.5 m/s, braking takes 0.08
s longer than turning. A fault that the driver's own time-out has to catch is one in which the gate
is gone: keep that time-out switched on.
"""
ARM = "\n## An arm\n"
ARM_HEAD = (
    ARM
    + """
Written by `vla bench faults --world arm --out doc/standstill.md`. A stand-in plays a six-joint arm
with a gripper as ros2_control shows it (`interpolate_from_desired_state: true`), without physics:
each joint follows its controller with a lag of 30 ms. A policy takes all joints back and forth at
full speed (0.5 rad/s); then the fault. Seconds are from the fault to when the fastest joint stands:
median and worst of {repeat} runs each, on {cores} cores ({machine}, Python {python}). The machine's
load average was {load:.1f} before it began: other work, which makes the figures larger. "Moved" is
how far a joint went from there afterwards, the worst of all runs: while the fault lasted, when it
was over, and when words were said to a stopped gate. Where the arm stood before the fault, it is
counted from there. A joint that a hand moves by {pushed:g} rad may spring back by {unfollowed:.2g}
rad, whatever else was held by {error:g} rad at most.

"Limit" is how long the rule that catches the fault waits, a period of the gate ({period:.0f} ms),
the controller's interpolation (`time_from_start`, {control:.0f} ms), 0.12 s until a joint has
caught up with it, and the way (60 ms). A stop sends the joints back to where they were measured,
which takes 0.09 s more. A blocked joint is found when its command is {error:g} rad ahead
(`max_tracking_error`; {behind:g} s at full speed) for 0.5 s (`tracking_time`). At the edge of its
workspace an arm has {near:g} rad to go when the time begins. Where the gate is gone nothing is
commanded any more, and the joint_trajectory_controller holds the last position: such an arm needs
no time-out to stand. One whose driver goes limp, or goes on, without commands needs another
driver.
"""
)
COLUMNS = (
    "fault",
    "stopped by",
    "median s",
    "worst s",
    "limit s",
    "the gate afterwards",
    "a person has to",
)
MOVED = "moved, rad"


def page(
    faults: Sequence[Fault], results: Sequence[Result], repeat: int, load: float, before: str = ""
) -> str:
    """The page, in Markdown.

    Args:
        faults: those that were tried, of both kinds of robot or of one.
        results: of all of them.
        repeat: how often each was tried.
        load: the machine's load average before.
        before: the page as it was; the part of a robot that was not tried now stays.
    """
    base, mark, arm = before.partition(ARM)
    arms = [fault for fault in faults if fault.world == "arm"]
    bases = [fault for fault in faults if fault.world != "arm"]
    facts = {
        "repeat": repeat,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": load,
        "busy": BUSY_ALLOWANCE_S,
        "disturbed": DISTURBED_S,
        "stuck": STUCK_AFTER_S,
        "frozen": FROZEN_AFTER_S,
        "python": platform.python_version(),
        "period": 1e3 * GATE_PERIOD_S,
        "control": 1e3 * INTERPOLATION_S,
        "error": TRACKING_ERROR_RAD,
        "behind": TRACKING_ERROR_RAD / LIMIT_RAD_S,
        "pushed": PUSHED_RAD,
        "unfollowed": UNFOLLOWED_RAD,
        "near": NEAR_EDGE_RAD,
    }
    if bases:
        base = HEAD.format(**facts) + _tables(bases, results, "##")
    if arms:
        arm = ARM_HEAD.format(**facts) + _tables(arms, results, "###")
    else:
        arm = mark + arm
    return (base + arm).lstrip("\n")  # ARM begins with an empty line, for where a page is before it


def _tables(faults: Sequence[Fault], results: Sequence[Result], level: str) -> str:
    """A row a fault, then the notes and the problems, under headings of that level."""
    columns = (*COLUMNS, MOVED) if faults[0].world == "arm" else COLUMNS
    rows: list[Sequence[str]] = []
    notes: list[str] = []
    problems: list[str] = []
    for fault in faults:
        runs = [result for result in results if result.fault == fault.name]
        rows.append(_row(fault, runs)[: len(columns)])  # without "moved", but for an arm
        for note in _notes(runs):
            notes.append(f"* {_name(fault)}: {note}.")
        for text in chain.from_iterable(map(attrgetter("problems"), runs)):
            # what comes after it is what was known then: nothing for a page
            problems.append(f"* {_name(fault)}: {text.partition(': not within')[0]}.")
    return (
        f"\n{table(columns, rows)}\n"
        + _section(f"{level} What else was measured", notes)
        + _section(f"{level} What did not hold", problems)
    )


def _section(title: str, lines: Sequence[str]) -> str:
    """Each line once; nothing, not even the title, where there is none."""
    if not lines:
        return ""
    return f"\n{title}\n\n" + _once(lines, "\n") + "\n"


def _once(texts: Iterable[str], between: str) -> str:
    """Those that are not empty, in their order, each once."""
    return between.join(dict.fromkeys(filter(None, texts)))


def _row(fault: Fault, results: Sequence[Result]) -> list[str]:
    """A cell for each of COLUMNS, and MOVED."""
    seconds = list(filter(math.isfinite, map(attrgetter("seconds"), results)))
    if fault.goes_on and not any(map(attrgetter("problems"), results)):
        return [_name(fault), "nothing: it goes on", "", "", "", "active", "nothing", ""]
    if not seconds:
        return [_name(fault), _why_not(results), "", "", f"{fault.limit:.2f}", "", "", ""]
    moved = list(filter(math.isfinite, map(attrgetter("moved"), results)))
    return [
        _name(fault),
        _once(map(_by, results), " / "),
        f"{statistics.median(seconds):.2f}",
        f"{max(seconds):.2f}",
        f"{fault.limit:.2f}",
        _once(map(attrgetter("state"), results), " / "),
        _once(map(attrgetter("back"), results), " / "),
        f"{max(moved, default=math.nan):.3f}",
    ]


def _why_not(results: Sequence[Result]) -> str:
    """What stands in the place of a rule where no run ended in standstill."""
    for result in results:
        if result.not_run:
            return f"not run: {result.not_run}"
    return "**nothing**" if results else "not run"


def _name(fault: Fault) -> str:
    return fault.name.removeprefix("arm: ")  # it stands under a heading that says so


def _by(result: Result) -> str:
    """What stopped the robot, in words."""
    words = {
        "": "",
        "zero": "a zero, before all else",
        "driver": result.stopped_by,
        "stood": "stood already",
    }
    return words.get(result.rule, f"rule `{result.rule}`")


def _notes(results: Sequence[Result]) -> list[str]:
    """Of the run that took longest; the figures of all would be a page."""
    longest = -math.inf
    notes: list[str] = []
    for result in results:
        seconds = result.seconds if math.isfinite(result.seconds) else -1.0
        if seconds > longest:
            longest = seconds
            notes = result.notes
    return notes
