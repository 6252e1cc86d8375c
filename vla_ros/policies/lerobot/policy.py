"""The policy `lerobot`: an ACT checkpoint that LeRobot wrote, on our engines.

It looks through the checkpoint's cameras, by the short names of their features (`front` of
observation.images.front). Which joints its numbers are, in which unit, and how many rows there are
in a second, a checkpoint does not say: a dataset's meta/info.json or the policy file does. ACT
knows no words: whatever the instruction, it does what it learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_ros.core.robot_fields import number
from vla_ros.core.robot_state import UNITS
from vla_ros.core.shown import shown
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.lerobot.checkpoint import (
    ACTION,
    ENVIRONMENT,
    STATE,
    Checkpoint,
    DatasetNames,
    read_checkpoint,
    read_dataset_names,
    read_ranges,
    read_statistics,
)
from vla_ros.policies.options import check_options, thread_count

if TYPE_CHECKING:
    from torch import Tensor

    from vla_ros.engines.base import SubModel
    from vla_ros.policies.check import TrainingRanges

WEIGHTS = "model.safetensors"
VAE = "model.vae_"  # what only training needs
EXAMPLES = 3  # observations that engines are compared on
OPTIONS: dict[str, Any] = {
    "checkpoint": "",
    "dataset": "",
    "state": (),
    "environment": (),
    "actions": (),
    "unit": "",
    "units": {},
    "kinds": {},
    "fps": 0.0,
    "horizon": 0,
    "threads": 2,
    "engine": "auto",
    "precision": "auto",
    "engine_fallbacks": ("eager",),
    "engine_cache": "",
}


class LeRobot:
    """Options:

    `checkpoint`: the folder; `dataset`: a dataset's folder or its info.json, for the names and the
    rate; or `state`, `environment`, `actions` (names in the checkpoint's order) and `fps`. `unit`
    of all numbers, `units` and `kinds` of some by name. `horizon`: rows of a chunk that are used
    (all). `threads`, `engine`, `precision`, `engine_fallbacks`, `engine_cache` as of `builtin`.
    """

    ON_ENGINES = True

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Reads JSON files alone. Raises ValueError."""
        return _spec(_checked(options), _checkpoint(options))

    @classmethod
    def training_ranges(cls, options: Mapping[str, Any]) -> TrainingRanges:
        """What its dataset's statistics say of each number. Raises ValueError."""
        from vla_ros.policies.check import TrainingRanges

        given = _checked(options)
        checkpoint = _checkpoint(options)
        spec = _spec(given, checkpoint)
        width = checkpoint.width(STATE)
        names = {
            STATE: spec.state[:width],
            ENVIRONMENT: spec.state[width:],
            ACTION: spec.channels,
        }
        ranges = read_statistics(checkpoint, names)
        return TrainingRanges({**ranges[STATE], **ranges[ENVIRONMENT]}, ranges[ACTION])

    def __init__(
        self, options: Mapping[str, Any], say: Callable[[str], None] = lambda text: None
    ) -> None:
        """Loads the weights, and the engine. Raises ValueError."""
        import torch

        from vla_ros.engines.compiled_vla import code_hash
        from vla_ros.engines.select import EngineRequest, load_engine

        given = _checked(options)
        checkpoint = _checkpoint(options)
        self._spec = _spec(given, checkpoint)
        torch.set_num_threads(thread_count("lerobot", given["threads"]))
        precision = "fp32" if given["precision"] == "auto" else given["precision"]
        request = EngineRequest(
            given["engine"],
            precision,
            tuple(given["engine_fallbacks"]),
            cache=given["engine_cache"],
        )
        content = _content(checkpoint.folder)
        part = sub_model(checkpoint, f"{content} {code_hash()}")
        self._inputs = part.inputs
        self._loaded = load_engine(part, request, say)
        self.notes = self._loaded.notes
        self.name = f"lerobot {checkpoint.type}@{content}"
        self._state = self._spec.state[: checkpoint.width(STATE)]
        self._environment = self._spec.state[checkpoint.width(STATE) :]

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        return {"engine": str(self._loaded)}

    def predict(self, observation: Observation) -> Rows:
        """Rows T x C, in the dataset's units. Raises NotUnderstood where there are no words."""
        import torch

        # It would begin its one task whatever it is told, also when it is told nothing.
        if not observation.instruction.text.strip():
            raise NotUnderstood("say what the robot is to do")
        given: dict[str, Tensor] = {
            "state": _tensor(observation.state, self._state),
            "environment": _tensor(observation.state, self._environment),
        }
        for name, image in observation.images.items():
            given[name] = torch.from_numpy(np.ascontiguousarray(image))[None]
        (actions,) = self._loaded.engine(*(given[name] for name in self._inputs))
        rows: Rows = actions[0].numpy()[: self._spec.steps]
        return rows

    def reset(self) -> None:
        """It remembers nothing."""


def sub_model(checkpoint: Checkpoint, key: str) -> SubModel:
    """The network with its weights, as an engine runs it; `key` as a SubModel's.

    Raises:
        ValueError: It is not ACT as it is known here, or the weights do not fit the config.
    """
    import torch

    from vla_ros.engines.base import SubModel
    from vla_ros.models.act.network import Act, ActStage, Scaling

    act = Act(_sizes(checkpoint))
    _load_weights(act, checkpoint.folder / WEIGHTS)
    scalings: dict[str, Scaling] = {}
    short = {STATE: "state", ENVIRONMENT: "environment", ACTION: "action"}
    for image, feature in checkpoint.images.items():
        short[feature.name] = image
    for name, range_ in read_ranges(checkpoint).items():
        if name in short:
            offset = torch.from_numpy(range_.offset.copy())
            scalings[short[name]] = Scaling(offset, torch.from_numpy(range_.scale.copy()))
    stage = ActStage(act, tuple(checkpoint.images), scalings).eval()
    generator = torch.Generator().manual_seed(0)
    examples: list[tuple[Tensor, ...]] = []
    for _ in range(EXAMPLES):
        row: list[Tensor] = []
        for name in stage.inputs:
            if name in checkpoint.images:
                size = checkpoint.images[name].size
                row.append(torch.randint(0, 256, (1, *size, 3), generator=generator).byte())
            else:
                # In the middle of what training saw: there engines are compared fairly.
                width = checkpoint.width(STATE if name == "state" else ENVIRONMENT)
                noise = torch.randn(1, width, generator=generator)
                scaling = scalings.get(name)
                row.append(noise * scaling.scale + scaling.offset if scaling else noise)
        examples.append(tuple(row))
    return SubModel(
        "act", stage, stage.inputs, stage.outputs, tuple(examples), key, fresh=stage.inputs
    )


def _sizes(checkpoint: Checkpoint) -> Any:
    """Raises ValueError for a config that this network cannot be."""
    from vla_ros.models.act.network import ACTIVATIONS, ActSizes
    from vla_ros.models.act.resnet import BLOCKS

    config = checkpoint.config

    def positive(key: str, default: int) -> int:
        value = config.get(key, default)
        if type(value) is not int or not 0 < value <= 1 << 16:
            raise ValueError(f"config.json: {key} is {shown(value)}; a whole number is right")
        return value

    choices: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("n_obs_steps", 1, (1,)),
        ("vision_backbone", "resnet18", tuple(BLOCKS)),
        ("replace_final_stride_with_dilation", False, (False, 0)),
        ("feedforward_activation", "relu", tuple(ACTIVATIONS)),
        ("pre_norm", False, (False, True)),
    )
    for key, default, known in choices:
        if config.get(key, default) not in known:
            raise ValueError(
                f"config.json: {key} is {shown(config[key])}; known here are "
                f"{', '.join(map(str, known))}"
            )
    return ActSizes(
        cameras=len(checkpoint.images),
        state=checkpoint.width(STATE),
        environment=checkpoint.width(ENVIRONMENT),
        actions=checkpoint.width(ACTION),
        rows=positive("chunk_size", 100),
        width=positive("dim_model", 512),
        heads=positive("n_heads", 8),
        hidden=positive("dim_feedforward", 3200),
        encoder_layers=positive("n_encoder_layers", 4),
        decoder_layers=positive("n_decoder_layers", 1),
        latent=positive("latent_dim", 32),
        backbone=config.get("vision_backbone", "resnet18"),
        activation=config.get("feedforward_activation", "relu"),
        norm_first=bool(config.get("pre_norm", False)),
    )


