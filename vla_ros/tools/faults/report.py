"""The results as a page of the docs."""
from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence

from vla_ros.tools.faults.table import BUSY, Fault
from vla_ros.tools.faults.trial import Result

HEAD = """# From a fault to standstill

Written by `vla bench faults --out doc/standstill.md`. The simulated robot turns on the spot just under its operating
limit (0.5 rad/s); then the fault. Seconds are from the fault to when its wheels stand, by the simulated robot's own
log: median and worst of {repeat} runs each, on {cores} cores ({machine}, Python {python}).

"Limit" is what the design promises: how long the rule that catches the fault waits, a period of the gate (20 ms),
braking from full speed, and the way to the wheels (60 ms). `make check-safety` runs the same table once each,
`make test` one fault of each kind; both allow {busy:g} s more, for a busy machine, and a second attempt. Driving
straight at 0.5 m/s, braking takes 0.08 s longer than turning.
A fault that the driver's own time-out has to catch is one in which the gate is gone: keep that time-out switched on.

| fault | stopped by | median s | worst s | limit s | the gate afterwards | a person has to |
|---|---|---|---|---|---|---|
"""


def page(faults: Sequence[Fault], results: Sequence[Result], repeat: int) -> str:
    out = HEAD.format(repeat=repeat, cores=os.cpu_count(), machine=platform.machine(), busy=BUSY,
                      python=platform.python_version())
    ran = {fault.name: [result for result in results if result.fault == fault.name] for fault in faults}
    for fault in faults:
        out += "| " + " | ".join(_row(fault, ran[fault.name])) + " |\n"
    notes = [f"* {fault.name}: {note}." for fault in faults for note in _notes(ran[fault.name])]
    bad = [f"* {fault.name}: {problem.partition(': not within')[0]}." for fault in faults
           for problem in dict.fromkeys(text for result in ran[fault.name] for text in result.problems)]
    return out + _section("What else was measured", notes) + _section("What did not hold", list(dict.fromkeys(bad)))


def _section(title: str, lines: Sequence[str]) -> str:
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n" if lines else ""


def _row(fault: Fault, results: Sequence[Result]) -> list[str]:
    seconds = [result.seconds for result in results if math.isfinite(result.seconds)]
    why = next((result.not_run for result in results if result.not_run), "")
    if not seconds:
        what = f"not run: {why}" if why else "**nothing**" if results else "not run"
        return [fault.name, what, "", "", f"{fault.limit:.2f}", "", ""]

    def each(values: Sequence[str]) -> str:
        return " / ".join(dict.fromkeys(value for value in values if value))
    return [fault.name, each([_by(result) for result in results]), f"{statistics.median(seconds):.2f}",
            f"{max(seconds):.2f}", f"{fault.limit:.2f}", each([result.state for result in results]),
            each([result.back for result in results])]


def _by(result: Result) -> str:
    known = {"zero": "a zero, before all else", "driver": "the driver's time-out",
             "stood": "stood already"}
    return known.get(result.rule, f"rule `{result.rule}`")


def _notes(results: Sequence[Result]) -> list[str]:
    """Of the run that took longest; the figures of all would be a page."""
    worst = max(results, key=lambda result: result.seconds if math.isfinite(result.seconds) else -1.0, default=None)
    return worst.notes if worst else []
