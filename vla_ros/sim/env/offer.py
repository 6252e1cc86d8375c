"""What a gymnasium environment shows and takes, and how it is made. gymnasium loads only here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.shown import shown
from vla_ros.core.types import Size
from vla_ros.sim.render import choose_library

RENDER = "render()"  # the key of what the environment draws for people
WHOLE = "observation"  # the key of an observation that is no Dict
MOST_ACTIONS = 256
MOST_ENVIRONMENTS = 20  # that a sentence lists


@dataclass(frozen=True)
class EnvOffer:
    """What an environment shows and takes.

    Attributes:
        name: PACKAGE:ENV.
        images: Key -> (height, width), pixels; of RENDER nobody knows it before it drew.
        numbers: Key -> how many.
        paths: Key -> the keys of the nested Dicts that lead there.
        others: What is neither an image nor numbers, in words.
        low, high: Of each of the action's numbers, as its Box says.
        step_s: Simulated seconds that a step lasts.
    """

    name: str
    images: Mapping[str, Size | None]
    numbers: Mapping[str, int]
    paths: Mapping[str, tuple[str, ...]]
    others: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    step_s: float

    @property
    def image_text(self) -> str:
        """For sentences: each image with its size."""
        texts = []
        for key, size in self.images.items():
            texts.append(f"{key} ({size[0]} x {size[1]})" if size else key)
        return ", ".join(texts) or "none"

    @property
    def numbers_text(self) -> str:
        """For sentences: each key with how many numbers it has."""
        return ", ".join(f"{key} ({count})" for key, count in self.numbers.items()) or "none"


def make_env(name: str, arguments: Mapping[str, Any]) -> Any:
    """gymnasium's environment of the name PACKAGE:ENV, without a time limit.

    A robot does not jump back to its start because time is up: `max_episode_steps` among the
    arguments sets one all the same.

    Args:
        name: What is imported, and the environment that this registers.
        arguments: Of the environment's constructor.

    Raises:
        ValueError: there is none, or it cannot be made so.
        ModuleNotFoundError: the package or gymnasium is not installed.
    """
    package, colon, environment = name.partition(":")
    if not package or not colon or not environment:
        raise ValueError(
            f"--env is {shown(name)}; give PACKAGE:ENV, as gym_aloha:gym_aloha/AlohaInsertion-v0"
        )
    choose_library()
    gymnasium = import_module("gymnasium")
    if gymnasium.__version__.startswith("0."):
        # a time limit of -1 ends there each episode at once
        raise ValueError(
            f"gymnasium {gymnasium.__version__} is too old; install 1.0 or a later one beside the "
            "environment"
        )
    try:
        import_module(package)
        options = {"max_episode_steps": -1, **arguments}
        return gymnasium.make(environment, disable_env_checker=True, **options)
    except ModuleNotFoundError:
        raise
    except gymnasium.error.UnregisteredEnv as problem:
        there = []
        for each, spec in gymnasium.registry.items():
            if str(spec.entry_point).startswith(package):
                there.append(each)
        listed = ", ".join(sorted(there)[:MOST_ENVIRONMENTS]) or "none"
        raise ValueError(
            f"{package} registers no environment {shown(environment)}; it has {listed}"
        ) from problem
    except Exception as problem:  # somebody else's code: of any kind
        raise ValueError(
            f"environment {name} cannot be made with {shown(dict(arguments), 200)}: "
            f"{type(problem).__name__}: {str(problem)[:300]}"
        ) from problem


def draw_plainly(env: Any) -> None:
    """Leave shadows and multisampling out of what a MuJoCo environment draws, before it draws.

    Without a GPU they are nine tenths of an image's time.

    Raises:
        ValueError: it has no MuJoCo model.
    """
    model: Any = getattr(env.unwrapped, "model", None)
    if not hasattr(model, "vis"):
        raise ValueError(
            "--plain-drawing is for an environment with a MuJoCo model (env.unwrapped.model), and "
            "this one shows none; leave it out"
        )
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0


def offer_of(name: str, env: Any, rate: float | None = None) -> EnvOffer:
    """What `env` shows and takes.

    Args:
        name: PACKAGE:ENV.
        env: the environment.
        rate: steps in a simulated second; None: as its metadata's render_fps says.

    Raises:
        ValueError: its actions are no Box of one dimension, or nobody knows its rate.
    """
    images: dict[str, Size | None] = {}
    numbers: dict[str, int] = {}
    paths: dict[str, tuple[str, ...]] = {}
    others = []
    for path, space in _leaves(env.observation_space, ()):
        key = ".".join(path) or WHOLE
        shape = getattr(space, "shape", None)
        size = _image_size(space)
        paths[key] = path
        if size:
            images[key] = size
        elif shape is not None and len(shape) <= 1 and hasattr(space, "low"):
            numbers[key] = math.prod(shape)
        else:
            others.append(f"{key}: {str(space)[:80]}")
    if env.render_mode == "rgb_array":
        images[RENDER] = None
    box = env.action_space
    shape = getattr(box, "shape", None)
    if not hasattr(box, "low") or not shape or len(shape) != 1 or shape[0] > MOST_ACTIONS:
        raise ValueError(
            f"the actions of {name} are {str(box)[:100]}; a Box of 1 to {MOST_ACTIONS} numbers in "
            "one dimension can be a robot's: positions or velocities"
        )
    hertz = rate if rate is not None else env.metadata.get("render_fps")
    if not isinstance(hertz, (int, float)) or not 0.1 <= hertz <= 1000.0:
        raise ValueError(
            f"the rate of {name} is {shown(hertz)} (its metadata's render_fps); give how many "
            "steps it makes in a simulated second, 0.1 to 1000: --rate 50"
        )
    low = np.asarray(box.low, float)
    high = np.asarray(box.high, float)
    return EnvOffer(name, images, numbers, paths, tuple(others), low, high, 1.0 / hertz)


def _leaves(space: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is in nested Dict spaces, each with the keys that lead there."""
    inner = getattr(space, "spaces", None)
    if not isinstance(inner, Mapping):
        yield path, space
        return
    for key, below in inner.items():
        yield from _leaves(below, (*path, str(key)))


def _image_size(space: Any) -> Size | None:
    """Height and width of a Box of uint8 pixels, H x W x 3 or 3 x H x W; None: it is none."""
    shape: tuple[int, ...] = getattr(space, "shape", None) or ()
    if len(shape) != 3 or space.dtype != np.uint8:
        return None
    if shape[2] == 3:
        return shape[0], shape[1]
    return (shape[1], shape[2]) if shape[0] == 3 else None


def pick(observation: Any, path: tuple[str, ...]) -> Any:
    """What stands in an observation under a path."""
    for key in path:
        observation = observation[key]
    return observation


def pixels_of(array: Any) -> NDArray[np.uint8]:
    """An image as height x width x 3, rgb8.

    Raises:
        ValueError: it is no such image.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 3 and pixels.shape[2] != 3 and pixels.shape[0] == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(
            f"an image of the environment has the shape {pixels.shape} of {pixels.dtype}; height "
            "x width x 3 of uint8 is right"
        )
    return pixels
