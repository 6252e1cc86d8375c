"""Behaviour cloning: any VLA learns the actions of a folder of demonstrations in LeRobot's
layout."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.images import resize
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.read import Dataset, Episode
from vla_ros.datasets.statistics import Normaliser, Stats, least_deviation
from vla_ros.models import build, examples
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import encode, words_of
from vla_ros.models.language.tokenizers import WordTokenizer, check_tokenizer, padded
from vla_ros.models.vla import VLA
from vla_ros.training.settings import Settings
from vla_ros.training.trainer import Trainer

WEIGHTS = {"action": 1.0, "task": 0.1, "plan": 0.1}
DONE_SECONDS = 0.5  # the end of an episode in which its task counts as done
# share of the episodes that are not learnt, batches of them at an evaluation
HELD_OUT = 0.1
CHECKS = 8
MARGIN = 0.05  # of a channel's range, beyond what was demonstrated, in a config made for a dataset


class CloneBatch(NamedTuple):
    """B frames: what was seen, said and measured (`state` normalised), what was done next, and
    whether it was done."""

    pixels: Tensor  # B x 3 x H x W uint8
    ids: Tensor  # B x L
    mask: Tensor  # B x L, true at words
    state: Tensor  # B x S
    actions: Tensor  # B x T x C, SI units
    valid: Tensor  # B x T, false beyond the episode's end
    done: Tensor  # B


def config_for(dataset: Dataset) -> VLAConfig:
    """The small model with the dataset's channels, bounds a little wider than its actions, state,
    rate, and words: the small model's own where they are enough, else those of the dataset."""
    low, high = dataset.action.min(0), dataset.action.max(0)
    room = MARGIN * np.maximum(high - low, 0.1)
    return VLAConfig(
        channels=dataset.names[layout.ACTION],
        low=tuple(map(float, low - room)),
        high=tuple(map(float, high + room)),
        step=1.0 / dataset.fps,
        state=dataset.names.get(layout.STATE, ()),
        language="small" if _common(dataset.tasks) else "lstm",
    )


def _common(texts: list[str]) -> bool:
    """Does the lexicon know all of these?"""
    try:
        return all(encode(text) for text in texts if words_of(text))
    except ValueError:
        return False


def check_fit(dataset: Dataset, config: VLAConfig, camera: str | None) -> tuple[str, int]:
    """The camera's name and how many frames a row of a chunk takes. Raises ValueError where they do
    not fit."""
    folder = dataset.folder
    cameras = list(dataset.cameras)
    actions = dataset.names[layout.ACTION]
    if camera is None and len(cameras) != 1:
        raise ValueError(
            f"{folder} has {len(cameras)} cameras ({', '.join(cameras) or 'none'}), and the model "
            "looks "
            "through one; name it with --camera"
        )
    if camera is not None and camera not in cameras:
        raise ValueError(
            f"{folder} has no camera '{camera}'; it has {', '.join(cameras) or 'none'}"
        )
    for channel, low, high in zip(config.channels, config.low, config.high):
        if channel not in actions:
            raise ValueError(
                f"the config drives {channel}, and the actions in {folder} are "
                f"{', '.join(actions)}; give "
                "a config with those channels"
            )
        values = dataset.action[:, actions.index(channel)]
        if values.min() < low - 1e-3 * (high - low) or values.max() > high + 1e-3 * (high - low):
            raise ValueError(
                f"{channel} goes from {values.min():.4g} to {values.max():.4g} in {folder}, and "
                "the "
                f"config bounds it by {low:g} and {high:g}; widen the bounds"
            )
    for name in config.state:
        if name not in dataset.inputs:
            why = "".join(
                f" ('{key}' is left out: {reason})" for key, reason in dataset.left_out.items()
            )
            raise ValueError(
                f"the config's state has {name}, and {folder} has "
                f"{', '.join(sorted(dataset.inputs)) or 'none'}{why}; leave it out of the config, "
                "or "
                "record it"
            )
    stride = config.step * dataset.fps
    if round(stride) < 1 or abs(stride - round(stride)) > 0.01 * stride:
        raise ValueError(
            f"rows of the config's chunks are {config.step:g} s apart, and {folder} has "
            f"{dataset.fps:g} "
            f"frames a second; give a step that is a multiple of {1 / dataset.fps:.4g} s"
        )
    told(dataset)
    return camera or cameras[0], round(stride)


