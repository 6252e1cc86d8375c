"""What a model is made of: one dataclass that rejects what does not fit together. No torch here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_ros.models import FUSION, HEADS, LANGUAGE, MODELS, QUANTIZATIONS, VISION
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.options import checked, decoder_layers, whole
from vla_ros.models.sizes import sizes_of

KINDS = {"vision": VISION, "language": LANGUAGE, "fusion": FUSION, "head": HEADS, "model": MODELS}
NUMBERS = (int, float)
# Of the model `table`, which looks through two cameras: height, width, pixels.
TABLE_IMAGES = {"scene": (96, 96), "wrist": (64, 64)}


@dataclass(frozen=True)
class VLAConfig:
    """The parts by name, their options, and what the model sees, is told and drives.

    Raises ValueError, in a sentence, for what is unknown and for what does not fit together.
    """

    vision: str = "small"
    language: str = "small"
    fusion: str = "grounded"
    head: str = "decoder"
    width: int = 96  # D, at which vision and language meet
    image_size: tuple[int, int] = (120, 160)  # H, W pixels
    channels: tuple[str, ...] = ("linear.x", "angular.z", "gripper")
    low: tuple[float, ...] = (-0.5, -0.5, 0.0)  # of each channel, SI units
    high: tuple[float, ...] = (0.5, 0.5, 1.0)
    steps: int = 8  # rows of a chunk
    step: float = 0.1  # s from one row to the next
    state: tuple[str, ...] = ()  # the numbers beside the image, in order
    # adds the heads that only training asks: objects in cells, where the target is, which task
    auxiliary: bool = False
    vision_options: Mapping[str, Any] = field(default_factory=dict)
    language_options: Mapping[str, Any] = field(default_factory=dict)
    fusion_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "end_to_end"  # the whole that the parts make up
    model_options: Mapping[str, Any] = field(default_factory=dict)
    quantization: str = "none"  # what `vla quantize` did to the weights
    # Those that it learned from, whose images lie side by side in its own, each in an equal share
    # of the width; none: it was not told.
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._freeze()
        # names before options, options before what fits together: each check relies on those before
        for name, registry in KINDS.items():
            if getattr(self, name) not in registry:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; known are: {', '.join(sorted(registry))}"
                )
        self._check_numbers()
        self._check_channels()
        for kind in KINDS:
            self.options(kind)
        self._check_vision()
        self._check_language()
        self._check_rest()

    def options(self, kind: str) -> dict[str, Any]:
        """Every option of one of KINDS: what is given, over the defaults."""
        return checked(kind, getattr(self, kind), getattr(self, f"{kind}_options"))

    @property
    def cells(self) -> bool:
        """Does the vision encoder give a grid of cells, not one pooled token?"""
        return not self.options("vision").get("pooled", False)

    @property
    def views(self) -> dict[str, tuple[int, int]]:
        """Camera -> height, width of its share of the image."""
        height, width = self.image_size
        return dict.fromkeys(self.cameras, (height, width // max(1, len(self.cameras))))

    def resolved(self) -> VLAConfig:
        """With the sizes of pretrained weights in the options, as their folders tell them.

        Raises ValueError where a folder is none, holds another kind of model, or contradicts an
        option that is given.
        """
        changes: dict[str, Any] = {}
        for kind in ("vision", "language"):
            folder = self.options(kind).get("weights")
            if folder:
                name = getattr(self, kind)
                given = getattr(self, f"{kind}_options")
                changes[f"{kind}_options"] = sizes_of(kind, name, folder, given)
        return dataclasses.replace(self, **changes) if changes else self

    def standalone(self) -> VLAConfig:
        """As a checkpoint holds it: without folders of pretrained weights, which it has itself."""
        return dataclasses.replace(
            self,
            vision_options=_without_weights("vision", self.vision, self.vision_options),
            language_options=_without_weights("language", self.language, self.language_options),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VLAConfig:
        """From what `to_dict` gave, also by way of JSON.

        Raises ValueError for a name that is not a field.
        """
        values = dict(values)
        camera = values.pop("camera", "")  # as checkpoints before several cameras have it
        if camera:
            values.setdefault("cameras", (camera,))
        known = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"the config has {unknown[0]!r}, which is no field; fields are: "
                f"{', '.join(sorted(known))}"
            )
        return cls(**values)

    # -- what must hold ----------------------------------------------------------------
    def _freeze(self) -> None:
        """Lists as tuples, also those in options."""
        # JSON knows no tuples, and a config that is read equals the one that was written
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, list):
                value = tuple(value)
            elif entry.name.endswith("_options") and isinstance(value, Mapping):
                value = dict(value)
                for name, option in value.items():
                    if isinstance(option, list):
                        value[name] = tuple(option)
            object.__setattr__(self, entry.name, value)  # frozen, so not by an assignment

    def _check_numbers(self) -> None:
        for name in ("width", "steps"):
            value = getattr(self, name)
            if not whole(value):
                raise ValueError(f"{name} is {value!r}; give a whole number from 1 up")
        if not isinstance(self.step, NUMBERS) or not 0 < self.step <= 10:
            raise ValueError(f"step is {self.step!r} s; give more than 0 and at most 10")
        size = self.image_size
        if not isinstance(size, tuple) or len(size) != 2 or not all(map(whole, size)):
            raise ValueError(
                f"image_size is {size!r}; give height and width in pixels, like (120, 160)"
            )
        if self.quantization not in QUANTIZATIONS:
            raise ValueError(
                f"quantization is {self.quantization!r}; give one of {', '.join(QUANTIZATIONS)}"
            )
        if not isinstance(self.auxiliary, bool):
            raise ValueError(f"auxiliary is {self.auxiliary!r}; give true or false")

    def _check_channels(self) -> None:
        for name in ("channels", "state", "cameras"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(map(_is_name, value)):
                raise ValueError(f"{name} is {value!r}; give a list of names")
            for entry in value:
                if value.count(entry) > 1:
                    raise ValueError(f"{name} has {entry!r} twice; give each name once")
        if not len(self.channels) == len(self.low) == len(self.high) or not self.channels:
            raise ValueError(
                f"{len(self.channels)} channels, {len(self.low)} lows and {len(self.high)} highs "
                "do not fit; give one low and one high for each channel, at least one"
            )
        for channel, low, high in zip(self.channels, self.low, self.high):
            # NaN compares as false, so low >= high alone would let it pass
            numbers = isinstance(low, NUMBERS) and isinstance(high, NUMBERS)
            fine = numbers and math.isfinite(low) and math.isfinite(high)
            if not fine or low >= high:
                raise ValueError(
                    f"channel {channel} has low {low!r} and high {high!r}; "
                    "give finite bounds, low below high"
                )

    def _check_vision(self) -> None:
        options = self.options("vision")
        height, width = self.image_size
        if self.cameras and width % len(self.cameras):
            raise ValueError(
                f"image_size is {self.image_size!r}, and {len(self.cameras)} cameras do not share "
                f"{width} pixels evenly; give a multiple"
            )
        patch = options.get("patch")  # CLIP's alone
        if patch and (height % patch or width % patch):
            raise ValueError(
                f"clip vision cuts the image into patches of {patch} pixels, and {height} x "
                f"{width} is no whole number of them; give multiples of {patch}"
            )
        if patch and options["native_size"] % patch:
            raise ValueError(
                f"clip vision has native_size {options['native_size']} and patch {patch}; "
                "give a multiple of it"
            )
        _divides("clip vision", options)
        for wants, why in (
            (self.fusion == "grounded", "fusion 'grounded'"),
            (self.auxiliary, "auxiliary true"),
        ):
            if wants and not self.cells:
                raise ValueError(
                    f"{why} needs cells of an image, and vision '{self.vision}' with pooled true "
                    "gives one feature for all of it; "
                    "leave pooled false, or choose another fusion without auxiliary"
                )

    def _check_language(self) -> None:
        options = self.options("language")
        if self.language in ("small", "table", "static") and self.width % 4:
            raise ValueError(
                f"width is {self.width}, and {self.language} language has 4 heads; "
                "give a multiple of 4"
            )
        if self.language == "minilm":
            _divides("minilm language", options)
            if options["places"] < LENGTH + 2:
                raise ValueError(
                    f"minilm language has {options['places']} places, and an instruction has up "
                    f"to {LENGTH} pieces and two marks; give at least {LENGTH + 2}"
                )
            for mark in ("begin", "end"):
                if options[mark] >= options["vocabulary"]:
                    raise ValueError(
                        f"minilm language has {mark} {options[mark]}, and its vocabulary is "
                        f"{options['vocabulary']}; give a token of it"
                    )
            activation = options["details"].get("hidden_act", "gelu")
            if activation != "gelu":
                raise ValueError(
                    f"minilm language computes with gelu, and its details say {activation!r}; "
                    "give weights of a BERT with gelu"
                )
        if self.language == "llama":
            _divides("llama language", options)
            # grouped attention: as many heads ask each of the kv_heads
            if options["kv_heads"] and options["heads"] % options["kv_heads"]:
                raise ValueError(
                    f"llama language has heads {options['heads']} and kv_heads "
                    f"{options['kv_heads']}; give kv_heads that divide heads"
                )
            head = options["hidden"] // options["heads"]
            if head % 2 and "head_dim" not in options["details"]:
                raise ValueError(
                    f"llama language has {head} numbers a head (hidden {options['hidden']} / "
                    f"heads {options['heads']}); its rotary positions want an even number"
                )
            if options["begin"] >= options["vocabulary"]:
                raise ValueError(
                    f"llama language begins with token {options['begin']}, and its vocabulary "
                    f"is {options['vocabulary']}; give a token of it"
                )

    def _check_rest(self) -> None:
        fusion = self.options("fusion")
        head = self.options("head")
        model = self.options("model")
        if "heads" in fusion and self.width % fusion["heads"]:
            raise ValueError(
                f"fusion '{self.fusion}' has heads {fusion['heads']}, "
                f"which do not divide width {self.width}"
            )
        if self.head == "decoder":
            decoder_layers(head)  # raises where widths and dropouts do not fit
        if self.head == "planner" and self.steps > head["longest"]:
            raise ValueError(
                f"steps is {self.steps}, and the planner's longest plan has {head['longest']}; "
                "give at most that, or a larger longest"
            )
        if self.model == "modular":
            if self.head != "decoder":
                raise ValueError(
                    f"head is '{self.head}', and the modular model mixes the actions of decoders; "
                    "use head 'decoder'"
                )
            mapping = model["mapping"]
            tasks = model["tasks"]
            skills = model["skills"]
            if mapping and (len(mapping) != tasks or max(mapping) >= skills):
                raise ValueError(
                    f"mapping is {mapping}, which does not name one of {skills} skills (0 to "
                    f"{skills - 1}) for each of {tasks} tasks; give {tasks} such numbers"
                )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _without_weights(kind: str, part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options given, so that no pretrained weights are looked for."""
    options = dict(given)
    options.pop("weights", None)
    if checked(kind, part, options).get("weights"):  # by default
        options["weights"] = ""
    return options


def _divides(title: str, options: Mapping[str, Any]) -> None:
    """Each attention head gets the same share of `hidden`. Raises ValueError."""
    if "heads" in options and options["hidden"] % options["heads"]:
        raise ValueError(
            f"{title} has heads {options['heads']}, "
            f"which do not divide its hidden {options['hidden']}"
        )
