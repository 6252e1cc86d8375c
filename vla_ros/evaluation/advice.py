"""The numbers beside what is wanted: the aims, and what to do where a number is low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_ros.evaluation import metrics

# shares: below these a number of the report is worth a sentence (doc/evaluation.md)
GOOD_TASK_RATE = 0.8  # of success and language
POOR_TASK_RATE = 0.5  # of the same: badly wrong
GOOD_PART_RATE = 0.7  # of vision, grounding, robustness, actions


@dataclass(frozen=True)
class AdviceRule:
    """Where the number at `path` (see `value`) is below `least`, `say` is recommended."""

    path: str
    least: float
    say: str


# In the order in which they are read; of two about one number the graver first.
RULES = (
    AdviceRule(
        "task_completion.all.rate",
        POOR_TASK_RATE,
        "The policy fails more often than it succeeds: do not let it drive a robot; look at the "
        "failures, then train longer, on more scenes.",
    ),
    AdviceRule(
        "task_completion.all.rate",
        GOOD_TASK_RATE,
        "Success is low: add demonstrations of the kinds that fail most, or rounds of DAgger.",
    ),
    AdviceRule(
        "language.paraphrases.accuracy",
        POOR_TASK_RATE,
        "The policy hardly follows words: check that training pairs words and images rightly, and "
        "label each image for several instructions.",
    ),
    AdviceRule(
        "language.paraphrases.accuracy",
        GOOD_TASK_RATE,
        "Paraphrases are lost: train with more phrasings; the built-in policy's are those of its "
        "reader (vla train words).",
    ),
    AdviceRule(
        "language.coverage.done_of_given",
        GOOD_TASK_RATE,
        "Some commands were never done: the episodes say which; train on those.",
    ),
    AdviceRule(
        "language.right_object.rate",
        GOOD_TASK_RATE,
        "The robot acts on the wrong object: train on instructions for one scene that differ in "
        "the colour alone.",
    ),
    AdviceRule(
        "robustness.mean",
        GOOD_PART_RATE,
        "Success falls under other conditions: vary light, noise, camera mount and delay in "
        "training.",
    ),
    AdviceRule(
        "robustness.passed",
        GOOD_PART_RATE,
        "Some conditions break the policy: the table of scenarios says which; vary those in "
        "training.",
    ),
    AdviceRule(
        "actions.valid",
        GOOD_PART_RATE,
        "The gate would refuse many actions: bound the action decoder by the robot's channels.",
    ),
    AdviceRule(
        "actions.within_limits",
        GOOD_PART_RATE,
        "The gate would clamp many actions: train within the operating limits.",
    ),
    AdviceRule(
        "frames.vision.object_accuracy",
        GOOD_PART_RATE,
        "Objects in the image are taken for others: give the losses on cells more weight, or use "
        "larger images.",
    ),
    AdviceRule(
        "frames.vision.iou.mean",
        GOOD_PART_RATE,
        "Objects are found in the wrong cells or in too few: use larger images or a finer grid.",
    ),
    AdviceRule(
        "frames.grounding.in_view.rate",
        GOOD_PART_RATE,
        "Attention is not on the object that the words mean: supervise it with the target's place.",
    ),
    AdviceRule(
        "frames.grounding.out_of_view.rate",
        GOOD_PART_RATE,
        "The policy believes to see what is not in the image: train on images without the target.",
    ),
    AdviceRule(
        "frames.alignment.text_to_object.rate",
        GOOD_PART_RATE,
        "Instructions for different objects lead to the same place: train several instructions on "
        "each image.",
    ),
)
# success that may be lost on the way through the nodes
MAX_LOSS_THROUGH_NODES = {"cart": 0.02, "arm": 0.03}
LEAST_TRIALS = 100  # of fewer, one more or less is as much as that loss
# success that may remain when other words are said, or none
MAX_RATE_WITHOUT_WORDS = 0.05


def value(numbers: Mapping[str, Any], path: str) -> float | None:
    """The number at `path` (keys, joined by dots); None where it was not measured."""
    entry: Any = numbers
    for key in path.split("."):
        if not isinstance(entry, Mapping) or entry.get(key) is None:
            return None
        entry = entry[key]
    return float(entry)


def recommendations(numbers: Mapping[str, Any]) -> list[str]:
    """A sentence for each number that is below its threshold.

    RULES has the graver threshold of a number first; only the first that applies is said.
    """
    sentences = []
    reported = set()
    for rule in RULES:
        if rule.path in reported:
            continue
        number = value(numbers, rule.path)
        if number is None or number >= rule.least:
            continue
        reported.add(rule.path)
        name = rule.path.replace("_", " ").replace(".", ", ")
        sentences.append(f"{rule.say} ({name}: {number:.2f}, wanted {rule.least:g} or more)")
    # these two are the other way round: much success is what is wrong
    for name, condition in (("swapped", "with the colour swapped"), ("blank", "without words")):
        rate = value(numbers, f"counterfactuals.{name}.rate")
        if rate is not None and rate > MAX_RATE_WITHOUT_WORDS:
            sentences.append(
                f"The policy does not need the words: {condition} it still does what was meant "
                f"first in {rate:.2f} of the episodes (wanted {MAX_RATE_WITHOUT_WORDS:g} or less)."
            )
    return sentences


@dataclass(frozen=True)
class Aim:
    """What is wanted, beside what was measured.

    `met` is about the measured share (None: not measured); its interval says how sure that is.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None


