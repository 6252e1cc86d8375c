"""`vla bench gpu`'s figures as a page, and where matplotlib is there as an image beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vla_ros.bench.markdown import table
from vla_ros.core.drawing import drawing
from vla_ros.core.whole_file import write_whole

# The cells of `_row`, in this order.
COLUMNS = (
    "way",
    "precision",
    "whole",
    "from the camera",
    "vision",
    "fusion and action",
    "of 8, each",
    "of 16, each",
    "of plain",
    "of torch.compile",
    "of the floor",
    "cold start",
    "warm start",
    "first image",
    "memory",
    "difference",
)
UNITS = (
    "Times are ms; where three stand together they are p50 / p95 / p99, else p50. *Whole*: from an "
    "image of the policy's size in the computer's memory to the answer there; its words are known "
    "(where a language model reads the image with them, it reads in there). *From the camera*: the "
    "same from 640 × 480, resized by the CPU, or (of the engine eager, and with one CUDA graph) on "
    "the device, inside the graph. *Vision*, *fusion and "
    "action*: without copies, but on engines that give nothing else. *Of N, each*: what one image "
    "of N at once takes. The ratios are of *whole* at p50, to the same precision. *The floor*: the "
    "image's copy from page-locked memory, one launch with its wait, and the longer of the time "
    "that the arithmetic takes as one large product of matrices and that the weights take to be "
    "read. Starts are in s: *cold* compiles, several compile at once, each on one core; *warm* "
    "finds that again; both without Python's start and the model's. *Memory*: of the device, MB "
    "(10^6 bytes), with the graph; on a CPU the most that the process had. *Difference*: from the "
    "model in fp32 without TF32, of its largest value. *One CUDA graph*: the same, recorded once "
    "and replayed, with one copy from page-locked memory and one back: what the engine eager does."
)
NUMBER_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
NO_FIGURE = "–"


def key_of(config: str, way: str, precision: str, rows: int, piece: str) -> str:
    """An item's name in the JSON file."""
    return " ".join((config, way, precision, str(rows), piece))


def folder_of(config: str, way: str, precision: str, rows: int, piece: str) -> str:
    """The same as a folder's."""
    name = key_of(config, way, precision, rows, piece)
    return name.replace(" ", "_").replace(":", "_")


def write(state: Mapping[str, Any], left: Sequence[str], page: Path) -> None:
    """The page, whole or as it was.

    Args:
        state: What the JSON file holds.
        left: What there was no time for, a line each.
    """
    text = text_of(state, left)
    image = page.with_suffix(".png")
    if find_spec("matplotlib") is not None and state["items"]:
        with drawing(image):
            _draw(state, image)
        if image.is_file():
            # below the title, which ends with the first empty line
            text = text.replace("\n\n", f"\n\n![the same as an image]({image.name})\n\n", 1)
    write_whole(page, text)


def text_of(state: Mapping[str, Any], left: Sequence[str]) -> str:
    """The page in Markdown, without the image."""
    lines = ["# What a policy takes on a GPU, in every way that was there", ""]
    if state["settings"]["quick"]:
        lines += ["**A rehearsal with tiny models: none of these figures means anything.**", ""]
    for command in dict.fromkeys(map(shlex.join, state["commands"])):  # one that went on, once
        lines.append(f"`{command}` wrote this page.")
    lines += ["", f"It took {state['spent_s']:.0f} s in all, on:", ""]
    for name, value in _machine(state["machine"]):
        lines.append(f"* {name}: {value}")
    lines += ["", "## The floors", "", _floors(state["floors"])]
    if "floors_problem" in state:
        lines += ["", f"Not all: {state['floors_problem']}"]
    lines += ["", "## The models", "", UNITS]
    for config in _configs(state):
        rows = list(_rows(state, config))
        if rows:
            title = _title(state, config)
            lines += ["", f"### {title[0].upper()}{title[1:]}", "", *_facts(state, config)]
            lines.append(table(COLUMNS, rows, texts=2))
    lines += _chapter("What was not there", _missing(state["missing"]))
    lines += _chapter("What went wrong", _problems(state["items"]))
    lines += _chapter("What the time did not suffice for", left)
    return "\n".join(lines).rstrip() + "\n"


def _chapter(title: str, points: Sequence[str]) -> list[str]:
    lines = ["", f"## {title}", ""]
    for point in points or ["nothing"]:
        lines.append(f"* {point}")
    return lines


