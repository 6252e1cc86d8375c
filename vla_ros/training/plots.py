"""Training's metrics as an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

# what is logged beside the loss's parts
NO_LOSSES = (
    "step",
    "seconds",
    "learning_rate",
    "steps_per_second",
    "gradient",
    "success",
    "without_noise",
    "reward",
    "length",
)
FEW_POINTS = 30  # below, each is marked: a line through two of them would hide how few there are


def draw(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and its parts; what was evaluated; learning rate and gradient, each over steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # a row's names, in the order in which they first occur
    panels = _panels(list(dict.fromkeys(chain.from_iterable(rows))))
    figure = Figure(figsize=(8, 2.6 * len(panels)), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(len(panels), 1, sharex=True), panels):
        smallest = math.inf
        for name in lines:
            steps = []
            values = []
            for row in rows:
                if row.get(name) is not None:  # evaluations are logged now and then only
                    steps.append(row["step"])
                    values.append(row[name])
            if not values:
                continue
            smallest = min(smallest, *values)
            axes.plot(
                steps,
                values,
                label=name,
                linewidth=2.0 if name == "loss" else 1.0,
                marker="." if len(values) < FEW_POINTS else None,
            )
        # a loss falls by orders of magnitude; with an entropy in it, it may be negative
        if title == "loss" and 0 < smallest < math.inf:
            axes.set_yscale("log")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize=7, ncol=2)
    axes.set_xlabel("step")
    FigureCanvasAgg(figure).print_png(str(path))


def _panels(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Titles, and what is drawn under each; `names` is all that was logged."""
    parts = [name for name in names if name not in NO_LOSSES and name != "loss"]
    panels = [("loss", ["loss", *parts])]
    if "success" in names:
        panels.append(("success", ["success", "without_noise"]))
    for name in ("reward", "length"):
        if name in names:
            panels.append((name, [name]))
    panels.append(("learning rate", ["learning_rate"]))
    panels.append(("gradient's norm", ["gradient"]))
    return panels
