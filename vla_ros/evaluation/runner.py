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

from vla_ros.core.types import ActionChunk, Image, Observation
from vla_ros.evaluation import perception
from vla_ros.evaluation.plan import Episode
from vla_ros.evaluation.scenarios import SCENARIOS
from vla_ros.evaluation.truth import Truth
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import Policy, PolicySpec
from vla_ros.sim.episode import CAMERA, GAVE_UP, Outcome, prelude, run_episode, simulated_robot
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.success import judge
from vla_ros.tasks.world_state import WorldState

OTHER_JOINT = (-2.0, 2.0)  # rad, of a channel that the simulated robot does not have
PATH_STEP = 4  # of the poses on the way, every so many are kept


@dataclass(frozen=True)
class Player:
    """A policy by its registered name, with options, and the camera (width, height) through which
    it looks."""

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    camera: tuple[int, int] = (320, 240)


@dataclass
class Record:
    """What came of an episode. `reached`: the objects with which the robot has done what was asked
    for with one. `refused`: the policy did not take the words; `gave_up`: it took them and gave up
    later. `chunks`: how many, how many valid, how many within limits."""

    episode: Episode
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
    start: WorldState = field(repr=False)
    end: WorldState = field(repr=False)
    # the last that the policy saw, where it failed
    image: Image | None = field(repr=False, default=None)
    explained: dict[str, Any] | None = field(repr=False, default=None)  # what it said of that image
    looks: list[dict[str, Any]] = field(repr=False, default_factory=list)  # perception.py
    policy: str = ""


def check(player: Player) -> None:
    """Raises ValueError for a policy that cannot be made. Makes it once, which also shows that its
    weights load."""
    policy = make_policy(player.policy, player.options)
    spec = policy_spec(player.policy, player.options)
    spec.size_of(CAMERA)
    channels = spec.channels
    if not set(channels) & set(bounds()):
        raise ValueError(
            f"policy '{player.policy}' drives {', '.join(channels)}, and the simulated robot has "
            "none of "
            f"these; it has {', '.join(bounds())}"
        )
    policy.reset()


class Worker:
    """One policy and its worlds (one for each number of objects)."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.spec = policy_spec(player.policy, player.options)
        self._worlds: dict[int | None, World] = {}
        self._truth: Truth | None = None  # of the plain world

    def world(self, objects: int | None) -> World:
        if objects not in self._worlds:
            width, height = self.player.camera
            self._worlds[objects] = World(0, width, height, objects)
        return self._worlds[objects]

    def run(self, episode: Episode) -> Record:
        """Raises RuntimeError for an episode that is done before it begins: the plan would be at
        fault."""
        conditions = SCENARIOS[episode.scenario]
        world = self.world(conditions.objects)
        world.data.time = 0.0
        world.reset(episode.seed)
        conditions.prepare(world, episode.seed)
        prelude(world, episode.meant.kind, episode.seed)
        start = world.state()
        if judge(episode.meant, start, start).done:
            raise RuntimeError(
                f"episode {episode.number} (seed {episode.seed}, '{episode.text}') is done before "
                "it "
                "begins: its plan is wrong"
            )
        policy = make_policy(self.player.policy, self.player.options)
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
        )
        end = world.state()
        image, explained = (None, None) if outcome.done else witness.last()
        way = [(one.x, one.y, one.yaw) for one in outcome.path[::PATH_STEP]]
        return Record(
            episode,
            outcome.done,
            outcome.verdict.distance,
            outcome.seconds,
            outcome.verdict.sentence,
            reached(episode.meant, start, end),
            refused(outcome),
            gave_up(outcome),
            tuple(witness.chunks),
            list(outcome.predict_seconds),
            way,
            start,
            end,
            image,
            explained,
            witness.looks,
            policy.name,
        )

    def _witness(self, policy: Policy, world: World, episode: Episode) -> Witness:
        looks = episode.part == "success" and getattr(policy, "explain", None) is not None
        if looks and self._truth is None:
            self._truth = Truth(world)
        return Witness(policy, self.spec, episode, self._truth if looks else None)

    def close(self) -> None:
        if self._truth is not None:
            self._truth.close()
        for world in self._worlds.values():
            world.close()
        self._worlds.clear()


class Witness:
    """Looks on during an episode: counts valid actions, and asks now and then what the policy
    sees."""

    def __init__(
        self, policy: Any, spec: PolicySpec, episode: Episode, truth: Truth | None
    ) -> None:
        self._policy = policy
        self._spec = spec
        self._episode = episode
        self._truth = truth
        self.chunks = [0, 0, 0]
        self.looks: list[dict[str, Any]] = []
        self._seen: Observation | None = None

    def __call__(self, state: WorldState, observation: Observation, chunk: ActionChunk) -> None:
        if self._truth is not None and self.chunks[0] % perception.IMAGES_PER_LOOK == 0:
            self.looks.append(
                perception.look(
                    self._policy, observation, self._truth, self._spec, self._episode.meant
                )
            )
        self.chunks[0] += 1
        self.chunks[1] += within(chunk, bounds())
        self.chunks[2] += within(chunk, limits())
        self._seen = observation

    def last(self) -> tuple[Image | None, dict[str, Any] | None]:
        """The last image, and what the policy says of it."""
        if self._seen is None:
            return None, None
        image = next(iter(self._seen.images.values())).copy()
        if getattr(self._policy, "explain", None) is None or not self._episode.text:
            return image, None
        return image, {
            name: self._policy.explain(self._seen)[name] for name in ("attention", "nowhere")
        }


def reached(meant: Intent, start: WorldState, end: WorldState) -> list[str]:
    """Of the room's objects, those with which the asked-for kind of thing is done at the end."""
    if meant.kind not in OBJECT_KINDS:
        return []
    return [
        thing.name
        for thing in end.objects
        if judge(Intent(meant.kind, thing.colour, thing.shape), start, end).done
    ]


