"""Behaviour cloning: any VLA learns the actions of a folder of demonstrations.

The folder is in LeRobot's layout.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.images import side_by_side
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.read import Dataset, Episode
from vla_ros.datasets.statistics import Normaliser, Stats, least_deviation
from vla_ros.models import build, examples
from vla_ros.models.checkpoint import from_pretrained
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import encode, words_of
from vla_ros.models.language.tokenizers import WordTokenizer, check_tokenizer, padded
from vla_ros.models.vla import VLA
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer

WEIGHTS = {"action": 1.0, "task": 0.1, "plan": 0.1}
DONE_SECONDS = 0.5  # the end of an episode in which its task counts as done
HELD_OUT_SHARE = 0.1  # of the episodes, not learnt
HELD_OUT_BATCHES = 8  # of them, at an evaluation
BOUND_MARGIN = 0.05  # of a channel's range, beyond what was demonstrated, in a config for a dataset
MOST_WORDS = 1_000_000  # of a dataset; the largest ones have some ten thousand
MIN_RANGE = 0.1  # of a channel, SI units: one that hardly moved needs room as well


class CloneBatch(NamedTuple):
    """B frames: what was seen, said and measured, and what was done next."""

    pixels: Tensor  # B x 3 x H x W uint8
    ids: Tensor  # B x L
    mask: Tensor  # B x L, true at words
    state: Tensor  # B x S, normalised
    actions: Tensor  # B x T x C, SI units
    valid: Tensor  # B x T, false beyond the episode's end
    done: Tensor  # B, 1.0 where the episode is about to end
    weight: Tensor  # B x T, of each row in the loss; 0: it teaches nothing


@dataclass(frozen=True)
class Corrections:
    """How frames count at which a person had the robot.

    Attributes:
        only: they alone are learnt.
        weight: of their actions in the loss, where the others weigh 1.
    """

    only: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1000.0:
            raise ValueError(
                f"interventions would weigh {self.weight:g}; give more than 0 and at most 1000"
            )
        if self.only and self.weight != 1.0:
            raise ValueError(
                "--only-interventions and --weight-interventions are both given; where they alone "
                "are learnt, there is nothing that they could weigh more than: give one"
            )

    @property
    def asked(self) -> bool:
        """Whether they count otherwise than the rest."""
        return self.only or self.weight != 1.0


def config_for(dataset: Dataset) -> VLAConfig:
    """The small model with the dataset's channels, state, rate, words and all of its cameras.

    Bounds are a little wider than its actions. Words are the small model's own where they are
    enough, else those of the dataset.
    """
    low = dataset.action.min(0)  # C
    high = dataset.action.max(0)
    room = BOUND_MARGIN * np.maximum(high - low, MIN_RANGE)
    height, width = VLAConfig.image_size
    common = _common(dataset.tasks)
    options = {} if common else {"vocabulary": WordTokenizer.of(dataset.tasks, MOST_WORDS).size}
    return VLAConfig(
        image_size=(height, width * max(1, len(dataset.cameras))),
        cameras=tuple(dataset.cameras),
        channels=dataset.names[layout.ACTION],
        low=tuple(map(float, low - room)),
        high=tuple(map(float, high + room)),
        step=1.0 / dataset.fps,
        state=dataset.names.get(layout.STATE, ()),
        language="small" if common else "lstm",
        language_options=options,
    )


def _common(texts: list[str]) -> bool:
    """Does the lexicon know all of these?"""
    try:
        return all(map(encode, filter(words_of, texts)))
    except ValueError:  # a word that it does not know
        return False


def with_cameras(config: VLAConfig, cameras: Sequence[str]) -> VLAConfig:
    """A config that names no camera yet, and so has one's image size, for these."""
    height, width = config.image_size
    return replace(config, cameras=tuple(cameras), image_size=(height, width * len(cameras)))


