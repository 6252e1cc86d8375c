"""The recipe of the built-in policy: images placed at random, then rounds of DAgger.

Each stage leaves its result in the work folder and is skipped when that is complete, so a run that
was killed goes on. Images are made by worker processes; what a part holds depends on its number and
the seed, not on who makes it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.models import build, examples
from vla_ros.models.config import VLAConfig
from vla_ros.models.vla import VLA
from vla_ros.training.augment import Augment
from vla_ros.training.image_dataset import Frames, make_world, place_at_random
from vla_ros.training.labels import STATE, Batch, label, nonsense, padded
from vla_ros.training.losses import WEIGHTS, losses, unclear
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer
from vla_ros.training.vector_env import success

# folders in the out folder
WORK = "work"
POLICY = "policy"
UNCLEAR_WEIGHT = 0.03  # of words that are no instruction, in the loss
# placed parts have seeds below, driven ones from here on, rounds so many apart; evaluations beyond
DRIVEN_SEED = 10_000
SEEDS_PER_ROUND = 100
CHECK_SEED = 90_000
SEEDS_PER_TRAINING = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """The numbers of the recipe.

    `placed` images in `parts` for `first_steps` steps; then `rounds` times: `driven` images that
    the policy meets, in `driven_parts`, and `round_steps` steps on all. A batch is `images` with
    `instructions` each and `nonsense` texts that are none. `model` changes fields of the config.
    """

    placed: int = 36_000
    parts: int = 18
    rounds: int = 3
    driven: int = 8_000
    driven_parts: int = 8
    first_steps: int = 3_000
    round_steps: int = 1_000
    images: int = 64
    instructions: int = 6
    nonsense: int = 24
    learning_rate: float = 1.5e-3
    warmup: int = 300
    weight_decay: float = 1e-4
    average: float = 0.998
    precision: str = "bf16"
    log_every: int = 100
    checked: int = 24  # episodes before each round and at the end, for the success that is shown
    seed: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (
            "placed",
            "parts",
            "driven",
            "driven_parts",
            "first_steps",
            "images",
            "instructions",
            "nonsense",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        for total, parts in (("placed", "parts"), ("driven", "driven_parts")):
            if getattr(self, total) % getattr(self, parts):
                raise ValueError(
                    f"{total} is {getattr(self, total)}, and {parts} is {getattr(self, parts)}; "
                    "give a multiple of it"
                )
        if self.images > self.placed:
            raise ValueError(
                f"a batch of {self.images} images is more than the {self.placed} that are placed"
            )
        if self.driven_parts > SEEDS_PER_ROUND:
            raise ValueError(f"driven_parts is {self.driven_parts}; give at most {SEEDS_PER_ROUND}")

    @property
    def steps(self) -> int:
        """Of the optimizer, in all."""
        return self.first_steps + self.rounds * self.round_steps

    def config(self) -> VLAConfig:
        """The model's."""
        given: dict[str, Any] = {
            "state": STATE,
            "auxiliary": True,
            # m/s, rad/s, and a gripper's 0 to 1 with a little room beyond its ends
            "low": (-0.5, -0.5, -0.02),
            "high": (0.5, 0.5, 1.02),
        }
        return VLAConfig(**(given | dict(self.model)))

    def settings(self) -> OptimizerSettings:
        """The trainer's."""
        return OptimizerSettings(
            self.steps,
            self.learning_rate,
            self.warmup,
            weight_decay=self.weight_decay,
            precision=self.precision,
            average=self.average,
            seed=self.seed,
            log_every=self.log_every,
            checkpoint_every=5 * self.log_every,
        )


# About a minute: enough to see that everything runs and the loss falls.
SMOKE = Recipe(
    placed=600,
    parts=2,
    rounds=1,
    driven=200,
    driven_parts=2,
    first_steps=60,
    round_steps=20,
    images=16,
    instructions=4,
    nonsense=8,
    warmup=10,
    log_every=5,
    checked=0,
)


