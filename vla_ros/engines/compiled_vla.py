"""A VLA on engines: the words are read once an instruction, each image is acted on; the policy asks
nothing more."""

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

REMEMBERED = 100  # instructions


class CompiledVLA:
    """`vla` with both of its stages on the engine that was wished for, warm. `notes` is what a user
    should know, `content` the checkpoint's hash."""

    def __init__(
        self, vla: VLA, folder: Path, request: EngineRequest, say: Callable[[str], None]
    ) -> None:
        assert vla.tokenizer is not None  # a checkpoint has one
        self._encode = vla.tokenizer.encode
        self.content = content_hash(folder)
        reading, acting, real = sub_models_in(folder, vla)
        request = replace(request, beside=str(folder / ENGINES))
        self._reading = load_engine(reading, request, say) if reading else None
        self._acting = load_engine(acting, request, say)
        self._told = reading.outputs if reading else ()
        self._asks = acting.inputs
        self._heard = acting.outputs
        self.notes = (
            [] if real else ["the checkpoint has no examples; its engines were compared on noise"]
        )
        self.notes += self._acting.notes
        self._known: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        # s
        self._hits = 0
        self._misses = 0
        self._reading_time = 0.0

    def encode_text(self, text: str) -> dict[str, Tensor]:
        """What the language stage says of the words, by name, and their ids and mask; remembered.

        Raises NotUnderstood for words that the model does not know, and for too many.
        """
        if text in self._known:
            self._hits += 1
            self._known.move_to_end(text)
            return self._known[text]
        began = time.perf_counter()
        words = self._encode(text)
        if len(words) > LENGTH:
            raise NotUnderstood(
                f"the instruction has {len(words)} words or pieces of words; use at most {LENGTH}"
            )
        ids = F.pad(torch.tensor([words]), (0, LENGTH - len(words)))
        mask = torch.arange(LENGTH)[None] < len(words)
        read = self._reading.engine(ids, mask) if self._reading else ()
        found = dict(zip(self._told, read)) | {"ids": ids, "mask": mask}
        self._misses += 1
        self._reading_time += time.perf_counter() - began
        self._known[text] = found
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def decode_action(
        self, image: NDArray[np.uint8], read: dict[str, Tensor], state: list[float]
    ) -> dict[str, Tensor]:
        """One image H x W x 3, what `encode_text` gave and the state -> what the model has to say,
        by name."""
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
        given = read | {"image": pixels, "state": torch.tensor([state])}
        return dict(zip(self._heard, self._acting.engine(*(given[name] for name in self._asks))))

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        saved = self._hits * self._reading_time / max(1, self._misses)
        language = (
            str(self._reading) if self._reading else "none: it reads the image too, each time"
        )
        return {
            "engine": str(self._acting),
            "language engine": language,
            "instructions known": f"{self._hits} of {self._hits + self._misses}",
            "reading saved (ms)": f"{1e3 * saved:.1f}",
        }


def sub_models_in(folder: Path, vla: VLA) -> tuple[SubModel | None, SubModel, bool]:
    """The two parts of a checkpoint's model, as `sub_models_of`, and whether their examples are
    real."""
    given, real = examples.load(folder, vla)
    return (*sub_models_of(vla, given, f"{content_hash(folder)} {code_hash()}"), real)


def sub_models_of(
    vla: VLA, given: Mapping[str, Tensor], key: str, batch: tuple[int, int] = (1, 1)
) -> tuple[SubModel | None, SubModel]:
    """The language stage (None where words cannot be read without the image), and vision and
    action, with the rows of `given` (image, ids, mask, state) as examples. `batch` as a
    SubModel's."""
    reading = None if vla.reads_vision else LanguageStage(vla)
    acting = ActionStage(vla)
    if reading:
        with torch.inference_mode():
            given = dict(given) | dict(zip(reading.outputs, reading(given["ids"], given["mask"])))

    def part(name: str, module: LanguageStage | ActionStage, inputs: tuple[str, ...]) -> SubModel:
        rows = tuple(
            tuple(given[one][row : row + 1].clone() for one in inputs)
            for row in range(len(given["ids"]))
        )
        return SubModel(name, module.eval(), inputs, module.outputs, rows, key, batch)

    words = part("language", reading, ("ids", "mask")) if reading else None
    return words, part("vision and action", acting, acting.inputs)


@cache
def code_hash() -> str:
    """Of the models' code: an engine computes what the code did when it was built."""
    found = hashlib.sha256()
    for path in sorted(Path(models.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]
