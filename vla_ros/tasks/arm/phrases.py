"""How people say what they want of an arm, and which of it training never sees.

The splits are those of vla_ros.tasks.phrases: known, recombined, unseen_words and pairs.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from vla_ros.tasks import phrases
from vla_ros.tasks.arm.intent import ArmIntent, Named

# a colour and a shape; training names each of them in other pairs
UNSEEN_TABLE_PAIRS = (("green", "cup"), ("purple", "block"), ("orange", "bowl"))
HASH_SALT = 23  # with which every kind has held out texts, and every word and template known ones
# Slot -> words of training, words that it never sees; colours are the cart's.
TABLE_SLOTS: dict[str, tuple[str, str]] = {
    "block": ("block cube", "brick box"),
    "cup": ("cup mug", "glass beaker"),
    "bowl": ("bowl dish", "basin"),
    "object": ("object thing one", "toy item"),
    "REACH": ("reach approach", "hover"),
    "GO": ("go move", "come"),
    "GRAB": ("grab grasp grip", "seize clutch"),
    "TAKE": ("take get", "fetch collect"),
    "LIFT": ("lift", "raise"),
    "PUT": ("put place", "set lay drop"),
    "INTO": ("into in", "inside"),
    "ONTO": ("onto on", "upon atop"),
    "BESIDE": ("beside near", "alongside by"),
    "PUSH": ("push shove", "nudge bump"),
    "GIVE": ("give pass", "bring deliver"),
    "OPEN": ("open", "ungrasp"),
    "RELEASE": ("release", "loosen"),
    "SHUT": ("close shut", "clench"),
    "GRIPPER": ("gripper hand", "claw"),
    "HOME": ("home", "start"),
    "STOP": ("stop halt", "freeze"),
    "WAIT": ("wait stay", "pause"),
}
# Kind -> patterns: capitals are slots, {it} is the thing and {there} the place.
TABLE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "reach": (
        "REACH {it}",
        "reach for {it}",
        "reach to {it}",
        "GO to {it}",
        "GO over {it}",
        "GO over to {it}",
        "GO above {it}",
    ),
    "pick": (
        "pick up {it}",
        "pick {it} up",
        "GRAB {it}",
        "TAKE {it}",
        "LIFT {it}",
        "LIFT {it} up",
        "TAKE hold of {it}",
    ),
    "put_into": ("PUT {it} INTO {there}", "move {it} into {there}", "PUT {it} down INTO {there}"),
    "put_onto": (
        "PUT {it} ONTO {there}",
        "PUT {it} on top of {there}",
        "stack {it} on {there}",
        "move {it} onto {there}",
    ),
    "put_beside": (
        "PUT {it} BESIDE {there}",
        "PUT {it} next to {there}",
        "move {it} next to {there}",
    ),
    "push": ("PUSH {it}", "PUSH {it} away", "PUSH {it} aside", "PUSH {it} over the table"),
    "hand_over": (
        "hand me {it}",
        "hand over {it}",
        "hand {it} over",
        "hand {it} to me",
        "GIVE me {it}",
        "GIVE {it} to me",
    ),
    "open": ("OPEN the GRIPPER", "OPEN your GRIPPER", "RELEASE it", "let go", "let it go"),
    "close": ("SHUT the GRIPPER", "SHUT your GRIPPER", "SHUT the fingers", "SHUT your fingers"),
    "home": ("GO HOME", "GO back HOME", "return HOME", "GO to the HOME position", "home"),
    "stop": ("STOP", "STOP now", "STOP there", "WAIT", "hold on", "hold still", "STOP moving"),
}
_SLOT = re.compile(r"[A-Z]+")


def say_arm(rng: np.random.Generator, intent: ArmIntent, split: str = "known") -> str:
    """A way to say `intent`, of that split.

    Raises:
        ValueError: There is no such split.
    """
    if split not in phrases.SPLITS:
        raise ValueError(f"split is {split!r}; use one of {', '.join(phrases.SPLITS)}")
    templates = TABLE_TEMPLATES[intent.kind]
    while True:  # until one is drawn that is of the split
        template = templates[rng.integers(len(templates))]
        text, new = _fill(rng, template, intent, 0.5 if split == "unseen_words" else 0.0)
        if split == "unseen_words":
            fits = new
        else:  # "pairs" is said as "known" is: what is new there is the thing
            fits = _held_out(template, text) == (split == "recombined")
        if fits:
            return phrases.politely(rng, text)


def _held_out(template: str, text: str) -> bool:
    """Whether training never sees this filling of the template, of several ones."""
    several = "{it}" in template or any(" " in _words(slot)[0] for slot in _SLOT.findall(template))
    share = 100 * phrases.RECOMBINED_SHARE
    return several and zlib.crc32(f"{HASH_SALT}{text}".encode()) % 100 < share


def _words(slot: str) -> tuple[str, str]:
    return TABLE_SLOTS.get(slot) or phrases.SLOTS[slot]


def _fill(
    rng: np.random.Generator, template: str, intent: ArmIntent, new_share: float
) -> tuple[str, bool]:
    """The template with words in its slots, and whether one of them is held out."""
    new = False

    def word(slot: str) -> str:
        nonlocal new
        trained, held = map(str.split, _words(slot))
        if held and rng.random() < new_share:
            new = True
            return str(held[rng.integers(len(held))])
        return str(trained[rng.integers(len(trained))])

    def named(thing: Named) -> str:
        article = "the " if rng.random() < phrases.ARTICLE_SHARE else ""
        colour = f"{word(thing.colour)} " if thing.colour else ""
        return f"{article}{colour}{word(thing.shape or 'object')}"

    text = _SLOT.sub(lambda match: word(match[0]), template)
    if intent.thing is not None:
        text = text.replace("{it}", named(intent.thing))
    if intent.place is not None:
        text = text.replace("{there}", named(intent.place))
    return text, new
