"""One instruction, one policy, one world: the closed loop without ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from vla_ros.core.chunks import row_at
from vla_ros.core.config_files import config_folder
from vla_ros.core.images import resize
from vla_ros.core.robot import Robot, load_robot
from vla_ros.core.types import ActionChunk, Image, Instruction, Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, Policy, PolicySpec
from vla_ros.sim.world import World
from vla_ros.tasks.intent import parse
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.sequence import Judging
from vla_ros.tasks.success import STILL_ANGULAR, STILL_LINEAR, Judgement
from vla_ros.tasks.world_state import WorldState

CAMERA = "camera"  # the simulated robot's
GAVE_UP = "the policy gave up"
OBEY_PERIOD_S = 0.02  # s between commands to the driver, like the gate's
DONE_FOR_S = 0.6  # s that a done verdict must last before the episode ends early


@dataclass(frozen=True)
class Outcome:
    """How an episode ended: verdict, simulated seconds, policy times (s), and the way driven."""

    instruction: str
    seed: int
    verdict: Judgement
    seconds: float
    predict_seconds: tuple[float, ...]
    path: tuple[WorldState, ...] = field(repr=False, default=())

    @property
    def done(self) -> bool:
        return self.verdict.done


@dataclass(frozen=True)
class Reward:
    """What a moment of learning is worth: the m and rad that the robot came nearer to done.

    `time` is taken off for each second, and `done` is added at the end, when it is. That is much: a
    search comes nearer and goes away by luck, and would else hide whether a task gets done.
    """

    time: float = 0.05
    done: float = 5.0

    def of(self, lacking_before: float, lacking_now: float, seconds: float, done: bool) -> float:
        """The reward of a step of so many `seconds`, at whose end it is `done` or not.

        `lacking` is what all of the task's conditions lack together (`Verdict.lacking`): the worst
        alone would let a robot that still has to turn drive where it likes.
        """
        return lacking_before - lacking_now - self.time * seconds + self.done * done


Watch = Callable[[Any, Observation, ActionChunk], None]  # the truth is a WorldState, or an arm's
Lens = Callable[[Image], Image]
Blend = Callable[[ActionChunk, int], ActionChunk]  # the policy's, and when it arrives (ns)


@cache
def simulated_robot() -> Robot:
    """Its robot file, config/robots/sim.yaml."""
    return load_robot(config_folder() / "robots" / "sim.yaml")


def robot_state(world: World) -> dict[str, float]:
    """What the nodes would know of the robot beside the image: odometry and joints."""
    odometry = world.odometry()
    return {
        "odom.x": odometry.x,
        "odom.y": odometry.y,
        "odom.yaw": odometry.yaw,
        "linear.x": odometry.linear,
        "angular.z": odometry.angular,
        **world.joint_states(),
    }


def observe(
    world: World, spec: PolicySpec, instruction: Instruction, lens: Lens | None = None
) -> Observation:
    """What the nodes would hand to the policy: the image at its size, odometry and joints."""
    image = world.render() if lens is None else lens(world.render())
    image = resize(image, spec.size_of(CAMERA), spec.resize)
    return Observation(to_nanoseconds(world.time), instruction, {CAMERA: image}, robot_state(world))


def obey(world: World, chunk: ActionChunk, age: float) -> None:
    """Send the row of `chunk` that is due `age` seconds after its stamp to the driver."""
    row = chunk.values[row_at(chunk, chunk.stamp + to_nanoseconds(age))]
    send(world, dict(zip(chunk.channels, row.tolist())))


def send(world: World, values: Mapping[str, float]) -> None:
    """Tell the driver what each channel shall be: m/s, rad/s, the gripper 0 closed to 1 open."""
    world.command(values.get("linear.x", 0.0), values.get("angular.z", 0.0))
    if "gripper" in values:
        world.command_gripper(values["gripper"] * OPENING_MAX)


@dataclass(frozen=True)
class EpisodeRules:
    """What an episode asks of a robot; `CART_RULES` are the cart's.

    Attributes:
        observe: Of a world, a spec, an instruction and a lens: what the policy sees.
        obey: Of a world, a chunk and its age (s): sends the row that is due.
        parse: Of words: their intent.
        judging: Of an intent and the truth at the start: what judges each moment from then on.
        stands: Of a chunk: it wants nothing more of the robot.
    """

    observe: Callable[[Any, PolicySpec, Instruction, Lens | None], Observation]
    obey: Callable[[Any, ActionChunk, float], None]
    parse: Callable[[str], Any]
    judging: Callable[[Any, Any], Callable[[Any], Judgement]]
    stands: Callable[[ActionChunk], bool]


def run_episode(
    policy: Policy,
    world: Any,
    instruction: str,
    seconds: float = 30.0,
    *,
    spec: PolicySpec,
    rate: float = 12.5,
    delay: float = 0.08,
    instruction_id: int = 1,
    watch: Watch | None = None,
    intent: Any = None,
    lens: Lens | None = None,
    drop: Callable[[], bool] | None = None,
    blend: Blend | None = None,
    rules: EpisodeRules | None = None,
) -> Outcome:
    """Run `policy` in `world` until the instruction is done and stays done, or `seconds` are over.

    Args:
        policy: Drives; it is not reset here.
        world: Goes on from where it is.
        instruction: What the policy is told.
        seconds: Simulated, that it may take.
        spec: The policy's.
        rate: Images a second that the policy sees.
        delay: From an image until its chunk arrives, s.
        instruction_id: A new one for each instruction of a world.
        watch: Sees each moment: the truth, the observation and the chunk.
        intent: What is judged; default: what the grammar understands.
        lens: Changes the camera's image before the policy sees it.
        drop: An image for which it is true never reaches the policy.
        blend: Gives what the robot is told instead of a chunk.
        rules: The robot's; default: the cart's.
    """
    rules = rules or CART_RULES
    intent = rules.parse(instruction) if intent is None else intent
    command = Instruction(to_nanoseconds(world.time), instruction_id, instruction)
    start = world.state()
    began = world.time
    path = [start]
    spent = []
    coming: list[tuple[float, ActionChunk]] = []  # by when they arrive; the first has arrived
    judge = rules.judging(intent, start)
    verdict = judge(start)
    done_since = began  # s; moves on as long as it is not done
    while world.time - began < seconds:
        if drop is None or not drop():
            observation = rules.observe(world, spec, command, lens)
            clock = time.perf_counter()  # real time: the simulated one stands still meanwhile
            try:
                rows = policy.predict(observation)
            except NotUnderstood as problem:
                verdict = Judgement(False, verdict.distance, f"{GAVE_UP}: {problem}")
                break
            if not getattr(policy, "planned", False):  # else nothing was computed
                spent.append(time.perf_counter() - clock)
            newest = spec.chunk(rows, observation)
            if watch is not None:
                watch(world.state(), observation, newest)
            if blend is not None:
                newest = blend(newest, observation.stamp + to_nanoseconds(delay))
            coming.append((world.time + delay, newest))
        between_images(world, coming, 1 / rate, rules.obey)
        now = world.state()
        path.append(now)
        verdict = judge(now)
        # Done counts only while the policy wants nothing more of the robot.
        idle = bool(coming) and rules.stands(coming[-1][1])
        if not (verdict.done and idle):
            done_since = world.time
        elif world.time - done_since >= DONE_FOR_S:
            break
    return Outcome(instruction, world.seed, verdict, world.time - began, tuple(spent), tuple(path))


def prelude(world: World, kind: str, seed: int) -> None:
    """What was before the words: "stop" is said to a robot that drives, "open" to a closed hand."""
    if kind == "stop":
        turn = float(np.random.default_rng((seed, 4)).uniform(-0.5, 0.5))
        for _ in range(3):  # the driver forgets a command after DRIVER_TIMEOUT_S
            world.command(0.3, turn)
            world.step(0.2)
    elif kind == "open":
        world.command_gripper(0.0)
        world.step(1.0)


def stands(chunk: ActionChunk) -> bool:
    """Does no row of it ask for a speed at which the robot counts as moving?"""
    still = {"linear.x": STILL_LINEAR, "angular.z": STILL_ANGULAR}  # m/s, rad/s
    fastest = np.abs(chunk.values).max(axis=0)  # a number for each channel
    for channel, speed in zip(chunk.channels, fastest):
        if channel in still and not speed < still[channel]:  # NaN: it does not stand
            return False
    return True


def between_images(
    world: Any,
    coming: list[tuple[float, ActionChunk]],
    period: float,
    obey: Callable[[Any, ActionChunk, float], None] = obey,
) -> None:
    """Until the next image is due, obey the newest of the chunks that have arrived.

    Args:
        world: Is stepped.
        coming: When each chunk arrives (s), and the chunk; those that a newer one replaced are
            taken out.
        period: Until the next image, s.
        obey: As in `EpisodeRules`.
    """
    seen = world.time
    # 1e-6 s: simulated time is a sum of steps, and a little less than the sum of its numbers
    while world.time - seen < period - 1e-6:
        while len(coming) > 1 and world.time >= coming[1][0] - 1e-6:
            del coming[0]
        if coming and world.time >= coming[0][0] - 1e-6:
            obey(world, coming[0][1], world.time - coming[0][1].stamp / 1e9)
        world.step(OBEY_PERIOD_S)


CART_RULES = EpisodeRules(observe, obey, parse, Judging, stands)
