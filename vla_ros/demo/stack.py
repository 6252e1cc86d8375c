"""The simulated robot and the suite as they run: started, armed, spoken to.

For `vla demo` and `vla evaluate`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.srv import GetState
from rclpy.node import Node

from vla_ros.demo.monitor import Monitor
from vla_ros.demo.view import LiveView, PlainView, Status
from vla_ros.nodes.node_parameters import ONLOOKER_NODES
from vla_ros.operator import session
from vla_ros.operator.client import Operator
from vla_ros.operator.processes import ProcessGroup

CAMERA_TOPIC = "/camera/image_raw"  # the simulated robot's
NAMESPACE = "/vla"
SIMULATOR = "simulator"
CONSOLE = "console"
# until everything runs; the first start of a slow machine compiles and warms up
START_SECONDS = 180.0
REFUSED_S = 20.0  # that a node may refuse to be configured: what it waits for may still come
ANSWER_SECONDS = 2.0  # until a question is asked again
POLL_SECONDS = 0.05  # between two looks at how it goes
View = LiveView | PlainView


class Failed(Exception):
    """It cannot go on; the message says why."""


class NodeStates:
    """Asks the nodes for their lifecycle state, without waiting for answers."""

    def __init__(self, node: Node, names: Iterable[str]) -> None:
        self.labels = dict.fromkeys(names, "starting")
        self._clients = {}
        for name in self.labels:
            self._clients[name] = node.create_client(GetState, f"{NAMESPACE}/{name}/get_state")
        self._asked: dict[str, tuple[float, Any]] = {}  # steady s, and the answer to come

    def ask(self) -> None:
        """Take the answers that came, and ask again those that gave one or are late."""
        now = time.monotonic()
        for name, client in self._clients.items():
            at, future = self._asked.get(name, (-math.inf, None))
            if future is not None and future.done():
                self.labels[name] = future.result().current_state.label
            elif now - at < ANSWER_SECONDS:
                continue
            elif future is not None:
                # an answer can be lost: a process died, or had not found us yet
                client.remove_pending_request(future)
            if client.service_is_ready():
                self._asked[name] = now, client.call_async(GetState.Request())

    def all_active(self) -> bool:
        """Whether every node said so."""
        return set(self.labels.values()) == {"active"}


class DemoSuite:
    """The processes, the operator that talks to them, and what is seen of them.

    Everything that waits goes through `wait`: it keeps the view alive and the processes running.
    """

    pose_of = ""  # what of the robot its pose is; empty: the robot itself

    def __init__(
        self,
        group: ProcessGroup,
        node: Node,
        watch: Monitor,
        view: View,
        interrupt: session.Interrupt,
    ) -> None:
        self.watch = watch
        self.track = watch.track
        self.deaths: list[str] = []  # of processes, and their returns
        self.operator = Operator(node, NAMESPACE)
        self._node = node
        self.states = NodeStates(node, ())  # none is started yet
        self._group = group
        self._view = view
        self._interrupt = interrupt
        self._phase = "starting"
        self._introduced = False

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether `condition` came true within `seconds`.

        Raises:
            Failed: The simulator ended.
            KeyboardInterrupt: A signal came.
        """
        end = time.monotonic() + seconds
        while True:
            self._interrupt.check()
            for line in self._group.poll():
                self.deaths.append(line)
                self._view.say(f"  {line}", "yellow")
            self._introduce()
            if self._group.returncode(SIMULATOR) is not None:
                # not started again: it would be another world
                raise Failed(f"the {self.deaths[-1]}; see its log")
            if condition():
                return True
            if time.monotonic() >= end:
                return False
            self._view.show(self.status)
            time.sleep(POLL_SECONDS)

    def status(self) -> Status:
        """What the view shows now."""
        watch = self.watch
        pose = watch.pose
        recent = self.track.latencies[-300:]  # of the last ten seconds or so
        latency = None
        if recent:
            p50, p95 = np.percentile(recent, (50, 95))
            latency = (float(p50), float(p95))
        starting = self._phase == "starting"
        return Status(
            self._phase,
            watch.moment(),
            rates={name: watch.hertz(name) for name in watch.rates},
            latency=latency,
            pose=(pose.x, pose.y, math.degrees(pose.yaw)) if pose else None,
            pose_of=self.pose_of,
            nodes=dict(self.states.labels) if starting else {},
        )

    def start(
        self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path
    ) -> None:
        """Start the processes, and wait until the nodes are active and the robot is seen.

        Args:
            commands: Name -> argv.
            environment: Of the processes.
            logs: A folder, which gets a file for each of them.

        Raises:
            Failed: They were not up in time, or one refuses; the sentence says which and why.
        """
        logs.mkdir(parents=True, exist_ok=True)
        # The supervisor has no lifecycle that another leads, and nobody waits for who looks on.
        not_led = (SIMULATOR, CONSOLE, "supervisor", *ONLOOKER_NODES)
        led = [name for name in commands if name not in not_led]
        self.states = NodeStates(self._node, led)
        for name, command in commands.items():
            self._interrupt.check()
            self._group.start(
                name,
                command,
                env=environment,
                log_path=logs / f"{name}.log",
                respawn=name != SIMULATOR,
            )
        self._view.say(f"started {len(commands)} processes; what they say is in {logs}")

        refusals: dict[str, float] = {}  # a node's sentence -> when it came, steady s

        def up() -> bool:
            self.states.ask()
            self._heed_refusals(refusals)
            return (
                self.states.all_active() and self.watch.pose is not None and self.operator.heard()
            )

        if not self.wait(up, START_SECONDS):
            missing = []
            for name, label in self.states.labels.items():
                if label != "active":
                    missing.append(f"{name} is {label}")
            if self.watch.pose is None:
                missing.append("the simulator publishes nothing on /sim/objects")
            raise Failed(
                f"the suite was not up after {START_SECONDS:g} s: "
                f"{', '.join(missing) or 'no one listens'}; see {logs}"
            )
        self._view.say("all nodes are active", "green")

    def _heed_refusals(self, told: dict[str, float]) -> None:
        """Say why nodes could not be configured.

        Raises:
            Failed: One says the same for REFUSED_S: nothing will come of more waiting.
        """
        for sentence in list(self.watch.feedback):
            name, refused, _ = sentence.partition(" could not be configured: ")
            if refused and sentence not in told:
                told[sentence] = time.monotonic()
                self._view.say(f"  {sentence}", "yellow")
            waits = refused and self.states.labels.get(name) == "unconfigured"
            if waits and time.monotonic() - told[sentence] > REFUSED_S:
                raise Failed(sentence)

    def _introduce(self) -> None:
        """Say which policy drives, and on what, as soon as inference does."""
        policy = self.inference().get("policy", "none")
        engine = self.inference().get("engine")
        if policy in ("", "none") or self._introduced:
            return
        self._introduced = True
        self._view.say(f"{policy} drives, on {engine}" if engine else f"{policy} drives")

    def inference(self) -> dict[str, str]:
        """What inference last said of itself: `policy`, and its `engine` where it has one."""
        return self.watch.diagnostics.get("inference: state", {})

    def arm(self) -> None:
        """Arm the gate; it refuses as long as a source is missing, so it is asked for a while."""
        self._view.say(f"armed: {self._ask('arm', 15.0, ('HOLDING', 'ACTIVE'))}")

    def _ask(self, verb: str, seconds: float, reached: tuple[str, ...]) -> str:
        """What the gate says to arm or reset; raises Failed where it does neither in time.

        An answer can be lost, and the second one be no ("nothing to reset"): so its report counts
        as well, once it is in one of the states `reached`.
        """
        sentence = ""

        def done() -> bool:
            nonlocal sentence
            success, sentence = self.operator.call(verb, 2.0, self.wait)
            if success or self.watch.moment().state in reached:
                return True
            return self.wait(lambda: False, 0.3)  # not at once again

        if not self.wait(done, seconds):
            raise Failed(f"the gate does not {verb}: {sentence}")
        return sentence

    def give(self, words: str) -> str:
        """Say it, and see it accepted; returns what came back instead, or nothing."""
        before = self.watch.instruction.instruction_id if self.watch.instruction else 0
        self.watch.feedback.clear()
        self.operator.say(words)

        def accepted() -> bool:
            instruction = self.watch.instruction
            return instruction is not None and instruction.instruction_id > before

        if self.wait(accepted, 3.0):
            return ""
        reasons = "; ".join(self.watch.feedback) or "nobody said why"
        return f"the instruction was not accepted: {reasons}"