class Album:
    """Many images in several `Frames`: their tables are joined, the images stay on the disk."""

    def __init__(self, parts: list[Frames]) -> None:
        self._images = list(map(attrgetter("images"), parts))
        ends = np.cumsum(list(map(len, parts)))
        self._starts = np.concatenate([[0], ends])  # parts + 1: the last is the end of all
        joined = {}
        for table in fields(Frames):
            if table.name != "images":
                joined[table.name] = np.concatenate(list(map(attrgetter(table.name), parts)))
        self.tables = Frames(images=np.empty((0,), np.uint8), **joined)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """rows x H x W x 3."""
        images = []
        for row in rows:
            part = int(np.searchsorted(self._starts, row, side="right")) - 1
            images.append(self._images[part][row - self._starts[part]])
        return np.stack(images)


class LabelledBatches:
    """Labelled batches from an album that grows: (Batch, (ids, mask) of nonsense)."""

    def __init__(self, recipe: Recipe, grid: tuple[int, int], config: VLAConfig) -> None:
        self.recipe = recipe
        self.grid = grid
        self.config = config
        self.parts: list[Frames] = []
        self._augment = Augment(config.image_size, recipe.seed)

    def add(self, parts: list[Frames]) -> None:
        """From now on batches are drawn from these too."""
        self.parts += parts
        self.album = Album(self.parts)

    def batch(self, index: int) -> tuple[Batch, tuple[Tensor, Tensor]]:
        """The batch of this number, from the images that there are by now."""
        recipe = self.recipe
        config = self.config
        rng = np.random.default_rng((recipe.seed, index))
        # sorted: they are read from the disk
        rows = np.sort(rng.choice(len(self.album), recipe.images, replace=False))
        batch, _ = label(
            rng,
            self.album.tables,
            rows,
            recipe.instructions,
            self.grid,
            config.steps,
            config.step,
            self.album.images(rows),
        )
        batch = batch._replace(pixels=self._augment(batch.pixels, rng))
        return batch, padded([nonsense(rng) for _ in range(recipe.nonsense)])


