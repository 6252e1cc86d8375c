"""The report's images, as PNG data URIs: shares with intervals, times, confusions, and how an
episode failed."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_ros.core.types import Image
from vla_ros.evaluation.runner import Record
from vla_ros.sim.scene import RGB, ROOM
from vla_ros.tasks.world_state import ObjectState

# Okabe and Ito's: they stay apart for the colour-blind
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#888888"


def figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a display, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(made)
    return made, made.add_subplot()


def uri(made: Any) -> str:
    """The figure as a PNG in a data URI."""
    out = io.BytesIO()
    made.savefig(out, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def shares(
    title: str,
    rates: Mapping[str, Mapping[str, Any]],
    beside: Mapping[str, Mapping[str, Any]] | None = None,
    labels: tuple[str, str] = ("", ""),
) -> str:
    """A point with its 95 % interval for each share; `beside`, a second one below each."""
    names = [name for name, one in rates.items() if one["rate"] is not None]
    made, axes = figure(7.4, 1.0 + 0.34 * max(len(names), 1))
    for offset, colour, label, table in (
        (0.0 if beside is None else -0.14, BLUE, labels[0], rates),
        (0.14, ORANGE, labels[1], beside or {}),
    ):
        rows = [(index + offset, table.get(name, {})) for index, name in enumerate(names)]
        measured = [(place, one) for place, one in rows if one.get("rate") is not None]
        for place, one in measured:
            axes.plot(
                (one["low"], one["high"]), (place, place), color=colour, linewidth=2.2, alpha=0.6
            )
        axes.plot(
            [one["rate"] for _, one in measured],
            [place for place, _ in measured],
            "o",
            color=colour,
            label=label or None,
        )
    axes.set(
        title=title,
        xlabel="share, with its 95 % interval",
        xlim=(-0.02, 1.02),
        ylim=(len(names) - 0.4, -0.6),
        yticks=range(len(names)),
    )
    axes.set_yticklabels(names)
    axes.grid(True, axis="x", color="#dddddd")
    if labels[0]:
        # a figure's own legend knows "outside" only since matplotlib 3.7
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, frameon=False)
    return uri(made)


def times(seconds: Sequence[float]) -> str:
    """Histogram of the policy's own time."""
    made, axes = figure(7.4, 2.8)
    values = np.asarray(seconds) * 1e3
    top = float(np.percentile(values, 99.5)) * 1.2
    axes.hist(np.clip(values, 0, top), bins=60, color=BLUE)
    for mark, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        place = float(np.percentile(values, share))
        axes.axvline(place, color=ORANGE, linewidth=1.2)
        axes.annotate(
            mark,
            (place, axes.get_ylim()[1]),
            fontsize=8,
            ha="center",
            va="bottom",
            annotation_clip=False,
        )
    axes.set(
        xlabel="predict (ms); the last bar holds all that took longer",
        ylabel="calls",
        xlim=(0, top),
    )
    return uri(made)


def confusion(title: str, table: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Rows: the truth, shares of each row written in its cells."""
    counts = np.asarray(table, float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    made, axes = figure(0.62 * len(names) + 1.6, 0.5 * len(names) + 1.4)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*share.shape):
        axes.text(
            column,
            row,
            f"{share[row, column]:.2f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if share[row, column] > 0.6 else "black",
        )
    axes.set(
        title=title,
        xticks=range(len(names)),
        yticks=range(len(names)),
        xlabel="taken for",
        ylabel="is",
    )
    axes.set_xticklabels(names, rotation=45, ha="right")
    axes.set_yticklabels(names)
    return uri(made)


def from_above(record: Record) -> str:
    """The room, the objects (hollow: where they were), the way driven, start and end."""
    from matplotlib.patches import Rectangle

    made, axes = figure(3.4, 3.4)
    half = ROOM / 2
    axes.add_patch(
        Rectangle((-half, -half), ROOM, ROOM, facecolor="#f4f4f2", edgecolor="#444444", linewidth=2)
    )
    meant = record.episode.meant
    before = {thing.name: thing for thing in record.start.objects}
    for thing in record.end.objects:
        asked = meant.colour == thing.colour and meant.shape in (None, thing.shape)
        if math.dist((before[thing.name].x, before[thing.name].y), (thing.x, thing.y)) > 0.03:
            _thing(axes, before[thing.name], hollow=True)
        _thing(axes, thing, hollow=False)
        axes.annotate(
            thing.name,
            (thing.x, thing.y - 0.12),
            fontsize=7,
            ha="center",
            va="center",
            weight="bold" if asked else "normal",
        )
    way = np.array([*record.path, (record.end.x, record.end.y, record.end.yaw)])
    axes.plot(way[:, 0], way[:, 1], color=BLUE, linewidth=1.6)
    for (x, y, yaw), colour in ((way[0], GREY), (way[-1], "black")):
        axes.plot(x, y, "o", color=colour, markersize=6)
        axes.annotate(
            "",
            (x + 0.25 * math.cos(yaw), y + 0.25 * math.sin(yaw)),
            (x, y),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4},
        )
    axes.set(
        xlim=(-half - 0.05, half + 0.05),
        ylim=(-half - 0.05, half + 0.05),
        aspect="equal",
        xticks=(),
        yticks=(),
    )
    return uri(made)


def _thing(axes: Any, thing: ObjectState, hollow: bool) -> None:
    from matplotlib.patches import Circle, RegularPolygon

    colour = RGB[thing.colour]
    style: dict[str, Any] = {
        "edgecolor": colour if hollow else "#222222",
        "facecolor": "none" if hollow else colour,
    }
    if thing.shape == "block":
        axes.add_patch(
            RegularPolygon(
                (thing.x, thing.y),
                4,
                radius=thing.size / math.sqrt(2),
                orientation=thing.yaw + math.pi / 4,
                **style,
            )
        )
    else:
        axes.add_patch(Circle((thing.x, thing.y), thing.size / 2, **style))


def last_image(image: Image, explained: Mapping[str, Any] | None) -> str:
    """The camera's last image; with attention, brighter is more, and the cross is where it is
    largest."""
    made, axes = figure(3.4, 3.4 * image.shape[0] / image.shape[1] + 0.3)
    axes.imshow(image, interpolation="nearest")
    if explained is not None:
        attention = np.asarray(explained["attention"], np.float64)
        rows, columns = attention.shape
        height, width = image.shape[:2]
        strength = attention / max(float(attention.max()), 1e-9)
        axes.imshow(
            strength,
            cmap="inferno",
            alpha=0.55 * strength**0.5,
            interpolation="nearest",
            vmin=0,
            vmax=1,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        row, column = np.unravel_index(int(attention.argmax()), attention.shape)
        at = (column + 0.5) * width / columns - 0.5, (row + 0.5) * height / rows - 0.5
        axes.plot(*at, "+", color="white", markersize=12)
        axes.set_title(
            f"attention on the cross {attention.max():.2f}, nowhere "
            f"{float(explained['nowhere']):.2f}",
            fontsize=8,
        )
    axes.set(xticks=(), yticks=())
    return uri(made)
