"""The words that the small language encoders know, grouped by meaning. No torch here.

A word that means different things in different places ("can", "close", "right") is a group of its
own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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

# What the arm at its table is told.
TABLE_MEANINGS = """
red: red crimson scarlet ruby
orange: orange tangerine amber
yellow: yellow golden lemon
green: green emerald lime
blue: blue azure navy cobalt
purple: purple violet lilac
block: block cube box brick dice
cup: cup mug glass beaker
bowl: bowl dish basin
object: object thing one toy item
reach: reach approach hover
go: go move come
grab: grab grasp grip seize clutch
take: take get fetch collect
lift: lift raise
pick: pick
put: put place set lay drop
stack: stack
into: into in inside
onto: onto on upon atop
top: top
beside: beside near alongside by
next: next
push: push shove nudge bump
give: give pass bring deliver
hand: hand
open: open ungrasp
release: release loosen
let: let
shut: close shut clench
gripper: gripper claw
fingers: fingers
home: home start
position: position
return: return
back: back
stop: stop halt freeze
wait: wait stay pause
hold: hold
still: still
moving: moving
up: up
down: down
over: over
above: above
away: away
aside: aside
to: to
for: for
of: of
table: table
it: it
me: me
the: the a an
your: your my
that: that this
please: please kindly
now: now
robot: robot
hey: hey
you: you
would: would could will can
ok: ok okay
and: and
there: there
"""

LENGTH = 20  # words of an instruction, at most: the shipped weights have so many places
EXAMPLES = (
    "try 'go to the red block', 'face the blue ball', 'grab the yellow can', 'turn left', 'go back'"
)
TABLE_EXAMPLES = (
    "try 'reach for the red block', 'pick up the blue cup', 'put the red block into the green "
    "bowl', 'go home', 'stop'"
)


def words_of(text: str) -> list[str]:
    """The words of an instruction: lower case, without punctuation."""
    # "counter-clockwise" is one word, and a telephone writes "don’t" for "don't"
    text = text.lower().replace("-clock", "clock").replace("’", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text)


@dataclass(frozen=True)
class Lexicon:
    """Words by their numbers, from 1; 0 is padding.

    Attributes:
        words: The first is padding's.
        concepts: The meanings' names; as `words`.
        concept_of: Of each word, the number of its meaning.
        examples: Ends a sentence about words that are not known.
    """

    words: tuple[str, ...]
    concepts: tuple[str, ...]
    concept_of: tuple[int, ...]
    examples: str
    ids: dict[str, int] = field(repr=False)

    @classmethod
    def of(cls, meanings: str, examples: str) -> Lexicon:
        """From lines "meaning: word word …"."""
        concepts = [""]
        words = [""]
        concept_of = [0]
        # Ids are places: a word that is added or moved makes them others, and the checkpoints that
        # learned the old ones are refused.
        for line in meanings.strip().splitlines():
            concept, synonyms = line.split(":")
            for word in synonyms.split():
                words.append(word)
                concept_of.append(len(concepts))
            concepts.append(concept)
        ids = {word: index for index, word in enumerate(words[1:], start=1)}
        assert len(ids) == len(words) - 1, "a word stands twice in the lexicon"
        return cls(tuple(words), tuple(concepts), tuple(concept_of), examples, ids)

    def encode(self, text: str) -> list[int]:
        """The ids of the words, one at least.

        Raises NotUnderstood that names the words it does not know, or says that there are none, or
        too many.
        """
        words = words_of(text)
        if not words:
            raise NotUnderstood(f"there is no word in {text[:20]!r}; {self.examples}")
        unknown = [word for word in words if word not in self.ids]
        if unknown:
            unknown = list(dict.fromkeys(unknown))  # each once
            names = ", ".join(f"'{word[:20]}'" for word in unknown)
            noun = "the word" if len(unknown) == 1 else "the words"
            raise NotUnderstood(f"the policy does not know {noun} {names}; {self.examples}")
        if len(words) > LENGTH:
            raise NotUnderstood(f"the instruction has {len(words)} words; use at most {LENGTH}")
        return [self.ids[word] for word in words]


CART = Lexicon.of(MEANINGS, EXAMPLES)
TABLE = Lexicon.of(TABLE_MEANINGS, TABLE_EXAMPLES)
CONCEPTS = CART.concepts
WORDS = CART.words
CONCEPT_OF = CART.concept_of
encode = CART.encode
