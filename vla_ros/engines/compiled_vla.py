"""A VLA on engines: its words are read once an instruction, and each image is acted on."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vla_ros import models
from vla_ros.core.instructions import NotUnderstood
from vla_ros.engines.base import SubModel
from vla_ros.engines.select import EngineRequest, load_engine
from vla_ros.models import examples
from vla_ros.models.checkpoint import ENGINES, content_hash
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.stages import ActionStage, LanguageStage
from vla_ros.models.vla import VLA

REMEMBERED_INSTRUCTIONS = 100  # the longest unused are forgotten


class CompiledVLA:
    """A VLA with both of its stages on the engine that was asked for, warm.

    Attributes:
        content: The checkpoint's hash.
        notes: What a user should know of the engines, a sentence each.
    """

    def __init__(
        self, vla: VLA, folder: Path, request: EngineRequest, say: Callable[[str], None]
    ) -> None:
        assert vla.tokenizer is not None  # a checkpoint has one
        self._encode = vla.tokenizer.encode
        self.content = content_hash(folder)
        language, action, real = sub_models_in(folder, vla)
        request = replace(request, beside=str(folder / ENGINES))
        self._language = load_engine(language, request, say) if language else None
        self._action = load_engine(action, request, say)
        self._language_outputs = language.outputs if language else ()
        self._action_inputs = action.inputs
        self._action_outputs = action.outputs
        self.notes: list[str] = []
        if not real:
            self.notes.append("the checkpoint has no examples; its engines were compared on noise")
        self.notes += self._action.notes
        # instruction -> what `encode_text` gave, the longest unused first
        self._encoded: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._encoding_s = 0.0  # of all misses

    def encode_text(self, text: str) -> dict[str, Tensor]:
        """What the language stage says of the words, by name, and their ids and mask; remembered.

        Returns:
            Tensors of one row; ids and mask are 1 x LENGTH.

        Raises:
            NotUnderstood: For words that the model does not know, and for too many.
        """
        if text in self._encoded:
            self._hits += 1
            self._encoded.move_to_end(text)
            return self._encoded[text]
        began = time.perf_counter()
        words = self._encode(text)
        if len(words) > LENGTH:
            raise NotUnderstood(
                f"the instruction has {len(words)} words or pieces of words; use at most {LENGTH}"
            )
        # Engines are compiled for one length: shorter instructions are padded, and masked.
        ids = F.pad(torch.tensor([words]), (0, LENGTH - len(words)))
        mask = torch.arange(LENGTH)[None] < len(words)
        outputs = self._language.engine(ids, mask) if self._language else ()
        # ids and mask as well: some fusions look at the words by themselves
        encoded = dict(zip(self._language_outputs, outputs)) | {"ids": ids, "mask": mask}
        self._misses += 1
        self._encoding_s += time.perf_counter() - began
        self._encoded[text] = encoded
        if len(self._encoded) > REMEMBERED_INSTRUCTIONS:
            self._encoded.popitem(last=False)
        return encoded

    def decode_action(
        self, image: NDArray[np.uint8], read: dict[str, Tensor], state: list[float]
    ) -> dict[str, Tensor]:
        """What the model makes of one image.

        Args:
            image: H x W x 3.
            read: What `encode_text` gave.
            state: In the order of the model's config.

        Returns:
            The action stage's outputs by name, one row each.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
        given = read | {"image": pixels, "state": torch.tensor([state])}
        inputs = [given[name] for name in self._action_inputs]
        return dict(zip(self._action_outputs, self._action.engine(*inputs)))

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        saved_s = self._hits * self._encoding_s / max(1, self._misses)
        language = "none: it reads the image too, each time"
        if self._language:
            language = str(self._language)
        return {
            "engine": str(self._action),
            "language engine": language,
            "instructions known": f"{self._hits} of {self._hits + self._misses}",
            "reading saved (ms)": f"{1e3 * saved_s:.1f}",
        }


def sub_models_in(folder: Path, vla: VLA) -> tuple[SubModel | None, SubModel, bool]:
    """The two parts of a checkpoint's model, as `sub_models_of`; are their examples real?"""
    given, real = examples.load(folder, vla)
    return (*sub_models_of(vla, given, f"{content_hash(folder)} {code_hash()}"), real)


def sub_models_of(
    vla: VLA, given: Mapping[str, Tensor], key: str, batch: tuple[int, int] = (1, 1)
) -> tuple[SubModel | None, SubModel]:
    """A model's two parts, as engines run them.

    Args:
        given: Inputs of the whole model, N rows of each: image, ids, mask, state. A row is one of
            the parts' examples.
        key: Stands for the config and the weights.
        batch: As a SubModel's.

    Returns:
        The language stage (None where words cannot be read without the image), and vision and
        action.
    """
    language = None if vla.reads_vision else LanguageStage(vla)
    action = ActionStage(vla)
    if language:
        # What it says of the words is an input of the other part.
        with torch.inference_mode():
            outputs = language(given["ids"], given["mask"])
        given = dict(given) | dict(zip(language.outputs, outputs))

    def part(name: str, module: LanguageStage | ActionStage, inputs: tuple[str, ...]) -> SubModel:
        rows = []
        for row in range(len(given["ids"])):
            # a clone of a tensor of the inference mode is an ordinary one
            rows.append(tuple(given[name][row : row + 1].clone() for name in inputs))
        return SubModel(name, module.eval(), inputs, module.outputs, tuple(rows), key, batch)

    words = part("language", language, ("ids", "mask")) if language else None
    return words, part("vision and action", action, action.inputs)


@cache
def code_hash() -> str:
    """Of the models' code: an engine computes what the code did when it was built."""
    digest = hashlib.sha256()
    for path in sorted(Path(models.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
