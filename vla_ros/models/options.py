"""The options of every part: default, and what is accepted.

Plain Python: a config is checked before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vla_ros.models.language.word_sources import MINILM_PACKAGE, SHIPPED


class Option(NamedTuple):
    """One option of a part."""

    default: Any
    wants: str  # completes "give …"
    fits: Callable[[Any], bool]


def whole(value: Any, least: int = 1) -> bool:
    """Is it a whole number, and at least so much?"""
    # True is an int to Python, and 1 to none who writes it
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def count(default: int | None, least: int = 1) -> Option:
    """A whole number; a default of None is worked out by the part, and may be given too."""
    return Option(
        default,
        f"a whole number from {least} up",
        lambda value: whole(value, least) or (default is None and value is None),
    )


def share(default: float) -> Option:
    """As of dropout."""
    return Option(default, "a number from 0 to below 1", _share)


def shares(default: Any) -> Option:
    """One share for all hidden layers, or one for each; None: the preset's."""

    def fits(value: Any) -> bool:
        if isinstance(value, tuple):
            return all(map(_share, value))
        return value is None or _share(value)

    return Option(default, "a number from 0 to below 1, or one for each hidden layer", fits)


def widths(default: tuple[int, ...] | None, length: int | None = None) -> Option:
    """`length` whole numbers, or any number of them; the default may be None."""

    def fits(value: Any) -> bool:
        if not isinstance(value, tuple):
            return value is None and default is None
        return length in (None, len(value)) and all(map(whole, value))

    return Option(default, f"{length or 'any number of'} whole numbers from 1 up", fits)


def flag(default: bool) -> Option:
    """Yes or no."""
    return Option(default, "true or false", lambda value: isinstance(value, bool))


def choice(*known: str) -> Option:
    """One of some names; the first is the default."""
    return Option(known[0], f"one of {', '.join(known)}", lambda value: value in known)


def weights(default: str) -> Option:
    """A folder of pretrained weights, or nothing; the default may name those that are at hand."""
    wants = "a folder of pretrained weights, or nothing"
    if default:
        wants = f"'{default}', {wants}"
    return Option(default, wants, lambda value: isinstance(value, str))


WEIGHTS = weights("")


def details(**default: Any) -> Option:
    """What transformers' config of the part takes beside our options."""
    return Option(
        default, "a mapping of the library's own settings", lambda value: isinstance(value, Mapping)
    )


def _resnet(depths: tuple[int, ...], sizes: tuple[int, ...]) -> dict[str, Option]:
    return {
        "stem": count(64),
        "sizes": widths(sizes, 4),
        "depths": widths(depths, 4),
        "pooled": flag(False),
        "weights": WEIGHTS,
        "details": details(),
    }


# The decoder's hidden layers, and dropout behind all or behind each: "7d" and "6d" as the
# literature sizes them for so many channels.
PRESETS: dict[str, tuple[tuple[int, ...], Any]] = {
    "small": ((256, 256), 0.0),
    "7d": ((1024, 512, 256), 0.1),
    "6d": ((1024, 512), (0.3, 0.2)),
}

# Kind -> part -> option.
OPTIONS: dict[str, dict[str, dict[str, Option]]] = {
    "vision": {
        "small": {"channels": widths((24, 48), 2)},
        "clip": {  # ViT-B/32
            "hidden": count(768),
            "layers": count(12),
            "heads": count(12),
            "feed_forward": count(3072),
            "patch": count(32),
            "native_size": count(224),
            "pooled": flag(False),
            "weights": WEIGHTS,
            "details": details(),
        },
        "resnet18": _resnet((2, 2, 2, 2), (64, 128, 256, 512)),
        "resnet50": _resnet((3, 4, 6, 3), (256, 512, 1024, 2048)),
    },
    "language": {
        "small": {"slots": count(4)},
        "table": {"slots": count(6), "word_dropout": share(0.3)},
        "lstm": {
            "vocabulary": count(10_000, 2),
            "embedding": count(256),
            "hidden": count(512),
            "layers": count(2),
            "dropout": share(0.1),
        },
        "llama": {  # Llama-2-7B
            "vocabulary": count(32_000, 2),
            "hidden": count(4096),
            "layers": count(32),
            "heads": count(32),
            "kv_heads": count(None),  # as many as heads
            "feed_forward": count(11_008),
            "begin": count(1, 0),
            "weights": WEIGHTS,
            "dtype": choice("float32", "bfloat16", "float16"),
            "details": details(max_position_embeddings=4096, rms_norm_eps=1e-5),
        },
        "static": {
            "vocabulary": count(27_628, 2),
            "embedding": count(96),
            "questions": count(4),
            "trained": flag(False),
            "weights": weights(SHIPPED),
        },
        "minilm": {  # all-MiniLM-L6-v2
            "vocabulary": count(30_522, 2),
            "hidden": count(384),
            "layers": count(6),
            "heads": count(12),
            "feed_forward": count(1536),
            "places": count(512),
            "begin": count(101, 0),
            "end": count(102, 0),
            "questions": count(4),
            "trained": flag(False),
            "weights": weights(MINILM_PACKAGE),
            "details": details(layer_norm_eps=1e-12),
        },
    },
    "fusion": {
        "grounded": {"map": count(6)},
        "early": {"hidden": count(None), "dropout": share(0.1)},  # None: 2D
        "late": {"hidden": count(256), "decision": count(None)},  # None: T x C
        "cross_attention": {"heads": count(8), "dropout": share(0.1)},
        "transformer": {
            "layers": count(6),
            "heads": count(8),
            "feed_forward": count(2048),
            "dropout": share(0.1),
        },
    },
    "head": {
        "decoder": {"preset": choice(*PRESETS), "hidden": widths(None), "dropout": shares(None)},
        "planner": {
            "hidden": count(512),
            "layers": count(2),
            "longest": count(10),
            "dropout": share(0.1),
        },
    },
    "model": {
        "end_to_end": {},
        "table": {"cells": count(48), "values": count(32), "hidden": count(256)},
        "modular": {
            "tasks": count(10),
            "skills": count(5),
            "selector": count(256),
            "light": count(64),
            "mapping": Option(
                (),
                "one skill's number for each task, or nothing",
                lambda value: isinstance(value, tuple) and all(whole(skill, 0) for skill in value),
            ),
        },
    },
}


def checked(kind: str, part: str, given: Any) -> dict[str, Any]:
    """Every option of a part, the given ones over the defaults.

    Raises ValueError for an unknown name or an unfit value.
    """
    known = OPTIONS[kind][part]
    title = f"{part} {kind}"
    if not isinstance(given, Mapping):
        raise ValueError(f"{kind}_options is {given!r}; give a mapping of option to value")
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{title} has no option {name!r}; it has {', '.join(known) or 'none'}")
        if not known[name].fits(value):
            raise ValueError(f"{title} has {name} {value!r}; give {known[name].wants}")
    return {name: given.get(name, option.default) for name, option in known.items()}


def decoder_layers(options: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Width of each hidden layer of the decoder and the dropout behind it.

    Raises ValueError where their numbers differ.
    """
    hidden, dropout = PRESETS[options["preset"]]
    if options["hidden"] is not None:
        hidden = options["hidden"]
    if options["dropout"] is not None:
        dropout = options["dropout"]
    drops = dropout if isinstance(dropout, tuple) else (dropout,) * len(hidden)
    if len(drops) != len(hidden):
        raise ValueError(
            f"decoder head has {len(hidden)} hidden layers {hidden} and {len(drops)} dropouts "
            f"{drops}; give one for each"
        )
    return list(zip(hidden, drops))
