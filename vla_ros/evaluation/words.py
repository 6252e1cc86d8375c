"""How words were taken: right, refused or wrongly, of what was read and of what was done."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from vla_ros.core.instructions import HALTING_THRESHOLD, NotUnderstood, is_stop
from vla_ros.evaluation import metrics
from vla_ros.evaluation.phrasings import Phrasing
from vla_ros.evaluation.plan import PlannedEpisode
from vla_ros.evaluation.runner import Record, to_refuse
from vla_ros.evaluation.word_plan import (
    AMBIGUOUS,
    PHRASINGS,
    REFUSALS_SPLIT,
    WORD_SPLITS,
    sort_of_refusal,
)
from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.intent import Intent, Which
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, SPLITS, has_usual_amount
from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.reading.robot import RobotWords
from vla_ros.tasks.sequence import (
    REFUSED,
    SEQUENCE,
    BitIntent,
    IntentSequence,
    in_words,
    meant_by,
    steps_of,
)
from vla_ros.tasks.success import EXACT_ANGLE_RAD, EXACT_SHARE, exact

# What came of words. Wrongly: something was read, or done, and it was not what is meant.
RIGHT = "right"
REFUSED_IT = "refused"
WRONGLY = "wrongly"
OUTCOMES = (RIGHT, REFUSED_IT, WRONGLY)
AMOUNT_SORT = "amounts"
RELATION_SORT = "relations"
MORE_SORTS = (AMOUNT_SORT, RELATION_SORT, SEQUENCE, REFUSED)  # beside the kinds
SORTS = (*KINDS, *MORE_SORTS)
ANY = "any"  # colour, shape
IN_PLACE_M = 0.1  # from where a robot stood that refuses: it may have been driving, and brakes
Sorted = Iterable[tuple[str, str]]  # a group's name and an outcome


def sort_of(meant: Intent | ArmIntent | IntentSequence) -> str:
    """For tables: the kind, or what makes it more than a plain one."""
    if isinstance(meant, (IntentSequence, ArmIntent)):
        return meant.kind
    if meant.which is not None or meant.excluded:
        return RELATION_SORT
    return meant.kind if has_usual_amount(meant) else AMOUNT_SORT


def same_meaning(first: Intent | IntentSequence, second: Intent | IntentSequence) -> bool:
    """Whether the same is asked for: amounts within EXACT_SHARE or EXACT_ANGLE_RAD."""
    ours = steps_of(first)
    theirs = steps_of(second)
    return len(ours) == len(theirs) and all(map(_same_step, ours, theirs))


def _same_step(first: Intent | ArmIntent, second: Intent | ArmIntent) -> bool:
    if isinstance(first, ArmIntent) or isinstance(second, ArmIntent):
        return first == second
    if _half_turn(first) and _half_turn(second):
        return True  # to the left, to the right, around
    things = ("kind", "colour", "shape")
    if any(getattr(first, name) != getattr(second, name) for name in things):
        return False
    if _which(first) != _which(second):
        return False
    if isinstance(first, BitIntent):
        return second.amount <= first.amount  # of the same kind: any of it will do
    least = EXACT_ANGLE_RAD if first.kind.startswith("turn") else 0.0
    near = abs(first.amount - second.amount) <= max(least, EXACT_SHARE * first.amount)
    return near and set(first.excluded) == set(second.excluded)


def _which(intent: Intent) -> Which | None:
    """As it is compared: "block not red" in a list is said of "a block" and of "the block"."""
    alone = intent.which is None or intent.which.relation == "any"
    return None if alone and intent.excluded else intent.which


def _half_turn(intent: Intent) -> bool:
    return intent.kind.startswith("turn") and math.isclose(intent.amount, math.pi, abs_tol=0.01)


@dataclass(frozen=True)
class ReadPhrasing:
    """What a reader made of a phrasing; `read` is None where it refused, with that sentence."""

    phrasing: Phrasing
    read: Intent | IntentSequence | None
    sentence: str
    halting: float

    @property
    def outcome(self) -> str:
        """One of OUTCOMES."""
        meant = self.phrasing.meant
        if self.read is None:
            return RIGHT if not steps_of(meant) else REFUSED_IT
        return RIGHT if same_meaning(meant, self.read) else WRONGLY


def read_all(
    reader: InstructionReader, phrasings: Iterable[Phrasing], halts: InstructionReader | None = None
) -> list[ReadPhrasing]:
    """What the reader makes of each; `halts`: who says that words halt, where it is another one."""
    readings = []
    for phrasing in phrasings:
        read: Intent | IntentSequence | None = None
        sentence = ""
        try:
            read = meant_by(reader.read(phrasing.text))
        except NotUnderstood as refusal:
            sentence = str(refusal)
        halting = _halting(halts or reader, phrasing.text)
        readings.append(ReadPhrasing(phrasing, read, sentence, halting))
    return readings


def _halting(reader: InstructionReader, text: str) -> float:
    try:
        return reader.halting(text)
    except NotUnderstood:  # more words than it reads, say: then they stop nothing
        return 0.0


def known_ms(reader: InstructionReader, phrasings: Sequence[Phrasing]) -> float:
    """What asking again for what was just read takes, on average."""
    seconds = 0.0
    for phrasing in phrasings:
        read_all(reader, [phrasing])
        began = time.perf_counter()
        read_all(reader, [phrasing])
        seconds += time.perf_counter() - began
    return 1e3 * seconds / max(1, len(phrasings))


def score(
    reader: InstructionReader,
    phrasings: Sequence[Phrasing],
    threshold: float = HALTING_THRESHOLD,
    robot: RobotWords[Any] = CART,
    halts: InstructionReader | None = None,
) -> dict[str, Any]:
    """How a reader reads a list, as JSON can hold it; nothing is driven.

    Args:
        reader: Reads.
        phrasings: Sentences and what is meant by each.
        threshold: From which `halting` on words halt.
        robot: What is read for.
        halts: Who says that words halt, where it is another reader.
    """
    reader.forget()  # or what was read before would look fast
    began = time.perf_counter()
    readings = read_all(reader, phrasings, halts)
    seconds = time.perf_counter() - began
    texts = {phrasing.text for phrasing in phrasings}  # one that comes twice is read once
    sorted_outcomes = [(sort_of(one.phrasing.meant), one.outcome) for one in readings]
    misread = []
    for reading in readings:
        if reading.outcome != RIGHT:
            misread.append(reading_row(reading))
    return {
        "all": outcome_rates(outcome for _, outcome in sorted_outcomes),
        "by_kind": rates_by_group(sorted_outcomes, (*robot.kinds, *MORE_SORTS)),
        "halting": halting(readings, threshold),
        "ms_each": 1e3 * seconds / max(1, len(texts)),
        "ms_known": known_ms(reader, phrasings),
        "confusion": reading_confusion(readings, robot),
        "misread": misread,
    }


def reading_row(reading: ReadPhrasing) -> dict[str, Any]:
    """As JSON can hold it."""
    return {
        "line": reading.phrasing.line,
        "text": reading.phrasing.text,
        "meant": in_words(reading.phrasing.meant),
        "read": None if reading.read is None else in_words(reading.read),
        "outcome": reading.outcome,
        "sentence": reading.sentence,
    }


def outcome_rates(outcomes: Iterable[str]) -> dict[str, Any]:
    """The share of each outcome, with its interval."""
    came = list(outcomes)
    rates = {}
    for name in OUTCOMES:
        rates[name] = metrics.rate(outcome == name for outcome in came)
    return rates


def rates_by_group(outcomes: Sorted, order: Sequence[str] = ()) -> dict[str, Any]:
    """`outcome_rates` of each group, in `order`; no group without an outcome."""
    groups: dict[str, list[str]] = {name: [] for name in order}
    for group, outcome in outcomes:
        groups.setdefault(group, []).append(outcome)
    return {name: outcome_rates(members) for name, members in groups.items() if members}


def halting(readings: Iterable[ReadPhrasing], threshold: float) -> dict[str, Any]:
    """Do the words that ask to halt stop the robot, and do others?

    Returns:
        `stopped`: of sentences that mean "stop" alone, by the list of stop words or the reader;
        `by_list`: by the list alone; `wrongly`: of the others, without those that hold "stop" as a
        step.
    """
    stopped = []
    by_list = []
    wrongly = []
    for reading in readings:
        listed = is_stop(reading.phrasing.text)
        stops = listed or reading.halting >= threshold
        kinds = [intent.kind for intent in steps_of(reading.phrasing.meant)]
        if kinds == ["stop"]:
            stopped.append(stops)
            by_list.append(listed)
        elif "stop" not in kinds:
            wrongly.append(stops)
    return {
        "threshold": threshold,
        "stopped": metrics.rate(stopped),
        "by_list": metrics.rate(by_list),
        "wrongly": metrics.rate(wrongly),
    }


def reading_confusion(
    readings: Sequence[ReadPhrasing], robot: RobotWords[Any] = CART
) -> dict[str, Any]:
    """What was meant (rows) and what was read (columns): kinds, and colours and shapes of things.

    A colour or a shape counts where one step with a thing was meant, and one was read.
    """
    kinds = []
    colours = []
    shapes = []
    for reading in readings:
        meant = reading.phrasing.meant
        read = reading.read
        kinds.append((meant.kind, REFUSED if read is None else read.kind))
        if _names_a_thing(meant, robot) and _names_a_thing(read, robot):
            colours.append((meant.colour or ANY, read.colour or ANY))
            shapes.append((meant.shape or ANY, read.shape or ANY))
    return {
        "kinds": confusion(kinds, (*robot.kinds, SEQUENCE, REFUSED)),
        "colours": confusion(colours, (*COLOURS, ANY)),
        "shapes": confusion(shapes, (*shapes_of(robot), ANY)),
    }


def shapes_of(robot: RobotWords[Any]) -> tuple[str, ...]:
    """Of the robot's things, in the order in which its words name them."""
    return tuple(shape for shape in dict.fromkeys(robot.nouns.shapes.values()) if shape)


