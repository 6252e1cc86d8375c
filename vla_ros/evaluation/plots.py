"""The report's images, as PNG data URIs.

Shares with their intervals, times, confusions, and how an episode failed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_ros.core.types import Image
from vla_ros.evaluation.runner import Record
from vla_ros.sim.scene import RGB, ROOM_M
from vla_ros.tasks.world_state import ObjectState, WorldState

# Okabe and Ito's: they stay apart for the colour-blind
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#888888"
# Robot -> what is drawn of the floor or the table: x, y (m) of a corner, width and height.
FLOORS = {"cart": (-ROOM_M / 2, -ROOM_M / 2, ROOM_M, ROOM_M), "arm": (-0.15, -0.5, 0.75, 1.0)}
ARROW_SHARE = 0.25 / ROOM_M  # of the floor's width, that an arrow is long
MIN_MOVED_M = 0.03  # from there on, where an object was is drawn too


def figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a display, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.add_subplot()


def uri(drawing: Any) -> str:
    """The figure as a PNG in a data URI."""
    out = io.BytesIO()
    # without matplotlib's version in it, so that the same numbers give the same bytes
    drawing.savefig(out, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def shares(
    title: str,
    rates: Mapping[str, Mapping[str, Any]],
    beside: Mapping[str, Mapping[str, Any]] | None = None,
    labels: tuple[str, str] = ("", ""),
) -> str:
    """A point with its 95 % interval for each share.

    Args:
        rates: `metrics.rate` of each; what was not measured is left out.
        beside: a second one of the same names, below each.
        labels: what the two are, for a legend.
    """
    names = [name for name, rate in rates.items() if rate["rate"] is not None]
    drawing, axes = figure(7.4, 1.0 + 0.34 * max(len(names), 1))
    if beside is None:
        _intervals(axes, names, rates, 0.0, BLUE, labels[0])
    else:
        _intervals(axes, names, rates, -0.14, BLUE, labels[0])
        _intervals(axes, names, beside, 0.14, ORANGE, labels[1])
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
    return uri(drawing)


def _intervals(
    axes: Any,
    names: Sequence[str],
    rates: Mapping[str, Mapping[str, Any]],
    offset: float,
    colour: str,
    label: str,
) -> None:
    """One table's points, in the lines of `names`, `offset` below their middle."""
    places = []
    values = []
    for index, name in enumerate(names):
        rate = rates.get(name, {})
        if rate.get("rate") is None:
            continue
        place = index + offset
        places.append(place)
        values.append(rate["rate"])
        interval = (rate["low"], rate["high"])
        axes.plot(interval, (place, place), color=colour, linewidth=2.2, alpha=0.6)
    axes.plot(values, places, "o", color=colour, label=label or None)


def times(seconds: Sequence[float]) -> str:
    """Histogram of the policy's own time."""
    drawing, axes = figure(7.4, 2.8)
    values = np.asarray(seconds) * 1e3
    # a few calls that took far longer would squeeze all others into one bar
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
    return uri(drawing)


