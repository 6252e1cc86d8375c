"""What happens in the demo: start, arm, instructions, unexpected stops.

Each is judged by what is seen on the wire, never by what a node claims.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.step_words import NOT_UNDERSTOOD
from vla_ros.demo.film import Film
from vla_ros.demo.monitor import Monitor, decode
from vla_ros.demo.plots import DriveRecord, PathPoint, Stop, stood_still, was_seen
from vla_ros.demo.scoring import Verdict, judging, verdict
from vla_ros.demo.stack import CAMERA_TOPIC, NAMESPACE, DemoSuite, View
from vla_ros.demo.success_function import SuccessFunction
from vla_ros.demo.suggestions import choose_instructions
from vla_ros.operator import session
from vla_ros.operator.processes import ProcessGroup
from vla_ros.tasks.judged_meaning import judged_meaning
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.sequence import Judging, in_words, named_first, steps_of
from vla_ros.tasks.success import Judgement

STILL_WITHIN_S = 0.5  # from a stop until the robot stands still
DONE_FOR_S = 0.5  # that an instruction must stay done
BUSY_S = 4.0  # that a busy machine may take to show that it does
STOP_AFTER_S = 0.5  # on the move, until the unexpected stop at the earliest
REACH_M = 0.4  # from which the robot has a thing in front of it
# the two unexpected stops
SAY_STOP = "the word"
PRESS_STOP = "the button"
NOT_SEEN = PathPoint(0.0, 0.0, 0.0, 0.0, 0)  # the robot's place before it was seen


class Demo(DemoSuite):
    """One run of the demo.

    Args:
        arguments: Of `vla demo`.
        group: The processes of the suite.
        node: Talks to the suite; it spins in a thread of its own.
        view: Shows how it goes.
        interrupt: Ends everything that waits.
        success: Judges the instructions; None: their meaning in the task language does.
    """

    # what another robot has otherwise
    monitor: type[Monitor] = Monitor
    camera_topic = CAMERA_TOPIC

    def __init__(
        self,
        arguments: argparse.Namespace,
        group: ProcessGroup,
        node: Node,
        view: View,
        interrupt: session.Interrupt,
        success: SuccessFunction | None = None,
    ) -> None:
        watch = self.monitor(node, DriveRecord(), self.camera_topic, NAMESPACE)
        super().__init__(group, node, watch, view, interrupt)
        self.arguments = arguments
        self.success = success
        self._reader: InstructionReader | None = None
        self.results: list[dict[str, Any]] = []  # an instruction each, as summary.json has them
        self.instructions: list[str] = []

    def play(self, film: Callable[[], Film]) -> None:
        """Everything from arming to the last instruction; `film` begins when the gate is armed."""
        self.wait(lambda: bool(self.watch.things()), 3.0)
        self.instructions = list(self.arguments.instructions)
        if not self.instructions:
            self.instructions = self.suggestions()
        self.track.start = self.watch.things()
        if self.arguments.stay:
            self.stay()
        self.arm()
        self.watch.film = film()
        self.watch.count_from_now()
        last = len(self.instructions) - 1
        for index, words in enumerate(self.instructions):
            stop = ""
            if index == 0:
                stop = SAY_STOP
            if index == last:  # of a single instruction too: the button latches
                stop = PRESS_STOP
            self.instruct(index, words, stop)
        self.watch.instruction_number = 0
        self.track.end = self.watch.things()

    def suggestions(self) -> list[str]:
        """Instructions that fit the scene."""
        return choose_instructions(self.watch.things(), self.watch.pose or NOT_SEEN)

    def decode(self, raw: bytes) -> NDArray[np.uint8]:
        """A serialized image of the camera as the film wants it, 480 x 640 x 3."""
        return decode(raw)

    def stay(self) -> None:
        """Nothing happens by itself; ends by a signal."""
        self._phase = "it is yours"
        self._view.say(
            "now it is yours; in another shell:  . .venv/ros.sh; export ROS_DOMAIN_ID="
            f'{os.environ["ROS_DOMAIN_ID"]}\n  vla arm; vla say "{self.instructions[0]}"; '
            "vla say stop; vla stop; vla stop --release; vla reset        Ctrl-C here ends it",
            "bold",
        )
        while True:
            self.wait(lambda: False, 60.0)

    def instruct(self, index: int, words: str, stop: str) -> None:
        """Give an instruction, stop in the middle of it, and judge it by the simulator's truth.

        Args:
            index: Which one, from 0.
            words: Its text.
            stop: How the robot is stopped on its way; empty: it is not.
        """
        self._phase = self.watch.caption = f"instruction {index + 1} of {len(self.instructions)}"
        self.watch.instruction_number = index + 1
        # the gate was started again: an operator looks, then arms
        if self.watch.moment().state == "DISARMED":
            self.arm()
        start = self.watch.world()
        began = time.monotonic()
        points_before = len(self.track.path)
        self._view.say(f"{self._phase}: “{words}”", "bold")
        steps, about, as_read = self._read(words, start)
        refusal = self.give(words)
        end = began + steps * self.arguments.seconds_per_instruction
        if not refusal and stop and self._on_its_way(about, end) and not self._refused():
            paused = time.monotonic()
            self.stop(stop, index)
            start = self.watch.world()  # the words count from where they are said again
            refusal = self.give(words)
            end += time.monotonic() - paused
        if refusal:
            judged = Judgement(False, math.inf, refusal)
        else:
            judged = self.follow(self._judging(words, start), end)
        seconds = time.monotonic() - began
        why = judged.sentence
        told = [text for text in self.watch.feedback if not text.startswith("accepted")]
        if told and not judged.done and told[-1] not in why:
            why += f"; the operator was told: {told[-1]}"
        self.results.append(
            {
                "text": words,
                "done": judged.done,
                # by the reader's meaning alone, so that its misreading cannot show
                "as_read": as_read,
                "seconds": round(seconds, 2),
                "driven_m": round(_length(self.track.path[points_before:]), 3),
                "distance_m": self._distance(about),
                "refused": bool(refusal or self._refused()),
                "why": why,
            }
        )
        mark = "done" if judged.done else "NOT DONE"
        colour = "green" if judged.done else "red"
        self._view.say(f"  {mark} after {seconds:.1f} s: {why}", colour)

    def meaning(self, words: str) -> tuple[Any, bool]:
        """What words mean for the judge, and whether only as read. Raises NotUnderstood."""
        if self._reader is None:
            self._reader = InstructionReader.load()
        return judged_meaning(words, self._reader)

    def following(self, meant: Any, start: Any) -> Callable[[Any], Judgement]:
        """What judges each moment. Raises ValueError where nothing there can be meant."""
        return Judging(meant, start)

    def first_thing(self, meant: Any, start: Any) -> str:
        """The name of the first thing that is meant; "" where none is."""
        return named_first(meant, start)

    def _judging(self, words: str, start: Any) -> Verdict:
        if self.success is None:
            return judging(words, start, self.meaning, self.following)
        success = self.success
        return lambda now: verdict(words, start, now, success)

    def _read(self, words: str, start: Any) -> tuple[int, str, bool]:
        """The steps that the words ask for, the first thing in them, and whether only as read."""
        if self.success is not None:
            return 1, words, False
        try:
            meant, as_read = self.meaning(words)
        except NotUnderstood:
            return 1, words, False  # the policy says so itself
        steps = max(1, len(steps_of(meant)))
        if steps > 1:
            self._view.say(f"  {steps} steps: {in_words(meant)}")
        return steps, self.first_thing(meant, start) or words, as_read

    def _refused(self) -> str:
        """What the policy said where it does not act on the words."""
        for text in list(self.watch.feedback):
            if text.startswith(NOT_UNDERSTOOD):
                return str(text)
        return ""

    def follow(self, judge_now: Verdict, end: float) -> Judgement:
        """Until it has been done for DONE_FOR_S, the policy refuses it, or the time is over.

        Args:
            judge_now: Judges the truth.
            end: When the time is over, on the steady clock, s.
        """
        judged = Judgement(False, math.inf, "nothing was seen")
        done_since = math.inf

        def over() -> bool:
            nonlocal judged, done_since
            judged = judge_now(self.watch.world())
            now = time.monotonic()
            done_since = min(done_since, now) if judged.done else math.inf
            return now - done_since > DONE_FOR_S or bool(self._refused())

        self.wait(over, max(0.0, end - time.monotonic()))
        if judged.done:
            return judged
        if refusal := self._refused():
            return Judgement(False, judged.distance, refusal)
        # what was lacking is often not the policy's fault: the gate held the robot
        moment = self.watch.moment()
        gate = f"the gate is {moment.state}"
        if moment.reason:
            gate += f" ({moment.reason})"
        return replace(judged, sentence=f"{judged.sentence}; {gate}")

    def _distance(self, words: str) -> float | None:
        target = self.watch.target(words)
        return None if target is None else round(target[0], 3)

    def stop(self, kind: str, index: int) -> None:
        """Stop the robot unexpectedly, and see on the wire that it stands still.

        Args:
            kind: SAY_STOP or PRESS_STOP; after the latter, the gate is reset and armed again.
            index: The instruction that is interrupted, from 0.
        """
        pose = self.watch.pose or NOT_SEEN
        at = time.monotonic()
        if kind == SAY_STOP:
            self.operator.say("stop")
        else:
            self.operator.press_stop(True)
        # long enough to see that it keeps standing still, too
        self.wait(lambda: False, STILL_WITHIN_S + 0.5)

        def seen() -> bool:
            sources = (self.watch.speeds(), self.watch.emitted())
            return all(was_seen(source, at, STILL_WITHIN_S) for source in sources)

        self.wait(seen, BUSY_S)
        still, seconds = stood_still(self.watch.speeds(), at, STILL_WITHIN_S)
        silent, later = stood_still(self.watch.emitted(), at, STILL_WITHIN_S)
        last = round(max(seconds, later), 3)
        stop = Stop(kind, pose.x, pose.y, last, still and silent, index + 1, seen())
        self.track.stops.append(stop)
        # by the demo itself: who sees it should not look for what they did wrong
        self._view.say(
            f"  unexpected stop, as planned ({kind}): {stop.sentence}",
            "green" if stop.still else "red",
        )
        if kind == PRESS_STOP:
            # the button is latched: the way back is to let go, reset, arm
            self.operator.press_stop(False)
            self.wait(lambda: False, 0.3)
            self._view.say(f"  reset: {self._ask('reset', 5.0, ('DISARMED',))}")
            self.arm()

    def _on_its_way(self, about: str, end: float) -> bool:
        """Whether the robot came half way, or the policy refused, before the time was over."""
        first = self.watch.target(about)
        return self.wait(
            lambda: self._half_way(about, first) or bool(self._refused()),
            end - time.monotonic(),
        )

    def _half_way(self, words: str, first: tuple[float, float] | None) -> bool:
        """Whether the robot moves, and is half way to what the words name.

        Args:
            words: The instruction.
            first: Where that thing was when it was given (m, rad); None: they name nothing.
        """
        times, linear, angular = np.reshape(self.watch.speeds(), (-1, 3)).T
        recent = times >= time.monotonic() - STOP_AFTER_S
        # ten a second or fewer say too little
        if np.count_nonzero(recent) <= 10 * STOP_AFTER_S:
            return False
        moving = (np.abs(linear) > 0.05) | (np.abs(angular) > 0.1)  # m/s, rad/s
        if not moving[recent].all():
            return False
        target = self.watch.target(words)
        if first is None or target is None:
            return True
        return target[0] < (first[0] + REACH_M) / 2

    def ok(self) -> bool:
        """Every instruction done, every stop obeyed, and at least one given."""
        stops = self.track.stops
        return (
            bool(self.results)
            and len(self.results) == len(self.instructions)
            and all(map(itemgetter("done"), self.results))
            and bool(stops)
            and all(map(attrgetter("still"), stops))
        )


def _length(path: Sequence[PathPoint]) -> float:
    """Of the way along the points, m."""
    length = 0.0
    for before, after in zip(path, path[1:]):
        length += math.hypot(after.x - before.x, after.y - before.y)
    return length
