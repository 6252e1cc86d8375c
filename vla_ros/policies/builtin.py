"""`builtin`: runs a checkpoint of a VLA, and says so when it does not know a word.

A model that says where it looks (`auxiliary`, `grounded`: those of `vla train dagger`) drives the
simulated robot's three channels and is told how far it has come. A reader is in front of it: the
model is told each step in words of its training (following.py). What any other model says is obeyed
as it is; its state is the robot's, normalised as in its training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.normalisation import StateRange
from vla_ros.core.types import VELOCITIES, Image, Instruction, Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.following import Following
from vla_ros.policies.options import check_options, thread_count
from vla_ros.policies.progress import POSE, SCALES, Progress
from vla_ros.policies.sightings import Eyes
from vla_ros.policies.steps import canonical, must_look
from vla_ros.tasks.reading.reader import InstructionReader

if TYPE_CHECKING:
    from torch import Tensor

    from vla_ros.models.config import VLAConfig
    from vla_ros.models.vla import VLA, VLAOutput

# the checkpoint that comes with the package
BUILTIN = Path(__file__).parents[1] / "models" / "pretrained"
OPTIONS: dict[str, Any] = {
    "checkpoint": "",
    "threads": 1,
    "engine": "auto",
    "precision": "auto",
    "engine_fallbacks": ("eager",),
    "engine_cache": "",
}
CAMERA = "camera"  # of a checkpoint that does not say which it learned from
# m/s, rad/s: the model never means less than this, and a robot that is done must stand
STILL_SPEEDS = (0.02, 0.03)
NONSENSE_PROBABILITY = 0.9  # that words say nothing, from which on they are refused
BUILTIN_CHANNELS = ("linear.x", "angular.z", "gripper")  # `actions` knows them by their place


def look(
    model: VLA,
    images: Sequence[NDArray[np.uint8]],
    read: tuple[Tensor, Tensor, Tensor],
    progress: Sequence[Progress],
) -> VLAOutput:
    """One step of the model for several robots.

    Args:
        model: One that says where it looks.
        images: B of H x W x 3, rgb8.
        read: Of the robots' words: words B x L x D, pooled B x D, mask B x L.
        progress: How far each robot has come.
    """
    import torch

    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # B x 3 x H x W
    rows: list[list[float]] = []
    for robot in progress:
        features = robot.features()
        rows.append([features[name] for name in model.config.state])
    state = torch.tensor(rows)  # B x S
    with torch.inference_mode():
        return model.decode_action(model.encode_image(pixels), *read, state)


def looks(config: VLAConfig) -> bool:
    """Does the model say where it looks, and so drive as the built-in one?"""
    return config.auxiliary and config.fusion == "grounded" and config.channels == BUILTIN_CHANNELS


def follows(config: VLAConfig) -> bool:
    """Must `Progress` follow the robot for it?"""
    return looks(config) or not set(config.state).isdisjoint(SCALES)


def seen_in_training(config: VLAConfig, statistics: Mapping[str, Any]) -> dict[str, StateRange]:
    """The numbers of the model's state that are the robot's own, as training saw them.

    Raises ValueError for statistics that are none.
    """
    known = statistics.get("state", {})
    seen: dict[str, StateRange] = {}
    for name in config.state:
        if name in known:  # the others are `Progress`'s
            seen[name] = StateRange.of(name, known[name])
    return seen


def state_of(
    config: VLAConfig,
    known: Mapping[str, StateRange],
    progress: Progress,
    measured: Mapping[str, float],
) -> list[float]:
    """The numbers that the model is told beside the image, S, in its config's order.

    Args:
        config: The model's.
        known: The robot's own numbers; they are normalised as in training.
        progress: Has the others.
        measured: What the robot measures, in SI units.

    Raises:
        ValueError: For a number of `known` that is not measured, or not finite.
    """
    values = progress.features()
    for name, seen in known.items():
        if name not in measured:
            raise ValueError(
                f"the policy wants the robot's {name}, which is not measured; there are "
                f"{', '.join(measured) or 'none'}"
            )
        values[name] = seen.told(measured[name])
    return [values[name] for name in config.state]


def actions(output: Mapping[str, Tensor], progress: Sequence[Progress]) -> NDArray[np.float32]:
    """The chunks of several robots; what their images showed goes into `progress`.

    Args:
        output: What the model told, as `models.stages.told` gives it: of B robots.
        progress: Theirs, B.

    Returns:
        B x T x C, with BUILTIN_CHANNELS as columns.
    """
    values = output["actions"].numpy().copy()
    values[..., 2] = values[..., 2] > 0.5  # the gripper opens or closes, nothing between
    for channel, least in enumerate(STILL_SPEEDS):
        values[..., channel][np.abs(values[..., channel]) < least] = 0.0
    for index, robot in enumerate(progress):
        if output["nowhere"][index] < 0.5:
            left = float(output["target"][index, 1])  # m
            robot.found(left, bool(output["contact"][index] > 0.5))
        else:
            robot.lost()
        robot.command = float(values[index, 0, 2])
    return values


class Builtin:
    """The policy. It looks through the cameras that it learned from.

    Options: `checkpoint` (a folder; default: the one that comes with the package), `threads` (1),
    and how it runs: `engine`, `precision`, `engine_fallbacks`, `engine_cache` (doc/engines.md).
    """

    ON_ENGINES = True

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Reads the checkpoint's config and statistics alone: no torch is loaded.

        Raises ValueError for a model that it cannot run.
        """
        from vla_ros.models.config import VLAConfig

        folder = _folder(options)
        config = VLAConfig.from_dict(_read_json(folder / "config.json"))
        statistics = _read_json(folder / "statistics.json")
        for name in config.state:
            if name not in SCALES and name not in statistics.get("state", {}):
                raise ValueError(
                    f"the model in {str(folder)!r} wants {name!r} beside the image, of which its "
                    f"statistics say nothing; known without them are {', '.join(SCALES)}"
                )
        pose = POSE if follows(config) else ()
        state = dict.fromkeys((*pose, *seen_in_training(config, statistics)))  # each once
        return PolicySpec(
            config.channels,
            config.steps,
            to_nanoseconds(config.step),
            config.views or {CAMERA: config.image_size},
            "pad",
            tuple(state),
        )

    def __init__(
        self, options: Mapping[str, Any], say: Callable[[str], None] = lambda text: None
    ) -> None:
        """`say` hears what takes long, as the building of an engine does, and which engine runs."""
        import torch

        from vla_ros.engines.compiled_vla import CompiledVLA
        from vla_ros.models.checkpoint import from_pretrained, read_config

        self._spec = self.spec(options)
        folder = _folder(options)
        threads = thread_count("builtin", options.get("threads", OPTIONS["threads"]))
        request = _request(options, read_config(folder))  # refused before the weights are read
        torch.set_num_threads(threads)
        self._model: VLA = from_pretrained(folder).eval()
        self._seen = seen_in_training(self._model.config, self._model.statistics)
        self._looks = looks(self._model.config)
        self._compiled = CompiledVLA(self._model, folder, request, say)
        if self._looks:
            self._reader = InstructionReader.load()
            self._eyes = Eyes(self._model, self._compiled.encode_text)
        self.explain = self._explain if self._looks else None
        self.notes = self._compiled.notes
        self.name = f"builtin@{self._compiled.content}"
        self._progress = Progress()
        self._last: str | None = None  # the thing that was meant last
        self._following: Following | None = None  # how a model that looks follows an instruction
        self.reset()

    def reset(self) -> None:
        """Forget the instruction, and what the gripper was last told.

        Which thing was meant last is kept: the next instruction may be about "the other one". An
        instruction of which some steps or some of the way are done is refused from now on, until
        another one comes.
        """
        if self._following is None or not self._following.interrupt():
            self._begin()
        self._progress.command = None  # to be measured again

    def _begin(self) -> None:
        self._instruction_id: int | None = None
        self._read: dict[str, Tensor] | None = None  # what a model that does not look is told
        self._following = None
        self._heard = ""
        # numbers that were far outside what training saw, and how that is said
        self._far: dict[str, str] = {}
        self._progress.start()

    @property
    def warnings(self) -> list[str]:
        """What was far outside training since the instruction came."""
        return list(self._far.values())

    @property
    def announcements(self) -> tuple[str, ...]:
        """Which steps of the instruction began, and which things were chosen, in their order."""
        return self._following.announced if self._following else ()

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        description = dict(self._compiled.describe())
        if self._far:
            description["far outside training"] = ", ".join(self._far)
        if self._following:
            description["follows"] = self._following.title
        return description

    def predict(self, observation: Observation) -> Rows:
        """Rows T x C of the spec's channels.

        Raises NotUnderstood for words that it does not know, where it is not clear which thing they
        mean, and once a search was in vain.
        """
        if observation.instruction.instruction_id != self._instruction_id:
            self._begin()
            if observation.instruction.text.strip():
                self._hear(observation.instruction.text)
            # only now: bad words are refused every time
            self._instruction_id = observation.instruction.instruction_id
        if follows(self._model.config):
            self._progress.move(observation.state)
        if self._following is not None:
            rows = self._following.predict(self._image(observation), observation.state)
            self._last = self._following.last
            return rows
        if self._read is None:
            return np.tile(self._held(observation.state), (self._spec.steps, 1))
        output = self._decide(self._read, self._image(observation), observation.state)
        others: NDArray[np.float32] = output["actions"][0].numpy()
        return others

    def _hear(self, text: str) -> None:
        """A new instruction. Raises NotUnderstood."""
        if not self._looks:
            self._read = self._understood(text)
            return
        intents = self._reader.read(text)
        for intent in intents:  # refused whole, before the first step
            if not must_look(intent):
                self._understood(canonical(intent))
        self._heard = text
        self._following = Following(
            intents, self._progress, self._drive, self._eyes.look, self._spec.steps, self._last
        )

    def _decide(
        self, read: dict[str, Tensor], image: Image, measured: Mapping[str, float]
    ) -> dict[str, Tensor]:
        state = state_of(self._model.config, self._seen, self._progress, measured)
        for name, seen in self._seen.items():
            sentence = seen.far(measured[name])
            if sentence and name not in self._far:
                self._far[name] = sentence
        return self._compiled.decode_action(image, read, state)

    def _drive(
        self, words: str, image: Image, measured: Mapping[str, float]
    ) -> tuple[NDArray[np.float32], float]:
        """The model's rows, and how likely it is done; as `following.Drive`."""
        output = self._decide(self._understood(words), image, measured)
        rows = actions(output, [self._progress])[0]
        if not rows[0, :2].any():
            # Standing, it would wait for ever for a grip that is always a step away.
            gripper = rows[min(1, len(rows) - 1), 2]
            rows[0, 2] = gripper
            self._progress.command = gripper
        return rows, float(output["completion"][0])

    def _image(self, observation: Observation) -> Image:
        """What the model looks at; of several cameras side by side. Raises ValueError."""
        images = self._spec.all(observation.images)
        return images[0] if len(images) == 1 else np.concatenate(images, 1)

    def _held(self, measured: Mapping[str, float]) -> NDArray[np.float32]:
        """A row without an instruction, C: no velocity, and positions as they are."""
        # the gate obeys it in nothing, but it has to be one that changes nothing
        if self._looks:
            return np.array([0.0, 0.0, self._progress.command or 0.0], np.float32)
        row = np.zeros(len(self._spec.channels), np.float32)
        for column, channel in enumerate(self._spec.channels):
            if not channel.startswith(VELOCITIES):
                row[column] = measured.get(channel, 0.0)
        return row

    def _explain(self, observation: Observation) -> dict[str, Any]:
        """What the model sees for the current instruction; moves nothing on.

        Returns:
            `attention` (rows x columns of cells) and `nowhere`, which sum to 1; `cell_colour` and
            `cell_shape`, what it takes each cell for (rows x columns of indices, the last: none);
            `target` (m: ahead, left); `completion` (0 … 1).
        """
        import torch

        image = self._image(observation)
        words = self._compiled.encode_text(self._words(observation.instruction))
        # by the plain model: no engine gives the attention away
        output = look(
            self._model, [image], (words["words"], words["pooled"], words["mask"]), [self._progress]
        )
        assert output.attention is not None and output.auxiliary is not None
        rows, columns = self._model.vision.grid
        attention = output.attention.softmax(-1)[0]
        extra = output.auxiliary
        return {
            "attention": attention[:-1].reshape(rows, columns).numpy(),
            "nowhere": float(attention[-1]),
            "cell_colour": extra.cell_colour[0].argmax(-1).reshape(rows, columns).numpy(),
            "cell_shape": extra.cell_shape[0].argmax(-1).reshape(rows, columns).numpy(),
            "target": tuple(extra.target[0].tolist()),
            "completion": float(torch.sigmoid(output.completion[0])),
        }

    def _words(self, instruction: Instruction) -> str:
        """What the model is told of an instruction, at the step where it is."""
        if self._following and instruction.text == self._heard:
            return self._following.words
        return canonical(self._reader.read(instruction.text)[0])

    def _understood(self, text: str) -> dict[str, Tensor]:
        """The words as the model reads them.

        Raises NotUnderstood for words that it does not know or that say nothing to it.
        """
        from vla_ros.models.language.lexicon import EXAMPLES

        read = self._compiled.encode_text(text)
        # a probability for each task, and last for none
        if "task" in read and float(read["task"][0, -1]) > NONSENSE_PROBABILITY:
            raise NotUnderstood(
                f"the words {text[:80]!r} say nothing that this policy can do; {EXAMPLES}"
            )
        return read


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _folder(options: Mapping[str, Any]) -> Path:
    """The checkpoint's. Raises ValueError for an unknown option and where there is none."""
    check_options("builtin", options, OPTIONS)
    folder = Path(options.get("checkpoint") or BUILTIN).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"policy 'builtin': checkpoint is {str(folder)!r}, and there is no config.json; "
            "give a folder that vla train wrote"
        )
    return folder


def _request(options: Mapping[str, Any], config: VLAConfig) -> Any:
    from vla_ros.engines.select import EngineRequest

    given = OPTIONS | dict(options)
    precision = given["precision"]
    if precision == "auto":
        precision = precision_of(config)
    return EngineRequest(
        given["engine"], precision, tuple(given["engine_fallbacks"]), cache=given["engine_cache"]
    )


def precision_of(config: VLAConfig) -> str:
    """The precision at which a model runs when nobody says."""
    from vla_ros.engines.select import EngineRequest

    # int8 is for CPUs, and for a model that `vla quantize` has calibrated
    calibrated = config.quantization == "static"
    return "int8" if calibrated and EngineRequest().place == "cpu" else "fp32"