def check_fit(dataset: Dataset, config: VLAConfig, corrections: Corrections | None = None) -> int:
    """Does the dataset hold what the model wants?

    Args:
        corrections: say which of its frames are learnt; what a policy did in the others may be out
            of bounds.

    Returns:
        How many frames a row of a chunk takes.

    Raises:
        ValueError: cameras, channels, bounds, state or rate do not fit, or no frame has words.
    """
    folder = dataset.folder
    actions = dataset.names[layout.ACTION]
    weights, _ = frame_weights(dataset, corrections or Corrections())
    learnt = dataset.action[weights > 0.0]
    if not len(learnt):
        raise ValueError(
            f"the gate held in every frame of {folder} that would be learnt; record others"
        )
    if not config.cameras:
        raise ValueError(
            f"{folder} has no camera that can be read, and the model looks through one"
        )
    for name in config.cameras:
        if name not in dataset.cameras:
            raise ValueError(
                f"{folder} has no camera '{name}'; it has {', '.join(dataset.cameras) or 'none'}"
            )
    for channel, low, high in zip(config.channels, config.low, config.high):
        if channel not in actions:
            raise ValueError(
                f"the config drives {channel}, and the actions in {folder} are "
                f"{', '.join(actions)}; give a config with those channels"
            )
        values = learnt[:, actions.index(channel)]
        tolerance = 1e-3 * (high - low)
        if values.min() < low - tolerance or values.max() > high + tolerance:
            raise ValueError(
                f"{channel} goes from {values.min():.4g} to {values.max():.4g} in {folder}, and "
                f"the config bounds it by {low:g} and {high:g}; widen the bounds"
            )
    for name in config.state:
        if name not in dataset.inputs:
            known = ", ".join(sorted(dataset.inputs)) or "none"
            for key, reason in dataset.left_out.items():
                known += f" ('{key}' is left out: {reason})"
            raise ValueError(
                f"the config's state has {name}, and {folder} has {known}; leave it out of the "
                "config, or record it"
            )
    # a row of a chunk is a frame of the dataset, so its time must be that of whole frames
    stride = config.step * dataset.fps
    if round(stride) < 1 or abs(stride - round(stride)) > 0.01 * stride:
        raise ValueError(
            f"rows of the config's chunks are {config.step:g} s apart, and {folder} has "
            f"{dataset.fps:g} frames a second; give a step that is a multiple of "
            f"{1 / dataset.fps:.4g} s"
        )
    spoken_frames(dataset)
    return round(stride)