def _names_a_thing(meant: Any, robot: RobotWords[Any]) -> TypeGuard[Intent | ArmIntent]:
    return isinstance(meant, (Intent, ArmIntent)) and meant.kind in robot.object_kinds


def confusion(pairs: Iterable[tuple[str, str]], names: Sequence[str]) -> dict[str, Any]:
    """Counts of truths by row and what they were taken for by column."""
    counts = [[0] * len(names) for _ in names]
    for truth, taken in pairs:
        counts[names.index(truth)][names.index(taken)] += 1
    return {"names": list(names), "counts": counts}


def asked(plan: Iterable[PlannedEpisode]) -> list[Phrasing]:
    """The sentences of a plan's success episodes, each once, as a list of phrasings.

    Without those whose meaning is in the scene: "the ball" is clear where there is but one.
    """
    phrasings: dict[str, Phrasing] = {}
    for episode in plan:
        refusal = episode.split == REFUSALS_SPLIT
        if refusal and sort_of_refusal(episode.text) == AMBIGUOUS:
            continue
        if episode.part == "success" and episode.text not in phrasings:
            phrasing = Phrasing(episode.number, episode.text, "", episode.meant)
            phrasings[episode.text] = phrasing
    return list(phrasings.values())


# -- what was done ---------------------------------------------------------------------


