"""The demo's images: the path from above, and the latency. Pure: data in, files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# For the paths; colours that stay apart for the colour-blind, and from the objects (Okabe and
# Ito's).
PATH_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6b4e16")
# Right of the axes, in every matplotlib from 3.5 on: a figure's own legend knows "outside" only
# since 3.7.
BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1.02, 1.0),
    "borderaxespad": 0.0,
    "frameon": False,
}


@dataclass(frozen=True)
class Thing:
    """An object in the room: name ("red block"), place (m), width (m), colour (0 … 1)."""

    name: str
    x: float
    y: float
    size: float = 0.06
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)
    yaw: float = 0.0


@dataclass(frozen=True)
class PathPoint:
    """Where the robot truly was: seconds, metres, radians; `instruction` counts from 1, 0 is
    none."""

    seconds: float
    x: float
    y: float
    yaw: float
    instruction: int


@dataclass(frozen=True)
class Stop:
    """An unexpected stop: what was done, where, and after how many seconds the robot stood
    still."""

    kind: str
    x: float
    y: float
    seconds: float
    still: bool
    instruction: int = 0


@dataclass
class Track:
    """What happened, for the images."""

    path: list[PathPoint] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # ms
    start: dict[str, Thing] = field(default_factory=dict)
    end: dict[str, Thing] = field(default_factory=dict)


def figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a display, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(made)
    return made, made.add_subplot()


def draw_path(
    track: Track, instructions: Sequence[str], done: Sequence[bool], room: float, path: Path
) -> None:
    """The room from above (`room`: side of the square, metres), the things in it and where the
    robot went."""
    made, axes = figure(9.6, 6.4)
    half = room / 2
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (-half, -half),
            room,
            room,
            facecolor="#f4f4f2",
            edgecolor="#444444",
            linewidth=3,
            zorder=0,
        )
    )
    _draw_things(axes, track)
    _draw_ways(axes, track, instructions, done)
    for stop in track.stops:
        axes.plot(
            stop.x,
            stop.y,
            marker="8",
            markersize=11,
            color="#c62828",
            markeredgecolor="white",
            zorder=6,
            linestyle="none",
            label=f"stop ({stop.kind}): still after {stop.seconds:.2f} s",
        )
    axes.set(
        xlabel="x (m)",
        ylabel="y (m)",
        title="Where the robot went, seen from above",
        aspect="equal",
        xlim=(-half - 0.15, half + 0.15),
        ylim=(-half - 0.15, half + 0.15),
    )
    axes.grid(True, color="#dddddd", linewidth=0.6, zorder=0.5)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**BESIDE, fontsize=9, labelspacing=0.9)
    made.savefig(path)


def _draw_things(axes: Any, track: Track) -> None:
    for name, thing in track.start.items():
        last = track.end.get(name, thing)
        moved = float(np.hypot(last.x - thing.x, last.y - thing.y)) > 0.03
        _shape(axes, thing, hollow=moved)
        if moved:
            _shape(axes, last, hollow=False)
            axes.annotate(
                "",
                (last.x, last.y),
                (thing.x, thing.y),
                zorder=3,
                arrowprops={"arrowstyle": "->", "color": "#555555", "linestyle": ":"},
            )
        x, y = _free_side(last, track)
        axes.annotate(
            name,
            (x, y),
            fontsize=8,
            ha="center",
            va="center",
            color="#222222",
            zorder=7,
            bbox={
                "boxstyle": "round,pad=0.15",
                "facecolor": "white",
                "alpha": 0.75,
                "linewidth": 0,
            },
        )


def _free_side(thing: Thing, track: Track) -> tuple[float, float]:
    """Where the thing's name hides least: above, below, left or right of it."""
    others = [(point.x, point.y) for point in track.path[::5] + track.path[-1:]]
    others += [(stop.x, stop.y) for stop in track.stops]
    for number in {point.instruction for point in track.path} - {0}:
        others.append(
            _number_place(
                [point for point in track.path if point.instruction == number], number - 1
            )
        )
    others += [(other.x, other.y) for other in track.end.values() if other.name != thing.name]
    others += [
        (other.x, other.y)
        for other in track.start.values()
        if other.name != thing.name or other != thing
    ]
    sides = ((0.0, -0.12), (0.0, 0.12), (0.30, 0.0), (-0.30, 0.0))
    places = [(thing.x + dx, thing.y + dy) for dx, dy in sides]

    # a name is about three times as wide as it is high
    def room(place: tuple[float, float]) -> float:
        return min(
            (float(np.hypot((place[0] - x) / 3, place[1] - y)) for x, y in others), default=1.0
        )

    return max(places, key=room)


def _shape(axes: Any, thing: Thing, hollow: bool) -> None:
    """Blocks are squares, balls and cylinders discs; hollow: where it was."""
    from matplotlib.patches import Circle, RegularPolygon

    style: dict[str, Any] = {
        "edgecolor": thing.colour if hollow else "#222222",
        "linewidth": 1.4 if hollow else 0.8,
        "facecolor": "none" if hollow else thing.colour,
        "zorder": 4,
    }
    if thing.name.endswith("block"):
        axes.add_patch(
            RegularPolygon(
                (thing.x, thing.y),
                4,
                radius=thing.size / np.sqrt(2),
                orientation=thing.yaw + np.pi / 4,
                **style,
            )
        )
    else:
        axes.add_patch(Circle((thing.x, thing.y), thing.size / 2, **style))


