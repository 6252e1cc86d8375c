"""The recipe of the built-in policies: images placed at random, then rounds of DAgger.

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
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import PartialState
from torch import Tensor

from vla_ros.core.registry import lookup
from vla_ros.models.config import VLAConfig
from vla_ros.models.vla import VLA
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer

# folders in the out folder
WORK = "work"
POLICY = "policy"
# placed parts have seeds below, driven ones from here on, rounds so many apart; evaluations beyond
DRIVEN_SEED = 10_000
SEEDS_PER_ROUND = 100
CHECK_SEED = 90_000
SEEDS_PER_TRAINING = 1_000_000
ROBOTS = {
    "cart": "vla_ros.training.recipes.cart:CartTraining",
    "arm": "vla_ros.training.recipes.arm:ArmTraining",
}


class RobotTraining(Protocol):
    """What a robot gives to the recipe. Frames are a dataclass of arrays with `save` and `load`."""

    frames: Any  # their class
    weights: Mapping[str, float]  # of the loss's parts
    loss: Callable[[Any, Any], Mapping[str, Tensor]]

    def config(self, recipe: Recipe) -> VLAConfig:
        """The model's."""
        ...

    def model(self, config: VLAConfig) -> VLA:
        """With random weights."""
        ...

    def batches(self, recipe: Recipe, model: VLA) -> Any:
        """A source of batches with `add`, for parts of frames."""
        ...

    def placed(self, recipe: Recipe, count: int, seed: int) -> Any:
        """Frames of a robot that nothing learned drives."""
        ...

    def driven(self, recipe: Recipe, count: int, seed: int, model: VLA) -> Any:
        """Frames that the model met."""
        ...

    def success(self, model: VLA, episodes: int, seed: int) -> float:
        """The share of episodes that it does."""
        ...

    def finish(self, source: Any, policy: Path) -> None:
        """Leave beside the checkpoint what else belongs there."""
        ...


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
    robot: str = "cart"  # one of ROBOTS

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

    def training(self) -> RobotTraining:
        """What is the robot's own."""
        training: RobotTraining = lookup(ROBOTS, self.robot, "robot")()
        return training

    def config(self) -> VLAConfig:
        """The model's."""
        return self.training().config(self)

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


# The arm's: images cost more, as physics runs between them, and a step less.
ARM = Recipe(
    robot="arm",
    placed=18_000,
    parts=6,
    rounds=5,
    driven=5_000,
    driven_parts=2,
    first_steps=4_000,
    round_steps=1_500,
    instructions=2,
    nonsense=12,
    checked=20,
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
    robot = recipe.training()
    work = out / WORK
    _claim(recipe, out, resume)
    torch.manual_seed(recipe.seed)
    model = _fast(robot.model(recipe.config()))
    source = robot.batches(recipe, model)
    trainer = Trainer(
        model,
        robot.loss,
        source,
        recipe.settings(),
        out,
        weights=robot.weights,
        evaluate=partial(_check, recipe) if recipe.checked else None,
        resume=True,  # `_claim` has asked already
    )
    main = trainer.accelerator.is_main_process
    # the first process makes what is missing, the others find it
    makers = workers if main else 0
    load = robot.frames.load
    with trainer.accelerator.main_process_first():
        place = partial(_placed, recipe)
        source.add(_parts(place, load, work, "placed", range(recipe.parts), makers, say))
    for round_ in range(recipe.rounds):
        until = recipe.first_steps + round_ * recipe.round_steps
        policy = work / f"policy-{round_}"
        trainer.run(until)
        if trainer.step == until:  # beyond it, all that the policy drove is there
            trainer.export(policy)
        with trainer.accelerator.main_process_first():
            first = round_ * SEEDS_PER_ROUND
            numbers = range(first, first + recipe.driven_parts)
            drive_on = partial(_driven, recipe, policy)
            source.add(_parts(drive_on, load, work, "driven", numbers, makers, say))
    trainer.run()
    trainer.export(out / POLICY)
    if main:
        robot.finish(source, out / POLICY)
    return trainer


def _check(recipe: Recipe, model: VLA) -> dict[str, float]:
    seed = _seed(recipe.seed, CHECK_SEED)
    return {"success": recipe.training().success(model, recipe.checked, seed)}


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
        # a run from before there was another robot does not say which
        begun = {"robot": "cart"} | json.loads(path.read_text(encoding="utf-8"))
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
    load: Callable[[Path], Any],
    work: Path,
    name: str,
    numbers: range,
    workers: int,
    say: Callable[[str], None],
) -> list[Any]:
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
    return list(map(load, folders))


def _made(make: Callable[[Path, int], None], folder: Path, number: int) -> None:
    """In a worker, which has a core of its own."""
    torch.set_num_threads(1)
    make(folder, number)


def _placed(recipe: Recipe, folder: Path, number: int) -> None:
    count = recipe.placed // recipe.parts
    _whole(recipe.training().placed(recipe, count, _seed(recipe.seed, number)), folder)


def _driven(recipe: Recipe, policy: Path, folder: Path, number: int) -> None:
    from vla_ros.models.checkpoint import from_pretrained

    model = _fast(from_pretrained(policy))
    count = recipe.driven // recipe.driven_parts
    seed = _seed(recipe.seed, DRIVEN_SEED + number)
    _whole(recipe.training().driven(recipe, count, seed, model), folder)


def _fast(model: VLA) -> VLA:
    """Convolutions on a CPU like the channels last."""
    return cast(Any, model).to(memory_format=torch.channels_last)


def _seed(seed: int, number: int) -> int:
    """Of a part: another training's seed gives other parts."""
    return number + SEEDS_PER_TRAINING * seed


def _whole(frames: Any, folder: Path) -> None:
    """Save them beside their place and rename: a folder that is there is whole."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    frames.save(aside)
    os.rename(aside, folder)
