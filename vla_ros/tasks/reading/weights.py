"""The files of reading: `words.npz` has the table of words, the cart's heads on it, and lists.

Another robot has heads, a threshold and a list of words of its own in a second file; the table is
the same.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.colours import ColourNames
from vla_ros.tasks.reading.network import Network, WordPieces
from vla_ros.tasks.reading.objections import NEGATIONS
from vla_ros.tasks.reading.objects import Things
from vla_ros.tasks.reading.robot import RobotWords
from vla_ros.tasks.reading.spelling import Spelling

FILE = "words.npz"
FORMAT = 1
# The vocabulary has its commonest pieces first; behind these are names and foreign words.
KNOWN_ROWS = 18_000
SHORTEST_KNOWN = 3  # letters of a whole word of the vocabulary that is taken for no mistake


@dataclass(frozen=True)
class Weights:
    """All that reading needs from its file."""

    pieces: WordPieces
    network: Network
    things: Things
    spelling: Spelling
    idle: frozenset[str]  # words that no instruction of the training text has: "corporal"
    threshold: float  # of a clause's most likely class; below it the clause is refused


def file_of(robot: RobotWords[Any]) -> str:
    """The file that has the robot's heads."""
    return FILE if robot is CART else f"words_{robot.name}.npz"


def load_weights(robot: RobotWords[Any], folder: Path | None = None) -> Weights:
    """Raises ValueError where a file is missing or another's."""
    arrays = stored_arrays(CART, folder)
    if robot is not CART:
        arrays = {**without_heads(arrays), **stored_arrays(robot, folder)}
    return weights_of(arrays, robot)


def stored_arrays(robot: RobotWords[Any], folder: Path | None = None) -> dict[str, NDArray]:
    """Of the robot's file. Raises ValueError where it is missing or another's."""
    path = (Path(__file__).parent if folder is None else folder) / file_of(robot)
    command = "vla train words" if robot is CART else f"vla train words --robot {robot.name}"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); install the package again, or write it with "
            f"'{command}'"
        ) from error
    if int(arrays.get("format", -1)) != FORMAT:
        raise ValueError(
            f"{path} is of format {arrays.get('format')}, and {FORMAT} is read here; write it "
            f"again with '{command}'"
        )
    return arrays


def without_heads(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """What robots share."""
    return {name: values for name, values in arrays.items() if not name.startswith("head")}


def weights_of(arrays: dict[str, NDArray], robot: RobotWords[Any]) -> Weights:
    """From the arrays of the file, as the recipe `words` makes them."""
    pieces = WordPieces(lines(arrays["vocabulary"]))
    rows = arrays["table"].astype(np.float32) * arrays["scale"].astype(np.float32)[:, None]
    table = np.concatenate([rows, arrays["marks"].astype(np.float32)])
    heads = []
    for number in range(int(arrays["heads"])):
        prefix = f"head{number}."
        head = {}
        for name, values in arrays.items():
            if name.startswith(prefix):
                head[name.removeprefix(prefix)] = values.astype(np.float32)
        heads.append(head)
    survey = {}
    for line in lines(arrays["colours"]):
        name, _, colour = line.partition("\t")
        survey[name] = colour
    known = set()
    for word in pieces.vocabulary[:KNOWN_ROWS]:
        if len(word) >= SHORTEST_KNOWN and word.isalpha():
            known.add(word)
    task = lines(arrays["task_words"])
    idle = lines(arrays.get("idle_words", as_bytes([])))
    known.update(idle)
    things = Things(ColourNames(survey), robot.nouns)
    # a negation that is misspelt is one
    spelling = Spelling([*task, *NEGATIONS], known)
    return Weights(
        pieces,
        Network(table, heads),
        things,
        spelling,
        frozenset(idle) - frozenset(task),
        float(arrays["threshold"]),
    )


def lines(stored: NDArray) -> list[str]:
    """The lines of a text that is stored as bytes."""
    return stored.tobytes().decode("utf-8").split("\n")


def as_bytes(texts: list[str]) -> NDArray[np.uint8]:
    """What `lines` reads again."""
    return np.frombuffer("\n".join(texts).encode("utf-8"), np.uint8)
