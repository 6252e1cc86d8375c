"""Asks the present policy what it makes of what a recording saw, and compares its actions. No ROS.

Images were kept as JPEG, a few a second: a policy sees them a little blurred, and only actions
whose image was kept are compared.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_ros.core.compressed import rgb_of_message
from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.robot import Robot
from vla_ros.core.robot_state import StateSource
from vla_ros.core.state_numbers import published_numbers
from vla_ros.core.types import ActionChunk, Image, Instruction, Observation, to_nanoseconds
from vla_ros.datasets.bag_stream import BagMessage
from vla_ros.nodes.common.from_message import chunk, instruction, stamp_ns
from vla_ros.operator.blackbox.story import CHUNK, IMAGE, INSTRUCTION, clock
from vla_ros.policies.base import NotUnderstood
from vla_ros.policies.fitted import Fitting

MOST_SKEW_NS = to_nanoseconds(0.1)  # between an action's stamp and an image's, as synchronizer's
IMAGES_KEPT = 30  # a camera
MOST_BYTES = 34_000_000  # of an image, as camera_ingest's
# JPEG changes pixels, and with them every action a little.
TOLERANCE_SHARE = 0.05
MOST_TOLD = 20


@dataclass
class ComparedActions:
    """What came of it.

    Attributes:
        compared: actions of the recording that the policy was asked for.
        same: those whose rows differ by no more than TOLERANCE_SHARE of a channel's limits.
        skipped: actions without their image or their instruction in the recording.
        largest: channel -> the largest difference between two rows for the same moment.
        problems: what the policy said instead of acting -> how often.
        told: the first differences, as sentences.
    """

    compared: int = 0
    same: int = 0
    skipped: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)


class PolicyReplay:
    """One recording through one policy.

    Raises ValueError where the policy does not fit the robot.
    """

    def __init__(self, robot: Robot, file: PolicyFile) -> None:
        fitting = Fitting(file, robot)
        self.result = ComparedActions()
        self._spec = fitting.spec
        self._policy = fitting.make()
        self._robot = robot
        self._cameras: dict[str, str] = {}  # how the topic ends -> camera
        self._images: dict[str, deque[tuple[int, Any]]] = {}
        for camera in fitting.spec.images:
            self._cameras[f"/{robot.frame_topic(camera)}/compressed"] = camera
            self._images[camera] = deque(maxlen=IMAGES_KEPT)
        self._sources: dict[str, list[StateSource]] = {}
        for source in robot.state:
            self._sources.setdefault(source.topic, []).append(source)
        self._state: dict[str, float] = {}
        self._instructions: dict[int, Instruction] = {}
        self._asked: int | None = None  # the instruction that the policy works on

    def wanted(self, topic: str, kind: str) -> bool:
        """Which topics it reads."""
        if kind == IMAGE:
            return self._camera_of(topic) is not None
        return kind in (CHUNK, INSTRUCTION) or topic in self._sources

    def _camera_of(self, topic: str) -> str | None:
        for end, camera in self._cameras.items():
            if topic.endswith(end):
                return camera
        return None

    def play(self, messages: Iterable[BagMessage]) -> ComparedActions:
        """All of it."""
        for message in messages:
            content = message.message
            if message.type == CHUNK:
                self._ask(chunk(content), message.received)
            elif message.type == INSTRUCTION:
                accepted = instruction(content)
                self._instructions = {accepted.instruction_id: accepted}
            elif message.type == IMAGE:
                camera = self._camera_of(message.topic)
                if camera is not None:
                    self._images[camera].append((stamp_ns(content.header.stamp), content))
            else:
                self._note_state(message.topic, content)
        return self.result

    def _note_state(self, topic: str, message: Any) -> None:
        for source in self._sources.get(topic, ()):
            try:
                numbers = published_numbers(source.type, message, list(source.names.values()))
            except ValueError:  # the synchronizer leaves it out, too
                continue
            for name, theirs in source.names.items():
                if theirs in numbers:
                    self._state[name] = source.value(float(numbers[theirs]))

    def _seen(self, stamp: int) -> dict[str, Image] | None:
        """Each camera's image that is nearest to `stamp`; None where one is missing."""
        images: dict[str, Image] = {}
        for camera, kept in self._images.items():
            if not kept:
                return None
            taken, message = min(kept, key=lambda image: abs(image[0] - stamp))
            exact = len(self._images) == 1
            if abs(taken - stamp) > (0 if exact else MOST_SKEW_NS):
                return None
            # as the recorded policy saw it, and from there as this one does
            fitting = (self._spec.images[camera], self._spec.resize)
            images[camera] = rgb_of_message(message, "compressed", MOST_BYTES, fitting)
        return images

    def _ask(self, recorded: ActionChunk, received: int) -> None:
        result = self.result
        said = self._instructions.get(recorded.instruction_id)
        images = self._seen(recorded.stamp)
        if said is None or images is None:
            result.skipped += 1
            return
        if said.instruction_id != self._asked:
            self._policy.reset()
            self._asked = said.instruction_id
        try:
            rows = self._policy.predict(
                Observation(recorded.stamp, said, images, dict(self._state))
            )
        except NotUnderstood as sentence:
            self._note_problem(f"not understood: {sentence}")
            return
        except ValueError as problem:
            self._note_problem(str(problem)[:200])
            return
        result.compared += 1
        others = self._compare(recorded, np.asarray(rows, float))
        if not others:
            result.same += 1
        elif len(result.told) < MOST_TOLD:
            result.told.append(f"{clock(received)}  “{said.text}”: {', '.join(others)}")

    def _note_problem(self, sentence: str) -> None:
        """A sentence with a number in it is another each time: only the first are told apart."""
        problems = self.result.problems
        known = sentence in problems or len(problems) < MOST_TOLD
        problems[sentence if known else "others"] += 1

    def _compare(self, recorded: ActionChunk, rows: np.ndarray) -> list[str]:
        """The channels that would be sent elsewhere, by the rows for the same moments."""
        if recorded.values.ndim != 2:
            return ["the recorded action is none"]
        times = np.arange(len(recorded.values)) * recorded.step
        place = np.round(times / self._spec.step).astype(int)
        there = place < len(rows)
        others: list[str] = []
        for column, name in enumerate(recorded.channels):
            if name not in self._spec.channels:
                others.append(f"{name} is not commanded")
                continue
            now = rows[place[there], self._spec.channels.index(name)]
            before = recorded.values[there, column]
            apart = np.abs(now - before)
            most = float(apart.max(initial=0.0))
            self.result.largest[name] = max(self.result.largest.get(name, 0.0), most)
            low, high = self._robot.channel(name).limits
            if not most <= TOLERANCE_SHARE * max(abs(low), abs(high)):
                at = int(apart.argmax())
                others.append(f"{name} {before[at]:.3g} recorded, {now[at]:.3g} now")
        return others
