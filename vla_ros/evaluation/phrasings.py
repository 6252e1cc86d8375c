"""Lists of phrasings: sentences with what is meant, in the notation of tasks/meaning.py, or of
tasks/arm/meaning.py.

    roll over to the red block<TAB>go_to:red block
    spin left 45 degrees, then back up<TAB>turn_left:45deg ; back
    knit me a jumper<TAB>refuse

Blank lines, and those that begin with "#", are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.evaluation.clear_scenes import can_be_done
from vla_ros.evaluation.plan import PlannedEpisode, robot_named
from vla_ros.evaluation.word_plan import PHRASINGS, seconds_for
from vla_ros.sim.scene import sample_scene
from vla_ros.tasks.arm.meaning import arm_meaning_of
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.phrases import AMOUNTS
from vla_ros.tasks.sequence import BitIntent, meant_by, steps_of

MAX_FILE_BYTES = 500_000  # some ten thousand sentences
MAX_SENTENCE = 200  # characters: what command_ingest accepts by default
BAD_LINES_SHOWN = 5
# The notation has no "a bit": where a sentence says so and its meaning no amount, some will do.
A_BIT = re.compile(
    r"\b(?:a (?:(?:little|tiny|wee) )?(?:bit|touch|tad|smidge)|a little|slightly|somewhat)\b"
)
BIT_KINDS = ("turn_left", "turn_right", "forward", "back")
MAX_SCENES = 1000  # looked at for one in which a sentence can be followed


@dataclass(frozen=True)
class Phrasing:
    """A sentence and what is meant by it; `notation` as its list has it, `line` from 1."""

    line: int
    text: str
    notation: str
    meant: Any  # an Intent, an ArmIntent, or several as IntentSequence


def read_phrasings(path: str | Path, robot: str = "cart") -> list[Phrasing]:
    """All sentences of a list for the robot.

    Raises:
        ValueError: one sentence for a file that is none, and for lines that mean nothing, which are
            named with number and text.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as problem:
        raise ValueError(
            f"phrasings: cannot read {path}: {problem.strerror}; name a file"
        ) from None
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f"phrasings: {path} has {size} bytes; a list has at most {MAX_FILE_BYTES}; split it"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        place = data[: problem.start].count(b"\n") + 1
        raise ValueError(
            f"phrasings: {path} is not UTF-8 in line {place}; save it as UTF-8"
        ) from None
    phrasings = []
    bad = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            phrasings.append(_phrasing(number, line.rstrip("\r"), robot))
        except ValueError as problem:
            bad.append(f"line {number} ({line.strip()[:60]!r}): {problem}")
    if bad:
        more = f"; and {len(bad) - BAD_LINES_SHOWN} more" if len(bad) > BAD_LINES_SHOWN else ""
        raise ValueError(f"phrasings: {path}: {'; '.join(bad[:BAD_LINES_SHOWN])}{more}")
    if not phrasings:
        raise ValueError(
            f"phrasings: {path} holds no sentence; write one a line: sentence, tab, meaning"
        )
    return phrasings


def _phrasing(number: int, line: str, robot: str) -> Phrasing:
    sentence, tab, notation = line.partition("\t")
    if not tab or not sentence.strip() or not notation.strip():
        raise ValueError("it is not: sentence, tab, meaning")
    if len(sentence) > MAX_SENTENCE:
        raise ValueError(
            f"its sentence has {len(sentence)} characters; at most {MAX_SENTENCE} are accepted"
        )
    notation = notation.strip()
    steps: tuple[Any, ...]
    steps = arm_meaning_of(notation) if robot == "arm" else _steps(sentence, notation)
    return Phrasing(number, sentence.strip(), notation, meant_by(steps))


def _steps(sentence: str, notation: str) -> tuple[Intent, ...]:
    """The meaning's steps, with "a bit" where the sentence says so."""
    steps = meaning_of(notation)
    if not A_BIT.search(sentence.lower()):
        return steps
    vague = []
    for intent in steps:
        usual = intent.kind in BIT_KINDS and intent.amount == AMOUNTS[intent.kind]
        vague.append(BitIntent(intent.kind, amount=intent.amount) if usual else intent)
    return tuple(vague)


def plan_phrasings(
    phrasings: Sequence[Phrasing], each: int, first_seed: int, robot: str = "cart"
) -> tuple[list[PlannedEpisode], list[Phrasing]]:
    """Every sentence in `each` scenes that hold what it is about, and those that have none.

    The scenes of one sentence are different ones; those of two may be the same. An episode's
    `group` is its phrasing's place in the list.
    """
    plan: list[PlannedEpisode] = []
    without: list[Phrasing] = []
    for place, phrasing in enumerate(phrasings):
        seed = first_seed + place
        for _ in range(each):
            found = _scene_for(phrasing.meant, seed, robot)
            if found is None:
                without.append(phrasing)
                break
            episode = PlannedEpisode(
                len(plan),
                "success",
                PHRASINGS,
                found,
                phrasing.meant,
                phrasing.text,
                seconds_for(phrasing.meant),
                group=place,
                robot=robot,
            )
            plan.append(episode)
            seed = found + 1
    return plan, without


def _scene_for(meant: Any, first_seed: int, robot: str) -> int | None:
    evaluated = robot_named(robot)
    arm = robot == "arm"
    kinds = {step.kind for step in steps_of(meant)}
    if arm and not kinds <= set(evaluated.kinds):
        return None
    for seed in range(first_seed, first_seed + MAX_SCENES):
        if arm and not evaluated.allows(meant, seed):
            continue
        if arm or can_be_done(steps_of(meant), sample_scene(seed)):
            return seed
    return None
