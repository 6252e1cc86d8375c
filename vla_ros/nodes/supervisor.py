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
from vla_ros.nodes.qos import EVENTS
from vla_ros.nodes.run import run

NEXT = {"unconfigured": ("configure", Transition.TRANSITION_CONFIGURE),
        "inactive": ("activate", Transition.TRANSITION_ACTIVATE)}
UNHEARD = 1_000_000_000  # ns; a node still in its old stage so long after a request did not hear it
SETTLED = 300_000_000  # ns; heartbeats from before a transition may still be on their way
FAULTS = {"camera_ingest": "vision", "command_ingest": "language", "inference": "action",
          "synchronizer": "communication"}


@dataclass
class Managed:
    """What the supervisor knows of one node; times are steady ns."""

    name: str
    client: Any
    stage: str = "unseen"
    seen: int = 0
    asked: tuple[str, int, Any] | None = None  # transition, when, its future
    failures: int = 0
    retry: int = 0
    lost: bool = False


class Supervisor(ManagedNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor", **options)
        self._managed: dict[str, Managed] = {}
        self._ready = False

    def configure(self) -> None:
        self._managed = {}
        for name in self.p["nodes"]:
            client = self.create_client(ChangeState, f"{name}/change_state")
            self._entities.append((self.destroy_client, client))
            self._managed[name] = Managed(name, client)
        self.listen(Header, "heartbeat", self._on_heartbeat, EVENTS)
        self.every(0.05, self._look_after)

    def _on_heartbeat(self, message: Header) -> None:
        name, _, stage = message.frame_id.partition("/")
        node = self._managed.get(name)
        if node is None:
            return
        node.seen, node.stage = time.monotonic_ns(), stage
        if node.lost:
            node.lost, node.retry = False, 0
            self.get_logger().info(f"{name} answers again ({stage})")

    def _look_after(self) -> None:
        if not self.active:
            return
        now = time.monotonic_ns()
        turn = True  # a node's turn comes when all before it are active, or cannot be for now
        for node in self._managed.values():
            self._notice_loss(node, now)
            self._finish(node, now)
            if turn and node.stage in NEXT and not node.lost and node.asked is None and now >= node.retry:
                self._ask(node, now)
            turn = turn and (node.stage == "active" or node.lost or node.failures > 0)
        ready = all(node.stage == "active" and not node.lost for node in self._managed.values())
        if ready and not self._ready:
            self.tell("ready: all nodes are active; arm the gate, then give an instruction")
        self._ready = ready
        self.trouble = "" if ready else "not all nodes are active"

    def _notice_loss(self, node: Managed, now: int) -> None:
        silent = now - node.seen
        if node.asked:
            return  # a node at work on a transition has no time for heartbeats; _finish waits for it
        if node.seen and not node.lost and silent > to_nanoseconds(self.p["heartbeat_timeout"]):
            node.lost, node.stage = True, "lost"
            kind = FAULTS.get(node.name, "gate")
            sentence = f"{kind} fault: {node.name} was lost, silent for {silent / 1e9:.2f} s; the robot holds"
            self.stats.drop(f"{kind} fault")
            self.get_logger().error(sentence)
            self.tell(sentence)

    def _ask(self, node: Managed, now: int) -> None:
        verb, transition = NEXT[node.stage]
        if not node.client.service_is_ready():
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        node.asked = (verb, now, node.client.call_async(request))

    def _finish(self, node: Managed, now: int) -> None:
        if node.asked is None:
            return
        verb, since, future = node.asked
        if future.done():
            node.asked = None
            if future.exception() is None and future.result().success:
                node.failures = 0
                node.stage = {"configure": "inactive", "activate": "active"}[verb]
                node.retry = now + SETTLED if verb == "activate" else 0
                self.get_logger().info(f"{node.name}: {verb} done")
            else:
                self._failed(node, verb, now, "was refused; its log and /diagnostics say why")
        elif node.seen - since > UNHEARD and node.stage in NEXT and NEXT[node.stage][0] == verb:
            node.client.remove_pending_request(future)
            node.asked = None  # it lives and has not begun: the request was lost; the next turn asks again
            self.stats.drop("request lost")
        elif now - since > to_nanoseconds(self.p["transition_timeout"]):
            node.client.remove_pending_request(future)
            node.asked = None
            self._failed(node, verb, now, f"did not end within {self.p['transition_timeout']:g} s")

    def _failed(self, node: Managed, verb: str, now: int, why: str) -> None:
        wait = min(self.p["retry_period"] * 2.0 ** node.failures, self.p["retry_period_max"])
        node.failures += 1
        node.retry = now + to_nanoseconds(wait)
        sentence = f"{node.name}: {verb} {why}; next try in {wait:g} s"
        self.get_logger().error(sentence)
        self.tell(sentence)

    def diagnose(self) -> dict[str, str]:
        return {name: node.stage for name, node in self._managed.items()}


def main() -> None:
    run(Supervisor, start=True)


if __name__ == "__main__":
    main()
