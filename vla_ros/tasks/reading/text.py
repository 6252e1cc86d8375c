"""A text's words, in the plain form in which the rest reads them."""

from __future__ import annotations

import re
import unicodedata

# what one writes together, said in full: a rule or a pattern is then written once
CONTRACTIONS = {
    "dont": "do not",
    "dnt": "do not",
    "doesnt": "does not",
    "didnt": "did not",
    "shouldnt": "should not",
    "cant": "can not",
    "cannot": "can not",
    "wont": "will not",
    "im": "i am",
    "ive": "i have",
    "youre": "you are",
    "youve": "you have",
    "thats": "that is",
    "whats": "what is",
    "wheres": "where is",
    "theres": "there is",
    "lets": "let us",
    "gonna": "going to",
    "wanna": "want to",
    "gotta": "have to",
    "gimme": "give me",
    "lemme": "let me",
    "whatcha": "what are you",
    "ya": "you",
    "pls": "please",
    "plz": "please",
    "u": "you",
    "ur": "your",
    "fwd": "forward",
    "frwd": "forward",
    "fwds": "forward",
    "bk": "back",
    "bck": "back",
    "bkwd": "backwards",
    "bkwds": "backwards",
    "lft": "left",
    "rt": "right",
    "rght": "right",
    "trn": "turn",
    "stp": "stop",
    "stahp": "stop",
    "goto": "go to",
    "sittin": "sitting",
    "w8": "wait",
    "mil": "millimetres",  # as builders say it; no "mile" that is misspelt
    "mils": "millimetres",
    "smth": "something",
    "sth": "something",
}
_ENDINGS = (
    (r"\bcan't\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bshan't\b", "shall not"),
    (r"n't\b", " not"),
    (r"(?<=[a-z]{2}in)'(?!\w)", "g"),  # "sittin' there"
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'d\b", " would"),
    (r"'m\b", " am"),
    (r"\blet's\b", "let us"),
    (r"\bc'mon\b", "come on"),
    (r"\by'all\b", "you"),
    (r"\b(anti|counter) ?clockwise\b", r"\1clockwise"),
    (r"\bagainst the clock\b", "anticlockwise"),
    (r"\bu ?(?:turn|e?y)\b", "about turn"),  # "u" alone is "you"
    (r"\b(it|that|thing|there|what|whatever|where|who|how|he|she|which|here)'s\b", r"\1 is"),
)
# sounds that mean nothing wherever they stand, with the commas around them
_SOUNDS = re.compile(
    r"(?:, )?\b(?:u+h+m*|u+m+|e+r+m*|e+h+m*|a+h+|h+m+|oh)\b(?: ?,)?|(?:,|^) ?like ?,|(?:^"
    r"|\bso )like\b"
)
# "go on then, ..." asks for nothing yet
_ENCOURAGES = re.compile(r"^(?:(?:go on|come on|well|right|ok|okay|alright|now) then ?,+ ?)+")
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words, numbers and signs, in lower case.

    Signs that say the same are written alike: a dash between words and an ellipsis are commas.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    # accents go as the table's vocabulary has them: none
    decomposed = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    text = re.sub("[\u2018\u2019\u02bc`\u00b4]", "'", text)
    text = re.sub(r"\.{2,}|\u2026|\s[-\u2010-\u2015]+\s|--+|[\u2013\u2014:()]", " , ", text)
    text = re.sub(r"(?<=\w)[-\u2010\u2011_/](?=\w)", " ", text)
    for pattern, full in _ENDINGS:
        text = re.sub(pattern, full, text)
    for _ in range(2):  # "uh, like, go": what was behind the first stands in front then
        text = " ".join(_SOUNDS.sub(" ", " ".join(text.split())).split())
    text = _ENCOURAGES.sub("", text)
    found: list[str] = []
    for word in _WORD.findall(text):
        if re.fullmatch(r"\d+,\d+", word):  # 0,5 m, as half of Europe writes it
            word = word.replace(",", ".")
        found.extend(CONTRACTIONS.get(word, word).split())
    return found
