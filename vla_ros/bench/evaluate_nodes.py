"""`vla evaluate --nodes`: episodes through the simulator's process and the six nodes.

In real time, with the gate armed. The evaluation is the person here: it arms, speaks and disarms,
as an operator would. Judged is the simulator's truth on the wire, by the criterion of the bare
simulator (sim/episode.py): done, and the policy wants to stand, for a while; else the time is over.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_ros.core.config_files import config_folder
from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.robot import Robot
from vla_ros.core.step_words import NOT_UNDERSTOOD
from vla_ros.core.types import ActionChunk, to_seconds
from vla_ros.demo.monitor import LOOSE, Monitor
from vla_ros.demo.plots import DriveRecord
from vla_ros.demo.stack import CAMERA_TOPIC, NAMESPACE, SIMULATOR, DemoSuite, Failed
from vla_ros.demo.view import PlainView, Status
from vla_ros.evaluation.plan import PlannedEpisode, robot_named
from vla_ros.evaluation.runner import PolicyChoice, bounds, limits, reached, to_refuse, within
from vla_ros.evaluation.through_nodes import Driven
from vla_ros.nodes.common import convert
from vla_ros.operator import session
from vla_ros.operator.client import VERDICTS, spinning
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment, suite_nodes
from vla_ros.sim.episode import DONE_FOR_S, GAVE_UP, simulated_robot, stands
from vla_ros.sim.scene import sample_scene
from vla_ros.tasks.objects import OPENING_MAX
from vla_ros.tasks.sequence import Judging, first_kind
from vla_ros.tasks.success import MAX_CLOSED_M, Judgement
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import SafetyReport

SCENE_TIMEOUT_S = 10.0  # until the simulator shows the scene that was asked for
BEFORE_TIMEOUT_S = 4.0  # for what comes before the words
# between two looks 0.05 s apart: by then a heartbeat is old and the gate holds
DISTURBING_PAUSE_S = 0.25
ATTEMPTS = 3  # at an episode that is disturbed
MAX_RESTARTS = 3  # of the suite, where it cannot go on
# what was on its way to the robot has arrived, and images of the scene before are gone
FLUSH_S = 0.2
# What comes before the words (sim.episode.prelude), said instead of done: nobody but the gate may
# speak to the robot.
BEFORE = {"stop": ("move forward", "turn left"), "open": ("close the gripper",)}
# from either on, the robot is on the move
MOVING_M_S = 0.15
MOVING_RAD_S = 0.2


class NodesWitness(Monitor):
    """Also counts what the gate answers, and keeps what the policy wants."""

    TOPIC = CAMERA_TOPIC
    ROBOT: Callable[[], Robot] = staticmethod(simulated_robot)

    def __init__(self, node: Node, track: DriveRecord) -> None:
        super().__init__(node, track, self.TOPIC, NAMESPACE)
        self._bounds = bounds(self.ROBOT())
        self._limits = limits(self.ROBOT())
        self.answers: Counter[str] = Counter()
        self.chunk: ActionChunk | None = None
        self.chunks = [0, 0, 0]  # all, within bounds, within limits
        self.predict: list[float] = []  # s
        node.create_subscription(
            ActionChunkMessage, f"{NAMESPACE}/action_chunk", self._on_chunk, LOOSE
        )

    def begin(self) -> None:
        """Counts from now."""
        self.answers = Counter()
        self.chunks = [0, 0, 0]
        self.predict = []
        self.track.latencies.clear()

    def idle(self) -> bool:
        """Does nothing want the robot to move: no instruction, or an action for it that stands?"""
        instruction = self.instruction
        chunk = self.chunk
        if instruction is None or not instruction.text:
            return True
        return (
            chunk is not None
            and chunk.instruction_id == instruction.instruction_id
            and self.wants_nothing(chunk)
        )

    def wants_nothing(self, chunk: ActionChunk) -> bool:
        """Is the robot to stand?"""
        return stands(chunk)

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        chunk = convert.chunk(message)
        instruction = self.instruction
        if instruction is None or chunk.instruction_id != instruction.instruction_id:
            return  # it is for what was said before
        self.chunk = chunk
        self.chunks[0] += 1
        self.chunks[1] += within(chunk, self._bounds)
        self.chunks[2] += within(chunk, self._limits)
        self.predict.append(to_seconds(chunk.latency))

    def _on_report(self, report: SafetyReport) -> None:
        super()._on_report(report)
        self.answers[f"{VERDICTS[report.verdict]} {report.rule}".strip()] += 1


class Quiet(PlainView):
    """Says what is wrong and nothing else; notices where the machine gave this process no time."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = 0.0  # s, the longest time between two looks at how it goes
        self._looked = time.monotonic()

    def say(self, line: str, style: str = "") -> None:
        if style in ("yellow", "red"):
            print(line, file=sys.stderr, flush=True)

    def show(self, status: Callable[[], Status]) -> None:
        self.look()

    def look(self) -> None:
        """Notes how long ago the last look was."""
        now = time.monotonic()
        self.paused = max(self.paused, now - self._looked)
        self._looked = now

    def count_from_now(self) -> None:
        """Forgets the pauses before."""
        self.paused = 0.0
        self._looked = time.monotonic()