class Demonstrations:
    """Batches of a dataset for a model, drawn anew for each index. Episodes known to have failed
    and frames without words are left out, and with `held_out` a share of the other episodes is for
    `checks`. `notes`: what a user should know of that, a sentence each. Raises ValueError where
    dataset, model and words do not fit."""

    def __init__(
        self,
        dataset: Dataset,
        model: VLA,
        size: int,
        seed: int = 0,
        camera: str | None = None,
        held_out: float = 0.0,
    ) -> None:
        self.dataset = dataset
        self.config = model.config
        self.size = size
        self.seed = seed
        self.camera, self.stride = check_fit(dataset, model.config, camera)
        check_tokenizer(model.config, model.tokenizer)
        assert model.tokenizer is not None
        spoken = told(dataset)
        self._words = {
            text: model.tokenizer.encode(text)
            for text in dict.fromkeys(dataset.tasks)
            if words_of(text)
        }
        self._columns = [
            dataset.names[layout.ACTION].index(channel) for channel in self.config.channels
        ]
        self.statistics, self.notes = state_statistics(dataset, self.config)
        self._state = _state(dataset, self.config, self.statistics["state"])  # N x S
        self._ends = np.repeat(
            [one.end for one in dataset.episodes], [one.end - one.start for one in dataset.episodes]
        )
        kept = [episode for episode in dataset.episodes if episode.success is not False]
        if not kept:
            raise ValueError(
                f"all {len(dataset.episodes)} episodes of {dataset.folder} failed; record some "
                "that do "
                "what they are told"
            )
        if not spoken.all():
            self.notes.append(
                f"{np.count_nonzero(~spoken)} of {len(dataset)} frames have a task without words "
                f"({dataset.task(int(np.argmin(spoken)))!r}); they are left out"
            )
            kept = [episode for episode in kept if spoken[episode.start : episode.end].any()]
            if not kept:
                raise ValueError(
                    f"no episode of {dataset.folder} that did not fail has a task with words; say "
                    "what "
                    "they do"
                )
        order = np.random.default_rng((seed, 0)).permutation(len(kept))
        aside = int(held_out * len(kept))
        self.checked, self.learnt = (
            frames[spoken[frames]]
            for frames in (
                _frames([kept[index] for index in part]) for part in (order[:aside], order[aside:])
            )
        )
        self._lock = threading.Lock()  # a dataset is for one thread at a time

    def batch(self, index: int) -> CloneBatch:
        rng = np.random.default_rng((self.seed, 1, index))
        return self.of(rng.choice(self.learnt, self.size, replace=len(self.learnt) < self.size))

    def checks(self) -> list[CloneBatch]:
        """Batches of episodes that are not learnt, always the same."""
        if not len(self.checked):
            return []
        rng = np.random.default_rng((self.seed, 2))
        return [self.of(rng.choice(self.checked, self.size)) for _ in range(CHECKS)]

    def of(self, frames: NDArray[np.int64]) -> CloneBatch:
        """The batch of these frames of the dataset."""
        data = self.dataset
        steps = self.config.steps
        with self._lock:
            seen = np.stack(
                [
                    resize(data.image(int(one), self.camera), self.config.image_size)
                    for one in frames
                ]
            )
            chunks = [data.actions(int(one), (steps - 1) * self.stride + 1) for one in frames]
        ids, mask = padded([self._words[data.task(int(one))] for one in frames])
        done = (self._ends[frames] - frames <= math.ceil(DONE_SECONDS * data.fps)).astype(
            np.float32
        )
        return CloneBatch(
            torch.from_numpy(seen).permute(0, 3, 1, 2),
            ids,
            mask,
            torch.from_numpy(self._state[frames]),
            torch.from_numpy(np.stack([rows[:: self.stride, self._columns] for rows, _ in chunks])),
            torch.from_numpy(~np.stack([padding[:: self.stride] for _, padding in chunks])),
            torch.from_numpy(done),
        )


def _frames(episodes: list[Episode]) -> NDArray[np.int64]:
    return np.concatenate(
        [np.arange(one.start, one.end) for one in episodes] or [np.zeros(0, np.int64)]
    )


def told(dataset: Dataset) -> NDArray[np.bool_]:
    """The frames with words that say what is done, N. Raises ValueError where there are none."""
    says: NDArray[np.bool_] = np.array([bool(words_of(task)) for task in dataset.tasks])
    if not says.any():
        raise ValueError(
            f"no task in {dataset.folder} has words (the first is {dataset.tasks[0][:40]!r}); say "
            "in the "
            "dataset what its episodes do"
        )
    return says[dataset.task_index]


def _state(
    dataset: Dataset, config: VLAConfig, statistics: Mapping[str, Mapping[str, float]]
) -> NDArray[np.float32]:
    """The config's state of every frame, normalised: N x S."""
    if not config.state:
        return np.zeros((len(dataset), 0), np.float32)
    places = [dataset.inputs[name] for name in config.state]
    normalise = Normaliser.of(
        {one: np.array([statistics[name][one] for name in config.state]) for one in ("mean", "std")}
    )
    return normalise.apply(np.stack([dataset.vector(key)[:, column] for key, column in places], 1))


