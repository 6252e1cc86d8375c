"""The demo's images: the path from above, and the latency. Pure: data in, files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

# Okabe and Ito's colours: they stay apart for the colour-blind, and from the objects.
PATH_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6b4e16")
# A legend right of the axes, in every matplotlib from 3.5 on: a figure's own legend knows "outside"
# only since 3.7.
LEGEND_BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1.02, 1.0),
    "borderaxespad": 0.0,
    "frameon": False,
}
MOVED_M = 0.03  # a thing that was moved by less is drawn once
# Where a name may stand, from the thing's middle (m): below, above, right, left. Names are wide.
NAME_OFFSETS_M = ((0.0, -0.12), (0.0, 0.12), (0.30, 0.0), (-0.30, 0.0))
NAME_ASPECT = 3.0  # a name is about three times as wide as it is high
ARROW_EVERY_M = 0.5
LEAST_SEEN = 5  # speeds heard after a stop, to say that the robot stood


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
    """Where the robot truly was: seconds, metres, radians.

    `instruction` counts from 1; 0 is none.
    """

    seconds: float
    x: float
    y: float
    yaw: float
    instruction: int


@dataclass(frozen=True)
class Stop:
    """An unexpected stop: what was done, where (m), and when the robot stood still (s later).

    `seen` is false where too little was heard of the robot to say so; then `still` is false, too.
    """

    kind: str
    x: float
    y: float
    seconds: float
    still: bool
    instruction: int = 0
    seen: bool = True

    @property
    def sentence(self) -> str:
        """What became of it."""
        if self.still:
            return f"still after {self.seconds:.2f} s"
        if not self.seen:
            return "too little was heard of the robot to say that it stood; is the machine busy?"
        return f"it still moved after {self.seconds:.2f} s"


@dataclass
class DriveRecord:
    """What happened, for the images."""

    path: list[PathPoint] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # ms
    start: dict[str, Thing] = field(default_factory=dict)
    end: dict[str, Thing] = field(default_factory=dict)

    def way(self, instruction: int) -> list[PathPoint]:
        """The part of the path that was driven for the instruction of that number."""
        return [point for point in self.path if point.instruction == instruction]


def figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a display, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, canvas.add_subplot()


def draw_path(
    track: DriveRecord, instructions: Sequence[str], done: Sequence[bool], room: float, path: Path
) -> None:
    """The room from above, the things in it and where the robot went.

    Args:
        track: What happened.
        instructions: Their words, in order.
        done: Whether each was done; those that were never judged may be missing.
        room: Side of the square room, m.
        path: Where the image goes.
    """
    from matplotlib.patches import Rectangle

    canvas, axes = figure(9.6, 6.4)
    half = room / 2
    walls = Rectangle((-half, -half), room, room, linewidth=3, zorder=0)
    walls.set(facecolor="#f4f4f2", edgecolor="#444444")
    axes.add_patch(walls)
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
        xlim=(-half - 0.15, half + 0.15),  # the walls' line, whole
        ylim=(-half - 0.15, half + 0.15),
    )
    axes.grid(True, color="#dddddd", linewidth=0.6, zorder=0.5)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**LEGEND_BESIDE, fontsize=9, labelspacing=0.9)
    canvas.savefig(path)


def _draw_things(axes: Any, track: DriveRecord) -> None:
    """Every thing where it is at the end; hollow, and with an arrow, where it was before."""
    dotted = {"arrowstyle": "->", "color": "#555555", "linestyle": ":"}
    label = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
    for name, thing in track.start.items():
        last = track.end.get(name, thing)
        moved = bool(np.hypot(last.x - thing.x, last.y - thing.y) > MOVED_M)
        _shape(axes, thing, hollow=moved)
        if moved:
            _shape(axes, last, hollow=False)
            axes.annotate("", (last.x, last.y), (thing.x, thing.y), zorder=3, arrowprops=dotted)
        axes.annotate(
            name,
            _free_side(last, track),
            fontsize=8,
            ha="center",
            va="center",
            color="#222222",
            zorder=7,  # above the ways: a name that is crossed out cannot be read
            bbox=label,
        )


def _free_side(thing: Thing, track: DriveRecord) -> tuple[float, float]:
    """Where the thing's name hides least: above, below, left or right of it."""
    places = np.add((thing.x, thing.y), NAME_OFFSETS_M)  # 4 x 2, m
    crowd = np.array(_drawn_beside(thing, track)).reshape(-1, 2)  # N x 2, m
    gaps = places[:, None] - crowd  # 4 x N x 2
    distances = np.hypot(gaps[..., 0] / NAME_ASPECT, gaps[..., 1])  # 4 x N
    x, y = places[np.argmax(distances.min(axis=1, initial=np.inf))]
    return float(x), float(y)