def _draw_ways(axes: Any, track: Track, instructions: Sequence[str], done: Sequence[bool]) -> None:
    """A line an instruction, with arrows along it; start and end."""
    points = track.path
    if not points:
        return
    for index, words in enumerate(instructions):
        colour = PATH_COLOURS[index % len(PATH_COLOURS)]
        way = [point for point in points if point.instruction == index + 1]
        verdict = "done" if index < len(done) and done[index] else "not done"
        label = f"{index + 1}. “{words}”: {verdict}"
        axes.plot(
            [p.x for p in way],
            [p.y for p in way],
            color=colour,
            linewidth=2.4,
            label=label,
            zorder=5,
        )
        _arrows(axes, way, colour)
        if way:  # turning on the spot leaves no line: the number says where it happened
            axes.annotate(
                str(index + 1),
                _number_place(way, index),
                color="white",
                ha="center",
                va="center",
                zorder=8,
                fontsize=8,
                bbox={"boxstyle": "circle,pad=0.2", "facecolor": colour, "linewidth": 0},
            )
    first, last = points[0], points[-1]
    axes.plot(
        first.x,
        first.y,
        marker="o",
        color="white",
        markeredgecolor="black",
        markersize=10,
        markeredgewidth=2,
        linestyle="none",
        label="start",
        zorder=5.5,
    )
    axes.plot(
        last.x,
        last.y,
        marker="X",
        color="black",
        markeredgecolor="white",
        markersize=11,
        linestyle="none",
        label="end",
        zorder=6,
    )
    for point in (first, last):
        ahead = (point.x + 0.22 * np.cos(point.yaw), point.y + 0.22 * np.sin(point.yaw))
        axes.annotate(
            "",
            ahead,
            (point.x, point.y),
            zorder=5,
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2},
        )


def _number_place(way: Sequence[PathPoint], index: int) -> tuple[float, float]:
    """Beside the first third of the way, for stops come in the middle; right of it, left of it, and
    so on."""
    steps = [float(np.hypot(b.x - a.x, b.y - a.y)) for a, b in zip(way, way[1:])]
    gone = np.cumsum([0.0, *steps])
    place = way[int(np.searchsorted(gone, gone[-1] * 0.3))]
    side = 0.09 if index % 2 == 0 else -0.09
    return place.x + side, place.y + abs(side)


def _arrows(axes: Any, way: Sequence[PathPoint], colour: str) -> None:
    """An arrow every half metre."""
    gone = 0.25
    for before, after in zip(way, way[1:]):
        gone += float(np.hypot(after.x - before.x, after.y - before.y))
        if gone >= 0.5:
            gone = 0.0
            axes.annotate(
                "",
                (after.x, after.y),
                (before.x, before.y),
                zorder=5,
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.4},
            )


def latency_summary(latencies: Sequence[float]) -> dict[str, float]:
    """Count and percentiles (ms) for the summary."""
    out: dict[str, float] = {"count": len(latencies)}
    for share in (50, 95, 99):
        value = float(np.percentile(latencies, share)) if latencies else -1.0
        out[f"p{share}_ms"] = round(value, 3)
    return out


def draw_latency(latencies: Sequence[float], path: Path) -> None:
    """Histogram of milliseconds from the camera's stamp to the command, with its percentiles."""
    made, axes = figure(9.0, 4.4)
    axes.set(
        xlabel="from the camera's stamp to the command on the wire (ms)",
        ylabel="actions",
        title=f"Latency, {len(latencies)} actions",
    )
    if latencies:
        top = float(np.percentile(latencies, 99.5)) * 1.25 + 1.0
        shown = np.clip(latencies, 0.0, top)
        axes.hist(
            shown,
            bins=np.linspace(0.0, top, 61).tolist(),
            color="#7fa8c9",
            edgecolor="white",
            linewidth=0.4,
        )
        for share, colour in ((50, "#009E73"), (95, "#E69F00"), (99, "#D55E00")):
            value = float(np.percentile(latencies, share))
            axes.axvline(value, color=colour, linewidth=2, label=f"p{share}  {value:.1f} ms")
        late = int(np.sum(np.asarray(latencies) > top))
        if late:
            axes.plot(
                [],
                [],
                " ",
                label=f"last bar: {late} later\nthan {top:.0f} ms, up\nto {max(latencies):.0f} ms",
            )
        axes.set_xlim(0.0, top)
        axes.legend(**BESIDE)
    else:
        axes.text(0.5, 0.5, "no action reached the robot", transform=axes.transAxes, ha="center")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    made.savefig(path)


def stood_still(
    speeds: Sequence[tuple[float, float, float]],
    at: float,
    within: float = 0.5,
    linear: float = 0.02,
    angular: float = 0.04,
) -> tuple[bool, float]:
    """Whether the robot stood still `within` seconds after `at`, and when it last moved after `at`.

    `speeds` holds (seconds, m/s, rad/s) in order of time. Too few of them say nothing, so they are
    a no.
    """
    after = [speed for speed in speeds if speed[0] >= at]
    watched = [speed for speed in after if speed[0] > at + within]
    moving = [seconds - at for seconds, v, w in after if abs(v) > linear or abs(w) > angular]
    last = max(moving, default=0.0)
    return len(watched) >= 5 and last <= within, last


def summary_lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line an instruction: done or not, with the distance and the time."""
    out = []
    for index, result in enumerate(results, 1):
        mark = "done    " if result["done"] else "NOT DONE"
        distance = result.get("distance_m")
        where = f", {distance:.2f} m from it" if distance is not None else ""
        out.append(
            f"{mark}  {index}. “{result['text']}” in {result['seconds']:.1f} s, "
            f"drove {result['driven_m']:.2f} m{where}: {result['why']}"
        )
    return out
