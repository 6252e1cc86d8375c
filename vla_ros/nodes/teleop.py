"""teleop: a person's stick as rows for the gate, and the way back to the policy.

It only says what a person wants: the gate decides what of it the robot does. Its death changes
nothing, but that a robot which it drives holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import Trigger

from vla_ros.core.robot import load_robot
from vla_ros.core.robot_outputs import twist_axis
from vla_ros.core.stick import Jog, Stick, bindings, deflections, twist_output
from vla_ros.core.types import TELEOP, ActionChunk, to_nanoseconds, to_seconds
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.message_class import message_class
from vla_ros.nodes.common.qos import JOINTS, LATEST, SENSOR, WATCHED
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.common.run_node import run
from vla_ros.nodes.common.trigger_client import TriggerClient
from vla_ros.safety.rules.stuck_stick import STUCK_STICK_LIMIT
from vla_ros.safety.rules.teleop_stick import teleop_stick
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import SafetyReport

TWIST_TOPIC = "teleop_twist"
JOINTS_TOPIC = "teleop_joints"
JOY_TOPIC = "joy"
BY_MESSAGES = {TWIST_TOPIC: True, JOINTS_TOPIC: True, JOY_TOPIC: False}
SMALL_BYTES = 1 << 14  # a larger message is no stick's
STEP_NS = 100_000_000  # of a row; the gate has a limit of its own for its age
LOOK_PERIOD_S = 0.05  # between two looks whether the stick fell silent
GRAPH_PERIOD_S = 0.5  # between two looks for other publishers
REPORT_TIMEOUT_NS = 1_000_000_000  # what the gate said before that says nothing of now
SETTLED_NS = 500_000_000  # after a press: what the gate says then is of that press
ANSWER_TIMEOUT_S = 1.0  # of the services that a give-back asks
GATE_SILENT = "nothing is heard from the gate (safety_report)"
ARMED = (SafetyReport.HOLDING, SafetyReport.ACTIVE)


class Teleop(ManagedNode):
    """Turns what a stick says into rows that the gate takes while a deadman is held.

    Subscribed topics:
        joy (sensor_msgs/Joy): a gamepad; its deadman is the button `joy_deadman`.
        teleop_twist (geometry_msgs/Twist): or TwistStamped, as the robot file's base has it. It
            drives while it is not zero; silence and zero let go.
        teleop_joints (sensor_msgs/JointState): positions by name, or velocities to jog with.
        safety_report (vla_ros_msgs/SafetyReport): who has the robot, and where joints were sent.
        the robot file's joints: where a position that was sent nowhere stands.

    Published topics:
        teleop/action_chunk (vla_ros_msgs/ActionChunk): a row a message, its `instruction_id` the
            press's number; 0 where the deadman is let go.

    Services:
        ~/give_back (std_srvs/Trigger): the policy is reset and has the robot again.

    Clients:
        before a give-back: inference/reset_policy (std_srvs/Trigger), whose answer is waited for.
        then: safety_validator/give_back (std_srvs/Trigger), the gate's part of it.

    Parameters:
        `teleop` in nodes/node_parameters.py.

    Faults:
        none.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop", **options)
        self._sequence = 0
        self._gate_report: SafetyReport | None = None
        self._gate_heard = -REPORT_TIMEOUT_NS  # when it came, steady ns
        self._heard: dict[str, int] = {}  # topic -> when its newest message came, steady ns
        self._rivals = ""

    def configure(self) -> None:
        robot = load_robot(self.params["robot_file"])
        self._axes = bindings(self.params["joy_axes"], robot, "joy_axes")
        self._buttons = bindings(self.params["joy_buttons"], robot, "joy_buttons")
        self._joints = {channel.joint or channel.name: channel for channel in robot.channels}
        self._jog = Jog(robot)
        # From the wall clock in ms: a respawned process does not begin below the one before it.
        self._stick = Stick(
            BY_MESSAGES, time.time_ns() // 1_000_000, to_nanoseconds(self.params["stick_timeout"])
        )
        self._pressed = 0  # when the newest press began, steady ns
        self._speeds: dict[str, float] = {}  # that the stick asks for, and since when, steady ns
        self._same_since = 0
        # What the sticks say while a service is waited for, when no subscription is served.
        self._sticks: dict[Reader, Callable[[bytes], None]] = {}
        self._at_rest = False  # whether the gamepad was at rest since its deadman was pressed
        self._rows = self.add_publisher(ActionChunkMessage, "teleop/action_chunk", LATEST)
        self._hear(Joy, JOY_TOPIC, self._on_joy)
        self._hear(JointState, JOINTS_TOPIC, self._on_joints)
        self._twist_names: dict[str, str] = {}  # number of a Twist -> channel
        if output := twist_output(robot):
            self._twist_names = {twist_axis(channel): channel for channel in output.channels}
            self._hear(message_class(output.type), TWIST_TOPIC, self._on_twist)
        self._reports = self.add_reader(
            SafetyReport,
            "safety_report",
            WATCHED,
            most_bytes=SMALL_BYTES,
            read=reader_of(SafetyReport),
        )
        self._joint_readers = {}
        for topic, channels in robot.joint_topics.items():
            reader = self.add_reader(
                JointState, topic, JOINTS, most_bytes=SMALL_BYTES, read=reader_of(JointState)
            )
            self._joint_readers[reader] = channels
        self._reset_policy = TriggerClient(self, "inference/reset_policy")
        self._gate_gives_back = TriggerClient(self, "safety_validator/give_back")
        self.add_service(Trigger, "~/give_back", self._on_give_back)
        self.add_timer(LOOK_PERIOD_S, self._look)
        self.add_timer(GRAPH_PERIOD_S, self._look_for_rivals)

    def activate(self) -> None:
        self._stick.begin(time.monotonic_ns())

    def deactivate(self) -> None:
        self._stick.refuse()
        self._release()

    def _hear(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        read = reader_of(kind)
        reader = self.add_reader(kind, topic, SENSOR, most_bytes=SMALL_BYTES, read=bytes)

        def on_bytes(data: bytes) -> None:
            if len(data) > SMALL_BYTES:
                self.reject(f"huge {topic}", f"{len(data)} bytes; at most {SMALL_BYTES}")
                return
            try:
                callback(read(data))
            except ValueError as error:  # a stick that says nonsense is one that is let go
                self._stick.refuse()
                self.problem = f"{topic}: {error}"
                self.reject(f"bad {topic}", error)
                if self._stick.holds(topic):
                    self._hold()
                else:
                    self._release()

        self.add_subscription(kind, topic, on_bytes, SENSOR, raw=True)
        self._sticks[reader] = on_bytes

    # -- what a stick says -------------------------------------------------------------
    def _on_joy(self, message: Any) -> None:
        now = time.monotonic_ns()
        deadman = self.params["joy_deadman"]
        if deadman >= len(message.buttons):
            raise ValueError(
                f"it has {len(message.buttons)} buttons, and joy_deadman is number {deadman}, "
                "counted from 0; is it this gamepad's?"
            )
        # Before anything that may raise: who holds the deadman has the robot.
        begins = self._press(JOY_TOPIC, bool(message.buttons[deadman]), now)
        deadzone = self.params["joy_deadzone"]
        axes = deflections(message.axes, self._axes, deadzone)
        buttons = deflections(message.buttons, self._buttons, 0.0)
        speeds: dict[str, float] = {}
        for binding, deflection in zip([*self._axes, *self._buttons], [*axes, *buttons]):
            name = binding.channel.name  # two buttons may move one channel, to and fro
            speeds[name] = speeds.get(name, 0.0) + binding.speed(deflection)
        rests = not any(speeds.values())
        if begins:
            self._at_rest = rests
            if not rests:
                self.notify_operator(
                    "teleop: the stick is not at rest; it moves the robot once it was let go"
                )
        self._at_rest = self._at_rest or rests
        if not self._at_rest:
            speeds = dict.fromkeys(speeds, 0.0)
        self._send(JOY_TOPIC, message, speeds, {}, now)

    def _on_twist(self, message: Any) -> None:
        now = time.monotonic_ns()
        twist = getattr(message, "twist", message)
        speeds = dict.fromkeys(self._twist_names.values(), 0.0)
        for part in ("linear", "angular"):
            for axis in "xyz":
                value = float(getattr(getattr(twist, part), axis))
                number = f"{part}.{axis}"
                # What the base cannot do is asked for all the same: the gate refuses it.
                if number in self._twist_names or value != 0.0:
                    speeds[self._twist_names.get(number, number)] = value
        self._press(TWIST_TOPIC, any(speeds.values()), now)
        self._send(TWIST_TOPIC, message, speeds, {}, now)

    def _on_joints(self, message: Any) -> None:
        now = time.monotonic_ns()
        values = message.position if len(message.position) else message.velocity
        self._press(JOINTS_TOPIC, bool(len(message.position)) or any(message.velocity), now)
        if len(values) != len(message.name):
            raise ValueError(f"it has {len(message.name)} names and {len(values)} values")
        by_name: dict[str, float] = {}
        for name, value in zip(message.name, values):
            channel = self._joints.get(name)
            if channel is None:
                by_name[name] = float(value)
            elif len(message.position) and not channel.is_velocity:
                by_name[channel.name] = channel.measured(value)
            else:  # without the offset: how fast, and not where
                by_name[channel.name] = channel.measured(value) - channel.measured(0.0)
        positions = by_name if len(message.position) else {}
        speeds = {} if len(message.position) else by_name
        self._send(JOINTS_TOPIC, message, speeds, positions, now)

    def _press(self, topic: str, held: bool, now: int) -> bool:
        """Whether a press of this topic begins."""
        before = self._stick.topic, self._stick.held
        begins = self._stick.note(topic, held, now)
        if self._rivals:
            self._stick.refuse()
            begins = False
        self._release_after(*before)
        if begins:
            self._pressed = now
            self._jog.begin()
            self._read()
            self.problem = self._why_not()
            self.get_logger().info(f"{topic}: the deadman is pressed; {self.problem}".rstrip("; "))
        return begins

    def _why_not(self) -> str:
        """Why the gate does not move for a press now, as a sentence; empty: it may."""
        report = self._fresh_report()
        if report is None:
            return GATE_SILENT
        if report.state not in ARMED:
            return "the gate is not armed; arm it, let go and press again"
        return ""

    def _fresh_report(self) -> SafetyReport | None:
        """What the gate said lately; None: nothing that says something of now."""
        heard = time.monotonic_ns() - self._gate_heard <= REPORT_TIMEOUT_NS
        return self._gate_report if heard else None

    def _send(
        self,
        topic: str,
        message: Any,
        speeds: Mapping[str, float],
        positions: Mapping[str, float],
        now: int,
    ) -> None:
        """A row, where this topic drives."""
        elapsed = now - self._heard.get(topic, now)
        self._heard[topic] = now
        self._read()
        self._follow_gate(now)
        if self._stick.topic != topic:
            if self._stick.holds(topic):
                self._hold()
            return
        self._look_for_stuck(speeds, now)
        self.stats.tick(topic, now)
        header = getattr(message, "header", None)
        stamp = convert.stamp_ns(header.stamp) if header else 0
        try:
            row = self._jog.row(speeds, positions, elapsed)
        except ValueError as error:
            # The person takes the robot all the same; it holds.
            self.problem = str(error)
            self.reject(f"bad {topic}", error)
            row = {}
        self._publish(self._stick.press, row, stamp or self.now())

    def _look_for_stuck(self, speeds: Mapping[str, float], now: int) -> None:
        """Raises ValueError where the stick has moved something the very same way for too long.

        The gate looks for that as well, and cannot for a joint: where it is to be moves on.
        """
        if self._pressed == now or speeds != self._speeds:
            self._speeds = dict(speeds)
            self._same_since = now
        same = now - self._same_since
        limit = to_nanoseconds(self.params[STUCK_STICK_LIMIT.name])
        if any(speeds.values()) and 0 < limit < same:
            raise ValueError(
                f"it has said the same for {to_seconds(same):.1f} s; at most "
                f"{to_seconds(limit):g} s: does it hang? let go and press again"
            )

    def _follow_gate(self, now: int) -> None:
        """A press that the gate ended, or never began, is to be let go for all to see."""
        report = self._gate_report
        # What the gate says just after a press may be of before it.
        if report is None or not self._stick.topic or now - self._pressed <= SETTLED_NS:
            return
        if report.state not in ARMED or report.rule == teleop_stick.name:
            self._stick.refuse()

    def _hold(self) -> None:
        """A deadman is held and drives nothing: the person has the robot, and it holds."""
        self._publish(self._stick.number, {}, self.now())

    def _release_after(self, topic: str, held: bool) -> None:
        """Says so where the press of `topic`, or the last deadman that was `held`, was let go."""
        if (topic and not self._stick.topic) or (held and not self._stick.held):
            self._release()

    def _release(self) -> None:
        self._publish(0, {}, self.now())

    def _publish(self, press: int, row: Mapping[str, float], stamp: int) -> None:
        self._sequence += 1
        values = np.array([list(row.values())], np.float32)
        chunk = ActionChunk(
            stamp, press, tuple(row), values, STEP_NS, self._sequence, TELEOP, process=self._life
        )
        self._rows.publish(convert.chunk_message(chunk))

    # -- what else is heard ------------------------------------------------------------
    def _read(self) -> None:
        """What the gate and the joints said since the last time."""
        now = time.monotonic_ns()
        for report in self._reports.take():
            self._gate_report = report
            self._gate_heard = now
            self._jog.sent.clear()
            for name, value in zip(report.channels, report.emitted):
                if value == value:  # NaN: it was sent nothing
                    self._jog.sent[name] = value
        for reader, channels in self._joint_readers.items():
            for message in reader.take():
                measured = dict(zip(message.name, message.position))
                for channel in channels:
                    if channel.joint in measured:
                        value = channel.measured(measured[channel.joint])
                        self._jog.measured[channel.name] = value

    def _look(self) -> None:
        if not self.active:
            return
        self._read()
        now = time.monotonic_ns()
        self._follow_gate(now)
        topic, held = self._stick.topic, self._stick.held
        if self._stick.look(now):
            self.get_logger().info(f"{topic} fell silent; the deadman counts as let go")
        self._release_after(topic, held)

    def _look_for_rivals(self) -> None:
        """Two publishers of one topic contradict each other: neither drives from now on."""
        crowded: list[str] = []
        for topic in BY_MESSAGES:
            count = self.count_publishers(self.resolve_topic_name(topic))
            if count > 1:
                crowded.append(f"{count} nodes publish {topic}; end all but one")
        rivals = "; ".join(crowded)
        if rivals and not self._rivals:
            self.notify_operator(f"teleop: {rivals}")
        if rivals or self.problem == self._rivals:
            self.problem = rivals
        self._rivals = rivals

    # -- the way back ------------------------------------------------------------------
    def _on_give_back(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success, response.message = self._give_back()
        self.get_logger().info(f"give_back: {response.message}")
        self.notify_operator(f"teleop: {response.message}")
        return response

    def _give_back(self) -> tuple[bool, str]:
        """Whether the policy has the robot again, and a sentence for who asked."""
        if not self.active:
            return False, f"{self.get_name()} is {self.state}, not active"
        self._read()
        report = self._fresh_report()
        if report is None:
            return False, GATE_SILENT
        # Asked first: a policy that drives is not to be reset.
        if report.control_source != TELEOP:
            return False, "nobody took the robot over; the policy has it"
        if self._stick.held:
            return False, "the deadman is held; let it go first"
        for reader in self._sticks:
            reader.discard()
        reset, sentence = self._reset_policy.ask(ANSWER_TIMEOUT_S, self._hear_sticks)
        if self._stick.held:
            return False, "the deadman was pressed meanwhile, so a person keeps the robot"
        if not reset:
            return False, f"the policy could not be reset, so a person keeps the robot: {sentence}"
        return self._gate_gives_back.ask(ANSWER_TIMEOUT_S, self._hear_sticks)

    def _hear_sticks(self) -> None:
        for reader, on_bytes in self._sticks.items():
            for data in reader.take():
                on_bytes(data)
        self._look()

    def diagnose(self) -> dict[str, str]:
        report = self._gate_report
        return {
            "control_source": report.control_source if report else "unknown",
            "driven by": self._stick.topic if self.state != "unconfigured" else "",
        }


def main() -> None:
    run(Teleop, start=True)


if __name__ == "__main__":
    main()