def _drawn_beside(thing: Thing, track: DriveRecord) -> list[tuple[float, float]]:
    """The places (m) of all that is drawn beside `thing`, and that its name may hide."""
    marks: list[Any] = [*track.path[::5], *track.path[-1:], *track.stops]
    for other in track.end.values():
        if other.name != thing.name:
            marks.append(other)
    for other in track.start.values():
        if other != thing:  # the thing itself too, where it stood before
            marks.append(other)
    places = [(mark.x, mark.y) for mark in marks]
    for number in set(map(attrgetter("instruction"), track.path)) - {0}:
        places.append(_number_place(track.way(number), number - 1))
    return places


def _shape(axes: Any, thing: Thing, hollow: bool) -> None:
    """Blocks are squares, balls and cylinders discs; hollow: where it was."""
    from matplotlib.patches import Circle, RegularPolygon

    style: dict[str, Any] = {
        "edgecolor": thing.colour if hollow else "#222222",
        "linewidth": 1.4 if hollow else 0.8,
        "facecolor": "none" if hollow else thing.colour,
        "zorder": 4,
    }
    place = (thing.x, thing.y)
    outline: RegularPolygon | Circle
    if thing.name.endswith("block"):
        # matplotlib's square stands on a side at 45 degrees, and has a radius instead of a width
        turned = thing.yaw + np.pi / 4
        outline = RegularPolygon(
            place, 4, radius=thing.size / np.sqrt(2), orientation=turned, **style
        )
    else:
        outline = Circle(place, thing.size / 2, **style)
    axes.add_patch(outline)


def _draw_ways(
    axes: Any, track: DriveRecord, instructions: Sequence[str], done: Sequence[bool]
) -> None:
    """A line an instruction, with arrows along it; start and end."""
    if not track.path:
        return
    for index, words in enumerate(instructions):
        colour = PATH_COLOURS[index % len(PATH_COLOURS)]
        way = track.way(index + 1)
        # a demo that ended early has judged fewer than it was given
        verdict = "done" if index < len(done) and done[index] else "not done"
        label = f"{index + 1}. “{words}”: {verdict}"
        xs = [point.x for point in way]
        ys = [point.y for point in way]
        axes.plot(xs, ys, color=colour, linewidth=2.4, label=label, zorder=5)
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
    _draw_ends(axes, track.path[0], track.path[-1])


def _draw_ends(axes: Any, first: PathPoint, last: PathPoint) -> None:
    """Where the robot started and ended, and which way it looked."""
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
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2}
    for point in (first, last):
        ahead = (point.x + 0.22 * np.cos(point.yaw), point.y + 0.22 * np.sin(point.yaw))
        axes.annotate("", ahead, (point.x, point.y), zorder=5, arrowprops=arrow)


def _number_place(way: Sequence[PathPoint], index: int) -> tuple[float, float]:
    """Where the number of an instruction stands (m): beside the first third of its way.

    Stops come in the middle of a way. One number stands right of it, the next one left.
    """
    points = np.array([(point.x, point.y) for point in way])  # N x 2, m
    steps = np.hypot(*np.diff(points, axis=0).T)  # N - 1
    gone = np.cumsum([0.0, *steps])  # m from the way's start, for each point
    place = way[int(np.searchsorted(gone, gone[-1] * 0.3))]
    side = 0.09 if index % 2 == 0 else -0.09  # m
    return place.x + side, place.y + abs(side)


