"""A person in the simulator, as a script: takes over where the policy errs, and gives back.

No nodes and no gate. The script knows the room's truth and what the expert would do there; it
stands for somebody who watches a policy drive with a thumb on the deadman, so that learning from
corrections can be tried, tested and shown without a robot. No real person is as even as this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.core.types import POLICY, TELEOP, Image, Observation, Size, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, Policy, PolicySpec, Rows
from vla_ros.policies.builtin import BUILTIN_CHANNELS
from vla_ros.policies.progress import Progress
from vla_ros.sim.episode import CAMERA, robot_state
from vla_ros.sim.expert import ID, SPEED, TURN, Situation, at_fingers, rollout
from vla_ros.sim.projection import in_view
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.success import judge, targets
from vla_ros.tasks.world_state import WorldState

PERSON = "scripted"  # as `vla record --person` names it
PERSON_SIZE: Size = (120, 160)  # of the images that are recorded: those that a clone looks at
PERSON_ROWS = 8  # that the person means at a time, ROW_S apart
ROW_S = 0.1
# Shares of full speed and full turn, by which the policy's row differs from the expert's: a person
# sees that something goes wrong, not that it could go a little better.
WRONG_SHARE = 0.6
RIGHT_SHARE = 0.3
WATCHED_S = 1.0  # over which the difference is looked at: nobody takes over for one bad row
STUCK_S = 4.0  # without coming nearer to done
NEARER = 0.03  # m and rad together, which count as nearer
LEAST_DRIVE_S = 1.5  # from taking over to giving back
GRIPPER_WEIGHT = 0.5  # of the gripper's difference: its number is 0 or 1


class ScriptedPerson:
    """What a person would do now, by the truth of `world`; `begin` for each instruction.

    Only for instructions about an object: of a turn or a drive, how far it is to go is all there
    is, and nobody has to see for it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._progress = Progress()
        self._start: WorldState | None = None
        self._intent = Intent("stop")

    def begin(self, words: str) -> None:
        """A new instruction. Raises NotUnderstood for one that is not about an object."""
        intent = parse(words)
        if intent.kind not in OBJECT_KINDS:
            raise NotUnderstood(
                f"the scripted person shows {', '.join(OBJECT_KINDS)}, and '{words}' is "
                f"{intent.kind}"
            )
        self._intent = intent
        self._start = self._world.state()
        self._progress.start()

    def rows(self, steps: int, step_s: float) -> NDArray[np.float32]:
        """The person's next `steps` rows, `step_s` apart: steps x BUILTIN_CHANNELS."""
        progress = self._progress
        progress.move(robot_state(self._world))
        now = self._situation(self._world.state())
        seen = bool(in_view(now.ahead, now.left)[0])
        if seen:
            progress.found(float(now.left[0]), bool(at_fingers(now.ahead, now.left)[0]))
        else:
            progress.lost()
        chunk = rollout(now, steps, step_s)[0].astype(np.float32)
        progress.command = float(chunk[0, 2])
        return chunk

    def lacking(self) -> float:
        """What the task lacks by now, m and rad together; 0: it is done."""
        assert self._start is not None
        verdict = judge(self._intent, self._start, self._world.state())
        return 0.0 if verdict.done else verdict.lacking

    def _situation(self, state: WorldState) -> Situation:
        """This moment, as the expert wants it: one row."""
        others = np.full((1, max(1, len(state.objects)), 2), np.nan)
        meant = {thing.name for thing in targets(self._intent, state)}
        nearest = np.array([-9.0, 0.0])
        rank = np.inf
        cos = np.cos(state.yaw)
        sin = np.sin(state.yaw)
        for index, thing in enumerate(state.objects):
            dx = thing.x - state.x
            dy = thing.y - state.y
            place = np.array([dx * cos + dy * sin, dy * cos - dx * sin])  # ahead, left, m
            others[0, index] = place
            # of several that are meant, one in view, and the nearest of those
            far = float(np.hypot(*place)) + 10.0 * (not in_view(place[:1], place[1:])[0])
            if thing.name in meant and far < rank:
                rank = far
                nearest = place
        others[0][np.all(others[0] == nearest, axis=1)] = np.nan  # it is none of the others
        progress = self._progress
        numbers = {
            "ahead": nearest[0],
            "left": nearest[1],
            "opening": state.opening / OPENING_MAX,
            "command": progress.command or 0.0,
            "turned": progress.turned,
            "travelled": progress.travelled,
            "carried": progress.carried,
            "side": progress.side,
        }
        columns: dict[str, Any] = {name: np.array([value]) for name, value in numbers.items()}
        return Situation(kind=np.array([ID[self._intent.kind]]), others=others, **columns)


