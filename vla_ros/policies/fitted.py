"""A policy as a robot knows it: what its policy file says is applied, without nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.history import earlier
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.robot import Robot
from vla_ros.core.types import Observation
from vla_ros.policies import file_options, file_spec, make_policy
from vla_ros.policies.base import Policy, PolicySpec, Rows
from vla_ros.policies.numbers import Numbers
from vla_ros.policies.views import Views


class Fitting:
    """A policy file and a robot, fitted together; nothing is loaded.

    `spec` is what the robot sees of the policy: its own cameras and channels, in SI units.
    """

    def __init__(self, file: PolicyFile, robot: Robot) -> None:
        """Raises ValueError, with both lists, where they do not fit."""
        self._file = file
        spec = file_spec(file)
        try:
            self._numbers = Numbers(spec, file, robot)
        except ValueError as error:
            raise ValueError(f"policy '{file.policy}' {error}") from None
        self._views = Views(spec, file.images)
        self._views.check(robot.camera_nodes, robot.depth_cameras, robot.clouds)
        # here every camera hands on what one spec says
        ways = sorted({view.resize for view in self._views.cameras.values()})
        if len(ways) > 1:
            raise ValueError(
                f"the policy file's images are fitted in by {' and by '.join(ways)}; give them all "
                "the same resize"
            )
        self.spec: PolicySpec = replace(
            spec,
            channels=self._numbers.channels,
            images={camera: view.size for camera, view in self._views.cameras.items()},
            depths={camera: view.size for camera, view in self._views.depths.items()},
            resize=ways[0] if ways else spec.resize,
            state=tuple(robots for robots, _ in self._numbers.sources.values()),
            units={},
            kinds={},
        )

    def make(self) -> Policy:
        """The policy itself, loaded. Raises ValueError as `make_policy` does."""
        file = self._file
        engine = {"engine": file.engine, "precision": file.precision}
        policy = make_policy(file.policy, file_options(file), engine)
        fitted: Any = FittedPolicy(policy, file, self._numbers, self._views)
        return fitted


class FittedPolicy:
    """Sees the robot's cameras and numbers, and gives rows of the robot's channels.

    It is told the file's prompt, has its history, and gives what is left of a chunk until the
    file's horizon is over: `planned` says whether the last rows were that. It continues no chunk by
    a prefix: that takes the gate's reports.
    """

    planned = False

    def __init__(self, policy: Policy, file: PolicyFile, numbers: Numbers, views: Views) -> None:
        self._policy = policy
        self._file = file
        self._numbers = numbers
        self._views = views
        self._seen: list[Observation] = []  # for the history, newest last
        self._chunk: tuple[Observation, NDArray[np.float32]] | None = None
        self.name = policy.name
        self.made_once = getattr(policy, "made_once", False)
        if hasattr(policy, "explain"):
            self.explain = self._explain

    def predict(self, observation: Observation) -> Rows:
        """T x C, for the channels of the fitting's spec, in their units.

        Raises:
            NotUnderstood: as the policy does.
            ValueError: An image or a number that it needs is not in the observation.
        """
        left = self._left(observation)
        seen = self._fit(observation)
        self.planned = left is not None
        if left is not None:
            return left
        rows = self._numbers.chunk(self._policy.predict(seen), observation).values
        self._chunk = observation, rows
        return rows

    def reset(self) -> None:
        """Forget the instruction."""
        self._seen.clear()
        self._chunk = None
        self._policy.reset()

    def _left(self, observation: Observation) -> NDArray[np.float32] | None:
        """What is left of the last chunk, where its horizon is not over; None: nothing."""
        if not self._file.horizon or self._chunk is None:
            return None
        made_for, rows = self._chunk
        passed = observation.stamp - made_for.stamp
        step = self._views.spec.step
        if made_for.instruction != observation.instruction or passed < 0:
            return None
        due = round(passed / step)
        return rows[due:] if due < len(rows) else None

    def _fit(self, observation: Observation) -> Observation:
        """As the policy knows it, with those before it."""
        spec = self._views.spec
        words = self._file.prompted(observation.instruction.text)
        fitted = self._views.fit(self._numbers.state(observation))
        fitted = replace(fitted, instruction=replace(fitted.instruction, text=words))
        if spec.history == 1:
            return fitted
        spacing = spec.history_spacing or spec.step
        stamps = [before.stamp for before in self._seen]
        history: list[Observation] = []
        # Nobody holds here until all are there, as the nodes do where the file refuses.
        for index in earlier(stamps, fitted.stamp, spec.history, spacing, "repeat"):
            history.append(fitted if index is None else self._seen[index])
        oldest = fitted.stamp - spec.history * spacing
        self._seen = [before for before in self._seen if before.stamp >= oldest]
        self._seen.append(fitted)
        return replace(fitted, history=tuple(history))

    def _explain(self, observation: Observation) -> Any:
        policy: Any = self._policy
        return policy.explain(self._fit(observation))
