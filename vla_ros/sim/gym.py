"""The simulated room as a gymnasium environment: importing this module registers `vla_ros/Room-v0`,
and the arm's table of vla_ros.sim.arm.gym as `vla_ros/Table-v0`.

    import gymnasium
    import vla_ros.sim.gym

    env = gymnasium.make("vla_ros/Room-v0", instruction="grab the red block")
    observation, info = env.reset(seed=0)

What trains or measures through gymnasium meets here what a policy meets in `vla evaluate`: rooms
and words of the same kind, and the same verdicts. Two things are easier: there is no gate, and an
action is obeyed at once and not 0.08 s after its image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import gymnasium
except ModuleNotFoundError as problem:
    raise ModuleNotFoundError(
        "vla_ros.sim.gym needs gymnasium 1.0 or a later one: pip install gymnasium",
        name="gymnasium",
    ) from problem

from vla_ros.core.robot import load_robot
from vla_ros.sim.episode import DONE_FOR_S, Reward, prelude, robot_state, send, simulated_robot
from vla_ros.sim.instructed_env import (
    CHARACTERS,
    MAX_CHARACTERS,
    MAX_TRIES,
    InstructedEnv,
    check_characters,
)
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SPLITS, UNSEEN_PAIRS, intent_of, say
from vla_ros.tasks.success import Judgement, judge
from vla_ros.tasks.world_state import WorldState

# in gymnasium's registry
ID = "vla_ros/Room-v0"
TABLE_ID = "vla_ros/Table-v0"
STEP_S = 0.08  # between images, as in vla evaluate
CHANNELS = ("linear.x", "angular.z", "gripper")  # that the simulated robot obeys
# As the nodes know them: m, rad, m/s, rad/s, and the joints' positions in rad and m.
STATE = (
    "odom.x",
    "odom.y",
    "odom.yaw",
    "linear.x",
    "angular.z",
    "left_wheel_joint",
    "right_wheel_joint",
    "gripper_joint",
)
ROOMS = 1_000_000  # that are drawn from: the rooms of vla evaluate begin there


class Room(InstructedEnv):
    """The simulated robot in a room, with an instruction; an episode ends when that was followed.

    Observation: `image` (height x width x 3, uint8, rgb), `state` (float32, the numbers that STATE
    names) and `instruction`. Action: the robot file's channels in their order, in SI units (the
    gripper 0 closed to 1 open), within their bounds; it is obeyed for STEP_S. `Reward` says what a
    step is worth. Terminated: done, and that for DONE_FOR_S. Truncated: after `seconds`. `info`
    holds `is_success` (done now), `distance` (m or rad from done), `sentence` (why) and `room`.

    Args:
        instruction: What to do, in every episode; without one, each draws what its room allows.
        split: Of the phrasings drawn: known, recombined, unseen_words or pairs
            (vla_ros.tasks.phrases).
        image_size: (height, width) of the camera in pixels, 16 or more each.
        seconds: Simulated, until an episode is truncated.
        robot_file: Whose channels and bounds the actions have; default: the simulated robot's own.
        render_mode: "rgb_array": `render` gives the room from a corner, 480 x 640 x 3.

    Raises:
        ValueError: For what does not fit, in a sentence.
    """

    SCENE = "room"
    STEP_S = STEP_S
    DONE_FOR_S = DONE_FOR_S
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1 / STEP_S}
    world: World
    intent: Intent | None
    _start: WorldState

    def __init__(
        self,
        instruction: str | None = None,
        *,
        split: str = "known",
        image_size: tuple[int, int] = (240, 320),
        seconds: float = 30.0,
        robot_file: str | Path | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; give rgb_array or None")
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; give one of {', '.join(SPLITS)}")
        if not seconds > 0.0:
            raise ValueError(f"seconds is {seconds}; give more than 0")
        if instruction is not None:
            _understood(instruction)
        robot = load_robot(robot_file) if robot_file else simulated_robot()
        self.channels = tuple(channel.name for channel in robot.channels)
        if not set(self.channels) <= set(CHANNELS):
            raise ValueError(
                f"the robot file has the channels {', '.join(self.channels)}, and the "
                f"simulated robot {', '.join(CHANNELS)}; give a file with these alone"
            )
        self.render_mode = render_mode
        self.world = World(0, width=image_size[1], height=image_size[0])
        self.instruction = ""
        self.intent = None
        self._fixed = instruction
        self._split = split
        self._seconds = seconds
        self._reward = Reward()
        bounds = np.array([channel.bounds for channel in robot.channels], np.float32)  # C x 2
        self.action_space = gymnasium.spaces.Box(bounds[:, 0], bounds[:, 1], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8),
                "state": gymnasium.spaces.Box(-np.inf, np.inf, (len(STATE),), np.float32),
                "instruction": gymnasium.spaces.Text(MAX_CHARACTERS, charset=CHARACTERS),
            }
        )

    def _begin(self, scene: int | None, instruction: str | None) -> None:
        """A room, an instruction that it allows and that is not done yet, the robot at the start.

        What is None is drawn, until both fit.
        """
        wanted = None if instruction is None else _understood(instruction)
        fixed = scene is not None and wanted is not None  # nothing is left to draw
        for _ in range(MAX_TRIES):
            number = int(self.np_random.integers(ROOMS)) if scene is None else scene
            self.world.data.time = 0.0
            self.world.reset(number)
            try:
                if wanted is None:
                    intent, words = self._drawn()
                else:
                    intent = wanted
                    words = str(instruction)
                prelude(self.world, intent.kind, number)
                self._start = self.world.state()
                self._verdict = judge(intent, self._start, self._start)
            except ValueError:  # the room has no such thing
                if fixed:
                    raise
                continue
            if fixed or not self._verdict.done:
                break
        else:
            raise ValueError(
                f"{MAX_TRIES} rooms had nothing to be done that '{instruction}' could "
                "mean; give other words"
            )
        self.intent = intent
        self.instruction = words
        self.world.data.time = 0.0  # the prelude took some
        self._began = self._done_since = 0.0

    def _drawn(self) -> tuple[Intent, str]:
        """What this room allows, and words for it. ValueError where it has nothing of the kind."""
        unseen = self._split == "pairs"  # a colour and a shape that training never names together
        kinds = OBJECT_KINDS if unseen else KINDS
        kind = kinds[int(self.np_random.integers(len(kinds)))]
        intent = intent_of(kind)
        if kind in OBJECT_KINDS:
            nameable = []
            for thing in self.world.scene.objects:
                if ((thing.colour, thing.shape) in UNSEEN_PAIRS) == unseen:
                    nameable.append(thing)
            if not nameable:
                raise ValueError("the room has nothing that may be named")
            thing = nameable[int(self.np_random.integers(len(nameable)))]
            intent = intent_of(kind, thing.colour, thing.shape)
        return intent, say(self.np_random, intent, self._split)

    def _obey(self, values: NDArray[np.float32]) -> None:
        send(self.world, dict(zip(self.channels, values.tolist())))

    def _judged(self) -> Judgement:
        assert self.intent is not None
        return judge(self.intent, self._start, self.world.state())

    def _observation(self) -> dict[str, Any]:
        state = robot_state(self.world)
        return {
            "image": self.world.render(),
            "state": np.array([state[name] for name in STATE], np.float32),
            "instruction": self.instruction,
        }


def _understood(instruction: str) -> Intent:
    """What it means. ValueError for words without a meaning, or too many for the observation."""
    check_characters(instruction)
    return parse(instruction)


gymnasium.register(ID, "vla_ros.sim.gym:Room")
gymnasium.register(TABLE_ID, "vla_ros.sim.arm.gym:Table")
