"""What `vla demo` shows while it runs: a live view in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from vla_ros.demo.overlay import Moment

PLAIN_EVERY = 5.0  # s between the plain view's lines about how it goes
STATE_STYLES = {
    "DISARMED": "white on grey37",
    "HOLDING": "white on dodger_blue3",
    "ACTIVE": "white on green4",
    "STOPPED": "white on red3",
}
VERDICT_STYLES = {"PASSED": "green", "LIMITED": "yellow", "HELD": "dodger_blue1", "STOPPED": "red"}


@dataclass(frozen=True)
class Status:
    """What the view shows: rates in Hz, latency in ms, `pose` in m, m and degrees."""

    phase: str
    moment: Moment = field(default_factory=Moment)
    rates: Mapping[str, float] = field(default_factory=dict)
    latency: tuple[float, float] | None = None  # p50, p95
    pose: tuple[float, float, float] | None = None
    nodes: Mapping[str, str] = field(default_factory=dict)  # name -> state; while starting


def rates_text(status: Status) -> str:
    return (
        "  ".join(f"{name} {rate:.0f}" for name, rate in status.rates.items()) + " Hz"
        if status.rates
        else "-"
    )


def latency_text(status: Status) -> str:
    return f"p50 {status.latency[0]:.1f}  p95 {status.latency[1]:.1f} ms" if status.latency else "-"


def pose_text(status: Status) -> str:
    if status.pose is None:
        return "-"
    return f"x {status.pose[0]:+.2f} m  y {status.pose[1]:+.2f} m  heading {status.pose[2]:+.0f}°"


def plain_line(status: Status) -> str:
    """All of it in one line."""
    moment = status.moment
    if status.nodes:
        return f"{status.phase}: " + ", ".join(
            f"{name} {state}" for name, state in status.nodes.items()
        )
    words = f"“{moment.instruction}”" if moment.instruction else "no instruction"
    why = f" ({moment.reason})" if moment.reason else ""
    return (
        f"{status.phase}: {words} | {moment.state} {moment.verdict}{why} | {rates_text(status)} | "
        f"{latency_text(status)} | {pose_text(status)}"
    )


class PlainView:
    """Lines, now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._last = -PLAIN_EVERY

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
        if now - self._last >= PLAIN_EVERY:
            self._last = now
            print("  " + plain_line(status()), file=self._stream, flush=True)


class LiveView:
    """A table that stays in place under the lines that were said."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

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
        """Redraw, at most four times a second: the robot's nodes need the processor more."""
        now = time.monotonic()
        if now - self._last >= 0.25:
            self._last = now
            self._live.update(table(status()), refresh=True)


def table(status: Status) -> Any:
    """The live view's image, as rich draws it."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    moment = status.moment
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bright_black", no_wrap=True, width=12)
    rows.add_column()
    if status.nodes:
        for name, state in status.nodes.items():
            rows.add_row(
                "",
                Text.assemble(
                    (f"{name:18}", ""), (state, "green" if state == "active" else "yellow")
                ),
            )
    else:
        rows.add_row(
            "instruction",
            Text(f"“{moment.instruction}”" if moment.instruction else "none", style="bold"),
        )
        rows.add_row(
            "gate",
            Text.assemble(
                (f" {moment.state} ", STATE_STYLES.get(moment.state, "")),
                "  ",
                (moment.verdict, VERDICT_STYLES.get(moment.verdict, "")),
            ),
        )
        rows.add_row("", Text(moment.reason or "-", overflow="ellipsis", no_wrap=True))
        rows.add_row("asked", Text(values_text(moment, moment.requested)))
        rows.add_row("given", Text(values_text(moment, moment.emitted)))
        rows.add_row("rates", rates_text(status))
        rows.add_row("latency", latency_text(status))
        rows.add_row("robot", pose_text(status))
    return Panel(rows, title=status.phase, title_align="left", width=88)


def values_text(moment: Moment, values: tuple[float, ...]) -> str:
    return "  ".join(f"{name} {value:+.2f}" for name, value in zip(moment.channels, values)) or "-"


def make_view(live: bool) -> PlainView | LiveView:
    """The live view, where it is wanted, stdout is a terminal and rich is installed."""
    if live and sys.stdout.isatty():
        try:
            return LiveView()
        except ImportError:
            print("(install rich to see a live view)")
    return PlainView()
