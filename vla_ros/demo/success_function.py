"""Who says that an instruction is done: the task language, or a function of the policy's own.

A policy whose words the task language does not know brings a function along, asked for as
`module:function`:

    def driven(instruction: str, start: WorldState, now: WorldState) -> bool:
        return math.dist((start.x, start.y), (now.x, now.y)) > 0.5

It is asked some twenty times a second, and may also give a `Judgement`, which has a sentence.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.core.shown import shown
from vla_ros.demo.stack import Failed
from vla_ros.policies import imported_module
from vla_ros.tasks.success import Judgement
from vla_ros.tasks.world_state import WorldState

# (instruction, the world when it was given, the world now) -> whether it is done
SuccessFunction = Callable[[str, WorldState, WorldState], Judgement]
SIGNATURE = "(instruction: str, start: WorldState, now: WorldState) -> bool"


def success_function(place: str) -> SuccessFunction:
    """The function at `place`, `module:function`, with what it gives checked at each call.

    The function that is returned raises `Failed` where the user's raises, or gives neither a bool
    nor a `Judgement`: the demo ends then, for every further answer would be the same.

    Raises:
        ValueError: No such module or function, or one that does not take what it is given.
    """
    label = f"success function {shown(place)}"
    module_name, _, name = place.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise ValueError(f"{label} is none; give module:function, like my_package.wander:driven")
    module = imported_module(module_name, label)
    function = getattr(module, name, None)
    if not callable(function):
        file = getattr(module, "__file__", "built in")
        raise ValueError(f"{label}: module '{module_name}' ({file}) has no function '{name}'")
    signature = inspect.signature(function)
    try:
        signature.bind("", None, None)
    except TypeError:
        raise ValueError(f"{label} takes {signature}; it is given {SIGNATURE}") from None
    return _checked(function, label)


def _checked(function: Callable[..., Any], label: str) -> SuccessFunction:
    def success(instruction: str, start: WorldState, now: WorldState) -> Judgement:
        try:
            answer = function(instruction, start, now)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            raise Failed(f"{label} raised {type(error).__name__} ({place}): {error}") from error
        if isinstance(answer, Judgement):
            return answer
        if not isinstance(answer, bool | np.bool_):  # a forgotten `return` gives None
            raise Failed(f"{label} gives {shown(answer)}; give True, False or a Judgement")
        distance = 0.0 if answer else math.inf  # how far from done, a bool does not say
        return Judgement(bool(answer), distance, f"{label} says {'yes' if answer else 'no'}")

    return success
