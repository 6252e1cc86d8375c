"""From an encoder and text files to `words.npz`, with which a robot's instructions are read.

The cart's file has the table of words in it; another robot's has heads on that same table alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.models.language.word_sources import MINILM_PACKAGE, minilm_folder
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.reading.amounts import UNITS
from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.clauses import cuts_of, without_counting
from vla_ros.tasks.reading.colours import by_hue
from vla_ros.tasks.reading.network import MENTION, REFUSE
from vla_ros.tasks.reading.objections import objection
from vla_ros.tasks.reading.parts import ITEM, MARKS
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.reading.robot import RobotWords
from vla_ros.tasks.reading.weights import (
    FORMAT,
    Weights,
    as_bytes,
    file_of,
    stored_arrays,
    weights_of,
    without_heads,
)
from vla_ros.training.words.corpus import Example, Speaker, idle_words, task_words
from vla_ros.training.words.head import trained_head
from vla_ros.training.words.lessons import LESSONS, Lessons
from vla_ros.training.words.table import distilled

# So many of the held-out instructions may be taken for others, and of the rest for instructions.
WRONG_SHARE = 0.01
ACCEPTED_SHARE = 0.04
THRESHOLDS = np.arange(0.4, 0.96, 0.01)


@dataclass(frozen=True)
class WordsRecipe:
    """How much is learned: sentences of a kind, heads, and how often they see each sentence."""

    of_each: int = 4000
    heads: int = 3
    epochs: int = 7
    seed: int = 0
    robot: str = "cart"


# What is shipped; the arm's kinds have fewer lines.
RECIPES = {
    "cart": WordsRecipe(),
    "arm": WordsRecipe(of_each=3500, heads=3, epochs=6, robot="arm"),
}


def train_words(recipe: WordsRecipe, out: Path) -> Path:
    """Write the robot's file into `out`, and say on the way what comes of it.

    Raises:
        ValueError: The encoder is not installed, which the cart's needs.
    """
    started = time.monotonic()
    lessons = LESSONS[recipe.robot]
    if lessons.robot is CART:
        vocabulary, rows, scale = distilled(minilm_folder(MINILM_PACKAGE))
        print(f"table: {rows.shape[0]} x {rows.shape[1]} in {time.monotonic() - started:.0f} s")
        stored = with_heads(base_arrays(vocabulary, rows, scale, recipe.seed), recipe)
    else:
        stored = heads_alone(with_heads(stored_arrays(CART), recipe))
    out.mkdir(parents=True, exist_ok=True)
    path = out / file_of(lessons.robot)
    arrays: dict[str, Any] = dict(stored)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB in {time.monotonic() - started:.0f} s")
    return path


def base_arrays(
    vocabulary: list[str], rows: NDArray, scale: NDArray, seed: int
) -> dict[str, NDArray]:
    """All of the file but what is one robot's."""
    marks = np.random.default_rng(seed).standard_normal((len(MARKS), rows.shape[1]))
    return {
        "format": np.array(FORMAT),
        "vocabulary": as_bytes(vocabulary),
        "table": rows,
        "scale": scale,
        "marks": marks.astype(np.float16),
        "colours": as_bytes(_survey()),
    }


