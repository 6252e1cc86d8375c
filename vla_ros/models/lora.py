"""Training large parts in little memory: low-rank adapters (Hu et al. 2021) and layers recomputed
in the backward pass."""

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
    """Freezes the pretrained model inside the part ("language", "vision") and adds adapters to its
    projections.

    Everything around it (the projections to width D, fusion, heads) goes on learning. Gives the
    names of the adapted layers. Raises ValueError where the part has no such layers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    base = _backbone(model, part)
    found = (
        []
        if base is None
        else [name for name, _ in base.named_modules() if name.split(".")[-1] in targets]
    )
    if base is None or not found:
        raise ValueError(
            f"{part} '{getattr(model.config, part)}' has no layers {', '.join(targets)}; "
            "LoRA is for language 'llama' and vision 'clip'"
        )
    base.requires_grad_(False)
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=found), base
    )
    return [f"{part}.model.{name}" for name in found]


def merge_lora(model: VLA) -> None:
    """Adds the adapters to the weights that they adapt and leaves the model as it was built, ready
    to be saved."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            path, _, child = name.rpartition(".")
            setattr(model.get_submodule(path), child, layer.get_base_layer())


def enable_gradient_checkpointing(model: VLA) -> list[str]:
    """Switches recomputing on in every part that can. Gives their names. Raises ValueError where
    none can."""
    from transformers import PreTrainedModel

    found = []
    for part in ("vision", "language"):
        base = _backbone(model, part)
        if isinstance(base, PreTrainedModel) and base.supports_gradient_checkpointing:
            # transformers 6 drops the older name, 4 has no other
            newer = getattr(base, "activation_checkpointing_enable", None)
            (newer or base.gradient_checkpointing_enable)({"use_reentrant": False})
            found.append(part)
    if hasattr(model.fusion, "checkpointing"):
        model.fusion.checkpointing = True
        found.append("fusion")
    if not found:
        raise ValueError(
            f"no part of vision '{model.config.vision}', language '{model.config.language}', "
            "fusion "
            f"'{model.config.fusion}' can checkpoint its gradients; clip, llama and the "
            "transformer fusion can"
        )
    return found


def _backbone(model: VLA, part: str) -> nn.Module | None:
    if part not in ("vision", "language"):
        raise ValueError(f"part is {part!r}; give vision or language")
    found = getattr(getattr(model, part), "model", None)
    return found if isinstance(found, nn.Module) else None