class Trials(DemoSuite):
    """Episodes, one after another, in a suite that goes on running."""

    WITNESS: type[NodesWitness] = NodesWitness
    EXECUTABLE = "simulator"  # the node that simulates the robot
    ROBOT_FILE = "sim.yaml"
    BEFORE = BEFORE
    watch: Any

    def __init__(self, group: ProcessGroup, node: Node, interrupt: session.Interrupt) -> None:
        self.quiet = Quiet()
        super().__init__(group, node, self.WITNESS(node, DriveRecord()), self.quiet, interrupt)
        self._reset = node.create_client(Trigger, f"/{self.EXECUTABLE}/reset")
        self._set = node.create_client(SetParameters, f"/{self.EXECUTABLE}/set_parameters")

    # What differs from robot to robot

    def judging(self, meant: Any, start: Any) -> Callable[[Any], Judgement]:
        """What says of each moment whether it is done, by the truth."""
        return Judging(meant, start)

    def pose(self, state: Any) -> tuple[float, float, float]:
        """x, y (m) and yaw (rad), seen from above."""
        return state.x, state.y, state.yaw

    def reached(self, meant: Any, start: Any, end: Any) -> list[str]:
        """The things with which it is done."""
        return reached(meant, start, end)

    def plan(self, seed: int) -> Any:
        """The scene of `seed`, with its objects."""
        return sample_scene(seed)

    def at_start(self, now: Any, wanted: Any) -> bool:
        """Whether the robot stands where the scene begins, its gripper open."""
        opened = self.watch.opening > 0.9 * OPENING_MAX
        return opened and math.dist((now.x, now.y), wanted.robot[:2]) < 0.01  # m

    def planned(self, seed: int) -> Callable[[], bool]:
        """Says whether the simulator shows the scene of `seed`, as it was planned."""
        wanted = self.plan(seed)
        names = set(map(attrgetter("name"), wanted.objects))

        def shown() -> bool:
            now = self.watch.world()
            if now is None or set(map(attrgetter("name"), now.objects)) != names:
                return False
            return self.at_start(now, wanted)

        return shown

    def undisturbed(self, episode: PlannedEpisode) -> Driven:
        """An episode; again, a few times, where the machine stood still, whatever came of it."""
        for attempt in range(ATTEMPTS):
            record = self.run(episode)
            record.attempts = attempt + 1
            if record.paused < DISTURBING_PAUSE_S:
                break
        return record

    def run(self, episode: PlannedEpisode) -> Driven:
        """An episode, from the scene to what came of it. Failed: the suite cannot go on."""
        self.disarm()
        self.scene(episode.seed)
        self.arm()
        problem = self.before(first_kind(episode.meant))
        # what comes before is no part of the episode, and in none of its figures
        self.watch.begin()
        self.quiet.count_from_now()
        start = self.truth()
        unaccepted = "" if problem else self.give(episode.text)
        problem = problem or unaccepted
        began = time.monotonic()
        path = [start]
        if problem:
            verdict = Judgement(False, math.inf, problem)
        else:
            verdict = self.follow(episode, start, path)
        self.quiet.look()
        seconds = time.monotonic() - began
        end = self.truth()
        watch = self.watch
        moment = watch.moment()
        gave_up = verdict.sentence.startswith(GAVE_UP)
        # words that halt are not accepted, and nothing of them is done
        refused = gave_up or bool(unaccepted)
        untouched = robot_named(episode.robot).untouched
        rightly = refused and to_refuse(episode) and untouched(start, (*path, end))
        if not verdict.done and moment.reason:
            sentence = f"{verdict.sentence}; the gate is {moment.state} ({moment.reason})"
            verdict = replace(verdict, sentence=sentence)
        return Driven(
            episode,
            done=verdict.done or rightly,
            distance=verdict.distance,
            seconds=seconds,
            sentence=verdict.sentence,
            reached=self.reached(episode.meant, start, end),
            refused=refused and not watch.chunks[0],
            gave_up=gave_up and watch.chunks[0] > 0,
            chunks=tuple(watch.chunks),
            predict=list(watch.predict),
            path=list(map(self.pose, path)),
            start=start,
            end=end,
            policy=watch.chunk.policy if watch.chunk else "",
            answers=Counter(watch.answers),
            latency=[milliseconds / 1e3 for milliseconds in watch.track.latencies],
            stopped=moment.reason if moment.state == "STOPPED" else "",
            paused=self.quiet.paused,
        )

    # The parts of an episode

    def disarm(self) -> None:
        """Whatever holds is cancelled, and nothing commands the robot any more."""
        self.operator.say("stop")
        stopped = self.watch.moment().state == "STOPPED"
        self._ask("reset" if stopped else "disarm", 10.0, ("DISARMED",))
        if not self.wait(self._disarmed, 5.0):
            raise Failed(f"the gate is {self.watch.moment().state}, and was to be disarmed")
        self.wait(lambda: False, FLUSH_S)

    def _disarmed(self) -> bool:
        instruction = self.watch.instruction
        cancelled = instruction is not None and not instruction.text
        return cancelled and self.watch.moment().state == "DISARMED"

    def scene(self, seed: int) -> None:
        """The simulator's scene of `seed`, as it was when the episode was planned."""
        shown = self.planned(seed)

        def shown_when_asked() -> bool:
            value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
            request = SetParameters.Request(parameters=[ParameterMessage(name="seed", value=value)])
            answer = self._call(self._set, request)
            if answer is None:
                return False
            if not answer.results[0].successful:
                raise Failed(f"the simulator refuses seed {seed}: {answer.results[0].reason}")
            return self._call(self._reset, Trigger.Request()) is not None and self.wait(shown, 2.0)

        if not self.wait(shown_when_asked, SCENE_TIMEOUT_S):
            raise Failed(
                f"the simulator did not show the scene of seed {seed} within {SCENE_TIMEOUT_S:g} s"
            )
        self.wait(lambda: False, FLUSH_S)

    def _call(self, client: Any, request: Any) -> Any:
        """The answer; None where there is none for 2 s."""
        if not self.wait(client.service_is_ready, 2.0):
            return None
        future = client.call_async(request)
        if not self.wait(future.done, 2.0):
            client.remove_pending_request(future)
            return None
        return future.result()

    def before(self, kind: str) -> str:
        """What comes before the words: "" where it is done, else why not.

        "stop" is said to a robot that drives, "open" to one whose gripper is closed.
        """
        if kind not in self.BEFORE:
            return ""
        done = self.moves if kind == "stop" else self.closed
        for words in self.BEFORE[kind]:
            refused = self.give(words)
            if not refused and self.wait(done, BEFORE_TIMEOUT_S):
                return ""
        return f"what comes before '{kind}' was not done ({', '.join(self.BEFORE[kind])})"

    def moves(self) -> bool:
        """Whether the robot is on the move."""
        speeds = self.watch.speeds()
        if not speeds:
            return False
        _, linear, angular = speeds[-1]
        return abs(linear) > MOVING_M_S or abs(angular) > MOVING_RAD_S

    def closed(self) -> bool:
        return self.watch.opening < MAX_CLOSED_M

    def truth(self) -> Any:
        """The simulator's world as it is now, which no policy sees."""
        now = self.watch.world()
        if now is None:
            raise Failed("the simulator publishes nothing on /sim/objects")
        return now

    def follow(self, episode: PlannedEpisode, start: Any, path: list[Any]) -> Judgement:
        """Until it is done and stays done, nothing can follow any more, or the time is over.

        Args:
            episode: what is to be done.
            start: the world before.
            path: takes the worlds that it comes through.
        """
        judge = self.judging(episode.meant, start)
        verdict = judge(start)
        settled_since = math.inf

        def over() -> bool:
            nonlocal verdict, settled_since
            for line in list(self.watch.feedback):
                if line.startswith(NOT_UNDERSTOOD):
                    sentence = f"{GAVE_UP}: {line.removeprefix(NOT_UNDERSTOOD)}"
                    verdict = Judgement(False, verdict.distance, sentence)
                    return True
            now = self.truth()
            if self.pose(now) != self.pose(path[-1]):
                path.append(now)
            verdict = judge(now)
            stopped = self.watch.moment().state == "STOPPED"
            if not stopped and not (verdict.done and self.watch.idle()):
                settled_since = math.inf  # done for a moment only
                return False
            settled_since = min(settled_since, time.monotonic())
            return time.monotonic() - settled_since >= DONE_FOR_S

        self.wait(over, episode.seconds)
        return verdict


