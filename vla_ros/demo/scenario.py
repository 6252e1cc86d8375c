"""What happens in the demo: start, arm, instructions, unexpected stops; each judged by what is seen
on the wire."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.node import Node

from vla_ros.demo.film import Film
from vla_ros.demo.monitor import Watch
from vla_ros.demo.plots import PathPoint, Stop, Track, stood_still
from vla_ros.demo.scoring import verdict
from vla_ros.demo.stack import CAMERA_TOPIC, NAMESPACE, Suite, View
from vla_ros.demo.success_function import SuccessFunction
from vla_ros.demo.suggestions import choose_instructions
from vla_ros.operator import session
from vla_ros.operator.processes import ProcessGroup
from vla_ros.tasks.success import Verdict, judge
from vla_ros.tasks.world_state import WorldState

STILL_WITHIN = 0.5  # s from a stop until the robot stands still
SETTLE = 0.5  # s that an instruction must stay done
STOP_AFTER = 0.5  # s on the move, until the unexpected stop at the earliest
REACH = 0.4  # m from which the robot has a thing in front of it


class Demo(Suite):
    """One run."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        group: ProcessGroup,
        node: Node,
        view: View,
        interrupt: session.Interrupt,
        success: SuccessFunction = judge,
    ) -> None:
        super().__init__(
            group, node, Watch(node, Track(), CAMERA_TOPIC, NAMESPACE), view, interrupt
        )
        self.arguments = arguments
        self.success = success
        self.results: list[dict[str, Any]] = []
        self.instructions: list[str] = []

    def play(self, film: Callable[[], Film]) -> None:
        """Everything from arming to the last instruction. The film begins when the gate is
        armed."""
        self.wait(lambda: bool(self.watch.things()), 3.0)
        self.instructions = list(self.arguments.instructions) or choose_instructions(
            self.watch.things(), self.watch.pose or PathPoint(0.0, 0.0, 0.0, 0.0, 0)
        )
        self.track.start = self.watch.things()
        if self.arguments.stay:
            self.stay()
        self.arm()
        self.watch.film = film()
        self.watch.count_from_now()
        last = len(self.instructions) - 1
        for index, words in enumerate(self.instructions):
            kind = "the button" if index == last else "the word" if index == 0 else ""
            self.instruct(index, words, kind)
        self.watch.instruction_number = 0
        self.track.end = self.watch.things()

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
        """Give an instruction, stop in the middle of it if `stop` says how, and judge by the
        simulator's truth."""
        self._phase = self.watch.caption = f"instruction {index + 1} of {len(self.instructions)}"
        self.watch.instruction_number = index + 1
        # the gate was started again: an operator looks, then arms
        if self.watch.moment().state == "DISARMED":
            self.arm()
        start = self.watch.world()
        began = time.monotonic()
        passed = len(self.track.path)
        self._view.say(f"{self._phase}: “{words}”", "bold")
        why = self.give(words)
        if not why:
            end = began + self.arguments.seconds_per_instruction
            first = self.watch.target(words)
            if stop and self.wait(lambda: self._half_way(words, first), end - time.monotonic()):
                paused = time.monotonic()
                self.stop(stop, index)
                start = self.watch.world()  # the words count from where they are said again
                why = self.give(words)
                end += time.monotonic() - paused
        judged = Verdict(False, math.inf, why) if why else self.follow(words, start, end)
        seconds = time.monotonic() - began
        way = self.track.path[passed:]
        driven = sum(math.hypot(b.x - a.x, b.y - a.y) for a, b in zip(way, way[1:]))
        self.results.append(
            {
                "text": words,
                "done": judged.done,
                "seconds": round(seconds, 2),
                "driven_m": round(driven, 3),
                "distance_m": self._distance(words),
                "why": judged.sentence,
            }
        )
        self._view.say(
            f"  {'done' if judged.done else 'NOT DONE'} after {seconds:.1f} s: {judged.sentence}",
            "green" if judged.done else "red",
        )

    def follow(self, words: str, start: WorldState | None, end: float) -> Verdict:
        """Until the simulator says for half a second that it is done, or the time is over."""
        judged = Verdict(False, math.inf, "nothing was seen")
        done_since = math.inf

        def over() -> bool:
            nonlocal judged, done_since
            judged = verdict(words, start, self.watch.world(), self.success)
            done_since = min(done_since, time.monotonic()) if judged.done else math.inf
            return time.monotonic() - done_since > SETTLE

        if self.wait(over, max(0.0, end - time.monotonic())) or judged.done:
            return judged
        moment = self.watch.moment()
        gate = f"; the gate is {moment.state}" + (f" ({moment.reason})" if moment.reason else "")
        return replace(judged, sentence=judged.sentence + gate)

    def _distance(self, words: str) -> float | None:
        target = self.watch.target(words)
        return None if target is None else round(target[0], 3)

    def stop(self, kind: str, index: int) -> None:
        """An unexpected stop: say "stop", or press the stop; see on the wire that the robot stands
        still."""
        pose = self.watch.pose or PathPoint(0.0, 0.0, 0.0, 0.0, 0)
        at = time.monotonic()
        if kind == "the word":
            self.operator.say("stop")
        else:
            self.operator.press_stop(True)
        self.wait(lambda: False, STILL_WITHIN + 0.5)
        still, seconds = stood_still(self.watch.speeds(), at, STILL_WITHIN)
        silent, _ = stood_still(self.watch.emitted(), at, STILL_WITHIN)
        stop = Stop(kind, pose.x, pose.y, round(seconds, 3), still and silent, index + 1)
        self.track.stops.append(stop)
        self._view.say(
            f"  unexpected stop ({kind}): "
            + (
                f"the robot stood still after {seconds:.2f} s"
                if stop.still
                else f"the robot did NOT stand still within {STILL_WITHIN:g} s"
            ),
            "green" if stop.still else "red",
        )
        if kind == "the button":
            self.operator.press_stop(False)
            self.wait(lambda: False, 0.3)
            self._view.say(f"  reset: {self._ask('reset', 5.0, ('DISARMED',))}")
            self.arm()

    def _half_way(self, words: str, first: tuple[float, float] | None) -> bool:
        """Whether the robot moves, and is half way to what the words name; `first`: where that was
        at first."""
        since = time.monotonic() - STOP_AFTER
        recent = [speed for speed in self.watch.speeds() if speed[0] >= since]
        moving = len(recent) > 10 * STOP_AFTER and all(
            abs(v) > 0.05 or abs(w) > 0.1 for _, v, w in recent
        )
        target = self.watch.target(words)
        if first is None or target is None:
            return moving
        return moving and target[0] < (first[0] + REACH) / 2

    def ok(self) -> bool:
        """Every instruction done, every stop obeyed, and at least one given."""
        return (
            bool(self.results)
            and len(self.results) == len(self.instructions)
            and all(result["done"] for result in self.results)
            and bool(self.track.stops)
            and all(stop.still for stop in self.track.stops)
        )
