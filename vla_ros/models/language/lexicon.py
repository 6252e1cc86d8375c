"""The words that the small language encoders know. No torch here.

The cart's model is told what `canonical` (policies/steps.py) can say, and knows those words alone.
What people say is read before it (tasks/reading). The arm's words are grouped by meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import PLAIN_WORDS

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
    "try 'go to the red block', 'face the blue ball', 'grab the yellow cylinder', 'turn left', "
    "'back up'"
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
        examples: Ends a sentence about words that are not known.
    """

    words: tuple[str, ...]
    examples: str
    ids: dict[str, int] = field(repr=False)

    @classmethod
    def of(cls, lines: Iterable[str], examples: str) -> Lexicon:
        """Each word of these lines, in the order in which they come."""
        # Ids are places: a word that is added or moved makes them others, and the checkpoints that
        # learned the old ones are refused.
        words = dict.fromkeys(" ".join(lines).split())
        return cls(("", *words), examples, {word: id_ for id_, word in enumerate(words, start=1)})

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


@dataclass(frozen=True)
class GroupedLexicon(Lexicon):
    """Words in groups of one meaning.

    A word that means different things in different places ("up", "hold") is a group of its own.

    Attributes:
        concepts: The meanings' names; the first is padding's.
        concept_of: Of each word, the number of its meaning.
    """

    concepts: tuple[str, ...]
    concept_of: tuple[int, ...]

    @classmethod
    def of(cls, lines: Iterable[str], examples: str) -> GroupedLexicon:
        """From lines "meaning: word word …"."""
        concepts = [""]
        words = [""]
        concept_of = [0]
        for line in lines:
            concept, synonyms = line.split(":")
            for word in synonyms.split():
                words.append(word)
                concept_of.append(len(concepts))
            concepts.append(concept)
        ids = {word: index for index, word in enumerate(words[1:], start=1)}
        assert len(ids) == len(words) - 1, "a word stands twice in the lexicon"
        return cls(tuple(words), examples, ids, tuple(concepts), tuple(concept_of))


CART = Lexicon.of((*PLAIN_WORDS.values(), "the", *COLOURS, *SHAPES, "object"), EXAMPLES)
TABLE = GroupedLexicon.of(TABLE_MEANINGS.strip().splitlines(), TABLE_EXAMPLES)
encode = CART.encode