def _load_weights(act: Any, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    kept: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        # Batch norms count their steps; frozen ones have none to count.
        if not name.startswith(VAE) and not name.endswith("num_batches_tracked"):
            kept[name.removeprefix("model.")] = tensor.float()
    wanted = act.state_dict()
    for name, tensor in wanted.items():
        if name not in kept:
            raise ValueError(f"{path} lacks {name}, which the config asks for")
        if kept[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: {name} has the shape {tuple(kept[name].shape)}, and the config asks for "
                f"{tuple(tensor.shape)}"
            )
    for name in kept:
        if name not in wanted:
            raise ValueError(f"{path} has {name}, which the config does not ask for")
    act.load_state_dict(kept)


def _content(folder: Path) -> str:
    """A hash of all that makes the policy what it is."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _tensor(state: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """1 x S."""
    import torch

    return torch.tensor([[state[name] for name in names]], dtype=torch.float32)


# -- options -----------------------------------------------------------------------------
def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    check_options("lerobot", options, OPTIONS)
    return {**OPTIONS, **options}


def _checkpoint(options: Mapping[str, Any]) -> Checkpoint:
    folder = options.get("checkpoint", "")
    if not isinstance(folder, str) or not folder:
        raise ValueError(
            f"policy 'lerobot': checkpoint is {shown(folder)}; give the folder that LeRobot wrote"
        )
    checkpoint = read_checkpoint(folder)
    if checkpoint.type != "act":
        raise ValueError(
            f"policy 'lerobot': the checkpoint is of type {shown(checkpoint.type)}; act runs here. "
            "Another one runs behind a server in LeRobot's own environment (policy remote)"
        )
    unknown = [
        name
        for name, feature in checkpoint.inputs.items()
        if feature.kind != "VISUAL" and name not in (STATE, ENVIRONMENT)
    ]
    if unknown or list(checkpoint.outputs) != [ACTION]:
        raise ValueError(
            f"policy 'lerobot': the checkpoint takes {', '.join(checkpoint.inputs)} and gives "
            f"{', '.join(checkpoint.outputs)}; images, {STATE}, {ENVIRONMENT} and "
            f"{ACTION} are known"
        )
    return checkpoint


def _spec(given: Mapping[str, Any], checkpoint: Checkpoint) -> PolicySpec:
    dataset = read_dataset_names(given["dataset"]) if given["dataset"] else DatasetNames()
    state = _named("state", given["state"], dataset.state, checkpoint.width(STATE))
    environment = _named("environment", given["environment"], (), checkpoint.width(ENVIRONMENT))
    actions = _named("actions", given["actions"], dataset.action, checkpoint.width(ACTION))
    fps = given["fps"] or dataset.fps
    if not fps:
        raise ValueError(
            "policy 'lerobot': a checkpoint does not say how many rows there are in a second; give "
            "dataset, or fps: a wrong one makes every motion too fast or too slow"
        )
    fps = number(fps, "policy 'lerobot': fps", above=0.0)
    rows = checkpoint.config.get("chunk_size", 100)
    horizon = given["horizon"] or rows
    if type(horizon) is not int or not 0 < horizon <= rows:
        raise ValueError(f"policy 'lerobot': horizon is {shown(horizon)}; a chunk has {rows} rows")
    units: dict[str, str] = {}
    if given["unit"]:
        units = dict.fromkeys((*state, *environment, *actions), given["unit"])
    units.update(given["units"])
    for name, unit in units.items():
        if unit not in UNITS:
            raise ValueError(
                f"policy 'lerobot': the unit of '{name}' is {shown(unit)}; use one of "
                f"{', '.join(UNITS)}"
            )
    images = {name: feature.size for name, feature in checkpoint.images.items()}
    return PolicySpec(
        actions,
        steps=horizon,
        step=to_nanoseconds(1.0 / fps),
        images=images,
        # A LeRobot dataset's images are as the camera gave them: an aspect that differs is a
        # mistake of the robot's side, and a letterbox shows it where a stretch would hide it.
        resize="pad",
        state=(*state, *environment),
        units=units,
        kinds=dict(given["kinds"]),
    )


def _named(
    option: str, given: Sequence[str], dataset: tuple[str, ...], width: int
) -> tuple[str, ...]:
    """The names of `width` numbers, of the option or the dataset. Raises ValueError."""
    names = tuple(given) or dataset
    if len(names) != width or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"policy 'lerobot': the checkpoint has {width} numbers of {option}, and "
            f"{', '.join(map(str, names)) or 'no names'} are given; a checkpoint does not say "
            f"which is which: give dataset (its folder or meta/info.json), or {option} in the "
            "checkpoint's order"
        )
    return names
