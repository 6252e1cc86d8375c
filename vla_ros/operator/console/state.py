"""What the page shows, as plain data: no ROS, and no clock but the one that is passed in.

Times are steady seconds, but for `when`, which is s since 1970. Nothing here grows without bound.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import TELEOP
from vla_ros.operator.console.gate_words import (
    NEXT,
    STATES,
    activity,
    doing,
    rule_words,
    stopped,
)
from vla_ros.operator.console.sentences import SentenceHistory
from vla_ros.safety.gate import STOP_PRESSED
from vla_ros.safety.rules.instruction_match import GIVE_AGAIN, instruction_match

GATE_SILENT_S = 0.5  # twenty-five reports; beyond it nothing on the page is live
NODE_SILENT_S = 1.0  # the supervisor's heartbeat_timeout
NODE_FORGOTTEN_S = 60.0
DIAGNOSTICS_SILENT_S = 5.0  # whoever fell silent for longer is shown no more
PLOT_S = 60.0
PLOT_PERIOD_S = 0.2
MOST_FAULTS = 20
MOST_REMARKS = 20
MOST_NODES = 64
MOST_LATENCIES = 300  # some ten seconds of actions
STILL_SPEED = 1e-3  # m/s, rad/s: less is no motion
STILL_SHARE = 0.01  # of a position's limits: less is no motion
LIMITED = 1  # SafetyReport.verdict


class HeardReport(NamedTuple):
    """A SafetyReport's fields; values in SI units, `age_s` that of the image behind the action."""

    state: int
    verdict: int
    rule: str
    reason: str
    control_source: str
    instruction_id: int
    sequence: int
    channels: Sequence[str]
    requested: Sequence[float]
    emitted: Sequence[float]
    age_s: float


class HeardStatus(NamedTuple):
    """One status of /diagnostics."""

    level: int
    message: str
    values: Mapping[str, str]


