"""What happens in the demo: start, arm, instructions, unexpected stops; each judged by what is seen on the wire."""
from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lifecycle_msgs.srv import GetState
from rclpy.node import Node

from vla_ros.core.stats import percentile
from vla_ros.sim.tasks import Verdict
from vla_ros.sim.world import WorldState
from vla_ros.tools import stage
from vla_ros.tools.judging import verdict
from vla_ros.tools.pictures import PathPoint, Stop, Track, stood_still
from vla_ros.tools.processes import ProcessGroup
from vla_ros.tools.recording import Film
from vla_ros.tools.say import Operator
from vla_ros.tools.view import LiveView, PlainView, Status
from vla_ros.tools.watch import Watch

CAMERA_TOPIC = "/camera/image_raw"
NAMESPACE = "/vla"
SIMULATOR = "simulator"
NODES = ("camera_ingest", "command_ingest", "synchronizer", "inference", "safety_validator")
START_SECONDS = 60.0  # until everything runs; the first start of a slow machine compiles and warms up
ANSWER_SECONDS = 2.0  # until a question is asked again
STILL_WITHIN = 0.5  # s from a stop until the robot stands still
SETTLE = 0.5  # s that an instruction must stay done
POLL = 0.05  # s between two looks at how it goes
STOP_AFTER = 0.5  # s on the move, until the unexpected stop at the earliest
REACH = 0.4  # m from which the robot has a thing in front of it
View = LiveView | PlainView


class Failed(Exception):
    """The demo cannot go on; the message says why."""


class NodeStates:
    """Asks the five nodes for their lifecycle state, without waiting for answers."""

    def __init__(self, node: Node) -> None:
        self.labels = dict.fromkeys(NODES, "starting")
        self._clients = {name: node.create_client(GetState, f"{NAMESPACE}/{name}/get_state") for name in NODES}
        self._asked: dict[str, tuple[float, Any]] = {}  # steady s, and the answer to come

    def ask(self) -> None:
        now = time.monotonic()
        for name, client in self._clients.items():
            at, future = self._asked.get(name, (-math.inf, None))
            if future is not None and future.done():
                self.labels[name] = future.result().current_state.label
            elif now - at < ANSWER_SECONDS:
                continue
            elif future is not None:  # an answer can be lost: a process died, or had not found us yet
                client.remove_pending_request(future)
            if client.service_is_ready():
                self._asked[name] = now, client.call_async(GetState.Request())

    def all_active(self) -> bool:
        return all(label == "active" for label in self.labels.values())


