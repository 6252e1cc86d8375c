"""The console as a node: hears the suite, serves the page, and publishes what a person presses."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.core.robot import load_robot
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.qos import EVENTS, FEEDBACK, HALTS, LATCHED
from vla_ros.nodes.common.run_node import run
from vla_ros.operator.client import Operator, call_trigger
from vla_ros.operator.console.access import AccessRules, Viewers, read_token
from vla_ros.operator.console.actions import (
    GATE_ACTIONS,
    SERVICES,
    WORDS,
    ActionLog,
    Confirmation,
    Who,
)
from vla_ros.operator.console.cameras import CameraFeed
from vla_ros.operator.console.gate_words import NEXT
from vla_ros.operator.console.server import ConsoleServer, listening_socket, missing_libraries
from vla_ros.operator.console.state import ConsoleState, HeardReport, HeardStatus
from vla_ros.operator.console.stop_publisher import StopPublisher
from vla_ros.safety.gate import STOP_PRESSED
from vla_ros_msgs.msg import Fault, Halt, Heartbeat, Instruction, SafetyReport

LOOK_PERIOD_S = 0.1
TICKS_A_SECOND = 10
ASK_PERIOD_S = 2.0  # between two questions for what the gate's robot file is
ANSWER_TIMEOUT_S = 2.0  # for a service
# Until the gate has heard that the stop was let go, as a rule and at the latest.
RELEASED_S = 0.2
RELEASED_WITHIN_S = 1.5
GOODBYE_S = 0.7  # each page asks twice a second or more
STOP_LINE_PERIOD_S = 1.0  # a stop that is held, or repeated sooner, is one line in the log
# Read ten times a second, all that came: best effort, so that no acknowledgement of ours keeps the
# gate busy.
REPORTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


class Console(ManagedNode):
    """Serves the operator's page. It watches, and says what a person says; no node needs it.

    Subscribed topics:
        safety_report (vla_ros_msgs/SafetyReport): what the gate does, and why.
        heartbeat (vla_ros_msgs/Heartbeat): which nodes live.
        instruction/accepted (vla_ros_msgs/Instruction): what holds.
        feedback (std_msgs/String): what the nodes say to the operator.
        fault (vla_ros_msgs/Fault): what the nodes report.
        halt (vla_ros_msgs/Halt): what the supervisor does.
        stop (std_msgs/Bool): whether it is pressed, here or by another button.
        /diagnostics (diagnostic_msgs/DiagnosticArray): rates, times, the recorder.
        the robot file's cameras: while a page shows them.

    Published topics:
        instruction (std_msgs/String): what is typed.
        stop (std_msgs/Bool): STOP, from a thread of its own, in every state of this node.
        record/note (std_msgs/String): a note on the episode.

    Clients:
        safety_validator/arm (std_srvs/Trigger): the second press.
        safety_validator/disarm (std_srvs/Trigger): a button.
        safety_validator/reset (std_srvs/Trigger): a button, which lets go of the page's stop first.
        safety_validator/get_parameters (rcl_interfaces/GetParameters): for the robot file, where
            `robot_file` is empty.
        teleop/give_back (std_srvs/Trigger): a button, where it is; and so are these:
        record/start (std_srvs/Trigger): begins an episode.
        record/stop (std_srvs/Trigger): ends and keeps it.
        record/discard (std_srvs/Trigger): drops it.
        record/success (std_srvs/Trigger): ends and marks it.
        record/failure (std_srvs/Trigger): likewise.
        blackbox/write (std_srvs/Trigger): keeps the last minutes.

    Parameters:
        `console` in nodes/node_parameters.py.

    Faults:
        none; nothing depends on this node.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("console", **options)
        namespace = self.get_namespace().rstrip("/")
        self._prefix = f"{namespace}/"
        self.operator = Operator(self, namespace)
        # here and not in `configure`: a press counts in every state
        self.stop = StopPublisher(self.operator.press_stop)
        self._note = self.create_publisher(String, "record/note", EVENTS)
        # Not "_services" and "_clients": rclpy's Node has these.
        self._buttons = {}
        for action, service in SERVICES.items():
            if action not in GATE_ACTIONS:
                self._buttons[action] = self.create_client(Trigger, service)
        self._gate_parameters = self.create_client(GetParameters, "safety_validator/get_parameters")
        self.viewers = Viewers(1)
        self.feeds: dict[str, CameraFeed] = {}
        self.url = ""
        self._server: ConsoleServer | None = None
        self._log = ActionLog()
        self._arming = Confirmation("arming")
        self._releasing = Confirmation("letting go of another's stop")
        self._reset_refused = False  # because the stop is pressed
        self._armed_by = ""
        self._said_by = ""
        self._stop_logged = 0.0  # steady s
        self._asked_gate: tuple[float, Any] = (0.0, None)
        self._ticks = 0
        self._ending = ""  # what the pages are told as the console ends
        self._version = 0  # of what changes seldom
        self._now_json = b"{}"
        self._more_json = b"{}"
        self._plot_json = b"{}"

    def configure(self) -> None:
        if sentence := missing_libraries():
            raise ValueError(sentence)
        host = self.params["console_host"]
        token = read_token(self.params["token_file"], host)
        self._access = AccessRules(token, host)
        self.viewers = Viewers(self.params["max_viewers"])
        self._state = ConsoleState()
        self._robot_file = ""
        self.feeds = {}
        if self.params["robot_file"]:
            self._know_robot(self.params["robot_file"])
        self._listener = listening_socket(host, self.params["console_port"])
        self._port = self._listener.getsockname()[1]
        shown_host = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown_host}:{self._port}"
        self._reports = self.add_reader(
            SafetyReport, "safety_report", REPORTS, read=reader_of(SafetyReport)
        )
        self._heartbeats = self.add_reader(
            Heartbeat, "heartbeat", REPORTS, read=reader_of(Heartbeat)
        )
        self._diagnoses = self.add_reader(DiagnosticArray, "/diagnostics", REPORTS)
        self._stops = self.add_reader(Bool, "stop", REPORTS)
        self.add_subscription(Instruction, "instruction/accepted", self._on_instruction, LATCHED)
        self.add_subscription(String, "feedback", self._on_feedback, FEEDBACK)
        self.add_subscription(Fault, "fault", self._on_fault, EVENTS)
        self.add_subscription(Halt, "halt", self._on_halt, HALTS)
        self.add_timer(LOOK_PERIOD_S, self._look)
        self._write(time.monotonic(), [])  # for who asks before the first look

    def activate(self) -> None:
        if self._listener.fileno() < 0:  # it served before, and was deactivated
            self._listener = listening_socket(self.params["console_host"], self._port)
        self._server = ConsoleServer(self, self._access, self._listener)
        self.get_logger().info(f"the console is at {self.url}")

    def deactivate(self) -> None:
        if self._server:
            self._say_goodbye()
            self._server.end()
            self._server = None

    def _say_goodbye(self) -> None:
        """The pages hear that the console ends, so that they do not take it for lost."""
        self._ending = self.params["farewell"] or "The console has ended."
        watched = self.viewers.names(time.monotonic())
        if watched:
            self._write(time.monotonic(), watched)
            time.sleep(GOODBYE_S)
        self._ending = ""

    def release(self) -> None:
        self._listener.close()
        for feed in self.feeds.values():
            feed.leave()

    def destroy_node(self) -> None:
        self.stop.end()
        super().destroy_node()

    def _know_robot(self, path: str) -> None:
        robot = load_robot(path)
        self._robot_file = path
        self._state.know_robot(robot)
        period = 1.0 / self.params["image_rate"]
        for camera in robot.cameras:
            self.feeds[camera.name] = CameraFeed(
                self,
                camera,
                self.params["image_width"],
                self.params["image_quality"],
                period,
                lambda sentence: self.reject("bad image", sentence),
            )

    # -- what is heard -----------------------------------------------------------------
    def _on_instruction(self, message: Instruction) -> None:
        self._state.sentences.accept(
            message.instruction_id, message.text, time.monotonic(), time.time()
        )

    def _on_feedback(self, message: String) -> None:
        self._state.on_feedback(message.data, time.time())

    def _on_fault(self, message: Fault) -> None:
        self._state.on_fault(message.kind, message.source, message.text, time.time())

    def _on_halt(self, message: Halt) -> None:
        self._state.on_halt(message.halted, message.reason)

    def _take(self, now: float) -> None:
        for report in self._reports.take():
            self._state.on_report(
                HeardReport(
                    report.state,
                    report.verdict,
                    report.rule,
                    report.reason,
                    report.control_source,
                    report.instruction_id,
                    report.sequence,
                    report.channels,
                    report.requested,
                    report.emitted,
                    stamp_ns(report.age) / 1e9,
                ),
                now,
            )
        for press in self._stops.take():
            self._state.on_stop(press.data)
        for heartbeat in self._heartbeats.take():
            self._state.on_heartbeat(heartbeat.node, heartbeat.state, now)
        for diagnosis in self._diagnoses.take():
            for status in diagnosis.status:
                ours = status.name.startswith(self._prefix)
                if not ours and not status.name.endswith(("recorder", "blackbox")):
                    continue  # a driver's, of which there may be hundreds
                values = {pair.key: pair.value for pair in status.values}
                level = int.from_bytes(status.level, "little")
                name = status.name.removeprefix(self._prefix)
                self._state.on_status(name, HeardStatus(level, status.message, values), now)

    def _look(self) -> None:
        now = time.monotonic()
        self._take(now)
        for feed in self.feeds.values():
            feed.look_after()
        if not self._robot_file:
            self._ask_robot_file(now)
        if log_goes_on():
            for line in self._log.take_lines():
                self.get_logger().info(line)
        self._ticks += 1
        watched = self.viewers.names(now)
        if watched or self._ticks % TICKS_A_SECOND == 1:
            self._write(now, watched)

    def _write(self, now: float, watched: list[str]) -> None:
        """What the viewers get, made once for all of them."""
        # what a person reads changes three times a second, what a person watches ten times
        seldom = self._ticks % TICKS_A_SECOND == 1
        if seldom:
            self._plot_json = json.dumps(self._state.plot(now)).encode()
        if seldom or self._ticks % 3 == 0 or not watched:
            more = self._state.more(now)
            more.update(
                cameras=list(self.feeds),
                buttons=[
                    name for name, button in self._buttons.items() if button.service_is_ready()
                ],
                actions=self._log.page(),
                armed_by=self._armed_by,
                said_by=self._said_by,
                viewers=watched,
                farewell=self.params["farewell"],
            )
            json_of_more = json.dumps(more).encode()
            if json_of_more != self._more_json:
                self._version += 1
                self._more_json = json_of_more
        state = self._state.now(now, self.stop.pressed, self._reset_refused)
        self._reset_refused &= state["gate"].get("state") == "STOPPED"
        state.update(tick=self._ticks, version=self._version, ending=self._ending)
        self._now_json = json.dumps(state).encode()

    def _ask_robot_file(self, now: float) -> None:
        """From the gate, which checks this robot's commands by it."""
        asked, future = self._asked_gate
        if future is not None and future.done():
            self._asked_gate = now, None
            answer = future.result()
            path = answer.values[0].string_value if answer and answer.values else ""
            if path:
                self._robot_file = path  # asked once, also where it cannot be read here
                try:
                    self._know_robot(path)
                except ValueError as error:
                    self.reject("the gate's robot file", error)
        elif now - asked > ASK_PERIOD_S and self._gate_parameters.service_is_ready():
            if future is not None:
                self._gate_parameters.remove_pending_request(future)
            request = GetParameters.Request(names=["robot_file"])
            self._asked_gate = now, self._gate_parameters.call_async(request)

    # -- what the server asks, in its threads --------------------------------------------
    def state_json(self, known: str) -> bytes:
        """What is true now; and what changes seldom, unless `known` is its version."""
        if known == str(self._version):
            return b'{"now": %b}' % self._now_json
        return b'{"now": %b, "more": %b}' % (self._now_json, self._more_json)

    def plot_json(self) -> bytes:
        return self._plot_json

    def press_stop(self, who: Who) -> int:
        """Never waits, and logs nothing: see log_goes_on."""
        held = self.stop.pressed
        number = self.stop.press()
        now = time.monotonic()
        if not held or now - self._stop_logged > STOP_LINE_PERIOD_S:
            self._log.add(time.time(), who, "STOP", True, "pressed")
        self._stop_logged = now
        return number

    def stop_outcome(self, number: int) -> str | None:
        """As StopPublisher.outcome has it."""
        return self.stop.outcome(number)

    def perform(self, action: str, who: Who, text: str, key: str) -> dict[str, Any]:
        """Does what a button says, and waits for what comes of it.

        Args:
            action: one of actions.ACTIONS.
            who: pressed it.
            text: of what is said or noted.
            key: of the first press, where a second is needed: ARM, and another's stop.

        Returns:
            `done`, a `sentence`, and for a first press of two its `key`.
        """
        # the first press does nothing, and is no action
        if action == "arm" and not key:
            gate = self._state.now(time.monotonic())["gate"]
            if gate.get("state") == "STOPPED":
                return {"done": False, "sentence": f"{gate['reason']}; press RESET first"}
            sentence = "the robot will be able to move: look at it, then press ARM again"
            key = self._arming.first(time.monotonic())
            return {"done": False, "sentence": sentence, "key": key}
        if action == "release" and not key and not self.stop.pressed:
            sentence = "this console did not press the stop: see who did, then press again"
            key = self._releasing.first(time.monotonic())
            return {"done": False, "sentence": sentence, "key": key}
        what = action.replace("_", " ").upper()
        if action in WORDS:
            what = f"{action} {text[:200]!r}"
        ways: dict[str, Callable[[], tuple[bool, str]]] = {
            "arm": partial(self._arm, key, who),
            "reset": self._reset,
            "release": partial(self._let_go, key),
            "say": partial(self._say, text, who),
            "note": partial(self._write_note, text),
            "disarm": partial(self.operator.call, action, ANSWER_TIMEOUT_S),
        }
        done, sentence = ways.get(action, partial(self._call, action))()
        self._log.add(time.time(), who, what, done, sentence)
        return {"done": done, "sentence": sentence}

    def _arm(self, key: str, who: Who) -> tuple[bool, str]:
        if problem := self._arming.second(key, time.monotonic()):
            return False, problem
        done, sentence = self.operator.call("arm", ANSWER_TIMEOUT_S)
        if done:
            self._armed_by = str(who)
        return done, sentence

    def _call(self, action: str) -> tuple[bool, str]:
        service = SERVICES[action]
        of, _, name = service.partition("/")
        return call_trigger(self._buttons[action], of, name, ANSWER_TIMEOUT_S)

    def _reset(self) -> tuple[bool, str]:
        if not self.stop.pressed:
            return self._ask_reset()
        self.stop.release()
        end = time.monotonic() + RELEASED_WITHIN_S
        while True:  # a busy gate may hear of the release later than it is asked
            time.sleep(RELEASED_S)
            done, sentence = self._ask_reset()
            if done or time.monotonic() > end:
                return done, sentence

    def _ask_reset(self) -> tuple[bool, str]:
        done, sentence = self.operator.call("reset", ANSWER_TIMEOUT_S)
        self._reset_refused = not done and sentence.startswith(STOP_PRESSED)
        return done, sentence

    def _let_go(self, key: str) -> tuple[bool, str]:
        # the gate has one flag for all buttons: a page that is behind must not clear another's
        mine = self.stop.pressed
        if not mine and (problem := self._releasing.second(key, time.monotonic())):
            return False, problem
        self._reset_refused = False
        self.stop.release()
        time.sleep(RELEASED_S)
        return True, f"the stop is let go. The robot stays stopped; next: {NEXT}"

    def _say(self, text: str, who: Who) -> tuple[bool, str]:
        if not self.operator.heard():
            return False, "nobody listens to the words; is command_ingest active?"
        try:
            self._state.sentences.say(text, str(who), time.monotonic(), time.time())
        except ValueError as error:
            return False, str(error)
        self.operator.say(text)
        self._said_by = str(who)
        return True, "sent"

    def _write_note(self, text: str) -> tuple[bool, str]:
        if not text.strip():
            return False, "there are no words in the note"
        self._note.publish(String(data=text[:1000]))
        return True, "noted"

    def diagnose(self) -> dict[str, str]:
        return {
            "url": self.url,
            "viewers": str(len(self.viewers.names(time.monotonic()))),
            "slowest stop (ms)": f"{self.stop.slowest_s * 1e3:.2f}",
            **({"stop failed": self.stop.problem} if self.stop.problem else {}),
        }


def log_goes_on() -> bool:
    """Whether a line waits for nobody.

    rclpy's logger holds the interpreter until the line is written: a terminal that is paused, or a
    pipe that nobody reads, would hold up the stop with everything else.
    """
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(0):
            return False
    return True


def main() -> None:
    run(Console, start=True)


if __name__ == "__main__":
    main()
