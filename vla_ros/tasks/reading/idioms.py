"""What a clause says by its words alone: idioms, forms of address, courtesy, sides."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from vla_ros.core.instructions import STOP_WORDS
from vla_ros.tasks.reading.parts import ITEM, Part

_HANDS = frozenset(("gripper", "claw", "claws", "jaws", "fingers", "pincers", "grabber"))
_ABOUT_HANDS = frozenset(("the", "your", "my", "little", "big", "old", "dear", "mighty", ","))
_BEFORE_NAMES = frozenset(("you", "my", "big", "little", "old", "good", "dear", "great", "oh"))
_BEFORE_NAMES |= {"very", "much", "so", "please", "lovely", "fine", "then", "now", "brave", "noble"}
# Idioms of halting whose words mean something else each; the heads know many more.
ENOUGH = re.compile(
    r"(?:(?:oi|hey|ok|okay|please|now|just|will you|would you|oh|right|you|robot|no) (?:, )?)*"
    r"(?:knock it off|pack it in|cut it out|leave it out|give it a rest|call it a day|quit it"
    r"|(?:that is|that will be) (?:quite |more than |far )?enough"
    r"|(?:that is )?enough of (?:that|this)"
    r"|cool (?:it|your (?:jets|heels))|(?:pump|hit|slam on) the brakes|hang fire"
    r"|hold (?:your )?fire"
    r"|(?:keep|stay|hold|be) still|stay put|that will do|enough|enough is enough"
    r"|give over|lay off|hold your horses|stand still"
    r"|(?:do not|don't) move(?: a muscle| an inch)?)"
    r"(?: (?:, )?(?:already|now|please|will you|would you|you|there|at once|robot|for now|thanks"
    r"|thank you|immediately|this instant|right now|right there|everyone|mate))*"
)
# behind a thing's mark no second one was found: "beside the wug" says which, and nobody knows it
BESIDE_UNKNOWN = re.compile(
    r"\[item\] (?:(?:that|which) is )?(?:just |right |directly )?"
    r"(?:besides?|next to|near(?:est)?(?: to)?|close(?:st)? to|alongside|behind|in front of|between"
    r"|(?:to the |on the |at the )?(?:left|right) of) (?:the|a|an|that|this|my|your|our) (?!\[)"
)
# "put it in there" is no halt, whatever the heads take it for
PUTS = re.compile(
    r"(?:put|place|set|lay|drop) (?:it|that|them|\[item\]|the (?!brakes?\b|anchor)\w+)(?!\S)"
)
# "right away" is no side, and "counter clockwise" is one word
_NO_SIDE = re.compile(
    r"\bright (?=away|now|there|up|here|on|over|back|round|around|ahead|behind|beside|next|after"
    r"|then|in|this|at|off)|(?:all|that is|^|,) right (?=,|then|so|now)"
)


def is_looked_for(parts: Sequence[Part]) -> bool:
    """ "whichever cup is biggest": it would have to compare them."""
    for part, following in zip(parts, parts[1:]):
        open_choice = part.text == ITEM and part.said.split()[0] in ("whichever", "whatever")
        if open_choice and following.text in ("is", "are", "has", "have", "looks", "seems"):
            return True
    return False


def is_address(words: Sequence[str], idle: Collection[str]) -> bool:
    """Whether they are words that no instruction has, and such as stand before them."""
    spoken = [word for word in words if word[0].isalpha()]
    return any(word in idle for word in spoken) and all(
        word in idle or word in _BEFORE_NAMES for word in spoken
    )


def only_hand(words: Sequence[str]) -> bool:
    """Whether they only name what grips, and ask for nothing: "little claw"."""
    return not _HANDS.isdisjoint(words) and set(words) <= _HANDS | _ABOUT_HANDS


def only_stops(words: Sequence[str]) -> bool:
    """Whether they are words of the stop list, and no others."""
    spoken = [word for word in words if word[0].isalpha()]
    return bool(spoken) and set(spoken) <= set(STOP_WORDS)


def without_courtesy(text: str) -> str:
    """Without "please" and the like at its ends."""
    text = re.sub(
        r"^(?:(?:please|now|robot|hey|ok|okay|could|would|can|will|you|kindly|just|go|and) )+",
        "",
        text,
    )
    return re.sub(r"(?: (?:please|now|for me|thanks|thank you))+$", "", text)


def sides_of(text: str) -> str:
    """The text, where left and right are sides: "right away" is none."""
    return _NO_SIDE.sub(" ", re.sub(r"\b(?:anti|counter) clockwise\b", "anticlockwise", text))
