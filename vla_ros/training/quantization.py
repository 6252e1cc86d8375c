"""A checkpoint in fewer bits: with packed weights, or with observations to calibrate an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vla_ros.core.images import side_by_side
from vla_ros.engines.compiled_vla import CompiledVLA, sub_models_of
from vla_ros.engines.select import EngineRequest, LoadedEngine, load_engine
from vla_ros.models import PACKED, examples
from vla_ros.models.checkpoint import WEIGHTS, from_pretrained, save_pretrained
from vla_ros.models.quantized import quantize_weights
from vla_ros.models.vla import VLA
from vla_ros.policies.builtin import (
    actions,
    follows,
    looks,
    precision_of,
    seen_in_training,
    state_of,
)
from vla_ros.policies.progress import Progress

if TYPE_CHECKING:
    from vla_ros.datasets.lerobot.read import Dataset

CALIBRATION_ROWS = 32  # observations
WARM_UP_RUNS = 10  # that no figure contains


def quantize(folder: Path, out: Path, kind: str, recorded: Dataset | None = None) -> list[str]:
    """Write the checkpoint in `folder` to `out` as `kind`.

    Args:
        kind: int8, int4: packed weights. static: weights as they are, to be run at int8, and the
            observations on which that engine is calibrated.
        recorded: where those come from; None: from the checkpoint itself.

    Returns:
        The names of the layers that are packed.

    Raises:
        ValueError: the checkpoint does not fit.
    """
    vla = from_pretrained(folder)
    if vla.config.quantization != "none":
        raise ValueError(
            f"{folder} is quantized already ({vla.config.quantization}); give what it was made from"
        )
    given, real = examples.load(folder, vla)
    if recorded:
        given = calibration(vla, folder, recorded)
    elif kind == "static" and not real:
        raise ValueError(
            f"{folder} has no observations to calibrate on; record some (vla record) and give "
            "--recorded"
        )
    names = quantize_weights(vla, kind) if kind in PACKED else []
    vla.config = replace(vla.config, quantization=kind)
    save_pretrained(vla, out)
    if real or recorded:
        examples.save(out, given["image"], given["ids"], given["state"])
    return names


def calibration(
    vla: VLA, folder: Path, recorded: Dataset, rows: int = CALIBRATION_ROWS
) -> dict[str, Tensor]:
    """What the policy would give the model on a recording.

    Args:
        rows: frames, evenly out of at most as many episodes.

    Returns:
        image, ids and state, `rows` of each.

    Raises:
        ValueError: the recording lacks the camera, or has words that the model does not know.
    """
    cameras = _cameras(vla.config.cameras, recorded)
    total = len(recorded.episodes)
    evenly = np.linspace(0, total - 1, min(rows, total)).round().astype(int)
    chosen = [recorded.episodes[index] for index in evenly]
    model = CompiledVLA(
        vla, folder, EngineRequest("eager", device="cpu", cache="none"), lambda text: None
    )
    images = []
    texts = []
    states = []
    known = seen_in_training(vla.config, vla.statistics)
    for place, episode in enumerate(chosen):
        progress = Progress()
        words = model.encode_text(episode.task)
        # the shares of all episodes add up to `rows`, also where that does not divide
        wanted = rows * (place + 1) // len(chosen) - rows * place // len(chosen)
        keep = np.linspace(episode.start, episode.end - 1, wanted).round().astype(int).tolist()
        # all: how far it has come depends on what was seen before
        for index in range(episode.start, episode.end):
            frame = recorded.frame(index)
            if follows(vla.config):
                progress.move(frame.state)
            seen = [frame.images[camera] for camera in cameras]
            image = side_by_side(seen, vla.config.image_size)
            state = state_of(vla.config, known, progress, frame.state)
            if index in keep:
                images.append(torch.from_numpy(image))
                texts.append(words["ids"][0])
                states.append(state)
            answer = model.decode_action(image, words, state)
            if looks(vla.config):  # what it saw is in the progress of the next frame
                actions(answer, [progress])
    return {"image": torch.stack(images), "ids": torch.stack(texts), "state": torch.tensor(states)}


def _cameras(wanted: Sequence[str], recorded: Dataset) -> Sequence[str]:
    """The recording's cameras that the model looks through.

    Raises:
        ValueError: one is not there, or several may be meant.
    """
    cameras = list(recorded.cameras)
    for name in wanted:
        if name not in cameras:
            raise ValueError(
                f"{recorded.folder} has {', '.join(cameras) or 'no camera'}, and the model learned "
                f"from the camera {name}; record with it"
            )
    if not wanted and len(cameras) != 1:
        raise ValueError(
            f"{recorded.folder} has {len(cameras)} cameras ({', '.join(cameras)}), and the model "
            "looks through one and does not say which; record with one"
        )
    return wanted or cameras


@dataclass(frozen=True)
class Figures:
    """Of a checkpoint: its sizes, and how long an image takes whose words are known."""

    file: int  # bytes, of weights
    memory: int  # bytes, of weights
    eager: tuple[float, float]  # ms, mean and standard deviation
    engine: str
    engine_files: int  # bytes
    on_engine: tuple[float, float] | None  # as `eager`; None: no engine takes it


def figures(folders: Sequence[Path], engine: str = "auto", runs: int = 100) -> list[Figures]:
    """Of each checkpoint; all take turns, run by run, so that a machine's moods meet them alike.

    Raises:
        ValueError: one cannot be loaded.
    """
    sizes = []
    engines = []
    eager_ways = []
    engine_ways = []
    for folder in folders:
        vla = from_pretrained(folder)
        # no cache asks for its key
        _, acting = sub_models_of(vla, examples.load(folder, vla)[0], str(folder))
        ready = _engine(acting, engine, precision_of(vla.config))
        memory = sum(value.nbytes for value in vla.state_dict().values())
        sizes.append(((folder / WEIGHTS).stat().st_size, memory))
        engines.append(ready)
        eager_ways.append(_run(acting.module, acting.examples[0]))
        engine_ways.append(_run(ready.engine if ready else None, acting.examples[0]))
    times = _in_turns([*eager_ways, *engine_ways], runs)
    table = []
    for index, ((file, memory), ready) in enumerate(zip(sizes, engines)):
        table.append(
            Figures(
                file,
                memory,
                times[index] or (0.0, 0.0),
                f"{ready.name} {ready.precision}" if ready else "none",
                ready.size if ready else 0,
                times[len(folders) + index],
            )
        )
    return table


def _engine(part: Any, name: str, precision: str) -> LoadedEngine | None:
    try:
        return load_engine(part, EngineRequest(name, precision, (), cache="none"))
    except ValueError:
        return None


def _run(way: Callable[..., Any] | None, given: tuple[Tensor, ...]) -> Callable[[], Any] | None:
    return None if way is None else lambda: way(*given)


def _in_turns(
    ways: Sequence[Callable[[], Any] | None], runs: int
) -> list[tuple[float, float] | None]:
    """Mean and deviation (ms) of each; None stays None."""
    taken: list[list[float]] = [[] for _ in ways]  # ms
    with torch.inference_mode():
        for index in range(WARM_UP_RUNS + runs):
            for way, times in zip(ways, taken):
                if way is None:
                    continue
                began = time.perf_counter_ns()
                way()
                if index >= WARM_UP_RUNS:
                    times.append((time.perf_counter_ns() - began) / 1e6)
    return [(float(np.mean(times)), float(np.std(times))) if times else None for times in taken]
