"""The same episodes through the ROS nodes in real time: what came of each, beside the bare
simulator's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_ros.evaluation import metrics
from vla_ros.evaluation.runner import Record
from vla_ros.evaluation.summary import kind, part, row, success
from vla_ros.tasks.phrases import KINDS


@dataclass
class Driven(Record):
    """A record of the nodes: `seconds` are real ones, `predict` is from observation to chunk.

    `answers`: how often the gate said what ("PASSED", "LIMITED rate", "HELD obstacle", …);
    `latency` (s): from the camera's stamp to the command; `stopped`: why the gate stopped for good,
    if it did. `paused` (s): the longest time for which the machine stood still in it; `attempts`:
    how often it was run, because of that.
    """

    answers: Counter[str] = field(default_factory=Counter)
    latency: list[float] = field(repr=False, default_factory=list)
    stopped: str = ""
    paused: float = 0.0
    attempts: int = 1


def shares(counts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Share of each answer among all of them, the most frequent first."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    whole = sum(total.values())
    return {name: count / whole for name, count in total.most_common()}


def summarise(bare: Sequence[Record], driven: Sequence[Driven]) -> dict[str, Any]:
    """Nodes against bare on the episodes that both have, paired; what the gate answered; the
    episodes that differ."""
    other = {one.episode.number: one for one in part(bare, "success")}
    pairs = [(one, other[one.episode.number]) for one in driven if one.episode.number in other]

    def both(found: Sequence[tuple[Driven, Record]]) -> dict[str, Any]:
        return {
            "nodes": success([a for a, _ in found]),
            "bare": success([b for _, b in found]),
            **metrics.paired([a.done for a, _ in found], [b.done for _, b in found]),
        }

    kinds = [name for name in KINDS if any(kind(one) == name for one in driven)]
    return {
        "all": both(pairs),
        "by_kind": {name: both([one for one in pairs if kind(one[0]) == name]) for name in kinds},
        "stopped": sum(bool(one.stopped) for one in driven),
        "run_again": sum(one.attempts - 1 for one in driven),
        "paused": metrics.spread([one.paused for one in driven]),
        "gate": shares(one.answers for one in driven),
        "gate_by_kind": {
            name: shares(one.answers for one in driven if kind(one) == name) for name in kinds
        },
        "latency": metrics.percentiles([value for one in driven for value in one.latency]),
        "inference": metrics.percentiles([value for one in driven for value in one.predict]),
        "seconds_longer": metrics.spread(
            [a.seconds - b.seconds for a, b in pairs if a.done and b.done]
        ),
        "differ": [
            {
                **episode(a),
                "bare": {"done": b.done, "verdict": b.sentence, "seconds": round(b.seconds, 3)},
            }
            for a, b in pairs
            if a.done != b.done
        ],
        "episodes": [episode(one) for one in driven],
    }


def episode(one: Driven) -> dict[str, Any]:
    """As JSON can hold it."""
    answers = {name: round(share, 4) for name, share in shares([one.answers]).items()}
    return {
        **row(one),
        "gate": answers,
        "stopped": one.stopped,
        "paused": round(one.paused, 3),
        "attempts": one.attempts,
    }
