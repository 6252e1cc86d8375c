"""How many bytes a model takes, before any is spent: its real modules on torch's meta device, which
holds shapes alone.

Weights are the sum of the model's storages after its own `to`. Activations are the most bytes that
live at once beyond weights, gradients and inputs while the real forward (and backward) runs on fake
CPU tensors: the kernels chosen and the moments at which tensors are freed are the real ones. The
scratch space of a convolution or LSTM is taken to be its inputs, weights and outputs once more
(oneDNN lays them out anew); that of other kernels and the allocator's gaps are not in it, and
`usable` leaves room for them. test_memory.py holds all this to torch.profiler's record of torch's
CPU allocator.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vla_ros.models import PACKED, build
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.quantized import quantize_weights
from vla_ros.models.vla import VLA

GIB = 2**30
PRECISIONS = {
    "loaded": None,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "int8": torch.bfloat16,
    # as the config says; fp16 takes what bf16 takes; PACKED: of what is not packed
    "int4": torch.bfloat16,
}
COPYING = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.mkldnn_rnn_layer.default,
    torch.ops.aten.mkldnn_rnn_layer_backward.default,
)
_FULL: dict[str, Any] = {"width": 512, "fusion": "cross_attention"}
_CLIP: dict[str, Any] = {**_FULL, "vision": "clip", "image_size": (224, 224)}
_LLAMA: dict[str, Any] = {**_FULL, "language": "llama"}
# fields of a VLAConfig, the others at their defaults; sizes as published
PRESETS: dict[str, dict[str, Any]] = {
    "clip-b32": _CLIP,
    "clip-l14": {
        **_CLIP,
        "vision_options": {
            "hidden": 1024,
            "layers": 24,
            "heads": 16,
            "feed_forward": 4096,
            "patch": 14,
        },
    },
    "llama-1b": {
        **_LLAMA,
        "language_options": {
            "vocabulary": 128_256,
            "hidden": 2048,
            "layers": 16,
            "heads": 32,
            "kv_heads": 8,
            "feed_forward": 8192,
        },
    },  # Llama 3.2
    "llama-7b": _LLAMA,  # Llama 2
    "llama-13b": {
        **_LLAMA,
        "language_options": {"hidden": 5120, "layers": 40, "heads": 40, "feed_forward": 13_824},
    },
}


class Gpu(NamedTuple):
    gib: int
    shared: bool  # with the CPU: the system lives in it too


GPUS = {
    "Orin Nano 8": Gpu(8, True),
    "Orin NX 16": Gpu(16, True),
    "RTX 4090 24": Gpu(24, False),
    "L4 24": Gpu(24, False),
    "AGX Orin 32": Gpu(32, True),
    "A100 40": Gpu(40, False),
    "AGX Orin 64": Gpu(64, True),
    "A100 80": Gpu(80, False),
    "H100 80": Gpu(80, False),
}


@dataclass(frozen=True)
class Use:
    """Bytes of one way to use the model; the last three are 0 where nothing is trained."""

    weights: int
    activations: int
    gradients: int = 0
    optimizer: int = 0  # AdamW's two averages
    step: int = 0  # what its step takes beside them, when the activations are gone

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.step)


@dataclass(frozen=True)
class Estimate:
    """`parameters` by part; `inference` by precision; `training` in fp32 and with bf16 arithmetic
    on fp32 weights; `kv_cache` in bytes at 16 bits for batch and tokens, were the language model to
    generate words: no VLA here does, so it is in no total. 0: not a Llama."""

    batch: int
    length: int
    parameters: Mapping[str, int]
    inference: Mapping[str, Use]
    training: Mapping[str, Use]
    kv_cache: int


def usable(gpu: Gpu) -> float:
    """Bytes left for a model, by rule of thumb, not measured: a tenth for scratch space and gaps,
    0.6 GiB for CUDA itself, and where memory is shared 2 GiB for the system, ROS and the
    cameras."""
    return (0.9 * gpu.gib - 0.6 - 2.0 * gpu.shared) * GIB


def estimate(config: VLAConfig, batch: int = 1, length: int = 20) -> Estimate:
    """For `batch` images, each with an instruction of `length` tokens. Raises ValueError for what
    cannot run."""
    for name, value in (("batch", batch), ("length", length)):
        if value < 1:
            raise ValueError(f"{name} is {value}; give a whole number from 1 up")
    if config.language == "small" and length > LENGTH:
        raise ValueError(
            f"length is {length}, and small language reads {LENGTH} tokens at most; give at most "
            "that"
        )
    model = meta(config)
    parameters = {
        name: sum(one.numel() for one in part.parameters())
        for name, part in (("vision", model.vision), ("language", model.language), ("all", model))
    }
    inference = {}
    for name in PRECISIONS:
        kept = packed(config, name)
        inference[name] = Use(_bytes(kept), activations(kept, batch, length))
    learning = meta(config, torch.float32).train()
    optimizer, step = adamw(learning)
    gradients = sum(one.nbytes for one in learning.parameters())
    training = {
        name: Use(
            inference["fp32"].weights,
            activations(learning, batch, length, True, mixed),
            gradients,
            optimizer,
            step,
        )
        for name, mixed in (("train fp32", False), ("train bf16", True))
    }
    return Estimate(
        batch, length, parameters, inference, training, kv_cache(config, model, batch, length)
    )


def meta(config: VLAConfig, dtype: torch.dtype | None = None) -> VLA:
    """The config's model with shapes and no values. Only the sizes of pretrained folders are
    read."""
    import warnings

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # that weights are random
        model = build(replace(config.resolved().standalone(), quantization="none"))
    return model.to(dtype).eval() if dtype else model.eval()


def packed(config: VLAConfig, precision: str) -> VLA:
    """The config's model as `precision` keeps it: int8 and int4 as `vla quantize` does."""
    model = meta(config, PRECISIONS[precision])
    if precision in PACKED:
        quantize_weights(model, precision)
    return model


