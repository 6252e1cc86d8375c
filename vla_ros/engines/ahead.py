"""Engines built where their GPU is not, for the computer that will load them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.core.machine import free_memory, room
from vla_ros.core.registry import lookup
from vla_ros.engines import ENGINES
from vla_ros.engines.base import SubModel
from vla_ros.engines.cache import Cache, key_of, size_of
from vla_ros.engines.select import AHEAD_FIELD, depends_for


@dataclass(frozen=True)
class BuiltAhead:
    """`folder` is the entry's, `size` of its files in bytes; `cached`: it was there before."""

    folder: Path
    size: int
    cached: bool


def targets_of(names: Sequence[str], engine: str) -> dict[str, str]:
    """The targets that people's names stand for: rtx40 -> sm_89.

    Raises:
        ValueError: For an engine that is built on its own GPU alone, and for an unknown name.
    """
    kind: Any = lookup(ENGINES, engine, "engine")
    known = getattr(kind, "TARGETS", None)
    if known is None:
        raise ValueError(f"engine '{engine}' is built only on the computer that runs it")
    targets = {}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no target '{name}'; known are {', '.join(known)}")
        targets[name] = known[name]
    return targets


def build_ahead(
    part: SubModel,
    engine: str,
    target: str,
    precision: str,
    cache: Cache,
    say: Callable[[str], None] = lambda text: None,
) -> BuiltAhead:
    """The part's engine for a target in `cache`, built unless it is there.

    It is not compared with the model: whoever loads it first does that.

    Args:
        target: As the engine's own `target` names a GPU: sm_89.
        say: Hears what takes time.

    Raises:
        ValueError: Where it cannot be built here, with the reason.
    """
    kind: Any = lookup(ENGINES, engine, "engine")
    if why := kind.lacks(precision) or cache.unusable():
        raise ValueError(why)
    # No GPU's memory is asked for: building needs none.
    room(f"{part.name} on {engine}", kind.COPIES * part.weight_bytes, free_memory())

    def build(folder: Path) -> Mapping[str, Any]:
        say(f"building engine {engine} ({precision}) for {part.name} on {target}")
        kind.build_for(part, target, precision, folder)
        # Without a "difference" beside it: AHEAD_FIELD says that nothing has compared it yet.
        return {"part": part.name, "engine": engine, "precision": precision, AHEAD_FIELD: target}

    key = key_of(depends_for(part, engine, kind, precision, target))
    with cache.lock(key, lambda: say("another process builds this engine; waiting for it")):
        earlier = cache.find(key)
        entry = earlier or cache.put(key, build)
    return BuiltAhead(entry.folder, size_of(entry.folder), earlier is not None)