def confusion(title: str, table: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Rows: the truth, shares of each row written in its cells."""
    counts = np.asarray(table, float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)  # a class may never occur
    drawing, axes = figure(0.62 * len(names) + 1.6, 0.5 * len(names) + 1.4)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*share.shape):
        axes.text(
            column,
            row,
            f"{share[row, column]:.2f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if share[row, column] > 0.6 else "black",  # on dark blue, on light
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
    return uri(drawing)


def from_above(record: Record) -> str:
    """The room, the objects (hollow: where they were), the way driven, start and end."""
    from matplotlib.patches import Rectangle

    drawing, axes = figure(3.4, 3.4)
    left, bottom, width, height = FLOORS[record.episode.robot]
    floor: dict[str, Any] = {"facecolor": "#f4f4f2", "edgecolor": "#444444", "linewidth": 2}
    axes.add_patch(Rectangle((left, bottom), width, height, **floor))
    arrow = ARROW_SHARE * width
    meant = record.episode.meant
    before = {thing.name: thing for thing in record.start.objects}
    for thing in record.end.objects:
        asked = meant.colour == thing.colour and meant.shape in (None, thing.shape)
        was = before[thing.name]
        if math.dist((was.x, was.y), (thing.x, thing.y)) > MIN_MOVED_M:
            _thing(axes, was, hollow=True)
        _thing(axes, thing, hollow=False)
        axes.annotate(
            thing.name,
            (thing.x, thing.y - 0.5 * arrow),
            fontsize=7,
            ha="center",
            va="center",
            weight="bold" if asked else "normal",
        )
    # poses x (x, y, yaw); the path is thinned out, so the end may not be in it
    end = record.end
    at_end = (*end.tool[:2], end.tool_yaw) if record.episode.robot == "arm" else _pose(end)
    path = np.array([*record.path, at_end])
    axes.plot(path[:, 0], path[:, 1], color=BLUE, linewidth=1.6)
    for (x, y, yaw), colour in ((path[0], GREY), (path[-1], "black")):
        axes.plot(x, y, "o", color=colour, markersize=6)
        axes.annotate(
            "",
            (x + arrow * math.cos(yaw), y + arrow * math.sin(yaw)),
            (x, y),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4},
        )
    axes.set(
        xlim=(left - 0.2 * arrow, left + width + 0.2 * arrow),
        ylim=(bottom - 0.2 * arrow, bottom + height + 0.2 * arrow),
        aspect="equal",
        xticks=(),
        yticks=(),
    )
    return uri(drawing)


def _pose(state: WorldState) -> tuple[float, float, float]:
    return state.x, state.y, state.yaw


def _thing(axes: Any, thing: ObjectState, hollow: bool) -> None:
    from matplotlib.patches import Circle, RegularPolygon

    colour = RGB[thing.colour]
    style: dict[str, Any] = {
        "edgecolor": colour if hollow else "#222222",
        "facecolor": "none" if hollow else colour,
    }
    place = (thing.x, thing.y)
    if thing.shape == "block":
        # a polygon is given by its corners' radius, and stands on a corner at orientation 0
        radius = thing.size / math.sqrt(2)
        turned = thing.yaw + math.pi / 4
        axes.add_patch(RegularPolygon(place, 4, radius=radius, orientation=turned, **style))
    else:  # from above a ball and a cylinder are circles
        axes.add_patch(Circle(place, thing.size / 2, **style))


def last_image(image: Image, explained: Mapping[str, Any] | None) -> str:
    """The camera's last image, with the attention over it where the policy explains itself.

    Brighter is more, and the cross is where it is largest.
    """
    drawing, axes = figure(3.4, 3.4 * image.shape[0] / image.shape[1] + 0.3)
    axes.imshow(image, interpolation="nearest")
    if explained is not None:
        attention = np.asarray(explained["attention"], np.float64)
        rows, columns = attention.shape
        height, width = image.shape[:2]
        # of the largest: attention on many cells is small in each. 1e-9: all of it may be nowhere
        strength = attention / max(float(attention.max()), 1e-9)
        axes.imshow(
            strength,
            cmap="inferno",
            alpha=0.55 * strength**0.5,  # the root keeps weak attention visible
            interpolation="nearest",
            vmin=0,
            vmax=1,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),  # pixels: a pixel's middle is whole
        )
        row, column = np.unravel_index(int(attention.argmax()), attention.shape)
        x = (column + 0.5) * width / columns - 0.5
        y = (row + 0.5) * height / rows - 0.5
        axes.plot(x, y, "+", color="white", markersize=12)
        axes.set_title(
            f"attention on the cross {attention.max():.2f}, nowhere "
            f"{float(explained['nowhere']):.2f}",
            fontsize=8,
        )
    axes.set(xticks=(), yticks=())
    return uri(drawing)