class ConsoleState:
    """Hears what the suite says and puts it together; written and read in one thread."""

    def __init__(self) -> None:
        self.sentences = SentenceHistory()
        self._robot: Robot | None = None
        self._known: dict[str, Channel] = {}  # the robot's, by name
        self._report: HeardReport | None = None
        self._reported = -math.inf
        self._stop_pressed: bool | None = None  # as was heard last
        self._still_since = 0.0
        self._still_at: Sequence[float] = ()  # what was sent then
        self._last_action = (-1, -1)  # instruction_id, sequence
        self._latencies: deque[float] = deque(maxlen=MOST_LATENCIES)  # ms
        self._plot: deque[tuple[float, list[float | None], list[float | None]]] = deque(
            maxlen=round(PLOT_S / PLOT_PERIOD_S)
        )
        self._nodes: dict[str, tuple[str, float]] = {}  # name -> state, and when it was heard
        self._statuses: dict[str, tuple[HeardStatus, float]] = {}  # "node: task" -> and when
        self._faults: deque[dict[str, Any]] = deque(maxlen=MOST_FAULTS)
        self._remarks: deque[dict[str, Any]] = deque(maxlen=MOST_REMARKS)
        self._halt = ""

    # -- what is heard -----------------------------------------------------------------
    def know_robot(self, robot: Robot) -> None:
        """Its channels' limits, which the bars need."""
        self._robot = robot
        self._known = {channel.name: channel for channel in robot.channels}

    def on_report(self, report: HeardReport, now: float) -> None:
        """What the gate did in a tick."""
        self._note_motion(report, now)
        self._report = report
        self._reported = now
        self._note_outcome(report, now)
        action = (report.instruction_id, report.sequence)
        # An action stays on for several reports; its age at the first one is the latency.
        if report.state == STATES.index("ACTIVE") and action != self._last_action:
            self._last_action = action
            self._latencies.append(report.age_s * 1e3)
        if not self._plot or now - self._plot[-1][0] >= PLOT_PERIOD_S:
            self._plot.append((now, _finite(report.requested), _finite(report.emitted)))

    def _note_motion(self, report: HeardReport, now: float) -> None:
        before = self._report
        # where it begins with an instruction, it may look before it moves
        begins = before is None or before.instruction_id != report.instruction_id
        armed = report.state == STATES.index("ACTIVE")
        moves = begins or not armed or not self._known or len(self._still_at) != len(report.emitted)
        for name, value, then in zip(report.channels, report.emitted, self._still_at):
            channel = self._known.get(name)
            if channel is None or not math.isfinite(value):
                continue
            if channel.is_velocity:
                moves |= abs(value) > STILL_SPEED
            else:
                reach = STILL_SHARE * (channel.limits[1] - channel.limits[0])
                moves |= not abs(value - then) <= reach  # NaN before: it was sent nothing
        if moves:
            self._still_since = now
            self._still_at = tuple(report.emitted)

    def _note_outcome(self, report: HeardReport, now: float) -> None:
        """What the gate says of the instruction that holds."""
        state = _named(STATES, report.state)
        if state == "ACTIVE" and report.control_source != TELEOP:
            self.sentences.follow(report.instruction_id)
        elif state == "DISARMED":
            text = "the robot is not armed: press ARM twice, then say it again"
            self.sentences.forget("the robot was disarmed", text, now)
        elif state == "STOPPED":
            self.sentences.forget(report.reason, f"the robot is stopped: {NEXT}", now)
        elif report.rule == instruction_match.name and report.reason.endswith(GIVE_AGAIN):
            self.sentences.forget(report.reason, report.reason, now)

    def on_stop(self, pressed: bool) -> None:
        """A button was pressed or let go."""
        self._stop_pressed = pressed

    def on_heartbeat(self, node: str, state: str, now: float) -> None:
        """A node is alive."""
        # a program that makes up names fills no memory
        if node in self._nodes or len(self._nodes) < MOST_NODES:
            self._nodes[node] = state, now

    def on_status(self, name: str, status: HeardStatus, now: float) -> None:
        """A status of one of the suite's nodes; `name` is "node: task", without the namespace."""
        if name in self._statuses or len(self._statuses) < 16 * MOST_NODES:
            self._statuses[name] = status, now

    def on_fault(self, kind: str, source: str, text: str, when: float) -> None:
        """A node reports a fault; what is repeated each second is one line that is counted."""
        newest = self._faults[-1] if self._faults else None
        if newest and (newest["kind"], newest["source"]) == (kind, source):
            newest["count"] += 1
            newest["when"] = when
            newest["text"] = text[:300]
            return
        fault = {"when": when, "kind": kind, "source": source, "text": text[:300], "count": 1}
        self._faults.append(fault)

    def on_halt(self, halted: bool, reason: str) -> None:
        """The supervisor halts the robot, or takes that back."""
        self._halt = reason or "the supervisor halted the robot" if halted or reason else ""

    def on_feedback(self, line: str, when: float) -> None:
        """What a node says to the operator."""
        self.sentences.remark(line)
        self._remarks.append({"when": when, "text": line[:300]})

    # -- what is shown -----------------------------------------------------------------
    def now(
        self, now: float, stop_here: bool = False, reset_refused: bool = False
    ) -> dict[str, Any]:
        """What changes all the time, ready for JSON.

        Args:
            now: steady s.
            stop_here: this console pressed the stop, and has not let go.
            reset_refused: the gate refused a reset because the stop is pressed.
        """
        gate = self._gate(now, stop_here, reset_refused)
        # this console may have been started anew since, or another's button may be pressed
        by_stop = gate.get("state") == "STOPPED" and gate["reason"].startswith(STOP_PRESSED)
        let_go = self._stop_pressed is False
        return {
            "gate": gate,
            "instruction": self.sentences.instruction,
            "stop_pressed": stop_here or reset_refused or (by_stop and not let_go),
        }

    def more(self, now: float) -> dict[str, Any]:
        """What changes now and then."""
        self.sentences.look(now)
        return {
            "robot": self._robot.name if self._robot else "",
            "sentences": self.sentences.page(),
            "nodes": self._page_nodes(now),
            "faults": list(reversed(self._faults)),
            "halt": self._halt,
            "remarks": list(reversed(self._remarks)),
            "latency": self._page_latency(now),
            "cadence": self._page_cadence(now),
            "recorder": self._values_of("recorder", now),
            "blackbox": self._values_of("blackbox", now),
        }

    def plot(self, now: float) -> dict[str, Any]:
        """The last minute: for each moment its age in s, and the rows."""
        channels = list(self._report.channels) if self._report else []
        rows = []
        for at, requested, emitted in self._plot:
            # a robot file that changed gives other rows, which belong to no line
            if now - at <= PLOT_S and len(emitted) == len(channels):
                rows.append([round(now - at, 2), requested, emitted])
        return {"channels": channels, "rows": rows}

    def _gate(self, now: float, stop_here: bool, reset_refused: bool) -> dict[str, Any]:
        report = self._report
        silent = now - self._reported
        if report is None or silent > GATE_SILENT_S:
            return {"alive": False, "silent_s": None if report is None else round(silent, 1)}
        state = _named(STATES, report.state)
        by_person = report.control_source == TELEOP
        reason = report.reason[:500]
        if state == "STOPPED":
            pressed = True if reset_refused else self._stop_pressed
            meaning = stopped(reason, pressed, stop_here)
        else:
            still_s = now - self._still_since
            meaning = doing(state, by_person, reason, self.sentences.current, still_s)
        # what the sentence does not say already
        detail = reason if state == "HOLDING" and reason not in meaning else ""
        if report.verdict == LIMITED:
            detail = f"limited: {reason}"
        return {
            "alive": True,
            "state": state,
            "activity": activity(state, by_person, meaning),
            "rule": report.rule[:100],
            "reason": reason,
            "meaning": meaning,
            "detail": detail,
            **rule_words(report.rule),
            "channels": self._channels(report),
        }

    def _channels(self, report: HeardReport) -> list[dict[str, Any]]:
        requested = _finite(report.requested)
        emitted = _finite(report.emitted)
        rows = []
        for place, name in enumerate(report.channels):
            channel = self._known.get(name)
            low, high = channel.limits if channel else (-1.0, 1.0)
            rows.append(
                {
                    "name": name,
                    "unit": channel.unit_mark.strip() if channel else "",
                    "low": low,
                    "high": high,
                    "requested": requested[place] if place < len(requested) else None,
                    "emitted": emitted[place] if place < len(emitted) else None,
                }
            )
        return rows

    def _page_nodes(self, now: float) -> list[dict[str, Any]]:
        nodes = []
        for name, (state, heard) in sorted(self._nodes.items()):
            silent = now - heard
            # it was ended on purpose, as a recorder is
            if silent > NODE_FORGOTTEN_S:
                continue
            status = self._status(f"{name}: state", now)
            lost = silent > NODE_SILENT_S
            healthy = not lost and state == "active" and (status is None or status.level == 0)
            nodes.append(
                {
                    "name": name,
                    "state": f"silent for {silent:.0f} s" if lost else state,
                    "healthy": healthy,
                    "message": status.message[:300] if status and not lost else "",
                }
            )
        return nodes

    def _page_latency(self, now: float) -> list[dict[str, Any]]:
        """The time that each node takes, as it says, ms; and the whole way, as the gate says."""
        stages = []
        for name, (status, heard) in sorted(self._statuses.items()):
            node, _, task = name.partition(": ")
            if task == "state" and "p50 (ms)" in status.values and _fresh(heard, now):
                share = [_number(status.values.get(f"p{percent} (ms)")) for percent in (50, 95)]
                stages.append({"stage": node, "p50": share[0], "p95": share[1]})
        if self._latencies:
            p50, p95 = np.percentile(self._latencies, (50, 95))
            whole = {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}
            stages.append({"stage": "camera to command", **whole})
        return stages

    def _page_cadence(self, now: float) -> list[dict[str, Any]]:
        rates = []
        for name, (status, heard) in sorted(self._statuses.items()):
            hertz = _number(status.values.get("Actual frequency (Hz)"))
            node, _, task = name.partition(": ")
            # how often faults are reported stands among the faults
            if hertz is not None and _fresh(heard, now) and not task.endswith("fault"):
                rates.append({"node": node, "what": task, "hertz": hertz})
        return rates

    def _values_of(self, node: str, now: float) -> dict[str, str] | None:
        """What a node that is not always there says of itself; None: it is not there."""
        for name, (status, heard) in self._statuses.items():
            if name.removesuffix(": state").endswith(node) and _fresh(heard, now):
                return {key[:40]: value[:200] for key, value in status.values.items()}
        return None

    def _status(self, name: str, now: float) -> HeardStatus | None:
        status, heard = self._statuses.get(name, (None, -math.inf))
        return status if _fresh(heard, now) else None


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"unknown ({number})"


def _finite(values: Sequence[float]) -> list[float | None]:
    """JSON has no NaN, and a page must not take one for a number."""
    return [round(float(value), 4) if math.isfinite(value) else None for value in values]


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _fresh(heard: float, now: float) -> bool:
    return now - heard <= DIAGNOSTICS_SILENT_S
