"""The robot's stand-in and the six nodes as processes, and an operator who watches what moves."""

from __future__ import annotations

import itertools
import json
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
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.operator.processes import NODES, ProcessGroup
from vla_ros_msgs.msg import SafetyReport

STILL = 0.01  # m/s and rad/s; below it the robot stands
FULL = 0.43  # rad/s; faster than this it turns at full speed: the policy asks for 0.465 to 0.495
LIMIT = 0.5  # rad/s, the robot files' operating limit
HELD = 2  # SafetyReport.verdict from which on the gate stops
STATES = {
    SafetyReport.DISARMED: "disarmed",
    SafetyReport.HOLDING: "holding",
    SafetyReport.ACTIVE: "active",
    SafetyReport.STOPPED: "stopped",
}
GATE = "safety_validator"
# how the gate's reason ends when it holds for words
SPEAK_AGAIN = ("give the instruction again", "no instruction")


@dataclass(frozen=True)
class Sample:
    """What the robot did, or a command where it reached it."""

    when: float  # steady s
    speeds: tuple[float, ...]  # m/s and rad/s of the wheels, or rad/s of an arm's fastest joint
    positions: tuple[float, ...] = ()  # rad, m, of an arm's joints

    @property
    def moving(self) -> bool:
        return max(map(abs, self.speeds)) >= STILL


@dataclass(frozen=True)
class Heard:
    """A report of the gate, and when it was heard (steady s). `stamp` is the gate's own (ROS clock,
    s)."""

    when: float
    stamp: float
    state: str
    verdict: int
    rule: str
    reason: str