class Demonstrations:
    """Batches of a dataset for a model, drawn anew for each index.

    Episodes known to have failed, frames without words and those at which the gate held are left
    out, and a share `held_out` of the other episodes is for `checks`. With `corrections`, what a
    person did where the policy had the robot before weighs more, or is all that is learnt: DAgger,
    with a person for an expert (Kelly et al., "HG-DAgger", 2019).

    Attributes:
        notes: what a user should know of what was left out or changed, a sentence each.
        learnt: numbers of the frames that are learnt.
        checked: of those that are held out.

    Raises:
        ValueError: dataset, model and words do not fit.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: VLA,
        size: int,
        seed: int = 0,
        held_out: float = 0.0,
        corrections: Corrections | None = None,
        statistics: Mapping[str, Any] | None = None,
    ) -> None:
        """`statistics`: those that the model's weights were trained with; None: the dataset's."""
        self.dataset = dataset
        self.config = model.config
        self.size = size
        self.seed = seed
        self.stride = check_fit(dataset, model.config, corrections)
        check_tokenizer(model.config, model.tokenizer)
        assert model.tokenizer is not None
        spoken = spoken_frames(dataset)
        self._weights, noted = frame_weights(dataset, corrections or Corrections())
        self._words: dict[str, Any] = {}  # a task -> its ids
        for text in filter(words_of, dataset.tasks):
            self._words[text] = model.tokenizer.encode(text)
        # the dataset's actions in the order of the config's channels
        self._columns = list(map(dataset.names[layout.ACTION].index, self.config.channels))
        self.statistics, self.notes = state_statistics(dataset, self.config)
        if statistics is not None:
            self.statistics = dict(statistics)
            self.notes = []
        self.notes += noted
        self._state = _state(dataset, self.config, self.statistics["state"])  # N x S
        self._ends = np.zeros(len(dataset), np.int64)  # N, the frame after its episode's last
        for episode in dataset.episodes:
            self._ends[episode.start : episode.end] = episode.end
        kept = [episode for episode in dataset.episodes if episode.success is not False]
        if not kept:
            raise ValueError(
                f"all {len(dataset.episodes)} episodes of {dataset.folder} failed; record some "
                "that do what they are told"
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
                    "what they do"
                )
        taught = spoken & (self._weights > 0.0)
        kept = [episode for episode in kept if taught[episode.start : episode.end].any()]
        if not kept:
            raise ValueError(
                f"no episode of {dataset.folder} that did not fail has a frame to learn from; "
                "record some, or leave --only-interventions out"
            )
        # whole episodes, not frames: two neighbours are nearly the same image
        order = np.random.default_rng((seed, 0)).permutation(len(kept))
        aside = int(held_out * len(kept))
        self.checked = _frames([kept[index] for index in order[:aside]], taught)
        self.learnt = _frames([kept[index] for index in order[aside:]], taught)
        self._lock = threading.Lock()  # a dataset is for one thread at a time

    def batch(self, index: int) -> CloneBatch:
        """The batch of this number: the same whatever was asked before."""
        rng = np.random.default_rng((self.seed, 1, index))
        return self.of(rng.choice(self.learnt, self.size, replace=len(self.learnt) < self.size))

    def checks(self) -> list[CloneBatch]:
        """Batches of episodes that are not learnt, always the same."""
        if not len(self.checked):
            return []
        rng = np.random.default_rng((self.seed, 2))
        return [self.of(rng.choice(self.checked, self.size)) for _ in range(HELD_OUT_BATCHES)]

    def of(self, frames: NDArray[np.int64]) -> CloneBatch:
        """The batch of these frames of the dataset."""
        data = self.dataset
        # so many frames of actions hold the rows of a chunk, `stride` apart
        span = (self.config.steps - 1) * self.stride + 1
        images = []
        actions = []
        padding = []
        words = []
        with self._lock:
            for frame in frames.tolist():
                views = [data.image(frame, camera) for camera in self.config.cameras]
                images.append(side_by_side(views, self.config.image_size))
                rows, beyond = data.actions(frame, span)
                actions.append(rows[:: self.stride, self._columns])
                padding.append(beyond[:: self.stride])
                words.append(self._words[data.task(frame)])
        ids, mask = padded(words)
        frames_left = self._ends[frames] - frames
        # the frame of each row, B x T; what lies beyond the episode's end is no row anyhow
        rows_at = frames[:, None] + self.stride * np.arange(self.config.steps)
        weight = self._weights[np.minimum(rows_at, len(data) - 1)]
        done = frames_left <= math.ceil(DONE_SECONDS * data.fps)
        return CloneBatch(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
            ids,
            mask,
            torch.from_numpy(self._state[frames]),
            torch.from_numpy(np.stack(actions)),
            torch.from_numpy(~np.stack(padding)),
            torch.from_numpy(done.astype(np.float32)),
            torch.from_numpy(weight),
        )


def _frames(episodes: list[Episode], taught: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The numbers of the episodes' frames that teach something."""
    frames = [np.zeros(0, np.int64)]  # numpy joins no empty list
    for episode in episodes:
        frames.append(np.arange(episode.start, episode.end))
    numbers = np.concatenate(frames)
    return numbers[taught[numbers]]


