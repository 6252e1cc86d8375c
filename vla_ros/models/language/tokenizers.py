"""Words as numbers: the lexicon, a list of words, or Llama's own pieces of words. No torch here.

All give `encode(text) -> ids`, `size` (ids are below it), and are saved beside the weights. 0 is
padding for the first two; Llama is told by the mask alone. BERT's pieces are in word_pieces.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vla_ros.core.instructions import NotUnderstood
from vla_ros.models.language import lexicon

if TYPE_CHECKING:
    from torch import Tensor

    from vla_ros.models.config import VLAConfig

FILE = "tokenizer.json"
FOLDER = "tokenizer"
OWN_TOKENIZERS = (FILE, FOLDER)  # names in a checkpoint
MARKS = ("<VISION>", "</VISION>")


class Tokenizer(Protocol):
    """Text -> ids."""

    size: int  # ids are below it
    place: str  # its file's or folder's name in a checkpoint

    def encode(self, text: str) -> list[int]:
        """At least one id: a model cannot read nothing.

        Raises NotUnderstood that names the words it has no number for, or says that there are none.
        """
        ...

    def save(self, path: Path) -> None:
        """So that `load` of its class reads it again."""
        ...


class LexiconTokenizer:
    """The words of a lexicon, which the small language encoder is built around."""

    LEXICON = lexicon.CART
    KIND = "lexicon"  # in its file
    size = len(LEXICON.words)
    place = FILE

    @classmethod
    def default(cls, config: VLAConfig) -> LexiconTokenizer:
        return cls()

    @classmethod
    def load(cls, path: Path) -> LexiconTokenizer:
        """Raises ValueError where the words are not those of the lexicon, in its order."""
        words = load_words(path, cls.KIND)
        pairs = zip_longest(words, cls.LEXICON.words[1:])
        for number, (was, now) in enumerate(pairs, start=1):
            if was != now:  # from here on ids would mean other words
                raise ValueError(
                    f"{path} has {len(words)} words, and the lexicon here {cls.size - 1}: "
                    f"word {number} is '{was or 'none'}' there and '{now or 'none'}' here; "
                    "use the version that trained it, or train again"
                )
        return cls()

    def save(self, path: Path) -> None:
        save_words(path, self.KIND, self.LEXICON.words[1:])

    def encode(self, text: str) -> list[int]:
        return self.LEXICON.encode(text)


class TableTokenizer(LexiconTokenizer):
    """The words of the arm at its table."""

    LEXICON = lexicon.TABLE
    KIND = "table lexicon"
    size = len(LEXICON.words)


class WordTokenizer:
    """A list of words, numbered from 1."""

    place = FILE

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.size = len(self.words) + 1
        self._ids = {word: index + 1 for index, word in enumerate(self.words)}
        if len(self._ids) < len(self.words) or "" in self._ids:
            raise ValueError(
                f"{len(self.words)} words are given, {len(self._ids)} different ones; "
                "give each once, none empty"
            )

    @classmethod
    def of(cls, texts: Iterable[str], most: int = 9_999) -> WordTokenizer:
        """The words of these texts, the commonest first, at most so many."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(lexicon.words_of(text))
        # the alphabet decides between words that are as common: the same texts, the same ids
        return cls(sorted(counts, key=lambda word: (-counts[word], word))[:most])

    @classmethod
    def default(cls, config: VLAConfig) -> None:
        return None  # only the texts of the training data can tell

    @classmethod
    def load(cls, path: Path) -> WordTokenizer:
        return cls(load_words(path, "words"))

    def save(self, path: Path) -> None:
        save_words(path, "words", self.words)

    def encode(self, text: str) -> list[int]:
        words = lexicon.words_of(text)
        refuse_unknown([word for word in words if word not in self._ids])
        return some([self._ids[word] for word in words], text)