def loss(model: VLA, batch: tuple[Batch, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The losses of the built-in model by name."""
    labelled, (ids, mask) = batch
    return {**losses(model, labelled), "unclear": unclear(model, ids, mask)}


def train_dagger(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    workers: int = 2,
    say: Callable[[str], None] = print,
) -> Trainer:
    """The whole recipe.

    Leaves `out`/policy (the checkpoint), `out`/work (images) and what the trainer leaves.

    Args:
        resume: go on with the run that `out` holds.
        workers: processes that make images.
        say: hears what is being made.

    Raises:
        ValueError: the out folder holds another run, or other things.
    """
    config = recipe.config()
    work = out / WORK
    _claim(recipe, out, resume)
    torch.manual_seed(recipe.seed)
    model = _fast(build(config))
    source = LabelledBatches(recipe, model.vision.grid, config)
    trainer = Trainer(
        model,
        loss,
        source,
        recipe.settings(),
        out,
        weights=WEIGHTS | {"unclear": UNCLEAR_WEIGHT},
        evaluate=partial(_check, recipe) if recipe.checked else None,
        resume=True,  # `_claim` has asked already
    )
    main = trainer.accelerator.is_main_process
    # the first process makes what is missing, the others find it
    makers = workers if main else 0
    size = config.image_size
    with trainer.accelerator.main_process_first():
        place = partial(_placed, recipe.placed // recipe.parts, size, recipe.seed)
        source.add(_parts(place, work, "placed", range(recipe.parts), makers, say))
    for round_ in range(recipe.rounds):
        until = recipe.first_steps + round_ * recipe.round_steps
        policy = work / f"policy-{round_}"
        trainer.run(until)
        if trainer.step == until:  # beyond it, all that the policy drove is there
            trainer.export(policy)
        with trainer.accelerator.main_process_first():
            first = round_ * SEEDS_PER_ROUND
            numbers = range(first, first + recipe.driven_parts)
            count = recipe.driven // recipe.driven_parts
            drive_on = partial(_driven, count, size, recipe.seed, policy)
            source.add(_parts(drive_on, work, "driven", numbers, makers, say))
    trainer.run()
    trainer.export(out / POLICY)
    if main:
        _keep_examples(source, out / POLICY)
    return trainer


def _keep_examples(source: LabelledBatches, policy: Path) -> None:
    """A few of the images that the policy met, with words: engines are compared on them."""
    album = source.album
    config = source.config
    rows = np.linspace(0, len(album) - 1, examples.KEPT).astype(np.int64)
    batch, _ = label(
        np.random.default_rng(0),
        album.tables,
        rows,
        1,
        source.grid,
        config.steps,
        config.step,
        album.images(rows),
    )
    images = (batch.pixels * 255).round().byte().permute(0, 2, 3, 1)  # B x H x W x 3
    examples.save(policy, images, batch.ids, batch.state)


def _check(recipe: Recipe, model: VLA) -> dict[str, float]:
    return {"success": success(model, recipe.checked, _seed(recipe.seed, CHECK_SEED))}


def _claim(recipe: Recipe, out: Path, resume: bool) -> None:
    """The out folder is this recipe's from now on."""
    if not PartialState().is_main_process:
        return
    path = out / "recipe.json"
    wanted = json.loads(json.dumps(asdict(recipe)))  # as it is read back: tuples are lists there
    if path.is_file():
        if not resume:
            raise ValueError(
                f"{out} holds a training; add --resume to go on with it, or give another folder "
                "with --out"
            )
        begun = json.loads(path.read_text(encoding="utf-8"))
        for name, value in wanted.items():
            if begun.get(name) != value:
                raise ValueError(
                    f"the training in {out} has {name} {begun.get(name)}, and now it is {value}; "
                    "give the same, or another folder with --out"
                )
        return
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(
            f"{out} is not empty and holds no training; give another folder with --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _parts(
    make: Callable[[Path, int], None],
    work: Path,
    name: str,
    numbers: range,
    workers: int,
    say: Callable[[str], None],
) -> list[Frames]:
    """The parts of these numbers, those made that are missing. A part is whole or not there."""
    folders = [work / f"{name}-{number:03d}" for number in numbers]
    missing = []
    for number, folder in zip(numbers, folders):
        if not folder.is_dir():
            missing.append((folder, number))
    if missing:
        say(f"{name} images: {len(missing)} parts by {max(1, workers)} processes")
    if workers < 2:
        for folder, number in missing:
            make(folder, number)
    elif missing:
        count = min(workers, len(missing))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, context) as pool:  # which notices a worker that dies
            futures = [pool.submit(_made, make, folder, number) for folder, number in missing]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    return list(map(Frames.load, folders))


def _made(make: Callable[[Path, int], None], folder: Path, number: int) -> None:
    """In a worker, which has a core of its own."""
    torch.set_num_threads(1)
    make(folder, number)


def _placed(count: int, size: tuple[int, int], seed: int, folder: Path, number: int) -> None:
    world = make_world(size)
    try:
        _whole(place_at_random(world, size, count, _seed(seed, number)), folder)
    finally:
        world.close()


def _driven(
    count: int, size: tuple[int, int], seed: int, policy: Path, folder: Path, number: int
) -> None:
    from vla_ros.models.checkpoint import from_pretrained
    from vla_ros.training.rollout import drive

    model = _fast(from_pretrained(policy))
    _whole(drive(model, size, count, _seed(seed, DRIVEN_SEED + number)), folder)


def _fast(model: VLA) -> VLA:
    """Convolutions on a CPU like the channels last."""
    return cast(Any, model).to(memory_format=torch.channels_last)


def _seed(seed: int, number: int) -> int:
    """Of a part: another training's seed gives other parts."""
    return number + SEEDS_PER_TRAINING * seed


def _whole(frames: Frames, folder: Path) -> None:
    """Save them beside their place and rename: a folder that is there is whole."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    frames.save(aside)
    os.rename(aside, folder)