def frame_weights(
    dataset: Dataset, corrections: Corrections
) -> tuple[NDArray[np.float32], list[str]]:
    """What each frame's action weighs in the loss, N; and what a user should know of it.

    Raises:
        ValueError: corrections are asked for, and the dataset has none.
    """
    weights: NDArray[np.float32] = np.ones(len(dataset), np.float32)
    notes = []
    interventions = dataset.marked(layout.INTERVENTION)
    if corrections.asked:
        if interventions is None:
            raise ValueError(
                f"{dataset.folder} does not say where a person took over (it has no "
                f"'{layout.INTERVENTION}'); record with `vla record` while one does, or learn from "
                "all of it"
            )
        if not interventions.any():
            raise ValueError(
                f"in none of the {len(dataset)} frames of {dataset.folder} a person had taken "
                "over; record some in which one does, or learn from all of it"
            )
        weights[interventions] = corrections.weight
        if corrections.only:
            weights[~interventions] = 0.0
        notes.append(
            f"a person had the robot in {np.count_nonzero(interventions)} of {len(dataset)} "
            f"frames, which {'alone are learnt' if corrections.only else 'weigh'}"
            + (f" {corrections.weight:g} times as much" if not corrections.only else "")
        )
    held = dataset.marked(layout.HELD)
    if held is not None and held.any():
        weights[held] = 0.0  # the gate's own standing still is nobody's answer to the words
        notes.append(f"the gate held in {np.count_nonzero(held)} frames; they are left out")
    return weights, notes


def spoken_frames(dataset: Dataset) -> NDArray[np.bool_]:
    """The frames with words that say what is done, N.

    Raises:
        ValueError: there are none.
    """
    spoken_tasks: NDArray[np.bool_] = np.array(list(map(bool, map(words_of, dataset.tasks))))
    if not spoken_tasks.any():
        raise ValueError(
            f"no task in {dataset.folder} has words (the first is {dataset.tasks[0][:40]!r}); say "
            "in the dataset what its episodes do"
        )
    return spoken_tasks[dataset.task_index]


def _state(
    dataset: Dataset, config: VLAConfig, statistics: Mapping[str, Mapping[str, float]]
) -> NDArray[np.float32]:
    """The config's state of every frame, normalised: N x S."""
    if not config.state:
        return np.zeros((len(dataset), 0), np.float32)
    means = []
    deviations = []
    columns = []
    for name in config.state:
        means.append(statistics[name]["mean"])
        deviations.append(statistics[name]["std"])
        key, column = dataset.inputs[name]
        columns.append(dataset.vector(key)[:, column])  # N
    normalise = Normaliser.of({"mean": np.array(means), "std": np.array(deviations)})
    return normalise.apply(np.stack(columns, 1))


def state_statistics(dataset: Dataset, config: VLAConfig) -> tuple[dict[str, Any], list[str]]:
    """What a checkpoint keeps of the state, and what a user should know of it.

    Returns:
        Name -> mean, std, min, max; and sentences. A `std` is `least_deviation` at least, so that
        who reads it can divide by it as it is; `min` and `max` are as measured.
    """
    by_key: dict[str, Stats] = {}  # a vector holds several names, and is read once
    kept: dict[str, dict[str, float]] = {}
    notes = []
    for name in config.state:
        key, column = dataset.inputs[name]
        if key not in by_key:
            by_key[key] = dataset.statistics(key)
        stats = by_key[key]
        entry = {figure: float(stats[figure][column]) for figure in ("mean", "std", "min", "max")}
        least = least_deviation(stats)
        if entry["std"] < least:
            notes.append(
                f"{name} hardly moved (its deviation is {entry['std']:.2g}); {least:.2g} is taken "
                "instead"
            )
            entry["std"] = least
        kept[name] = entry
    return {"state": kept}, notes


