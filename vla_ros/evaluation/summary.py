"""From records to the report's numbers. What each means exactly is in doc/evaluation.md."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain, compress
from operator import attrgetter
from typing import Any, TypeVar

from vla_ros.evaluation import metrics, perception, words
from vla_ros.evaluation.plan import EvaluatedRobot, robot_named
from vla_ros.evaluation.runner import UNEXPLAINED, Record
from vla_ros.tasks.phrases import SPLITS
from vla_ros.tasks.sequence import IntentSequence

# a record of the bare simulator, or one of the nodes (through_nodes.py)
AnyRecord = TypeVar("AnyRecord", bound=Record)
OtherRecord = TypeVar("OtherRecord", bound=Record)

episode_number = attrgetter("episode.number")
# the number of the episode whose scene and meaning it shares, said otherwise or seen otherwise
episode_group = attrgetter("episode.group")
kind = attrgetter("episode.meant.kind")
split = attrgetter("episode.split")
scenario = attrgetter("episode.scenario")


def robot_of(records: Sequence[Record]) -> EvaluatedRobot:
    """Whose episodes these are; of none, the cart."""
    return robot_named(records[0].episode.robot if records else "cart")


def part(records: Iterable[Record], *names: str) -> list[Record]:
    """Those episodes of these parts of the plan."""
    return [record for record in records if record.episode.part in names]


def column(records: Iterable[Record], field: str) -> list[Any]:
    """One field of every record."""
    return list(map(attrgetter(field), records))


def by(
    records: Iterable[AnyRecord], key: Callable[[Record], str], order: Sequence[str] = ()
) -> dict[str, list[AnyRecord]]:
    """Records by `key`, in `order` (what is not in it comes last); no key without a record."""
    groups: dict[str, list[AnyRecord]] = {name: [] for name in order}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return {name: members for name, members in groups.items() if members}


def summarise_each(
    groups: Mapping[str, Sequence[AnyRecord]], function: Callable[[Sequence[AnyRecord]], Any]
) -> dict[str, Any]:
    """What `function` says of each group."""
    return {name: function(members) for name, members in groups.items()}


def matched(
    records: Iterable[AnyRecord],
    others: Sequence[OtherRecord],
    number: Callable[[Record], int] = episode_number,
) -> tuple[list[AnyRecord], list[OtherRecord]]:
    """The records that have a partner among `others`, and that partner of each.

    Args:
        number: says of a record which episode its partner is of.
    """
    by_number = dict(zip(map(episode_number, others), others))
    ours = []
    partners = []
    for record in records:
        partner = by_number.get(number(record))
        if partner is not None:
            ours.append(record)
            partners.append(partner)
    return ours, partners


def success_rate(records: Iterable[Record]) -> dict[str, Any]:
    """The share that was done, with its interval."""
    return metrics.rate(column(records, "done"))


def success(records: Sequence[Record]) -> dict[str, Any]:
    """Success rate with its interval, and how far from done the episodes ended."""
    seconds = column(records, "seconds")
    done = column(records, "done")
    return {
        **metrics.rate(done),
        "distance": metrics.distances(column(records, "distance")),
        "refused": sum(column(records, "refused")),
        "gave_up": sum(column(records, "gave_up")),
        # simulated, of those that were done: the others ended refused, or when time was over
        "seconds": metrics.spread(list(compress(seconds, done)))["mean"],
    }


def by_kind(records: Sequence[Record]) -> dict[str, Any]:
    """`success` for each kind of instruction."""
    return summarise_each(by(records, kind, robot_of(records).kinds), success)


def task_completion(records: Sequence[Record]) -> dict[str, Any]:
    """`success` of all, for each split and kind, and for each kind within each split."""
    counted = part(records, "success")
    splits = by(counted, split, (*SPLITS, *UNEXPLAINED))
    return {
        "all": success(counted),
        "by_split": summarise_each(splits, success),
        "by_kind": by_kind(counted),
        "by_split_and_kind": summarise_each(splits, by_kind),
    }


def language(records: Sequence[Record]) -> dict[str, Any]:
    """Paraphrases followed, distinct commands done, and whether it was the object named."""
    paraphrases = part(records, "paraphrases")
    # the other parts say other words than are meant, or change what is seen
    instructed = part(records, "success", "paraphrases")
    plain = []  # those that name their one thing by colour and shape, if any
    for record in instructed:
        if split(record) not in UNEXPLAINED and not _more_than_plain(record):
            plain.append(record)
    # only who did it with some object can have chosen the wrong one
    robot = robot_of(records)
    acted = []
    for record in instructed:
        if kind(record) in robot.object_kinds and record.reached:
            acted.append(record)
    return {
        "paraphrases": metrics.groups(
            zip(map(episode_group, paraphrases), column(paraphrases, "done"))
        ),
        "coverage": metrics.coverage(
            zip(map(command, plain), column(plain, "done")), robot.commands
        ),
        "right_object": success_rate(acted),
        "refused": metrics.rate(column(plain, "refused")),
    }


def _more_than_plain(record: Record) -> bool:
    """Whether it has several steps, or its thing is named by where it stands."""
    meant = record.episode.meant
    if isinstance(meant, IntentSequence):
        return True
    # an arm's intent has no such words
    return bool(getattr(meant, "which", None) or getattr(meant, "excluded", ()))


def command(record: Record) -> Hashable:
    """What was to be done with which object, however it was said."""
    meant = record.episode.meant
    if kind(record) not in robot_of([record]).object_kinds:
        return meant.kind
    shape = meant.shape
    if shape is None:  # the words name a colour that only one object has
        shape = next(thing.shape for thing in record.start.objects if thing.colour == meant.colour)
    return meant.kind, meant.colour, shape


def counterfactuals(records: Sequence[Record]) -> dict[str, Any]:
    """Success, of what was meant, when other words or none were said.

    Beside it stand the same episodes with the right words.
    """
    right_words = part(records, "success")
    out: dict[str, Any] = {}
    for name in ("swapped", "blank"):
        changed = part(records, name)
        _, unchanged = matched(changed, right_words, episode_group)
        out[name] = {
            **success_rate(changed),
            "with_the_words": success_rate(unchanged),
            "by_kind": summarise_each(by(changed, kind, robot_of(changed).kinds), success_rate),
        }
    return out


def robustness(records: Sequence[Record]) -> dict[str, Any]:
    """Each scenario beside the plain room on the same episodes, and all scenarios together."""
    plain = part(records, "success")
    scenarios = {}
    rates = {}
    for name, disturbed in by(part(records, "scenarios"), scenario).items():
        scenarios[name] = {
            **success(disturbed),
            "against_plain": _paired(*matched(disturbed, plain, episode_group)),
        }
        rates[name] = scenarios[name]["rate"]
    return {"scenarios": scenarios, **metrics.robustness(rates)}


def actions(records: Sequence[Record]) -> dict[str, Any]:
    """How many of the chunks the gate would neither refuse nor clamp.

    Refused is what is not finite or out of bounds, clamped what is out of limits.
    """
    chunks = 0
    valid = 0
    limited = 0
    for record in records:
        chunks += record.chunks[0]
        valid += record.chunks[1]
        limited += record.chunks[2]
    return {
        "chunks": chunks,
        "valid": valid / chunks if chunks else None,
        "within_limits": limited / chunks if chunks else None,
    }


def timing(records: Sequence[Record]) -> dict[str, Any]:
    """Of `predict`; each episode's first call, which may warm things up, is counted apart."""
    first: list[float] = []  # s
    later: list[float] = []
    for record in records:
        first += record.predict[:1]
        later += record.predict[1:]
    return {**metrics.percentiles(later), "first": metrics.percentiles(first)}


