"""The words that the small language encoder knows, grouped by meaning. No torch here.

A word that means different things in different places ("can", "close", "right") is a group of its
own.
"""

from __future__ import annotations

import re

from vla_ros.core.instructions import NotUnderstood

MEANINGS = """
red: red crimson scarlet ruby
orange: orange tangerine amber
yellow: yellow golden lemon
green: green emerald lime
blue: blue azure navy cobalt
purple: purple violet lilac
block: block cube box brick dice
ball: ball sphere orb globe
cylinder: cylinder tube tin drum barrel
can: can
object: object thing one toy item
go: go moving drive move travel roll run come walk navigate head proceed journey
approach: approach reach visit find
forward: forward forwards ahead onward onwards
straight: straight
advance: advance continue
back: back backward backwards
reverse: reverse retreat withdraw
turn: turn rotate spin pivot swivel
left: left
right: right
clockwise: clockwise
anticlockwise: anticlockwise counterclockwise
around: around round
face: face
look: look gaze
point: point aim
grab: grab grasp grip seize clutch snatch
take: take collect fetch catch
pick: pick
get: get
push: push shove nudge bump press
hold: hold
open: open unclench spread
release: release loosen
drop: drop
let: let
close: close
shut: shut clench squeeze
stop: stop halt freeze
wait: wait stay pause
still: still
gripper: gripper hand claw pincers
fingers: fingers jaws jaw
to: to
towards: towards toward
at: at
up: up
over: over
on: on
for: for
near: near
next: next
make: make
way: way
and: and
off: off
away: away
step: step
it: it
the: the a an
your: your my
that: that this
please: please kindly
now: now
robot: robot
hey: hey
you: you
would: would could will
ok: ok okay
me: me
in: in
against: against
there: there
"""

LENGTH = 20  # words of an instruction, at most
EXAMPLES = (
    "try 'go to the red block', 'face the blue ball', 'grab the yellow can', 'turn left', 'go back'"
)
_GROUPS = [line.split(":") for line in MEANINGS.strip().splitlines()]
CONCEPTS = ("", *(name for name, _ in _GROUPS))  # the first is padding
_PAIRS = [(word, index + 1) for index, (_, words) in enumerate(_GROUPS) for word in words.split()]
WORDS = ("", *(word for word, _ in _PAIRS))
CONCEPT_OF = (0, *(concept for _, concept in _PAIRS))
_IDS = {word: index for index, word in enumerate(WORDS) if word}
assert len(_IDS) == len(WORDS) - 1, "a word stands twice in the lexicon"


def words_of(text: str) -> list[str]:
    """The words of an instruction: lower case, without punctuation; "counter-clockwise" is one
    word."""
    return re.findall(
        r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("-clock", "clock").replace("’", "'")
    )


def encode(text: str) -> list[int]:
    """The ids of the words, one at least.

    Raises NotUnderstood that names the words it does not know, or says that there are none or too
    many.
    """
    words = words_of(text)
    if not words:
        raise NotUnderstood(f"there is no word in {text[:20]!r}; {EXAMPLES}")
    unknown = [word for word in words if word not in _IDS]
    if unknown:
        names = [f"'{word[:20]}'" for word in dict.fromkeys(unknown)]
        what = "the word" if len(names) == 1 else "the words"
        raise NotUnderstood(f"the policy does not know {what} {', '.join(names)}; {EXAMPLES}")
    if len(words) > LENGTH:
        raise NotUnderstood(f"the instruction has {len(words)} words; use at most {LENGTH}")
    return [_IDS[word] for word in words]
