"""The results as a page of the docs: a driving robot's, and an arm's below it."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence

from vla_ros.bench.faults.arm_table import CONTROL, TRACKING_ERROR, UNFOLLOWED
from vla_ros.bench.faults.fault_table import BUSY, PERIOD, Fault
from vla_ros.bench.faults.fault_trial import Result
from vla_ros.bench.faults.faulty_arm import PUSHED
from vla_ros.bench.faults.stack import LIMIT
from vla_ros.bench.lateness import DISTURBED_S

HEAD = """# From a fault to standstill

Written by `vla bench faults --out doc/standstill.md`. The simulated robot turns on the spot just
under its operating limit (0.5 rad/s); then the fault. Seconds are from the fault to when its wheels
stand, by the simulated robot's own log: median and worst of {repeat} runs each, on {cores} cores
({machine}, Python {python}; load average {load:.1f} before it began).

"Limit" is what the design promises: how long the rule that catches the fault waits, a period of the
gate (20 ms), braking from full speed, and the way to the wheels (60 ms). `make check-safety` runs
the same table once each, `make test` one fault of each kind; both allow {busy:g} s more, for a busy
machine, and what a process that only sleeps was woken late; where something was wrong and that was
more than {disturbed:g} s, the fault is tried again. Driving straight at 0.5 m/s, braking takes 0.08
s longer than turning. A fault that the driver's own time-out has to catch is one in which the gate
is gone:
keep that time-out switched on.
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
rad, whatever
else was held by {error:g} rad at most.

"Limit" is how long the rule that catches the fault waits, a period of the gate ({period:.0f} ms),
the controller's interpolation (`time_from_start`, {control:.0f} ms), 0.12 s until a joint has
caught up with it, and the way (60 ms). A stop sends the joints back to where they were measured,
which takes 0.09 s more. A blocked joint is found when its command is {error:g} rad ahead
(`max_tracking_error`; {behind:g} s at full speed) for 0.5 s (`tracking_time`). Where the gate is
gone nothing is commanded any more, and the joint_trajectory_controller holds the last position:
such an arm needs no time-out to stand.
One whose driver goes limp, or goes on, without commands needs another driver.
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
    """`load`: the machine's average before. `before`: the page as it was; what was not tried now
    stays."""
    base, mark, arm = before.partition(ARM)
    arms = [fault for fault in faults if fault.world == "arm"]
    bases = [fault for fault in faults if fault.world != "arm"]
    facts = {
        "repeat": repeat,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": load,
        "busy": BUSY,
        "disturbed": DISTURBED_S,
        "python": platform.python_version(),
        "period": 1e3 * PERIOD,
        "control": 1e3 * CONTROL,
        "error": TRACKING_ERROR,
        "behind": TRACKING_ERROR / LIMIT,
        "pushed": PUSHED,
        "unfollowed": UNFOLLOWED,
    }
    if bases:
        base = HEAD.format(**facts) + _tables(bases, results, "##")
    return (
        base + (ARM_HEAD.format(**facts) + _tables(arms, results, "###") if arms else mark + arm)
    ).lstrip("\n")


def _tables(faults: Sequence[Fault], results: Sequence[Result], level: str) -> str:
    ran = {
        fault.name: [result for result in results if result.fault == fault.name] for fault in faults
    }
    columns = (*COLUMNS, MOVED) if faults[0].world == "arm" else COLUMNS
    lines = [
        columns,
        ["---"] * len(columns),
        *(_row(fault, ran[fault.name])[: len(columns)] for fault in faults),
    ]
    out = "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = [f"* {_name(fault)}: {note}." for fault in faults for note in _notes(ran[fault.name])]
    bad = [
        f"* {_name(fault)}: {problem.partition(': not within')[0]}."
        for fault in faults
        for problem in dict.fromkeys(text for result in ran[fault.name] for text in result.problems)
    ]
    return (
        out
        + _section(f"{level} What else was measured", notes)
        + _section(f"{level} What did not hold", bad)
    )


def _section(title: str, lines: Sequence[str]) -> str:
    return f"\n{title}\n\n" + "\n".join(dict.fromkeys(lines)) + "\n" if lines else ""


def _row(fault: Fault, results: Sequence[Result]) -> list[str]:
    seconds = [result.seconds for result in results if math.isfinite(result.seconds)]
    why = next((result.not_run for result in results if result.not_run), "")
    if not seconds:
        what = f"not run: {why}" if why else "**nothing**" if results else "not run"
        return [_name(fault), what, "", "", f"{fault.limit:.2f}", "", "", ""]

    def each(values: Sequence[str]) -> str:
        return " / ".join(dict.fromkeys(value for value in values if value))

    moved = max(
        (result.moved for result in results if math.isfinite(result.moved)), default=float("nan")
    )
    return [
        _name(fault),
        each([_by(result) for result in results]),
        f"{statistics.median(seconds):.2f}",
        f"{max(seconds):.2f}",
        f"{fault.limit:.2f}",
        each([result.state for result in results]),
        each([result.back for result in results]),
        f"{moved:.3f}",
    ]


def _name(fault: Fault) -> str:
    return fault.name.removeprefix("arm: ")  # it stands under a heading that says so


def _by(result: Result) -> str:
    known = {
        "": "",
        "zero": "a zero, before all else",
        "driver": result.stopped_by,
        "stood": "stood already",
    }
    return known.get(result.rule, f"rule `{result.rule}`")


def _notes(results: Sequence[Result]) -> list[str]:
    """Of the run that took longest; the figures of all would be a page."""
    worst = max(
        results,
        key=lambda result: result.seconds if math.isfinite(result.seconds) else -1.0,
        default=None,
    )
    return worst.notes if worst else []
