"""How many bytes a model takes, before any is spent.

Its real modules are built on torch's meta device, which holds shapes alone.

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
# Name -> the type of the weights.
PRECISIONS = {
    "loaded": None,  # as the config says
    "fp32": torch.float32,
    "bf16": torch.bfloat16,  # fp16 takes as much
    "int8": torch.bfloat16,  # of what is not packed
    "int4": torch.bfloat16,
}
# operations whose scratch space counts, as said above
SCRATCH_OPERATIONS = (
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
    # Llama 3.2
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
    },
    # Llama 2; its 7B is the language part's default
    "llama-7b": _LLAMA,
    "llama-13b": {
        **_LLAMA,
        "language_options": {"hidden": 5120, "layers": 40, "heads": 40, "feed_forward": 13_824},
    },
    # without the weights, whose package need not be there
    "minilm": {**_FULL, "language": "minilm", "language_options": {"weights": ""}},
    "static": {**_FULL, "language": "static", "language_options": {"weights": ""}},
}


class Gpu(NamedTuple):
    """What a GPU, or a Jetson, has."""

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
        """The most at any moment."""
        # activations live in the forward and backward pass, the optimiser's scratch space after it
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.step)


@dataclass(frozen=True)
class Estimate:
    """What a model takes with `batch` images, and an instruction of `length` tokens for each."""

    batch: int
    length: int
    parameters: Mapping[str, int]  # by part
    inference: Mapping[str, Use]  # by precision
    training: Mapping[str, Use]  # in fp32, and with bf16 arithmetic on fp32 weights
    # Bytes at 16 bits, were the language model to generate words: no VLA here does, so it is in no
    # total. 0: not a Llama.
    kv_cache: int


def usable(gpu: Gpu) -> float:
    """Bytes left for a model, by rule of thumb, not measured."""
    # a tenth for scratch space and gaps, 0.6 GiB for CUDA itself, and where memory is shared 2 GiB
    # for the system, ROS and the cameras
    return (0.9 * gpu.gib - 0.6 - 2.0 * gpu.shared) * GIB


def estimate(config: VLAConfig, batch: int = 1, length: int = 20) -> Estimate:
    """For `batch` images, each with an instruction of `length` tokens.

    Raises ValueError for what cannot run.
    """
    for name, value in (("batch", batch), ("length", length)):
        if value < 1:
            raise ValueError(f"{name} is {value}; give a whole number from 1 up")
    if config.language in ("small", "table", "static") and length > LENGTH:
        raise ValueError(
            f"length is {length}, and {config.language} language reads {LENGTH} tokens at most; "
            "give at most that"
        )
    model = meta(config)
    parameters = {}
    for part, module in (("vision", model.vision), ("language", model.language), ("all", model)):
        parameters[part] = sum(map(torch.numel, module.parameters()))
    inference = {}
    for name in PRECISIONS:
        kept = packed(config, name)
        inference[name] = Use(_bytes(kept), activations(kept, batch, length))
    learning = meta(config, torch.float32).train()
    optimizer, step = adamw(learning)
    gradients = 0
    for parameter in learning.parameters():
        if parameter.requires_grad:
            gradients += parameter.nbytes
    weights_fp32 = inference["fp32"].weights
    training = {}
    for name, mixed in (("train fp32", False), ("train bf16", True)):
        living = activations(learning, batch, length, True, mixed)
        training[name] = Use(weights_fp32, living, gradients, optimizer, step)
    cache = kv_cache(config, model, batch, length)
    return Estimate(batch, length, parameters, inference, training, cache)


def meta(config: VLAConfig, dtype: torch.dtype | None = None) -> VLA:
    """The config's model with shapes and no values."""
    import warnings

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # that weights are random
        # Seen twice in processes that had done much else before: the device was not kept to, and
        # the 26 GB of a large model were really asked for.
        if not torch.empty(1).is_meta:
            raise RuntimeError("torch makes tensors with values where only shapes were asked for")
        # of folders of pretrained weights the sizes alone are read; packing needs values
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
    storages = {}
    for tensor in tensors:
        storages[_storage_key(tensor)] = tensor.untyped_storage()
    return sum(storage.nbytes() for storage in storages.values())


def _storage_key(tensor: Tensor) -> int:
    # what identifies a storage: the Python objects in front of it are made anew each time
    return tensor.untyped_storage()._cdata


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


