"""A gymnasium environment as a simulated robot's world: its drivers, its episodes. No ROS."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Robot
from vla_ros.core.robot_outputs import Output
from vla_ros.core.shown import shown
from vla_ros.sim.env.offer import RENDER, draw_plainly, make_env, offer_of, pick, pixels_of
from vla_ros.sim.env.plan import EnvPlan
from vla_ros.sim.trajectory import DRIVER_TIMEOUT_S, TrajectoryFollower

Array = NDArray[np.float64]
# What environments call it in a step's info.
SUCCESS_KEYS = ("is_success", "success", "succeed")


class EnvDriver:
    """The driver of one output: what it tells its channels' numbers of the action.

    Velocities stand at zero DRIVER_TIMEOUT_S after the last command; positions hold what was
    commanded last. Times are simulated seconds.

    Args:
        output: Of the robot file.
        velocities: Whether its channels are.
        indices: Which of the action's numbers they are.
    """

    def __init__(self, output: Output, velocities: bool, indices: Sequence[int]) -> None:
        self.output = output
        self.indices = list(indices)
        self._velocities = velocities
        self._heard = -math.inf
        self._follower = TrajectoryFollower(np.zeros(len(self.indices)))

    def place(self, values: Array) -> None:
        """The robot stands there: positions hold it, velocities are zero."""
        self._heard = -math.inf
        self._follower.place(values)

    def command(self, now: float, values: Sequence[float]) -> None:
        """Take a value for each channel, as it was sent.

        Raises:
            ValueError: It is no such command; velocities go to zero, positions hold.
        """
        sent = np.asarray(values, float)
        if sent.shape != (len(self.indices),) or not np.isfinite(sent).all():
            self._heard = -math.inf
            held = "stands" if self._velocities else "holds"
            raise ValueError(
                f"{self.output.topic} {held}: it was told {shown(list(values))}; send "
                f"{len(self.indices)} finite numbers: {', '.join(self.output.channels)}"
            )
        self._heard = now
        self._follower.place(sent)

    def follow(self, now: float, times: Sequence[float], points: Array) -> None:
        """Follow a trajectory: a row of the channels' positions for each of `times`, s from now.

        Raises:
            ValueError: It is no such trajectory; they hold.
        """
        try:
            self._follower.follow(now, times, points)
        except ValueError as problem:
            raise ValueError(
                f"{self.output.topic} holds: {problem}, and name "
                f"{', '.join(self.output.channels)} by their joints"
            ) from problem

    def told(self, now: float) -> Array:
        """What the channels are told now."""
        if self._velocities and now - self._heard > DRIVER_TIMEOUT_S:
            return np.zeros(len(self.indices))
        return self._follower.move(now)


@dataclass
class EpisodeCounts:
    """What came of the steps so far; `success` is None where the environment does not say."""

    steps: int = 0
    reward: float = 0.0  # of the last step
    total: float = 0.0  # of the episode
    episodes: int = 0  # that ended
    successes: int = 0
    success: bool | None = None


class EnvWorld:
    """An environment that is stepped at its own rate by what a robot's drivers are told.

    All of it happens in one thread, which need not be the caller's: what draws belongs to it.

    Args:
        name: PACKAGE:ENV.
        arguments: Of the environment's constructor.
        rate: Steps in a simulated second; None: as the environment says.
        seed: Of the first episode; each next one has the next.
        plain: Whether it draws without shadows and multisampling.

    Raises:
        ValueError: There is no such environment, or it cannot be made so, or be a robot.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        rate: float | None = None,
        seed: int = 0,
        plain: bool = False,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, "environment")
        self._env = self._thread.submit(make_env, name, arguments or {}).result()
        if plain:
            draw_plainly(self._env)
        self.offer = offer_of(name, self._env, rate)
        self.seed = seed
        self.time = 0.0
        self.counts = EpisodeCounts()
        self._lock = threading.RLock()  # of the drivers: commands come in another thread
        self._drivers: dict[str, EnvDriver] = {}

    def connect(self, robot: Robot, plan: EnvPlan) -> None:
        """Begin the first episode, driven by the robot file's outputs.

        Raises:
            RuntimeError: The environment failed.
        """
        self._robot = robot
        self._plan = plan
        for output in robot.outputs:
            channels = [robot.channel(name) for name in output.channels]
            indices = list(map(plan.index_of, channels))
            self._drivers[output.topic] = EnvDriver(output, channels[0].is_velocity, indices)
        self.reset(self.seed)

    # Driven

    def command(self, topic: str, values: Sequence[float]) -> None:
        """Values came on an output's topic. Raises ValueError as EnvDriver does."""
        with self._lock:
            self._drivers[topic].command(self.time, values)

    def follow(self, topic: str, times: Sequence[float], points: Array) -> None:
        """A trajectory came on an output's topic. Raises ValueError as EnvDriver does."""
        with self._lock:
            self._drivers[topic].follow(self.time, times, points)

    def action(self) -> NDArray[Any]:
        """What the environment is told in the next step."""
        row = np.zeros(len(self._plan.action), self._env.action_space.dtype)
        for index, entry in enumerate(self._plan.action):
            if isinstance(entry, float):
                row[index] = entry
        with self._lock:
            for driver in self._drivers.values():
                row[driver.indices] = driver.told(self.time + self.offer.step_s)
        return row

    # Stepped

    def step(self, dt: float) -> None:
        """One step, however long `dt`; the next episode begins where this one ends."""
        self._inside(self._step)

    def _step(self) -> None:
        self._observation, reward, ended, cut, info = self._env.step(self.action())
        self.time += self.offer.step_s
        counts = self.counts
        counts.steps += 1
        counts.reward = float(reward)
        counts.total += counts.reward
        for key in SUCCESS_KEYS:
            if key in info:
                counts.success = bool(np.any(info[key]))
        if ended or cut:
            counts.episodes += 1
            counts.successes += bool(counts.success)
            self._reset(self.seed + 1)

    def reset(self, seed: int) -> None:
        """Begin the episode of `seed`; what was commanded is forgotten. Time goes on."""
        self._inside(self._reset, seed)

    def _reset(self, seed: int) -> None:
        self._observation, _ = self._env.reset(seed=seed)
        self.seed = seed
        self.counts.total = 0.0
        numbers = self.numbers()
        with self._lock:
            for driver in self._drivers.values():
                driver.place(self._standing(driver, numbers))

    def _standing(self, driver: EnvDriver, numbers: Array) -> Array:
        """Where an output's channels stand, as it is sent."""
        values = []
        for name in driver.output.channels:
            channel = self._robot.channel(name)
            measured = self._plan.measured(channel)
            if channel.is_velocity:
                values.append(0.0)
            elif measured is not None:
                values.append(float(numbers[measured]))
            else:
                assert channel.start is not None  # held by fit_env
                values.append(channel.sent(channel.start))
        return np.array(values)

    def close(self) -> None:
        """Close the environment, and end its thread."""
        self._inside(self._env.close)
        self._thread.shutdown()

    # Seen

    def numbers(self) -> Array:
        """The robot's state, in the plan's order."""
        parts = [np.zeros(0)]
        for part in self._plan.numbers:
            whole = pick(self._observation, self.offer.paths[part.key])
            parts.append(np.asarray(whole, float).ravel()[part.first : part.end])
        return np.concatenate(parts)

    def image(self, camera: str) -> NDArray[np.uint8]:
        """What a camera sees, height x width x 3, rgb8.

        Raises:
            ValueError: The environment gave something else.
        """
        key = self._plan.images[camera]
        if key == RENDER:
            return pixels_of(self._inside(self._env.render))
        return pixels_of(pick(self._observation, self.offer.paths[key]))

    def _inside(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What `call` gives, in the environment's thread."""
        try:
            return self._thread.submit(call, *arguments).result()
        except Exception as problem:  # somebody else's code: of any kind
            traceback.print_exception(problem)  # where in their code it was
            raise RuntimeError(
                f"the environment {self.offer.name} failed after {self.counts.steps} steps: "
                f"{type(problem).__name__}: {str(problem)[:300]}"
            ) from problem
