"""The sizes of a folder of pretrained weights, as transformers wrote them there.

Told in our options' names. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vla_ros.models.language.word_sources import minilm_folder, minilm_marks, word_table


class Family(NamedTuple):
    """What a kind of model's config.json has for our options."""

    kinds: tuple[str, ...]  # its `model_type`
    options: Mapping[str, tuple[str, Any]]  # ours -> theirs, what a file that leaves it out means
    details: tuple[str, ...]  # settings that change the arithmetic


# Defaults are those of transformers' own configs: a file leaves out what does not differ from them.
_RESNET = Family(
    ("resnet",),
    {
        "stem": ("embedding_size", 64),
        "sizes": ("hidden_sizes", (256, 512, 1024, 2048)),
        "depths": ("depths", (3, 4, 6, 3)),
    },
    ("hidden_act", "downsample_in_first_stage", "downsample_in_bottleneck"),
)
FAMILIES = {
    "clip": Family(
        ("clip", "clip_vision_model"),
        {
            "hidden": ("hidden_size", 768),
            "layers": ("num_hidden_layers", 12),
            "heads": ("num_attention_heads", 12),
            "feed_forward": ("intermediate_size", 3072),
            "patch": ("patch_size", 32),
            "native_size": ("image_size", 224),
        },
        ("hidden_act", "layer_norm_eps"),
    ),
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "llama": Family(
        ("llama",),
        {
            "vocabulary": ("vocab_size", 32_000),
            "hidden": ("hidden_size", 4096),
            "layers": ("num_hidden_layers", 32),
            "heads": ("num_attention_heads", 32),
            "kv_heads": ("num_key_value_heads", None),  # as many as heads
            "feed_forward": ("intermediate_size", 11_008),
            "begin": ("bos_token_id", 1),
        },
        (
            "hidden_act",
            "rms_norm_eps",
            "rope_theta",
            "rope_scaling",
            "rope_parameters",
            "max_position_embeddings",
            "attention_bias",
            "mlp_bias",
            "head_dim",
        ),
    ),
    "minilm": Family(
        ("bert",),
        {
            "vocabulary": ("vocab_size", 30_522),
            "hidden": ("hidden_size", 768),
            "layers": ("num_hidden_layers", 12),
            "heads": ("num_attention_heads", 12),
            "feed_forward": ("intermediate_size", 3072),
            "places": ("max_position_embeddings", 512),
        },
        ("hidden_act", "layer_norm_eps"),
    ),
}


def sizes_of(kind: str, name: str, folder: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options given and those that the folder's config.json tells.

    Args:
        kind: "vision" or "language", for sentences.
        name: Of the part: a key of FAMILIES.
        folder: With pretrained weights, as transformers saved them.
        given: Options of the part.

    Raises:
        ValueError: For a folder that is none, of another model, or contradicts the options.
    """
    if name == "static":  # a table of its own
        rows = word_table(folder).rows
        sizes = {"vocabulary": rows.shape[0], "embedding": rows.shape[1]}
        _check_given(f"{name} {kind}", folder, given, sizes)
        return {**given, **sizes}
    family = FAMILIES[name]
    if name == "minilm":
        folder = str(minilm_folder(folder))
    theirs = _read(kind, folder)
    if theirs.get("model_type") not in family.kinds:
        raise ValueError(
            f"{kind}'s weights {folder} are of a model {theirs.get('model_type')!r}; "
            f"{name} needs {family.kinds[0]!r}"
        )
    if "vision_config" in theirs:  # a whole CLIP: its eyes alone are wanted
        theirs = theirs["vision_config"]
    # both ResNets are one model_type: their layers tell them apart
    layers = {"resnet18": "basic", "resnet50": "bottleneck"}.get(name)
    layer_type = theirs.get("layer_type", "bottleneck")
    if layers and layer_type != layers:
        raise ValueError(
            f"{kind}'s weights {folder} have {layer_type!r} layers; {name} has {layers!r}"
        )
    sizes = {}
    for option, (key, default) in family.options.items():
        value = theirs.get(key, default)
        if isinstance(value, list):
            value = tuple(value)  # as a config has it
        sizes[option] = value
    if name == "minilm":
        sizes |= minilm_marks(folder)
    _check_given(f"{name} {kind}", folder, given, sizes)
    details: dict[str, Any] = {}
    for key in family.details:
        if theirs.get(key) is not None:
            details[key] = theirs[key]
    details |= given.get("details", {})  # a person may overrule the folder
    return {**given, **sizes, "details": details}


def _check_given(
    title: str, folder: str, given: Mapping[str, Any], sizes: Mapping[str, Any]
) -> None:
    """Raises ValueError where the options given contradict the folder's sizes."""
    for option, value in sizes.items():
        if option in given and given[option] != value:
            raise ValueError(
                f"{title} has {option} {given[option]!r}, and its weights {folder} have "
                f"{value!r}; leave {option} out, or give other weights"
            )


def _read(kind: str, folder: str) -> dict[str, Any]:
    """The folder's config.json. Raises ValueError."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{kind}'s weights {folder} is no folder with a config.json; "
            "give one that transformers saved"
        )
    if not any(Path(folder).glob("*.safetensors")):
        raise ValueError(
            f"{kind}'s weights {folder} hold no .safetensors file; "
            "pickles (.bin, .pt) are never loaded"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); copy the folder again") from error
    return content
