"""safety_validator: asks the gate fifty times a second and on arrivals, and obeys it.

The only publisher of robot commands. This is a protective stop, not an emergency stop: the driver's
own command time-out stays mandatory.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState, LaserScan, PointCloud2, Range
from std_srvs.srv import Trigger

from vla_ros.core.chunks import MOST_VALUES
from vla_ros.core.robot import MAX_CHANNELS, Robot, load_robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.core.robot_state import JOINT_STATE
from vla_ros.core.types import POLICY, TELEOP, ActionChunk, to_nanoseconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.camera_nodes import expanded
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.heart import check_heartbeat
from vla_ros.nodes.common.qos import EVENTS, HALTS, JOINTS, LATCHED, LATEST, PULSE, STATE
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.common.state_messages import MESSAGES
from vla_ros.nodes.gate.gate_settings import SOURCE_MEMORY_NS, gate_settings
from vla_ros.nodes.gate.outputs import Others, Outputs
from vla_ros.nodes.gate.rule_sources import heard, message_class
from vla_ros.nodes.gate.stop_buttons import Presses, StopButtons
from vla_ros.safety.gate import STOP_PRESSED, Gate, LatestInputs, Report, State
from vla_ros.safety.rule import Source, Verdict
from vla_ros.safety.rules import RULES
from vla_ros.safety.rules.clock import CLOCK_JUMP
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Halt, Heartbeat, SafetyReport
from vla_ros_msgs.msg import Instruction as InstructionMessage

# A larger message is no heartbeat or instruction, no action, and no scan; its size is looked at
# before anything is made of it.
SMALL_BYTES = 1 << 14
ACTION_BYTES = 80 << 10
LARGE_BYTES = 1 << 19
CLOUD_BYTES = 10 << 20  # 640 x 480 points of 32 bytes
TWIN_MEMORY_NS = 1_000_000_000  # the same of a second gate's heartbeat
COMPLAINT_PERIOD_NS = 1_000_000_000  # between two sentences about bad heartbeats
# Between ticks: chunks that come faster than this do not make the gate run faster.
MIN_TICK_INTERVAL_NS = 2_000_000
SENSORS = {
    "sensor_msgs/msg/LaserScan": (LaserScan, LARGE_BYTES),
    "sensor_msgs/msg/Range": (Range, LARGE_BYTES),
    "sensor_msgs/msg/PointCloud2": (PointCloud2, CLOUD_BYTES),
}
# What these rules hold for is the policy's fault.
POLICY_FAULTS = {rule.name for rule in RULES if rule.policy_fault}


class SafetyValidator(ManagedNode):
    """Asks the gate what the robot may do now, and sends that; nobody else commands the robot.

    Subscribed topics:
        action_chunk (vla_ros_msgs/ActionChunk): what the policy wants.
        teleop/action_chunk (vla_ros_msgs/ActionChunk): what a person wants, with `teleop`.
        instruction/accepted (vla_ros_msgs/Instruction): the instruction that holds.
        stop (std_msgs/Bool): the stop button, heard in every state, reliable or best effort.
        halt (vla_ros_msgs/Halt): the supervisor's.
        heartbeat (vla_ros_msgs/Heartbeat): of `required_nodes`, and of a second gate.
        the robot file's state: where its joints are, and that the rest of it lives.
        the robot file's sensors: what is in the way.
        what a rule declares: its sources.

    Published topics:
        safety_report (vla_ros_msgs/SafetyReport): what it did and why, every tick.
        the robot file's outputs: robot commands.

    Services:
        ~/arm (std_srvs/Trigger): refused while a source is missing or a cause lasts.
        ~/disarm (std_srvs/Trigger): the robot stops.
        ~/reset (std_srvs/Trigger): from STOPPED to DISARMED; refused while a stop lasts.
        ~/stop (std_srvs/Trigger): STOPPED, as by the topic `stop`, and says so. The topic is heard
            while the node's executor hangs, too.
        ~/give_back (std_srvs/Trigger): from a person to the policy, with `teleop`; `teleop` calls
            it, once the policy is reset.

    Parameters:
        `safety_validator` in nodes/node_parameters.py, and those that the rules declare.

    Faults:
        action: what the policy wants is refused by a rule about the policy.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("safety_validator", **options)
        self._lock = threading.Condition()  # guards the gate, its inputs and the wire
        self._gate: Gate | None = None
        self._inputs = LatestInputs()
        self._thread: threading.Thread | None = None
        self._asked = False
        self._ticked = 0
        self._running: object = None  # the watchdog's thread that may speak
        self._said: tuple[Any, ...] = ()
        self._reason = ""
        self._to_say: deque[str] = deque(maxlen=50)
        self._twin = 0  # when another gate of the same name was heard (steady ns)
        self._complained = -COMPLAINT_PERIOD_NS  # of a bad heartbeat (steady ns)
        self._may_auto_arm = False
        self._sources: dict[str, int] = {}  # process -> when it last sent an action (steady ns)
        self._sticks: dict[str, int] = {}  # the same of a person's rows
        self._buttons = StopButtons(self, lambda presses: self.guard(self._on_presses, presses))

    def configure(self) -> None:
        self._robot = robot = load_robot(self.params["robot_file"])
        if self.params["auto_arm"] and not robot.simulated:
            raise ValueError(
                f"parameter 'auto_arm' is true, but robot '{robot.name}' is not simulated; "
                "arm it yourself"
            )
        self._period = to_nanoseconds(1.0 / self.params["rate"])
        self._renew()
        self._message = SafetyReport(
            channels=[channel.name for channel in robot.channels], control_source=POLICY
        )
        nodes = expanded(self.params["required_nodes"], robot, self.params["cameras"])
        self._nodes = frozenset(nodes)
        self._outputs = Outputs(self, robot, self._period)
        self._others = Others(self, robot, self._outputs)
        self._reports = self.add_publisher(SafetyReport, "safety_report", EVENTS)
        on_chunk = self._bounded(ActionChunkMessage, ACTION_BYTES, self._on_chunk)
        self.add_subscription(ActionChunkMessage, "action_chunk", on_chunk, LATEST, raw=True)
        verbs = ["arm", "disarm", "reset", "stop"]
        if self.params["teleop"]:
            on_row = self._bounded(ActionChunkMessage, SMALL_BYTES, self._on_teleop_row)
            self.add_subscription(
                ActionChunkMessage, "teleop/action_chunk", on_row, LATEST, raw=True
            )
            verbs.append("give_back")
        # What the robot's motion rests on: read by the watchdog's own thread, before each of its
        # ticks.
        self._readers: dict[Reader, Callable[[Any, int], None]] = {
            self._reader(Heartbeat, "heartbeat", PULSE, SMALL_BYTES): self._on_heartbeat,
        }
        for topic, kind in robot.required_topics.items():
            if channels := robot.joint_topics.get(topic):
                reader = self._reader(JointState, topic, JOINTS, ACTION_BYTES)
                self._readers[reader] = partial(self._on_joint_states, topic, channels)
            else:
                qos = JOINTS if kind == JOINT_STATE else STATE
                reader = self.add_reader(
                    MESSAGES[kind], topic, qos, raw=True, most_bytes=LARGE_BYTES
                )
                self._readers[reader] = self._seen(topic)
        for sensor in robot.sensors:
            kind, most_bytes = SENSORS[sensor.type]
            reader = self._reader(kind, sensor.topic, STATE, most_bytes)
            self._readers[reader] = partial(self._on_ranges, sensor)
        for rule in RULES:
            for source in rule.sources:
                reader = self.add_reader(
                    message_class(rule, source), source.topic, STATE, most_bytes=LARGE_BYTES
                )
                self._readers[reader] = partial(self._on_source, source)
        on_instruction = self._bounded(InstructionMessage, SMALL_BYTES, self._on_instruction)
        self.add_subscription(
            InstructionMessage,
            "instruction/accepted",
            on_instruction,
            LATCHED,
            always=True,
            raw=True,
        )
        self.add_subscription(Halt, "halt", self._on_halt, HALTS, always=True, raw=True)
        self.add_timer(0.1, self._say)
        self.add_timer(0.5, self._look_for_others)
        if robot.obstacles is None:
            self.get_logger().warning(
                f"robot '{robot.name}' has no range sensors; the gate does not see obstacles"
            )
        if self.params["auto_arm"]:
            self.get_logger().warning(
                "AUTO_ARM IS ON: the gate arms by itself, once. Never use this on a real robot."
            )
        for name in verbs:
            self.add_service(Trigger, f"~/{name}", getattr(self, f"_on_{name}"))

    def _reader(self, kind: type, topic: str, qos: QoSProfile, most_bytes: int) -> Reader:
        return self.add_reader(kind, topic, qos, most_bytes=most_bytes, read=reader_of(kind))

    def _renew(self) -> None:
        """A gate that remembers nothing of what was emitted, seen or measured.

        It stays stopped if it was.
        """
        with self._lock:
            before = self._gate
            self._gate = Gate(self._robot, gate_settings(self.params, self._robot))
            self._may_auto_arm = self.params["auto_arm"]
            if before and before.state is State.STOPPED:
                self._gate.latch(before.cause)
            if before and self.params["teleop"]:
                self._gate.takeover = before.takeover  # only a give-back returns it to the policy
            then = self._inputs if before else LatestInputs()
            self._sources = {}
            self._sticks = {}
            self._inputs = LatestInputs(
                instruction=then.instruction,
                halt=then.halt,
                other_publishers=then.other_publishers,
                missing_listeners=then.missing_listeners,
                stop_pressed=self._buttons.pressed,
            )

    def apply(self, parameters: dict[str, Any]) -> None:
        """Other limits, all or none: refused where one is looser and the gate is armed."""
        assert self._gate is not None
        robot: Robot = load_robot(parameters["robot_file"])
        with self._lock:
            self._gate.change(robot, gate_settings(parameters, self._robot))
            self._robot = robot

    def activate(self) -> None:
        for reader in self._readers:
            reader.discard()
        self._renew()
        self._running = token = object()  # a thread that was left behind is not this one
        self._thread = threading.Thread(target=self._watch, args=(token,), name="gate", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        assert self._gate is not None
        held = self._lock.acquire(timeout=0.2)  # the stop goes out even where a tick hangs
        try:
            self._running = None
            self._outputs.stop(self.now())  # before anything else
        finally:
            self._gate.disarm()
            if held:
                self._lock.notify_all()
                self._lock.release()
        if self._thread:
            self._thread.join(timeout=1.0)
        # again: the first may be lost where DDS waits for a reader that died
        self._stop_now(self.now())
        self._outputs.settle(0.3)

    # -- the watchdog's thread ---------------------------------------------------------
    def _watch(self, token: object) -> None:
        """Ticks on the steady clock, whatever the executor does.

        Every period, and soon where someone asked.
        """
        due = time.monotonic_ns()
        with self._lock:
            while self._running is token:
                now = time.monotonic_ns()
                then = min(due, self._ticked + MIN_TICK_INTERVAL_NS) if self._asked else due
                if now < then:
                    self._lock.wait((then - now) / 1e9)
                    continue
                self._read(now)
                self._tick()
                now = time.monotonic_ns()
                if now >= due:
                    due += self._period * (1 + (now - due) // self._period)
                self._lock.wait(0.0005)  # whatever a tick takes: the others get the lock in between

    def _tick(self) -> None:
        assert self._gate is not None
        steady = time.monotonic_ns()
        self._asked = False
        self._ticked = steady
        try:
            stamp = self.now()
            if self._may_auto_arm and self._gate.state is State.DISARMED:
                self._auto_arm(steady, stamp)
            action, report = self._gate.step(steady, stamp, self._inputs)
            if time.monotonic_ns() - steady > self._gate.settings.ns(CLOCK_JUMP):
                # What was right then may be wrong now: look again, and see that the gate itself
                # stood still.
                stamp = self.now()
                action, report = self._gate.step(time.monotonic_ns(), stamp, self._inputs)
            self._outputs.send(action, stamp)
            armed = report.state in (State.HOLDING, State.ACTIVE)
            self._outputs.pursue(action, moves=report.state is State.ACTIVE, stopped=not armed)
            self._publish(report, stamp)
            self._note(report)
        except Exception as error:
            self._latch(f"a tick failed: {type(error).__name__}: {error}")
            self._stop_now(0)
        if not self._running:  # deactivated while this tick hung: its stop must be the last word
            self._stop_now(self.now())
        self.stats.tick("command", steady)
        self.stats.latency(time.monotonic_ns() - steady)

    def _latch(self, cause: str) -> None:
        """A stop with its cause, from the watchdog's thread.

        Nothing is logged at once there: a log that blocks must not block the gate.
        """
        assert self._gate is not None
        if self._gate.state is not State.STOPPED:
            self._to_say.append(cause)
        self._gate.latch(cause)

    def _stop_now(self, stamp: int) -> None:
        try:
            self._outputs.stop(stamp)
        except Exception as error:
            self._latch(f"a stop could not be sent: {type(error).__name__}: {error}")

    def _auto_arm(self, steady: int, stamp: int) -> None:
        assert self._gate is not None
        armed, _ = self._gate.arm(steady, stamp, self._inputs)
        if armed:
            self._may_auto_arm = False  # once: what a person or a fault ends stays ended
            self._to_say.append("AUTO_ARM: the gate armed by itself")

    def _look_for_others(self) -> None:
        """Who else publishes robot commands, and who does not listen to them."""
        publishers = self._others.publishing()
        missing = self._others.unheard()
        if time.monotonic_ns() - self._twin < TWIN_MEMORY_NS and self._twin:
            publishers.append(f"a second {self.get_name()}")
        if not self.active:  # what comes meanwhile is of no use, and would lie in memory
            for reader in self._readers:
                reader.discard()
        if missing or self.problem == "; ".join(self._inputs.missing_listeners):
            self.problem = "; ".join(missing)
        with self._lock:
            self._inputs.other_publishers = tuple(publishers[:5])
            self._inputs.missing_listeners = tuple(missing[:5])

    def _read(self, now: int) -> None:
        """Takes what the watchdog looks at before each of its ticks, the stop first.

        Whatever keeps the executor busy. For half a period at most: what is left waits for the next
        tick, where a flood would keep the gate from its own.
        """
        self._press(self._buttons.take())
        end = now + self._period // 2
        try:
            for reader, callback in self._readers.items():
                before = reader.oversized
                for message in reader.take():
                    callback(message, now)
                    if time.monotonic_ns() > end:
                        break
                for _ in range(reader.oversized - before):
                    self.stats.drop(f"{reader.topic}: too large")
        except Exception as error:
            self._latch(f"a topic could not be read: {type(error).__name__}: {error}")
        for process, sent in list(self._sources.items()):
            if now - sent > SOURCE_MEMORY_NS:
                del self._sources[process]
        self._inputs.chunk_sources = tuple(self._sources)
        for process, sent in list(self._sticks.items()):
            if now - sent > SOURCE_MEMORY_NS:
                del self._sticks[process]
        self._inputs.teleop_sources = tuple(self._sticks)

    def _publish(self, report: Report, stamp: int) -> None:
        # One message for all: making a new one takes longer than filling it in.
        message = self._message
        message.state = int(report.state)
        message.verdict = int(report.verdict)
        message.rule = report.rule
        message.control_source = report.control_source
        message.reason = report.reason[:300]
        message.instruction_id = report.instruction_id
        message.sequence = report.sequence
        message.age = convert.duration_message(report.age)
        message.header.stamp = convert.time_message(stamp)
        message.requested = convert.float_array(report.requested)
        message.emitted = convert.float_array(report.emitted)
        self._reports.publish(message)

    def _note(self, report: Report) -> None:
        """A line in the log for each change of state, or of the rule that holds; not fifty a
        second."""
        self._reason = report.reason[:300]
        rule = report.rule if report.verdict >= Verdict.HELD else ""
        now = (report.state, rule, report.control_source)
        if now != self._said:
            self._said = now
            self._to_say.append(
                f"{report.state.name} {report.verdict.name} {report.rule}: {self._reason}"
                f"{' (a person has the robot)' if report.control_source == TELEOP else ''}"
            )

    def _say(self) -> None:
        """Outside the lock and the watchdog's thread: a log that blocks must not block the gate."""
        while self._to_say:
            self.get_logger().info(self._to_say.popleft())
        if self._said and self._said[1] in POLICY_FAULTS and self._said[2] == POLICY:
            self.report_fault("action", f"the gate refuses what the policy wants: {self._reason}")

    def fail(self, error: Exception) -> None:
        with self._lock:
            if self._gate:
                self._gate.latch(f"a callback failed: {type(error).__name__}: {error}")
                self._asked = True
                self._lock.notify_all()

    # -- what arrives ------------------------------------------------------------------
    def _wake(self) -> None:
        """Something arrived: a tick at once, here, or shortly where the last one was just now."""
        if self._running and time.monotonic_ns() - self._ticked >= MIN_TICK_INTERVAL_NS:
            self._tick()
        else:
            self._asked = True
            self._lock.notify_all()

    def _bounded(
        self, kind: type, most_bytes: int, callback: Callable[[Any], None]
    ) -> Callable[[bytes], None]:
        """A callback for raw messages of `kind`, at most `most_bytes` of them.

        A larger one is refused before anything is made of it.
        """
        read = reader_of(kind)

        def on_bytes(data: bytes) -> None:
            if len(data) > most_bytes:
                self.reject(f"huge {kind.__name__}", f"{len(data)} bytes; at most {most_bytes}")
            else:
                callback(read(data))

        return on_bytes

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        chunk = self._taken(message)
        if chunk is None:
            return
        now = time.monotonic_ns()
        self.stats.tick("action_chunk", now)
        with self._lock:
            self._inputs.chunk = chunk
            if chunk.process in self._sources or len(self._sources) < 5:
                self._sources[chunk.process] = now
            self._inputs.chunk_sources = tuple(self._sources)
            self._wake()

    def _on_teleop_row(self, message: ActionChunkMessage) -> None:
        """What a person's stick says, pressed or let go."""
        row = self._taken(message)
        if row is None:
            return
        now = time.monotonic_ns()
        self.stats.tick("teleop row", now)
        with self._lock:
            self._inputs.teleop_row = row
            if row.process in self._sticks or len(self._sticks) < 5:
                self._sticks[row.process] = now
            self._inputs.teleop_sources = tuple(self._sticks)
            self._wake()

    def _taken(self, message: ActionChunkMessage) -> ActionChunk | None:
        # More is no action, and would cost the gate its period.
        if len(message.channels) > MAX_CHANNELS or len(message.values) > MOST_VALUES:
            self.reject(
                "huge action",
                f"{len(message.channels)} channels and {len(message.values)} values; "
                f"at most {MAX_CHANNELS} and {MOST_VALUES}",
            )
            return None
        return convert.chunk(message)

    def _on_instruction(self, message: InstructionMessage) -> None:
        if self._inputs.missing_listeners:
            self._look_for_others()  # the driver may be back, and this be what was waited for
        with self._lock:
            self._inputs.instruction = convert.instruction(message)
            self._wake()

    def _on_presses(self, presses: Presses) -> None:
        with self._lock:
            self._press(presses)
            self._wake()

    def _press(self, presses: Presses) -> None:
        if not presses:
            return
        pressed = self._buttons.note(presses)
        self._inputs.stop_pressed = self._buttons.pressed
        if pressed and self._gate:
            self._gate.latch(STOP_PRESSED)  # also if it is released before the next tick

    def _on_halt(self, data: bytes) -> None:
        """Every halt latches.

        Also one that is taken back before the next tick, or that is too long to be read.
        """
        if len(data) > SMALL_BYTES:
            text = "a reason too long to be read"
        else:
            message = deserialize_message(data, Halt)
            without = "the supervisor gives no reason" if message.halted else ""
            text = message.reason[:500] or without
        with self._lock:
            self._inputs.halt = text
            if text and self._gate:
                self._gate.latch(self._inputs.cause())
            self._wake()

    def _on_heartbeat(self, message: Heartbeat, now: int) -> None:
        try:
            check_heartbeat(message)
        except ValueError as error:
            self.stats.drop("bad heartbeat")
            if now - self._complained > COMPLAINT_PERIOD_NS:
                self._complained = now  # a flood of them must not push out other sentences
                self._to_say.append(f"bad heartbeat: {error}")
            return
        if message.node == self.get_name() and message.process != self._life:
            self._twin = now
        if message.state == Heartbeat.ACTIVE and message.node in self._nodes:
            self._inputs.seen[f"node {message.node}"] = now

    def _seen(self, topic: str) -> Callable[[Any, int], None]:
        def on_message(message: Any, now: int) -> None:
            self._inputs.seen[topic] = now

        return on_message

    def _on_ranges(self, sensor: Sensor, message: Any, now: int) -> None:
        reading = convert.READINGS[sensor.type](sensor, message)
        self._inputs.readings[sensor.topic] = (reading, now)
        self._note_fault(sensor.topic, reading.fault, "bad ranges")

    def _on_source(self, source: Source[Any], message: Any, now: int) -> None:
        """A topic that a rule declares."""
        self._inputs.messages[source] = newest = heard(source, message, now)
        self._note_fault(source.topic, newest.fault, f"bad {source.topic}")

    def _note_fault(self, topic: str, fault: str, count: str) -> None:
        """What is wrong with a message, or that the last one of its topic is good again."""
        if fault:
            self.stats.drop(count)
            self.problem = f"{topic}: {fault}"
        elif self.problem.startswith(f"{topic}: "):
            self.problem = ""

    def _on_joint_states(
        self, topic: str, channels: tuple[Channel, ...], message: JointState, now: int
    ) -> None:
        try:
            self._inputs.hear_joints(topic, channels, message.name, message.position, now)
        except ValueError as error:
            self._note_fault(topic, str(error), "bad joint states")
            return
        self._note_fault(topic, "", "bad joint states")

    # -- services ----------------------------------------------------------------------
    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.active:
            self._look_for_others()  # as it is now, not half a second ago
        return self._answer(
            "arm", response, lambda gate: gate.arm(time.monotonic_ns(), self.now(), self._inputs)
        )

    def _on_disarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer("disarm", response, lambda gate: gate.disarm())

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(
            "reset", response, lambda gate: gate.reset(time.monotonic_ns(), self._inputs)
        )

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer("stop", response, lambda gate: gate.stop())

    def _on_give_back(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return self._answer("give_back", response, lambda gate: gate.give_back(self.now()))

    def _answer(self, verb: str, response: Trigger.Response, ask: Any) -> Trigger.Response:
        if not self.active or self._gate is None:
            response.success = False
            response.message = f"the gate is {self.state}, not active"
            return response
        with self._lock:
            self._may_auto_arm = False  # a person has taken over
            response.success, response.message = ask(self._gate)
            self._wake()
        self.get_logger().info(f"{verb}: {response.message}", throttle_duration_sec=0.1)
        return response

    def diagnose(self) -> dict[str, str]:
        if self._gate is None:
            return {}
        with self._lock:
            values = {
                "state": self._gate.state.name,
                "cause": self._gate.cause,
                "control_source": TELEOP if self._gate.takeover.has else POLICY,
                "not heard": "; ".join(self._inputs.missing_listeners),
            }
            for rule, count in self._gate.counters.items():
                values[f"rule {rule}"] = str(count)
            return values


def main() -> None:
    run(SafetyValidator)


if __name__ == "__main__":
    main()
