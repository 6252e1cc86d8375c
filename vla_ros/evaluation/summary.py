"""From records to the report's numbers. What each means exactly is in doc/evaluation.md."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from vla_ros.evaluation import metrics, perception
from vla_ros.evaluation.plan import COMMANDS
from vla_ros.evaluation.runner import Record
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SPLITS


def part(records: Iterable[Record], *names: str) -> list[Record]:
    """Those episodes of these parts of the plan."""
    return [one for one in records if one.episode.part in names]


def by(
    records: Iterable[Record], key: Callable[[Record], str], order: Sequence[str] = ()
) -> dict[str, list[Record]]:
    """Records by `key`, in `order` (what is not in it comes last)."""
    found: dict[str, list[Record]] = {name: [] for name in order}
    for one in records:
        found.setdefault(key(one), []).append(one)
    return {name: ones for name, ones in found.items() if ones}


def kind(record: Record) -> str:
    return record.episode.meant.kind


def split(record: Record) -> str:
    return record.episode.split


def success(records: Sequence[Record]) -> dict[str, Any]:
    """Success rate with its interval, and how far from done the episodes ended."""
    return {
        **metrics.rate(one.done for one in records),
        "distance": metrics.distances([one.distance for one in records]),
        "refused": sum(one.refused for one in records),
        "gave_up": sum(one.gave_up for one in records),
        "seconds": metrics.spread([one.seconds for one in records if one.done])["mean"],
    }


def task_completion(records: Sequence[Record]) -> dict[str, Any]:
    found = part(records, "success")
    splits = by(found, split, SPLITS)

    def kinds(some: Sequence[Record]) -> dict[str, Any]:
        return {name: success(ones) for name, ones in by(some, kind, KINDS).items()}

    return {
        "all": success(found),
        "by_split": {name: success(ones) for name, ones in splits.items()},
        "by_kind": kinds(found),
        "by_split_and_kind": {name: kinds(ones) for name, ones in splits.items()},
    }


def language(records: Sequence[Record]) -> dict[str, Any]:
    """Paraphrases followed, distinct commands done, and whether it was the object that was
    named."""
    said = part(records, "success", "paraphrases")
    acted = [one for one in said if kind(one) in OBJECT_KINDS and one.reached]
    return {
        "paraphrases": metrics.groups(
            (one.episode.group, one.done) for one in part(records, "paraphrases")
        ),
        "coverage": metrics.coverage(((command(one), one.done) for one in said), COMMANDS),
        "right_object": metrics.rate(one.done for one in acted),
        "refused": metrics.rate(one.refused for one in said),
    }


def command(record: Record) -> Hashable:
    """What was to be done with which object, however it was said."""
    meant = record.episode.meant
    if kind(record) not in OBJECT_KINDS:
        return meant.kind
    shape = meant.shape or next(
        thing.shape for thing in record.start.objects if thing.colour == meant.colour
    )
    return meant.kind, meant.colour, shape


def counterfactuals(records: Sequence[Record]) -> dict[str, Any]:
    """Success, of what was meant, when other words or none were said: beside the same episodes with
    the right words."""
    right = {one.episode.number: one.done for one in part(records, "success")}
    out: dict[str, Any] = {}
    for name in ("swapped", "blank"):
        found = part(records, name)
        beside = [right[one.episode.group] for one in found if one.episode.group in right]
        out[name] = {
            **metrics.rate(one.done for one in found),
            "with_the_words": metrics.rate(beside),
            "by_kind": {
                each: metrics.rate(one.done for one in ones)
                for each, ones in by(found, kind, KINDS).items()
            },
        }
    return out


def robustness(records: Sequence[Record]) -> dict[str, Any]:
    """Each scenario beside the plain room on the same episodes, and all scenarios together."""
    right = {one.episode.number: one.done for one in part(records, "success")}
    scenarios = {}
    for name, found in by(part(records, "scenarios"), lambda one: one.episode.scenario).items():
        pairs = [
            (one.done, right[one.episode.group]) for one in found if one.episode.group in right
        ]
        scenarios[name] = {
            **success(found),
            "against_plain": metrics.paired([a for a, _ in pairs], [b for _, b in pairs]),
        }
    return {
        "scenarios": scenarios,
        **metrics.robustness({name: one["rate"] for name, one in scenarios.items()}),
    }


def actions(records: Sequence[Record]) -> dict[str, Any]:
    """Of the chunks: how many the gate would not refuse (finite, within bounds) and not clamp
    (within limits)."""
    chunks, valid, limited = (sum(one.chunks[index] for one in records) for index in range(3))
    return {
        "chunks": chunks,
        "valid": valid / chunks if chunks else None,
        "within_limits": limited / chunks if chunks else None,
    }


def timing(records: Sequence[Record]) -> dict[str, Any]:
    """Of `predict`; each episode's first call, which may warm things up, is counted apart."""
    return {
        **metrics.percentiles([value for one in records for value in one.predict[1:]]),
        "first": metrics.percentiles([one.predict[0] for one in records if one.predict]),
    }


def comparison(ours: Sequence[Record], theirs: Sequence[Record]) -> dict[str, Any]:
    """Ours and theirs on the same episodes, for each kind; and on those whose words neither
    refused."""
    other = {one.episode.number: one for one in theirs}
    pairs = [
        (one, other[one.episode.number])
        for one in part(ours, "success")
        if one.episode.number in other
    ]

    def both(found: Sequence[tuple[Record, Record]]) -> dict[str, Any]:
        return {
            "ours": metrics.rate(a.done for a, _ in found),
            "theirs": metrics.rate(b.done for _, b in found),
            **metrics.paired([a.done for a, _ in found], [b.done for _, b in found]),
        }

    out: dict[str, Any] = {"policy": theirs[0].policy if theirs else ""}
    understood = [(a, b) for a, b in pairs if not (a.refused or b.refused)]
    for name, kept in (("all_words", pairs), ("understood", understood)):
        kinds = {each: [pair for pair in kept if kind(pair[0]) == each] for each in KINDS}
        out[name] = {
            "all": both(kept),
            "by_kind": {each: both(found) for each, found in kinds.items() if found},
        }
    return out


def summarise(records: Sequence[Record], theirs: Sequence[Record] = ()) -> dict[str, Any]:
    """Every number of the report, as JSON can hold it."""
    out: dict[str, Any] = {
        "task_completion": task_completion(records),
        "language": language(records),
        "counterfactuals": counterfactuals(records),
        "robustness": robustness(records),
        "actions": actions(records),
        "timing": timing(records),
        "frames": perception.summarise([one for record in records for one in record.looks]),
    }
    if theirs:
        out["comparison"] = comparison(records, theirs)
    return out


def row(record: Record) -> dict[str, Any]:
    """One episode, as JSON can hold it."""
    episode = record.episode
    times = metrics.percentiles(record.predict)
    return {
        "number": episode.number,
        "part": episode.part,
        "seed": episode.seed,
        "split": episode.split,
        "kind": episode.meant.kind,
        "colour": episode.meant.colour,
        "shape": episode.meant.shape,
        "instruction": episode.text,
        "scenario": episode.scenario,
        "group": episode.group,
        "done": record.done,
        "distance": round(record.distance, 4),
        "seconds": round(record.seconds, 3),
        "verdict": record.sentence,
        "reached": record.reached,
        "refused": record.refused,
        "gave_up": record.gave_up,
        "policy": record.policy,
        "predict_ms": {name: times[f"{name}_ms"] for name in ("p50", "p95", "p99", "max")},
    }