def state_statistics(dataset: Dataset, config: VLAConfig) -> tuple[dict[str, Any], list[str]]:
    """What a checkpoint keeps of the state: name -> mean, std, min, max; and what a user should
    know of it.

    A `std` is `least_deviation` at least, so that who reads it can divide by it as it is; `min` and
    `max` are as measured."""
    every: dict[str, Stats] = {}
    found: dict[str, dict[str, float]] = {}
    notes = []
    for name in config.state:
        key, column = dataset.inputs[name]
        stats = every[key] = every.get(key) or dataset.statistics(key)
        found[name] = {one: float(stats[one][column]) for one in ("mean", "std", "min", "max")}
        least = least_deviation(stats)
        if found[name]["std"] < least:
            notes.append(
                f"{name} hardly moved (its deviation is {found[name]['std']:.2g}); {least:.2g} is "
                "taken "
                "instead"
            )
            found[name]["std"] = least
    return {"state": found}, notes


def clone_loss(model: VLA, batch: CloneBatch) -> dict[str, Tensor]:
    """Mean squared error of the actions, in halves of each channel's range so that m/s and rad
    weigh alike; task completion; of a planner also how many steps are left."""
    output = model(batch.pixels, batch.ids, batch.mask, batch.state if model.config.state else None)
    scale: Any = (torch.tensor(model.config.high) - torch.tensor(model.config.low)) / 2
    error = ((output.actions - batch.actions) / scale.to(output.actions.device)).square()
    valid = batch.valid[..., None].to(error.dtype).expand_as(error)
    parts = {
        "action": (error * valid).sum() / valid.sum(),
        "task": F.binary_cross_entropy_with_logits(output.completion, batch.done),
    }
    if output.plan is not None:
        parts["plan"] = F.cross_entropy(output.plan.logits, batch.valid.sum(1) - 1)
    return parts


def clone(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    config: VLAConfig | None = None,
    batch: int = 64,
    camera: str | None = None,
    lora: str | None = None,
    gradient_checkpointing: bool = False,
    resume: bool = False,
    held_out: float = HELD_OUT,
    say: Callable[[str], None] = print,
) -> Trainer:
    """Train a VLA on the dataset in `data`; leaves `out`/policy and what the trainer leaves. `lora`
    names the part ("language", "vision") that gets adapters; `gradient_checkpointing` saves memory
    in the backward pass; `say` hears what of the dataset is left out, or read otherwise than it
    stands there. Raises ValueError."""
    dataset = Dataset(data, None if camera is None else (camera,))
    config = config or config_for(dataset)
    # before a large model is built
    config = replace(config, camera=check_fit(dataset, config, camera)[0])
    torch.manual_seed(settings.seed)
    model = build(config)
    if config.language == "lstm":
        model.tokenizer = WordTokenizer.of(
            dataset.tasks, config.options("language")["vocabulary"] - 1
        )
        say(
            f"{data}: the model learns the {model.tokenizer.size - 1} words of its tasks, and "
            "refuses all others"
        )
    source = Demonstrations(dataset, model, batch, settings.seed, camera, held_out)
    model.statistics = source.statistics
    for note in (*dataset.notes, *source.notes):
        say(f"{data}: {note}")
    if lora is not None:
        from vla_ros.models.lora import add_lora

        add_lora(model, lora)
    if gradient_checkpointing:
        from vla_ros.models.lora import enable_gradient_checkpointing

        enable_gradient_checkpointing(model)
    trainer = Trainer(
        model,
        clone_loss,
        source,
        settings,
        out,
        weights=WEIGHTS,
        resume=resume,
        evaluate=_checker(source) if len(source.checked) else None,
    )
    trainer.run()
    trainer.export(out / "policy")
    seen = source.of(
        source.learnt[np.linspace(0, len(source.learnt) - 1, examples.KEPT).astype(np.int64)]
    )
    examples.save(out / "policy", seen.pixels.permute(0, 2, 3, 1), seen.ids, seen.state)
    return trainer


def _checker(source: Demonstrations) -> Any:
    """What the loss is on episodes that are not learnt."""
    batches = source.checks()

    def check(model: VLA) -> Mapping[str, float]:
        device = next(model.parameters()).device
        with torch.inference_mode():
            losses = [clone_loss(model, send_to_device(one, device))["action"] for one in batches]
        return {"held_out": float(torch.stack(losses).mean())}

    return check
