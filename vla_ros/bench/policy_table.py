"""`vla bench policy`'s figures as tables, a page and an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vla_ros.bench.bench_policy import AIMS, title
from vla_ros.bench.markdown import table as markdown_table
from vla_ros.core.drawing import drawing

# Those that have a column of their own, in ms; not every way has each.
STAGES = (
    "preprocess",
    "vision",
    "fusion and action",
    "language, miss",
    "language, hit",
    "copy in and out",
    "one of a batch",
)
COLUMNS = (
    "way",
    "whole p50",
    "p95",
    "p99",
    "Hz",
    *STAGES,
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
    "in MB (10^6 bytes); difference from the model, of its largest value"
)
THEIRS = ("plain", "torch.compile")  # how the names of the plain ways of today begin
HIT_LIMIT_MS = 0.1  # p95, for words that are known already


def rows_of(ways: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A row a way; what was not measured is a dash."""
    rows = []
    for name, figures in ways.items():
        stages = figures["stages"]
        whole = stages["whole"]
        row = [name]
        row += [f"{whole[share]:.3g}" for share in ("p50", "p95", "p99")]
        row.append(f"{1e3 / whole['p50']:.1f}")
        for stage in STAGES:
            row.append(_cell(stages.get(stage, {}).get("p50"), ".3g"))
        row += [
            _cell(figures.get("of eager"), ".2f"),
            _cell(figures.get("of torch.compile"), ".2f"),
            f"{figures['cold']:.2f}",
            f"{figures['warm']:.2f}",
            _cell(figures.get("first of median"), ".2f"),
            f"{figures['peak'] / 1e6:.0f}",
            _cell(figures["difference"], ".1e"),
        ]
        rows.append(row)
    return rows


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def verdicts(report: dict[str, Any]) -> list[str]:
    """The aims on a CPU beside the best engine of their precision, then those of each model."""
    lines = []
    for (config, precision), aim in AIMS.items():
        engines = {}
        for name, figures in report["configs"].get(config, {}).items():
            if name.endswith(f" {precision}") and not name.startswith(THEIRS):
                engines[name] = figures["of eager"]
        if engines:
            best = min(engines, key=lambda name: engines[name])
            lines.append(
                f"{config} at {precision}: {best} takes {engines[best]:.2f} of plain eager; "
                f"wanted: at most {aim:g}: {_met(engines[best] <= aim)}"
            )
    for config, ways in report["configs"].items():
        lines += _of_config(config, ways)
    return lines


def _of_config(config: str, ways: dict[str, dict[str, Any]]) -> list[str]:
    """The aims for starts, first images and known words."""
    ours = {}
    hits = []
    for name, figures in ways.items():
        if "first of median" in figures and not name.startswith("eager"):  # which builds nothing
            ours[name] = figures
        if "language, hit" in figures["stages"]:
            hits.append(figures["stages"]["language, hit"]["p95"])
    lines = []
    for key, aim, words in (
        ("warm of cold", 0.05, "a start from the cache over one that builds"),
        ("first of median", 2.0, "the first image over the median"),
    ):
        if ours:
            worst = max(ours, key=lambda name: float(ours[name][key]))
            share = ours[worst][key]
            lines.append(
                f"{config}: {words} is {share:.3g} at most ({worst}); "
                f"wanted: at most {aim:g}: {_met(share <= aim)}"
            )
    if hits:
        lines.append(
            f"{config}: words that are known take {max(hits):.2g} ms (p95); "
            f"wanted: below {HIT_LIMIT_MS:g}: {_met(max(hits) < HIT_LIMIT_MS)}"
        )
    return lines


def _met(met: bool) -> str:
    return "met" if met else "missed"


def show(report: dict[str, Any]) -> None:
    """The tables and the verdicts on the terminal."""
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

    image = page.with_suffix(".png")
    before = report["load_before"][0]  # of the last minute
    after = report["load_after"][0]
    lines = [
        "# What a policy takes on each engine",
        "",
        f"`{' '.join(command)}` wrote this page, on {report['cores']} cores "
        f"({chip(EngineRequest().place)}), {report['threads']} thread(s) each; load average "
        f"{before:.1f} before and {after:.1f} after. Medians of {report['rounds']} rounds of "
        f"{report['runs']} runs, the ways in turns. Units: {UNITS}.",
        "",
        f"![the same as an image]({image.name})",
    ]
    for config, ways in report["configs"].items():
        lines += ["", f"## {title(config)}", ""]
        lines.append(markdown_table(COLUMNS, rows_of(ways), texts=1))
    lines.append("")
    lines += map("* {}".format, (*verdicts(report), *report["problems"]))
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    with drawing(image):
        _draw(report, image)


def _draw(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    configs = report["configs"]
    height = 0.8 * len(configs) + 0.3 * sum(map(len, configs.values()))  # inches: a bar a way
    figure, axes = pyplot.subplots(
        len(configs), 1, squeeze=False, layout="constrained", figsize=(8, height)
    )
    for axis, (config, ways) in zip(axes[:, 0], configs.items()):
        names = list(ways)[::-1]  # bars go upwards: the first way on top
        medians = [ways[name]["stages"]["whole"]["p50"] for name in names]
        colors = ["0.6" if name.startswith(THEIRS) else "tab:blue" for name in names]
        bars = axis.barh(names, medians, color=colors)
        axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.set_title(title(config), loc="left", fontsize=10)
        axis.margins(x=0.12)
        axis.set_xlabel("ms from image to chunk (median)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