class LlamaTokenizer:
    """A tokenizer that transformers reads from a local folder, with MARKS added.

    The ids are of the words alone: the encoder puts begin, the marks and what was seen before them.
    `size` counts neither.
    """

    place = FOLDER

    def __init__(self, folder: str | Path) -> None:
        from transformers import AddedToken, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises many kinds
            raise ValueError(
                f"{folder} holds no tokenizer that loads: {' '.join(str(error).split())[:200]}"
            ) from error
        marks = [AddedToken(mark, special=True, normalized=False) for mark in MARKS]
        self._tokenizer.add_tokens(marks, special_tokens=True)
        self.marks = tuple(map(self._tokenizer.convert_tokens_to_ids, MARKS))
        self.size = len(self._tokenizer) - len(MARKS)
        if self.marks != (self.size, self.size + 1):
            raise ValueError(
                f"{folder} numbers {' and '.join(MARKS)} {self.marks}; they must come last, as "
                f"{self.size} and {self.size + 1}: "
                "give the tokenizer without them, it gets them here"
            )
        self._special = {*self._tokenizer.all_special_ids, *self.marks}
        # an unknown word is the speaker's, not a mark of the model's
        self._special.discard(self._tokenizer.unk_token_id)

    @classmethod
    def default(cls, config: VLAConfig) -> LlamaTokenizer | None:
        folder = config.options("language")["weights"]
        return cls(folder) if folder and any(Path(folder).glob("tokenizer*")) else None

    @classmethod
    def load(cls, path: Path) -> LlamaTokenizer:
        return cls(path)

    def save(self, path: Path) -> None:
        self._tokenizer.save_pretrained(str(path))

    def encode(self, text: str) -> list[int]:
        ids = self._pieces(text)
        unknown = self._tokenizer.unk_token_id
        if unknown is not None and unknown in ids:
            words = [word for word in text.split() if unknown in self._pieces(word)]
            refuse_unknown(words or [text])  # alone, none of the words may be unknown
        for token in ids:
            if token in self._special:
                name = self._tokenizer.convert_ids_to_tokens(token)
                raise NotUnderstood(
                    f"the instruction has '{name}' in it, a mark of the model's own; leave it out"
                )
        return some(ids, text)

    def _pieces(self, text: str) -> list[int]:
        # half a surrogate pair is no text to the library
        valid = text.encode(errors="replace").decode()
        return self._tokenizer(valid, add_special_tokens=False)["input_ids"]


def check_tokenizer(config: VLAConfig, tokenizer: Tokenizer | None) -> None:
    """Raises ValueError where the tokenizer does not fit the config's language encoder."""
    from vla_ros.core.registry import lookup
    from vla_ros.models import TOKENIZERS

    wanted = lookup(TOKENIZERS, config.language, "tokenizer")
    if not isinstance(tokenizer, wanted):
        has = "none" if tokenizer is None else type(tokenizer).__name__
        raise ValueError(
            f"language '{config.language}' reads ids of a {wanted.__name__}, "
            f"and the model's tokenizer is {has}; set model.tokenizer"
        )
    # the small encoder is built around the lexicon, and has no such option
    vocabulary = config.options("language").get("vocabulary")
    if vocabulary is not None and tokenizer.size > vocabulary:
        raise ValueError(
            f"the tokenizer numbers {tokenizer.size} words, and language '{config.language}' has "
            f"vocabulary {vocabulary}; give a vocabulary of at least {tokenizer.size}, "
            "or fewer words"
        )


def padded(rows: Sequence[Sequence[int]], length: int | None = None) -> tuple[Tensor, Tensor]:
    """Ids of several texts -> ids B x L and mask B x L, words first.

    L is `length`, or that of the longest text, and 1 at least.

    Raises ValueError for a row longer than `length`.
    """
    import torch

    longest = max(map(len, rows), default=0)
    if length is not None and longest > length:
        raise ValueError(f"an instruction has {longest} ids; there is room for {length}")
    width = max(1, longest) if length is None else length
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    lengths = torch.tensor(list(map(len, rows)), dtype=torch.long)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def some(ids: list[int], text: str) -> list[int]:
    """The ids, of which there is one at least. Raises NotUnderstood where the text has no word."""
    if not ids or not lexicon.words_of(text):  # "!!!" has pieces, and says nothing
        raise NotUnderstood(f"there is no word in {text[:20]!r}; say what to do")
    return ids


def refuse_unknown(unknown: Sequence[str]) -> None:
    """Raises NotUnderstood that names the words, if there are any."""
    if unknown:
        unknown = list(dict.fromkeys(unknown))  # each once
        names = ", ".join(f"{word[:20]!r}" for word in unknown)
        noun = "the word" if len(unknown) == 1 else "the words"
        raise NotUnderstood(f"the policy does not know {noun} {names}")


def load_words(path: Path, kind: str) -> list[str]:
    """What `save_words` wrote. Raises ValueError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no list of words ({error}); copy the checkpoint again"
        ) from error
    if not isinstance(content, dict):
        content = {}
    has = content.get("kind")
    words: list[str] | None = content.get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        words = None
    if has != kind or words is None:
        raise ValueError(
            f"{path} is of kind {has!r}; this checkpoint's language encoder needs {kind!r}"
        )
    return words


def save_words(path: Path, kind: str, words: Sequence[str]) -> None:
    """As the tokenizer's file in a checkpoint."""
    text = json.dumps({"kind": kind, "words": list(words)}, ensure_ascii=False, indent=0)
    path.write_text(text + "\n", encoding="utf-8")
