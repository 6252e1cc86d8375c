"""Training large parts in little memory.

Low-rank adapters (Hu et al. 2021), and layers that are recomputed in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from vla_ros.models.vla import VLA

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "out_proj")  # out_proj is CLIP's name for o


def add_lora(
    model: VLA,
    part: str = "language",
    rank: int = 16,
    alpha: int = 32,
    dropout: float = 0.1,
    targets: Sequence[str] = PROJECTIONS,
) -> list[str]:
    """Freezes the pretrained model inside a part and adds adapters to its projections.

    Everything around it (the projections to width D, fusion, heads) goes on learning.

    Args:
        model: Changed in place.
        part: "language" or "vision".
        rank: Of the adapters.
        alpha: Their share is scaled by alpha / rank.
        dropout: Before them.
        targets: The last parts of the names of the layers that get one.

    Returns:
        The names of the adapted layers.

    Raises:
        ValueError: Where the part has no such layers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    base = _backbone(model, part)
    layers = []
    for name, _ in base.named_modules() if base is not None else ():
        if name.split(".")[-1] in targets:
            layers.append(name)
    if base is None or not layers:
        raise ValueError(
            f"{part} '{getattr(model.config, part)}' has no layers {', '.join(targets)}; "
            "LoRA is for language 'llama' and vision 'clip'"
        )
    base.requires_grad_(False)
    # after freezing: the adapters' own weights learn
    adapters = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=layers)
    inject_adapter_in_model(adapters, base)
    return [f"{part}.model.{name}" for name in layers]


def merge_lora(model: VLA) -> None:
    """Adds the adapters to the weights that they adapt, so that the model can be saved.

    It is again as it was built.
    """
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):  # a list: layers are replaced on the way
        if isinstance(layer, LoraLayer):
            layer.merge()
            path, _, child = name.rpartition(".")
            setattr(model.get_submodule(path), child, layer.get_base_layer())


def enable_gradient_checkpointing(model: VLA) -> list[str]:
    """Switches recomputing on in every part that can, and gives their names.

    Raises ValueError where none can.
    """
    from transformers import PreTrainedModel

    parts = []
    for part in ("vision", "language"):
        base = _backbone(model, part)
        if isinstance(base, PreTrainedModel) and base.supports_gradient_checkpointing:
            # transformers 6 drops the older name, 4 has no other
            name = "activation_checkpointing_enable"
            if not hasattr(base, name):
                name = "gradient_checkpointing_enable"
            getattr(base, name)({"use_reentrant": False})
            parts.append(part)
    if hasattr(model.fusion, "checkpointing"):
        model.fusion.checkpointing = True
        parts.append("fusion")
    if not parts:
        raise ValueError(
            f"no part of vision '{model.config.vision}', language '{model.config.language}', "
            f"fusion '{model.config.fusion}' can checkpoint its gradients; "
            "clip, llama and the transformer fusion can"
        )
    return parts


def _backbone(model: VLA, part: str) -> nn.Module | None:
    """What transformers supplied of a part, if it is such a part."""
    if part not in ("vision", "language"):
        raise ValueError(f"part is {part!r}; give vision or language")
    pretrained = getattr(getattr(model, part), "model", None)
    return pretrained if isinstance(pretrained, nn.Module) else None