def _paired(ours: Sequence[Record], theirs: Sequence[Record]) -> dict[str, Any]:
    return metrics.paired(column(ours, "done"), column(theirs, "done"))


def comparison(ours: Sequence[Record], theirs: Sequence[Record]) -> dict[str, Any]:
    """Ours and theirs on the same episodes, for each kind.

    Once on all of them (`all_words`), once where neither refused the words (`understood`).
    """
    mine, other = matched(part(ours, "success"), theirs)
    understood = []
    for record, partner in zip(mine, other):
        if not (record.refused or partner.refused):
            understood.append(record)

    def beside(records: Sequence[Record]) -> dict[str, Any]:
        kept, partners = matched(records, theirs)
        return {
            "ours": success_rate(kept),
            "theirs": success_rate(partners),
            **_paired(kept, partners),
        }

    out: dict[str, Any] = {"policy": theirs[0].policy if theirs else ""}
    for name, records in (("all_words", mine), ("understood", understood)):
        out[name] = {
            "all": beside(records),
            "by_kind": summarise_each(by(records, kind, robot_of(records).kinds), beside),
        }
    return out


def summarise(records: Sequence[Record], theirs: Sequence[Record] = ()) -> dict[str, Any]:
    """Every number of the report, as JSON can hold it."""
    out: dict[str, Any] = {
        "robot": robot_of(records).name,
        "task_completion": task_completion(records),
        "language": language(records),
        "words": words.driven(records),
        "counterfactuals": counterfactuals(records),
        "robustness": robustness(records),
        "actions": actions(records),
        "timing": timing(records),
        "frames": perception.summarise(list(chain.from_iterable(column(records, "looks")))),
    }
    if theirs:  # a report without a second policy has no such key
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