def _arrows(axes: Any, way: Sequence[PathPoint], colour: str) -> None:
    """Arrows along the way, so that its direction is seen."""
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.4}
    gone = ARROW_EVERY_M / 2  # the first one after half a step: ways may be short
    for before, after in zip(way, way[1:]):
        gone += float(np.hypot(after.x - before.x, after.y - before.y))
        if gone >= ARROW_EVERY_M:
            gone = 0.0
            tip = (after.x, after.y)
            axes.annotate("", tip, (before.x, before.y), zorder=5, arrowprops=arrow)


def latency_summary(latencies: Sequence[float]) -> dict[str, float]:
    """Count and percentiles (ms) for the summary; -1 where nothing was measured."""
    summary: dict[str, float] = {"count": len(latencies)}
    for share in (50, 95, 99):
        value = float(np.percentile(latencies, share)) if latencies else -1.0
        summary[f"p{share}_ms"] = round(value, 3)
    return summary


def draw_latency(latencies: Sequence[float], path: Path) -> None:
    """Histogram of milliseconds from the camera's stamp to the command, with its percentiles."""
    canvas, axes = figure(9.0, 4.4)
    axes.set(
        xlabel="from the camera's stamp to the command on the wire (ms)",
        ylabel="actions",
        title=f"Latency, {len(latencies)} actions",
    )
    if latencies:
        # one very late action would squeeze all others into a bar: it is counted in the last one
        top = float(np.percentile(latencies, 99.5)) * 1.25 + 1.0
        edges = np.linspace(0.0, top, 61).tolist()
        bars = {"color": "#7fa8c9", "edgecolor": "white", "linewidth": 0.4}
        axes.hist(np.clip(latencies, 0.0, top), bins=edges, **bars)
        for share, colour in ((50, "#009E73"), (95, "#E69F00"), (99, "#D55E00")):
            value = float(np.percentile(latencies, share))
            axes.axvline(value, color=colour, linewidth=2, label=f"p{share}  {value:.1f} ms")
        late = int(np.sum(np.asarray(latencies) > top))
        if late:
            note = f"last bar: {late} later\nthan {top:.0f} ms, up\nto {max(latencies):.0f} ms"
            axes.plot([], [], " ", label=note)  # nothing is drawn: the legend has the note
        axes.set_xlim(0.0, top)
        axes.legend(**LEGEND_BESIDE)
    else:
        axes.text(0.5, 0.5, "no action reached the robot", transform=axes.transAxes, ha="center")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    canvas.savefig(path)


def stood_still(
    speeds: Sequence[tuple[float, float, float]],
    at: float,
    within: float = 0.5,
    linear: float = 0.02,
    angular: float = 0.04,
) -> tuple[bool, float]:
    """Whether the robot stood still `within` seconds after `at`, and when it last moved after `at`.

    Args:
        speeds: (seconds, m/s, rad/s), in order of time.
        at: When it was stopped, s.
        within: How long it may take to stand still, s.
        linear: Below this it stands still, m/s.
        angular: Below this it does not turn, rad/s.
    """
    times, forward, turning = np.reshape(speeds, (-1, 3)).T
    since = times - at
    moving = (since >= 0.0) & ((np.abs(forward) > linear) | (np.abs(turning) > angular))
    last = float(since[moving].max(initial=0.0))
    return was_seen(speeds, at, within) and last <= within, last


def was_seen(speeds: Sequence[tuple[float, float, float]], at: float, within: float = 0.5) -> bool:
    """Whether enough was heard from `within` seconds after `at` on, by `stood_still`'s terms.

    A silent source says nothing about a robot that may still move.
    """
    return sum(moment - at > within for moment, _, _ in speeds) >= LEAST_SEEN


def summary_lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line an instruction: done or not, with the distance and the time."""
    lines = []
    for index, result in enumerate(results, 1):
        mark = "done    " if result["done"] else "NOT DONE"
        distance = result.get("distance_m")
        where = f", {distance:.2f} m from it" if distance is not None else ""
        lines.append(
            f"{mark}  {index}. “{result['text']}” in {result['seconds']:.1f} s, "
            f"moved {result['driven_m']:.2f} m{where}: {result['why']}"
        )
    return lines
