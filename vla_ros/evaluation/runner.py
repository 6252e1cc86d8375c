"""Runs a plan in worker processes, each with a world of its own.

Every episode gets a fresh policy and a world set back to its seed and to time 0, so that no result
depends on how many workers there are or on what ran before.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_ros.core.policy_file import load_policy_file
from vla_ros.core.registry import lookup
from vla_ros.core.robot import Robot
from vla_ros.core.types import ActionChunk, Image, Observation
from vla_ros.evaluation import perception
from vla_ros.evaluation.plan import SAID_AS_READ, PlannedEpisode, robot_named
from vla_ros.evaluation.scenarios import SCENARIOS
from vla_ros.evaluation.truth import Truth
from vla_ros.evaluation.word_plan import PHRASINGS, WORD_SPLITS
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import Policy, PolicySpec
from vla_ros.policies.fitted import Fitting
from vla_ros.sim.episode import (
    CAMERA,
    CART_RULES,
    GAVE_UP,
    Outcome,
    prelude,
    run_episode,
    simulated_robot,
)
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.sequence import IntentSequence, first_kind
from vla_ros.tasks.success import judge
from vla_ros.tasks.world_state import WorldState

OTHER_JOINT_RANGE = (-2.0, 2.0)  # rad, of a channel that the simulated robot does not have
POSES_PER_POINT = 4  # of the poses on the way, every so many is kept
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# splits whose words a policy is not asked to explain: they name no thing by colour and shape alone
UNEXPLAINED = (*WORD_SPLITS, PHRASINGS, SAID_AS_READ)
FLOAT32_ERROR = 1e-6  # a float32 may miss its channel's limit by so much


@dataclass(frozen=True)
class PolicyChoice:
    """A policy by its registered name, with options, and the camera through which it looks.

    With `file`, a policy file's path, policy and options are that file's; what it says of images,
    numbers and engine counts as well.
    """

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    camera: tuple[int, int] = (320, 240)  # width, height
    robot: str = "cart"
    file: str = ""

    def prepare(self) -> tuple[PolicySpec, Callable[[], Policy]]:
        """What the robot sees of the policy, and what makes a new one, loaded.

        Raises:
            ValueError: as what makes one does, too.
        """
        if self.file:
            fitting = Fitting(load_policy_file(self.file), worker_class(self).robot_file())
            return fitting.spec, fitting.make
        spec = policy_spec(self.policy, self.options)
        return spec, lambda: make_policy(self.policy, self.options)


@dataclass
class Record:
    """What came of an episode.

    Attributes:
        distance: m or rad from done.
        seconds: simulated, until the end.
        sentence: the verdict's.
        reached: the objects with which the robot has done what was asked for with one.
        refused: the policy did not take the words.
        gave_up: it took them and gave up later.
        chunks: how many, how many valid, how many within limits.
        predict: s, of each call of the policy.
        path: x and y (m) and yaw (rad) on the way.
        image: the last that the policy saw, where it failed.
        explained: what it said of that image.
    """

    episode: PlannedEpisode
    done: bool
    distance: float
    seconds: float
    sentence: str
    reached: list[str]
    refused: bool
    gave_up: bool
    chunks: tuple[int, ...]
    predict: list[float] = field(repr=False)
    path: list[tuple[float, float, float]] = field(repr=False)
    start: Any = field(repr=False)  # a WorldState, or a TableState
    end: Any = field(repr=False)
    image: Image | None = field(repr=False, default=None)
    explained: dict[str, Any] | None = field(repr=False, default=None)
    looks: list[dict[str, Any]] = field(repr=False, default_factory=list)  # perception.py
    policy: str = ""


def check(player: PolicyChoice) -> None:
    """Make the policy once, which also shows that its weights load.

    Raises:
        ValueError: it cannot be made, or drives nothing that the simulated robot has.
    """
    spec, make = player.prepare()
    policy = make()
    worker = worker_class(player)
    if not player.file:  # a file's cameras were held against the robot's
        for camera in worker.CAMERAS:
            spec.size_of(camera)  # raises where it wants another camera than there is
    channels = spec.channels
    driven = bounds(worker.robot_file())
    if not set(channels) & set(driven):
        raise ValueError(
            f"policy '{player.policy}' drives {', '.join(channels)}, and the simulated robot has "
            f"none of these; it has {', '.join(driven)}"
        )
    policy.reset()


def worker_class(player: PolicyChoice) -> Any:
    """Of the worker that runs this player's robot."""
    worker = robot_named(player.robot).worker
    return lookup({player.robot: worker}, player.robot, "robot")


