"""The robot's stand-in and the six nodes as processes, and an operator who watches what moves."""

from __future__ import annotations

import itertools
import json
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.bench.faults.network import Cable
from vla_ros.bench.faults.valve import FOLDER, MOTION
from vla_ros.bench.lateness import Lateness
from vla_ros.core.types import TELEOP
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.operator.processes import NODES, ProcessGroup
from vla_ros_msgs.msg import SafetyReport

STILL_SPEED = 0.01  # m/s and rad/s; below it the robot stands
# faster than this it turns at full speed: the policy asks for 0.465 to 0.495
FULL_SPEED_RAD_S = 0.43
LIMIT_RAD_S = 0.5  # the robot files' operating limit
OLD_INSTRUCTION_S = 60.0  # it is said again before the next fault; the gate lets it age to 120 s
REPORT_AGE_S = 0.15  # a report that is older, by seven periods of the gate, says nothing of now
STATES = {
    SafetyReport.DISARMED: "disarmed",
    SafetyReport.HOLDING: "holding",
    SafetyReport.ACTIVE: "active",
    SafetyReport.STOPPED: "stopped",
}
GATE = "safety_validator"
GIVE_BACK = "give back"
# how the gate's reason ends when it holds for words
SPEAK_AGAIN = ("give the instruction again", "no instruction")


@dataclass(frozen=True)
class MotionSample:
    """What the robot did, or a command where it reached it."""

    when: float  # steady s
    speeds: tuple[float, ...]  # m/s and rad/s of the wheels, or rad/s of an arm's fastest joint
    positions: tuple[float, ...] = ()  # rad, m, of an arm's joints

    @property
    def moving(self) -> bool:
        return max(map(abs, self.speeds)) >= STILL_SPEED


@dataclass(frozen=True)
class GateReport:
    """A report of the gate."""

    when: float  # it was heard, steady s
    stamp: float  # the gate's own, s of the ROS clock
    state: str
    verdict: int
    rule: str
    reason: str
    control_source: str


