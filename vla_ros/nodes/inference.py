"""inference: one worker thread runs the policy on the newest observation.

The executor never waits for it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from std_srvs.srv import SetBool, Trigger

from vla_ros.core.blending import ChunkBlender
from vla_ros.core.cadence import Cadence, SentChunk
from vla_ros.core.history import earlier, keep
from vla_ros.core.policy_file import PolicyFile, chosen_policy
from vla_ros.core.robot import load_robot
from vla_ros.core.step_words import NOT_UNDERSTOOD
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.chunk_client import ChunkClient
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.jetson import board_values
from vla_ros.nodes.common.qos import IMAGES, LATEST, REPORTS
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.common.worker import Worker
from vla_ros.policies import file_options, file_spec, make_policy, policy_class
from vla_ros.policies.base import NotUnderstood, Policy, Rows
from vla_ros.policies.constant import parse_target
from vla_ros.policies.numbers import Numbers
from vla_ros.policies.views import Views
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Observation as ObservationMessage
from vla_ros_msgs.msg import SafetyReport

# The roles; a second engine for the same policy would be another.
POLICY = "policy"
FALLBACK = "fallback policy"
# A hung worker keeps its policy's memory, and maybe a core, for good: with so many of them only the
# process' end helps.
MAX_HUNG_WORKERS = 3
# A report of the gate: 64 channels and a sentence have 2 kB; a larger one is none.
REPORT_BYTES = 1 << 14
# So many answers' rows are kept, to be continued: of the newest chunks the gate executes one.
MOST_ANSWERS = 16
MOVING = (SafetyReport.PASSED, SafetyReport.LIMITED)


@dataclass(frozen=True)
class Letter:
    """An observation to answer.

    Attributes:
        arrived: When it did, steady ns.
        message: The observation.
        before: Those before it with their stamps, newest last, for a policy with a history.
        period: Since the one before it, ns.
    """

    arrived: int
    message: ObservationMessage
    before: tuple[tuple[int, ObservationMessage], ...] = ()
    period: int = 0


@dataclass(frozen=True)
class Answer:
    """What the policy gave (T x C, in its units), and the robot's observation it was for."""

    rows: Rows
    observation: Observation
    role: str