class EpisodeWorker:
    """One policy and its worlds (one for each number of objects)."""

    CAMERAS: tuple[str, ...] = (CAMERA,)
    RULES = CART_RULES
    RATE_HZ = 12.5  # images that the policy sees
    robot_file: Callable[[], Robot] = staticmethod(simulated_robot)
    _kept: Policy | None = None  # between episodes, where it is made once

    def __init__(self, player: PolicyChoice) -> None:
        self.player = player
        self.spec, self._make = player.prepare()
        self._worlds: dict[int | None, World] = {}  # number of objects (None: the usual) -> world
        self._truth: Truth | None = None  # of the plain world

    def world(self, objects: int | None) -> World:
        """The world with so many objects; made once, because MuJoCo compiles its model."""
        if objects not in self._worlds:
            width, height = self.player.camera
            self._worlds[objects] = World(0, width, height, objects)
        return self._worlds[objects]

    def begin(self, episode: PlannedEpisode) -> World:
        """The world as it is when the words are said."""
        conditions = SCENARIOS[episode.scenario]
        world = self.world(conditions.objects)
        world.data.time = 0.0
        world.reset(episode.seed)
        conditions.prepare(world, episode.seed)
        # what makes the instruction mean something: "stop" is said to a robot that drives
        prelude(world, first_kind(episode.meant), episode.seed)
        return world

    def reached(self, meant: Any, start: Any, end: Any) -> list[str]:
        """Of the things there, those with which what was asked for is done at the end."""
        return reached(meant, start, end)

    def pose(self, state: Any) -> tuple[float, float, float]:
        """Where the robot is, seen from above: x, y (m) and yaw (rad)."""
        return state.x, state.y, state.yaw

    def run(self, episode: PlannedEpisode) -> Record:
        """Run one episode from a fresh start.

        Raises:
            RuntimeError: it is done before it begins; the plan would be at fault.
        """
        conditions = SCENARIOS[episode.scenario]
        world = self.begin(episode)
        start = world.state()
        if self.RULES.judging(episode.meant, start)(start).done:
            raise RuntimeError(
                f"episode {episode.number} (seed {episode.seed}, '{episode.text}') is done before "
                "it begins: its plan is wrong"
            )
        policy = self._policy()
        witness = self._witness(policy, world, episode)
        outcome = run_episode(
            policy,
            world,
            episode.text,
            episode.seconds,
            spec=self.spec,
            intent=episode.meant,
            delay=conditions.delay,
            lens=conditions.lens(episode.seed),
            drop=conditions.dropper(episode.seed),
            watch=witness,
            rate=self.RATE_HZ,
            rules=self.RULES,
        )
        end = world.state()
        image = None
        explained = None
        if not outcome.done:
            image, explained = witness.last()
        return Record(
            episode,
            outcome.done or refused_rightly(episode, outcome, start, end),
            outcome.verdict.distance,
            outcome.seconds,
            outcome.verdict.sentence,
            self.reached(episode.meant, start, end),
            refused(outcome),
            gave_up(outcome),
            tuple(witness.chunks),
            list(outcome.predict_seconds),
            list(map(self.pose, (*outcome.path[::POSES_PER_POINT], end))),
            start,
            end,
            image,
            explained,
            witness.looks,
            policy.name,
        )

    def _policy(self) -> Policy:
        """One that remembers nothing of the episode before: a new one, or one that was reset."""
        if self._kept is not None:
            self._kept.reset()
            return self._kept
        policy = self._make()
        if getattr(policy, "made_once", False):
            self._kept = policy
        return policy

    def _witness(self, policy: Policy, world: World, episode: PlannedEpisode) -> EpisodeWitness:
        robot = self.robot_file()
        looks = episode.part == "success" and names_one_thing(episode)
        if not looks or getattr(policy, "explain", None) is None:
            return EpisodeWitness(policy, self.spec, episode, None, robot)
        if self._truth is None:
            self._truth = Truth(world)
        return EpisodeWitness(policy, self.spec, episode, self._truth, robot)

    def close(self) -> None:
        if self._truth is not None:
            self._truth.close()
        for world in self._worlds.values():
            world.close()
        self._worlds.clear()


class EpisodeWitness:
    """Looks on during an episode: counts valid actions, and asks now and then what is seen."""

    def __init__(
        self,
        policy: Any,
        spec: PolicySpec,
        episode: PlannedEpisode,
        truth: Truth | None,
        robot: Robot,
    ) -> None:
        self._policy = policy
        self._spec = spec
        self._episode = episode
        self._truth = truth
        self._bounds = bounds(robot)
        self._limits = limits(robot)
        self.chunks = [0, 0, 0]  # all, within bounds, within limits
        self.looks: list[dict[str, Any]] = []
        self._seen: Observation | None = None

    def __call__(self, state: Any, observation: Observation, chunk: ActionChunk) -> None:
        """Called by `run_episode` with each chunk and the observation that it is of."""
        if self._truth is not None and self.chunks[0] % perception.IMAGES_PER_LOOK == 0:
            meant = self._episode.meant
            seen = perception.look(self._policy, observation, self._truth, self._spec, meant)
            self.looks.append(seen)
        self.chunks[0] += 1
        self.chunks[1] += within(chunk, self._bounds)
        self.chunks[2] += within(chunk, self._limits)
        self._seen = observation

    def last(self) -> tuple[Image | None, dict[str, Any] | None]:
        """The last image, and what the policy says of it."""
        if self._seen is None:
            return None, None
        image = next(iter(self._seen.images.values())).copy()
        # without words there is nothing to attend to, and of several steps no one thing
        words = self._episode.text and names_one_thing(self._episode)
        if getattr(self._policy, "explain", None) is None or not words:
            return image, None
        explained = self._policy.explain(self._seen)
        return image, {"attention": explained["attention"], "nowhere": explained["nowhere"]}