def clone_loss(model: VLA, batch: CloneBatch) -> dict[str, Tensor]:
    """The parts by name: actions, task completion, and of a planner how many steps are left.

    Errors of actions are squared in halves of each channel's range, so that m/s and rad weigh
    alike.
    """
    output = model(batch.pixels, batch.ids, batch.mask, batch.state if model.config.state else None)
    scale: Any = (torch.tensor(model.config.high) - torch.tensor(model.config.low)) / 2
    error = ((output.actions - batch.actions) / scale.to(output.actions.device)).square()
    # B x T x C; what lies beyond the episode's end was never done
    valid = (batch.valid * batch.weight)[..., None].to(error.dtype).expand_as(error)
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
    settings: OptimizerSettings,
    *,
    config: VLAConfig | None = None,
    batch: int = 64,
    cameras: Sequence[str] | None = None,
    lora: str | None = None,
    gradient_checkpointing: bool = False,
    resume: bool = False,
    held_out: float = HELD_OUT_SHARE,
    corrections: Corrections | None = None,
    checkpoint: Path | None = None,
    say: Callable[[str], None] = print,
) -> Trainer:
    """Train a VLA on the dataset in `data`; leaves `out`/policy and what the trainer leaves.

    Args:
        config: the model's; None: `config_for` the dataset.
        batch: frames in it.
        cameras: of the dataset's, from left to right in the model's image; None: those that the
            config names, else all of them.
        lora: the part ("language", "vision") that gets adapters.
        gradient_checkpointing: saves memory in the backward pass.
        held_out: share of the episodes that are not learnt.
        corrections: how much counts what a person did who took over.
        checkpoint: whose model goes on learning; None: a new one of `config`.
        say: hears what of the dataset is left out, or read otherwise than it stands there.

    Raises:
        ValueError: dataset, config and words do not fit.
    """
    model: VLA | None = None
    if checkpoint is not None:
        if config is not None:
            raise ValueError(
                "a config and a checkpoint are both given; give one: the checkpoint has its config"
            )
        model = from_pretrained(checkpoint)
        config = model.config
    if cameras is None and config is not None and config.cameras:
        cameras = config.cameras
    dataset = Dataset(data, cameras)
    config = config or config_for(dataset)
    if not config.cameras and dataset.cameras:
        config = with_cameras(config, cameras or tuple(dataset.cameras))
    elif cameras is not None:
        config = replace(config, cameras=tuple(cameras))
    check_fit(dataset, config, corrections)  # before a large model is built
    if len(config.cameras) > 1:
        say(f"{data}: the model looks through {', '.join(config.cameras)}, side by side")
    torch.manual_seed(settings.seed)
    statistics = model.statistics if model is not None else None
    if model is None:
        model = build(config)
        _learn_words(model, dataset, say)
    source = Demonstrations(dataset, model, batch, settings.seed, held_out, corrections, statistics)
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
    # a few observations for the engines to be compared on, evenly out of all
    rows = np.linspace(0, len(source.learnt) - 1, examples.KEPT).astype(np.int64)
    seen = source.of(source.learnt[rows])
    examples.save(out / "policy", seen.pixels.permute(0, 2, 3, 1), seen.ids, seen.state)
    return trainer


def _learn_words(model: VLA, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Gives a model whose language encoder starts from nothing the words of the dataset."""
    if model.config.language != "lstm":
        return
    most_words = model.config.options("language")["vocabulary"] - 1  # id 0 is padding
    model.tokenizer = WordTokenizer.of(dataset.tasks, most_words)
    say(
        f"{dataset.folder}: the model learns the {model.tokenizer.size - 1} words of its tasks, "
        "and refuses all others"
    )


def _checker(source: Demonstrations) -> Any:
    """What the loss is on episodes that are not learnt."""
    batches = source.checks()

    def check(model: VLA) -> Mapping[str, float]:
        device = next(model.parameters()).device
        losses = []
        with torch.inference_mode():
            for batch in batches:
                losses.append(clone_loss(model, send_to_device(batch, device))["action"])
        return {"held_out": float(torch.stack(losses).mean())}

    return check