def weights(config: VLAConfig, precision: str) -> int:
    """Bytes of parameters and buffers."""
    return _bytes(packed(config, precision))


def _bytes(model: nn.Module) -> int:
    return held(tensor for _, tensor in _state(model))


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors, each counted once."""
    storages = {one.untyped_storage()._cdata: one.untyped_storage() for one in tensors}
    return sum(one.nbytes() for one in storages.values())


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


class Live(TorchDispatchMode):
    """Bytes of storages that operations make while it is on: `now`, and `most` so far. `known` ones
    do not count."""

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = list(known)
        self._seen: dict[int, Any] = {one.untyped_storage()._cdata: None for one in self._known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                self._add(one.untyped_storage())
        if func in COPYING:
            copied = (
                one.nbytes
                for one in tree_leaves((args, made))
                if isinstance(one, Tensor) and not _image(one)
            )
            self.most = max(self.most, self.now + sum(copied))
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        size = storage.nbytes()
        if key in self._seen:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def _image(tensor: Tensor) -> bool:
    """Three colours are read as they lie."""
    return tensor.ndim == 4 and tensor.shape[1] == 3 and tensor.shape[2] >= 64


def activations(
    model: VLA, batch: int, length: int, training: bool = False, mixed: bool = False
) -> int:
    """The most bytes that live at once in a forward pass, with `training` and the backward pass.
    `mixed`: arithmetic in bf16 (autocast), weights as they are."""
    with FakeTensorMode(allow_non_fake_inputs=False):
        state = {
            name: torch.empty(one.shape, dtype=one.dtype).requires_grad_(
                training and one.requires_grad
            )
            for name, one in _state(model)
        }
        given = inputs(model, batch, length)
        if training:
            # there before, as between two steps: gradients are counted apart
            for one in state.values():
                one.grad = torch.empty_like(one) if one.requires_grad else None
        known = [
            *state.values(),
            *given,
            *(one.grad for one in state.values() if one.grad is not None),
        ]
        with Live(known) as live, torch.set_grad_enabled(training):
            with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
                output = torch.func.functional_call(model, state, given)
            if training:
                floats = [
                    one
                    for one in tree_leaves(output)
                    if isinstance(one, Tensor) and one.requires_grad
                ]
                loss = torch.stack([one.float().square().mean() for one in floats]).sum()
                del output, floats
                loss.backward()
    return live.most


def inputs(model: VLA, batch: int, length: int) -> tuple[Tensor, ...]:
    """pixels, ids, mask and, where the model wants one, the state."""
    # a bias is never packed
    dtype = model.completion.bias.dtype
    names = model.config.state
    pixels = torch.zeros(batch, 3, *model.config.image_size, dtype=dtype)
    ids = torch.zeros(batch, length, dtype=torch.long)
    mask = torch.ones(batch, length, dtype=torch.bool)
    return (pixels, ids, mask, *([torch.zeros(batch, len(names), dtype=dtype)] if names else []))


def adamw(model: nn.Module) -> tuple[int, int]:
    """Bytes that AdamW keeps, and the most that a step takes beside them, as it does on a GPU (all
    tensors at once)."""
    learned = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learned, foreach=True)
    for one in learned:
        one.grad = torch.empty_like(one)
    optimizer.step()
    kept = [one for values in optimizer.state.values() for one in values.values()]
    with Live([*learned, *(one.grad for one in learned if one.grad is not None), *kept]) as live:
        optimizer.step()
    optimizer.zero_grad()
    return held(kept), live.most


def kv_cache(config: VLAConfig, model: VLA, batch: int, length: int) -> int:
    """Bytes of keys and values, at 16 bits: of begin, the marks, what is seen and the words, in
    every layer."""
    if config.language != "llama":
        return 0
    sizes = model.language.model.config
    grid = model.vision.grid or (1, 1)
    tokens = length + grid[0] * grid[1] + 3
    return int(
        2
        * 2
        * sizes.num_hidden_layers
        * sizes.num_key_value_heads
        * sizes.head_dim
        * tokens
        * batch
    )
