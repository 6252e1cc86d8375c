"""One instruction, one policy, one world: the closed loop without ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from vla_ros.core.chunks import row_at
from vla_ros.core.config_files import config_folder
from vla_ros.core.images import resize
from vla_ros.core.robot import Robot, load_robot
from vla_ros.core.types import ActionChunk, Image, Instruction, Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, Policy, PolicySpec
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.success import STILL_ANGULAR, STILL_LINEAR, Verdict, judge
from vla_ros.tasks.world_state import WorldState

CAMERA = "camera"  # the simulated robot's
GAVE_UP = "the policy gave up"
OBEY_PERIOD = 0.02  # s between commands to the driver, like the gate's
SETTLE = 0.6  # s that a done verdict must last before the episode ends early


@dataclass(frozen=True)
class Outcome:
    """How an episode ended: verdict, simulated seconds, policy times (s), and the way driven."""

    instruction: str
    seed: int
    verdict: Verdict
    seconds: float
    predict_seconds: tuple[float, ...]
    path: tuple[WorldState, ...] = field(repr=False, default=())

    @property
    def done(self) -> bool:
        return self.verdict.done


@dataclass(frozen=True)
class Reward:
    """What a moment of learning is worth: the m and rad come nearer to done, minus `time` a second;
    `done` more at the end, when it is.

    That is much: a search comes nearer and goes away by luck, and would else hide whether a task
    gets done.
    """

    time: float = 0.05
    done: float = 5.0

    def of(self, lacking_before: float, lacking_now: float, seconds: float, done: bool) -> float:
        """`lacking` is what all of the task's conditions lack together (`Verdict.lacking`): the
        worst alone would let a robot that still has to turn drive where it likes."""
        return lacking_before - lacking_now - self.time * seconds + self.done * done


Watch = Callable[[WorldState, Observation, ActionChunk], None]
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
    """What the nodes would hand to the policy: the camera's image at its size, odometry and
    joints."""
    image = world.render() if lens is None else lens(world.render())
    image = resize(image, spec.size_of(CAMERA), spec.resize)
    return Observation(to_nanoseconds(world.time), instruction, {CAMERA: image}, robot_state(world))


def obey(world: World, chunk: ActionChunk, age: float) -> None:
    """Send the row of `chunk` that is due `age` seconds after its stamp to the driver."""
    row = chunk.values[row_at(chunk, chunk.stamp + to_nanoseconds(age))]
    send(world, {channel: float(value) for channel, value in zip(chunk.channels, row)})


def send(world: World, values: Mapping[str, float]) -> None:
    """Tell the driver what each channel shall be, in SI units: m/s, rad/s, the gripper 0 closed to
    1 open."""
    world.command(values.get("linear.x", 0.0), values.get("angular.z", 0.0))
    if "gripper" in values:
        world.command_gripper(values["gripper"] * OPENING_MAX)


def run_episode(
    policy: Policy,
    world: World,
    instruction: str,
    seconds: float = 30.0,
    *,
    spec: PolicySpec,
    rate: float = 12.5,
    delay: float = 0.08,
    instruction_id: int = 1,
    watch: Watch | None = None,
    intent: Intent | None = None,
    lens: Lens | None = None,
    drop: Callable[[], bool] | None = None,
    blend: Blend | None = None,
) -> Outcome:
    """Run `policy` in `world` until the instruction is done and stays done, or `seconds` are over.

    The policy sees `rate` images a second and its chunk arrives `delay` seconds after the
    image. Judged is `intent`, by default what the grammar understands. `lens` changes the
    camera's image before the policy sees it; an image for which `drop` is true never reaches it.
    `blend` gives what the robot is told instead of a chunk.
    """
    intent = parse(instruction) if intent is None else intent
    command = Instruction(to_nanoseconds(world.time), instruction_id, instruction)
    start = world.state()
    began = world.time
    path = [start]
    spent = []
    coming: list[tuple[float, ActionChunk]] = []  # by when they arrive; the first has arrived
    verdict = judge(intent, start, start)
    done_since = began
    while world.time - began < seconds:
        if drop is None or not drop():
            observation = observe(world, spec, command, lens)
            clock = time.perf_counter()
            try:
                rows = policy.predict(observation)
            except NotUnderstood as problem:
                verdict = Verdict(False, verdict.distance, f"{GAVE_UP}: {problem}")
                break
            spent.append(time.perf_counter() - clock)
            newest = spec.chunk(rows, observation)
            if watch is not None:
                watch(world.state(), observation, newest)
            if blend is not None:
                newest = blend(newest, observation.stamp + to_nanoseconds(delay))
            coming.append((world.time + delay, newest))
        between_images(world, coming, 1 / rate)
        now = world.state()
        path.append(now)
        verdict = judge(intent, start, now)
        idle = bool(coming) and stands(coming[-1][1])
        if not (verdict.done and idle):
            done_since = world.time
        elif world.time - done_since >= SETTLE:
            break
    return Outcome(instruction, world.seed, verdict, world.time - began, tuple(spent), tuple(path))


def prelude(world: World, kind: str, seed: int) -> None:
    """What was before the words: "stop" is said to a robot that drives, "open" to one whose gripper
    is closed."""
    if kind == "stop":
        turn = float(np.random.default_rng((seed, 4)).uniform(-0.5, 0.5))
        for _ in range(3):
            world.command(0.3, turn)
            world.step(0.2)
    elif kind == "open":
        world.command_gripper(0.0)
        world.step(1.0)


def stands(chunk: ActionChunk) -> bool:
    """Does no row of it ask for a speed at which the robot counts as moving?"""
    most = {"linear.x": STILL_LINEAR, "angular.z": STILL_ANGULAR}
    return all(
        np.abs(chunk.values[:, column]).max() < most[channel]
        for column, channel in enumerate(chunk.channels)
        if channel in most
    )


def between_images(world: World, coming: list[tuple[float, ActionChunk]], period: float) -> None:
    """Until the next image is due, obey the newest of the chunks that have arrived. `coming` holds
    when each arrives (s); those that a newer one replaced are taken out."""
    seen = world.time
    while world.time - seen < period - 1e-6:
        while len(coming) > 1 and world.time >= coming[1][0] - 1e-6:
            del coming[0]
        if coming and world.time >= coming[0][0] - 1e-6:
            obey(world, coming[0][1], world.time - coming[0][1].stamp / 1e9)
        world.step(OBEY_PERIOD)
