"""`builtin_arm`: the learned policy of the simulated arm, a checkpoint of `vla train --robot arm`.

It sees both cameras and the joints, and answers with joint angles: where each joint is, plus how
far the model moves it. A reader is in front of the model, which is told what each step means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Observation, to_nanoseconds, to_seconds
from vla_ros.models.config import TABLE_IMAGES
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.following_arm import OPEN_SHARE, ArmFollowing, ArmMoment, Lasting
from vla_ros.policies.options import check_options, thread_count
from vla_ros.tasks.arm.intent import LEARNED_KINDS, ArmIntent
from vla_ros.tasks.reading.arm import ARM
from vla_ros.tasks.reading.reader import reader_of

if TYPE_CHECKING:
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.table import TableOutput, TableVLA

# the checkpoint that comes with the package
BUILTIN_ARM = Path(__file__).parents[1] / "models" / "pretrained_arm"
OPTIONS: dict[str, Any] = {"checkpoint": "", "threads": 1}
FINGER = "finger_joint"
FINGER_TRAVEL_M = 0.04  # of each finger, from closed to open
# rad in a step: what moves no joint by more is meant as standing still
STILL_RAD = 0.002
# rad in a step: an arm that moves less sees in the next image what it sees now
SETTLED_RAD = 0.02
# that the thing is nowhere on the table, and for how long all images must say so, s
ABSENT_PROBABILITY = 0.5
ABSENT_S = 0.5
# s between two images: closer, noise would look like motion; beyond, nothing is known of it
SHORTEST_GAP_S = 0.05
LONGEST_GAP_S = 0.5
CHANGE_S = 0.1  # over which the fingers' change is given to the model


def decide(
    model: TableVLA,
    images: Sequence[Mapping[str, NDArray[np.uint8]]],
    said: NDArray[np.integer],
    states: NDArray[np.float32],
) -> TableOutput:
    """One step of the model for B arms.

    Args:
        model: The model.
        images: Of each arm, by camera: height x width x 3, rgb8.
        said: B x 5, numbers of the meaning's classes.
        states: B x 9, as `TABLE_STATE`.
    """
    import torch

    from vla_ros.models.table import one_hot

    pixels = {}
    for camera in TABLE_IMAGES:
        stacked = np.stack([image[camera] for image in images])
        pixels[camera] = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255.0
    meaning = one_hot(torch.from_numpy(said).long())
    with torch.inference_mode():
        return model.decide(
            pixels["scene"], pixels["wrist"], meaning, torch.from_numpy(states).float()
        )


def rows_of(output: TableOutput, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """B x T x 7: six angles (rad) and the gripper, 0 closed or 1 open."""
    from vla_ros.models.table import JOINTS, ROW_RAD

    moves = output.rows.numpy() * ROW_RAD
    still = np.abs(moves[:, 0]).max(-1) < STILL_RAD
    moves[still] = 0.0
    angles = states[:, None, :JOINTS] + moves.cumsum(1)
    gripper = (output.gripper.numpy() > 0.0)[..., None]
    return np.concatenate([angles, gripper], -1).astype(np.float32)


def undelayed(rows: NDArray[np.float32], state: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (T x 7) whose gripper does at once what it would do in a step, where the arm is settled.

    Until then nothing changes that the model sees, and it would put it off again with each image.
    """
    moves = np.abs(rows[0, :-1] - state[: rows.shape[1] - 1]).max()
    if moves < SETTLED_RAD:
        rows = rows.copy()
        rows[0, -1] = rows[:2, -1][-1]
    return rows