def outcome_of(record: Record) -> str:
    """One of OUTCOMES, of an episode.

    An episode that was neither done nor refused counts as done wrongly, also where the words were
    read rightly and the robot failed: no more than that is done wrongly. Nor does it count as
    refused where something was done before the sentence came.
    """
    if record.done:
        return RIGHT
    if to_refuse(record.episode):
        return WRONGLY
    # who looked around and found nothing said so
    said_so = record.refused or record.gave_up
    return REFUSED_IT if said_so and _nothing_done(record) else WRONGLY


def _nothing_done(record: Record) -> bool:
    """Whether it stayed in place, took nothing, and did with no thing what was asked for."""
    # what is faced after a look around was not turned to, and is no thing's harm
    acted = record.reached and record.episode.meant.kind != "face"
    if acted or record.start.held != record.end.held:
        return False
    return all(math.dist(record.path[0][:2], pose[:2]) <= IN_PLACE_M for pose in record.path)


def driven(records: Sequence[Record]) -> dict[str, Any]:
    """Done, refused and done wrongly, apart for each split; amounts; what was done with what."""
    counted = [record for record in records if record.episode.part == "success"]
    by_split = []
    by_sort = []
    refusals = []
    amounts = []
    for record in counted:
        episode = record.episode
        outcome = outcome_of(record)
        by_split.append((episode.split, outcome))
        if episode.split == PHRASINGS:
            by_sort.append((sort_of(episode.meant), outcome))
        if episode.split == REFUSALS_SPLIT:
            refusals.append((sort_of_refusal(episode.text), outcome))
        if _has_amount(record):
            met = record.done and exact(episode.meant, record.start, record.end)
            amounts.append(met)
    order = (*SPLITS, *WORD_SPLITS, PHRASINGS)
    return {
        "by_split": rates_by_group(by_split, order),
        "phrasings_by_kind": rates_by_group(by_sort, SORTS),
        "refusals_by_sort": rates_by_group(refusals),
        "amounts_exact": metrics.rate(amounts),
        "confusion": done_with(counted),
    }