def heads_alone(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """What is one robot's own."""
    own = ("format", "task_words", "idle_words", "heads", "threshold")
    return {
        name: values for name, values in arrays.items() if name in own or name.startswith("head")
    }


def own_words(lessons: Lessons) -> list[str]:
    """Those that a misspelt word may be, in the alphabet's order."""
    words = {*task_words(lessons), *COLOURS}
    for name in (*UNITS["distance"], *UNITS["angle"], *lessons.robot.nouns.shapes):
        if name.isalpha() and len(name) > 2:
            words.add(name)
    for trained, held in lessons.slots.values():
        words.update(f"{trained} {held}".split())
    return sorted(words)


def with_heads(arrays: dict[str, NDArray], recipe: WordsRecipe) -> dict[str, NDArray]:
    """The file's arrays with heads, and the threshold that held-out sentences ask for."""
    lessons = LESSONS[recipe.robot]
    robot = lessons.robot
    arrays = without_heads(arrays)
    arrays["task_words"] = as_bytes(own_words(lessons))
    arrays["idle_words"] = as_bytes(idle_words(lessons))
    arrays["heads"] = np.array(0)
    arrays["threshold"] = np.array(0.5)
    weights = weights_of(arrays, robot)
    reader = InstructionReader(weights, robot)
    table = weights.network.table
    examples = Speaker(recipe.seed, lessons).examples(held=False, of_each=recipe.of_each)
    ids, labels = encoded(reader, weights, examples, robot)
    print(f"{len(ids)} sentences to learn from")
    for number in range(recipe.heads):
        started = time.monotonic()
        head = trained_head(
            table, ids, labels, len(robot.classes), recipe.seed + number, recipe.epochs
        )
        for name, values in head.arrays().items():
            arrays[f"head{number}.{name}"] = values
        print(f"head {number + 1} in {time.monotonic() - started:.0f} s")
    arrays["heads"] = np.array(recipe.heads)
    weights = weights_of(arrays, robot)
    held = Speaker(recipe.seed + 1, lessons).examples(
        held=True, of_each=max(20, recipe.of_each // 10)
    )
    # a reader cuts a sentence into its clauses before the heads see it
    held = [example for example in held if not cuts_of(reader.parts(example.text))]
    ids, labels = encoded(reader, weights, held, robot)
    arrays["threshold"] = np.array(_threshold(weights, ids, labels, robot))
    return arrays


def encoded(
    reader: InstructionReader, weights: Weights, examples: list[Example], robot: RobotWords[Any]
) -> tuple[list[list[int]], NDArray]:
    """Rows of the table for each sentence, as reading makes them, and its class."""
    labels: dict[tuple[str, ...], str] = {}
    for example in examples:
        parts = without_counting(reader.parts(example.text))
        if example.label == REFUSE and objection(parts, robot) is not None:
            continue  # a rule is certain of it: the heads need not be
        words = tuple(part.text for part in parts)
        # a thing alone is a mention, whoever wrote the line
        label = MENTION if words == (ITEM,) else example.label
        # words that were spoilt or misspelt into an instruction are one
        if words and (label != REFUSE or words not in labels):
            labels[words] = label
    ids = []
    for words in labels:
        ids.append(weights.pieces.encode(words))
    return ids, np.array([robot.classes.index(label) for label in labels.values()])


def _threshold(
    weights: Weights, ids: list[list[int]], labels: NDArray, robot: RobotWords[Any]
) -> float:
    """The lowest with which at most WRONG_SHARE of the held-out sentences is done wrongly."""
    shares = []
    for start in range(0, len(ids), 256):
        shares.append(weights.network(ids[start : start + 256]))
    likely = np.concatenate(shares)
    best = likely.argmax(1)
    refuse = robot.classes.index(REFUSE)
    command = labels != refuse
    doable = best != refuse
    item = weights.pieces.encode([ITEM])[0]
    for row, pieces in enumerate(ids):  # a rule refuses more things than a kind takes
        doable[row] &= pieces.count(item) <= robot.most_things(robot.classes[best[row]])
    chosen = float(THRESHOLDS[-1])
    for threshold in THRESHOLDS[::-1]:
        done = (likely.max(1) >= threshold) & doable
        wrong = np.mean((done & (best != labels))[command])
        accepted = np.mean(done[~command])
        if wrong > WRONG_SHARE or accepted > ACCEPTED_SHARE:
            break
        chosen = float(threshold)
    done = (likely.max(1) >= chosen) & doable
    print(
        f"held-out lines, {len(ids)} sentences: threshold {chosen:.2f}, "
        f"{np.mean((done & (best == labels))[command]):.3f} of the instructions right, "
        f"{np.mean((done & (best != labels))[command]):.3f} wrong, "
        f"{np.mean(~done[~command]):.3f} of the rest refused"
    )
    return chosen


def _survey() -> list[str]:
    """The XKCD survey's names, each with one of the six colours or none, a tab between."""
    from matplotlib.colors import XKCD_COLORS, to_rgb

    other = frozenset(
        [
            "pink",
            "brown",
            "grey",
            "gray",
            "white",
            "black",
            "beige",
            "tan",
            "teal",
            "turquoise",
            "cyan",
        ]
    )
    found = []
    for key in sorted(XKCD_COLORS):
        name = key.removeprefix("xkcd:")
        if not all(part.isalpha() for part in name.split()):
            continue
        colour = None if other & set(name.split()) else by_hue(*to_rgb(XKCD_COLORS[key]))
        # "blue green" is either
        named = {each for each in COLOURS if each in name.split()}
        if len(named) > 1:
            colour = None
        elif named:
            colour = named.pop()
        found.append(f"{name}\t{colour or ''}")
    return found


def smaller(recipe: WordsRecipe) -> WordsRecipe:
    """A minute's training: does it run?"""
    return replace(recipe, of_each=150, heads=1, epochs=2)
