"""The arm's table as a gymnasium environment: importing vla_ros.sim.gym registers it.

    import gymnasium
    import vla_ros.sim.gym

    env = gymnasium.make("vla_ros/Table-v0", instruction="pick up the red block")
    observation, info = env.reset(seed=0)

There is no gate, and an action is obeyed at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.domain_randomization import TableLook, apply_look, random_table_look
from vla_ros.sim.arm.episode import (
    ARM_CHANNELS,
    ARM_STEP_S,
    DONE_FOR_S,
    EPISODE_LIMIT_S,
    draw_intent,
    obey_row,
    prepare,
)
from vla_ros.sim.arm.world import CAMERAS, IMAGE_SIZE, ArmWorld
from vla_ros.sim.episode import Reward
from vla_ros.sim.instructed_env import (
    CHARACTERS,
    MAX_CHARACTERS,
    MAX_TRIES,
    InstructedEnv,
    check_characters,
)
from vla_ros.tasks.arm.intent import ARM_KINDS, ArmIntent, parse_arm
from vla_ros.tasks.arm.phrases import say_arm
from vla_ros.tasks.arm.success import judge_arm
from vla_ros.tasks.arm.table import TableState
from vla_ros.tasks.phrases import SPLITS
from vla_ros.tasks.success import Judgement

ARM_STATE = (*chain.NAMES, chain.FINGER)  # rad, and m that each finger is from closed
TABLES = 1_000_000  # that are drawn from


class Table(InstructedEnv):
    """The simulated arm at a table, with an instruction; an episode ends when that was followed.

    Observation: `scene` and `wrist` (height x width x 3, uint8, rgb), `state` (float32, the numbers
    that ARM_STATE names) and `instruction`. Action: six angles (rad) and the gripper (0 closed to
    1 open), within the robot file's bounds, to be reached within ARM_STEP_S. `Reward` says what a
    step is worth. Terminated: done, and that for DONE_FOR_S. Truncated: after `seconds`. `info`
    holds `is_success` (done now), `distance` (m or rad from done), `sentence` (why) and `table`.

    Args:
        instruction: What to do, in every episode; without one, each draws what its table allows.
        kinds: Of the instructions drawn; default: all of ARM_KINDS.
        split: Of the phrasings drawn: known, recombined or unseen_words (vla_ros.tasks.phrases).
        image_size: (height, width) of both cameras in pixels, 16 or more each.
        seconds: Simulated, until an episode is truncated.
        variation: How far light, colours and cameras vary, 0 to 1 (domain_randomization).
        robot_file: Whose bounds the actions have; default: the simulated arm's own.
        render_mode: "rgb_array": `render` gives arm and table from the side, 480 x 640 x 3.

    Raises:
        ValueError: For what does not fit, in a sentence.
    """

    SCENE = "table"
    STEP_S = ARM_STEP_S
    DONE_FOR_S = DONE_FOR_S
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1 / ARM_STEP_S}
    channels = ARM_CHANNELS
    world: ArmWorld
    intent: ArmIntent | None
    _start: TableState

    def __init__(
        self,
        instruction: str | None = None,
        *,
        kinds: tuple[str, ...] = ARM_KINDS,
        split: str = "known",
        image_size: tuple[int, int] = IMAGE_SIZE,
        seconds: float = EPISODE_LIMIT_S,
        variation: float = 0.0,
        robot_file: str | Path | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; give rgb_array or None")
        if split not in SPLITS[:3]:
            raise ValueError(f"split is {split!r}; give one of {', '.join(SPLITS[:3])}")
        if not kinds or not set(kinds) <= set(ARM_KINDS):
            raise ValueError(f"kinds is {kinds!r}; give some of {', '.join(ARM_KINDS)}")
        if not seconds > 0.0:
            raise ValueError(f"seconds is {seconds}; give more than 0")
        if not 0.0 <= variation <= 1.0:
            raise ValueError(f"variation is {variation}; give 0 to 1")
        if instruction is not None:
            _understood(instruction)
        robot = load_robot(robot_file or config_folder() / "robots" / "sim_arm.yaml")
        names = tuple(channel.name for channel in robot.channels)
        if names != ARM_CHANNELS:
            raise ValueError(
                f"the robot file has the channels {', '.join(names)}, and the simulated arm "
                f"{', '.join(ARM_CHANNELS)}; give a file with these"
            )
        self.render_mode = render_mode
        self.world = ArmWorld(0, image_size)
        self.instruction = ""
        self.intent = None
        self._fixed = instruction
        self._kinds = tuple(kinds)
        self._split = split
        self._seconds = seconds
        self._variation = variation
        self._reward = Reward()
        bounds = np.array([channel.bounds for channel in robot.channels], np.float32)  # 7 x 2
        self.action_space = gymnasium.spaces.Box(bounds[:, 0], bounds[:, 1], dtype=np.float32)
        image = gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {
                **dict.fromkeys(CAMERAS, image),
                "state": gymnasium.spaces.Box(-np.inf, np.inf, (len(ARM_STATE),), np.float32),
                "instruction": gymnasium.spaces.Text(MAX_CHARACTERS, charset=CHARACTERS),
            }
        )

    def _begin(self, scene: int | None, instruction: str | None) -> None:
        """A table, an instruction that it allows and that is not done yet, the arm at its start.

        What is None is drawn, until both fit.
        """
        wanted = None if instruction is None else _understood(instruction)
        fixed = scene is not None and wanted is not None  # nothing is left to draw
        for _ in range(MAX_TRIES):
            number = int(self.np_random.integers(TABLES)) if scene is None else scene
            self.world.reset(number)
            look = TableLook()
            if self._variation > 0.0:
                look = random_table_look(self.np_random, self._variation)
            apply_look(self.world, look)
            intent = wanted
            if intent is None:
                kind = self._kinds[int(self.np_random.integers(len(self._kinds)))]
                intent = draw_intent(self.world, kind, self.np_random)
                if intent is None:
                    continue
            prepare(self.world, intent.kind, number)
            self._start = self.world.state()
            try:
                self._verdict = judge_arm(intent, self._start, self._start)
            except ValueError:  # the table has no such thing
                if fixed:
                    raise
                continue
            if fixed or not self._verdict.done:
                break
        else:
            raise ValueError(
                f"{MAX_TRIES} tables had nothing to be done that '{instruction}' could "
                "mean; give other words"
            )
        self.intent = intent
        self.instruction = instruction or say_arm(self.np_random, intent, self._split)
        self._began = self._done_since = self.world.time

    def _obey(self, values: NDArray[np.float32]) -> None:
        obey_row(self.world, values.astype(float))

    def _judged(self) -> Judgement:
        assert self.intent is not None
        return judge_arm(self.intent, self._start, self.world.state())

    def _observation(self) -> dict[str, Any]:
        joints = self.world.joint_states()
        return {
            **self.world.render(),
            "state": np.array([joints[name] for name in ARM_STATE], np.float32),
            "instruction": self.instruction,
        }


def _understood(instruction: str) -> ArmIntent:
    """What it means. ValueError for words without a meaning, or too many for the observation."""
    check_characters(instruction)
    return parse_arm(instruction)
