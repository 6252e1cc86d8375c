"""The same episodes through the ROS nodes in real time, beside the bare simulator's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from vla_ros.evaluation import metrics, words
from vla_ros.evaluation.runner import Record
from vla_ros.evaluation.summary import (
    by,
    column,
    kind,
    matched,
    part,
    robot_of,
    row,
    success,
    summarise_each,
)


@dataclass
class Driven(Record):
    """A record of the nodes: `seconds` are real ones, `predict` is from observation to chunk.

    Attributes:
        answers: how often the gate said what ("PASSED", "LIMITED rate_limit", "HELD obstacle", …).
        latency: s, from the camera's stamp to the command.
        stopped: why the gate stopped for good, if it did.
        paused: s, the longest time for which the machine stood still in it.
        attempts: how often it was run, because of that.
    """

    answers: Counter[str] = field(default_factory=Counter)
    latency: list[float] = field(repr=False, default_factory=list)
    stopped: str = ""
    paused: float = 0.0
    attempts: int = 1


def shares(counts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Share of each answer among all of them, the most frequent first."""
    total: Counter[str] = Counter()
    for answers in counts:
        total.update(answers)
    whole = sum(total.values())
    return {name: count / whole for name, count in total.most_common()}


def gate_shares(driven: Iterable[Driven]) -> dict[str, float]:
    """What the gate answered in these episodes, as shares of its ticks."""
    return shares(column(driven, "answers"))


def summarise(bare: Sequence[Record], driven: Sequence[Driven]) -> dict[str, Any]:
    """Nodes against bare, paired; what the gate answered; the episodes that differ."""
    simulated = part(bare, "success")
    ours, theirs = matched(driven, simulated)

    def beside(records: Sequence[Driven]) -> dict[str, Any]:
        through, without = matched(records, simulated)
        return {
            "nodes": success(through),
            "bare": success(without),
            **metrics.paired(column(through, "done"), column(without, "done")),
        }

    longer: list[float] = []  # s, where both did it
    differ = []  # where one did it and the other did not
    for record, partner in zip(ours, theirs):
        if record.done != partner.done:
            differ.append({**episode(record), "bare": _briefly(partner)})
        elif record.done:
            longer.append(record.seconds - partner.seconds)
    # of all that were driven: the gate's answers need no partner
    kinds = by(driven, kind, robot_of(driven).kinds)
    return {
        "all": beside(driven),
        "by_kind": summarise_each(kinds, beside),
        "words": words.driven(driven),
        "stopped": sum(map(bool, column(driven, "stopped"))),
        "run_again": sum(column(driven, "attempts")) - len(driven),
        "paused": metrics.spread(column(driven, "paused")),
        "gate": gate_shares(driven),
        "gate_by_kind": summarise_each(kinds, gate_shares),
        "latency": metrics.percentiles(list(chain.from_iterable(column(driven, "latency")))),
        "inference": metrics.percentiles(list(chain.from_iterable(column(driven, "predict")))),
        "seconds_longer": metrics.spread(longer),
        "differ": differ,
        "episodes": list(map(episode, driven)),
    }


def _briefly(record: Record) -> dict[str, Any]:
    return {
        "done": record.done,
        "verdict": record.sentence,
        "seconds": round(record.seconds, 3),
    }


def episode(record: Driven) -> dict[str, Any]:
    """As JSON can hold it."""
    answers = {name: round(share, 4) for name, share in gate_shares([record]).items()}
    return {
        **row(record),
        "gate": answers,
        "stopped": record.stopped,
        "paused": round(record.paused, 3),
        "attempts": record.attempts,
    }
