"""supervisor: brings the nodes up in order, notices the lost ones, walks them back, and says so. Never arms."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_msgs.msg import Header

from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.base import ManagedNode
from vla_ros.nodes.qos import PULSE
from vla_ros.nodes.run import run

# stage -> the transition that brings a node further, its number, and the stage it ends in
NEXT = {"unconfigured": ("configure", Transition.TRANSITION_CONFIGURE, "inactive"),
        "inactive": ("activate", Transition.TRANSITION_ACTIVATE, "active")}
UNHEARD = 1_000_000_000  # ns; a node still in its old stage so long after a request did not hear it
SETTLED = 300_000_000  # ns; heartbeats from before a transition may still be on their way
UNSEEN = 10_000_000_000  # ns; a node that has not been heard from so long after the start is told of
FAULTS = {"camera_ingest": "vision", "command_ingest": "language", "inference": "action",
          "synchronizer": "communication"}


@dataclass
class Managed:
    """What the supervisor knows of one node; times are steady ns."""

    name: str
    client: Any
    stage: str = "unseen"
    life: str = ""  # which process it is
    seen: int = 0
    asked: tuple[str, str, int, Any] | None = None  # verb, the stage it ends in, when, the answer's future
    failures: int = 0
    retry: int = 0
    left_alone: bool = False  # someone took it down by hand
    told: str = ""

    @property
    def hopeless(self) -> bool:
        """The nodes after it need not wait for it."""
        return self.failures > 0 or self.left_alone or self.stage in ("lost", "missing", "finalized")


class Supervisor(ManagedNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor", **options)
        self._managed: dict[str, Managed] = {}
        self._ready = False
        self._started = 0

    def configure(self) -> None:
        self._managed = {}
        self._started = time.monotonic_ns()
        for name in self.p["nodes"]:
            client = self.create_client(ChangeState, f"{name}/change_state")
            self._entities.append((self.destroy_client, client))
            self._managed[name] = Managed(name, client)
        self.listen(Header, "heartbeat", self._on_heartbeat, PULSE)
        self.every(0.05, self._look_after)

    def _on_heartbeat(self, message: Header) -> None:
        name, stage, life = [*message.frame_id.split("/"), "", ""][:3]
        node = self._managed.get(name)
        if node is None:
            return
        now = time.monotonic_ns()
        if life != node.life:
            self._greet(node, life, now)
        elif node.stage == "active" and stage in NEXT and now >= node.retry and not node.asked:
            node.left_alone = True
            self._tell_once(node, f"{name} was taken to {stage} by hand; it stays there until it is activated again")
        if stage == "active":
            node.left_alone, node.failures = False, 0
        if node.stage == "active" and now < node.retry:
            stage = "active"  # a heartbeat from before the transition
        node.seen, node.stage = now, stage
        if stage == "finalized":
            self._tell_once(node, f"{name} was shut down; start its process again")

    def _greet(self, node: Managed, life: str, now: int) -> None:
        """Another process than before, or the first."""
        if node.asked:
            self._failed(node, node.asked[0], now, "ended with the process, which was started again")
        elif node.life:
            node.retry = 0
            self.get_logger().info(f"{node.name} was started again")
        node.life, node.asked, node.left_alone, node.told = life, None, False, ""

    def _look_after(self) -> None:
        if not self.active:
            return
        now = time.monotonic_ns()
        turn = True  # a node's turn comes when all before it are active, or hopeless for now
        for node in self._managed.values():
            self._notice_loss(node, now)
            self._finish(node, now)
            if turn and node.stage in NEXT and not node.left_alone and node.asked is None and now >= node.retry:
                self._ask(node, now)
            turn = turn and (node.stage == "active" or node.hopeless)
        ready = all(node.stage == "active" for node in self._managed.values())
        if ready and not self._ready:
            self.tell("ready: all nodes are active; arm the gate, then give an instruction")
        self._ready = ready
        self.trouble = "" if ready else "not all nodes are active"

    def _notice_loss(self, node: Managed, now: int) -> None:
        silent = now - (node.seen or self._started)
        if not node.seen:
            if silent > UNSEEN and node.stage == "unseen":
                node.stage = "missing"
                self._tell_once(node, f"{node.name} has not been heard from; is its process started?")
            return
        busy = node.asked is not None and node.asked[0] == "configure"  # loading takes its time; _finish waits
        if busy or node.stage == "lost" or silent <= to_nanoseconds(self.p["heartbeat_timeout"]):
            return
        node.stage, node.asked = "lost", None
        kind = FAULTS.get(node.name, "gate")
        sentence = f"{kind} fault: {node.name} was lost, silent for {silent / 1e9:.2f} s; the robot holds"
        self.stats.drop(f"{kind} fault")
        self.get_logger().error(sentence)
        self.tell(sentence)

    def _ask(self, node: Managed, now: int) -> None:
        verb, transition, target = NEXT[node.stage]
        if not node.client.service_is_ready():
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        node.asked = (verb, target, now, node.client.call_async(request))

    def _finish(self, node: Managed, now: int) -> None:
        if node.asked is None:
            return
        verb, target, since, future = node.asked
        answered = future.done() and future.exception() is None
        if (answered and future.result().success) or (node.seen > since and node.stage in (target, "active")):
            node.asked, node.stage, node.retry = None, target, now + SETTLED if target == "active" else 0
            self.get_logger().info(f"{node.name}: {verb} done")
            return
        if future.done():
            self._failed(node, verb, now, "was refused; its log and /diagnostics say why")
        elif node.seen - since > UNHEARD:
            node.client.remove_pending_request(future)
            self._failed(node, verb, now, "was not heard")
        elif now - since > to_nanoseconds(self.p["transition_timeout"]):
            node.client.remove_pending_request(future)
            self._failed(node, verb, now, f"did not end within {self.p['transition_timeout']:g} s")

    def _failed(self, node: Managed, verb: str, now: int, why: str) -> None:
        wait = min(self.p["retry_period"] * 2.0 ** node.failures, self.p["retry_period_max"])
        node.asked = None
        node.failures += 1
        node.retry = now + to_nanoseconds(wait)
        sentence = f"{node.name}: {verb} {why}; next try in {wait:g} s"
        self.get_logger().error(sentence)
        self.tell(sentence)

    def _tell_once(self, node: Managed, sentence: str) -> None:
        if node.told != sentence:
            node.told = sentence
            self.get_logger().warning(sentence)
            self.tell(sentence)

    def diagnose(self) -> dict[str, str]:
        return {name: node.stage for name, node in self._managed.items()}


def main() -> None:
    run(Supervisor, start=True)


if __name__ == "__main__":
    main()
