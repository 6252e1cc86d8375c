"""supervisor: brings the nodes up in order, and walks the lost ones back. Never arms.

What is done about a fault is decided in core/faults.py and carried out in recovery.py.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from vla_ros.core import process_identity as process
from vla_ros.core.faults import STRATEGIES
from vla_ros.core.robot import load_robot
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.camera_nodes import expanded
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.heart import check_heartbeat
from vla_ros.nodes.common.qos import PULSE, STATE
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.node_parameters import NODES
from vla_ros.nodes.supervision.recovery import Recovery
from vla_ros.nodes.supervision.supervised_node import UP, Asked, SupervisedNode
from vla_ros_msgs.msg import Heartbeat, SafetyReport

# A node that is still in its old state so long after a request did not hear it.
REQUEST_UNHEARD_NS = 1_000_000_000
MAX_UNHEARD_REQUESTS = 3  # in a row; then the node's process is ended
# Heartbeats from before a transition may still be on their way: three periods of them.
SETTLING_TIME_NS = 300_000_000
# A node that has not been heard from so long after the start: the operator is told.
FIRST_HEARTBEAT_TIMEOUT_NS = 10_000_000_000
# How long the gate's report is waited for before it is said that all are ready.
REPORT_TIMEOUT_NS = 1_000_000_000
# The supervisor looks twenty times a second: after a longer pause it was away itself.
MAX_PAUSE_NS = 500_000_000
BUSY = (Heartbeat.CONFIGURING, Heartbeat.BUILDING)  # loading or building an engine

GATE = NODES[0]
NEXT = {  # what a person does next, by the gate's state
    None: "; arm the gate where it is disarmed, then give an instruction",
    SafetyReport.DISARMED: "; arm the gate, then give an instruction",
    SafetyReport.HOLDING: "; the gate is armed and HOLDING; {give}",
    SafetyReport.ACTIVE: "; the gate is ACTIVE, the robot may move",
    SafetyReport.STOPPED: "; the gate is STOPPED; reset it, arm it, then give an instruction",
}


def kind_of(name: str, entries: list[str]) -> str:
    """The kind of fault of node `name`: the first entry `beginning=kind` that fits.

    Empty: none does. Raises ValueError for an entry that is none.
    """
    for entry in entries:
        beginning, _, kind = entry.partition("=")
        if not beginning or kind not in STRATEGIES:
            raise ValueError(
                f"parameter 'kinds' holds '{entry}'; give entries like camera=vision, with one of "
                f"{', '.join(STRATEGIES)}"
            )
        if name.startswith(beginning):
            return kind
    return ""


class Supervisor(ManagedNode):
    """Brings the nodes up in order, notices the lost ones and recovers faults. Never arms.

    Subscribed topics:
        heartbeat (vla_ros_msgs/Heartbeat): of each of `nodes`.
        fault (vla_ros_msgs/Fault): what the nodes report.
        safety_report (vla_ros_msgs/SafetyReport): the gate's state, to tell the operator.

    Published topics:
        halt (vla_ros_msgs/Halt): whether the robot is halted, and why. Latched.

    Clients:
        NODE/change_state (lifecycle_msgs/ChangeState): for each NODE of `nodes`.
        inference/reset_policy (std_srvs/Trigger): of the node whose faults are of kind action.
        inference/switch_to_fallback (std_srvs/SetBool): likewise.

    Parameters:
        `supervisor` in nodes/node_parameters.py.

    Faults:
        none; it acts on the others' (core/faults.py), and on nodes that are lost.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor", **options)
        self._managed: dict[str, SupervisedNode] = {}
        self._recovery: Recovery | None = None
        self._ready = False
        self._away: set[str] = set()  # nodes that were not active since all were
        self._complete = 0  # since when all are active
        self._started = self._looked = 0
        self._leaving = False  # this process ends

    def configure(self) -> None:
        self._managed = {}
        self._ready = False
        self._away = set()
        self._started = time.monotonic_ns()
        names = self.params["nodes"]
        if self.params["robot_file"]:
            names = expanded(names, load_robot(self.params["robot_file"]), self.params["cameras"])
        for name in names:
            client = self.add_client(ChangeState, f"{name}/change_state")
            self._managed[name] = SupervisedNode(name, kind_of(name, self.params["kinds"]), client)
        self._recovery = Recovery(self, self._managed)
        self._reports = self.add_reader(SafetyReport, "safety_report", STATE)
        read = reader_of(Heartbeat)
        self.add_subscription(Heartbeat, "heartbeat", self._on_heartbeat, PULSE, read=read)
        self.add_timer(0.05, self._look_after)

    def activate(self) -> None:
        self._looked = self._looked or time.monotonic_ns()

    def deactivate(self) -> None:
        assert self._recovery is not None
        self._recovery.abandon()

    def release(self) -> None:
        self._looked = 0

    # -- what is heard -----------------------------------------------------------------
    def _on_heartbeat(self, message: Heartbeat) -> None:
        try:
            check_heartbeat(message)
        except ValueError as error:
            self.reject("bad heartbeat", error)
            return
        name = message.node
        state = message.state
        life = message.process
        node = self._managed.get(name)
        if node is None:
            return
        now = time.monotonic_ns()
        known = life == node.life
        if not known:
            self._greet(node, life, now)
        elif node.active and state in UP and now >= node.settled and not node.asked:
            node.left_alone = True
            self._tell_once(
                node,
                f"{name} was taken to {state} by hand; it stays there until it is activated again",
            )
        if state == "active":
            node.left_alone = False
            node.given_up = node.given_up and not known
            node.failures = 0
        node.beat(state, now)
        if state == "finalized":
            self._tell_once(node, f"{name} was shut down; start its process again")

    def _greet(self, node: SupervisedNode, life: str, now: int) -> None:
        """Another process than before, or the first."""
        assert self._recovery is not None
        if not node.life:
            node.life = life
            return
        if node.asked:
            self._failed(
                node, node.asked.verb, now, "ended with the process, which was started again"
            )
        else:
            node.retry = 0
            self.get_logger().info(f"{node.name} was started again")
        if node.state != "lost":
            self._recovery.report(node, f"{node.name}'s process ended and was started again", now)
        times = node.come_back(life, now)
        # the heartbeat says which in a moment
        node.state = "unconfigured"
        node.settled = 0
        node.given_up = times > self.params["respawns_a_minute"]
        if node.given_up:
            sentence = (
                f"{node.name} was started again {times} times within a minute; it is left down"
            )
            self._recovery.give_up(node, sentence, now)
            self._tell_once(node, sentence)

    # -- what is done ------------------------------------------------------------------
    def _look_after(self) -> None:
        if not self.active or self._leaving:
            return
        assert self._recovery is not None
        now = time.monotonic_ns()
        if now - self._looked > MAX_PAUSE_NS:
            for node in self._managed.values():
                node.forgive(now - self._looked, now)
        self._looked = now
        turn = True  # a node's turn comes when all before it are active, or hopeless for now
        for node in self._managed.values():
            self._notice_loss(node, now)
            self._finish(node, now)
            due = node.asked is None and now >= node.retry and not self._waits(node)
            if node.way and (turn or node.down) and due:
                self._ask(node, node.way, now)
            turn = turn and (node.state == "active" or node.hopeless)
        self._notice_ready(now)
        self._recovery.look(now)
        self.problem = self._recovery.faults.halt or (
            "" if self._ready else "not all nodes are active"
        )

    def _notice_ready(self, now: int) -> None:
        assert self._recovery is not None
        away = {name for name, node in self._managed.items() if not node.active}
        if away:
            self._ready = False
            self._away |= away
        if self._ready:
            return
        reports = [*self._reports.take()]  # none is left from before
        if away:
            self._complete = 0
            return
        self._complete = self._complete or now
        if not reports and GATE in self._managed and now - self._complete < REPORT_TIMEOUT_NS:
            return
        self._ready = True
        again = self._recovery.awake
        names = ", ".join(name for name in self._managed if name in self._away)
        who = f"ready again: {names} came back" if again else "ready: all nodes are active"
        what = NEXT.get(reports[-1].state if reports else None, NEXT[None])
        give = "give the instruction again" if again else "give an instruction"
        self.notify_operator(f"{who}{what.format(give=give)}")
        self._recovery.awake = True
        self._away = set()

    def _notice_loss(self, node: SupervisedNode, now: int) -> None:
        silent = now - (node.seen or self._started)
        if not node.seen:
            if silent > FIRST_HEARTBEAT_TIMEOUT_NS and node.state == "unseen":
                node.state = "missing"
                self._tell_once(
                    node, f"{node.name} has not been heard from; is its process started?"
                )
            return
        if node.state == "lost":
            self._end_hung(node, silent)
            return
        # loading takes its time; _finish waits
        busy = node.asked is not None and node.asked.verb == "configure"
        if busy or silent <= to_nanoseconds(self.params["heartbeat_timeout"]):
            return
        stops = (
            "the driver's own time-out stops the robot" if node.name == GATE else "the robot holds"
        )
        sentence = (
            f"{node.kind or 'gate'} fault: {node.name} was lost, silent for {silent / 1e9:.2f} s"
            f"{node.lose()}; {stops}"
        )
        self.stats.drop(f"{node.kind or 'gate'} fault")
        self.get_logger().error(sentence)
        self.notify_operator(sentence)

    def _end_hung(self, node: SupervisedNode, silent: int) -> None:
        """Ends a process that lives but does not answer, so that it is started again; once."""
        patience = self.params["hung_after"]
        if node.state_before not in ("active", "inactive"):
            # someone may be configuring it
            patience = max(patience, self.params["transition_timeout"])
        if (
            self.params["hung_after"] == 0.0
            or silent <= to_nanoseconds(patience)
            or node.left_alone
        ):
            return
        state = process.state(node.life)
        if self._ended(node) or state not in (process.ALIVE, process.STOPPED):
            return
        # A loss that came with the supervisor's own absence is the node's fault for certain only
        # where it is stopped.
        if node.missed and state == process.ALIVE and process.PARENT in os.environ:
            self._start_again(node)
            return
        self._end(node, f"hangs: its process lives and has been silent for {silent / 1e9:.1f} s")

    def _start_again(self, node: SupervisedNode) -> None:
        """Ends this process, which may be deaf; whoever looks after it starts it again.

        Seen once, on a busy machine: two nodes were not heard from then on, nor their successors.
        Fast DDS opens a reader's port of shared memory anew where its process stood for a second.
        """
        sentence = (
            f"{node.name} lives, and is silent since the supervisor itself was away; it may be the "
            "supervisor that does not hear: it starts again"
        )
        self.get_logger().error(sentence)
        self.notify_operator(sentence)
        self._leaving = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_deaf(self, node: SupervisedNode) -> None:
        """Ends a process that speaks and never hears.

        One that was killed can leave DDS' shared memory such that its successor is like that.
        """
        node.unheard += 1
        if (
            node.unheard >= MAX_UNHEARD_REQUESTS
            and self.params["hung_after"] > 0.0
            and not self._ended(node)
        ):
            self._end(node, f"speaks, but did not hear {node.unheard} requests")

    def _ended(self, node: SupervisedNode) -> bool:
        """Whether its process was ended already, on account of any of the nodes in it."""
        return any(each.ended == node.life for each in (node, *self._companions(node)))

    def _end(self, node: SupervisedNode, why: str) -> None:
        node.ended = node.life
        if others := ", ".join(other.name for other in self._companions(node)):
            why += f", and {others} with it"
        why_not = process.end(node.life, node.name)
        what = (
            f"but it was not ended: {why_not}"
            if why_not
            else "it was ended (SIGKILL), to be started again"
        )
        self.get_logger().error(f"{node.name} {why}; {what}")
        self.notify_operator(f"{node.name} {why}; {what}")

    def _companions(self, node: SupervisedNode) -> list[SupervisedNode]:
        """The other nodes in its process."""
        others = []
        for other in self._managed.values():
            if other is not node and node.life and other.life == node.life:
                others.append(other)
        return others

    def _waits(self, node: SupervisedNode) -> bool:
        """Whether its process is busy with another node's transition: it takes one at a time."""
        return any(other.asked or other.state in BUSY for other in self._companions(node))

    def _ask(self, node: SupervisedNode, way: tuple[str, int, str], now: int) -> None:
        verb, transition, target = way
        if not node.client.service_is_ready():
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        node.asked = Asked(verb, target, now, node.client.call_async(request))

    def _finish(self, node: SupervisedNode, now: int) -> None:
        if node.asked is None:
            return
        verb = node.asked.verb
        target = node.asked.target
        since = node.asked.since
        future = node.asked.future
        answered = future.done() and future.exception() is None
        there = node.state == target or (node.state == "active" and not node.down)
        if (answered and future.result().success) or (node.seen > since and there):
            node.reach(target, now + SETTLING_TIME_NS)
            node.retry = 0
            self.get_logger().info(f"{node.name}: {verb} done")
            return
        if future.done():
            self._failed(node, verb, now, "was refused; its log and /diagnostics say why")
        elif (
            node.seen - since > REQUEST_UNHEARD_NS
            and node.state not in BUSY
            and not self._waits(node)
        ):
            node.client.remove_pending_request(future)
            self._failed(node, verb, now, "was not heard")
            self._end_deaf(node)
        elif node.state != Heartbeat.BUILDING and now - since > to_nanoseconds(
            self.params["transition_timeout"]
        ):
            node.client.remove_pending_request(future)
            self._failed(
                node, verb, now, f"did not end within {self.params['transition_timeout']:g} s"
            )

    def _failed(self, node: SupervisedNode, verb: str, now: int, why: str) -> None:
        wait = min(
            self.params["retry_period"] * 2.0**node.failures, self.params["retry_period_max"]
        )
        node.asked = None
        node.down = False
        node.failures += 1
        node.broken += 1
        node.retry = now + to_nanoseconds(wait)
        sentence = f"{node.name}: {verb} {why}; next try in {wait:g} s"
        self.get_logger().error(sentence)
        self.notify_operator(sentence)

    def _tell_once(self, node: SupervisedNode, sentence: str) -> None:
        if node.told != sentence:
            node.told = sentence
            self.get_logger().warning(sentence)
            self.notify_operator(sentence)

    def diagnose(self) -> dict[str, str]:
        states = {name: node.state for name, node in self._managed.items()}
        return {**states, **(self._recovery.diagnose() if self._recovery else {})}


def main() -> None:
    run(Supervisor, start=True)


if __name__ == "__main__":
    main()