class Demo:
    """One run. Everything that waits goes through `wait`: it keeps the view alive and the processes running."""

    def __init__(self, arguments: argparse.Namespace, group: ProcessGroup, node: Node, view: View,
                 interrupt: stage.Interrupt) -> None:
        self.arguments = arguments
        self.track = Track()
        self.results: list[dict[str, Any]] = []
        self.instructions: list[str] = []
        self.deaths: list[str] = []  # of processes, and their returns
        self.watch = Watch(node, self.track, CAMERA_TOPIC, NAMESPACE)
        self.operator = Operator(node, NAMESPACE)
        self.states = NodeStates(node)
        self._group, self._view, self._interrupt = group, view, interrupt
        self._phase = "starting"

    # Waiting

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether `condition` came true within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            self._interrupt.check()
            for line in self._group.poll():
                self.deaths.append(line)
                self._view.say(f"  {line}", "yellow")
            if self._group.returncode(SIMULATOR) is not None:
                raise Failed(f"the {self.deaths[-1]}; see its log")  # started again, it is another world
            if condition():
                return True
            if time.monotonic() >= end:
                return False
            self._view.show(self.status)
            time.sleep(POLL)

    def status(self) -> Status:
        watch, pose = self.watch, self.watch.pose
        recent = self.track.latencies[-300:]
        latency = (percentile(recent, 0.5), percentile(recent, 0.95)) if recent else None
        where = (pose.x, pose.y, math.degrees(pose.yaw)) if pose else None
        nodes = self.states.labels if self._phase == "starting" else {}
        return Status(self._phase, watch.moment(), {name: watch.hertz(name) for name in watch.rates}, latency, where,
                      dict(nodes))

    # The parts of a run

    def start(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path) -> None:
        """Start the processes (name -> argv) and wait until the five nodes are active and the robot is seen."""
        logs.mkdir(parents=True, exist_ok=True)
        for name, command in commands.items():
            self._interrupt.check()
            self._group.start(name, command, env=environment, log_path=logs / f"{name}.log",
                              respawn=name != SIMULATOR)
        self._view.say(f"started {len(commands)} processes; what they say is in {logs}")

        def up() -> bool:
            self.states.ask()
            return self.states.all_active() and self.watch.pose is not None and self.operator.heard()

        if not self.wait(up, START_SECONDS):
            missing = [f"{name} is {label}" for name, label in self.states.labels.items() if label != "active"]
            missing += [] if self.watch.pose else ["the simulator publishes nothing on /sim/objects"]
            raise Failed(f"the suite was not up after {START_SECONDS:g} s: {', '.join(missing) or 'no one listens'}; "
                         f"see {logs}")
        self._view.say("all nodes are active", "green")

    def arm(self) -> None:
        """Arm the gate; it refuses as long as a source is missing."""
        self._view.say(f"armed: {self._ask('arm', 15.0, ('HOLDING', 'ACTIVE'))}")

    def _ask(self, verb: str, seconds: float, there: tuple[str, ...]) -> str:
        """What the gate says to arm or reset. An answer can be lost, and the second one be no ("nothing to reset"): so
        its report counts as well, once it is in one of the states `there`."""
        sentence = ""

        def done() -> bool:
            nonlocal sentence
            success, sentence = self.operator.call(verb, 2.0, self.wait)
            return success or self.watch.moment().state in there or self.wait(lambda: False, 0.3)

        if not self.wait(done, seconds):
            raise Failed(f"the gate does not {verb}: {sentence}")
        return sentence

    def play(self, film: Callable[[], Film]) -> None:
        """Everything from arming to the last instruction. The film begins when the gate is armed."""
        self.wait(lambda: bool(self.watch.things()), 3.0)
        self.instructions = list(self.arguments.instructions) or stage.choose_instructions(
            self.watch.things(), self.watch.pose or PathPoint(0.0, 0.0, 0.0, 0.0, 0))
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
        self.watch.instruction = 0
        self.track.end = self.watch.things()

    def stay(self) -> None:
        """Nothing happens by itself; ends by a signal."""
        self._phase = "it is yours"
        self._view.say("now it is yours; in another shell:  . .venv/ros.sh; export ROS_DOMAIN_ID="
                       f"{os.environ['ROS_DOMAIN_ID']}\n  vla arm; vla say \"{self.instructions[0]}\"; "
                       "vla say stop; vla stop; vla stop --release; vla reset        Ctrl-C here ends it", "bold")
        while True:
            self.wait(lambda: False, 60.0)

    def instruct(self, index: int, words: str, stop: str) -> None:
        """Give an instruction, stop in the middle of it if `stop` says how, and judge by the simulator's truth."""
        self._phase = self.watch.caption = f"instruction {index + 1} of {len(self.instructions)}"
        self.watch.instruction = index + 1
        if self.watch.moment().state == "DISARMED":  # the gate was started again: an operator looks, then arms
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
        self.results.append({"text": words, "done": judged.done, "seconds": round(seconds, 2),
                             "driven_m": round(driven, 3), "distance_m": self._distance(words), "why": judged.sentence})
        self._view.say(f"  {'done' if judged.done else 'NOT DONE'} after {seconds:.1f} s: {judged.sentence}",
                       "green" if judged.done else "red")

    def give(self, words: str) -> str:
        """Say it, and see it become a command; otherwise what came back instead."""
        before = self.watch.command.generation if self.watch.command else 0
        self.watch.feedback.clear()
        self.operator.say(words)

        def accepted() -> bool:
            command = self.watch.command
            return command is not None and command.generation > before

        if self.wait(accepted, 3.0):
            return ""
        return "the words did not become a command: " + ("; ".join(self.watch.feedback) or "nobody said why")

    def follow(self, words: str, start: WorldState | None, end: float) -> Verdict:
        """Until the simulator says for half a second that it is done, or the time is over."""
        judged = Verdict(False, math.inf, "nothing was seen")
        done_since = math.inf

        def over() -> bool:
            nonlocal judged, done_since
            judged = verdict(words, start, self.watch.world())
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
        """An unexpected stop: say "stop", or press the stop; see on the wire that the robot stands still."""
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
        self._view.say(f"  unexpected stop ({kind}): " +
                       (f"the robot stood still after {seconds:.2f} s" if stop.still else
                        f"the robot did NOT stand still within {STILL_WITHIN:g} s"), "green" if stop.still else "red")
        if kind == "the button":
            self.operator.press_stop(False)
            self.wait(lambda: False, 0.3)
            self._view.say(f"  reset: {self._ask('reset', 5.0, ('DISARMED',))}")
            self.arm()

    def _half_way(self, words: str, first: tuple[float, float] | None) -> bool:
        """Whether the robot moves, and is half way to what the words name; `first`: where that was at first."""
        since = time.monotonic() - STOP_AFTER
        recent = [speed for speed in self.watch.speeds() if speed[0] >= since]
        moving = len(recent) > 10 * STOP_AFTER and all(abs(v) > 0.05 or abs(w) > 0.1 for _, v, w in recent)
        target = self.watch.target(words)
        if first is None or target is None:
            return moving
        return moving and target[0] < (first[0] + REACH) / 2

    def ok(self) -> bool:
        """Every instruction done, every stop obeyed, and at least one given."""
        return (bool(self.results) and len(self.results) == len(self.instructions)
                and all(result["done"] for result in self.results)
                and bool(self.track.stops) and all(stop.still for stop in self.track.stops))
