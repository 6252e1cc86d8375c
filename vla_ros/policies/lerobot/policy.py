"""The policy `lerobot`: a checkpoint that LeRobot wrote; ACT on our engines, another one aside.

What is not ACT runs by LeRobot's own code in a process of its own, the sidecar. The policy looks
through the checkpoint's cameras, by the short names of their features (`front` of
observation.images.front). Which joints its numbers are, in which unit, and how many rows there are
in a second, a checkpoint does not say: a dataset's meta/info.json or the policy file does. Some
types know no words: whatever the instruction, they do what they learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vla_ros.core.policy_file import MOST_ROWS
from vla_ros.core.robot_fields import number
from vla_ros.core.robot_state import UNITS
from vla_ros.core.shown import shown
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.lerobot.checkpoint import (
    ACTION,
    ENVIRONMENT,
    STATE,
    WEIGHTS,
    Checkpoint,
    DatasetNames,
    read_checkpoint,
    read_dataset_names,
    read_ranges,
    read_statistics,
)
from vla_ros.policies.lerobot.sidecar import SIDECAR_OPTIONS, Sidecar
from vla_ros.policies.options import check_options, thread_count

if TYPE_CHECKING:
    from torch import Tensor

    from vla_ros.engines.base import SubModel
    from vla_ros.policies.check import TrainingRanges

NATIVE = "act"
# How many rows a chunk has, by the names that types have for it; the first that is there.
ROWS = ("chunk_size", "action_chunk_size", "action_horizon", "n_action_steps")
# Types that LeRobot lets continue the chunk before (real-time chunking).
CONTINUING = ("evo1", "groot", "molmoact2", "pi0", "pi05", "smolvla")
HASHED_BYTES = 1 << 20  # at a time
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
    "rate": 0.0,
    "threads": 2,
    "engine": "auto",
    "precision": "auto",
    "engine_fallbacks": ("eager",),
    "engine_cache": "",
    "sidecar": {},
}


class CheckpointRunner(Protocol):
    """Who runs a checkpoint."""

    name: str

    @property
    def notes(self) -> Sequence[str]: ...

    def describe(self) -> dict[str, str]: ...

    def predict(self, observation: Observation) -> Rows: ...

    def reset(self) -> None: ...


class LeRobot:
    """Options:

    `checkpoint`: the folder; `dataset`: a dataset's folder or its info.json, for the names and the
    rate; or `state`, `environment`, `actions` (names in the checkpoint's order) and the policy
    file's `rate`. `unit` of all numbers, `units` and `kinds` of some by name. `threads`,
    `engine`, `precision`, `engine_fallbacks`, `engine_cache` as of `builtin`. `sidecar`: how
    LeRobot's own process runs (sidecar.py's SIDECAR_OPTIONS); given, it runs ACT too.
    """

    ON_ENGINES = True
    made_once = True  # LeRobot itself needs many seconds to start
    FILE_KEYS = ("rate",)

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Reads JSON files alone. Raises ValueError."""
        return _spec(checked_options(options), open_checkpoint(options))

    @classmethod
    def training_ranges(cls, options: Mapping[str, Any]) -> TrainingRanges:
        """What its dataset's statistics say of each number. Raises ValueError."""
        from vla_ros.policies.check import TrainingRanges

        given = checked_options(options)
        checkpoint = open_checkpoint(options)
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
        """Loads the weights, and the engine or the sidecar. Raises ValueError."""
        given = checked_options(options)
        checkpoint = open_checkpoint(options)
        spec = _spec(given, checkpoint)
        self._runner: CheckpointRunner
        if checkpoint.type == NATIVE and "sidecar" not in options:
            self._runner = ActRunner(given, checkpoint, spec, say)
        else:
            if (given["engine"], given["precision"]) != ("auto", "auto"):
                raise ValueError(
                    f"policy 'lerobot': LeRobot's own code runs {checkpoint.type} in the sidecar, "
                    "and no engine; take engine and precision out of the policy file"
                )
            self._runner = Sidecar(options, given["sidecar"], checkpoint, spec, say)
        self.notes = self._runner.notes
        self.name = self._runner.name

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        return self._runner.describe()

    def predict(self, observation: Observation) -> Rows:
        """Rows T x C, in the dataset's units.

        Raises:
            NotUnderstood: There are no words.
            ConnectionError: The sidecar is not there, or does not answer in time.
            RuntimeError: It says that it failed, or gives no rows for these actions.
        """
        # It would begin its one task whatever it is told, also when it is told nothing.
        if not observation.instruction.text.strip():
            raise NotUnderstood("say what the robot is to do")
        return self._runner.predict(observation)

    def reset(self) -> None:
        """What it saw before does not count."""
        self._runner.reset()


