"""`vla trace`: where the time goes from a camera's image to the robot's command."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_ros.cli.argument_types import of_running_nodes, positive
from vla_ros.core.drawing import drawing

if TYPE_CHECKING:
    from vla_ros.operator.tracing import ObservationWay

SHARES = (50, 95, 99, 100)
SHOWN = 200  # ways in the picture's lower half: more could not be told apart


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=positive,
        default=10.0,
        metavar="S",
        help="how long to listen (default %(default)g)",
    )
    parser.add_argument(
        "--out",
        default="trace",
        metavar="NAME",
        help="writes NAME.json, for chrome://tracing or ui.perfetto.dev, and NAME.png "
        "(default %(default)s)",
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """0: at least one observation became a command; 1: none did."""
    from vla_ros.operator.client import spinning, wait_for
    from vla_ros.operator.tracing import Listener, chrome_events

    with spinning("vla_trace") as node:
        base = options.namespace.rstrip("/")
        if not wait_for(lambda: node.count_publishers(f"{base}/action_chunk") > 0, options.wait):
            print(
                f"nobody publishes on {base}/action_chunk within {options.wait:g} s; does the "
                "suite run in this domain, and is it active?"
            )
            return 1
        time.sleep(0.5)  # until the graph has shown all nodes and their topics
        listener = Listener(node, options.namespace)
        time.sleep(options.seconds)
        ways = listener.trace.complete()
        heard = len(listener.trace.ways)
    if not ways:
        print(
            f"{heard} observations were heard, and none became a command; is the gate armed, and "
            "does an instruction hold?"
        )
        return 1
    trace = Path(f"{options.out}.json")
    image = Path(f"{options.out}.png")
    trace.parent.mkdir(parents=True, exist_ok=True)
    trace.write_text(json.dumps({"traceEvents": chrome_events(ways)}), encoding="utf-8")
    with drawing(image):
        draw(ways, image)
    table(ways)
    print(f"{len(ways)} of {heard} observations became a command; written: {trace}, {image}")
    return 0


def durations(ways: Sequence[ObservationWay]) -> dict[str, np.ndarray]:
    """Stage, and "all" -> its times, ms; stages that were never heard are not in it."""
    times: dict[str, list[float]] = {}
    for way in ways:
        for stage, (begin, end) in way.stages().items():
            times.setdefault(stage, []).append((end - begin) / 1e6)
        times.setdefault("all", []).append(way.total / 1e6)
    everything = times.pop("all", [])
    return {stage: np.array(values) for stage, values in {**times, "all": everything}.items()}


def table(ways: Sequence[ObservationWay]) -> None:
    """Percentiles of each stage, ms."""
    from rich.console import Console
    from rich.table import Table

    rows = Table("ms", *(f"p{share}" if share < 100 else "most" for share in SHARES))
    for stage, values in durations(ways).items():
        rows.add_row(stage, *(f"{value:.2f}" for value in np.percentile(values, SHARES)))
    Console(width=None if Console().is_terminal else 120).print(rows)


def draw(ways: Sequence[ObservationWay], image: Path) -> None:
    """The stages' medians as a waterfall, and below it each observation's stages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from vla_ros.operator.tracing import STAGES

    times = durations(ways)
    figure = Figure(figsize=(10, 6))
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": (1, 1.4)})
    begin = 0.0
    for line, stage in enumerate(STAGES):
        if stage not in times:
            continue
        median, late = np.percentile(times[stage], (50, 95))
        upper.barh(line, median, left=begin, color=f"C{line}")
        upper.plot((begin + median, begin + late), (line, line), color=f"C{line}", linewidth=1)
        upper.text(begin + late, line, f"  {median:.2f}", va="center", fontsize=8)
        begin += median
    upper.set_yticks(range(len(STAGES)))
    upper.set_yticklabels(STAGES)
    upper.invert_yaxis()
    upper.set_xlabel("ms: each stage's median, and a line to its 95th percentile")
    last = ways[-SHOWN:]
    feet = np.zeros(len(last))
    for line, stage in enumerate(STAGES):
        heights = np.zeros(len(last))
        for index, way in enumerate(last):
            first, end = way.stages().get(stage, (0, 0))
            heights[index] = (end - first) / 1e6
        lower.bar(np.arange(len(last)), heights, bottom=feet, width=1.0, color=f"C{line}")
        feet += heights
    lower.set_xlabel(f"observations, the last {len(last)}")
    lower.set_ylabel("ms")
    figure.tight_layout()
    figure.savefig(str(image), dpi=110)