def share(rate: Mapping[str, Any] | None) -> str:
    """A `metrics.rate` in words: "0.965 (0.93 to 0.98, n = 200)"."""
    if not rate or rate.get("rate") is None:
        return "not measured"
    return f"{rate['rate']:.3f} ({rate['low']:.2f} to {rate['high']:.2f}, n = {rate['trials']})"


# Robot -> what is wanted of which kinds of instruction together.
AIMS_OF_KINDS = {
    "arm": (
        ("reach", ("reach",), 0.97),
        ("pick", ("pick",), 0.90),
        ("put into, onto, beside", ("put_into", "put_onto", "put_beside"), 0.85),
    )
}


def aims(numbers: Mapping[str, Any]) -> list[Aim]:
    """The aims that `vla evaluate` can measure."""
    table = []
    kinds = numbers.get("task_completion", {}).get("by_kind", {})
    for what, names, least in AIMS_OF_KINDS.get(numbers.get("robot", "cart"), ()):
        rate = together([kinds[name] for name in names if name in kinds])
        met = None if rate["rate"] is None else rate["rate"] >= least
        table.append(Aim(f"{what}, new scenes", f"at least {least:g}", share(rate), met))
    splits = numbers.get("task_completion", {}).get("by_split", {})
    # the last two ask for words and pairs that training left out, so less is wanted of them
    for name, what, least in (
        ("known", "success, new scenes, known phrasings", 0.97),
        ("recombined", "… phrasings recombined from known words", 0.95),
        ("unseen_words", "… other words of our own list (unseen_words)", 0.85),
        ("pairs", "… colour-shape pairs never instructed in training", 0.85),
    ):
        rate = splits.get(name)
        met = rate["rate"] >= least if rate else None
        table.append(Aim(what, f"at least {least:g}", share(rate), met))
    if numbers.get("robot", "cart") == "cart":
        table += _aims_of_words(numbers.get("words", {}))
    counterfactuals = numbers.get("counterfactuals", {})
    for name, what in (
        ("swapped", "success on object tasks with the colour swapped"),
        ("blank", "… with the words blank"),
    ):
        rate = counterfactuals.get(name)
        met = None
        if rate and rate["rate"] is not None:
            met = rate["rate"] <= MAX_RATE_WITHOUT_WORDS
        table.append(Aim(what, f"at most {MAX_RATE_WITHOUT_WORDS:g}", share(rate), met))
    robot = numbers.get("robot", "cart")
    table.append(_through_nodes(numbers.get("nodes"), MAX_LOSS_THROUGH_NODES[robot]))
    table.append(_against(numbers.get("comparison")))
    return table


