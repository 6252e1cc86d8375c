"""The gate bench's figures: on the terminal, and as a page of the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vla_ros.bench.markdown import table

FIGURES = {
    "step": "a step",
    "step_calm": "the same, processor time",
    "narrow": "a step, walls all around near",
    "narrow_calm": "the same, processor time",
    "look": "a scan read, processor time",
    "late_written": "command later than the grid",
    "late_written_calm": "the same, while the machine ran",
    "late_received": "the same, in the robot's process",
    "stop": "`stop` to zero",
    "stop_calm": "the same, while the machine ran",
}
LOADS = {"": "", "busy": ", two busy processes", "quiet": ", nothing busy"}
NAMES = {"ours": "ours", "fifo": "ours, SCHED_FIFO", "plain": "plain", "floor": "bare loop"}

PAGE = """# The gate, measured

`vla bench gate --out doc/bench_gate.md` wrote this page.

{machine}
{how}

{table}
{problems}

What is measured, and how:

- **A step** is one `Gate.step` (ours) or the body of the action's callback (plain), Python
  included, in one process with nothing around it. Ten channels: two velocities, a gripper, seven
  joints; a new action of 8 rows every 100 ms; a lidar of 720 beams, in a wide room (2.5 m) or with
  walls all around so near (0.95 m) that every beam counts. Our gate is ACTIVE all the time, and
  limits {limited:.0%} of the rows in the wide room. **Processor time** leaves out what other
  processes took meanwhile. **A scan read**: what each new scan (10 Hz) costs on top of that. The
  plain gate looks at no scan.
- **Later than the grid**: a gate sends at 50 Hz. The grid is laid through its most punctual
  commands; each of the grid's times counts, and a command that did not come counts as late until
  the next one. Commands that a new action caused in between are left out. Two processes that never
  rest run beside it, on the same cores. The time is the publisher's (DDS' source timestamp); "in
  the robot's process": the time at which DDS had it there.
- **While the machine ran**: a witness on each core, with real-time priority and nothing to do,
  notes when it could not run. That is the machine standing still (a virtual machine's host takes
  its cores away), and what was waited for then is left out in these rows. Without the right to
  SCHED_FIFO there is no witness, and no such row.
- **Bare loop**: `time.sleep` until the grid's next time, in a process without ROS beside each of
  the gates: what an ordinary process gets here at best. **SCHED_FIFO**: our gate's process with
  real-time priority 10 (`--fifo`).
- **`stop` to zero**: the robot moves at full speed, `true` is published on `stop` at a random phase
  of the period, and the first command of zero reaches the robot's process. Then release, reset,
  arm, instruct, and again.

What runs:

- Both gates: a real process, the package's Fast DDS profile, 30 actions a second, commands as
  `Twist`, `Float64MultiArray` and `JointTrajectory`. A process beside them plays everything else.
- **Ours**: `safety_validator` with its default parameters, so it wants the heartbeats of five nodes
  (10 Hz each), `/joint_states` and `/odom` (50 Hz each) and a scan of 720 beams (10 Hz), all of
  which are played, and publishes a `SafetyReport` with each command.
- **Plain**: one rclpy node, default QoS, `rclpy.spin`. The action's callback clamps with `np.clip`
  and publishes at once; a 50 Hz timer of the executor sends the last action again, and zero where
  no action came for 0.5 s; `stop` sets a flag, and what is published next is zero. No camera in
  that process (many have one), no heartbeats, no joint states, no scan, no rate limit, no report,
  no latch.
"""


def title(load: str, figure: str) -> str:
    """A row's first cell; a row that says "the same" stands below one that names the load."""
    if figure.endswith(("_calm", "received")):
        return FIGURES[figure]
    return FIGURES[figure] + LOADS[load]


def cells(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the one table."""
    measured = set()
    for figures in report["figures"].values():
        for gates in figures.values():
            measured.update(gates)
    names = [name for name in NAMES if name in measured]
    aims = {}
    for aim in report["aims"]:
        verdict = "met" if aim["met"] else "missed"
        aims[aim["load"], aim["figure"]] = f"{aim['p99']:g}, {verdict}"
    rows = []
    for load, figures in report["figures"].items():
        for figure, gates in figures.items():
            row = [title(load, figure)]
            row += [_percentiles(gates.get(name)) for name in names]
            row.append(_ratio(report["ratios"], f"{load} {figure}".strip()))
            row.append(aims.get((load, figure), ""))
            rows.append(row)
    titles = [NAMES[name] for name in names]
    header = ["ms: p50 / p99 / max", *titles, "ours : plain, p50 / p99", "aim: p99 under"]
    return header, rows


def _percentiles(figures: dict[str, float] | None) -> str:
    """In ms; a dash for what was not measured."""
    if not figures:
        return "-"
    return f"{figures['p50']:.3g} / {figures['p99']:.3g} / {figures['max']:.3g}"


def _ratio(ratios: dict[str, float | None], name: str) -> str:
    """Ours over the plain gate's, at p50 and p99."""
    values = []
    for share in ("p50", "p99"):
        value = ratios.get(f"{name} {share}")
        values.append("-" if value is None else f"{value:.2g}")
    return " / ".join(values)


def show(report: dict[str, Any]) -> None:
    """The table on the terminal, with what it was measured under."""
    from rich.console import Console  # only needed here
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a log file has room
    header, rows = cells(report)
    shown = Table(title="our gate beside a plain one")
    for column in header:
        shown.add_column(column, justify="left")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    console.print(how(report), highlight=False)
    for problem in report["problems"]:
        console.print(f"[red]{problem}")


def how(report: dict[str, Any]) -> str:
    """How much was measured, and how busy the machine was."""
    before = ", ".join(map("{:.2f}".format, report["load_before"]))
    after = ", ".join(map("{:.2f}".format, report["load_after"]))
    return (
        f"{report['steps']} steps; {report['seconds']:g} s of motion and {report['stops']} stops "
        f"for each gate and load, in turns ({report['rounds']}). "
        f"Load average (1, 5, 15 min) before: {before}; after: {after}. "
        f"The machine's host kept {report['stolen']:.1%} of its processor time for others "
        "meanwhile."
    )


def markdown(report: dict[str, Any]) -> str:
    """The page: the table, and what is measured in it."""
    header, rows = cells(report)
    machine = report["machine"]
    problems = map("\nCut short: {}.\n".format, report["problems"])
    return PAGE.format(
        machine=f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['ros']}.",
        how=f"{how(report)} {report['note']}".rstrip(),
        table=table(header, rows),
        problems="".join(problems),
        limited=report["figures"][""]["step"]["ours"]["limited"],
    )


def write(report: dict[str, Any], path: Path) -> None:
    """The page into a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(report), encoding="utf-8")
