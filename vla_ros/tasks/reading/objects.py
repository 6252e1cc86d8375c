"""The thing that a sentence is about: its colour, its shape, which of several, what it is not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vla_ros.tasks.intent import Which
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.reading.amounts import NUMBERS
from vla_ros.tasks.reading.colours import NOUNS, ColourNames

SHAPES: dict[str, str] = {}
for _shape, _names in {
    "block": "block cube box brick die dice cuboid crate carton hexahedron blocks cubes boxes",
    "ball": "ball sphere orb globe marble balls bauble bobble",
    "cylinder": "cylinder can tube tin drum barrel canister pipe roller keg pillar column tubes",
    "": "object thing one toy item piece thingy thingamajig thingamabob thingie doodad bit",
}.items():
    SHAPES.update(dict.fromkeys(_names.split(), _shape))
del SHAPES["bit"]
# "anything round", "the square one"
ROUNDNESS = {
    "round": "ball",
    "spherical": "ball",
    "square": "block",
    "cubic": "block",
    "cubical": "block",
    "boxy": "block",
    "cylindrical": "cylinder",
    "tubular": "cylinder",
    "cylinder shaped": "cylinder",
}
# Other words than a shape also mean these: alone they name nothing.
_NEEDS_COMPANY = frozenset(("can", "one", "thing", "object", "item", "piece", "toy", "die", "box"))
_NEEDS_COMPANY |= frozenset(("tin", "drum", "column", "pipe", "roller", "marble", "brick", "globe"))


@dataclass(frozen=True, eq=False)
class Nouns:
    """What the things around one robot are called.

    Attributes:
        shapes: A noun -> the shape that it means; "": any.
        roundness: An adjective -> the shape that it means.
        needs_company: Nouns that name nothing without an article or a colour.
        relations: Whether words may say beside which other thing it stands. Where things are put
            beside others, "the cup next to the bowl" would be one thing and not two.
    """

    shapes: Mapping[str, str]
    roundness: Mapping[str, str]
    needs_company: frozenset[str]
    relations: bool = True


ROOM = Nouns(SHAPES, ROUNDNESS, _NEEDS_COMPANY)  # of the cart
_CHOICE = frozenset(("a", "an", "any", "some", "either", "whichever"))
DETERMINERS = _CHOICE | {
    "the",
    "that",
    "this",
    "my",
    "your",
    "our",
    "another",
    "its",
    "da",
    "whatever",
}
_POSSESSIVES = frozenset(("your", "my", "his", "her", "their", "our"))
_AFTER_ONE = frozenset(NUMBERS) | {"hundred", "thousand"}
_PLACES = {
    "nearest": "nearest",
    "closest": "nearest",
    "nearer": "nearest",
    "closer": "nearest",
    "farthest": "farthest",
    "furthest": "farthest",
    "farther": "farthest",
    "further": "farthest",
    "remotest": "farthest",
    "leftmost": "leftmost",
    "rightmost": "rightmost",
    "left": "leftmost",
    "right": "rightmost",
    "other": "other",
    "second": "other",
}
_LOOKS = frozenset(
    [
        "big",
        "little",
        "small",
        "old",
        "new",
        "nice",
        "shiny",
        "large",
        "tiny",
        "huge",
        "same",
        "lovely",
        "pretty",
        "cute",
        "lonely",
        "lone",
        "good",
        "whole",
        "entire",
        "single",
        "plastic",
        "wooden",
        "metal",
        "rubber",
        "heavy",
        "light",
        "short",
        "tall",
        "fat",
        "thin",
        "long",
        "wee",
        "dear",
        "bloody",
        "damn",
        "stupid",
        "wretched",
        "said",
        "actual",
        "only",
        "own",
        "hard",
        "soft",
        "smooth",
        "far",
        "very",
    ]
)
_SUPERLATIVES = frozenset(("nearest", "closest", "farthest", "furthest", "leftmost", "rightmost"))
# After the noun: pattern of words -> which is meant. "you" may also be the robot.
_YOU = r"(?:you|yourself|the robot|your (?:position|camera|gripper|wheels|nose)|us|me|here)"
_AFTERWARDS: tuple[tuple[re.Pattern[str], str | None], ...] = tuple(
    (
        re.compile(
            rf"(?:(?:(?:that|which) )?(?:is|stands|sits|lies) |lying |standing "
            rf"|sitting )?{pattern}(?!\S)"
        ),
        which,
    )
    for pattern, which in (
        # before "the furthest" alone
        (r"(?:the )?(?:furthest|farthest|most) (?:to the )?left", "leftmost"),
        (r"(?:the )?(?:furthest|farthest|most) (?:to the )?right", "rightmost"),
        (rf"(?:the )?(?:nearest|closest)(?: to {_YOU})?", "nearest"),
        (rf"(?:the )?(?:farthest|furthest)(?: away)?(?: from {_YOU})?", "farthest"),
        (
            rf"(?:right |directly |straight |just )?(?:in front of|before|ahead of"
            rf"|opposite) {_YOU}",
            "ahead",
        ),
        (r"(?:right |straight |directly |dead )ahead", "ahead"),
        (
            r"(?:all the way |furthest |farthest )?(?:to|on|at) (?:the|your) (?:far |very "
            r"|extreme )?left(?: hand)?(?: side)?(?! of)",
            "leftmost",
        ),
        (
            r"(?:all the way |furthest |farthest )?(?:to|on|at) (?:the|your) (?:far |very "
            r"|extreme )?right(?: hand)?(?: side)?(?! of)",
            "rightmost",
        ),
        (
            r"(?:that |which |whichever )?(?:you|u) (?:like|want|prefer|choose|fancy|please"
            r"|wish|can see|can find|see|find|come across)",
            "any",
        ),
        (r"(?:at all|will do|whatsoever|of your choice|of your choosing)", "any"),
        (r"(?:over |right |up |down )?there", None),
        (r"(?:off|from|on) (?:the|that) (?:floor|ground|carpet|table)", None),
        (r"(?:over |right )?here", None),
    )
)
_RELATIONS: tuple[tuple[str, str], ...] = (
    (
        r"(?:to|on|at) the left(?: hand)?(?: side)? of"
        r"|(?:at )?left(?: hand)?(?: side)? (?:of|from)"
        r"|on the left from",
        "left_of",
    ),
    (
        r"(?:to|on|at) the right(?: hand)?(?: side)? of"
        r"|(?:at )?right(?: hand)?(?: side)? (?:of|from)"
        r"|on the right from",
        "right_of",
    ),
    (r"behind|in back of|at the back of|at the rear of|beyond|on the far side of", "behind"),
    (r"in front of|before|on the near side of", "in_front_of"),
    (
        r"next (?:to|of|from)|beside|besides|by the side of|adjacent to|alongside|near to|near of"
        r"|near|close to|by"
        r"|at the side of|neighbouring|neighboring|touching|against|closest to|nearest to"
        r"|nearest|closest",
        "next_to",
    ),
)
_STANDS = (
    r"(?:(?:that|which|what) (?:is |are |stands |sits |lies |has been )?)?"
    r"(?:(?:located |placed |standing |sitting |lying |hiding |situated |positioned |found "
    r"|parked |resting |waiting ))?"
    r"(?:(?:just|right|directly|immediately|straight|over|close)(?! (?:of|from)) )?"
)
_RELATION = tuple(
    (re.compile(rf"{_STANDS}(?:{pattern})(?!\S)"), name) for pattern, name in _RELATIONS
)
_NOT = re.compile(
    r"(?:(?:that|which) (?:is|are) (?:not|anything but)|(?:which|that) has not|not|but not|but"
    r"|except(?: for)?|other than"
    r"|apart from|excluding) (?:(?:a|an|the|in) )?"
)
_IS = re.compile(r"(?:(?:that|which) (?:is|are|looks)|with (?:a|the)|in|of) ")


@dataclass(frozen=True)
class NamedThing:
    """What the words say of an object.

    Attributes:
        colour: One of COLOURS, or None: any.
        shape: One of SHAPES, or None: any.
        which: Which of those that fit.
        excluded: Colours and shapes that it has not.
        unknown: A colour that none of the room's things has: "pink".
    """

    colour: str | None = None
    shape: str | None = None
    which: Which | None = None
    excluded: tuple[str, ...] = ()
    unknown: str = ""


class Things:
    """Finds the things that a list of words names."""

    def __init__(self, colours: ColourNames, nouns: Nouns = ROOM) -> None:
        self._colours = colours
        self._shapes = nouns.shapes
        self._roundness = nouns.roundness
        self._needs_company = nouns.needs_company
        self._relations = nouns.relations

    def at(self, words: Sequence[str], start: int) -> tuple[NamedThing, int] | None:
        """The thing whose name begins there, and where that ends; None where none does."""
        found = self._open(words, start) or self._named(words, start)
        if found is None:
            return None
        thing, end = found
        return self._afterwards(thing, words, end)

    def _open(self, words: Sequence[str], start: int) -> tuple[NamedThing, int] | None:
        """ "anything round", "something green", "whatever is in front of the ball"."""
        first = words[start]
        place = start + 1
        if first in ("anything", "something"):
            if place < len(words) and words[place] in self._roundness:
                return NamedThing(
                    shape=self._roundness[words[place]], which=Which("any")
                ), place + 1
            named = self._colours.at(words, place) if place < len(words) else None
            if (
                named is not None
                and named[0]
                and not set(words[named[1] : named[1] + 1]) & set(self._shapes)
            ):
                return NamedThing(colour=named[0], which=Which("any")), named[1]
            text = " ".join(words[place : place + 12]) + " "
            more = _NOT.match(text) or _IS.match(text) or self._relation(text)
            # "something" alone says too little, "anything" enough
            return (NamedThing(which=Which("any")), place) if more or first == "anything" else None
        if first in ("whatever", "what", "whichever") and words[start + 1 : start + 2] == ["is"]:
            text = " ".join(words[start + 2 : start + 12]) + " "
            ahead = any(pattern.match(text) and which for pattern, which in _AFTERWARDS)
            if self._relation(text) or ahead:
                return NamedThing(), start + 2
            coloured = self._colours.at(words, start + 2) if start + 2 < len(words) else None
            if first != "what" and coloured is not None and coloured[0]:
                return NamedThing(coloured[0]), coloured[1]
        return None

    def _named(self, words: Sequence[str], start: int) -> tuple[NamedThing, int] | None:
        """Articles, colours and the like, then a noun."""
        place = start
        which: Which | None = None
        company = False
        first = words[place]
        if words[place : place + 2] == ["one", "of"] or words[place : place + 3] == [
            "any",
            "one",
            "of",
        ]:
            which = Which("any")
            place = words.index("of", place) + 1
        if place < len(words) and words[place] in DETERMINERS:
            if words[place] in _CHOICE:
                which = Which("any")
            if words[place] == "another":
                which = Which("other")
            place += 1
            company = True
        colour: str | None = None
        unknown = ""
        shape: str | None = None
        excluded: tuple[str, ...] = ()
        looks = 0
        while place < len(words):
            word = words[place]
            if word in self._shapes and not self._is_colour_here(words, place):
                if word in self._needs_company and not company:
                    return None
                following = words[place + 1 : place + 2]
                # "cup your hands" is what somebody does, and "a one eighty" is a number
                if place == start and following and following[0] in _POSSESSIVES:
                    return None
                if word == "one" and following and following[0] in _AFTER_ONE:
                    return None
                shape = self._shapes[word] or shape
                place += 1
                if (
                    self._shapes[word]
                    and self._shapes.get(words[place] if place < len(words) else "") == ""
                ):
                    place += 1  # "the tube thing"
                return NamedThing(colour, shape or None, which, excluded, unknown), place
            named = self._colours.at(words, place)
            if named is not None and not (word in _LOOKS and named[1] == place + 1):
                # "ruby red", "sapphire blue" say it twice; "red blue" says nothing
                if (colour and named[0] != colour) or (unknown and named[0]):
                    return None
                colour = named[0] or None
                if not named[0]:
                    unknown = " ".join(words[place : named[1]])
                place = named[1]
                company = True
                if self._ends(words, place):
                    strong = words[place - 1] in NOUNS and first in DETERMINERS
                    strong = strong and (place == len(words) or words[place] in _AFTER_ALL)
                    return (NamedThing(colour, None, which), place) if strong else None
                continue
            if word in ("non", "not") and place + 1 < len(words):
                other = self._colours.at(words, place + 1)
                if other is None or not other[0]:
                    return None
                excluded = (*excluded, other[0])
                place = other[1]
                continue
            # "go to nearest cylinder": no article is needed
            if word in _PLACES and (company or word in _SUPERLATIVES):
                company = True
                which = Which(_PLACES[word])
                place += 1
                # "the left hand ball", "the far left one"
                if words[place : place + 1] in (["hand"], ["most"]):
                    place += 1
                continue
            if word in self._roundness:
                shape = self._roundness[word]
                company = True
            elif word not in _LOOKS:
                # one word that nobody has heard of: "the wobbly red block"
                looks += 1
                after = words[place + 1 : place + 2]
                # without a colour it could be one: "the wed ball"
                known = after and (after[0] in COLOURS or (colour and after[0] in self._shapes))
                if (
                    looks > 1
                    or not company
                    or not known
                    or not word.isalpha()
                    or word in _GLUE | DETERMINERS
                ):
                    return None
            place += 1
        return None

    def _is_colour_here(self, words: Sequence[str], place: int) -> bool:
        """ "brick" is a colour before a noun."""
        after = words[place + 1 : place + 2]
        if not after or words[place] not in self._colours:
            return False
        named = self._colours.at(words, place)
        return after[0] in self._shapes or (named is not None and named[1] > place + 1)

    def _ends(self, words: Sequence[str], place: int) -> bool:
        """Whether no noun follows the colour."""
        for word in words[place : place + 3]:
            if word in self._shapes:
                return False
            if word not in _LOOKS and word not in self._roundness and word not in self._colours:
                return True
        return True

    def _afterwards(
        self, thing: NamedThing, words: Sequence[str], end: int
    ) -> tuple[NamedThing, int]:
        """What follows the noun: "that is not red", "on your left", "behind the red ball"."""
        while end < len(words):
            further = self._further(thing, words, end)
            if further is None:
                break
            thing, end = further
        return thing, end

    def _further(
        self, thing: NamedThing, words: Sequence[str], end: int
    ) -> tuple[NamedThing, int] | None:
        text = " ".join(words[end : end + 14]) + " "
        relation = self._relation(text)
        if relation is not None:
            beside = self._beside(thing, words, end + relation[1], relation[0])
            if beside is not None:
                return beside
        for pattern, which in _AFTERWARDS:
            match = pattern.match(text)
            if match is not None:
                # "any ball in front of you" does not mind which, "the nearest ball you see" does
                keeps = thing.which is not None and which in ("ahead", "any")
                chosen = thing.which if which is None or keeps else Which(which)
                return replace(thing, which=chosen), end + len(match[0].split())
        # "the thing ahead"; "push the ball ahead" says where to
        if thing.shape is None and thing.which is None and re.match(r"ahead *$", text):
            return replace(thing, which=Which("ahead")), end + 1
        match = _NOT.match(text)
        if match is not None:
            excluded = self._listed(words, end + len(match[0].split()))
            if excluded is not None:
                return replace(thing, excluded=(*thing.excluded, *excluded[0])), excluded[1]
        match = _IS.match(text)
        if match is not None:
            return self._looking(thing, words, end + len(match[0].split()))
        return None

    def _beside(
        self, thing: NamedThing, words: Sequence[str], place: int, relation: str
    ) -> tuple[NamedThing, int] | None:
        """The thing beside the one that is named there."""
        found = self.at(words, place) if place < len(words) else None
        if found is None:
            return None
        landmark, end = found
        # "the nearest ball left of the second block" is beyond what an intent can say
        for each in (thing, landmark):
            if each.which is not None and each.which.relation != "any":
                return None
        if landmark.excluded:
            return None
        if landmark.shape is None and "one" in words[place:end]:
            # "the red block behind the green one": that is a block, too
            landmark = replace(landmark, shape=thing.shape)
        which = Which(relation, landmark.colour, landmark.shape)
        return replace(thing, which=which, unknown=thing.unknown or landmark.unknown), end

    def _looking(
        self, thing: NamedThing, words: Sequence[str], place: int
    ) -> tuple[NamedThing, int] | None:
        """ "that is red", "which is round"."""
        if place >= len(words):
            return None
        named = self._colours.at(words, place)
        if named is not None and thing.colour is None and not thing.unknown:
            unknown = "" if named[0] else " ".join(words[place : named[1]])
            return replace(thing, colour=named[0] or None, unknown=unknown), named[1]
        if words[place] in self._roundness and thing.shape is None:
            return replace(thing, shape=self._roundness[words[place]]), place + 1
        return None

    def _listed(self, words: Sequence[str], place: int) -> tuple[tuple[str, ...], int] | None:
        """ "red", "red or blue", "the red one", "a ball"."""
        names: list[str] = []
        while place < len(words):
            if words[place] in ("a", "an", "the", "or", "nor", "and", "not", "either"):
                after = words[place + 1 : place + 2]
                if not after or not (after[0] in COLOURS or self._shapes.get(after[0])):
                    break
                place += 1
                continue
            named = self._colours.at(words, place)
            if named is not None and named[0]:
                names.append(named[0])
                place = named[1]
                if words[place : place + 1] and self._shapes.get(words[place]) == "":
                    place += 1  # "the red one"
                continue
            if self._shapes.get(words[place]):
                names.append(self._shapes[words[place]])
                place += 1
                continue
            break
        return (tuple(names), place) if names else None

    def _relation(self, text: str) -> tuple[str, int] | None:
        if not self._relations:
            return None
        for pattern, name in _RELATION:
            match = pattern.match(text)
            if match is not None:
                return name, len(match[0].split())
        return None


# no adjectives, wherever they stand
_GLUE = frozenset(
    [
        "and",
        "or",
        "then",
        "to",
        "of",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "is",
        "are",
        "was",
        "were",
        "be",
        "it",
        "you",
        "i",
        "we",
        "he",
        "she",
        "they",
        "not",
        "no",
        "but",
        "if",
        "when",
        "go",
        "going",
        "than",
        "as",
        "so",
        "just",
        "more",
        "less",
        "again",
        "right",
        "left",
        "up",
        "down",
        "off",
        "out",
    ]
)
_GLUE |= frozenset(
    [
        "two",
        "three",
        "four",
        "five",
        "six",
        "both",
        "all",
        "every",
        "each",
        "several",
        "many",
        "few",
        "no",
        "more",
    ]
)
# what may follow a colour that stands for a thing: "grab the red please"
_AFTER_ALL = _GLUE | frozenset(
    [
        ",",
        ".",
        "!",
        "?",
        ";",
        "please",
        "now",
        "robot",
        "thanks",
        "thank",
        "for",
        "that",
        "which",
        "away",
        "over",
        "along",
        "into",
        "forward",
        "behind",
        "beside",
        "next",
        "near",
        "close",
        "after",
        "once",
        "before",
    ]
)
