"""The numbers beside what is wanted: the aims, and what to do where a number is low. Rules, each
with its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_ros.tasks.phrases import KINDS

# shares: below these a number of the report is worth a sentence
TRUST = 0.8  # of success and language
SERIOUS = 0.5  # of the same: badly wrong
PARTS = 0.7  # of vision, grounding, robustness, actions


@dataclass(frozen=True)
class Rule:
    """Where the number at `path` (keys, joined by dots) is below `least`, `say` is recommended."""

    path: str
    least: float
    say: str


RULES = (
    Rule(
        "task_completion.all.rate",
        SERIOUS,
        "The policy fails more often than it succeeds: do not let it drive a robot; look at the "
        "failures, then train "
        "longer, on more scenes.",
    ),
    Rule(
        "task_completion.all.rate",
        TRUST,
        "Success is low: add demonstrations of the kinds that fail most, or rounds of DAgger.",
    ),
    Rule(
        "language.paraphrases.accuracy",
        SERIOUS,
        "The policy hardly follows words: check that training pairs words and images rightly, and "
        "label each "
        "image for several instructions.",
    ),
    Rule(
        "language.paraphrases.accuracy",
        TRUST,
        "Paraphrases are lost: train with more phrasings, or with a lexicon that groups words by "
        "meaning.",
    ),
    Rule(
        "language.coverage.done_of_given",
        TRUST,
        "Some commands were never done: the episodes say which; train on those.",
    ),
    Rule(
        "language.right_object.rate",
        TRUST,
        "The robot acts on the wrong object: train on instructions for one scene that differ in "
        "the colour alone.",
    ),
    Rule(
        "robustness.mean",
        PARTS,
        "Success falls under other conditions: vary light, noise, camera mount and delay in "
        "training.",
    ),
    Rule(
        "robustness.passed",
        PARTS,
        "Some conditions break the policy: the table of scenarios says which; vary those in "
        "training.",
    ),
    Rule(
        "actions.valid",
        PARTS,
        "The gate would refuse many actions: bound the action decoder by the robot's channels.",
    ),
    Rule(
        "actions.within_limits",
        PARTS,
        "The gate would clamp many actions: train within the operating limits.",
    ),
    Rule(
        "frames.vision.object_accuracy",
        PARTS,
        "Objects in the image are taken for others: give the losses on cells more weight, or use "
        "larger images.",
    ),
    Rule(
        "frames.vision.iou.mean",
        PARTS,
        "Objects are found in the wrong cells or in too few: use larger images or a finer grid.",
    ),
    Rule(
        "frames.grounding.in_view.rate",
        PARTS,
        "Attention is not on the object that the words mean: supervise it with the target's place.",
    ),
    Rule(
        "frames.grounding.out_of_view.rate",
        PARTS,
        "The policy believes to see what is not in the image: train on images without the target.",
    ),
    Rule(
        "frames.alignment.text_to_object.rate",
        PARTS,
        "Instructions for different objects lead to the same place: train several instructions on "
        "each image.",
    ),
)
BARE_MOST = 0.02  # success that may be lost on the way through the nodes
SWAP_MOST = 0.05  # success that may remain when the words are others or none


def value(numbers: Mapping[str, Any], path: str) -> float | None:
    """The number at `path`; None where it was not measured."""
    found: Any = numbers
    for key in path.split("."):
        if not isinstance(found, Mapping) or found.get(key) is None:
            return None
        found = found[key]
    return float(found)


def recommendations(numbers: Mapping[str, Any]) -> list[str]:
    """A sentence for each number that is below its threshold, with the number; the gravest for each
    number only."""
    out = []
    told = set()
    for rule in RULES:
        found = value(numbers, rule.path)
        if found is not None and found < rule.least and rule.path not in told:
            told.add(rule.path)
            name = rule.path.replace("_", " ").replace(".", ", ")
            out.append(f"{rule.say} ({name}: {found:.2f}, wanted {rule.least:g} or more)")
    for name, what in (("swapped", "with the colour swapped"), ("blank", "without words")):
        found = value(numbers, f"counterfactuals.{name}.rate")
        if found is not None and found > SWAP_MOST:
            out.append(
                f"The policy does not need the words: {what} it still does what was meant first in "
                f"{found:.2f} "
                f"of the episodes (wanted {SWAP_MOST:g} or less)."
            )
    return out


@dataclass(frozen=True)
class Aim:
    """What is wanted, beside what was measured: `met` is about the measured share; the interval
    says how sure it is."""

    what: str
    wanted: str
    measured: str
    met: bool | None


def share(found: Mapping[str, Any] | None) -> str:
    """ "0.965 (0.93 to 0.98, n = 200)"."""
    if not found or found.get("rate") is None:
        return "not measured"
    return f"{found['rate']:.3f} ({found['low']:.2f} to {found['high']:.2f}, n = {found['trials']})"


def aims(numbers: Mapping[str, Any]) -> list[Aim]:
    """The aims that `vla evaluate` can measure."""
    out = []
    splits = numbers.get("task_completion", {}).get("by_split", {})
    for name, what, least in (
        ("known", "success, new scenes, known phrasings", 0.97),
        ("recombined", "… phrasings recombined from known words", 0.95),
        ("synonyms", "… synonyms of the thesaurus that training left out", 0.85),
        ("pairs", "… colour-shape pairs never instructed in training", 0.85),
    ):
        found = splits.get(name)
        out.append(
            Aim(
                what,
                f"at least {least:g}",
                share(found),
                None if not found else found["rate"] >= least,
            )
        )
    for name, what in (
        ("swapped", "success on object tasks with the colour swapped"),
        ("blank", "… with the words blank"),
    ):
        found = numbers.get("counterfactuals", {}).get(name)
        known = bool(found) and found["rate"] is not None
        out.append(
            Aim(
                what,
                f"at most {SWAP_MOST:g}",
                share(found),
                found["rate"] <= SWAP_MOST if known else None,
            )
        )
    return [*out, _through_nodes(numbers.get("nodes")), *_against(numbers.get("comparison"))]


def beside_bare(found: Mapping[str, Any]) -> str:
    """ "0.950 against 0.975 bare; -0.025 (-0.10 to +0.04, n = 40)"."""
    both = found["all"]
    if not both["trials"]:
        return "not measured"
    return (
        f"{both['nodes']['rate']:.3f} against {both['bare']['rate']:.3f} bare; "
        f"{both['difference']:+.3f} "
        f"({both['low']:+.2f} to {both['high']:+.2f}, n = {both['trials']})"
    )


def _through_nodes(found: Mapping[str, Any] | None) -> Aim:
    difference = found["all"]["difference"] if found else None
    return Aim(
        "success through the ROS nodes in real time, gate included",
        f"within {BARE_MOST:g} of the bare simulator",
        beside_bare(found) if found else "not measured",
        None if difference is None else difference >= -BARE_MOST,
    )


def _against(found: Mapping[str, Any] | None) -> list[Aim]:
    if not found:
        return [
            Aim(
                "against another policy on the same episodes",
                "ahead on every task",
                "not measured",
                None,
            )
        ]
    tasks = found["all_words"]["by_kind"]
    ahead = [name for name in KINDS if name in tasks and tasks[name]["difference"] > 0]
    behind = [
        f"{name} {tasks[name]['difference']:+.2f}"
        for name in KINDS
        if name in tasks and name not in ahead
    ]
    whole = found["all_words"]["all"]
    text = (
        f"ahead on {len(ahead)} of "
        f"{len(tasks)}{' (not: ' + ', '.join(behind) + ')' if behind else ''}; in all "
        f"{whole['difference']:+.3f} ({whole['low']:+.2f} to {whole['high']:+.2f}, n = "
        f"{whole['trials']})"
    )
    return [
        Aim(
            f"against {found['policy']} on the same episodes",
            "ahead on every task",
            text,
            not behind,
        )
    ]