class ActRunner:
    """ACT on our engines.

    Args:
        given: The options, with defaults.
        checkpoint, spec: What runs.
        say: Hears what takes long.

    Raises:
        ValueError: It is not ACT as it is known here.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        checkpoint: Checkpoint,
        spec: PolicySpec,
        say: Callable[[str], None],
    ) -> None:
        import torch

        from vla_ros.engines.compiled_vla import code_hash
        from vla_ros.engines.select import EngineRequest, load_engine

        torch.set_num_threads(thread_count("lerobot", given["threads"]))
        precision = "fp32" if given["precision"] == "auto" else given["precision"]
        request = EngineRequest(
            given["engine"],
            precision,
            tuple(given["engine_fallbacks"]),
            cache=given["engine_cache"],
        )
        content = content_hash(checkpoint.folder)
        part = sub_model(checkpoint, f"{content} {code_hash()}")
        self._inputs = part.inputs
        self._loaded = load_engine(part, request, say)
        self.notes = self._loaded.notes
        self.name = f"lerobot {checkpoint.type}@{content}"
        self._steps = spec.steps
        self._state = spec.state[: checkpoint.width(STATE)]
        self._environment = spec.state[checkpoint.width(STATE) :]

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        return {"engine": str(self._loaded)}

    def predict(self, observation: Observation) -> Rows:
        """Rows T x C, in the dataset's units."""
        import torch

        given: dict[str, Tensor] = {
            "state": _tensor(observation.state, self._state),
            "environment": _tensor(observation.state, self._environment),
        }
        for name, image in observation.images.items():
            given[name] = torch.from_numpy(np.ascontiguousarray(image))[None]
        (actions,) = self._loaded.engine(*(given[name] for name in self._inputs))
        rows: Rows = actions[0].numpy()[: self._steps]
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


def content_hash(folder: Path) -> str:
    """Of all that makes the policy what it is; eight hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            digest.update(path.name.encode())
            # A large model's file would not fit into memory beside the model.
            with path.open("rb") as file:
                while part := file.read(HASHED_BYTES):
                    digest.update(part)
    return digest.hexdigest()[:8]


def _tensor(state: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """1 x S."""
    import torch

    return torch.tensor([[state[name] for name in names]], dtype=torch.float32)


# -- options -----------------------------------------------------------------------------
def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """With the defaults of what is not there. Raises ValueError for one that is not known."""
    for name, key in (("fps", "rate"), ("horizon", "horizon")):
        if name in options:
            raise ValueError(
                f"policy 'lerobot': {name} is no option any more; give {key} beside options in the "
                "policy file, where every policy has it"
            )
    check_options("lerobot", options, OPTIONS)
    given = {**OPTIONS, **options}
    if not isinstance(given["sidecar"], Mapping):
        raise ValueError(
            f"policy 'lerobot': sidecar is {shown(given['sidecar'])}; give a mapping of "
            f"{', '.join(SIDECAR_OPTIONS)}, or {{}}"
        )
    check_options("lerobot (sidecar)", given["sidecar"], SIDECAR_OPTIONS)
    return given


def open_checkpoint(options: Mapping[str, Any]) -> Checkpoint:
    """The option's. Raises ValueError for a folder that is none, or takes what is not known."""
    folder = options.get("checkpoint", "")
    if not isinstance(folder, str) or not folder:
        raise ValueError(
            f"policy 'lerobot': checkpoint is {shown(folder)}; give the folder that LeRobot wrote"
        )
    checkpoint = read_checkpoint(folder)
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
    rate = given["rate"] or dataset.fps
    if not rate:
        raise ValueError(
            "policy 'lerobot': a checkpoint does not say how many rows there are in a second; give "
            "dataset, or rate in the policy file: a wrong one makes every motion too fast or too "
            "slow"
        )
    rate = number(rate, "policy 'lerobot': rate", above=0.0)
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
        steps=_rows(checkpoint),
        step=to_nanoseconds(1.0 / rate),
        images=images,
        # A LeRobot dataset's images are as the camera gave them: an aspect that differs is a
        # mistake of the robot's side, and a letterbox shows it where a stretch would hide it.
        resize="pad",
        state=(*state, *environment),
        units=units,
        kinds=dict(given["kinds"]),
        history=_count(checkpoint, "n_obs_steps", 1),
        takes_prefix=checkpoint.type in CONTINUING,
    )


def _rows(checkpoint: Checkpoint) -> int:
    """Of a chunk. Raises ValueError where the config does not say it."""
    if checkpoint.type == "tdmpc":  # it may repeat its first row
        steps = _count(checkpoint, "n_action_steps", 1)
        return max(steps, _count(checkpoint, "n_action_repeats", 1))
    for key in ROWS:
        if key in checkpoint.config:
            return _count(checkpoint, key, 1)
    if checkpoint.type == NATIVE:
        return 100
    raise ValueError(
        f"policy 'lerobot': {checkpoint.folder / 'config.json'} does not say how many rows a chunk "
        f"has; known are {', '.join(ROWS)}"
    )


def _count(checkpoint: Checkpoint, key: str, default: int) -> int:
    """A whole number of the config. Raises ValueError for what is none."""
    count = checkpoint.config.get(key, default)
    if type(count) is not int or not 0 < count <= MOST_ROWS:
        raise ValueError(
            f"config.json: {key} is {shown(count)}; a whole number from 1 to {MOST_ROWS} is right"
        )
    return count


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
