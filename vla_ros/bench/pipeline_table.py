"""The bench's figures as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from vla_ros.bench.variants import VARIANTS


def show(report: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log file has room
    console.print(_latency(report))
    ours = report["variants"].get("ours")
    if ours:
        counts = (
            "sent",
            "received",
            "handed_on",
            "paired",
            "inferred",
            "commanded_in_window",
            "sent_in_window",
        )
        console.print(
            "images: "
            + ", ".join(f"{key.replace('_', ' ')} {ours[key]}" for key in counts if key in ours)
        )
        console.print(
            f"dropped: {ours['drops'] or 'none'}; reports without their chunk: {ours['unmatched']}"
        )
        for reason in ours["stops"]:
            console.print(f"[yellow]the gate stopped, and was armed anew: {reason}")
        if ours["gate_late_ms"]:
            console.print(
                "a command later than the gate's period by (ms): " + _shares(ours["gate_late_ms"])
            )
        console.print(
            "in each node's own callback, p50 and p99 (ms): "
            + ", ".join(
                f"{node} {stage['p50']:.2f} {stage['p99']:.2f}"
                for node, stage in ours["stages_ms"].items()
            )
        )
    console.print(_processes(report))
    for name, value in report["ratios"].items():
        if value is not None and name.endswith(("p50", "p99")):
            console.print(f"{name}: {value:.3f}")
    for name, grown in report.get("soak", {}).get("growth", {}).items():
        console.print(
            f"{name}: {grown['begin']:.1f} -> {grown['end']:.1f} MB (PSS),"
            f" {grown['percent']:+.2f} %"
        )
    for name, result in report["variants"].items():
        for problem in result["problems"]:
            console.print(f"[red]{VARIANTS[name].title}: {problem}")


def _shares(values: dict[str, float]) -> str:
    return ", ".join(f"{share} {value:.2f}" for share, value in values.items())


def _latency(report: dict[str, Any]) -> Table:
    table = Table(title="from the camera's stamp to the command on the wire, ms")
    for column in ("", "commands/sent", "p50", "p95", "p99", "max", "p50 of each round"):
        table.add_column(column, justify="left" if not column else "right")
    for name, result in report["variants"].items():
        rows = [(VARIANTS[name].title, result["latency_ms"])]
        if "latency_less_policy_ms" in result:
            rows.append(("  less observation -> chunk", result["latency_less_policy_ms"]))
        for title, latency in rows:
            figures = [
                f"{latency[share]:.2f}" if latency else "no samples"
                for share in ("p50", "p95", "p99", "max")
            ]
            rounds = ", ".join(
                "none" if value is None else f"{value:.1f}" for value in result["rounds_p50_ms"]
            )
            table.add_row(
                title,
                f"{result['commanded_in_window']}/{result['sent_in_window']}",
                *figures,
                rounds,
            )
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
            table.add_row(
                name, process, *(f"{usage[key]:.1f}" for key in ("rss", "pss", "uss", "cpu"))
            )
    return table