class Suite:
    """`commands` are started in their order and stay up until `close`; times are steady seconds."""

    def __init__(
        self,
        folder: Path,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        logs: Path,
    ) -> None:
        self.folder = folder
        self.logs = logs
        self.motion: deque[Sample] = deque(maxlen=30_000)
        self.commands: deque[Sample] = deque(maxlen=30_000)
        self.reports: deque[Heard] = deque(maxlen=30_000)
        self.feedback: list[str] = []
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
        self.node.create_subscription(
            String, "/vla/feedback", lambda m: self.feedback.append(m.data), EVENTS
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        self.node.create_subscription(SafetyReport, "/vla/safety_report", self._on_report, EVENTS)
        self._words = self.node.create_publisher(String, "/vla/instruction", EVENTS)
        self._stop = self.node.create_publisher(Bool, "/vla/stop", EVENTS)
        self._faults = {
            what: self.node.create_publisher(String, f"/fault/{what}", EVENTS)
            for what in ("robot", "arm", "gate", "clock")
        }
        self._services = {
            verb: self.node.create_client(Trigger, f"/vla/{GATE}/{verb}")
            for verb in ("arm", "disarm", "reset")
        }
        self._change = self.node.create_client(ChangeState, f"/vla/{GATE}/change_state")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        # the supervisor is to notice
        self.group = ProcessGroup(respawn_delay=0.6, respawns_a_minute=30)
        self._environment = {**environment, FOLDER: str(folder)}
        for name, command in commands.items():
            self.group.start(name, command, self._environment, logs / f"{name}.log")

    # -- what is heard -----------------------------------------------------------------
    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/vla/supervisor: state":
                self.stages = {pair.key: pair.value for pair in status.values}

    def _on_report(self, message: SafetyReport) -> None:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
        self.reports.append(
            Heard(
                time.monotonic(),
                stamp,
                STATES[message.state],
                message.verdict,
                message.rule,
                message.reason,
            )
        )

    def look(self) -> None:
        """Reads what the robot wrote since the last time, and respawns what died."""
        self.group.poll()
        while line := self._log.readline():
            if not line.endswith("\n"):  # half a line: the rest comes with the next look
                self._log.seek(self._log.tell() - len(line))
                return
            (kind, when, *speeds), positions = map(str.split, line.split("/"))
            sample = Sample(float(when), tuple(map(float, speeds)), tuple(map(float, positions)))
            (self.motion if kind == "s" else self.commands).append(sample)

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        """TimeoutError, with what is known, where `condition` does not become true."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            if condition():
                return
            if time.monotonic() >= end:
                last = self.reports[-1] if self.reports else None
                raise TimeoutError(
                    f"not within {seconds:g} s: {what}; {last}; {self.stages}; {self.feedback[-5:]}"
                )
            time.sleep(0.01)

    def watch(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, seconds + 1.0, "time passes")

    def since(self, when: float) -> list[Sample]:
        """What moved after `when`."""
        late = itertools.takewhile(lambda sample: sample.when > when, reversed(self.motion))
        return list(late)[::-1]

    def standstill(self, when: float, seconds: float = 8.0, stays: float = 0.25) -> float:
        """Seconds from `when` until the robot stands; it then does so for `stays` at least."""

        def stands() -> bool:
            late = self.since(max(when, time.monotonic() - stays))
            return (
                len(late) > 25 * stays
                and late[-1].when > when + stays - 0.05
                and not any(s.moving for s in late)
            )

        self.wait(stands, seconds, "the robot stands")
        return (
            max([sample.when for sample in self.since(when) if sample.moving], default=when) - when
        )

    def zero_sent(self, when: float) -> float | None:
        """Seconds from `when` until the first command of zero reached the robot."""
        late = [sample for sample in self.commands if sample.when > when]
        first = next((sample for sample in late if not sample.moving), None)
        return first.when - when if first else None

    def stopped_by(self, when: float, until: float) -> Heard | None:
        """The gate's first finding that holds or stops, heard between the two."""
        between = (heard for heard in list(self.reports) if when < heard.when <= until)
        return next((heard for heard in between if heard.verdict >= HELD), None)

    def fresh(self, seconds: float = 15.0) -> Heard:
        """A report from now on: a killed gate's last words are not the new one's."""
        now = time.monotonic()
        self.wait(lambda: self.reports and self.reports[-1].when > now, seconds, "the gate reports")
        return self.reports[-1]

    def spinning(self) -> bool:
        late = self.since(time.monotonic() - 0.2)
        return len(late) > 3 and all(abs(sample.speeds[-1]) > FULL for sample in late[-3:])

    def all_active(self) -> bool:
        return [self.stages.get(name) for name in NODES if name != "supervisor"] == ["active"] * 5

    # -- what the operator does --------------------------------------------------------
    def call(self, verb: str) -> Trigger.Response:
        """Asks again where nothing is heard: a gate that just came back may not know yet whom it
        answers."""
        client = self._services[verb]
        futures = []
        for _ in range(3):
            self.wait(client.service_is_ready, 10.0, f"the service {verb}")
            futures.append(client.call_async(Trigger.Request()))
            with suppress(TimeoutError):
                self.wait(
                    lambda: any(future.done() for future in futures), 2.0, f"an answer to {verb}"
                )
                return next(future.result() for future in futures if future.done())
        raise TimeoutError(f"no answer to {verb}; {self.stages}; {self.feedback[-5:]}")

    def change(self, transition: int) -> None:
        """A lifecycle transition of the gate, by hand; returns when it was asked for, not when it
        is done."""
        self.wait(self._change.service_is_ready, 10.0, "the gate's lifecycle service")
        self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def press(self, pressed: bool) -> None:
        self._stop.publish(Bool(data=pressed))

    def fault(self, what: str, verb: str) -> float:
        """To one of the stand-ins that can fail; returns when it did."""
        note = self.folder / what
        note.unlink(missing_ok=True)
        self.wait(self._faults[what].get_subscription_count, 5.0, f"{what} hears of its fault")
        self._faults[what].publish(String(data=verb))
        return self.noted(what, 5.0)

    def noted(self, what: str, seconds: float) -> float:
        """When `what` began to fail, by its own word."""
        note = self.folder / what
        self.wait(note.exists, seconds, f"{what} fails")
        return float(note.read_text(encoding="ascii"))

    def utter(self, text: str) -> None:
        self._words.publish(String(data=text))

    def say(self, text: str) -> None:
        """As a person does: again, until an answer is heard (a node that just came back may miss
        the first)."""
        for _ in range(10):
            del self.feedback[:]
            self.utter(text)
            try:
                return self.wait(lambda: f"accepted: {text}" in self.feedback, 1.0, "an answer")
            except TimeoutError:
                continue
        raise TimeoutError(f"nobody answered '{text}'; {self.stages}; {self.feedback[-5:]}")

    def spin(self, patience: float = 0.0) -> list[str]:
        """Turning at full speed, from whatever state; returns what a person had to do for it.

        `patience`: how long (s) it may take to come back by itself.
        """
        done: list[str] = []
        self.watch_for_spin(patience)
        self.wait(self.all_active, 60.0, "all nodes active")
        end = time.monotonic() + 40.0
        while not self.spinning():
            heard = self.fresh()
            state = heard.state
            # a flood's garbage was taken for an instruction; arming forgets it
            if "came again after" in heard.reason:
                self.call("disarm")
                state = "disarmed"
            step = {"stopped": "reset", "disarmed": "arm"}.get(state, "instruction")
            if step != "instruction":
                answer = self.call(step)
                if answer.success:
                    done.append(step)
                else:
                    self.watch(0.1)
            else:
                # it held for a moment: a machine that starts processes has no time for others
                if patience > 0.0:
                    self.watch_for_spin(1.0)
                    patience = 0.0
                    continue
                self.say("spin")
                done.append(step)
                try:
                    self.wait(self.spinning, 3.0, "the robot spins")
                except TimeoutError:
                    # something has happened again meanwhile; the state says what is to be done
                    pass
            if time.monotonic() > end:
                raise TimeoutError(
                    f"the robot does not move again: {done}; {self.fresh()}; {self.stages}"
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
        if last is None or time.monotonic() - last.when > 0.15:
            return False
        return last.state in ("stopped", "disarmed") or last.reason.endswith(SPEAK_AGAIN)

    def close(self) -> None:
        self.group.stop()
        self.machine.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown()
        self._log.close()

    # -- floods ------------------------------------------------------------------------
    def start_flood(self, kinds: Sequence[str], rate: float) -> None:
        """`rate` (1/s) of all together. Returns when all of them are at it."""
        for kind in kinds:
            command = [
                sys.executable,
                "-m",
                "vla_ros.bench.faults.flood",
                kind,
                str(rate / len(kinds)),
                str(self._tally(kind)),
            ]
            self._tally(kind).unlink(missing_ok=True)
            self._tally(kind).with_suffix(".began").unlink(missing_ok=True)
            self.group.start(
                f"flood {kind}",
                command,
                self._environment,
                self.folder / f"flood {kind}.log",
                respawn=False,
            )
        for kind in kinds:
            self.wait(
                self._tally(kind).with_suffix(".began").exists, 20.0, f"the flood of {kind} begins"
            )

    def stop_flood(self, kinds: Sequence[str]) -> dict[str, float]:
        """Kind -> how many a second went out."""
        self.group.stop([f"flood {kind}" for kind in kinds])
        tallies = {
            kind: json.loads(self._tally(kind).read_text(encoding="utf-8")) for kind in kinds
        }
        return {kind: tally["sent"] / tally["seconds"] for kind, tally in tallies.items()}

    def _tally(self, kind: str) -> Path:
        return self.folder / f"flood {kind}.json"