class Inference(ManagedNode):
    """Runs the policy on the newest observation, in a worker thread.

    Subscribed topics:
        observation (vla_ros_msgs/Observation): the newest counts.
        safety_report (vla_ros_msgs/SafetyReport): which rows the gate executed.

    Published topics:
        action_chunk (vla_ros_msgs/ActionChunk): what the policy wants the robot to do next.

    Services:
        ~/reset_policy (std_srvs/Trigger): the policy forgets; one that hangs is replaced.
        ~/switch_to_fallback (std_srvs/SetBool): true for the fallback policy, false for the policy.

    Clients:
        the policy file's `service` (vla_ros_msgs/GetActionChunk): of the policy ros_service.

    Parameters:
        `inference` in nodes/node_parameters.py.

    Faults:
        action: the policy raised, gave no valid chunk, hangs (`predict_timeout`), or could not be
            loaded.
        communication: its server or its service is gone, or does not answer.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("inference", **options)
        self._voice = threading.RLock()  # held while a worker speaks, and while it is silenced
        self._worker: Worker[Letter] | None = None
        self._left: list[Worker[Letter]] = []  # silenced, maybe still at work
        self._idle: dict[str, Policy] = {}  # role -> loaded, and nobody's
        self._choices: dict[str, PolicyFile] = {}  # role -> which policy, and how
        self._views: dict[str, Views] = {}  # role -> what it wants, and through which cameras
        self._numbers: dict[str, Numbers] = {}  # role -> how its numbers are the robot's
        self._role = POLICY
        self._sequence = 0
        self._said = ""
        self._spoken: set[str] = set()  # the policy's sentences since the words came
        self._cold: list[Policy] = []  # made without a warm-up: their first answer is it
        self._before: deque[tuple[int, ObservationMessage]] = deque()
        self._seen_stamp = 0  # of the last observation, ns
        # Guarded by `_voice`, as the worker's part is done while it speaks.
        self._cadence = Cadence(())
        self._answers: dict[int, Answer] = {}  # by sequence

    # -- transitions -------------------------------------------------------------------
    def configure(self) -> None:
        self._role = POLICY
        self._idle = {}
        self._views = {}
        chosen = chosen_policy(self.params["policy"], self.params["policy_file"])
        self._choices = {POLICY: chosen}
        self._fit(POLICY)
        robot = load_robot(self.params["robot_file"])
        self._views[POLICY].check(robot.camera_nodes, robot.depth_cameras, robot.clouds)
        if chosen.fallback:
            self._choices[FALLBACK] = chosen.fallback
            self._fit(FALLBACK)
            self._compare()
        self._target = self._checked_target(self.params["target"])
        with self.announcing() as say:
            for role in self._choices:
                self._idle[role] = self._make(role, say)
        self._chunks = self.add_publisher(ActionChunkMessage, "action_chunk", LATEST)
        # Read when it is needed: fifty reports a second shall not wake the executor.
        self._reports = self.add_reader(
            SafetyReport,
            "safety_report",
            REPORTS,
            most_bytes=REPORT_BYTES,
            read=reader_of(SafetyReport),
        )
        read = reader_of(ObservationMessage, writable=True)  # a policy may draw into its image
        self.add_subscription(
            ObservationMessage, "observation", self._on_observation, IMAGES, read=read
        )
        self.add_service(Trigger, "~/reset_policy", self._on_reset_policy)
        self.add_service(SetBool, "~/switch_to_fallback", self._on_switch_to_fallback)
        self.add_timer(0.1, self._watch)

    def apply(self, parameters: dict[str, Any]) -> None:
        self._target = self._checked_target(parameters["target"])

    def activate(self) -> None:
        self._reports.discard()
        self._before.clear()
        self._cadence = Cadence(self._channels)
        self._answers = {}
        self._start(self._role)

    def deactivate(self) -> None:
        if self._worker:
            thread = self._worker.thread
            self._leave_behind()
            # one that ends now gives its policy to the next, and no fresh one is needed
            thread.join(timeout=0.3)
        self._read_reports()
        for sentence in (self._cadence.summary(), self._cadence.verdict()):
            if sentence:
                self.get_logger().info(f"cadence: {sentence}")
                self.notify_operator(f"inference: {sentence}")

    def release(self) -> None:
        self._idle.clear()
        self._cold.clear()
        for worker in self._left:
            worker.role = ""  # its policy is nobody's choice any more
        self._forget()

    def _fit(self, role: str) -> None:
        """The policy to the robot and its cameras. Raises ValueError where they do not fit."""
        choice = self._choices[role]
        name = choice.policy
        spec = file_spec(choice)
        wants_engine = (choice.engine, choice.precision) != ("auto", "auto")
        if wants_engine and not getattr(policy_class(name), "ON_ENGINES", False):
            raise ValueError(
                f"{role} '{name}' runs on no engine; take engine and precision out of its policy "
                "file"
            )
        robot = load_robot(self.params["robot_file"])
        self._channels = robot.channels
        try:
            numbers = Numbers(spec, choice, robot)
        except ValueError as error:
            raise ValueError(f"{role} '{name}' {error}") from None
        if halved := robot.halved(numbers.channels):  # the gate would hold each of its actions
            raise ValueError(
                f"{role} '{name}' commands {', '.join(numbers.channels)}, but not '{halved[1]}'; "
                f"{halved[0].topic} takes all of its channels or none"
            )
        self._numbers[role] = numbers
        self._views[role] = Views(spec, choice.images, self._views.get(POLICY))

    def _checked_target(self, text: str) -> Mapping[str, float]:
        """What the policy is to aim at, channel -> value. Raises ValueError where it cannot."""
        target = parse_target(text)
        name = self._choices[POLICY].policy
        channels = self._views[POLICY].spec.channels
        if target and not hasattr(policy_class(name), "aim"):
            raise ValueError(f"parameter 'target' is for the policy constant; this is '{name}'")
        for channel in target:
            if channel not in channels:
                raise ValueError(
                    f"parameter 'target' holds '{channel}'; the policy commands "
                    f"{', '.join(channels)}"
                )
        return target

    def _compare(self) -> None:
        """Both see the same frames. Raises ValueError."""
        views = self._views[POLICY]
        others = self._views[FALLBACK]
        if not others.within(views):
            policy = self._choices[POLICY].policy
            fallback = self._choices[FALLBACK].policy
            raise ValueError(
                f"fallback policy '{fallback}' looks through {others}, but policy '{policy}' "
                f"through {views}; give a fallback that wants the same (images of its policy file)"
            )

    def _make(self, role: str, say: Callable[[str], None]) -> Policy:
        """Loaded and warm. `say` hears what takes long."""
        choice = self._choices[role]
        engine = {
            "engine": choice.engine,
            "precision": choice.precision,
            "engine_fallbacks": self.params["engine_fallbacks"],
            "engine_cache": self.params["engine_cache"],
        }
        policy = make_policy(choice.policy, file_options(choice), engine, say)
        if connect := getattr(policy, "connect", None):  # one that is a node of its own
            connect(partial(ChunkClient, self))
        for note in getattr(policy, "notes", ()):
            self.get_logger().warning(note)
        blank = self._views[role].spec.blank()
        for _ in range(self.params["warm_up"]):
            try:
                policy.predict(blank)
            except NotUnderstood:
                pass  # it does not know these words; it ran
        policy.reset()
        if not self.params["warm_up"]:
            self._cold.append(policy)
        if runs_on := _described(policy).get("engine"):
            self.get_logger().info(f"{policy.name} runs on {runs_on}")
            self.notify_operator(f"inference: {policy.name} runs on {runs_on}")
        return policy

    # -- workers -----------------------------------------------------------------------
    def _start(self, role: str) -> None:
        # The worker's own: what one that is left behind meant never mixes with what the next one
        # wants.
        blender = ChunkBlender(
            self.params["chunk_blending"], to_nanoseconds(self.params["blend_time"]), self._channels
        )
        self._worker = Worker(role, self._obtain, partial(self._answer, blender), self._failed)

    def _obtain(self, worker: Worker[Letter]) -> Policy:
        """In the worker's thread: a policy that nobody uses, or a fresh one.

        Or one that a worker is about to give back; never one that hangs.
        """
        if policy := self._idle.pop(worker.role, None):
            return policy
        with self._voice:
            before = [left for left in self._left if left.role == worker.role and not left.hung]
        for left in before:
            left.thread.join(timeout=self.params["predict_timeout"])
            if not left.thread.is_alive() and left.policy:
                policy = left.policy
                left.policy = None
                return policy
        return self._make(worker.role, self.get_logger().info)

    def _leave_behind(self) -> None:
        """Silences the worker; whatever it does from now on, nobody hears it."""
        with self._voice:
            worker = self._worker
            self._worker = None
            assert worker is not None
            worker.close()
            worker.hung = (
                worker.overdue(time.monotonic_ns(), to_nanoseconds(self.params["predict_timeout"]))
                > 0
            )
            self._left.append(worker)
        if self._hung() >= MAX_HUNG_WORKERS:
            sentence = (
                f"{self._hung()} workers hang in their policies and hold on to its memory; "
                "the process ends, to be started again"
            )
            self.get_logger().fatal(sentence)
            self.notify_operator(f"inference: {sentence}")
            self._end_process()

    def _forget(self) -> None:
        """Workers that ended, unless their policy is good for the next."""
        with self._voice:
            for worker in list(self._left):
                good = worker.policy and worker.role and not worker.hung
                if not worker.thread.is_alive() and not good:
                    self._left.remove(worker)

    def _hung(self) -> int:
        return sum(worker.hung and worker.thread.is_alive() for worker in self._left)

    @staticmethod
    def _end_process() -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # run() ends it within 2 s, whatever the threads do

    def _replace(self, role: str) -> None:
        self._role = role
        if self._worker:
            self._leave_behind()
            self._start_over()
            self._start(role)

    def _start_over(self) -> None:
        """Nothing of what was planned is continued, or waited for."""
        with self._voice:
            self._answers.clear()
            self._cadence.start_over()

    def _watch(self) -> None:
        self._read_reports()
        self._forget()
        worker = self._worker
        now = time.monotonic_ns()
        spent = worker.overdue(now, to_nanoseconds(self.params["predict_timeout"])) if worker else 0
        if worker and spent:
            self.problem = (
                f"{worker.role} '{worker.name}' has been at work for {spent / 1e9:.1f} s; "
                f"{self.params['predict_timeout']:g} s are allowed (predict_timeout)"
            )
            self.report_fault("action", self.problem)
        elif worker and worker.useless:
            self.report_fault("action", self.problem or f"{worker.role} could not be loaded")

    # -- services ----------------------------------------------------------------------
    def _on_reset_policy(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        worker = self._worker
        if not self.active or worker is None:
            response.success = False
            response.message = f"inference is {self.state}, not active"
        elif self._works(worker):
            worker.reset_wanted = True  # by the thread that predicts: a policy is nobody else's
            response.success = True
            response.message = f"{worker.role} '{worker.name}' is reset before it goes on"
        else:
            self._replace(worker.role)
            response.success = True
            response.message = f"{worker.role} hung; a fresh one is made"
        self.get_logger().info(f"reset_policy: {response.message}")
        return response

    def _on_switch_to_fallback(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        role = FALLBACK if request.data else POLICY
        response.success = False
        if role not in self._choices:
            response.message = "no fallback policy is configured ('fallback' in the policy file)"
        elif role == self._role:
            response.message = f"{role} '{self._choices[role].policy}' runs already"
        else:
            self._replace(role)
            response.success = True
            response.message = f"{role} '{self._choices[role].policy}' runs from now on"
            self.notify_operator(f"inference: {response.message}")
        self.get_logger().info(f"switch_to_fallback: {response.message}")
        return response

    def _works(self, worker: Worker[Letter]) -> bool:
        overdue = worker.overdue(
            time.monotonic_ns(), to_nanoseconds(self.params["predict_timeout"])
        )
        return worker.policy is not None and worker.thread.is_alive() and not overdue

    # -- an observation comes, a chunk goes --------------------------------------------
    def _on_observation(self, message: ObservationMessage) -> None:
        now = time.monotonic_ns()
        self.stats.tick("observation", now)
        letter = self._letter(now, message)
        worker = self._worker
        if worker is None or not self._is_wanted(worker, letter):
            return
        if worker.put(letter):
            self.stats.drop("observation replaced by a newer one")
        time.sleep(0)  # gives the worker the interpreter now, not after the executor's housekeeping

    def _letter(self, now: int, message: ObservationMessage) -> Letter:
        spec = self._views[self._role].spec
        stamp = convert.stamp_ns(message.header.stamp)
        before = tuple(self._before)
        if spec.history > 1:
            spacing = spec.history_spacing or spec.step
            keep(self._before, stamp, message, spec.history, spacing)
        period = max(0, stamp - self._seen_stamp)
        self._seen_stamp = stamp
        return Letter(now, message, before, period)

    def _is_wanted(self, worker: Worker[Letter], letter: Letter) -> bool:
        """Whether it is to be answered: what the robot does may be planned for a while."""
        horizon = self._choices[worker.role].horizon
        if not horizon or worker.reset_wanted:
            return True
        self._read_reports()
        stamp = convert.stamp_ns(letter.message.header.stamp)
        instruction_id = letter.message.instruction.instruction_id
        with self._voice:
            return self._cadence.wanted(horizon, instruction_id, stamp, letter.period, self.now())

    def _read_reports(self) -> None:
        """What the gate executed since the last time."""
        with self._voice:  # the worker reads them, too: one at a time, in their order
            for report in self._reports.take():
                moves = report.state == SafetyReport.ACTIVE and report.verdict in MOVING
                stamp = convert.stamp_ns(report.header.stamp)
                self._cadence.report(report.sequence, stamp, moves, report.rule)

    def _with_history(
        self, worker: Worker[Letter], seen: Observation, letter: Letter
    ) -> Observation:
        """The observation with those before it. Raises ValueError where they are missing."""
        views = self._views[worker.role]
        spec = views.spec
        if spec.history == 1:
            return seen
        stamps = [stamp for stamp, _ in letter.before]
        spacing = spec.history_spacing or spec.step
        missing = self._choices[worker.role].history.missing
        history: list[Observation] = []
        for index in earlier(stamps, seen.stamp, spec.history, spacing, missing):
            if index is None:
                history.append(seen)
            else:
                before = convert.observation(letter.before[index][1])
                history.append(views.fit(self._numbers[worker.role].state(before)))
        return replace(seen, history=tuple(history))

    def _with_prefix(
        self, worker: Worker[Letter], seen: Observation, observation: Observation
    ) -> Observation:
        """The observation with what is left of the chunk that the gate executes, or is to."""
        if not self._views[worker.role].spec.takes_prefix:
            return seen
        self._read_reports()
        with self._voice:
            now = self.now()
            planned = self._cadence.planned(now)
            if planned is None or self._cadence.executing(now) is None:
                return seen
            answer = self._answers.get(planned.chunk.sequence)
            delay = self._cadence.expected_delay()
        if answer is None or answer.role != worker.role:
            return seen
        if answer.observation.instruction.instruction_id != observation.instruction.instruction_id:
            return seen
        prefix = self._numbers[worker.role].prefix(
            answer.rows, answer.observation, observation, delay
        )
        return replace(seen, prefix=prefix)

    def _answer(self, blender: ChunkBlender, worker: Worker[Letter], letter: Letter) -> None:
        """In the worker's thread. What raises here is the policy's fault."""
        began = time.monotonic_ns()
        message = letter.message
        policy = worker.policy
        if policy is None:
            return  # it could not be loaded, and that was reported
        if not self._is_wanted(worker, letter):
            return  # the chunk that was computed meanwhile lasts longer
        views = self._views[worker.role]
        numbers = self._numbers[worker.role]
        try:
            observation = convert.observation(message)
        except ValueError as error:
            self.reject("bad observation", error)
            return
        if observation.instruction.instruction_id != worker.instruction_id:
            worker.instruction_id = observation.instruction.instruction_id
            worker.reset_wanted = True
            self._said = ""  # what is wrong is said again, to whoever spoke
            self._spoken.clear()
        if worker.reset_wanted:
            self._start_over()
        try:
            seen = views.fit(numbers.state(observation))
            seen = self._with_history(worker, seen, letter)
            seen = self._with_prefix(worker, seen, observation)
        except ValueError as error:
            self._while_heard(worker, partial(self._say, error, "inference: "))
            return
        choice = self._choices[worker.role]
        if choice.prompt:
            words = choice.prompted(observation.instruction.text)
            seen = replace(seen, instruction=replace(seen.instruction, text=words))
        if worker.reset_wanted:
            worker.reset_wanted = False
            policy.reset()
            blender.reset()
        if aim := getattr(policy, "aim", None):
            aim(self._target)
        cold = policy in self._cold
        if cold:
            self._cold.remove(policy)
        try:
            rows = policy.predict(seen)
        except NotUnderstood as error:
            self._while_heard(worker, partial(self._say, error))
            return
        if announcements := getattr(policy, "announcements", ()):
            self._while_heard(worker, partial(self._announce, tuple(announcements)))
        if warnings := getattr(policy, "warnings", ()):
            self._while_heard(worker, partial(self._warn, tuple(warnings)))
        try:
            chunk = numbers.chunk(rows, observation, policy.name)
        except ValueError as error:  # a joint is not measured: the robot holds
            self._while_heard(worker, partial(self._say, error, "inference: "))
            return
        rows_sent = len(chunk.values)
        chunk = blender.blend(numbers.resampled(chunk, observation), self.now())
        took = None if cold else time.monotonic_ns() - began
        sent = SentChunk(chunk, rows_sent, views.spec.step)
        # A copy only where it is kept: the policy may use its array again.
        kept = np.array(rows) if views.spec.takes_prefix else rows
        answer = Answer(kept, observation, worker.role)
        self._while_heard(worker, partial(self._speak, sent, letter.arrived, took, answer))

    def _while_heard(self, worker: Worker[Letter], speak: Callable[[], None]) -> None:
        with self._voice:
            if not worker.closed:
                speak()

    def _speak(self, sent: SentChunk, arrived: int, took: int | None, answer: Answer) -> None:
        done = time.monotonic_ns()
        chunk = replace(
            sent.chunk, sequence=self._sequence + 1, latency=done - arrived, process=self._life
        )
        self._chunks.publish(convert.chunk_message(chunk))
        self._sequence += 1
        self.problem = ""
        self.stats.tick("action_chunk", done)
        if took is not None:
            self.stats.latency(done - arrived)
        self._cadence.sent(replace(sent, chunk=chunk), took, self.now() - chunk.stamp)
        if self._views[answer.role].spec.takes_prefix:
            self._answers[chunk.sequence] = answer
            while len(self._answers) > MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]

    def _warn(self, sentences: tuple[str, ...]) -> None:
        """To the operator, each once an instruction: the policy goes on."""
        for sentence in sentences:
            if sentence not in self._spoken:
                self._spoken.add(sentence)
                self.get_logger().warning(sentence)
                self.notify_operator(f"inference: {sentence}")

    def _announce(self, sentences: tuple[str, ...]) -> None:
        """To the operator, each once an instruction: what the policy does next."""
        for sentence in sentences:
            if sentence not in self._spoken:
                self._spoken.add(sentence)
                self.get_logger().info(sentence)
                self.notify_operator(sentence)

    def _say(self, error: ValueError, what: str = NOT_UNDERSTOOD) -> None:
        """To the operator, once an instruction.

        Words that are not known are no fault: nothing is to be mended. Nor are cameras that the
        policy does not look through, or numbers that are not measured: the robot holds until they
        are there.
        """
        self.problem = str(error)
        self._cadence.refused()
        self.stats.drop("the policy refused")
        if self.problem != self._said:
            self._said = self.problem
            self.notify_operator(f"{what}{error}")

    def _failed(self, worker: Worker[Letter], error: BaseException) -> None:
        """The policy raised, or gave what are no rows."""
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))

        def report() -> None:
            self.problem = f"{worker.role} '{worker.name}' failed: {type(error).__name__}: {error}"
            self.stats.drop(f"exception {type(error).__name__}")
            self.get_logger().error(f"{self.problem}\n{trace}", throttle_duration_sec=1.0)
            # A policy on a server that is gone is not cured by a reset.
            if isinstance(error, ConnectionError):
                self.report_fault("communication", self.problem[:500])
            else:
                self.report_fault("action", self.problem[:500])

        self._while_heard(worker, report)

    def diagnose(self) -> dict[str, str]:
        worker = self._worker
        engine = _described(worker.policy) if worker else {}
        return {
            "policy": worker.name if worker else "none",
            "role": self._role,
            "hung workers left": str(self._hung()),
            **self._cadence.values(),
            **engine,
            **board_values(),
        }


def _described(policy: Policy | None) -> dict[str, str]:
    """What a policy has to say of itself, as the engine that it runs on."""
    found: dict[str, str] = getattr(policy, "describe", dict)()
    return found


def main() -> None:
    run(Inference)


if __name__ == "__main__":
    main()