class BuiltinArm:
    """The policy. Options: `checkpoint` (a folder; default: the package's), `threads` (1)."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Reads the checkpoint's config alone: no torch is loaded.

        Raises:
            ValueError: An option that it does not have, or a checkpoint of another model.
        """
        config = _config(options)
        return PolicySpec(
            channels=config.channels,
            steps=config.steps,
            step=to_nanoseconds(config.step),
            images=TABLE_IMAGES,
            state=(*config.channels[:-1], FINGER),
            # On the way to the second row it would stand where the first one asks for a little:
            # of ten blocks over their bowls six stayed in the hand.
            holds=True,
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        import torch

        from vla_ros.models.checkpoint import content_hash, from_pretrained
        from vla_ros.models.table import TableVLA

        self._spec = self.spec(options)
        threads = thread_count("builtin_arm", options.get("threads", OPTIONS["threads"]))
        torch.set_num_threads(threads)
        folder = _folder(options)
        model = from_pretrained(folder)
        assert isinstance(model, TableVLA)  # by its config
        self._model = model
        self._reader = reader_of(ARM)
        self.name = f"builtin_arm@{content_hash(folder)}"
        self._command: float | None = None  # of the gripper, as it was told last
        # stamp (ns), joints (rad) and opening of the last image
        self._before: tuple[int, NDArray[np.float64], float] | None = None
        self._following: ArmFollowing | None = None
        self._begin()

    def reset(self) -> None:
        """Forget the instruction; what the gripper holds, it goes on holding.

        One of which a step is done is refused from now on, until another one comes.
        """
        self._failure = ""
        if self._following is not None and self._following.half_done:
            self._failure = self._following.cut_off
        else:
            self._begin()
        self._before = None

    def _begin(self) -> None:
        self._instruction_id: int | None = None
        self._following = None
        self._failure = ""
        self._text = ""
        self._absent = Lasting()

    @property
    def announcements(self) -> tuple[str, ...]:
        """Which steps of the instruction began, in their order."""
        return self._following.announced if self._following and not self._failure else ()

    def describe(self) -> dict[str, str]:
        """For diagnostics."""
        return {"follows": self._following.title} if self._following else {}

    def predict(self, observation: Observation) -> Rows:
        """T x 7: six angles (rad) and the gripper.

        Raises:
            NotUnderstood: The words ask for nothing that it can do, or name what is not on the
                table.
        """
        speed, opening_speed = self._speeds(observation)
        state = self._state(observation, opening_speed)
        instruction = observation.instruction
        if instruction.instruction_id != self._instruction_id:
            self._begin()
            self._text = instruction.text
            if instruction.text.strip():
                self._following = ArmFollowing(self._understood(instruction.text))
            # only now: bad words are refused every time
            self._instruction_id = instruction.instruction_id
        if self._failure:
            raise NotUnderstood(self._failure)
        if self._following is None:
            still = np.append(state[: len(self._spec.channels) - 1], self._command or 0.0)
            return np.tile(still, (self._spec.steps, 1)).astype(np.float32)
        images = {key: observation.images[key] for key in TABLE_IMAGES}
        said = self._told(self._following.current)
        output = decide(self._model, [images], said[None], state[None])
        stamp = to_seconds(observation.stamp)
        self._find(output, said, self._following, stamp)
        rows = undelayed(rows_of(output, state[None])[0], state)
        self._command = float(rows[0, -1])
        moment = ArmMoment(
            stamp=stamp,
            moves=bool((rows[:, :-1] != state[: rows.shape[1] - 1]).any()),
            speed=speed,
            opening=float(state[-3]),
            opening_speed=opening_speed,
            command=self._command,
            gripped=float(output.gripped[0]) > 0.0,
        )
        if self._following.note(moment):
            self._absent = Lasting()
        if self._following.stuck:
            sentence = (
                f"the arm stands, and gets no further with '{self._following.current.text}'; see "
                "whether what the words name is there and in reach, and say it again"
            )
            # Also if the arm is pushed then: it was said that nothing comes.
            self._failure = self._following.blamed(sentence)
            raise NotUnderstood(self._failure)
        return rows

    def _speeds(self, observation: Observation) -> tuple[float, float]:
        """rad/s of the fastest joint and the gripper's (1/s) since the last image.

        Where that is not known, the joint's is infinite and the gripper's 0.
        """
        joints = np.array([observation.state[name] for name in self._spec.state[:-1]])
        opening = _opening(observation)
        before = self._before
        self._before = (observation.stamp, joints, opening)
        if before is None:
            return np.inf, 0.0
        passed = to_seconds(observation.stamp - before[0])
        if not 0.0 < passed <= LONGEST_GAP_S:
            return np.inf, 0.0
        passed = max(passed, SHORTEST_GAP_S)
        return float(np.abs(joints - before[1]).max()) / passed, (opening - before[2]) / passed

    def _state(self, observation: Observation, opening_speed: float) -> NDArray[np.float32]:
        """The model's numbers, as `TABLE_STATE` names them."""
        joints = [observation.state[name] for name in self._spec.state[:-1]]
        opening = _opening(observation)
        if self._command is None:
            self._command = float(opening > OPEN_SHARE)
        return np.array([*joints, opening, self._command, opening_speed * CHANGE_S], np.float32)

    def _understood(self, text: str) -> tuple[ArmIntent, ...]:
        """The steps that the words ask for. Raises NotUnderstood."""
        intents = self._reader.read(text)
        for intent in intents:  # refused whole, before the first step
            if intent.kind not in LEARNED_KINDS:
                raise NotUnderstood(
                    f"the words {text[:80]!r} ask to {intent.text}, which this policy did not "
                    f"learn; {ARM.help}"
                )
        return intents

    @staticmethod
    def _told(intent: ArmIntent) -> NDArray[np.int64]:
        """What the model is told of it: numbers of its meaning's classes."""
        from vla_ros.models.table import said_of

        return np.array(said_of(intent))

    def _find(
        self,
        output: TableOutput,
        said: NDArray[np.int64],
        following: ArmFollowing,
        stamp: float,
    ) -> None:
        """Raises NotUnderstood where the thing that the words name was not seen for long."""
        from vla_ros.models.table import OBJECT_TASKS

        if said[0] >= OBJECT_TASKS:
            return
        likely = []
        for name in ("scene_thing", "wrist_thing"):
            likely.append(float(output.gazes[name].place[0, -1]))
        if self._absent.note(min(likely) > ABSENT_PROBABILITY, stamp) >= ABSENT_S:
            sentence = (
                f"the policy does not see what the words {self._text[:80]!r} name; put it where a "
                "camera sees it, or name another object"
            )
            raise NotUnderstood(following.blamed(sentence))


def _opening(observation: Observation) -> float:
    """Of the gripper, 0 closed to 1 open."""
    return float(min(max(observation.state[FINGER] / FINGER_TRAVEL_M, 0.0), 1.0))


def _config(options: Mapping[str, Any]) -> VLAConfig:
    from vla_ros.models.config import VLAConfig

    folder = _folder(options)
    config = VLAConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if config.model != "table":
        raise ValueError(
            f"policy 'builtin_arm': the checkpoint {folder} is a {config.model} model; "
            "give one that vla train dagger --robot arm wrote"
        )
    return config


def _folder(options: Mapping[str, Any]) -> Path:
    """The checkpoint's. Raises ValueError for an unknown option and where there is none."""
    check_options("builtin_arm", options, OPTIONS)
    folder = Path(options.get("checkpoint") or BUILTIN_ARM)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"policy 'builtin_arm': there is no checkpoint in {str(folder)!r}; give the folder "
            "that vla train dagger --robot arm wrote, its policy"
        )
    return folder