# Of words: what, the split, the outcome (words.py), whether it is at least so much, how much.
AIMS_OF_WORDS = (
    ("relations: left of, behind, nearest, the other, not", "relations", "right", True, 0.90),
    ("two and three steps", "sequences", "right", True, 0.90),
    ("refused rightly", "refusals", "right", True, 0.97),
    ("refused wrongly, known words", "known", "refused", False, 0.03),
    ("a stranger's list: done", "phrasings", "right", True, 0.85),
    ("… done wrongly, failures of the movement included", "phrasings", "wrongly", False, 0.02),
)
MIN_EXACT_RATE = 0.95  # of amounts


def _aims_of_words(words: Mapping[str, Any]) -> list[Aim]:
    exact = words.get("amounts_exact") or {"rate": None}
    what = "amounts met within 10 % or 5 degrees"
    met = None if exact["rate"] is None else exact["rate"] >= MIN_EXACT_RATE
    table = [Aim(what, f"at least {MIN_EXACT_RATE:g}", share(exact), met)]
    for what, split, outcome, least, limit in AIMS_OF_WORDS:
        rate = words.get("by_split", {}).get(split, {}).get(outcome)
        met = None
        if rate is not None:
            met = rate["rate"] >= limit if least else rate["rate"] <= limit
        wanted = f"at {'least' if least else 'most'} {limit:g}"
        table.append(Aim(what, wanted, share(rate), met))
    return table


def together(rates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rate of all of their trials."""
    flags: list[bool] = []
    for rate in rates:
        flags += [True] * rate["successes"] + [False] * (rate["trials"] - rate["successes"])
    return metrics.rate(flags)


def beside_bare(nodes: Mapping[str, Any]) -> str:
    """`nodes` in words: "0.950 against 0.975 bare; -0.025 (-0.10 to +0.04, n = 40)"."""
    both = nodes["all"]
    if not both["trials"]:
        return "not measured"
    return (
        f"{both['nodes']['rate']:.3f} against {both['bare']['rate']:.3f} bare; "
        f"{both['difference']:+.3f} "
        f"({both['low']:+.2f} to {both['high']:+.2f}, n = {both['trials']})"
    )


def _through_nodes(nodes: Mapping[str, Any] | None, loss: float) -> Aim:
    met = None
    measured = "not measured"
    if nodes:
        both = nodes["all"]
        measured = beside_bare(nodes)
        if both["trials"] >= LEAST_TRIALS:
            met = both["difference"] >= -loss
        elif both["trials"]:
            measured += f"; too few to tell, {LEAST_TRIALS} are enough"
    return Aim(
        "success through the ROS nodes in real time, gate included",
        f"within {loss:g} of the bare simulator",
        measured,
        met,
    )


def _against(comparison: Mapping[str, Any] | None) -> Aim:
    wanted = "ahead on every task"
    if not comparison:
        return Aim("against another policy on the same episodes", wanted, "not measured", None)
    tasks = comparison["all_words"]["by_kind"]
    behind = []
    for name, task in tasks.items():
        if task["difference"] <= 0:
            behind.append(f"{name} {task['difference']:+.2f}")
    exceptions = f" (not: {', '.join(behind)})" if behind else ""
    whole = comparison["all_words"]["all"]
    measured = (
        f"ahead on {len(tasks) - len(behind)} of {len(tasks)}{exceptions}; in all "
        f"{whole['difference']:+.3f} ({whole['low']:+.2f} to {whole['high']:+.2f}, "
        f"n = {whole['trials']})"
    )
    return Aim(f"against {comparison['policy']} on the same episodes", wanted, measured, not behind)