def refused(outcome: Outcome) -> bool:
    """Did the policy not take the words: no action at all?"""
    return outcome.verdict.sentence.startswith(GAVE_UP) and not outcome.predict_seconds


def gave_up(outcome: Outcome) -> bool:
    """Did it act, and give up then?"""
    return outcome.verdict.sentence.startswith(GAVE_UP) and bool(outcome.predict_seconds)


def bounds() -> dict[str, tuple[float, float]]:
    """Outside of these the gate refuses an action of the simulated robot."""
    return {channel.name: channel.bounds for channel in simulated_robot().channels}


def limits() -> dict[str, tuple[float, float]]:
    """Outside of these the gate clamps."""
    return {channel.name: channel.limits for channel in simulated_robot().channels}


def within(chunk: ActionChunk, ranges: Mapping[str, tuple[float, float]]) -> bool:
    """Is every value of the chunk finite and in its channel's range (1e-6 allowed for float32)?"""
    values = np.asarray(chunk.values, np.float64)
    low, high = np.array([ranges.get(channel, OTHER_JOINT) for channel in chunk.channels]).T
    return bool(((values >= low - 1e-6) & (values <= high + 1e-6)).all())  # NaN is in no range


_worker: Worker | None = None


def _begin(player: Player) -> None:
    """A worker process: Ctrl-C is the parent's to handle; one thread each."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = Worker(player)


def _work(episode: Episode) -> Record:
    assert _worker is not None
    return _worker.run(episode)


Told = Callable[[Record], None]


def run(
    plan: Sequence[Episode], player: Player, jobs: int | None = None, told: Told | None = None
) -> list[Record]:
    """The records, in the plan's order. `told` hears of each as it ends. One job runs in this
    process."""
    jobs = min(jobs or os.cpu_count() or 1, len(plan))
    if jobs <= 1:
        return _run_here(plan, player, told)
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # the workers' threads would fight each other for the cores
    os.environ.update(dict.fromkeys(before, "1"))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (player,))
    try:
        futures = {pool.submit(_work, episode): index for index, episode in enumerate(plan)}
        records: list[Record | None] = [None] * len(plan)
        for future in as_completed(futures):
            record = records[futures[future]] = future.result()
            if told is not None:
                told(record)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    pool.shutdown()
    return [record for record in records if record is not None]


def _run_here(plan: Sequence[Episode], player: Player, told: Told | None) -> list[Record]:
    worker = Worker(player)
    records = []
    try:
        for episode in plan:
            records.append(worker.run(episode))
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(1)
            if told is not None:
                told(records[-1])
    finally:
        worker.close()
    return records