def _machine(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of what is known of it, for people."""
    names = {
        "chip": "chip",
        "capability": "compute capability",
        "memory_gib": "its memory (GiB)",
        "driver": "driver",
        "clock": "highest clock",
        "power": "power limit",
        "cuda": "torch's CUDA",
        "torch": "torch",
        "python": "Python",
        "cores": "CPU cores",
    }
    for key, name in names.items():
        if key in machine:  # a CPU has no driver, say
            yield name, str(machine[key])
    for name, version in machine.get("libraries", {}).items():
        yield name, version


def _floors(floors: Mapping[str, Mapping[str, float]]) -> str:
    """Their table."""
    rows = []
    for name, figures in floors.items():
        rate = NO_FIGURE
        if "bytes" in figures:  # per ms: a millionth of that is GB/s
            rate = f"{figures['bytes'] / figures['p50'] / 1e6:.3g} GB/s"
        elif "operations" in figures:
            rate = f"{figures['operations'] / figures['p50'] / 1e9:.3g} TFLOP/s"
        shares = map(_number, map(figures.get, ("p50", "p95", "p99")))
        rows.append([_floor_name(name, figures), *shares, rate])
    return table(("what", "p50, ms", "p95", "p99", "rate at p50"), rows, texts=1)


def _floor_name(name: str, figures: Mapping[str, float]) -> str:
    """What people call a floor of `gpu_floors.floors`."""
    words = name.split()
    if words[0] in ("image", "large"):
        size = f"{figures['bytes'] / 1e6:.3g} MB"
        content = "an image of 640 × 480" if words[0] == "image" else "bytes"
        way = "to the device" if words[1] == "to" else "back from it"
        memory = "page-locked" if words[2] == "pinned" else words[2]
        return f"{content} ({size}) {way}, {memory}"
    if words[0] == "product":
        side = round((figures["operations"] / 2) ** (1 / 3))  # it takes 2 side³ operations
        return f"product of matrices {side} × {side}, {words[1]}"
    return {
        "launch and wait": "the smallest kernel, launched and awaited",
        "launch in a row": "the smallest kernel, one of many in a row",
        "kernel in a graph": "the smallest kernel, one of many in a CUDA graph",
        "memory": "device's memory, read and written",
    }.get(name, name)


def floor_ms(state: Mapping[str, Any], config: str, precision: str) -> float | None:
    """The least that one image can take, as UNITS says; None where a part was not measured."""
    floors = state["floors"]
    model = state["models"].get(config)
    copy = floors.get("image to pinned", floors.get("image to pageable"))
    launch = floors.get("launch and wait")
    product = floors.get(f"product {precision}")
    memory = floors.get("memory")
    if None in (model, copy, launch, product, memory) or precision not in NUMBER_BYTES:
        return None
    arithmetic = model["operations"] * product["p50"] / product["operations"]
    # Kernels that multiply read the weights meanwhile: the longer of both counts.
    reading = model["numbers"] * NUMBER_BYTES[precision] * memory["p50"] / memory["bytes"]
    return float(copy["p50"] + launch["p50"] + max(arithmetic, reading))


def _facts(state: Mapping[str, Any], config: str) -> list[str]:
    """A model's size and its floor; nothing where they were not measured."""
    model = state["models"].get(config)
    if model is None:
        return []
    floors = []
    for precision in NUMBER_BYTES:
        least = floor_ms(state, config, precision)
        if least is not None:
            floors.append(f"{_number(least)} ms at {precision}")
    return [
        f"{model['parameters'] / 1e6:.1f} M parameters, of which an image wants "
        f"{model['numbers'] / 1e6:.1f} M; {model['operations'] / 1e9:.3g} billion operations an "
        f"image. The floor: {', '.join(floors) or 'unknown'}.",
        "",
    ]


def _rows(state: Mapping[str, Any], config: str) -> Iterator[list[str]]:
    """A row a way and precision, and below it the same as one CUDA graph."""
    for way, precision in _ways(state, config):
        item = _item(state, config, way, precision)
        for graph in (False, True):
            figures = _figures(state, config, way, precision, graph)
            if figures:
                yield _row(state, config, way, precision, item, figures, graph)


def _row(
    state: Mapping[str, Any],
    config: str,
    way: str,
    precision: str,
    item: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, float]],
    graph: bool,
) -> list[str]:
    """The cells of COLUMNS.

    Args:
        item: That of the whole, for one image.
        figures: Of all sizes and pieces, in this way and as a graph or not.
    """

    def p50(name: str, share: float = 1.0) -> float | None:
        return figures[name]["p50"] / share if name in figures else None

    whole = p50("whole")
    plain = _figures(state, config, "plain", precision, False)
    compiled = _figures(state, config, "torch.compile", precision, False)
    ratios = [
        _ratio(whole, plain["whole"]["p50"] if "whole" in plain else None),
        _ratio(whole, compiled["whole"]["p50"] if "whole" in compiled else None),
        _ratio(whole, floor_ms(state, config, precision)),
    ]
    starts = [NO_FIGURE] * 3  # a graph has none of its own
    if not graph:
        starts = list(map(_number, map(item.get, ("cold", "warm", "first"))))
    place = item.get("graph", {}) if graph else item
    memory = place.get("memory")
    apart = place.get("difference")
    return [
        f"{way}, one CUDA graph" if graph else way,
        precision,
        _shares(figures.get("whole")),
        _number(p50("from the camera")),
        _shares(figures.get("vision")),
        _shares(figures.get("fusion and action")),
        _number(p50("batch 8", 8.0)),  # ms for one of the 8
        _number(p50("batch 16", 16.0)),
        *ratios,
        *starts,
        NO_FIGURE if memory is None else f"{memory / 1e6:.0f}",
        NO_FIGURE if apart is None else f"{apart:.1e}",
    ]


