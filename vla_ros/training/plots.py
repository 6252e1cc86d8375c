"""Training's metrics as an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

ASIDE = (
    "step",
    "seconds",
    "learning_rate",
    "steps_per_second",
    "gradient",
    "success",
    "without_noise",
    "reward",
    "length",
)  # no losses


def draw(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and its parts; what was evaluated; learning rate and gradient, each over steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row))
    found = [name for name in ("success", "reward", "length") if name in names]
    panels = [("loss", ["loss", *(name for name in names if name not in (*ASIDE, "loss"))])]
    panels += [(name, [name, *(["without_noise"] if name == "success" else [])]) for name in found]
    panels += [("learning rate", ["learning_rate"]), ("gradient's norm", ["gradient"])]
    figure = Figure(figsize=(8, 2.6 * len(panels)), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(len(panels), 1, sharex=True), panels):
        for name in lines:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if points:
                axes.plot(
                    *zip(*points),
                    label=name,
                    linewidth=2.0 if name == "loss" else 1.0,
                    marker="." if len(points) < 30 else None,
                )
        values = [row[name] for row in rows for name in lines if row.get(name) is not None]
        if title == "loss" and values and min(values) > 0:
            axes.set_yscale("log")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize=7, ncol=2)
    axes.set_xlabel("step")
    FigureCanvasAgg(figure).print_png(str(path))
