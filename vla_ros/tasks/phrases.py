"""How people say what they want, for evaluation and for the training of the reader.

The cart's model hears none of it: the reader makes steps of what people say, and the model is told
those in PLAIN_WORDS. Four splits:

* `known`: templates with the first words of SLOTS.
* `recombined`: these words and templates, in combinations that `known` does not have.
* `unseen_words`: at least one of the second words of SLOTS, which no model's training holds.
* `pairs`: a colour and a shape that no model's training names together.

The reader's training text holds phrasings of the first three. How amounts, relations and sequences
are said is in sequence_phrases.py.
"""

from __future__ import annotations

import math
import re
import zlib

import numpy as np

from vla_ros.tasks.intent import DEFAULT_ANGLE_RAD, DEFAULT_DISTANCE_M, Intent

SPLITS = ("known", "recombined", "unseen_words", "pairs")
KINDS = (
    "go_to",
    "face",
    "grab",
    "push",
    "turn_left",
    "turn_right",
    "turn_around",
    "forward",
    "back",
    "open",
    "close",
    "stop",
)
OBJECT_KINDS = KINDS[:4]
# a colour and a shape; a model's training names each of them in other pairs
UNSEEN_PAIRS = (("green", "cylinder"), ("purple", "block"), ("orange", "ball"))
# of the texts of templates that can be filled in several ways, told by their hash
RECOMBINED_SHARE = 0.2
# of that hash: one with which every kind gets its share, and every word and template stays in a
# known text of the kind
HASH_SALT = 385

# Slot -> words of all splits, words of `unseen_words` alone.
SLOTS: dict[str, tuple[str, str]] = {
    "red": ("red crimson", "scarlet ruby"),
    "orange": ("orange", "tangerine amber"),
    "yellow": ("yellow", "golden lemon"),
    "green": ("green", "emerald lime"),
    "blue": ("blue azure", "navy cobalt"),
    "purple": ("purple violet", "lilac"),
    "block": ("block cube box", "brick dice"),
    "ball": ("ball sphere", "orb globe"),
    "cylinder": ("cylinder can tube", "tin drum barrel"),
    "object": ("object thing one", "toy item"),
    "GO": ("go drive move travel roll head", "run come walk navigate proceed journey"),
    "APPROACH": ("approach reach", "visit find"),
    "TO": ("to towards", "toward"),
    "TURN": ("turn rotate spin", "pivot swivel"),
    "LOOK": ("look", "gaze"),
    "POINT": ("point", "aim"),
    "GRAB": ("grab grasp grip", "seize clutch snatch"),
    "TAKE": ("take fetch", "collect catch"),
    "PUSH": ("push shove", "nudge bump press"),
    "FORWARD": ("forward ahead", "forwards onward onwards"),
    "BACK": ("back backwards", "backward"),
    "REVERSE": ("reverse", "retreat withdraw"),
    "ADVANCE": ("advance", "continue"),
    "ROUND": ("around", "round"),
    "ANTICLOCKWISE": ("anticlockwise", "counterclockwise"),
    "OPEN": ("open", "unclench spread"),
    "RELEASE": ("release", "loosen"),
    "SHUT": ("close shut", "clench squeeze"),
    "GRIPPER": ("gripper hand", "claw pincers"),
    "FINGERS": ("fingers", "jaws"),
    "STOP": ("stop halt", "freeze"),
    "WAIT": ("wait stay", "pause"),
}
# Kind -> patterns: capitals are slots, {it} is the object.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "go_to": (
        "GO TO {it}",
        "GO over TO {it}",
        "GO up TO {it}",
        "GO on TO {it}",
        "APPROACH {it}",
        "GO straight to {it}",
        "GO near {it}",
        "GO next to {it}",
        "GO close to {it}",
        "get to {it}",
        "make your way TO {it}",
        "head for {it}",
    ),
    "face": (
        "face {it}",
        "LOOK at {it}",
        "LOOK TO {it}",
        "POINT at {it}",
        "POINT TO {it}",
        "TURN to {it}",
        "TURN towards {it}",
        "TURN to face {it}",
        "TURN and face {it}",
        "TURN and LOOK at {it}",
    ),
    "grab": (
        "GRAB {it}",
        "TAKE {it}",
        "pick up {it}",
        "pick {it} up",
        "get {it}",
        "take hold {it}",
        "GRAB hold {it}",
        "GO and GRAB {it}",
        "GO and TAKE {it}",
        "GO and pick up {it}",
    ),
    "push": (
        "PUSH {it}",
        "PUSH {it} away",
        "PUSH {it} FORWARD",
        "PUSH on {it}",
        "PUSH at {it}",
        "GO and PUSH {it}",
        "PUSH {it} over",
        "PUSH against {it}",
        "make {it} move",
        "PUSH {it} on",
    ),
    "turn_left": (
        "TURN left",
        "TURN to the left",
        "TURN to your left",
        "go left",
        "LOOK left",
        "LOOK to the left",
        "TURN ANTICLOCKWISE",
        "face left",
        "move to the left",
        "TURN on your left",
    ),
    "turn_right": (
        "TURN right",
        "TURN to the right",
        "TURN to your right",
        "go right",
        "LOOK right",
        "LOOK to the right",
        "TURN clockwise",
        "face right",
        "move to the right",
        "TURN on your right",
    ),
    "turn_around": (
        "TURN ROUND",
        "TURN back ROUND",
        "TURN right ROUND",
        "LOOK ROUND",
        "go ROUND",
        "TURN straight ROUND",
        "face ROUND",
        "TURN the way ROUND",
        "TURN your way ROUND",
        "TURN it ROUND",
    ),
    "forward": (
        "GO FORWARD",
        "GO straight",
        "GO straight FORWARD",
        "GO straight on",
        "GO on",
        "ADVANCE",
        "step FORWARD",
        "FORWARD",
        "GO a step FORWARD",
        "straight FORWARD",
    ),
    "back": (
        "GO BACK",
        "back up",
        "back off",
        "REVERSE",
        "back away",
        "GO straight BACK",
        "step BACK",
        "GO a step BACK",
        "GO in reverse",
        "step away",
    ),
    "open": (
        "OPEN the GRIPPER",
        "OPEN your GRIPPER",
        "OPEN the FINGERS",
        "RELEASE it",
        "let go",
        "let it go",
        "drop it",
        "RELEASE the object",
        "OPEN up",
        "drop the object",
        "RELEASE",
        "OPEN up the GRIPPER",
        "OPEN up your GRIPPER",
        "let the GRIPPER OPEN",
        "make the GRIPPER OPEN",
    ),
    "close": (
        "SHUT the GRIPPER",
        "SHUT your GRIPPER",
        "SHUT the FINGERS",
        "SHUT your FINGERS",
        "SHUT it",
        "GRIPPER shut",
        "SHUT the open GRIPPER",
        "let the GRIPPER SHUT",
        "make the GRIPPER close",
        "FINGERS close",
    ),
    "stop": (
        "STOP",
        "STOP now",
        "STOP there",
        "WAIT",
        "hold on",
        "hold still",
        "stay still",
        "STOP it",
        "STOP and WAIT",
        "WAIT a step",
        "STOP moving",
    ),
}
POLITE_BEFORE = (
    "please",
    "now",
    "robot",
    "hey robot",
    "could you",
    "would you",
    "can you",
    "ok",
    "please robot",
)
POLITE_AFTER = ("please", "now", "for me")
POLITE_SHARE = 0.3
ARTICLE_SHARE = 0.85  # of the objects named
# of a kind, where it goes without saying: rad for turns, m else
AMOUNTS = {
    "turn_left": DEFAULT_ANGLE_RAD,
    "turn_right": DEFAULT_ANGLE_RAD,
    "turn_around": math.pi,
    "forward": DEFAULT_DISTANCE_M,
    "back": DEFAULT_DISTANCE_M,
}
# Kind -> what the model is told; with an object, "the red block" comes behind.
PLAIN_WORDS = {
    "go_to": "go to",
    "face": "face",
    "grab": "grab",
    "push": "push",
    "turn_left": "turn left",
    "turn_right": "turn right",
    "turn_around": "turn around",
    "forward": "go forward",
    "back": "back up",
    "open": "open the gripper",
    "close": "close the gripper",
    "stop": "stop",
}
_SLOT = re.compile(r"[A-Z]+")


