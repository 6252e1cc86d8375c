"""Breaks the gate on purpose, one small way after another, and shows that the tests catch each.

    python3 test/safety/mutate.py            # all; `make check-safety` calls this
    python3 test/safety/mutate.py clock      # those whose line holds the word

Each mutation is made in a copy of the project. One that no test catches, or that no longer fits the code, is an
error. Properties are asked of fewer examples here than in the tests.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GATE, HISTORY = "vla_ros/safety/gate.py", "vla_ros/safety/history.py"
RULE, SETTINGS, TABLE = "vla_ros/safety/rule.py", "vla_ros/safety/settings.py", "vla_ros/safety/rules/__init__.py"
RANGES, CHANGES = "vla_ros/safety/obstacles.py", "vla_ros/safety/changes.py"
SEEN, STANDS = "vla_ros/safety/obstacle_memory.py", "vla_ros/safety/positions.py"
ROBOT, JOINTS = "vla_ros/core/robot.py", "vla_ros/core/joint_states.py"
NODE, OUTPUTS, CONVERT = "vla_ros/nodes/safety_validator.py", "vla_ros/nodes/gate/outputs.py", "vla_ros/nodes/common/convert.py"
READER, LIFE, SUPERVISOR = "vla_ros/nodes/common/reader.py", "vla_ros/core/process_identity.py", "vla_ros/nodes/supervisor.py"
BUTTONS, SOURCES = "vla_ros/nodes/gate/stop_buttons.py", "vla_ros/nodes/gate/rule_sources.py"
INGEST, SYNCHRONIZER, YAML = ("vla_ros/nodes/command_ingest.py", "vla_ros/nodes/synchronizer.py",
                              "vla_ros/core/yaml_file.py")
PURE = ["test/unit/test_rules.py", "test/unit/test_declared_sources.py", "test/unit/test_obstacles.py",
        "test/unit/test_obstacle_memory.py", "test/unit/test_gate.py",
        "test/unit/test_gate_joints.py", "test/unit/test_gate_anomalies.py", "test/unit/test_gate_changes.py",
        "test/unit/test_gate_properties.py", "test/unit/test_gate_arm_properties.py"]
WIRE = ["test/nodes/test_safety_validator.py", "test/nodes/test_gate_sources.py", "test/nodes/test_gate_parameters.py",
        "test/nodes/test_gate_outputs.py", "test/nodes/test_gate_watchdog.py", "test/nodes/test_rule_sources.py"]
TESTS = {"vla_ros/safety/": PURE,  # what the file's name begins with -> the tests; the first that fits
         YAML: ["test/unit/test_yaml_file.py"],
         "vla_ros/core/": ["test/unit/test_robot.py", "test/unit/test_joint_states.py"],
         LIFE: ["test/nodes/test_life.py"], SUPERVISOR: ["test/nodes/test_supervisor.py"],
         INGEST: ["test/nodes/test_command_ingest.py"], SYNCHRONIZER: ["test/nodes/test_synchronizer.py"],
         CONVERT: ["test/nodes/test_synchronizer.py", "test/nodes/test_gate_sources.py"],
         "vla_ros/nodes/": WIRE}
EXAMPLES = "300"  # and always the same ones



def rule(name: str) -> str:
    return f"vla_ros/safety/rules/{name}.py"


# (file, what stands there, once, and what is put in its place)
MUTATIONS = [
    # comparisons turned
    (rule("source_timeout"), "if silence > limit:", "if silence < limit:"),
    (rule("source_timeout"), "if silence > limit:", "if silence >= limit:"),
    (rule("instruction_match"), "if number <= inputs.armed.generation", "if number < inputs.armed.generation"),
    (rule("instruction_match"), "chunk.generation != number", "chunk.generation > number"),
    (rule("observation_age"), "if age > settings.ns(MAX_AGE):", "if age > 2 * settings.ns(MAX_AGE):"),
    (rule("observation_age"), "if age < -settings.ns(MAX_FUTURE):", "if age < -settings.ns(MAX_AGE):"),
    (rule("clock"), "if inputs.clock_still > inputs.settings.ns(CLOCK_STALL):", "if inputs.clock_still < 0:"),
    (rule("range_sensors"), "if not oldest <= obstacles.max_age * 1e9:", "if oldest > obstacles.max_age * 1e10:"),
    (rule("obstacle"), "if gap <= stop + 1e-6:", "if gap < 0.0:"),
    (rule("obstacle"), "speed * min(share, 1.0) > limits.blind_speed", "speed * min(share, 1.0) < limits.blind_speed"),
    (rule("instruction_match"), "if number < inputs.newest_generation:", "if number < 0:"),
    (rule("instruction_match"), "or command.stamp < inputs.armed.stamp:", "or command.stamp < 0:"),
    (rule("obstacle"), "math.hypot(vx, vy), math.atan2(vy, vx)", "math.hypot(vx, vy), math.atan2(vy, abs(vx))"),
    (rule("obstacle"), "for seen in inputs.readings.values()]", "for seen in inputs.readings.values()][:1]"),
    (rule("range_sensors"), "for sensor in obstacles.sensors:", "for sensor in obstacles.sensors[:1]:"),
    (rule("obstacle"), "if share <= 0.0:", "if share < 0.0:"),
    (rule("chunk_order"), "return held(\"chunk_order\", f\"a late action", "return None and held(\"chunk_order\", f\"a late action"),
    # a clamp, a check or a sum that lets NaN, or too much, pass
    (rule("hard_bounds"), "if not low <= value <= high:", "if value < low or value > high:"),
    (rule("finite_values"), "np.argwhere(~np.isfinite(chunk.values))", "np.argwhere(np.isinf(chunk.values))"),
    (rule("finite_values"), "np.argwhere(~np.isfinite(chunk.values))", "np.argwhere(~np.isfinite(chunk.values[:1]))"),
    (rule("limits"), "min(max(value, channel.limits[0]), channel.limits[1])", "max(value, channel.limits[0])"),
    (rule("limits"), "min(max(value, channel.limits[0]), channel.limits[1])",
            "min(max(value, channel.bounds[0]), channel.bounds[1])"),
    (rule("rate_limit"), "return min(max(target, before - reach), before + reach)\n    braking", "return target\n    braking"),
    (rule("rate_limit"), "reach = channel.rate * elapsed / 1e9 if abs(target) > abs(before) else braking", "reach = braking"),
    (rule("rate_limit"), "braking = channel.brake * max(elapsed, pause) / 1e9", "braking = channel.brake * elapsed / 1e9"),
    (rule("deadband"), "0.0 < abs(value) < channel.deadband", "0.0 < abs(value) <= 10 * channel.deadband"),
    (rule("joint_limits"), "low, high = min(channel.soft[0], at), max(channel.soft[1], at)", "low, high = channel.bounds"),
    (rule("rate_limit"), "if before is None:\n            return held(", "if before == 1e9:\n            return held("),
    # a rule dropped
    *((TABLE, f"    \"{name}\",\n", "") for name in (
        "exclusive_publisher", "instruction_match", "finite_values", "observation_age", "hard_bounds", "limits",
        "persistent_clamping", "obstacle", "joint_limits", "tracking", "rate_limit")),
    (TABLE, "    \"chunk_shape\",  # from here on there is a row\n", ""),
    (rule("range_sensors"), ", arming=True)", ")"),
    (rule("source_timeout"), ", arming=True)", ")"),
    # a topic that a rule declares: not heard, silent, old, early, or saying nothing
    (RULE, "for source in self.sources:\n            if doubt", "for source in self.sources[1:]:\n            if doubt"),
    (RULE, "return f\"nothing was heard from {source.topic} yet\"", "return \"\""),
    (RULE, "age = max(arrival_age, stamp_age)", "age = arrival_age"),
    (RULE, "age = max(arrival_age, stamp_age)", "age = stamp_age"),
    (RULE, "if not age <= self.settings.ns(source.timeout):", "if age > 2 * self.settings.ns(source.timeout):"),
    (RULE, "if not age <= self.settings.ns(source.timeout):", "if age >= self.settings.ns(source.timeout):"),
    (RULE, "if stamp_age < -self.settings.ns(MAX_FUTURE):", "if False:"),
    (RULE, "if heard.fault:", "if False:"),
    (RULE, "if not is_finite(heard.value):", "if heard.value is None:"),
    (RULE, "if isinstance(value, tuple) and value else (value,)", "if isinstance(value, tuple) else (value,)"),
    (RULE, "isinstance(number, Real) and math.isfinite(number) for", "isinstance(number, Real) for"),
    (RULE, "        if doubt := self.doubt(source):\n            raise LookupError(doubt)\n", ""),
    (GATE, "            if finding:\n                if finding.row is None:", "            if finding and finding.row:\n                if False:"),
    (GATE, "return {**ranges, **declared, **self.seen}", "return {**ranges, **self.seen}"),
    (NODE, "*sensors, *declared), to_nanoseconds", "*sensors), to_nanoseconds"),
    (NODE, "self._inputs.messages[source] = newest = heard(", "newest = heard("),
    (SOURCES, "stamp = None if header is None else", "stamp = None if True else"),
    (SOURCES, "except Exception as error:", "except ValueError as error:"),
    # the state machine
    (GATE, "self.state = State.DISARMED\n        self.cause", "self.state = State.HOLDING\n        self.cause"),
    (GATE, "(State.STOPPED, Event.RESET): State.DISARMED", "(State.STOPPED, Event.RESET): State.HOLDING"),
    (GATE, "    (State.ACTIVE, Event.HELD): State.HOLDING,\n", ""),
    (GATE, "    (State.ACTIVE, Event.DISARM): State.DISARMED,\n", ""),
    (GATE, "    (State.ACTIVE, Event.STOP): State.STOPPED,\n", ""),
    (GATE, "    (State.DISARMED, Event.STOP): State.STOPPED,\n", ""),
    (GATE, "(State.HOLDING, Event.DISARM): State.DISARMED", "(State.HOLDING, Event.DISARM): State.HOLDING"),
    (GATE, "Arming(inputs.command.generation, now_stamp)", "Arming(0, now_stamp)"),
    (GATE, "Arming(inputs.command.generation, now_stamp)", "Arming(inputs.command.generation, 0)"),
    (GATE, "self._chunks.newest_generation = inputs.command.generation", "pass"),
    (GATE, "if self.state is State.DISARMED:\n            return Finding", "if False:\n            return Finding"),
    (GATE, "cause = tick.inputs.cause() or (trouble if armed else \"\")", "cause = trouble if armed else \"\""),
    (GATE, "cause = tick.inputs.cause() or (trouble if armed else \"\")", "cause = tick.inputs.cause()"),
    (GATE, "at_once = disarmed or verdict is Verdict.STOPPED", "at_once = disarmed"),
    (GATE, "        if inputs.cause():\n            return False, inputs.remedy()\n        if not self._clocks",
           "        if not self._clocks"),
    (GATE, "if not self._clocks.settled(now_steady):\n            return False, CLOCK_JUMPED\n        if inputs",
           "if inputs"),
    (GATE, "if not self._clocks.settled(now_steady):\n            return False, CLOCK_JUMPED\n        self._follow",
           "self._follow"),
    (GATE, "return True, \"already armed\"", "pass"),
    (GATE, "clamped_since, self._clamped_since = self._clamped_since, None", "clamped_since = self._clamped_since"),
    (GATE, "if min(channels[name].bounds[0], self._last.get(name, math.inf)) <= value\n                <=", "if value <="),
    (GATE, "except Exception as error:  #", "except KeyError as error:  #"),
    (GATE, "self._last = dict(action)", "self._last = dict(decision.requested or action)"),
    (GATE, "tick.elapsed = min(tick.pause, 2 * self.settings.period)", "tick.elapsed = tick.pause"),
    (GATE, "<= max(channels[name].bounds[1], self._last.get(name, -math.inf))}", "}"),
    (GATE, "if looser and self.state in ARMED:", "if looser and self.state is State.ACTIVE and 0:"),
    # what it remembers
    (HISTORY, "max(stamp - self.chunk.stamp, self._admitted[1] + steady - self._admitted[0])", "stamp - self.chunk.stamp"),
    (HISTORY, "max(stamp - self.chunk.stamp, self._admitted[1] + steady - self._admitted[0])",
             "self._admitted[1] + steady - self._admitted[0]"),
    (HISTORY, "self._admitted = (steady, stamp - chunk.stamp)", "self._admitted = (steady, 0)"),
    (HISTORY, "if before is not None and before.stamp > stamp + settings.ns(MAX_FUTURE):", "if False:"),
    (HISTORY, "before.generation != chunk.generation or not _equal", "not _equal"),
    (HISTORY, "if abs(jump) > settings.ns(CLOCK_JUMP):", "if jump > settings.ns(CLOCK_JUMP):"),
    (HISTORY, "if pause > settings.ns(CLOCK_JUMP):", "if pause > 100 * settings.ns(CLOCK_JUMP):"),
    (HISTORY, "if late:\n            return late", "if late:\n            self.chunk = chunk\n            return late"),
    (HISTORY, "if before is None or chunk.stamp != before.stamp:", "if True:"),
    (HISTORY, "if before is None or before.generation != chunk.generation or not _equal(before, chunk):", "if True:"),
    (HISTORY, "abs(step) > jumps[name].jump", "step > jumps[name].jump"),
    # what it sees
    (RANGES, "(ranges > 0.0)  # NaN is not above zero", "~(ranges < 0.0)"),
    (RANGES, "np.append(np.where(too_near, 1e-3, ranges), far_ends)", "np.append(ranges, far_ends)"),
    (RANGES, "np.append(np.where(too_near, 1e-3, ranges), far_ends)", "np.append(np.where(too_near, 1e-3, ranges), far_ends * 0)"),
    (RANGES, "np.where(too_near, range_min > sensor.near,", "np.where(too_near, False,"),
    (RANGES, "np.where(too_near, range_min > sensor.near,", "np.where(too_near, True,"),
    (RANGES, "(now < 0.0) & (points[:, 0] * vx + points[:, 1] * vy > -CONTACT * math.hypot(vx, vy))", "(now < 0.0) & (now > 0.0)"),
    (RANGES, "if not (0.0 <= range_min <= range_max and range_max > 0.0):", "if range_max < range_min:"),
    (RANGES, "range_min <= range_max and range_max > 0.0):", "range_min <= range_max):"),
    (RANGES, "-1.0 if sensor.flipped else 1.0", "1.0"),
    (RANGES, "way = max(limits.slow, speed * limits.time_to_collision)", "way = speed * limits.time_to_collision"),
    (RANGES, "+ abs(twist[2]) * radius", ""),
    (RANGES, "float(s[met[0] - 1]) / speed if met[0] else 0.0", "float(s[met[0]]) / speed"),
    (RANGES, "nearest <= CONTACT)", "nearest > CONTACT)"),
    (RANGES, "nearest < np.minimum(now, limits.beside)", "nearest < np.maximum(now, limits.beside)"),
    (RANGES, "part / speed for part in twist", "part for part in twist"),
    (RANGES, "np.hstack([cos, sin]) @ points.T", "np.hstack([cos, -sin]) @ points.T"),
    (RANGES, "x - (footprint.front - footprint.back) / 2.0", "x - (footprint.back - footprint.front) / 2.0"),
    (CHANGES, "(f\"{channel.name} brake\", -channel.brake)", "(f\"{channel.name} brake\", channel.brake)"),
    (CHANGES, "yield f\"footprint {side}\", -getattr", "yield f\"footprint {side}\", getattr"),
    (CHANGES, "channel.joint, channel.scale,", "channel.joint,"),
    (CHANGES, "(f\"{channel.name} tracking_time\", channel.tracking_time)", "(f\"{channel.name} tracking_time\", 0.0)"),
    (CHANGES, "\"time_to_collision\", \"hold_off\"):", "\"time_to_collision\"):"),
    (CHANGES, "for name, limit in settings.lost.items():", "for name, limit in ():"),
    (CHANGES, "robot.outputs, robot.simulated,", "robot.simulated,"),
    (CHANGES, "robot.simulated, robot.obstacles and robot.obstacles.sensors,", "robot.simulated,"),
    (CHANGES, "for name in (\"bounds\", \"limits\", \"soft\"):", "for name in (\"bounds\", \"limits\"):"),
    (CHANGES, "for parameter in PARAMETERS:", "for parameter in PARAMETERS[:1]:"),
    (SETTINGS, "if self.zero_is_off and value == 0.0:", "if False:"),
    (SETTINGS, "value if self.stricter == \"less\" else -value", "value"),
    # the node and the wire
    (NODE, "steady = time.monotonic_ns()\n        self._asked, self._ticked", "steady = self.now()\n        self._asked, self._ticked"),
    (NODE, "self._outputs.stop(self.now())  # before anything else\n        finally:\n            self._gate.disarm()",
           "self._gate.disarm()\n        finally:\n            time.sleep(1.0)"),
    (NODE, "if not self._running:  #", "if False:  #"),
    (NODE, "while self._running is token:", "while True:"),
    (NODE, "self._may_auto_arm = False  # a person has taken over", "pass"),
    (NODE, "len(message.channels) > MAX_CHANNELS or", "len(message.channels) > 10**9 or"),
    (NODE, "if message.node == self.get_name() and message.process != self._life:", "if False:"),
    (NODE, "self._gate.latch(\"the stop is pressed\")", "pass"),
    (NODE, "self._gate.latch(f\"a callback failed: {type(error).__name__}: {error}\")", "pass"),
    (NODE, "self._latch(f\"a tick failed: {type(error).__name__}: {error}\")", "raise"),
    (NODE, "if before and before.state is State.STOPPED:", "if False:"),
    (NODE, "stop_pressed=self._buttons.pressed)", "stop_pressed=False)"),
    (NODE, "if message.state == Heartbeat.ACTIVE and message.node in", "if message.node in"),
    (NODE, "            check_heartbeat(message)", "            pass"),
    (NODE, "message.reason[:500] or without", "message.reason[:500]"),
    (NODE, "text = message.reason[:500] or", "text = message.halted and message.reason[:500] or"),
    (SUPERVISOR, "            check_heartbeat(message)", "            pass"),
    (NODE, "self._thread.start()", "pass"),
    (NODE, "if self._running and time.monotonic_ns() - self._ticked >= SHORTEST_WAIT:", "if self._running:"),
    (NODE, "if self.p[\"auto_arm\"] and not robot.simulated:", "if False:"),
    (OUTPUTS, "if all(name in action for name in output.channels):", "if True:"),
    (OUTPUTS, "action[name] * self._channels[name].scale", "action[name]"),
    (RANGES, "first + step * np.arange(count", "first - step * np.arange(count"),
    (RANGES, "np.linspace(-0.5, 0.5, count)", "np.linspace(-1.0, 1.0, count)"),
    (CONVERT, "if count > MOST_BEAMS:", "if False:"),
    # what real robots and real machines brought to light: contact and near contact
    (RANGES, "near = now <= CONTACT", "near = now < -1e9"),
    (RANGES, "(then[0] < now + APPROACH) | (nearest < now)", "nearest < now"),
    (RANGES, "return outside + inside", "return outside"),
    (RANGES, "points = points[~((-back <= x)", "points = points[((-back <= x)"),
    (ROBOT, "if value > most:", "if False:"),
    # an obstacle that flickers
    (SEEN, "young = now - self._seen <= keep", "young = now - self._seen <= 0"),
    (SEEN, "young = now - self._seen <= keep", "young = now - self._seen <= 100 * keep"),
    (SEEN, "self._keep(before[0], before[1][near])", "pass"),
    (SEEN, "self.move(self._twist, -late)", "self.move(self._twist, 0)"),
    (SEEN, "self._x += (twist[0] * math.cos(middle)", "self._x -= (twist[0] * math.cos(middle)"),
    (SEEN, "self._yaw += twist[2] * seconds", "pass"),
    (SEEN, "self._older, self._seen = points[first], newest", "self._older, self._seen = points[first], seen[first]"),
    (GATE, "self._obstacles.move((vx, vy, wz), tick.pause)", "self._obstacles.move((vx, vy, wz), 0)"),
    # malformed geometry, and how far a sensor sees
    (RANGES, "if count > 1 and step == 0.0:", "if False:"),
    (RANGES, "if not abs(said - count) <= 1.5:", "if False:"),
    (RANGES, "<= 2.0 * math.pi + 2.0 * abs(step):", "<= 1e9:"),
    (RANGES, "if not 0.0 < field_of_view <= 2.0 * math.pi:", "if False:"),
    (RANGES, "(ranges < range_max) & (ranges >= sensor.near)", "(ranges <= range_max) & (ranges >= sensor.near)"),
    (RANGES, "return float(np.sort(reach)[AHEAD // 2])", "return float(np.sort(reach)[-1])"),
    (RANGES, "beyond = reading.reach - _way_out(reading.origin, heading, footprint)", "beyond = reading.reach"),
    (RANGES, "reach = np.where((measured > 0) &", "reach = np.where((measured >= 0) &"),
    (rule("obstacle"), "unseen = max(_share(reach, reach / speed, limits), limits.blind_speed / speed)", "unseen = 1.0 if reach else 0.0"),
    (rule("range_sensors"), "if reading.fault:", "if False:"),
    # joints: lies, wraps, offsets, what blocks them and whose hands move them
    (STANDS, "if track.confirmed < CONFIRMATIONS:", "if False:"),
    (STANDS, "if recent and abs(value - track.value) <= _reach", "if abs(value - track.value) <= 1e9 or _reach"),
    (STANDS, "PLAUSIBLE = 4.0", "PLAUSIBLE = 400.0"),
    (STANDS, "MEASURING_ERROR = 0.01", "MEASURING_ERROR = 0.05"),
    (STANDS, "if known and turn:", "if False:"),
    (STANDS, "or now - track.when > forget:", "or False:"),
    (STANDS, "if not recent:\n        return \"\"", "if True:\n        return \"\""),
    (GATE, "            del self._last[name]\n", "            pass\n"),
    (GATE, "at_first = stands if verdict is Verdict.STOPPED and stands is not None else last", "at_first = last"),
    (GATE, "at_first = stands if verdict is Verdict.STOPPED and stands is not None else last",
           "at_first = last if stands is None else stands"),
    (GATE, "if stands is not None and stay.look(stands, tick.now, limit):", "if False:"),
    (GATE, "if abs(stands - stay.target) <= limit else {}", "if True else {}"),
    (GATE, "if stands is not None and abs(stands - last) > limit >= abs(stands - stay.target):", "if False:"),
    (GATE, "and self._positions.in_doubt(channel):", "and False:"),
    (GATE, "requested[channel.name] = unwound(requested[channel.name], last, channel.turn)", "pass"),
    (GATE, "        self._chunks.forget()\n", ""),
    (GATE, "        self._spent = Spent(0, \"\")\n        self._chunks", "        self._chunks"),
    (STANDS, "turn = channel.turn if channel.name in sent else 0.0", "turn = channel.turn"),
    (STANDS, "obeys = abs(apart - self.jump)", "obeys = abs(apart - 1e9 * self.jump)"),
    (STANDS, "rested = now - self.since >= RESTED and not obeys", "rested = False"),
    (STANDS, "if self.jump and not rested and", "if False and"),
    (GATE, "            self._stay = {}\n            self._follow", "            self._follow"),
    (GATE, "since = before.time if before else tick.now", "since = tick.now"),
    (GATE, "if finding.rule == tracking.name:", "if False:"),
    (GATE, "action.update(self._remain(tick, channel, Verdict.HELD))\n        return action\n\n    def _hold",
           "action[channel.name] = self._last.get(channel.name, 0.0)\n        return action\n\n    def _hold"),
    (rule("tracking"), "late.time > channel.tracking_time * 1e9:", "late.time > 100 * channel.tracking_time * 1e9:"),
    (rule("joint_limits"), "at = stands if before is None else before", "at = stands"),
    (GATE, "channel.start if measured is None else measured", "measured"),
    # a robot file whose channels and outputs do not fit
    (ROBOT, "if \"Trajectory\" in kind and known[name].stop == \"zero\":", "if False:"),
    (ROBOT, "if (stop == \"zero\") != unit.endswith(\"/s\"):", "if False:"),
    (ROBOT, "if \"Twist\" in kind and known[name].unit != right:", "if False:"),
    (ROBOT, "if not 0 < len(channels) <= MAX_CHANNELS:", "if not channels:"),
    # halts, chunks, and who speaks and listens
    (NODE, "self._gate.latch(self._inputs.cause())", "pass"),
    (NODE, "if len(data) <= SMALL else \"a reason too long to be read\"", "if len(data) <= SMALL else \"\""),
    (NODE, "        self._press(self._buttons.take())\n        end =", "        end ="),
    (BUTTONS, "if received >= self._received:", "if True:"),
    (NODE, "if time.monotonic_ns() > end:", "if False:"),
    (BUTTONS, "for qos in (BUTTON, BUTTON_LOOSE)]", "for qos in (BUTTON,)]"),
    (NODE, "lost = dict.fromkeys((*sources, *sensors, *declared),", "lost = dict.fromkeys(sources,"),
    (rule("chunk_order"), "return 0 < chunk.sequence <= previous.sequence", "return False"),
    (rule("chunk_source"), "if len(processes) > 1:", "if len(processes) > 2:"),
    (rule("chunk_shape"), "if not SHORTEST_STEP_NS <= chunk.step <= LONGEST_STEP_NS:", "if not SHORTEST_STEP_NS <= chunk.step:"),
    (rule("chunk_shape"), "if not SHORTEST_STEP_NS <= chunk.step <= LONGEST_STEP_NS:", "if not chunk.step <= LONGEST_STEP_NS:"),
    (rule("chunk_shape"), "if halved := robot.halved(chunk.channels):",
            "if (halved := robot.halved(chunk.channels)) and not robot.channel(halved[1]).is_velocity:"),
    (rule("chunk_end"), "if inputs.ended > 0:", "if inputs.ended > 10**10:"),
    (rule("stuck_policy"), "zip(inputs.row, inputs.channels)\n                if channel.is_velocity)", "zip(inputs.row, inputs.channels))"),
    (rule("instruction_match"), "if number <= inputs.spent.generation:", "if False:"),
    (rule("instruction_match"), "if number <= inputs.spent.generation:", "if number < inputs.spent.generation:"),
    (HISTORY, "- max(step, LAST_ROW_NS)", "- 10 * LAST_ROW_NS"),
    (GATE, "gone = [*lost, *tick.inputs.missing_listeners]", "gone = [*tick.inputs.missing_listeners]"),
    (GATE, "gone = [*lost, *tick.inputs.missing_listeners]", "gone = [*lost]"),
    (NODE, "self._sources[chunk.process] = now", "self._sources[\"\"] = now"),
    (OUTPUTS, "if gid not in self._outputs.gids and (gid not in left or speaks)]", "if name not in (\"/safety_validator\",)]"),
    (OUTPUTS, "return heard.surplus > 2", "return False"),
    (OUTPUTS, "        if wrong:\n", "        if wrong and not right:\n"),
    (OUTPUTS, "if matched < 1:", "if False:"),
    (OUTPUTS, "[0].rpartition(\"/\")[2].startswith(ONLOOKERS)]", "[0].startswith(\"?\")]"),
    (OUTPUTS, "for name in sorted(again)", "for name in ()"),
    (READER, "if self._most_bytes and len(found[0]) > self._most_bytes:", "if False:"),
    (NODE, "if len(data) > most_bytes:", "if False:"),
    (JOINTS, "if len(names) != len(positions):", "if False:"),
    (JOINTS, "if len(set(names)) < len(names):", "if False:"),
    (NODE, "if brought or not any(", "if True or not any("),
    # processes, files, words and odometry
    (LIFE, "if len(executables) > 1 or len(words) < 2:", "if len(words) < 2:"),
    (LIFE, "words[1].startswith(\"vla_ros.\")", "\"vla_ros\" in \" \".join(words)"),
    (SUPERVISOR, "again, names = self._recovery.awake,", "again, names = False,"),
    (SUPERVISOR, "NEXT.get(reports[-1].state if reports else None, NEXT[None])", "NEXT[None]"),
    (YAML, "if isinstance(event, yaml.AliasEvent) or getattr(event, \"anchor\", None):", "if False:"),
    (YAML, "if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):", "if False:"),
    (YAML, "if len(data) > MOST_BYTES:", "if False:"),
    (YAML, "if len(value) > LONGEST_NUMBER and not value.strip(\"+-_.:0123456789\"):", "if False:"),
    (INGEST, "enumerate((WORDS, WORDS_LOOSE)):", "enumerate((WORDS,)):"),
    (SYNCHRONIZER, "self._joints.positions(now, timeout)}", "self._joints.positions(now, 10**18)}"),
    (SYNCHRONIZER, "            self._joints.update(", "            self._joints.clear()\n            self._joints.update("),
    (CONVERT, "if child and (child == frame or", "if False and (child == frame or"),
    (CONVERT, "if not abs(length * length - 1.0) <= 0.01:", "if False:"),
]


def copy(folder: Path) -> None:
    for name in ("vla_ros", "config", "test", "setup.cfg"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def tests_fail(folder: Path, tests: list[str], domain: int) -> tuple[bool, str]:
    """Whether the tests of the copy fail (not: cannot be run), and which first."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                   "VLA_PROPERTY_EXAMPLES": EXAMPLES, "ROS_DOMAIN_ID": str(domain), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return run.returncode == 1, failed[0].split(" - ")[0].partition("::")[2] if failed else ""


def attempt(number: int, file: str, old: str, new: str) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        path = folder / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            return False, f"stands {text.count(old)} times in the code, not once"
        path.write_text(text.replace(old, new), encoding="utf-8")
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
        tests = next(tests for place, tests in TESTS.items() if file.startswith(place))
        caught, by = tests_fail(folder, tests, 60 + number % 40)
        return caught, f"caught by {by}" if caught else "NOT CAUGHT"


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if all(word in " ".join(mutation) for word in words)]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        copy(Path(name))
        if tests_fail(Path(name), [test for tests in TESTS.values() for test in tests], 59)[0]:
            print("the tests fail without any mutation; mend that first")
            return 1
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        outcomes = list(pool.map(lambda mutation, number: attempt(number, *mutation), chosen, count()))
    width = max(len(mutation[0]) for mutation in chosen)
    for (file, old, new), (_, what) in zip(chosen, outcomes):
        shown = " ".join(old.split())[:60], " ".join(new.split())[:60] or "nothing"
        print(f"{file:{width}}  {shown[0]}  ->  {shown[1]}\n{'':{width}}  {what}")
    caught = sum(good for good, _ in outcomes)
    print(f"{caught} of {len(chosen)} mutations were caught, in {time.monotonic() - start:.0f} s")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