def _ratio(whole: float | None, base: float | None) -> str:
    return NO_FIGURE if whole is None or base is None else f"{whole / base:.2f}"


def _configs(state: Mapping[str, Any]) -> list[str]:
    """The models of which something was measured, in that order."""
    return list(dict.fromkeys(key.split(" ")[0] for key in state["items"]))


def _title(state: Mapping[str, Any], config: str) -> str:
    return str(state["models"].get(config, {}).get("title", config))


def _ways(state: Mapping[str, Any], config: str) -> list[tuple[str, str]]:
    """Ways and precisions of a model, in the order in which they were measured."""
    ways: dict[tuple[str, str], None] = {}  # as a set that keeps its order
    for key in state["items"]:
        name, way, precision, *_ = key.split(" ")
        if name == config:
            ways[way, precision] = None
    return list(ways)


def _item(state: Mapping[str, Any], config: str, way: str, precision: str) -> dict[str, Any]:
    """That of the whole, for one image."""
    item: dict[str, Any] = state["items"].get(key_of(config, way, precision, 1, "whole"), {})
    return item


def _figures(
    state: Mapping[str, Any], config: str, way: str, precision: str, graph: bool
) -> dict[str, Mapping[str, float]]:
    """Of all sizes and pieces, by name: call by call, or as one CUDA graph."""
    figures: dict[str, Mapping[str, float]] = {}
    for key, item in state["items"].items():
        if key.split(" ")[:3] == [config, way, precision]:
            place = item.get("graph", {"figures": {}}) if graph else item
            figures.update(place["figures"])
    return figures


def _missing(missing: Mapping[str, str]) -> list[str]:
    """A sentence for each reason, with all that it holds for."""
    reasons: dict[str, dict[str, list[str]]] = {}  # why -> way -> precisions
    for name, why in missing.items():
        if why:
            way, precision = name.rsplit(" ", 1)  # as `gpu_trial` joins them
            reasons.setdefault(why, {}).setdefault(way, []).append(precision)
    sentences = []
    for why, ways in reasons.items():
        names = []
        for way, precisions in ways.items():
            names.append(f"{way} ({', '.join(precisions)})")
        sentences.append(f"{'; '.join(names)}: {why}")
    return sentences


def _problems(items: Mapping[str, Mapping[str, Any]]) -> list[str]:
    problems = []
    for key, item in items.items():
        if "problem" in item:
            problems.append(f"{key}: {item['problem']}")
        if "problem" in item.get("graph", {}):
            problems.append(f"{key}, as one CUDA graph: {item['graph']['problem']}")
        if "warm_problem" in item:
            problems.append(f"{key}, started again: {item['warm_problem']}")
    return problems


def _shares(figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return NO_FIGURE
    return " / ".join(map(_number, map(figures.get, ("p50", "p95", "p99"))))


def _number(value: float | None) -> str:
    return NO_FIGURE if value is None else f"{value:.3g}"


def _draw(state: Mapping[str, Any], path: Path) -> None:
    """A bar for each way and precision, an axis for each model."""
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    from matplotlib import pyplot

    bars: dict[str, dict[str, float]] = {}  # model -> what the bar is called -> ms
    for config in _configs(state):
        for way, precision in _ways(state, config):
            for graph in (False, True):
                whole = _figures(state, config, way, precision, graph).get("whole")
                if whole:
                    name = f"{way}{', graph' if graph else ''} {precision}"
                    bars.setdefault(config, {})[name] = whole["p50"]
    if not bars:
        return
    heights = [0.8 + 0.22 * len(names) for names in bars.values()]  # inches: the axis, and a bar
    figure, axes = pyplot.subplots(
        len(bars),
        1,
        squeeze=False,
        layout="constrained",
        figsize=(8, sum(heights)),
        gridspec_kw={"height_ratios": heights},
    )
    for axis, (config, names) in zip(axes[:, 0], bars.items()):
        labels = list(names)[::-1]  # matplotlib draws the first one at the bottom
        values = list(names.values())[::-1]
        colours = ["tab:blue" if "graph" in label else "0.6" for label in labels]
        drawn = axis.barh(labels, values, color=colours)
        axis.bar_label(drawn, fmt="%.3g", padding=3, fontsize=8)
        axis.tick_params(axis="y", labelsize=8)
        axis.set_title(_title(state, config), loc="left", fontsize=10)
        axis.margins(x=0.12)
        axis.set_xlabel("ms from image to answer (median)", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
