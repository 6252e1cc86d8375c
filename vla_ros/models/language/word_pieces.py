"""Words cut into the pieces of a BERT vocabulary: none of its alphabet is unknown. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros.core.instructions import NotUnderstood
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.language.tokenizers import (
    FILE,
    load_words,
    refuse_unknown,
    save_words,
    some,
)
from vla_ros.models.language.word_sources import minilm_vocabulary, word_table
from vla_ros.tasks.reading.network import MOST_PIECES_OF_WORD, UNKNOWN, WordPieces

if TYPE_CHECKING:
    from vla_ros.models.config import VLAConfig

KIND = "word pieces"  # in its file


class WordPieceTokenizer:
    """The pieces of a vocabulary, the longest first. A piece's id is its place; 0 is padding.

    The ids are of the words alone: an encoder that wants marks around them puts them there.
    """

    place = FILE

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self.size = len(self.vocabulary)
        if UNKNOWN not in self.vocabulary:
            raise ValueError(f"the vocabulary has no {UNKNOWN}; give that of a BERT")
        self._pieces = WordPieces(self.vocabulary)
        self._unknown = self.vocabulary.index(UNKNOWN)

    @classmethod
    def load(cls, path: Path) -> WordPieceTokenizer:
        return cls(load_words(path, KIND))

    def save(self, path: Path) -> None:
        save_words(path, KIND, self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Raises NotUnderstood also for more than LENGTH pieces, which no engine has room for."""
        ids: list[int] = []
        unknown = []
        for word in split(text):
            pieces = self._pieces.encode([word])
            # of a word in more pieces, the rest would be lost
            if self._unknown in pieces or len(pieces) >= MOST_PIECES_OF_WORD:
                unknown.append(word)
            ids.extend(pieces)
        ids = some(ids, text)
        refuse_unknown(unknown)
        if len(ids) > LENGTH:
            raise NotUnderstood(
                f"the instruction has {len(ids)} words or pieces of words; use at most {LENGTH}"
            )
        return ids


class StaticTokenizer(WordPieceTokenizer):
    """The pieces of the table that instructions are read with, of the ASCII alphabet."""

    @classmethod
    def default(cls, config: VLAConfig) -> StaticTokenizer | None:
        weights = config.options("language")["weights"]
        return cls(word_table(weights).pieces) if weights else None


class MiniLMTokenizer(WordPieceTokenizer):
    """The pieces of all-MiniLM-L6-v2."""

    @classmethod
    def default(cls, config: VLAConfig) -> MiniLMTokenizer | None:
        weights = config.options("language")["weights"]
        return cls(minilm_vocabulary(weights)) if weights else None


def split(text: str) -> list[str]:
    """Words and signs in lower case without accents, as uncased BERT has them."""
    parts = []
    for letter in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(letter)
        if category == "Mn":  # an accent
            continue
        if letter.isspace():
            parts.append(" ")
        elif category[0] == "C":  # a control, or half of a character
            continue
        elif _stands_alone(letter, category):
            parts.append(f" {letter} ")
        else:
            parts.append(letter)
    return "".join(parts).split()


def _stands_alone(letter: str, category: str) -> bool:
    # ASCII's signs are punctuation to BERT, whatever Unicode says, and Chinese has no spaces
    sign = letter.isascii() and not letter.isalnum()
    return sign or category[0] == "P" or "\u4e00" <= letter <= "\u9fff"
