"""What `vla demo` shows while it runs: a live view in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from vla_ros.demo.overlay import Moment

PLAIN_PERIOD_S = 5.0  # between the plain view's lines about how it goes
LIVE_PERIOD_S = 0.25  # between two drawings of the live view
STATE_STYLES = {
    "DISARMED": "white on grey37",
    "HOLDING": "white on dodger_blue3",
    "ACTIVE": "white on green4",
    "STOPPED": "white on red3",
}
VERDICT_STYLES = {"PASSED": "green", "LIMITED": "yellow"}


@dataclass(frozen=True)
class Status:
    """What the view shows.

    Attributes:
        phase: What the demo is about: "starting", "instruction 1 of 3".
        moment: What the robot does.
        rates: Topic -> Hz.
        latency: The 50th and the 95th percentile, ms.
        pose: x and y in m, heading in degrees.
        pose_of: What of the robot that is; empty: the robot itself.
        nodes: Name -> lifecycle state; empty once all run.
    """

    phase: str
    moment: Moment = field(default_factory=Moment)
    rates: Mapping[str, float] = field(default_factory=dict)
    latency: tuple[float, float] | None = None
    pose: tuple[float, float, float] | None = None
    pose_of: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)


def rates_text(status: Status) -> str:
    if not status.rates:
        return "-"
    return "  ".join(f"{name} {rate:.0f}" for name, rate in status.rates.items()) + " Hz"


def latency_text(status: Status) -> str:
    if status.latency is None:
        return "-"
    p50, p95 = status.latency
    return f"p50 {p50:.1f}  p95 {p95:.1f} ms"


def pose_text(status: Status) -> str:
    if status.pose is None:
        return "-"
    x, y, heading = status.pose
    return f"{status.pose_of} x {x:+.2f} m  y {y:+.2f} m  heading {heading:+.0f}°".lstrip()


def plain_line(status: Status) -> str:
    """All of it in one line."""
    moment = status.moment
    if status.nodes:
        return f"{status.phase}: " + ", ".join(map(" ".join, status.nodes.items()))
    words = f"“{moment.instruction}”" if moment.instruction else "no instruction"
    gate = f"{moment.state} {moment.outcome}".rstrip()
    why = f" ({moment.reason})" if moment.reason else ""
    return (
        f"{status.phase}: {words} | {gate}{why} | {rates_text(status)} | "
        f"{latency_text(status)} | {pose_text(status)}"
    )


class PlainView:
    """Lines, now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._last = -PLAIN_PERIOD_S

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # nothing is open

    def say(self, line: str, style: str = "") -> None:
        """A line that stays."""
        print(line, file=self._stream, flush=True)

    def show(self, status: Callable[[], Status]) -> None:
        """How it goes, every few seconds."""
        now = time.monotonic()
        if now - self._last >= PLAIN_PERIOD_S:
            self._last = now
            print("  " + plain_line(status()), file=self._stream, flush=True)


class LiveView:
    """A table that stays in place under the lines that were said."""

    def __init__(self) -> None:
        # rich is not everywhere: `make_view` falls back to plain lines
        from rich.console import Console
        from rich.live import Live

        # no highlighting: colours say good and bad here. Not kept on screen when it ends.
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last = 0.0

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """A line that stays."""
        from rich.text import Text

        self._console.print(Text(line, style=style))

    def show(self, status: Callable[[], Status]) -> None:
        """Redraw, now and then: the robot's nodes need the processor more."""
        now = time.monotonic()
        if now - self._last >= LIVE_PERIOD_S:
            self._last = now
            self._live.update(table(status()), refresh=True)


def table(status: Status) -> Any:
    """The live view, as rich draws it: a `rich.panel.Panel`."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    moment = status.moment
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bright_black", no_wrap=True, width=12)
    rows.add_column()
    if status.nodes:
        for name, state in status.nodes.items():
            colour = "green" if state == "active" else "yellow"
            rows.add_row("", Text.assemble(f"{name:18}", (state, colour)))
    else:
        words = f"“{moment.instruction}”" if moment.instruction else "none"
        rows.add_row("instruction", Text(words, style="bold"))
        state_text = (f" {moment.state} ", STATE_STYLES.get(moment.state, ""))
        verdict_text = (moment.outcome, VERDICT_STYLES.get(moment.outcome, ""))
        rows.add_row("gate", Text.assemble(state_text, "  ", verdict_text))
        # cut, not wrapped: the table would jump with every reason
        rows.add_row("", Text(moment.reason or "-", overflow="ellipsis", no_wrap=True))
        rows.add_row("asked", Text(values_text(moment, moment.requested)))
        rows.add_row("given", Text(values_text(moment, moment.emitted)))
        rows.add_row("rates", rates_text(status))
        rows.add_row("latency", latency_text(status))
        rows.add_row("robot", pose_text(status))
    return Panel(rows, title=status.phase, title_align="left", width=88)


def values_text(moment: Moment, values: tuple[float, ...]) -> str:
    """`values` with the names of the moment's channels."""
    return "  ".join(f"{name} {value:+.2f}" for name, value in zip(moment.channels, values)) or "-"


def make_view(live: bool) -> PlainView | LiveView:
    """The live view, where it is wanted, stdout is a terminal and rich is installed."""
    if live and sys.stdout.isatty():
        try:
            return LiveView()
        except ImportError:
            print("(install rich to see a live view)")
    return PlainView()
