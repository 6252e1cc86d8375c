"""inference: one worker thread runs the policy on the newest observation.

The executor never waits for it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from std_srvs.srv import SetBool, Trigger

from vla_ros.core.blending import ChunkBlender
from vla_ros.core.policy_file import PolicyFile, chosen_policy
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk, to_nanoseconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.jetson import board_values
from vla_ros.nodes.common.qos import IMAGES, LATEST
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.common.worker import Worker
from vla_ros.policies import make_policy, policy_class, policy_spec
from vla_ros.policies.base import NotUnderstood, Policy
from vla_ros.policies.constant import parse_target
from vla_ros.policies.numbers import Numbers
from vla_ros.policies.views import Views
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Observation as ObservationMessage

# The roles; a second engine for the same policy would be another.
POLICY = "policy"
FALLBACK = "fallback policy"
# A hung worker keeps its policy's memory, and maybe a core, for good: with so many of them only the
# process' end helps.
MAX_HUNG_WORKERS = 3
Letter = tuple[int, ObservationMessage]  # when it arrived (steady ns)


class Inference(ManagedNode):
    """Runs the policy on the newest observation, in a worker thread.

    Subscribed topics:
        observation (vla_ros_msgs/Observation): the newest counts.

    Published topics:
        action_chunk (vla_ros_msgs/ActionChunk): what the policy wants the robot to do next.

    Services:
        ~/reset_policy (std_srvs/Trigger): the policy forgets; one that hangs is replaced.
        ~/switch_to_fallback (std_srvs/SetBool): true for the fallback policy, false for the policy.

    Parameters:
        `inference` in nodes/node_parameters.py.

    Faults:
        action: the policy raised, gave no valid chunk, hangs (`predict_timeout`), or could not be
            loaded.
        communication: its server is gone, or does not answer.
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
        self._warned: set[str] = set()  # what the policy has warned of since the words came

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
        self._start(self._role)

    def deactivate(self) -> None:
        if self._worker:
            thread = self._worker.thread
            self._leave_behind()
            # one that ends now gives its policy to the next, and no fresh one is needed
            thread.join(timeout=0.3)

    def release(self) -> None:
        self._idle.clear()
        for worker in self._left:
            worker.role = ""  # its policy is nobody's choice any more

    def _fit(self, role: str) -> None:
        """The policy to the robot and its cameras. Raises ValueError where they do not fit."""
        choice = self._choices[role]
        name = choice.policy
        spec = policy_spec(name, choice.options)
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
        policy = make_policy(choice.policy, choice.options, engine, say)
        for note in getattr(policy, "notes", ()):
            self.get_logger().warning(note)
        blank = self._views[role].spec.blank()
        for _ in range(self.params["warm_up"]):
            try:
                policy.predict(blank)
            except NotUnderstood:
                pass  # it does not know these words; it ran
        policy.reset()
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
            self._start(role)

    def _watch(self) -> None:
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
        if self._worker and self._worker.put((now, message)):
            self.stats.drop("observation replaced by a newer one")
        time.sleep(0)  # gives the worker the interpreter now, not after the executor's housekeeping

    def _answer(self, blender: ChunkBlender, worker: Worker[Letter], letter: Letter) -> None:
        """In the worker's thread. What raises here is the policy's fault."""
        arrived, message = letter
        policy = worker.policy
        if policy is None:
            return  # it could not be loaded, and that was reported
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
            self._warned.clear()
        try:
            seen = views.fit(numbers.state(observation))
        except ValueError as error:
            self._while_heard(worker, partial(self._say, error, "inference"))
            return
        if worker.reset_wanted:
            worker.reset_wanted = False
            policy.reset()
            blender.reset()
        if aim := getattr(policy, "aim", None):
            aim(self._target)
        try:
            rows = policy.predict(seen)
        except NotUnderstood as error:
            self._while_heard(worker, partial(self._say, error))
            return
        if warnings := getattr(policy, "warnings", ()):
            self._while_heard(worker, partial(self._warn, tuple(warnings)))
        try:
            chunk = numbers.chunk(rows, observation, policy.name)
        except ValueError as error:  # a joint is not measured: the robot holds
            self._while_heard(worker, partial(self._say, error, "inference"))
            return
        chunk = blender.blend(chunk, self.now())
        self._while_heard(worker, partial(self._speak, chunk, arrived))

    def _while_heard(self, worker: Worker[Letter], speak: Callable[[], None]) -> None:
        with self._voice:
            if not worker.closed:
                speak()

    def _speak(self, chunk: ActionChunk, arrived: int) -> None:
        done = time.monotonic_ns()
        self._chunks.publish(
            convert.chunk_message(
                replace(
                    chunk, sequence=self._sequence + 1, latency=done - arrived, process=self._life
                )
            )
        )
        self._sequence += 1
        self.problem = ""
        self.stats.tick("action_chunk", done)
        self.stats.latency(done - arrived)

    def _warn(self, sentences: tuple[str, ...]) -> None:
        """To the operator, each once an instruction: the policy goes on."""
        for sentence in sentences:
            if sentence not in self._warned:
                self._warned.add(sentence)
                self.get_logger().warning(sentence)
                self.notify_operator(f"inference: {sentence}")

    def _say(self, error: ValueError, what: str = "not understood") -> None:
        """To the operator, once an instruction.

        Words that are not known are no fault: nothing is to be mended. Nor are cameras that the
        policy does not look through, or numbers that are not measured: the robot holds until they
        are there.
        """
        self.problem = str(error)
        self.stats.drop("the policy refused")
        if self.problem != self._said:
            self._said = self.problem
            self.notify_operator(f"{what}: {error}")

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
