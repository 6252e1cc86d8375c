"""`vla train`: the built-in policy, its reader of words, a clone, or a policy to be improved."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.training.trainer import Trainer

RECIPES = ("dagger", "behaviour_cloning", "reinforce", "words")
# Option -> the recipes that take it, so that a wrong one is refused instead of ignored. All take
# the others.
RECIPES_OF = {
    "robot": ("dagger", "words"),
    "smoke": ("dagger", "words"),
    "workers": ("dagger",),
    "data": ("behaviour_cloning",),
    "config": ("behaviour_cloning",),
    "camera": ("behaviour_cloning",),
    "lora": ("behaviour_cloning",),
    "gradient_checkpointing": ("behaviour_cloning",),
    "batch": ("behaviour_cloning",),
    "accumulate": ("behaviour_cloning",),
    "only_interventions": ("behaviour_cloning",),
    "weight_interventions": ("behaviour_cloning",),
    "checkpoint": ("behaviour_cloning", "reinforce"),
    "task": ("reinforce",),
    "episodes": ("reinforce",),
    "discount": ("reinforce",),
    "learning_rate": ("behaviour_cloning", "reinforce"),
    "resume": ("dagger", "behaviour_cloning", "reinforce"),
    "steps": ("dagger", "behaviour_cloning", "reinforce"),
    "precision": ("dagger", "behaviour_cloning", "reinforce"),
}
# What a recipe imports beside torch, accelerate and safetensors.
MODULES_OF = {
    "dagger": ("mujoco",),
    "behaviour_cloning": ("av", "pyarrow"),
    "reinforce": ("mujoco",),
    "words": ("matplotlib", "transformers"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        nargs="?",
        default="dagger",
        choices=RECIPES,
        help="dagger: the built-in policy; behaviour_cloning: from demonstrations; reinforce: "
        "improve a checkpoint in the simulator; words: what reads instructions "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--out", default="training", metavar="FOLDER", help="where all goes (default ./%(default)s)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the training in the out folder"
    )
    parser.add_argument(
        "--steps", type=whole, metavar="N", help="steps of the optimizer (dagger: in proportion)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="another seed, another training (default 0)",
    )
    parser.add_argument(
        "--precision",
        choices=("no", "bf16", "fp16"),
        help="of the arithmetic (default: the recipe's)",
    )
    parser.add_argument(
        "--threads", type=whole, metavar="N", help="of torch (default: as many as it takes)"
    )
    dagger = parser.add_argument_group("dagger, and words")
    dagger.add_argument(
        "--robot",
        choices=("cart", "arm"),
        help="whose policy, or words: the cart's in its room, or the arm's at its table "
        "(default cart)",
    )
    dagger.add_argument(
        "--smoke",
        action="store_true",
        help="a minute's training: does it run, and does the loss fall?",
    )
    dagger.add_argument(
        "--workers", type=whole, metavar="N", help="processes that make images (default 2)"
    )
    clone = parser.add_argument_group("behaviour_cloning")
    clone.add_argument(
        "--data",
        metavar="FOLDER",
        help="demonstrations in LeRobot's layout, as vla record writes them",
    )
    clone.add_argument(
        "--config", metavar="FILE", help="the model's config.json (default: a small one that fits)"
    )
    clone.add_argument(
        "--camera",
        nargs="+",
        metavar="NAME",
        help="which cameras, where the demonstrations have several (default: all)",
    )
    clone.add_argument("--batch", type=whole, metavar="N", help="frames of a batch (default 64)")
    clone.add_argument(
        "--accumulate", type=whole, metavar="N", help="batches of a step (default 1)"
    )
    clone.add_argument(
        "--lora",
        choices=("language", "vision"),
        help="adapters there; what is pretrained stays frozen",
    )
    clone.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="gradient checkpointing: less memory, more time",
    )
    clone.add_argument(
        "--only-interventions",
        action="store_true",
        help="learn only what a person did who had taken over from the policy",
    )
    clone.add_argument(
        "--weight-interventions",
        type=float,
        metavar="W",
        help="that counts W times as much as what the policy did (default 1)",
    )
    reinforce = parser.add_argument_group("reinforce")
    reinforce.add_argument(
        "--task", metavar="KIND", help="the kind of instruction to improve, such as grab"
    )
    reinforce.add_argument("--episodes", type=whole, metavar="N", help="of a step (default 16)")
    reinforce.add_argument(
        "--discount", type=float, metavar="X", help="of a reward, each image later (default 0.95)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="the policy to improve, by reinforce; or that goes on learning, by behaviour_cloning",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="X",
        help="of behaviour_cloning (default 1e-4) and reinforce (2e-4)",
    )


def whole(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 up")
    return int(text)


def run(given: argparse.Namespace) -> int:
    """0: trained; 1: a smoke training whose loss did not fall.

    Raises:
        ValueError: For options that do not fit.
        ModuleNotFoundError: A module is missing.
    """
    for option, recipes in RECIPES_OF.items():
        if getattr(given, option) not in (None, False) and given.recipe not in recipes:
            raise ValueError(
                f"--{option.replace('_', '-')} is for vla train {' and '.join(recipes)}, "
                f"and this is {given.recipe}; leave it out"
            )
    if given.seed < 0:  # numpy takes none
        raise ValueError(f"the seed is {given.seed}; give a whole number from 0 on")
    # now, not after the first stage
    modules = MODULES_OF[given.recipe]
    if given.recipe == "words" and given.robot == "arm":
        modules = ()  # on the table of the cart's: no encoder is needed
    for module in ("torch", "accelerate", "safetensors", *modules):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    import torch

    if given.threads:  # before anything runs: torch keeps the number for all that follows
        torch.set_num_threads(given.threads)
    if given.recipe == "words":
        return _words(given)
    train = {"dagger": _dagger, "behaviour_cloning": _behaviour_cloning, "reinforce": _reinforce}
    trainer: Trainer = train[given.recipe](given)
    return _report(trainer, Path(given.out), given.smoke)


def _dagger(given: argparse.Namespace) -> Any:
    from vla_ros.training.recipes.dagger import ARM, SMOKE, Recipe, train_dagger

    recipe = ARM if given.robot == "arm" else Recipe()
    if given.smoke:
        recipe = replace(SMOKE, robot=recipe.robot)
    if given.steps:  # all stages in proportion; the first one takes what rounding leaves
        share = given.steps / recipe.steps
        later = round(recipe.round_steps * share) if recipe.rounds else 0
        recipe = replace(
            recipe,
            round_steps=later,
            first_steps=max(1, given.steps - recipe.rounds * later),
            warmup=round(recipe.warmup * share),
        )
    recipe = replace(recipe, seed=given.seed, precision=given.precision or recipe.precision)
    return train_dagger(recipe, Path(given.out), resume=given.resume, workers=given.workers or 2)


def _words(given: argparse.Namespace) -> int:
    from vla_ros.training.recipes.words import RECIPES, smaller, train_words

    recipe = replace(RECIPES[given.robot or "cart"], seed=given.seed)
    train_words(smaller(recipe) if given.smoke else recipe, Path(given.out))
    return 0


def _settings(given: argparse.Namespace, steps: int, learning_rate: float, **more: Any) -> Any:
    from vla_ros.training.settings import OptimizerSettings

    steps = given.steps or steps
    return OptimizerSettings(
        steps,
        learning_rate=given.learning_rate or learning_rate,
        warmup=min(100, steps // 10),  # a short training, too, has most of its steps after it
        precision=given.precision or "no",
        seed=given.seed,
        **more,
    )


def _behaviour_cloning(given: argparse.Namespace) -> Any:
    from vla_ros.models.config import VLAConfig
    from vla_ros.training.recipes.behaviour_cloning import Corrections, clone

    if given.data is None:
        raise ValueError(
            "vla train behaviour_cloning needs --data FOLDER, "
            "demonstrations as vla record writes them"
        )
    config = None
    if given.config is not None:
        try:
            config = VLAConfig.from_dict(json.loads(Path(given.config).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
            raise ValueError(
                f"the config {given.config} cannot be read ({problem}); give a config.json"
            ) from problem
    settings = _settings(
        given,
        5_000,
        1e-4,
        accumulate=given.accumulate or 1,
        average=0.998,
        log_every=50,
        evaluate_every=250,
    )
    return clone(
        Path(given.data),
        Path(given.out),
        settings,
        config=config,
        batch=given.batch or 64,
        cameras=given.camera,
        lora=given.lora,
        gradient_checkpointing=given.gradient_checkpointing,
        resume=given.resume,
        corrections=Corrections(
            given.only_interventions,
            1.0 if given.weight_interventions is None else given.weight_interventions,
        ),
        checkpoint=None if given.checkpoint is None else Path(given.checkpoint),
    )


def _reinforce(given: argparse.Namespace) -> Any:
    from vla_ros.training.recipes.reinforce import Reinforcement, reinforce

    if given.checkpoint is None or given.task is None:
        raise ValueError(
            "vla train reinforce needs --checkpoint FOLDER and --task KIND, such as grab"
        )
    # A step plays whole episodes: few of them, each logged, and none prepared ahead with an older
    # policy.
    settings = _settings(
        given, 200, 2e-4, log_every=1, checkpoint_every=5, evaluate_every=50, ahead=0
    )
    # what is not given keeps the recipe's own default
    chosen: dict[str, Any] = {}
    if given.episodes is not None:
        chosen["episodes"] = given.episodes
    if given.discount is not None:
        chosen["gamma"] = given.discount
    plan = Reinforcement(given.task, **chosen)
    return reinforce(Path(given.checkpoint), Path(given.out), plan, settings, resume=given.resume)


def _report(trainer: Trainer, out: Path, smoke: bool) -> int:
    """Say how the loss fell and where all is; the exit code."""
    losses = [row["loss"] for row in trainer.metrics]
    if not losses:
        return 0
    few = max(1, len(losses) // 10)  # a single step's loss is too noisy to compare
    first = sum(losses[:few]) / few
    last = sum(losses[-few:]) / few
    print(
        f"{trainer.step} steps in {trainer.seconds / 60:.1f} min: "
        f"loss {first:.4g} at first, {last:.4g} at last; the policy is {out / 'policy'}, "
        f"the metrics are {out / 'metrics.csv'} and {out / 'curves.png'}"
    )
    return 1 if smoke and last >= first else 0