def intent_of(kind: str, colour: str | None = None, shape: str | None = None) -> Intent:
    """The intent with the amount that goes without saying."""
    return Intent(kind, colour, shape, AMOUNTS.get(kind, 0.0))


def has_usual_amount(intent: Intent) -> bool:
    """Whether its amount is the one that goes without saying."""
    return math.isclose(intent.amount, AMOUNTS.get(intent.kind, 0.0), abs_tol=1e-6)


def say(rng: np.random.Generator, intent: Intent, split: str = "known") -> str:
    """A way to say `intent`, of that split.

    Raises:
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; use one of {', '.join(SPLITS)}")
    templates = TEMPLATES[intent.kind]
    while True:  # until one is drawn that is of the split
        template = templates[rng.integers(len(templates))]
        text, new = _fill(rng, template, intent, 0.5 if split == "unseen_words" else 0.0)
        if split == "unseen_words":
            fits = new
        else:  # "pairs" is said as "known" is: what is new there is the object
            fits = held_out(template, text) == (split == "recombined")
        if fits:
            return politely(rng, text)


def politely(rng: np.random.Generator, text: str) -> str:
    """Now and then with a word before or after it."""
    if rng.random() >= POLITE_SHARE:
        return text
    if rng.random() < 0.7:
        return f"{POLITE_BEFORE[rng.integers(len(POLITE_BEFORE))]} {text}"
    return f"{text} {POLITE_AFTER[rng.integers(len(POLITE_AFTER))]}"


def held_out(template: str, text: str) -> bool:
    """Whether this filling of the template is of `recombined`, and not of `known`.

    One that can be filled in one way only is known.
    """
    # {it} can be said in several ways always, with or without "the"
    several = "{it}" in template or any(" " in SLOTS[slot][0] for slot in _SLOT.findall(template))
    # not Python's hash: that of a text differs from process to process
    return several and zlib.crc32(f"{HASH_SALT}{text}".encode()) % 100 < 100 * RECOMBINED_SHARE


def _fill(
    rng: np.random.Generator, template: str, intent: Intent, new_share: float
) -> tuple[str, bool]:
    """The template with words in its slots, and whether one of them is held out."""
    new = False

    def word(slot: str) -> str:
        nonlocal new
        trained, held = map(str.split, SLOTS[slot])
        if held and rng.random() < new_share:
            new = True
            return str(held[rng.integers(len(held))])
        return str(trained[rng.integers(len(trained))])

    text = _SLOT.sub(lambda match: word(match[0]), template)
    if "{it}" in text:
        article = "the " if rng.random() < ARTICLE_SHARE else ""
        colour = word(intent.colour or "red")
        shape = word(intent.shape or "object")
        text = text.replace("{it}", f"{article}{colour} {shape}")
    return text, new