def _has_amount(record: Record) -> bool:
    """Whether an amount of its own was said: those that go without saying are no test of it."""
    episode = record.episode
    if episode.split == "amounts":
        return True
    return episode.split == PHRASINGS and sort_of(episode.meant) == AMOUNT_SORT


def done_with(records: Iterable[Record]) -> dict[str, Any]:
    """The colour and shape that were meant, and those of what it was done with, if with any."""
    colours = []
    shapes = []
    for record in records:
        meant = record.episode.meant
        named = isinstance(meant, Intent) and meant.colour is not None and meant.shape is not None
        if not named or not record.reached:
            continue
        name = f"{meant.colour} {meant.shape}"
        # of several that were pushed, the one that was meant
        reached = name if name in record.reached else record.reached[0]
        colour, _, shape = reached.partition(" ")
        colours.append((meant.colour, colour))
        shapes.append((meant.shape, shape))
    return {"colours": confusion(colours, COLOURS), "shapes": confusion(shapes, SHAPES)}


def table(phrasings: Sequence[Phrasing], records: Sequence[Record]) -> str:
    """Each sentence, what is meant by it and what came of it, as Markdown."""
    by_phrasing: dict[int, list[Record]] = {}
    for record in records:
        by_phrasing.setdefault(record.episode.group, []).append(record)
    lines = ["| said | meant | what came of it |", "|---|---|---|"]
    for place, phrasing in enumerate(phrasings):
        came = _what_came(by_phrasing.get(place, []))
        lines.append(f"| {_cell(phrasing.text)} | {in_words(phrasing.meant)} | {_cell(came)} |")
    return "\n".join(lines) + "\n"


def _what_came(records: Sequence[Record]) -> str:
    if not records:
        return "not tried: no scene is for it"
    first = next((record for record in records if not record.done), records[0])
    share = f" ({sum(record.done for record in records)} of {len(records)})"
    share = share if len(records) > 1 else ""
    outcome = outcome_of(first)
    if outcome == RIGHT:
        if to_refuse(first.episode):
            return f"refused{share}: {first.sentence.partition(': ')[2]}"
        return f"done in {first.seconds:.0f} s{share}"
    if outcome == REFUSED_IT:
        return f"**refused**{share}: {first.sentence.partition(': ')[2]}"
    return f"**not done**{share}: {first.sentence}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
