"""safety_validator: asks the gate, fifty times a second and whenever something arrives, and obeys it.

The only publisher of robot commands. This is a protective stop, not an emergency stop: the driver's own
command time-out stays mandatory.
"""
from __future__ import annotations

import math
import threading
import time
from typing import Any

from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Command as CommandMessage
from vla_ros_msgs.msg import SafetyReport

from vla_ros.core.robot import load_robot
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes import convert
from vla_ros.nodes.base import ManagedNode
from vla_ros.nodes.outputs import Outputs
from vla_ros.nodes.qos import EVENTS, LATCHED, LATEST, SENSOR
from vla_ros.nodes.run import run
from vla_ros.safety.gate import Gate, Inputs, Report
from vla_ros.safety.rules import Settings

SHORTEST_WAIT = 2_000_000  # ns between ticks; chunks that come faster than this do not make the gate run faster
TOPICS = {"joint_states": (JointState, EVENTS), "odom": (Odometry, EVENTS), "scan": (LaserScan, SENSOR)}


class SafetyValidator(ManagedNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("safety_validator", **options)
        self._lock = threading.Condition()  # guards the gate, its inputs and the wire
        self._gate: Gate | None = None
        self._thread: threading.Thread | None = None
        self._asked = False
        self._ticked = 0
        self._running = False
        self._said: tuple[Any, ...] = ()

    def configure(self) -> None:
        robot = load_robot(self.p["robot_file"])
        for topic in self.p["required_topics"]:
            if topic not in TOPICS:
                raise ValueError(f"parameter 'required_topics' holds '{topic}'; use some of {', '.join(TOPICS)}")
        self._period = to_nanoseconds(1.0 / self.p["rate"])
        self._gate = Gate(robot, self._settings(self.p))
        self._inputs = Inputs()
        self._joints = {channel.joint: channel for channel in robot.channels if channel.joint}
        self._names = [channel.name for channel in robot.channels]
        self._outputs = Outputs(self, robot, self._period)
        self._reports = self.speak(SafetyReport, "safety_report", EVENTS)
        self.listen(ActionChunkMessage, "action_chunk", self._on_chunk, LATEST)
        self.listen(Bool, "stop", self._on_stop, EVENTS)
        self.listen(Header, "heartbeat", self._on_heartbeat, EVENTS)
        for topic in {"joint_states", *self.p["required_topics"]}:
            kind, qos = TOPICS[topic]
            self.listen(kind, f"/{topic}", self._on_joint_states if topic == "joint_states" else self._seen(topic), qos)
        subscription = self.create_subscription(
            CommandMessage, "command", lambda message: self.guard(self._on_command, message), LATCHED)
        self._entities.append((self.destroy_subscription, subscription))  # latched: heard also while inactive
        for name in ("arm", "disarm", "reset"):
            self.serve(Trigger, f"~/{name}", getattr(self, f"_on_{name}"))

    def _settings(self, parameters: dict[str, Any]) -> Settings:
        sources = {name: to_nanoseconds(parameters["heartbeat_timeout"]) for name in parameters["required_nodes"]}
        sources |= {name: to_nanoseconds(parameters["topic_timeout"]) for name in parameters["required_topics"]}
        return Settings(
            max_age=to_nanoseconds(parameters["max_age"]), max_future=to_nanoseconds(parameters["max_future"]),
            clock_jump=to_nanoseconds(parameters["clock_jump"]), period=to_nanoseconds(1.0 / parameters["rate"]),
            sources=sources)

    def apply(self, parameters: dict[str, Any]) -> None:
        assert self._gate is not None
        with self._lock:
            self._gate.settings = self._settings(parameters)

    def activate(self) -> None:
        self._running = True
        self._thread = threading.Thread(target=self._watch, name="gate", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        assert self._gate is not None
        with self._lock:
            self._running = False
            self._outputs.stop(self.now())  # before anything else
            self._gate.disarm()
            self._lock.notify_all()
        if self._thread:
            self._thread.join(timeout=1.0)

    # -- the watchdog's thread -------------------------------------------------------------------------
    def _watch(self) -> None:
        """On the steady clock, whatever the executor does: every period, and soon where someone asked."""
        due = time.monotonic_ns()
        with self._lock:
            while self._running:
                now = time.monotonic_ns()
                then = min(due, self._ticked + SHORTEST_WAIT) if self._asked else due
                if now < then:
                    self._lock.wait((then - now) / 1e9)
                    continue
                self._tick()
                if now >= due:
                    due += self._period * (1 + (now - due) // self._period)

    def _tick(self) -> None:
        assert self._gate is not None
        steady = time.monotonic_ns()
        self._asked, self._ticked = False, steady
        try:
            stamp = self.now()
            action, report = self._gate.step(steady, stamp, self._inputs)
            self._outputs.send(action, stamp)
            self._publish(report, stamp)
            self._say(report)
        except Exception as error:
            self._gate.latch(f"a tick failed: {type(error).__name__}: {error}")
            self.guard(self._outputs.stop, 0)
            self.get_logger().error(f"the gate's tick failed: {error}", throttle_duration_sec=1.0)
        self.stats.tick("command", steady)
        self.stats.latency(time.monotonic_ns() - steady)

    def _publish(self, report: Report, stamp: int) -> None:
        message = SafetyReport(
            state=int(report.state), verdict=int(report.verdict), rule=report.rule, reason=report.reason,
            generation=report.generation, sequence=report.sequence, channels=self._names,
            age=convert.duration_message(report.age))
        message.header.stamp = convert.time_message(stamp)
        message.requested = convert.float_array(report.requested)
        message.emitted = convert.float_array(report.emitted)
        self._reports.publish(message)

    def _say(self, report: Report) -> None:
        """A change of state, verdict or rule goes to the log once, not fifty times a second."""
        now = (report.state, report.verdict, report.rule)
        if now != self._said:
            self._said = now
            self.get_logger().info(f"{report.state.name} {report.verdict.name} {report.rule}: {report.reason}",
                                   throttle_duration_sec=0.1)

    def fail(self, error: Exception) -> None:
        with self._lock:
            if self._gate:
                self._gate.latch(f"a callback failed: {type(error).__name__}: {error}")
                self._asked = True
                self._lock.notify_all()

    # -- what arrives ----------------------------------------------------------------------------------
    def _wake(self) -> None:
        """Something arrived: a tick at once, here, or shortly where the last one was just now."""
        if self._running and time.monotonic_ns() - self._ticked >= SHORTEST_WAIT:
            self._tick()
        else:
            self._asked = True
            self._lock.notify_all()

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        chunk = convert.chunk(message)
        self.stats.tick("action_chunk", time.monotonic_ns())
        with self._lock:
            self._inputs.chunk = chunk
            self._wake()

    def _on_command(self, message: CommandMessage) -> None:
        with self._lock:
            self._inputs.command = convert.command(message)
            self._wake()

    def _on_stop(self, message: Bool) -> None:
        with self._lock:
            self._inputs.stop_pressed = message.data
            if message.data and self._gate:
                self._gate.latch("the stop is pressed")  # also if it is released before the next tick
            self._wake()

    def _on_heartbeat(self, message: Header) -> None:
        name, _, stage = message.frame_id.partition("/")
        if stage == "active":
            with self._lock:
                self._inputs.seen[name] = time.monotonic_ns()

    def _seen(self, topic: str) -> Any:
        def on_message(message: Any) -> None:
            with self._lock:
                self._inputs.seen[topic] = time.monotonic_ns()
        return on_message

    def _on_joint_states(self, message: JointState) -> None:
        with self._lock:
            self._inputs.seen["joint_states"] = time.monotonic_ns()
            for joint, position in zip(message.name, message.position):
                channel = self._joints.get(joint)
                if channel and math.isfinite(position):
                    self._inputs.measured[channel.name] = position / channel.scale

    # -- services --------------------------------------------------------------------------------------
    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer("arm", response, lambda gate: gate.arm(time.monotonic_ns(), self._inputs))

    def _on_disarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer("disarm", response, lambda gate: gate.disarm())

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer("reset", response, lambda gate: gate.reset(self._inputs))

    def _answer(self, verb: str, response: Trigger.Response, ask: Any) -> Trigger.Response:
        if not self.active or self._gate is None:
            response.success, response.message = False, f"the gate is {self.stage}, not active"
            return response
        with self._lock:
            response.success, response.message = ask(self._gate)
            self._wake()
        self.get_logger().info(f"{verb}: {response.message}", throttle_duration_sec=0.1)
        return response

    def diagnose(self) -> dict[str, str]:
        if self._gate is None:
            return {}
        with self._lock:
            counts = {f"rule {rule}": str(count) for rule, count in self._gate.counters.items()}
            return {"state": self._gate.state.name, "cause": self._gate.cause, **counts}


def main() -> None:
    run(SafetyValidator)


if __name__ == "__main__":
    main()
