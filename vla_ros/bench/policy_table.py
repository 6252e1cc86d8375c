"""`vla bench policy`'s figures as tables, a page and an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vla_ros.bench.bench_policy import AIMS, title
from vla_ros.core.drawing import drawing

COLUMNS = (
    "way",
    "whole p50",
    "p95",
    "p99",
    "Hz",
    "preprocess",
    "vision",
    "fusion and action",
    "language, miss",
    "language, hit",
    "copy in and out",
    "one of a batch",
    "of plain",
    "of torch.compile",
    "first start",
    "next start",
    "first image",
    "peak",
    "difference",
)
UNITS = (
    "ms; starts in s; the first image after a start as a multiple of p50; the process' peak memory "
    "in MB (10^6 "
    "bytes); difference from the model, of its largest value"
)


def rows_of(ways: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A row a way; what was not measured is a dash."""

    def stage(one: dict[str, Any], name: str, share: str = "p50") -> str:
        return f"{one['stages'][name][share]:.3g}" if name in one["stages"] else "–"

    rows = []
    for name, one in ways.items():
        shares, first = (
            [f"{one[key]:.2f}" if key in one else "–" for key in keys]
            for keys in (("of eager", "of torch.compile"), ("first of median",))
        )
        difference = "–" if one["difference"] is None else f"{one['difference']:.1e}"
        rows.append(
            [
                name,
                *(stage(one, "whole", share) for share in ("p50", "p95", "p99")),
                f"{1e3 / one['stages']['whole']['p50']:.1f}",
                *(stage(one, name) for name in COLUMNS[5:12]),
                *shares,
                f"{one['cold']:.2f}",
                f"{one['warm']:.2f}",
                *first,
                f"{one['peak'] / 1e6:.0f}",
                difference,
            ]
        )
    return rows


def verdicts(report: dict[str, Any]) -> list[str]:
    """The aims on a CPU beside the best engine of their precision."""
    found = []
    for (config, precision), most in AIMS.items():
        engines = {
            name: one["of eager"]
            for name, one in report["configs"].get(config, {}).items()
            if name.endswith(f" {precision}") and not name.startswith(("plain", "torch.compile"))
        }
        if engines:
            best = min(engines, key=lambda name: engines[name])
            found.append(
                f"{config} at {precision}: {best} takes {engines[best]:.2f} of plain eager; "
                "wanted: at most "
                f"{most:g}: {'met' if engines[best] <= most else 'missed'}"
            )
    for config, ways in report["configs"].items():
        ours = {
            name: one
            for name, one in ways.items()
            if "first of median" in one and not name.startswith("eager")
        }
        for key, most, what in (
            ("warm of cold", 0.05, "a start from the cache over one that builds"),
            ("first of median", 2.0, "the first image over the median"),
        ):
            if ours:
                worst = max(ours, key=lambda name: float(ours[name][key]))
                found.append(
                    f"{config}: {what} is {ours[worst][key]:.3g} at most ({worst}); wanted: at "
                    f"most {most:g}: "
                    f"{'met' if ours[worst][key] <= most else 'missed'}"
                )
        hits = [
            one["stages"]["language, hit"]["p95"]
            for one in ways.values()
            if "language, hit" in one["stages"]
        ]
        if hits:
            found.append(
                f"{config}: words that are known take {max(hits):.2g} ms (p95); wanted: below 0.1: "
                f"{'met' if max(hits) < 0.1 else 'missed'}"
            )
    return found


def show(report: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a log file has room
    for config, ways in report["configs"].items():
        table = Table(title=f"{title(config)}: {UNITS}")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "way" else "right")
        for row in rows_of(ways):
            table.add_row(*row)
        console.print(table)
    for line in verdicts(report):
        console.print(line, highlight=False)
    for problem in report["problems"]:
        console.print(f"[red]{problem}")


def write(report: dict[str, Any], page: Path, command: Sequence[str]) -> None:
    """A Markdown page, and an image of the same name."""
    from vla_ros.engines.select import EngineRequest, chip

    before, after = (report[f"load_{when}"][0] for when in ("before", "after"))
    lines = [
        "# What a policy takes on each engine",
        "",
        f"`{' '.join(command)}` wrote this page, on {report['cores']} cores "
        f"({chip(EngineRequest().place)}), "
        f"{report['threads']} thread(s) each; load average {before:.1f} before and {after:.1f} "
        "after. Medians of "
        f"{report['rounds']} rounds of {report['runs']} runs, the ways in turns. Units: {UNITS}.",
        "",
        f"![the same as an image]({page.with_suffix('.png').name})",
    ]
    rule = "|---|" + "---:|" * (len(COLUMNS) - 1)
    for config, ways in report["configs"].items():
        lines += ["", f"## {title(config)}", "", "| " + " | ".join(COLUMNS) + " |", rule]
        lines += ["| " + " | ".join(row) + " |" for row in rows_of(ways)]
    lines += ["", *(f"* {line}" for line in (*verdicts(report), *report["problems"]))]
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    image = page.with_suffix(".png")
    with drawing(image):
        _draw(report, image)


def _draw(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(report["configs"]),
        1,
        squeeze=False,
        layout="constrained",
        figsize=(8, sum(0.8 + 0.3 * len(ways) for ways in report["configs"].values())),
    )
    for axis, (config, ways) in zip(axes[:, 0], report["configs"].items()):
        names = list(ways)[::-1]
        bars = axis.barh(
            names,
            [ways[name]["stages"]["whole"]["p50"] for name in names],
            color=[
                "0.6" if name.startswith(("plain", "torch.compile")) else "tab:blue"
                for name in names
            ],
        )
        axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.set_title(title(config), loc="left", fontsize=10)
        axis.margins(x=0.12)
        axis.set_xlabel("ms from image to chunk (median)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
