"""The bench's figures as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from vla_ros.bench.variants import VARIANTS

# in the order in which an image passes the nodes
COUNTS = (
    "sent",
    "received",
    "handed_on",
    "paired",
    "inferred",
    "commanded_in_window",
    "sent_in_window",
)


def show(report: dict[str, Any]) -> None:
    """All figures of `vla bench pipeline` on the terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log file has room
    console.print(_latency(report))
    if "ours" in report["variants"]:
        _show_ours(console, report["variants"]["ours"])
    console.print(_processes(report))
    for name, value in report["ratios"].items():
        if value is not None and name.endswith(("p50", "p99", "cpu")):
            console.print(f"{name}: {value:.3f}")
    for name, grown in report.get("soak", {}).get("growth", {}).items():
        console.print(
            f"{name}: {grown['begin']:.1f} -> {grown['end']:.1f} MB (PSS),"
            f" {grown['percent']:+.2f} %"
        )
    for name, result in report["variants"].items():
        for problem in result["problems"]:
            console.print(f"[red]{VARIANTS[name].title}: {problem}")


def _show_ours(console: Console, ours: dict[str, Any]) -> None:
    """What only ours can tell."""
    counts = []
    for key in COUNTS:
        if key in ours:
            counts.append(f"{key.replace('_', ' ')} {ours[key]}")
    console.print(f"images: {', '.join(counts)}")
    console.print(
        f"dropped: {ours['drops'] or 'none'}; reports without their chunk: {ours['unmatched']}"
    )
    for reason in ours["stops"]:
        console.print(f"[yellow]the gate stopped, and was armed anew: {reason}")
    if ours["gate_late_ms"]:
        shares = ", ".join(f"{share} {late:.2f}" for share, late in ours["gate_late_ms"].items())
        console.print(f"a command later than the gate's period by (ms): {shares}")
    stages = []
    for node, stage in ours["stages_ms"].items():
        stages.append(f"{node} {stage['p50']:.2f} {stage['p99']:.2f}")
    console.print(f"in each node's own callback, p50 and p99 (ms): {', '.join(stages)}")


def _latency(report: dict[str, Any]) -> Table:
    table = Table(title="from the camera's stamp to the command on the wire, ms")
    for column in ("", "commands/sent", "p50", "p95", "p99", "max", "p50 of each round"):
        table.add_column(column, justify="left" if not column else "right")
    for name, result in report["variants"].items():
        rows = [(VARIANTS[name].title, result["latency_ms"])]
        if "latency_less_policy_ms" in result:
            rows.append(("  less observation -> chunk", result["latency_less_policy_ms"]))
        counts = f"{result['commanded_in_window']}/{result['sent_in_window']}"
        rounds = []
        for median in result["rounds_p50_ms"]:
            rounds.append("none" if median is None else f"{median:.1f}")
        for title, latency in rows:
            figures = ["no samples"] * 4
            if latency:
                figures = [f"{latency[share]:.2f}" for share in ("p50", "p95", "p99", "max")]
            table.add_row(title, counts, *figures, ", ".join(rounds))
    return table


def _processes(report: dict[str, Any]) -> Table:
    table = Table(
        title="processes: memory in MB (10^6 bytes; PSS shares shared pages out), CPU in % of a "
        "core"
    )
    for column in ("", "process", "RSS", "PSS", "USS", "CPU %"):
        table.add_column(column, justify="right" if column not in ("", "process") else "left")
    for name, result in report["variants"].items():
        for process, usage in result["processes"].items():
            figures = [f"{usage[key]:.1f}" for key in ("rss", "pss", "uss", "cpu")]
            table.add_row(name, process, *figures)
    return table
