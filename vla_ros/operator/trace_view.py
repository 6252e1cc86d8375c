"""What a trace says, as numbers and as a picture. Pure: ways in, arrays or a file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_ros.operator.tracing import STAGES, ObservationWay

SHOWN = 200  # ways in the picture's lower half: more could not be told apart


def durations(ways: Sequence[ObservationWay]) -> dict[str, np.ndarray]:
    """Stage, and "all" -> its times, ms; stages that were never heard are not in it."""
    times: dict[str, list[float]] = {}
    for way in ways:
        for stage, (begin, end) in way.stages().items():
            times.setdefault(stage, []).append((end - begin) / 1e6)
        times.setdefault("all", []).append(way.total / 1e6)
    everything = times.pop("all", [])
    return {stage: np.array(values) for stage, values in {**times, "all": everything}.items()}


def draw(ways: Sequence[ObservationWay], image: Path) -> None:
    """The stages' medians as a waterfall, and below it each observation's stages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
    heights = np.zeros((len(STAGES), len(last)))  # ms; 0 where a stage was not heard
    for index, way in enumerate(last):
        for stage, (first, end) in way.stages().items():
            heights[STAGES.index(stage), index] = (end - first) / 1e6
    feet = np.cumsum(heights, axis=0) - heights
    for line in range(len(STAGES)):
        lower.bar(
            np.arange(len(last)), heights[line], bottom=feet[line], width=1.0, color=f"C{line}"
        )
    lower.set_xlabel(f"observations, the last {len(last)}")
    lower.set_ylabel("ms")
    figure.tight_layout()
    figure.savefig(str(image), dpi=110)
