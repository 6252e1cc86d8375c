"""What a policy is, and what it asks of the nodes around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.chunks import check_rows
from vla_ros.core.instructions import NotUnderstood as NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.core.types import (
    CLOUD_COLUMNS,
    MOST_CLOUD_POINTS,
    RESIZE_MODES,
    ActionChunk,
    CloudPoints,
    Depth,
    Image,
    Instruction,
    Observation,
    Size,
    is_size,
)

Rows = NDArray[np.floating]  # T x C
# Making a policy and warming it up may take so long before it counts as hung: a checkpoint of
# gigabytes is read, a sidecar started, an engine built.
LOADING_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class PolicySpec:
    """What a policy wants, and what it gives: the nodes fit themselves to it.

    Attributes:
        channels: What it commands, by the names of the robot file's channels: a row's columns, in
            this order. All channels of an output, or none of them.
        steps: Rows that `predict` gives, T.
        step: Time from one row to the next, ns.
        images: What it looks at: its own key for each image -> (height, width) in pixels. A key is
            a camera's name, unless the policy file names another camera for it.
        resize: How an image of another shape is fitted in: `pad` (letterbox), `crop` (centre) or
            `stretch`.
        state: The robot's numbers that it must be told: a joint's name, `odom.x`, `linear.x`, ...
        depths: The depth images that it looks at, as `images`: it gets them in metres, aligned with
            the camera's image. A key is a camera's name, as there.
        clouds: The point clouds that it looks at: its own key for each -> (points, 3 or 6). A key
            is a name in the robot file's `clouds`, unless the policy file names another.
        any_size: Whether it takes images of other sizes than those in `images`, where the policy
            file says so.
        units: Name in `state` or `channels` -> its unit, where that is not SI (core.robot_state's
            UNITS); the policy file may say another.
        kinds: Name in `channels` -> what its numbers are (core.policy_file's KINDS), where they are
            not simply what the robot's channel takes.
        history: Observations that it is given, the newest one counted.
        history_spacing: From one of them to the next, ns; 0: `step`.
        takes_prefix: Whether it continues what is left of the chunk before (`observation.prefix`).
        holds: Whether a row's positions hold until the next row, as where it learned; else the
            robot goes straight from one row to the next.

    Raises ValueError for a spec that is none.
    """

    channels: tuple[str, ...]
    steps: int
    step: int
    images: Mapping[str, Size]
    resize: str = "pad"
    state: tuple[str, ...] = ()
    any_size: bool = False
    depths: Mapping[str, Size] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    clouds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    history: int = 1
    history_spacing: int = 0
    takes_prefix: bool = False
    holds: bool = False

    def __post_init__(self) -> None:
        for what, names in (("channels", self.channels), ("state", self.state)):
            # a list or a text would do for a while: one that changes later, or letters for names
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"the policy's {what} are {shown(names)}; give a tuple of names")
        _check_sizes("image", self.images)
        _check_sizes("depth image", self.depths)
        _check_clouds(self.clouds)
        if self.resize not in RESIZE_MODES:
            raise ValueError(
                f"the policy's resize is {shown(self.resize)}; use one of {', '.join(RESIZE_MODES)}"
            )
        counts = {"steps": self.steps, "step": self.step, "history": self.history}
        for what, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"the policy's {what} is {shown(count)}; give a whole number from 1 up"
                )
        if not isinstance(self.history_spacing, int) or self.history_spacing < 0:
            raise ValueError(
                f"the policy's history_spacing is {shown(self.history_spacing)}; give whole ns, "
                "or 0 for one step"
            )

    def size_of(self, key: str) -> Size:
        """Of that image. Raises ValueError for one that it does not look at."""
        if key not in self.images:
            raise ValueError(
                f"the policy looks through {sizes_text(self.images) or 'no camera'}, "
                f"and this camera is '{key}'; {REMEDY}"
            )
        return self.images[key]

    def only(self, images: Mapping[str, Image]) -> Image:
        """The image of a policy that looks at one.

        Raises ValueError, with both lists, where it is not there at its size.
        """
        return self.all(images)[0]

    def all(self, images: Mapping[str, Image]) -> list[Image]:
        """The images of a policy, in the order of `images`.

        Raises ValueError, with both lists, where one is not there at its size.
        """
        for key, size in self.images.items():
            if key not in images or images[key].shape[:2] != tuple(size):
                raise ValueError(
                    f"the policy looks through {sizes_text(self.images)}, and the "
                    f"observation has {shapes_text(images)}; {REMEDY}"
                )
        return [images[key] for key in self.images]

    def chunk(self, rows: Rows, observation: Observation, policy: str = "") -> ActionChunk:
        """What `predict` gave for `observation`, as the chunk that goes to the gate.

        float32, and a copy: the policy may use its array again.

        Raises TypeError for what is not rows x channels of numbers.
        """
        check_rows(rows, len(self.channels))
        with np.errstate(over="ignore"):  # too large for float32: infinite, which the gate finds
            values = np.array(rows, np.float32)
        # The observation's stamp, not the time of the answer: rows are for the moments after the
        # images were taken, however long the policy thought about them.
        return ActionChunk(
            observation.stamp,
            observation.instruction.instruction_id,
            self.channels,
            values,
            self.step,
            policy=policy,
        )

    def blank(self) -> Observation:
        """An observation of the shapes that it wants: black, and the robot where it began."""
        images: dict[str, Image] = {}
        for key, size in self.images.items():
            images[key] = np.zeros((*size, 3), np.uint8)
        depths: dict[str, Depth] = {}
        for key, size in self.depths.items():
            depths[key] = np.full(tuple(size), BLANK_DEPTH_M, np.float32)
        clouds: dict[str, CloudPoints] = {}
        for key, shape in self.clouds.items():
            clouds[key] = np.full(tuple(shape), BLANK_DEPTH_M, np.float32)
        # with odometry, which a policy may use where it is there, without wanting it
        state = dict.fromkeys(("odom.x", "odom.y", "odom.yaw", *self.state), 0.0)
        instruction = Instruction(0, 0, "go forward")
        newest = Observation(0, instruction, images, state, depths=depths, clouds=clouds)
        return replace(newest, history=(newest,) * (self.history - 1))


BLANK_DEPTH_M = 1.0


def _check_sizes(what: str, sizes: Any) -> None:
    """Raises ValueError for what is no mapping of names to (height, width)."""
    if not isinstance(sizes, Mapping):
        raise ValueError(
            f"the policy's {what}s are {shown(sizes)}; "
            'give each one\'s size by its name, like {"camera": (224, 224)}'
        )
    for key, size in sizes.items():
        if not is_size(size):
            raise ValueError(
                f"the policy's {what} {shown(key)} has the size {shown(size)}; "
                "give (height, width) in pixels"
            )


def _check_clouds(clouds: Any) -> None:
    """Raises ValueError for what is no mapping of names to (points, 3 or 6)."""
    if not isinstance(clouds, Mapping):
        raise ValueError(
            f"the policy's clouds are {shown(clouds)}; "
            'give each one\'s shape by its name, like {"scene": (1024, 3)}'
        )
    for key, shape in clouds.items():
        pair = isinstance(shape, (tuple, list)) and len(shape) == 2
        # `type`, since to `isinstance` true is a whole number.
        if not pair or type(shape[0]) is not int or shape[1] not in CLOUD_COLUMNS:
            good = False
        else:
            good = 1 <= shape[0] <= MOST_CLOUD_POINTS
        if not good:
            raise ValueError(
                f"the policy's cloud {shown(key)} has the shape {shown(shape)}; give (points, 3) "
                f"or (points, 6), from 1 to {MOST_CLOUD_POINTS} points"
            )


# ends every sentence about cameras that do not fit
REMEDY = (
    "name the camera as the policy does (camera of camera_ingest, cameras of synchronizer and "
    "inference), or name it to the policy in a policy file (images: {KEY: {camera: NAME}})"
)


def size_text(size: Size) -> str:
    """For sentences: "height x width"."""
    return f"{size[0]} x {size[1]}"


def sizes_text(sizes: Mapping[str, Size]) -> str:
    """For sentences: each camera with its size."""
    return ", ".join(f"{name} of {size_text(size)}" for name, size in sizes.items())


def shapes_text(images: Mapping[str, np.ndarray]) -> str:
    """For sentences: what an observation has."""
    sizes: dict[str, Size] = {}
    for name, image in images.items():
        sizes[name] = (image.shape[0], image.shape[1])
    return sizes_text(sizes) or "no image"


class Policy(Protocol):
    """A policy: `spec`, `predict`, `reset` and a name; plain numpy in and out.

    `name` is the policy's name and a hash or version of its content; every chunk carries it. One
    that has `warnings`, sentences about the current instruction, has them told to the operator,
    each once; one that has `announcements`, a tuple of sentences about what it does next ("step 2
    of 3: turn around"), likewise, in their order. One that has `connect` is given, before it
    predicts, what makes a client of a service of ROS 2 (`nodes.common.chunk_client`): policies
    import no rclpy. One whose `made_once` is true is slow to make, and its `reset` forgets all: an
    evaluation keeps it for the next episode.
    """

    name: str

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """What a policy with these options wants. Quick: it loads no weights.

        Raises ValueError for an option that it does not have or take.
        """
        ...

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Ready to predict: loading may take long here. Raises ValueError for a bad option."""
        ...

    def predict(self, observation: Observation) -> Rows:
        """What the robot shall do next.

        One thread calls `predict` and `reset`, and no other meanwhile; after a deactivation or a
        switch of policies it may be another thread. `predict` should take less time than lies
        between two images: those that come meanwhile are skipped, and the newest is next. Longer
        than the parameter `predict_timeout` is a fault: that object is left behind, and a fresh one
        or the fallback goes on.

        Args:
            observation: `images` has what the spec names, under its keys: height x width x 3,
                uint8, rgb, of the spec's sizes, only to be read. `depths` the same: height x width,
                float32, metres, NaN where nothing was measured. `clouds` has points x 3 (x, y, z,
                metres) or 6 (red, green, blue, 0 to 1, too), float32; rows of NaN at the end where
                fewer were measured. `state` has at least the names of
                the spec's state, in SI units. `instruction.text` is the instruction; empty: there
                is none, and the robot is to stand. `instruction.instruction_id` is another one for
                each instruction. `stamp`: when the oldest of the images was taken, ns.
                `history`: where the spec asks for more than one, the observations before this one,
                oldest first, each `history_spacing` before the next, by their stamps. `prefix`:
                where the spec takes it, what is left of the chunk before (core.types.Prefix); None
                where nothing is: the first chunk of an instruction, after a reset, and while the
                gate does not let the robot move.

        Returns:
            T x C numbers: a column for each of the spec's channels, in its order, in SI units. The
            first row is for `observation.stamp`, each next one for `step` later; the last one holds
            until the gate finds it too old. The array is copied; the policy may use it again.

        Raises:
            NotUnderstood: The instruction cannot be followed; the sentence goes to the operator.
                Anything else is a fault of the policy, and its traceback goes to the log.

        The node fills in all the rest of an action chunk (stamp, instruction, sequence, the
        policy's name, step), and joins chunks as its parameter `chunk_blending` says. The gate
        judges every value.
        """
        ...

    def reset(self) -> None:
        """Forget everything about the current instruction.

        A new one came, or something went wrong.
        """
        ...