def reached(meant: Intent, start: WorldState, end: WorldState) -> list[str]:
    """Of the room's objects, those with which the asked-for kind of thing is done at the end."""
    if meant.kind not in OBJECT_KINDS:
        return []
    names = []
    for thing in end.objects:
        if judge(Intent(meant.kind, thing.colour, thing.shape), start, end).done:
            names.append(thing.name)
    return names


def refused(outcome: Outcome) -> bool:
    """Did the policy not take the words: no action at all?"""
    # where the first call raises, no call is timed
    return outcome.verdict.sentence.startswith(GAVE_UP) and not outcome.predict_seconds


def names_one_thing(episode: PlannedEpisode) -> bool:
    """Is a policy asked to explain its words: do they name a thing by colour and shape alone?"""
    return episode.split not in UNEXPLAINED and not isinstance(episode.meant, IntentSequence)


def to_refuse(episode: PlannedEpisode) -> bool:
    """Is nothing of the kind to be done: must the policy refuse the words?"""
    return isinstance(episode.meant, IntentSequence) and not episode.meant.intents


def refused_rightly(episode: PlannedEpisode, outcome: Outcome, start: Any, end: Any) -> bool:
    """Did it refuse, with a sentence and without having done anything, what is to be refused?"""
    gave_up = outcome.verdict.sentence.startswith(GAVE_UP)
    untouched = robot_named(episode.robot).untouched
    return to_refuse(episode) and gave_up and untouched(start, (*outcome.path, end))


def gave_up(outcome: Outcome) -> bool:
    """Did it act, and give up then?"""
    return outcome.verdict.sentence.startswith(GAVE_UP) and bool(outcome.predict_seconds)


def bounds(robot: Robot | None = None) -> dict[str, tuple[float, float]]:
    """Outside of these the gate refuses an action of the robot; default: the cart."""
    return {channel.name: channel.bounds for channel in (robot or simulated_robot()).channels}


def limits(robot: Robot | None = None) -> dict[str, tuple[float, float]]:
    """Outside of these the gate clamps an action of the robot; default: the cart.

    A gripper's are its bounds: to be clamped to its ends is what is wanted of it.
    """
    ends = {}
    for channel in (robot or simulated_robot()).channels:
        ends[channel.name] = channel.bounds if channel.is_gripper else channel.limits
    return ends


def within(chunk: ActionChunk, ranges: Mapping[str, tuple[float, float]]) -> bool:
    """Is every value of the chunk finite and in its channel's range?"""
    values = np.asarray(chunk.values, np.float64)  # steps x channels
    channel_ranges = [ranges.get(channel, OTHER_JOINT_RANGE) for channel in chunk.channels]
    low, high = np.array(channel_ranges).T
    inside = (values >= low - FLOAT32_ERROR) & (values <= high + FLOAT32_ERROR)
    return bool(inside.all())  # NaN is in no range


# of a worker process: a pool hands its tasks nothing but what can be pickled
_worker: Any = None  # an EpisodeWorker, or one like it


def _begin(player: PolicyChoice) -> None:
    """A worker process: Ctrl-C is the parent's to handle; one thread each."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = worker_class(player)(player)


def _work(episode: PlannedEpisode) -> Record:
    assert _worker is not None
    record: Record = _worker.run(episode)
    return record


OnRecord = Callable[[Record], None]


def run(
    plan: Sequence[PlannedEpisode],
    player: PolicyChoice,
    jobs: int | None = None,
    on_record: OnRecord | None = None,
) -> list[Record]:
    """Run a plan.

    Args:
        jobs: worker processes (None: as many as there are cores); one job runs in this process.
        on_record: hears of each episode as it ends, in whatever order they end.

    Returns:
        The records, in the plan's order.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(plan))
    if jobs <= 1:
        return _run_here(plan, player, on_record)
    # the workers' threads would fight each other for the cores; workers inherit the environment
    before = dict(zip(THREAD_VARIABLES, map(os.environ.get, THREAD_VARIABLES)))
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    # "spawn": a fork of a process with threads or a renderer in it may hang
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (player,))
    try:
        futures = [pool.submit(_work, episode) for episode in plan]
        for future in as_completed(futures):
            record = future.result()
            if on_record is not None:
                on_record(record)
    except BaseException:  # Ctrl-C too, which the workers ignore
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
    pool.shutdown()
    # as they were submitted, not as they ended
    return [future.result() for future in futures]


def _run_here(
    plan: Sequence[PlannedEpisode], player: PolicyChoice, on_record: OnRecord | None
) -> list[Record]:
    worker = worker_class(player)(player)
    records = []
    try:
        for episode in plan:
            record = worker.run(episode)
            records.append(record)
            if "torch" in sys.modules:  # as in a worker process; only once the policy imported it
                sys.modules["torch"].set_num_threads(1)
            if on_record is not None:
                on_record(record)
    finally:
        worker.close()
    return records
