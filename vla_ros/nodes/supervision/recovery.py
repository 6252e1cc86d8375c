"""Carries out what core/faults.py decides: one step at a time, told to the operator.

Nothing in here can arm.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from std_srvs.srv import SetBool, Trigger

from vla_ros.core.faults import STRATEGIES, Faults, Order
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.qos import EVENTS, LATCHED
from vla_ros.nodes.supervision.supervised_node import SupervisedNode
from vla_ros_msgs.msg import Fault, Halt

ANSWER_TIMEOUT_NS = 5_000_000_000  # how long an answer to a service call may take
LOST_PERIOD_NS = 1_000_000_000  # a lost node is a fault that lasts, reported so often


@dataclass
class UnderWay:
    """A step that is being carried out at node `actor`."""

    order: Order
    actor: SupervisedNode
    since: int
    life: str
    broken: int
    waited: bool = False  # for the node to come back
    taken_down: bool = False
    future: Any = None
    asked: int = 0


class Recovery:
    """`look` often; `report` what happens."""

    def __init__(self, node: ManagedNode, managed: Mapping[str, SupervisedNode]) -> None:
        self._node = node
        self._managed = managed
        strategies = {}
        for kind, strategy in STRATEGIES.items():
            recovery = to_nanoseconds(node.params[f"{kind}_recovery"])
            strategies[kind] = replace(strategy, recovery=recovery)
        strategies["vision"] = strategies["vision"].restarts(node.params["vision_restarts"])
        kinds = {}  # node -> of its faults
        self._policy: SupervisedNode | None = None  # the first that runs one
        for name, supervised in managed.items():
            kinds[name] = supervised.kind
            if supervised.kind == "action" and self._policy is None:
                self._policy = supervised
        self.faults = Faults(kinds, strategies)
        # until all nodes were active once, there is nothing to recover, and nothing can move
        self.awake = False
        self._step: UnderWay | None = None
        self._clients: dict[str, Any] = {}
        if self._policy:
            self._clients = {
                "reset_policy": node.add_client(Trigger, f"{self._policy.name}/reset_policy"),
                "switch_to_fallback": node.add_client(
                    SetBool, f"{self._policy.name}/switch_to_fallback"
                ),
            }
        self._halt = node.add_publisher(Halt, "halt", LATCHED)
        self._halted = ""
        self._send_halt()
        node.add_subscription(Fault, "fault", self._on_fault, EVENTS)

    # -- what happens ------------------------------------------------------------------
    def _on_fault(self, message: Fault) -> None:
        try:
            target = self.faults.target(message.kind, message.source)
        except ValueError as error:
            self._node.reject("bad fault message", error)
            return
        sentence = f"{message.source[:60]}: {message.text[:300]}"
        self.report(self._managed[target], sentence, time.monotonic_ns(), message.kind)

    def report(self, node: SupervisedNode, sentence: str, now: int, kind: str = "") -> None:
        if node.kind and self.awake and not node.left_alone:
            self.faults.report(node.name, sentence, now, kind)

    def give_up(self, node: SupervisedNode, sentence: str, now: int) -> None:
        self.faults.give_up(node.name, sentence, now)

    def abandon(self) -> None:
        """The supervisor is taken down: whatever is under way ends here."""
        self._finish("")

    # -- what is done ------------------------------------------------------------------
    def look(self, now: int) -> None:
        for node in self._managed.values():
            if not node.active:
                self.faults.still(node.name, now)
            if node.state == "lost" and now - node.reported >= LOST_PERIOD_NS:
                node.reported = now
                self.report(node, f"{node.name} was lost", now)
        if self._step:
            self._go_on(self._step, now)
        elif self.faults.under_way:  # an exception came between the order and its beginning
            self.faults.failed("the step was not begun", now)
        while order := self.faults.next(now):
            self._say(order)
            if order.action not in ("halt", "clear"):
                self._begin(order, now)
        self._publish()

    def _say(self, order: Order) -> None:
        if order.action == "clear":
            self._node.get_logger().info(order.says)
        else:
            # rclpy wants one severity for each place that logs
            self._node.get_logger().error(order.says)
        self._node.notify_operator(order.says)
        self._node.stats.tick(f"{order.kind} {order.action}".strip(), time.monotonic_ns())

    def _publish(self) -> None:
        if self.faults.halt != self._halted:
            self._halted = self.faults.halt
            self._send_halt()

    def _send_halt(self) -> None:
        stamp = self._node.get_clock().now().to_msg()
        self._halt.publish(Halt(stamp=stamp, halted=bool(self._halted), reason=self._halted))

    def _begin(self, order: Order, now: int) -> None:
        actor = self._policy if order.action in self._clients else self._managed[order.target]
        if actor is None:
            self.faults.failed("no node runs a policy", now)
            return
        self._step = UnderWay(order, actor, now, actor.life, actor.broken)
        self._go_on(self._step, now)

    def _finish(self, why: str) -> None:
        self._step = None
        if why:
            self.faults.failed(why, time.monotonic_ns())
        else:
            self.faults.done(time.monotonic_ns())

    def _go_on(self, step: UnderWay, now: int) -> None:
        actor = step.actor
        if self.faults.under_way is None:
            self._step = None  # given up meanwhile
        elif actor.left_alone:
            self._finish("")  # a person took over
        elif actor.broken > step.broken:
            self._finish(f"{actor.name} could not be brought up again")
        elif not actor.active:
            step.waited = step.waited or actor.absent
            patience = to_nanoseconds(self._node.params["return_timeout"])
            if actor.asked is None and now - step.since > patience:
                self._finish(f"{actor.name} did not come back within {patience / 1e9:g} s")
        elif step.order.action == "notify":
            if step.waited:
                self._node.notify_operator(f"{actor.name} is back: say the instruction again")
            self._finish("")
        elif actor.life != step.life and step.order.action != "switch_to_fallback":
            self._finish("")  # a fresh process has forgotten all that was wrong
        elif step.order.action == "restart_node":
            self._restart_node(step)
        else:
            self._call(step, now)

    def _restart_node(self, step: UnderWay) -> None:
        if step.taken_down:
            self._finish("")  # and active again
        else:
            step.taken_down = step.actor.down = True

    def _call(self, step: UnderWay, now: int) -> None:
        client = self._clients[step.order.action]
        if step.future is None and client.service_is_ready():
            request = (
                Trigger.Request()
                if step.order.action == "reset_policy"
                else SetBool.Request(data=True)
            )
            step.future = client.call_async(request)
            step.asked = now
        if step.future is not None and step.future.done():
            answer = step.future.result()
            self._node.get_logger().info(f"{step.actor.name}: {answer.message}")
            self._finish("" if answer.success else answer.message or "it was refused")
        elif now - (step.asked or step.since) > ANSWER_TIMEOUT_NS:
            if step.future is not None:
                client.remove_pending_request(step.future)
            self._finish(f"{step.actor.name} did not answer to {client.srv_name}")

    def diagnose(self) -> dict[str, str]:
        values = {f"{kind} faults": str(self.faults.counts[kind]) for kind in STRATEGIES}
        for case in self.faults.cases:
            if case.fault:
                step = (
                    "halted"
                    if case.halted
                    else f"step {case.step + 1} of {len(case.strategy.steps)}"
                )
                words = " ".join(filter(None, ("last", case.kind, "fault")))
                values[f"{case.target}: {words}"] = f"{step}: {case.reason}"
        return {**values, "halt": self.faults.halt}