class Live(TorchDispatchMode):
    """Bytes of storages that operations make while it is on.

    Attributes:
        now: That live.
        most: That lived at once so far.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """The storages of `known` do not count."""
        super().__init__()
        self.now = 0
        self.most = 0
        self._known = list(known)  # kept, or their storages' keys might be given away again
        self._seen: dict[int, Any] = dict.fromkeys(map(_storage_key, self._known))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        if func in SCRATCH_OPERATIONS:
            scratch = 0
            for leaf in tree_leaves((args, made)):
                if isinstance(leaf, Tensor) and not _image(leaf):
                    scratch += leaf.nbytes
            self.most = max(self.most, self.now + scratch)
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        size = storage.nbytes()
        if key in self._seen:
            return

        # when the last tensor on it is freed
        def gone(_: Any) -> None:
            self.now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def _image(tensor: Tensor) -> bool:
    """Whether it is pixels: three colours are read as they lie, and not laid out anew."""
    return tensor.ndim == 4 and tensor.shape[1] == 3 and tensor.shape[2] >= 64


def activations(
    model: VLA, batch: int, length: int, training: bool = False, mixed: bool = False
) -> int:
    """The most bytes that live at once beside weights, gradients and inputs.

    Args:
        model: On the meta device.
        batch: Images.
        length: Tokens of an instruction.
        training: In a forward and backward pass; else in a forward pass alone.
        mixed: Arithmetic in bf16 (autocast), weights as they are.
    """
    with FakeTensorMode(allow_non_fake_inputs=False):
        state: dict[str, Tensor] = {}
        for name, tensor in _state(model):
            weight = torch.empty(tensor.shape, dtype=tensor.dtype)
            state[name] = weight.requires_grad_(training and tensor.requires_grad)
        given = inputs(model, batch, length)
        known = [*state.values(), *given]
        for weight in state.values():
            if weight.requires_grad:
                # there before, as between two steps: gradients are counted apart
                weight.grad = torch.empty_like(weight)
                known.append(weight.grad)
        with Live(known) as live, torch.set_grad_enabled(training):
            with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
                output = torch.func.functional_call(model, state, given)
            if training:
                loss = _loss(output)
                del output  # as in a training step, where nothing else holds it
                loss.backward()
    return live.most


def _loss(output: Any) -> Tensor:
    """Any loss that every output has a share in."""
    losses = []
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            losses.append(leaf.float().square().mean())
    return torch.stack(losses).sum()


def inputs(model: VLA, batch: int, length: int) -> tuple[Tensor, ...]:
    """pixels, ids, mask and, where the model wants one, the state."""
    # a bias is never packed, so it has the type of the arithmetic
    dtype = model.completion.bias.dtype
    names = model.config.state
    pixels = torch.zeros(batch, 3, *model.config.image_size, dtype=dtype)
    ids = torch.zeros(batch, length, dtype=torch.long)
    mask = torch.ones(batch, length, dtype=torch.bool)
    if not names:
        return pixels, ids, mask
    return pixels, ids, mask, torch.zeros(batch, len(names), dtype=dtype)


def adamw(model: nn.Module) -> tuple[int, int]:
    """Bytes that AdamW keeps, and the most that a step takes beside them."""
    learned: list[Tensor] = []
    gradients: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
            learned.append(parameter)
            gradients.append(parameter.grad)
    optimizer = torch.optim.AdamW(learned, foreach=True)  # all at once, as on a GPU
    optimizer.step()  # the first step makes what it keeps, the second one is measured
    kept: list[Tensor] = []
    for averages in optimizer.state.values():
        kept += averages.values()
    with Live([*learned, *gradients, *kept]) as live:
        optimizer.step()
    optimizer.zero_grad()
    return held(kept), live.most


def kv_cache(config: VLAConfig, model: VLA, batch: int, length: int) -> int:
    """Bytes of a Llama's keys and values in every layer, at 16 bits; 0 for other languages."""
    if config.language != "llama":
        return 0
    sizes = model.language.model.config
    grid = model.vision.grid or (1, 1)
    tokens = length + grid[0] * grid[1] + 3  # the words, what is seen, begin and the two marks
    width = sizes.num_key_value_heads * sizes.head_dim
    keys_and_values = 2 * sizes.num_hidden_layers * width * tokens * batch
    return int(2 * keys_and_values)