def run(
    plan: Sequence[PlannedEpisode],
    player: PolicyChoice,
    logs: Path,
    on_record: Callable[[Driven], None],
) -> tuple[list[Driven], dict[str, Any]]:
    """All episodes of a plan; the suite starts again where it cannot go on.

    Args:
        plan: the episodes.
        player: the policy, its options and its camera.
        logs: where the processes' logs go.
        on_record: is called with each record.

    Returns:
        The records; and the `problem` that ended it early, if there was one, what made the suite
        start again, and the rates that the machine reached.

    Raises:
        KeyboardInterrupt: Ctrl-C, with every process ended.
    """
    print(session.own_domain(os.environ), file=sys.stderr, flush=True)
    environment = suite_environment()
    # this process needs the transport's settings as much as the nodes do
    os.environ.update(environment)
    logs.mkdir(parents=True, exist_ok=True)
    policy_file = player.file or write_policy_file(
        logs / "policy.yaml", player.policy, options=dict(player.options)
    )
    trials_of = _trials(player.robot)
    width, height = player.camera
    simulator = {"seed": plan[0].seed, "width": width, "height": height}
    commands = {
        SIMULATOR: node_command(trials_of.EXECUTABLE, parameters=simulator),
        **suite_nodes(
            robot_file=config_folder() / "robots" / trials_of.ROBOT_FILE,
            policy_file=policy_file,
            namespace=NAMESPACE,
        ),
    }
    records: list[Driven] = []
    ended: list[str] = []
    rates: dict[str, float] = {}
    with session.Interrupt() as interrupt:
        while len(records) < len(plan) and len(ended) <= MAX_RESTARTS:
            with spinning("vla_evaluate") as node, ProcessGroup() as group:
                trials = trials_of(group, node, interrupt)
                try:
                    trials.start(commands, environment, logs / str(len(ended)))
                    trials.watch.count_from_now()
                    for episode in plan[len(records) :]:  # what is done stays done
                        records.append(trials.undisturbed(episode))
                        on_record(records[-1])
                except Failed as failed:
                    ended.append("; ".join([str(failed), *trials.deaths]))
                    print(ended[-1], file=sys.stderr, flush=True)
                rates = trials.watch.average_rates()
    problem = ended[-1] if len(records) < len(plan) else ""
    rounded = {name: round(rate, 2) for name, rate in rates.items()}
    return records, {"problem": problem, "started_again": ended, "rates_hz": rounded}


def _trials(robot: str) -> type[Trials]:
    if robot == "arm":
        from vla_ros.bench.evaluate_arm_nodes import ArmTrials

        return ArmTrials
    return Trials