class WatchedPolicy:
    """A policy with a person beside it; without one, the person drives all the way.

    Attributes:
        control_source: who had the robot at the last rows: policy or teleop.
        takeovers: since `reset`.
    """

    name = f"watched_by_{PERSON}_person"

    def __init__(
        self,
        person: ScriptedPerson,
        spec: PolicySpec,
        policy: Policy | None,
        resize: Callable[[Image], Image] = lambda image: image,
    ) -> None:
        """`spec`: what is seen and recorded; `resize` makes the policy's image of it."""
        self._person = person
        self._spec = spec
        self._policy = policy
        self._resize = resize
        self.reset()

    def reset(self) -> None:
        """A new episode: the policy has the robot again."""
        if self._policy is not None:
            self._policy.reset()
        self._instruction_id: int | None = None
        self.control_source = TELEOP if self._policy is None else POLICY
        self.takeovers = 0
        self._gone = False  # the policy gave up: nobody gives back to it
        self._watch_anew()

    def _watch_anew(self) -> None:
        self._since: int | None = None  # ns: when whoever has the robot got it
        self._nearest = np.inf  # that it came to done since then
        self._nearer_at = 0  # ns
        self._differences: deque[tuple[int, float]] = deque()

    def predict(self, observation: Observation) -> Rows:
        """The rows of who has the robot, T x C of the spec."""
        if observation.instruction.instruction_id != self._instruction_id:
            self._person.begin(observation.instruction.text)
            self._instruction_id = observation.instruction.instruction_id
        spec = self._spec
        shown = self._person.rows(spec.steps, spec.step / 1e9)
        columns = list(map(BUILTIN_CHANNELS.index, spec.channels))
        wanted = self._asked(observation)
        if wanted is not None:
            self._look(observation.stamp, wanted, shown[:, columns])
        if self.control_source == POLICY and wanted is not None:
            return wanted
        return shown[:, columns]

    def _asked(self, observation: Observation) -> Rows | None:
        """What the policy wants, also while the person drives; None where it gave up."""
        if self._policy is None or self._gone:
            return None
        images = {name: self._resize(image) for name, image in observation.images.items()}
        try:
            return self._policy.predict(replace(observation, images=images))
        except NotUnderstood:
            self._gone = True
            if self.control_source == POLICY:
                self._pass_to(TELEOP)
            return None

    def _look(self, stamp: int, wanted: Rows, shown: NDArray[np.float32]) -> None:
        """Take over where it goes wrong; give back where the policy would do what is right."""
        if self._since is None:
            self._since = stamp
            self._nearer_at = stamp
        self._differences.append((stamp, _difference(wanted[0], shown[0], self._spec.channels)))
        while stamp - self._differences[0][0] > to_nanoseconds(WATCHED_S):
            self._differences.popleft()
        lacking = self._person.lacking()
        if lacking < self._nearest - NEARER:
            self._nearest = lacking
            self._nearer_at = stamp
        watched = stamp - self._since >= to_nanoseconds(WATCHED_S)
        differences = [difference for _, difference in self._differences]
        if self.control_source == POLICY:
            wrong = watched and np.mean(differences) > WRONG_SHARE
            stuck = lacking > 0.0 and stamp - self._nearer_at > to_nanoseconds(STUCK_S)
            # who does nothing where nothing is to do is not stuck: the expert agrees
            if wrong or (stuck and differences[-1] > 0.0):
                self.takeovers += 1
                self._pass_to(TELEOP)
            return
        driven_enough = stamp - self._since >= to_nanoseconds(LEAST_DRIVE_S)
        if driven_enough and max(differences) < RIGHT_SHARE:
            self._pass_to(POLICY)

    def _pass_to(self, source: str) -> None:
        if source == POLICY and self._policy is not None:
            self._policy.reset()  # as the nodes do when the robot is given back
        self.control_source = source
        self._watch_anew()


def _difference(
    wanted: NDArray[np.float32], shown: NDArray[np.float32], channels: tuple[str, ...]
) -> float:
    """How far two rows are apart, the worst channel in shares of its full speed."""
    scales = {"linear.x": 1.0 / SPEED, "angular.z": 1.0 / TURN, "gripper": GRIPPER_WEIGHT}
    scale = np.array([scales[channel] for channel in channels])
    return float((np.abs(wanted - shown) * scale).max())


def watched_policy(
    world: World, size: Size, watched: tuple[Policy, PolicySpec] | None
) -> tuple[WatchedPolicy, PolicySpec]:
    """The person beside a policy, or alone, and what is seen of both.

    Args:
        world: where they are.
        size: of the images that are recorded, height and width, pixels.
        watched: the policy and its spec.

    Raises:
        ValueError: the policy drives other channels than the person, or looks at other images.
    """
    person = ScriptedPerson(world)
    images = {CAMERA: size}
    if watched is None:
        spec = PolicySpec(BUILTIN_CHANNELS, PERSON_ROWS, to_nanoseconds(ROW_S), images)
        return WatchedPolicy(person, spec, None), spec
    policy, own = watched
    if not set(own.channels) <= set(BUILTIN_CHANNELS):
        raise ValueError(
            f"the policy drives {', '.join(own.channels)}, and the person "
            f"{', '.join(BUILTIN_CHANNELS)}; give a policy of the cart"
        )
    wanted = own.size_of(CAMERA)
    spec = PolicySpec(own.channels, own.steps, own.step, images, own.resize, own.state)
    return WatchedPolicy(
        person, spec, policy, lambda image: resize(image, wanted, own.resize)
    ), spec