class Suite:
    """The processes, started in their order, up until `close`; and the operator's ROS node.

    All times are steady seconds. What is published arrives in a thread of its own; `look` reads
    what the robot wrote, and everything that waits here calls it.

    Args:
        folder: where the stand-ins note their faults and the robot's motion.
        commands: process -> argv.
        environment: theirs.
        logs: where their logs go; it may be a disk that fills up.
    """

    def __init__(
        self,
        folder: Path,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        logs: Path,
    ) -> None:
        self.folder = folder
        self.logs = logs
        # ten minutes at 50 Hz
        self.motion: deque[MotionSample] = deque(maxlen=30_000)
        self.commands: deque[MotionSample] = deque(maxlen=30_000)
        self.reports: deque[GateReport] = deque(maxlen=30_000)
        self.feedback: list[str] = []
        self._uttered = -math.inf  # steady s, when anything was said last
        self.stages: dict[str, str] = {}
        self.machine = Lateness(folder)
        (folder / MOTION).touch()
        self._log = open(folder / MOTION, encoding="ascii")  # noqa: SIM115 (until close)
        self.cannot: dict[str, str] = {}  # what cannot be had on this machine, and why
        self.cable: Cable | None = None
        # what stops the robot where the gate says nothing more
        self.alone = "the driver's time-out"
        self.notes: list[str] = []  # what the fault at hand has to say besides
        self.problems: list[str] = []  # and what was wrong
        rclpy.init()
        self.node = rclpy.create_node("operator")
        self.node.create_subscription(String, "/vla/feedback", self._on_feedback, EVENTS)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        self.node.create_subscription(SafetyReport, "/vla/safety_report", self._on_report, EVENTS)
        self._words = self.node.create_publisher(String, "/vla/instruction", EVENTS)
        self._stop = self.node.create_publisher(Bool, "/vla/stop", EVENTS)
        self._faults = {}
        for stand_in in ("robot", "arm", "gate", "clock", "stick"):
            publisher = self.node.create_publisher(String, f"/fault/{stand_in}", EVENTS)
            self._faults[stand_in] = publisher
        self._services = {}
        for verb in ("arm", "disarm", "reset"):
            self._services[verb] = self.node.create_client(Trigger, f"/vla/{GATE}/{verb}")
        self._services[GIVE_BACK] = self.node.create_client(Trigger, "/vla/teleop/give_back")
        self._change = self.node.create_client(ChangeState, f"/vla/{GATE}/change_state")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        # not at once: the supervisor is to notice
        self.group = ProcessGroup(respawn_delay=0.6, respawns_a_minute=30)
        self._environment = {**environment, FOLDER: str(folder)}
        for name, command in commands.items():
            self.group.start(name, command, self._environment, logs / f"{name}.log")

    # -- what is heard -----------------------------------------------------------------
    def _on_feedback(self, message: String) -> None:
        self.feedback.append(message.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/vla/supervisor: state":
                self.stages = {pair.key: pair.value for pair in status.values}

    def _on_report(self, message: SafetyReport) -> None:
        self.reports.append(
            GateReport(
                when=time.monotonic(),
                stamp=message.header.stamp.sec + message.header.stamp.nanosec / 1e9,
                state=STATES[message.state],
                verdict=message.verdict,
                rule=message.rule,
                reason=message.reason,
                control_source=message.control_source,
            )
        )

    def look(self) -> None:
        """Reads what the robot wrote since the last time, and respawns what died."""
        self.group.poll()
        while line := self._log.readline():
            if not line.endswith("\n"):  # half a line: the rest comes with the next look
                self._log.seek(self._log.tell() - len(line))
                return
            # "KIND TIME SPEED ... / POSITION ...", as valve.MotionLog writes it
            (kind, when, *speeds), positions = map(str.split, line.split("/"))
            sample = MotionSample(
                float(when), tuple(map(float, speeds)), tuple(map(float, positions))
            )
            if kind == "s":
                self.motion.append(sample)
            else:
                self.commands.append(sample)

    def wait(self, condition: Callable[[], Any], seconds: float, awaited: str) -> None:
        """Until `condition` is true; TimeoutError, with what is known, where it does not come."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            if condition():
                return
            if time.monotonic() >= end:
                last = self.reports[-1] if self.reports else None
                known = f"{last}; {self.stages}; {self.feedback[-5:]}"
                raise TimeoutError(f"not within {seconds:g} s: {awaited}; {known}")
            time.sleep(0.01)

    def watch(self, seconds: float) -> None:
        """Lets time pass, and reads what the robot writes meanwhile."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, seconds + 1.0, "time passes")

    def since(self, when: float) -> list[MotionSample]:
        """What moved after `when`."""
        late = itertools.takewhile(lambda sample: sample.when > when, reversed(self.motion))
        return list(late)[::-1]

    def standstill(self, when: float, seconds: float = 8.0, stays: float = 0.25) -> float:
        """Seconds from `when` until the robot stands; it then does so for `stays` at least."""

        def stands() -> bool:
            begin = max(when, time.monotonic() - stays)
            samples = self.since(begin)
            # Half of what a robot writes at 50 Hz, up to now: one that writes nothing may move.
            enough = len(samples) > 25 * stays and samples[-1].when > when + stays - 0.05
            return enough and not self.moved(begin)

        self.wait(stands, seconds, "the robot stands")
        moved_last = when
        for sample in self.since(when):
            if sample.moving:
                moved_last = sample.when
        return moved_last - when

    def zero_sent(self, when: float) -> float | None:
        """Seconds from `when` until the first command of zero reached the robot."""
        for command in self.commands:
            if command.when > when and not command.moving:
                return command.when - when
        return None

    def stopped_by(self, when: float, until: float) -> GateReport | None:
        """The gate's first finding that holds or stops, heard between the two."""
        for report in list(self.reports):  # a copy: the other thread adds to it
            if when < report.when <= until and report.verdict >= SafetyReport.HELD:
                return report
        return None

    def report_stamps(self, when: float, until: float) -> list[float]:
        """The gate's own stamps (s, ROS clock) of its reports that were heard between the two."""
        return [report.stamp for report in list(self.reports) if when < report.when < until]

    def moved(self, when: float, until: float = math.inf) -> bool:
        """Whether the robot moved between the two."""
        return any(sample.moving and sample.when <= until for sample in self.since(when))

    def step_times(self, when: float, until: float) -> list[float]:
        """When the robot's own control steps between the two were (steady s)."""
        return [sample.when for sample in self.since(when) if sample.when <= until]

    def fresh(self, seconds: float = 15.0) -> GateReport:
        """A report from now on: a killed gate's last words are not the new one's.

        The second that is heard: a gate that was stopped in the middle of its tick first says what
        it had decided before.
        """
        now = time.monotonic()
        self.wait(
            lambda: len(self.reports) > 1 and self.reports[-2].when > now,
            seconds,
            "the gate reports",
        )
        return self.reports[-1]

    def spinning(self) -> bool:
        """Whether the robot turns at full speed now, or an arm moves at it."""
        samples = self.since(time.monotonic() - 0.2)
        if len(samples) <= 3:
            return False
        return min(abs(sample.speeds[-1]) for sample in samples[-3:]) > FULL_SPEED_RAD_S

    def all_active(self) -> bool:
        return [self.stages.get(name) for name in NODES if name != "supervisor"] == ["active"] * 5

    # -- what the operator does --------------------------------------------------------
    def call(self, verb: str) -> Trigger.Response:
        """The answer to a request (arm, disarm, reset, GIVE_BACK); TimeoutError without one.

        Asks again where nothing is heard: a gate that just came back may not know yet whom it
        answers.
        """
        client = self._services[verb]
        futures: list[Any] = []

        def answered() -> list[Any]:
            return [future for future in futures if future.done()]

        for _ in range(3):
            self.wait(client.service_is_ready, 10.0, f"the service {verb}")
            futures.append(client.call_async(Trigger.Request()))
            with suppress(TimeoutError):
                self.wait(answered, 2.0, f"an answer to {verb}")
                return answered()[0].result()  # late ones count as well
        raise TimeoutError(f"no answer to {verb}; {self.stages}; {self.feedback[-5:]}")

    def change(self, transition: int) -> None:
        """Asks for a lifecycle transition of the gate, by hand; does not wait until it is done."""
        self.wait(self._change.service_is_ready, 10.0, "the gate's lifecycle service")
        self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def press(self, pressed: bool) -> None:
        """The stop button, or lets it go."""
        self._stop.publish(Bool(data=pressed))

    def fault(self, stand_in: str, verb: str) -> float:
        """Tells a stand-in (one of `_faults`) to fail; returns when it did, steady s."""
        (self.folder / stand_in).unlink(missing_ok=True)
        publisher = self._faults[stand_in]
        self.wait(publisher.get_subscription_count, 5.0, f"{stand_in} hears of its fault")
        publisher.publish(String(data=verb))
        return self.noted(stand_in, 5.0)

    def noted(self, stand_in: str, seconds: float) -> float:
        """When it began to fail, by its own word (valve.note): steady s."""
        note = self.folder / stand_in
        self.wait(note.exists, seconds, f"{stand_in} fails")
        return float(note.read_text(encoding="ascii"))

    def utter(self, text: str) -> None:
        """Once, whoever hears it."""
        self._uttered = time.monotonic()
        self._words.publish(String(data=text))

    def say(self, text: str) -> None:
        """As a person does: again, until it is accepted.

        A node that just came back may miss the first.
        """
        for _ in range(10):
            del self.feedback[:]
            self.utter(text)
            try:
                return self.wait(lambda: f"accepted: {text}" in self.feedback, 1.0, "an answer")
            except TimeoutError:
                continue
        raise TimeoutError(f"nobody answered '{text}'; {self.stages}; {self.feedback[-5:]}")

    def spin(self, patience: float = 0.0) -> list[str]:
        """Brings the robot to full speed, from whatever state.

        Args:
            patience: how long (s) it may take to come back by itself.

        Returns:
            What a person had to do for it: reset, arm, instruction.

        Raises:
            TimeoutError: it does not move again, or not all nodes are back.
        """
        done: list[str] = []
        refusal = ""
        self.watch_for_spin(patience)
        self.wait(self.all_active, 60.0, "all nodes active")
        if self.spinning() and time.monotonic() > self._uttered + OLD_INSTRUCTION_S:
            self.say("spin")
            self.watch(0.5)  # it slows down where the policy begins anew
        end = time.monotonic() + 40.0
        while not self.spinning():
            report = self.fresh()
            state = report.state
            # a flood's garbage was taken for an instruction; arming forgets it
            if "came again after" in report.reason:
                self.call("disarm")
                state = "disarmed"
            step = {"stopped": "reset", "disarmed": "arm"}.get(state, "instruction")
            if step == "instruction" and report.control_source == TELEOP:
                step = GIVE_BACK
            if step == GIVE_BACK:
                # A node that just came back may not be known for a while.
                with suppress(TimeoutError):
                    if self.call(step).success:
                        done.append(step)
                        self.wait(
                            lambda: self.reports[-1].control_source != TELEOP, 2.0, "it is back"
                        )
                        self.watch_for_spin(1.5)  # the policy goes on with what was said
            elif step != "instruction":
                answer = self.call(step)
                if answer.success:
                    done.append(step)
                else:
                    refusal = f"{step} refused: {answer.message}"
                    self.watch(0.1)
            elif patience > 0.0:
                # it held for a moment: a machine that starts processes has no time for others
                self.watch_for_spin(1.0)
                patience = 0.0
                continue
            else:
                self.say("spin")
                done.append(step)
                # else something has happened again meanwhile; the state says what is to be done
                with suppress(TimeoutError):
                    self.wait(self.spinning, 3.0, "the robot spins")
            if time.monotonic() > end:
                raise TimeoutError(
                    f"the robot does not move again: {done}; {refusal}; {self.fresh()}; "
                    f"{self.stages}"
                )
        return list(dict.fromkeys(done))

    def watch_for_spin(self, seconds: float) -> None:
        """For `seconds`, as long as there is hope."""
        end = time.monotonic() + seconds
        while not self.spinning() and time.monotonic() < end and not self.waits_for_person():
            self.watch(0.05)

    def waits_for_person(self) -> bool:
        """Whether the gate says so now; what it said before it fell silent counts no more."""
        last = self.reports[-1] if self.reports else None
        if last is None or time.monotonic() - last.when > REPORT_AGE_S:
            return False
        if last.state in ("stopped", "disarmed") or last.control_source == TELEOP:
            return True
        return last.reason.endswith(SPEAK_AGAIN)

    def close(self) -> None:
        """Ends all processes, then the operator's node."""
        self.group.stop()
        self.machine.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown()
        self._log.close()

    # -- floods ------------------------------------------------------------------------
    def start_flood(self, kinds: Sequence[str], rate: float) -> None:
        """A process for each of `kinds`, `rate` (1/s) of all together; returns when all send."""
        module = [sys.executable, "-m", "vla_ros.bench.faults.flood"]
        rate_of_each = str(rate / len(kinds))
        for kind in kinds:
            tally = self._tally(kind)
            tally.unlink(missing_ok=True)
            tally.with_suffix(".began").unlink(missing_ok=True)
            command = [*module, kind, rate_of_each, str(tally)]
            log = tally.with_suffix(".log")
            self.group.start(f"flood {kind}", command, self._environment, log, respawn=False)
        for kind in kinds:
            began = self._tally(kind).with_suffix(".began")
            self.wait(began.exists, 20.0, f"the flood of {kind} begins")

    def stop_flood(self, kinds: Sequence[str]) -> dict[str, float]:
        """Kind -> how many a second went out."""
        self.group.stop([f"flood {kind}" for kind in kinds])
        rates = {}
        for kind in kinds:
            tally = json.loads(self._tally(kind).read_text(encoding="utf-8"))
            rates[kind] = tally["sent"] / tally["seconds"]
        return rates

    def _tally(self, kind: str) -> Path:
        return self.folder / f"flood {kind}.json"
